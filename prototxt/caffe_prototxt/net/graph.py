"""A net as Caffe makes it for one state: the layers that it keeps, and which gets what from which."""
from __future__ import division, print_function

import collections

from caffe_prototxt.net import losses
from caffe_prototxt.net.states import PHASES, State, merged
from caffe_prototxt.textformat.edits import Edits

INPUT = "input"  # the maker of a blob that the net's own `input` fields declare

# Layers that hand on the values of their first bottom, in another shape or the same.
HAND_ON = frozenset(("Split", "Reshape", "Flatten", "Dropout", "LabelCheck"))
MOST_HANDED_ON = 100  # of these one after the other; a net that goes round has no end
MOST_STATES = 10


class Node(object):
    """A layer that Caffe keeps.

    layer: nets.Layer. index: its position among the nodes. makers: for each bottom the Node that writes it last before,
    INPUT, or None. users: (Node, number of its bottom) for each bottom that a top goes to. loss_weights: of each top.
    parts: the Nodes that this one stands for, itself in Graph.nodes. taker: (Node in Graph.whole_nodes, number of its
    bottom) for a part that takes its bottom for another, else None.
    """

    def __init__(self, layer, index, makers):
        self.layer, self.index, self.makers, self.users = layer, index, makers, []
        self.parts, self.taker = [self], None
        self.type, self.bottoms, self.tops = layer.type, layer.bottoms, layer.tops
        self.loss_weights = losses.loss_weights(layer)

    def makers_in_net(self):
        return [maker for maker in self.makers if isinstance(maker, Node)]


class Graph(object):
    """The layers of a net in a state, connected.

    net: nets.Net. state: states.State. nodes: of Node, in the net's order. also: layers beside those of the state.
    duplicate_tops: (Node, top) of the tops that another layer before it makes already.
    """

    def __init__(self, net, state, also=()):
        self.net, self.state, self.nodes, self.duplicate_tops = net, state, [], []
        last = {name: INPUT for name in net.inputs}
        for layer in net.layers:
            if not layer.is_kept(state) and layer not in also:
                continue
            node = Node(layer, len(self.nodes), [last.get(bottom) for bottom in layer.bottoms])
            self.nodes.append(node)
            for number, maker in enumerate(node.makers):
                if isinstance(maker, Node):
                    maker.users.append((node, number))
            for number, top in enumerate(layer.tops):
                in_place = layer.bottoms[number:number + 1] == [top]
                dropped = net.drops_inputs and last.get(top) == INPUT
                if top in last and not in_place and not dropped:
                    self.duplicate_tops.append((node, top))
                last[top] = node
        by_layer = {node.layer.index: node for node in self.nodes}
        self.whole_nodes = [_whole(node, by_layer) for node in self.nodes]

    def is_whole(self):
        """Return whether every bottom has a maker, and every blob one."""
        return not self.duplicate_tops and not any(None in node.makers for node in self.nodes)

    def before(self, nodes):
        """Return the set of some nodes and of all that they depend on."""
        reached = set(nodes)
        for node in reversed(self.nodes):
            if node in reached:
                reached.update(node.makers_in_net())
        return reached

    def after(self, nodes):
        """Return the set of some nodes and of all that depend on them."""
        reached = set(nodes)
        for node in self.nodes:
            if reached.intersection(node.makers_in_net()):
                reached.add(node)
        return reached


def _whole(node, by_layer):
    """Return the Node of a whole loss for its last layer, and any other as it is.

    by_layer: {index of a layer: its Node}.
    """
    composition = losses.composition(node.layer)
    if composition is None or not all(part.index in by_layer for part in composition.parts):
        return node
    takers = [by_layer[taker.index] for taker in composition.takers]
    whole = Node(node.layer, node.index, [taker.makers[0] for taker in takers])
    whole.bottoms, whole.users = [taker.bottoms[0] for taker in takers], node.users
    for number, taker in enumerate(takers):
        taker.taker = whole, number
    whole.parts = [by_layer[part.index] for part in composition.parts] + [node]
    return whole


def origin(node, bottom, through=HAND_ON):
    """Return (Node, number of its top) that makes the values of a bottom, through layers that hand them on, or None."""
    for _ in range(MOST_HANDED_ON):
        blob, maker = node.bottoms[bottom], node.makers[bottom]
        if not isinstance(maker, Node):
            return None
        name = losses.python_class(maker.layer)[1] if maker.type == "Python" else maker.type
        if name not in through or not maker.bottoms:
            return maker, maker.tops.index(blob)
        node, bottom = maker, 0
    return None


def text_of(graph, nodes):
    """Return the text of a net of some nodes alone, without rules. Raises ValueError for layers in one [ ]."""
    edits, kept = Edits(graph.net.text), set(node.layer.index for node in nodes)
    for layer in graph.net.layers:
        if layer.index in kept:  # as Caffe keeps it
            edits.set(layer, dict.fromkeys(layer.rules))
        else:
            edits.take_out(layer)
    return edits.apply()


def written_states(net, phases=PHASES, level=None, stages=None):
    """Return the States of some phases that a net is written for, of the usual ones or with a level and stages.

    A net that has no layer for a phase alone is not written for it if it lacks blobs there, and is whole in the other
    phase or has its data there only.
    """
    given = level is not None or stages is not None
    states = [State(phase, level or 0, stages or ()) for phase in PHASES] if given else usual_states(net)
    graphs = [Graph(net, state) for state in states]
    written = set(phase for layer in net.layers if len(layer.phases) == 1 for phase in layer.phases)
    whole = [graph for graph in graphs if graph.is_whole()]
    with_data = [graph for graph in graphs if net.inputs or any(not node.bottoms for node in graph.nodes)]
    written.update(graph.state.phase for graph in whole or with_data)
    phases = written.intersection(phases) or phases
    return [state for state in states if state.phase in phases]


def usual_states(net, phases=PHASES):
    """Return the States that a net is made for: its phases, without stages and with each that its rules name.

    A state in which a bottom has no maker, or a blob two, is left out if another state of its phase is whole: the data
    layers of such a net are kept with a stage or at a level only.
    """
    _, level, own = merged(None, net.state)
    usual = []
    for phase in phases:
        states = [State(phase, level, own)] + _named_states(net, phase, level, own)[:MOST_STATES]
        graphs = [Graph(net, state) for state in states]
        whole = [graph for graph in graphs if graph.is_whole()]
        if graphs[0] not in whole and not (whole and _needs_stage(graphs)):
            whole.insert(0, graphs[0])
        different = collections.OrderedDict()
        for graph in whole:
            different.setdefault(tuple(node.layer.index for node in graph.nodes), graph.state)
        usual += different.values()
    return usual


def _named_states(net, phase, level, own):
    """Return the States of a phase with stages, or at a level, that the rules of a net name."""
    rules = [rule for layer in net.layers for rule in layer.include + layer.exclude]
    groups = [rule.stages for rule in rules]
    groups += [frozenset([stage]) for rule in rules for stage in rule.stages | rule.not_stages]
    stages = sorted(set(tuple(sorted(group - set(own))) for group in groups) - {()})
    levels = sorted(set(bound for rule in rules for bound in (rule.min_level, rule.max_level)) - {None, level})
    return [State(phase, level, own + group) for group in stages] + [State(phase, other, own) for other in levels]


def _needs_stage(graphs):
    """Return whether the blobs that the first of some graphs lacks are made in others."""
    missing = set(blob for node in graphs[0].nodes for blob, maker in zip(node.bottoms, node.makers) if maker is None)
    return missing <= set(top for graph in graphs[1:] for node in graph.nodes for top in node.tops)
