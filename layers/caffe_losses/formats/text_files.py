"""A matrix as text: .csv and .json. Read row by row, and every number so written that it reads back the same."""
from __future__ import division, print_function

import itertools
import json
import re

import numpy as np

from caffe_losses.formats.raw_numbers import open_part

# Caffe's blobs hold no larger square matrix; a row of text is limited so that one which never ends takes no memory
MAX_COLUMNS = 46340
_MAX_ROW = 2 ** 21
_BLOCK = 2 ** 16
_FIRST_ROW, _NEXT_ROW = re.compile(br"\s*\[\s*\["), re.compile(br"\s*,\s*\[")


def write_csv(file, matrix):
    for text in _rows_of_text(matrix):
        file.write(text.encode("ascii") + b"\n")


def write_json(file, matrix):
    """A list of rows, each a list of numbers. Raises ValueError for NaN and Inf, which JSON has not."""
    separator = b"["
    for row, text in zip(matrix, _rows_of_text(matrix)):
        if not np.isfinite(row).all():
            raise ValueError("expected finite numbers, as JSON has no others, got %g" % row[~np.isfinite(row)][0])
        file.write(separator + b"[" + text.encode("ascii") + b"]")
        separator = b",\n"
    file.write(b"]\n")


def _rows_of_text(matrix):
    for row in matrix:
        # repr of a float is the shortest text that reads back as the same float
        yield ",".join(map(repr, row.astype(np.float64).tolist()))


def read_csv(path):
    """float64. `#` starts a comment."""
    rows = _Rows()
    for number, line in enumerate(_lines(path), 1):
        line = line.split(b"#")[0].strip()
        if line:
            rows.add(line, _csv_row, "line %d" % number)
    return rows.matrix()


def read_json(path):
    """float64, from a list of lists of numbers."""
    rows, start = _Rows(), _FIRST_ROW
    pieces = _pieces(path, b"]")
    for piece in pieces:
        found = start.match(piece)
        if not found:
            break
        rows.add(piece[found.end():], _json_row, "row %d" % rows.n_rows)
        start = _NEXT_ROW
    # What is left is nothing, the list's own end, and nothing.
    if not rows.n_rows or piece.strip() or [rest.strip() for rest in itertools.islice(pieces, 2)] != [b""]:
        raise ValueError("expected a list of lists of numbers, got something else after %d rows" % rows.n_rows)
    return rows.matrix()


class _Rows(object):
    """A matrix that grows by rows."""

    def __init__(self):
        self.numbers, self.n_columns, self.n_rows = bytearray(), None, 0

    def add(self, text, parse, where):
        """parse: function that makes a list of numbers from a text."""
        if text.count(b",") >= MAX_COLUMNS:
            raise ValueError("%s: expected at most %d numbers, got more" % (where, MAX_COLUMNS))
        try:
            row = parse(text)
        except ValueError:
            raise ValueError("%s: expected numbers with commas between them, got %r" % (where, _shown(text)))
        if self.n_columns not in (None, len(row)):
            raise ValueError("%s: expected %d numbers, as in the first row, got %d" % (where, self.n_columns, len(row)))
        self.n_columns, self.n_rows = len(row), self.n_rows + 1
        self.numbers += np.array(row, np.float64).tobytes()

    def matrix(self):
        if not self.n_rows:
            raise ValueError("expected a matrix, got an empty file")
        return np.frombuffer(self.numbers, np.float64).reshape(self.n_rows, self.n_columns)


def _csv_row(line):
    if b"_" in line:  # Python 3 would take 1_000
        raise ValueError
    return [float(field) for field in line.split(b",")]


def _json_row(text):
    if not text.strip() or text.strip(b"0123456789.eE+-, \t\r\n"):
        raise ValueError
    # Nothing but numbers is left. As float, because an int of a million digits takes Python minutes.
    row = json.loads("[" + text.decode("ascii") + "]", parse_int=float)
    if not np.isfinite(row).all():
        raise ValueError
    return row


def _shown(text):
    return text[:60].decode("utf-8", "replace").strip()


def _lines(path):
    for piece in _pieces(path, b"\n"):
        for line in piece.rstrip(b"\r").split(b"\r"):  # an old Macintosh's line ends
            yield line


def _pieces(path, mark):
    """The text between the marks, without a byte order mark. Raises ValueError where it is too long for a row."""
    with open_part(path) as part:
        at, rest = 0, b""
        while True:
            block = part.peek(at, _BLOCK)
            if not at and block.startswith(b"\xef\xbb\xbf"):
                block, at = block[3:], 3
            if not block:
                break
            at += len(block)
            pieces = (rest + block).split(mark)
            rest = pieces.pop()
            if len(rest) > _MAX_ROW:
                raise ValueError("expected a row to be at most %d bytes of text, got more" % _MAX_ROW)
            for piece in pieces:
                yield piece
        yield rest
