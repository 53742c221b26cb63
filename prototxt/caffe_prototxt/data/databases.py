"""Read the records of an LMDB or a LevelDB, and the Datums in them."""
from __future__ import division, print_function

import re

import numpy as np

from caffe_losses.formats import lmdb_files
from caffe_losses.formats.wire import read_varint, varints
from caffe_losses.optional_packages import optional
from caffe_prototxt.data import leveldb_files

_LABEL = 5  # the number of a Datum's field
_SMALL = 2 ** 14  # bytes; larger records are not copied for their label
# The fields of numbers, and then the tag and the size of the image's bytes: how a Datum begins.
_HEAD = re.compile(br"((?:[\x08\x10\x18\x28\x38][\x80-\xff]{0,9}[\x00-\x7f])*)\x22([\x80-\xff]{0,4}[\x00-\x7f])")
_MOST_HEAD = _MOST_TAIL = 64  # bytes, before and after the image's


def is_database(folder):
    """Return if a folder holds what Caffe opens as an LMDB or a LevelDB. Raises IOError where nobody may look."""
    return lmdb_files.is_lmdb(folder) or leveldb_files.is_leveldb(folder)


def open_records(folder):
    """Return (an iterator over the values of the records, their number or None) of an LMDB or a LevelDB.

    The values are buffers, or bytes; none may be used once the iterator is deleted.
    Raises IOError or ValueError, then or while it is iterated, for what is neither, is damaged, or is open elsewhere.
    """
    if lmdb_files.is_lmdb(folder):
        return lmdb_files.records(folder), lmdb_files.count_records(folder)
    return leveldb_files.records(folder), None


def _datum():
    return optional("caffe", "LMDB and LevelDB").proto.caffe_pb2.Datum()


def datums(records):
    """Yield each record as a Datum, in one and the same object. Raises ValueError for what is none."""
    datum = _datum()
    for record in records:
        _parse(datum, record)
        yield datum


def datum_labels(records):
    """Yield the label of each record that is a Datum with one, else None. Images are not copied.

    Most records begin as the one before: with the same fields up to the image's bytes, and so as many of these. What
    follows them is short, and known after a few records.
    """
    datum, head, before, known = _datum(), None, None, {}
    for record in records:
        if head is None or record[:len(head)] != head:
            match = _HEAD.match(bytes(record[:_MOST_HEAD]))
            head, start = (match.group(), match.end() + read_varint(match.group(2), 0)[0]) if match else (None, 0)
            if match and match.group(1) != before:
                before, known = match.group(1), {}
        tail = None if head is None or len(record) - start > _MOST_TAIL else bytes(record[start:])
        if tail is None or len(record) < start:
            yield _label(datum, record)
            continue
        if tail not in known:
            known[tail] = _label(datum, record)
        yield known[tail]


def _label(datum, record):
    try:
        if len(record) < _SMALL:
            _parse(datum, record)
            return datum.label if datum.HasField("label") else None
        return varints(np.frombuffer(record, np.uint8), (_LABEL,)).get(_LABEL)
    except ValueError:
        return None


def _parse(datum, record):
    record = bytes(record)
    try:
        consumed = datum.ParseFromString(record)  # None in old protobufs
    except Exception:  # protobuf's DecodeError moves between its versions
        consumed = -1
    if consumed not in (None, len(record)):
        raise ValueError("expected a Datum, got something else")
