"""Where a net's training labels come from."""
from __future__ import division, print_function

import ast
import collections
import json
import os

from google.protobuf import text_format

from caffe.proto import caffe_pb2
from caffe_prototxt.net.old_syntax import present_type
from caffe_prototxt.net.states import State, keeps, rule_of_message

# Losses whose second bottom is the labels of classes; and those whose second bottom is something else.
LOSSES = ("SoftmaxWithLoss", "InfogainLoss", "MultinomialLogisticLoss", "HingeLoss")
OTHER_LOSSES = ("EuclideanLoss", "SigmoidCrossEntropyLoss", "ContrastiveLoss", "SmoothL1Loss")
PYTHON_LOSSES = ("SoftmaxWithInfogainLoss", "InfogainLoss", "CostScaledSoftmaxLoss", "ExpectedCostLoss")
# Layers whose output has the labels, or the classes, of their first bottom.
SAME_LABELS = ("Split", "Reshape", "Flatten", "LabelCheck")
SAME_CLASSES = ("Split", "Crop", "Softmax", "Scale", "Bias", "BatchNorm", "Eltwise", "Dropout", "ReLU", "PReLU", "ELU",
                "Sigmoid", "TanH", "Power", "Exp", "Log", "AbsVal", "BNLL", "LRN", "MVN", "Pooling", "Threshold")
SCORES = {"InnerProduct": "inner_product_param", "Convolution": "convolution_param",
          "Deconvolution": "convolution_param"}
SOURCES = {"Data": "data_param", "ImageData": "image_data_param", "HDF5Data": "hdf5_data_param"}

NetSource = collections.namedtuple("NetSource", "type source backend dataset root_folder pixels layer n_classes "
                                                "ignore_label label_blob")


def net_source(path, label=None, stages=(), level=0):
    """The source of the labels that a net is trained with.

    path: str, a net (train_val.prototxt), also one of the old syntax, layers { type: DATA }.
    label: str, the blob of labels; None: the one that all losses on classes take.
    stages, level: of the state, whose phase is TRAIN, that layers are included for.
    Returns NetSource:
        type: "Data", "ImageData" or "HDF5Data"; layer: str, its name; label_blob: str.
        source, dataset, root_folder, pixels: str, str, str, bool, as `count_source` takes them;
            source is relative to where caffe runs.
        backend: "LMDB" or "LEVELDB" of a Data layer, else None.
        n_classes: int, what the layer that makes the scores says; None where that is unclear.
        ignore_label: int, of the losses; None: there is none.
    Raises IOError if the net cannot be read or the source is not there, ValueError for a net
    whose labels come from elsewhere, or from several places; all name the net.
    """
    try:
        layers = _training_layers(_read_net(path), stages, level)
        losses = _losses(layers, label)
        blob, = {_str(loss.bottom[1]) for _, loss in losses}
        maker = _maker(layers, losses[0][0], blob, SAME_LABELS)
        found = _source(blob, maker)
        ignored = {_ignore_label(loss) for _, loss in losses}
        if len(ignored) > 1:
            raise ValueError("expected losses that ignore the same label, got %s" % _listed(losses))
        classes = {_n_classes(layers, i, loss) for i, loss in losses}
        return NetSource(n_classes=classes.pop() if len(classes) == 1 else None, ignore_label=ignored.pop(),
                         label_blob=blob, layer=maker.name, **found)
    except (IOError, OSError) as error:
        raise IOError("%s: %s" % (path, error.strerror or error))
    except ValueError as error:
        raise ValueError("%s: %s" % (path, error))


def _read_net(path):
    with open(path, "rb") as file:
        content = file.read()
    net = caffe_pb2.NetParameter()
    try:
        text = content.decode("utf-8")
        try:
            text_format.Merge(text, net)
        except text_format.ParseError as error:
            net.Clear()
            try:  # a layer's parameters that only the fork knows which they are for do not matter here
                text_format.Parse(text, net, allow_unknown_field=True)
            except TypeError:  # an old protobuf
                raise error
    except (UnicodeDecodeError, text_format.ParseError) as error:
        raise ValueError("expected a net in text form: %s" % error)
    if any(layer.HasField("layer") for layer in net.layers):
        raise ValueError("expected a net of Caffe's present syntax or the one before, got the first of all; convert it: "
                         "upgrade_net_proto_text OLD NEW")
    if not net.layer and not net.layers:
        raise ValueError("expected a net (a train_val.prototxt), got no layers%s"
                         % (" (this is a solver's file: give its net)" * (b"base_lr" in content)))
    return net


def _training_layers(net, stages, level):
    """The layers that Caffe keeps for training."""
    state = State("TRAIN", level or net.state.level, tuple(net.state.stage) + tuple(stages))
    kept = []
    for layer in list(net.layer) or list(net.layers):
        if layer.include and layer.exclude:
            raise ValueError("layer %s: expected rules of one kind, got include and exclude" % _str(layer.name))
        if keeps(state, *([rule_of_message(rule) for rule in rules] for rules in (layer.include, layer.exclude))):
            kept.append(layer)
    return kept


