"""Faults that Caffe itself finds: a net is made, and where Caffe stops is reported by layer.

A layer at which Caffe stops is left out with all that depends on it, and the rest is made, so that one fault does not
hide the next. Data layers without their data are replaced by inputs of the shape they declare, or of one that is tried.
"""
from __future__ import division, print_function

import collections
import glob
import os
import re

try:
    from shlex import quote
except ImportError:  # Python 2
    from pipes import quote

import caffe_losses
from caffe_losses.compat import to_display
from caffe_prototxt.check.faults import ERROR, UNCHECKED, Fault
from caffe_prototxt.check.field_checks import one_line
from caffe_prototxt.check.probe_text import ProbeText
from caffe_prototxt.check.spelling import likeness, nearest
from caffe_prototxt.net import data_layers
from caffe_prototxt.net.graph import Node
from caffe_prototxt.net.losses import SOFTMAX, python_class
from caffe_prototxt.textformat import scanner
from caffe_prototxt.training import precautions

# Shapes of images that are tried for data of which nothing is known.
TRIED = ((3, 224, 224), (1, 28, 28), (3, 32, 32), (2, 28, 28), (3, 500, 500))
MAX_RUNS = 30
MOST_NAMES = 10  # of layers in one line
FILE_ERRORS = ("ValueError", "IOError", "OSError", "FileNotFoundError")  # ours say all in their message

_UNKNOWN_TYPE = re.compile(r"Unknown layer type: (\S*)(?: \(known types: .*\))?")
_UNKNOWN_FIELD = re.compile(r'Message type "([\w.]+)" has no field named "([^"]*)"')
_UNKNOWN_VALUE = re.compile(r'Unknown enumeration value of "([^"]*)" for field "(\w+)"')
_TWICE = re.compile(r'Non-repeated field "(\w+)" is specified multiple times')
_EMPTY = "Check failed: data_"  # what Caffe says of a blob without numbers
_NO_MODULE = re.compile(r"No module named '?([\w.]+)")
_WRONG_H = re.compile(r"Check failed: infogain->\w+\(\) == \S+ \((\d+) vs\. (\d+)\)")
_OUR_NAME = re.compile(r"@(\d+)")


class NoCaffe(Exception):
    """There is no Caffe to make a net in."""


