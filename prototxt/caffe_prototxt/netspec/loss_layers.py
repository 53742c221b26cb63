"""Write the layers of a loss: for caffe.net_spec, and as text for a train_val.prototxt.

    from caffe import layers as L, NetSpec
    from caffe_prototxt.netspec.loss_layers import compute_h, infogain_loss

    n = NetSpec()
    n.data, n.label = L.Data(...)
    n.score = L.InnerProduct(n.data, num_output=7)
    n.H = compute_h(n.label, n_classes=7, weights="balanced", scale="sample")
    n.loss = infogain_loss(n.score, n.label, H=n.H)

Every layer made here has exclude { stage: "deploy" }: a net loaded with
stages=["deploy"] has no loss and needs no labels.
"""
from __future__ import division, print_function

import json

from google.protobuf import text_format

import caffe
from caffe import layers as L, params as P
from caffe.proto import caffe_pb2

from caffe_losses.formats.matrix_files import layer_type
from caffe_prototxt.net.losses import KINDS
from caffe_prototxt.net.matrix_sources import FIND_BY_NAME, H_NAME, MODULE

LOSSES = tuple(KINDS)
EXCLUDE = {"stage": "deploy"}


def compute_h(label, **param):
    """Compute H from the labels of the batch, by caffe_losses.ComputeH.

    label: Top. param: the layer's param_str keys (n_classes, weights, ...); those
    that are None are left out. Returns the Top H, 1 x 1 x L x L.
    """
    options = {}
    if param.get("running") is not None:
        # The counts are kept in a blob of the layer, and a solver must not train it:
        # with a learning rate Caffe would also ask for a gradient with respect to H.
        options["param"] = {"lr_mult": 0, "decay_mult": 0}
    return L.Python(label, module=MODULE, layer="ComputeH", param_str=param_text(param),
                    exclude=EXCLUDE, **options)


def infogain_matrix(source):
    """Read H from a file, by caffe_losses.InfogainMatrix.

    source: str, the file. Returns the Top H, 1 x 1 x L x L.
    """
    return L.Python(module=MODULE, layer="InfogainMatrix", param_str=param_text({"source": source}),
                    exclude=EXCLUDE)


def h_from_file(path, n_classes=None):
    """Read H from a file that caffe_losses.matrix_files wrote, by the layer for such a file.

        .h5, .hdf5      HDF5Data, from the list beside the file (path + ".txt")
        .lmdb, _lmdb    Data
        .caffemodel     Parameter, not trained: Caffe fills it from -weights (or Net.copy_from), and without them it is 0
        any other       caffe_losses.InfogainMatrix

    path: str, as Caffe is to find it. n_classes: int, needed for a .caffemodel.
    Returns the Top H, 1 x 1 x L x L. HDF5Data and Parameter look for its name in the file, which has to be H (n.H = ...).
    Raises ValueError.
    """
    kind = layer_type(path)
    if kind == "HDF5Data":
        return L.HDF5Data(source=path + ".txt", batch_size=1, exclude=EXCLUDE)
    if kind == "Data":
        return L.Data(source=path, backend=P.Data.LMDB, batch_size=1, exclude=EXCLUDE)
    if kind == "Parameter":
        if n_classes is None:
            raise ValueError("n_classes: expected the number of classes, for a Parameter layer, got none")
        return L.Parameter(shape={"dim": [1, 1, n_classes, n_classes]}, param={"lr_mult": 0, "decay_mult": 0},
                           exclude=EXCLUDE)
    return infogain_matrix(path)


def h_fragment(path, n_classes=None):
    """Return the text of the layer "H" that reads a file with H. Parameters as h_from_file's."""
    net = caffe.NetSpec()
    net[H_NAME] = h_from_file(path, n_classes)
    return text_format.MessageToString(net.to_proto())


def softmax_loss(score, label, loss_weight=None, axis=None, ignore_label=None, normalization=None):
    """Add Caffe's SoftmaxWithLoss. Parameters as infogain_loss's."""
    options = _native_options(loss_weight, ignore_label, normalization)
    options.update(_softmax_axis(axis))
    return L.SoftmaxWithLoss(score, label, **options)


def infogain_loss(score, label, H=None, source=None, python=False, loss_weight=None, axis=None,
                  ignore_label=None, normalization=None):
    """Add the infogain loss of the softmax of the scores.

    score, label: Tops. Either H: Top, 1 x 1 x C x C, or source: str, its file.
    python: False for Caffe's InfogainLoss (of after April 2017, which applies the
        softmax itself), True for caffe_losses.SoftmaxWithInfogainLoss.
    loss_weight: float, 1 unless given. axis, ignore_label: int.
    normalization: "FULL", "VALID", "BATCH_SIZE" or "NONE"; VALID unless given.
    Returns the Top of the loss.
    Raises ValueError without H and source, and with both.
    """
    if (H is None) == (source is None):
        raise ValueError("H: expected either H (a Top) or source (a file), got %s"
                         % ("neither" if H is None else "both"))
    if python:
        return python_loss("SoftmaxWithInfogainLoss", score, label, H, source, loss_weight, axis, ignore_label,
                           normalization)
    bottoms = [score, label] + ([] if H is None else [H])
    options = _native_options(loss_weight, ignore_label, normalization)
    infogain = without_none(source=source, axis=axis)
    if infogain:
        options["infogain_loss_param"] = infogain
    return L.InfogainLoss(*bottoms, **options)


