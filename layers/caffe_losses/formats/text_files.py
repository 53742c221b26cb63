"""Read and write a matrix as text, .csv and .json, in which every number reads back the same."""
from __future__ import division, print_function

import io
import json

import numpy as np

from caffe_losses.formats.plain_files import plain_size


def write_csv(file, matrix):
    """Write a line for each row, its numbers with commas between them, to an open file."""
    for text in _rows_of_text(matrix):
        file.write(text.encode("ascii") + b"\n")


def write_json(file, matrix):
    """Write a list of rows, each a list of numbers. Raises ValueError for NaN and Inf, which JSON does not have."""
    separator = b"["
    for row, text in zip(matrix, _rows_of_text(matrix)):
        if not np.isfinite(row).all():
            raise ValueError("expected finite numbers, as JSON has no others, got %g" % row[~np.isfinite(row)][0])
        file.write(separator + b"[" + text.encode("ascii") + b"]")
        separator = b",\n"
    file.write(b"]\n")


def _rows_of_text(matrix):
    """Yield the numbers of each row, in the shortest text that reads back as the same float."""
    for row in matrix:
        yield ",".join(map(repr, row.astype(np.float64).tolist()))


def read_csv(path):
    """Return the matrix as float64. `#` starts a comment."""
    rows = []
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            line = line.split("#")[0].strip()
            if not line:
                continue
            try:
                row = [float(field) for field in line.replace("_", "?").split(",")]  # Python 3 would take 1_000
            except ValueError:
                raise ValueError("line %d: expected numbers with commas between them, got %r" % (number, line[:60]))
            rows.append(_checked(row, rows, "line %d" % number))
    if not rows:
        raise ValueError("expected a matrix, got an empty file")
    return np.array(rows)


def read_numbers(path):
    """Return the numbers of a text with blanks, commas or line ends between them, a list. `#` starts a comment."""
    with _open(path) as file:
        return list(map(float, " ".join(line.split("#")[0] for line in file).replace(",", " ").split()))


def read_json(path):
    """Return the matrix as float64, from a list of lists of numbers."""
    with _open(path) as file:
        try:
            content = json.load(file, parse_int=float)  # an int of a million digits takes Python minutes
        except (ValueError, RuntimeError) as error:  # the second for lists in lists in lists
            raise ValueError("expected a list of lists of numbers, got something else (%s)" % error)
    if not isinstance(content, list) or not content or not all(isinstance(row, list) and row for row in content):
        raise ValueError("expected a list of lists of numbers, got something else")
    rows = []
    for number, row in enumerate(content):
        content[number] = None  # what has been read takes no memory
        if not all(type(value) is float and abs(value) < np.inf for value in row):
            raise ValueError("row %d: expected finite numbers with commas between them, got something else" % number)
        rows.append(_checked(row, rows, "row %d" % number))
    return np.array(rows)


def _checked(row, rows, where):
    """Return a row as float64, which is to follow other rows."""
    if rows and len(row) != len(rows[0]):
        raise ValueError("%s: expected %d numbers, as in the first row, got %d" % (where, len(rows[0]), len(row)))
    return np.array(row, np.float64)


def _open(path):
    plain_size(path)
    return io.open(path, encoding="utf-8-sig", errors="replace")  # any line ends, with a byte order mark or without
