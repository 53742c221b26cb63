"""Faults of a net as far as its text shows them: without Caffe, in time linear in its length."""
from __future__ import division, print_function

import collections

from caffe_losses.compat import to_display
from caffe_prototxt.check.faults import ERROR, WARNING, fault_of
from caffe_prototxt.check.field_checks import field_faults
from caffe_prototxt.net import data_layers
from caffe_prototxt.net.adjustments import LOG_PRIOR, has_prior_in_weights, is_log_prior, keys, priors
from caffe_prototxt.net.graph import HAND_ON, INPUT, Node, origin
from caffe_prototxt.net.losses import (CLASSIC, FOR_TRAINED, INFOGAIN, is_loss_type, is_on_labels, is_python_loss,
                                       kind_of, python_class, read_params)
from caffe_prototxt.net.matrix_sources import MODULE
from caffe_prototxt.net.shapes import KEEP_CLASSES, MAKE_CLASSES
from caffe_prototxt.textformat.messages import is_true

# A top that counts as loss. type: of its layer, or the module and class of a Python layer.
Part = collections.namedtuple("Part", "weight top layer type")

# Ours, besides the losses, that end Caffe's backward pass if a gradient with respect to labels is asked for.
PYTHON_LABELS = frozenset(("ComputeH", "LabelCheck", LOG_PRIOR))
# Layers through which scores stay scores.
SCORES_STAY = HAND_ON | KEEP_CLASSES - {"Softmax", "Sigmoid", "Exp"}
MAKES_SCORES = frozenset(MAKE_CLASSES)

# Layers with weights to learn.
LEARNS = MAKES_SCORES | frozenset(("Embed", "PReLU", "Scale", "Bias", "LSTM", "RNN", "Parameter"))


def net_faults(net):
    """Return the Faults of a net in any state."""
    faults = [fault_of(layer, ERROR, "rules", "has include and exclude rules, of which Caffe allows only one kind")
              for layer in net.layers if len(layer.rules) == 2]
    for layer in net.layers:
        try:
            faults += field_faults(layer)
        except ValueError as error:
            faults.append(fault_of(layer, ERROR, "text", str(error)))
    return faults


def state_faults(graph, has_weights=False):
    """Return the Faults of a net in a state.

    graph: graph.Graph. has_weights: bool, whether the training is known to begin with the weights of another.
    """
    faults = []
    checks = [_connections, _numbers, _swapped, _softmax_before, _log_prior]
    checks += [_classic if graph.net.classic else _normalize]
    if graph.state.phase == "TRAIN":
        checks += [_python_loss_weight, _gradients, _label_images] + [_fresh_weights] * (not has_weights)
    duplicates = dict(graph.duplicate_tops)
    for node, whole in zip(graph.nodes, graph.whole_nodes):
        try:
            if node in duplicates:
                faults.append(fault_of(node.layer, ERROR, "blob", "makes %s, which another layer makes before it"
                                       % to_display(duplicates[node])))
            for check in checks:
                faults += [fault_of(node.layer, level, kind, message) for level, kind, message in check(
                    graph, whole if check in OF_LOSSES else node)]
        except ValueError as error:  # the text has something else where a value or a message belongs
            faults.append(fault_of(node.layer, ERROR, "text", str(error)))
    if graph.state.phase == "TRAIN" and "blob" not in [fault.kind for fault in faults]:
        faults += _without_effect(graph)
    return faults


def multi_gpu(graph, has_train_py=False):
    """Return the Faults of a net that `caffe train` is to run on more than one GPU.

    graph: graph.Graph. has_train_py: bool, whether that Caffe has a train.py.
    """
    message = "is a Python layer, and caffe train takes none on more than one GPU; a native InfogainLoss with H from " \
        "a file trains there, and what use_loss.py --native makes"
    if has_train_py:
        message += ", or pycaffe's train.py with one process for each GPU"
    return [fault_of(node.layer, ERROR, "multi_gpu", message)
            for node in graph.nodes if node.type == "Python" and graph.state.phase == "TRAIN"]


