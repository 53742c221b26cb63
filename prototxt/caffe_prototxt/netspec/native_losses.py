"""Write losses for caffe.net_spec out of Caffe's own layers, which all have CUDA code.

    from caffe import layers as L, NetSpec
    from caffe_prototxt.netspec.native_layers import write_weights
    from caffe_prototxt.netspec.native_losses import native_infogain_loss

    n = NetSpec()
    n.data, n.label = L.Data(...)
    n.score = L.InnerProduct(n.data, num_output=7)
    blobs = native_infogain_loss(n, n.score, n.label, H, axis=-1)  # adds n.loss and the layers before it
    write_weights("loss.caffemodel", blobs)

    caffe train -solver solver.prototxt -weights pretrained.caffemodel,loss.caffemodel

They run where a Python layer does not: under caffe train on several GPUs, and without Python layers. Their matrix is in
the weights of layers that are not trained: without the .caffemodel these are 0, and so is the loss. A snapshot has
them.

labels: one for each position, N, N x 1, N x spatial or N x 1 x spatial. A label that is no class counts as ignored, as
nothing in Caffe's layers can refuse it; only FULL, and VALID without an ignore_label, count its position.

axis: of the classes in the scores. For scores N x C -1 is the same as 1 and many times as fast.
"""
from __future__ import division, print_function

from google.protobuf import text_format

import caffe
import numpy as np
from caffe import layers as L
from caffe.proto import caffe_pb2

from caffe_losses.compat import to_display
from caffe_losses.functional.blocks import NORMALIZATIONS
from caffe_losses.validation import check_square
from caffe_prototxt.net.states import phase_name
from caffe_prototxt.netspec.loss_layers import loss_param, without_none
from caffe_prototxt.netspec.native_layers import NativeLayers


def native_infogain_loss(net, score, label, H, name="loss", ignore_label=None, normalization=None, **options):
    """Add the infogain loss of the softmax of the scores to a NetSpec.

        sum_j H[l, j] log sum_k exp(z_k) - sum_j H[l, j] z_j, with z the scores less the largest of them

    net: caffe.NetSpec. score, label: Tops. H: array, C x C.
    name: str, of the loss layer and its top; the names of the layers before begin with it.
    ignore_label: int, one of the classes or not.
    normalization: "FULL", "VALID" (unless given), "BATCH_SIZE" or "NONE".
    options: axis: int, of the classes in the scores, 1 (unless given), 2 ..., or -1; loss_weight: float, 1 unless
        given; rules: dict, the include or exclude of every layer, {"exclude": {"stage": "deploy"}} unless given.
    Returns the blobs of the layers, {name: list of arrays of float32}. Raises ValueError.
    """
    H, weights = _read_matrix(H, "H", ignore_label)

    def positions(layers, one_hot, scores):
        gains = layers.linear("gains", one_hot, H.T, is_matrix=True)
        gain_sums = layers.linear("gain_sums", one_hot, [H.sum(axis=1)], is_matrix=True)
        shifted = layers.eltwise("shifted", "SUM", scores, layers.minus_maximum(scores))
        exp_sums = layers.sum("exp_sums", layers.add("exp", "Exp", shifted))
        logs = layers.eltwise("logs", "PROD", layers.add("log", "Log", exp_sums), gain_sums)
        products = layers.eltwise("products", "PROD", shifted, gains)
        return layers.eltwise("positions", "SUM", logs, layers.sum("product_sums", products, sign=-1), constant=False)

    return _add_loss(net, score, label, positions, weights, name, ignore_label, normalization, **options)


def native_expected_cost_loss(net, score, label, D, name="loss", ignore_label=None, normalization=None, **options):
    """Add the expected cost, sum_j D[l, j] p_j with p the softmax of the scores, to a NetSpec.

    D: array, C x C, of costs. The rest as native_infogain_loss's.
    """
    D, weights = _read_matrix(D, "D", ignore_label)

    def positions(layers, one_hot, scores):
        costs = layers.linear("costs", one_hot, D.T, is_matrix=True)
        products = layers.eltwise("products", "PROD", layers.add("probabilities", "Softmax", scores), costs)
        return layers.sum("positions", products)

    return _add_loss(net, score, label, positions, weights, name, ignore_label, normalization, **options)


# By the name of the same loss in caffe_prototxt.net.losses.KINDS.
NATIVE = {"SoftmaxWithInfogainLoss": native_infogain_loss, "ExpectedCostLoss": native_expected_cost_loss}


