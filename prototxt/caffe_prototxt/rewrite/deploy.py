"""The net to deploy, made of one that is trained: inputs for its data, probabilities for its losses."""
from __future__ import division, print_function

import itertools
import re
from collections import OrderedDict, namedtuple

from caffe_losses.compat import to_display
from caffe_prototxt.data import records
from caffe_prototxt.net import data_layers, losses
from caffe_prototxt.net.graph import INPUT, Graph, Node, usual_states
from caffe_prototxt.net.nets import Net
from caffe_prototxt.textformat import scanner as T
from caffe_prototxt.textformat.edits import Edits
from caffe_prototxt.textformat.messages import Name, on_one_line

# text: str, one character a byte. inputs: [(top, shape)]. outputs: [(top, its kind in words)]. transforms: {top: the
# transform_param of its data, for whoever feeds the net}.
Deploy = namedtuple("Deploy", "text inputs outputs transforms")

# The scores that a loss leaves: their blob, its maker (a Node or INPUT), the layer that replaces the loss ("Softmax",
# "Sigmoid" or None), that one's axis, and the loss's second top, if it has one.
_Head = namedtuple("_Head", "loss blob maker add axis top")

_EMPTY_LINES = re.compile(r"(\r?\n)(?:[ \t]*\r?\n){2,}")


def make_deploy(text, state=None, shapes=None, batch=None, names=(), outputs=()):
    """Return the net to deploy, as a Deploy.

    text: str, one character a byte, a net. state: states.State whose layers are meant; None: TEST.
    shapes: {top: shape}, of data whose shape neither the net nor the data has. batch: int, the first axis of the
    inputs; None: 1 for data layers, and as before for inputs. names: of the losses whose outputs to keep; empty: all.
    outputs: blobs to keep instead of what losses score.
    The layers that stay keep every byte, comments too. Raises ValueError for a net that cannot be deployed.
    """
    net = Net(text)
    if not net.layers:
        raise ValueError("expected a net (a train_val.prototxt), got no layers")
    if any(layer.listed for layer in net.layers):
        net = Net(_one_by_one(net))
    for name in names:
        if name not in [layer.name for layer in net.layers]:
            raise ValueError("expected the name of a loss, got %s, which no layer has" % to_display(name))
    graph = Graph(net, state or next(state for state in usual_states(net) if state.phase == "TEST"))
    heads = [_blob_head(graph, blob) for blob in outputs] or _heads(graph, names)
    kept = graph.before(head.maker for head in heads if isinstance(head.maker, Node))
    kept.update(filter(None, (_same_output(graph, head) for head in heads)))
    made = _Made(graph, kept, shapes or {}, batch)
    made.add_inputs()
    made.add_outputs(heads)
    return made.deploy()


def _one_by_one(net):
    """Return the text of a net with a field for each layer, where it has lists of them."""
    parts, at = [], 0
    for layer in net.layers:
        if layer.begin >= at:
            parts.append(net.text[at:layer.begin])
            at = layer.stop
        parts.append("%s %s%s" % (layer.field_name, net.text[layer.start:layer.end], "\n" * layer.listed))
    return "".join(parts) + net.text[at:]


def _blob_head(graph, blob):
    maker = next((node for node in reversed(graph.nodes) if blob in node.tops), None)
    if maker is None:
        raise ValueError("expected a blob to put out, got %s, which no layer of %s makes"
                         % (to_display(blob), graph.state.phase))
    return _Head(None, blob, maker, None, None, None)


def _heads(graph, names):
    """Return the _Heads of the losses in TEST; where there are none, of those in TRAIN."""
    heads = [_head(node.layer, node.makers[0]) for node in graph.nodes if _is_loss(node)]
    if not heads:
        nodes = Graph(graph.net, graph.state._replace(phase="TRAIN")).nodes
        heads = [_head(node.layer, _blob_head(graph, node.bottoms[0]).maker) for node in nodes if _is_loss(node)]
    heads = [head for head in heads if not names or head.loss.name in names]
    if not heads:
        raise ValueError("expected a loss%s, of which to tell what the net puts out, got none; say which blobs are: "
                         "--output BLOB" % (" of these names" if names else ""))
    for head in heads:
        if head.maker is None:
            raise ValueError("layer %s: takes %s, which no layer before it makes"
                             % (to_display(head.loss.name), to_display(head.blob)))
    return heads


