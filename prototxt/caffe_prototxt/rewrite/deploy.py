"""The net to deploy, made of one that is trained: inputs for its data, probabilities for its losses."""
from __future__ import division, print_function

import collections
import re

from caffe_losses.compat import to_display
from caffe_prototxt.check import check
from caffe_prototxt.data import records
from caffe_prototxt.net import data_layers, losses
from caffe_prototxt.net import graph as G
from caffe_prototxt.textformat import scanner as T
from caffe_prototxt.textformat.edits import Edits
from caffe_prototxt.textformat.messages import Name, on_one_line
from caffe_prototxt.net.nets import Net

# text: str, one character a byte. inputs: [(top, shape)]. outputs: [(top, what it is)]. transforms: {top: what the data went
# through, for whoever feeds the net}.
Deploy = collections.namedtuple("Deploy", "text inputs outputs transforms")

# What a loss leaves: the blob it scores, that blob's maker, the layer in whose place `add` goes ("Softmax", "Sigmoid" or
# None), that one's axis, and its second top, if it has one.
_Head = collections.namedtuple("_Head", "loss blob maker add axis top")

_EMPTY_LINES = re.compile(r"(\r?\n)(?:[ \t]*\r?\n){2,}")
_SOURCES = ("Input", "DummyData", "MemoryData")


def make_deploy(text, state=None, shapes=None, batch=None, names=(), outputs=()):
    """The net to deploy.

    text: str, one character a byte, a net. state: states.State whose layers are meant; None: TEST.
    shapes: {top: shape}, of data whose shape nothing tells. batch: int, the first axis of the
    inputs; None: 1 for data layers, and what stands there for inputs. names: of the losses
    whose outputs to keep; empty: all. outputs: blobs to keep instead of what losses score.
    Returns Deploy. What stays of the net stays as it is written, comments too.
    Raises ValueError for a net that is not to be deployed.
    """
    net = Net(text)
    if not net.layers:
        raise ValueError("expected a net (a train_val.prototxt), got no layers")
    if any(layer.listed for layer in net.layers):
        net = Net(_one_by_one(net))
    graph = G.Graph(net, state or _test_state(net))
    heads = [_blob_head(graph, blob) for blob in outputs] or _heads(graph, _named(net, names))
    kept = graph.before(place for head in heads for place in [head.maker] if place is not G.INPUT)
    kept.update(place for head in heads for place in [_made_already(graph, head)] if place is not None)
    made = _Made(net, graph, kept, shapes or {}, batch)
    made.add_inputs()
    made.add_outputs(heads)
    return made.deploy()


def _test_state(net):
    found = [state for state in check.usual_states(net) if state.phase == "TEST"]
    return found[0]


def _one_by_one(net):
    """The text of a net with a field for each layer, where it has lists of them."""
    parts, at = [], 0
    for layer in net.layers:
        if layer.begin >= at:
            parts.append(net.text[at:layer.begin])
            at = layer.stop
        parts.append("%s %s%s" % (layer.field_name, net.text[layer.start:layer.end], "\n" * layer.listed))
    return "".join(parts) + net.text[at:]


def _named(net, names):
    for name in names:
        if name not in [layer.name for layer in net.layers]:
            raise ValueError("expected the name of a loss, got %s, which no layer has" % to_display(name))
    return set(names)


def _blob_head(graph, blob):
    maker = next((place for place in reversed(range(len(graph.layers))) if blob in graph.layers[place].tops), None)
    if maker is None:
        raise ValueError("expected a blob to put out, got %s, which no layer of %s makes" % (to_display(blob), graph.state.phase))
    return _Head(None, blob, maker, None, None, None)


def _heads(graph, names):
    """What the losses in TEST score; where there are none, what those in TRAIN score."""
    found = [_head(graph, layer, graph.makers[place][0]) for place, layer in enumerate(graph.layers) if _is_loss(graph, place)]
    if not found:
        training = G.Graph(graph.net, graph.state._replace(phase="TRAIN"))
        for place, layer in enumerate(training.layers):
            if _is_loss(training, place):
                found.append(_head(graph, layer, _blob_head(graph, layer.bottoms[0]).maker))
    found = [head for head in found if not names or head.loss.name in names]
    if not found:
        raise ValueError("expected a loss%s, of which to tell what the net puts out, got none; say which blobs are: --output BLOB"
                         % (" of these names" if names else ""))
    missing = [head for head in found if head.maker is G.UNKNOWN]
    if missing:
        raise ValueError("layer %s: takes %s, which no layer before it makes"
                         % (to_display(missing[0].loss.name), to_display(missing[0].blob)))
    return found


