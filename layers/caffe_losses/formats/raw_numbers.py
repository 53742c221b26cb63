"""Numbers as they lie in files: read into an array, or written from one, without a second copy of them."""
from __future__ import division, print_function

import contextlib
import io
import os
import stat

import numpy as np

_READ_AT_ONCE = 2 ** 22  # bytes
_WRITE_AT_ONCE = 2 ** 18  # bytes that stay in the processor's cache while they are converted


@contextlib.contextmanager
def open_part(path):
    """A Part that is the whole file `path`. Raises IOError if that is no plain file."""
    if not stat.S_ISREG(os.stat(path).st_mode) and not os.path.isdir(path):
        raise IOError("expected a plain file, got a pipe or a device")
    with io.open(path, "rb", buffering=0) as file:
        yield Part(file, 0, os.fstat(file.fileno()).st_size)


class Part(object):
    """A stretch of an open file: `size` bytes from byte `start` on.

    Nothing is taken from outside it. It is read and not mapped into memory: a
    mapped file that becomes shorter ends the process.
    """

    def __init__(self, file, start, size):
        self.file, self.start, self.size = file, start, size

    def part(self, at, size):
        """The Part of `size` bytes from its byte `at` on. Raises ValueError if it has not that many."""
        if size < 0 or at + size > self.size:
            raise ValueError("expected %d bytes from byte %d on, got %d: the file is cut off"
                             % (size, self.start + at, max(0, self.size - at)))
        return Part(self.file, self.start + at, size)

    def peek(self, at, size):
        """Up to `size` bytes from byte `at` on, fewer at its end."""
        self.file.seek(self.start + at)
        return self.file.read(max(0, min(size, self.size - at)))

    def read(self, at, size):
        """The `size` bytes from byte `at` on."""
        found = self.part(at, size).peek(0, size)
        if len(found) != size:
            raise ValueError("expected %d bytes from byte %d on, got %d: the file is cut off"
                             % (size, self.start + at, len(found)))
        return found

    def fill(self, array, at=0):
        """Read a contiguous array's numbers from byte `at` on."""
        self.part(at, array.nbytes)
        self.file.seek(self.start + at)
        read_into(self.file, array)


def read_into(file, array):
    """Read a contiguous array's numbers from an unbuffered file."""
    content = array.reshape(-1).view(np.uint8)
    done = 0
    while done < len(content):
        got = file.readinto(content[done:done + _READ_AT_ONCE])
        if not got:
            raise ValueError("expected %d bytes of numbers, got %d: the file is cut off" % (len(content), done))
        done += got


def float32_blocks(matrix, size=_WRITE_AT_ONCE):
    """A matrix as contiguous float32 blocks of some of its rows, of about `size` bytes.

    Raises ValueError for an entry that float32 cannot hold.
    """
    rows = max(1, size // (4 * matrix.shape[1]))
    safe = np.can_cast(matrix.dtype, np.float32)
    for first in range(0, len(matrix), rows):
        block = matrix[first:first + rows]
        with np.errstate(over="ignore"):
            packed = np.ascontiguousarray(block, "<f4")
        if not safe and np.isinf(packed).any():
            overflow = np.isfinite(block) & np.isinf(packed)
            if overflow.any():
                raise ValueError("expected entries that float32 can hold, got %g" % block[overflow][0])
        yield packed


def matrix_shape(shape, count):
    """The two dims of a matrix from those of a blob, 1 x 1 x L x L or less.

    count: int, how many numbers there are. Raises ValueError if it is no matrix.
    """
    text = " x ".join(map(str, shape)) or "none"
    dims = list(shape)
    while len(dims) > 2 and dims[0] == 1:
        del dims[0]
    if len(dims) != 2 or min(dims) < 1:
        raise ValueError("expected a blob of shape 1 x 1 x L x L, got %s" % text)
    if dims[0] * dims[1] != count:
        raise ValueError("expected %d numbers for shape %s, got %d (is the file cut off?)"
                         % (dims[0] * dims[1], text, count))
    return dims
