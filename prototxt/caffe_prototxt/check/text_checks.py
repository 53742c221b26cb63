"""What is wrong with a net, as far as its text tells: without Caffe, in time linear in its length.

`faults` looks at the net in one state, `real_net` at what Caffe makes of it then.
"""
from __future__ import division, print_function

import bisect
import collections

from caffe_losses.compat import to_display
from caffe_prototxt.net import graph as G
from caffe_prototxt.net.losses import CLASSIC, MODULE, kind_of

ERROR, WARNING, UNCHECKED = "error", "warning", "not checked"

# kind: one word for scripts. level: ERROR, WARNING or UNCHECKED. layer: the nets.Layer, or None for the net.
# line: int, or None. message: str.
Fault = collections.namedtuple("Fault", "kind level layer line message")

# A top that counts as loss. type: of its layer, or the module and class of a Python layer.
Part = collections.namedtuple("Part", "weight top layer line type")

# Ours, besides the losses, that end Caffe's backward pass if a gradient with respect to labels is asked for.
PYTHON_LABELS = frozenset(("ComputeH", "LabelCheck"))
MAKES_SCORES = frozenset(("InnerProduct", "Convolution", "Deconvolution"))

# Layers with weights to learn.
LEARNS = frozenset(("InnerProduct", "Convolution", "Deconvolution", "Embed", "PReLU", "Scale", "Bias", "LSTM", "RNN",
                    "Parameter"))


class Lines(object):
    """The line numbers of places in a text."""

    def __init__(self, text):
        self._ends = []
        at = text.find("\n")
        while at >= 0:
            self._ends.append(at)
            at = text.find("\n", at + 1)

    def __call__(self, at):
        return bisect.bisect_left(self._ends, at) + 1

    def __len__(self):
        return len(self._ends) + 1


def name_of(layer):
    return to_display(layer.name) or "(no name)"


def net_faults(net, lines):
    """The Faults of a net in any state."""
    return [_fault(ERROR, "rules", layer, lines, "has include and exclude rules, of which Caffe allows only one kind")
            for layer in net.layers if len(layer.rules) == 2]


def faults(graph, lines, classic=False):
    """The Faults of a net in a state.

    graph: graph.Graph. lines: Lines of the net's text.
    classic: whether Caffe's InfogainLoss is that of before April 2017, which takes probabilities.
    """
    found = []
    checks = [_connections, _numbers, _softmax_before] + ([] if classic else [_normalize])
    if graph.state.phase == "TRAIN":
        checks += [_python_loss_weight, _gradients]
    again = dict((place, top) for place, top in graph.again)
    for place, layer in enumerate(graph.layers):
        try:
            if place in again:
                found.append(_fault(ERROR, "blob", layer, lines, "makes %s, which another layer makes before it"
                                    % to_display(again[place])))
            for check in checks:
                found += [_fault(level, kind, layer, lines, message)
                          for level, kind, message in check(graph, place, classic)]
        except ValueError as error:  # what the text has in the place of a value or a message
            found.append(_fault(ERROR, "text", layer, lines, str(error)))
    if graph.state.phase == "TRAIN" and "blob" not in [fault.kind for fault in found]:
        found += _without_effect(graph, lines)
    return found


def multi_gpu(graph, lines):
    """The Faults of a net that `caffe train` is to run on more than one GPU."""
    return [_fault(ERROR, "multi_gpu", layer, lines,
                   "is a Python layer, and caffe train takes none on more than one GPU (\"use train.py\"); a native "
                   "InfogainLoss with H from a file trains there, or pycaffe's train.py with one process for each GPU")
            for layer, kind in zip(graph.layers, graph.types) if kind == "Python" and graph.state.phase == "TRAIN"]


def total_loss(graph, lines):
    """How the loss is made up: a list of Part, in the net's order."""
    found = []
    for place, weights in enumerate(graph.weights):
        layer = graph.layers[place]
        tops = layer.tops or ["(automatic)"]
        found += [Part(weight, top, layer, lines(layer.begin), loss_name(graph, place))
                  for weight, top in zip(weights, tops) if weight]
    return found


def loss_name(graph, place):
    """The type of a layer, or the module and class of a Python layer."""
    if graph.types[place] != "Python":
        return graph.types[place]
    return ".".join(part for part in G.python_class(graph.layers[place]) if part)


def _fault(level, kind, layer, lines, message):
    return Fault(kind, level, layer, lines(layer.begin), message)


def _connections(graph, place, classic):
    layer = graph.layers[place]
    for bottom, maker in zip(layer.bottoms, graph.makers[place]):
        if maker is G.UNKNOWN:
            yield ERROR, "blob", "takes %s, which no layer before it makes" % to_display(bottom)
            return


def _numbers(graph, place, classic):
    layer, kind = graph.layers[place], graph.types[place]
    n_weights, n_tops = len(layer.values("loss_weight")), max(len(layer.tops), G.is_loss(kind))
    if n_weights not in (0, n_tops) or n_weights == 0 and G.is_loss(kind) and n_tops > 1:
        yield ERROR, "loss_weight", "has %d top%s and %s: Caffe wants one for each top, as loss_weight: 1%s" % (
            n_tops, "s" * (n_tops != 1), "%d loss_weight%s" % (n_weights, "s" * (n_weights != 1)) if n_weights else
            "no loss_weight", " loss_weight: 0" * (n_tops - 1))
    n_down = len(layer.values("propagate_down"))
    if n_down not in (0, len(layer.bottoms)):
        yield ERROR, "propagate_down", "has %d bottoms and %d propagate_down: Caffe wants none, or one for each bottom" % (
            len(layer.bottoms), n_down)