def loss_parts(graph):
    """Return the Parts that the loss is made up of, in the net's order."""
    return [Part(weight, top, node.layer, loss_name(node.layer)) for node in graph.nodes
            for weight, top in zip(node.loss_weights, node.tops or ["(automatic)"]) if weight]


def loss_name(layer):
    """Return the type of a layer, or the module and class of a Python layer."""
    kind = kind_of(layer)
    if kind and kind.composed:
        return kind.name
    return ".".join(part for part in python_class(layer) if part and layer.type == "Python") or layer.type


def _connections(graph, node):
    if None in node.makers:
        bottom = node.bottoms[node.makers.index(None)]
        yield ERROR, "blob", "takes %s, which no layer before it makes%s" % (
            to_display(bottom), _elsewhere(node.layer, bottom))
    elif INPUT in node.makers and graph.net.drops_inputs:
        yield ERROR, "blob", "takes %s, an input without input_shape, which Caffe drops" % to_display(
            node.bottoms[node.makers.index(INPUT)])


def _elsewhere(layer, blob):
    """Return where a blob is made that a layer lacks: in other states, or after it."""
    makers = [maker for maker in layer.net.all_makers(blob) if maker is not layer]
    needed = [" with " + " ".join('stage: "%s"' % to_display(stage) for stage in sorted(rule.stages))
              for maker in makers for rule in maker.include if rule.stages]
    if needed:
        return "; layer %s does%s: give it by --stage, or in the solver's train_state or test_state" % (
            makers[0].display_name, needed[0])
    later = [maker for maker in makers if maker.index > layer.index and maker.phases & layer.phases]
    return "; layer %s does, after it: put that before it" % later[0].display_name if later else ""


def _swapped(graph, node):
    """Find a loss or measure that gets the labels first and the scores second."""
    if len(node.bottoms) < 2 or not (is_on_labels(node.layer) or node.type == "Accuracy"):
        return
    second, first = origin(node, 1, SCORES_STAY | {"Softmax"}), node.makers[0]
    if second is None or second[0].type not in MAKES_SCORES or first is None:
        return
    if not isinstance(first, Node) or not any(maker.type in LEARNS for maker in graph.before([first])):
        yield ERROR, "swapped", "gets the scores second, and the labels first: write bottom: \"%s\" bottom: \"%s\"" % (
            to_display(node.bottoms[1]), to_display(node.bottoms[0]))


def _fresh_weights(graph, node):
    """Find what needs the weights of another training."""
    maker = origin(node, 2) if kind_of(node.layer) and len(node.bottoms) > 2 else None
    if maker and maker[0].type == "Parameter":
        yield WARNING, "weights", "has H from the Parameter layer %s, which is 0 until caffe train -weights " \
            "FILE.caffemodel brings it: without that the loss is 0 throughout" % maker[0].layer.display_name
    scores = node.makers_in_net()[:1]
    others = [user for maker in scores for user, _ in maker.users if user is not node and any(user.loss_weights)]
    if kind_of(node.layer) in FOR_TRAINED and any(node.loss_weights) and not others:
        yield WARNING, "weights", "is for a net that has been trained before, as with SoftmaxWithLoss: fresh weights " \
            "fall onto one class; begin with caffe train -weights FILE.caffemodel"


def _numbers(graph, node):
    layer, is_loss = node.layer, is_loss_type(node.type)
    n_weights, n_tops = len(layer.values("loss_weight")), max(len(layer.tops), is_loss)
    if n_weights not in (0, n_tops) or n_weights == 0 and is_loss and n_tops > 1:
        yield ERROR, "loss_weight", "has %d top%s and %s: Caffe wants one for each top, as loss_weight: 1%s" % (
            n_tops, "s" * (n_tops != 1), "%d loss_weight%s" % (n_weights, "s" * (n_weights != 1)) if n_weights else
            "no loss_weight", " loss_weight: 0" * (n_tops - 1))
    n_down = len(layer.values("propagate_down"))
    if n_down not in (0, len(layer.bottoms)):
        yield ERROR, "propagate_down", "has %d bottoms and %d propagate_down: Caffe wants none, or one for each " \
            "bottom" % (len(layer.bottoms), n_down)


