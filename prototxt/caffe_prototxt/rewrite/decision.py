"""Put a decision into a deployed net, of Caffe's own layers: a temperature, class weights and costs.

    p = softmax(x / T),  score_k = w_k p_k, or with costs -sum_j w_j p_j D[j, k],  decision = argmax score
"""
from __future__ import division, print_function

import itertools
from collections import OrderedDict, namedtuple

import numpy as np

from caffe_losses.compat import from_bytes, from_display, to_bytes, to_display
from caffe_losses.formats.caffemodel import same_shape
from caffe_losses.validation import shape_text
from caffe_prototxt.net.graph import Graph, Node
from caffe_prototxt.net.nets import KEEP_CLASSES, MAKE_CLASSES, Net
from caffe_prototxt.net.states import State
from caffe_prototxt.textformat.edits import Edits
from caffe_prototxt.textformat.messages import Name, on_lines

# weights: C numbers, or None. D: C x C, or None. temperature: float. decide: bool, whether the net gives the class.
# sources: {"weights", "D": where they came from, in words}.
Decision = namedtuple("Decision", "weights D temperature decide sources")

_OLD_TYPES = {"Power": "POWER", "Softmax": "SOFTMAX", "InnerProduct": "INNER_PRODUCT", "Convolution": "CONVOLUTION",
              "ArgMax": "ARGMAX"}
_KEEP_AXES = KEEP_CLASSES | frozenset(("Convolution", "Deconvolution", "Concat"))
_HAVE_BLOBS = frozenset(("Embed", "PReLU", "BatchNorm", "LSTM", "RNN", "Parameter"))


def add_decision(made, decision, model=None, shape_of=lambda blob: None):
    """Return a deployed net with a decision after each Softmax that it ends in.

    made: deploy.Deploy. decision: Decision. model: formats.caffemodel.CaffeModel, which gets the blobs of the new
    layers; None where the decision has neither weights nor costs. shape_of: function of a blob's name that returns its
    shape as Caffe makes it, or None; it is asked only for what the text leaves open.
    Returns a Deploy. Raises ValueError for a net that has no probabilities, or of another number of classes.
    """
    net = Net(made.text)
    graph = Graph(net, State("TEST"))
    tops = [top for top, _ in made.outputs]
    makers = {top: node for node in graph.nodes for top in node.tops}
    heads = [(top, makers[top]) for top in tops if top in makers and makers[top].type == "Softmax"]
    if not heads:
        raise ValueError("expected a net that gives probabilities (by a Softmax) to decide by, got one that gives %s"
                         % ", ".join(map(to_display, tops)))
    adding, replaced = _Adding(graph, made, decision, model, shape_of), {}
    for top, node in heads:
        prefix = "" if len(heads) == 1 else (top[:-len("prob")] if top.endswith("_prob") else top + "_")
        replaced[top] = adding.head(node, prefix)
    return made._replace(text=adding.text(), outputs=[replaced.get(pair[0], pair) for pair in made.outputs])


def n_classes_of(made):
    """Return the number of classes of the first Softmax of a deployed net, or None where the text leaves it open."""
    net = Net(made.text)
    softmax = next((layer for layer in net.layers if layer.type == "Softmax" and layer.bottoms), None)
    return softmax and net.n_classes(softmax, softmax.bottoms[0], softmax.value_in("softmax_param", "axis", 1))


