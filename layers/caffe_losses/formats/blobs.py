"""Convert a matrix to the float32 of Caffe's blobs, 1 x 1 x rows x columns, and back."""
from __future__ import division, print_function

import numpy as np


def float32_blocks(matrix, size=2 ** 18):
    """Yield a matrix as contiguous float32 blocks of some of its rows.

    size: int, about the bytes of a block; so many stay in the processor's cache while they are converted.
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


def matrix_shape(shape, count=None):
    """Return the two dims of a matrix from those of a blob, 1 x 1 x L x L or less.

    count: int, the number of entries, if it is known. Raises ValueError for dims of no matrix, or of another count.
    """
    text = " x ".join(map(str, shape)) or "none"
    dims = [int(n) for n in shape]
    while len(dims) > 2 and dims[0] == 1:
        del dims[0]
    if len(dims) != 2 or min(dims) < 1:
        raise ValueError("expected a blob of shape 1 x 1 x L x L, got %s" % text)
    if count not in (None, dims[0] * dims[1]):
        raise ValueError("expected %d numbers for shape %s, got %d (is the file cut off?)"
                         % (dims[0] * dims[1], text, count))
    return dims
