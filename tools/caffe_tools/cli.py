"""What the commands share: errors in one line, and exit status 2 for them."""
from __future__ import division, print_function

import argparse
import io
import os
import sys

import numpy as np


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that keeps the lines of its description, and whose errors are one line."""

    def __init__(self, **options):
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super(Parser, self).__init__(**options)

    def error(self, message):
        self.exit(2, "%s: error: %s (--help shows an example)\n" % (self.prog, one_line(message)))


def run(main):
    """Run a command: an error in what it was given is one line and exit status 2."""
    try:
        main()
    except (ValueError, EnvironmentError, ImportError, MemoryError) as error:
        message = one_line(error) or "not enough memory"
        sys.stderr.write("%s: error: %s\n" % (os.path.basename(sys.argv[0]), message))
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def read_text(path):
    """The text of a user's file, UTF-8 with or without a mark, as str on every Python.

    Raises IOError or ValueError, naming the file.
    """
    try:
        with io.open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except EnvironmentError as error:
        raise IOError("%s: cannot be read: %s" % (path, error.strerror))
    except ValueError:
        raise ValueError("%s: expected text in UTF-8, got something else" % path)
    return text if isinstance(text, str) else text.encode("utf-8")


def read_names(path, n_classes=None):
    """Class names, one a line, in the order of the labels.

    Raises IOError or ValueError, naming the file: no names, or not n_classes of them.
    """
    names = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not names or n_classes not in (None, len(names)):
        raise ValueError("%s: expected %s class names, one a line, got %s"
                         % (path, "some" if n_classes is None else n_classes, len(names) or "none"))
    return names


def numbers(text):
    """Numbers with commas between them, or those in a file: .npy, or text with commas, blanks or lines between them.

    Returns a list of floats. Raises argparse.ArgumentTypeError, for an option's type.
    """
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        if not os.path.exists(text):
            raise argparse.ArgumentTypeError("expected numbers with commas between them, or a file of them, got %r" % text)
    try:
        if text.lower().endswith(".npy"):
            return _npy_numbers(text)
        words = " ".join(line.split("#")[0] for line in read_text(text).splitlines()).replace(",", " ").split()
        return [float(word) for word in words]
    except (ValueError, EnvironmentError) as error:
        raise argparse.ArgumentTypeError("expected numbers in the file %s (%s)" % (text, one_line(error)))


def _npy_numbers(path):
    # Mapped, because a header that lies about the size then is an error, and not a reservation.
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.dtype.kind not in "fiub" or array.size != max(array.shape + (0,)):
        raise ValueError("expected a row of numbers, got %s of shape %s" % (array.dtype, array.shape))
    return [float(number) for number in array.ravel()]


def one_line(message):
    return " ".join(str(message).split())
