"""What it means to change the losses of a net: which layers become what.

A Plan says it without text: fields and the values they are to have. `write` makes it
in a text; `verify` makes it in the message that Caffe reads, and compares.
"""
from __future__ import division, print_function

import collections
import json

from caffe_losses.compat import to_display
from caffe_losses.formats.matrix_files import ENDINGS
from caffe_prototxt.rewrite.additions import OURS, Additions, made_already
from caffe_prototxt.textformat.edits import Edits
from caffe_prototxt.net.losses import CLASSIC, KINDS, MODULE
from caffe_prototxt.textformat.messages import Name

# kind: a Kind, or None for the one it is (InfogainLoss, if that has no matrix). matrix: None to keep the one there is, or
#   ("source", file)            the loss reads it
#   ("blob", name)              a blob that the net makes already
#   ("InfogainMatrix", params)  a layer reads it
#   ("ComputeH", params)        a layer makes it from the labels
#   (type, {field: message})    a layer of Caffe's own reads it: HDF5Data, Data, Parameter
# classic: whether Caffe's InfogainLoss takes probabilities. h_name: of the layer of H and its top.
Request = collections.namedtuple("Request", "kind matrix classic h_name")

# changed: pairs of a Layer and the fields it is to have (as Edits.set takes them). added: pairs of the Layer before which
# a new one goes, and its fields. removed: Layers. targets: pairs of a Loss, and (kind, matrix) it is to have.
Plan = collections.namedtuple("Plan", "changed added removed targets")

UPGRADE = "convert the net first: upgrade_net_proto_text OLD NEW"
# What a message may say for it to be known what that means in another loss.
KNOWN = {"softmax_param": {"axis", "engine"}, "infogain_loss_param": {"source", "axis"},
         "loss_param": {"ignore_label", "normalization", "normalize"},
         "python_param": {"module", "layer", "param_str", "share_in_parallel"}}


def plan(net, losses, request):
    """How losses of a net are to change: a Plan. Raises ValueError for what Caffe would not run, or not as before."""
    targets = [(loss,) + _target(net, loss, request) for loss in losses]
    _check_force_backward(net, targets)
    changing = set(loss.layer.index for loss in losses)
    makers = {loss.layer.index: made_already(net, loss, matrix, changing) for loss, _, matrix in targets}
    leaving = []
    for loss, kind, matrix in targets:
        if loss.matrix and loss.matrix[0] == "blob" and not makers[loss.layer.index] and loss.matrix != matrix:
            leaving.append((loss.layer, loss.matrix[1]))
        if loss.kind.probabilities and not kind.probabilities:
            _check_scores(net, loss)
            leaving.append((loss.layer, loss.bottom))
    removed = _unused(net, leaving)
    planned = Plan([], [], removed, targets)
    additions = Additions(net, planned, request.h_name)
    for loss, kind, matrix in targets:
        bottoms, tops = [loss.bottom, loss.label], list(loss.layer.tops)
        if kind.probabilities and not loss.kind.probabilities:
            bottoms[0] = additions.softmax(loss, tops)
        elif loss.kind.probabilities and not kind.probabilities:
            bottoms[0] = loss.scores
        if matrix and matrix[0] == "blob":
            bottoms.append(matrix[1])
        elif matrix and matrix[0] != "source":
            bottoms.append(additions.matrix(loss, matrix, makers[loss.layer.index]))
        if kind.layer and not tops:  # Caffe makes a top only for losses of its own
            tops.append(additions.name(loss.layer.name or "loss", loss.layer))
        planned.changed.append((loss.layer, _wanted(loss, kind, matrix, bottoms, tops)))
    return planned


def write(text, plan):
    """(the text with the plan carried out, the edits that make it). Raises ValueError."""
    edits = Edits(text)
    for layer in plan.removed:
        edits.take_out(layer)
    for layer, fields in plan.added:
        edits.add_before(layer, fields)
    for layer, fields in plan.changed:
        edits.set(layer, fields)
    return edits.apply(), edits.ordered()