def _is_loss(graph, place):
    layer = graph.layers[place]
    return bool(layer.bottoms) and (any(graph.weights[place]) or G.is_loss(graph.types[place]) or G.is_python_loss(layer))


def _head(graph, layer, maker):
    kind = losses.kind_of(layer)
    if kind is None:
        add = "Sigmoid" if layer.type == "SigmoidCrossEntropyLoss" else None
        return _Head(layer, layer.bottoms[0], maker, add, None, None)
    loss = losses.read_loss(graph.net, layer, kind)
    is_softmax = maker not in (G.INPUT, G.UNKNOWN) and graph.types[maker] == "Softmax"
    return _Head(layer, loss.bottom, maker, None if kind.probabilities or is_softmax else "Softmax", loss.axis,
                 (layer.tops + [None, None])[1])


def _made_already(graph, head):
    """The place of a layer that makes of a head's blob already what is to be added, or None."""
    for place, layer in enumerate(graph.layers):
        if head.add and layer.type == head.add and graph.makers[place] == [head.maker] and layer.bottoms == [head.blob]:
            param = layer.message("softmax_param")
            if (1 if param is None else param.value("axis", 1)) == (1 if head.axis is None else head.axis):
                return place
    return None


class _Made(object):
    """The changes of a net that make it one to deploy."""

    def __init__(self, net, graph, kept, shapes, batch):
        self.net, self.graph, self.kept, self.shapes, self.batch = net, graph, kept, shapes, batch
        self.edits = Edits(net.text)
        self.replaced = set()  # the layers that others take the place of, by index
        self.inputs, self.outputs, self.transforms = [], [], collections.OrderedDict()
        self.names = set(name for place in kept for name in [graph.layers[place].name] + graph.layers[place].tops)

    def deploy(self):
        kept = dict((self.graph.layers[place].index, self.graph.layers[place]) for place in self.kept)
        for layer in self.net.layers:
            if layer.index in self.replaced:
                continue
            if layer.index not in kept:
                self.edits.take_out(layer)
            elif layer.rules:
                self.edits.set(layer, {name: None for name in layer.rules})
        self._add_own_inputs()
        return Deploy(_EMPTY_LINES.sub(r"\1\1", self.edits.apply()), self.inputs, self.outputs, self.transforms)

    def add_inputs(self):
        """Put an Input layer in the place of each data layer; the old syntax has inputs of the net."""
        graph = self.graph
        sources = [place for place in sorted(self.kept)
                   if data_layers.is_data(graph, place) or graph.types[place] in _SOURCES]
        outside = [place for place in sources if graph.types[place] != "DummyData"]
        for place in outside or sources:
            layer = graph.layers[place]
            tops = [top for number, top in enumerate(layer.tops) if self._is_used(place, number)]
            if graph.types[place] == "Input" and tops == layer.tops and self.batch is None:
                self.inputs += [(top, self._shape(place, number)) for number, top in enumerate(tops)]
                continue
            shapes = [self._shape(place, layer.tops.index(top)) for top in tops]
            self.inputs += zip(tops, shapes)
            comment = self._transform(layer, tops)
            fields = [{"dim": list(shape)} for shape in shapes]
            if layer.old:
                lines = [on_one_line("input", top) + " " + on_one_line("input_shape", shape) for top, shape in zip(tops, fields)]
                self.edits.insert_before(self.net.layers[0], (["# " + comment] if comment else []) + lines)
                continue
            self.replaced.add(layer.index)
            self.edits.put_in_place_of(layer, collections.OrderedDict((
                ("name", layer.name or tops[0]), ("type", "Input"), ("top", tops), ("input_param", {"shape": fields}))), comment)
        if self.net.layers and self.net.layers[0].old:
            self.kept.difference_update(outside or sources)

    def add_outputs(self, heads):
        """Put what makes probabilities in the place of each loss of scores."""
        several = len(set(head.blob for head in heads)) > 1
        done = set()
        for head in heads:
            if (head.blob, head.add) in done:
                continue
            done.add((head.blob, head.add))
            place = _made_already(self.graph, head)
            if place is not None or head.add is None:
                maker = head.maker if place is None else place
                kind = "an input of the net" if maker is G.INPUT else self.graph.types[maker]
                self.outputs.append((head.blob if place is None else self.graph.layers[place].tops[0], kind))
                continue
            layer = head.loss
            name = self._new_name(head.top or ((layer.name or "loss") + "_prob" if several else "prob"))
            fields = [("name", name), ("type", Name(head.add.upper()) if layer.old else head.add),
                      ("bottom", head.blob), ("top", name)]
            if head.axis not in (None, 1):
                fields.append(("softmax_param", {"axis": head.axis}))
            self.replaced.add(layer.index)
            self.edits.put_in_place_of(layer, collections.OrderedDict(fields))
            self.outputs.append((name, "%s of %s" % (head.add, to_display(head.blob))))

    def _add_own_inputs(self):
        """The net's own `input` fields: those that are not used go, if each has its shape in fields of its own."""
        used = set(bottom for place in self.kept for bottom, maker in zip(
            self.graph.layers[place].bottoms, self.graph.makers[place]) if maker is G.INPUT)
        used.update(top for top, kind in self.outputs if top in self.net.inputs)
        fields = [field for field in T.fields(self.net.text) if field.name in ("input", "input_dim", "input_shape")]
        of = {name: [field for field in fields if field.name == name] for name in ("input", "input_dim", "input_shape")}
        n = len(self.net.inputs)
        parts = [of["input_dim"][4 * i:4 * i + 4] + of["input_shape"][i:i + 1] for i in range(n)]
        one_by_one = len(of["input"]) == n and (len(of["input_dim"]), len(of["input_shape"])) in ((4 * n, 0), (0, n))
        for name, field, part in zip(self.net.inputs, of["input"], parts):
            if name in used:
                self.inputs.append((name, None))
            elif one_by_one:
                self.edits.take_out_fields([field] + part)

    def _is_used(self, place, number):
        layer = self.graph.layers[place]
        return any(user in self.kept and self.graph.layers[user].bottoms[bottom] == layer.tops[number]
                   for user, bottom in self.graph.users[place])

    def _shape(self, place, number):
        """The shape of an input."""
        layer, kind = self.graph.layers[place], self.graph.types[place]
        top = layer.tops[number]
        if top in self.shapes:
            return self.shapes[top]
        shape = _own_shape(layer, kind, number)
        if shape is not None:
            return shape if self.batch is None else (self.batch,) + shape[1:]
        param = layer.message(data_layers.PARAMS[kind]) if kind in data_layers.PARAMS else None
        size = data_layers.image_size(layer, param) if param is not None and number == 0 and kind != "HDF5Data" else None
        why = ""
        try:
            record = records.record_shape(layer, kind, top) if number == 0 or kind == "HDF5Data" else ()
        except (EnvironmentError, ImportError, ValueError) as error:
            record, why = None, " (%s)" % error
        if size:
            record = (record[0] if record else data_layers.channels(layer, param),) + size
        if record is None or not all(record):
            raise ValueError("layer %s: expected --shape %s=N,C,H,W, as neither its text nor its data tells%s"
                             % (to_display(layer.name), to_display(top), why))
        return (self.batch or 1,) + record

    def _transform(self, layer, tops):
        """What the data of a layer went through, but for crops and mirrors."""
        param = layer.message("transform_param")
        done = [] if param is None else [(field.name, " ".join(self.net.text[field.value:field.end].split()))
                                         for field in param.fields if field.name not in ("crop_size", "mirror")]
        if not done:
            return None
        said = ", ".join("%s %s" % pair for pair in done)
        self.transforms[tops[0]] = said
        return "%s went through %s in training: for whoever fills this" % (tops[0], said)

    def _new_name(self, name):
        found, number = name, 1
        while found in self.names:
            number += 1
            found = "%s_%d" % (name, number)
        self.names.add(found)
        return found


def _own_shape(layer, kind, number):
    """The shape of the top of a layer that says it itself, or None."""
    if kind == "MemoryData":
        param = layer.message("memory_data_param")
        sizes = [data_layers.positive(param.value(name)) if param else None
                 for name in ("batch_size", "channels", "height", "width")]
        return None if None in sizes else tuple(sizes) if number == 0 else tuple(sizes[:1])
    param = layer.message({"Input": "input_param", "DummyData": "dummy_data_param"}.get(kind, "no_param"))
    shapes = param.values("shape") if param else []
    if shapes:
        shape = shapes[number if len(shapes) > 1 else 0] if number < len(shapes) or len(shapes) == 1 else {}
        sizes = [data_layers.positive(size) for size in (shape.get("dim", ()) if isinstance(shape, dict) else ())]
    else:  # as DummyData has it from of old
        sizes = [data_layers.positive((param.values(name) * (number + 1))[number]) if param and param.values(name) else None
                 for name in ("num", "channels", "height", "width")]
    return tuple(sizes) if sizes and None not in sizes else None
