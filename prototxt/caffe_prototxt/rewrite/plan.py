"""Plans of how the losses of a net change, as fields and the values they are to have, and their writing as text."""
from __future__ import division, print_function

import json
from collections import OrderedDict, namedtuple

from caffe_losses.compat import to_display
from caffe_prototxt.net.adjustments import adjustment
from caffe_prototxt.net.losses import (
    CLASS_WEIGHTING, CLASSIC, COMPOSED, INFOGAIN, SOFTMAX, has_class_weighting, takers)
from caffe_prototxt.net.matrix_sources import MODULE, BlobMatrix, FileMatrix, LayerMatrix
from caffe_prototxt.rewrite.additions import Additions, label_checks
from caffe_prototxt.rewrite.composing import OF_LAST, check_same_blobs, compose
from caffe_prototxt.textformat.edits import Edits
from caffe_prototxt.textformat.messages import Name, is_true

# kind: a Kind, or None to keep the one there is (InfogainLoss, if that has no matrix and gets one). matrix: one of
# matrix_sources, or None to keep the one there is. h_name: of an added layer of H and its top. own: {index of a loss's
# layer: the matrix that it gets instead}. weighting: whether the matrices have the class weights of a fork's fields,
# which then go. label_check: whether a LabelCheck goes before Caffe's own losses: True, or the number of classes.
# native: whether the losses are to be out of Caffe's own layers.
Request = namedtuple("Request", "kind matrix h_name own weighting label_check native")
Request.__new__.__defaults__ = ({}, False, None, False)

# changed: pairs of a Layer and the fields it is to have (as Edits.set takes them). added: pairs of the Layer before
# which a new one goes, and its fields. removed: Layers. targets: of Target. blobs: {name of a layer: list of arrays},
# the weights of losses out of Caffe's own layers. comments: {name of an added layer: lines}.
Plan = namedtuple("Plan", "changed added removed targets blobs comments")

# A Loss, and the Kind and the matrix that it is to have.
Target = namedtuple("Target", "loss kind matrix")

# What is added to the scores of a loss in TRAIN. layer: matrix_sources.LayerMatrix that makes it, or None: its numbers,
# an array, become weights.
Prior = namedtuple("Prior", "layer numbers")

ADJUSTED = "logit adjustment: the loss alone gets this, in TRAIN; the scores without it are to decide by",

# The fields whose meaning in another loss is known.
KNOWN = {"softmax_param": {"axis", "engine"}, "infogain_loss_param": {"source", "axis"},
         "loss_param": {"ignore_label", "normalization", "normalize"},
         "python_param": {"module", "layer", "param_str", "share_in_parallel"}}
# A field that comes where another goes replaces it, and keeps its comments and layout.
REPLACES = {"infogain_loss_param": "softmax_param", "softmax_param": "infogain_loss_param",
            "normalization": "normalize"}


def plan(net, losses, request):
    """Return the Plan by which losses of a net change.

    net: nets.Net. losses: of losses.Loss. request: Request.
    Raises ValueError for a net that Caffe would not run, or not as before.
    """
    targets = [_target(loss, request) for loss in losses]
    _check_force_backward(net, targets, request.label_check)
    if request.label_check and targets and all(target.kind.layer for target in targets):
        raise ValueError("expected one of Caffe's own losses for --label-check, as ours check their labels themselves, "
                         "got %s" % targets[0].kind.name)
    changing = set(loss.layer.index for loss in losses)
    makers = [_makers_to_keep(net, target, changing) for target in targets]
    leaving = []
    for target, kept in zip(targets, makers):
        loss = target.loss
        if isinstance(loss.matrix, BlobMatrix) and not kept and loss.matrix != target.matrix:
            leaving.append((loss.layer, loss.matrix.name))
        if loss.kind.probabilities and not target.kind.probabilities:
            _check_scores(net, loss)
            leaving.append((loss.layer, loss.bottom))
    removed = _unused(net, leaving) + [part for loss, kind, _ in targets if kind != loss.kind for part in loss.parts]
    additions = Additions(net, removed, request.h_name, request.label_check)
    composed = _Composed(additions)
    changed = [composed.planned(target) if target.kind.composed else _planned(target, kept, additions)
               for target, kept in zip(targets, makers)]
    return Plan(changed + additions.changed, additions.added, removed, targets, composed.blobs, composed.comments)


