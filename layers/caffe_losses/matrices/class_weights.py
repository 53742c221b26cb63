"""Class weights and log priors from label counts, so that rare classes count for more."""
from __future__ import division, print_function

import collections

import numpy as np

# The weights, as functions of the counts, their frequencies, the number of classes and beta.
_KINDS = collections.OrderedDict([
    ("max_over_count", lambda counts, frequency, L, beta: counts.max() / counts),
    ("balanced", lambda counts, frequency, L, beta: counts.sum() / (L * counts)),
    ("inverse", lambda counts, frequency, L, beta: 1 / counts),
    ("effective_number", lambda counts, frequency, L, beta:
        (1 - beta) / -np.expm1(counts * np.log(beta)) if beta else np.ones(len(counts))),
    ("median_frequency", lambda counts, frequency, L, beta: np.median(frequency) / frequency)])
KINDS = tuple(_KINDS)

# The factors, as functions of the weights and the counts.
_SCALES = collections.OrderedDict([
    ("sum", lambda weights, counts: 1 / weights.sum()),
    ("sample", lambda weights, counts: counts.sum() / (counts * weights).sum()),
    ("classes", lambda weights, counts: len(weights) / weights.sum()),
    ("none", lambda weights, counts: 1.0)])
SCALES = tuple(_SCALES)

MISSING_PRIORS = ("least", "error")


def class_weights(counts, kind="max_over_count", beta=None, power=1.0, scale="sum", missing="zero", present=None):
    """Return one weight per class, from how often each class occurs.

    With n_c the count of class c, n their sum, L the number of classes:

        max_over_count    w_c = max_k n_k / n_c
        balanced          w_c = n / (L n_c)
        inverse           w_c = 1 / n_c
        effective_number  w_c = (1 - beta) / (1 - beta^n_c)
        median_frequency  w_c = median of the f_k > 0 / f_c, f_c = n_c / m_c

    then w_c^power, then the scale:

        sum      sum_c w_c = 1 (the published ComputeH)
        sample   sum_c n_c w_c / n = 1: the average sample weighs 1, and so the learning rate keeps its meaning
        classes  sum_c w_c = L (Cui et al.)
        none     unchanged

    counts: L numbers, not negative, in samples (fractions are fine).
    beta: float in [0, 1), for effective_number only (required there).
    power: float; 1 leaves the weights, 0.5 is a square root, 0 makes all equal.
    missing: for a class with count 0: "zero" (weight 0) or "error".
    present: L numbers m_c, for median_frequency of labels in images: all pixels, also ignored ones, of the images that
        hold class c. None: the same for all classes, as where every sample has one label.
    Returns L weights, float64; all 0 if all counts are 0. Raises ValueError.
    Source: scikit-learn (balanced); Cui et al. 2019, arXiv 1901.05555 (effective_number); Eigen and Fergus 2015, arXiv
    1411.4734, section 6.3.2, and SegNet, arXiv 1511.00561 (median_frequency).
    """
    counts = _checked_counts(counts, missing)
    for name, value, known in (("weights", kind, KINDS), ("scale", scale, SCALES)):
        if value not in known:
            raise ValueError("%s: expected one of %s, got %r" % (name, ", ".join(known), value))
    if kind == "effective_number" and (beta is None or not 0 <= beta < 1):
        raise ValueError("beta: expected a number in [0, 1) with effective_number, got %s" % beta)
    if not 0 <= power < np.inf:
        raise ValueError("power: expected a number of at least 0, got %g" % power)
    occurs = counts > 0
    frequency = counts[occurs] if present is None else _frequency(counts, present)[occurs]
    weights = np.zeros(len(counts))
    if not occurs.any():
        return weights
    with np.errstate(over="ignore", invalid="ignore"):
        weights[occurs] = _KINDS[kind](counts[occurs], frequency, len(counts), beta) ** power
        weights *= _SCALES[scale](weights, counts)
    if not np.isfinite(weights).all():
        raise ValueError("power: expected one that leaves the weights finite, got %g" % power)
    return weights


def log_prior(counts, strength=1.0, missing="least"):
    """Return what logit adjustment adds to the score of each class in training: the log of how often it occurs.

        a_c = strength log(n_c / n),  n_c the count of class c, n their sum

    counts: C numbers, not negative, in samples (fractions are fine).
    strength: float, at least 0; 1 is the prior itself, 0 leaves the scores as they are.
    missing: for a class with count 0: "least" (as if it were as frequent as the rarest that occurs) or "error".
    Returns C numbers, float64; all 0 if all counts are 0. Raises ValueError.
    Source: Menon et al. 2021, arXiv 2007.07314, equation 10.
    """
    counts = _checked_counts(counts, missing)
    if missing not in MISSING_PRIORS:
        raise ValueError("missing: expected one of %s, got %r" % (", ".join(MISSING_PRIORS), missing))
    if not 0 <= strength <= np.finfo(np.float32).max / 1e4:  # the log of a float64 is above -1e4
        raise ValueError("strength: expected a number of at least 0, that float32 holds, got %g" % strength)
    if not counts.any():
        return counts
    most = counts.max()
    logs = np.log(np.where(counts > 0, counts, counts[counts > 0].min())) - np.log(most)
    return strength * (logs - np.log((counts / most).sum()))


def check_weights(weights):
    """Return weights as a float array if they can serve as class weights.

    weights: L numbers, finite, not negative, not all 0. Raises ValueError, naming the first bad one.
    """
    w = np.asarray(weights, np.float64)
    _check_not_negative(w, "class weights")
    if w.ndim != 1 or not w.any():
        raise ValueError("class weights: expected at least one above 0, got %s" % ("none" if w.size else "no numbers"))
    return w


def _checked_counts(counts, missing):
    counts = np.asarray(counts, np.float64)
    if counts.ndim != 1 or not len(counts):
        raise ValueError("counts: expected one number per class, got an array of shape %s" % (counts.shape,))
    _check_not_negative(counts, "counts")
    if missing == "error" and not counts.all():
        raise ValueError('counts: expected every class to occur (missing is "error"), got none of class %d'
                         % np.argmin(counts))
    return counts


def _check_not_negative(numbers, name):
    with np.errstate(invalid="ignore"):
        bad = ~(np.isfinite(numbers) & (numbers >= 0))
    if bad.any():
        raise ValueError("%s: expected numbers of at least 0, got %g for class %d"
                         % (name, numbers[bad][0], np.argmax(bad)))


def _frequency(counts, present):
    present = np.asarray(present, np.float64)
    with np.errstate(invalid="ignore"):
        enough = present.shape == counts.shape and (present >= counts).all()
    if not enough:
        raise ValueError("present: expected for each of %d classes a number of at least its count, got %s"
                         % (len(counts), present))
    return np.divide(counts, present, out=np.zeros(len(counts)), where=counts > 0)
