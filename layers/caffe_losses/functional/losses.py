"""Losses and their gradients, as functions on blocks of positions.

A loss takes scores x (outer x C, or outer x C x inner), class labels l (outer, or outer x inner) and a Matrix. It
returns the loss of every position, and writes the gradient of their sum, and the probabilities, into arrays it is
given. A bad score makes its loss NaN; `check_scores` names it. `blocks.batch_loss` does both to a batch.
"""
from __future__ import division, print_function

import numpy as np

from caffe_losses.validation import refuse

LOG_THRESHOLD = 1e-20  # a smaller p counts as this in InfogainLoss: kLOG_THRESHOLD of Caffe
FEW_SCORES = 4096  # of which the largest is found sooner than np.errstate is set
MANY_CLASSES = 500  # whose numbers at one position are worth a call of numpy's innermost loop
LEAST_SUM, LARGEST_SUM = 1e-6, 1e20  # of exp(x): between them float32 loses no exp that counts
LARGEST_SCORE = 37  # with which a sum of FEW_SCORES exp is no larger
LEAST_EXP = 1e-15  # by which a sum of exp(x) can be divided in float32
PROBABILITY_SLACK = 1e-3  # more than rounding adds to a probability, and less than a score is off


def diagonal_of(matrix):
    """Return a copy of the diagonal of a C x C matrix that is 0 elsewhere, else None."""
    n = len(matrix)
    elsewhere = matrix.reshape(-1)[1:].reshape(n - 1, n + 1)[:, :-1]  # each row from the diagonal on to the next
    return None if elsewhere.any() else matrix.diagonal().copy()


def matrix_of(rows):
    """Return a C x C matrix as a Diagonal where it is 0 elsewhere, else as a Matrix."""
    diagonal = diagonal_of(rows)
    return Matrix(rows) if diagonal is None else Diagonal(diagonal)


class Diagonal(object):
    """A C x C matrix that is 0 beside its diagonal, as one of class weights is: no rows of it are taken."""

    def __init__(self, diagonal):
        self.diagonal = self.numbers = diagonal
        self.shape = 2 * diagonal.shape


class Matrix(object):
    """A C x C matrix M[true, predicted] whose rows are taken by label."""

    diagonal = None

    def __init__(self, rows):
        self.rows = self.numbers = np.array(rows, order="C")  # a copy: a blob's memory is the net's
        self.shape = self.rows.shape
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
    """Return z, e = exp(z) (in `out`, if given) and s = sum_k e_k: p = e / s, log p = z - log s.

    z is x where every s then is well within float32, as that saves passes over x; else x - max_k x_k.
    """
    if x.size > FEW_SCORES:
        with np.errstate(over="ignore", invalid="ignore"):
            e = np.exp(x, out=out)
            s = np.einsum("oc->o", e) if x.ndim == 2 else np.add.reduce(e, 1)
            if np.count_nonzero((s > LEAST_SUM) & (s < LARGEST_SUM)) == s.size:
                return x, e, s
    elif x.size and np.maximum.reduce(x, None) < LARGEST_SCORE:  # np.errstate takes longer
        e = np.exp(x, out=out)
        s = np.add.reduce(e, 1)
        if s.item(s.argmin()) > LEAST_SUM:
            return x, e, s
    largest = _max_over_classes(x)
    finite = np.isfinite(largest)
    if np.count_nonzero(finite) < finite.size:
        largest = np.where(finite, largest, np.nan)  # numpy would warn of Inf - Inf
    z = x - largest[:, None]
    e = np.exp(z, out=out)
    return z, e, np.add.reduce(e, 1)


