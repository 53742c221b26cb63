"""A net checked: in each state that it is made for, by its text, in Caffe, and against its data."""
from __future__ import division, print_function

import collections

from caffe_prototxt import checks, data_layers, losses, real_net
from caffe_prototxt import graph as G
from caffe_prototxt import text as T
from caffe_prototxt.checks import ERROR, UNCHECKED, WARNING, Fault, name_of
from caffe_prototxt.states import PHASES, State

# Faults with which Caffe does not make a net, so that it is not tried with them.
PREVENT = frozenset(("rules", "blob", "loss_weight", "propagate_down", "normalize", "text"))
MAX_STATES = 10

# faults: pairs of a checks.Fault and the States in which it is. losses: {State: list of checks.Part}.
Report = collections.namedtuple("Report", "faults losses")


def check(net, states, caffe=None, gpus=1, shapes=None, label_seconds=10, python=True):
    """Check a net.

    net: nets.Net. states: of State, those in which to check it.
    caffe: caffe_run.Caffe, to make the net in; None: its text is all that is looked at.
    gpus: int, on how many `caffe train` is to run.
    shapes: {top: shape}, given for the tops of data layers; a tuple of int each.
    label_seconds: how long the labels of each data layer may be counted; 0: not at all.
    python: bool, whether the classes of Python layers may run; if not, they are left out.
    Returns Report.
    """
    lines = checks.Lines(net.text)
    found = _Found()
    found.add(checks.net_faults(net, lines), None)
    total = collections.OrderedDict()
    in_caffe = _InCaffe(caffe, lines, shapes, label_seconds, python) if caffe else None
    for state in states:
        graph = G.Graph(net, state)
        faults = checks.faults(graph, lines)
        if in_caffe:
            try:
                faults = in_caffe.check(graph, faults, found)
            except real_net.NoCaffe as error:
                in_caffe = None
                found.add([Fault("no_caffe", UNCHECKED, None, None,
                                 "what Caffe itself says, as there is none here (%s)" % error)], None)
        if gpus > 1:
            faults = faults + checks.multi_gpu(graph, lines)
        found.add(faults, state)
        total[state] = checks.total_loss(graph, lines)
    found.add(_no_loss(net, states, total, found), None)
    return Report(found.faults(), total)


class _InCaffe(object):
    """What Caffe and the data add to the faults that a net's text shows."""

    def __init__(self, caffe, lines, shapes, label_seconds, python):
        self.caffe, self.lines, self.shapes, self.python = caffe, lines, shapes, python
        self.known = None
        self.counted = _CountedLabels(label_seconds) if label_seconds else None

    def check(self, graph, faults, found):
        """All faults in a state. faults: those of the text; found: _Found, those of the net. Raises real_net.NoCaffe."""
        prevent = set(fault.layer.index for fault in faults + [fault for fault, _ in found.faults()]
                      if fault.kind in PREVENT and fault.layer)
        broken = [place for place, layer in enumerate(graph.layers) if layer.index in prevent]
        made = real_net.RealNet(self.caffe, graph, self.lines, broken, self.shapes, self.known,
                                self.python).make()
        self.known = made.known
        classic = made.known.get("classic", False)
        if classic:
            faults = checks.faults(graph, self.lines, classic)
        faults = faults + made.faults + _asked_gradients(graph, made, self.lines)
        return faults + (_labels(graph, made, self.lines, self.counted, classic) if self.counted else [])


def usual_states(net):
    """The States that a net is made for: both phases, without stages and with each that its rules name.

    One in which a layer that it needs is missing, or a blob is made twice, is not meant if
    others of its phase are whole: a net whose data layers are there for stages only.
    """
    level = next((level for level in net.state.get("level", ()) if isinstance(level, int)), 0)
    own = tuple(str(stage) for stage in net.state.get("stage", ()))
    named = sorted(set(str(stage) for layer in net.layers for rules in layer.rules.values() for rule in rules
                       if isinstance(rule, dict) for name in ("stage", "not_stage") for stage in rule.get(name, ())) - set(own))
    found = []
    for phase in PHASES:
        plain = State(phase, level, own)
        graphs = [G.Graph(net, state) for state in [plain] + [
            plain._replace(stages=own + (stage,)) for stage in named[:MAX_STATES]]]
        whole = [graph for graph in graphs if _is_whole(graph)]
        if graphs[0] not in whole and not (whole and _needs_stage(graphs)):
            whole.insert(0, graphs[0])
        different = collections.OrderedDict()
        for graph in whole:
            different.setdefault(tuple(layer.index for layer in graph.layers), graph.state)
        found += different.values()
    return found


