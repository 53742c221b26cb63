"""The catalogue of losses: which there are, how layers are recognised as them, and what their parameters mean."""
from __future__ import division, print_function

import collections
import re

from caffe_losses.compat import from_display, to_display
from caffe_losses.functional.blocks import NORMALIZATIONS  # in the order of Caffe's enum
from caffe_losses.layers import param_str
from caffe_prototxt.net.matrix_sources import MODULE, BlobMatrix, FileMatrix
from caffe_prototxt.textformat.messages import Name, is_true


# type, old_type: of its layer, in the present and the old syntax. layer: its class in MODULE, if it is one of ours.
# matrix: "gain", "cost" or None. probabilities: whether it takes them, and not scores. composed: the name of the same
# loss in one layer, if it is one out of several of Caffe's own.
Kind = collections.namedtuple("Kind", "name type old_type layer matrix probabilities composed")
Kind.__new__.__defaults__ = (None,)

KINDS = collections.OrderedDict((kind.name, kind) for kind in (
    Kind("SoftmaxWithLoss", "SoftmaxWithLoss", "SOFTMAX_LOSS", None, None, False),
    Kind("InfogainLoss", "InfogainLoss", "INFOGAIN_LOSS", None, "gain", False),
    Kind("SoftmaxWithInfogainLoss", "Python", None, "SoftmaxWithInfogainLoss", "gain", False),
    Kind("caffe_losses.InfogainLoss", "Python", None, "InfogainLoss", "gain", True),
    Kind("CostScaledSoftmaxLoss", "Python", None, "CostScaledSoftmaxLoss", "cost", False),
    Kind("ExpectedCostLoss", "Python", None, "ExpectedCostLoss", "cost", False)))
SOFTMAX, INFOGAIN = KINDS["SoftmaxWithLoss"], KINDS["InfogainLoss"]
OURS = KINDS["SoftmaxWithInfogainLoss"]

# The losses that netspec.native_losses makes out of Caffe's own layers, by the names of the same in KINDS.
COMPOSED = {kind.name: kind._replace(
    name=kind.name + " (Caffe's own layers)", type=None, layer=None, composed=kind.name)
            for kind in (OURS, KINDS["ExpectedCostLoss"])}
FOR_TRAINED = (KINDS["ExpectedCostLoss"], COMPOSED["ExpectedCostLoss"])  # from fresh weights they fall onto one class
WEIGHTS_ENDING = "_loss.caffemodel"  # of the file with their weights, beside that of their net
_MATRIX_LAYERS = {"gain": "gains", "cost": "costs"}  # the name of the layer with the matrix, behind that of the loss

# Caffe's InfogainLoss of before April 2017, which some forks still have.
CLASSIC = INFOGAIN._replace(probabilities=True)

# Caffe's other losses: those whose second bottom is labels of classes, and those whose second is shaped as their first.
OTHER_ON_LABELS = frozenset(("MultinomialLogisticLoss", "HingeLoss"))
ON_VALUES = frozenset(("EuclideanLoss", "SigmoidCrossEntropyLoss", "ContrastiveLoss", "SmoothL1Loss", "L1Loss",
                       "HuberLoss"))
# Forks' losses whose second bottom is neither: SSD's has the confidences of boxes there, and makes labels of its own.
NOT_ON_LABELS = frozenset(("MultiBoxLoss",))

# The fields with which forks (SegNet's, ENet's) weigh classes in their SoftmaxWithLoss, and where these are.
CLASS_WEIGHTING = frozenset(("class_weighting", "weight_by_label_freqs"))
WEIGHTING_PARAMS = ("loss_param", "softmax_param")

# The message in which a layer has its axis, if it is another than softmax_param.
AXIS_PARAM = {"InfogainLoss": "infogain_loss_param", "Accuracy": "accuracy_param"}

# What a layer says; None where it says nothing. param_str: the keys in that of one of our losses.
Params = collections.namedtuple("Params", "axis ignore_label normalization source param_str")

