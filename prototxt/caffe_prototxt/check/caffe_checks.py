"""Faults that Caffe itself finds: a net is made, and where Caffe stops is reported by layer.

A layer at which Caffe stops is left out with all that depends on it, and the rest is made, so that one fault does not
hide the next. Data layers without their data are replaced by inputs of the shape they declare, or of one that is tried.
"""
from __future__ import division, print_function

import collections
import os
import re

import caffe_losses
from caffe_losses.compat import quote, to_display
from caffe_losses.validation import shape_text
from caffe_prototxt.check.faults import ERROR, UNCHECKED, Fault
from caffe_prototxt.check.field_checks import one_line
from caffe_prototxt.check.probe_text import ProbeText
from caffe_prototxt.check.spelling import nearest, unknown
from caffe_prototxt.data.net_source import check_readable
from caffe_prototxt.net import data_layers
from caffe_prototxt.net.graph import Node
from caffe_prototxt.net.losses import SOFTMAX, is_on_labels, python_class
from caffe_prototxt.textformat import scanner
from caffe_prototxt.training import precautions

# Kinds of faults with which Caffe does not make a layer, so that it is not tried.
PREVENT = frozenset(("rules", "blob", "loss_weight", "propagate_down", "normalize", "text", "missing", "swapped"))
# What is tried for data of which nothing is known: a batch size, and the shape of an image or of a sequence's step.
TRIED = ((1, (3, 224, 224)), (1, (1, 28, 28)), (1, (3, 32, 32)), (1, (2, 28, 28)), (2, (3, 500, 500)), (2, (16,)))
MAX_RUNS = 30
MOST_NAMES = 10  # of layers in one line
FILE_ERRORS = ("ValueError", "IOError", "OSError", "FileNotFoundError")  # ours say all in their message

_UNKNOWN_FIELD = re.compile(r'Message type "([\w.]+)" has no field named "([^"]*)"')
_UNKNOWN_VALUE = re.compile(r'Unknown enumeration value of "([^"]*)" for field "(\w+)"')
_TWICE = re.compile(r'Non-repeated field "(\w+)" is specified multiple times')
_EMPTY = "Check failed: data_"  # what Caffe says of a blob without numbers
_NO_MODULE = re.compile(r"No module named '?([\w.]+)")
_WRONG_H = re.compile(r"Check failed: infogain->\w+\(\) == \S+ \((\d+) vs\. (\d+)\)")


