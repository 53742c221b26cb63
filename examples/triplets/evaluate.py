#!/usr/bin/env python
"""Say how good an embedding is: how many test images have the label of their nearest training images.

example: with_caffe.sh examples/triplets/evaluate.py examples/triplets/semi_hard_iter_5000.caffemodel
"""
from __future__ import division, print_function

import argparse
import collections
from multiprocessing.pool import ThreadPool
import os

os.environ.setdefault("GLOG_minloglevel", "2")  # read when caffe is imported; else it prints every layer
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as many threads as cores look for neighbours

import caffe
import numpy as np

import create_data

DEPLOYED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "deploy.prototxt")
SCALE = np.float32(1 / 256)  # as in the nets
AT_ONCE = 10000  # images that the net is given
K = 5  # neighbours
BLOCK = 200  # test rows of which distances are made at once: those to 60,000 images are 48 MB


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("snapshot", help="a .caffemodel")
    parser.add_argument("--deploy", metavar="NET", default=DEPLOYED, help="default: deploy.prototxt")
    args = parser.parse_args()
    train, test = create_data.read("train"), create_data.read("t10k")
    rows = [embeddings(args.deploy, args.snapshot, images) for images, _ in (train, test)]
    for name, share in scores(rows[0], train[1], rows[1], test[1]).items():
        print("right by %s: %.4f" % (name, share))


def embeddings(deploy, snapshot, images):
    """Return what a trained net makes of images: N x 64. deploy, snapshot: paths. images: N x height x width, uint8."""
    net = caffe.Net(deploy, caffe.TEST, weights=snapshot)
    rows = []
    for start in range(0, len(images), AT_ONCE):
        batch = images[start:start + AT_ONCE]
        net.blobs["data"].reshape(len(batch), 1, *batch.shape[1:])
        net.blobs["data"].data[:, 0] = batch * SCALE
        rows.append(net.forward()["embedding"].copy())
    return np.concatenate(rows)


def scores(train, train_labels, test, test_labels):
    """Return the shares of test rows that are right: by the 5 nearest rows of `train`, and by the nearest centroid."""
    decided = [("neighbours", decide_by_neighbours(train, train_labels, test)),
               ("centroid", decide_by_centroid(train, train_labels, test))]
    return collections.OrderedDict((name, float(np.mean(labels == test_labels))) for name, labels in decided)


def decide_by_neighbours(train, train_labels, test, k=K, n_threads=None):
    """Return the label that most of the k nearest rows of `train` have; of several, that of the nearest."""
    squares = np.einsum("nc,nc->n", train, train)

    def of_block(start):
        # The square of the test row is the same for all, and left out.
        distances = squares - 2 * np.dot(test[start:start + BLOCK], train.T)
        nearest = _smallest(distances, k)
        rows = np.arange(len(nearest))[:, None]
        nearest = nearest[rows, np.argsort(distances[rows, nearest], axis=1)]
        labels = np.asarray(train_labels)[nearest]
        votes = (labels[:, :, None] == labels[:, None, :]).sum(axis=2)
        return labels[rows[:, 0], votes.argmax(axis=1)]  # the first of equals is the nearest

    pool = ThreadPool(n_threads)
    try:
        return np.concatenate(pool.map(of_block, range(0, len(test), BLOCK), chunksize=1))
    finally:
        pool.close()


def _smallest(values, k):
    """Return the columns of the k smallest values of each row.

    They stand in the k groups of columns whose least value is smallest, and in the columns that are left over; to look
    only there takes a seventh of the time.
    """
    n_groups = max(1, int(values.shape[1] ** 0.5))
    if n_groups <= k:
        return np.argpartition(values, k - 1, axis=1)[:, :k]
    height = values.shape[1] // n_groups
    least = values[:, :n_groups * height].reshape(len(values), height, n_groups).min(axis=1)
    groups = np.argpartition(least, k - 1, axis=1)[:, :k]
    columns = (groups[:, :, None] + n_groups * np.arange(height)).reshape(len(values), -1)
    rest = np.tile(np.arange(n_groups * height, values.shape[1]), (len(values), 1))
    columns = np.concatenate([columns, rest], axis=1)
    rows = np.arange(len(values))[:, None]
    return columns[rows, np.argpartition(values[rows, columns], k - 1, axis=1)[:, :k]]


def decide_by_centroid(train, train_labels, test):
    """Return the label whose rows in `train` have the nearest mean."""
    classes = np.unique(train_labels)
    centroids = np.array([train[train_labels == label].mean(axis=0, dtype=np.float64) for label in classes])
    distances = np.einsum("kc,kc->k", centroids, centroids) - 2 * np.dot(test, centroids.T)
    return classes[distances.argmin(axis=1)]


if __name__ == "__main__":
    create_data.run(main)
