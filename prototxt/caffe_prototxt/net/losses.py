"""The losses of a net's text: which there are, and what each one's layer says of it."""
from __future__ import division, print_function

import collections

from caffe_losses.compat import from_display, to_display
from caffe_losses.layers import param_str as params
from caffe_prototxt.textformat.messages import Message, Name, is_true

MODULE = "caffe_losses"
NORMALIZATIONS = ("FULL", "VALID", "BATCH_SIZE", "NONE")  # in the order of Caffe's enum

# type, old_type: of its layer, in the present and the old syntax. layer: its class in MODULE, if it is one of ours.
# matrix: "gain", "cost" or None. probabilities: whether it takes them, and not scores.
Kind = collections.namedtuple("Kind", "name type old_type layer matrix probabilities")

KINDS = collections.OrderedDict((kind.name, kind) for kind in (
    Kind("SoftmaxWithLoss", "SoftmaxWithLoss", "SOFTMAX_LOSS", None, None, False),
    Kind("InfogainLoss", "InfogainLoss", "INFOGAIN_LOSS", None, "gain", False),
    Kind("SoftmaxWithInfogainLoss", "Python", None, "SoftmaxWithInfogainLoss", "gain", False),
    Kind("caffe_losses.InfogainLoss", "Python", None, "InfogainLoss", "gain", True),
    Kind("CostScaledSoftmaxLoss", "Python", None, "CostScaledSoftmaxLoss", "cost", False),
    Kind("ExpectedCostLoss", "Python", None, "ExpectedCostLoss", "cost", False)))

# Caffe's InfogainLoss of before April 2017, which some forks still have.
CLASSIC = Kind("InfogainLoss", "InfogainLoss", "INFOGAIN_LOSS", None, "gain", True)

# scores: the blob they come in, None if only their probabilities are known. bottom: the blob of the first bottom.
# matrix: ("source", file), ("blob", name) or None. softmaxes: the Softmax layers that make the probabilities.
# axis, ignore_label, normalization: None where the layer does not say. param_str: the keys given in that of one of ours.
Loss = collections.namedtuple(
    "Loss", "layer kind bottom scores label matrix softmaxes axis ignore_label normalization param_str")

KEYS = {"source": params.path(None), "axis": params.integer(None), "ignore_label": params.integer(None),
        "normalization": params.choice(None, NORMALIZATIONS), "normalize": params.boolean(None)}


def find_losses(net, classic=False):
    """The losses of a net that can be changed: pairs of a Layer and its Kind, in the net's order.

    classic: whether Caffe's InfogainLoss takes probabilities, as it did before April 2017.
    """
    return [(layer, kind) for layer, kind in ((layer, kind_of(layer, classic)) for layer in net.layers) if kind]


def other_losses(net):
    """The layers of a net that look like losses of another kind."""
    return [layer for layer in net.layers if not kind_of(layer, False) and (
        layer.type.endswith("Loss") or layer.type == "Python" and layer.items("loss_weight"))]


def select(losses, names, every):
    """Those of find_losses that are meant, or None if that is not clear.

    names: of layers; every: whether all are meant. Without both: the only one, or those
    of one name that are never in the net together, as one for TRAIN and one for TEST.
    Raises ValueError for a name that no loss has.
    """
    if every:
        return losses
    known = sorted(set(to_display(layer.name) for layer, _ in losses))
    for name in names:
        if to_display(name) not in known:
            raise ValueError("--layer: expected the name of a loss (%s), got %s" % (", ".join(known), to_display(name)))
    if names:
        return [loss for loss in losses if loss[0].name in names]
    phases = [phase for layer, _ in losses for phase in layer.phases]
    if len(losses) == 1 or len(known) == 1 and known[0] and len(phases) == len(set(phases)):
        return losses
    return None


def kind_of(layer, classic=False):
    """The Kind of a layer, or None if it is no loss of them."""
    if layer.type == "InfogainLoss" and classic:
        return CLASSIC
    if layer.type != "Python":
        kind = KINDS.get(layer.type)
        return kind if kind and not kind.layer else None
    param = layer.message("python_param")
    if param is None or param.value("module") != MODULE:
        return None
    return next((kind for kind in KINDS.values() if kind.layer and kind.layer == param.value("layer")), None)


def read_loss(net, layer, kind):
    """What the layer of a loss says: a Loss. Raises ValueError for what Caffe would not take."""
    expected = (2, 3) if kind.matrix else (2,)
    if len(layer.bottoms) not in expected:
        raise ValueError("%s: expected %s bottoms, as %s has, got %d"
                         % (layer, " or ".join(map(str, expected)), kind.name, len(layer.bottoms)))
    if len(layer.tops) > 2:
        raise ValueError("%s: expected at most 2 tops, got %d" % (layer, len(layer.tops)))
    says = _param_str(layer) if kind.layer else _native(layer, kind)
    matrix = ("source", says["source"]) if says.get("source") is not None else None
    if len(layer.bottoms) == 3:
        matrix = ("blob", layer.bottoms[2])
    bottom, label = layer.bottoms[:2]
    softmaxes = [maker for maker in net.makers(layer, bottom) if maker.type == "Softmax"]
    scores = bottom
    if kind.probabilities:
        blobs = set(blob for maker in net.makers(layer, bottom) for blob in (
            maker.bottoms if maker in softmaxes and len(maker.bottoms) == 1 else [None]))
        scores = blobs.pop() if len(blobs) == 1 else None
    return Loss(layer, kind, bottom, scores, label, matrix, softmaxes, says.get("axis"), says.get("ignore_label"),
                _normalization(layer, says), says.get("param_str"))


def _native(layer, kind):
    says = {}
    name = "softmax_param" if kind.matrix is None else "infogain_loss_param"
    param, loss_param = layer.message(name), layer.message("loss_param")
    if param is not None:
        says["axis"] = _typed(layer, name, param, "axis", int)
        if kind.matrix:
            says["source"] = _typed(layer, name, param, "source", str)
    if loss_param is not None:
        says["ignore_label"] = _typed(layer, "loss_param", loss_param, "ignore_label", int)
        says["normalization"] = loss_param.value("normalization")
        if loss_param.items("normalize"):
            says["normalize"] = is_true(loss_param.value("normalize"))
    return says


def _typed(layer, name, message, field, kind):
    value = message.value(field)
    if value is not None and (not isinstance(value, kind) or isinstance(value, Name)):
        raise ValueError("%s: expected %s as %s of %s, got %s" % (
            layer, "a whole number" if kind is int else "a string", field, name, value))
    return value


def _normalization(layer, says):
    """The normalization that a layer asks for, in the new or the old way, or None."""
    value = says.get("normalization")
    if value is None:
        return {None: None, True: "VALID", False: "BATCH_SIZE"}[says.get("normalize")]
    if isinstance(value, int) and 0 <= value < len(NORMALIZATIONS):
        return NORMALIZATIONS[value]
    if value not in NORMALIZATIONS:
        raise ValueError("%s: expected normalization to be one of %s, got %s"
                         % (layer, ", ".join(NORMALIZATIONS), value))
    return str(value)


def _param_str(layer):
    """What the param_str of one of our losses says, and the keys that are given there."""
    try:
        says = params.parse(to_display(layer.message("python_param").value("param_str", "")), KEYS)
    except ValueError as error:
        raise ValueError("%s: %s" % (layer, error))
    given = {key: value for key, value in says.items() if value is not None}
    if says["source"] is not None:
        says["source"] = from_display(says["source"])
    return dict(says, param_str=given)
