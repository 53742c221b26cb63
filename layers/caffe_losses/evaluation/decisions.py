"""Decisions from a trained net's scores: calibrated probabilities, class weights and expected costs.

    p = temperature_scaled(scores, fit_temperature(other_scores, other_labels))
    decided = weighted_probabilities(p, weights).argmax(axis=1)
    decided = expected_cost_scores(p, D, weights).argmax(axis=1)

Arguments: scores x, N x C x spatial or N x C, with the classes along `axis` (a score may be -Inf, a masked class, but
not all of a position); labels N x spatial, whole numbers 0..C-1 or `ignore_label` (an int; None: there is none); p
shaped as the scores, finite, not negative and above 0 for some class at every position, its sums need not be 1; weights
C numbers, finite, not negative, not all 0; D C x C costs, D[true, predicted], 0 on the diagonal. Of what a net gives as
probabilities the scores are log(max(p, 1e-30)).

Results are float64. Every function raises ValueError for anything else, for a wrong size and for no sample at all.
"""
from __future__ import division, print_function

import numpy as np

from caffe_losses.errors import naming
from caffe_losses.functional.losses import check_scores, softmax_parts, softmax_with_infogain
from caffe_losses.matrices.class_weights import check_weights
from caffe_losses.matrices.gains import check_cost
from caffe_losses.validation import as_float64, label_index, refuse, shape_text

TEMPERATURES = 1e-4, 1e4  # between which fit_temperature looks
PRECISION = 1e-4  # of a fitted temperature, relative


def temperature_scaled(scores, temperature, axis=1):
    """Return the probabilities softmax(x / T), shaped as the scores.

    temperature: float, T > 0: above 1 the net is less sure, below 1 surer. The order of the classes stays.
    Source: Guo et al. 2017, On calibration of modern neural networks, arXiv 1706.04599.
    """
    T = as_float64(temperature, "temperature")
    if T.ndim or not 0 < T < np.inf:
        raise ValueError("temperature: expected a number above 0, got %s" % (temperature,))
    below = _below_largest(_checked_scores(scores, axis))
    with np.errstate(over="ignore"):  # to -Inf, whose probability is 0
        below /= T
    _, e, s = softmax_parts(below)
    e /= s[:, None]
    return np.moveaxis(e, 1, axis)


def fit_temperature(scores, labels, axis=1, ignore_label=None):
    """Return the temperature T that minimises the mean of -log p[label], with p = softmax(x / T).

    There the mean of sum_j p_j x_j - x[label] is 0. It is above 0 for every smaller T, below 0 for every larger one, so
    that bisection finds T.

    scores: of samples that the net was not trained on.
    Returns a float between 1e-4 and 1e4. It is 1e-4 where every label has the largest score (the surer, the better),
    1e4 where the scores say nothing of the labels, and 1 where the scores of each position are equal (any T will do).
    Raises ValueError, too, if no label counts, or if the score of one that does is -Inf.
    Source: Guo et al. 2017, On calibration of modern neural networks, arXiv 1706.04599.
    """
    below = np.moveaxis(_below_largest(_checked_scores(scores, axis)), 1, -1)
    index, valid = check_labels(labels, below.shape[:-1], below.shape[-1], ignore_label)
    below, index = below[valid], index[valid]
    if not len(index):
        raise ValueError("labels: expected one that is not ignored, got none")
    of_label = below[np.arange(len(index)), index]
    masked = np.isinf(of_label)
    if masked.any():
        raise ValueError("scores: expected a finite score of every label, got -inf for one of class %d"
                         % index[np.argmax(masked)])
    finite = np.where(np.isinf(below), 0, below)  # a masked class has p = 0, and 0 * -Inf would be NaN
    if not finite.any():
        return 1.0
    low, high = TEMPERATURES
    while high > low * (1 + PRECISION):
        T = np.sqrt(low * high)
        _, e, s = softmax_parts(below / T)
        if np.mean((e * finite).sum(axis=1) / s - of_label) > 0:
            low = T
        else:  # 0 as well: at small T every p is 0 or 1
            high = T
    return float(high if high == TEMPERATURES[1] else low)


def cross_fitted_temperature(scores, labels, axis=1, ignore_label=None):
    """Calibrate each half of the samples by the temperature fitted on the other half.

    So all samples serve to evaluate, and none has a part in its own temperature.

    Returns (probabilities shaped as the scores, temperatures: 2 floats, the first one applied to the half that has the
    first sample of the order of `halves`). Raises ValueError, too, if no label of a half counts.
    Source: Guo et al. 2017, arXiv 1706.04599.
    """
    x = _checked_scores(scores, axis)
    shape = x.shape[:1] + x.shape[2:]
    check_labels(labels, shape, x.shape[1], ignore_label)
    labels = np.reshape(labels, shape)
    p, temperatures = np.empty(x.shape), []
    for half, other in halves(labels, len(x)):
        temperatures.append(fit_temperature(x[other], labels[other], 1, ignore_label))
        p[half] = temperature_scaled(x[half], temperatures[-1])
    return np.moveaxis(p, 1, axis), tuple(temperatures)


