"""Write triplets for caffe.net_spec: their choice, distances and loss, by our layers or by Caffe's own.

    from caffe import layers as L, NetSpec
    from caffe_prototxt.netspec.triplet_layers import triplet_select, triplet_softmax_loss

    n = NetSpec()
    n.data, n.label = L.Data(...)
    n.embedding = L.InnerProduct(n.data, num_output=64)
    n.anchor, n.positive, n.negative = triplet_select(n.embedding, n.label, "semi_hard")
    n.loss = triplet_softmax_loss(n.anchor, n.positive, n.negative)

Which of the two to take: python=True, caffe_losses's layers, where the net runs on the CPU. They are exact at any
distance, check their numbers, take less memory, and from about 1,000 triplets on less time. python=False, the
composition, where the net runs on a GPU, which Python layers leave, and where Python layers are not to be had (caffe
train on several GPUs). tests/bench/bench_triplets.py measures both.
"""
from __future__ import division, print_function

from google.protobuf import text_format

import caffe
from caffe import layers as L, params as P

from caffe_losses.functional.triplets import FORMS, NORMS
from caffe_prototxt.net.matrix_sources import MODULE
from caffe_prototxt.netspec.loss_layers import EXCLUDE, param_text, without_none

PARTS = ("anchor", "positive", "negative")

# Added to a squared norm before its root, as the gradient of a distance of 0 is infinite, and Caffe multiplies it by 0.
SHIFT = 1e-12


def triplet_select(embedding, label, strategy, count=False, **param):
    """Choose triplets from a batch of labelled embeddings, by caffe_losses.TripletSelect.

    embedding: Top, B x C. label: Top, B. strategy: "all", "hardest", "semi_hard" or "random". count: whether there is a
    fourth Top, the number of triplets. param: more of the layer's param_str keys (seed, max_triplets, ignore_label).
    Returns the Tops anchor, positive and negative, T x C, and count.
    """
    return L.Python(embedding, label, ntop=4 if count else 3, module=MODULE, layer="TripletSelect",
                    param_str=param_text(dict(param, strategy=strategy)), exclude=EXCLUDE)


def shared_trunk(data, trunk, channels=1):
    """Apply a trunk to the three parts of triplets, with its weights named once.

    data: Top, N x 3K x H x W (any axes after the second): a triplet is one item, the K channels of the anchor first,
        then the positive's, then the negative's.
    trunk: a function from a Top, 3N x K x H x W, to a Top, 3N x C: the layers. channels: int, K.
    Returns the Tops anchor, positive and negative, N x 1 x C each.
    """
    apart = L.Reshape(data, reshape_param={"shape": {"dim": [-1, channels]}, "num_axes": 2})
    together = L.Reshape(trunk(apart), reshape_param={"shape": {"dim": [-1, 3]}, "num_axes": 1})
    return L.Slice(together, ntop=3, slice_param={"axis": 1})


def l2_distance(x1, x2, python=True, norm="l2", shift=SHIFT):
    """Add the distance of each row of x1 from the row of x2.

        ||x1 - x2||, or its square with norm "squared_l2"

    x1, x2: Tops, N x C; further axes belong to the row.
    python: True for caffe_losses.L2Distance, False for Eltwise, Reduction and Power.
    shift: float > 0, of python=False: sqrt(||x1 - x2||^2 + shift). The squared norm is a float32 there: a norm below
        1e-6 is lost in the shift, one above 1e19 overflows.
    Returns the Top, N distances. Raises ValueError.
    """
    _check_choice("norm", norm, NORMS)
    if python:
        return L.Python(x1, x2, module=MODULE, layer="L2Distance", param_str=param_text({"norm": norm}))
    return _native_distance(x1, x2, norm, shift)