def _target(net, loss, request):
    """(kind, matrix) that a loss is to have."""
    kind = request.kind or (loss.kind if loss.kind.matrix else KINDS["InfogainLoss"])
    if kind.name == "InfogainLoss" and request.classic:
        kind = CLASSIC
    matrix = request.matrix
    if kind.matrix is None and matrix is not None:
        raise ValueError("%s: expected no matrix for %s, got one" % (loss.layer, kind.name))
    if kind.matrix and matrix is None:
        if loss.kind.matrix != kind.matrix or loss.matrix is None:
            raise ValueError("%s: expected a file or a layer with the %s matrix of %s (as --source FILE), got none"
                             % (loss.layer, kind.matrix, kind.name))
        matrix = loss.matrix
    if matrix and matrix[0] == "ComputeH" and loss.ignore_label is not None:
        matrix = ("ComputeH", dict(matrix[1], ignore_label=loss.ignore_label))
    _check_target(net, loss, kind, matrix)
    return kind, matrix


def _check_target(net, loss, kind, matrix):
    layer = loss.layer
    if kind.matrix == "cost" and matrix[0] in OURS:
        raise ValueError("%s: expected costs for %s, and %s makes gains" % (layer, kind.name, matrix[0]))
    if layer.old and (kind.layer or matrix and matrix[0] not in ("source", "blob")):
        raise ValueError("%s: expected the present syntax (layer { }), as the old one (layers { }) has no Python layers; %s"
                         % (layer, UPGRADE))
    if matrix and matrix[0] == "blob" and matrix != loss.matrix:
        if matrix[1] not in net.inputs and not net.makers(layer, matrix[1]):
            raise ValueError('%s: expected a layer before it that makes the blob "%s", found none'
                             % (layer, to_display(matrix[1])))
    if matrix and matrix[0] == "source":
        native = not kind.layer
        if not to_display(matrix[1]).lower().endswith((".binaryproto",) if native else ENDINGS):
            raise ValueError("%s: expected a file that ends in %s for %s, got %s" % (
                layer, ".binaryproto, as Caffe's own InfogainLoss reads nothing else" if native else ", ".join(ENDINGS),
                kind.name, to_display(matrix[1])))
    if kind == loss.kind:
        return
    if loss.kind == KINDS["InfogainLoss"] and loss.softmaxes:
        raise ValueError("%s: expected scores, but its InfogainLoss gets probabilities from a Softmax layer (%s): if this "
                         "Caffe's wants them, say --infogain classic, else take that layer out"
                         % (layer, loss.softmaxes[0]))
    if CLASSIC in (kind, loss.kind):
        for name, asked in (("ignore_label", loss.ignore_label is not None), ("axis", loss.axis not in (None, 1)),
                            ("normalization: NONE", loss.normalization == "NONE")):
            if asked:
                raise ValueError("%s: expected no %s with --infogain classic, as that InfogainLoss has no such thing; take "
                                 "--loss SoftmaxWithInfogainLoss" % (layer, name))
    if kind.name == "SoftmaxWithLoss" and len(layer.tops) == 2:
        raise ValueError("%s: expected one top, as Caffe's SoftmaxWithLoss runs with no more, got 2" % layer)
    for name, known in KNOWN.items():
        message = layer.message(name)
        unknown = sorted(message.names() - known) if message else []
        if unknown:
            raise ValueError("%s: expected %s without %s, which has no known meaning in %s"
                             % (layer, name, unknown[0], kind.name))


def _check_force_backward(net, targets):
    """Caffe then asks every layer for every gradient, whatever propagate_down says."""
    for loss, kind, matrix in targets:
        if net.force_backward and (kind.layer or matrix and matrix[0] != "source"):
            what = "labels" if kind.layer else "H"
            raise ValueError(
                "line %d: expected no force_backward: true, as Caffe then asks %s for a gradient with respect to the %s and "
                "stops at the first backward pass; take it out, or use InfogainLoss with --source"
                % (net.force_backward, kind.name, what))


def _check_scores(net, loss):
    layer = loss.layer
    if loss.scores is None:
        raise ValueError('%s: expected its probabilities "%s" from a Softmax layer, got them from elsewhere'
                         % (layer, to_display(loss.bottom)))
    for softmax in loss.softmaxes:
        param = softmax.message("softmax_param")
        axis = 1 if param is None else param.value("axis", 1)
        if axis != (1 if loss.axis is None else loss.axis):
            raise ValueError("%s: expected the class axis of its %s, %s, got %s"
                             % (softmax, layer.name, loss.axis or 1, axis))
        others = [user for user in net.users(loss.bottom) if user.index > softmax.index and user is not layer]
        if softmax.tops[0] == softmax.bottoms[0] and others:
            raise ValueError("%s: expected no other layer than the loss to use what it makes in place, got %s"
                             % (softmax, others[0]))


