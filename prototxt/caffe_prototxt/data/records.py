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
    if layer.type == "ImageData":
        return _image_shape(source, layer)
    return _hdf5_shape(source, to_display(top)) if layer.type == "HDF5Data" else None


def _datum_shape(source, annotated):
    with naming(source), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # protobuf's, of what is an error here
        records, _ = databases.open_records(source)
        if annotated:
            records = _datums_inside(records)
        datum = next(databases.datums(records), None)
        if datum is None:
            raise ValueError("expected Datums, got none")
    if datum.encoded:
        return _size(io.BytesIO(datum.data), source, None)
    return datum.channels, datum.height, datum.width


def _datums_inside(records):
    """Yield the Datum in each AnnotatedDatum, serialised: its field 1."""
    for record in records:
        for datum in parts(np.frombuffer(record, np.uint8), 1):
            yield datum.tobytes()


def _image_shape(source, layer):
    with open_plain(source) as file:
        name = from_bytes(file.readline()).rsplit(None, 1)[:1]
    if not name:
        raise ValueError("%s: expected a list of images, got nothing" % source)
    path = to_display(layer.message("image_data_param").value("root_folder", "") + name[0])
    return _size(path, path, data_layers.channels(layer))


def _size(file, name, channels):
    """Return channels, height, width of an image. channels: those that Caffe makes of it; None for its own."""
    optional("PIL", "images")
    from PIL import Image
    if file is name:
        with naming(name):
            open_plain(name).close()  # a pipe would keep it waiting
    try:
        image = Image.open(file)
    except Exception as error:  # whatever the reader of its format fails with
        raise ValueError("%s: expected an image, got something else (%s)" % (name, error))
    return (channels or (1 if image.mode in ("1", "L", "I", "F") else 3), image.size[1], image.size[0])


def _hdf5_shape(source, dataset):
    with open_plain(source) as file:
        name = to_display(from_bytes(file.readline()).strip())
    with naming(name), hdf5.open_dataset(name, dataset) as data:
        return tuple(int(size) for size in data.shape[1:])


def count_samples(layer):
    """Return the number of samples in one epoch of a data layer's data; None where that is unknown."""
    source = to_display(data_layers.source(layer) or "")
    param = data_layers.data_param(layer)
    if param is None:
        return None
    if layer.type == "Data":
        is_counted = lmdb_files.is_lmdb(source) and not param.value("rand_skip", 0)
        return lmdb_files.count_records(source) if is_counted else None
    if layer.type == "ImageData":
        return len(_lines(source))
    if layer.type != "HDF5Data":
        return None
    total = 0
    for name in _lines(source):
        with hdf5.open_dataset(name, to_display(layer.tops[0])) as data:
            total += len(data)
    return total


def _lines(path):
    with open_plain(path) as file:
        return [to_display(from_bytes(line)).strip() for line in file if line.strip()]
