"""A matrix in Caffe's protobuf messages: BlobProto, NetParameter, Datum.

From Caffe's caffe.proto, each field with its number:

    BlobProto       num 1, channels 2, height 3, width 4 (the old form of a shape),
                    data 5 (packed floats), shape 7, double_data 8
    BlobShape       dim 1
    NetParameter    layer 100
    LayerParameter  name 1, type 2, top 4, blobs 7
    Datum           channels 1, height 2, width 3, data 4, float_data 6, encoded 7

They are read and written here as raw packed floats, because protobuf's Python
takes them one by one, and so that making H needs no Caffe.
"""
from __future__ import division, print_function

import numpy as np

from caffe_losses.formats.raw_numbers import float32_blocks, matrix_shape, open_part

# A protobuf message holds at most 2 GiB, and Caffe reads no larger one.
MAX_BYTES = 2 ** 31 - 1
MAX_AXES = 32  # of a blob in Caffe

LAYER = "H"  # the layer of a .caffemodel whose blob is the matrix

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}
_LEGACY_DIMS = (1, 2, 3, 4)
_DATA, _SHAPE, _DOUBLE_DATA = 5, 7, 8
_NET_LAYER = 100
_LAYER_NAME, _LAYER_TYPE, _LAYER_TOP, _LAYER_BLOBS = 1, 2, 4, 7
_DATUM_DIMS, _DATUM_DATA, _DATUM_FLOATS, _DATUM_ENCODED = (1, 2, 3), 4, 6, 7


# writing: a message is a head, and behind it the numbers

def blob_head(shape):
    """What stands before the numbers in a BlobProto, 1 x 1 x rows x columns."""
    dims = b"".join(_varint(n) for n in (1, 1) + shape)
    return _field(_SHAPE, _field(1, dims)) + _tag(_DATA, _BYTES) + _varint(_size(shape))


def caffemodel_head(shape):
    """What stands before the numbers in a NetParameter with a Parameter layer that holds them."""
    name = LAYER.encode("ascii")
    layer = _field(_LAYER_NAME, name) + _field(_LAYER_TYPE, b"Parameter") + _field(_LAYER_TOP, name)
    layer += _field(_LAYER_BLOBS, blob_head(shape), _size(shape))
    return _field(_NET_LAYER, layer, _size(shape))


def datum_head(shape):
    """What stands before the numbers in a Datum, 1 x rows x columns."""
    dims = b"".join(_tag(number, _VARINT) + _varint(n) for number, n in zip(_DATUM_DIMS, (1,) + shape))
    return dims + _tag(_DATUM_FLOATS, _BYTES) + _varint(_size(shape))


def check_size(shape):
    """Raise ValueError if a matrix is too large for any of these messages."""
    if len(caffemodel_head(shape)) + _size(shape) > MAX_BYTES:
        raise ValueError("expected a matrix that fits into 2 GiB, the most that Caffe reads in one message, "
                         "got %d x %d" % shape)


def write_binaryproto(file, matrix):
    _write(file, blob_head(matrix.shape), matrix)


def write_caffemodel(file, matrix):
    _write(file, caffemodel_head(matrix.shape), matrix)


def _write(file, head, matrix):
    file.write(head)
    for block in float32_blocks(matrix):
        file.write(block.data)


def _size(shape):
    return 4 * shape[0] * shape[1]


def _field(number, content, more=0):
    """A field of bytes: its content, of which `more` bytes are still to follow."""
    return _tag(number, _BYTES) + _varint(len(content) + more) + content


def _tag(number, kind):
    return _varint(number << 3 | kind)


