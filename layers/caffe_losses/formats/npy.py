"""A matrix in a .npy file; what is read of it is never believed, and never executed."""
from __future__ import division, print_function

import io
import re

import numpy as np

from caffe_losses.formats.raw_numbers import open_part

# numpy parses the header as Python: one that numpy would write for a matrix, and nothing that nests
_PREFIX = re.compile(br"\x93NUMPY(\x01\x00..|\x02\x00....)", re.DOTALL)
_HEADER = re.compile(br"\s*\{[\w'\"<>|=:,. ]*\([\dL, ]*\)[\w'\"<>|=:,. ]*\}\s*\Z")
_MAX_HEADER = 1024


def write_npy(file, matrix):
    np.save(file, matrix, allow_pickle=False)


def read_npy(path):
    """An array of the file's own type."""
    with open_part(path) as part:
        shape, fortran_order, dtype, start = _header(part)
        if len(shape) != 2 or min(shape) < 1:
            raise ValueError("expected a matrix, got an array of shape %s" % (shape,))
        if dtype.kind not in "fiub":
            raise ValueError("expected numbers, got %s" % dtype)
        # np.load would believe the header, and reserve the memory it asks for.
        expected = shape[0] * shape[1] * dtype.itemsize
        if part.size - start != expected:
            raise ValueError("expected %d bytes of numbers, got %d: the file is damaged"
                             % (expected, part.size - start))
        matrix = np.empty(shape[::-1] if fortran_order else shape, dtype)
        part.fill(matrix, start)
        return matrix.T if fortran_order else matrix


def _header(part):
    """(shape, fortran_order, dtype, where the numbers start)."""
    prefix = _PREFIX.match(part.peek(0, 12))
    if not prefix:
        raise ValueError("expected a .npy file, got something else")
    start = prefix.end() + sum(byte << 8 * i for i, byte in enumerate(bytearray(prefix.group(1)[2:])))
    if start > _MAX_HEADER or not _HEADER.match(part.read(prefix.end(), start - prefix.end())):
        raise ValueError("expected a .npy file with a matrix, got something else")
    file = io.BytesIO(part.read(0, start))
    read = (np.lib.format.read_array_header_1_0 if np.lib.format.read_magic(file) == (1, 0)
            else np.lib.format.read_array_header_2_0)
    try:
        return read(file) + (start,)
    except Exception:  # numpy fails in many ways
        raise ValueError("expected a .npy file with a matrix, got something else")