def halves(labels, n_samples):
    """Return ((indices of one half of the samples, of the other), the same the other way round).

    Samples with one label go, in the order of their labels, to either half in turn: each half has its share of every
    class. Images with a label for each pixel go in turn as they come. Raises ValueError for less than two samples.
    """
    if n_samples < 2:
        raise ValueError("scores: expected two samples or more, got %d" % n_samples)
    labels = np.ravel(labels)
    order = np.argsort(labels, kind="mergesort") if labels.size == n_samples else np.arange(n_samples)
    return (order[::2], order[1::2]), (order[1::2], order[::2])


def weighted_probabilities(p, weights, axis=1):
    """Return w_j p_j, the probabilities times class weights, not divided by their sum.

    Their largest is the decision; of p = softmax(x) it is the class of the largest x_j + log w_j. With w inverse to the
    frequencies of the classes in the training data that is the decision of the best mean recall, given that the
    probabilities are right.
    Source: Elkan 2001, The foundations of cost-sensitive learning; Menon et al. 2021, Long-tail learning via logit
    adjustment, arXiv 2007.07314.
    """
    p = check_probabilities(p, axis)
    return np.moveaxis(np.moveaxis(p, axis, -1) * _checked_weights(weights, p.shape[axis]), -1, axis)


def expected_cost_scores(p, D, weights=None, axis=1):
    """Return minus the expected cost of deciding for each class: the largest is the best. Shaped as p.

        score_k = -sum_j w_j p_j D[j, k]

    weights: None: all are 1.
    Source: Elkan 2001, The foundations of cost-sensitive learning.
    """
    p = check_probabilities(p, axis)
    D = check_costs(D, p.shape[axis])
    if weights is not None:
        D = _checked_weights(weights, len(D))[:, None] * D
    return np.moveaxis(np.tensordot(p, -D, (axis, 0)), -1, axis)


def check_probabilities(p, axis=1):
    """Return probabilities as float64; raise ValueError unless finite, not negative and above 0 for some class."""
    p = as_float64(p, "probabilities")
    if p.ndim < 2 or not p.size:
        raise ValueError("probabilities: expected N x C (x spatial), got shape %s" % (p.shape,))
    with np.errstate(invalid="ignore"):
        bad = ~((p >= 0) & (p < np.inf))
    refuse(p, bad, "probabilities", "a finite number of at least 0, as from a Softmax layer")
    refuse(p, np.zeros(p.shape, bool) | ~p.any(axis=axis, keepdims=True), "probabilities",
           "a number above 0 for one class at least")
    return p


def check_costs(D, n_classes=None):
    """Return costs as float64; raise ValueError for another matrix, or one of another number of classes."""
    D = check_cost(as_float64(D, "D"))
    if n_classes not in (None, len(D)):
        raise ValueError("D: expected %d x %d, got %s" % (n_classes, n_classes, shape_text(D.shape)))
    return D


def check_labels(labels, shape, n_classes, ignore_label=None, name="labels"):
    """Return the class of each position, 0 where ignored, and where it is not ignored: two arrays of a shape.

    labels: of that shape; axes of length 1 may be more or fewer (N x 1 x height x width, as Caffe has them).
    name: str, what an error calls them. Raises ValueError.
    """
    with naming(name):
        labels = np.asarray(labels)
        if [n for n in labels.shape if n != 1] != [n for n in shape if n != 1]:
            raise ValueError("expected %s samples, got %s" % (shape_text(shape), shape_text(labels.shape)))
        index, valid = label_index(as_float64(labels, "label").reshape(shape), n_classes, ignore_label)
    return index, np.ones(shape, bool) if valid is None else valid


def _checked_scores(scores, axis):
    """Return scores as float64, the class axis moved to 1."""
    x = as_float64(scores, "scores")
    if x.ndim < 2 or not x.size:
        raise ValueError("scores: expected N x C (x spatial), got shape %s" % (x.shape,))
    x = np.moveaxis(x, axis, 1)
    check_scores(softmax_with_infogain, x if x.ndim < 4 else x.reshape(x.shape[:2] + (-1,)), "scores")
    return x


def _below_largest(x):
    """Return scores minus the largest of their position, in a new array."""
    with np.errstate(over="ignore"):
        return x - x.max(axis=1, keepdims=True)


def _checked_weights(weights, n_classes):
    weights = check_weights(as_float64(weights, "class weights"))
    if len(weights) != n_classes:
        raise ValueError("class weights: expected %d numbers, got %d" % (n_classes, len(weights)))
    return weights
