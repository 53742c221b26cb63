"""The nets in tests/nets: their texts, and what a test needs to run them in the real Caffe."""
from __future__ import division, print_function

import glob
import os
import sys

import numpy as np

import real_nets
from caffe_losses.compat import from_bytes, to_bytes
from caffe_losses.matrices import class_weights
from caffe_prototxt.net import losses
from caffe_prototxt.net.matrix_sources import LayerMatrix
from caffe_prototxt.rewrite import plan
from caffe_prototxt.net.nets import Net
from caffe_prototxt.rewrite.verify import verify

FOLDER = os.path.join(real_nets.CHECKOUT, "tests", "nets")
NAMES = sorted(os.path.basename(path) for path in glob.glob(os.path.join(FOLDER, "*.prototxt")))

# What comes in the place of data that is not there, and the number of classes. Caffe itself reads all but the forks'.
SHAPES = {
    "several_losses.prototxt": ({"data": (4, 2, 7, 7), "label": (4,)}, 5),
    "dense.prototxt": ({"data": (2, 3, 6, 6), "label": (2, 6, 6)}, 4),
    "phases.prototxt": ({"data": (4, 6), "label": (4,)}, 3),
    "old_syntax.prototxt": ({}, 3),
    "in_strings.prototxt": ({"data": (4, 6), "label": (4,)}, 3),
    "tabs_crlf.prototxt": ({"data": (4, 6), "label": (4,)}, 3),
    "one_line.prototxt": ({}, 4),
    "latin1_mixed.prototxt": ({"data": (4, 6), "label": (4,)}, 3),
    "from_data.prototxt": ({"data": (4, 6), "label": (4,), "similarity": (1, 1, 3, 3)}, 3),
    "probabilities.prototxt": ({"data": (4, 6), "label": (4,)}, 3),
}
DATA = ("Data", "HDF5Data")


def read(name):
    """The text of a net, one character a byte."""
    with open(os.path.join(FOLDER, name), "rb") as file:
        return from_bytes(file.read())


def changed(text, kind=None, matrix=None, classic=False, h_name="H", names=(), label_check=None):
    """Return (the changed text, what could not be checked) for losses of those names, or all."""
    net = Net(text, classic)
    chosen = losses.select(losses.find_losses(net), names, not names)
    planned = plan.plan(net, [losses.read_loss(layer) for layer in chosen],
                        plan.Request(losses.KINDS.get(kind), matrix, h_name, label_check=label_check))
    after = plan.write(text, planned)
    return after, verify(net, after, planned)


def adjusted(text, counts, strength=1, running=None, native=False, names=(), classic=False):
    """Return the text with the losses of those names, or all, logit-adjusted; counts: None takes that away."""
    net = Net(text, classic)
    found = [losses.read_loss(layer) for layer in losses.select(losses.find_losses(net), names, not names)]
    pairs = [(loss, counts and prior(loss, counts, strength, running, native)) for loss in found
             if "TRAIN" in loss.layer.phases]
    planned = plan.plan_adjustments(net, pairs)
    after = plan.write(text, planned)
    verify(net, after, planned)
    return after


def prior(loss, counts, strength, running, native):
    """Return the plan.Prior of counts, or of the labels as they come."""
    if native:
        return plan.Prior(None, class_weights.log_prior(counts, strength).astype(np.float32))
    keys = {"strength": strength, "running": running} if running else {"strength": strength, "counts": counts}
    return plan.Prior(LayerMatrix("Python", None, "LogPrior", keys).for_loss(loss), None)


def message(text):
    """The NetParameter that Caffe's Python reads."""
    from caffe.proto import caffe_pb2
    from google.protobuf import text_format
    content = to_bytes(text)
    try:
        content = content.decode("utf-8")
    except UnicodeDecodeError:
        content = content.decode("latin-1")
    return text_format.Merge(content, caffe_pb2.NetParameter())


def runnable(text, shapes):
    """The text of the net with Input layers for its data."""
    net = message(text)
    for layer in net.layer:
        if layer.type in DATA:
            tops = list(layer.top)
            layer.type = "Input"
            for name in ("data_param", "hdf5_data_param"):
                layer.ClearField(name)
            for top in tops:
                layer.input_param.shape.add().dim.extend(shapes[top])
    return str(net) if sys.version_info[0] > 2 else str(net).decode("utf-8")


def run(text, name, phase="TRAIN", weights=None):
    """One pass there and back: (value of each loss, gradient of each blob, gradients of the weights, the net)."""
    import caffe
    caffe.set_random_seed(5)
    shapes, n_classes = SHAPES[name]
    net = real_nets.net(runnable(text, shapes), phase)
    if weights is not None:
        net.share_with(weights)
    random = np.random.RandomState(3)
    inputs = {layer: net.blobs[layer] for layer in ("data", "label") if layer in net.blobs}
    inputs["data"].data[...] = random.randn(*inputs["data"].data.shape)
    labels = random.randint(0, n_classes, inputs["label"].data.shape)
    if name == "dense.prototxt":
        labels[random.rand(*labels.shape) < .2] = 255
    inputs["label"].data[...] = labels
    if "similarity" in net.blobs:
        net.blobs["similarity"].data[...] = np.eye(n_classes)
    net.forward()
    net.backward()
    values = {top: float(net.blobs[top].data) for top in net.blobs if net.blobs[top].data.ndim == 0 and top != "top-1"}
    diffs = {blob: net.blobs[blob].diff.copy() for blob in net.blobs if net.blobs[blob].data.ndim}
    grads = {layer: [blob.diff.copy() for blob in blobs] for layer, blobs in net.params.items()}
    return values, diffs, grads, net
