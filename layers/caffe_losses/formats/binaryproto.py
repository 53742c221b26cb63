"""Read and write a matrix in a BlobProto or a Datum; convert it to the float32 of Caffe's blobs and back."""
from __future__ import division, print_function

import numpy as np

from caffe_losses.formats.plain_files import plain_size
from caffe_losses.formats.wire import BYTES, VARINT, field, fields, floats, parts, read_varint, tag, varint, varints

# A protobuf message holds at most 2 GiB, and Caffe reads no larger one.
MAX_BYTES = 2 ** 31 - 1
_MOST_HEAD = 100  # bytes before the numbers in any message with a matrix
_MAX_AXES = 32  # of a blob in Caffe

# The numbers of the fields in Caffe's caffe.proto.
_LEGACY_DIMS, _DATA, _SHAPE, _DOUBLE_DATA = (1, 2, 3, 4), 5, 7, 8  # BlobProto; the dims are num to width
_SHAPE_DIM = 1
_DATUM_DIMS, _DATUM_DATA, _DATUM_FLOATS, _DATUM_ENCODED = (1, 2, 3), 4, 6, 7


# writing: a message is a head, and behind it the numbers

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


def write_after(head, file, matrix):
    """Write the bytes of a head, and behind it a matrix as float32, to an open file."""
    file.write(head)
    for block in float32_blocks(matrix):
        file.write(block.data)


def write_binaryproto(file, matrix):
    """Write a BlobProto, 1 x 1 x rows x columns, to an open file."""
    write_after(blob_head((1, 1) + matrix.shape), file, matrix)


def blob_head(shape):
    """Return the bytes before the numbers in a BlobProto."""
    dims = b"".join(map(varint, shape))
    return field(_SHAPE, field(_SHAPE_DIM, dims)) + tag(_DATA, BYTES) + varint(n_bytes(shape))


def datum_head(shape):
    """Return the bytes before the numbers in a Datum, 1 x rows x columns."""
    dims = b"".join(tag(number, VARINT) + varint(n) for number, n in zip(_DATUM_DIMS, (1,) + shape))
    return dims + tag(_DATUM_FLOATS, BYTES) + varint(n_bytes(shape))


def n_bytes(shape):
    """Return the number of bytes of an array of float32."""
    size = 4
    for dim in shape:
        size *= int(dim)
    return size


def check_size(shape):
    """Raise ValueError if a matrix is too large for a message."""
    if n_bytes(shape) > MAX_BYTES - _MOST_HEAD:
        raise ValueError("expected a matrix that fits into 2 GiB, the most that Caffe reads in one message, "
                         "got %d x %d" % shape)


# reading: a message is an array of bytes, mapped, so that only the numbers of H are read

def mapped(path, mode="r"):
    """Map the bytes of a plain file into memory. mode: "c" to change them, but not the file. Raises IOError."""
    return np.asarray(np.memmap(path, np.uint8, mode)) if plain_size(path) else np.empty(0, np.uint8)


def read_binaryproto(path):
    """Return the matrix of a BlobProto in a file."""
    return read_blob(mapped(path))


def read_blob(message):
    """Return the matrix of a BlobProto: float32, or float64 if it holds double_data."""
    dims, _ = blob_dims(message)
    values = floats(message, _DOUBLE_DATA, "<f8")  # Caffe takes double_data first, too
    if not values.size:
        values = floats(message, _DATA, "<f4")
    if not values.size:
        raise ValueError("expected a BlobProto with data, got one without (is this a .binaryproto?)")
    return values.reshape(matrix_shape(dims, values.size))


def packed_numbers(message):
    """Return the numbers of a BlobProto as a view of the message, or None where they are not packed together."""
    for number, dtype in ((_DOUBLE_DATA, "<f8"), (_DATA, "<f4")):
        packed = [value for value in parts(message, number) if value.size]
        if packed:
            is_one = len(packed) == 1 and packed[0].size % np.dtype(dtype).itemsize == 0
            return packed[0].view(dtype) if is_one else None
    return None


def blob_dims(message):
    """Return (the dims of a BlobProto, whether they are the old num, channels, height and width)."""
    legacy = varints(message, _LEGACY_DIMS)
    if legacy:  # Caffe lets the old form win, with 0 for a missing dim
        return tuple(legacy.get(number, 0) for number in _LEGACY_DIMS), True
    # protobuf merges repeated messages
    return tuple(dim for shape in parts(message, _SHAPE) for dim in _dims(shape)), False


def _dims(shape):
    """Return the dims of a serialised BlobShape, packed or one by one."""
    if shape.size > 12 * _MAX_AXES:  # more than so many varints with a tag each
        raise ValueError("expected a blob of at most %d axes, got more" % _MAX_AXES)
    dims = []
    for number, kind, value in fields(shape):
        if (number, kind) == (_SHAPE_DIM, VARINT):
            dims.append(value)
        elif (number, kind) == (_SHAPE_DIM, BYTES):
            at = 0
            while at < value.size:
                dim, at = read_varint(value, at)
                dims.append(dim)
    return dims


def read_datum(message):
    """Return the matrix of a Datum with float_data, 1 x rows x columns. message: array of bytes."""
    integers = varints(message, _DATUM_DIMS + (_DATUM_ENCODED,))
    if _DATUM_ENCODED in integers or any(data.size for data in parts(message, _DATUM_DATA)):
        raise ValueError("expected a Datum with float_data, got one with an image's bytes")
    values = floats(message, _DATUM_FLOATS, "<f4")
    if not values.size:
        raise ValueError("expected a Datum with float_data, got one without")
    return values.reshape(matrix_shape([integers.get(number, 0) for number in _DATUM_DIMS], values.size))


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
