"""Square matrices in files, by the file's ending, written whole or not at all.

    .binaryproto    a BlobProto, what infogain_loss_param { source: } reads
    .caffemodel     the blob of a Parameter layer named H, for -weights
    .h5, .hdf5      a dataset H for an HDF5Data layer, whose source is the list
                    that is written beside it (H.h5.txt)
    .lmdb, _lmdb    a folder, an LMDB of one Datum for a Data layer
    .npy            numpy's; keeps the matrix's own type
    .csv, .json     text, in which float64 reads back the same

Those that Caffe reads hold float32, as a blob 1 x 1 x rows x columns.
"""
from __future__ import division, print_function

import collections
import contextlib
import os
import shutil
import tempfile

import numpy as np

from caffe_losses.formats import binaryproto, hdf5_files, lmdb_files, lmdb_pages, npy, text_files

MAX_BYTES = binaryproto.MAX_BYTES

# check: function of a matrix's shape, which raises ValueError before anything is written
_Format = collections.namedtuple("_Format", "read write check")
_HDF5 = _Format(hdf5_files.read_hdf5, hdf5_files.write_hdf5, None)
_LMDB = _Format(lmdb_files.read_lmdb, lmdb_files.write_lmdb, binaryproto.check_size)
_FORMATS = {
    ".binaryproto": _Format(binaryproto.read_binaryproto, binaryproto.write_binaryproto, binaryproto.check_size),
    ".caffemodel": _Format(binaryproto.read_caffemodel, binaryproto.write_caffemodel, binaryproto.check_size),
    ".h5": _HDF5,
    ".hdf5": _HDF5,
    ".lmdb": _LMDB,
    "_lmdb": _LMDB,
    ".npy": _Format(npy.read_npy, npy.write_npy, None),
    ".csv": _Format(text_files.read_csv, text_files.write_csv, None),
    ".json": _Format(text_files.read_json, text_files.write_json, None),
}
ENDINGS = tuple(sorted(_FORMATS))
_LAYER_TYPES = {".h5": "HDF5Data", ".hdf5": "HDF5Data", ".lmdb": "Data", "_lmdb": "Data", ".caffemodel": "Parameter"}


def layer_type(path):
    """Return the type of the layer of Caffe's own that reads such a file, or None where none does."""
    return _LAYER_TYPES.get(_ending(path))


def check_path(path):
    """Raise ValueError if no matrix can be written to a file of that name."""
    if _format(path) is _HDF5 and path.split() != [path]:
        raise ValueError("%s: expected a name without spaces, as HDF5Data's list of files has none" % path)


def read_matrix(path):
    """The matrix in a file.

    path: str; its ending says what the file holds (see the module's docstring).
    Returns an array of two axes, of the file's own type: float32 where Caffe
    wrote it (float64 if that was double_data), float64 from text.
    Raises IOError if there is no such file, ValueError if it holds no matrix;
    both name the file. ImportError if it is HDF5 and there is no h5py.
    """
    file_format = _format(path)
    try:
        return file_format.read(path)
    except EnvironmentError as error:
        raise IOError("%s: cannot be read: %s" % (path, error.strerror or error))
    except ValueError as error:
        raise ValueError("%s: %s" % (path, error))


def write_matrix(path, matrix):
    """Write a matrix to a file, or an LMDB's folder, whole or not at all.

    Raises ValueError if float32 or the format cannot hold the matrix.
    """
    write_files([(path, matrix_writer(path, matrix))])


def matrix_writer(path, matrix):
    """A function that writes a matrix to an open file, in the format that `path` ends in.

    Raises ValueError if the format cannot hold a matrix of that size or type.
    """
    file_format = _format(path)
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or not matrix.size or matrix.dtype.kind not in "fiub":
        raise ValueError("%s: expected a matrix of numbers, got shape %s of %s" % (path, matrix.shape, matrix.dtype))
    check_path(path)
    if file_format.check:
        with _named(path):
            file_format.check(matrix.shape)

    def write(file):
        with _named(path):
            file_format.write(file, matrix)
    return write


def write_files(writers):
    """Write several files, all or none.

    writers: pairs of a path and a function of the open file, as matrix_writer
    makes them. Where the path ends as an LMDB's folder does, the file is that
    folder's data file. Beside an .h5 its list for HDF5Data is written, too.
    Each takes its name only once all are complete; a program that is killed
    between two of these renames leaves some of the files new and the others old.
    """
    _write_nested([pair for path, write in writers for pair in [(path, write)] + _list_file(path)])


def _write_nested(writers):
    if writers:
        (path, write), rest = writers[0], writers[1:]
        with (_atomic_lmdb if _ending(path) in (".lmdb", "_lmdb") else atomic_write)(path) as file:
            try:
                write(file)
            except EnvironmentError as error:
                raise _not_written(path, error)
            _write_nested(rest)