# scores: the blob they come in, None if only their probabilities are known. bottom: the blob of the first bottom.
# matrix: FileMatrix, BlobMatrix or None. softmaxes: the Softmax layers that make the probabilities. params: Params.
# parts: the other layers of one out of several.
class Loss(collections.namedtuple("Loss", "layer kind bottom scores label matrix softmaxes params parts")):
    def n_classes(self):
        """Return the number of classes in the scores, or None where the text leaves it open."""
        axis = self.params.axis
        return self.layer.net.n_classes(self.layer, self.bottom, 1 if axis is None else axis)


# A loss out of Caffe's own layers. layer: its last, which says its axis and loss_param. parts: those before, in the
# net's order. takers: of them those that take the scores and the labels.
Composition = collections.namedtuple("Composition", "kind layer parts takers")

KEYS = {"source": param_str.path(None), "axis": param_str.integer(None), "ignore_label": param_str.integer(None),
        "normalization": param_str.choice(None, NORMALIZATIONS), "normalize": param_str.boolean(None)}


def kind_of(layer):
    """Return the Kind of a layer, or None if it is none of KINDS."""
    if layer.type != "Python":
        kind = KINDS.get(layer.type)
        if kind is None:
            found = composition(layer)
            return found and found.kind
        return CLASSIC if kind == INFOGAIN and layer.net.classic else None if kind.layer else kind
    module, name = python_class(layer)
    return next((kind for kind in KINDS.values() if kind.layer and (MODULE, kind.layer) == (module, name)), None)


def composition(layer):
    """Return the Composition that a layer is the last of, or None.

    Its parts are the layers back along blobs whose names begin with that of the loss, and no other layer takes these.
    """
    if layer.type not in ("Reduction", "Eltwise") or not layer.name or not layer.items("loss_weight"):
        return None
    prefix, parts, waiting = layer.name + "_", {}, [layer]
    while waiting:
        part = waiting.pop()
        name = part.name[len(prefix):]
        if name.endswith("_outer"):  # it takes scores or labels, however these are named
            continue
        for bottom in part.bottoms:
            if bottom.startswith(prefix) and (name not in ("scores", "labels") or bottom == part.name + "_outer"):
                makers = [maker for maker in layer.net.makers(part, bottom) if maker.index not in parts]
                parts.update((maker.index, maker) for maker in makers)
                waiting += makers
    named = {part.name[len(prefix):]: part for part in parts.values()}
    takers = [named.get(name + "_outer", named.get(name)) for name in ("scores", "labels")]
    kinds = [kind for kind in COMPOSED.values() if _MATRIX_LAYERS[kind.matrix] in named]
    # Another loss may have the same name in another state.
    own = set([layer.name] + [part.name for part in parts.values()])
    if None in takers or not kinds or any(
            user.name not in own for part in parts.values() for top in part.tops for user in layer.net.users(top)):
        return None
    return Composition(kinds[0], layer, [part for _, part in sorted(parts.items())], takers)


def meant_type(layer):
    """Return the type of Caffe's loss that a layer's type is another spelling of, as SoftmaxLoss is, or None."""
    return None if layer.type in KINDS else _SPELLINGS.get(_letters(layer.type))


def _letters(name):
    return re.sub("[^a-z]", "", name.lower())


_SPELLINGS = {_letters(name): kind.type for kind in KINDS.values() if kind.old_type
              for name in (kind.type, kind.old_type)}


def is_classic():
    """Return whether the InfogainLoss of this Python's Caffe takes probabilities; None without a Caffe."""
    try:
        from caffe.proto import caffe_pb2
    except Exception:  # a Caffe that is not for this Python fails in its own ways
        return None
    return "axis" not in caffe_pb2.InfogainLossParameter.DESCRIPTOR.fields_by_name


def python_class(layer):
    """Return (module, class) of a Python layer, as its python_param names them."""
    values = [layer.value_in("python_param", name) for name in ("module", "layer")]
    return tuple(value if isinstance(value, str) and not isinstance(value, Name) else "" for value in values)


def is_loss_type(name):
    """Return whether layers of a type have loss weight 1 by default: so have Caffe's whose name ends in Loss."""
    return name.endswith("Loss")


