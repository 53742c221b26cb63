"""Metrics of a classifier's mistakes.

Probabilities become a ranking of the classes, by probability or by expected cost; the first column of a ranking is the
decision; rankings and decisions are compared with the labels:

    ranking = rank_by_expected_cost(probabilities, D)
    mean_cost(labels, ranking[:, 0], D)

Arguments: probabilities N x C x spatial or N x C, labels and decided N x spatial (whole numbers 0..C-1), ranking shaped
as the probabilities (every class once a position, best first), D C x C: costs, D[true, predicted], 0 on the diagonal,
n_classes C. Every position counts as a sample; those that are not to count are left out before: labels[valid].

Every function raises ValueError for a wrong shape, no sample at all, a label out of range, NaN or infinity, negative
probabilities, and costs that are not 0 on the diagonal (a gain matrix taken for a cost matrix). Probabilities that are
ranked need not sum to 1: class weights may be multiplied in before.
"""
from __future__ import division, print_function

import numpy as np

from caffe_losses.evaluation.decisions import check_costs, check_labels, check_probabilities, expected_cost_scores
from caffe_losses.validation import as_float64, check_square, refuse

SUM_TOLERANCE = 1e-3  # float32 softmax over a thousand classes stays far below


def rank_by_probability(probabilities):
    """Rank the classes of each sample, the most probable first; of equal ones the lower."""
    return rank_by_score(check_probabilities(probabilities))


def rank_by_expected_cost(probabilities, D):
    """Rank the classes of each sample, the one of least expected cost first, of equal ones the lower.

        expected cost of deciding for k = sum_j p_j D[j, k]

    The first column is the minimum-expected-cost (Bayes) decision for D, given that the probabilities are right.
    Source: Elkan 2001, The foundations of cost-sensitive learning.
    """
    return rank_by_score(expected_cost_scores(probabilities, D))


def rank_by_score(scores):
    """Rank the classes of each sample by their scores, the largest first; of equal ones the lower."""
    return np.argsort(-scores, axis=1, kind="mergesort")


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
    wrong = np.not_equal(*_checked_pair(labels, decided))
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
    return float(np.mean([mean_cost(labels, decided, D) for decided in _first(k, ranking)]))


def accuracy_of_top(k, labels, ranking):
    """Return the fraction of samples whose label is among the first k classes of a ranking (top-k accuracy).

    k: int in 1..C. Returns a float.
    """
    return float(sum(accuracy(labels, decided) for decided in _first(k, ranking)))


def calibration_error(labels, decided, probabilities, n_bins=15):
    """Return how far confidence and accuracy are apart (expected calibration error, ECE).

    The confidence of a sample is the probability of the class decided for. With B_m the samples whose confidence is in
    ((m-1)/M, m/M]:

        sum_m |B_m|/N |accuracy of B_m - mean confidence of B_m|

    probabilities: those of the net, which sum to 1 (calibrated or not, but not multiplied by class weights).
    n_bins: int, M. Returns a float in [0, 1].
    Source: Guo et al. 2017, On calibration of modern neural networks, arXiv 1706.04599.
    """
    p = check_probabilities(probabilities)
    right = np.equal(*_checked_pair(labels, decided, p.shape[1], p.shape[:1] + p.shape[2:]))
    return error_of_bins(confidence_bins(confidences(p, decided), right, n_bins))


def confidences(probabilities, decided):
    """Return the probability of the class decided for, one for each sample.

    Raises ValueError, too, for probabilities that do not sum to 1.
    """
    p = np.moveaxis(check_probabilities(probabilities), 1, -1)
    sums = p.sum(axis=-1)
    refuse(sums, np.abs(sums - 1) > SUM_TOLERANCE, "sum of the probabilities",
           "1 (multiply class weights in for decisions only)")
    decided = check_labels(decided, p.shape[:-1], p.shape[-1], name="decided")[0].ravel()
    return p.reshape(-1, p.shape[-1])[np.arange(len(decided)), decided]


def confidence_bins(confidence, right, n_bins=15):
    """Sum the samples of each of n_bins equal intervals of confidence, closed above.

    confidence: N floats in [0, 1]. right: N bools.
    Returns n_bins x 3 float64: the number of samples, of right ones, the sum of their confidence.
    """
    confidence, right = as_float64(confidence, "confidence").ravel(), as_float64(right, "right").ravel()
    bins = bin_index(confidence, n_bins)
    return np.stack([np.bincount(bins, weights=weights, minlength=n_bins)
                     for weights in (None, right, confidence)], axis=1).astype(np.float64)


