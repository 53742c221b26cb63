"""Class weights from label counts, so that rare classes count for more."""
from __future__ import division, print_function

import warnings

import numpy as np

# Of NaN and Inf in what is checked here and in `losses`: the error that follows says all.
warnings.filterwarnings("ignore", "invalid value encountered", RuntimeWarning, r"caffe_losses\.(functional\.losses|matrices\.class_weights)$")

KINDS = ("max_over_count", "balanced", "inverse", "effective_number", "median_frequency")
SCALES = ("sum", "sample", "classes", "none")


def count_labels(labels, n_classes, ignore_label=None, name="label"):
    """How often each class stands in `labels`.

    labels: array of any shape, whole numbers 0..n_classes-1 (or ignore_label).
    n_classes: int, L.
    ignore_label: int, a label that is not counted; None: there is none.
    name: str, what an error calls the labels.
    Returns counts, L integers (int64).
    Raises ValueError, naming the first bad label and its position.
    """
    index, valid = label_index(np.asarray(labels), n_classes, ignore_label, name)
    index = index.ravel() if valid is None else index[valid]
    return np.bincount(index, minlength=n_classes)


def label_index(labels, n_classes, ignore_label=None, name="label"):
    """Labels held as floats, as integers that index the classes.

    Returns (index, valid): index has the shape of labels, with 0 in place of
    ignore_label; valid is a boolean mask of the same shape, or None if no label
    is ignored.
    Raises ValueError, naming the first bad label and its position.
    """
    valid = None
    if ignore_label is not None:
        ignored = labels == ignore_label
        if ignored.any():
            valid = ~ignored
            labels = np.where(valid, labels, 0)
    in_range = labels >= 0  # NaN is not
    in_range &= labels < n_classes
    if np.count_nonzero(in_range) == in_range.size:
        index = labels.astype(np.intp)
        if np.count_nonzero(index == labels) == index.size:
            return index, valid
    raise ValueError(_bad_label(labels, in_range & (labels == np.floor(labels)), n_classes, ignore_label, name))


def _bad_label(labels, fits, n_classes, ignore_label, name):
    first = np.unravel_index(np.argmin(fits), fits.shape)
    ignore = "" if ignore_label is None else " or ignore_label %d" % ignore_label
    return ("%s at %s: expected a whole number 0..%d%s, got %g"
            % (name, position(first), n_classes - 1, ignore, labels[first]))


def position(index):
    """An array index as an error shows it: (3, 0, 7)."""
    return "(%s)" % ", ".join(str(int(i)) for i in index)


def class_weights(counts, kind="max_over_count", beta=None, power=1.0, scale="sum",
                  missing="zero", present=None):
    """One weight per class from how often each class occurs.

    With n_c the count of class c, n their sum, L the number of classes:

        max_over_count    w_c = max_k n_k / n_c
        balanced          w_c = n / (L n_c)
        inverse           w_c = 1 / n_c
        effective_number  w_c = (1 - beta) / (1 - beta^n_c)
        median_frequency  w_c = median of the f_k > 0 / f_c, f_c = n_c / m_c

    then w_c^power, then the scale:

        sum      sum_c w_c = 1 (the published ComputeH)
        sample   sum_c n_c w_c / n = 1: the average sample weighs 1, and so the
                 learning rate keeps its meaning
        classes  sum_c w_c = L (Cui et al.)
        none     as they stand

    counts: L numbers, not negative, in samples (fractions are fine).
    beta: float in [0, 1), for effective_number only (required there).
    power: float; 1 leaves the weights, 0.5 is a square root, 0 makes all equal.
    missing: what a class with count 0 gets: "zero" (weight 0) or "error".
    present: L numbers m_c, for median_frequency of labels that stand in images: all
        pixels, also ignored ones, of the images that hold class c at all. None: the
        same for all classes, as where every sample has one label.
    Returns L weights, float64; all 0 if all counts are 0.
    Raises ValueError.
    Source: scikit-learn (balanced); Cui et al. 2019, arXiv 1901.05555
    (effective_number); Eigen and Fergus 2015, arXiv 1411.4734, section 6.3.2, and
    SegNet, arXiv 1511.00561 (median_frequency).
    """
    counts = _checked_counts(counts, missing)
    if not 0 <= power < np.inf:
        raise ValueError("power: expected a number of at least 0, got %g" % power)
    occurs = counts > 0
    frequency = counts[occurs] if present is None else _frequency(counts, present)[occurs]
    weights = np.zeros(len(counts))
    if not occurs.any():
        return weights
    with np.errstate(over="ignore", invalid="ignore"):
        weights[occurs] = _raw_weights(counts[occurs], frequency, len(counts), kind, beta) ** power
        weights *= _scale_factor(weights, counts, scale)
    if not np.isfinite(weights).all():
        raise ValueError("power: expected one that leaves the weights finite, got %g" % power)
    return weights


def check_weights(weights):
    """Weights as a float array, one for each class, if they can serve as class weights.

    weights: L numbers, finite, not negative, not all 0. Raises ValueError, naming the first bad one.
    """
    w = np.asarray(weights, np.float64)
    bad = ~(np.isfinite(w) & (w >= 0))
    if bad.any():
        raise ValueError("class weights: expected numbers of at least 0, got %g for class %d" % (w[bad][0], np.argmax(bad)))
    if w.ndim != 1 or not w.any():
        raise ValueError("class weights: expected at least one above 0, got %s" % ("none" if w.size else "no numbers"))
    return w


def _checked_counts(counts, missing):
    counts = np.asarray(counts, np.float64)
    if counts.ndim != 1 or not len(counts):
        raise ValueError("counts: expected one number per class, got an array of shape %s"
                         % (counts.shape,))
    bad = ~(np.isfinite(counts) & (counts >= 0))
    if bad.any():
        raise ValueError("counts: expected numbers of at least 0, got %g for class %d"
                         % (counts[bad][0], np.argmax(bad)))
    if missing == "error" and not counts.all():
        raise ValueError('counts: expected every class to occur (missing is "error"), got none of '
                         "class %d" % np.argmin(counts))
    return counts


def _frequency(counts, present):
    present = np.asarray(present, np.float64)
    if present.shape != counts.shape or not (present >= counts).all():
        raise ValueError("present: expected for each of %d classes a number of at least its count, got %s"
                         % (len(counts), present))
    return np.divide(counts, present, out=np.zeros(len(counts)), where=counts > 0)


def _raw_weights(counts, frequency, n_classes, kind, beta):
    if kind == "max_over_count":
        return counts.max() / counts
    if kind == "balanced":
        return counts.sum() / (n_classes * counts)
    if kind == "inverse":
        return 1 / counts
    if kind == "median_frequency":
        return np.median(frequency) / frequency
    if kind == "effective_number":
        if beta is None or not 0 <= beta < 1:
            raise ValueError("beta: expected a number in [0, 1) with effective_number, got %s"
                             % beta)
        if beta == 0:
            return np.ones(len(counts))
        return (1 - beta) / -np.expm1(counts * np.log(beta))
    raise ValueError("weights: expected one of %s, got %r" % (", ".join(KINDS), kind))


def _scale_factor(weights, counts, scale):
    if scale == "none":
        return 1.0
    if scale == "sum":
        return 1 / weights.sum()
    if scale == "classes":
        return len(weights) / weights.sum()
    if scale == "sample":
        return counts.sum() / (counts * weights).sum()
    raise ValueError("scale: expected one of %s, got %r" % (", ".join(SCALES), scale))
