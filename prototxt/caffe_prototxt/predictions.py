"""What a trained net says of its own test data, by running the real net in its TEST phase.

    evaluation = Evaluation("train_val.prototxt", "snapshot_iter_1000.caffemodel")
    for scores, labels in evaluation.batches():
        ...

Caffe ends the process on most errors (missing data, blobs of another shape): run this in one of its own.
"""
from __future__ import division, print_function

import io
import os
import tempfile

import numpy as np

from caffe_prototxt import graph as G
from caffe_prototxt import precautions, probe
from caffe_prototxt import text as T
from caffe_prototxt.edits import Edits
from caffe_prototxt.nets import Net
from caffe_prototxt.solvers import merged

# The layers whose first bottom scores classes, and whose second has the labels; where a net has none of them,
# its Accuracy layers tell.
LOSSES = ("SoftmaxWithLoss", "InfogainLoss", "MultinomialLogisticLoss", "HingeLoss")
PYTHON_LOSSES = ("SoftmaxWithInfogainLoss", "InfogainLoss", "CostScaledSoftmaxLoss", "ExpectedCostLoss")
MODULE = "caffe_losses"
AXES = ("softmax_param", "infogain_loss_param", "accuracy_param")  # the messages that have the axis of the classes


class Evaluation(object):
    """A net with the weights of a snapshot, and where in it scores and labels are.

    score, label: str, the names of their blobs. ignore_label: int or None.
    are_probabilities: bool, whether the scores come out of a Softmax.
    n_classes: int. spatial: bool, whether a sample has several labels.
    n_iterations: int, how many batches make the test set. n_samples: int, how many samples, or None: all of them.
    source: str, in words, what is evaluated.
    left_out: list of str, the layers that were left out of the net, and why.
    """

    def __init__(self, definition, snapshot, iterations=None, default_iterations=None, score=None, label=None,
                 python=True, folder=None):
        """Load a net, without its layers that write files.

        definition: str, a prototxt with a TEST phase that has data and labels. snapshot: str, a .caffemodel.
        iterations: int, how many batches; None: one epoch of the data, each sample once, and where the data layer
            does not say how many there are, default_iterations (the solver's test_iter).
        score, label: names of blobs; None: those of the net's last loss on classes.
        python: bool, whether the classes of Python layers may run; if not, they are left out.
        folder: str, for the copy of the net that is made; None: that for temporary files.
        Raises IOError or ValueError: a file is missing, no such blob, no such loss, no end of the data.
        """
        import caffe
        for path in (definition, snapshot):
            if not os.path.isfile(path):
                raise IOError("%s: cannot be read: no such file" % path)
        self.graph, self.messages = _read(definition)
        reasons = precautions.left_out(self.graph, python)
        self.left_out = ["layer %s: %s" % (T.shown(self.graph.layers[place].name), reason)
                         for place, reason in reasons.items()]
        loss = self._loss() if score is None or label is None else None
        self.score, self.label = score or self._bottom(loss, 0), label or self._bottom(loss, 1)
        for blob in (self.score, self.label):
            self._check_made(blob, reasons)
        self.net = self._made(caffe, snapshot, self.graph.after(reasons), folder)
        for blob in (self.score, self.label):
            if blob not in self.net.blobs:
                raise ValueError("blob %s: expected one of the net's, %s" % (blob, ", ".join(self.net.blobs)))
        self.axis, self.ignore_label = self._params(loss)
        makers = self._makers(self.score)
        self.are_probabilities = bool(makers) and self.graph.types[makers[-1]] == "Softmax"
        self._check_shapes()
        self._find_end(iterations, default_iterations)

    def _made(self, caffe, snapshot, out, folder):
        """Return the net as Caffe makes it of a copy with the layers for TEST, less those that are left out."""
        kept = [layer for place, layer in enumerate(self.graph.layers) if place not in out]
        for layer in kept:
            fault = probe.class_fault(caffe, *G.python_class(layer)) if layer.type == "Python" else None
            if fault:
                fault = fault if isinstance(fault, str) else fault.encode("utf-8")  # Python 2
                raise ValueError("layer %s: %s" % (T.shown(layer.name), fault))
        edits, indices = Edits(self.graph.net.text), set(layer.index for layer in kept)
        for layer in self.graph.net.layers:
            if layer.index not in indices:
                edits.take_out(layer)
            else:  # that Caffe keeps it, too
                edits.set(layer, dict.fromkeys(layer.rules))
        with tempfile.NamedTemporaryFile(suffix=".prototxt", dir=folder, delete=False) as file:
            file.write(T.encode(edits.apply()))
        try:
            return caffe.Net(str(file.name), str(snapshot), caffe.TEST)
        finally:
            os.remove(file.name)

    # Where scores and labels are

    def _loss(self):
        """The place of the layer that tells what the scores and labels are."""
        found = {"loss": [], "accuracy": []}
        for place, kind in enumerate(self.graph.types):
            if kind in LOSSES or self._is_ours(place):
                found["loss"].append(place)
            elif kind == "Accuracy":
                found["accuracy"].append(place)
        if not (found["loss"] or found["accuracy"]):
            raise ValueError("expected a net whose TEST phase has a loss on classes or an Accuracy layer, got %s; "
                             "--score and --label name the blobs"
                             % ", ".join(sorted(set(T.shown(kind) for kind in self.graph.types))))
        return (found["loss"] or found["accuracy"])[-1]  # the last: those before it are auxiliary

    def _is_ours(self, place):
        module, name = G.python_class(self.graph.layers[place])
        return self.graph.types[place] == "Python" and module == MODULE and name in PYTHON_LOSSES

    def _bottom(self, place, number):
        """Return the name of a bottom of a loss."""
        bottoms = self.graph.layers[place].bottoms
        if number >= len(bottoms):
            raise ValueError("layer %s: expected scores and labels as bottoms, got %d bottoms"
                             % (T.shown(self.graph.layers[place].name), len(bottoms)))
        return T.shown(bottoms[number])

    def _check_made(self, blob, reasons):
        """Raise ValueError for a blob that a layer which is left out makes or changes."""
        for place, reason in reasons.items():
            if self.graph.after([place]).intersection(self._makers(blob)):
                raise ValueError("blob %s: depends on layer %s, which %s"
                                 % (blob, T.shown(self.graph.layers[place].name), reason))

    def _params(self, loss):
        """(axis of the classes, ignored label) that a loss layer states."""
        if loss is None:
            return 1, None
        message = self.messages[loss]
        if message.type == "Python":
            return _python_params(message.python_param.param_str)
        axis = next((getattr(message, name).axis for name in AXES
                     if hasattr(message, name) and message.HasField(name)), 1)
        holders = [getattr(message, name) for name in ("loss_param", "accuracy_param") if hasattr(message, name)]
        ignored = [holder.ignore_label for holder in holders if holder.HasField("ignore_label")]
        return axis, ignored[0] if ignored else None

    def _makers(self, blob):
        """Return the places of the layers that write a blob, in the net's order."""
        return [place for place, layer in enumerate(self.graph.layers) if T.given(blob) in layer.tops]

    def _check_shapes(self):
        scores, labels = [self.net.blobs[name].data for name in (self.score, self.label)]
        if not -scores.ndim <= self.axis < scores.ndim:
            raise ValueError("%s: expected classes along axis %d, got shape %s"
                             % (self.score, self.axis, scores.shape))
        self.n_classes = scores.shape[self.axis]
        if labels.size * self.n_classes != scores.size:
            raise ValueError("%s: expected a label for each of %d samples of %d classes, got shape %s"
                             % (self.label, scores.size // self.n_classes, self.n_classes, labels.shape))
        self.spatial = labels.size > len(labels)

    # How much data there is

    def _find_end(self, iterations, default_iterations):
        self.n_samples = None
        layer, count = _count_samples(self.messages)
        batch = self.net.blobs[self.label].data.shape[0]
        if iterations is None and count:
            self.n_iterations, self.n_samples = -(-count // batch), count
            self.source = "all %d samples of %s" % (count, layer)
            return
        self.n_iterations = iterations or default_iterations
        if not self.n_iterations:
            raise ValueError("expected a Data (LMDB), ImageData or HDF5Data layer, whose samples can be counted; "
                             "--iterations says how many batches to take")
        self.source = "%d iterations of %d samples" % (self.n_iterations, batch)

    # Running

    def batches(self):
        """(scores N x C, labels N) of each batch, one row for each label that is not ignored.

        Raises ValueError for scores that are not finite, and for labels that are no whole numbers 0..C-1.
        """
        left = self.n_samples
        for _ in range(self.n_iterations):
            self.net.forward()
            scores, labels = [self.net.blobs[name].data for name in (self.score, self.label)]
            if left is not None:  # the data start again in the last batch
                scores, labels = scores[:left], labels[:left]
                left -= len(labels)
            yield self._rows(scores, labels)

    def _rows(self, scores, labels):
        scores = np.rollaxis(scores, self.axis % scores.ndim, scores.ndim).reshape(-1, self.n_classes)
        labels = labels.ravel()
        if self.ignore_label is not None:
            taken = labels != self.ignore_label
            scores, labels = scores[taken], labels[taken]
        if not np.isfinite(scores).all():
            raise ValueError("%s: expected finite scores, got NaN or infinity: the training has diverged" % self.score)
        bad = (labels != np.floor(labels)) | (labels < 0) | (labels >= self.n_classes)
        if bad.any():
            raise ValueError("%s: expected whole numbers 0..%d, got %g"
                             % (self.label, self.n_classes - 1, labels[bad][0]))
        return scores.astype(np.float64), labels.astype(np.int64)


def _read(definition):
    """Return (graph.Graph, the message of each of its layers) of a prototxt in its TEST phase.

    The graph is that of the messages as text again: it has what Caffe reads, however the user has written it.
    """
    from caffe.proto import caffe_pb2
    from google.protobuf import text_format
    message = caffe_pb2.NetParameter()
    with io.open(definition, encoding="utf-8") as file:
        text_format.Merge(file.read(), message)
    net = Net(T.decode(text_format.MessageToString(message)))
    graph = G.Graph(net, merged(("TEST", {}), dict(net.state, phase=[])))
    messages = list(message.layer) or list(message.layers)
    return graph, [messages[layer.index] for layer in graph.layers]


def _python_params(param_str):
    from caffe_losses import params
    keys = {"source": params.path(None), "axis": params.integer(1), "ignore_label": params.integer(None),
            "normalization": params.choice(None, ("FULL", "VALID", "BATCH_SIZE", "NONE")),
            "normalize": params.boolean(None)}
    says = params.parse(param_str, keys)
    return says["axis"], says["ignore_label"]


def _count_samples(layers):
    """(what they come from, in words; how many) of the data layer of a net, or (None, None)."""
    for layer in layers:
        counted = None
        if layer.HasField("data_param") and layer.data_param.source:
            counted, source = _in_lmdb(layer.data_param), layer.data_param.source
        elif layer.HasField("image_data_param") and layer.image_data_param.source:
            counted, source = len(_lines(layer.image_data_param.source)), layer.image_data_param.source
        elif layer.HasField("hdf5_data_param") and layer.hdf5_data_param.source:
            counted, source = _in_hdf5(layer), layer.hdf5_data_param.source
        if counted:
            return source, counted
    return None, None


def _in_lmdb(param):
    if param.backend != param.LMDB or param.rand_skip:
        return None
    import lmdb
    environment = lmdb.open(param.source, readonly=True, lock=False)
    try:
        return environment.stat()["entries"]
    finally:
        environment.close()


def _in_hdf5(layer):
    import h5py
    total = 0
    for name in _lines(layer.hdf5_data_param.source):
        with h5py.File(name, "r") as file:
            total += len(file[layer.top[0]])
    return total


def _lines(path):
    with io.open(path, encoding="utf-8", errors="replace") as file:
        return [line.strip() for line in file if line.strip()]
