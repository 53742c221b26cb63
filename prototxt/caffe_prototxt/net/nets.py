"""A net as its text has it: its layers, what they make of which blobs, and in which phases."""
from __future__ import division, print_function

import bisect
from collections import OrderedDict

from caffe_losses.compat import to_display
from caffe_prototxt.net import states
from caffe_prototxt.net.losses import SOFTMAX
from caffe_prototxt.net.shapes import Shapes
from caffe_prototxt.textformat import scanner as T
from caffe_prototxt.textformat.messages import Item, Message, Name, is_true, read

# Types of the old syntax that are not just spelt in another way, as INNER_PRODUCT is (Caffe's upgrade_proto.cpp).
# A type may be its number in caffe.proto, too; the one that matters is that of the layer that writes files.
_OLD_TYPES = {
    "10": "HDF5Output", "ABSVAL": "AbsVal", "ARGMAX": "ArgMax", "BNLL": "BNLL", "HDF5_DATA": "HDF5Data", "LRN": "LRN",
    "HDF5_OUTPUT": "HDF5Output", "MVN": "MVN", "RELU": "ReLU", SOFTMAX.old_type: SOFTMAX.type, "TANH": "TanH"}


def present_type(old):
    """Return the present name of a layer's type in the old syntax, `layers { type: SOFTMAX_LOSS }`."""
    return _OLD_TYPES.get(old) or "".join(word.capitalize() for word in old.split("_"))


class Layer(Message):
    """One layer of a net's text.

    net: its Net. field_name: "layer", or "layers" in the old syntax. index: its position among the layers.
    begin, stop: the byte offsets of its field, and after that and its ; or ,. listed: whether it is one of several in a
    [ ]. type: by its present name. rules: {"include" or "exclude": their values}. phases: those it can be kept in.
    """

    def __init__(self, net, item, index):
        self.listed = net.text[item.field.value] == "["
        super(Layer, self).__init__(net.text, item.start, *(() if self.listed else (item.field.inner, item.end)))
        self.net, self.index = net, index
        self.field_name, self.begin, self.stop = item.field.name, item.field.start, item.field.stop
        self.old = self.field_name == "layers"
        self._check_fields()
        kind = str(self.value("type", ""))
        self.type = present_type(kind) if self.old else kind
        self.name = str(self.value("name", ""))
        self.display_name, self.line = to_display(self.name) or "(no name)", net.line_of(self.begin)
        self.bottoms = [str(bottom) for bottom in self.values("bottom")]
        self.tops = [str(top) for top in self.values("top")]
        self.rules = {name: self.values(name) for name in ("include", "exclude") if self.items(name)}
        self.include, self.exclude = [states.read_rules(self.rules.get(name, ())) for name in ("include", "exclude")]
        self.phases = states.possible_phases(self.include, self.exclude)

    def _check_fields(self):
        """Raise ValueError for a field at which Caffe's parser stops: twice where it may be once, or without quotes."""
        for name in self.repeated():
            if name in ("name", "type") or name.endswith("_param"):
                self.item(name)
        for name in ("name", "type", "bottom", "top"):
            for item in self.items(name):
                self._check_quotes(name, item)

    def _check_quotes(self, name, item):
        is_word = name == "type" and self.old
        if is_word != (self.text[item.start] in T.QUOTES):
            return
        text = to_display(self.text[item.start:item.end])
        if is_word:
            raise T.error(self.text, item.start, "a type as layers { } has it, without quotes",
                          "%s; write layer in place of layers" % text)
        else:
            value = present_type(text) if name == "type" and text.isupper() else text
            raise T.error(self.text, item.start, "quotes", '%s; write %s: "%s"' % (text[:40], name, value[:40]))

    def is_kept(self, state):
        """Return whether Caffe keeps the layer in a State."""
        return not self.rules or states.keeps(state, self.include, self.exclude)

    def rules_in(self, phase):
        """Return the rules with which a layer is kept where this one is, but in that phase alone."""
        if self.phases == {phase}:
            return self.rules
        if "include" in self.rules:
            return {"include": [OrderedDict(values, phase=[Name(phase)]) for values in self.rules["include"]
                                if all(rule.phase in (None, phase) for rule in states.read_rules([values]))]}
        if "exclude" in self.rules:
            others = [{"phase": [Name(other)]} for other in states.PHASES if other != phase]
            return {"exclude": self.rules["exclude"] + others}
        return {"include": [{"phase": [Name(phase)]}]}

    def error(self, expected, got):
        return ValueError("%s: expected %s, got %s" % (self, expected, got))

    def __str__(self):
        return "%s (line %d)" % (to_display(self.name) or "the layer without a name", self.line)


