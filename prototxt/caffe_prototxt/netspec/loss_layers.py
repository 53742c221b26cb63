"""The layers of a loss, for people who write nets with caffe.net_spec.

    from caffe import layers as L, NetSpec
    from caffe_prototxt.netspec.loss_layers import compute_h, infogain_loss

    n = NetSpec()
    n.data, n.label = L.Data(...)
    n.score = L.InnerProduct(n.data, num_output=7)
    n.H = compute_h(n.label, n_classes=7, weights="balanced", scale="sample")
    n.loss = infogain_loss(n.score, n.label, H=n.H)

Every layer has exclude { stage: "deploy" }: a net loaded with stages=["deploy"] has no loss and needs no labels.
"""
from __future__ import division, print_function

import json

from caffe import layers as L, params as P
from caffe.proto import caffe_pb2

from caffe_losses.formats.matrix_files import layer_type
from caffe_prototxt.net.adjustments import LOG_PRIOR
from caffe_prototxt.net.losses import is_classic
from caffe_prototxt.net.matrix_sources import MODULE, NOT_TRAINED

EXCLUDE = {"stage": "deploy"}


def compute_h(label, **param):
    """Compute H from the labels of the batch, by caffe_losses.ComputeH.

    label: Top. param: the layer's param_str keys (n_classes, weights, ...). Returns the Top H, 1 x 1 x L x L.
    """
    # With running, the counts are kept in a blob of the layer, and a solver must not train it: with a learning rate
    # Caffe would also ask for a gradient with respect to H.
    options = {} if param.get("running") is None else {"param": NOT_TRAINED}
    return L.Python(label, module=MODULE, layer="ComputeH", param_str=param_text(param), exclude=EXCLUDE, **options)


def infogain_matrix(source):
    """Read H from a file, by caffe_losses.InfogainMatrix. Returns the Top H, 1 x 1 x L x L."""
    return L.Python(module=MODULE, layer="InfogainMatrix", param_str=param_text({"source": source}), exclude=EXCLUDE)


def plus_log_prior(score, label=None, axis=None, **param):
    """Add the log prior of the classes to scores, by caffe_losses.LogPrior and Caffe's Bias: logit adjustment.

    Only a loss in TRAIN is to get the result, which is not there in TEST; all else takes the scores:

        n.adjusted = plus_log_prior(n.score, counts=[900, 90, 10])
        n.loss = L.SoftmaxWithLoss(n.adjusted, n.label, include={"phase": caffe.TRAIN})

    score: Top. label: Top, for counts of the labels; None with counts or source. axis: int, of the classes, 1 unless
    given. param: the keys of LogPrior's param_str (counts, strength, running, ...). Returns a Top shaped as the scores.
    """
    rules = {"include": {"phase": caffe_pb2.TRAIN}}
    options = rules if param.get("running") is None else dict(rules, param=NOT_TRAINED)
    prior = L.Python(*filter(None, (label,)), module=MODULE, layer=LOG_PRIOR, param_str=param_text(param), **options)
    return L.Bias(score, prior, **dict(rules, **({} if axis is None else {"axis": axis})))


def h_from_file(path, n_classes=None):
    """Read H from a file that caffe_losses.matrix_files wrote, by the layer for such a file.

        .h5, .hdf5      HDF5Data, from the list beside the file (path + ".txt")
        .lmdb, _lmdb    Data
        .caffemodel     Parameter, not trained: Caffe fills it from -weights (or Net.copy_from), else it is 0
        any other       caffe_losses.InfogainMatrix

    path: str, as Caffe is to find it. n_classes: int, without which a .caffemodel is a ValueError.
    Returns the Top H, 1 x 1 x L x L. HDF5Data and Parameter look for its name in the file, which is H (n.H = ...).
    """
    kind = layer_type(path)
    if kind == "HDF5Data":
        return L.HDF5Data(source=path + ".txt", batch_size=1, exclude=EXCLUDE)
    if kind == "Data":
        return L.Data(source=path, backend=P.Data.LMDB, batch_size=1, exclude=EXCLUDE)
    if kind == "Parameter":
        if n_classes is None:
            raise ValueError("n_classes: expected the number of classes, for a Parameter layer, got none")
        _check_known("parameter_param", "shape")
        return L.Parameter(shape={"dim": [1, 1, n_classes, n_classes]}, param=NOT_TRAINED, exclude=EXCLUDE)
    return infogain_matrix(path)


