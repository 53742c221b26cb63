"""The losses of a net and how they change, as lines for people and as JSON."""
from __future__ import division, print_function

from caffe_losses.compat import to_display
from caffe_prototxt.net import losses
from caffe_prototxt.net.adjustments import adjustment, scores_alone
from caffe_tools.options import compute_options


def listed(net, layers, path):
    """Return a line for each loss of a net. layers: those that can be changed. path: of the net."""
    lines = ["%s:%d: %s" % (path, layer.line, _in_words(layer)) for layer in layers]
    return lines + ["%s:%d: %s: %s, which this command does not change" % (
        path, layer.line, layer.display_name, _type_name(layer)) for layer in losses.other_losses(net)]


def unchanged(planned, path):
    """Return the line that says that nothing changes. planned: plan.Plan."""
    return ["%s: nothing to change: %s" % (path, "; ".join(
        "%s is %s" % (loss.layer, _described(kind, matrix)) for loss, kind, matrix in planned.targets))]


def changes(planned, path, dry_run):
    """Return a line for each change of a plan.Plan, and advice on the losses that come. path: of the changed net."""
    lines = ["%s: %s: %s %s %s" % (path, loss.layer, loss.kind.name, "would be" if dry_run else "is now",
                                   _described(kind, matrix)) for loss, kind, matrix in planned.targets]
    own = set(name for loss, kind, _ in planned.targets if kind != loss.kind
              for name in _own_names(loss, kind, planned))
    lines += ["%s: new layer %s" % (path, to_display(fields["name"])) for _, fields in planned.added
              if fields["name"] not in own]
    lines += ["%s: layer %s is out, as nothing else used it" % (path, layer) for layer in planned.removed
              if layer.name not in own]
    kinds = set(kind for loss, kind, _ in planned.targets if kind != loss.kind)
    return lines + ["%s: %s" % (path, line) for kind in kinds for line in compute_options.advice(kind)]


def adjusted(adjusted, strength, path, verb):
    """Return the lines on a logit adjustment.

    adjusted: pairs of a Loss and its counts in words. strength: float; 0: it goes. verb: str, or "" where nothing
    changes.
    """
    lines, times = [], "" if strength == 1 else "%g x " % strength
    for loss, counts in adjusted:
        scores = to_display(scores_alone(loss.layer, loss.scores))
        words = "not logit-adjusted: it gets %s" % scores
        if strength:
            words = "logit-adjusted: in TRAIN it gets %s + %slog prior (%s)" % (scores, times, counts)
            words += ", in TEST %s alone" % scores if "TEST" in loss.layer.phases else ""
        lines.append("%s: %s%s %s %s" % (path, "" if verb else "nothing to change: ", loss.layer, verb or "is", words))
    return lines


def _own_names(loss, kind, planned):
    """Return the names of the layers that a loss out of Caffe's own layers has, or gets, besides its last."""
    added = [fields["name"] for layer, fields in planned.added if layer is loss.layer and kind.composed]
    return [part.name for part in loss.parts] + added


def as_json(net, layers, planned, adjusted):
    """Return the losses of a net, and how they change, as a dict. planned, adjusted: plan.Plan, or None."""
    becomes = {} if planned is None else {target.loss.layer.index: target for target in planned.targets}
    return {
        "losses": [_loss_as_json(layer, becomes.get(layer.index)) for layer in layers],
        "others": [{"name": to_display(layer.name), "line": layer.line, "type": _type_name(layer)}
                   for layer in losses.other_losses(net)],
        "added": [to_display(fields["name"]) for plan in (planned, adjusted) if plan for _, fields in plan.added],
        "removed": [layer.display_name for plan in (planned, adjusted) if plan for layer in plan.removed]}


def _loss_as_json(layer, target):
    loss, error = _read_loss(layer)
    matrix = (target or loss).matrix if target or loss else None
    return {
        "name": to_display(layer.name), "line": layer.line, "type": losses.kind_of(layer).name, "error": error,
        "n_classes": loss and loss.n_classes(), "loss_weight": layer.values("loss_weight"),
        "phases": sorted(layer.phases), "class_weighting": losses.class_weighting(layer, False),
        "logit_adjusted": _is_adjusted(loss), "becomes": target and target.kind.name, "matrix": matrix and str(matrix)}


def _in_words(layer):
    loss, error = _read_loss(layer)
    classes = error or "%s classes" % (loss.n_classes() or "unknown number of")
    weights = "".join(", loss_weight %s" % weight for weight in layer.values("loss_weight"))
    phases = "" if len(layer.phases) != 1 else ", %s only" % to_display("".join(layer.phases))
    weighting = ", class weights in its text (--from-class-weighting)" * losses.has_class_weighting(layer)
    adjusted = ", logit-adjusted" * _is_adjusted(loss)
    return "%s: %s, %s%s%s%s%s" % (
        layer.display_name, losses.kind_of(layer).name, classes, weights, phases, weighting, adjusted)


def _is_adjusted(loss):
    return bool(loss and adjustment(loss.layer, loss.scores))


def _read_loss(layer):
    """Return (the Loss of a layer or None, why it cannot be read or None)."""
    try:
        return losses.read_loss(layer), None
    except ValueError as error:
        return None, str(error)


def _type_name(layer):
    return to_display(".".join(filter(None, losses.python_class(layer))) or layer.type)


def _described(kind, matrix):
    return kind.name + (", %s" % matrix if matrix else "")
