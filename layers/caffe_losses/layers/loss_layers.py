"""The caffe.Layer classes of labels and H: they read parameters, check shapes, call
the mathematics and write blobs. See the package's docstring for the conventions.
"""
from __future__ import division, print_function

import caffe
import numpy as np

from caffe_losses.functional import losses
from caffe_losses.layers import param_str as params
from caffe_losses.matrices import class_weights as weights, gains
from caffe_losses.formats.matrix_files import read_matrix
from caffe_losses.layers.base import (array_shape, check_blobs, declared_shape, in_training, refuse_gradient, reported,
                                 shape_text, warn, warn_untrained)

# the largest L with L x L entries in a blob, whose count is an int
MAX_CLASSES = 46340


def _read_float32(source):
    with np.errstate(over="ignore"):  # what becomes Inf is found by the check that follows
        return read_matrix(source).astype(np.float32, copy=False)  # H may be large


def _read_gain(source):
    return gains.check_gain(_read_float32(source), source)


class ComputeH(caffe.Layer):
    """H from the labels of a batch: a diagonal of class weights.

        H = diag(w) S,  w from the counts of the classes (weights.class_weights)

    With no further keys the published layer's numbers: for the classes that are
    present max count / count, divided by their sum.

    param_str:
        n_classes: int, L; required.
        weights: "max_over_count" (default), "balanced", "inverse", "effective_number"
            (with beta) or "median_frequency".
        beta: float in [0, 1), for effective_number.
        power: float >= 0, default 1; 0.5 softens the weights to their square root.
        scale: "sum" (default; the weights sum to 1), "sample" (the average sample
            weighs 1, and so the learning rate keeps its meaning), "classes" (they
            sum to L) or "none".
        missing: "zero" (default; an absent class weighs 0) or "error".
        ignore_label: int, not counted; default: none.
        gain: file with an L x L gain matrix S; default: the identity.
        running: float in (0, 1), the decay of counts kept over batches:
            counts = running * counts + counts of the batch. They are kept in the
            layer's blob, so a snapshot saves and a resume restores them; in the
            TEST phase they are used and left as they are. Such a layer needs
            param { lr_mult: 0 decay_mult: 0 }. Default: each batch by itself.

    bottom[0]: labels, any shape. top[0]: H, 1 x 1 x L x L.
    Errors: ValueError for a label outside 0..L-1 and not ignore_label, and for a
    gradient with respect to the labels.
    """

    KEYS = {
        "n_classes": params.integer(params.REQUIRED, 1, MAX_CLASSES),
        "weights": params.choice("max_over_count", weights.KINDS),
        "beta": params.number(None, lambda b: 0 <= b < 1, "a number in [0, 1)"),
        "power": params.number(1.0, lambda p: p >= 0, "a number of at least 0"),
        "scale": params.choice("sum", weights.SCALES),
        "missing": params.choice("zero", ("zero", "error")),
        "ignore_label": params.integer(None),
        "gain": params.path(None),
        "running": params.number(None, lambda r: 0 < r < 1, "a number between 0 and 1"),
    }

    @reported
    def setup(self, bottom, top):
        check_blobs(bottom, top, (1,), (1,))
        self.params = params.parse(self.param_str, self.KEYS)
        self.n_classes = self.params["n_classes"]
        if (self.params["beta"] is None) == (self.params["weights"] == "effective_number"):
            raise ValueError('key "beta" in param_str: expected with "weights": "effective_number", '
                             "and only with it")
        self.gain = None
        if self.params["gain"] is not None:
            self.gain = _read_gain(self.params["gain"])
            _check_size(self.gain, self.n_classes, self.params["gain"])
        if self.params["running"] is not None:
            self.blobs.add_blob(self.n_classes)
            self.blobs[0].data[...] = 0

    @reported
    def reshape(self, bottom, top):
        top[0].reshape(1, 1, self.n_classes, self.n_classes)

    @reported
    def forward(self, bottom, top):
        counts = self._count(bottom[0])
        if self.params["running"] is not None:
            counts = self._keep(counts)
        options = {key: self.params[key] for key in ("beta", "power", "scale", "missing")}
        w = weights.class_weights(counts, self.params["weights"], **options)
        top[0].data[0, 0] = gains.weighted_gain(w, self.gain)

    def _count(self, labels):
        if not labels.count:  # Caffe gives an empty blob no memory, and ends if it is looked at
            return np.zeros(self.n_classes)
        return weights.count_labels(labels.data, self.n_classes, self.params["ignore_label"],
                                    "bottom[0] (labels)")

    def _keep(self, counts):
        """The counts kept over batches, with this batch added in TRAIN."""
        kept = self.blobs[0].data
        if in_training(self):
            kept *= self.params["running"]
            kept += counts
        elif not kept.any():
            return counts  # nothing was ever trained: the batch is all there is
        return kept.astype(np.float64)

    @reported
    def backward(self, top, propagate_down, bottom):
        refuse_gradient(propagate_down, ("bottom[0] (labels)",), first=0)


