"""The predictions of a trained net on its own test data, by the real net in its TEST phase.

    evaluation = Evaluation("train_val.prototxt", "snapshot_iter_1000.caffemodel")
    for scores, labels in evaluation.batches():
        ...

Caffe ends the process on most errors (missing data, blobs of another shape): run this in a child process.
"""
from __future__ import division, print_function

import itertools
import os
import tempfile

import numpy as np

from caffe_losses.compat import from_bytes, from_display, to_bytes, to_display, to_str
from caffe_losses.validation import label_index
from caffe_prototxt.data.records import count_samples
from caffe_prototxt.net import data_layers, losses
from caffe_prototxt.net.adjustments import scores_alone
from caffe_prototxt.net.graph import HAND_ON, INPUT, Graph, origin, text_of
from caffe_prototxt.net.matrix_sources import MODULE
from caffe_prototxt.net.nets import Net
from caffe_prototxt.net.states import merged
from caffe_prototxt.training import precautions, probe


MOST_EPOCHS = 3  # that are run to make a test of the solver again
MOST_ITERATIONS = 10 ** 6
RANDOM = (("transform_param", "mirror"), ("image_data_param", "shuffle"), ("hdf5_data_param", "shuffle"),
          ("image_data_param", "rand_skip"))
REMEMBERING = ("ComputeH", "TripletSelect")
NO = (None, "false", "False", "f", 0)