def plan_adjustments(net, adjusted):
    """Return the Plan by which losses get scores with a log prior in TRAIN, and the scores alone elsewhere.

    net: nets.Net. adjusted: pairs of a losses.Loss that is in TRAIN, and its Prior, or None for the scores alone.
    Raises ValueError for a net that Caffe would not run, or not as before.
    """
    found = [adjustment(loss.layer, loss.scores) for loss, _ in adjusted]
    stay = [bool(there and prior) and _is_alike(there, loss, prior) for there, (loss, prior) in zip(found, adjusted)]
    removed = _unused(net, [(taker, taker.bottoms[0]) for there, stays, (loss, _) in zip(found, stay, adjusted)
                            if there and not stays for taker in takers(loss)])
    removed += _unused(net, [(layer, bottom) for layer in removed for bottom in layer.bottoms[1:]])
    additions, changed, blobs, comments = Additions(net, removed, None), [], OrderedDict(), {}
    for there, stays, (loss, prior) in zip(found, stay, adjusted):
        if not stays:
            top, name = there.scores if there else loss.scores, None
            if prior:
                _check_adjusted(loss, prior)
                top, name = additions.log_prior(loss, top, prior.layer)
                comments[name] = ADJUSTED
            changed += [(taker, {"bottom": [top] + taker.bottoms[1:]}) for taker in takers(loss)
                        if top != taker.bottoms[0]]
        elif prior.layer:
            additions.change_log_prior(there, prior.layer, [taker for loss, _ in adjusted for taker in takers(loss)])
        if prior and prior.layer is None:
            blobs[to_display(there.adding[0].name if stays else name)] = [prior.numbers]
    return Plan(changed + additions.changed, additions.added, removed, [], blobs, comments)


def _is_alike(there, loss, prior):
    """Return whether the layers of an Adjustment can stay for a Prior, with other numbers in them."""
    if prior.layer is None:
        return not there.priors
    return bool(there.priors) and all(prior.layer.is_made_by(maker, loss.label) for maker in there.priors)


def _check_adjusted(loss, prior):
    """Raise ValueError where a net with a log prior before a loss would not run, or not as before."""
    layer, net = loss.layer, loss.layer.net
    if layer.old:
        raise layer.error("the present syntax (layer { }) for --logit-adjust; convert the net first: "
                          "upgrade_net_proto_text OLD NEW", "the old one (layers { }), which has no Bias layers")
    for softmax in takers(loss) if loss.kind.probabilities else ():
        others = [user for user in net.users(loss.bottom)
                  if user is not layer and user.index > softmax.index and "TRAIN" in user.phases]
        if others:
            raise softmax.error("a Softmax for its loss alone, as in TRAIN its probabilities are to have the log prior",
                                "one that %s takes, too" % others[0])
    if net.force_backward and prior.layer and prior.layer.bottoms(loss.label):
        raise ValueError("line %d: expected no force_backward: true, as Caffe then asks LogPrior for a gradient with "
                         "respect to the labels; take it out, or --running" % net.force_backward)


def write(text, plan):
    """Return the text with the plan carried out. Raises ValueError."""
    edits = Edits(text, REPLACES)
    for layer in plan.removed:
        edits.take_out(layer)
    for layer, fields in plan.added:
        edits.add_before(layer, fields, plan.comments.get(fields["name"], ()))
    for layer, fields in plan.changed:
        edits.set(layer, fields)
    return edits.apply()


