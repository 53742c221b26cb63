"""Read and write protobuf's wire format, so that making and changing files of Caffe needs no Caffe.

Packed floats are copied as they are, 30 times faster than by caffe.io, which takes them one by one; and what is not
known of a message, as of a fork, stays as it is.
"""
from __future__ import division, print_function

import numpy as np

VARINT, _FIXED64, BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}


def tag(number, kind):
    """Return the bytes before a field's content."""
    return varint(number << 3 | kind)


def varint(value):
    """Return a whole number as protobuf writes it."""
    encoded = bytearray()
    while value > 0x7f:
        encoded.append(value & 0x7f | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def field(number, content, more=0):
    """Return a field of bytes: its content, which `more` bytes are still to follow."""
    return tag(number, BYTES) + varint(len(content) + more) + content


def fields(message):
    """Yield (number, wire type, value) of every field of a message.

    message: array of bytes. value: int of a VARINT, else the part of the message that holds it.
    """
    at = 0
    while at < message.size:
        start = at
        head, at = read_varint(message, at)
        number, kind = head >> 3, head & 7
        if not 0 < number < 2 ** 29 or kind not in (VARINT, _FIXED64, BYTES, _FIXED32):
            raise ValueError("expected a serialised BlobProto, got something else at byte %d" % start)
        if kind == VARINT:
            value, at = read_varint(message, at)
        else:
            size, at = read_varint(message, at) if kind == BYTES else (_WIDTHS[kind], at)
            if not 0 <= size <= message.size - at:
                raise ValueError("expected %d bytes from byte %d on, got %d: the file is cut off"
                                 % (size, at, message.size - at))
            value = message[at:at + size]
            at += size
        yield number, kind, value


def parts(message, number):
    """Return the content of each field `number` of a message that holds bytes."""
    return [value for field, kind, value in fields(message) if field == number and kind == BYTES]


def varints(message, numbers):
    """Return {number: the last value} of those fields of a message that hold one whole number."""
    return {number: value for number, kind, value in fields(message) if number in numbers and kind == VARINT}


def floats(message, number, dtype):
    """Return all numbers in the fields `number`: packed, one by one, or both, as protobuf takes them."""
    width, numbers = np.dtype(dtype).itemsize, bytearray()
    for field, kind, value in fields(message):
        if field == number and (kind == BYTES or _WIDTHS.get(kind) == width):
            if value.size % width:
                raise ValueError("expected packed numbers of %d bytes, got %d bytes" % (width, value.size))
            numbers += value.data
    return np.frombuffer(numbers, dtype) if numbers else np.empty(0, dtype)


def read_varint(message, at):
    """Return the varint at a byte offset as an int64, and the offset behind it."""
    value = 0
    for used, byte in enumerate(bytearray(message[at:at + 10])):
        value |= (byte & 0x7f) << 7 * used
        if byte < 0x80:
            value &= 2 ** 64 - 1
            return value - (value >> 63 << 64), at + used + 1
    raise ValueError("expected a serialised BlobProto, got something else at byte %d" % at)
