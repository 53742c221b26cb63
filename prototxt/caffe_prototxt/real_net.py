"""What Caffe itself says of a net: it is made, and what Caffe stops at is told by layer.

A layer at which Caffe stops is taken out with all that depends on it, and the rest is
made, so that one fault does not hide the next. Data layers without their data are
replaced by inputs of the shape they say they have, or of one that is tried.
"""
from __future__ import division, print_function

import collections
import difflib
import re

from caffe_prototxt import data_layers, precautions
from caffe_prototxt import graph as G
from caffe_prototxt import text as T
from caffe_prototxt.checks import ERROR, UNCHECKED, Fault, loss_name, name_of
from caffe_prototxt.old_syntax import present_type
from caffe_prototxt.probe_text import ProbeText

# Shapes of images that are tried for data of which nothing is known.
TRIED = ((3, 224, 224), (1, 28, 28), (3, 32, 32), (2, 28, 28), (3, 500, 500))
MAX_RUNS = 30

_UNKNOWN_TYPE = re.compile(r"Unknown layer type: (\S*)(?: \(known types: .*\))?")
_UNKNOWN_FIELD = re.compile(r'Message type "([\w.]+)" has no field named "([^"]*)"')
_WRONG_H = re.compile(r"Check failed: infogain->\w+\(\) == \S+ \((\d+) vs\. (\d+)\)")
_OUR_NAME = re.compile(r"@(\d+)")


class NoCaffe(Exception):
    """There is no Caffe to make a net in."""