class _Adding(object):
    """The layers of decisions, while they are added to a net."""

    def __init__(self, graph, made, decision, model, shape_of):
        self.graph, self.made, self.decision, self.model, self.shape_of = graph, made, decision, model, shape_of
        self.edits, self.added = Edits(graph.net.text), []
        self.old = graph.net.layers[0].old
        self.newline = "\r\n" if "\r\n" in graph.net.text else "\n"
        self.names = set(name for node in graph.nodes for name in [node.layer.name] + node.tops)
        self.names.update(from_bytes(name) for name in (model.layers if model else ()))

    def text(self):
        text = self.edits.apply()
        return text + (self.newline if self.added and not text.endswith("\n") else "") + "".join(self.added)

    def head(self, node, prefix):
        """Add the decision after a Softmax. Returns (the blob that the net gives, its meaning)."""
        decision, axis = self.decision, node.layer.value_in("softmax_param", "axis", 1)
        self._check_classes(node, axis)
        top = self._divide(node, prefix, axis) if decision.temperature != 1 else node.tops[0]
        meaning = "Softmax of %s" % to_display(node.bottoms[0])
        if decision.D is None and decision.weights is not None and self._add_to_bias(node, axis):
            meaning += ", with the class weights in the bias of its layer"
        elif decision.D is not None or decision.weights is not None:
            top, meaning = self._score(node, top, prefix, axis)
        if decision.decide:
            comment = "%s: the class of the biggest %s" % (prefix + "decision", top)
            top, meaning = self._append(prefix + "decision", "ArgMax", top, {"argmax_param": {"axis": axis}}, comment)
        return top, meaning

    def _check_classes(self, node, axis):
        """Raise ValueError unless there are weights and costs for as many classes as a head has."""
        decision, layer = self.decision, node.layer
        n_classes = self.graph.net.n_classes(layer, node.bottoms[0], axis)
        if n_classes is None:
            shape = self.shape_of(node.tops[0]) or ()
            n_classes = shape[axis] if -len(shape) <= axis < len(shape) else None
        for name, matrix in (("class weights", decision.weights), ("D", decision.D)):
            if matrix is not None and len(matrix) != (n_classes or len(matrix)):
                raise ValueError("%s: expected %d classes, as %s has, got %d; of several losses --loss names one" % (
                    name, n_classes, layer.display_name, len(matrix)))
        sizes = [len(matrix) for matrix in (decision.weights, decision.D) if matrix is not None]
        if len(set(sizes)) > 1:
            raise ValueError("class weights: expected %d classes, as D has, got %d" % (sizes[1], sizes[0]))

    def _divide(self, node, prefix, axis):
        """Divide the scores of a Softmax by the temperature. Returns the top with the probabilities."""
        scores, T = node.bottoms[0], self.decision.temperature
        in_place, is_taken = node.tops[0] == scores, bool(node.users)
        if in_place and is_taken:
            raise node.layer.error("a Softmax with a top of its own, to have a temperature", "one in place")
        name = self._name(prefix + "scaled")
        scaled = scores if in_place else name
        fields = self._fields(name, "Power", scores, scaled, {"power_param": {"scale": float(1 / T)}})
        comment = "%s: %s divided by the temperature %r" % (scaled, scores, T)
        if is_taken:
            self.added.append(self._block(fields, comment))
            return self._append(prefix + "prob", "Softmax", scaled, {
                "softmax_param": None if axis == 1 else {"axis": axis}}, "the probabilities at that temperature")[0]
        self.edits.insert_before(node.layer, self._lines(fields, comment))
        if not in_place:
            self.edits.set(node.layer, {"bottom": [scaled]})
        return node.tops[0]

    def _add_to_bias(self, node, axis):
        """Multiply probabilities by class weights in the bias of the layer of the scores, if that is exact.

        softmax((x + T log w) / T) is w softmax(x / T), but for its sum. Returns whether it was done.
        """
        w, T, maker = self.decision.weights, self.decision.temperature, node.makers[0]
        if not (isinstance(maker, Node) and _is_bias_of_classes(maker, axis) and (w > 0).all()
                and maker.users == [(node, 0)] and not node.users
                and node.bottoms[0] not in [top for top, _ in self.made.outputs if top != node.tops[0]]):
            return False
        name = to_bytes(maker.layer.name)
        blobs = self.model.layers.get(name, ())
        bias = self.model.numbers(name, 1) if len(blobs) == 2 else None
        if bias is None or bias.size != len(w):
            return False
        bias += T * np.log(w)
        self.edits.insert_before(node.layer, ["# " + _comment(
            "%s: the probabilities times %s, and divided by their sum: %slog w is added to the bias of layer %s" % (
                node.tops[0], self._words("weights"), "T " if T != 1 else "", maker.layer.name))])
        return True

    def _score(self, node, prob, prefix, axis):
        """Add the layer that scores the classes by their weighted probabilities, or their expected cost."""
        w, D = self.decision.weights, self.decision.D
        if D is None and not self.old:
            comment = "score: %s times %s; the bigger, the better" % (prob, self._words("weights"))
            return self._append(prefix + "score", "Scale", prob, {
                "scale_param": {"axis": axis} if axis != 1 else None}, comment, np.asarray(w))
        if D is None:
            matrix, what = np.diag(w), "%s times %s" % (prob, self._words("weights"))
        else:
            matrix = -np.asarray(D, np.float64).T * (1 if w is None else np.asarray(w))
            what = "minus the expected cost of deciding for a class k, -sum_j %sp_j D[j, k]: p = %s, %sD = %s" % (
                "" if w is None else "w_j ", prob, "" if w is None else "w = %s, " % self._words("weights"),
                self._words("D"))
        n_axes = self._n_axes(node)
        axis += n_axes if axis < 0 else 0
        param, spatial = OrderedDict((("num_output", len(matrix)), ("bias_term", False))), n_axes - 1 - axis
        if axis != 1:
            param["axis"] = axis
        if not spatial:
            kind, params = "InnerProduct", {"inner_product_param": param}
        else:
            param["kernel_size"] = 1
            if (axis, spatial) != (1, 2):
                param["engine"] = Name("CAFFE")  # cuDNN has no other
            kind, params = "Convolution", {"convolution_param": param}
        return self._append(prefix + "score", kind, prob, params, "score: %s; the bigger, the better" % what,
                            matrix.reshape(matrix.shape + (1,) * spatial))

    def _append(self, name, kind, bottom, params, comment, blob=None):
        """Add a layer at the end of the net, with its blob. Returns (its top, its meaning)."""
        name = self._name(name)
        self.added.append(self._block(self._fields(name, kind, bottom, name, params), comment))
        if blob is not None:
            with np.errstate(over="ignore"):
                blob = np.asarray(blob, np.float32)
            if not np.isfinite(blob).all():
                raise ValueError("expected weights and costs whose products float32 can hold, got larger ones")
            self.model.add(to_bytes(name), to_bytes(kind), blob)
        return name, "%s of %s" % (kind, to_display(bottom))

    def _fields(self, name, kind, bottom, top, params):
        kind = Name(_OLD_TYPES[kind]) if self.old else kind
        return OrderedDict([("name", name), ("type", kind), ("bottom", bottom), ("top", top)] + list(params.items()))

    def _block(self, fields, comment):
        return "".join(line + self.newline for line in self._lines(fields, comment))

    def _lines(self, fields, comment):
        layer = on_lines("layers" if self.old else "layer", fields, "", "  ", self.newline)
        return ["# " + _comment(comment), layer]

    def _words(self, what):
        return from_display(self.decision.sources[what])

    def _name(self, name):
        like_it = ("%s_%d" % (name, number) for number in itertools.count(2))
        free = next(free for free in itertools.chain([name], like_it) if free not in self.names)
        self.names.add(free)
        return free

    def _n_axes(self, node):
        """Return the number of axes of a Softmax's bottom, by the text, or else by Caffe."""
        n_axes = _n_axes(node, node.bottoms[0], dict(self.made.inputs)) or len(self.shape_of(node.tops[0]) or ())
        if not n_axes:
            raise ValueError("layer %s: expected scores of known shape, by which to choose the layer of D, got those of "
                             "layers that Caffe does not make here" % node.layer.display_name)
        return n_axes