def triplet_softmax_loss(anchor, positive, negative, python=True, norm="l2", form="mse", normalization=None,
                         loss_weight=None, shift=SHIFT):
    """Add Hoffer and Ailon's triplet loss, the softmax ratio of the distances.

        a = ||x - x+||, b = ||x - x-||, d+ = e^a / (e^a + e^b), loss = mean of (d+)^2

    anchor, positive, negative: Tops, N x C each; further axes belong to the row.
    python: True for caffe_losses.TripletSoftmaxLoss, False for a composition of Caffe's own layers.
    norm, shift: as l2_distance's. form: "mse", the loss above, or "log", log(1 + e^(a - b)), which with python=False is
        a SoftmaxWithLoss and stops at 87.
    normalization: "VALID", "FULL", "BATCH_SIZE" (all divide by N) or "NONE"; with python=False always N.
    loss_weight: float, 1 unless given.
    Returns the Top of the loss. Raises ValueError. Source: arXiv 1412.6622, section 3.
    """
    _check_choice("norm", norm, NORMS)
    _check_choice("form", form, FORMS)
    if python:
        param_str = param_text({"norm": norm, "form": form, "normalization": normalization})
        return L.Python(anchor, positive, negative, module=MODULE, layer="TripletSoftmaxLoss", param_str=param_str,
                        exclude=EXCLUDE, loss_weight=1 if loss_weight is None else loss_weight)
    if normalization == "NONE":
        raise ValueError("normalization: expected VALID, FULL or BATCH_SIZE with Caffe's own layers, which divide "
                         "by the number of triplets, got NONE")
    return _native_loss(anchor, positive, negative, norm, form, shift, without_none(loss_weight=loss_weight))


def triplet_fragment(parts=PARTS, name="loss", embedding=None, label=None, select=None, **options):
    """Return the text of a triplet loss, and of the layer that chooses its triplets, for a prototxt.

    parts: three str, the names of the blobs anchor, positive and negative.
    name: str, of the loss layer and its top; layers in between are named after it.
    select: dict, the parameters of triplet_select without its Tops, or None: the parts are in the net already.
    embedding, label: str, the blobs it chooses from. options: of triplet_softmax_loss.
    """
    net = caffe.NetSpec()
    given = parts if select is None else (embedding, label)
    for blob in given:
        net[blob] = L.Input()
    if select is not None:
        tops = triplet_select(net[embedding], net[label], **select)
        for part, top in zip(tuple(parts) + (name + "_triplets",), tops):
            net[part] = top
    net[name] = triplet_softmax_loss(*[net[part] for part in parts], **options)
    known = set(given) | set(parts) | {name, name + "_triplets"}
    proto = net.to_proto()
    for layer in [layer for layer in proto.layer if layer.type == "Input"]:  # these stand for the rest of the net
        proto.layer.remove(layer)
    _add_prefix(proto, name, known)
    return text_format.MessageToString(proto)


def _add_prefix(net, prefix, known):
    """Rename what net_spec has named by itself in a NetParameter after `prefix`."""
    def named(blob):
        return blob if blob in known else "%s_%s" % (prefix, blob)

    for layer in net.layer:
        layer.name = named(layer.name)
        layer.bottom[:] = [named(blob) for blob in layer.bottom]
        layer.top[:] = [named(blob) for blob in layer.top]


def _check_choice(name, value, choices):
    if value not in choices:
        raise ValueError("%s: expected one of %s, got %s" % (name, ", ".join(choices), value))


def _native_distance(x1, x2, norm, shift, **options):
    if norm == "l2" and not 0 < shift < float("inf"):
        raise ValueError("shift: expected a number above 0, got %s" % shift)
    difference = L.Eltwise(x1, x2, eltwise_param={"operation": P.Eltwise.SUM, "coeff": [1, -1]}, **options)
    squared = L.Reduction(difference, reduction_param={"operation": P.Reduction.SUMSQ, "axis": 1}, **options)
    if norm == "squared_l2":
        return squared
    return L.Power(squared, power_param={"power": .5, "shift": shift}, **options)


def _native_loss(anchor, positive, negative, norm, form, shift, of_loss):
    # Not to the target, or Caffe ends on a SoftmaxWithLoss that is asked for the gradient of labels.
    of_loss = dict(of_loss, propagate_down=[True, False], exclude=EXCLUDE)
    # N x 1 each, side by side: column 0 is a, column 1 is b.
    a, b = [L.Reshape(_native_distance(anchor, other, norm, shift, exclude=EXCLUDE),
                      reshape_param={"shape": {"dim": [0, 1]}}, exclude=EXCLUDE) for other in (positive, negative)]
    distances = L.Concat(a, b, axis=1, exclude=EXCLUDE)
    if form == "log":  # log(1 + e^(a - b)) = -log softmax(a, b)[1]
        return L.SoftmaxWithLoss(distances, _constant(a, 1), **of_loss)
    ratio = L.Softmax(distances, axis=1, exclude=EXCLUDE)
    target = L.Concat(_constant(a, 0), _constant(a, 1), axis=1, exclude=EXCLUDE)
    return L.EuclideanLoss(ratio, target, **of_loss)


def _constant(like, value):
    """Add a constant blob of the shape of another, whatever that becomes from batch to batch."""
    return L.Power(like, power_param={"scale": 0, "shift": value}, exclude=EXCLUDE)
