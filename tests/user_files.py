"""The files that README and the commands' help take for granted in a user's folder."""
from __future__ import division, print_function

import os

import numpy as np

import real_nets

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
    train(folder)


def _write_lmdb(folder):
    import lmdb
    from caffe.proto import caffe_pb2
    with lmdb.open(folder, map_size=2 ** 20).begin(write=True) as transaction:
        for i in range(9):
            transaction.put(b"%08d" % i, caffe_pb2.Datum(label=i % 3, data=b"x").SerializeToString())


NET = """
layer { name: "data" type: "HDF5Data" top: "data" top: "label" include { phase: TRAIN }
        hdf5_data_param { source: "train.txt" batch_size: 16 } }
layer { name: "data" type: "HDF5Data" top: "data" top: "label" include { phase: TEST }
        hdf5_data_param { source: "test.txt" batch_size: 20 } }
layer { name: "score" type: "InnerProduct" bottom: "data" top: "score"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
%s
layer { name: "accuracy" type: "Accuracy" bottom: "score" bottom: "label" top: "accuracy" include { phase: TEST } }
"""
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }'
SOLVER = """net: "train_val.prototxt" base_lr: %g momentum: 0.9 lr_policy: "fixed" display: 5 max_iter: %d random_seed: %d
test_iter: 2 test_interval: 10 snapshot: 10 snapshot_prefix: "snap" solver_mode: CPU"""
N_TEST = 50  # no whole number of batches


def train(folder, loss=LOSS, rate=.1, iterations=20, seed=1, log="caffe.log", arguments=()):
    """Train a small net by the real `caffe train`; its log and snapshots are in the folder."""
    import h5py
    rng = np.random.RandomState(0)
    for name, n in (("train", 60), ("test", N_TEST)):
        labels = np.arange(n) % 3
        with h5py.File(os.path.join(folder, name + ".h5"), "w") as file:
            file["data"] = (rng.randn(n, 4) + 1.5 * np.eye(3, 4)[labels]).astype(np.float32)
            file["label"] = labels.astype(np.float32)
        with open(os.path.join(folder, name + ".txt"), "w") as file:
            file.write(name + ".h5\n")
    for name, text in (("train_val.prototxt", NET % loss), ("solver.prototxt", SOLVER % (rate, iterations, seed))):
        with open(os.path.join(folder, name), "w") as file:
            file.write(text)
    status, out, err = real_nets.run(["caffe", "train", "-solver", "solver.prototxt"] + list(arguments), cwd=folder,
                                     env=dict(os.environ, GLOG_minloglevel="0", OPENBLAS_NUM_THREADS="1"))
    with open(os.path.join(folder, log), "w") as file:
        file.write(err)
    return status
