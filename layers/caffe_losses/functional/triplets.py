"""Triplets: distances, the softmax ratio loss, and the choice of triplets in a batch, without Caffe.

Samples are rows: N x C arrays, float32 as blobs are. Differences are taken and
squared in float64, where neither 1e-45 underflows nor 3e38 overflows.
"""
from __future__ import division, print_function

import collections
import warnings

import numpy as np

from caffe_losses.matrices.class_weights import position

# Of NaN and Inf in what is checked here: the error that follows says all.
warnings.filterwarnings("ignore", "invalid value encountered", RuntimeWarning, r"caffe_losses\.functional\.triplets$")

NORMS = ("l2", "squared_l2")
FORMS = ("mse", "log")
STRATEGIES = ("all", "hardest", "semi_hard", "random")

# Up to here a float32 holds every whole number.
MAX_LABEL = 2 ** 24

# Numbers in a block of rows: what is made of them, in float64, fits a processor's cache.
BLOCK = 2 ** 15


# Distances

def distances(x1, x2, norm="l2", names=("x1", "x2")):
    """The distance of each row of x1 from the row of x2.

        a = ||x1 - x2||, or its square with norm "squared_l2"

    x1, x2: N x C. names: two str, for an error.
    Returns N float64. Raises ValueError, naming the first number that is not finite.
    """
    found = np.empty(len(x1))
    for rows in _blocks(x1):
        d = np.subtract(x1[rows], x2[rows], dtype=np.float64)
        found[rows] = np.einsum("nc,nc->n", d, d)
    if not np.isfinite(found).all():
        for x, name in zip((x1, x2), names):
            check_finite(x, name)
    return np.sqrt(found, out=found) if norm == "l2" else found


def slopes(distance, norm="l2"):
    """What a difference of two rows is multiplied by to give the gradient of their distance.

        da/dx1 = (x1 - x2) / a, and 0 where a = 0; 2 (x1 - x2) with norm "squared_l2"

    distance: N numbers, as `distances` gives them. Returns N float64.
    """
    if norm == "squared_l2":
        return np.full(len(distance), 2.)
    return np.divide(1, distance, out=np.zeros(len(distance)), where=distance > 0)


def distance_gradient(x1, x2, factor, out1=None, out2=None):
    """out1 = factor * (x1 - x2) and out2 = -out1, row by row.

    factor: N numbers, the gradient with respect to each distance times its slope.
    out1, out2: N x C to write into, or None.
    """
    for rows in _blocks(x1):
        d = np.subtract(x1[rows], x2[rows], dtype=np.float64)
        d *= factor[rows, None]
        if out1 is not None:
            out1[rows] = d
        if out2 is not None:
            np.negative(d, out=d)
            out2[rows] = d


def check_finite(x, name):
    """Raise ValueError, naming the first number that is NaN or Inf."""
    bad = ~np.isfinite(x)
    if bad.any():
        first = np.unravel_index(np.argmax(bad), x.shape)
        raise ValueError("%s at %s: expected a finite number, got %g" % (name, position(first), x[first]))