def _is_whole(graph):
    return not graph.again and not any(G.UNKNOWN in makers for makers in graph.makers)


def _needs_stage(graphs):
    """Whether what the first of some graphs lacks is there with a stage."""
    missing = set(bottom for layer, makers in zip(graphs[0].layers, graphs[0].makers)
                  for bottom, maker in zip(layer.bottoms, makers) if maker is G.UNKNOWN)
    return missing <= set(top for graph in graphs[1:] for layer in graph.layers for top in layer.tops)


class _Found(object):
    """Faults, those that are the same in several states as one."""

    def __init__(self):
        self._states = collections.OrderedDict()

    def add(self, faults, state):
        for fault in faults:
            # A layer's faults are told apart by where it begins: layers may have the same name.
            key = (fault.kind, fault.layer.index if fault.layer else None, fault.message)
            _, states = self._states.setdefault(key, (fault, []))
            if state is not None and state not in states:
                states.append(state)

    def has_errors(self):
        return any(fault.level == ERROR for fault, _ in self._states.values())

    def faults(self):
        order = [ERROR, WARNING, UNCHECKED]
        return sorted(self._states.values(), key=lambda found: (order.index(found[0].level), found[0].line or 0))


def _no_loss(net, states, total, found):
    """Training states of which none has a loss, though there is data to train on."""
    training = [state for state in states if state.phase == "TRAIN"]
    if not training or any(total[state] for state in training) or found.has_errors():
        return []
    graphs = [G.Graph(net, state) for state in training]
    if not any(data_layers.is_data(graph, place) for graph in graphs for place in range(len(graph.layers))):
        return []
    return [Fault("no_loss", WARNING, None, None, "has no loss for TRAIN: Caffe would train nothing")]


def _asked_gradients(graph, made, lines):
    """Losses that Caffe would ask for a gradient with respect to labels or H, at which its backward pass ends."""
    faults = []
    if graph.state.phase != "TRAIN" or graph.net.force_backward:
        return faults
    for place, layer in enumerate(graph.layers):
        kind = losses.kind_of(layer)
        allowed = layer.values("propagate_down")
        for number, maker in enumerate(graph.makers[place]):
            if kind and number > 0 and maker in made.backward and not (
                    number < len(allowed) and allowed[number] in ("false", "f", "False", 0)):
                faults.append(Fault(
                    "gradient", ERROR, layer, lines(layer.begin), "is asked for a gradient with respect to %s, and there is "
                    "none: what comes before that learns; give layer %s%s param { lr_mult: 0 decay_mult: 0 } for each of its "
                    "blobs" % (T.shown(layer.bottoms[number]), name_of(graph.layers[maker]),
                               "" if graph.types[maker] == "Python" else ", or those before it,")))
    return faults


def _labels(graph, made, lines, counted, classic):
    """Labels in the data that a loss has no class for."""
    from caffe_prototxt.labels import per_class
    faults = []

    def fault(level, message):
        faults.append(Fault("labels", level, layer, lines(layer.begin), message))

    for place, layer in enumerate(graph.layers):
        kind = losses.kind_of(layer, classic)
        origin = graph.origin(place, 1) if kind and len(layer.bottoms) > 1 else None
        scores = made.bottom_shape(place, 0)
        if origin is None or scores is None or origin[0] in made.replaced:
            continue
        data, number = origin
        source = data_layers.source(graph.layers[data], graph.types[data])
        if source is None or graph.types[data] != "HDF5Data" and number != 1:
            continue
        try:
            loss = losses.read_loss(graph.net, layer, kind)
            axis = 1 if loss.axis is None else loss.axis
            counts = counted(T.shown(source), T.shown(graph.layers[data].tops[number]), graph.types[data])
            if -len(scores) <= axis < len(scores):
                per_class(counts, scores[axis], loss.ignore_label)
            if not counts.complete:
                fault(UNCHECKED, "labels of %s: only the first %d" % (T.shown(source), counts.counts.sum()))
        except ValueError as error:
            fault(ERROR, "has labels that it has no class for: %s" % error)
        except (EnvironmentError, ImportError) as error:
            fault(UNCHECKED, "labels: %s" % error)
    return faults


class _CountedLabels(object):
    """The labels of data layers, each source counted once."""

    def __init__(self, seconds):
        self.seconds = seconds
        self._counts = {}

    def __call__(self, source, dataset, kind):
        from caffe_prototxt import labels
        key = source, dataset if kind == "HDF5Data" else None
        if key not in self._counts:
            pixels = kind == "HDF5Data" and labels.is_of_pixels(source, dataset)
            self._counts[key] = labels.count_source(source, dataset, pixels, seconds=self.seconds)
        return self._counts[key]
