#!/usr/bin/env python
"""Say how good an embedding is: how many test images have the label of their nearest training images.

example: with_caffe.sh examples/triplets/evaluate.py examples/triplets/semi_hard_iter_5000.caffemodel
"""
from __future__ import division, print_function

import argparse
import os

os.environ.setdefault("GLOG_minloglevel", "2")  # read when caffe is imported; else it prints every layer
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as many threads as cores look for neighbours

import caffe
import numpy as np

import create_data
import neighbours

HERE = os.path.dirname(os.path.abspath(__file__))
SCALE = np.float32(1 / 256)  # as in the nets
AT_ONCE = 10000  # images


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("snapshot", help="a .caffemodel")
    parser.add_argument("--deploy", default=os.path.join(HERE, "deploy.prototxt"), help="default: deploy.prototxt")
    args = parser.parse_args()
    train, test = create_data.read("train"), create_data.read("t10k")
    rows = [embeddings(args.deploy, args.snapshot, images) for images, _ in (train, test)]
    for name, share in neighbours.scores(rows[0], train[1], rows[1], test[1]).items():
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


def pixels(images):
    """Return the pixels of images as the nets get them: N x P."""
    return images.reshape(len(images), -1) * SCALE


if __name__ == "__main__":
    create_data.run(main)
