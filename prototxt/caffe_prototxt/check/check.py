"""A net checked in each state that it is made for: by its text, in Caffe, and against its data."""
from __future__ import division, print_function

import collections
import os

import numpy as np

from caffe_losses.compat import to_bytes, to_display
from caffe_losses.formats.caffemodel import CaffeModel
from caffe_prototxt.check import caffe_checks, text_checks
from caffe_prototxt.check.faults import ERROR, UNCHECKED, WARNING, Fault, FaultList, fault_of
from caffe_prototxt.data import labels
from caffe_prototxt.data.net_source import whole_source
from caffe_prototxt.net import data_layers, losses
from caffe_prototxt.net.adjustments import has_prior_in_weights
from caffe_prototxt.net.graph import Graph, origin
from caffe_prototxt.net.matrix_sources import MODULE
from caffe_prototxt.net.shapes import MAKE_CLASSES
from caffe_prototxt.net.states import PHASES
from caffe_prototxt.textformat.messages import is_true
from caffe_prototxt.training.net_labels import Uncountable, count_in_caffe

# Types of layers whose outputs somebody looks at in a net that is not trained.
RESULTS = frozenset(("Accuracy", "ArgMax", "DetectionEvaluate", "DetectionOutput", "HDF5Output", "Sigmoid", "Softmax"))
FEWEST_FOR_TRIPLETS = 3  # rows: an anchor, a positive and a negative

MOST_BATCHES = 1000  # in which labels are counted, if there is time

# faults: pairs of a Fault and the States in which it is. losses: {State: list of text_checks.Part}.
# labels: {State: list of str}, the labels that were counted.
Report = collections.namedtuple("Report", "faults losses labels")


def check(net, states, caffe=None, gpus=1, shapes=None, label_seconds=10, python=True, weights=(), path=None):
    """Check a net.

    net: nets.Net; what Caffe says of its InfogainLoss is noted in its `classic`. states: of State, to check it in.
    caffe: caffe_process.Caffe, to make the net in; None: only the text is checked.
    gpus: int, the number of GPUs that `caffe train` is to run on. shapes: {top: shape}, for the tops of data layers.
    label_seconds: the time for counting the labels of each data layer; 0: they are not counted.
    python: bool, whether Python layers may run; if not, they are left out.
    weights: the .caffemodel files that the training is known to begin with.
    path: the net's file, beside which the modules of its Python layers and its weights are looked for, or None.
    Returns Report. Raises ValueError for a shape that no data layer can have.
    """
    folder = path and os.path.dirname(os.path.abspath(path))
    _check_tops(net, shapes or {})
    faults = FaultList(text_checks.net_faults(net))
    parts, counted = collections.OrderedDict(), {}
    known, reason = _known(caffe)
    if reason:
        faults.add([Fault("no_caffe", UNCHECKED, None, None, "what Caffe itself says, as %s: its types and fields, "
                          "shapes, Python layers and labels" % reason)])
    net.classic = net.classic or known.get("classic", False)
    counter = _Labels(caffe, label_seconds, python)
    for state in states:
        graph = Graph(net, state)
        of_state = text_checks.state_faults(graph, bool(weights)) + _missing_weights(graph, weights, path)
        if gpus > 1:
            of_state += text_checks.multi_gpu(graph, known.get("train_py", False))
        if known:
            of_text = faults.faults() + of_state
            made = caffe_checks.CaffeCheck(caffe, graph, known, of_text, shapes, python, folder).make()
            of_state += made.faults + _asked_gradients(graph, made) + _few_for_triplets(graph, made)
            if label_seconds:
                of_labels, counted[state] = counter.faults(graph, made)
                of_state += of_labels
        faults.add(of_state, state)
        parts[state] = text_checks.loss_parts(graph)
    faults.add(_no_loss(net, parts, faults))
    return Report(faults.pairs(), parts, counted)


def _known(caffe):
    """Return (what the Caffe here has, as End.known; why it cannot be asked, or None)."""
    if caffe is None:
        return {}, "--no-caffe says"
    end = caffe.run("", PHASES[0], [])
    if end.known:
        return end.known, None
    return {}, "there is none here (%s)" % end.no_caffe if end.no_caffe else end.message


def _check_tops(net, shapes):
    """Raise ValueError for a shape of a blob that no layer without bottoms makes, or of images without four axes."""
    makers = collections.OrderedDict((top, layer) for layer in net.layers if not layer.bottoms for top in layer.tops)
    for top, shape in shapes.items():
        if top not in makers:
            raise ValueError("--shape: expected a top of a data layer (%s), got %s"
                             % (", ".join(map(to_display, makers)) or "none", to_display(top)))
        if makers[top].type in data_layers.OF_IMAGES and makers[top].tops[0] == top and len(shape) != 4:
            raise ValueError("--shape %s: expected 4 numbers, as its layer is of type %s, got %d"
                             % (to_display(top), makers[top].type, len(shape)))