def check_weights(graph, model, made):
    """Raise ValueError unless a .caffemodel has the blobs of a net, of the same shapes.

    graph: Graph of the net. model: CaffeModel. made: {Node: shapes of its blobs}, those that Caffe has made.
    """
    for node in graph.nodes:
        blobs = model.layers.get(to_bytes(node.layer.name), ())
        shapes = made.get(node)
        if shapes is None:
            expected, fits = _known_blobs(node, blobs)
        else:
            expected = " of shape " + ", ".join(map(shape_text, shapes))
            fits = len(shapes) == len(blobs) and all(map(same_shape, blobs, shapes))
        if not fits:
            raise ValueError("%s: expected the weights of this net, with blobs of layer %s%s, got %s" % (
                model.path, node.layer.display_name, expected,
                ", ".join(shape_text(blob.shape) for blob in blobs) or "none"))


def _known_blobs(node, blobs):
    """Return (the blobs of a layer in words, whether these are them), as far as its text tells."""
    if node.type not in MAKE_CLASSES:
        has_blobs = node.type in _HAVE_BLOBS or node.type in ("Scale", "Bias") and len(node.bottoms) == 1
        return "", bool(blobs) or not has_blobs
    n_output, with_bias = node.layer.value_in(MAKE_CLASSES[node.type], "num_output"), _has_bias(node)
    fits = len(blobs) == 1 + with_bias and (not with_bias or blobs[1].shape[-1:] == (n_output,))
    return " of %s outputs%s" % (n_output, "" if with_bias else " without a bias"), fits


def _has_bias(node):
    return node.layer.value_in(MAKE_CLASSES[node.type], "bias_term") not in ("false", "False", "f", 0)


def _is_bias_of_classes(node, axis):
    """Return whether a layer adds a number of its own for each class along an axis, which no other layer shares."""
    if node.type not in MAKE_CLASSES or not _has_bias(node):
        return False
    own = node.layer.value_in(MAKE_CLASSES[node.type], "axis", 1)
    if axis != own and not (axis == -1 and node.type == "InnerProduct"):
        return False
    names = node.layer.values("param")[1:2]
    return not any(name.get("name") if isinstance(name, dict) else name for name in names)


def _n_axes(node, blob, inputs):
    """Return the number of axes of a blob that a node takes, as far as the text has it, else None."""
    while True:
        maker = node.makers[node.bottoms.index(blob)]
        if not isinstance(maker, Node) or maker.type == "Input":
            return len(inputs[blob]) if blob in inputs else None
        if maker.type == "InnerProduct":
            axis = maker.layer.value_in("inner_product_param", "axis", 1)
            if axis >= 0:
                return axis + 1
        elif maker.type == "Flatten" and not maker.layer.message("flatten_param"):
            return 2
        elif maker.type not in _KEEP_AXES:
            return None
        if not maker.bottoms:
            return None
        node, blob = maker, maker.bottoms[0]


def _comment(text):
    """Return a text on one line."""
    return " ".join(text.split())