def _type(layer):
    """The type of a layer, of one of the old syntax too; of a Python layer of ours its class."""
    if not isinstance(layer.type, int):
        ours = layer.type == "Python" and layer.python_param.module == "caffe_losses"
        return _str(layer.python_param.layer if ours else layer.type)
    return present_type(caffe_pb2.V1LayerParameter.LayerType.Name(layer.type))


def _losses(layers, label):
    """[(index, layer)] of the losses that take the labels."""
    candidates = [(i, layer) for i, layer in enumerate(layers) if len(layer.bottom) > 1]
    losses = [(i, layer) for i, layer in candidates if _type(layer) in LOSSES + PYTHON_LOSSES]
    if not losses:  # those of a fork, or of somebody's own
        losses = [(i, layer) for i, layer in candidates
                  if any(layer.loss_weight) or "Loss" in _type(layer) and _type(layer) not in OTHER_LOSSES]
    if label is not None:
        losses = [(i, layer) for i, layer in candidates if _str(layer.bottom[1]) == label and (i, layer) in losses]
    if not losses:
        raise ValueError("expected a loss that takes labels%s, got none among the layers of phase TRAIN"
                         % ("" if label is None else " from the blob %s" % label))
    if len({layer.bottom[1] for _, layer in losses}) > 1:
        raise ValueError("expected one blob of labels, got %s (--label-blob NAME: which one)" % _listed(losses))
    return losses


def _listed(losses):
    return ", ".join("%s (%s) of loss %s%s" % (
        _str(layer.bottom[1]), _type(layer), _str(layer.name),
        "" if _ignore_label(layer) is None else ", ignoring %d" % _ignore_label(layer)) for _, layer in losses)


def _maker(layers, before, blob, through):
    """The layer that makes a blob, before the layer of an index; looks through layers of some types."""
    for i in reversed(range(before)):
        layer = layers[i]
        if blob in [_str(top) for top in layer.top]:
            if _type(layer) in through and layer.bottom:
                return _maker(layers, i, _str(layer.bottom[0]), through)
            return _Made(layer, i, blob)
    raise ValueError("expected a data layer that makes the blob %s, got none of phase TRAIN (--labels SOURCE counts "
                     "labels without a net)" % blob)


class _Made(object):
    def __init__(self, layer, index, blob):
        self.layer, self.index, self.blob, self.name = layer, index, blob, _str(layer.name)


def _source(label, maker):
    layer, kind = maker.layer, _type(maker.layer)
    if kind not in SOURCES:
        raise ValueError("expected labels from a Data, ImageData or HDF5Data layer, got %s from layer %s of type %s "
                         "(--labels SOURCE counts labels without a net)" % (label, maker.name, kind))
    param = getattr(layer, SOURCES[kind])
    if not os.path.exists(_str(param.source)):
        raise IOError("layer %s: its source '%s' is not there (a path is relative to where caffe runs)"
                      % (maker.name, _str(param.source)))
    found = {"type": kind, "source": _str(param.source), "backend": None, "dataset": "label", "root_folder": "",
             "pixels": maker.blob == _str(layer.top[0])}
    transform = layer.transform_param
    if found["pixels"] and (transform.scale != 1 or transform.mean_value or transform.mean_file):
        raise ValueError("layer %s: expected labels of pixels as they are, got some with scale or mean in transform_param "
                         "(--labels SOURCE --pixels counts those that it reads)" % maker.name)
    if kind == "Data":
        found["backend"] = caffe_pb2.DataParameter.DB.Name(param.backend)
    elif kind == "ImageData":
        found["root_folder"] = _str(param.root_folder)
    else:
        from caffe_prototxt.data.labels import is_of_pixels
        found.update(dataset=maker.blob, pixels=is_of_pixels(found["source"], maker.blob))
    return found


def _str(text):
    """Protobuf's text as str: on Python 2 it is unicode where it is not ASCII."""
    return text if isinstance(text, str) else text.encode("utf-8")


def _ignore_label(loss):
    if loss.type == "Python":
        found = _param_str(loss).get("ignore_label")
        return found if isinstance(found, int) else None
    return loss.loss_param.ignore_label if loss.loss_param.HasField("ignore_label") else None


def _param_str(layer):
    text = layer.python_param.param_str
    for parse in (json.loads, ast.literal_eval):
        try:
            found = parse(text)
        except (ValueError, SyntaxError):
            continue
        if isinstance(found, dict):
            return found
    return {}


def _n_classes(layers, before, loss):
    try:
        maker = _maker(layers, before, _str(loss.bottom[0]), SAME_CLASSES)
    except ValueError:
        return None
    kind = _type(maker.layer)
    if kind not in SCORES:
        return None
    return getattr(maker.layer, SCORES[kind]).num_output or None
