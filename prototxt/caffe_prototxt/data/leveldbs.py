"""The records of a LevelDB, in batches as caffe_losses.formats.lmdb_pages gives those of an LMDB."""
from __future__ import division, print_function

import contextlib
import os

import numpy as np

BATCH_BYTES = 2 ** 22


def is_leveldb(folder):
    """Whether a folder holds what Caffe opens as a LevelDB."""
    return os.path.exists(os.path.join(folder, "CURRENT"))


def batches(folder):
    """The records of a LevelDB, by the module plyvel, or leveldb (of Caffe's requirements.txt).

    LevelDB opens a database for one program at a time, and puts its files in order whenever
    it opens it, as it does for each training. Of a damaged one leveldb gives the records before
    the damage, as Caffe does; plyvel says so.
    Raises IOError for what is not a LevelDB, is damaged, or is open elsewhere.
    """
    values, starts, size = [], [], 0
    records = _values(folder)
    with contextlib.closing(records):  # it holds the lock
        for value in records:
            values.append(value)
            starts.append(size)
            size += len(value)
            if size >= BATCH_BYTES:
                yield _joined(values, starts, size)
                values, starts, size = [], [], 0
    if values:
        yield _joined(values, starts, size)


def _joined(values, starts, size):
    return np.frombuffer(b"".join(values), np.uint8), np.array(starts), np.diff(starts + [size])


def _values(folder):
    try:
        import plyvel as module
        failure = module.Error
    except ImportError:
        try:
            import leveldb as module
            failure = module.LevelDBError
        except ImportError:
            raise ImportError("reading a LevelDB needs the Python module plyvel or leveldb: install one of them")
    options = {"create_if_missing": False, "paranoid_checks": True}
    reading = {"verify_checksums": True, "fill_cache": False}
    try:
        if module.__name__ == "plyvel":
            with contextlib.closing(module.DB(folder, **options)) as database:
                for value in database.iterator(include_key=False, **reading):
                    yield value
        else:
            for _, value in module.LevelDB(folder, **options).RangeIter(**reading):
                yield value
    except failure as error:
        if "/LOCK" in str(error):
            raise IOError("this LevelDB is open in another program, perhaps a training that reads it; wait until "
                          "that ends, or count a copy")
        raise IOError("expected a LevelDB: %s" % error)
