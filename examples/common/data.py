"""Read Fashion-MNIST's files, choose subsets of it, and write LMDBs for Caffe."""
from __future__ import division, print_function

import contextlib
import functools
import gzip
import hashlib
import io
import operator
import os
import shutil
import struct
import zlib

import lmdb
import numpy as np
from caffe.proto import caffe_pb2

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.environ.get("FASHION_MNIST", "/usr/share/datasets/fashion-mnist")
N_CLASSES = 10


class DataError(Exception):
    """Report a data set that is missing or is not what it should be."""


def load(part):
    """Return the images (N x 28 x 28, uint8) and labels (N, uint8) of one part, "train" or "t10k"."""
    images = _read_idx(part + "-images-idx3-ubyte.gz", 3)
    labels = _read_idx(part + "-labels-idx1-ubyte.gz", 1)
    if len(images) != len(labels):
        raise DataError("%s: the %s images, shape %s, do not fit the %d labels"
                        % (FOLDER, part, images.shape, len(labels)))
    if (labels >= N_CLASSES).any():
        raise DataError("%s: expected %s labels of 0 to %d, got %d" % (FOLDER, part, N_CLASSES - 1, labels.max()))
    return images, labels


def class_names():
    """Return the names of the classes, by label."""
    with io.open(os.path.join(os.path.dirname(HERE), "fashion_mnist", "classes.txt"), encoding="utf-8") as file:
        return file.read().splitlines()


def _read_idx(name, n_axes):
    path = os.path.join(FOLDER, name)
    if not os.path.exists(path):
        raise DataError("no Fashion-MNIST at %s: install Debian's dataset-fashion-mnist, or set "
                        "FASHION_MNIST to the folder with the four .gz files" % path)
    try:
        with gzip.open(path) as stream:
            content = stream.read()
    except (IOError, EOFError, zlib.error, struct.error) as error:  # struct.error: Python 2, where it is cut off
        raise DataError("%s: %s" % (path, error))
    # An IDX file: 0, 0, the type (8: uint8), the number of axes, each axis's length.
    start = 4 + 4 * n_axes
    if len(content) < start or content[:4] != struct.pack("4B", 0, 0, 8, n_axes):
        raise DataError("%s: expected an IDX file of bytes along %d axes, got one that starts with %r"
                        % (path, n_axes, content[:start]))
    shape = struct.unpack(">%dI" % n_axes, content[4:start])
    if len(content) - start != functools.reduce(operator.mul, shape):  # numpy's product could overflow
        raise DataError("%s: expected %s values, got %d"
                        % (path, " x ".join(map(str, shape)), len(content) - start))
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def long_tail_counts(most, fewest):
    """Return how many images of each class a long tail has: from `most` to `fewest`, falling geometrically."""
    ratio = (fewest / most) ** (1 / (N_CLASSES - 1))
    return np.rint(most * ratio ** np.arange(N_CLASSES)).astype(int)


def split(labels, n_train, n_validation=0, draw=0):
    """Choose the images to train with, and others to validate with.

    The same draw always gives the same images; `shuffled` gives a seed's order.

    labels: N integers.
    n_train: how many of each class to train with, a number or one per class.
    n_validation: how many others of each class to validate with.
    draw: int.
    Returns two arrays of indices into labels.
    """
    rng = np.random.RandomState(draw)
    train, validation = [], []
    for label, n in enumerate(np.broadcast_to(n_train, N_CLASSES)):
        images = rng.permutation(np.flatnonzero(labels == label))
        if n + n_validation > len(images):
            raise DataError("class %d: %d images wanted, there are %d"
                            % (label, n + n_validation, len(images)))
        train.append(images[:n])
        validation.append(images[n:n + n_validation])
    return np.concatenate(train), np.concatenate(validation)


def shuffled(indices, seed):
    """Return the same indices in the order of one seed: Caffe's Data layer reads in order."""
    return np.random.RandomState(seed).permutation(indices)


def shuffled_classes(seed, n_classes=N_CLASSES):
    """Return a random order of the classes in which none is at its own place."""
    rng = np.random.RandomState(seed)
    while True:
        order = rng.permutation(n_classes)
        if (order != np.arange(n_classes)).all():
            return order


def digest(*arrays):
    """Return a short text that differs where arrays differ."""
    found = hashlib.sha1()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:12]


def write_lmdb(path, images, labels=None):
    """Write images and labels as an LMDB of Datum, in place of what is at `path`.

    It is made beside `path` and renamed, so that `path` never is half an LMDB.

    images: N x height x width, uint8.
    labels: N integers; None: there are none, as where the images are labels themselves.
    """
    if labels is None:
        labels = np.zeros(len(images), int)
    unfinished = path + ".unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        with contextlib.closing(lmdb.open(unfinished, map_size=2 * images.nbytes + 2 ** 24)) as env:
            with env.begin(write=True) as transaction:
                for i, (image, label) in enumerate(zip(images, labels)):
                    datum = caffe_pb2.Datum(channels=1, height=image.shape[0], width=image.shape[1],
                                            data=image.tobytes(), label=int(label))
                    transaction.put(b"%08d" % i, datum.SerializeToString())
    except lmdb.Error as error:  # the disk is full, say
        shutil.rmtree(unfinished, ignore_errors=True)
        raise DataError("%s: %s" % (path, error))
    shutil.rmtree(path, ignore_errors=True)
    os.rename(unfinished, path)