class CaffeCheck(object):
    """A net in a state, made by Caffe.

    caffe: caffe_process.Caffe. graph: graph.Graph. known: caffe_process.End.known.
    faults: of its text; layers with one that prevents them are left out.
    shapes: {top: shape} that the user gives for data layers.
    python: whether Python layers run.
    folder: that of the net's file, to look for the modules of its Python layers, or None.

    After `make`:
    faults: of faults.Fault. shapes: {Node: shapes of its tops} of what was made. backward: set of the Nodes that Caffe
    asks for gradients. replaced: {Node of a data layer: the reason for its replacement}.
    weights: {Node: shapes of its blobs}.
    """

    def __init__(self, caffe, graph, known, faults=(), shapes=None, python=True, folder=None):
        self.caffe, self.graph, self.known, self.folder = caffe, graph, known, folder
        self.given = shapes or {}
        self.faults, self.shapes, self.backward, self.weights = [], {}, set(), {}
        self.replaced = collections.OrderedDict()
        of_layers = {fault.layer.index: fault.kind for fault in faults if fault.layer and fault.kind in PREVENT}
        broken = [node for node in graph.nodes if node.layer.index in of_layers]
        self.tried, self.imported, self.cut, self.unread = 0, False, [], set(broken)
        for node in graph.nodes:
            if of_layers.get(node.layer.index) == "missing" and data_layers.is_data(node):
                self.replaced[node] = "it is not complete"
            elif node not in broken and data_layers.is_data(node) and _unreadable(node.layer):
                self.replaced[node] = _unreadable(node.layer)
        self.out = graph.after([node for node in broken if node not in self.replaced])
        for node, reason in precautions.left_out(graph, python).items():
            if node not in self.out and node not in self.replaced:
                self._stop_at(node, UNCHECKED, "left_out", reason)
        for node in [node for node in graph.nodes if node.type not in known["types"] and node not in self.out
                     and node not in self.replaced]:
            level, message = unknown("is of type %s", node.type, known["types"], .9)
            self.unread.add(node)
            self._stop_at(node, level, "type", message)

    def make(self):
        """Make the net, and collect what Caffe stops at."""
        for _ in range(MAX_RUNS):
            if self._step():
                break
        else:
            self._fault(UNCHECKED, "runs", None, "what comes after the first %d things at which Caffe stops" % MAX_RUNS)
        self._note_what_is_behind()
        inputs = self._inputs()[0]
        for node, reason in self.replaced.items():
            shapes = ", ".join("%s of %s" % (to_display(top), shape_text(shape))
                               for top, shape in zip(node.tops, inputs[node]))
            losses = ", ".join(user.layer.display_name for user in self.graph.whole_nodes
                               if node in self.label_data(user))
            self._fault(UNCHECKED, "data", node, "%s; inputs stand for it, %s%s" % (
                reason, shapes, "; so the labels of %s are not checked" % losses if losses else ""))
        return self

    def label_data(self, node):
        """Return the replaced data layers that the labels of a node depend on, if it is a loss on labels."""
        before = self.graph.before(node.makers_in_net()[1:2]) if is_on_labels(node.layer) else ()
        return [data for data in self.replaced if data in before]

    def _note_what_is_behind(self):
        """Note the layers that are not made only because they depend on some that cannot be looked at."""
        nodes = {node.layer: node for node in self.graph.nodes}
        of_levels = [[nodes[fault.layer] for fault in self.faults if fault.layer and fault.level == level and fault.kind
                      in ("type", "field", "python", "left_out")] for level in (ERROR, UNCHECKED)]
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
            for index, message in sorted(end.imports.items()):
                level, remedy = _for_module(message, self.folder)
                self._stop_at(self.graph.nodes[index], level, "python", message + remedy)
            return False
        node = None if end.stopped_at is None else self.graph.nodes[end.stopped_at]
        if end.late:
            self._fault(UNCHECKED, "time", node, end.message)
            return True
        if end.syntax:
            return self._unreadable_text(end, *text.where(*end.syntax))
        level, kind, message = self._judged(end, node)
        if node is None:
            self._fault(level, kind, None, message)
        elif message:
            self._stop_at(node, level, kind, message)
        return node is None

    def _unreadable_text(self, end, node, offset):
        """Note where Caffe's parser stopped. Returns whether there is nothing to go on without."""
        fault = self._misspelt(self._with_names(end.message))
        if node is None:
            return not self._cut_out(offset, *fault)
        level, kind, message = fault
        line = self.graph.net.line_of(offset)
        self.unread.add(node)
        if node not in self.out and node not in self.replaced:
            self._stop_at(node, level, kind, message, line)
        elif node.type in self.known["types"]:  # a fork's layer has its own fields
            self._fault(level, kind, node, message, line)
        return False

    def _run(self, inputs, out):
        """Make the net once. Returns its caffe_process.End and ProbeText."""
        python = [] if self.imported else [
            (node.index,) + tuple(to_display(name) for name in python_class(node.layer))
            for node in self.graph.nodes if node.type == "Python" and node not in self.out and node not in inputs]
        text = ProbeText(self.graph, out, inputs, self.cut, self.unread)
        end = self.caffe.run(text.text, self.graph.state.phase, python)
        self.imported = True
        self.shapes.update((self.graph.nodes[index], shapes) for index, shapes in end.shapes.items())
        return end, text

    def _judged(self, end, node):
        """Return (level, kind, message) of where a run ended; without a message something else is to be tried."""
        message = self._with_names(end.message)
        if node is None:
            return ERROR, "caffe", "Caffe stops: " + message
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
        """Return (level, kind, message) of a text that Caffe's parser stops at."""
        field, value, twice = [pattern.search(message) for pattern in (_UNKNOWN_FIELD, _UNKNOWN_VALUE, _TWICE)]
        if twice:
            return ERROR, "twice", "has %s twice, and Caffe's parser stops: take one of them out" % twice.group(1)
        if field:
            name, known, cutoff = field.group(2), self.known["fields"].get(field.group(1), []), .85
        elif value:
            name, known, cutoff = value.group(1), self.known["enums"].get(value.group(2), []), .75
        else:
            return ERROR, "caffe", "Caffe stops: " + message
        level, message = unknown("has %s%%s" % (value.group(2) + ": " if value else ""), name, known, cutoff)
        return level, "field", message

    def _cut_out(self, offset, level, kind, message):
        """Note a fault in one of the net's own fields, and cut that out. Returns whether there is one to cut."""
        field = [field for field in scanner.fields(self.graph.net.text) if field.start < offset][-1:]
        if not field or field[0].name in ("layer", "layers") or (field[0].start, field[0].stop) in self.cut:
            return False
        self.cut.append((field[0].start, field[0].stop))
        self._fault(level, kind, None, message, self.graph.net.line_of(field[0].start))
        return True

    def _stop_at(self, node, level, kind, message, line=None):
        """Note why Caffe does not make a layer, and leave it out; inputs replace data that only this Caffe lacks."""
        if level == UNCHECKED and data_layers.is_data(node):
            self.replaced[node] = message
        else:
            self._fault(level, kind, node, message, line)
            self._leave_out([node])

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
            batch, record = TRIED[self.tried]
            if node.type in data_layers.PARAMS:
                batch = data_layers.batch_size(node.layer)
                record = TRIED[0][1] if node.type in data_layers.OF_IMAGES and len(record) < 3 else record
            inputs[node] = _declared_shapes(node)
            for number, top in enumerate(node.tops):
                shape = self.given.get(top, inputs[node][number])
                users = data_layers.label_users(node, number) if shape is None else []
                if users:
                    shapes = [data_layers.label_shape(user.layer, bottom, self.bottom_shape(user, 0))
                              for user, bottom in users if self.bottom_shape(user, 0)]
                    shape = shapes[0] if shapes else (batch,)
                    waiting.update(() if shapes else (
                        part for user, _ in users for part in user.parts
                        if node in part.makers and user.parts[-1] not in self.out))
                inputs[node][number] = shape or (batch,) + record
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

    def _with_names(self, message):
        """Return a message with the names of the layers, in place of those that they have in the run."""
        names = {"@%d" % node.index: node.layer.display_name for node in self.graph.nodes}
        return re.sub("@[0-9]+", lambda match: names.get(match.group(), match.group()), message)

    def _fault(self, level, kind, node, message, line=None):
        layer = None if node is None else node.layer
        self.faults.append(Fault(kind, level, layer, line or layer and layer.line, message))


