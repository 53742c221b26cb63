"""What a trained net says of its own test data, by running the real net in its TEST phase.

    evaluation = Evaluation("train_val.prototxt", "snapshot_iter_1000.caffemodel")
    for scores, labels in evaluation.batches():
        ...

Caffe ends the process on most errors (missing data, blobs of another shape): run this in one of its own.
"""
from __future__ import division, print_function

import io
import os

import numpy as np

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
    """

    def __init__(self, definition, snapshot, iterations=None, default_iterations=None, score=None, label=None):
        """Load a net.

        definition: str, a prototxt with a TEST phase that has data and labels. snapshot: str, a .caffemodel.
        iterations: int, how many batches; None: one epoch of the data, each sample once, and where the data layer
            does not say how many there are, default_iterations (the solver's test_iter).
        score, label: names of blobs; None: those of the net's last loss on classes.
        Raises IOError or ValueError: a file is missing, no such blob, no such loss, no end of the data.
        """
        import caffe
        for path in (definition, snapshot):
            if not os.path.isfile(path):
                raise IOError("%s: cannot be read: no such file" % path)
        self.net = caffe.Net(str(definition), str(snapshot), caffe.TEST)
        self.messages = _layer_messages(definition)
        loss = self._loss() if score is None or label is None else None
        self.score, self.label = score or self._bottom(loss, 0), label or self._bottom(loss, 1)
        for blob in (self.score, self.label):
            if blob not in self.net.blobs:
                raise ValueError("blob %s: expected one of the net's, %s" % (blob, ", ".join(self.net.blobs)))
        self.axis, self.ignore_label = self._params(loss)
        maker = self._maker(self.score)
        self.are_probabilities = maker is not None and self.net.layers[maker].type == "Softmax"
        self._check_shapes()
        self._find_end(iterations, default_iterations)

    # Where scores and labels are

    def _loss(self):
        """The index of the layer that tells what the scores and labels are."""
        found = {"loss": [], "accuracy": []}
        for index, layer in enumerate(self.net.layers):
            if layer.type in LOSSES or self._is_ours(index):
                found["loss"].append(index)
            elif layer.type == "Accuracy":
                found["accuracy"].append(index)
        if not (found["loss"] or found["accuracy"]):
            raise ValueError("expected a net whose TEST phase has a loss on classes or an Accuracy layer, got %s; "
                             "--score and --label name the blobs"
                             % ", ".join(sorted(set(layer.type for layer in self.net.layers))))
        return (found["loss"] or found["accuracy"])[-1]  # the last: those before it are auxiliary

    def _is_ours(self, index):
        param = getattr(self.messages.get(self.net._layer_names[index]), "python_param", None)
        return param is not None and param.module == MODULE and param.layer in PYTHON_LOSSES

    def _bottom(self, layer, which):
        """The name of a bottom, before the Splits that Caffe puts in."""
        blob = list(self.net._blob_names)[list(self.net._bottom_ids(layer))[which]]
        maker = self._maker(blob)
        if maker is not None and self.net.layers[maker].type == "Split":
            return self._bottom(maker, 0)
        return blob

    def _params(self, loss):
        """(axis of the classes, ignored label) that a loss layer states."""
        message = self.messages.get(self.net._layer_names[loss]) if loss is not None else None
        if message is None:
            return 1, None
        if message.type == "Python":
            return _python_params(message.python_param.param_str)
        axis = next((getattr(message, name).axis for name in AXES
                     if hasattr(message, name) and message.HasField(name)), 1)
        holders = [getattr(message, name) for name in ("loss_param", "accuracy_param") if hasattr(message, name)]
        ignored = [holder.ignore_label for holder in holders if holder.HasField("ignore_label")]
        return axis, ignored[0] if ignored else None

    def _maker(self, blob):
        """The index of the layer that last wrote a blob, or None."""
        names = list(self.net._blob_names)
        makers = [index for index in range(len(self.net.layers))
                  if blob in [names[i] for i in self.net._top_ids(index)]]
        return makers[-1] if makers else None

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
        layer, count = _count_samples(self.messages.values())
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


def _layer_messages(definition):
    """The layers of a prototxt by name, as Caffe's messages."""
    from caffe.proto import caffe_pb2
    from google.protobuf import text_format
    net = caffe_pb2.NetParameter()
    with io.open(definition, encoding="utf-8") as file:
        text_format.Merge(file.read(), net)
    return {layer.name: layer for layer in list(net.layer) + list(net.layers)
            if _is_included(layer, net.state, caffe_pb2.TEST)}


def _is_included(layer, state, phase):
    """Source: Caffe, net.cpp, FilterNet and StateMeetsRule."""
    def meets(rule):
        return not (rule.HasField("phase") and rule.phase != phase
                    or rule.HasField("min_level") and state.level < rule.min_level
                    or rule.HasField("max_level") and state.level > rule.max_level
                    or set(rule.stage) - set(state.stage) or set(rule.not_stage) & set(state.stage))
    if layer.include:
        return any(meets(rule) for rule in layer.include)
    return not any(meets(rule) for rule in layer.exclude)


def _python_params(param_str):
    from caffe_losses.layers import param_str as params
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
