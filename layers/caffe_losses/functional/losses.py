"""The losses: value and gradient as functions on arrays, without Caffe.

A loss is a function of a block of positions: scores x (outer x C, or outer x C x
inner), class labels l (outer, or outer x inner) and a matrix. It returns the loss
of every position, and writes the gradient of their sum, and the probabilities,
into arrays it is given. `batch_loss` applies one to a whole batch, block by block:
a block fits the processor's cache, and numpy lets several threads have one each.

A bad score makes the loss NaN, and so it is looked for only then.
"""
from __future__ import division, print_function

import collections
import multiprocessing
import os
import threading

import numpy as np

from caffe_losses.matrices.class_weights import label_index, position

NORMALIZATIONS = ("FULL", "VALID", "BATCH_SIZE", "NONE")

# Below this p counts as this much in InfogainLoss: kLOG_THRESHOLD of Caffe.
LOG_THRESHOLD = 1e-20

# What rounding may add to a probability; a score is farther off.
PROBABILITY_SLACK = 1e-3

# Scores in a block: with what is made of them about 4 MB.
BLOCK = 2 ** 18


# Labels

# The labels of a batch: the class (0 where ignored), which are not ignored (None:
# all), and how many those are.
Labels = collections.namedtuple("Labels", "index valid count")


def read_labels(labels, shape, ignore_label=None, name="label"):
    """Labels held as floats, checked.

    labels: one for each position, in an array of any shape.
    shape: of the scores, outer x C or outer x C x inner. name: str, for an error.
    Returns Labels, of the shape of the scores without C.
    Raises ValueError, naming the first bad label and its position.
    """
    index, valid = label_index(labels, shape[1], ignore_label, name)
    index = index.reshape(shape[:1] + shape[2:])
    if valid is None:
        return Labels(index, None, index.size)
    return Labels(index, valid.reshape(index.shape), int(np.count_nonzero(valid)))


def normalizer(normalization, labels):
    """What the sum over a batch is divided by; at least 1.

        FULL        all positions, outer * inner
        VALID       those not ignored
        BATCH_SIZE  outer
        NONE        1

    Source: Caffe, softmax_loss_layer.cpp, get_normalizer.
    """
    if normalization == "VALID":
        return max(1, labels.count)
    if normalization == "FULL":
        return max(1, labels.index.size)
    return max(1, len(labels.index)) if normalization == "BATCH_SIZE" else 1


# Matrices

class Matrix(object):
    """A C x C matrix M[true, predicted], for taking the row of every label."""

    def __init__(self, rows):
        self.rows = np.array(rows, order="C")  # a copy: a blob's memory is the net's
        self.sums = np.add.reduce(self.rows, axis=1)
        self._columns = None

    def of(self, labels):
        """M[l] for every position, laid out as the scores are."""
        if labels.ndim == 1:
            return self.rows.take(labels, axis=0)
        if self._columns is None:
            self._columns = np.ascontiguousarray(self.rows.T)
        return self._columns.take(labels, axis=1).transpose(1, 0, 2)


# The losses, each for a block of positions

class BadScore(Exception):
    """A block holds a score that a loss cannot take; the argument names it in words."""


def softmax_parts(x, out=None):
    """z = x - max_k x_k, e = exp(z), s = sum_k e_k: p = e / s, log p = z - log s.

    out: array like x to hold e, so that it needs no memory of its own, or None.
    """
    z = x - _max_over_classes(x)[:, None]
    e = np.exp(z, out=out)
    return z, e, np.add.reduce(e, 1)


def softmax_with_infogain(x, l, H, gradient=None, p=None, masked=False):
    """-sum_j H[l, j] log p_j with p = softmax(x), from the log-softmax.

        dx_k = p_k sum_j H[l, j] - H[l, k]

    x: scores. l: labels. H: Matrix of gains. gradient, p: arrays of the shape of
    x to write into, or None. masked: whether a score may be -Inf; a gain of 0 for
    such a class counts for nothing. Returns an array of the shape of l.
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
    """-sum_j H[l, j] log q_j with q = max(x, 1e-20): x are probabilities already.

        dx_j = -H[l, j] / q_j

    Parameters as of softmax_with_infogain; p is left alone.
    Source: Caffe before April 2017, infogain_loss_layer.cpp.
    """
    if x.size and not (x.min() >= -PROBABILITY_SLACK and x.max() <= 1 + PROBABILITY_SLACK):
        raise BadScore(_bad_probability)
    q = np.maximum(x, x.dtype.type(LOG_THRESHOLD))
    gain = H.of(l)
    loss = -_sum_over_classes(gain, np.log(q))
    if gradient is not None:
        np.divide(gain, q, out=gradient)
        np.negative(gradient, out=gradient)
    return loss


def cost_scaled_softmax(x, l, D, gradient=None, p=None, masked=False):
    """-D[l, argmax x] log p_l with p = softmax(x), D[l, argmax x] held constant.

        dx_k = D[l, argmax x] (p_k - [k = l])

    Parameters as of softmax_with_infogain; D: Matrix of costs.
    """
    z, e, s = softmax_parts(x, out=gradient)
    cost = D.rows[l, z.argmax(axis=1)]
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
    """sum_j D[l, j] p_j with p = softmax(x).

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
    found = x[:, 0]
    spare = [np.empty_like(found), np.empty_like(found)]
    for c in range(1, x.shape[1]):
        found = np.maximum(found, x[:, c], out=spare[c % 2])
    return found