def _normalize(graph, node):
    loss_param = node.layer.message("loss_param") if node.type == INFOGAIN.type else None
    if loss_param is not None and loss_param.items("normalize"):
        yield ERROR, "normalize", "has normalize, at which Caffe's InfogainLoss stops: write normalization: %s" % (
            "VALID" if is_true(loss_param.values("normalize")[-1]) else "BATCH_SIZE")


def _softmax_before(graph, node):
    """Find a Softmax or Sigmoid before a loss that applies one itself, or none before one that does not."""
    known = kind_of(node.layer)
    wants_scores = not known.probabilities if known else node.type == "SigmoidCrossEntropyLoss"
    wants_probabilities = known.probabilities if known else node.type == "MultinomialLogisticLoss"
    made = origin(node, 0, SCORES_STAY if wants_probabilities else HAND_ON) if node.bottoms else None
    if made is None or not (wants_scores or wants_probabilities):
        return
    maker = made[0]
    if wants_scores and maker.type == ("Softmax" if known else "Sigmoid"):
        yield WARNING, "softmax", "gets the output of a %s, %s, and applies one itself: give it the scores, %s" % (
            maker.type, maker.layer.display_name, to_display((maker.bottoms or [""])[0]))
    if wants_probabilities and maker.type in MAKES_SCORES:
        why = ", as this Caffe's InfogainLoss is that of before April 2017" if known == CLASSIC else ""
        yield ERROR if why else WARNING, "softmax", "wants probabilities%s, and gets the scores of %s: put a Softmax " \
            "before it" % (why, maker.layer.display_name)


def _classic(graph, node):
    """Find what a classic InfogainLoss passes over, as it has no loss_param."""
    params = read_params(node.layer) if kind_of(node.layer) == CLASSIC else None
    passed_over = "has %s, which this Caffe's InfogainLoss, that of before April 2017, passes over: it %s; take " \
        "SoftmaxWithInfogainLoss (use_loss.py --loss)"
    if params and params.ignore_label is not None:
        yield ERROR, "classic", passed_over % ("ignore_label", "reads past the end of H")
    if params and params.normalization == "NONE":
        yield ERROR, "classic", passed_over % ("normalization: NONE", "divides by the batch all the same")


def _label_images(graph, node):
    """Find label images that are transformed as images are: scaled, or cropped or mirrored at random by themselves."""
    made = origin(node, 1) if is_on_labels(node.layer) else None
    if made is None or made[1] > 0 or made[0].type not in data_layers.PARAMS:
        return
    labels = made[0].layer
    if labels.value_in("transform_param", "scale", 1) != 1 or _sets(labels, "mean_value", "mean_file"):
        yield WARNING, "scaled_labels", "has labels from layer %s, which scales them or takes a mean from them: " \
            "labels are to stay whole numbers of classes" % labels.display_name
    before = graph.before(node.makers_in_net()[:1])
    images = [other.layer for other in graph.nodes if other in before - {made[0]} and data_layers.is_data(other)]
    apart = [layer for layer in [labels] + images if _sets(layer, "crop_size", "mirror")]
    if images and apart:
        yield WARNING, "apart", "has images and labels that no longer fit: layer %s crops or mirrors by itself, at " \
            "random; let one layer do it for both (images and labels as channels of one Datum), or do it beforehand" \
            % apart[0].display_name


def _sets(layer, *fields):
    """Return whether a transform_param sets one of some fields to more than 0 or false."""
    param = layer.message("transform_param")
    values = [value for name in fields for value in param.values(name)] if param is not None else []
    return any(value not in (0, "false", "False", "f") for value in values)