def _list_file(path):
    if _FORMATS.get(_ending(path)) is not _HDF5:
        return []
    name = getattr(os, "fsencode", str)(path)
    return [(path + hdf5_files.LIST_ENDING, lambda file: file.write(name + b"\n"))]


@contextlib.contextmanager
def atomic_write(path):
    """A binary file that takes the place of `path` only once it is complete.

    Whatever stops the program before that leaves `path` as it was.
    """
    if not os.path.basename(path) or os.path.isdir(path):
        raise IOError("%s: cannot be written: expected the name of a file" % (path or "''"))
    if os.path.exists(path) and not os.path.isfile(path):
        # A device or a pipe (/dev/stdout): there is nothing to replace.
        with _open(path, path) as file:
            yield file
        return
    path = os.path.realpath(path)  # a link stays a link
    handle, temporary = _beside(path, tempfile.mkstemp)
    os.close(handle)
    try:
        with _open(temporary, path) as file:
            yield file
        _replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


@contextlib.contextmanager
def _atomic_lmdb(path):
    """The data file of an LMDB's folder that takes the place of `path` only once it is complete.

    In an LMDB that is there its data file is replaced, so that there always is one.
    """
    folder = os.path.realpath(path)
    _check_replaceable(path, folder)
    temporary = _beside(folder, tempfile.mkdtemp)
    data = os.path.join(folder, lmdb_pages.DATA_FILE)
    try:
        unfinished = os.path.join(temporary, lmdb_pages.DATA_FILE)
        with _open(unfinished, path) as file:
            yield file
        if not os.path.isdir(folder):
            os.chmod(unfinished, _mode(data))
            os.chmod(temporary, _mode(folder, 0o777))
            os.rename(temporary, folder)
            return
        _replace(unfinished, data)
        # The lock file tells which transaction was the last: not that of this data file.
        if os.path.exists(os.path.join(folder, lmdb_pages.LOCK_FILE)):
            os.unlink(os.path.join(folder, lmdb_pages.LOCK_FILE))
        os.rmdir(temporary)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _check_replaceable(path, folder):
    """Raise IOError if a folder is there, with anything in it but an LMDB of one record."""
    if not os.path.exists(folder):
        return
    try:
        others = sorted(set(os.listdir(folder)) - {lmdb_pages.DATA_FILE, lmdb_pages.LOCK_FILE})
    except EnvironmentError as error:
        raise _not_written(path, error)
    try:
        n_records = lmdb_pages.count_records(folder)
    except (EnvironmentError, ValueError):  # none yet, or a damaged one
        n_records = 0
    if others or n_records > 1:
        raise IOError("%s: cannot be written: expected no such folder, or an LMDB with one record, got one with %s"
                      % (path, ", ".join(others[:3]) or "%d records" % n_records))


def _beside(path, make):
    """A temporary file or folder where `path` is to be."""
    folder, name = os.path.split(path)
    try:
        return make(prefix="." + name + ".", dir=folder)
    except EnvironmentError as error:
        raise _not_written(path, error)


@contextlib.contextmanager
def _open(name, path):
    """An open file, whose content is on the disk before it is closed. path: what an error is to name."""
    try:
        file = open(name, "wb")
    except EnvironmentError as error:
        raise _not_written(path, error)
    try:
        yield file
        try:
            file.flush()
            if os.path.isfile(name):
                os.fsync(file.fileno())
        except EnvironmentError as error:
            raise _not_written(path, error)
    except BaseException:
        try:
            file.close()  # tries again to write what is left
        except EnvironmentError:
            pass
        raise
    file.close()


def _replace(temporary, path):
    os.chmod(temporary, _mode(path))
    getattr(os, "replace", os.rename)(temporary, path)


def _not_written(path, error):
    return IOError("%s: cannot be written: %s" % (path, error.strerror or error))


def _mode(path, new=0o666):
    """The permissions `path` has, or would get if it were made now."""
    try:
        return os.stat(path).st_mode & 0o777
    except OSError:
        umask = os.umask(0)
        os.umask(umask)
        return new & ~umask


@contextlib.contextmanager
def _named(path):
    try:
        yield
    except ValueError as error:
        raise ValueError("%s: %s" % (path, error))


def _ending(path):
    path = os.path.normpath(path).lower()  # a folder's name may end in a slash
    return "_lmdb" if path.endswith("_lmdb") else os.path.splitext(path)[1]


def _format(path):
    if _ending(path) not in _FORMATS:
        raise ValueError("%s: expected a file that ends in %s" % (path, ", ".join(ENDINGS)))
    return _FORMATS[_ending(path)]
