"""Put a decision into a deployed net, of Caffe's own layers: a temperature, class weights and costs.

    p = softmax(x / T),  score_k = w_k p_k, or with costs -sum_j w_j p_j D[j, k],  decision = argmax score
"""
from __future__ import division, print_function

from collections import OrderedDict, namedtuple

import numpy as np

from caffe_losses.compat import from_bytes, from_display, to_bytes, to_display
from caffe_losses.formats.caffemodel import same_shape
from caffe_losses.validation import shape_text
from caffe_prototxt.net.graph import Node
from caffe_prototxt.net.shapes import KEEP_CLASSES, MAKE_CLASSES
from caffe_prototxt.textformat.messages import Name, on_lines

# weights: C numbers, or None. D: C x C, or None. temperature: float. decide: bool, whether the net gives the class.
# sources: {"weights", "D": where they came from, in words}.
Decision = namedtuple("Decision", "weights D temperature decide sources")

# A Softmax. layer: the one that it is, or the loss that it replaces. node: its Node, or None. scores: blob; maker: the
# Node that makes it, or INPUT. axis: int, of the classes. top: blob. users: the other nodes that take the scores.
# is_alone: whether the scores are no output themselves.
Softmax = namedtuple("Softmax", "layer node scores maker axis top users is_alone")

_OLD_TYPES = {"Power": "POWER", "Softmax": "SOFTMAX", "InnerProduct": "INNER_PRODUCT", "Convolution": "CONVOLUTION",
              "ArgMax": "ARGMAX"}
_KEEP_AXES = KEEP_CLASSES | frozenset(("Convolution", "Deconvolution", "Concat", "InnerProduct"))
_HAVE_BLOBS = frozenset(("Embed", "PReLU", "BatchNorm", "LSTM", "RNN", "Parameter"))


