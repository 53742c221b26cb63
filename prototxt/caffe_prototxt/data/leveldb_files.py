"""Read the records of a LevelDB, through plyvel or leveldb, and leave its files as they are."""
from __future__ import division, print_function

import contextlib
import os
import re
import shutil
import struct
import tempfile

from caffe_losses.formats.plain_files import exists, open_plain
from caffe_losses.formats.wire import read_varint
from caffe_losses.optional_packages import optional

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

CURRENT, _LOCK, _MANIFEST = "CURRENT", "LOCK", "MANIFEST-"
_LOG_BLOCK, _LOG_HEAD = 2 ** 15, 7  # bytes, of LevelDB's log format
_WHOLE, _LAST = 1, 4  # kinds of a record's parts
_TABLES = (".ldb", ".sst")
# How an edit in a manifest begins that names the log: the comparator, and the number of the log as a varint.
_NAMES_LOG = re.compile(br"(?:\x01.leveldb[.]BytewiseComparator)?\x02([\x80-\xff]*[\x00-\x7f])", re.DOTALL)


def is_leveldb(folder):
    """Return if a folder holds what Caffe opens as a LevelDB. Raises IOError where nobody may look."""
    return exists(os.path.join(folder, CURRENT))


def records(folder):
    """Yield the values of a LevelDB's records, by the package plyvel, or leveldb (of Caffe's requirements.txt).

    LevelDB puts its files in order whenever it opens them, and ends in silence where one is cut off: a copy is opened,
    once what its writer should have completed is complete. For a damaged one plyvel raises an error; leveldb, as Caffe,
    yields the records before the damage.
    """
    module = optional("plyvel", "LevelDB", "leveldb")
    by_plyvel = module.__name__ == "plyvel"
    options = {"create_if_missing": False, "paranoid_checks": True}
    reading = {"verify_checksums": True, "fill_cache": False}
    with _copy(folder) as copy:
        try:
            if by_plyvel:
                with contextlib.closing(module.DB(copy, **options)) as database:
                    for value in database.iterator(include_key=False, **reading):
                        yield value
            else:
                for _, value in module.LevelDB(copy, **options).RangeIter(**reading):
                    yield value
        except (module.Error if by_plyvel else module.LevelDBError) as error:
            raise IOError("expected a LevelDB: %s" % str(error).replace(copy, folder))


@contextlib.contextmanager
def _copy(folder):
    """Make a temporary copy of a LevelDB: its small files, and links to those that LevelDB only reads."""
    _refuse_open(folder)
    _check_complete(folder)
    copy = tempfile.mkdtemp(prefix="leveldb.")
    try:
        for name in os.listdir(folder):
            path = os.path.join(os.path.abspath(folder), name)
            if name == CURRENT or name.startswith(_MANIFEST):
                with open_plain(path) as source, open(os.path.join(copy, name), "wb") as target:
                    shutil.copyfileobj(source, target)
            elif name.endswith(_TABLES + (".log",)):
                open_plain(path).close()  # says what LevelDB does not: that it may not be read
                os.symlink(path, os.path.join(copy, name))
        yield copy
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def _refuse_open(folder):
    """Raise IOError for a LevelDB that another program has open, which may be writing it."""
    path = os.path.join(folder, _LOCK)
    if fcntl is None or not exists(path):
        return
    with open_plain(path) as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except EnvironmentError:
            raise IOError("this LevelDB is open in another program, perhaps a training that reads it; wait until "
                          "that ends, or count a copy")


def _check_complete(folder):
    """Raise IOError for a LevelDB that is cut off, of which LevelDB itself would read the rest in silence."""
    with open_plain(os.path.join(folder, CURRENT)) as file:
        manifest = file.read(100).decode("ascii", "replace").strip()
    names = os.listdir(folder)
    for name in names:
        if name.endswith(".log"):
            for _ in _log_records(folder, name):
                pass
    if manifest not in names:
        return  # LevelDB says so
    edits = filter(None, map(_NAMES_LOG.match, _log_records(folder, manifest)))
    logs = ["%06d.log" % read_varint(edit.group(1), 0)[0] for edit in edits]
    if logs and logs[-1] not in names + ["000000.log"]:  # also where the manifest ends too early, between two edits
        raise IOError("expected a LevelDB, got one that is cut off: %s is not there; make it anew" % logs[-1])


def _log_records(folder, name):
    """Yield the records of a file in LevelDB's log format. Raises IOError if it ends within one.

    It is a row of blocks of 32 KiB, and they of parts of records, each behind a checksum, its length and its kind.
    """
    parts = []
    with open_plain(os.path.join(folder, name)) as file:
        for block in iter(lambda: file.read(_LOG_BLOCK), b""):
            at = 0
            while len(block) - at >= _LOG_HEAD:
                length, kind = struct.unpack_from("<HB", block, at + 4)
                if kind == 0 and length == 0:  # space that was reserved, and not used
                    at = len(block)
                    break
                at += _LOG_HEAD + length
                parts.append(block[at - length:at])
                if at <= len(block) and kind in (_WHOLE, _LAST):
                    yield b"".join(parts)
                    parts = []
            if at < len(block) < _LOG_BLOCK:
                parts.append(b"")
    if parts:
        raise IOError("expected a LevelDB, got one that is cut off: %s ends within a record; make it anew" % name)