def python_loss(layer, score, label, matrix=None, source=None, loss_weight=None, axis=None, ignore_label=None,
                normalization=None):
    """Add a loss of caffe_losses.

    layer: "SoftmaxWithInfogainLoss", "CostScaledSoftmaxLoss", "ExpectedCostLoss", or
        "InfogainLoss", whose scores are probabilities: L.Softmax(score).
    matrix: Top, 1 x 1 x C x C, or None with source: str, its file: gains H for the
        infogain losses, costs D for the others.
    The rest as of infogain_loss. Returns the Top of the loss.
    """
    param = {"source": source, "axis": axis, "ignore_label": ignore_label, "normalization": normalization}
    # Caffe takes a Python layer for a loss only if it has a loss_weight.
    return L.Python(*([score, label] + ([] if matrix is None else [matrix])), module=MODULE, layer=layer,
                    param_str=param_text(param), exclude=EXCLUDE, loss_weight=1 if loss_weight is None else loss_weight)


def loss_fragment(loss, score="score", label="label", name="loss", h_name="H", h_source=None, h_classes=None,
                  compute=None, loss_weight=None, **options):
    """Return the text of a loss, and of the layer that makes its matrix, for a prototxt.

    loss: one of LOSSES. score, label: names of the blobs it takes. name: of the
    loss layer and its top. h_name: of the layer and top of the matrix.
    score, loss_weight: or lists of as many: then there is a loss of each of the scores,
    named name, name_2 ..., with one matrix for all.
    The matrix (H, or D for the losses that take costs) is, for all but SoftmaxWithLoss, one of
        source: str, a file the loss reads;
        h_source: str, a file that a layer reads (see h_from_file, as for h_classes);
        compute: dict, the parameters of a ComputeH layer, which makes gains.
    options: source, axis, ignore_label and normalization of infogain_loss.
    Returns str. Raises ValueError.
    """
    if loss not in KINDS:
        raise ValueError("loss: expected one of %s, got %s" % (", ".join(LOSSES), loss))
    kind = KINDS[loss]
    _check_one_matrix(kind, options.get("source"), h_source, compute)
    scores = score if isinstance(score, (list, tuple)) else [score]
    loss_weights = loss_weight if isinstance(loss_weight, (list, tuple)) else [loss_weight] * len(scores)
    if len(loss_weights) != len(scores):
        raise ValueError("loss_weight: expected one, or one for each of %d scores, got %d" % (len(scores), len(loss_weights)))
    net = caffe.NetSpec()
    for blob in list(scores) + [label]:
        net[blob] = L.Input()
    matrix = None
    if compute is not None:
        net[h_name] = matrix = compute_h(net[label], **compute)
    if h_source is not None:
        if layer_type(h_source) in FIND_BY_NAME and h_name != H_NAME:
            raise ValueError("h_name: expected %s, as this is what is read from %s, got %s" % (H_NAME, h_source, h_name))
        net[h_name] = matrix = h_from_file(h_source, h_classes)
        if kind.matrix == "cost" and matrix.fn.type_name == "Python":
            raise ValueError("D: expected costs that the loss reads, or a file for a data layer (.h5, .lmdb), got %s, of "
                             "which InfogainMatrix takes gains only" % h_source)
    for number, (blob, weight) in enumerate(zip(scores, loss_weights), 1):
        own = name if number == 1 else "%s_%d" % (name, number)
        if kind.probabilities:
            net[own + "_prob"] = L.Softmax(net[blob], exclude=EXCLUDE, **_softmax_axis(options.get("axis")))
            blob = own + "_prob"
        net[own] = _loss(kind, net[blob], net[label], matrix, dict(options, loss_weight=weight))
    return text_without_inputs(net.to_proto())


def _check_one_matrix(kind, *sources):
    n_sources = sum(source is not None for source in sources)
    if n_sources != (1 if kind.matrix else 0):
        raise ValueError("H: expected %s with %s, got %d"
                         % ("one way to get %s" % ("D" if kind.matrix == "cost" else "H") if kind.matrix else "no H",
                            kind.name, n_sources))
    if kind.matrix == "cost" and sources[2] is not None:
        raise ValueError("H: expected costs from a file with %s, got ComputeH, which makes gains" % kind.name)


def _loss(kind, score, label, matrix, options):
    if kind.layer:
        return python_loss(kind.layer, score, label, matrix, **options)
    if kind.matrix:
        return infogain_loss(score, label, matrix, **options)
    options.pop("source", None)
    return softmax_loss(score, label, **options)


def _softmax_axis(axis):
    return {} if axis is None else {"softmax_param": {"axis": axis}}


def text_without_inputs(net):
    """Return the text of a NetParameter without its Input layers, which stand for the rest of the net."""
    kept = caffe_pb2.NetParameter()
    kept.layer.extend(layer for layer in net.layer if layer.type != "Input")
    return text_format.MessageToString(kept)


def _native_options(loss_weight, ignore_label, normalization):
    loss_param = without_none(ignore_label=ignore_label)
    if normalization is not None:
        loss_param["normalization"] = caffe_pb2.LossParameter.NormalizationMode.Value(normalization)
    options = {"exclude": EXCLUDE}
    if loss_param:
        options["loss_param"] = loss_param
    if loss_weight is not None:
        options["loss_weight"] = loss_weight
    return options


def without_none(**options):
    """Return the options that are given."""
    return {key: value for key, value in options.items() if value is not None}


def param_text(param):
    """Return a param_str with the keys that are given."""
    return json.dumps(without_none(**param), sort_keys=True)
