"""Read and write square matrices in files, by the file's ending, whole or not at all.

    .binaryproto    a BlobProto, what infogain_loss_param { source: } reads
    .caffemodel     the blob of a Parameter layer named H, for -weights
    .h5, .hdf5      a dataset H for an HDF5Data layer, whose source is the list that is written beside it (H.h5.txt)
    .lmdb, _lmdb    a folder, an LMDB of one Datum for a Data layer
    .npy            numpy's; keeps the matrix's own type
    .csv, .json     text, in which float64 reads back the same

A file whose name ends otherwise is read as a .binaryproto, as Caffe reads a `source` of any name; none is written.
Those that Caffe reads hold float32, as a blob 1 x 1 x rows x columns.
"""
from __future__ import division, print_function

import collections
import os

import numpy as np

from caffe_losses.errors import naming
from caffe_losses.formats import binaryproto, caffemodel, hdf5_files, lmdb_files, text_files
from caffe_losses.formats.atomic import atomic_write, write_all
from caffe_losses.formats.plain_files import plain_size
from caffe_losses.optional_packages import optional

MAX_BYTES = binaryproto.MAX_BYTES


def map_npy(path):
    """Map a .npy file of numbers into memory. Raises IOError for no plain file, ValueError for a damaged one."""
    size = plain_size(path)
    try:
        with np.errstate(over="ignore"):  # of a size that lies
            array = np.lib.format.open_memmap(path, mode="r")  # np.load takes a .npz too, and a damaged one prints
        is_whole = array.offset + array.nbytes == size
    except Exception as error:  # numpy fails in many ways
        reason = " ".join(str(error).split())[:200]
        raise ValueError("expected a .npy file of numbers, got something else (%s)" % reason)
    if not is_whole or array.dtype.kind not in "fiub":
        raise ValueError("expected a .npy file of numbers, got %s" % (array.dtype if is_whole else "a damaged one"))
    return array


def _read_npy(path):
    array = map_npy(path)
    if array.ndim != 2 or not array.size:
        raise ValueError("expected a matrix, got an array of shape %s" % (array.shape,))
    return np.array(array)


class _Stream(object):
    """An open file, to numpy only something to write to: into a file itself it writes without saying why it failed."""

    def __init__(self, file):
        self.write = file.write


def _write_npy(file, matrix):
    np.lib.format.write_array(_Stream(file), np.asarray(matrix), allow_pickle=False)


# check: function of a matrix's shape, which raises ValueError before anything is written; or None.
# layer: the type of Caffe's layer that reads such a file; None: there is none.
# open: function of a path, which opens the file that `write` gets.
# package: (its name, what it is for), of the Python package that `write` needs; or None.
_Format = collections.namedtuple("_Format", "read write check layer open package")
_Format.__new__.__defaults__ = (None, None, None, atomic_write, None)
_HDF5 = _Format(hdf5_files.read_hdf5, hdf5_files.write_hdf5, None, "HDF5Data", hdf5_files.atomic_hdf5,
                ("h5py", "HDF5"))
_LMDB = _Format(lmdb_files.read_lmdb, lmdb_files.write_lmdb, binaryproto.check_size, "Data", lmdb_files.atomic_lmdb,
                ("lmdb", "LMDB"))
_FORMATS = {
    ".binaryproto": _Format(binaryproto.read_binaryproto, binaryproto.write_binaryproto, binaryproto.check_size),
    ".caffemodel": _Format(caffemodel.read_caffemodel, caffemodel.write_caffemodel, binaryproto.check_size,
                           "Parameter"),
    ".h5": _HDF5,
    ".hdf5": _HDF5,
    ".lmdb": _LMDB,
    "_lmdb": _LMDB,
    ".npy": _Format(_read_npy, _write_npy),
    ".csv": _Format(text_files.read_csv, text_files.write_csv),
    ".json": _Format(text_files.read_json, text_files.write_json),
}
ENDINGS = tuple(sorted(_FORMATS))


