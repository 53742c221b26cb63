"""Metrics of a classifier's mistakes.

Probabilities become a ranking of the classes, by probability or by expected cost; the first column of a ranking is the
decision; rankings and decisions are compared with the labels:

    ranking = rank_by_expected_cost(probabilities, D)
    mean_cost(labels, ranking[:, 0], D)

Arguments: probabilities N x C, labels N and decided N (whole numbers 0..C-1), ranking N x C (every class once a row,
best first), D C x C: costs, D[true, predicted], 0 on the diagonal, n_classes C.

Every function raises ValueError for a wrong shape, no sample at all, a label out of range, NaN or infinity, rows of
probabilities that do not sum to 1, and costs that are not 0 on the diagonal (a gain matrix taken for a cost matrix).
"""
from __future__ import division, print_function

import numpy as np

from caffe_losses.errors import naming
from caffe_losses.matrices.gains import check_cost
from caffe_losses.validation import label_index

SUM_TOLERANCE = 1e-3  # float32 softmax over a thousand classes stays far below


def rank_by_probability(probabilities):
    """Rank the classes of each sample, the most probable first; of equal ones the lower."""
    return np.argsort(-_checked_probabilities(probabilities), axis=1, kind="mergesort")


def rank_by_expected_cost(probabilities, D):
    """Rank the classes of each sample, the one of least expected cost first, of equal ones the lower.

        expected cost of deciding for k = sum_j p_j D[j, k]

    The first column is the minimum-expected-cost (Bayes) decision for D, given that the probabilities are right.
    Source: Elkan 2001, The foundations of cost-sensitive learning.
    """
    p, D = _checked_probabilities(probabilities), check_cost(D)
    if len(D) != p.shape[1]:
        raise ValueError("D: expected %d x %d, got %d x %d" % ((p.shape[1],) * 2 + D.shape))
    return np.argsort(p.dot(D), axis=1, kind="mergesort")


def accuracy(labels, decided):
    """Return the fraction of decisions that are right (top-1 accuracy)."""
    labels, decided = _checked_pair(labels, decided)
    return float(np.mean(labels == decided))


def mean_cost(labels, decided, D):
    """Return the average cost of a decision, right ones included: 1/N sum_i D[label_i, decided_i]."""
    return float(np.mean(_costs_paid(labels, decided, D)))


def severity(labels, decided, D):
    """Return the average cost of a mistake, NaN if no decision is wrong.

        sum_i D[label_i, decided_i] / number of i with decided_i != label_i

    Source: Bertinetto et al. 2020, Making better mistakes, arXiv 1912.09393.
    """
    paid = _costs_paid(labels, decided, D)
    wrong = np.asarray(labels) != np.asarray(decided)
    return float(np.mean(paid[wrong])) if wrong.any() else float("nan")


def count_costlier(labels, decided, D, limit):
    """Count the decisions that cost more than `limit`.

    With D the distances of a class tree and `limit` the largest distance inside a group, these are the mistakes across
    groups.
    """
    return int(np.count_nonzero(_costs_paid(labels, decided, D) > limit))


def mean_cost_of_top(k, labels, ranking, D):
    """Return the average cost of the first k classes of a ranking, the right one included.

        1/N sum_i 1/k sum_{m <= k} D[label_i, ranking_im]

    k: int in 1..C. Returns a float. Source: Bertinetto et al. 2020 (hierarchical distance of top-k).
    """
    ranking = np.asarray(ranking)
    if ranking.ndim != 2:
        raise ValueError("ranking: expected N x C, got shape %s" % (ranking.shape,))
    if not 1 <= k <= ranking.shape[1]:
        raise ValueError("k: expected 1..%d, got %r" % (ranking.shape[1], k))
    return float(np.mean([mean_cost(labels, ranking[:, m], D) for m in range(k)]))


