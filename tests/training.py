"""A small training by the real caffe train, with its log and snapshots."""
from __future__ import division, print_function

import os

import numpy as np

import real_nets

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
