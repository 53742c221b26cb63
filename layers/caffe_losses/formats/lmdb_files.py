"""A matrix in an LMDB of one Datum, for a Data layer."""
from __future__ import division, print_function

import os

from caffe_losses.formats import lmdb_pages
from caffe_losses.formats.binaryproto import datum_head, read_datum
from caffe_losses.formats.raw_numbers import float32_blocks, open_part

_KEY = b"00000000"
_SPARE = 2 ** 20  # bytes for the pages around the record


def write_lmdb(file, matrix):
    """An LMDB's data file with one record, a Datum with packed float_data, in an open file of that name."""
    try:
        import lmdb
    except ImportError as error:
        raise ImportError("expected the Python package lmdb, to write an LMDB, got none (%s)" % error)
    record = bytearray(datum_head(matrix.shape))
    for block in float32_blocks(matrix):
        record += block.data
    try:
        with lmdb.open(file.name, subdir=False, lock=False, map_size=len(record) + _SPARE) as environment:
            with environment.begin(write=True) as transaction:
                transaction.put(_KEY, record)
    except lmdb.Error as error:
        raise IOError(str(error))


def read_lmdb(folder):
    """The Datum of an LMDB that holds just one."""
    records = [(start, size) for _, starts, sizes in lmdb_pages.batches(folder) for start, size in zip(starts, sizes)]
    if len(records) != 1:
        raise ValueError("expected an LMDB with one Datum, got one with %d records" % len(records))
    with open_part(os.path.join(folder, lmdb_pages.DATA_FILE)) as part:
        return read_datum(part.part(*map(int, records[0])))
