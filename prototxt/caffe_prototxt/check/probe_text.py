"""The text of a net for one run in Caffe: some layers left out, some replaced by inputs, and no rules left.

The layer of node number 7 is named @7 in it, so that Caffe's log is clear about which is meant.
"""
from __future__ import division, print_function

import bisect

NEVER = "include { min_level: 2147483647 } "  # with it Caffe reads a layer, and does not make it


class ProbeText(object):
    """The text for a run (`text`, one character a byte), and where each part of it comes from.

    graph: graph.Graph. out: Nodes that are not made. inputs: {Node: shapes of its tops}, replaced by inputs.
    unread: those of both that Caffe is not even to read. cut: (start, stop) of the net's own fields that are left out.
    """

    def __init__(self, graph, out, inputs, cut=(), unread=()):
        self._parts, self._length = [], 0
        self._starts, self._nodes, self._origins = [], [], []  # of each part, as `where` gives them
        text, at = graph.net.text, 0
        nodes = {node.layer.index: node for node in graph.nodes}
        for layer in graph.net.layers:
            if layer.begin >= at:  # of several layers in one [ ] only the first
                self._add_between(text, at, layer.begin, cut)
                at = layer.stop
            node = nodes.get(layer.index)
            if node in inputs:
                self._add(_input(layer, node.index, inputs[node]), node, layer.begin)
            elif node is not None and node not in out:
                self._add_layer(text, node)
                continue
            if node is not None and node not in unread:
                self._add_layer(text, node, NEVER)
        self._add_between(text, at, len(text), cut)
        self.text = "".join(self._parts)

    def where(self, line, column):
        """Return (Node or None, byte offset in the net's text) of what protobuf's parser names by line and column."""
        start = 0
        for _ in range(line - 1):
            start = self.text.find("\n", start) + 1
        end = self.text.find("\n", start)
        reached = 1
        while reached < column and start < (end if end >= 0 else len(self.text)):
            reached += 8 - (reached - 1) % 8 if self.text[start] == "\t" else 1
            start += 1
        # The parser names the token after a value that it does not like: none of a layer is before its first.
        part = max(bisect.bisect_left(self._starts, start) - 1, 0)
        return self._nodes[part], self._origins[part] + start - self._starts[part]

    def _add_between(self, text, at, end, cut):
        """Add what stands between two layers, but for what is cut out."""
        for start, stop in cut:
            if at <= start < end:
                self._add(text[at:start], None, at)
                at = stop
        self._add(text[at:end], None, at)

    def _add_layer(self, text, node, rule=""):
        layer = node.layer
        self._add('%s { name: "@%d" %s' % (layer.field_name, node.index, rule), node, layer.begin)
        for field in layer.fields:
            if field.name not in ("name", "include", "exclude"):
                self._add(text[field.start:field.stop], node, field.start)
                self._add("\n", node, field.stop)
        self._add("}\n", node, layer.stop)

    def _add(self, text, node, offset):
        if text:
            self._starts.append(self._length)
            self._nodes.append(node)
            self._origins.append(offset)
            self._parts.append(text)
            self._length += len(text)


def _input(layer, index, shapes):
    """Return the text of a layer of inputs; the old syntax has none, but it has constants."""
    kind, param = ("DUMMY_DATA", "dummy_data_param") if layer.old else ('"Input"', "input_param")
    return '%s { name: "@%d" type: %s %s %s { %s } }\n' % (
        layer.field_name, index, kind,
        " ".join("top: " + layer.text[item.start:item.end] for item in layer.items("top")), param,
        " ".join("shape { %s }" % " ".join("dim: %d" % size for size in shape) for shape in shapes))