def _declared_shapes(node):
    """Return the shape of each top of a data layer, or None where neither it nor what takes it says."""
    shapes = data_layers.declared_shapes(node.layer)
    if node.type in data_layers.OF_BOXES and len(shapes) > 1 and not data_layers.label_users(node, 1):
        shapes[1] = data_layers.BOXES
    return shapes


def _unreadable(layer):
    """Return why the data of a data layer cannot be read, or None."""
    source = data_layers.source(layer)
    if not data_layers.source_exists(layer):
        remedy = "; write / for each \\ of a path" if source and "\\" in source else ""
        return "its data %s is not there%s" % (one_line(source), remedy) if source else "it has no source"
    try:
        check_readable(layer)
    except EnvironmentError as error:
        return "its data %s" % error
    return None


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
        _, inside, _ = next(os.walk(base), (base, [], []))
        for where in [base] + [os.path.join(base, name) for name in sorted(inside)]:
            if any(os.path.isfile(os.path.join(where, name)) for name in (module + ".py", module + "/__init__.py")):
                return where
    return None


def _wrong_h(message):
    n, n_classes = (int(number) for number in _WRONG_H.search(message).groups())
    if "count" in message:
        n, n_classes = n ** .5, int(round(n_classes ** .5))
    size = "%d x %d" % (n, n) if n == int(n) else "of another size"
    return "has scores of %d classes, and an H that is %s" % (n_classes, size)