class CaffeCheck(object):
    """A net in a state, made by Caffe.

    caffe: caffe_process.Caffe. graph: graph.Graph. broken: Nodes with known faults, which are left out; inputs replace
    data layers that are only `incomplete`, a set of Layers.
    shapes: {top: shape} that the user gives for data layers. known: End.known of an earlier run.
    python: whether Python layers run.
    folder: that of the net's file, to look for the modules of its Python layers, or None.

    After `make`:
    faults: of faults.Fault. shapes: {Node: shapes of its tops} of what was made. backward: set of the Nodes that Caffe
    asks for gradients. known: End.known. replaced: {Node of a data layer: the reason for its replacement}.
    weights: {Node: shapes of its blobs}.
    """

    def __init__(self, caffe, graph, broken=(), incomplete=(), shapes=None, known=None, python=True, folder=None):
        self.caffe, self.graph, self.folder = caffe, graph, folder
        self.given = shapes or {}
        self.faults, self.shapes, self.backward, self.known, self.weights = [], {}, set(), known or {}, {}
        self.replaced = collections.OrderedDict()
        self.tried, self.imported, self.cut, self.unread = 0, False, [], set(broken)
        for node in graph.nodes:
            if node in broken and node.layer in incomplete and data_layers.is_data(node):
                self.replaced[node] = "it is not complete"
            elif node not in broken and data_layers.is_data(node) and not data_layers.source_exists(node.layer):
                self.replaced[node] = _absent(data_layers.source(node.layer))
        self.out = graph.after([node for node in broken if node not in self.replaced])
        for node, reason in precautions.left_out(graph, python).items():
            self._leave_out_unseen(node, reason)
        self._leave_out_unknown_types()

    def make(self):
        """Make the net, and collect what Caffe stops at. Raises NoCaffe."""
        for _ in range(MAX_RUNS):
            if self._step():
                break
        else:
            self._fault(UNCHECKED, "runs", None, "what comes after the first %d things at which Caffe stops" % MAX_RUNS)
        self._note_what_is_behind()
        inputs = self._inputs()[0]
        for node, reason in self.replaced.items():
            self._fault(UNCHECKED, "data", node, "%s; inputs stand for it, %s" % (reason, ", ".join(
                "%s of %s" % (to_display(top), shape_text(shape)) for top, shape in zip(node.tops, inputs[node]))))
        return self

    def _note_what_is_behind(self):
        """Note the layers that are not made only because they depend on some that cannot be looked at."""
        nodes = {node.layer: node for node in self.graph.nodes}
        of_levels = [[nodes[fault.layer] for fault in self.faults if fault.layer and fault.level == level and fault.kind
                      in ("type", "field", "python")] for level in (ERROR, UNCHECKED)]
        failed, unseen = map(self.graph.after, of_levels)
        behind = [node for node in self.graph.nodes if node in self.out & unseen - failed and node not in of_levels[1]]
        if behind:
            names = [node.layer.display_name for node in behind[1:MOST_NAMES]] + ["..."] * (len(behind) > MOST_NAMES)
            self._fault(UNCHECKED, "behind", behind[0], "it depends on what is left out, and is, too%s" % (
                "; the same of " + ", ".join(names) if names else ""))

    def _step(self):
        """Make the net once, and note where Caffe stops. Returns whether all is known."""
        inputs, waiting = self._inputs()
        end, text = self._run(inputs, self.out | self.graph.after(waiting))
        if end.made:
            self.backward = set(self.graph.nodes[index] for index in end.backward)
            self.weights = {self.graph.nodes[index]: shapes for index, shapes in end.weights.items()}
            # A layer that waits for the shape of another can be made now, or has none to wait for.
            known = [node for node in waiting if self.bottom_shape(node, 0) is not None]
            self._leave_out([node for node in waiting if node not in known])
            return not known
        if end.imports:
            failed = []
            for index, message in sorted(end.imports.items()):
                level, remedy = _for_module(message, self.folder)
                if self._note(self.graph.nodes[index], level, "python", message + remedy):
                    failed.append(self.graph.nodes[index])
            self._leave_out(failed)
            return False
        node, line = None if end.stopped_at is None else self.graph.nodes[end.stopped_at], None
        if end.late:
            self._fault(UNCHECKED, "time", node, end.message)
            return True
        if end.syntax:
            node, offset = text.where(*end.syntax)
            line = self.graph.net.line_of(offset)
            if node is None:
                return not self._cut_out(offset, self._judged(end, node), line)
            if node in self.out or node in self.replaced:  # it need not be made
                self.unread.add(node)
                if node.type in self.known.get("types", [node.type]):  # a fork's layer has its own fields
                    level, kind, message = self._judged(end, node)
                    self._fault(level, kind, node, message, line)
                return False
        if node in self.out or node in self.replaced and node not in inputs:
            return False  # this run has shown another reason to leave it out
        level, kind, message = self._judged(end, node)
        if message and self._note(node, level, kind, message, line) and node is not None:
            self._leave_out([node])
            self.unread.update([node] if end.syntax else [])
        return message is not None and node is None

    def _run(self, inputs, out):
        """Make the net once. Returns its caffe_process.End and ProbeText."""
        python = [] if self.imported else [
            (node.index,) + tuple(to_display(name) for name in python_class(node.layer))
            for node in self.graph.nodes if node.type == "Python" and node not in self.out and node not in inputs]
        text = ProbeText(self.graph, out, inputs, self.cut, self.unread)
        end = self.caffe.run(text.text, self.graph.state.phase, python)
        if end.no_caffe:
            raise NoCaffe(end.no_caffe)
        self.imported = True
        if end.known and not self.known:
            self.known = end.known
            self._leave_out_unknown_types()
        self.shapes.update((self.graph.nodes[index], shapes) for index, shapes in end.shapes.items())
        return end, text

    def _judged(self, end, node):
        """Return (level, kind, message) of where a run ended; without a message something else is to be tried."""
        message = _OUR_NAME.sub(lambda match: self._display_name(int(match.group(1))), end.message)
        misspelt = self._misspelt(message)
        twice = _TWICE.search(message)
        if twice:
            return ERROR, "twice", "has %s twice, and Caffe's parser stops: take one of them out" % twice.group(1)
        if misspelt:
            return misspelt
        if node is None or end.syntax:
            return ERROR, "caffe", "Caffe stops: " + message
        if _UNKNOWN_TYPE.search(message):
            return self._unknown_type(node)
        if end.raised:
            if end.is_file and data_layers.is_data(node):
                self.replaced[node] = message
                return None, None, None
            return ERROR, "python", message if end.raised in FILE_ERRORS else "%s: %s" % (end.raised, message)
        if _WRONG_H.search(message):
            return ERROR, "h_size", _wrong_h(message)
        if node.type == SOFTMAX.type and len(node.tops) > 1:
            return ERROR, "tops", "has %d tops, and Caffe's SoftmaxWithLoss runs with one only" % len(node.tops)
        if message == _EMPTY:
            no_batch = data_layers.is_data(node) and data_layers.batch_size(node.layer, None) is None
            message += ": one of its blobs is empty, as %s" % (
                "it has no batch_size" if no_batch else "a number or a size is 0")
        bottoms = [(bottom, self.bottom_shape(node, number)) for number, bottom in enumerate(node.bottoms)]
        shapes = ["%s %s" % (to_display(bottom), shape_text(shape)) for bottom, shape in bottoms if shape is not None]
        stop = "Caffe stops: %s%s" % (message, " (it gets %s)" % ", ".join(shapes) if shapes else "")
        if self._has_tried_shape(node):
            return self._with_another_shape(node, end.message, stop)
        return ERROR, "caffe", stop

    def _misspelt(self, message):
        """Return (level, kind, message) of a field or a value that this Caffe does not have, or None."""
        field, value = _UNKNOWN_FIELD.search(message), _UNKNOWN_VALUE.search(message)
        if field:
            name, known, cutoff = field.group(2), self.known.get("fields", {}).get(field.group(1), []), .85
        elif value:
            name, known, cutoff = value.group(1), self.known.get("enums", {}).get(value.group(2), []), .75
        else:
            return None
        level, near = likeness(name, known, cutoff)
        return level, "field", "has %s%s, which this Caffe does not have, and stops at%s" % (
            value.group(2) + ": " if value else "", name, near)

    def _cut_out(self, offset, fault, line):
        """Note a fault in one of the net's own fields, and cut the field out. Returns whether there is one to cut."""
        fields = scanner.fields(self.graph.net.text)
        where = [(field.start, field.stop) for field in fields if field.start <= offset < field.stop]
        if not where or where[0] in self.cut:
            return False
        self.cut += where
        level, kind, message = fault
        self._fault(level, kind, None, message, line)
        return True

    def _unknown_type(self, node):
        level, near = likeness(node.type, self.known.get("types", []), .9)
        return level, "type", "is of type %s, which this Caffe does not have, and stops at%s" % (
            to_display(node.type), near)

    def _leave_out_unknown_types(self):
        if "types" not in self.known:
            return
        unknown = [node for node in self.graph.nodes if node.type not in self.known["types"]
                   and node not in self.out and node not in self.replaced]
        self.unread.update(unknown)
        self._leave_out([node for node in unknown if self._note(node, *self._unknown_type(node))])

    def _note(self, node, level, kind, message, line=None):
        """Note where Caffe stops. Returns whether the layer is to be left out: a fork's data layer is replaced."""
        if level == UNCHECKED and data_layers.is_data(node):
            self.replaced[node] = message
            return False
        self._fault(level, kind, node, message, line)
        return True

    def _with_another_shape(self, node, message, stop):
        """Judge a layer as _judged does that may be wrong only because its data has a shape that is tried."""
        same = True
        before, shapes, faults = self.tried, dict(self.shapes), list(self.faults)
        for self.tried in sorted(set(range(len(TRIED))) - {before}):
            self.shapes = {}
            inputs, waiting = self._inputs()
            end, _ = self._run(inputs, self.out | self.graph.after(waiting))
            if end.made or end.stopped_at is not None and end.stopped_at > node.index:
                return None, None, None
            same = same and end.stopped_at == node.index and end.message == message
        self.tried, self.shapes, self.faults = before, shapes, faults
        if same:  # whatever the shape
            return ERROR, "caffe", stop
        return UNCHECKED, "shape", stop + "; give the shape of the data: --shape TOP=N,C,H,W"

    def _inputs(self):
        """Return the inputs that stand for data layers, {Node: shapes of its tops}, and the Nodes that must wait.

        These get data whose shape is known only once one of them is made.
        """
        inputs, waiting = {}, set()
        for node in self.replaced:
            batch = data_layers.batch_size(node.layer)
            inputs[node] = _declared_shapes(node)
            for number, top in enumerate(node.tops):
                shape = self.given.get(top, inputs[node][number])
                users = data_layers.label_users(node, number) if shape is None else []
                if users:
                    shapes = [data_layers.label_shape(user.type, bottom, self.bottom_shape(user, 0))
                              for user, bottom in users if self.bottom_shape(user, 0)]
                    shape = shapes[0] if shapes else (batch,)
                    waiting.update(() if shapes else (user for user, _ in users if user not in self.out))
                inputs[node][number] = shape or (batch,) + TRIED[self.tried]
        return inputs, waiting

    def _has_tried_shape(self, node):
        """Return whether a layer depends on data whose shape is only tried."""
        tried = [data for data in self.replaced if any(
            shape is None and top not in self.given and not data_layers.label_users(data, number)
            for number, (top, shape) in enumerate(zip(data.tops, _declared_shapes(data))))]
        return node in self.graph.after(tried)

    def has_unknown_batch(self, node):
        """Return whether a layer depends on data that is not there, and whose batch nothing says."""
        unknown = [data for data in self.replaced
                   if data_layers.batch_size(data.layer, None) is None and not set(data.tops) & set(self.given)]
        return node in self.graph.after(unknown)

    def bottom_shape(self, node, number):
        """Return the shape of a bottom as it was made, or None."""
        maker = node.makers[number] if number < len(node.bottoms) else None
        if not isinstance(maker, Node) or maker not in self.shapes:
            return None
        top = maker.tops.index(node.bottoms[number])
        return self.shapes[maker][top] if top < len(self.shapes[maker]) else None

    def _leave_out(self, nodes):
        """Leave nodes out, with all that depends on them; inputs replace those that bring data."""
        gone = []
        for node in nodes:
            if data_layers.is_data(node) and node not in self.replaced:
                self.replaced[node] = "it could not be made"
            else:
                self.replaced.pop(node, None)
                gone.append(node)
        self.out = self.out | self.graph.after(gone)

    def _leave_out_unseen(self, node, reason):
        """Leave out a layer that must not run, and say so; for a data layer `make` does."""
        if node in self.out or node in self.replaced:
            return
        if data_layers.is_data(node):
            self.replaced[node] = reason
            return
        others = self.graph.after([node]) - self.out - {node}
        users = ", ".join(user.layer.display_name for user in self.graph.nodes if user in others)
        self._fault(UNCHECKED, "left_out", node, reason + (users and ", with what depends on it: " + users))
        self._leave_out([node])

    def _display_name(self, index):
        return self.graph.nodes[index].layer.display_name if index < len(self.graph.nodes) else "@%d" % index

    def _fault(self, level, kind, node, message, line=None):
        layer = None if node is None else node.layer
        self.faults.append(Fault(kind, level, layer, line or layer and layer.line, message))