class InfogainMatrix(caffe.Layer):
    """H from a file, as a blob for the third bottom of an infogain loss.

    param_str:
        source: file with H (.binaryproto, .npy or .csv); required. Read once.

    No bottoms. top[0]: H, 1 x 1 x L x L.
    Errors: IOError for a file that cannot be read, ValueError for one that holds
    no gain matrix.
    """

    KEYS = {"source": params.path(params.REQUIRED)}

    @reported
    def setup(self, bottom, top):
        check_blobs(bottom, top, (0,), (1,))
        source = params.parse(self.param_str, self.KEYS)["source"]
        self.H = _read_gain(source)
        warning = gains.negative_entries(self.H)
        if warning:
            warn(self, "%s: %s" % (source, warning))

    @reported
    def reshape(self, bottom, top):
        top[0].reshape(1, 1, *self.H.shape)

    @reported
    def forward(self, bottom, top):
        # Every time: a layer that works in place may have changed the blob.
        top[0].data[0, 0] = self.H

    def backward(self, top, propagate_down, bottom):
        pass


class LabelCheck(caffe.Layer):
    """Labels, passed through if they are labels, and an error at the first that is not.

    The guard to put before a native loss: Caffe's InfogainLoss reads past the end of
    H on a label out of range, and goes on.

    param_str:
        n_classes: int, C; required.
        ignore_label: int, let through as well; default: none.

    bottom[0]: labels, any shape. top[0]: the same (it may be the same blob).
    Errors: ValueError for a label outside 0..C-1 and not ignore_label, naming its
    position, and for a gradient with respect to the labels.
    """

    KEYS = {"n_classes": params.integer(params.REQUIRED, 1), "ignore_label": params.integer(None)}

    @reported
    def setup(self, bottom, top):
        check_blobs(bottom, top, (1,), (1,))
        self.params = params.parse(self.param_str, self.KEYS)

    @reported
    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    @reported
    def forward(self, bottom, top):
        if bottom[0].count:
            labels = bottom[0].data
            weights.label_index(labels, self.params["n_classes"], self.params["ignore_label"],
                                "bottom[0] (labels)")
            top[0].data[...] = labels

    @reported
    def backward(self, top, propagate_down, bottom):
        refuse_gradient(propagate_down, ("bottom[0] (labels)",), first=0)