def bin_index(confidence, n_bins=15):
    """Return the interval, 0..n_bins-1, that each confidence is in: ((m-1)/n_bins, m/n_bins], and 0 in the first."""
    if n_bins < 1:
        raise ValueError("n_bins: expected at least 1, got %r" % n_bins)
    with np.errstate(invalid="ignore"):
        refuse(confidence, ~((confidence >= 0) & (confidence <= 1 + SUM_TOLERANCE)), "confidence", "a number in 0..1")
    return np.digitize(confidence, np.arange(1, n_bins) / n_bins, right=True)


def error_of_bins(bins):
    """Return the expected calibration error, from confidence_bins or a sum of several."""
    bins = as_float64(bins, "bins")
    if not bins[:, 0].any():
        raise ValueError("bins: expected samples, got none")
    return float(np.abs(bins[:, 1] - bins[:, 2]).sum() / bins[:, 0].sum())


def class_recalls(labels, decided, n_classes):
    """Return the fraction of the samples of each class that is decided for it, NaN where there are none."""
    return recalls_of(confusion_matrix(labels, decided, n_classes))


def balanced_accuracy(labels, decided, n_classes):
    """Return the mean recall of the classes that occur among the labels."""
    return float(np.nanmean(class_recalls(labels, decided, n_classes)))


def confusion_matrix(labels, decided, n_classes):
    """Count the samples of each class that were decided for each class: C x C int64, [true, decided]."""
    n_classes = int(n_classes)  # of a small type of numpy C^2 would overflow
    labels, decided = _checked_pair(labels, decided, n_classes)
    return np.bincount(labels * n_classes + decided, minlength=n_classes ** 2).reshape(n_classes, n_classes)


def recalls_of(confusion):
    """Return class_recalls, from a confusion matrix."""
    confusion = _checked_confusion(confusion)
    return recalls(confusion.diagonal(), confusion.sum(axis=1))


def intersections_over_unions(confusion):
    """Return the fraction of the samples of a class or decided for it that are both: C floats.

        confusion[k, k] / (sum_j confusion[k, j] + sum_j confusion[j, k] - confusion[k, k])

    NaN for a class of which there is no sample. Their mean is the mean IU of segmentation.
    Source: Long et al. 2015, Fully convolutional networks for semantic segmentation, arXiv 1411.4038.
    """
    confusion = _checked_confusion(confusion)
    return unions_shared(confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0))


def recalls(right, present):
    """Return class_recalls, from the number of samples of each class that are right, and of all of it (... x C)."""
    return np.where(present > 0, right / np.maximum(present, 1), np.nan)


def unions_shared(right, present, decided):
    """Return intersections_over_unions, from the samples of each class: right, of it, decided for it (... x C)."""
    return np.where(present > 0, right / np.maximum(present + decided - right, 1), np.nan)


def _first(k, ranking):
    """Return the first k classes of each sample, best first: k arrays of N x spatial."""
    ranking = np.asarray(ranking)
    if ranking.ndim < 2:
        raise ValueError("ranking: expected N x C (x spatial), got shape %s" % (ranking.shape,))
    if not 1 <= k <= ranking.shape[1]:
        raise ValueError("k: expected 1..%d, got %r" % (ranking.shape[1], k))
    return [ranking[:, m] for m in range(k)]


def _costs_paid(labels, decided, D):
    D = check_costs(D)
    return D[_checked_pair(labels, decided, len(D))]


def _checked_pair(labels, decided, n_classes=None, shape=None):
    """Return the classes of both, one for each sample, as two index arrays of one axis."""
    shape = shape or np.shape(labels)
    if not np.size(labels) or not shape:
        raise ValueError("labels: expected one class per sample, got an array of shape %s" % (np.shape(labels),))
    return tuple(check_labels(classes, shape, n_classes or np.iinfo(np.int32).max, name=name)[0].ravel()
                 for name, classes in (("labels", labels), ("decided", decided)))


def _checked_confusion(confusion):
    confusion = check_square(confusion, "confusion").astype(np.float64)
    refuse(confusion, confusion < 0, "confusion", "a count of at least 0")
    return confusion
