"""Files that users write about their classes: names, a number for each, class trees."""
from __future__ import division, print_function

import argparse
import io
import itertools
import os
import sys

import numpy as np

from caffe_losses.errors import naming
from caffe_losses.formats.matrix_files import read_numbers
from caffe_losses.matrices import class_trees
from caffe_tools.cli import one_line, read_text


OF_PIXELS = "; labels of pixels, and images of labels, are counted with --pixels"


def read_names(path, n_classes=None):
    """Return the class names in a file, one a line, in the order of the labels.

    Raises IOError or ValueError, naming the file: no names, or not n_classes of them.
    """
    names = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not names or n_classes not in (None, len(names)):
        raise ValueError("%s: expected %s class names, one a line, got %s"
                         % (path, "some" if n_classes is None else n_classes, len(names) or "none"))
    return names


def read_tree_costs(path, names=None, most=None):
    """Return (costs D, class names) of a file with a class tree; names: the order of its classes.

    most: int, the most classes. Raises IOError or ValueError, naming the file.
    """
    text = read_text(path)
    with naming(path):
        tree = class_trees.parse_tree(text, edges=path.lower().endswith(".csv"))
        n_classes = len(tree.classes if names is None else names)
        if n_classes < 2:
            raise ValueError("expected a tree of several classes, got one")
        if most is not None and n_classes > most:
            raise ValueError("expected at most %d classes, the most a .binaryproto can hold, got %d; --names says "
                             "which of a larger tree's are classes" % (most, n_classes))
        return class_trees.tree_costs(tree, names)


class Numbers(list):
    """The floats of an option. path: the file that they come from, or None."""

    path = None

    def __str__(self):
        return self.path or ",".join(map("{:.12g}".format, self))


def numbers(argument):
    """Return the Numbers of an option: with commas between them, or those in a file, .npy or text.

    Raises argparse.ArgumentTypeError.
    """
    try:
        return Numbers(float(number) for number in argument.rstrip(",").split(","))
    except ValueError:
        if not os.path.exists(argument):
            raise argparse.ArgumentTypeError("expected numbers with commas between them, or a file of them, got %r"
                                             % argument)
    try:
        found = Numbers(read_numbers(argument))
    except (ValueError, EnvironmentError) as error:
        raise argparse.ArgumentTypeError("expected numbers in the file %s (%s)" % (argument, one_line(error)))
    found.path = argument
    return found


def refuse_blanks(parser, options):
    """End the command if numbers of some options have blanks between them: argparse takes the second for a file."""
    arguments = [word for argument in sys.argv[1:]
                 for word in (argument.split("=", 1) if argument.startswith("--") else [argument])]
    for at, given in enumerate(arguments):
        words = list(itertools.takewhile(_is_number, arguments[at + 1:]))
        for option in options:
            if len(words) > 1 and len(given) > 2 and option.startswith(given):  # argparse takes a part of a name
                parser.error("%s: expected numbers with commas between them, got blanks; write %s %s"
                             % (option, option, ",".join(word.strip(",") for word in words)))


def _is_number(word):
    try:
        float(word.rstrip(","))
    except ValueError:
        return False
    return not os.path.exists(word)


def numbers_writer(path, numbers):
    """Return a function that writes numbers to an open file, as `numbers` reads them: .npy, or a line each.

    Raises ValueError for a file that ends otherwise.
    """
    ending = os.path.splitext(path)[1].lower()
    if ending not in (".npy", ".txt", ".csv"):
        raise ValueError("%s: expected a file of numbers, that ends in .csv, .npy or .txt" % path)
    content = io.BytesIO()
    if ending == ".npy":
        np.save(content, numbers)
    else:
        content.write("".join("%r\n" % float(number) for number in numbers).encode("ascii"))
    return lambda file: file.write(content.getvalue())