class Adding(object):
    """The layers of decisions, while they are added to a net that is deployed.

    deployment: deploy.Deployment. decision: Decision. model: formats.caffemodel.CaffeModel, which gets the blobs; None
    where the decision has neither weights nor costs. shape_of: as Deployment.make takes it.
    """

    def __init__(self, deployment, decision, model, shape_of):
        self.deployment, self.decision, self.model, self.shape_of = deployment, decision, model, shape_of
        self.edits, self.net, self.added = deployment.edits, deployment.net, []
        self.old = self.net.layers[0].old
        self.newline = "\r\n" if "\r\n" in self.net.text else "\n"
        self._scaled = {}  # the scores of a Softmax divided by the temperature, by its top
        self._several = False
        deployment.names.update(map(from_bytes, model.layers if model else ()))

    def added_to(self, text):
        """Return the text of the net with the layers that come at its end."""
        return text + (self.newline if self.added and not text.endswith("\n") else "") + "".join(self.added)

    def check(self, softmaxes, blobs):
        """Raise ValueError if there is no Softmax to decide by, or one of another number of classes."""
        if not softmaxes:
            raise ValueError("expected a net that gives probabilities (by a Softmax) to decide by, got one that gives "
                             + ", ".join(blobs))
        self._several = len(softmaxes) > 1
        sized = [(to_display(self._words(name)), len(matrix)) for name, matrix in (
            ("weights", self.decision.weights), ("D", self.decision.D)) if matrix is not None]
        for softmax in softmaxes if sized else ():
            n_classes = self._n_classes(softmax)
            for name, size in sized:
                if size != (n_classes or size):
                    raise ValueError("%s: expected %d classes, as the scores of %s have, got %d%s" % (
                        name, n_classes, softmax.layer.display_name, size,
                        "; --loss NAME takes one of several losses" * self._several))
        if len(sized) == 2 and sized[0][1] != sized[1][1]:
            raise ValueError("%s: expected %d classes, as %s, got %d" % (
                sized[0][0], sized[1][1], sized[1][0], sized[0][1]))

    def scores(self, softmax):
        """Return the blob that a new Softmax takes: the scores, or these divided by the temperature."""
        return self._scaled.get(softmax.top, softmax.scores)

    def add(self, softmax):
        """Add the decision to a Softmax. Returns (the blob that the net gives, its meaning)."""
        decision, axis, top = self.decision, softmax.axis, softmax.top
        prefix = "" if not self._several else (top[:-len("prob")] if top.endswith("_prob") else top + "_")
        if decision.temperature != 1:
            top = self._divide(softmax, prefix)
        meaning = "Softmax of %s" % to_display(self.scores(softmax))
        if decision.D is None and decision.weights is not None and self._add_to_bias(softmax):
            meaning += ", with the class weights in the bias of its layer"
        elif decision.D is not None or decision.weights is not None:
            top, meaning = self._score(softmax, top, prefix)
        if decision.decide:
            top, meaning = self._append(prefix + "decision", "ArgMax", top, {"argmax_param": {"axis": axis}},
                                        "the class of the biggest %s" % top)
        return top, meaning

    def _n_classes(self, softmax):
        n_classes = self.net.n_classes(softmax.layer, softmax.scores, softmax.axis)
        shape = () if n_classes else self._shape(softmax)
        return shape[softmax.axis] if -len(shape) <= softmax.axis < len(shape) else n_classes

    def _shape(self, softmax):
        """Return the shape of the scores as Caffe makes them, or () if that is unknown."""
        return self.shape_of and self.shape_of(softmax.scores) or ()

    def _divide(self, softmax, prefix):
        """Divide the scores of a Softmax by the temperature. Returns the top with the probabilities."""
        scores, T = softmax.scores, self.decision.temperature
        in_place, is_taken = softmax.top == scores, bool(softmax.node) and bool(
            [user for user, _ in softmax.node.users if user in self.deployment.kept])
        if in_place and is_taken:
            raise softmax.layer.error("a Softmax with a top of its own, to have a temperature", "one in place")
        name = self._name(prefix + "scaled")
        scaled = self._scaled[softmax.top] = scores if in_place else name
        fields = self._fields(name, "Power", scores, scaled, {"power_param": {"scale": float(1 / T)}})
        comment = "%s: %s divided by the temperature %r, for probabilities that are calibrated" % (scaled, scores, T)
        if is_taken:
            self.added.append(self._block(fields, comment))
            return self._append(prefix + "prob", "Softmax", scaled, {"softmax_param": None if softmax.axis == 1 else {
                "axis": softmax.axis}}, "the probabilities at that temperature")[0]
        self.edits.insert_before(softmax.layer, self._lines(fields, comment))
        if softmax.node and not in_place:
            self.edits.set(softmax.layer, {"bottom": [scaled]})
        return softmax.top

    def _add_to_bias(self, softmax):
        """Multiply probabilities by class weights in the bias of the layer of the scores, if that is exact.

        softmax((x + T log w) / T) is w softmax(x / T), but for its sum. Returns whether it was done.
        """
        w, T, maker = self.decision.weights, self.decision.temperature, softmax.maker
        is_taken = softmax.users or softmax.node and any(user in self.deployment.kept for user, _ in softmax.node.users)
        if (not isinstance(maker, Node) or not _is_bias_of_classes(maker, softmax.axis) or is_taken
                or not softmax.is_alone or not (w > 0).all()):
            return False
        name = to_bytes(maker.layer.name)
        blobs = self.model.layers.get(name, ())
        bias = self.model.numbers(name, 1) if len(blobs) == 2 else None
        if bias is None or bias.size != len(w):
            return False
        bias += T * np.log(w)
        self.edits.insert_before(softmax.layer, ["# " + _comment(
            "%s: the probabilities times %s, and divided by their sum: %slog w is added to the bias of layer %s" % (
                softmax.top, self._words("weights"), "T " if T != 1 else "", maker.layer.name))])
        return True

    def _score(self, softmax, prob, prefix):
        """Add the layer that scores the classes by their weighted probabilities, or their expected cost."""
        w, D, axis = self.decision.weights, self.decision.D, softmax.axis
        if D is None and not self.old:
            comment = "%s times %s; the bigger, the better" % (prob, self._words("weights"))
            return self._append(prefix + "score", "Scale", prob, {
                "scale_param": {"axis": axis} if axis != 1 else None}, comment, np.asarray(w))
        if D is None:
            matrix, what = np.diag(w), "%s times %s" % (prob, self._words("weights"))
        else:
            matrix = -np.asarray(D, np.float64).T * (1 if w is None else np.asarray(w))
            what = "minus the expected cost of deciding for a class k, -sum_j %sp_j D[j, k]: p = %s, %sD = %s" % (
                "" if w is None else "w_j ", prob, "" if w is None else "w = %s, " % self._words("weights"),
                self._words("D"))
        n_axes = self._n_axes(softmax)
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
        return self._append(prefix + "score", kind, prob, params, what + "; the bigger, the better",
                            matrix.reshape(matrix.shape + (1,) * spatial))

    def _append(self, name, kind, bottom, params, comment, blob=None):
        """Add a layer at the end of the net, with its blob. Returns (its top, its meaning)."""
        name = self._name(name)
        self.added.append(self._block(self._fields(name, kind, bottom, name, params), "%s: %s" % (name, comment)))
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
        return self.deployment.new_name(name)

    def _n_axes(self, softmax):
        """Return the number of axes of the scores, by the text, or else by Caffe."""
        n_axes = _n_axes(softmax.maker, softmax.scores, dict(self.deployment.inputs)) or len(self._shape(softmax))
        if not n_axes:
            raise ValueError("layer %s: expected scores of known shape, by which to choose the layer of D, got those "
                             "of layers that Caffe does not make here" % softmax.layer.display_name)
        return n_axes


def check_weights(nodes, model, made):
    """Raise ValueError unless a .caffemodel has the blobs of a deployed net, of the same shapes.

    nodes: of the layers that stay. model: CaffeModel. made: {name of a layer: shapes of its blobs}, by Caffe.
    """
    own = OrderedDict((node.layer.name, node) for node in nodes)
    for name in list(own) + sorted(set(made) - set(own)):
        blobs, shapes = model.layers.get(to_bytes(name), ()), made.get(name)
        if shapes is None:
            expected, fits = _known_blobs(own[name], blobs)
        else:
            expected = " of shape " + ", ".join(map(shape_text, shapes))
            fits = len(shapes) == len(blobs) and all(map(same_shape, blobs, shapes))
        if not fits:
            raise ValueError("%s: expected the weights of this net, with blobs of layer %s%s, got %s" % (
                model.path, to_display(name), expected,
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


def _n_axes(maker, blob, inputs):
    """Return the number of axes of a blob, as far as the text has it, else None. maker: its Node, or INPUT."""
    while isinstance(maker, Node) and maker.bottoms:
        if maker.type == "InnerProduct" and maker.layer.value_in("inner_product_param", "axis", 1) >= 0:
            return maker.layer.value_in("inner_product_param", "axis", 1) + 1
        if maker.type == "Flatten" and not maker.layer.message("flatten_param"):
            return 2
        if maker.type not in _KEEP_AXES:
            return None
        maker, blob = maker.makers[0], maker.bottoms[0]
    return len(inputs[blob]) if blob in inputs else None


def _comment(text):
    """Return a text on one line."""
    return " ".join(text.split())