def _python_loss_weight(graph, node):
    layer = node.layer
    is_used = any(user.type != "Silence" for user, _ in node.users)
    if is_python_loss(layer) and not layer.values("loss_weight") and layer.bottoms and not is_used:
        yield ERROR, "no_loss_weight", "is a loss in Python without loss_weight: Caffe does not train on it; write " \
            "loss_weight: 1" + " loss_weight: 0" * (len(layer.tops) - 1)


def _gradients(graph, node):
    """Find what ends the first backward pass."""
    layer, line = node.layer, graph.net.force_backward
    if node.type == INFOGAIN.type and len(layer.bottoms) > 2 and line:
        yield ERROR, "force_backward", "has H as a bottom, and with force_backward: true (line %d) Caffe asks for a " \
            "gradient with respect to it and stops: take force_backward out, or give H as infogain_loss_param " \
            "{ source }" % line
    module, name = python_class(layer)
    is_ours = module == MODULE and name in PYTHON_LABELS and layer.bottoms
    if node.type == "Python" and line and (kind_of(layer) or is_ours):
        yield ERROR, "force_backward", "is a Python layer, of which force_backward: true (line %d) asks a gradient " \
            "with respect to the labels, and there is none: take force_backward out" % line


def _log_prior(graph, node):
    """Find a log prior that is added outside of TRAIN or to other classes, or whose counts Caffe would train."""
    layer = node.layer
    if graph.state.phase != "TRAIN" and (is_log_prior(layer) or has_prior_in_weights(layer)):
        yield ERROR, "log_prior", "is in %s, too, where the scores are to be without the log prior: write include { " \
            "phase: TRAIN } in it, and in what takes it" % graph.state.phase
    if is_log_prior(layer) and "running" in keys(layer) and not _is_frozen(layer):
        yield ERROR, "log_prior", "keeps counts in a blob, which Caffe would train: write param { lr_mult: 0 " \
            "decay_mult: 0 }"
    for prior in priors(layer):
        says = keys(prior)
        n_prior = len(says["counts"]) if isinstance(says.get("counts"), list) else says.get("n_classes")
        n_classes = layer.net.n_classes(layer, layer.bottoms[0], layer.value_in("bias_param", "axis", 1))
        if None not in (n_prior, n_classes) and n_prior != n_classes:
            yield ERROR, "log_prior", "adds the log prior of %s classes, of layer %s, to scores of %d" % (
                n_prior, prior.display_name, n_classes)


def _is_frozen(layer):
    """Return whether a layer has a param { }, and each says lr_mult: 0."""
    if layer.old:
        rates = layer.values("blobs_lr")
        return bool(rates) and not any(rates)
    params = [param for param in layer.values("param") if isinstance(param, dict)]
    return bool(params) and all(param.get("lr_mult", [1])[-1] == 0 for param in params)


def _without_effect(graph):
    """Return the Fault of the layers with weights that no loss depends on, and that share none with others."""
    under = graph.before(node for node in graph.nodes if any(node.loss_weights))
    shared = frozenset().union(*(_param_names(node.layer) for node in under))
    idle = [node.layer for node in graph.nodes if node not in under and node.type in LEARNS
            and not _is_frozen(node.layer) and not _param_names(node.layer) & shared]
    if not under or not idle:
        return []
    more = [layer.display_name for layer in idle[1:4]] + ["..."] * (len(idle) > 4)
    return [fault_of(idle[0], WARNING, "no_effect", "has no effect on the loss, and Caffe does not train it%s"
                     % ("; nor %s" % ", ".join(more) if more else ""))]


def _param_names(layer):
    """Return the names under which a layer shares its weights."""
    named = layer.values("param")
    if not layer.old:
        named = [name for param in named if isinstance(param, dict) for name in param.get("name", ())]
    return frozenset(name for name in named if isinstance(name, str) and name)


# The checks of a loss by its scores and labels.
OF_LOSSES = frozenset((_swapped, _softmax_before, _fresh_weights, _label_images))
