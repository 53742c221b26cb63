"""Losses and their gradients, as functions on blocks of positions.

A loss takes scores x (outer x C, or outer x C x inner), class labels l (outer, or outer x inner) and a Matrix. It
returns the loss of every position, and writes the gradient of their sum, and the probabilities, into arrays it is
given. A bad score makes its loss NaN; `check_scores` names it. `blocks.batch_loss` does both to a batch.
"""
from __future__ import division, print_function

import numpy as np

from caffe_losses.validation import refuse

LOG_THRESHOLD = 1e-20  # a smaller p counts as this in InfogainLoss: kLOG_THRESHOLD of Caffe
PROBABILITY_SLACK = 1e-3  # more than rounding adds to a probability, and less than a score is off


class Matrix(object):
    """A C x C matrix M[true, predicted] whose rows are taken by label."""

    def __init__(self, rows):
        self.rows = np.array(rows, order="C")  # a copy: a blob's memory is the net's
        self.sums = np.add.reduce(self.rows, axis=1)
        self._columns = None

    def of(self, labels):
        """Return M[l] for every position, laid out as the scores are."""
        if labels.ndim == 1:
            return self.rows.take(labels, axis=0)
        if self._columns is None:
            self._columns = np.ascontiguousarray(self.rows.T)
        return self._columns.take(labels, axis=1).transpose(1, 0, 2)


def softmax_parts(x, out=None):
    """Return z = x - max_k x_k, e = exp(z) (in `out`, if given) and s = sum_k e_k: p = e / s, log p = z - log s."""
    largest = _max_over_classes(x)
    finite = np.isfinite(largest)
    if np.count_nonzero(finite) < finite.size:
        largest = np.where(finite, largest, np.nan)  # numpy would warn of Inf - Inf; np.errstate takes longer
    z = x - largest[:, None]
    e = np.exp(z, out=out)
    return z, e, np.add.reduce(e, 1)


def softmax_with_infogain(x, l, H, gradient=None, p=None, masked=False):
    """Return -sum_j H[l, j] log p_j with p = softmax(x), from the log-softmax.

        dx_k = p_k sum_j H[l, j] - H[l, k]

    x: scores. l: labels. H: Matrix of gains. gradient, p: arrays of the shape of x to write into, or None. masked:
    whether a score may be -Inf; such a class with a gain of 0 adds nothing. Returns an array of the shape of l.
    Source: Caffe, infogain_loss_layer.cpp, which takes log(max(p, 1e-20)).
    """
    z, e, s = softmax_parts(x, out=gradient)
    gain, gain_sum = H.of(l), H.sums.take(l)
    loss = gain_sum * np.log(s) - _sum_over_classes(gain, z, masked)
    if p is not None:
        np.divide(e, s[:, None], out=p)
    if gradient is not None:
        gradient *= (gain_sum / s)[:, None]
        gradient -= gain
    return loss


def infogain(x, l, H, gradient=None, p=None, masked=False):
    """Return -sum_j H[l, j] log q_j with q = max(x, 1e-20): x are probabilities already.

        dx_j = -H[l, j] / q_j

    Parameters as of softmax_with_infogain; p is not written. A number outside 0..1 makes all losses of the block NaN.
    Source: Caffe before April 2017, infogain_loss_layer.cpp.
    """
    if x.size and not (x.min() >= -PROBABILITY_SLACK and x.max() <= 1 + PROBABILITY_SLACK):
        return np.full(l.shape, np.nan)
    q = np.maximum(x, x.dtype.type(LOG_THRESHOLD))
    gain = H.of(l)
    loss = -_sum_over_classes(gain, np.log(q))
    if gradient is not None:
        np.divide(gain, q, out=gradient)
        np.negative(gradient, out=gradient)
    return loss


def cost_scaled_softmax(x, l, D, gradient=None, p=None, masked=False):
    """Return -D[l, argmax x] log p_l with p = softmax(x), D[l, argmax x] held constant.

        dx_k = D[l, argmax x] (p_k - [k = l])

    Parameters as of softmax_with_infogain; D: Matrix of costs.
    """
    z, e, s = softmax_parts(x, out=gradient)
    cost = D.rows[l, z.argmax(axis=1)]
    with np.errstate(invalid="ignore"):  # of 0 * Inf
        loss = cost * (np.log(s) - z[_at(l)])
    if masked:
        loss[cost == 0] = 0
    if p is not None:
        np.divide(e, s[:, None], out=p)
    if gradient is not None:
        gradient *= (cost / s)[:, None]
        gradient[_at(l)] -= cost
    return loss


def expected_cost(x, l, D, gradient=None, p=None, masked=False):
    """Return sum_j D[l, j] p_j with p = softmax(x).

        dx_k = p_k (D[l, k] - sum_j D[l, j] p_j)

    Parameters as of softmax_with_infogain; D: Matrix of costs.
    """
    _, e, s = softmax_parts(x)
    e /= s[:, None]
    cost = D.of(l)
    loss = _sum_over_classes(cost, e)
    if p is not None:
        p[...] = e
    if gradient is not None:
        np.subtract(cost, loss[:, None], out=gradient)
        gradient *= e
    return loss


def _max_over_classes(x):
    if x.ndim == 2 or len(x) * x.shape[2] < 512:
        return np.maximum.reduce(x, 1)
    # Into a second array: in place, and so in reduce, numpy takes no vector instructions.
    largest = x[:, 0]
    spare = [np.empty_like(largest), np.empty_like(largest)]
    for c in range(1, x.shape[1]):
        largest = np.maximum(largest, x[:, c], out=spare[c % 2])
    return largest


def _sum_over_classes(weight, values, masked=False):
    if masked:
        values = np.where(weight == 0, 0, values)
    return np.einsum("oc,oc->o" if values.ndim == 2 else "oci,oci->oi", weight, values)


def _at(l):
    """Return the index of class l of every position in an array like the scores."""
    grid = np.ogrid[tuple(slice(n) for n in l.shape)]
    return (grid[0], l) + tuple(grid[1:])


def check_scores(loss, x, name):
    """Raise ValueError, naming the first score that makes a loss NaN, if there is any."""
    axes = ", ".join(("outer", "class", "inner")[:x.ndim])
    if loss is infogain:
        with np.errstate(invalid="ignore"):
            good = (x >= -PROBABILITY_SLACK) & (x <= 1 + PROBABILITY_SLACK)
        refuse(x, ~good, name, "a probability, as from a Softmax layer (SoftmaxWithInfogainLoss takes scores)", axes)
        return
    bad = np.isnan(x) | (x == np.inf)
    if not bad.any():
        bad = np.broadcast_to((x == -np.inf).all(axis=1)[:, None], x.shape)
    refuse(x, bad, name, "a finite number (or -Inf for a masked class, not for all classes)", axes)
