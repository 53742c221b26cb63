"""Count labels while they are read."""
from __future__ import division, print_function

import collections

import numpy as np

BLOCK = 2 ** 20  # labels that are held at a time
LOWEST, HIGHEST = -2 ** 31, 2 ** 31 - 1  # of a Datum's label
MAX_VALUES = 10 ** 5


class Tally(object):
    """The number of times that each label occurred until now.

    counts, present: dicts from a label to its number of records or pixels, and to the number of pixels of all images
        that have it. first: dict from a label to a str that says where it occurred first.
    """

    def __init__(self):
        self.counts, self.present, self.first = {}, {}, {}

    def add(self, value, count, where, present=0):
        """Count a label `count` times. where: function that returns as text where it occurs."""
        if value not in self.counts:
            if len(self.counts) == MAX_VALUES:
                raise ValueError("expected labels of classes, got more than %d different numbers" % MAX_VALUES)
            self.counts[value] = self.present[value] = 0
            self.first[value] = where()
        self.counts[value] += count
        self.present[value] += present

    def add_labels(self, block, where):
        """Count an array of labels, one for a record. where: function of an index in the block."""
        values, first, counts = np.unique(_as_integers(block, where), return_index=True, return_counts=True)
        for value, index, count in zip(values.tolist(), first.tolist(), counts.tolist()):
            self.add(value, count, lambda: where(index))

    def add_image(self, image, where):
        """Count an array of the labels of an image's pixels. where: function that returns the image as text."""
        counts = collections.Counter()
        flat = image.ravel()
        for start in range(0, flat.size, BLOCK):
            for value, count in _distinct(_as_integers(flat[start:start + BLOCK], lambda _: where())):
                counts[value] += count
        for value, count in sorted(counts.items()):
            self.add(value, count, where, image.size)


def _as_integers(block, where):
    """Return an array of labels as int64."""
    if block.dtype.kind not in "fiub":
        raise ValueError("expected numbers as labels, got %s" % block.dtype)
    if block.dtype.kind == "b" or block.dtype.itemsize == 1:
        return block.astype(np.int64)
    with np.errstate(invalid="ignore"):
        whole = (block >= LOWEST) & (block <= HIGHEST)  # NaN is neither
        if block.dtype.kind == "f":
            whole &= block == np.floor(block)
    if not whole.all():
        first = int(np.argmin(whole))
        raise ValueError("expected whole numbers as labels, got %g in %s" % (block[first], where(first)))
    return block.astype(np.int64)


def _distinct(numbers):
    """Return pairs (number, how often) for an array of integers."""
    if not numbers.size:
        return []
    lowest = numbers.min()
    if numbers.max() - lowest < 2 ** 16:
        counts = np.bincount(numbers - lowest)
        values = np.flatnonzero(counts)
        return list(zip((values + lowest).tolist(), counts[values].tolist()))
    return list(zip(*(array.tolist() for array in np.unique(numbers, return_counts=True))))