def _normalize(graph, place, classic):
    if graph.types[place] != "InfogainLoss":
        return
    loss_param = graph.layers[place].message("loss_param")
    if loss_param is not None and loss_param.items("normalize"):
        is_true = loss_param.values("normalize")[-1] in ("true", "t", "True", 1)
        yield ERROR, "normalize", "has normalize, at which Caffe's InfogainLoss stops: write normalization: %s" % (
            "VALID" if is_true else "BATCH_SIZE")


def _softmax_before(graph, place, classic):
    """A Softmax or Sigmoid before a loss that applies one itself, or none before one that does not."""
    layer, kind = graph.layers[place], graph.types[place]
    known = kind_of(layer, classic)
    wants_scores = not known.probabilities if known else kind == "SigmoidCrossEntropyLoss"
    wants_probabilities = known.probabilities if known else kind == "MultinomialLogisticLoss"
    if not layer.bottoms or not wants_scores and not wants_probabilities:
        return
    origin = graph.origin(place, 0)
    maker = None if origin is None else graph.types[origin[0]]
    if wants_scores and maker == ("Softmax" if known else "Sigmoid"):
        before = graph.layers[origin[0]]
        yield WARNING, "softmax", "gets the output of a %s, %s, and applies one itself: give it the scores, %s" % (
            maker, name_of(before), to_display((before.bottoms or [""])[0]))
    if wants_probabilities and maker in MAKES_SCORES:
        yield WARNING, "softmax", "wants probabilities%s, and gets the scores of %s: put a Softmax before it" % (
            ", as this Caffe's InfogainLoss is that of before April 2017" if known == CLASSIC else "",
            name_of(graph.layers[origin[0]]))


def _python_loss_weight(graph, place, classic):
    layer = graph.layers[place]
    if not G.is_python_loss(layer) or layer.values("loss_weight") or not layer.bottoms:
        return
    used = [user for user, _ in graph.users[place] if graph.types[user] != "Silence"]
    if used:
        return
    yield ERROR, "no_loss_weight", "is a loss in Python without loss_weight: Caffe does not train on it; write " \
        "loss_weight: 1" + " loss_weight: 0" * (len(layer.tops) - 1)


def _gradients(graph, place, classic):
    """What ends the first backward pass."""
    layer, kind = graph.layers[place], graph.types[place]
    line = graph.net.force_backward
    if kind == "InfogainLoss" and len(layer.bottoms) > 2 and line:
        yield ERROR, "force_backward", "has H as a bottom, and with force_backward: true (line %d) Caffe asks for a gradient " \
            "with respect to it and stops: take force_backward out, or give H as infogain_loss_param { source }" % line
    if kind == "Python" and line and (kind_of(layer) or G.python_class(layer)[0] == MODULE and
                                      G.python_class(layer)[1] in PYTHON_LABELS):
        yield ERROR, "force_backward", "is a Python layer, of which force_backward: true (line %d) asks a gradient with " \
            "respect to the labels, and there is none: take force_backward out" % line


def _is_frozen(layer):
    """Whether each param { } that a layer has, and it has one, says lr_mult: 0."""
    if layer.old:
        rates = layer.values("blobs_lr")
        return bool(rates) and not any(rates)
    params = [param for param in layer.values("param") if isinstance(param, dict)]
    return bool(params) and all(param.get("lr_mult", [1])[-1] == 0 for param in params)


def _without_effect(graph, lines):
    """The layers with weights that no loss depends on; those that hang together are one fault."""
    under = graph.under_loss()
    idle = [place for place in range(len(graph.layers)) if place not in under]
    learning = set(place for place in idle if graph.types[place] in LEARNS and not _is_frozen(graph.layers[place]))
    if not under or not learning:
        return []
    shared = frozenset().union(*(_param_names(graph.layers[place]) for place in under))
    found = []
    for group in _groups(graph, idle):
        layers = [graph.layers[place] for place in group
                  if place in learning and not _param_names(graph.layers[place]) & shared]
        if layers:
            more = [name_of(layer) for layer in layers[1:4]] + ["..."] * (len(layers) > 4)
            found.append(_fault(WARNING, "no_effect", layers[0], lines, "has no effect on the loss, and Caffe does not "
                                "train it%s" % ("; nor %s" % ", ".join(more) if more else "")))
    return found


def _groups(graph, places):
    """The places in sorted lists of those that hang together."""
    left = set(places)
    groups = []
    for place in places:
        if place not in left:
            continue
        left.remove(place)
        group, waiting = [], [place]
        while waiting:
            found = waiting.pop()
            group.append(found)
            near = left.intersection([user for user, _ in graph.users[found]] + graph.makers[found])
            left -= near
            waiting += near
        groups.append(sorted(group))
    return groups


def _param_names(layer):
    """The names under which a layer shares its weights."""
    named = layer.values("param")
    if not layer.old:
        named = [name for param in named if isinstance(param, dict) for name in param.get("name", ())]
    return frozenset(name for name in named if isinstance(name, str) and name)
