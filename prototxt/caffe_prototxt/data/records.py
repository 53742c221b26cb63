"""Read the shape of a data layer's data from its first record, and count its samples."""
from __future__ import division, print_function

import io
import warnings

import numpy as np

from caffe_losses.compat import from_bytes, to_display
from caffe_losses.errors import naming
from caffe_losses.formats import lmdb_files
from caffe_losses.formats.plain_files import open_plain
from caffe_losses.formats.wire import parts
from caffe_losses.optional_packages import optional
from caffe_prototxt.data import databases, hdf5
from caffe_prototxt.net import data_layers


def record_shape(layer, top):
    """Return the shape of a data layer's top without its first axis, by its data; None if that is unknown.

    layer: nets.Layer. top: str. Raises IOError or ValueError for data that cannot be read.
    """
    if not data_layers.source_exists(layer):
        return None
    source = to_display(data_layers.source(layer) or "")
    if layer.type in ("Data", "AnnotatedData"):
        return _datum_shape(source, layer.type == "AnnotatedData")
    if layer.type not in ("ImageData", "HDF5Data"):
        return None
    first = next(iter(_lines(source)), None)
    if first is None:
        raise ValueError("%s: expected a list of files, got nothing" % source)
    if layer.type == "HDF5Data":
        with naming(first), hdf5.open_dataset(first, to_display(top)) as data:
            return tuple(int(size) for size in data.shape[1:])
    path = to_display(layer.message("image_data_param").value("root_folder", "")) + first.rsplit(None, 1)[0]
    with naming(path), open_plain(path) as file:
        return _image_shape(file, data_layers.channels(layer))


def _datum_shape(source, annotated):
    with naming(source), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # protobuf's, of what is an error here
        records, _ = databases.open_records(source)
        if annotated:  # its field 1 is a Datum
            records = (datum.tobytes() for record in records for datum in parts(np.frombuffer(record, np.uint8), 1))
        datum = next(databases.datums(records), None)
        if datum is None:
            raise ValueError("expected Datums, got none")
        return _image_shape(io.BytesIO(datum.data)) if datum.encoded else (datum.channels, datum.height, datum.width)


def _image_shape(file, channels=None):
    """Return channels, height, width of an image. channels: those that Caffe makes of it; None for its own."""
    optional("PIL", "images")
    from PIL import Image
    try:
        image = Image.open(file)
    except Exception as error:  # whatever the reader of its format fails with
        raise ValueError("expected an image, got something else (%s)" % error)
    return (channels or (1 if image.mode in ("1", "L", "I", "F") else 3), image.size[1], image.size[0])


def count_samples(layer):
    """Return the number of samples in one epoch of a data layer's data; None where that is unknown."""
    source = to_display(data_layers.source(layer) or "")
    param = data_layers.data_param(layer)
    if param is None:
        return None
    if layer.type == "Data":
        is_counted = lmdb_files.is_lmdb(source) and not param.value("rand_skip", 0)
        return lmdb_files.count_records(source) if is_counted else None
    total = 0
    for line in _lines(source) if layer.type in ("ImageData", "HDF5Data") else ():
        if layer.type == "ImageData":
            total += 1
            continue
        with hdf5.open_dataset(line, to_display(layer.tops[0])) as data:
            total += len(data)
    return total or None


def _lines(path):
    with open_plain(path) as file:
        for line in file:
            if line.strip():
                yield to_display(from_bytes(line.strip()))