class _Composed(object):
    """The losses that become such out of Caffe's own layers. blobs, comments: as of Plan."""

    def __init__(self, additions):
        self.additions, self.blobs, self.comments = additions, OrderedDict(), {}

    def planned(self, target):
        """Return the last layer of a loss and the fields it is to have; add the layers before it."""
        loss, kind, matrix = target
        layer = loss.layer
        name = layer.name or self.additions.name("loss", layer)
        composed = compose(loss, kind, matrix, name)
        check_same_blobs(self.blobs, composed.blobs)
        self.blobs.update(composed.blobs)
        if kind == loss.kind:  # only its weights change
            return layer, {}
        for fields in composed.added:
            if self.additions.name(fields["name"], layer) != fields["name"]:
                raise layer.error("no other layer or blob named %s, as one of its own layers is to be"
                                  % to_display(fields["name"]), "one")
            self.additions.added.append((layer, fields))
        self.comments[composed.added[0]["name"]] = composed.comment
        fields = OrderedDict((("name", name), ("type", composed.last["type"]), ("bottom", composed.last["bottom"]),
                              ("top", layer.tops or [self._top(name, layer)]),
                              ("loss_weight", _loss_weights(layer, kind, [name]))))
        fields.update((field, composed.last.get(field)) for field in OF_LAST)
        fields.update(_native_fields(loss, kind, None))
        return layer, fields

    def _top(self, name, layer):
        """Return a name for the top of a loss that has none, its own if that is no blob yet."""
        taken = layer.net.all_makers(name) or name in layer.net.inputs
        return self.additions.name(name, layer) if taken else name


def _planned(target, makers, additions):
    """Return the layer of a loss and the fields it is to have; add the layers that these need."""
    loss, kind, matrix = target
    bottoms, tops = [loss.bottom, loss.label], list(loss.layer.tops)
    if not kind.layer:
        bottoms[1] = additions.checked_label(loss)
    if kind.probabilities and not loss.kind.probabilities:
        bottoms[0] = additions.softmax(loss, tops)
    elif loss.kind.probabilities and not kind.probabilities:
        bottoms[0] = loss.scores
    if isinstance(matrix, BlobMatrix):
        bottoms.append(matrix.name)
    elif isinstance(matrix, LayerMatrix):
        bottoms.append(additions.matrix(loss, matrix, makers))
    if kind.layer and not tops:  # Caffe makes a top only for losses of its own
        tops.append(additions.name(loss.layer.name or "loss", loss.layer))
    return loss.layer, _fields(target, bottoms, tops)


def _target(loss, request):
    given = request.own.get(loss.layer.index, request.matrix)
    kind = request.kind or (loss.kind if loss.kind.matrix or given is None else INFOGAIN)
    if request.native:
        kind = COMPOSED[kind.composed or kind.name]
    if kind == INFOGAIN and loss.layer.net.classic:
        kind = CLASSIC
    if kind != loss.kind and has_class_weighting(loss.layer) and not request.weighting:
        raise ValueError("%s: expected no class weights of a fork (class_weighting, weight_by_label_freqs), which %s "
                         "does not have: --from-class-weighting makes H of them" % (loss.layer, kind.name))
    matrix = given or (loss.matrix if kind.matrix == loss.kind.matrix else None)
    if kind.composed and request.label_check:
        raise loss.layer.error("no --label-check for %s, which Python layers would keep from the GPU" % kind.name, "it")
    if kind.composed and not isinstance(matrix, FileMatrix):
        raise loss.layer.error("a file with the %s matrix, whose numbers become the weights of %s: --source FILE"
                               % (kind.matrix, kind.name), matrix or "none")
    if kind.matrix is None and matrix is not None:
        raise loss.layer.error("no matrix for %s" % kind.name, "one")
    if kind.matrix and matrix is None:
        raise loss.layer.error(
            "a file or a layer with the %s matrix of %s (as --source FILE)" % (kind.matrix, kind.name), "none")
    matrix = matrix and matrix.for_loss(loss)
    _check_target(loss, kind, matrix)
    return Target(loss, kind, matrix)


