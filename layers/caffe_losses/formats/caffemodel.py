"""Read the layers of a .caffemodel, change some of their numbers and add layers; every other byte stays as it is."""
from __future__ import division, print_function

import collections

import numpy as np

from caffe_losses.errors import naming
from caffe_losses.formats.binaryproto import blob_dims, blob_head, field, parts
from caffe_losses.formats.plain_files import plain_size

# The numbers of the fields of a NetParameter's layers, and in them of name, blobs and type: in the present syntax and
# in the one before. Where a file has both, Caffe takes the latter.
_Syntax = collections.namedtuple("_Syntax", "layer name blobs type")
_PRESENT, _OLD = _Syntax(100, 1, 7, 2), _Syntax(2, 4, 6, None)
_DATA, _DOUBLE_DATA = 5, 8  # of a BlobProto
_HDF5 = b"\x89HDF"

# message: array of its bytes, None for one that was added. shape: tuple. is_legacy: whether that is num, channels,
# height and width.
Blob = collections.namedtuple("Blob", "message shape is_legacy")


class CaffeModel(object):
    """The weights of a net.

    path: str. layers: {name, in bytes: list of Blob}. Raises IOError or ValueError, naming the file.
    """

    def __init__(self, path):
        self.path, self.layers, self._added = path, collections.OrderedDict(), []
        with naming(path, "cannot be read: "):
            size = plain_size(path)
            # copied where it is changed, so that the file stays
            self._content = np.asarray(np.memmap(path, np.uint8, "c")) if size else np.empty(0, np.uint8)
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
            blobs = [Blob(message, *_shape(message)) for message in parts(layer, self._syntax.blobs)]
            self.layers[b"".join(part.tobytes() for part in parts(layer, self._syntax.name)[-1:])] = blobs
        if not any(self.layers.values()):
            raise ValueError("no layer of it has blobs")

    def numbers(self, name, number):
        """Return the numbers of a blob, a view that can be changed, or None where they are not packed together."""
        blob = self.layers[name][number]
        for field_number, dtype in ((_DOUBLE_DATA, "<f8"), (_DATA, "<f4")):
            packed = [value for value in parts(blob.message, field_number) if value.size]
            if packed:
                is_one = len(packed) == 1 and packed[0].size == np.dtype(dtype).itemsize * int(np.prod(blob.shape))
                return packed[0].view(dtype) if is_one else None
        return None

    def add(self, name, kind, array):
        """Add a layer with one blob. name, kind: bytes. array: of float32."""
        data = np.ascontiguousarray(array, "<f4")
        content = field(self._syntax.name, name)
        if self._syntax.type:
            content += field(self._syntax.type, kind)
        content += field(self._syntax.blobs, blob_head(data.shape, ()) + data.tobytes())
        self.layers[name] = [Blob(None, data.shape, False)]
        self._added.append(field(self._syntax.layer, content))

    def write(self, file):
        """Write it to an open file, with what was changed and added."""
        file.write(self._content.data)
        for layer in self._added:
            file.write(layer)


def same_shape(blob, shape):
    """Return whether Caffe takes a Blob for one of a shape: of the old form the last axes count."""
    if not blob.is_legacy:
        return blob.shape == tuple(shape)
    return len(shape) <= 4 and blob.shape == (1,) * (4 - len(shape)) + tuple(shape)


def _shape(message):
    dims, is_legacy = blob_dims(message)
    return tuple(int(dim) for dim in dims), is_legacy
