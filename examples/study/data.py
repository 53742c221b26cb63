"""Read the files of the examples that the study trains, and choose training images."""
from __future__ import division, print_function

import hashlib
import io
import os

import numpy as np

import create_data
from caffe_tools.options.class_files import read_tree_costs

EXAMPLES = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
N_CLASSES = create_data.N_GARMENT_CLASSES


def read_text(*path):
    """Return the text of a file of the examples."""
    with io.open(os.path.join(EXAMPLES, *path), encoding="utf-8") as file:
        return file.read()


def class_names(example="fashion_mnist"):
    """Return the names of the classes, by label."""
    return read_text(example, "classes.txt").splitlines()


def tree_distances():
    """Return D, the distances of the classes in the tree of the first example."""
    return read_tree_costs(os.path.join(EXAMPLES, "fashion_mnist", "tree.txt"), class_names())[0]


def split(labels, n_train, n_validation=0, draw=0):
    """Choose the images to train with, and others to validate with: the same draw always gives the same ones.

    labels: N integers. n_train: how many of each class, a number or one per class. n_validation: how many others.
    Returns two arrays of indices into labels.
    """
    rng = np.random.RandomState(draw)
    train, validation = [], []
    for label, n in enumerate(np.broadcast_to(n_train, N_CLASSES)):
        images = rng.permutation(np.flatnonzero(labels == label))
        if n + n_validation > len(images):
            raise ValueError("class %d: expected %d images, got %d" % (label, n + n_validation, len(images)))
        train.append(images[:n])
        validation.append(images[n:n + n_validation])
    return np.concatenate(train), np.concatenate(validation)


def digest(*arrays):
    """Return a short text that differs where arrays differ."""
    found = hashlib.sha1()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:12]