def _unused(net, leaving):
    """The layers that are for nothing once each layer has left the blob. leaving: pairs of them."""
    left = set((layer.index, blob) for layer, blob in leaving)
    found, seen = {}, set()
    for layer, blob in leaving:
        for maker in net.makers(layer, blob):
            if maker.index in seen:
                continue
            seen.add(maker.index)
            users = [(user, top) for top in maker.tops for user in net.users(top)]
            if all((user.index, top) in left or user.index <= maker.index or not user.meets(maker) for user, top in users):
                found[maker.index] = maker
    return [found[index] for index in sorted(found)]


def _wanted(loss, kind, matrix, bottoms, tops):
    """The fields of a loss layer, as they are to be."""
    layer = loss.layer
    fields = collections.OrderedDict(type=Name(kind.old_type) if layer.old else kind.type)
    fields["bottom"] = bottoms
    propagate_down = layer.values("propagate_down")
    if propagate_down:
        if len(propagate_down) != len(layer.bottoms):
            raise ValueError("%s: expected propagate_down once for each of its %d bottoms, got %d"
                             % (layer, len(layer.bottoms), len(propagate_down)))
        fields["propagate_down"] = (propagate_down + [False])[:len(bottoms)]
    fields["top"] = tops
    fields["loss_weight"] = _loss_weights(layer, kind, tops)
    source = matrix[1] if matrix and matrix[0] == "source" else None
    if kind.layer:
        fields.update(_python_params(loss, kind, source))
    else:
        fields.update(_native_params(loss, kind, source))
    return fields


def _loss_weights(layer, kind, tops):
    """One for each top, where Caffe wants one."""
    loss_weights = layer.values("loss_weight")
    if any(loss_weight != 0 for loss_weight in loss_weights[max(len(tops), 1):]):
        raise ValueError("%s: expected loss_weight only for the loss, got it for its probabilities" % layer)
    loss_weights = loss_weights[:max(len(tops), 1)]
    if kind.layer or len(tops) == 2:
        loss_weights += [1, 0][len(loss_weights):len(tops)]
    return loss_weights


def _python_params(loss, kind, source):
    param = dict(loss.param_str) if loss.kind.layer else {
        "axis": loss.axis, "ignore_label": loss.ignore_label, "normalization": loss.normalization}
    param["source"] = None if source is None else to_display(source)
    param = {key: value for key, value in param.items() if value is not None}
    python_param = collections.OrderedDict((("module", MODULE), ("layer", kind.layer)))
    if loss.kind.layer is None or param != loss.param_str:
        python_param["param_str"] = json.dumps(param, sort_keys=True)
    fields = {"python_param": python_param}
    if loss.kind.layer is None:
        fields.update(softmax_param=None, infogain_loss_param=None, loss_param=None)
    return fields


def _native_params(loss, kind, source):
    fields = {}
    if loss.kind.layer:
        fields["python_param"] = None
        fields["loss_param"] = collections.OrderedDict((("ignore_label", loss.ignore_label), (
            "normalization", loss.normalization and Name(loss.normalization))))
    if kind.name == "InfogainLoss":
        param = loss.layer.message("infogain_loss_param")
        infogain = collections.OrderedDict((("source", source), ("axis", loss.axis), ("engine", None)))
        empty = source is None and loss.axis is None and not (param and param.names() - {"source"})
        fields["infogain_loss_param"] = None if empty else infogain
        if loss.kind.name != "InfogainLoss":
            fields["softmax_param"] = None
    elif loss.kind.name != "SoftmaxWithLoss":
        fields["softmax_param"] = None if loss.axis is None else {"axis": loss.axis, "source": None}
        fields["infogain_loss_param"] = None
    loss_param = loss.layer.message("loss_param")
    if kind == KINDS["InfogainLoss"] and loss_param and loss_param.items("normalize"):
        # with `normalize` Caffe's InfogainLoss does not start
        fields["loss_param"] = {"normalize": None}
        if not loss_param.items("normalization"):
            fields["loss_param"]["normalization"] = Name(loss.normalization)
    return fields
