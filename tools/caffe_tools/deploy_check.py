"""Make a deployed net in Caffe, as a check."""
from __future__ import division, print_function

import collections

from caffe_prototxt.check import caffe_checks, text_checks
from caffe_prototxt.check.faults import ERROR, UNCHECKED
from caffe_prototxt.net.graph import Graph
from caffe_prototxt.net.nets import Net
from caffe_prototxt.net.states import State

# Faults of layers, fields and values that the Caffe here does not have, and another may have.
_NOT_HERE = frozenset(("python", "type", "field", "left_out"))

# notes: list of str, the parts that could not be checked. shapes: {blob: shape}. weights: {name of a layer: shapes of
# its blobs}. Both are of what Caffe has made.
Checked = collections.namedtuple("Checked", "notes shapes weights")


def check_deployed(caffe, text, python):
    """Make a deployed net in Caffe, as far as the Caffe here can.

    caffe: caffe_process.Caffe. text: str, one character a byte. python: bool, whether Python layers may run.
    Returns Checked. Raises ValueError if Caffe stops at a layer that it has.
    """
    asked = caffe.run("", "TEST", [])
    if asked.no_caffe:
        return Checked(["not checked: what Caffe itself says, as there is none here (%s)" % asked.no_caffe], {}, {})
    graph = Graph(Net(text), State("TEST"))
    faults = text_checks.net_faults(graph.net) + text_checks.state_faults(graph)
    made = caffe_checks.CaffeCheck(caffe, graph, asked.known, faults, python=python).make()
    notes = []
    for fault in faults + made.faults:
        layer = "layer %s: " % fault.layer.display_name if fault.layer else ""
        if fault.level == ERROR and fault.kind not in _NOT_HERE:
            raise ValueError("expected a net that Caffe makes when its losses are gone, got one at which it stops: %s%s"
                             % (layer, fault.message))
        if fault.level in (ERROR, UNCHECKED) and fault.kind != "behind":
            behind = "; nor is what depends on it" if layer and fault.level == UNCHECKED else ""
            notes.append("not checked: %s%s%s" % (layer, fault.message, behind))
    shapes = {top: shape for node in graph.nodes for top, shape in zip(node.tops, made.shapes.get(node, ()))}
    return Checked(notes, shapes, {node.layer.name: shapes for node, shapes in made.weights.items()})