class RealNet(object):
    """A net in a state, made by Caffe.

    caffe: caffe_run.Caffe. graph: graph.Graph. lines: checks.Lines. broken: places of layers
    with known faults, which are left out. shapes: {top: shape} of data layers' tops, where the
    user gives them. known: what Caffe knows, as caffe_run.End's, if that is known already.
    python: bool, whether the classes of Python layers may run.

    After `make`:
    faults: list of checks.Fault. shapes: {place: shapes of its tops} of what was made.
    backward: set of the places that Caffe asks for gradients. known: as caffe_run.End's.
    """

    def __init__(self, caffe, graph, lines, broken=(), shapes=None, known=None, python=True):
        self.caffe, self.graph, self.lines = caffe, graph, lines
        self.given = shapes or {}
        self.faults, self.shapes, self.backward, self.known = [], {}, set(), known or {}
        self.replaced = collections.OrderedDict()  # place of a data layer: why
        self.tried = 0
        self.imported = False
        broken = set(broken)
        for place in range(len(graph.layers)):
            if place not in broken and data_layers.is_data(graph, place):
                self._replace_if_absent(place)
        self.out = graph.after(broken)
        for place, reason in precautions.left_out(graph, python).items():
            self._leave_out_unseen(place, reason)
        self._leave_out_unknown_types()

    def make(self):
        """Make the net, and find out what is in the way. Raises NoCaffe."""
        for _ in range(MAX_RUNS):
            if self._step():
                break
        else:
            self._fault(UNCHECKED, "runs", None, "what comes after the first %d things at which Caffe stops" % MAX_RUNS)
        for place, why in self.replaced.items():
            self._fault(UNCHECKED, "data", place, "%s; inputs stand for it, %s" % (why, ", ".join(
                "%s of %s" % (T.shown(top), shape_text(shape))
                for top, shape in zip(self.graph.layers[place].tops, self._inputs()[0][place]))))
        return self

    def _step(self):
        """One run and what it tells. Returns whether that is all."""
        inputs, waiting = self._inputs()
        end, text = self._run(inputs, self.out | self.graph.after(waiting))
        if end.made:
            self.backward = end.backward
            # What waits for the shape of another layer can be made now, or has none to wait for.
            known = [place for place in waiting if self.bottom_shape(place, 0) is not None]
            self._leave_out([place for place in waiting if place not in known])
            return not known
        if end.imports:
            for place, message in sorted(end.imports.items()):
                self._fault(ERROR, "python", place, message)
            self._leave_out(end.imports)
            return False
        if end.late:
            self._fault(UNCHECKED, "time", end.place, "Caffe: %s" % end.message)
            return True
        place, line = end.place, None
        if end.syntax:
            place, origin = text.where(*end.syntax)
            line = self.lines(origin)
        if place in self.out or place in self.replaced and place not in inputs:
            return False  # what the run told besides has taken it out already
        level, kind, message = self._judged(end, place)
        if message is None:
            return False
        if place is None:
            self._fault(level, kind, place, message, line)
            return True
        if self._note(place, level, kind, message, line):
            self._leave_out([place])
        return False

    def _run(self, inputs, out):
        """A run: its caffe_run.End and ProbeText."""
        python = [] if self.imported else [
            (place,) + tuple(T.shown(name) for name in G.python_class(layer))
            for place, layer in enumerate(self.graph.layers)
            if self.graph.types[place] == "Python" and place not in self.out and place not in inputs]
        text = ProbeText(self.graph, out, inputs)
        end = self.caffe.run(text.text, self.graph.state.phase, python)
        if end.no_caffe:
            raise NoCaffe(end.no_caffe)
        self.imported = True
        if end.known and not self.known:
            self.known = end.known
            self._leave_out_unknown_types()
        self.shapes.update(end.shapes)
        return end, text

    def _judged(self, end, place):
        """(level, kind, message) of what a run ended with; without a message there is something else to try."""
        graph = self.graph
        message = _OUR_NAME.sub(lambda found: self._name(int(found.group(1))), end.message)
        kind = graph.types[place] if place is not None else None
        unknown_type, unknown_field = _UNKNOWN_TYPE.search(message), _UNKNOWN_FIELD.search(message)
        if place is None or end.syntax and not unknown_field:
            return ERROR, "caffe", "Caffe stops: " + message
        if unknown_type:
            return self._unknown_type(kind)
        if unknown_field:
            known = self.known.get("fields", {}).get(unknown_field.group(1), [])
            level, near = _likeness(unknown_field.group(2), known, .75)
            return level, "field", "has %s, which this Caffe does not have, and stops at%s" % (unknown_field.group(2), near)
        if end.raised:
            if end.is_file and data_layers.is_data(graph, place):
                self.replaced[place] = message
                return None, None, None
            return ERROR, "python", message if end.raised in ("ValueError", "IOError", "OSError", "FileNotFoundError") \
                else "%s: %s" % (end.raised, message)
        if _WRONG_H.search(message):
            return ERROR, "h_size", self._wrong_h(place, message)
        if kind == "SoftmaxWithLoss" and len(graph.layers[place].tops) > 1:
            return ERROR, "tops", "has %d tops, and Caffe's SoftmaxWithLoss runs with one only" % len(graph.layers[place].tops)
        bottoms = graph.layers[place].bottoms
        shapes = ["%s %s" % (T.shown(bottom), shape_text(self.bottom_shape(place, number)))
                  for number, bottom in enumerate(bottoms) if self.bottom_shape(place, number) is not None]
        told = "Caffe stops: %s%s" % (message, " (it gets %s)" % ", ".join(shapes) if shapes else "")
        if self._is_tried(place):
            return self._with_another_shape(place, message, told)
        return ERROR, "caffe", told

    def _unknown_type(self, kind):
        level, near = _likeness(kind, self.known.get("types", []), .9)
        return level, "type", "is of type %s, which this Caffe does not have, and stops at%s" % (T.shown(kind), near)

    def _leave_out_unknown_types(self):
        types = set(self.known.get("types", self.graph.types))
        places = [place for place, kind in enumerate(self.graph.types)
                  if kind not in types and place not in self.out and place not in self.replaced]
        self._leave_out([place for place in places if self._note(place, *self._unknown_type(self.graph.types[place]))])

    def _note(self, place, level, kind, message, line=None):
        """Note what Caffe stops at. Returns whether the layer is to be left out: not if it is a fork's way to bring data."""
        if level == UNCHECKED and data_layers.is_data(self.graph, place):
            self.replaced[place] = message
            return False
        self._fault(level, kind, place, message, line)
        return True

    def _wrong_h(self, place, message):
        n, n_classes = (int(number) for number in _WRONG_H.search(message).groups())
        if "count" in message:
            n, n_classes = n ** .5, int(round(n_classes ** .5))
        n = "%d x %d" % (n, n) if n == int(n) else "of another size"
        return "has scores of %d classes, and an H that is %s" % (n_classes, n)

    def _with_another_shape(self, place, message, told):
        """As _judged, for a layer that may be wrong only because its data has a shape that is tried."""
        same = True
        before, shapes, faults = self.tried, dict(self.shapes), list(self.faults)
        for self.tried in range(len(TRIED)):
            if self.tried == before:
                continue
            self.shapes = {}
            inputs, waiting = self._inputs()
            end, _ = self._run(inputs, self.out | self.graph.after(waiting))
            if end.made or end.place is not None and end.place > place:
                return None, None, None
            same = same and end.place == place and end.message == message
        self.tried, self.shapes, self.faults = before, shapes, faults
        if same:  # whatever the shape
            return ERROR, "caffe", told
        return UNCHECKED, "shape", told + "; give the shape of the data: --shape TOP=N,C,H,W"

    def _inputs(self):
        """What stands for the data layers that are replaced.

        Returns ({place: shapes of its tops}, places of the layers of which one must be made first to know a shape).
        """
        inputs, waiting = {}, set()
        for place in self.replaced:
            layer, kind = self.graph.layers[place], self.graph.types[place]
            batch = data_layers.batch_size(layer, kind)
            inputs[place] = data_layers.declared_shapes(layer, kind)
            for number, top in enumerate(layer.tops):
                shape = self.given.get(top, inputs[place][number])
                takers = data_layers.takers(self.graph, place, number) if shape is None else []
                if takers:
                    found = [data_layers.taken_shape(self.graph.types[taker], bottom, self.bottom_shape(taker, 0))
                             for taker, bottom in takers if self.bottom_shape(taker, 0)]
                    shape = found[0] if found else (batch,)
                    waiting.update(() if found else (taker for taker, _ in takers if taker not in self.out))
                inputs[place][number] = shape or (batch,) + TRIED[self.tried]
        return inputs, waiting

    def _is_tried(self, place):
        """Whether a layer depends on data whose shape is only tried."""
        tried = [data for data in self.replaced if any(
            shape is None and top not in self.given and not data_layers.takers(self.graph, data, number)
            for number, (top, shape) in enumerate(zip(self.graph.layers[data].tops, data_layers.declared_shapes(
                self.graph.layers[data], self.graph.types[data]))))]
        return place in self.graph.after(tried)

    def bottom_shape(self, place, number):
        """The shape of a bottom as it was made, or None."""
        if number >= len(self.graph.layers[place].bottoms):
            return None
        maker = self.graph.makers[place][number]
        if maker in (G.UNKNOWN, G.INPUT) or maker not in self.shapes:
            return None
        tops = self.graph.layers[maker].tops
        top = tops.index(self.graph.layers[place].bottoms[number])
        return self.shapes[maker][top] if top < len(self.shapes[maker]) else None

    def _replace_if_absent(self, place):
        layer, kind = self.graph.layers[place], self.graph.types[place]
        if not data_layers.is_there(layer, kind):
            source = data_layers.source(layer, kind)
            self.replaced[place] = "its data %s is not there" % T.shown(source) if source else "it has no source"

    def _leave_out(self, places):
        """Take layers out, with all that depends on them; an input replaces one that brings data."""
        gone = []
        for place in places:
            if data_layers.is_data(self.graph, place) and place not in self.replaced:
                self.replaced[place] = "it could not be made"
            else:
                self.replaced.pop(place, None)
                gone.append(place)
        self.out = self.out | self.graph.after(gone)

    def _leave_out_unseen(self, place, reason):
        """Leave out a layer that must not run, and say so; of one that brings data `make` says it."""
        if place in self.out or place in self.replaced:
            return
        if data_layers.is_data(self.graph, place):
            self.replaced[place] = reason
            return
        users = [name_of(self.graph.layers[user]) for user in sorted(self.graph.after([place]) - self.out - {place})]
        self._fault(UNCHECKED, "left_out", place, reason + (
            ", with what depends on it: %s" % ", ".join(users) if users else ""))
        self._leave_out([place])

    def _name(self, place):
        return name_of(self.graph.layers[place]) if place < len(self.graph.layers) else "@%d" % place

    def _fault(self, level, kind, place, message, line=None):
        layer = None if place is None else self.graph.layers[place]
        if line is None and layer is not None:
            line = self.lines(layer.begin)
        self.faults.append(Fault(kind, level, layer, line, message))


def shape_text(shape):
    return " x ".join(map(str, shape)) or "1"


def _n_digits(name):
    return sum(letter.isdigit() for letter in name)


def _likeness(name, known, cutoff):
    """(ERROR, what was meant) if a name looks misspelt, else (UNCHECKED, that it may be a fork's)."""
    letters = [other for other in known if _n_digits(other) == _n_digits(name)]
    near = [other for other in (name, present_type(name)) if other in known] or [
        other for other in known if other.lower() == name.lower()] or difflib.get_close_matches(name, letters, 1, cutoff)
    return (ERROR, "; is it %s?" % near[0]) if near else (UNCHECKED, "; is it a fork's?")
