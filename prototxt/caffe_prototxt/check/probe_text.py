"""The text of a net for one run in Caffe: some layers left out, some replaced by inputs, and no rules left.

Layer number 7 is named @7 in it, so that Caffe's log says without doubt which is meant.
"""
from __future__ import division, print_function

import bisect

LEFT_AWAY = ("name", "include", "exclude")


class ProbeText(object):
    """graph: graph.Graph. out: places that are left out. inputs: {place: shapes of its tops}.

    text: str, one character a byte.
    """

    def __init__(self, graph, out, inputs):
        self._parts, self._length = [], 0
        self._starts, self._places, self._origins = [], [], []  # of each part, as `where` gives them
        text, at = graph.net.text, 0
        places = {layer.index: place for place, layer in enumerate(graph.layers)}
        for layer in graph.net.layers:
            if layer.begin >= at:  # of several layers in one [ ] only the first
                self._add(text[at:layer.begin], None, at)
                at = layer.stop
            place = places.get(layer.index)
            if place in inputs:
                self._add(_input(layer, place, inputs[place]), place, layer.begin)
            elif place is not None and place not in out:
                self._add_layer(text, layer, place)
        self._add(text[at:], None, at)
        self.text = "".join(self._parts)

    def where(self, line, column):
        """(place of the layer or None, place in the net's text) of what protobuf's parser names by line and column."""
        start = 0
        for _ in range(line - 1):
            start = self.text.find("\n", start) + 1
        end = self.text.find("\n", start)
        reached = 1
        while reached < column and start < (end if end >= 0 else len(self.text)):
            reached += 8 - (reached - 1) % 8 if self.text[start] == "\t" else 1
            start += 1
        part = bisect.bisect_right(self._starts, start) - 1
        return self._places[part], self._origins[part] + start - self._starts[part]

    def _add_layer(self, text, layer, place):
        self._add('%s { name: "@%d" ' % (layer.field_name, place), place, layer.begin)
        for field in layer.fields:
            if field.name not in LEFT_AWAY:
                self._add(text[field.start:field.stop], place, field.start)
                self._add("\n", place, field.stop)
        self._add("}\n", place, layer.stop)

    def _add(self, text, place, origin):
        if text:
            self._starts.append(self._length)
            self._places.append(place)
            self._origins.append(origin)
            self._parts.append(text)
            self._length += len(text)


def _input(layer, place, shapes):
    """A layer of inputs in the place of another; the old syntax has none, but it has constants."""
    kind, param = ("DUMMY_DATA", "dummy_data_param") if layer.old else ('"Input"', "input_param")
    return '%s { name: "@%d" type: %s %s %s { %s } }\n' % (
        layer.field_name, place, kind,
        " ".join("top: " + layer.text[item.start:item.end] for item in layer.items("top")), param,
        " ".join("shape { %s }" % " ".join("dim: %d" % size for size in shape) for shape in shapes))
