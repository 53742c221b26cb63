"""The net to deploy, made of one that is trained: inputs for its data, probabilities for its losses."""
from __future__ import division, print_function

import re
from collections import OrderedDict, namedtuple

from caffe_losses.compat import to_display
from caffe_prototxt.net import data_layers
from caffe_prototxt.net.graph import INPUT, Graph, Node, usual_states
from caffe_prototxt.net.nets import Net
from caffe_prototxt.net.shapes import KEEP_CLASSES, MAKE_CLASSES
from caffe_prototxt.rewrite.decision import Adding, Softmax, axis_param, layer_fields
from caffe_prototxt.rewrite.heads import find_heads
from caffe_prototxt.rewrite.inputs import Shapes, net_shapes, own_shape
from caffe_prototxt.textformat import scanner as T
from caffe_prototxt.textformat.edits import Edits
from caffe_prototxt.textformat.messages import Message, on_one_line

# text: str, one character a byte. inputs: [(top, shape)]. outputs: [(top, its kind in words)]. transforms: {top: the
# transform_param of its data, for whoever feeds the net}. notes: list of str, what was assumed or chosen. nodes: of the
# layers that stay as they are.
Deploy = namedtuple("Deploy", "text inputs outputs transforms notes nodes")

_EMPTY_LINES = re.compile(r"(\r?\n)(?:[ \t]*\r?\n){2,}")


def make_deploy(text, state=None, shapes=None, batch=None, names=(), outputs=()):
    """Return the net to deploy, as a Deploy, without a decision: see Deployment."""
    return Deployment(text, state, shapes, batch, names, outputs).make()


def _graph_and_heads(net, state, names, blobs):
    """Return the Graph of a state, with the layers of TRAIN that make what it lacks, and its Heads."""
    graph = Graph(net, state)
    heads = find_heads(graph, names, blobs)
    unmade = _unmade(graph, heads)
    if unmade:
        graph = Graph(net, state, _makers_in_train(graph, set(blob for _, blob in unmade)))
        heads = find_heads(graph, names, blobs)
        unmade = _unmade(graph, heads)
    for layer, blob in unmade[:1]:
        raise ValueError("layer %s: takes %s, which no layer before it makes" % (layer.display_name, to_display(blob))
                         if layer else "expected a blob to put out, got %s, which no layer of %s makes"
                         % (to_display(blob), state.phase))
    return graph, heads


def _unmade(graph, heads):
    """Return (layer, blob) of what no layer makes: those that stay or a loss take it; without a layer a head is it."""
    kept = _kept(graph, heads)
    return [(head.loss, head.blob) for head in heads if head.maker is None] + [
        (node.layer, bottom) for node in graph.nodes if node in kept
        for bottom, maker in zip(node.bottoms, node.makers) if maker is None]


def _makers_in_train(graph, lacking):
    """Return the layers of TRAIN that make the blobs that a graph lacks, of those that it has."""
    made = set(graph.net.inputs).union(*[node.tops for node in graph.nodes])
    layers = set()
    for node in reversed(Graph(graph.net, graph.state._replace(phase="TRAIN")).nodes):
        if lacking.intersection(node.tops):
            layers.add(node.layer)
            lacking = lacking.union(node.bottoms) - made
    return layers


def _kept(graph, heads):
    """Return the nodes that stay: those that the heads need."""
    return graph.before(head.maker for head in heads if isinstance(head.maker, Node))


def _one_by_one(net):
    """Return the text of a net with a field for each layer, where it has lists of them."""
    parts, at = [], 0
    for layer in net.layers:
        if layer.begin >= at:
            parts.append(net.text[at:layer.begin])
            at = layer.stop
        parts.append("%s %s%s" % (layer.field_name, net.text[layer.start:layer.end], "\n" * layer.listed))
    return "".join(parts) + net.text[at:]


