"""The files that README and the commands' help take for granted in a user's folder."""
from __future__ import division, print_function

import os

import numpy as np

CLASSES = ("shirt", "dress", "boot")


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
    _write_lmdb(os.path.join(folder, "train_lmdb"))


def _write_lmdb(folder):
    import lmdb
    from caffe.proto import caffe_pb2
    with lmdb.open(folder, map_size=2 ** 20).begin(write=True) as transaction:
        for i in range(9):
            transaction.put(b"%08d" % i, caffe_pb2.Datum(label=i % 3, data=b"x").SerializeToString())
