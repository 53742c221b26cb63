"""Read the records of an LMDB, and read and write a matrix in one Datum, for a Data layer, through lmdb."""
from __future__ import division, print_function

import contextlib
import os

import numpy as np

from caffe_losses.errors import naming
from caffe_losses.formats.atomic import NOT_WRITTEN, atomic_write
from caffe_losses.formats.binaryproto import datum_head, float32_blocks, read_datum
from caffe_losses.formats.plain_files import exists, plain_size
from caffe_losses.optional_packages import optional

DATA_FILE, LOCK_FILE = "data.mdb", "lock.mdb"
_KEY = b"00000000"
_SPARE = 2 ** 20  # bytes for the pages around the record


def is_lmdb(folder):
    """Return if a folder holds what Caffe opens as an LMDB. Raises IOError where nobody may look."""
    return exists(os.path.join(folder, DATA_FILE))


def records(folder):
    """Yield the value of each record of an LMDB, in the order of the keys.

    Each is a buffer of the file itself, and must not be used once the generator is closed: keep that in a variable.
    Raises IOError or ValueError for what is no LMDB, or is cut off.
    """
    with _environment(folder) as environment, environment.begin(buffers=True) as transaction:
        for value in transaction.cursor().iternext(keys=False):
            yield value


def count_records(folder):
    """Return the number of records of an LMDB. Raises as `records`."""
    with _environment(folder) as environment:
        return environment.stat()["entries"]


@contextlib.contextmanager
def _environment(folder):
    lmdb = optional("lmdb", "LMDB")
    size = plain_size(os.path.join(folder, DATA_FILE))
    try:
        with lmdb.open(folder, readonly=True, lock=False, create=False) as environment:
            # The library ends the process at a page that the file does not have.
            least = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
            if size < least:
                raise ValueError("expected an LMDB of at least %d bytes, got %d: it is cut off" % (least, size))
            yield environment
    except lmdb.Error as error:
        raise ValueError("expected an LMDB, got something else in %s (%s)" % (DATA_FILE, error))


def read_lmdb(folder):
    """Return the matrix of an LMDB that holds just one Datum."""
    if count_records(folder) != 1:
        raise ValueError("expected an LMDB with one Datum, got one with %d records" % count_records(folder))
    opened = records(folder)  # keeps the record's memory valid, in a traceback too
    return read_datum(np.frombuffer(next(opened), np.uint8))


def write_lmdb(file, matrix):
    """Write an LMDB's data file with one record, a Datum with packed float_data, in an open file of that name."""
    lmdb = optional("lmdb", "LMDB")
    record = bytearray(datum_head(matrix.shape))
    for block in float32_blocks(matrix):
        record += block.data
    try:
        with lmdb.open(file.name, subdir=False, lock=False, map_size=len(record) + _SPARE) as environment:
            with environment.begin(write=True) as transaction:
                transaction.put(_KEY, record)
    except lmdb.Error as error:
        raise IOError("%s (is the disk full?)" % error)


@contextlib.contextmanager
def atomic_lmdb(path):
    """Open the data file of an LMDB's folder, which replaces the old one once it is complete.

    Raises IOError for a folder that holds anything but an LMDB of one record.
    """
    folder = os.path.realpath(path)
    is_new = not os.path.exists(folder)
    with naming(path, NOT_WRITTEN):
        (os.mkdir if is_new else _check_replaceable)(folder)
    try:
        with atomic_write(os.path.join(folder, DATA_FILE)) as file:
            yield file
    except BaseException:
        if is_new:
            os.rmdir(folder)
        raise
    lock = os.path.join(folder, LOCK_FILE)  # says which transaction was the last one: not that of the new data file
    if os.path.exists(lock):
        os.unlink(lock)


def _check_replaceable(folder):
    # Names with a dot in front are what a killed program leaves of atomic_write.
    others = sorted(name for name in os.listdir(folder) if name not in (DATA_FILE, LOCK_FILE)
                    and not name.startswith("." + DATA_FILE))
    try:
        n_records = count_records(folder)
    except (EnvironmentError, ValueError):  # none yet, or a damaged one
        n_records = 0
    if others or n_records > 1:
        raise IOError("expected no such folder, or an LMDB with one record, got one with %s"
                      % (", ".join(others[:3]) or "%d records" % n_records))
