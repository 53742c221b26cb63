"""A matrix where a data layer reads it: HDF5 for HDF5Data, LMDB for Data.

An LMDB is written and read here page by page: it is one record, the library
would hold that twice more in memory, and it trusts the file it reads: one that
is cut off ends the process. HDF5 is the library's work (h5py), for the same
reason done by a process of its own when it is read.
"""
from __future__ import division, print_function

import io
import json
import os
import struct

import numpy as np

from caffe_losses.binaryproto import datum_head, read_datum
from caffe_losses.raw_numbers import float32_blocks, matrix_shape, open_part, read_into

DATASET = "H"  # HDF5Data reads the dataset that has its top's name
LIST_ENDING = ".txt"  # HDF5Data's source is a text file that lists HDF5 files
DATA_FILE, LOCK_FILE = "data.mdb", "lock.mdb"

# A compressed HDF5 file may hold this much more than its size, and never more than the larger of the two.
_MAX_RATIO, _MAX_SMALL = 3, 2 ** 26


# HDF5

def write_hdf5(file, matrix):
    """A dataset 1 x 1 x rows x columns of float32, in an open file of that name."""
    h5py = _h5py()
    try:
        with h5py.File(file.name, "w") as content:
            dataset = content.create_dataset(DATASET, (1, 1) + matrix.shape, np.float32)
            first = 0
            for block in float32_blocks(matrix):
                dataset[0, 0, first:first + len(block)] = block
                first += len(block)
    except RuntimeError as error:  # a full disk
        raise IOError(" ".join(str(error).split()))


def read_hdf5(path):
    """The dataset H, or else the only one there is; an array of its own type."""
    h5py = _h5py()
    with open_part(path) as part:
        limit = max(_MAX_RATIO * part.size, _MAX_SMALL)
    if not hasattr(os, "fork"):  # Windows
        with h5py.File(path, "r") as content:
            dataset = _only_dataset(h5py, content)
            _check_limit(dataset.shape, dataset.dtype, limit)
            return dataset[...].reshape(dataset.shape[-2:])
    return _from_child(lambda out: _send_dataset(h5py, path, out), limit)


def _h5py():
    try:
        import h5py
    except ImportError as error:
        raise ImportError("expected the Python package h5py, for HDF5, got none (%s)" % error)
    return h5py


def _only_dataset(h5py, content):
    names = [name for name in content if isinstance(content.get(name, getlink=True), h5py.HardLink)
             and content.get(name, getclass=True) is h5py.Dataset]
    if DATASET in names:
        names = [DATASET]
    if len(names) != 1:
        raise ValueError("expected one dataset, or one named %s, got %d" % (DATASET, len(names)))
    dataset = content[names[0]]
    if dataset.dtype.kind not in "fiu":
        raise ValueError("expected numbers, got %s" % dataset.dtype)
    return dataset


def _check_limit(shape, dtype, limit):
    """The two dims of a dataset's matrix."""
    count = 1
    for n in shape:
        count *= int(n)
    if count * dtype.itemsize > limit:
        raise ValueError("expected at most %d bytes of numbers in a file of that size, got %d (if it is "
                         "compressed, write it without)" % (limit, count * dtype.itemsize))
    return matrix_shape(shape, count)