def is_python_loss(layer):
    """Return whether the class of a Python layer is named as a loss."""
    return layer.type == "Python" and "loss" in python_class(layer)[1].lower()


def is_on_labels(layer):
    """Return whether a layer is known as a loss of scores and labels of classes, which a graph's whole nodes have."""
    kind = kind_of(layer)
    if kind and kind.composed:
        return True
    return len(layer.bottoms) > 1 and (kind is not None or layer.type in OTHER_ON_LABELS)


def loss_weights(layer):
    """Return the loss weight of each top; of as many as the layer names, where Caffe stops at their number."""
    n_tops = max(len(layer.tops), is_loss_type(layer.type))
    weights = [weight if isinstance(weight, (int, float)) else 0 for weight in layer.values("loss_weight")]
    return ((weights or [1] * is_loss_type(layer.type)) + [0] * n_tops)[:n_tops]


def find_losses(net):
    """Return the layers of a net whose loss can be changed into another of KINDS."""
    return [layer for layer in net.layers if kind_of(layer)]


def other_losses(net):
    """Return the layers of a net that look like losses of another kind."""
    return [layer for layer in net.layers if not kind_of(layer) and (
        is_loss_type(layer.type) or meant_type(layer) or layer.type == "Python" and layer.items("loss_weight"))]


def on_labels(graph):
    """Return the nodes of a graph that are losses on labels of classes; if none is known as one, those that may be."""
    nodes = [node for node in graph.whole_nodes if len(node.bottoms) > 1 and node.type not in NOT_ON_LABELS]
    return [node for node in nodes if is_on_labels(node.layer)] or [node for node in nodes if any(
        node.layer.values("loss_weight")) or "Loss" in node.type and node.type not in ON_VALUES]


def has_class_weighting(layer):
    """Return whether the text of a loss has a fork's fields of class weights."""
    return any(message.names() & CLASS_WEIGHTING for message in map(layer.message, WEIGHTING_PARAMS) if message)


def class_weighting(layer, check=True):
    """Return the weight of each class that the text of a fork's loss has, a list.

    check: whether to raise ValueError for fields with which that fork's Caffe does not weigh, or by other weights.
    """
    messages = [message for message in map(layer.message, WEIGHTING_PARAMS) if message]
    weights = [weight for message in messages for weight in message.values("class_weighting")]
    if not check:
        return weights
    used = [message.value("weight_by_label_freqs") for message in messages if message.items("weight_by_label_freqs")]
    if not all(isinstance(weight, (int, float)) for weight in weights):
        raise layer.error("numbers as class_weighting", ", ".join(map(str, weights)))
    if not weights:
        raise layer.error("class_weighting, a weight for each class", "weight_by_label_freqs alone; --compute-h weighs "
                          "by the labels of each batch")
    if not any(map(is_true, used)):
        raise layer.error("weight_by_label_freqs: true beside class_weighting, without which that Caffe passes over "
                          "the weights", "none")
    return weights


def select(layers, names, every):
    """Return those losses that are meant, or None if that is not clear.

    layers: as find_losses gives them. names: of layers; every: whether all are meant. Without both: the only one, or
    those of one name that are never in the net together. Raises ValueError for a name that no loss has.
    """
    if every:
        return layers
    known = sorted(set(to_display(layer.name) for layer in layers))
    for name in map(to_display, names):
        if name not in known:
            other = [layer.type for layer in layers[0].net.layers if to_display(layer.name) == name] if layers else []
            raise ValueError("--layer: expected the name of a loss (%s), got %s%s" % (
                ", ".join(known), name, ", which is %s" % to_display(other[0]) if other else ""))
    if names:
        return [layer for layer in layers if layer.name in names]
    phases = [phase for layer in layers for phase in layer.phases]
    return layers if len(layers) == 1 or len(known) == 1 and known[0] and len(phases) == len(set(phases)) else None


