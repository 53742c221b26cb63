"""A matrix in an LMDB of one Datum, for a Data layer.

Its data file is written and read here, page by page. It is one record; the
library would hold that twice more in memory, and it trusts the file it reads:
one that is cut off ends the process.

As LMDB's mdb.c has it on 64-bit little-endian machines: pages 0 and 1 say, each
for one of the last two transactions, where the root of the database is, here a
leaf with one record, whose value may lie on pages of its own.
"""
from __future__ import division, print_function

import os
import struct

from caffe_losses.binaryproto import datum_head, read_datum
from caffe_losses.raw_numbers import float32_blocks, open_part

DATA_FILE, LOCK_FILE = "data.mdb", "lock.mdb"

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
        page_size, flags, depth, n_records, root, _ = _latest(part)
        if (flags, depth, n_records) != (0, 1, 1):
            raise ValueError("expected an LMDB with one Datum, got one with %d records" % n_records)
        return read_datum(_only_value(part, root, page_size))


def count_records(folder):
    """How many records an LMDB has, 0 if there is none or it is damaged."""
    try:
        with open_part(os.path.join(folder, DATA_FILE)) as part:
            return _latest(part)[3]
    except (EnvironmentError, ValueError):
        return 0


def _latest(part):
    """_read_meta of the later transaction."""
    page_size = _read_meta(part, 0, 0)[0]
    if page_size not in [2 ** n for n in range(8, 17)]:
        raise ValueError("expected an LMDB, got one with pages of %d bytes" % page_size)
    return max((_read_meta(part, at, page_size) for at in (0, page_size)), key=lambda meta: meta[-1])


def _read_meta(part, at, page_size):
    """(page size, flags, depth, number of records, root page, transaction)"""
    _, _, page_flags, _, _ = _PAGE.unpack(part.read(at, _PAGE.size))
    at += _PAGE.size
    magic, version, _, _ = _HEADER.unpack(part.read(at, _HEADER.size))
    if page_flags & _META == 0 or (magic, version) != (_MAGIC, _VERSION):
        raise ValueError("expected an LMDB of a 64-bit little-endian machine, got something else")
    at += _HEADER.size
    own_page_size = _DATABASE.unpack(part.read(at, _DATABASE.size))[0]
    at += _DATABASE.size
    _, flags, depth, _, _, _, n_records, root = _DATABASE.unpack(part.read(at, _DATABASE.size))
    transaction = _LAST.unpack(part.read(at + _DATABASE.size, _LAST.size))[1]
    return page_size or own_page_size, flags, depth, n_records, root, transaction


def _only_value(part, page, page_size):
    """The Part that is the value of a leaf page's only record."""
    at = page * page_size
    _, _, flags, lower, _ = _PAGE.unpack(part.read(at, _PAGE.size))
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
