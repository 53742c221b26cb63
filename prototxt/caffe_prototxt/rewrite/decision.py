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
from caffe_prototxt.net.shapes import MAKE_CLASSES, Shapes
from caffe_prototxt.textformat.messages import Name, is_true, on_lines

# weights: C numbers, or None. D: C x C, or None. temperature: float. decide: bool, whether the net gives the class.
# sources: {"weights", "D": where they came from, in words}.
Decision = namedtuple("Decision", "weights D temperature decide sources")

# A Softmax. layer: the one that it is, or the loss that it replaces. is_new: whether it replaces one. scores, top: its
# blobs. maker: the Node that makes the scores, or INPUT. axis: int, of the classes. is_alone: whether nothing else that
# the net computes or gives depends on the scores. is_taken: whether layers that stay take the probabilities.
Softmax = namedtuple("Softmax", "layer is_new scores top maker axis is_alone is_taken")


def layer_fields(old, name, kind, bottom, top, params):
    """Return the fields of a layer of a type, in the syntax of its net. old: bool. params: {message: its fields}."""
    if old:
        kind = Name({"InnerProduct": "INNER_PRODUCT"}.get(kind, kind.upper()))
    return OrderedDict([("name", name), ("type", kind), ("bottom", bottom), ("top", top)] + sorted(params.items()))


def axis_param(axis):
    """Return the fields of a message for a class axis, or None where it is Caffe's default."""
    return None if axis == 1 else {"axis": axis}


