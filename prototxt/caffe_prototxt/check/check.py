"""A net checked in each state that it is made for: by its text, in Caffe, and against its data."""
from __future__ import division, print_function

import collections

import numpy as np

from caffe_losses.compat import to_display
from caffe_prototxt.check import caffe_checks, text_checks
from caffe_prototxt.check.faults import ERROR, UNCHECKED, WARNING, Fault, FaultList, fault_of
from caffe_prototxt.data import labels
from caffe_prototxt.data.net_source import whole_source
from caffe_prototxt.net import data_layers, losses
from caffe_prototxt.net.graph import Graph, origin
from caffe_prototxt.net.matrix_sources import MODULE
from caffe_prototxt.training.net_labels import Uncountable, count_in_caffe

# Faults with which Caffe does not make a net, so that it is not tried with them.
PREVENT = frozenset(("rules", "blob", "loss_weight", "propagate_down", "normalize", "text", "missing", "swapped"))
# Types of layers whose outputs somebody looks at in a net that is not trained.
RESULTS = frozenset(("Accuracy", "ArgMax", "DetectionEvaluate", "DetectionOutput", "HDF5Output", "Sigmoid", "Softmax"))
FEWEST_FOR_TRIPLETS = 3  # rows: an anchor, a positive and a negative

MOST_BATCHES = 1000  # in which labels are counted, if there is time

# faults: pairs of a Fault and the States in which it is. losses: {State: list of text_checks.Part}.
# labels: {State: list of str}, the labels that were counted.
Report = collections.namedtuple("Report", "faults losses labels")


def check(net, states, caffe=None, gpus=1, shapes=None, label_seconds=10, python=True, has_weights=False, folder=None):
    """Check a net.

    net: nets.Net; what Caffe says of its InfogainLoss is noted in its `classic`. states: of State, to check it in.
    caffe: caffe_process.Caffe, to make the net in; None: only the text is checked.
    gpus: int, the number of GPUs that `caffe train` is to run on. shapes: {top: shape}, for the tops of data layers.
    label_seconds: the time for counting the labels of each data layer; 0: they are not counted.
    python: bool, whether Python layers may run; if not, they are left out.
    has_weights: bool, whether the training is known to begin with the weights of another.
    folder: that of the net's file, to look for the modules of its Python layers, or None. Returns Report.
    """
    faults = FaultList(text_checks.net_faults(net))
    parts = collections.OrderedDict()
    counted = {}
    in_caffe, has_train_py = None, False
    if caffe:
        in_caffe = _InCaffe(caffe, shapes, label_seconds, python, counted, has_weights, folder)
    else:
        faults.add([_no_caffe("--no-caffe says")])
    for state in states:
        graph = Graph(net, state)
        of_state = text_checks.state_faults(graph, has_weights)
        if in_caffe:
            try:
                of_state = in_caffe.check(graph, of_state, faults)
                has_train_py = in_caffe.known.get("train_py", False)
            except caffe_checks.NoCaffe as error:
                in_caffe = None
                faults.add([_no_caffe("there is none here (%s)" % error)])
        if gpus > 1:
            of_state = of_state + text_checks.multi_gpu(graph, has_train_py)
        faults.add(of_state, state)
        parts[state] = text_checks.loss_parts(graph)
    faults.add(_no_loss(net, parts, faults))
    return Report(faults.pairs(), parts, counted)


def _no_caffe(reason):
    return Fault("no_caffe", UNCHECKED, None, None, "what Caffe itself says, as %s: its types and fields, shapes, "
                 "Python layers and labels" % reason)


class _InCaffe(object):
    """The faults that Caffe and the data add to those of a net's text."""

    def __init__(self, caffe, shapes, label_seconds, python, counted, has_weights, folder):
        self.caffe, self.shapes, self.python, self.has_weights, self.folder = caffe, shapes, python, has_weights, folder
        self.known = None
        self.labels = _Labels(caffe, label_seconds, python) if label_seconds else None
        self.counted = counted  # {State: list of str}

    def check(self, graph, of_state, faults):
        """Return all faults in a state. of_state: those of the text; faults: FaultList, of the net. Raises NoCaffe."""
        prevented = set(fault.layer.index for fault in of_state + faults.faults()
                        if fault.kind in PREVENT and fault.layer)
        broken = [node for node in graph.nodes if node.layer.index in prevented]
        incomplete = set(fault.layer for fault in faults.faults() if fault.kind == "missing")
        made = caffe_checks.CaffeCheck(self.caffe, graph, broken, incomplete, self.shapes, self.known, self.python,
                                       self.folder).make()
        self.known = made.known
        if made.known.get("classic") and not graph.net.classic:
            graph.net.classic = True
            of_state = text_checks.state_faults(graph, self.has_weights)
        of_labels, self.counted[graph.state] = self.labels.faults(graph, made) if self.labels else ([], [])
        return of_state + made.faults + _asked_gradients(graph, made) + _few_for_triplets(graph, made) + of_labels


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
        allowed = node.layer.values("propagate_down")
        for number, maker in enumerate(node.makers):
            if losses.kind_of(node.layer) and number > 0 and maker in made.backward and not (
                    number < len(allowed) and allowed[number] in ("false", "f", "False", 0)):
                faults.append(fault_of(
                    node.layer, ERROR, "gradient", "is asked for a gradient with respect to %s, and there is none: what "
                    "comes before that learns; give layer %s%s param { lr_mult: 0 decay_mult: 0 } for each of its blobs"
                    % (to_display(node.bottoms[number]), maker.layer.display_name,
                       "" if maker.type == "Python" else ", or those before it,")))
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
        for node in graph.nodes:
            scores = made.bottom_shape(node, 0)
            if not losses.is_on_labels(node.layer) or node in made.out or scores is None:
                continue
            absent = [data.layer for data in made.replaced if data in graph.before(node.makers_in_net()[1:2])]
            if absent:
                made.faults = [fault._replace(message="%s; so the labels of %s are not checked" % (
                    fault.message, node.layer.display_name)) if fault.kind == "data" and fault.layer is absent[0] else fault
                    for fault in made.faults]
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