class Deployment(object):
    """A net that is to be deployed.

    text: str, one character a byte, a net. state: states.State whose layers are meant; None: TEST.
    shapes: {top: shape}, of data whose shape neither the net nor the data has. batch: int, the first axis of the
    inputs; None: 1 for data layers, and as before for inputs. names: of the losses whose outputs to keep; empty: all.
    outputs: blobs to keep instead of what losses score.
    Raises ValueError for a net that cannot be deployed.
    """

    def __init__(self, text, state=None, shapes=None, batch=None, names=(), outputs=()):
        net = Net(text)
        if not net.layers:
            raise ValueError("expected a net (a train_val.prototxt), got no layers")
        if any(layer.listed for layer in net.layers):
            net = Net(_one_by_one(net))
        for name in names:
            if name not in [layer.name for layer in net.layers]:
                raise ValueError("expected the name of a loss, got %s, which no layer has" % to_display(name))
        state = state or usual_states(net, ("TEST",))[0]
        self.net, self.shapes = net, Shapes(shapes, batch)
        self.graph, self.heads = _graph_and_heads(net, state, names, outputs)
        self.kept = _kept(self.graph, self.heads)
        self.edits = Edits(net.text)
        self.replaced = set()  # the indices of layers that others replace
        self.inputs, self.outputs, self.transforms, self.notes = [], [], OrderedDict(), []
        # A new layer must not get the blobs that a .caffemodel has for another.
        self.names = set(layer.name for layer in net.layers if layer.type in MAKE_CLASSES)
        self.names.update(name for node in self.kept for name in [node.layer.name] + node.tops)

    def n_classes(self):
        """Return the number of classes of the first Softmax of the deployed net; None where the text leaves it open."""
        found = [self.net.n_classes(softmax.layer, softmax.scores, softmax.axis)
                 for softmax in map(self._softmax, self.heads) if softmax]
        return found[0] if found else None

    def make(self, decision=None, model=None, shape_of=None):
        """Return the Deploy. The layers that stay keep every byte, comments too.

        decision: decision.Decision, or None. model: formats.caffemodel.CaffeModel that gets the decision's blobs.
        shape_of: function of a blob that returns its shape in the net that Caffe makes without a decision, or None; it
        is asked only for what the text leaves open.
        """
        self._add_inputs()
        self._edit_own_inputs()
        self.shapes.check_tops([top for top, _ in self.inputs])
        adding = Adding(self, decision, model, shape_of) if decision else None
        self._add_outputs(adding)
        kept = set(node.layer.index for node in self.kept) - self.replaced
        for layer in self.net.layers:
            if layer.index in kept:
                self.edits.set(layer, dict.fromkeys(layer.rules))
            elif layer.index not in self.replaced:
                self.edits.take_out(layer)
        text = _EMPTY_LINES.sub(r"\1\1", self.edits.apply())
        return Deploy(adding.added_to(text) if adding else text, self.inputs, self.outputs, self.transforms,
                      self.shapes.notes + self.notes, sorted(self.kept, key=lambda node: node.index))

    def _add_inputs(self):
        """Replace each data layer by an Input layer; the old syntax has inputs of the net."""
        sources = [node for node in self.graph.nodes if node in self.kept
                   and (data_layers.is_data(node) or node.type in ("Input", "DummyData", "MemoryData"))]
        sources = [node for node in sources if node.type != "DummyData"] or sources
        for node in sources:
            self._add_input(node)
            if not node.layer.is_kept(self.graph.state):
                self.notes.append("%s: its layer %s is that of TRAIN, as %s has none" % (
                    to_display(node.tops[0]), node.layer.display_name, self.graph.state.phase))
        if self.net.layers[0].old:
            self.kept.difference_update(sources)

    def _add_input(self, node):
        layer = node.layer
        numbers = sorted(set(node.tops.index(user.bottoms[bottom]) for user, bottom in node.users if user in self.kept))
        tops = [node.tops[number] for number in numbers]
        shapes = [self.shapes.of_top(node, number, self._takers(node, [node.tops[number]])) for number in numbers]
        self.inputs += zip(tops, shapes)
        if node.type == "Input" and tops == node.tops and shapes == [own_shape(layer, number) for number in numbers]:
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

    def _softmax(self, head):
        """Return the decision.Softmax of a head, which the net has or gets in the place of the loss; None without."""
        others, maker = [other for other in self.heads if other is not head], head.maker
        if head.add == "Softmax":
            layer, node, scores, axis, top = head.loss, None, head.blob, head.axis, None
        elif head.add is None and isinstance(maker, Node) and maker.type == "Softmax":
            layer, node, scores, top = maker.layer, maker, maker.bottoms[0], maker.tops[0]
            maker, axis = node.makers[0], layer.value_in("softmax_param", "axis", 1)
        else:
            return None
        is_alone = scores not in [other.blob for other in others] and not (isinstance(maker, Node) and any(
            user in self.kept and user is not node and user.bottoms[bottom] == scores for user, bottom in maker.users))
        is_taken = node is not None and any(user in self.kept for user, _ in node.users)
        return Softmax(layer, node is None, scores, top, maker, axis, is_alone, is_taken)

    def _add_outputs(self, adding):
        """Replace each loss of scores by the layer that makes their probabilities, and add the decisions."""
        several = len(set(head.blob for head in self.heads)) > 1
        if several and all(head.loss for head in self.heads):
            self.notes.append("the net has several losses, and gives the output of each: %s; --loss NAME keeps one"
                              % ", ".join(sorted(set(to_display(head.loss.name) for head in self.heads))))
        softmaxes = list(map(self._softmax, self.heads))
        if adding:
            adding.check(list(filter(None, softmaxes)), [to_display(head.blob) for head in self.heads])
        for head, softmax in zip(self.heads, softmaxes):
            name, scores = head.blob, head.blob
            output = name, getattr(head.maker, "type", "an input of the net")
            if head.add:
                name = self.new_name(head.top or ((head.loss.name or "loss") + "_prob" if several else "prob"))
                output = name, "%s of %s" % (head.add, to_display(scores))
            if adding and softmax:
                scores, output = adding.add(softmax._replace(top=name))
            if head.add:
                self._replace(head.loss, layer_fields(head.loss.old, name, head.add, scores, name,
                                                      {"softmax_param": axis_param(head.axis)}))
            self.outputs.append(output)
        given = set(head.blob for head in self.heads).union(top for top, _ in self.outputs)
        for node in sorted(self.kept, key=lambda node: node.index):
            used = given.union(user.bottoms[bottom] for user, bottom in node.users if user in self.kept)
            if node.layer.index not in self.replaced:
                self.outputs += [(top, "top of %s that no layer takes" % node.layer.display_name)
                                 for top in node.tops if top not in used]

    def _edit_own_inputs(self):
        """Give the net's own `input` fields that are used their shapes, and take the others out."""
        if not self.net.inputs:
            return
        net = Message(self.net.text, 0, list(T.fields(self.net.text)), len(self.net.text))
        takers = {head.blob: [] for head in self.heads if head.maker is INPUT}
        for node in self.kept:
            for bottom, maker in zip(node.bottoms, node.makers):
                if maker is INPUT:
                    takers.setdefault(bottom, []).append(node)
        own = [(name, shape) for name, shape in zip(self.net.inputs, net_shapes(net, len(self.net.inputs)))
               if name in takers]
        used = [(name, self.shapes.of_input(name, shape, takers[name])) for name, shape in own]
        self.inputs += used
        if used == own and len(used) == len(self.net.inputs):
            return
        fields, shapes = {"input": [name for name, _ in used]}, [list(shape) for _, shape in used]
        if net.items("input_dim") and all(len(shape) == 4 for shape in shapes):
            fields["input_dim"] = sum(shapes, [])
        else:
            fields.update(input_dim=None, input_shape=[{"dim": shape} for shape in shapes])
            for item, shape in zip(net.items("input_shape"), shapes):
                self.edits.set(Message(net.text, item.start), {"dim": shape})
        self.edits.set(net, fields)

    def _takers(self, node, tops):
        """Return the nodes that stay and take tops of a node, directly or through layers that keep their shape."""
        takers, waiting = [], [(node, tops)]
        while waiting:
            node, tops = waiting.pop()
            for user, bottom in node.users:
                if user in self.kept and user.bottoms[bottom] in tops and user not in takers:
                    takers.append(user)
                    if user.type in KEEP_CLASSES:
                        waiting.append((user, user.tops))
        return takers

    def _transform(self, layer, tops):
        """Return a comment on the transforms of a layer's data other than crops and mirrors."""
        param = layer.message("transform_param")
        done = ", ".join("%s %s" % (field.name, " ".join(self.net.text[field.value:field.end].split()))
                         for field in (param.fields if param else ()) if field.name not in ("crop_size", "mirror"))
        if not done:
            return None
        self.transforms[tops[0]] = done
        return "%s went through %s in training: for whoever fills this" % (tops[0], done)

    def new_name(self, name):
        """Return a name like `name` that no layer or blob has, and take it."""
        free, number = name, 1
        while free in self.names:
            number += 1
            free = "%s_%d" % (name, number)
        self.names.add(free)
        return free
