"""The losses of scores, labels and a matrix, as caffe.Layer classes that call the mathematics of `functional`."""
from __future__ import division, print_function

import caffe
import numpy as np

from caffe_losses.functional import blocks, losses
from caffe_losses.layers import param_str
from caffe_losses.layers.base import (check_blobs, check_size, in_training, read_float32, refuse_gradient, reported,
                                      warn, warn_untrained)
from caffe_losses.matrices import gains
from caffe_losses.validation import shape_text


@reported
class _Loss(caffe.Layer):
    """The base of all losses of scores, labels and a matrix; a subclass sets the three attributes after KEYS."""

    KEYS = {
        "source": param_str.path(None),
        "axis": param_str.integer(1),
        "ignore_label": param_str.integer(None),
        "normalization": param_str.choice(None, blocks.NORMALIZATIONS),
        "normalize": param_str.boolean(True),
    }
    loss = None  # a function of `losses`, as a staticmethod
    matrix_name = None  # "H" or "D"
    n_tops = (1, 2)

    def setup(self, bottom, top):
        check_blobs(bottom, top, (2, 3), self.n_tops)
        self.params = param_str.parse(self.param_str, self.KEYS)
        self.normalization = self.params["normalization"] or ("VALID" if self.params["normalize"] else "BATCH_SIZE")
        source = self.params["source"]
        if (source is None) == (len(bottom) == 2):
            raise ValueError('%s: expected either the key "source" or a third bottom, got %s'
                             % (self.matrix_name, "neither" if source is None else "both"))
        self.bottom_names = ("bottom[0] (scores)", "bottom[1] (labels)", "bottom[2] (%s)" % self.matrix_name)
        self.in_training = in_training(self)
        self.has_p = len(top) == 2
        self.bottoms = range(len(bottom))
        self.shapes = None
        self.empty = True  # until the shapes are known
        self.warned = self.started = False
        self.matrix = None if source is None else self._checked(read_float32(source), source)

    def _checked(self, matrix, name):
        is_gain = self.matrix_name == "H"
        matrix = (gains.check_gain if is_gain else gains.check_cost)(matrix, name)
        warning = None if self.warned else gains.negative_entries(matrix)
        if warning:
            warn(self, "%s: %s" % (name, warning))
            self.warned = True
        return losses.matrix_of(matrix) if is_gain else losses.Matrix(matrix)

    def reshape(self, bottom, top):
        # The array's shape takes a tenth of the time, but Caffe gives an empty blob no memory, and ends if its data is
        # looked at. Caffe's vector has no iterator.
        shapes = [tuple(bottom[i].shape) if self.empty else bottom[i].data.shape for i in self.bottoms]
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
            check_size(self.matrix, n_classes, self.params["source"])
        elif shapes[2][-2:] != (n_classes, n_classes) or np.prod(shapes[2]) != n_classes ** 2:
            raise ValueError("%s: expected 1 x 1 x %d x %d, as the scores have %d classes, got %s"
                             % (self.bottom_names[2], n_classes, n_classes, n_classes, shape_text(shapes[2])))
        top[0].reshape()
        if self.has_p:
            top[1].reshape(*scores)
        if len(bottom) == 3:
            self.matrix = None
        self.empty = 0 in scores
        self.gradient = None
        self.shapes = shapes

    def forward(self, bottom, top):
        if not self.started:
            self.started = True
            warn_untrained(self, top)
        if self.empty:
            top[0].data[...] = 0
            return
        self.labels = blocks.read_labels(bottom[1].data, self.shape, self.params["ignore_label"], self.bottom_names[1])
        if self.params["source"] is None:
            self._read_bottom_matrix(bottom[2].data)
        self.z = blocks.normalizer(self.normalization, self.labels)
        p = top[1].data.reshape(self.shape) if self.has_p else None
        # In TRAIN the gradient will be asked for, and costs little while the block is in the cache.
        top[0].data[...] = self._batch_loss(bottom, p, self.in_training) / self.z

    def _batch_loss(self, bottom, p, with_gradient):
        self.fresh, self.factor = with_gradient, None
        if with_gradient and self.gradient is None:
            self.gradient = np.empty(self.shape, np.float32)
        if with_gradient and losses.leaves_factor(self.loss, self.matrix, self.shape):
            self.factor = np.empty(self.shape[:1], np.float32)
        return blocks.batch_loss(self.loss, bottom[0].data.reshape(self.shape), self.labels, self.matrix,
                                 self.gradient if with_gradient else None, p, self.bottom_names[0], self.factor)

    def _read_bottom_matrix(self, data):
        rows = data.reshape(self.shape[1], self.shape[1])
        diagonal = losses.diagonal_of(rows) if self.matrix_name == "H" else None
        numbers = rows if diagonal is None else diagonal
        if (self.matrix is not None and self.matrix.numbers.shape == numbers.shape
                and np.count_nonzero(self.matrix.numbers == numbers) == numbers.size):
            return
        if diagonal is not None and diagonal.min() >= 0 and 0 < diagonal.max() < np.inf:
            self.matrix = losses.Diagonal(diagonal)  # the check of all C x C takes longer than the loss
        elif not self.labels.count and not numbers.any():
            self.matrix = losses.Matrix(rows)  # ComputeH makes it of a batch that is all ignored
        else:
            self.matrix = self._checked(rows, self.bottom_names[2])

    def backward(self, top, propagate_down, bottom):
        refuse_gradient(propagate_down, self.bottom_names)
        if self.empty or not propagate_down[0]:
            return
        if not self.fresh:
            self._batch_loss(bottom, None, True)
        blocks.scaled(self.gradient, float(top[0].diff) / self.z, bottom[0].diff, self.factor)