class _Loss(caffe.Layer):
    """What the losses have in common: scores, labels and a matrix make a number.

    A subclass names its function of `losses`, the key and check of its matrix, and
    how many tops it may have.
    """

    KEYS = {
        "source": params.path(None),
        "axis": params.integer(1),
        "ignore_label": params.integer(None),
        "normalization": params.choice(None, losses.NORMALIZATIONS),
        "normalize": params.boolean(True),
    }
    loss = None  # a function of `losses`, as a staticmethod
    matrix_name = None  # "H" or "D"
    check_matrix = None  # of `gains`, as a staticmethod
    n_tops = (1, 2)

    @reported
    def setup(self, bottom, top):
        check_blobs(bottom, top, (2, 3), self.n_tops)
        self.params = params.parse(self.param_str, self.KEYS)
        self.normalization = self.params["normalization"] or (
            "VALID" if self.params["normalize"] else "BATCH_SIZE")
        source = self.params["source"]
        if (source is None) == (len(bottom) == 2):
            raise ValueError('%s: expected either the key "source" or a third bottom, got %s'
                             % (self.matrix_name, "neither" if source is None else "both"))
        self.bottom_names = ("bottom[0] (scores)", "bottom[1] (labels)", "bottom[2] (%s)" % self.matrix_name)
        self.in_training = in_training(self)
        self.has_p = len(top) == 2
        self.bottoms = range(len(bottom))
        self.shapes = None
        self.shape_of = declared_shape
        self.warned = False
        self.started = False
        self.matrix = None
        if source is not None:
            self.matrix = self._checked(_read_float32(source), source)

    def _checked(self, matrix, name):
        matrix = losses.Matrix(self.check_matrix(matrix, name))
        if not self.warned:
            warning = gains.negative_entries(matrix.rows)
            if warning:
                warn(self, "%s: %s" % (name, warning))
                self.warned = True
        return matrix

    @reported
    def reshape(self, bottom, top):
        shapes = [self.shape_of(bottom[i]) for i in self.bottoms]  # Caffe's vector has no iterator
        if shapes == self.shapes:
            return
        scores, labels = shapes[:2]
        self.shape = _flat_shape(scores, self.params["axis"])
        n_classes = self.shape[1]
        if np.prod(labels, dtype=np.int64) * n_classes != np.prod(scores, dtype=np.int64):
            raise ValueError(
                "%s: expected one label for each position of the scores, of shape %s with the classes on axis "
                "%d; got %s" % (self.bottom_names[1], shape_text(scores), self.params["axis"], shape_text(labels)))
        if len(bottom) == 2:
            _check_size(self.matrix.rows, n_classes, self.params["source"])
        elif shapes[2][-2:] != (n_classes, n_classes) or np.prod(shapes[2]) != n_classes ** 2:
            raise ValueError("%s: expected 1 x 1 x %d x %d, as the scores have %d classes, got %s"
                             % (self.bottom_names[2], n_classes, n_classes, n_classes, shape_text(shapes[2])))
        top[0].reshape()
        if self.has_p:
            top[1].reshape(*scores)
        if len(bottom) == 3:
            self.matrix = None
        # Caffe gives an empty blob no memory, and ends if its data is looked at. What has been
        # larger has memory, and the shape of its array is there ten times as fast.
        self.empty = 0 in scores
        self.shape_of = declared_shape if self.empty else array_shape
        self.gradient = None
        self.shapes = shapes

    @reported
    def forward(self, bottom, top):
        if not self.started:
            self.started = True
            warn_untrained(self, top)
        if self.empty:
            top[0].data[...] = 0
            return
        self.labels = losses.read_labels(bottom[1].data, self.shape, self.params["ignore_label"],
                                         self.bottom_names[1])
        if self.params["source"] is None:
            self._read_bottom_matrix(bottom[2].data)
        self.z = losses.normalizer(self.normalization, self.labels)
        p = top[1].data.reshape(self.shape) if self.has_p else None
        # While the block is in the cache its gradient costs little: in TRAIN it will be asked for.
        top[0].data[...] = self._batch_loss(bottom, p, self.in_training) / self.z

    def _batch_loss(self, bottom, p, with_gradient):
        self.fresh = with_gradient
        if with_gradient and self.gradient is None:
            self.gradient = np.empty(self.shape, np.float32)
        return losses.batch_loss(self.loss, bottom[0].data.reshape(self.shape), self.labels, self.matrix,
                                 self.gradient if with_gradient else None, p, self.bottom_names[0])

    def _read_bottom_matrix(self, data):
        matrix = data.reshape(self.shape[1], self.shape[1])
        if self.matrix is not None and np.count_nonzero(matrix == self.matrix.rows) == matrix.size:
            return
        if not self.labels.count and not matrix.any():
            self.matrix = losses.Matrix(matrix)  # what ComputeH makes of a batch that is all ignored
        else:
            self.matrix = self._checked(matrix, self.bottom_names[2])

    @reported
    def backward(self, top, propagate_down, bottom):
        refuse_gradient(propagate_down, self.bottom_names)
        if self.empty or not propagate_down[0]:
            return
        if not self.fresh:
            self._batch_loss(bottom, None, True)
        losses.scaled(self.gradient, float(top[0].diff) / self.z, bottom[0].diff)


