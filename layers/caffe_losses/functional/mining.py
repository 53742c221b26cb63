"""Triplets selected from a batch of labelled rows, and their gradients brought back to it."""
from __future__ import division, print_function

import collections

import numpy as np

from caffe_losses.validation import refuse

STRATEGIES = ("all", "hardest", "semi_hard", "random")

MAX_LABEL = 2 ** 24  # up to here a float32 holds every whole number

# Which rows are anchor, positive and negative: three arrays of integers.
Triplets = collections.namedtuple("Triplets", "anchor positive negative")


def read_labels(labels, ignore_label=None, name="label"):
    """Check labels held as floats, whole numbers of any number of classes.

    Returns N integers, and N booleans: which are not ignored. Raises ValueError, naming the first bad label.
    """
    valid = np.ones(len(labels), bool) if ignore_label is None else labels != ignore_label
    with np.errstate(invalid="ignore"):
        fits = (np.abs(labels) <= MAX_LABEL) & (np.floor(labels) == labels)  # NaN is not
    refuse(labels, valid & ~fits, name, "a whole number %d..%d" % (-MAX_LABEL, MAX_LABEL))
    return np.where(valid, labels, 0).astype(np.int64), valid


def select(x, labels, strategy, valid=None, random=None, max_triplets=None, limit=None):
    """Select triplets from a batch: two rows of one class and one of another.

    x: N x C; only hardest and semi_hard look at it. labels: N integers.
    strategy: one of STRATEGIES, which the layer TripletSelect explains.
    valid: N booleans, the rows that take part; None: all. random: RandomState, for random and max_triplets.
    max_triplets: int; of more, so many are taken at random. None: all are taken.
    limit: int, more are an error; None: there is no limit.
    Returns Triplets, sorted by anchor; empty if there is none. Raises ValueError.
    """
    rows = np.arange(len(labels)) if valid is None else np.flatnonzero(valid)
    labels = np.asarray(labels)[rows]
    classes = _Classes(labels)
    if not classes.n_triplets:
        return Triplets(*np.zeros((3, 0), np.intp))
    if strategy == "all":
        selected = _all_triplets(classes, _sample(classes.n_triplets, max_triplets, random, limit))
    else:
        if strategy == "random":
            selected = _random_triplets(classes, random)
        else:
            choose = _hardest if strategy == "hardest" else _semi_hard
            selected = choose(squared_distances(x[rows]), labels[:, None] == labels)
        kept = _sample(len(selected.anchor), max_triplets, random, limit)
        selected = Triplets(*[index[kept] for index in selected])
    return Triplets(*[rows[index] for index in selected])


class _Classes(object):
    """The samples sorted by class, which makes the j-th positive and the k-th negative of an anchor a look-up.

    order: the samples, sorted by class. For every sample: start, the index in `order` where its class begins; size of
    its class; rank in its class.
    """

    def __init__(self, labels):
        self.order = np.argsort(labels, kind="mergesort")  # stable
        in_order = labels[self.order]
        self.start = np.searchsorted(in_order, labels)
        self.size = np.searchsorted(in_order, labels, side="right") - self.start
        self.rank = np.argsort(self.order) - self.start
        self.n_negatives = len(labels) - self.size
        self.per_anchor = (self.size - 1) * self.n_negatives
        self.n_triplets = int(self.per_anchor.sum())

    def triplets(self, anchor, j, k):
        """Return the Triplets of each anchor with its j-th positive and its k-th negative."""
        positive = self.order[self.start[anchor] + j + (j >= self.rank[anchor])]
        negative = self.order[np.where(k < self.start[anchor], k, k + self.size[anchor])]
        return Triplets(anchor, positive, negative)


def _all_triplets(classes, numbers):
    """Return those of all triplets, counted anchor by anchor, that have the given numbers."""
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
    anchor, column = np.nonzero(of_class & (following < n) & (order != rows))
    return Triplets(anchor, order[anchor, column], order[anchor, following[anchor, column]])


def squared_distances(x):
    """Return the N x N squared distances of the rows of x, N x C, float64, none below 0."""
    y = x.astype(np.float64)
    y -= y[0].copy()  # what all rows share would cost digits
    products = np.dot(y, y.T)
    squares = products.diagonal()
    return np.maximum(squares[:, None] + squares - 2 * products, 0)


def _sample(n, size, random, limit):
    """Draw `size` different numbers below n, sorted; all if there are no more, or `size` is None.

    Memory grows with `size`, not with n. Raises ValueError for more than `limit` numbers.
    """
    taken = n if size is None else min(n, size)
    if limit is not None and taken > limit:
        raise ValueError('expected at most %d triplets in a batch, got %d: give the key "max_triplets", or a '
                         "smaller batch" % (limit, taken))
    if taken == n:
        return np.arange(n)
    if n <= 2 * size:
        return np.sort(random.permutation(n)[:size])
    drawn = np.zeros(0, np.int64)
    while len(drawn) < size:
        drawn = np.union1d(drawn, (random.random_sample(size) * n).astype(np.int64))
    return np.sort(drawn[random.permutation(len(drawn))[:size]])


def scatter(triplets, gradients, out):
    """Write the gradient with respect to a batch, from those of the triplets selected from it, to `out`.

        out[i] = sum of the gradients of all uses of row i

    triplets: Triplets. gradients: three arrays, a row for every triplet. out: N x C, 0 in rows that no triplet uses.
    """
    total = np.zeros(out.shape)
    for index, rows in zip(triplets, gradients):
        order = np.argsort(index, kind="mergesort")
        used, starts = np.unique(index[order], return_index=True)
        for i, start, end in zip(used, starts, np.append(starts[1:], len(order))):
            total[i] += np.add.reduce(rows[order[start:end]], 0, np.float64)  # reduceat takes 4 times as long
    out[...] = total
