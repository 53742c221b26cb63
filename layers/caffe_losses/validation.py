"""Checks of labels and matrices. An error names the array, the first bad entry and its position."""
from __future__ import division, print_function

import numpy as np


def shape_text(shape):
    """Return a shape as an error shows it: 3 x 10."""
    return " x ".join(map(str, shape)) or "()"


def first_bad(array, bad, name, expected, axes=""):
    """Return the message on the first entry of `array` where `bad` is true.

    axes: str, the names of the axes, where a reader does not know them.
    """
    first = np.unravel_index(np.argmax(bad), bad.shape)
    where = ("(%s) = " % axes if axes else "") + "(%s)" % ", ".join(map(str, first))
    return "%s at %s: expected %s, got %g" % (name, where, expected, array[first])


def refuse(array, bad, name, expected, axes=""):
    """Raise ValueError with the message of `first_bad` if `bad` is true anywhere."""
    if bad.any():
        raise ValueError(first_bad(array, bad, name, expected, axes))


def check_finite(array, name):
    """Raise ValueError, naming the first number that is NaN or Inf."""
    refuse(array, ~np.isfinite(array), name, "a finite number")


def check_numbers(array, name):
    """Return numbers as an array of their own type; raise ValueError unless it holds numbers."""
    array = np.asarray(array)
    if array.dtype.kind not in "fiub":
        raise ValueError("%s: expected numbers, got %s" % (name, array.dtype))
    return array


def as_float64(array, name):
    """Return numbers as float64, as sums and differences in another type overflow or round; else raise ValueError."""
    return check_numbers(array, name).astype(np.float64, copy=False)


def as_floats(array):
    """Return an array whose sums and differences are right: small floats, integers and bools become float64."""
    array = np.asarray(array)
    return array if array.dtype.kind == "f" and array.itemsize >= 4 else array.astype(np.float64)


def check_square(matrix, name):
    """Return a matrix as an array of floats; raise ValueError unless it is square, not empty and all finite."""
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError("%s: expected a square matrix, got shape %s" % (name, shape_text(matrix.shape)))
    matrix = as_floats(check_numbers(matrix, name))
    check_finite(matrix, name)
    return matrix


def count_labels(labels, n_classes, ignore_label=None, name="label"):
    """Count how often each class occurs in `labels`.

    labels: array of any shape, whole numbers 0..n_classes-1 or ignore_label, which is not counted (None: there is
    none). name: str, what an error calls the labels. Returns n_classes integers (int64). Raises ValueError.
    """
    index, valid = label_index(np.asarray(labels), n_classes, ignore_label, name)
    index = index.ravel() if valid is None else index[valid]
    return np.bincount(index, minlength=n_classes)


def label_index(labels, n_classes, ignore_label=None, name="label"):
    """Turn labels held as floats into integers that index the classes.

    Returns (index, valid): index has the shape of labels, with 0 in place of ignore_label; valid is a boolean mask of
    the same shape, or None if no label is ignored. Raises ValueError, naming the first bad label and its position.
    """
    valid = None
    if ignore_label is not None:
        ignored = labels == ignore_label
        if ignored.any():
            valid = ~ignored
            labels = np.where(valid, labels, 0)
    good = np.floor(labels) == labels  # NaN is not: it makes old numpy warn below, new numpy in a cast
    if np.count_nonzero(good) == good.size:
        good = labels >= 0
        good &= labels < n_classes
        if np.count_nonzero(good) == good.size:
            return labels.astype(np.intp), valid
    with np.errstate(invalid="ignore"):
        good = (np.floor(labels) == labels) & (labels >= 0) & (labels < n_classes)
    ignore = "" if ignore_label is None else " or ignore_label %d" % ignore_label
    raise ValueError(first_bad(labels, ~good, name, "a whole number 0..%d%s" % (n_classes - 1, ignore)))