def _check_target(loss, kind, matrix):
    layer = loss.layer
    if layer.old and (kind.layer or kind.composed or isinstance(matrix, LayerMatrix)):
        raise ValueError("%s: expected the present syntax (layer { }), as the old one (layers { }) has no %s "
                         "layers; convert the net first: upgrade_net_proto_text OLD NEW"
                         % (layer, "Reduction" if kind.composed else "Python"))
    if matrix:
        matrix.check(loss, kind)
    if kind == loss.kind:
        return
    if loss.kind == INFOGAIN and loss.softmaxes:
        raise ValueError("%s: expected scores, but its InfogainLoss gets probabilities from a Softmax layer (%s): if "
                         "this Caffe's wants them, say --infogain classic, else take that layer out"
                         % (layer, loss.softmaxes[0]))
    params = loss.params
    for name, asked in (("ignore_label", params.ignore_label is not None), ("axis", params.axis not in (None, 1)),
                        ("normalization: NONE", params.normalization == "NONE")):
        if asked and CLASSIC in (kind, loss.kind):
            raise ValueError("%s: expected no %s with --infogain classic, as that InfogainLoss has no such thing; take "
                             "--loss SoftmaxWithInfogainLoss" % (layer, name))
    if (kind == SOFTMAX or kind.composed) and len(layer.tops) == 2:
        raise layer.error("one top, as %s has no more" % kind.name if kind.composed else
                          "one top, as Caffe's %s runs with no more" % kind.name, 2)
    if kind.composed and any(not is_true(value) for value in layer.values("propagate_down")[:1]):
        raise layer.error("propagate_down: true for its scores, as %s asks for their gradient" % kind.name, "false")
    for name, known in KNOWN.items():
        message = layer.message(name)
        known = known | CLASS_WEIGHTING
        for unknown in sorted(message.names() - known) if message else ():
            raise ValueError("%s: expected %s without %s, which has no known meaning in %s"
                             % (layer, name, unknown, kind.name))


def _check_force_backward(net, targets, label_check):
    """Raise ValueError where Caffe would ask for every gradient, whatever propagate_down says, and there is none."""
    for _, kind, matrix in targets:
        if net.force_backward and (kind.layer or label_check or matrix and not isinstance(matrix, FileMatrix)):
            what = "labels" if kind.layer or label_check else "H"
            raise ValueError(
                "line %d: expected no force_backward: true, as Caffe then asks %s for a gradient with respect to the "
                "%s and stops at the first backward pass; take it out, or use InfogainLoss with --source"
                % (net.force_backward, kind.name, what))


def _check_scores(net, loss):
    layer = loss.layer
    for softmax in takers(loss):
        axis = softmax.value_in("softmax_param", "axis", 1)
        if axis != (1 if loss.params.axis is None else loss.params.axis):
            raise softmax.error("the class axis of its %s, %s" % (layer.name, loss.params.axis or 1), axis)
        others = [user for user in net.users(loss.bottom) if user.index > softmax.index and user is not layer]
        if softmax.tops[0] == softmax.bottoms[0] and others:
            raise softmax.error("no other layer than the loss to use what it makes in place", others[0])


def _makers_to_keep(net, target, changing):
    """Return the layers that make the matrix of a loss already, if they are of the class that is to make it, else None.

    changing: the indices of the layers that change. A layer whose keys differ is kept if only these use it.
    """
    loss, _, matrix = target
    if not isinstance(loss.matrix, BlobMatrix) or not isinstance(matrix, LayerMatrix):
        return None
    makers = net.makers(loss.layer, loss.matrix.name)
    others = any(user.index not in changing for user in net.users(loss.matrix.name))
    labels = [loss.label] + [bottom for check in label_checks(loss) for bottom in check.bottoms]
    fit = all(any(matrix.is_made_by(maker, label) for label in labels) and (matrix.has_same_keys(maker) or not others)
              for maker in makers)
    return makers if makers and fit else None


def _unused(net, leaving):
    """Return the layers that nothing uses once each layer has left a blob. leaving: pairs of them."""
    left = set((layer.index, blob) for layer, blob in leaving)
    makers = {maker.index: maker for layer, blob in leaving for maker in net.makers(layer, blob)}
    return [maker for _, maker in sorted(makers.items()) if all(
        (user.index, top) in left or user.index <= maker.index or not user.phases & maker.phases
        for top in maker.tops for user in net.users(top))]


