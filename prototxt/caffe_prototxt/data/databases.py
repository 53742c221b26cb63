"""Read the records of an LMDB or a LevelDB, and the Datums in them."""
from __future__ import division, print_function

import contextlib
import os

import numpy as np

from caffe_losses.formats import lmdb_files
from caffe_losses.formats.binaryproto import VARINT, fields
from caffe_losses.optional_packages import optional

_LABEL = 5  # the number of a Datum's field
_SMALL = 2 ** 14  # bytes; larger records are not copied for their label


def is_database(folder):
    """Return if a folder holds what Caffe opens as an LMDB or a LevelDB."""
    return lmdb_files.is_lmdb(folder) or os.path.exists(os.path.join(folder, "CURRENT"))


def open_records(folder):
    """Return (an iterator over the values of the records, their number or None) of an LMDB or a LevelDB.

    The values are buffers, or bytes; none may be used once the iterator is deleted.
    Raises IOError or ValueError, then or while it is iterated, for what is neither, is damaged, or is open elsewhere.
    """
    if lmdb_files.is_lmdb(folder):
        return lmdb_files.records(folder), lmdb_files.count_records(folder)
    return _leveldb_records(folder), None


def _leveldb_records(folder):
    """Yield the values of a LevelDB, by the package plyvel, or leveldb (of Caffe's requirements.txt).

    LevelDB opens a database for one program at a time, and puts its files in order whenever it opens it, as it does for
    each training. For a damaged one plyvel raises an error; leveldb, as Caffe, yields the records before the damage.
    """
    module = optional("plyvel", "LevelDB", "leveldb")
    by_plyvel = module.__name__ == "plyvel"
    options = {"create_if_missing": False, "paranoid_checks": True}
    reading = {"verify_checksums": True, "fill_cache": False}
    try:
        if by_plyvel:
            with contextlib.closing(module.DB(folder, **options)) as database:
                for value in database.iterator(include_key=False, **reading):
                    yield value
        else:
            for _, value in module.LevelDB(folder, **options).RangeIter(**reading):
                yield value
    except (module.Error if by_plyvel else module.LevelDBError) as error:
        if "/LOCK" in str(error):
            raise IOError("this LevelDB is open in another program, perhaps a training that reads it; wait until "
                          "that ends, or count a copy")
        raise IOError("expected a LevelDB: %s" % error)


def datums(records):
    """Yield each record as a Datum, in one and the same object. Raises ValueError for what is none."""
    from caffe.proto import caffe_pb2
    datum = caffe_pb2.Datum()
    for record in records:
        _parse(datum, record)
        yield datum


def datum_labels(records):
    """Yield the label of each record that is a Datum with one, else None. Images are not copied."""
    from caffe.proto import caffe_pb2
    datum = caffe_pb2.Datum()
    for record in records:
        try:
            if len(record) < _SMALL:
                _parse(datum, record)
                yield datum.label if datum.HasField("label") else None
            else:
                labels = [value for number, kind, value in fields(np.frombuffer(record, np.uint8))
                          if (number, kind) == (_LABEL, VARINT)]
                yield labels[-1] if labels else None
        except ValueError:
            yield None


def _parse(datum, record):
    record = bytes(record)
    try:
        consumed = datum.ParseFromString(record)  # None in old protobufs
    except Exception:  # protobuf's DecodeError moves between its versions
        consumed = -1
    if consumed not in (None, len(record)):
        raise ValueError("expected a Datum, got something else")
