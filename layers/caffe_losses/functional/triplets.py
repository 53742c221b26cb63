"""Distances of rows, the softmax ratio loss of triplets, and their gradients.

Samples are rows: N x C arrays, float32 as blobs are. Differences are taken and squared in float64, where neither 1e-45
underflows nor 3e38 overflows.
"""
from __future__ import division, print_function

import collections

import numpy as np

from caffe_losses.validation import check_finite

NORMS = ("l2", "squared_l2")
FORMS = ("mse", "log")

# Numbers in a block of rows: their differences, in float64, fit a processor's cache.
BLOCK = 2 ** 15


def distances(x1, x2, norm="l2", names=("x1", "x2")):
    """Return the distance of each row of x1 from the row of x2, N float64.

        a = ||x1 - x2||, or its square with norm "squared_l2"

    x1, x2: N x C. names: two str, for an error. Raises ValueError, naming the first number that is not finite.
    """
    squares = np.empty(len(x1))
    with np.errstate(invalid="ignore"):  # of Inf - Inf
        for rows in _blocks(x1):
            d = np.subtract(x1[rows], x2[rows], dtype=np.float64)
            squares[rows] = np.einsum("nc,nc->n", d, d)
    if not np.isfinite(squares).all():
        for x, name in zip((x1, x2), names):
            check_finite(x, name)
    return np.sqrt(squares, out=squares) if norm == "l2" else squares


def slopes(distance, norm="l2"):
    """Return the factors, N float64, that make the differences of rows the gradients of their distances.

        da/dx1 = (x1 - x2) / a, and 0 where a = 0; 2 (x1 - x2) with norm "squared_l2"

    distance: N numbers, of `distances`.
    """
    if norm == "squared_l2":
        return np.full(len(distance), 2.)
    return np.divide(1, distance, out=np.zeros(len(distance)), where=distance > 0)


def distance_gradient(x1, x2, factor, out1=None, out2=None):
    """Write factor * (x1 - x2) to out1 and its negative to out2, row by row.

    factor: N numbers, the gradient with respect to each distance times its slope. out1, out2: N x C, or None.
    """
    for rows in _blocks(x1):
        d = np.subtract(x1[rows], x2[rows], dtype=np.float64)
        d *= factor[rows, None]
        if out1 is not None:
            out1[rows] = d
        if out2 is not None:
            np.negative(d, out=d)
            out2[rows] = d


def _blocks(x):
    height = max(1, BLOCK // x.shape[1])
    return [slice(i, i + height) for i in range(0, len(x), height)]


# For every triplet: its loss, the loss's derivative with respect to a (negated: to b), and d+.
Ratio = collections.namedtuple("Ratio", "loss slope d_plus")


def softmax_ratio(a, b, form="mse"):
    """Return the softmax ratio loss of each triplet.

        d+ = e^a / (e^a + e^b)
        mse: loss = d+^2,              dloss/da = 2 d+^2 (1 - d+)
        log: loss = log(1 + e^(a-b)),  dloss/da = d+
        dloss/db = -dloss/da

    a, b: N distances each, of the anchor from the positive and from the negative.
    form: "mse" is the paper's (half of its ||(d+, d- - 1)||^2); its gradient is largest, 8/27, at d+ = 2/3 and
        vanishes on the hardest triplets, where "log" keeps its own.
    Returns a Ratio of N float64 each.
    Source: Hoffer and Ailon, Deep metric learning using triplet network, 2015, arXiv 1412.6622, section 3.
    """
    u = a - b
    small = np.exp(-np.abs(u))
    larger = 1 / (1 + small)  # of d+ and d-
    d_plus = np.where(u > 0, larger, small * larger)
    if form == "log":
        return Ratio(np.maximum(u, 0) + np.log1p(small), d_plus, d_plus)
    squared = d_plus * d_plus
    return Ratio(squared, 2 * squared * np.where(u > 0, small * larger, larger), d_plus)


def triplet_gradient(anchor, positive, negative, to_positive, to_negative, outs):
    """Write the gradient of the sum over triplets of a loss of their two distances.

    anchor, positive, negative: N x C.
    to_positive, to_negative: N numbers each, the derivative with respect to the distance times its slope.
    outs: three arrays N x C to write into, None for each that is not wanted.
    """
    for rows in _blocks(anchor):
        x = anchor[rows]
        p = np.subtract(x, positive[rows], dtype=np.float64)
        p *= to_positive[rows, None]
        n = np.subtract(x, negative[rows], dtype=np.float64)
        n *= to_negative[rows, None]
        for out, gradient in zip(outs, (p + n, -p, -n)):
            if out is not None:
                out[rows] = gradient