def _fields(target, bottoms, tops):
    layer, kind = target.loss.layer, target.kind
    fields = OrderedDict(type=Name(kind.old_type) if layer.old else kind.type)
    fields["bottom"] = bottoms
    propagate_down, n_bottoms = layer.values("propagate_down"), len(layer.bottoms)
    if target.loss.kind.composed:
        fields.update(dict.fromkeys(OF_LAST))
    elif propagate_down:
        if len(propagate_down) != n_bottoms:
            raise layer.error("propagate_down once for each of its %d bottoms" % n_bottoms, len(propagate_down))
        fields["propagate_down"] = (propagate_down + [False])[:len(bottoms)]
    fields["top"] = tops
    fields["loss_weight"] = _loss_weights(layer, kind, tops)
    if target.loss.kind.composed and not kind.layer and fields["loss_weight"] == [1]:
        fields["loss_weight"] = []
    source = target.matrix.path if isinstance(target.matrix, FileMatrix) else None
    fields.update((_python_fields if kind.layer else _native_fields)(target.loss, kind, source))
    return fields


def _loss_weights(layer, kind, tops):
    """Return a loss weight for each top, where Caffe wants one."""
    n_tops, loss_weights = max(len(tops), 1), layer.values("loss_weight")
    if any(loss_weights[n_tops:]):
        raise layer.error("loss_weight only for the loss", "it for its probabilities")
    wanted = [1, 0][len(loss_weights):len(tops)] if kind.layer or kind.composed or len(tops) == 2 else []
    return loss_weights[:n_tops] + wanted


def _python_fields(loss, kind, source):
    params, is_ours = loss.params, loss.kind.layer is not None
    keys = params.param_str if is_ours else {
        "axis": params.axis, "ignore_label": params.ignore_label, "normalization": params.normalization}
    keys = dict(keys, source=None if source is None else to_display(source))
    keys = {key: value for key, value in keys.items() if value is not None}
    python_param = OrderedDict((("module", MODULE), ("layer", kind.layer)))
    if not is_ours or keys != params.param_str:
        python_param["param_str"] = json.dumps(keys, sort_keys=True)
    others = {} if is_ours else {"softmax_param": None, "infogain_loss_param": None, "loss_param": None}
    return dict(others, python_param=python_param)


def _native_fields(loss, kind, source):
    fields, params = {}, loss.params
    normalization = params.normalization and Name(params.normalization)
    if loss.kind.layer:
        fields["python_param"] = None
        fields["loss_param"] = OrderedDict((("ignore_label", params.ignore_label), ("normalization", normalization)))
    if kind.name == INFOGAIN.name:
        param = loss.layer.message("infogain_loss_param")
        axis = None if kind == CLASSIC else params.axis  # a field that a classic Caffe does not have
        infogain = OrderedDict([("source", source), ("axis", axis), ("engine", None)]
                               + [(name, None) for name in sorted(CLASS_WEIGHTING)])
        empty = source is None and axis is None and not (param and param.names() - set(infogain))
        fields["infogain_loss_param"] = None if empty else infogain
        if loss.kind.name != INFOGAIN.name:
            fields["softmax_param"] = None
    elif loss.kind != SOFTMAX:
        fields["softmax_param"] = None if params.axis is None else {"axis": params.axis, "source": None}
        fields["infogain_loss_param"] = None
    loss_param = loss.layer.message("loss_param")
    names = loss_param.names() if loss_param else set()
    gone = names & CLASS_WEIGHTING if kind != loss.kind else set()
    if kind == INFOGAIN and "normalize" in names:  # Caffe's InfogainLoss does not start with it
        gone.add("normalize")
        if "normalization" not in names:
            fields["loss_param"] = {"normalization": normalization}
    if gone and gone == names and "loss_param" not in fields:
        fields["loss_param"] = None
    elif gone:
        fields.setdefault("loss_param", {}).update(dict.fromkeys(gone))
    return fields
