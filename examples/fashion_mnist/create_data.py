#!/usr/bin/env python
"""Write images of Fashion-MNIST as LMDBs for Caffe: 100 of each class to train with, and all test images.

train_seed0_lmdb, train_seed1_lmdb ... hold the same images, each in another order: Caffe reads them one by one.
"""
from __future__ import division, print_function

import argparse
import gzip
import os
import shutil
import sys

from caffe.proto import caffe_pb2
import lmdb
import numpy as np

SOURCE = os.environ.get("FASHION_MNIST", "/usr/share/datasets/fashion-mnist")
COUNTS = [100] * 10  # training images of each class


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default=os.path.dirname(__file__) or ".", help="default: that of this script")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="orders to write (default: 1)")
    parser.add_argument("--limit", type=int, metavar="N", help="write at most N images of each class: for a trial")
    args = parser.parse_args()
    if min(args.seeds, 1 if args.limit is None else args.limit) < 1:
        parser.error("expected numbers of at least 1")
    images, labels = read("train")
    rng = np.random.RandomState(0)  # always the same images
    chosen = np.concatenate([rng.permutation(np.flatnonzero(labels == k))[:min(n, args.limit or n)]
                             for k, n in enumerate(COUNTS)])
    for seed in range(args.seeds):
        order = np.random.RandomState(seed).permutation(chosen)
        write_lmdb(os.path.join(args.folder, "train_seed%d_lmdb" % seed), images[order], labels[order])
    images, labels = [part[:args.limit and 10 * args.limit] for part in read("t10k")]
    write_lmdb(os.path.join(args.folder, "test_lmdb"), images, labels)
    print("%s: %d orders of %d training images; %d test images" % (args.folder, args.seeds, len(chosen), len(images)))


def read(part):
    """Return the images (N x 28 x 28, uint8) and labels (N, uint8) of a part, "train" or "t10k"."""
    images = _read_idx(part + "-images-idx3-ubyte.gz", -1, 28, 28)
    return images, _read_idx(part + "-labels-idx1-ubyte.gz", -1)


def _read_idx(name, *shape):
    """Return the array of an IDX file: 4 bytes, 4 for the length of each axis, the values. Raises ValueError."""
    path = os.path.join(SOURCE, name)
    try:
        with gzip.open(path) as file:
            return np.frombuffer(file.read(), np.uint8, offset=4 + 4 * len(shape)).reshape(shape)
    except Exception as error:  # of a file, of gzip, of its size
        raise ValueError("%s: expected a file of Fashion-MNIST, got %s; install Debian's dataset-fashion-mnist, or set "
                         "FASHION_MNIST to the folder with its four .gz files" % (path, error))


def write_lmdb(path, images, labels):
    """Write an LMDB of Datum in place of what is at path: beside it first, so that path never is half an LMDB."""
    unfinished = path + ".unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    with lmdb.open(unfinished, map_size=2 * images.nbytes + 2 ** 24) as database:
        with database.begin(write=True) as transaction:
            for i, (image, label) in enumerate(zip(images, labels)):
                datum = caffe_pb2.Datum(channels=1, height=image.shape[0], width=image.shape[1],
                                        data=image.tobytes(), label=int(label))
                transaction.put(b"%08d" % i, datum.SerializeToString())
    shutil.rmtree(path, ignore_errors=True)
    os.rename(unfinished, path)


if __name__ == "__main__":
    try:
        main()
    except (EnvironmentError, ValueError, lmdb.Error) as error:
        sys.stderr.write("create_data.py: error: %s\n" % error)
        sys.exit(2)
