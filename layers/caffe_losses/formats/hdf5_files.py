"""Read and write a matrix in HDF5, for an HDF5Data layer, through h5py."""
from __future__ import division, print_function

import contextlib
import os

import numpy as np

from caffe_losses.errors import naming
from caffe_losses.formats.atomic import NOT_WRITTEN, atomic_write
from caffe_losses.formats.binaryproto import float32_blocks, matrix_shape
from caffe_losses.formats.plain_files import plain_size
from caffe_losses.optional_packages import optional

DATASET = "H"  # HDF5Data reads the dataset that has its top's name
LIST_ENDING = ".txt"  # HDF5Data's source is a text file that lists HDF5 files

# A compressed file may hold this many times its size, or this many bytes if that is more.
_MAX_RATIO, _MAX_SMALL = 3, 2 ** 26


def write_hdf5(file, matrix):
    """Write a dataset 1 x 1 x rows x columns of float32 to an open file.

    It is made in memory: on a full disk HDF5 itself crashes.
    """
    h5py = optional("h5py", "HDF5")
    with h5py.File(file.name, "w", driver="core", backing_store=False) as content:
        dataset = content.create_dataset(DATASET, (1, 1) + matrix.shape, np.float32)
        first = 0
        for block in float32_blocks(matrix, 2 ** 20):
            dataset[0, 0, first:first + len(block)] = block
            first += len(block)
        content.flush()
        file.write(content.id.get_file_image())


@contextlib.contextmanager
def atomic_hdf5(path):
    """Open a file as atomic_write does. Raises IOError for one that is there with other datasets than H."""
    h5py = optional("h5py", "HDF5")
    if os.path.isfile(path) and h5py.is_hdf5(path):
        with naming(path, NOT_WRITTEN), h5py.File(path, "r") as content:
            others = sorted(set(content) - {DATASET})
            if others:
                raise IOError("expected no such file, or one with a dataset %s alone, got one with %s"
                              % (DATASET, ", ".join(others[:3])))
    with atomic_write(path) as file:
        yield file


def read_hdf5(path):
    """Return the dataset H, or else the only dataset, as an array of its own type."""
    h5py = optional("h5py", "HDF5")
    limit = max(_MAX_RATIO * plain_size(path), _MAX_SMALL)
    try:
        with h5py.File(path, "r") as content:
            dataset = _only_dataset(h5py, content)
            rows, columns = matrix_shape(dataset.shape)
            if rows * columns * dataset.dtype.itemsize > limit:
                raise ValueError("expected at most %d bytes of numbers in a file of that size, got %d (if it is "
                                 "compressed, write it without)" % (limit, rows * columns * dataset.dtype.itemsize))
            return dataset[()].reshape(rows, columns)
    except Exception as error:  # h5py fails in many ways
        raise ValueError("expected an HDF5 file with a matrix, got something else (%s)" % " ".join(str(error).split()))


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
