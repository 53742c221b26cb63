"""Make the nets of the study out of the examples' files, and run those that are trained."""
from __future__ import division, print_function

import os

import caffe
import numpy as np

import data

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


def train_val(net, lmdbs, matrix=None):
    """Return the text of a net. net: a key of FILES. lmdbs: what it trains with. matrix: a file with H, or None."""
    text = data.read_text(FILES[net][0])
    for before, after in zip(FILES[net][2], lmdbs):
        text = text.replace('"%s"' % before, '"%s"' % after)
    if matrix is None:
        return text
    return text.replace('type: "SoftmaxWithLoss"',
                        'type: "InfogainLoss" infogain_loss_param { source: "%s" }' % matrix)


def outputs(net, snapshot, images, at_once=10000):
    """Yield the probabilities of a trained net for each `at_once` images in turn.

    net: a key of FILES. snapshot: path of a .caffemodel. images: N x height x width, uint8.
    """
    deployed = caffe.Net(os.path.join(data.EXAMPLES, FILES[net][1]), caffe.TEST, weights=snapshot)
    for start in range(0, len(images), at_once):
        batch = images[start:start + at_once]
        deployed.blobs["data"].reshape(len(batch), 1, *batch.shape[1:])
        deployed.blobs["data"].data[:, 0] = batch
        deployed.blobs["data"].data[...] *= SCALE
        yield deployed.forward()["prob"].copy()


def probabilities(net, snapshot, images):
    """Return what `outputs` yields as one array."""
    return np.concatenate(list(outputs(net, snapshot, images)))