def _is_loss(node):
    return bool(node.bottoms) and (any(node.loss_weights) or losses.is_loss_type(node.type)
                                   or losses.is_python_loss(node.layer))


def _head(layer, maker):
    kind = losses.kind_of(layer)
    if kind is None:
        add = "Sigmoid" if layer.type == "SigmoidCrossEntropyLoss" else None
        return _Head(layer, layer.bottoms[0], maker, add, None, None)
    loss = losses.read_loss(layer)
    is_softmax = isinstance(maker, Node) and maker.type == "Softmax"
    add = None if kind.probabilities or is_softmax else "Softmax"
    return _Head(layer, loss.bottom, maker, add, loss.params.axis, (layer.tops + [None, None])[1])


def _same_output(graph, head):
    """Return the node that makes of a head's blob already what is to be added, or None."""
    wanted = head.add, [head.maker], [head.blob], 1 if head.axis is None else head.axis
    return next((node for node in graph.nodes if wanted == (
        node.type, node.makers, node.bottoms, node.layer.value_in("softmax_param", "axis", 1))), None)


class _Made(object):
    """The edits that make a net one to deploy. kept: the nodes that stay."""

    def __init__(self, graph, kept, shapes, batch):
        self.net, self.graph, self.kept, self.shapes, self.batch = graph.net, graph, kept, shapes, batch
        self.edits = Edits(self.net.text)
        self.replaced = set()  # the indices of layers that others replace
        self.inputs, self.outputs, self.transforms = [], [], OrderedDict()
        self.names = set(name for node in kept for name in [node.layer.name] + node.tops)

    def deploy(self):
        kept = set(node.layer.index for node in self.kept)
        for layer in self.net.layers:
            if layer.index not in kept | self.replaced:
                self.edits.take_out(layer)
            elif layer.index not in self.replaced:
                self.edits.set(layer, {name: None for name in layer.rules})
        self._add_own_inputs()
        return Deploy(_EMPTY_LINES.sub(r"\1\1", self.edits.apply()), self.inputs, self.outputs, self.transforms)

    def add_inputs(self):
        """Replace each data layer by an Input layer; the old syntax has inputs of the net."""
        sources = [node for node in self.graph.nodes if node in self.kept
                   and (data_layers.is_data(node) or node.type in ("Input", "DummyData", "MemoryData"))]
        sources = [node for node in sources if node.type != "DummyData"] or sources
        for node in sources:
            self._add_input(node)
        if self.net.layers[0].old:
            self.kept.difference_update(sources)

    def _add_input(self, node):
        layer = node.layer
        numbers = sorted(set(node.tops.index(user.bottoms[bottom]) for user, bottom in node.users if user in self.kept))
        tops, shapes = [node.tops[number] for number in numbers], [self._shape(node, number) for number in numbers]
        self.inputs += zip(tops, shapes)
        if node.type == "Input" and tops == node.tops and self.batch is None:
            return
        comment = self._transform(layer, tops)
        fields = [{"dim": list(shape)} for shape in shapes]
        if layer.old:
            lines = [" ".join(map(on_one_line, ("input", "input_shape"), own)) for own in zip(tops, fields)]
            self.edits.insert_before(self.net.layers[0], (["# " + comment] if comment else []) + lines)
        else:
            self._replace(layer, [("name", layer.name or tops[0]), ("type", "Input"), ("top", tops),
                                  ("input_param", {"shape": fields})], comment)

    def _replace(self, layer, fields, comment=None):
        self.replaced.add(layer.index)
        self.edits.replace_layer(layer, OrderedDict(fields), comment)

    def add_outputs(self, heads):
        """Replace each loss of scores by the layer that makes their probabilities."""
        several = len(set(head.blob for head in heads)) > 1
        different = OrderedDict()
        for head in heads:
            different.setdefault((head.blob, head.add), head)
        for head in different.values():
            same = _same_output(self.graph, head)
            if same or head.add is None:
                maker = same or head.maker
                kind = "an input of the net" if maker is INPUT else maker.type
                self.outputs.append((same.tops[0] if same else head.blob, kind))
                continue
            layer = head.loss
            name = self._new_name(head.top or ((layer.name or "loss") + "_prob" if several else "prob"))
            self._replace(layer, [
                ("name", name), ("type", Name(head.add.upper()) if layer.old else head.add), ("bottom", head.blob),
                ("top", name), ("softmax_param", None if head.axis in (None, 1) else {"axis": head.axis})])
            self.outputs.append((name, "%s of %s" % (head.add, to_display(head.blob))))

    def _add_own_inputs(self):
        """Take out the net's own `input` fields that are not used, if each has its shape in fields of its own."""
        used = set(bottom for node in self.kept for bottom, maker in zip(node.bottoms, node.makers) if maker is INPUT)
        used.update(top for top, kind in self.outputs if top in self.net.inputs)
        inputs, dims, shapes = [[field for field in T.fields(self.net.text) if field.name == name]
                                for name in ("input", "input_dim", "input_shape")]
        n = len(self.net.inputs)
        one_by_one = len(inputs) == n and (len(dims), len(shapes)) in ((4 * n, 0), (0, n))
        for i, (name, field) in enumerate(zip(self.net.inputs, inputs)):
            if name in used:
                self.inputs.append((name, None))
            elif one_by_one:
                self.edits.take_out_fields([field] + dims[4 * i:4 * i + 4] + shapes[i:i + 1])

    def _shape(self, node, number):
        layer, top = node.layer, node.tops[number]
        if top in self.shapes:
            return self.shapes[top]
        shape = _own_shape(layer, number)
        if shape:
            return shape if self.batch is None else (self.batch,) + shape[1:]
        size, why = data_layers.image_size(layer) if number == 0 else None, ""
        try:
            record = records.record_shape(layer, top) if number == 0 or layer.type == "HDF5Data" else ()
        except (EnvironmentError, ImportError, ValueError) as error:
            record, why = None, " (%s)" % error
        if size:
            record = (record[0] if record else data_layers.channels(layer),) + size
        if record is None or not all(record):
            raise ValueError("layer %s: expected --shape %s=N,C,H,W, as neither its text nor its data tells%s"
                             % (to_display(layer.name), to_display(top), why))
        return (self.batch or 1,) + record

    def _transform(self, layer, tops):
        """Return a comment on the transforms of a layer's data other than crops and mirrors."""
        param = layer.message("transform_param")
        done = ", ".join("%s %s" % (field.name, " ".join(self.net.text[field.value:field.end].split()))
                         for field in (param.fields if param else ()) if field.name not in ("crop_size", "mirror"))
        if not done:
            return None
        self.transforms[tops[0]] = done
        return "%s went through %s in training: for whoever fills this" % (tops[0], done)

    def _new_name(self, name):
        like_it = ("%s_%d" % (name, number) for number in itertools.count(2))
        free = next(free for free in itertools.chain([name], like_it) if free not in self.names)
        self.names.add(free)
        return free


def _own_shape(layer, number):
    """Return the shape of a top of a layer whose text has it, or None."""
    name = {"Input": "input_param", "DummyData": "dummy_data_param", "MemoryData": "memory_data_param"}.get(layer.type)
    param = name and layer.message(name)
    if not param:
        return None
    if layer.type == "MemoryData":
        sizes = [param.value(name) for name in ("batch_size", "channels", "height", "width")][:1 if number else 4]
    elif param.items("shape"):
        shapes = param.values("shape")
        shape = shapes[number if len(shapes) > 1 else 0] if number < len(shapes) or len(shapes) == 1 else None
        sizes = shape.get("dim", ()) if isinstance(shape, dict) else ()
    else:  # as DummyData has it from of old
        sizes = [(param.values(name) * (number + 1) or [None] * (number + 1))[number]
                 for name in ("num", "channels", "height", "width")]
    return tuple(sizes) if sizes and all(map(data_layers.positive, sizes)) else None
