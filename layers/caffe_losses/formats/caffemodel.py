"""Read, write and change the layers of a .caffemodel, a NetParameter; every byte that is not changed stays."""
from __future__ import division, print_function

import collections

import numpy as np

from caffe_losses.errors import naming
from caffe_losses.formats.binaryproto import (
    MAX_BYTES, blob_dims, blob_head, mapped, n_bytes, packed_numbers, read_blob, write_after)
from caffe_losses.formats.wire import field, parts

# The numbers of the fields of a NetParameter's layers, and in them of name, type and blobs: in the present syntax and
# in the one before, whose types are numbers. Where a file has both, Caffe takes the latter.
_Syntax = collections.namedtuple("_Syntax", "layer name type blobs")
_PRESENT, _OLD = _Syntax(100, 1, 2, 7), _Syntax(2, 4, None, 6)
_TOP = 4

LAYER = b"H"  # the name of the layer whose blob is a matrix
_HDF5 = b"\x89HDF"

# message: array of its bytes, None for one that was added. shape: tuple. is_legacy: whether that is num, channels,
# height and width.
Blob = collections.namedtuple("Blob", "message shape is_legacy")


def write_caffemodel(file, matrix):
    """Write a Parameter layer H that holds a matrix, 1 x 1 x rows x columns, to an open file."""
    blob, more = blob_head((1, 1) + matrix.shape), n_bytes(matrix.shape)
    layer = field(_PRESENT.name, LAYER) + field(_PRESENT.type, b"Parameter") + field(_TOP, LAYER)
    layer += field(_PRESENT.blobs, blob, more)
    write_after(field(_PRESENT.layer, layer, more), file, matrix)


def read_caffemodel(path):
    """Return the blob of the layer "H", or else of the only layer that has any."""
    layers = parts(mapped(path), _PRESENT.layer)
    named = [layer for layer in layers if _name(layer, _PRESENT) == LAYER]
    candidates = named or [layer for layer in layers if parts(layer, _PRESENT.blobs)]
    if len(candidates) != 1:
        raise ValueError("expected a layer H, or one layer with a blob, got %d (is this a .caffemodel?)"
                         % len(candidates))
    blobs = parts(candidates[0], _PRESENT.blobs)
    if len(blobs) != 1:
        raise ValueError("expected one blob in the layer of H, got %d" % len(blobs))
    return read_blob(blobs[0])


def _name(layer, syntax):
    return b"".join(name.tobytes() for name in parts(layer, syntax.name)[-1:])


def layer_bytes(name, arrays, kind=b"", syntax=_PRESENT):
    """Return a layer with some blobs as the bytes of a NetParameter, which may follow those of others.

    name, kind: bytes. arrays: of float32.
    """
    content = field(syntax.name, name)
    if kind and syntax.type:
        content += field(syntax.type, kind)
    for array in arrays:
        content += field(syntax.blobs, blob_head(array.shape) + np.ascontiguousarray(array, "<f4").tobytes())
    return field(syntax.layer, content)


def write_layers(file, layers):
    """Write layers for -weights to an open file.

    layers: list of the bytes of a name, and of arrays of float32. Raises ValueError for more than 2 GiB.
    """
    content = [layer_bytes(name, arrays) for name, arrays in layers]
    size = sum(map(len, content))
    if size > MAX_BYTES:
        raise ValueError("expected weights that fit into 2 GiB, the most that Caffe reads in one message, got %d bytes"
                         % size)
    file.writelines(content)


class CaffeModel(object):
    """The weights of a net.

    path: str. layers: {name, in bytes: list of Blob}. Raises IOError or ValueError, naming the file.
    """

    def __init__(self, path):
        self.path, self.layers, self._added = path, collections.OrderedDict(), []
        with naming(path, "cannot be read: "):
            self._content = mapped(path, "c")
            if self._content[:4].tobytes() == _HDF5:
                raise ValueError("expected a .caffemodel, got HDF5; convert it: caffe.Net(NET, FILE, caffe.TEST).save("
                                 "'converted.caffemodel')")
            try:
                self._read()
            except ValueError as error:
                raise ValueError("expected a .caffemodel, got something else (%s)" % error)

    def _read(self):
        self._syntax = _OLD if parts(self._content, _OLD.layer) else _PRESENT
        for layer in parts(self._content, self._syntax.layer):
            blobs = [Blob(message, *blob_dims(message)) for message in parts(layer, self._syntax.blobs)]
            self.layers[_name(layer, self._syntax)] = blobs
        if not any(self.layers.values()):
            raise ValueError("no layer of it has blobs")

    def numbers(self, name, number):
        """Return the numbers of a blob, a view that can be changed, or None where they are not packed together."""
        blob = self.layers[name][number]
        numbers = packed_numbers(blob.message)
        return numbers if numbers is not None and numbers.size == np.prod(blob.shape) else None

    def add(self, name, kind, array):
        """Add a layer with one blob. name, kind: bytes. array: of float32."""
        self.layers[name] = [Blob(None, array.shape, False)]
        self._added.append(layer_bytes(name, [array], kind, self._syntax))

    def write(self, file):
        """Write it to an open file, with what was changed and added."""
        file.write(self._content.data)
        file.writelines(self._added)


def same_shape(blob, shape):
    """Return whether Caffe takes a Blob for one of a shape: of the old form the last axes count."""
    if not blob.is_legacy:
        return blob.shape == tuple(shape)
    return len(shape) <= 4 and blob.shape == (1,) * (4 - len(shape)) + tuple(shape)