class Net(object):
    """The layers of a net's text.

    text: str, one character a byte. classic: whether its Caffe's InfogainLoss is losses.CLASSIC.
    layers: of Layer. inputs: names of the blobs of `input`. drops_inputs: whether Caffe drops them, without shapes.
    force_backward: its line where it is true, else None.
    state: the values of the net's own `state`. line_of: a function from a byte offset to its line number.
    Raises ValueError, with line and column, for what is no net.
    """

    def __init__(self, text, classic=False):
        self.text, self.classic = text, classic
        self.layers, self.inputs = [], []
        self.force_backward, self.state = None, {}
        if not text.strip():
            raise ValueError("expected a net, got an empty file")
        self.line_of = T.Lines(text).of
        syntax, names = None, set()
        for field in T.fields(text):
            names.add(field.name)
            if field.name in ("layer", "layers"):
                if syntax not in (None, field.name):
                    raise T.error(text, field.start, 'layers that are all "%s"' % syntax)
                syntax = field.name
                for start, end in T.values(text, field):
                    self._add_layer(Item(start, end, field))
            elif field.name == "input":
                self.inputs += [str(read(text, Item(start, end, field))) for start, end in T.values(text, field)]
            elif field.name == "force_backward" and is_true(read(text, Item(field.value, field.end, field))):
                self.force_backward = self.line_of(field.start)
            elif field.name == "state" and text[field.value] in "{<":
                self.state = read(text, Item(field.value, field.end, field))
        self.drops_inputs = bool(self.inputs) and not names & {"input_shape", "input_dim"}
        self._made, self._used = _by_blob(self.layers, "tops"), _by_blob(self.layers, "bottoms")
        self._shapes = Shapes(self)

    def _add_layer(self, item):
        if self.text[item.start] not in "{<":
            raise T.error(self.text, item.start, '"{"')
        layer = Layer(self, item, len(self.layers))
        if layer.old and layer.items("layer"):
            raise ValueError("line %d: expected layers of Caffe's present syntax or the one before, got the first of "
                             "all; convert the net: upgrade_net_proto_text OLD NEW" % layer.line)
        self.layers.append(layer)

    def makers(self, layer, blob):
        """Return the layers that make a blob as `layer` gets it: one, or one for each phase."""
        indices = self._made.get(blob, [])
        makers, phases, i = [], layer.phases, bisect.bisect_left(indices, layer.index)
        while phases and i > 0:
            i -= 1
            other = self.layers[indices[i]]
            if phases & other.phases:
                makers.append(other)
                phases = phases - other.phases
        return makers

    def all_makers(self, blob):
        """Return the layers with a blob as top."""
        return [self.layers[index] for index in self._made.get(blob, [])]

    def users(self, blob):
        """Return the layers with a blob as bottom."""
        return [self.layers[index] for index in self._used.get(blob, [])]

    def n_classes(self, layer, blob, axis=1):
        """Return the number of classes in the scores that `layer` gets, or None where the text leaves it open."""
        return self.shape(layer, blob).size(axis)

    def shape(self, layer, blob):
        """Return the shapes.Shape of a blob as `layer` gets it."""
        return self._shapes.of(layer, blob)


def _by_blob(layers, bottoms_or_tops):
    indices = {}
    for layer in layers:
        for blob in set(getattr(layer, bottoms_or_tops)):
            indices.setdefault(blob, []).append(layer.index)
    return indices
