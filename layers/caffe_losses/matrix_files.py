"""Square matrices in files: .binaryproto as Caffe reads it, .npy and .csv.

`infogainH.binaryproto` is a serialised BlobProto; its fields, from Caffe's
caffe.proto: num 1, channels 2, height 3, width 4 (the old form of a shape),
data 5 (packed floats), shape 7 (a BlobShape, whose field 1 holds the dims),
double_data 8. It is read and written here as raw packed floats, because
protobuf's Python takes them one by one, and so that making H needs no Caffe.
"""
from __future__ import division, print_function

import contextlib
import io
import os
import tempfile

import numpy as np

# A protobuf message holds at most 2 GiB, and Caffe reads no larger one.
MAX_BYTES = 2 ** 31 - 1

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LEGACY_DIMS = (1, 2, 3, 4)
_DATA, _SHAPE, _DOUBLE_DATA = 5, 7, 8


def read_matrix(path):
    """The matrix in a .binaryproto, .npy or .csv file.

    path: str; its ending says what the file holds.
    Returns an array of two axes: float32 from a .binaryproto (float64 if it
    holds double_data), the file's own type from .npy, float64 from .csv.
    Raises IOError if there is no such file, ValueError if it holds no matrix;
    both name the file.
    """
    reader = _by_ending(path, _READERS)
    try:
        with open(path, "rb") as file:
            content = file.read()
        return reader(content)
    except (IOError, OSError) as error:
        raise IOError("%s: cannot be read: %s" % (path, error.strerror or error))
    except ValueError as error:
        raise ValueError("%s: %s" % (path, error))


def write_matrix(path, matrix):
    """Write a matrix to a .binaryproto, .npy or .csv file, whole or not at all.

    A .binaryproto holds float32, as a blob 1 x 1 x rows x columns.
    Raises ValueError if float32 cannot hold the matrix, or a .binaryproto cannot.
    """
    write_files([(path, matrix_writer(path, matrix))])


def matrix_writer(path, matrix):
    """A function that writes a matrix to an open file, in the format that `path` ends in."""
    writer = _by_ending(path, _WRITERS)
    matrix = np.asarray(matrix)
    if matrix.ndim != 2:
        raise ValueError("%s: expected a matrix, got shape %s" % (path, matrix.shape))

    def write(file):
        try:
            writer(file, matrix)
        except ValueError as error:
            raise ValueError("%s: %s" % (path, error))
    return write


def write_files(writers):
    """Write several files, all or none. writers: pairs of a path and a function of the open file."""
    if writers:
        (path, write), rest = writers[0], writers[1:]
        with atomic_write(path) as file:
            write(file)
            write_files(rest)