class Evaluation(object):
    """A net with the weights of a snapshot, and the blobs of its scores and labels.

    score, label: str, the names of these blobs. ignore_label: int or None.
    are_probabilities: bool, whether the scores come out of a Softmax.
    n_classes: int. spatial: bool, whether a sample has several labels.
    n_iterations: int, the number of batches of the test set. n_samples: int, the number of samples, or None: all.
    source: str, the data in words. left_out: list of str, the layers that were left out of the net, and why.
    outputs: list of {top: value}, the net's outputs of one number for each batch so far.
    """

    def __init__(self, definition, snapshot, iterations=None, default_iterations=None, score=None, label=None,
                 python=True, folder=None):
        """Load a net, without its layers that write files.

        definition: str, a prototxt with a TEST phase that has data and labels. snapshot: str, a .caffemodel.
        iterations: int, the number of batches; None: one epoch of the data, each sample once, and where the samples
            cannot be counted, default_iterations (the solver's test_iter).
        score, label: names of blobs; None: those of the net's last loss on classes, or else Accuracy layer.
        python: bool, whether Python layers may run; if not, they are left out.
        folder: str, for the copy of the net that is made; None: that for temporary files.
        Raises IOError or ValueError: a file is missing, no such blob, no such loss, no end of the data.
        """
        import caffe
        for path in (definition, snapshot):
            if not os.path.isfile(path):
                raise IOError("%s: cannot be read: no such file" % path)
        self.graph = _test_graph(definition)
        # For errors: an option that is wrong is no fault of the net.
        self.score_name, self.label_name = ["--%s %s" % (option, name) if name else None
                                            for option, name in (("score", score), ("label", label))]
        reasons = precautions.left_out(self.graph, python)
        self.left_out = ["layer %s: %s" % (node.layer.display_name, reason) for node, reason in reasons.items()]
        loss = _last_loss(self.graph) if score is None or label is None else None
        self.score, self.label = score or _scores(loss), label or _bottom(loss, 1)
        for blob, node in itertools.product((self.score, self.label), reasons):
            if self.graph.after([node]).intersection(self._makers(blob)):
                raise ValueError("blob %s: depends on layer %s, which %s"
                                 % (blob, node.layer.display_name, reasons[node]))
        self.net = self._made(caffe, snapshot, self.graph.after(reasons), folder)
        self.score_name, self.label_name = self.score_name or self.score, self.label_name or self.label
        for blob, name in ((self.score, self.score_name), (self.label, self.label_name)):
            if blob not in self.net.blobs:
                raise ValueError("%s: expected a blob of the net, %s" % (name, ", ".join(self.net.blobs)))
        params = loss and losses.read_params(loss.layer)
        self.axis = 1 if params is None or params.axis is None else params.axis
        self.ignore_label = params and params.ignore_label
        kind = loss and self.score == _scores(loss) and losses.kind_of(loss.layer)
        self.are_probabilities = bool(kind and kind.probabilities) or self._are_from_softmax()
        self.outputs, self._loss = [], loss
        self._check_shapes()
        self._count_batches(iterations, default_iterations)

    def _made(self, caffe, snapshot, out, folder):
        """Return the net as Caffe makes it of a copy with the layers for TEST, less those that are left out."""
        kept = [node for node in self.graph.nodes if node not in out]
        for node in kept:
            fault = probe.class_fault(caffe, *losses.python_class(node.layer)) if node.type == "Python" else None
            if fault:
                raise ValueError("layer %s: %s" % (node.layer.display_name, to_str(fault)))
        with tempfile.NamedTemporaryFile(suffix=".prototxt", dir=folder, delete=False) as file:
            file.write(to_bytes(text_of(self.graph, kept)))
        try:
            return caffe.Net(str(file.name), str(snapshot), caffe.TEST)
        finally:
            os.remove(file.name)

    def _makers(self, blob):
        """Return the nodes that write a blob, in the net's order."""
        return [node for node in self.graph.nodes if from_display(blob) in node.tops]

    def _are_from_softmax(self):
        node = (self._makers(self.score) or [INPUT])[-1]
        while node not in (INPUT, None) and node.type in HAND_ON and node.makers:
            node = node.makers[0]
        return node not in (INPUT, None) and node.type == "Softmax"

    def _check_shapes(self):
        scores, labels = [self.net.blobs[name].data for name in (self.score, self.label)]
        if not -scores.ndim <= self.axis < scores.ndim:
            raise ValueError("%s: expected classes along axis %d, got shape %s"
                             % (self.score_name, self.axis, scores.shape))
        self.n_classes = scores.shape[self.axis]
        if labels.size * self.n_classes != scores.size:
            raise ValueError("%s: expected a label for each of %d samples of %d classes, got shape %s"
                             % (self.label_name, scores.size // self.n_classes, self.n_classes, labels.shape))
        self.spatial = labels.size > len(labels)

    def _count_batches(self, iterations, default_iterations):
        source, self.n_samples = _count_samples(self.graph) if iterations is None else (None, None)
        self.batch = batch = len(self.net.blobs[self.label].data)
        self.n_iterations = -(-self.n_samples // batch) if self.n_samples else iterations or default_iterations
        if not self.n_iterations:
            raise ValueError("expected a Data (LMDB), ImageData or HDF5Data layer, whose samples can be counted; "
                             "--iterations says how many batches to take")
        self.source = ("all %d samples of %s" % (self.n_samples, source) if self.n_samples else
                       "%d iterations of %d samples" % (self.n_iterations, batch))

    def batches(self):
        """Yield (scores N x C, labels N) of each batch, one row for each label that is not ignored.

        Raises ValueError for scores that are not finite, and for labels that are no whole numbers 0..C-1.
        """
        for scores, labels in self.images():
            yield self.rows(scores, labels)

    def images(self):
        """Yield (scores N x C x pixels, labels N x pixels) of each batch, until the next one is asked for.

        A sample with one label is an image of one pixel.
        """
        left = self.n_samples
        for _ in range(self.n_iterations):
            self._forward()
            scores, labels = [self.net.blobs[name].data for name in (self.score, self.label)]
            labels = labels.reshape(len(labels), -1)
            scores = np.moveaxis(scores, self.axis, -1).reshape(labels.shape + (self.n_classes,))
            if left is not None:  # the data start again in the last batch
                scores, labels = scores[:left], labels[:left]
                left -= len(labels)
            yield np.moveaxis(scores, -1, 1), labels

    def rows(self, scores, labels):
        """Return (scores N x C, labels N) of what `images` yields, less what is ignored. Raises as `batches`."""
        scores, labels = np.moveaxis(scores, 1, -1).reshape(-1, self.n_classes), labels.ravel()
        if self.ignore_label is not None:
            taken = labels != self.ignore_label
            scores, labels = scores[taken], labels[taken]
        if not np.isfinite(scores).all():
            raise ValueError("%s: expected finite scores, got NaN or infinity: the training has diverged" % self.score)
        return scores.astype(np.float64), label_index(labels, self.n_classes, None, self.label_name)[0]

    def loss_name(self):
        """Return the name of the loss that has the scores, where the net has several losses on classes, or None."""
        several = sum(losses.is_on_labels(node.layer) for node in self.graph.nodes) > 1
        return self._loss.layer.display_name if self._loss and several else None

    def accuracies(self):
        """Return the tops of the Accuracy layers that count the same decisions."""
        label = origin(self._loss, 1) if self._loss else None
        return [to_display(node.tops[0]) for node in self.graph.nodes
                if node.type == "Accuracy" and node.tops and to_display(node.bottoms[0]) == self.score
                and (to_display(node.bottoms[1]) == self.label or label and origin(node, 1) == label)
                and node.layer.value_in("accuracy_param", "top_k", 1) == 1]

    def tested(self, n_before, iterations):
        """Return {top: mean} of the outputs as a solver's test has them, empty where it cannot be made again.

        The data go on from test to test and start again at their end, so a test has other samples than the one before.

        n_before: int, the number of tests before it. iterations: int, of a test, or None.
        """
        if not self.n_samples or not iterations or iterations > MOST_ITERATIONS or self._is_random():
            return {}
        n, batch = self.n_samples, self.batch
        period = next(i for i in range(1, n + 1) if i * batch % n == 0)
        first = n_before * iterations % period
        taken = [(first + i) % period for i in range(iterations)]
        if max(taken) >= MOST_EPOCHS * self.n_iterations:
            return {}
        while len(self.outputs) <= max(taken):
            self._forward()
        unlike = self.graph.after(filter(_may_remember, self.graph.nodes))
        return {top: float(np.mean([self.outputs[i][top] for i in taken])) for top in self.outputs[0]
                if not unlike.intersection(self._makers(top))}

    def _forward(self):
        self.outputs.append({top: float(values.ravel()[0]) for top, values in self.net.forward().items()
                             if values.size == 1})

    def _is_random(self):
        """Return whether the data come in another order, or in another way, each time."""
        return any(node.layer.value_in(param, field) not in NO for node in self.graph.nodes for param, field in RANDOM)


def _may_remember(node):
    """Return whether a layer in Python may give something else for the same batch, as ComputeH with `running` does."""
    module, name = losses.python_class(node.layer)
    return node.type == "Python" and (module != MODULE or name in REMEMBERING)


def _test_graph(definition):
    """Return the graph.Graph of a prototxt in its TEST phase."""
    with open(definition, "rb") as file:
        net = Net(from_bytes(file.read()), losses.is_classic())
    return Graph(net, merged(None, net.state)._replace(phase="TEST"))


def _last_loss(graph):
    """Return the node of the last loss on classes, as those before it are auxiliary, or else of the last Accuracy."""
    nodes = [node for node in graph.whole_nodes if losses.is_on_labels(node.layer)] or [
        node for node in graph.nodes if node.type == "Accuracy"]
    if not nodes:
        raise ValueError("expected a net whose TEST phase has a loss on classes or an Accuracy layer, got %s; "
                         "--score and --label name the blobs"
                         % ", ".join(sorted(set(to_display(node.type) for node in graph.nodes))))
    return nodes[-1]


def _scores(node):
    """Return the name of the blob of scores that a loss gets, without the log prior of logit adjustment."""
    return to_display(scores_alone(node.layer, from_display(_bottom(node, 0))))


def _bottom(node, number):
    """Return the name of a bottom of a loss."""
    if number >= len(node.bottoms):
        raise ValueError("layer %s: expected scores and labels as bottoms, got %d bottoms"
                         % (node.layer.display_name, len(node.bottoms)))
    return to_display(node.bottoms[number])


def _count_samples(graph):
    """Return (source, number of samples) of the data layer of a graph, or (None, None)."""
    for node in graph.nodes:
        n_samples = count_samples(node.layer)
        if n_samples:
            return to_display(data_layers.source(node.layer)), n_samples
    return None, None