def softmax_with_infogain(x, l, H, gradient=None, p=None, masked=False, factor=None):
    """Return -sum_j H[l, j] log p_j with p = softmax(x), from the log-softmax.

        dx_k = p_k sum_j H[l, j] - H[l, k]

    x: scores. l: labels. H: Matrix or Diagonal of gains. gradient, p: arrays of the shape of x to write into, or None.
    masked: whether a score may be -Inf; such a class with a gain of 0 adds nothing. factor: array of the shape of l, or
    None; of a loss and a matrix with which `leaves_factor`, it gets the number by which each position's gradient is to
    be multiplied still. Returns an array of the shape of l.
    Source: Caffe, infogain_loss_layer.cpp, which takes log(max(p, 1e-20)).
    """
    if H.diagonal is not None:
        return _weighted_log_loss(x, l, H.diagonal.take(l), gradient, p, masked, factor)
    z, e, s = softmax_parts(x, out=gradient)
    gain, gain_sum = H.of(l), H.sums.take(l)
    loss = gain_sum * np.log(s) - _sum_over_classes(gain, z, masked)
    if p is not None:
        np.divide(e, s[:, None], out=p)
    if gradient is not None:
        multiply(gradient, gain_sum / s, gradient)
        gradient -= gain
    return loss


def leaves_factor(loss, matrix, shape):
    """Return whether a loss on scores of a shape is to leave a factor out of its gradient, which saves a pass."""
    return (loss is softmax_with_infogain and matrix.diagonal is not None and len(shape) == 2
            and shape[0] * shape[1] > FEW_SCORES)


def _weighted_log_loss(x, l, weight, gradient, p, masked, factor=None):
    """Return -w log p_l with p = softmax(x), and write the gradient, w (p_k - [k = l]).

    weight: w of every position. Other parameters as of softmax_with_infogain.
    """
    z, e, s = softmax_parts(x, out=None if factor is None else gradient)
    e = np.ascontiguousarray(e)  # which it is, unless x is in another order: the index is flat
    at = _flat_index(l, x.shape)
    e_l = e.take(at)
    if l.size and e_l.item(e_l.argmin()) > LEAST_EXP:  # of a NaN old numpy would warn in e_l > LEAST_EXP
        loss = weight * np.log(s / e_l)  # log s - x_l would round
    else:
        with np.errstate(invalid="ignore"):  # of 0 * Inf
            loss = weight * (np.log(s) - z.take(at))
        if masked:
            loss[weight == 0] = 0
    if p is not None:
        np.divide(e, s[:, None], out=p)
    if gradient is not None:
        e.reshape(-1)[at] = e_l - s
        if factor is None:
            multiply(e, weight / s, gradient)
        else:
            np.divide(weight, s, out=factor)
    return loss


def infogain(x, l, H, gradient=None, p=None, masked=False):
    """Return -sum_j H[l, j] log q_j with q = max(x, 1e-20): x are probabilities already.

        dx_j = -H[l, j] / q_j

    Parameters as of softmax_with_infogain; p is not written. A number outside 0..1 makes all losses of the block NaN.
    Source: Caffe before April 2017, infogain_loss_layer.cpp.
    """
    if x.size and not (x.min() >= -PROBABILITY_SLACK and x.max() <= 1 + PROBABILITY_SLACK):
        return np.full(l.shape, np.nan)
    q = np.ascontiguousarray(np.maximum(x, x.dtype.type(LOG_THRESHOLD)))
    if H.diagonal is not None:
        at, weight = _flat_index(l, x.shape), H.diagonal.take(l)
        q_l = q.take(at)
        if gradient is not None:
            q.fill(0)
            q.reshape(-1)[at] = -weight / q_l
            gradient[...] = q
        return -weight * np.log(q_l)
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
    return _weighted_log_loss(x, l, D.rows[l, x.argmax(axis=1)], gradient, p, masked)


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


def multiply(e, factor, out):
    """Write e times the factor of every position to out."""
    if e.ndim > 2 or e.shape[1] < MANY_CLASSES:
        np.multiply(e, factor[:, None], out=out)
        return
    size = np.setbufsize(16)  # numpy repeats the factors in its buffer, if that is larger than a row
    try:
        np.multiply(e, factor[:, None], out=out)
    finally:
        np.setbufsize(size)


def _flat_index(l, shape):
    """Return the index of class l of every position in the numbers of a contiguous array like the scores."""
    if l.ndim == 1:
        return l + np.arange(0, shape[0] * shape[1], shape[1])
    outer, n_classes, inner = shape
    return (l + np.arange(0, outer * n_classes, n_classes)[:, None]) * inner + np.arange(inner)


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
