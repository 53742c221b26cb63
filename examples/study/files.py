"""Read what the study takes from the examples: classes, costs and nets; choose training images; run trained nets."""
from __future__ import division, print_function

import hashlib
import io
import os

import caffe
import numpy as np

import create_data
from caffe_tools.compare.variants import Change
from caffe_tools.options.class_files import read_tree_costs

EXAMPLES = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
N_CLASSES = create_data.N_GARMENT_CLASSES
SCALE = 1 / 256  # of the images, as in the nets
# In the words of tables and sentences.
TITLES = {"mlp": "one hidden layer", "conv": "convolutions"}
# The train_val net of each, the deployed one, and the LMDBs that the files name.
FILES = {
    "mlp": ("fashion_mnist/softmax_train_val.prototxt", "fashion_mnist/deploy.prototxt",
            ["examples/fashion_mnist/train_seed0_lmdb"]),
    "conv": ("study/conv_train_val.prototxt", "study/conv_deploy.prototxt", ["train_lmdb"]),
    "dense": ("segmentation/softmax_train_val.prototxt", "segmentation/deploy.prototxt",
              ["examples/segmentation/train_images_lmdb", "examples/segmentation/train_labels_lmdb"]),
}


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


def train_val(net, lmdbs, matrix=None, counts=None):
    """Return the text of a net.

    net: a key of FILES. lmdbs: what it trains with. matrix: a file with H, or None. counts: samples of each class, for
    logit adjustment, or None.
    """
    text = read_text(FILES[net][0])
    for before, after in zip(FILES[net][2], lmdbs):
        text = text.replace('"%s"' % before, '"%s"' % after)
    if counts is not None:
        return Change(str(text), [], False, None).with_log_prior(counts)
    if matrix is None:
        return text
    return text.replace('type: "SoftmaxWithLoss"',
                        'type: "InfogainLoss" infogain_loss_param { source: "%s" }' % matrix)


def outputs(net, snapshot, images, at_once=10000):
    """Yield the probabilities of a trained net for each `at_once` images in turn.

    net: a key of FILES. snapshot: path of a .caffemodel. images: N x height x width, uint8.
    """
    deployed = caffe.Net(os.path.join(EXAMPLES, FILES[net][1]), caffe.TEST, weights=snapshot)
    for start in range(0, len(images), at_once):
        batch = images[start:start + at_once]
        deployed.blobs["data"].reshape(len(batch), 1, *batch.shape[1:])
        deployed.blobs["data"].data[:, 0] = batch
        deployed.blobs["data"].data[...] *= SCALE
        yield deployed.forward()["prob"].copy()


def probabilities(net, snapshot, images):
    """Return what `outputs` yields as one array."""
    return np.concatenate(list(outputs(net, snapshot, images)))