def _declared_shapes(node):
    """Return the shape of each top of a data layer, or None where neither it nor what takes it says."""
    shapes = data_layers.declared_shapes(node.layer)
    if node.type in data_layers.OF_BOXES and len(shapes) > 1 and not data_layers.label_users(node, 1):
        shapes[1] = data_layers.BOXES
    return shapes


def _absent(source):
    if not source:
        return "it has no source"
    remedy = "; write / for each \\ of a path" if "\\" in source else ""
    return "its data %s is not there%s" % (one_line(source), remedy)


def _for_module(message, folder):
    """Return (level, remedy) for a module that cannot be imported; one that lies near the net is no fault of it."""
    name = _NO_MODULE.search(message)
    if not name or "PYTHONPATH" in message:
        return ERROR, ""
    name, module = to_display(name.group(1)).partition(".")[0], caffe_losses.__name__
    near = nearest(name, [module]) if name != module else None
    where = _folder_of(name, os.path.abspath(folder)) if folder else None
    ours = os.path.dirname(os.path.dirname(os.path.abspath(caffe_losses.__file__))) if name == module else None
    return UNCHECKED if where else ERROR, "; is it %s?" % near if near else (
        "; put the folder where it lies on PYTHONPATH: export PYTHONPATH=%s${PYTHONPATH:+:$PYTHONPATH}"
        % (quote(where or ours) if where or ours else "FOLDER"))


def _folder_of(module, folder):
    """Return the folder with a module, in a folder or the two above it, or in a folder in one of these, or None."""
    for base in (folder, os.path.dirname(folder), os.path.dirname(os.path.dirname(folder))):
        for pattern in ("", "*"):
            for name in (module + ".py", os.path.join(module, "__init__.py")):
                found = sorted(glob.glob(os.path.join(_escaped(base), pattern, name)))
                if found:
                    return found[0][:-len(name) - 1]
    return None


def _escaped(path):
    """Return a path as glob takes it by its letters."""
    return re.sub("([*?[])", "[\\1]", path)


def shape_text(shape):
    return " x ".join(map(str, shape)) or "1"


def _wrong_h(message):
    n, n_classes = (int(number) for number in _WRONG_H.search(message).groups())
    if "count" in message:
        n, n_classes = n ** .5, int(round(n_classes ** .5))
    size = "%d x %d" % (n, n) if n == int(n) else "of another size"
    return "has scores of %d classes, and an H that is %s" % (n_classes, size)
