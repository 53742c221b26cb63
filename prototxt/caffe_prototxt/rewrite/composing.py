"""The layers of a loss out of Caffe's own, in the place of the one layer of a loss, and their weights."""
from __future__ import division, print_function

from collections import OrderedDict, namedtuple

import numpy as np

from caffe_losses.compat import from_bytes, from_display, to_bytes, to_display
from caffe_losses.errors import naming
from caffe_losses.formats.caffemodel import CaffeModel
from caffe_losses.formats.matrix_files import read_matrix
from caffe_losses.matrices import gains
from caffe_prototxt.net.nets import Net
from caffe_prototxt.textformat.messages import written

# added: the fields of the layers before the last. last: those that the last is to have. blobs: {name of a layer: its
# weights}. comment: lines on it, for the first layer.
Composed = namedtuple("Composed", "added last blobs comment")

# The fields in which the last layer says what it does to its bottoms.
OF_LAST = ("reduction_param", "eltwise_param", "propagate_down")


def compose(loss, kind, matrix, name):
    """Return the Composed that takes the place of a loss.

    loss: losses.Loss. kind: one of losses.COMPOSED. matrix: FileMatrix. name: str, of the loss. Raises ValueError.
    """
    path = to_display(matrix.path)
    check = gains.check_cost if kind.matrix == "cost" else gains.check_gain
    with np.errstate(over="ignore"):
        values = check(read_matrix(path).astype(np.float32), path)
    fragment = _native_fragment()
    try:
        with naming(loss.layer):
            text, blobs = fragment(kind.composed, values, "score", "label", "loss", rules={}, axis=_axis(loss),
                                   ignore_label=loss.params.ignore_label, normalization=loss.params.normalization)
    except (AttributeError, KeyError) as error:  # of net_spec
        raise loss.layer.error("a Caffe that has the layers of %s" % kind.name, "an older one (%s)" % error)

    def named(other):
        return {"score": loss.scores, "label": loss.label}.get(other, name + other[len("loss"):])

    layers = [_fields(layer, named, loss.layer.rules) for layer in Net(text).layers]
    last = {field: layers[-1][field][0] if field.endswith("_param") else layers[-1][field] for field in OF_LAST
            if field in layers[-1]}
    last.update((field, layers[-1][field]) for field in ("type", "bottom"))
    return Composed(layers[:-1], last, {to_display(named(key)): blobs[key] for key in blobs}, (
        "%s, up to layer %s. Its %s is in the weights" % (
            kind.name, written(name), "matrix of costs" if kind.matrix == "cost" else "H"),
        "that caffe train gets by -weights: without them the loss is 0. A label outside 0..%d" % (len(values) - 1),
        "counts as ignored, and nothing says so: check_net.py counts the labels."))


def _native_fragment():
    try:
        from caffe_prototxt.netspec.native_losses import native_fragment
        return native_fragment
    except Exception as error:  # a Caffe that is not for this Python fails in its own ways
        raise ImportError("expected Caffe's Python, for a loss out of Caffe's own layers, got none (%s): run this by "
                          "tools/with_caffe.sh" % error)


def _axis(loss):
    """Return the axis of the classes as native_losses takes it: -1 where it is the last, which is faster."""
    if loss.kind.composed:  # its layers stay, and their weights have a shape
        own = {part.name[len(loss.layer.name):]: part for part in loss.parts}
        if own["_one_hot"].type == "InnerProduct":
            return -1
    axis, shape = 1 if loss.params.axis is None else loss.params.axis, loss.layer.net.shape(loss.layer, loss.scores)
    if not shape.whole:
        return axis
    axis = axis + len(shape.sizes) if axis < 0 else axis
    return -1 if axis == len(shape.sizes) - 1 and not loss.kind.composed else axis


def _fields(layer, named, rules):
    """Return the fields of a layer, renamed, with the rules of the loss."""
    fields = OrderedDict((field.name, layer.values(field.name)) for field in layer.fields)
    fields["name"], fields["type"] = named(layer.name), layer.type
    for blobs in ("bottom", "top"):
        fields[blobs] = [named(blob) for blob in fields[blobs]]
    head = OrderedDict((name, fields.pop(name)) for name in ("name", "type", "bottom", "top"))
    head.update(sorted(rules.items()))
    head.update(fields)
    return head


def check_same_blobs(known, blobs):
    """Raise ValueError if layers of one name need different weights."""
    for name in set(known).intersection(blobs):
        if not all(np.array_equal(*pair) for pair in zip(known[name], blobs[name])):
            raise ValueError("layer %s: expected losses of one name to need the same weights, got different ones; "
                             "rename one of the losses" % name)


def has_weights(path, blobs):
    """Return whether a .caffemodel holds the weights of some layers; raise ValueError if it holds those of no loss.

    blobs: {name of a layer: list of arrays}.
    """
    model, names = CaffeModel(path), {to_bytes(from_display(name)): name for name in blobs}
    prefixes = tuple(name[:-len("one_hot")] for name in names if name.endswith(b"_one_hot"))
    others = [name for name, own in model.layers.items() if own and name not in names and not name.startswith(prefixes)]
    if others:
        raise ValueError("%s: expected a new file for the weights of the loss, or one that holds only these, got one "
                         "with layer %s, which would be lost; move it away, or use -o"
                         % (path, to_display(from_bytes(others[0]))))
    return set(model.layers) == set(names) and all(
        len(model.layers[name]) == len(blobs[names[name]]) and all(
            blob.shape == array.shape and np.array_equal(model.numbers(name, number), array.ravel())
            for number, (blob, array) in enumerate(zip(model.layers[name], blobs[names[name]]))) for name in names)