class SoftmaxWithInfogainLoss(_Loss):
    """Infogain loss of the softmax of the scores, numerically stable.

        loss = w/Z sum over positions of -sum_j H[l, j] log p_j,  p = softmax(x)
        dx_k = w/Z (p_k sum_j H[l, j] - H[l, k])

    Caffe's native InfogainLoss (since April 2017) on the same blobs gives the same;
    there log p is clipped at log(1e-20), here it is exact for any scores.

    param_str:
        source: file with H (.binaryproto, .npy or .csv); required without a third
            bottom, not allowed with one.
        axis: int, the class axis; default 1; negative counts from the end.
        ignore_label: int; its positions have loss and gradient 0; default: none.
        normalization: "VALID" (default), "FULL", "BATCH_SIZE" or "NONE".
        normalize: true (VALID) or false (BATCH_SIZE), if there is no normalization.

    bottom[0]: scores, N x C x spatial (C at `axis`). bottom[1]: labels, one for each
    position (N x spatial, an axis of 1 in the place of C is fine). bottom[2],
    optional: H, 1 x 1 x C x C. top[0]: the loss, a scalar. top[1], optional: p.
    The net's layer needs loss_weight: 1, or Caffe does not train on it.
    Errors: ValueError for a label outside 0..C-1 and not ignore_label, a score that
    is NaN or +Inf, an H of another size than C or without a positive entry, and a
    gradient with respect to labels or H. A bad score is an error at an ignored
    position, too.
    Source: Caffe, infogain_loss_layer.cpp.
    """

    loss = staticmethod(losses.softmax_with_infogain)
    matrix_name = "H"
    check_matrix = staticmethod(gains.check_gain)


class InfogainLoss(_Loss):
    """Infogain loss of probabilities, as Caffe's before April 2017.

        loss = w/Z sum over positions of -sum_j H[l, j] log q_j,  q = max(p, 1e-20)
        dp_j = -w/Z H[l, j] / q_j

    For nets that have their Softmax before the loss, and for the forks whose native
    InfogainLoss is still the old one. Where there is a choice, take
    SoftmaxWithInfogainLoss: it is exact, and faster than the two layers.

    param_str, bottoms and errors as of SoftmaxWithInfogainLoss, but bottom[0] holds
    probabilities; one outside 0..1 is an error. top[0]: the loss, a scalar.
    Source: Caffe before April 2017, infogain_loss_layer.cpp.
    """

    loss = staticmethod(losses.infogain)
    matrix_name = "H"
    check_matrix = staticmethod(gains.check_gain)
    n_tops = (1,)


class CostScaledSoftmaxLoss(_Loss):
    """Softmax loss of each position, scaled by the cost of the present decision.

        loss = w/Z sum over positions of -D[l, argmax x] log p_l,  p = softmax(x)
        dx_k = w/Z D[l, argmax x] (p_k - [k = l])

    A right decision costs 0 and is not trained on further, so this serves a net that
    has been trained before, or as one of several losses.

    param_str, bottoms, tops and errors as of SoftmaxWithInfogainLoss, with D, a
    cost matrix (0 on the diagonal, nothing negative), in the place of H.
    """

    loss = staticmethod(losses.cost_scaled_softmax)
    matrix_name = "D"
    check_matrix = staticmethod(gains.check_cost)


class ExpectedCostLoss(_Loss):
    """The expected cost of a decision drawn from the softmax of the scores.

        loss = w/Z sum over positions of sum_j D[l, j] p_j,  p = softmax(x)
        dx_k = w/Z p_k (D[l, k] - sum_j D[l, j] p_j)

    param_str, bottoms, tops and errors as of SoftmaxWithInfogainLoss, with D, a
    cost matrix (0 on the diagonal, nothing negative), in the place of H.
    """

    loss = staticmethod(losses.expected_cost)
    matrix_name = "D"
    check_matrix = staticmethod(gains.check_cost)


def _flat_shape(shape, axis):
    """outer x C x inner: the sizes before, at and after the class axis; without an inner of 1."""
    if not -len(shape) <= axis < len(shape):
        raise ValueError('key "axis" in param_str: expected an axis of the scores, of shape %s, got %d'
                         % (shape_text(shape), axis))
    axis %= len(shape)
    outer, inner = (int(np.prod(part, dtype=np.int64)) for part in (shape[:axis], shape[axis + 1:]))
    return (outer, shape[axis]) if inner == 1 else (outer, shape[axis], inner)


def _check_size(H, n_classes, name):
    if H.shape != (n_classes, n_classes):
        raise ValueError("%s: expected H to be %d x %d, as there are %d classes, got %d x %d"
                         % ((name, n_classes, n_classes, n_classes) + H.shape))