def softmax_loss(score, label, loss_weight=None, axis=None, ignore_label=None, normalization=None):
    """Add Caffe's SoftmaxWithLoss. Parameters as infogain_loss's."""
    if axis is not None:
        _check_known("softmax_param", "axis")
    return L.SoftmaxWithLoss(score, label, softmax_param=without_none(axis=axis),
                             **_native_options(loss_weight, ignore_label, normalization))


def infogain_loss(score, label, H=None, source=None, python=False, loss_weight=None, axis=None, ignore_label=None,
                  normalization=None):
    """Add the infogain loss of the softmax of the scores.

    score, label: Tops. Either H: Top, 1 x 1 x C x C, or source: str, its file.
    python: False for Caffe's InfogainLoss (that of before April 2017, which takes probabilities, gets a Softmax before
        it), True for caffe_losses.SoftmaxWithInfogainLoss.
    loss_weight: float, 1 unless given. axis, ignore_label: int. normalization: "FULL", "VALID" (unless given),
        "BATCH_SIZE" or "NONE".
    Returns the Top of the loss. Raises ValueError without H and source, and with both.
    """
    if (H is None) == (source is None):
        got = "neither" if H is None else "both"
        raise ValueError("H: expected either H (a Top) or source (a file), got %s" % got)
    if python:
        return python_loss("SoftmaxWithInfogainLoss", score, label, H, source, loss_weight, axis, ignore_label,
                           normalization)
    if is_classic():
        if (axis in (None, 1), ignore_label, normalization == "NONE") != (True, None, False):
            raise ValueError("python: expected True with axis, ignore_label or normalization NONE, as the InfogainLoss "
                             "of this Caffe, that of before April 2017, has no such thing")
        axis, score = None, L.Softmax(score, exclude=EXCLUDE)
    return L.InfogainLoss(*filter(None, (score, label, H)), infogain_loss_param=without_none(source=source, axis=axis),
                          **_native_options(loss_weight, ignore_label, normalization))


def python_loss(layer, score, label, matrix=None, source=None, loss_weight=None, axis=None, ignore_label=None,
                normalization=None):
    """Add a loss of caffe_losses.

    layer: "SoftmaxWithInfogainLoss", "CostScaledSoftmaxLoss", "ExpectedCostLoss", or "InfogainLoss", whose scores are
        probabilities: L.Softmax(score).
    matrix: Top, 1 x 1 x C x C, or None with source: str, its file: gains H for infogain losses, else costs D.
    The rest as of infogain_loss. Returns the Top of the loss.
    """
    param = {"source": source, "axis": axis, "ignore_label": ignore_label, "normalization": normalization}
    # Caffe takes a Python layer for a loss only if it has a loss_weight.
    return L.Python(*filter(None, (score, label, matrix)), module=MODULE, layer=layer, param_str=param_text(param),
                    exclude=EXCLUDE, loss_weight=1 if loss_weight is None else loss_weight)


def _check_known(message, field):
    """Raise ValueError if this Caffe has no such field of a layer, as older ones do not."""
    param = caffe_pb2.LayerParameter.DESCRIPTOR.fields_by_name.get(message)
    if param is None or field not in param.message_type.fields_by_name:
        raise ValueError("%s: expected a Caffe that has %s in it, got an older one" % (message, field))


def _native_options(loss_weight, ignore_label, normalization):
    return without_none(exclude=EXCLUDE, loss_param=loss_param(ignore_label, normalization), loss_weight=loss_weight)


def loss_param(ignore_label, normalization):
    """Return the fields of a loss_param that are given. normalization: str, or None."""
    if normalization is not None:
        normalization = caffe_pb2.LossParameter.NormalizationMode.Value(normalization)
    return without_none(ignore_label=ignore_label, normalization=normalization)


def without_none(**options):
    """Return the options that are given."""
    return {key: value for key, value in options.items() if value is not None}


def param_text(param):
    """Return a param_str with the keys that are given."""
    return json.dumps(without_none(**param), sort_keys=True)
