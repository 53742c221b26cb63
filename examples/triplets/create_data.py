#!/usr/bin/env python
"""Write all training images of Fashion-MNIST as LMDBs for Caffe.

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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default=os.path.dirname(__file__) or ".", help="default: that of this script")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="orders to write (default: 1)")
    parser.add_argument("--limit", type=int, metavar="N", help="write at most N images: for a trial")
    args = parser.parse_args()
    if min(args.seeds, 1 if args.limit is None else args.limit) < 1:
        parser.error("expected numbers of at least 1")
    images, labels = [part[:args.limit] for part in read("train")]
    for seed in range(args.seeds):
        write_shuffled(os.path.join(args.folder, "train_seed%d_lmdb" % seed), images, labels, seed)
    print("%s: %d orders of %d training images" % (args.folder, args.seeds, len(images)))


def write_shuffled(path, images, labels, seed):
    """Write an LMDB of the images in the order of a seed."""
    order = np.random.RandomState(seed).permutation(len(images))
    write_lmdb(path, images[order], labels[order])


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


def run(main):
    """Run the main function of a script: an error is one line and exit status 2."""
    try:
        main()
    except (EnvironmentError, ValueError, lmdb.Error) as error:
        sys.stderr.write("%s: error: %s\n" % (os.path.basename(sys.argv[0]), error))
        sys.exit(2)


if __name__ == "__main__":
    run(main)
