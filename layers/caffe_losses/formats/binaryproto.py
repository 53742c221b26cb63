"""Read and write a matrix in Caffe's protobuf messages: BlobProto, NetParameter, Datum.

Packed floats are copied as they are, 30 times faster than by caffe.io, which takes them one by one; and making H needs
no Caffe.
"""
from __future__ import division, print_function

import functools

import numpy as np

from caffe_losses.formats.blobs import float32_blocks, matrix_shape
from caffe_losses.formats.plain_files import plain_size

# A protobuf message holds at most 2 GiB, and Caffe reads no larger one.
MAX_BYTES = 2 ** 31 - 1
MAX_AXES = 32  # of a blob in Caffe

VARINT, _FIXED64, BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}

# The numbers of the fields in Caffe's caffe.proto.
_LEGACY_DIMS, _DATA, _SHAPE, _DOUBLE_DATA = (1, 2, 3, 4), 5, 7, 8  # BlobProto; the dims are num to width
_SHAPE_DIM = 1
_NET_LAYER = 100
_LAYER_NAME, _LAYER_TYPE, _LAYER_TOP, _LAYER_BLOBS = 1, 2, 4, 7
_DATUM_DIMS, _DATUM_DATA, _DATUM_FLOATS, _DATUM_ENCODED = (1, 2, 3), 4, 6, 7

LAYER = b"H"  # the name of the layer of a .caffemodel whose blob is the matrix


# writing: a message is a head, and behind it the numbers

def blob_head(shape, before=(1, 1)):
    """Return the bytes before the numbers in a BlobProto, 1 x 1 x rows x columns. before: the dims before `shape`."""
    dims = b"".join(varint(n) for n in before + shape)
    return field(_SHAPE, field(_SHAPE_DIM, dims)) + _tag(_DATA, BYTES) + varint(_size(shape))


def caffemodel_head(shape):
    """Return the bytes before the numbers in a NetParameter with a Parameter layer that holds them."""
    layer = field(_LAYER_NAME, LAYER) + field(_LAYER_TYPE, b"Parameter") + field(_LAYER_TOP, LAYER)
    layer += field(_LAYER_BLOBS, blob_head(shape), _size(shape))
    return field(_NET_LAYER, layer, _size(shape))


def datum_head(shape):
    """Return the bytes before the numbers in a Datum, 1 x rows x columns."""
    dims = b"".join(_tag(number, VARINT) + varint(n) for number, n in zip(_DATUM_DIMS, (1,) + shape))
    return dims + _tag(_DATUM_FLOATS, BYTES) + varint(_size(shape))


def check_size(shape):
    """Raise ValueError if a matrix is too large for any of these messages."""
    if len(caffemodel_head(shape)) + _size(shape) > MAX_BYTES:
        raise ValueError("expected a matrix that fits into 2 GiB, the most that Caffe reads in one message, "
                         "got %d x %d" % shape)


def _write(head, file, matrix):
    """Write a message to an open file. head: function of the shape."""
    file.write(head(matrix.shape))
    for block in float32_blocks(matrix):
        file.write(block.data)


write_binaryproto = functools.partial(_write, blob_head)
write_caffemodel = functools.partial(_write, caffemodel_head)


def write_layers(file, layers):
    """Write a NetParameter of layers with blobs, for -weights, to an open file.

    layers: list of the bytes of a name, and of arrays of at least one axis. Raises ValueError for more than 2 GiB.
    """
    written = []  # pairs of bytes and the array behind them
    for name, blobs in layers:
        heads = [field(_LAYER_BLOBS, blob_head(blob.shape, ()), _size(blob.shape)) for blob in blobs]
        layer = field(_NET_LAYER, field(_LAYER_NAME, name), _total(zip(heads, blobs)))
        written += [(layer, np.empty(0))] + list(zip(heads, blobs))
    if _total(written) > MAX_BYTES:
        raise ValueError("expected weights that fit into 2 GiB, the most that Caffe reads in one message, got %d bytes"
                         % _total(written))
    for head, blob in written:
        file.write(head)
        for block in float32_blocks(blob.reshape(len(blob), -1)) if blob.size else ():
            file.write(block.data)


def _total(parts):
    return sum(len(head) + 4 * blob.size for head, blob in parts)


def _size(shape):
    """Return the number of bytes of an array of float32."""
    size = 4
    for dim in shape:
        size *= int(dim)
    return size


def field(number, content, more=0):
    """Return a field of bytes: its content, which `more` bytes are still to follow."""
    return _tag(number, BYTES) + varint(len(content) + more) + content


def _tag(number, kind):
    return varint(number << 3 | kind)