def _read_other(path):
    try:
        return binaryproto.read_binaryproto(path)
    except ValueError as error:
        raise ValueError("expected a file that ends in %s, or a BlobProto under another name, got something else (%s)"
                         % (", ".join(ENDINGS), error))


_OTHER = _Format(_read_other, None)


def _format(path):
    path = os.path.normpath(path).lower()  # a folder's name may end in a slash
    return _FORMATS.get("_lmdb" if path.endswith("_lmdb") else os.path.splitext(path)[1], _OTHER)


def layer_type(path):
    """Return the type of the layer of Caffe's own that reads such a file, or None where none does."""
    return _format(path).layer


def files_of(path):
    """Return the files that are written for an output of a name: it, and beside an .h5 the list that HDF5Data reads."""
    return [path] + [path + hdf5_files.LIST_ENDING] * (_format(path) is _HDF5)


def is_binaryproto(path):
    """Return whether a file of that name is read as a BlobProto: of any but those of the other formats."""
    return _format(path) in (_FORMATS[".binaryproto"], _OTHER)


def check_path(path):
    """Raise ValueError if no matrix can be written to a file of that name, or ImportError without its package."""
    file_format = _format(path)
    if file_format is _OTHER:
        raise ValueError("%s: expected a file that ends in %s" % (path, ", ".join(ENDINGS)))
    if file_format is _HDF5 and path.split() != [path]:
        raise ValueError("%s: expected a name without spaces, as HDF5Data's list of files has none" % path)
    if file_format.package:
        optional(*file_format.package)


def read_matrix(path):
    """Return the matrix in a file.

    path: str; its ending says what the file holds (see the module's docstring).
    Returns an array of two axes, of the file's own type: float32 where Caffe wrote it (float64 if that was
    double_data), float64 from text. Raises IOError for a missing file, ValueError if it holds no matrix, both with the
    file's name, and ImportError if the package for HDF5 or LMDB is missing.
    """
    with naming(path, "cannot be read: "):
        return _format(path).read(path)


def read_numbers(path):
    """Return the numbers in a file, a list of floats: of a .npy a row or a column, of text with blanks or commas.

    Raises IOError or ValueError, without the file's name.
    """
    if not path.lower().endswith(".npy"):
        return text_files.read_numbers(path)
    array = map_npy(path)
    if array.size != max(array.shape + (0,)):
        raise ValueError("expected a row of numbers, got %s of shape %s" % (array.dtype, array.shape))
    return array.ravel().astype(float).tolist()


def write_matrix(path, matrix):
    """Write a matrix to a file, or an LMDB's folder, whole or not at all.

    Raises ValueError if float32 or the format cannot hold the matrix.
    """
    write_files([(path, matrix_writer(path, matrix))])


def matrix_writer(path, matrix):
    """Return a function that writes a matrix to an open file, in the format that `path` ends in.

    Raises ValueError if the format cannot hold a matrix of that size or type.
    """
    check_path(path)
    file_format, matrix = _format(path), np.asarray(matrix)
    if matrix.ndim != 2 or not matrix.size or matrix.dtype.kind not in "fiub":
        raise ValueError("%s: expected a matrix of numbers, got shape %s of %s" % (path, matrix.shape, matrix.dtype))
    if file_format.check:
        with naming(path):
            file_format.check(matrix.shape)
    return lambda file: file_format.write(file, matrix)


def write_files(writers):
    """Write several files, all or none (see write_all).

    writers: pairs of a path and a function of the open file, as matrix_writer makes them. Where the path ends as an
    LMDB's folder does, the file is that folder's data file. Beside an .h5 its list for HDF5Data is written, too.
    """
    triples = []
    for path, write in writers:
        triples.append((path, _format(path).open, write))
        if _format(path) is _HDF5:
            line = getattr(os, "fsencode", str)(path) + b"\n"
            triples.append((path + hdf5_files.LIST_ENDING, atomic_write, lambda file, line=line: file.write(line)))
    write_all(triples)