def _sum_over_classes(weight, values, masked=False):
    if masked:
        values = np.where(weight == 0, 0, values)
    return np.einsum("oc,oc->o" if values.ndim == 2 else "oci,oci->oi", weight, values)


def _at(l):
    """The index of class l of every position, in an array like the scores."""
    grid = np.ogrid[tuple(slice(n) for n in l.shape)]
    return (grid[0], l) + tuple(grid[1:])


# A batch

def batch_loss(loss, x, labels, matrix, gradient=None, p=None, name="score"):
    """Sum of a loss over the positions of a batch that are not ignored.

    loss: one of the functions above. x: scores, outer x C or outer x C x inner.
    labels: Labels. matrix: Matrix. gradient, p: arrays like x to write into, or
    None; the gradient is 0 where ignored. name: str, for an error.
    Returns the sum, a float of float64 precision.
    Raises ValueError for a bad score, naming the first and its position.
    """
    total = _total(loss, x, labels, matrix, gradient, p, False, name)
    if total != total:  # NaN: of a bad score, or of a gain of 0 for a masked class
        _check_scores(x, name)
        total = _total(loss, x, labels, matrix, gradient, p, True, name)
    return total


def _total(loss, x, labels, matrix, gradient, p, masked, name):
    def of_block(block):
        scores = (block[0], slice(None)) + block[1:]
        return _block_loss(loss, x[scores], labels.index[block],
                           None if labels.valid is None else labels.valid[block], matrix,
                           None if gradient is None else gradient[scores],
                           None if p is None else p[scores], masked)

    try:
        if x.size <= BLOCK:
            return float(_block_loss(loss, x, labels.index, labels.valid, matrix, gradient, p, masked))
        return float(sum(_map(of_block, _blocks(x.shape))))
    except BadScore as error:
        in_words, = error.args
        raise ValueError(in_words(x, name))


def _block_loss(loss, x, index, valid, matrix, gradient, p, masked):
    values = loss(x, index, matrix, gradient, p, masked)
    total = np.add.reduce(values, None, np.float64)
    if valid is None or total != total:
        return total
    if gradient is not None:
        gradient *= valid[:, None]
    return values[valid].sum(dtype=np.float64)


def scaled(gradient, scale, out):
    """out = scale * gradient, for arrays of one size. scale: a Python float."""
    if gradient.size <= BLOCK:
        np.multiply(gradient, scale, out.reshape(gradient.shape))
        return
    gradient, out = gradient.reshape(-1), out.reshape(-1)

    def of_block(part):
        np.multiply(gradient[part], scale, out[part])

    _map(of_block, [slice(i, i + BLOCK) for i in range(0, gradient.size, BLOCK)])


def _blocks(shape):
    """Index tuples that cut outer x inner so that a block has about BLOCK scores."""
    outer, n_classes = shape[:2]
    inner = shape[2] if len(shape) == 3 else 1
    width = max(1, BLOCK // n_classes)
    if width < inner:
        width = _even_share(inner, width)
        return [(slice(o, o + 1), slice(i, i + width))
                for o in range(outer) for i in range(0, inner, width)]
    height = _even_share(outer, max(1, width // inner))
    rest = (slice(None),) * (len(shape) - 2)
    return [(slice(o, o + height),) + rest for o in range(0, outer, height)]


def _even_share(total, size):
    """A size of about `size` that gives every thread as many parts of `total`."""
    parts = -(-total // size)
    parts += -parts % _threads()
    return -(-total // parts)


def _map(function, items):
    """[function(item) for item in items], by threads where there are several items."""
    results = [None] * len(items)
    waiting = iter(list(enumerate(items)))  # a list's iterator may be shared by threads
    errors = []

    def work():
        try:
            for i, item in waiting:
                results[i] = function(item)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(min(_threads(), len(items)) - 1)]
    for thread in threads:
        thread.start()
    work()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


def _threads():
    """How many threads to use: OMP_NUM_THREADS as everything else here, or a few."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(given)) if given.isdigit() else min(4, multiprocessing.cpu_count())


def _check_scores(x, name):
    bad = np.isnan(x) | (x == np.inf)
    if not bad.any():
        bad = np.broadcast_to((x == -np.inf).all(axis=1)[:, None], x.shape)
    if bad.any():
        raise ValueError(_first_bad(x, bad, name, "a finite number (or -Inf for a masked class, not for all "
                                    "classes)"))


def _bad_probability(x, name):
    bad = ~((x >= -PROBABILITY_SLACK) & (x <= 1 + PROBABILITY_SLACK))
    return _first_bad(x, bad, name, "a probability, as from a Softmax layer (SoftmaxWithInfogainLoss takes "
                      "scores)")


def _first_bad(x, bad, name, expected):
    first = np.unravel_index(np.argmax(bad), x.shape)
    axes = ("outer", "class", "inner")[:x.ndim]
    return "%s at (%s) = %s: expected %s, got %g" % (name, ", ".join(axes), position(first), expected, x[first])
