"""Read the data frames in R's .rda files, without R: of the types that mlbench's data sets have, packed by xz."""
from __future__ import division, print_function

import struct
import subprocess

import numpy as np

from caffe_losses.errors import naming

# Types of R's items (Rinternals.h); arrays: how their elements are stored.
SYMBOL, PAIRS, CHARS, STRINGS, LIST, REFERENCE, NONE = 1, 2, 9, 16, 19, 255, 254
ARRAYS = {10: ">i4", 13: ">i4", 14: ">f8"}  # logical, integer, real
HAS_ATTRIBUTES = 0x200
HEAD = b"RDX2\nX\n\0\0\0\2"  # and two more versions, of 4 bytes each


def read_frame(path):
    """Return the data frame in an .rda file: {name of a column: values}; those of a factor are (codes from 0, levels).

    Raises IOError or ValueError, naming the file.
    """
    with naming(path), open(path, "rb") as file:
        content = subprocess.Popen(["xz", "-dc"], stdin=file, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE).communicate()[0]
        try:
            (frame,) = _Reader(content).item().values()
            return dict(zip(frame[1]["names"], map(_column, frame[0])))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError, struct.error) as error:
            raise ValueError("expected one data frame of R's, packed by xz, got something else (%s)" % error)


def _column(item):
    return (item[0] - 1, item[1]["levels"]) if isinstance(item, tuple) else item


class _Reader(object):
    """Read the items of a serialised R object, one after the other."""

    def __init__(self, content):
        if not content.startswith(HEAD):
            raise ValueError("it starts with %r" % content[:len(HEAD)])
        self.content, self.at, self.symbols = content, len(HEAD) + 8, []

    def item(self):
        """Return the next item: an array, a list, {tag: value} of pairs, a text, or (an item, its attributes)."""
        flags = self._integer()
        kind = flags & 255
        if kind == NONE:
            return {}
        if kind == REFERENCE:
            return self.symbols[(flags >> 8) - 1]
        if kind == SYMBOL:
            self.symbols.append(self.item())
            return self.symbols[-1]
        if kind == PAIRS:
            tag = self.item()
            return dict([(tag, self.item())], **self.item())
        n = self._integer()
        if kind == CHARS:
            return str(self._bytes(n).decode("utf-8"))
        if kind in ARRAYS:
            dtype = np.dtype(ARRAYS[kind])
            value = np.frombuffer(self._bytes(n * dtype.itemsize), dtype)
        elif kind in (STRINGS, LIST):
            value = [self.item() for _ in range(n)]
        else:
            raise ValueError("an item of type %d" % kind)
        return (value, self.item()) if flags & HAS_ATTRIBUTES else value

    def _integer(self):
        return struct.unpack(">i", self._bytes(4))[0]

    def _bytes(self, n):
        self.at += n
        return self.content[self.at - n:self.at]