def _blocks(x):
    height = max(1, BLOCK // x.shape[1])
    return [slice(i, i + height) for i in range(0, len(x), height)]


# The loss

# Of every triplet: its loss, the loss's derivative with respect to a (and, negated, to b), and d+.
Ratio = collections.namedtuple("Ratio", "loss slope d_plus")


def softmax_ratio(a, b, form="mse"):
    """The softmax ratio loss of each triplet.

        d+ = e^a / (e^a + e^b)
        mse: loss = d+^2,              dloss/da = 2 d+^2 (1 - d+)
        log: loss = log(1 + e^(a-b)),  dloss/da = d+
        dloss/db = -dloss/da

    a, b: N distances each, of the anchor from the positive and from the negative.
    form: "mse" is the paper's (half of its ||(d+, d- - 1)||^2); its gradient is
        largest, 8/27, at d+ = 2/3 and vanishes on the hardest triplets, where
        "log" keeps its own.
    Returns a Ratio of N float64 each.
    Source: Hoffer and Ailon, Deep metric learning using triplet network, 2015,
    arXiv 1412.6622, section 3.
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
    """The gradient of sum_n of a loss of the two distances of triplet n.

    anchor, positive, negative: N x C.
    to_positive, to_negative: N numbers each, the derivative with respect to the
        distance times its slope.
    outs: three arrays N x C to write into, or None for each that nobody asks for.
    """
    to_anchor, to_its_positive, to_its_negative = outs
    for rows in _blocks(anchor):
        x = anchor[rows]
        p = np.subtract(x, positive[rows], dtype=np.float64)
        p *= to_positive[rows, None]
        n = np.subtract(x, negative[rows], dtype=np.float64)
        n *= to_negative[rows, None]
        if to_anchor is not None:
            to_anchor[rows] = p + n
        if to_its_positive is not None:
            to_its_positive[rows] = -p
        if to_its_negative is not None:
            to_its_negative[rows] = -n


# The choice of triplets in a batch

# Which rows are anchor, positive and negative: three arrays of integers.
Triplets = collections.namedtuple("Triplets", "anchor positive negative")


def read_labels(labels, ignore_label=None, name="label"):
    """Labels held as floats, checked.

    labels: N whole numbers; how many classes there are does not matter.
    Returns N integers, and which are not ignored, N booleans.
    Raises ValueError, naming the first bad label and its position.
    """
    fits = np.abs(labels) <= MAX_LABEL  # NaN is not
    fits &= np.floor(labels) == labels
    valid = np.ones(len(labels), bool) if ignore_label is None else labels != ignore_label
    if not (fits | ~valid).all():
        first = np.argmin(fits | ~valid)
        raise ValueError("%s at %s: expected a whole number %d..%d, got %g"
                         % (name, position((first,)), -MAX_LABEL, MAX_LABEL, labels[first]))
    return np.where(valid, labels, 0).astype(np.int64), valid


def select(x, labels, strategy, valid=None, random=None, max_triplets=None, limit=None):
    """The triplets of a batch: two rows of one class and one of another.

        all        every one
        hardest    for each anchor its farthest positive and its nearest negative
        semi_hard  for each anchor and positive the nearest of the negatives that are
                   farther than the positive, and none where no negative is
        random     for each anchor a positive and a negative, at random

    x: N x C; only hardest and semi_hard look at it. Of rows equally far they take the first.
    labels: N integers. valid: N booleans, the rows that take part; None: all.
    random: numpy.random.RandomState, for random and max_triplets.
    max_triplets: int; of more than these, so many are taken at random. None: all are.
    limit: int, more than these are an error. None: there is no limit.
    Returns Triplets, sorted by anchor; empty if there is none.
    Raises ValueError.
    Source: hardest: Hermans, Beyer and Leibe, In defense of the triplet loss, 2017,
    arXiv 1703.07737; semi_hard: Schroff, Kalenichenko and Philbin, FaceNet, 2015,
    arXiv 1503.03832.
    """
    rows = np.arange(len(labels)) if valid is None else np.flatnonzero(valid)
    classes = _Classes(np.asarray(labels)[rows])
    if not classes.n_triplets:
        return Triplets(*np.zeros((3, 0), np.intp))
    if strategy == "all":
        found = _all_triplets(classes, random, max_triplets, limit)
    else:
        if strategy == "random":
            found = _random_triplets(classes, random)
        else:
            squared = squared_distances(x[rows])
            found = (_hardest if strategy == "hardest" else _semi_hard)(squared, classes.same)
        if max_triplets is not None and len(found.anchor) > max_triplets:
            kept = _sample(len(found.anchor), max_triplets, random)
            found = Triplets(*[index[kept] for index in found])
        _check_limit(len(found.anchor), limit)
    return Triplets(*[rows[index] for index in found])


class _Classes(object):
    """The samples by class, so that the j-th positive and the k-th negative of an anchor are a look-up.

    order: the samples, sorted by class. Of every sample: start, where its class
    begins there; size, of its class; rank, its place in its class.
    """

    def __init__(self, labels):
        self.labels = labels
        self.n = len(labels)
        _, index, sizes = np.unique(labels, return_inverse=True, return_counts=True)
        index = index.reshape(-1)
        starts = np.cumsum(sizes) - sizes
        self.order = np.argsort(index, kind="mergesort")  # stable
        self.start, self.size = starts[index], sizes[index]
        self.rank = np.empty(self.n, np.intp)
        self.rank[self.order] = np.arange(self.n)
        self.rank -= self.start
        self.n_negatives = self.n - self.size
        self.per_anchor = (self.size - 1) * self.n_negatives
        self.n_triplets = int(self.per_anchor.sum())

    @property
    def same(self):
        return self.labels[:, None] == self.labels

    def triplets(self, anchor, j, k):
        """The j-th positive and the k-th negative of each anchor."""
        positive = self.order[self.start[anchor] + j + (j >= self.rank[anchor])]
        negative = self.order[np.where(k < self.start[anchor], k, k + self.size[anchor])]
        return Triplets(anchor, positive, negative)


def _all_triplets(classes, random, max_triplets, limit):
    n = classes.n_triplets
    if max_triplets is not None and n > max_triplets:
        numbers = _sample(n, max_triplets, random)
        _check_limit(max_triplets, limit)
    else:
        _check_limit(n, limit)
        numbers = np.arange(n)
    ends = np.cumsum(classes.per_anchor)
    anchor = np.searchsorted(ends, numbers, side="right")
    numbers = numbers - (ends - classes.per_anchor)[anchor]
    n_negatives = classes.n_negatives[anchor]
    j = numbers // n_negatives
    return classes.triplets(anchor, j, numbers - j * n_negatives)


def _random_triplets(classes, random):
    anchor = np.flatnonzero(classes.per_anchor)
    draws = random.random_sample((2, len(anchor)))  # below 1
    j = (draws[0] * (classes.size[anchor] - 1)).astype(np.intp)
    return classes.triplets(anchor, j, (draws[1] * classes.n_negatives[anchor]).astype(np.intp))


def _hardest(squared, same):
    to_positive = np.where(same, squared, -1)
    np.fill_diagonal(to_positive, -1)
    positive = to_positive.argmax(axis=1)
    negative = np.where(same, np.inf, squared).argmin(axis=1)
    rows = np.arange(len(same))
    anchor = np.flatnonzero((to_positive[rows, positive] >= 0) & ~same[rows, negative])
    return Triplets(anchor, positive[anchor], negative[anchor])


def _semi_hard(squared, same):
    n = len(same)
    rows = np.arange(n)[:, None]
    # Nearest first, of samples equally far the negatives: the next negative then is farther.
    order = np.lexsort((same, squared), axis=1)
    of_class = same[rows, order]
    following = np.where(of_class, n, np.arange(n))[:, ::-1]
    following = np.minimum.accumulate(following, axis=1)[:, ::-1]
    anchor, place = np.nonzero(of_class & (following < n) & (order != rows))
    return Triplets(anchor, order[anchor, place], order[anchor, following[anchor, place]])


def squared_distances(x):
    """N x N squared distances of the rows of x, N x C, float64, none below 0."""
    y = x.astype(np.float64)
    y -= y[0].copy()  # what all rows share would cost digits
    products = np.dot(y, y.T)
    squares = products.diagonal()
    return np.maximum(squares[:, None] + squares - 2 * products, 0)


def _sample(n, size, random):
    """`size` different numbers below n, sorted, at random; the memory is that of `size`, not of n."""
    if n <= 2 * size:
        return np.sort(random.permutation(n)[:size])
    found = np.zeros(0, np.int64)
    while len(found) < size:
        drawn = (random.random_sample(size) * n).astype(np.int64)
        found = np.unique(np.concatenate([found, drawn]))
    return np.sort(found[random.permutation(len(found))[:size]])


def _check_limit(n, limit):
    if limit is not None and n > limit:
        raise ValueError('expected at most %d triplets in a batch, got %d: give the key "max_triplets", or a '
                         "smaller batch" % (limit, n))


def scatter(triplets, gradients, out):
    """The gradient with respect to a batch from those of the triplets chosen from it.

        out[i] = sum of the rows of the gradients that belong to uses of row i

    triplets: Triplets. gradients: three arrays, a row for every triplet.
    out: N x C, to write into; rows that no triplet uses become 0.
    """
    total = np.zeros(out.shape)
    for index, rows in zip(triplets, gradients):
        order = np.argsort(index, kind="mergesort")
        used, starts = np.unique(index[order], return_index=True)
        for i, start, end in zip(used, starts, np.append(starts[1:], len(order))):
            total[i] += np.add.reduce(rows[order[start:end]], 0, np.float64)  # reduceat takes 4 times as long
    out[...] = total
