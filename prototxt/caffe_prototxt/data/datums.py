"""The labels of serialised Datums, found without decoding or copying their images.

A Datum is a protobuf message of its fields in any order (caffe.proto: channels 1,
height 2, width 3, data 4, label 5, float_data 6, encoded 7). Its label almost always
stands after the image, so the few bytes before the image and the few after it tell
all: `labels` takes those of many records at once, and leaves to `label`, which walks
over any valid Datum, only what looks different.
"""
from __future__ import division, print_function

import re
import struct
from operator import itemgetter

import numpy as np

from caffe_losses.formats.lmdb_pages import gather

MAX_HEADS, MAX_HEAD, MAX_TAIL, MAX_KNOWN = 8, 64, 8, 100000
LENGTH_BYTES = 5  # of the length of an image, a varint
BUFFER = memoryview if str is not bytes else buffer  # noqa: F821: that of Python 2, whose `re` reads no memoryview

_VARINT = br"[\x80-\xff]{0,9}[\x00-\x7f]"
VARINT = re.compile(_VARINT)
MAX_TAG = 5
LABEL, FLOAT_DATA = 5, 6
# Varints of fields other than the label, and floats: what has a tag of one byte and is of no interest.
PLAIN = re.compile(br"(?:[\x08\x10\x18\x38]" + _VARINT + br"|\x35[\x00-\xff]{4}){0,1000}")
HEAD = re.compile(br"(?:[\x08\x10\x18\x38]" + _VARINT + br"){0,20}\x22")  # up to the image, and no label


def label(record):
    """The label of a serialised Datum, or None if it has none.

    record: bytes, or a buffer or memoryview of them.
    Raises ValueError if it is no Datum.
    """
    found, position, groups, size = None, 0, [], len(record)
    while position < size:
        position = PLAIN.match(record, position).end()
        if position == size:
            break
        tag, end = _varint(record, position)
        if end - position > MAX_TAG:
            raise ValueError("no field")
        position, number, wire = end, (tag & 0xffffffff) >> 3, tag & 7
        if wire == 0 and number:
            value, position = _varint(record, position)
            if number == LABEL and not groups:
                found = (value & 0xffffffff ^ 0x80000000) - 0x80000000  # an int32
        elif wire == 2 and number:
            length, position = _varint(record, position)
            position += length
            if number == FLOAT_DATA and not groups and length % 4:
                raise ValueError("packed floats of %d bytes" % length)
        elif wire in (1, 5) and number:
            position += 8 if wire == 1 else 4
        elif wire == 3 and number:
            groups.append(number)
        elif wire != 4 or not groups or groups.pop() != number:
            raise ValueError("no field")
    if position > size or groups:
        raise ValueError("cut off")
    return found


def _varint(record, position):
    match = VARINT.match(record, position)
    if not match:
        raise ValueError("no number")
    value = 0
    for byte in reversed(bytearray(match.group())):
        value = value << 7 | byte & 127
    return value & 0xffffffffffffffff, match.end()


def labels(batches):
    """The labels of many serialised Datums.

    batches: as those of caffe_losses.formats.lmdb_pages and of leveldbs.
    Yields (label, count, record): a label, how many records have it, and the number of the
    first of these, in the order of these numbers. A label comes again and again.
    Raises ValueError, naming the first record that is no Datum or has no label.
    """
    known, before = {}, 0
    for data, starts, sizes in batches:
        for value, count, record in sorted(_batch_labels(data, starts, sizes, known), key=itemgetter(2)):
            if value is None:
                raise ValueError("expected Datums with a label, got something else in record %d" % (before + record))
            yield value, count, before + record
        before += len(starts)


def _batch_labels(data, starts, sizes, known):
    left = np.arange(len(starts))
    for _ in range(MAX_HEADS):
        if not len(left):
            return
        head = HEAD.match(_record(data, starts[left[0]], min(sizes[left[0]], MAX_HEAD)))
        if not head:
            break
        fits, tail_starts, tail_sizes = _tails(data, starts[left], sizes[left], head.group())
        for size in np.unique(tail_sizes):
            chosen = tail_sizes == size
            tails = gather(data, tail_starts[chosen], size)
            records = left[fits[chosen]]
            for tail, count, first in zip(*_distinct(tails)):
                value = _known_label(tail, size, known)
                yield value, count, records[first]
        rest = np.ones(len(left), bool)
        rest[fits] = False
        left = left[rest]
        if rest[0]:  # for instance because nothing stands after its image
            break
    for record in left:
        yield _label_or_none(_record(data, starts[record], sizes[record])), 1, record


def _record(data, start, size):
    """A part of an array of bytes, as something that `re` reads without a copy."""
    return BUFFER(data[start:start + size])


def _tails(data, starts, sizes, head):
    """What stands after the images of the records that begin with `head`, where that is short.

    Returns (which of the records these are, where their tails begin, how long these are).
    """
    width = (len(head) + LENGTH_BYTES + 7) // 8 * 8  # compared as words of 8 bytes
    fits = np.flatnonzero(starts + width <= len(data))
    rows = gather(data, starts[fits], width)
    same = _begin_with(rows, head)
    if not same.all():
        fits, rows = fits[same], rows[same]
    if not len(fits):
        return fits, fits, fits
    lengths = rows[:, len(head):len(head) + LENGTH_BYTES].astype(np.int64)
    first = VARINT.match(rows[0, len(head):].tobytes())
    if first and _begin_with(rows, head + first.group()).all():
        lengths = lengths[:1]
    more = np.ones(len(lengths), bool)
    image, offset = np.zeros(len(lengths), np.int64), np.full(len(lengths), len(head))
    for i in range(LENGTH_BYTES):
        image += np.where(more, lengths[:, i] & 127, 0) << 7 * i
        offset += more
        more &= lengths[:, i] >= 128
    offset += image
    tails = sizes[fits] - offset
    short = ~more & (tails > 0) & (tails <= MAX_TAIL)
    return fits[short], (starts[fits] + offset)[short], tails[short]


def _begin_with(rows, start):
    """Which rows of bytes, a multiple of 8 wide, begin with `start`."""
    mask, wanted = (np.frombuffer(text.ljust(rows.shape[1], b"\0"), "<u8") for text in (b"\xff" * len(start), start))
    words = rows.view("<u8")
    same = np.ones(len(rows), bool)
    for i in range(words.shape[1]):
        same &= (words[:, i] & mask[i]) == wanted[i]
    return same


def _distinct(rows):
    """The distinct rows of at most 8 bytes, as numbers; how many there are of each, and where the first is."""
    numbers = np.zeros((len(rows), MAX_TAIL), np.uint8)
    numbers[:, :rows.shape[1]] = rows
    values, first, counts = np.unique(numbers.view("<u8").ravel(), return_index=True, return_counts=True)
    return values.tolist(), counts.tolist(), first.tolist()


def _known_label(tail, size, known):
    key = tail, int(size)
    if key not in known:
        if len(known) > MAX_KNOWN:
            known.clear()
        known[key] = _label_or_none(struct.pack("<Q", tail)[:int(size)])
    return known[key]


def _label_or_none(record):
    try:
        return label(record)
    except ValueError:
        return None
