"""Note what the figures of a log mean: a training that learns nothing, accuracies of a net that has diverged."""
from __future__ import division, print_function

import math

from caffe_losses.compat import from_bytes, to_display
from caffe_losses.layers import param_str
from caffe_prototxt.net import losses
from caffe_prototxt.net.graph import Graph
from caffe_prototxt.net.nets import Net
from caffe_prototxt.net.states import State
from caffe_prototxt.training.training_log import is_finite

FEWEST_POINTS = 5  # of a loss that may be said to stay
USUAL_CLASSES = list(range(2, 101)) + [1000]  # numbers of classes that are tried where the log does not show the net
TRIPLETS = {"mse": .25, "log": math.log(2)}  # by form, of TripletSoftmaxLoss where all embeddings are equal


def notes_of(log):
    """Return a list of notes, str, about a training_log.Log."""
    notes, diverged = list(log.notes), log.diverged()
    if diverged is not None and log.test:
        notes.append("from iteration %d on a test accuracy means nothing: Caffe's Accuracy layer takes NaN scores for "
                     "right" % diverged)
    if diverged is None and log.clipped() is None:
        notes += _stuck(log)
    return notes


def _stuck(log):
    """Return a note for each training loss, or else test loss, that stays where nothing is learned."""
    levels = _levels(log)
    named = [(name, series) for name, series in log.train.items() if series.is_loss and len(series)]
    named = named or [("loss", log.loss)] * bool(len(log.loss)) or [
        (name, series) for outputs in log.test.values() for name, series in outputs.items() if series.is_loss]
    notes = []
    for name, series in named:
        known = levels.get(name) or [level for of_output in levels.values() for level in of_output]
        found = _level(series.values, known, "triplet" in name.lower())
        if found:
            notes.append("%s stays at %s: nothing is learned" % (name, found))
    return notes


def _level(values, known, triplets):
    """Return the level at which the later half of some values stays, in words, or None.

    known: [(value, words)] of the net's losses; without any, those of usual numbers of classes are tried, which a loss
    that has been lower does not stay at.
    """
    later = values[len(values) // 2:]
    if len(values) < FEWEST_POINTS or not all(map(is_finite, later)):
        return None
    mean = sum(later) / len(later)
    if not known and triplets:
        known = [_equal_embeddings(level) for level in TRIPLETS.values()]
    if not known:
        nearest = min(USUAL_CLASSES, key=lambda n: abs(mean - math.log(n)))
        near = abs(mean - math.log(nearest)) <= min(.1 / nearest, .005) and min(values) > .97 * mean
        known = [_equal_probabilities(nearest)] * near
    return next((words for level, words in known if abs(mean - level) <= .01 * level
                 and max(abs(value - level) for value in later) <= .05 * level), None)


def _equal_probabilities(n_classes):
    return math.log(n_classes), "log(%d) = %.4f, the loss of equal probabilities" % (n_classes, math.log(n_classes))


def _equal_embeddings(level):
    return level, "%.4g, the loss of triplets whose embeddings are equal" % level


def _levels(log):
    """Return {output: [(value, words)]} of the losses of the net that the log shows."""
    texts = [(log.train_net, "TRAIN")] + [(net.text, "TEST") for net in log.test_nets.values()]
    for text, phase in texts:
        try:
            graph = Graph(Net(from_bytes(text.encode("utf-8"))), State(phase)) if text else None
            levels = {to_display(node.tops[0]) if node.tops else "(automatic)": found for node, found in
                      [(node, _levels_of(graph, node)) for node in graph.whole_nodes] if found} if graph else {}
        except ValueError:  # not as it was
            continue
        if levels:
            return levels
    return {}


def _levels_of(graph, node):
    """Return [(value, words)] of a node, empty for what is no loss that is known."""
    kind = losses.python_class(node.layer)[1] or node.type
    if kind == "TripletSoftmaxLoss":
        form = _params(node.layer).get("form")
        return [_equal_embeddings(TRIPLETS[form if form in TRIPLETS else "mse"])]
    if "triplet" in kind.lower():  # somebody else's, with a margin, by which distances of 0 fall short of it
        margin = _params(node.layer).get("margin", node.layer.value_in("triplet_loss_param", "margin"))
        is_margin = isinstance(margin, (int, float)) and margin > 0
        return [_equal_embeddings(level) for level in (margin, margin / 2)] if is_margin else []
    makers = [maker.type for maker in node.makers_in_net()]
    if node.type == "EuclideanLoss" and "Softmax" in makers:  # the same out of Caffe's own layers
        return [_equal_embeddings(TRIPLETS["mse"])]
    if losses.is_on_labels(node.layer):
        n_classes = graph.net.n_classes(node.layer, node.bottoms[0])
        missing = [(0, "0, as without the weights of %s (caffe train -weights)" % losses.kind_of(node.layer).name)]
        return missing * (len(node.parts) > 1) + [_equal_probabilities(n_classes)] * bool(n_classes and n_classes > 1)
    return []


def _params(layer):
    """Return the dict in the param_str of a layer, empty for none."""
    text = layer.value_in("python_param", "param_str")
    try:
        return param_str.read_object(to_display(text)) if isinstance(text, str) else {}
    except ValueError:
        return {}