def takers(loss):
    """Return the layers of a Loss that take its scores. Raises ValueError where only their probabilities are known."""
    if loss.kind.composed:
        return composition(loss.layer).takers[:1]
    if not loss.kind.probabilities:
        return [loss.layer]
    if loss.scores is None:
        raise loss.layer.error('its probabilities "%s" from a Softmax layer' % to_display(loss.bottom),
                               "them from elsewhere")
    return loss.softmaxes


def read_loss(layer):
    """Return what the layer of a loss of KINDS says, as a Loss. Raises ValueError for what Caffe would not take."""
    kind = kind_of(layer)
    if kind.composed:
        found = composition(layer)
        scores, label = [taker.bottoms[0] for taker in found.takers]
        return Loss(layer, kind, scores, scores, label, None, [], read_params(layer), found.parts)
    expected = (2, 3) if kind.matrix else (2,)
    if len(layer.bottoms) not in expected:
        raise layer.error("%s bottoms, as %s has" % (" or ".join(map(str, expected)), kind.name), len(layer.bottoms))
    if len(layer.tops) > 2:
        raise layer.error("at most 2 tops", len(layer.tops))
    params = read_params(layer)
    matrix = None if params.source is None else FileMatrix(params.source)
    if len(layer.bottoms) == 3:
        matrix = BlobMatrix(layer.bottoms[2])
    bottom = scores = layer.bottoms[0]
    makers = layer.net.makers(layer, bottom)
    softmaxes = [maker for maker in makers if maker.type == "Softmax"]
    if kind.probabilities:
        blobs = set(maker.bottoms[0] if maker in softmaxes and len(maker.bottoms) == 1 else None for maker in makers)
        scores = blobs.pop() if len(blobs) == 1 else None
    return Loss(layer, kind, bottom, scores, layer.bottoms[1], matrix, softmaxes, params, [])


def read_params(layer):
    """Return the Params of a loss or an Accuracy layer. Raises ValueError for a value that Caffe would not take."""
    if layer.type == "Python":
        return _python_params(layer)
    normalization, normalize = [layer.value_in("loss_param", name) for name in ("normalization", "normalize")]
    return Params(
        axis=_typed(layer, AXIS_PARAM.get(layer.type, "softmax_param"), "axis", int),
        ignore_label=_typed(layer, "accuracy_param" if layer.type == "Accuracy" else "loss_param", "ignore_label", int),
        normalization=_normalization(layer, normalization, None if normalize is None else is_true(normalize)),
        source=_typed(layer, "infogain_loss_param", "source", str) if layer.type == INFOGAIN.type else None,
        param_str={})


def _python_params(layer):
    """Return the Params in a param_str; of a class that is not ours its ignore_label alone."""
    text = to_display(_typed(layer, "python_param", "param_str", str) or "")
    if kind_of(layer) is None:
        try:
            ignored = param_str.read_object(text).get("ignore_label")
        except ValueError:
            ignored = None
        return Params(None, ignored if isinstance(ignored, int) else None, None, None, {})
    try:
        says = param_str.parse(text, KEYS)
    except ValueError as error:
        raise ValueError("%s: %s" % (layer, error))
    source = None if says["source"] is None else from_display(says["source"])
    return Params(says["axis"], says["ignore_label"], _normalization(layer, says["normalization"], says["normalize"]),
                  source, {key: value for key, value in says.items() if value is not None})


def _typed(layer, name, field, kind):
    value = layer.value_in(name, field)
    if value is not None and (not isinstance(value, kind) or isinstance(value, Name)):
        raise layer.error("%s as %s of %s" % ("a whole number" if kind is int else "a string", field, name), value)
    return value


def _normalization(layer, normalization, normalize):
    """Return the normalization that a layer asks for, in the new or the old way, or None."""
    if normalization is None:
        return {None: None, True: "VALID", False: "BATCH_SIZE"}[normalize]
    if isinstance(normalization, int) and 0 <= normalization < len(NORMALIZATIONS):
        return NORMALIZATIONS[normalization]
    if normalization not in NORMALIZATIONS:
        raise layer.error("normalization to be one of %s" % ", ".join(NORMALIZATIONS), normalization)
    return str(normalization)
