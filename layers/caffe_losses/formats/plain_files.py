"""Open the files that users name: plain ones only, as a pipe or a device may keep a program waiting for ever."""
from __future__ import division, print_function

import errno
import os
import stat


def open_plain(path):
    """Open a plain file to read its bytes. Raises IOError for a folder, a pipe, a device or no file."""
    if not stat.S_ISREG(os.stat(path).st_mode) and not os.path.isdir(path):
        raise IOError("expected a plain file, got a pipe or a device; write it to a file first")
    return open(path, "rb")


def plain_size(path):
    """Return the size of a plain file in bytes. Raises as open_plain."""
    with open_plain(path) as file:
        return os.fstat(file.fileno()).st_size


def exists(path):
    """Return whether a file or folder exists. Raises IOError where nobody may look, for lack of permission."""
    try:
        os.stat(path)
    except EnvironmentError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return False
        raise
    return True
