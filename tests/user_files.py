"""The files that README and the commands' help take for granted in a user's folder."""
from __future__ import division, print_function

import contextlib
import os

import numpy as np
import pytest

SOLVER = '''net: "train_val.prototxt"
test_iter: 3
test_interval: 10
base_lr: 0.1
lr_policy: "fixed"
max_iter: 20
snapshot_prefix: "clothes"
'''
CLASSES = ("shirt", "dress", "boot")
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }\n'


def net(n_classes=len(CLASSES), loss=LOSS):
    """The text of a train_val.prototxt."""
    return '''
layer { name: "data" type: "Data" top: "data" top: "label"
        data_param { source: "train_lmdb" backend: LMDB batch_size: 8 } }
layer { name: "score" type: "InnerProduct" bottom: "data" top: "score"
        inner_product_param { num_output: %d weight_filler { type: "xavier" } } }
''' % n_classes + loss


def write(folder):
    """Write them: three classes, of which two are near each other."""
    def text(name, content):
        with open(os.path.join(folder, name), "w") as file:
            file.write(content)

    np.save(os.path.join(folder, "H.npy"), np.eye(3) + .125)
    np.save(os.path.join(folder, "word2vec.npy"), [[1, 0, .5], [1, .25, .5], [-1, 1, 0]])
    text("D.csv", "0,1,3\n1,0,3\n3,3,0\n")
    text("confusion.csv", "8,2,0\n3,7,0\n0,1,9\n")
    text("tree.txt", "all: 3\n  tops: 1\n    shirt\n    dress\n  boot\n")
    text("classes.txt", "\n".join(CLASSES))
    text("train_val.prototxt", net())
    text("solver.prototxt", SOLVER)
    _write_lmdb(os.path.join(folder, "train_lmdb"))
    _write_masks(os.path.join(folder, "masks"))


def _write_lmdb(folder):
    import lmdb
    from caffe.proto import caffe_pb2
    with lmdb.open(folder, map_size=2 ** 20).begin(write=True) as transaction:
        for i in range(9):
            datum = caffe_pb2.Datum(channels=1, height=2, width=2, data=b"%04d" % i, label=i % 3)
            transaction.put(b"%08d" % i, datum.SerializeToString())


def _write_masks(folder):
    """Label images: the common class 0, the others, and a rim that is ignored."""
    from PIL import Image
    os.mkdir(folder)
    for i in range(2):
        labels = np.zeros((6, 6), np.uint8)
        labels[1:3, 1:3], labels[4, 4], labels[5] = 1, 2 * i, 255
        Image.fromarray(labels).save(os.path.join(folder, "%d.png" % i))


@contextlib.contextmanager
def as_nobody():
    """Be a user who may read nothing here, where the tests run as root."""
    if os.geteuid():
        pytest.skip("only root can become another user")
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