def _send_dataset(h5py, path, out):
    with h5py.File(path, "r") as content:
        dataset = _only_dataset(h5py, content)
        _send(out, shape=[int(n) for n in dataset.shape], dtype=dataset.dtype.str)
        rows, columns = dataset.shape[-2:]
        step = max(1, 2 ** 22 // (columns * dataset.dtype.itemsize))
        for first in range(0, rows, step):
            index = (0,) * (len(dataset.shape) - 2) + (slice(first, first + step),)
            out.write(np.ascontiguousarray(dataset[index]).data)


def _send(out, **message):
    out.write(json.dumps(message).encode("ascii") + b"\n")


def _from_child(send, limit):
    """The matrix that a process of its own sends: HDF5 may crash on a damaged file."""
    here, there = os.pipe()
    child = os.fork()
    if not child:
        _child(here, there, send)
    os.close(there)
    try:
        with io.open(here, "rb", buffering=0) as file:
            message = json.loads(_line(file) or '{"error": "it is damaged"}')
            if "error" in message:
                raise ValueError("expected an HDF5 file with a matrix, got something else (%s)" % message["error"])
            dtype = np.dtype(str(message["dtype"]))
            matrix = np.empty(_check_limit(message["shape"], dtype, limit), dtype)
            read_into(file, matrix)
            return matrix
    finally:
        os.waitpid(child, 0)


def _child(here, there, send):
    """What the forked process does; it never returns."""
    try:
        os.close(here)
        with os.fdopen(there, "wb") as out:
            try:
                send(out)
            except Exception as error:  # h5py fails in many ways
                _send(out, error=" ".join(str(error).split()))
    finally:
        os._exit(0)


def _line(file):
    found = bytearray()
    while not found.endswith(b"\n") and len(found) < 2 ** 16:
        byte = file.read(1)
        if not byte:
            return ""
        found += byte
    return found.decode("ascii")


# LMDB. As its mdb.c has it on 64-bit machines whose bytes are in little-endian order: pages 0 and 1 say where the
# database's root is, here a leaf with one record, whose value lies on pages of its own.

_PAGE_SIZE = 4096
_PAGE = struct.Struct("<QHHHH")  # number, padding, flags, then two numbers that differ by kind
_LEAF, _OVERFLOW, _META = 2, 4, 8
_HEADER = struct.Struct("<IIQQ")  # magic, version, address, map size
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_DATABASE = struct.Struct("<IHHQQQQQ")  # page size, flags, depth; branch, leaf, overflow pages; records; root
_LAST = struct.Struct("<QQ")  # last page, transaction
_INTEGER_KEY, _NO_ROOT = 8, 2 ** 64 - 1
_NODE = struct.Struct("<HHHH")  # size of the value (low, high), flags, size of the key
_ON_OWN_PAGES = 1
_KEY = b"00000000"


def write_lmdb(file, matrix):
    """An LMDB's data file with one record, a Datum with packed float_data."""
    head = datum_head(matrix.shape)
    size = len(head) + 4 * matrix.size
    n_pages = -(-(_PAGE.size + size) // _PAGE_SIZE)
    node = _NODE.pack(size & 0xffff, size >> 16, _ON_OWN_PAGES, len(_KEY)) + _KEY + struct.pack("<Q", 3)
    at = _PAGE_SIZE - len(node)
    leaf = _PAGE.pack(2, 0, _LEAF, _PAGE.size + 2, at) + struct.pack("<H", at)
    file.write(_meta_page(0, n_pages, None))
    file.write(_meta_page(1, n_pages, 2))
    file.write(leaf.ljust(at, b"\0") + node)
    file.write(_PAGE.pack(3, 0, _OVERFLOW, n_pages & 0xffff, n_pages >> 16) + head)
    for block in float32_blocks(matrix):
        file.write(block.data)
    file.write(b"\0" * (n_pages * _PAGE_SIZE - _PAGE.size - size))


def _meta_page(number, n_pages, root):
    """Page 0 is of the empty database, as LMDB leaves it, page 1 of the first transaction."""
    free = _DATABASE.pack(_PAGE_SIZE, _INTEGER_KEY, 0, 0, 0, 0, 0, _NO_ROOT)
    main = _DATABASE.pack(0, 0, 0, 0, 0, 0, 0, _NO_ROOT)
    last = _LAST.pack(1, 0)
    if root is not None:
        main = _DATABASE.pack(0, 0, 1, 0, 1, n_pages, 1, root)
        last = _LAST.pack(root + n_pages, 1)
    header = _HEADER.pack(_MAGIC, _VERSION, 0, (3 + n_pages) * _PAGE_SIZE)
    return (_PAGE.pack(number, 0, _META, 0, 0) + header + free + main + last).ljust(_PAGE_SIZE, b"\0")


def read_lmdb(folder):
    """The Datum of an LMDB that holds just one."""
    with open_part(os.path.join(folder, DATA_FILE)) as part:
        page_size = _read_meta(part, 0)[0]
        if page_size not in [2 ** n for n in range(8, 17)]:
            raise ValueError("expected an LMDB, got one with pages of %d bytes" % page_size)
        # the later transaction counts
        _, flags, depth, n_records, root, _ = max((_read_meta(part, at) for at in (0, page_size)),
                                                  key=lambda meta: meta[-1])
        if (flags, depth, n_records) != (0, 1, 1):
            raise ValueError("expected an LMDB with one Datum, got one with %d records" % n_records)
        return read_datum(_only_value(part, root * page_size))


def _read_meta(part, at):
    """(page size, flags, depth, number of records, root page, transaction)"""
    _, _, page_flags, _, _ = _PAGE.unpack(part.read(at, _PAGE.size))
    at += _PAGE.size
    magic, version, _, _ = _HEADER.unpack(part.read(at, _HEADER.size))
    if page_flags & _META == 0 or (magic, version) != (_MAGIC, _VERSION):
        raise ValueError("expected an LMDB of a 64-bit little-endian machine, got something else")
    at += _HEADER.size
    page_size = _DATABASE.unpack(part.read(at, _DATABASE.size))[0]
    at += _DATABASE.size
    _, flags, depth, _, _, _, n_records, root = _DATABASE.unpack(part.read(at, _DATABASE.size))
    return page_size, flags, depth, n_records, root, _LAST.unpack(part.read(at + _DATABASE.size, _LAST.size))[1]


def _only_value(part, at):
    """The Part that is the value of a leaf page's only record."""
    page_size = _read_meta(part, 0)[0]
    number, _, flags, lower, upper = _PAGE.unpack(part.read(at, _PAGE.size))
    if flags & _LEAF == 0 or lower != _PAGE.size + 2:
        raise ValueError("expected an LMDB, got one that is damaged at byte %d" % at)
    node = at + struct.unpack("<H", part.read(at + _PAGE.size, 2))[0]
    low, high, flags, key_size = _NODE.unpack(part.read(node, _NODE.size))
    value, size = node + _NODE.size + key_size, low | high << 16
    if flags == _ON_OWN_PAGES:
        at = struct.unpack("<Q", part.read(value, 8))[0] * page_size
        if _PAGE.unpack(part.read(at, _PAGE.size))[2] & _OVERFLOW == 0:
            raise ValueError("expected an LMDB, got one that is damaged at byte %d" % at)
        value = at + _PAGE.size
    elif flags:
        raise ValueError("expected an LMDB with one Datum, got one with databases in it")
    return part.part(value, size)