def _varint(value):
    encoded = bytearray()
    while value > 0x7f:
        encoded.append(value & 0x7f | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


# reading

def read_binaryproto(path):
    with open_part(path) as part:
        return read_blob(part)


def read_caffemodel(path):
    """The blob of the layer "H", or else of the only layer that has any."""
    with open_part(path) as part:
        named, other, others = None, None, 0
        for _, layer in _parts(part, _NET_LAYER):
            names = [name for _, name in _parts(layer, _LAYER_NAME)]
            if names and names[-1].peek(0, len(LAYER) + 1) == LAYER.encode("ascii"):
                if named is not None:
                    raise ValueError("expected one layer %s, got two" % LAYER)
                named = layer
            elif any(_parts(layer, _LAYER_BLOBS)):
                other, others = layer, others + 1
        if named is None and others != 1:
            raise ValueError("expected a layer %s, or one layer with a blob, got %d (is this a .caffemodel?)"
                             % (LAYER, others))
        blobs = [blob for _, blob in _parts(other if named is None else named, _LAYER_BLOBS)]
        if len(blobs) != 1:
            raise ValueError("expected one blob in the layer of H, got %d" % len(blobs))
        return read_blob(blobs[0])


def read_blob(part):
    """The matrix of a BlobProto: float32, or float64 if it holds double_data."""
    legacy, dims = {}, []
    for number, kind, value in _fields(part):
        if number in _LEGACY_DIMS and kind == _VARINT:
            legacy[number] = value
        elif number == _SHAPE and kind == _BYTES:
            dims += _dims(value)  # protobuf merges repeated messages
            if len(dims) > MAX_AXES:
                raise ValueError("expected a blob of at most %d axes, got more" % MAX_AXES)
    if legacy:  # Caffe lets the old form win, with 0 for a dim that is not there
        dims = [legacy.get(number, 0) for number in _LEGACY_DIMS]
    values = _numbers(part, _DOUBLE_DATA, "<f8")  # Caffe takes double_data first, too
    if not values.size:
        values = _numbers(part, _DATA, "<f4")
    if not values.size:
        raise ValueError("expected a BlobProto with data, got one without (is this a .binaryproto?)")
    return values.reshape(matrix_shape(dims, values.size))


def read_datum(part):
    """The matrix of a Datum with float_data, 1 x rows x columns."""
    dims = [0, 0, 0]
    for number, kind, value in _fields(part):
        if number in _DATUM_DIMS and kind == _VARINT:
            dims[number - 1] = value
        elif (number, kind) == (_DATUM_DATA, _BYTES) and value.size or (number, kind) == (_DATUM_ENCODED, _VARINT):
            raise ValueError("expected a Datum with float_data, got one with an image's bytes")
    values = _numbers(part, _DATUM_FLOATS, "<f4")
    if not values.size:
        raise ValueError("expected a Datum with float_data, got one without")
    return values.reshape(matrix_shape(dims, values.size))


def _dims(shape):
    """The dims of a serialised BlobShape, packed or one by one; more than any blob has end it."""
    dims = []
    for number, kind, value in _fields(shape):
        if number == 1 and kind == _VARINT:
            dims.append(value)
        elif number == 1 and kind == _BYTES:
            at = 0
            while at < value.size and len(dims) <= MAX_AXES:
                dim, used = _read_varint(value, at)
                dims.append(dim)
                at += used
        if len(dims) > MAX_AXES:
            break
    return dims


def _numbers(part, number, dtype):
    """All numbers in the fields `number`: packed, one by one, or both, as protobuf takes them.

    The fields are gone through twice, so that nothing need be kept of millions of them.
    """
    width = np.dtype(dtype).itemsize
    values = np.empty(sum(count for _, count, _ in _runs(part, number, width)), dtype)
    done = 0
    for run, count, stride in _runs(part, number, width):
        target = values[done:done + count]
        if stride == width:
            run.fill(target)
        else:
            _fill_spaced(target, run, stride)
        done += count
    return values


def _runs(part, number, width):
    """(Part, count, stride) of each run of numbers: the last `width` of `stride` bytes are a number."""
    for found, kind, value in _fields(part):
        if found != number:
            continue
        if kind == _BYTES:
            if value.size % width:
                raise ValueError("expected packed numbers of %d bytes, got %d bytes" % (width, value.size))
            yield value, value.size // width, width
        elif kind in _WIDTHS and _WIDTHS[kind] == width:
            run, stride = value
            yield run, run.size // stride, stride


def _fill_spaced(target, run, stride, step=2 ** 16):
    for first in range(0, len(target), step):
        some = target[first:first + step]
        rows = np.frombuffer(run.read(first * stride, len(some) * stride), np.uint8).reshape(len(some), stride)
        some[...] = np.ascontiguousarray(rows[:, stride - some.itemsize:]).view(target.dtype)[:, 0]


def _parts(part, number):
    """The fields `number` of a message that are bytes, as pairs of that number and a Part."""
    return ((found, value) for found, kind, value in _fields(part) if found == number and kind == _BYTES)


def _fields(part):
    """(number, wire type, value) of every field of a protobuf message.

    value: int of a varint; Part of bytes; of numbers of fixed width, which come
    in runs when they are not packed, (Part of the run, its stride).
    """
    at = 0
    while at < part.size:
        head = part.peek(at, 10)
        tag, used = _read_varint(part, at, head)
        number, kind = tag >> 3, tag & 7
        if not 0 < number < 2 ** 29 or kind not in (_VARINT, _FIXED64, _BYTES, _FIXED32):
            raise ValueError("expected a serialised BlobProto, got something else at byte %d" % (part.start + at))
        if kind == _VARINT:
            value, size = _read_varint(part, at + used)
        elif kind == _BYTES:
            length, more = _read_varint(part, at + used)
            used += more
            value, size = part.part(at + used, length), length
        else:
            stride = used + _WIDTHS[kind]
            run = part.part(at, stride * _run_length(part, at, head[:used], stride))
            value, used, size = (run, stride), 0, run.size
        yield number, kind, value
        at += used + size


def _run_length(part, at, tag, stride):
    """How many fields with this tag, of `stride` bytes each, follow each other from byte `at` on."""
    part.part(at, stride)
    tag, count, step = np.frombuffer(tag, np.uint8), 0, 16
    while True:
        rows = np.frombuffer(part.peek(at + count * stride, step * stride), np.uint8)
        rows = rows[:len(rows) // stride * stride].reshape(-1, stride)
        other = (rows[:, :len(tag)] != tag).any(axis=1)
        if other.any():
            return count + int(other.argmax())
        count += len(rows)
        if len(rows) < step:
            return count
        step = min(4 * step, 2 ** 16)


def _read_varint(part, at, head=None):
    """(value, how many bytes it takes). head: what part.peek(at, 10) gave, if it is known."""
    value = 0
    for used, byte in enumerate(bytearray(part.peek(at, 10) if head is None else head)):
        value |= (byte & 0x7f) << 7 * used
        if byte < 0x80:
            value &= 2 ** 64 - 1
            return value - (value >> 63 << 64), used + 1  # an int64
    raise ValueError("expected a serialised BlobProto, got something else at byte %d" % (part.start + at))
