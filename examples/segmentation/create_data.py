#!/usr/bin/env python
"""Write scenes of garments of Fashion-MNIST, with a label for each pixel, as LMDBs for Caffe.

1 to 3 garments lie on a noisy canvas of 64 x 64 pixels. The images are in train_images_lmdb and test_images_lmdb, the
label images, in the same order, in train_labels_lmdb and test_labels_lmdb: 0 is the background, 1 to 10 the garments,
255 a rim around each of them that is to be ignored.
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
N_TRAIN, N_TEST = 3000, 1000  # scenes
N_IMAGES = 5000  # training images of each class that garments are taken from
SIDE = 64
N_GARMENTS = (1, 3)  # in a scene: at least, at most
NOISE = 64  # the background's intensities are below
THRESHOLD = 32  # a garment's pixels are those of at least this intensity
RIM = 1  # pixels around a garment that are neither garment nor background
BACKGROUND, IGNORED = 0, 255
N_GARMENT_CLASSES = 10

# The fraction of the garments that is of each class: the first is drawn 10 times as often as the last.
SHARES = 10 ** -(np.arange(N_GARMENT_CLASSES) / (N_GARMENT_CLASSES - 1))
SHARES /= SHARES.sum()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default=os.path.dirname(__file__) or ".", help="default: that of this script")
    parser.add_argument("--limit", type=int, metavar="N", help="write at most N scenes: for a trial")
    args = parser.parse_args()
    if args.limit is not None and args.limit < 1:
        parser.error("expected numbers of at least 1")
    images, labels = read("train")
    rng = np.random.RandomState(0)
    chosen = np.concatenate([rng.permutation(np.flatnonzero(labels == k))[:N_IMAGES] for k in range(N_GARMENT_CLASSES)])
    for part, n, garments, seed in (("train", N_TRAIN, (images[chosen], labels[chosen]), 0),
                                    ("test", N_TEST, read("t10k"), 2 ** 31)):
        drawn = scenes(garments[0], garments[1], min(n, args.limit or n), np.random.RandomState(seed))
        for name, pictures in zip(("images", "labels"), drawn):
            write_lmdb(os.path.join(args.folder, "%s_%s_lmdb" % (part, name)), pictures, [0] * len(pictures))
        print("%s: %d scenes to %s with" % (args.folder, len(drawn[0]), part))


def scenes(images, labels, n, rng):
    """Make n scenes of 1 to 3 garments, as often of each class as SHARES says; a later garment hides an earlier one.

    images: N x 28 x 28, uint8. labels: N integers 0..9, of which every class occurs.
    rng: a numpy.random.RandomState; it alone says what comes out.
    Returns two uint8 arrays, n x SIDE x SIDE: images, and their labels: 0 where the background is, 1 + k
    where a garment of class k is, 255 on the rim around each garment.
    """
    of_class = [np.flatnonzero(labels == k) for k in range(N_GARMENT_CLASSES)]
    pictures = rng.randint(0, NOISE, (n, SIDE, SIDE)).astype(np.uint8)
    truths = np.full((n, SIDE, SIDE), BACKGROUND, np.uint8)
    for picture, truth in zip(pictures, truths):
        for k in rng.choice(N_GARMENT_CLASSES, rng.randint(N_GARMENTS[0], N_GARMENTS[1] + 1), p=SHARES):
            _paste(images[rng.choice(of_class[k])], 1 + k, picture, truth, rng)
    return pictures, truths


def _paste(garment, label, picture, truth, rng):
    """Put a garment, its rim included, somewhere into a scene and its label image."""
    garment = np.pad(garment, RIM, mode="constant")
    top, left = rng.randint(0, SIDE - len(garment) + 1, 2)
    window = np.s_[top:top + len(garment), left:left + len(garment)]
    inside = garment >= THRESHOLD
    picture[window][inside] = garment[inside]
    truth[window][_grown(inside)] = IGNORED
    truth[window][inside] = label


def _grown(mask):
    """Return a mask with all pixels at most RIM rows and columns from one of it."""
    padded = np.pad(mask, RIM, mode="constant")
    rows, columns = mask.shape
    return np.any([padded[i:i + rows, j:j + columns]
                   for i in range(2 * RIM + 1) for j in range(2 * RIM + 1)], axis=0)


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
