"""The text of a loss, and of the layers that it needs, for a train_val.prototxt.

Every layer has exclude { stage: "deploy" }: a net loaded with stages=["deploy"] has no loss and needs no labels.
"""
from __future__ import division, print_function

from collections import OrderedDict

from caffe_prototxt.net.losses import COMPOSED, KINDS, SOFTMAX, find_losses, read_loss
from caffe_prototxt.net.matrix_sources import H_NAME, layer_that_reads
from caffe_prototxt.net.nets import Net
from caffe_prototxt.rewrite import plan
from caffe_prototxt.textformat.messages import Name, on_lines

RULES = {"exclude": [{"stage": ["deploy"]}]}


def loss_fragment(*args, **options):
    """Return the text alone of `fragment_and_weights`."""
    return fragment_and_weights(*args, **options)[0]


def fragment_and_weights(loss, matrix=None, scores=("score",), label="label", name="loss", h_name=H_NAME,
                         loss_weights=(None,), axis=None, ignore_label=None, normalization=None, classic=False,
                         native=False, prior=None):
    """Return the text of a loss, a SoftmaxWithLoss changed as by use_loss.py, and of the layer that makes its matrix.

    The second value are the weights that it needs, {name of a layer: list of arrays}, where it is native.

    loss: a name in KINDS. matrix: FileMatrix or LayerMatrix, of H or costs; None for SoftmaxWithLoss.
    scores, label: the blobs it takes; several scores: a loss for each, name, name_2 ..., with one matrix for all.
    name: of the loss layer and its top. h_name: of the layer of the matrix and its top.
    loss_weights: one for all scores, or one for each; None: 1. axis, ignore_label, normalization: as in loss_param.
    classic: whether Caffe's InfogainLoss takes probabilities. native: whether the loss is out of Caffe's own layers.
    prior: plan.Prior that is added to the scores in TRAIN, or None.
    Strings are of one character a byte. Raises ValueError.
    """
    if loss not in (COMPOSED if native else KINDS):
        raise ValueError("loss: expected one of %s, got %s" % (", ".join(COMPOSED if native else KINDS), loss))
    if len(loss_weights) not in (1, len(scores)):
        raise ValueError("loss_weight: expected one, or one for each of %d scores, got %d"
                         % (len(scores), len(loss_weights)))
    text = ""
    for number, score in enumerate(scores):
        own = name if number == 0 else "%s_%d" % (name, number + 1)
        text += _layer_text([
            ("name", own), ("type", SOFTMAX.type), ("bottom", [score, label]), ("top", own),
            ("loss_weight", (list(loss_weights) * len(scores))[number])] + list(RULES.items()) + [
            ("softmax_param", axis if axis is None else {"axis": axis}),
            ("loss_param", OrderedDict((
                ("ignore_label", ignore_label), ("normalization", normalization and Name(normalization)))))])
    blobs = {}
    if KINDS[loss] != SOFTMAX or matrix is not None:
        request = plan.Request(KINDS[loss], matrix, h_name, native=native)
        text, blobs = _changed(text, classic, blobs, lambda net, losses: plan.plan(net, losses, request))
    if prior is not None:
        text, blobs = _changed(text, classic, blobs, lambda net, losses: plan.plan_adjustments(
            net, [(loss, prior) for loss in losses]))
    return text, blobs


def _changed(text, classic, blobs, make_plan):
    """Return the text with a plan carried out, and the blobs with those that it needs."""
    net = Net(text, classic)
    planned = make_plan(net, [read_loss(layer) for layer in find_losses(net)])
    return plan.write(text, planned), dict(blobs, **planned.blobs)


def h_fragment(path, n_classes=None):
    """Return the text of the layer "H" that reads a file with H. path: str. n_classes: int, for a .caffemodel."""
    return _layer_text(layer_that_reads(path, n_classes).fields(H_NAME, None, RULES).items())


def _layer_text(fields):
    """Return a layer as text. fields: pairs of a name and a value; None, or a message without fields: none."""
    given = OrderedDict((name, value) for name, value in fields
                                    if not isinstance(value, dict) or any(item is not None for item in value.values()))
    return on_lines("layer", given, "", "  ", "\n") + "\n"
