"""The losses: value and gradient as functions on arrays, without Caffe.

Scores are seen as outer x C x inner (Caffe's outer_num_ and inner_num_ around
the class axis), labels as outer x inner.
"""
from __future__ import division, print_function

import collections

import numpy as np

from caffe_losses.weights import label_index, position

NORMALIZATIONS = ("FULL", "VALID", "BATCH_SIZE", "NONE")

# What one position of a batch is: class labels (0 where ignored), a mask of those
# not ignored (None: all are valid), and how many those are.
Labels = collections.namedtuple("Labels", "index valid count")


def read_labels(labels, shape, ignore_label=None, name="label"):
    """Labels held as floats, checked.

    labels: outer * inner of them in an array of any shape.
    shape: (outer, C, inner) of the scores. name: str, what an error calls them.
    Returns Labels. Raises ValueError, naming the first bad label and its position.
    """
    outer, n_classes, inner = shape
    index, valid = label_index(labels, n_classes, ignore_label, name)
    index = index.reshape(outer, inner)
    valid = None if valid is None else valid.reshape(outer, inner)
    count = index.size if valid is None else int(np.count_nonzero(valid))
    return Labels(index, valid, count)


def normalizer(normalization, labels):
    """What the sum over a batch is divided by; at least 1.

        FULL        all positions, outer * inner
        VALID       those not ignored
        BATCH_SIZE  outer
        NONE        1

    Source: Caffe, softmax_loss_layer.cpp, get_normalizer.
    """
    outer, inner = labels.index.shape
    return max(1, {"FULL": outer * inner, "VALID": labels.count,
                   "BATCH_SIZE": outer, "NONE": 1}[normalization])


def log_softmax(x, name="score"):
    """Softmax over the class axis, and its log, from the scores.

        p_k = exp(x_k - m) / s,  log p_k = (x_k - m) - log s,
        m = max_k x_k,  s = sum_k exp(x_k - m)

    x: outer x C x inner. -Inf masks a class: its p is 0.
    name: str, what an error calls the scores.
    Returns (p, shifted, log_s): p and shifted = x - m have the shape of x, log_s
    is outer x 1 x inner.
    Raises ValueError for a score that is NaN or +Inf, or where all are -Inf.
    """
    m = x.max(axis=1, keepdims=True) if x.size else x[:, :1]
    if not np.isfinite(m).all():
        raise ValueError(_bad_score(x, name))
    shifted = x - m
    p = np.exp(shifted)
    s = p.sum(axis=1, keepdims=True)
    p /= s
    return p, shifted, np.log(s)


def _bad_score(x, name):
    bad = np.isnan(x) | (x == np.inf)
    if not bad.any():
        bad = np.broadcast_to((x == -np.inf).all(axis=1, keepdims=True), x.shape)
    first = np.unravel_index(np.argmax(bad), x.shape)
    return ("%s at (outer, class, inner) = %s: expected a finite number (or -Inf for a masked class, "
            "but not for all classes), got %g" % (name, position(first), x[first]))


def gain_rows(H, labels):
    """H[l] of every position, laid out as the scores: outer x C x inner."""
    return H.T.take(labels.index, axis=1).transpose(1, 0, 2)


def softmax_with_infogain(x, labels, H, name="score"):
    """Sum over the valid positions of the infogain loss of softmax(x).

        loss of one position = -sum_j H[l, j] log p_j
                             = log s sum_j H[l, j] - sum_j H[l, j] (x_j - m)

    x: scores, outer x C x inner. labels: Labels. H: gain, C x C.
    name: str, what an error calls the scores.
    Returns (loss, p): the sum as a float, not normalised, and the probabilities.
    Raises ValueError for bad scores.
    Source: Caffe, infogain_loss_layer.cpp, but from the log-softmax, never log(p).
    """
    p, shifted, log_s = log_softmax(x, name)
    rows = gain_rows(H, labels)
    gained = np.einsum("ock,ock->ok", rows, shifted)
    if not np.isfinite(gained).all():  # a masked class: 0 * -Inf counts for nothing
        with np.errstate(invalid="ignore"):
            gained = np.where(rows == 0, 0, rows * shifted).sum(axis=1)
    loss = row_sums(H)[labels.index] * log_s[:, 0] - gained
    return _sum_valid(loss, labels.valid), p


def softmax_with_infogain_gradient(p, labels, H, scale):
    """Gradient of scale * (the sum above) with respect to the scores.

        dx_k = scale (p_k sum_j H[l, j] - H[l, k]), 0 where ignored

    p: probabilities, outer x C x inner. scale: float, w / Z.
    Returns an array of the shape of p.
    """
    dx = p * row_sums(H)[labels.index][:, np.newaxis].astype(p.dtype)
    dx -= gain_rows(H, labels)
    dx *= scale
    if labels.valid is not None:
        dx *= labels.valid[:, np.newaxis]
    return dx


def row_sums(H):
    """sum_j H[l, j] of every row, float64."""
    return H.sum(axis=1, dtype=np.float64)


def _sum_valid(loss, valid):
    if valid is not None:
        loss = loss[valid]
    return float(loss.sum(dtype=np.float64))
