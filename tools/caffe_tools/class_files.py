"""Files that users write about their classes: names, a number for each, class trees."""
from __future__ import division, print_function

import argparse
import os

from caffe_losses.errors import naming
from caffe_losses.formats.matrix_files import map_npy
from caffe_losses.matrices import class_trees
from caffe_tools.cli import one_line, read_text


def read_names(path, n_classes=None):
    """Return the class names in a file, one a line, in the order of the labels.

    Raises IOError or ValueError, naming the file: no names, or not n_classes of them.
    """
    names = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not names or n_classes not in (None, len(names)):
        raise ValueError("%s: expected %s class names, one a line, got %s"
                         % (path, "some" if n_classes is None else n_classes, len(names) or "none"))
    return names


def read_tree_costs(path, names=None):
    """Return (costs D, class names) of a file with a class tree; names: the order of its classes.

    Raises IOError or ValueError, naming the file.
    """
    text = read_text(path)
    with naming(path):
        return class_trees.tree_costs(class_trees.parse_tree(text, edges=path.lower().endswith(".csv")), names)


def numbers(argument):
    """Return the floats of an option: with commas between them, or those in a file, .npy or text.

    Raises argparse.ArgumentTypeError.
    """
    try:
        return [float(number) for number in argument.split(",")]
    except ValueError:
        if not os.path.exists(argument):
            raise argparse.ArgumentTypeError("expected numbers with commas between them, or a file of them, got %r"
                                             % argument)
    try:
        if argument.lower().endswith(".npy"):
            return _npy_numbers(argument)
        words = " ".join(line.split("#")[0] for line in read_text(argument).splitlines()).replace(",", " ").split()
        return [float(word) for word in words]
    except (ValueError, EnvironmentError) as error:
        raise argparse.ArgumentTypeError("expected numbers in the file %s (%s)" % (argument, one_line(error)))


def _npy_numbers(path):
    array = map_npy(path)
    if array.size != max(array.shape + (0,)):
        raise ValueError("expected a row of numbers, got %s of shape %s" % (array.dtype, array.shape))
    return [float(number) for number in array.ravel()]