def native_fragment(kind, matrix, score="score", label="label", name="loss", top=None, rules=None, **options):
    """Return the text of a loss out of Caffe's own layers, for a prototxt, and the blobs of its layers.

    kind: a name in NATIVE. matrix: array, H or D. score, label: str, names of blobs of the net.
    name: str, of the loss layer; top: str, of its top, unless that is the same. rules: as a nets.Layer has them.
    options: as of native_infogain_loss.
    """
    net = caffe.NetSpec()
    for blob in (score, label):
        net[blob] = L.Input()
    rules = rules if rules is None else {field: [_rule(values) for values in rules[field]] for field in rules}
    blobs = NATIVE[kind](net, net[score], net[label], matrix, name, rules=rules, **options)
    proto = net.to_proto()
    for layer in [layer for layer in proto.layer if layer.type == "Input"]:  # these stand for the rest of the net
        proto.layer.remove(layer)
    proto.layer[-1].top[:] = [name if top is None else top]
    return text_format.MessageToString(proto), blobs


def _rule(values):
    """Return an include or exclude, given as {field: list of values}, as net_spec takes it."""
    rule = {field: [to_display(stage) for stage in values[field]] if "stage" in field else values[field][-1]
            for field in values}
    if "phase" in rule:
        rule["phase"] = caffe_pb2.Phase.Value(phase_name(rule["phase"]))
    return rule


def _read_matrix(matrix, name, ignore_label):
    """Return a matrix as float32 holds it, in float64, and the weight of a label: both 0 for the ignored one."""
    if ignore_label is not None and (not isinstance(ignore_label, int) or not -2 ** 31 <= ignore_label < 2 ** 31):
        raise ValueError("ignore_label: expected a whole number of 32 bits, got %s" % ignore_label)
    matrix = check_square(matrix, name).astype(np.float32).astype(np.float64)
    check_square(matrix, name + " as float32")
    weights = np.ones(len(matrix))
    if ignore_label is not None and 0 <= ignore_label < len(matrix):
        matrix[ignore_label] = weights[ignore_label] = 0
    return matrix, weights


def _add_loss(net, score, label, positions, weights, name, ignore_label, normalization, axis=1, loss_weight=None,
              rules=None):
    """Add a loss to a NetSpec, and return the blobs of its layers.

    positions: function of NativeLayers and the Tops of one-hot labels and scores to the Top of each position's loss.
    weights: array of C, 1 for a label that counts, else 0. The rest as native_infogain_loss's.
    """
    if normalization not in (None,) + tuple(NORMALIZATIONS):
        raise ValueError("normalization: expected one of %s, got %s" % (", ".join(NORMALIZATIONS), normalization))
    if loss_weight is not None and not abs(loss_weight) < float("inf"):
        raise ValueError("loss_weight: expected a finite number, got %s" % loss_weight)
    layers = NativeLayers(net, name, len(weights), axis, rules)
    one_hot = layers.one_hot(label)
    losses = positions(layers, one_hot, layers.scores(score))
    # The two messages mean nothing to these layers: they say to a reader of the net what the loss is.
    of_loss = {"loss_weight": 1 if loss_weight is None else loss_weight}
    of_loss.update(without_none(loss_param=loss_param(ignore_label, normalization) or None,
                                softmax_param=None if axis == 1 else {"axis": axis}))
    if normalization == "NONE":
        layers.reduction(None, "SUM", losses, **of_loss)
    elif normalization == "BATCH_SIZE" and axis != -1:
        layers.reduction(None, "MEAN", layers.reduction("sums", "SUM", losses, axis=1), **of_loss)
    elif normalization in ("FULL", "BATCH_SIZE") or ignore_label is None:
        layers.reduction(None, "MEAN", losses, **of_loss)
    else:
        total = layers.reduction("sum", "SUM", losses)
        layers.eltwise(None, "PROD", total, _inverse_count(layers, one_hot, weights), **of_loss)
    return layers.blobs


def _inverse_count(layers, one_hot, weights):
    """Add 1 / max(1, the number of labels that count)."""
    count = layers.reduction("count", "SUM", layers.linear("counted", one_hot, [weights]))
    count = layers.add("count_above_1", "Power", count, in_place=True, power_param={"shift": -1})
    count = layers.add("count_above_0", "ReLU", count, in_place=True)
    return layers.add("inverse_count", "Power", count, power_param={"power": -1, "shift": 1})
