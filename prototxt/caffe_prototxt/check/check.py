"""A net checked in each state that it is made for: by its text, in Caffe, and against its data."""
from __future__ import division, print_function

import collections

from caffe_losses.compat import to_display
from caffe_prototxt.check import caffe_checks, text_checks
from caffe_prototxt.check.faults import ERROR, UNCHECKED, WARNING, Fault, FaultList, fault_of
from caffe_prototxt.data import labels
from caffe_prototxt.net import data_layers, losses
from caffe_prototxt.net.graph import Graph, origin

# Faults with which Caffe does not make a net, so that it is not tried with them.
PREVENT = frozenset(("rules", "blob", "loss_weight", "propagate_down", "normalize", "text"))

# faults: pairs of a Fault and the States in which it is. losses: {State: list of text_checks.Part}.
Report = collections.namedtuple("Report", "faults losses")


def check(net, states, caffe=None, gpus=1, shapes=None, label_seconds=10, python=True):
    """Check a net.

    net: nets.Net; what Caffe says of its InfogainLoss is noted in its `classic`. states: of State, to check it in.
    caffe: caffe_process.Caffe, to make the net in; None: only the text is checked.
    gpus: int, the number of GPUs that `caffe train` is to run on. shapes: {top: shape}, for the tops of data layers.
    label_seconds: the time for counting the labels of each data layer; 0: they are not counted.
    python: bool, whether Python layers may run; if not, they are left out. Returns Report.
    """
    faults = FaultList(text_checks.net_faults(net))
    parts = collections.OrderedDict()
    in_caffe = _InCaffe(caffe, shapes, label_seconds, python) if caffe else None
    for state in states:
        graph = Graph(net, state)
        of_state = text_checks.state_faults(graph)
        if in_caffe:
            try:
                of_state = in_caffe.check(graph, of_state, faults)
            except caffe_checks.NoCaffe as error:
                in_caffe = None
                faults.add([Fault("no_caffe", UNCHECKED, None, None,
                                  "what Caffe itself says, as there is none here (%s)" % error)])
        if gpus > 1:
            of_state = of_state + text_checks.multi_gpu(graph)
        faults.add(of_state, state)
        parts[state] = text_checks.loss_parts(graph)
    faults.add(_no_loss(net, parts, faults))
    return Report(faults.pairs(), parts)


class _InCaffe(object):
    """The faults that Caffe and the data add to those of a net's text."""

    def __init__(self, caffe, shapes, label_seconds, python):
        self.caffe, self.shapes, self.python = caffe, shapes, python
        self.known = None
        self.count = _LabelCounter(label_seconds) if label_seconds else None

    def check(self, graph, of_state, faults):
        """Return all faults in a state. of_state: those of the text; faults: FaultList, of the net. Raises NoCaffe."""
        prevented = set(fault.layer.index for fault in of_state + [fault for fault, _ in faults.pairs()]
                        if fault.kind in PREVENT and fault.layer)
        broken = [node for node in graph.nodes if node.layer.index in prevented]
        made = caffe_checks.CaffeCheck(self.caffe, graph, broken, self.shapes, self.known, self.python).make()
        self.known = made.known
        if made.known.get("classic") and not graph.net.classic:
            graph.net.classic = True
            of_state = text_checks.state_faults(graph)
        of_labels = _label_faults(graph, made, self.count) if self.count else []
        return of_state + made.faults + _asked_gradients(graph, made) + of_labels


def _no_loss(net, parts, faults):
    """Return the Fault of a net with data to train on, but no loss in any of its training states."""
    training = [state for state in parts if state.phase == "TRAIN"]
    if any(parts[state] for state in training) or faults.has_errors() or not any(
            data_layers.is_data(node) for state in training for node in Graph(net, state).nodes):
        return []
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


def _label_faults(graph, made, count):
    """Return the Faults of losses that have no class for labels in their data."""
    faults = []
    for node in graph.nodes:
        is_known = losses.kind_of(node.layer) and len(node.bottoms) > 1
        made_by, scores = origin(node, 1) if is_known else None, made.bottom_shape(node, 0)
        if made_by is None or scores is None or made_by[0] in made.replaced:
            continue
        data, number = made_by
        source = data_layers.source(data.layer)
        if source is None or data.type != "HDF5Data" and number != 1:
            continue
        try:
            params = losses.read_loss(node.layer).params
            axis = 1 if params.axis is None else params.axis
            counts = count(to_display(source), to_display(data.tops[number]), data.type)
            if -len(scores) <= axis < len(scores):
                labels.per_class(counts, scores[axis], params.ignore_label)
            if not counts.complete:
                faults.append(fault_of(node.layer, UNCHECKED, "labels", "labels of %s: only the first %d"
                                       % (to_display(source), counts.counts.sum())))
        except ValueError as error:
            faults.append(fault_of(node.layer, ERROR, "labels", "has labels that it has no class for: %s" % error))
        except (EnvironmentError, ImportError) as error:
            faults.append(fault_of(node.layer, UNCHECKED, "labels", "labels: %s" % error))
    return faults


class _LabelCounter(object):
    """Counts the labels of data layers, each source once."""

    def __init__(self, seconds):
        self.seconds = seconds
        self._counts = {}

    def __call__(self, source, dataset, kind):
        key = source, dataset if kind == "HDF5Data" else None
        if key not in self._counts:
            pixels = kind == "HDF5Data" and labels.is_of_pixels(source, dataset)
            self._counts[key] = labels.count_source(source, dataset, pixels, seconds=self.seconds)
        return self._counts[key]
