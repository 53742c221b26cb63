"""A net as its text has it: the layers, what each makes of which blob, when it is there."""
from __future__ import division, print_function

import bisect

from caffe_losses.compat import to_display
from caffe_prototxt.textformat import scanner as T
from caffe_prototxt.textformat.messages import Item, Message, is_true, read
from caffe_prototxt.net.old_syntax import present_type

PHASES = ("TRAIN", "TEST")

# Layers whose first top has as many classes on the class axis as their first bottom.
KEEP_CLASSES = frozenset((
    "AbsVal", "BNLL", "BatchNorm", "Bias", "Clip", "Crop", "Dropout", "ELU", "Eltwise", "Exp", "LRN", "Log", "MVN",
    "PReLU", "Pooling", "Power", "ReLU", "Scale", "Sigmoid", "Softmax", "Split", "Swish", "TanH", "Threshold"))

# Layers that make the classes, and where they say how many.
MAKE_CLASSES = {"InnerProduct": "inner_product_param", "Convolution": "convolution_param",
                "Deconvolution": "convolution_param"}


class Layer(Message):
    """One layer of a net's text.

    field_name: "layer", or "layers" in the old syntax. index: its place among the
    layers. begin: the place of its field; stop: the place after it and its ; or ,.
    type: as the new syntax has it. listed: whether it is one of several in a [ ].
    """

    def __init__(self, text, item, index, lines):
        several = text[item.field.value] == "["
        super(Layer, self).__init__(text, item.start, *(() if several else (item.field.inner, item.end)))
        self.lines = lines
        self.field_name = item.field.name
        self.index = index
        self.begin, self.stop = item.field.start, item.field.stop
        self.listed = several
        self.old = self.field_name == "layers"
        kind = str(self.value("type", ""))
        self.type = present_type(kind) if self.old else kind
        self.name = str(self.value("name", ""))
        self.bottoms = [str(bottom) for bottom in self.values("bottom")]
        self.tops = [str(top) for top in self.values("top")]
        self.rules = {name: self.values(name) for name in ("include", "exclude") if self.items(name)}
        self.phases = _phases(self.rules)

    @property
    def line(self):
        return self.lines.of(self.begin)

    def meets(self, other):
        """Whether there is a phase in which both layers are there."""
        return bool(self.phases & other.phases)

    def __str__(self):
        return "%s (line %d)" % (to_display(self.name) or "the layer without a name", self.line)


class Net(object):
    """The layers of a net's text. Raises ValueError, with line and column, for what is no net."""

    def __init__(self, text):
        self.text = text
        self.layers = []
        self.inputs = []
        self.force_backward = None  # its line, if it is true
        self.state = {}  # what it says of its own state, as messages.read gives it
        self._made = self._used = None
        syntax, lines = None, T.Lines(text)
        for field in T.fields(text):
            if field.name in ("layer", "layers"):
                if syntax not in (None, field.name):
                    raise T.error(text, field.start, 'layers that are all "%s"' % syntax)
                syntax = field.name
                for start, end in T.values(text, field):
                    self.layers.append(_layer(text, Item(start, end, field), len(self.layers), lines))
            elif field.name == "input":
                self.inputs += [str(read(text, Item(start, end, field))) for start, end in T.values(text, field)]
            elif field.name == "force_backward" and is_true(read(text, Item(field.value, field.end, field))):
                self.force_backward = T.line_of(text, field.start)
            elif field.name == "state" and text[field.value] in "{<":
                self.state = read(text, Item(field.value, field.end, field))

    def makers(self, layer, blob):
        """The layers that make a blob as `layer` gets it: one, or one for each phase."""
        if self._made is None:
            self._made = _by_blob(self.layers, "tops")
        indices = self._made.get(blob, [])
        found, phases = [], layer.phases
        for i in range(bisect.bisect_left(indices, layer.index) - 1, -1, -1):
            other = self.layers[indices[i]]
            if phases & other.phases:
                found.append(other)
                phases = phases - other.phases
            if not phases:
                break
        return found

    def users(self, blob):
        """The layers with a blob as bottom."""
        if self._used is None:
            self._used = _by_blob(self.layers, "bottoms")
        return [self.layers[index] for index in self._used.get(blob, [])]

    def n_classes(self, layer, blob, axis=1):
        """The number of classes in the scores that `layer` gets, or None if the text does not tell."""
        while True:
            makers = self.makers(layer, blob)
            numbers = set(_n_output(maker, axis) for maker in makers)
            if len(numbers) != 1:
                return None
            layer = makers[0]
            if None not in numbers or not _keeps_classes(layer):
                return numbers.pop()
            blob = layer.bottoms[0]


def _by_blob(layers, bottoms_or_tops):
    found = {}
    for layer in layers:
        for blob in set(getattr(layer, bottoms_or_tops)):
            found.setdefault(blob, []).append(layer.index)
    return found


def _keeps_classes(layer):
    if layer.type not in KEEP_CLASSES or not layer.bottoms:
        return False
    param = layer.message("crop_param")
    axis = 2 if param is None else param.value("axis", 2)
    return axis not in (0, 1)


def _layer(text, item, index, lines):
    if text[item.start] not in "{<":
        raise T.error(text, item.start, '"{"')
    layer = Layer(text, item, index, lines)
    if layer.old and layer.items("layer"):
        raise ValueError("line %d: expected layers of Caffe's present syntax or the one before, got the first of all; "
                         "convert the net: upgrade_net_proto_text OLD NEW" % layer.line)
    return layer


def _n_output(layer, axis):
    param = layer.message(MAKE_CLASSES[layer.type]) if layer.type in MAKE_CLASSES else None
    if param is None or param.value("axis", 1) != axis:
        return None
    n_output = param.value("num_output")
    return n_output if isinstance(n_output, int) and n_output > 0 else None


def _phases(rules):
    """The phases in which a layer with such rules may be there."""
    if rules.get("include"):
        named = [set(_phase(rule)) for rule in rules["include"]]
        return frozenset().union(*(phases or PHASES for phases in named))
    gone = [set(_phase(rule)) for rule in rules.get("exclude", []) if isinstance(rule, dict) and len(rule) == 1]
    return frozenset(PHASES).difference(*gone) if gone else frozenset(PHASES)


def _phase(rule):
    """The phase that a rule names, as a list of one or none."""
    phases = rule.get("phase", []) if isinstance(rule, dict) else []
    return [PHASES[phase] if phase in (0, 1) else str(phase) for phase in phases]
