"""Data sets in the formats that Caffe reads, for the tests."""
from __future__ import division, print_function

import numpy as np
import pytest


def datum(label=None, shape=(1, 2, 2), image=None, **fields):
    """A serialised Datum, as Caffe's tools write it."""
    from caffe.proto import caffe_pb2
    if image is None:
        image = np.arange(np.prod(shape)).astype(np.uint8).tobytes()
    channels, height, width = shape
    if label is not None:
        fields["label"] = label
    return caffe_pb2.Datum(channels=channels, height=height, width=width, data=image, **fields).SerializeToString()


def write_lmdb(path, records):
    import lmdb
    environment = lmdb.open(str(path), map_size=2 ** 30)
    with environment.begin(write=True) as transaction:
        for i, record in enumerate(records):
            transaction.put(b"%08d" % i, record)
    environment.close()
    return str(path)


def has_plyvel():
    try:
        import plyvel  # noqa: F401
    except ImportError:
        return False
    return True


def write_leveldb(path, records, compression="snappy"):
    path = str(path)
    if has_plyvel():
        import plyvel
        database = plyvel.DB(path, create_if_missing=True, compression=compression, write_buffer_size=2 ** 16)
        for i, record in enumerate(records):
            database.put(b"%08d" % i, record)
        database.close()
    else:
        leveldb = pytest.importorskip("leveldb")  # compresses by snappy, always
        database = leveldb.LevelDB(path, write_buffer_size=2 ** 16)
        for i, record in enumerate(records):
            database.Put(b"%08d" % i, record)
    return path


def write_hdf5(path, labels, dataset="label", **options):
    import h5py
    with h5py.File(str(path), "w") as file:
        file.create_dataset(dataset, data=labels, **options)
    return str(path)


def write_text(path, lines):
    with open(str(path), "w") as file:
        file.write("".join("%s\n" % line for line in lines))
    return str(path)


def write_image(path, values, mode=None):
    from PIL import Image
    image = Image.fromarray(np.asarray(values))
    if mode == "P":
        image = image.convert("L")
        image.putpalette([(i * 7 + 3) % 256 for i in range(768)])
    elif mode:
        image = image.convert(mode)
    image.save(str(path))
    return str(path)
