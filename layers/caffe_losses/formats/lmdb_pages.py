"""The records of an LMDB, found by its page format.

Not through the module lmdb: that touches every page of every value that it hands out,
so that a database of images is read as a whole, and it ends the process at a file that
is cut off. Here nothing of a record is touched until somebody looks into it.
"""
from __future__ import division, print_function

import contextlib
import ctypes
import mmap
import os
import struct

import numpy as np

from caffe_losses.formats.raw_numbers import open_part

DATA_FILE, LOCK_FILE = "data.mdb", "lock.mdb"
BATCH_PAGES = 1024

# LMDB's data format, version 1, on a 64-bit little-endian machine (mdb.c: MDB_page, MDB_node, MDB_meta, MDB_db).
META = struct.Struct("<16xII64xIHH7Q")  # magic, version, and of the records' tree: see _Meta
MAGIC, VERSION = 0xBEEFC0DE, 1
PAGE_SIZE = struct.Struct("<40xI")
HEADER = 16
BRANCH, LEAF = 1, 2
BIG, SUBDATA, DUPLICATES = 1, 2, 4
NO_PAGE = 2 ** 64 - 1
MAX_DEPTH = 32


def is_lmdb(folder):
    """Whether a folder holds what Caffe opens as an LMDB."""
    return os.path.exists(os.path.join(folder, DATA_FILE))


def windows(data, width):
    """Every `width` bytes of an array of bytes, as an array of its own that copies nothing."""
    return np.ndarray((max(len(data) - width + 1, 0),), "V%d" % width, data, strides=(1,))


def gather(data, starts, width):
    """The `width` bytes that begin at each of `starts`, as rows of a new array."""
    return windows(data, width)[starts].view(np.uint8).reshape(len(starts), width)


def count_records(folder):
    """How many records an LMDB has."""
    with _mapped(os.path.join(folder, DATA_FILE)) as data:
        return _Meta(data).entries


def batches(folder):
    """The records of an LMDB, in the order of the keys.

    Yields (data, starts, sizes): the file as an array of bytes, and where in it each
    record of a batch begins and how long it is.
    Raises ValueError for what is not an LMDB, ends too early or contradicts itself.
    """
    with _mapped(os.path.join(folder, DATA_FILE)) as data:
        meta = _Meta(data)
        if meta.overflow_pages > 8 * meta.entries:
            _no_readahead(data)  # of a record of many pages two are looked at
        pages = np.array([meta.root] * (meta.depth > 0), np.uint64)
        for _ in range(meta.depth - 1):
            pages = np.concatenate([_nodes(data, meta, pages[i:i + BATCH_PAGES], BRANCH)
                                    for i in range(0, len(pages), BATCH_PAGES)])
            if len(pages) > len(data) // meta.page_size:
                raise ValueError("expected an LMDB, got one whose pages form no tree")
        found = 0
        for i in range(0, len(pages), BATCH_PAGES):
            starts, sizes = _nodes(data, meta, pages[i:i + BATCH_PAGES], LEAF)
            found += len(starts)
            yield data, starts, sizes
        if found != meta.entries:
            raise ValueError("expected an LMDB of %d records, got %d" % (meta.entries, found))


class _Meta(object):
    """What an LMDB says of itself, in the newer of its first two pages."""

    def __init__(self, data):
        metas = []
        if len(data) >= META.size:
            self.page_size, = PAGE_SIZE.unpack_from(data, 0)
            if self.page_size in [2 ** n for n in range(8, 17)]:
                metas = [META.unpack_from(data, start) for start in (0, self.page_size)
                         if start + META.size <= len(data)]
        metas = [meta[2:] for meta in metas if meta[:2] == (MAGIC, VERSION)]
        if not metas:
            raise ValueError("expected an LMDB of a 64-bit machine, got something else in data.mdb")
        newest = max(metas, key=lambda meta: meta[-1])
        _, flags, self.depth, _, _, self.overflow_pages, self.entries, self.root, _, _ = newest
        if flags & DUPLICATES or self.depth > MAX_DEPTH:
            raise ValueError("expected an LMDB of records, got flags %d and depth %d" % (flags, self.depth))
        if self.root == NO_PAGE:
            self.depth = 0


def _nodes(data, meta, numbers, kind):
    """Of branch pages the numbers of the pages below; of leaves where the records are, and their sizes."""
    size = meta.page_size
    if len(numbers) and int(numbers.max()) >= len(data) // size:
        raise ValueError("expected an LMDB of at least %d bytes, got %d: it is cut off"
                      % ((int(numbers.max()) + 1) * size, len(data)))
    pages = numbers.astype(np.int64) * size
    flags, lower = gather(data, pages + 10, 4).view("<u2").T.astype(np.int64)
    if ((flags & 0xf) != kind).any() or (lower < HEADER).any() or (lower > size).any():
        raise ValueError("expected an LMDB, got one with a page that is not one of its own")
    counts = (lower - HEADER) // 2
    pointers = gather(data, pages + HEADER, 2 * max(counts.max(), 1)).view("<u2").astype(np.int64)
    pointers = pointers[np.arange(pointers.shape[1]) < counts[:, np.newaxis]]
    pages = np.repeat(pages, counts)
    if (pointers > size - 8).any():
        raise ValueError("expected an LMDB, got one with a record outside its page")
    low, high, flags, key_size = gather(data, pages + pointers, 8).view("<u2").T.astype(np.int64)
    if kind == BRANCH:
        return (low | high << 16 | flags << 32).astype(np.uint64)
    if (flags & (SUBDATA | DUPLICATES)).any():
        raise ValueError("expected an LMDB of records, got one of databases")
    sizes = low | high << 16
    starts = pages + pointers + 8 + key_size
    big = np.flatnonzero(flags & BIG)
    if len(big):
        if (starts[big] - pages[big] > size - 8).any():
            raise ValueError("expected an LMDB, got one with a record outside its page")
        first = gather(data, starts[big], 8).view("<u8").ravel()
        starts[big] = np.minimum(first, len(data) // size).astype(np.int64) * size + HEADER
    ends = starts + sizes
    if len(ends) and ends.max() > len(data):
        raise ValueError("expected an LMDB of at least %d bytes, got %d: it is cut off" % (ends.max(), len(data)))
    return starts, sizes


@contextlib.contextmanager
def _mapped(path):
    """A file as a read-only array of bytes, of which only what is looked at is read."""
    with open_part(path) as part:
        if not part.size:
            raise ValueError("expected an LMDB, got an empty %s" % DATA_FILE)
        yield np.frombuffer(mmap.mmap(part.file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)


def _no_readahead(data):
    # Python has mmap.madvise only since 3.8.
    madvise, random = getattr(ctypes.CDLL(None), "madvise", None), 1
    if madvise:
        madvise(ctypes.c_void_p(data.ctypes.data), ctypes.c_size_t(len(data)), random)