class SoftmaxWithInfogainLoss(_Loss):
    """Infogain loss of the softmax of the scores, numerically stable.

        loss = w/Z sum over positions of -sum_j H[l, j] log p_j,  p = softmax(x)
        dx_k = w/Z (p_k sum_j H[l, j] - H[l, k])

    Caffe's native InfogainLoss (since April 2017) on the same blobs gives the same; there log p is clipped at
    log(1e-20), here it is exact for any scores.

    param_str:
        source: file with H (.binaryproto, .npy or .csv); required without a third bottom, not allowed with one.
        axis: int, the class axis; default 1; negative counts from the end.
        ignore_label: int; its positions have loss and gradient 0; default: none.
        normalization: "VALID" (default), "FULL", "BATCH_SIZE" or "NONE".
        normalize: true (VALID) or false (BATCH_SIZE), if there is no normalization.

    bottom[0]: scores, N x C x spatial (C at `axis`). bottom[1]: labels, one for each position (N x spatial, or N x 1 x
    spatial). bottom[2], optional: H, 1 x 1 x C x C. top[0]: the loss, a scalar. top[1], optional: p.
    The net's layer needs loss_weight: 1, or Caffe does not train on it.
    Errors: ValueError for a label outside 0..C-1 and not ignore_label, a score that is NaN or +Inf, an H of another
    size than C or without a positive entry, and a gradient with respect to labels or H. A bad score is an error at an
    ignored position, too.
    Source: Caffe, infogain_loss_layer.cpp.
    """

    loss = staticmethod(losses.softmax_with_infogain)
    matrix_name = "H"


class InfogainLoss(_Loss):
    """Infogain loss of probabilities, as Caffe's before April 2017.

        loss = w/Z sum over positions of -sum_j H[l, j] log q_j,  q = max(p, 1e-20)
        dp_j = -w/Z H[l, j] / q_j

    For nets that have their Softmax before the loss, and for the forks whose native InfogainLoss is still the old one.
    Where there is a choice, take SoftmaxWithInfogainLoss: it is exact, and faster than the two layers.
    param_str, bottoms and errors as of SoftmaxWithInfogainLoss, but bottom[0] holds probabilities; one outside 0..1 is
    an error. top[0]: the loss, a scalar.
    Source: Caffe before April 2017, infogain_loss_layer.cpp.
    """

    loss = staticmethod(losses.infogain)
    matrix_name = "H"
    n_tops = (1,)


class CostScaledSoftmaxLoss(_Loss):
    """Softmax loss of each position, scaled by the cost of the present decision.

        loss = w/Z sum over positions of -D[l, argmax x] log p_l,  p = softmax(x)
        dx_k = w/Z D[l, argmax x] (p_k - [k = l])

    A right decision costs 0 and is not trained on further, so this serves a net that has been trained before, or as
    one of several losses.
    param_str, bottoms, tops and errors as of SoftmaxWithInfogainLoss, with a cost matrix D in place of H.
    """

    loss = staticmethod(losses.cost_scaled_softmax)
    matrix_name = "D"


class ExpectedCostLoss(_Loss):
    """The expected cost of a decision drawn from the softmax of the scores.

        loss = w/Z sum over positions of sum_j D[l, j] p_j,  p = softmax(x)
        dx_k = w/Z p_k (D[l, k] - sum_j D[l, j] p_j)

    For a net that has been trained before: from fresh weights it falls onto one class, that of the least cost on
    average, at every learning rate tried, as the gradient of the right class is small where that has a small p.
    param_str, bottoms, tops and errors as of SoftmaxWithInfogainLoss, with a cost matrix D in place of H.
    """

    loss = staticmethod(losses.expected_cost)
    matrix_name = "D"


def _flat_shape(shape, axis):
    """Return outer x C x inner, the sizes before, at and after the class axis; without an inner of 1."""
    if not -len(shape) <= axis < len(shape):
        raise ValueError('key "axis" in param_str: expected an axis of the scores, of shape %s, got %d'
                         % (shape_text(shape), axis))
    axis %= len(shape)
    outer, inner = (int(np.prod(part, dtype=np.int64)) for part in (shape[:axis], shape[axis + 1:]))
    return (outer, shape[axis]) if inner == 1 else (outer, shape[axis], inner)