def varint(value):
    """Return a whole number as protobuf writes it."""
    encoded = bytearray()
    while value > 0x7f:
        encoded.append(value & 0x7f | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


# reading: a message is an array of bytes, mapped, so that only the numbers of H are read

def read_binaryproto(path):
    """Return the matrix of a BlobProto in a file."""
    return _read_blob(_mapped(path))


def read_caffemodel(path):
    """Return the blob of the layer "H", or else of the only layer that has any."""
    layers = parts(_mapped(path), _NET_LAYER)
    named = [layer for layer in layers if [name.tobytes() for name in parts(layer, _LAYER_NAME)[-1:]] == [LAYER]]
    candidates = named or [layer for layer in layers if parts(layer, _LAYER_BLOBS)]
    if len(candidates) != 1:
        raise ValueError("expected a layer H, or one layer with a blob, got %d (is this a .caffemodel?)"
                         % len(candidates))
    blobs = parts(candidates[0], _LAYER_BLOBS)
    if len(blobs) != 1:
        raise ValueError("expected one blob in the layer of H, got %d" % len(blobs))
    return _read_blob(blobs[0])


def _mapped(path):
    size = plain_size(path)
    return np.asarray(np.memmap(path, np.uint8, "r")) if size else np.empty(0, np.uint8)


def _read_blob(message):
    """Return the matrix of a BlobProto: float32, or float64 if it holds double_data."""
    dims, _ = blob_dims(message)
    values = _numbers(message, _DOUBLE_DATA, "<f8")  # Caffe takes double_data first, too
    if not values.size:
        values = _numbers(message, _DATA, "<f4")
    if not values.size:
        raise ValueError("expected a BlobProto with data, got one without (is this a .binaryproto?)")
    return values.reshape(matrix_shape(dims, values.size))


def blob_dims(message):
    """Return (the dims of a BlobProto, whether they are the old num, channels, height and width)."""
    legacy = {number: value for number, kind, value in fields(message) if number in _LEGACY_DIMS and kind == VARINT}
    if legacy:  # Caffe lets the old form win, with 0 for a missing dim
        return [legacy.get(number, 0) for number in _LEGACY_DIMS], True
    # protobuf merges repeated messages
    return [dim for shape in parts(message, _SHAPE) for dim in _dims(shape)], False


def read_datum(message):
    """Return the matrix of a Datum with float_data, 1 x rows x columns. message: array of bytes."""
    integers = {number: value for number, kind, value in fields(message) if kind == VARINT}
    if _DATUM_ENCODED in integers or any(data.size for data in parts(message, _DATUM_DATA)):
        raise ValueError("expected a Datum with float_data, got one with an image's bytes")
    values = _numbers(message, _DATUM_FLOATS, "<f4")
    if not values.size:
        raise ValueError("expected a Datum with float_data, got one without")
    return values.reshape(matrix_shape([integers.get(number, 0) for number in _DATUM_DIMS], values.size))


def _dims(shape):
    """Return the dims of a serialised BlobShape, packed or one by one."""
    if shape.size > 12 * MAX_AXES:  # more than so many varints with a tag each
        raise ValueError("expected a blob of at most %d axes, got more" % MAX_AXES)
    dims = []
    for number, kind, value in fields(shape):
        if (number, kind) == (_SHAPE_DIM, VARINT):
            dims.append(value)
        elif (number, kind) == (_SHAPE_DIM, BYTES):
            at = 0
            while at < value.size:
                dim, at = _read_varint(value, at)
                dims.append(dim)
    return dims


def _numbers(message, number, dtype):
    """Return all numbers in the fields `number`: packed, one by one, or both, as protobuf takes them."""
    width, numbers = np.dtype(dtype).itemsize, bytearray()
    for field, kind, value in fields(message):
        if field != number or kind != BYTES and _WIDTHS.get(kind) != width:
            continue
        if value.size % width:
            raise ValueError("expected packed numbers of %d bytes, got %d bytes" % (width, value.size))
        numbers += value.data
    return np.frombuffer(numbers, dtype) if numbers else np.empty(0, dtype)


def parts(message, number):
    """Return the content of each field `number` of a message that holds bytes."""
    return [value for field, kind, value in fields(message) if field == number and kind == BYTES]


def fields(message):
    """Yield (number, wire type, value) of every field of a protobuf message.

    message: array of bytes. value: int of a VARINT, else the part of the message that holds it.
    """
    at = 0
    while at < message.size:
        start = at
        tag, at = _read_varint(message, at)
        number, kind = tag >> 3, tag & 7
        if not 0 < number < 2 ** 29 or kind not in (VARINT, _FIXED64, BYTES, _FIXED32):
            raise ValueError("expected a serialised BlobProto, got something else at byte %d" % start)
        if kind == VARINT:
            value, at = _read_varint(message, at)
        else:
            size, at = _read_varint(message, at) if kind == BYTES else (_WIDTHS[kind], at)
            if not 0 <= size <= message.size - at:
                raise ValueError("expected %d bytes from byte %d on, got %d: the file is cut off"
                                 % (size, at, message.size - at))
            value = message[at:at + size]
            at += size
        yield number, kind, value


def _read_varint(message, at):
    """Return the varint at a byte offset as an int64, and the offset behind it."""
    value = 0
    for used, byte in enumerate(bytearray(message[at:at + 10])):
        value |= (byte & 0x7f) << 7 * used
        if byte < 0x80:
            value &= 2 ** 64 - 1
            return value - (value >> 63 << 64), at + used + 1
    raise ValueError("expected a serialised BlobProto, got something else at byte %d" % at)
