"""Make the layers that read the images of an example's net: from an LMDB to train, from a caller in use."""
from __future__ import division, print_function

import caffe
from caffe import layers as L, params as P, NetSpec
import numpy as np

SCALE = 1 / 256  # the pixels are 0..255
SIDE = 28
DEPLOYED = dict(stage="deploy")


def from_lmdb(lmdb, batch, include):
    """Return the Data layer, with tops data and label, as a NetParameter. include: when it is in the net."""
    n = NetSpec()
    n.data, n.label = L.Data(source=lmdb, backend=P.Data.LMDB, batch_size=batch, ntop=2,
                             transform_param=dict(scale=SCALE), include=include)
    return n.to_proto()


def from_lmdbs(images, label_images, batch, include):
    """Return the Data layers of images with a label for each pixel, with tops data and label, as a NetParameter.

    images, label_images: paths of LMDBs with as many records each, in the same order.
    """
    n = NetSpec()
    n.data = L.Data(source=images, backend=P.Data.LMDB, batch_size=batch, transform_param=dict(scale=SCALE),
                    include=include)
    n.label = L.Data(source=label_images, backend=P.Data.LMDB, batch_size=batch, include=include)
    return n.to_proto()


def from_caller(side=SIDE):
    """Return the Input layer of stage "deploy", with top data, as a NetParameter."""
    n = NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 1, side, side]), include=DEPLOYED)
    return n.to_proto()


def outputs(definition, snapshot, images, at_once=10000):
    """Return the only output of a trained net in stage "deploy" for images.

    definition, snapshot: paths of a .prototxt and a .caffemodel.
    images: N x height x width, uint8. at_once: how many the net is given at a time.
    Returns an array with a row for every image.
    """
    return np.concatenate(list(outputs_in_turn(definition, snapshot, images, at_once)))


def outputs_in_turn(definition, snapshot, images, at_once):
    """Yield what outputs returns, an array for each `at_once` images in turn: those of all need not fit into memory."""
    net = caffe.Net(definition, caffe.TEST, stages=["deploy"], weights=snapshot)
    (output,) = net.outputs
    for start in range(0, len(images), at_once):
        batch = images[start:start + at_once]
        net.blobs["data"].reshape(len(batch), 1, *batch.shape[1:])
        net.blobs["data"].data[:, 0] = batch
        net.blobs["data"].data[...] *= SCALE
        yield net.forward()[output].copy()
