"""Write files whole or not at all: under another name beside their own first, then renamed."""
from __future__ import division, print_function

import binascii
import contextlib
import errno
import os

from caffe_losses.compat import to_str
from caffe_losses.errors import naming

NOT_WRITTEN = "cannot be written: "
_DISK_ERRORS = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG, errno.EIO)


@contextlib.contextmanager
def atomic_write(path):
    """Open a binary file that replaces `path` once it is complete; until then `path` stays as it was."""
    if not os.path.basename(path) or os.path.isdir(path):
        raise IOError("%s: cannot be written: expected the name of a file" % (path or "''"))
    if os.path.exists(path) and not os.path.isfile(path):
        # A device or a pipe (/dev/stdout): there is nothing to replace.
        with _open(path, path) as file:
            yield file
        return
    path = os.path.realpath(path)  # a link stays a link
    if os.path.exists(path) and not (os.access(path, os.W_OK) and os.stat(path).st_mode & 0o222):  # root may all
        raise IOError("%s: cannot be written: expected another file than a read-only one; chmod u+w it, or choose "
                      "another name" % path)
    folder, name = os.path.split(path)
    # Named before it is made, as a signal may come at any time.
    temporary = os.path.join(folder, ".%s.%s" % (name, to_str(binascii.hexlify(os.urandom(4)))))
    try:
        with naming(path, NOT_WRITTEN):
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        with _open(temporary, path) as file:
            yield file
        os.chmod(temporary, _mode(path))
        getattr(os, "replace", os.rename)(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def write_all(writers):
    """Write several files, all or none.

    writers: list of (path, function that opens it, as atomic_write does, function that writes to the open file).
    Each file takes its name only once all are complete; a program killed between two renames leaves some new, some old.
    """
    if writers:
        (path, open_path, write), rest = writers[0], writers[1:]
        with open_path(path) as file:
            with naming(path, NOT_WRITTEN):
                write(file)
            write_all(rest)


@contextlib.contextmanager
def _open(name, path):
    """Open a file whose content is on the disk before it is closed. path: the name for errors."""
    with naming(path, NOT_WRITTEN):
        file = open(name, "wb")
    try:
        yield file
        with naming(path, NOT_WRITTEN):
            file.flush()
            if os.path.isfile(name):
                os.fsync(file.fileno())
    except EnvironmentError as error:
        if error.errno in _DISK_ERRORS:  # others, of what is done meanwhile, need not be this file's
            raise IOError("%s: %s%s" % (path, NOT_WRITTEN, error.strerror))
        raise
    finally:
        try:
            file.close()
        except EnvironmentError:  # after an error it tries again to write the rest
            pass


def _mode(path):
    """Return the permissions of `path`, or those of a new file if it is missing."""
    try:
        return os.stat(path).st_mode & 0o777
    except OSError:
        umask = os.umask(0)
        os.umask(umask)
        return 0o666 & ~umask