def _missing_weights(graph, weights, path):
    """Return the Faults of layers with a matrix or a log prior in weights that the training begins without."""
    faults = []
    for node in graph.whole_nodes if graph.state.phase == "TRAIN" else ():
        parts, what = [part for part in node.parts[:-1] if part.type in MAKE_CLASSES], ("matrix", "the loss is 0")
        if has_prior_in_weights(node.layer):
            parts, what = [node], ("log prior", "nothing is adjusted")
        needed = set(to_bytes(part.layer.name) for part in parts)
        if needed and not any(needed <= _layers_with_weights(file, needed) for file in weights):
            own = os.path.splitext(path)[0] + losses.WEIGHTS_ENDING if path else ""
            if not needed <= _layers_with_weights(own):
                own = "FILE.caffemodel (which use_loss.py --native writes)"
            faults.append(fault_of(
                node.layer, WARNING, "weights", "has its %s in weights that are 0 until caffe train -weights %s "
                "brings them: without that %s throughout" % (what[0], own, what[1])))
    return faults


def _layers_with_weights(path, unknown=frozenset()):
    """Return the names of the layers with weights in a .caffemodel; of one that cannot be read, `unknown`."""
    try:
        return set(name for name, blobs in CaffeModel(path).layers.items() if blobs)
    except (EnvironmentError, ValueError):
        return unknown


def _no_loss(net, parts, faults):
    """Return the Fault of a net with data to train on, but no loss in any of its training states."""
    training = [state for state in parts if state.phase == "TRAIN"]
    nodes = [node for state in training for node in Graph(net, state).nodes]
    if any(parts[state] for state in training) or faults.has_errors() or not any(map(data_layers.is_data, nodes)):
        return []
    if any(node.type in RESULTS and all(user.type in RESULTS for user, _ in node.users) for node in nodes):
        return []  # it is written for testing
    return [Fault("no_loss", WARNING, None, None, "has no loss for TRAIN: Caffe would train nothing")]


def _asked_gradients(graph, made):
    """Return the Faults of losses whose backward pass ends, as Caffe asks for a gradient of labels or H."""
    faults = []
    if graph.state.phase != "TRAIN" or graph.net.force_backward:
        return faults
    for node in graph.nodes:
        allowed = dict(enumerate(node.layer.values("propagate_down")))
        for number, maker in list(enumerate(node.makers))[1:] if losses.kind_of(node.layer) else ():
            if maker in made.backward and is_true(allowed.get(number, True)):
                others = "" if maker.type == "Python" else ", or those before it,"
                faults.append(fault_of(
                    node.layer, ERROR, "gradient", "is asked for a gradient with respect to %s, and there is none: "
                    "what comes before that learns; give layer %s%s param { lr_mult: 0 decay_mult: 0 } for each of "
                    "its blobs"
                    % (to_display(node.bottoms[number]), maker.layer.display_name, others)))
    return faults


def _few_for_triplets(graph, made):
    """Return the Faults of a TripletSelect whose batch has no triplet."""
    faults = []
    for node in graph.nodes:
        if node.type == "Python" and losses.python_class(node.layer) == (MODULE, "TripletSelect"):
            shape = made.bottom_shape(node, 0)
            if shape and shape[0] < FEWEST_FOR_TRIPLETS and not made.has_unknown_batch(node):
                faults.append(fault_of(
                    node.layer, WARNING, "batch", "gets a batch of %d, which has no triplet, and the loss stays as it "
                    "is: take a batch_size of many samples of each class" % shape[0]))
    return faults


class _Labels(object):
    """Counts the labels of the losses of a net, each source once."""

    def __init__(self, caffe, seconds, python):
        self.caffe, self.seconds, self.python = caffe, seconds, python
        self._counts = {}

    def faults(self, graph, made):
        """Return the Faults of losses with labels that they have no class for, or that cannot be counted; and notes."""
        faults, notes = [], []
        for node in graph.whole_nodes:
            scores = made.bottom_shape(node, 0)
            if scores is None or not losses.is_on_labels(node.layer) or node.parts[-1] in made.out:
                continue
            if made.label_data(node):  # which says so
                continue
            try:
                counts = self._count(graph, node)
                notes.append(_coverage(node, scores, counts))
            except (EnvironmentError, ImportError, Uncountable) as error:
                faults.append(fault_of(node.layer, UNCHECKED, "labels", "labels of %s: %s"
                                       % (node.layer.display_name, error)))
            except ValueError as error:
                faults.append(fault_of(node.layer, ERROR, "labels", "has labels that it has no class for: %s" % error))
        return faults, notes

    def _count(self, graph, node):
        """Return the LabelCounts of a loss: of its whole source where that can be read, else of some batches."""
        made_by = origin(node, 1)
        whole = whole_source(*made_by) if made_by else None
        key = whole or (node.makers[1], node.bottoms[1])
        if key not in self._counts:
            self._counts[key] = labels.count_source(*whole, seconds=self.seconds) if whole else count_in_caffe(
                self.caffe, graph, node, MOST_BATCHES, self.seconds, self.python)
        return self._counts[key]


def _coverage(node, scores, counts):
    """Return a line on the labels that were counted and the classes without any. Raises ValueError for a bad label."""
    params = losses.read_params(node.layer)
    axis = 1 if params.axis is None else params.axis
    n_classes = scores[axis] if -len(scores) <= axis < len(scores) else None
    per_class, _ = labels.per_class(counts, n_classes, params.ignore_label)
    absent = [str(label) for label in np.flatnonzero(per_class == 0)]
    part = counts.source if counts.unit == "label" else "%s %ss of %s" % (
        "all" if counts.complete else "the first", counts.unit, counts.source)
    return "labels of %s: %d counted (%s)%s" % (
        node.layer.display_name, counts.counts.sum(), part,
        "; none of class %s" % ", ".join(absent[:10] + ["..."] * (len(absent) > 10)) if absent else "")