class Adding(object):
    """The layers of decisions, while they are added to a net that is deployed.

    deployment: deploy.Deployment. decision: Decision. model: formats.caffemodel.CaffeModel, which gets the blobs; None
    where the decision has neither weights nor costs. shape_of: as Deployment.make takes it.
    """

    def __init__(self, deployment, decision, model, shape_of):
        self.deployment, self.decision, self.model, self.shape_of = deployment, decision, model, shape_of
        self.edits, self.net = deployment.edits, deployment.net
        self.added = []  # lines at the end of the net
        self.old = self.net.layers[0].old
        self.newline = "\r\n" if "\r\n" in self.net.text else "\n"
        self.shapes = Shapes(self.net, dict(deployment.inputs))
        self.several = False  # whether there are several Softmaxes, and the new layers are named by each
        deployment.names.update(map(from_bytes, model.layers if model else ()))

    def added_to(self, text):
        """Return the text of the net with the layers that come at its end."""
        return text + (self.newline if self.added and not text.endswith("\n") else "") + "".join(
            line + self.newline for line in self.added)

    def check(self, softmaxes, blobs):
        """Raise ValueError if there is no Softmax to decide by, or one of another number of classes."""
        if not softmaxes:
            raise ValueError("expected a net that gives probabilities (by a Softmax) to decide by, got one that gives "
                             + ", ".join(blobs))
        self.several = len(softmaxes) > 1
        sized = [(to_display(self._words(name)), len(matrix)) for name, matrix in (
            ("weights", self.decision.weights), ("D", self.decision.D)) if matrix is not None]
        expected = [("the scores of " + softmax.layer.display_name, self._n_classes(softmax))
                    for softmax in softmaxes if sized]
        for name, size in sized:
            for other, n_classes in expected + sized:
                if n_classes not in (None, size):
                    raise ValueError("%s: expected %d classes, as %s have, got %d%s" % (
                        name, n_classes, other, size, "; --loss NAME takes one of several losses" * self.several))

    def add(self, softmax):
        """Add the decision to a Softmax.

        Returns the blob that a new Softmax takes, and (the blob that the net gives, its meaning).
        """
        decision, scores, top = self.decision, softmax.scores, softmax.top
        prefix = "" if not self.several else (top[:-len("prob")] if top.endswith("_prob") else top + "_")
        if decision.temperature != 1:
            scores, top = self._divide(softmax, prefix)
        meaning = "Softmax of %s" % to_display(scores)
        if decision.D is None and decision.weights is not None and self._add_to_bias(softmax):
            meaning += ", with the class weights in the bias of its layer"
        elif decision.D is not None or decision.weights is not None:
            top, meaning = self._score(softmax, top, prefix)
        if decision.decide:
            top, meaning = self._append(prefix + "decision", "ArgMax", top, {"argmax_param": {"axis": softmax.axis}},
                                        "the class of the biggest %s" % top)
        return scores, (top, meaning)

    def _n_classes(self, softmax):
        n_classes = self.shapes.of(softmax.layer, softmax.scores).size(softmax.axis)
        shape = () if n_classes else self._made_shape(softmax)
        return shape[softmax.axis] if -len(shape) <= softmax.axis < len(shape) else n_classes

    def _n_axes(self, softmax):
        """Return the number of axes of the scores, by the text, or else by Caffe."""
        shape = self.shapes.of(softmax.layer, softmax.scores)
        n_axes = len(shape.sizes if shape.whole else self._made_shape(softmax))
        if not n_axes:
            raise ValueError("layer %s: expected scores of known shape, by which to choose the layer of D, got those "
                             "of layers that Caffe does not make here" % softmax.layer.display_name)
        return n_axes

    def _made_shape(self, softmax):
        """Return the shape of the scores as Caffe makes them, or () if that is unknown."""
        return self.shape_of and self.shape_of(softmax.scores) or ()

    def _divide(self, softmax, prefix):
        """Divide the scores of a Softmax by the temperature. Returns (the quotient, the top with the probabilities)."""
        scores, T, in_place = softmax.scores, self.decision.temperature, softmax.top == softmax.scores
        if in_place and softmax.is_taken:
            raise softmax.layer.error("a Softmax with a top of its own, to have a temperature", "one in place")
        name = self.deployment.new_name(prefix + "scaled")
        scaled = scores if in_place else name
        lines = self._lines("%s: %s divided by the temperature %r, for probabilities that are calibrated" % (
            scaled, scores, T), name, "Power", scores, scaled, {"power_param": {"scale": float(1 / T)}})
        if softmax.is_taken:
            self.added += lines
            return scaled, self._append(prefix + "prob", "Softmax", scaled, {"softmax_param": axis_param(softmax.axis)},
                                        "the probabilities at that temperature")[0]
        self.edits.insert_before(softmax.layer, lines)
        if not softmax.is_new and not in_place:
            self.edits.set(softmax.layer, {"bottom": [scaled]})
        return scaled, softmax.top

    def _add_to_bias(self, softmax):
        """Multiply probabilities by class weights in the bias of the layer of the scores, if that is exact.

        softmax((x + T log w) / T) is w softmax(x / T), but for its sum. Returns whether it was done.
        """
        w, T, maker = self.decision.weights, self.decision.temperature, softmax.maker
        if (not isinstance(maker, Node) or not _is_bias_of_classes(maker, softmax.axis)
                or not softmax.is_alone or softmax.is_taken or not (w > 0).all()):
            return False
        name = to_bytes(maker.layer.name)
        blobs = self.model.layers.get(name, ())
        bias = self.model.numbers(name, 1) if len(blobs) == 2 else None
        if bias is None or bias.size != len(w):
            return False
        bias += T * np.log(w)
        self.edits.insert_before(softmax.layer, [_comment(
            "%s: the probabilities times %s, and divided by their sum: %slog w is added to the bias of layer %s" % (
                softmax.top, self._words("weights"), "T " if T != 1 else "", maker.layer.name))])
        return True

    def _score(self, softmax, prob, prefix):
        """Add the layer that scores the classes by their weighted probabilities, or their expected cost."""
        w, D = self.decision.weights, self.decision.D
        if D is None:
            comment = "%s times %s" % (prob, self._words("weights"))
            kind, params, blob = self._linear(softmax, np.diag(w)) if self.old else (
                "Scale", {"scale_param": axis_param(softmax.axis)}, w)
        else:
            comment = "minus the expected cost of deciding for a class k, -sum_j %sp_j D[j, k]: p = %s, %sD = %s" % (
                "" if w is None else "w_j ", prob, "" if w is None else "w = %s, " % self._words("weights"),
                self._words("D"))
            kind, params, blob = self._linear(softmax, -np.transpose(D) * (1 if w is None else w))
        return self._append(prefix + "score", kind, prob, params, comment + "; the bigger, the better", blob)

    def _linear(self, softmax, matrix):
        """Return (type, params, blob) of a layer that multiplies the classes of each position by a matrix."""
        axis, n_axes = softmax.axis, self._n_axes(softmax)
        axis += n_axes if axis < 0 else 0
        spatial = n_axes - 1 - axis
        param = OrderedDict([("num_output", len(matrix)), ("bias_term", False)], **(axis_param(axis) or {}))
        if not spatial:
            return "InnerProduct", {"inner_product_param": param}, matrix
        param["kernel_size"] = 1
        if (axis, spatial) != (1, 2):
            param["engine"] = Name("CAFFE")  # cuDNN has no other
        return "Convolution", {"convolution_param": param}, matrix.reshape(matrix.shape + (1,) * spatial)

    def _append(self, name, kind, bottom, params, comment, blob=None):
        """Add a layer at the end of the net, with its blob. Returns (its top, its meaning)."""
        name = self.deployment.new_name(name)
        self.added += self._lines("%s: %s" % (name, comment), name, kind, bottom, name, params)
        if blob is not None:
            with np.errstate(over="ignore"):
                blob = np.asarray(blob, np.float32)
            if not np.isfinite(blob).all():
                raise ValueError("expected weights and costs whose products float32 can hold, got larger ones")
            self.model.add(to_bytes(name), to_bytes(kind), blob)
        return name, "%s of %s" % (kind, to_display(bottom))

    def _lines(self, comment, *layer):
        """Return a comment and a layer as lines. layer: as layer_fields takes it."""
        fields = layer_fields(self.old, *layer)
        return [_comment(comment), on_lines("layers" if self.old else "layer", fields, "", "  ", self.newline)]

    def _words(self, what):
        return from_display(self.decision.sources[what])


