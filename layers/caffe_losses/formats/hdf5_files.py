"""A matrix in HDF5, for an HDF5Data layer, through h5py.

It is read by a process of its own: HDF5 crashes on some damaged files.
"""
from __future__ import division, print_function

import io
import json
import os
import re

import numpy as np

from caffe_losses.formats.raw_numbers import float32_blocks, matrix_shape, open_part, read_into

DATASET = "H"  # HDF5Data reads the dataset that has its top's name
LIST_ENDING = ".txt"  # HDF5Data's source is a text file that lists HDF5 files

_AT_ONCE = 2 ** 20  # bytes

# A compressed file may hold this many times its size, or this many bytes if that is more.
_MAX_RATIO, _MAX_SMALL = 3, 2 ** 26


def write_hdf5(file, matrix):
    """A dataset 1 x 1 x rows x columns of float32, in an open file of that name."""
    h5py = _h5py()
    try:
        with h5py.File(file.name, "w") as content:
            dataset = content.create_dataset(DATASET, (1, 1) + matrix.shape, np.float32)
            first = 0
            for block in float32_blocks(matrix, _AT_ONCE):
                dataset[0, 0, first:first + len(block)] = block
                first += len(block)
    except (RuntimeError, EnvironmentError) as error:  # a full disk
        raise _in_words(error)


def _in_words(error):
    """An error of HDF5's as the system says it; HDF5 lists all it knows, on several lines."""
    number = re.search(r"errno = ([0-9]+)", str(error))
    if number:
        return IOError(int(number.group(1)), os.strerror(int(number.group(1))))
    return IOError(" ".join(str(error).split()))


def read_hdf5(path):
    """The dataset H, or else the only one there is; an array of its own type."""
    h5py = _h5py()
    with open_part(path) as part:
        limit = max(_MAX_RATIO * part.size, _MAX_SMALL)
    if hasattr(os, "fork"):
        return _from_child(lambda out: _send_dataset(h5py, path, limit, out), limit)
    out = io.BytesIO()  # Windows
    _send_or_say(lambda out: _send_dataset(h5py, path, limit, out), out)
    out.seek(0)
    return _receive(out, limit)


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


def _send_dataset(h5py, path, limit, out):
    with h5py.File(path, "r") as content:
        dataset = _only_dataset(h5py, content)
        rows, columns = _check_limit(dataset.shape, dataset.dtype, limit)
        _send(out, shape=[rows, columns], dtype=dataset.dtype.str)
        step = max(1, _AT_ONCE // (columns * dataset.dtype.itemsize))
        for first in range(0, rows, step):
            index = (0,) * (len(dataset.shape) - 2) + (slice(first, first + step),)
            out.write(np.ascontiguousarray(dataset[index]).data)


def _send(out, **message):
    out.write(json.dumps(message).encode("ascii") + b"\n")


def _send_or_say(send, out):
    try:
        send(out)
    except Exception as error:  # h5py fails in many ways
        _send(out, error=" ".join(str(error).split()))


def _receive(file, limit):
    """The matrix that was sent to an unbuffered file."""
    message = json.loads(_line(file) or '{"error": "it is damaged"}')
    if "error" in message:
        raise ValueError("expected an HDF5 file with a matrix, got something else (%s)" % message["error"])
    dtype = np.dtype(str(message["dtype"]))
    matrix = np.empty(_check_limit(message["shape"], dtype, limit), dtype)
    read_into(file, matrix)
    return matrix


def _line(file):
    found = bytearray()
    while not found.endswith(b"\n") and len(found) < 2 ** 16:
        byte = file.read(1)
        if not byte:
            return ""
        found += byte
    return found.decode("ascii")


def _from_child(send, limit):
    """What a process of its own sends, so that a damaged file can crash only that."""
    here, there = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(here)
            with os.fdopen(there, "wb") as out:
                _send_or_say(send, out)
        finally:
            os._exit(0)
    os.close(there)
    try:
        with io.open(here, "rb", buffering=0) as file:
            return _receive(file, limit)
    finally:
        os.waitpid(child, 0)