@contextlib.contextmanager
def atomic_write(path):
    """A binary file that takes the place of `path` only once it is complete.

    Whatever stops the program before that leaves `path` as it was.
    """
    if not os.path.basename(path) or os.path.isdir(path):
        raise IOError("%s: cannot be written: expected the name of a file" % (path or "''"))
    if os.path.exists(path) and not os.path.isfile(path):
        # A device or a pipe (/dev/stdout): there is nothing to replace.
        with open(path, "wb") as file:
            yield file
        return
    path = os.path.realpath(path)  # a link stays a link
    folder, name = os.path.split(path)
    try:
        handle, temporary = tempfile.mkstemp(prefix="." + name + ".", dir=folder)
    except EnvironmentError as error:
        raise IOError("%s: cannot be written: %s" % (path, error.strerror))
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _mode(path))
        getattr(os, "replace", os.rename)(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _mode(path):
    """The permissions `path` has, or would get if it were made now."""
    try:
        return os.stat(path).st_mode & 0o777
    except OSError:
        umask = os.umask(0)
        os.umask(umask)
        return 0o666 & ~umask


def _by_ending(path, table):
    ending = os.path.splitext(path)[1].lower()
    if ending not in table:
        raise ValueError("%s: expected a file that ends in %s" % (path, ", ".join(sorted(table))))
    return table[ending]


# .npy and .csv

def _read_npy(content):
    shape, fortran_order, dtype, start = _npy_header(io.BytesIO(content))
    if len(shape) != 2:
        raise ValueError("expected a matrix, got an array of shape %s" % (shape,))
    if dtype.kind not in "fiub":
        raise ValueError("expected numbers, got %s" % dtype)
    # np.load would believe the header, and reserve the memory it asks for.
    expected = shape[0] * shape[1] * dtype.itemsize
    if len(content) - start != expected:
        raise ValueError("expected %d bytes of numbers, got %d: the file is damaged"
                         % (expected, len(content) - start))
    order = "F" if fortran_order else "C"
    return np.frombuffer(content, dtype, offset=start).reshape(shape, order=order)


def _npy_header(file):
    """(shape, fortran_order, dtype, where the numbers start) of a .npy file."""
    read_header = {(1, 0): np.lib.format.read_array_header_1_0,
                   (2, 0): np.lib.format.read_array_header_2_0}
    try:
        header = read_header[np.lib.format.read_magic(file)](file)
    except Exception as error:  # numpy parses the header as Python, and fails in its ways
        raise ValueError("expected a .npy file, got something else (%s)"
                         % " ".join(str(error).split()))
    return header + (file.tell(),)


def _read_csv(content):
    rows = []
    for number, line in enumerate(content.decode("utf-8-sig").splitlines(), 1):
        line = line.split("#")[0].strip()
        if not line:
            continue
        try:
            rows.append([float(field) for field in line.split(",")])
        except ValueError:
            raise ValueError("line %d: expected numbers with commas between them, got %r"
                             % (number, line[:60]))
        if len(rows[-1]) != len(rows[0]):
            raise ValueError("line %d: expected %d numbers, as in the first row, got %d"
                             % (number, len(rows[0]), len(rows[-1])))
    if not rows:
        raise ValueError("expected a matrix, got an empty file")
    return np.array(rows)


def _write_npy(file, matrix):
    np.save(file, matrix)


def _write_csv(file, matrix):
    for row in matrix:
        # repr of a float is the shortest text that reads back as the same float
        file.write((",".join(repr(float(value)) for value in row) + "\n").encode("ascii"))


# .binaryproto

def _write_binaryproto(file, matrix):
    with np.errstate(over="ignore"):
        packed = np.ascontiguousarray(matrix, "<f4")
    overflow = np.isfinite(matrix) & ~np.isfinite(packed)
    if overflow.any():
        raise ValueError("expected entries that float32 can hold, got %g" % matrix[overflow][0])
    shape = _bytes_field(1, b"".join(_varint(n) for n in (1, 1) + matrix.shape))
    head = _bytes_field(_SHAPE, shape) + _varint(_DATA << 3 | _BYTES) + _varint(packed.nbytes)
    if len(head) + packed.nbytes > MAX_BYTES:
        raise ValueError("expected a matrix that fits into 2 GiB, the most a .binaryproto can hold, "
                         "got %d x %d" % matrix.shape)
    file.write(head)
    file.write(packed.data)


def _bytes_field(number, content):
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _varint(value):
    encoded = bytearray()
    while value > 0x7f:
        encoded.append(value & 0x7f | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _read_binaryproto(content):
    legacy, shape, floats, doubles = {}, None, [], []
    for number, kind, value in _fields(np.frombuffer(content, np.uint8)):
        if number in _LEGACY_DIMS and kind == _VARINT:
            legacy[number] = value
        elif number == _SHAPE and kind == _BYTES:
            shape = (shape or []) + _dims(value)  # protobuf merges repeated messages
        elif number == _DATA and kind in (_BYTES, _FIXED32):
            floats.append(_numbers(value, "<f4"))
        elif number == _DOUBLE_DATA and kind in (_BYTES, _FIXED64):
            doubles.append(_numbers(value, "<f8"))
    chunks = doubles or floats  # Caffe takes double_data first, too
    if not chunks:
        raise ValueError("expected a BlobProto with data, got one without (is this a .binaryproto?)")
    if legacy:  # Caffe lets the old form win, with 0 for a dim that is not there
        shape = [legacy.get(number, 0) for number in _LEGACY_DIMS]
    values = chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
    return values.reshape(_matrix_shape(shape, values.size))


def _matrix_shape(shape, count):
    text = " x ".join(map(str, shape or [])) or "none"
    dims = list(shape or [])
    while len(dims) > 2 and dims[0] == 1:
        del dims[0]
    if len(dims) != 2:
        raise ValueError("expected a blob of shape 1 x 1 x L x L, got %s" % text)
    if dims[0] * dims[1] != count:
        raise ValueError("expected %d numbers for shape %s, got %d (is the file cut off?)"
                         % (dims[0] * dims[1], text, count))
    return dims


def _dims(shape):
    """The dims of a serialised BlobShape, packed or one by one."""
    dims = []
    for number, kind, value in _fields(shape):
        if number == 1 and kind == _BYTES:
            at = 0
            while at < len(value):
                dim, at = _read_varint(value, at)
                dims.append(dim)
        elif number == 1 and kind == _VARINT:
            dims.append(value)
    return dims


def _numbers(packed, dtype):
    if len(packed) % np.dtype(dtype).itemsize:
        raise ValueError("expected packed numbers of %d bytes, got %d bytes"
                         % (np.dtype(dtype).itemsize, len(packed)))
    return packed.view(dtype)


def _fields(view):
    """(number, wire type, value) of every field of a protobuf message, a uint8 array."""
    at = 0
    while at < len(view):
        tag, at = _read_varint(view, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = _read_varint(view, at)
        else:
            size = {_FIXED64: 8, _FIXED32: 4}.get(kind)
            if kind == _BYTES:
                size, at = _read_varint(view, at)
            if size is None or not number:
                raise ValueError("expected a serialised BlobProto, got something else at byte %d" % at)
            if at + size > len(view):
                raise ValueError("expected %d bytes from byte %d on, got %d: the file is cut off"
                                 % (size, at, len(view) - at))
            value, at = view[at:at + size], at + size
        yield number, kind, value


def _read_varint(view, at):
    value = shift = 0
    while True:
        if at >= len(view) or shift > 63:
            raise ValueError("expected a serialised BlobProto, got something else at byte %d" % at)
        byte = int(view[at])
        value |= (byte & 0x7f) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


_READERS = {".binaryproto": _read_binaryproto, ".npy": _read_npy, ".csv": _read_csv}
_WRITERS = {".binaryproto": _write_binaryproto, ".npy": _write_npy, ".csv": _write_csv}