def calibration_error(labels, decided, probabilities, n_bins=15):
    """Return how far confidence and accuracy are apart (expected calibration error, ECE).

    The confidence of a sample is the probability of the class decided for. With B_m the samples whose confidence is in
    ((m-1)/M, m/M]:

        sum_m |B_m|/N |accuracy of B_m - mean confidence of B_m|

    n_bins: int, M. Returns a float in [0, 1].
    Source: Guo et al. 2017, On calibration of modern neural networks, arXiv 1706.04599.
    """
    p = _checked_probabilities(probabilities)
    labels, decided = _checked_pair(labels, decided, *p.shape)
    if n_bins < 1:
        raise ValueError("n_bins: expected at least 1, got %r" % n_bins)
    confidence = p[np.arange(len(p)), decided]
    return error_of_bins(confidence_bins(confidence, labels == decided, n_bins))


def confidence_bins(confidence, right, n_bins=15):
    """Sum the samples of each of n_bins equal intervals of confidence, closed above.

    confidence: N floats in [0, 1]. right: N bools.
    Returns n_bins x 3 float64: the number of samples, of right ones, the sum of their confidence.
    """
    bins = np.digitize(confidence, np.arange(1, n_bins) / n_bins, right=True)
    return np.stack([np.bincount(bins, weights=weights, minlength=n_bins)
                     for weights in (None, right, confidence)], axis=1).astype(np.float64)


def error_of_bins(bins):
    """Return the expected calibration error, from confidence_bins or a sum of several."""
    return float(np.abs(bins[:, 1] - bins[:, 2]).sum() / bins[:, 0].sum())


def class_recalls(labels, decided, n_classes):
    """Return the fraction of the samples of each class that is decided for it, NaN where there are none."""
    return recalls_of(confusion_matrix(labels, decided, n_classes))


def balanced_accuracy(labels, decided, n_classes):
    """Return the mean recall of the classes that occur among the labels."""
    return float(np.nanmean(class_recalls(labels, decided, n_classes)))


def confusion_matrix(labels, decided, n_classes):
    """Count the samples of each class that were decided for each class: C x C int64, [true, decided]."""
    labels, decided = _checked_pair(labels, decided, n_classes=n_classes)
    return np.bincount(labels * n_classes + decided, minlength=n_classes ** 2).reshape(n_classes, n_classes)


def recalls_of(confusion):
    """Return class_recalls, from a confusion matrix."""
    present = confusion.sum(axis=1)
    return np.where(present > 0, confusion.diagonal() / np.maximum(present, 1), np.nan)


def intersections_over_unions(confusion):
    """Return the fraction of the samples of a class or decided for it that are both: C floats.

        confusion[k, k] / (sum_j confusion[k, j] + sum_j confusion[j, k] - confusion[k, k])

    NaN for a class of which there is no sample. Their mean is the mean IU of segmentation.
    Source: Long et al. 2015, Fully convolutional networks for semantic segmentation, arXiv 1411.4038.
    """
    present, both = confusion.sum(axis=1), confusion.diagonal()
    union = present + confusion.sum(axis=0) - both
    return np.where(present > 0, both / np.maximum(union, 1), np.nan)


def _costs_paid(labels, decided, D):
    D = check_cost(D)
    return D[_checked_pair(labels, decided, n_classes=len(D))]


def _checked_pair(labels, decided, n_samples=None, n_classes=None):
    checked = []
    for name, classes in (("labels", np.asarray(labels)), ("decided", np.asarray(decided))):
        with naming(name):
            if classes.ndim != 1 or not len(classes):
                raise ValueError("expected one class per sample, got an array of shape %s" % (classes.shape,))
            n_samples = n_samples or len(classes)
            if len(classes) != n_samples:
                raise ValueError("expected %d samples, got %d" % (n_samples, len(classes)))
            checked.append(label_index(classes, n_classes or np.iinfo(np.int32).max)[0])
    return tuple(checked)


def _checked_probabilities(probabilities):
    p = np.asarray(probabilities, np.float64)
    if p.ndim != 2 or not p.size:
        raise ValueError("probabilities: expected N x C, got shape %s" % (p.shape,))
    with np.errstate(invalid="ignore"):  # of NaN, which is bad
        bad = ~((p >= 0).all(axis=1) & (np.abs(p.sum(axis=1) - 1) <= SUM_TOLERANCE))
    if bad.any():
        raise ValueError("probabilities: expected numbers of at least 0 that sum to 1, got %s in row %d"
                         % (p[bad][0], np.argmax(bad)))
    return p