def check_weights(nodes, model, made):
    """Raise ValueError unless a .caffemodel has the blobs of a deployed net, of the same shapes.

    nodes: of the layers that stay. model: CaffeModel. made: {name of a layer: shapes of its blobs}, by Caffe. Of
    layers that it has not made those that make classes are known by their text.
    """
    own = OrderedDict((node.layer.name, node) for node in nodes if node.type in MAKE_CLASSES)
    for name in list(own) + sorted(set(made) - set(own)):
        blobs = model.layers.get(to_bytes(name), ())
        if name in made:
            expected = "of shape " + ", ".join(map(shape_text, made[name]))
            fits = len(made[name]) == len(blobs) and all(map(same_shape, blobs, made[name]))
        else:
            n_output = own[name].layer.value_in(MAKE_CLASSES[own[name].type], "num_output")
            sizes = [blob.shape[-1] for blob in blobs[1:]]  # of the bias
            expected = "of %s outputs%s" % (n_output, "" if _has_bias(own[name]) else " without a bias")
            fits = len(blobs) > 0 and sizes == [n_output] * _has_bias(own[name])
        if not fits:
            raise ValueError("%s: expected the weights of this net, with blobs of layer %s %s, got %s" % (
                model.path, to_display(name), expected,
                ", ".join(shape_text(blob.shape) for blob in blobs) or "none"))


def _has_bias(node):
    return is_true(node.layer.value_in(MAKE_CLASSES[node.type], "bias_term", True))


def _is_bias_of_classes(node, axis):
    """Return whether a layer adds a number of its own for each class along an axis, which nothing else gets."""
    if node.type not in MAKE_CLASSES or not _has_bias(node) or len(node.tops) != 1:
        return False
    own = node.layer.value_in(MAKE_CLASSES[node.type], "axis", 1)
    if axis != own and not (axis == -1 and node.type == "InnerProduct"):
        return False
    names = node.layer.values("param")[1:2]
    return not any(name.get("name") if isinstance(name, dict) else name for name in names)


def _comment(text):
    """Return a text as a comment on one line."""
    return "# " + " ".join(text.split())
