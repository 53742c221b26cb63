"""Open datasets in HDF5 files, and in those that a text file lists for HDF5Data."""
from __future__ import division, print_function

import contextlib
import os

from caffe_losses.compat import from_bytes, to_display
from caffe_losses.formats.plain_files import open_plain
from caffe_losses.optional_packages import optional

ENDINGS = (".h5", ".hdf5")
SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MAX_NAME = 2 ** 16  # bytes


def is_hdf5(path):
    """Return if a path is that of an HDF5 file, by its ending or its content."""
    if os.path.splitext(path)[1].lower() in ENDINGS:
        return True
    try:
        with open_plain(path) as file:
            return file.read(len(SIGNATURE)) == SIGNATURE
    except (EnvironmentError, TypeError, ValueError):  # no name of a file
        return False


def first_file(source):
    """Return the path of an HDF5 file, or of the first one in a list of them."""
    if is_hdf5(source):
        return source
    with open_plain(source) as file:
        return to_display(from_bytes(b"".join(file.read(_MAX_NAME).split()[:1])))


@contextlib.contextmanager
def open_dataset(path, name):
    """Open a dataset of an HDF5 file. Raises IOError or ValueError if there is none of that name."""
    h5py = optional("h5py", "HDF5")
    open_plain(path).close()  # which says in one line why it cannot be read
    with h5py.File(path, "r") as file:
        if not isinstance(file.get(name), h5py.Dataset):
            raise ValueError("expected a dataset %r, got %s" % (name, ", ".join(sorted(file)) or "none"))
        yield file[name]
