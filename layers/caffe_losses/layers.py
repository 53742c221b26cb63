"""The caffe.Layer classes: they read parameters, check shapes, call the
mathematics and write blobs. See the package's docstring for the conventions.
"""
from __future__ import division, print_function

import functools
import sys
import traceback

import caffe
import numpy as np

from caffe_losses import gains, losses, params, weights
from caffe_losses.matrix_files import read_matrix

TEST = 1  # caffe.TEST, as a layer's `phase` has it


def _reported(method):
    """Print an error to standard error before it is raised.

    The caffe program ends on a Python exception without saying which.
    """
    @functools.wraps(method)
    def reporting(self, *args):
        try:
            return method(self, *args)
        except Exception as error:
            named = _name_layer(error, type(self).__name__)
            sys.stderr.write("%s\n%s" % (named, traceback.format_exc()))
            sys.stderr.flush()
            raise named
    return reporting


def _name_layer(error, layer):
    """The same kind of exception, its message led by the layer's class."""
    kinds = (ValueError, IOError)
    kind = next((kind for kind in kinds if isinstance(error, kind)), None)
    return kind("%s: %s" % (layer, error)) if kind else error


def _check_blobs(bottom, top, n_bottoms, n_tops):
    """n_bottoms and n_tops: the numbers of blobs that are right, as tuples."""
    for what, blobs, allowed in (("bottoms", bottom, n_bottoms), ("tops", top, n_tops)):
        if len(blobs) not in allowed:
            raise ValueError("expected %s %s, got %d"
                             % (" or ".join(map(str, allowed)), what, len(blobs)))


def _warn(layer, text):
    sys.stderr.write("%s: warning: %s\n" % (type(layer).__name__, text))
    sys.stderr.flush()


def _read_gain(source):
    with np.errstate(over="ignore"):
        H = read_matrix(source).astype(np.float32)
    return gains.check_gain(H, source)


def _refuse_gradient(propagate_down, names):
    """Raise if a gradient is asked for with respect to a bottom that has none."""
    for i, name in names.items():
        if i < len(propagate_down) and propagate_down[i]:
            raise ValueError(
                "bottom[%d] (%s): expected no gradient to be asked for, as there is none; remove "
                "force_backward, and give layers with blobs before it (a running ComputeH) "
                "param { lr_mult: 0 decay_mult: 0 }" % (i, name))


class ComputeH(caffe.Layer):
    """H from the labels of a batch: a diagonal of class weights.

        H = diag(w) S,  w from the counts of the classes (weights.class_weights)

    With no further keys the published layer's numbers: for the classes that are
    present max count / count, divided by their sum.

    param_str:
        n_classes: int, L; required.
        weights: "max_over_count" (default), "balanced", "effective_number" (with
            beta) or "median_frequency".
        beta: float in [0, 1), for effective_number.
        power: float >= 0, default 1; 0.5 softens the weights to their square root.
        scale: "sum" (default; the weights sum to 1), "sample" (the average sample
            weighs 1, and so the learning rate keeps its meaning), "classes" (they
            sum to L) or "none".
        missing: "zero" (default; an absent class weighs 0) or "error".
        ignore_label: int, not counted; default: none.
        gain: file with an L x L gain matrix S; default: the identity.
        running: float in (0, 1], the decay of counts kept over batches:
            counts = running * counts + counts of the batch. They are kept in the
            layer's blob, so a snapshot saves and a resume restores them; in the
            TEST phase they are used and left as they are. Such a layer needs
            param { lr_mult: 0 decay_mult: 0 }. Default: each batch by itself.

    bottom[0]: labels, any shape. top[0]: H, 1 x 1 x L x L.
    Errors: ValueError for a label outside 0..L-1 and not ignore_label, and for a
    gradient with respect to the labels.
    """

    KEYS = {
        "n_classes": params.integer(params.REQUIRED, minimum=1),
        "weights": params.choice("max_over_count", weights.KINDS),
        "beta": params.number(None, lambda b: 0 <= b < 1, "a number in [0, 1)"),
        "power": params.number(1.0, lambda p: p >= 0, "a number of at least 0"),
        "scale": params.choice("sum", weights.SCALES),
        "missing": params.choice("zero", ("zero", "error")),
        "ignore_label": params.integer(None),
        "gain": params.path(None),
        "running": params.number(None, lambda r: 0 < r <= 1, "a number in (0, 1]"),
    }

    @_reported
    def setup(self, bottom, top):
        _check_blobs(bottom, top, (1,), (1,))
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

    @_reported
    def reshape(self, bottom, top):
        top[0].reshape(1, 1, self.n_classes, self.n_classes)

    @_reported
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
        if self.phase != TEST:
            kept *= self.params["running"]
            kept += counts
        elif not kept.any():
            return counts  # nothing was ever trained: the batch is all there is
        return kept.astype(np.float64)

    @_reported
    def backward(self, top, propagate_down, bottom):
        _refuse_gradient(propagate_down, {0: "labels"})


class InfogainMatrix(caffe.Layer):
    """H from a file, as a blob for the third bottom of an infogain loss.

    param_str:
        source: file with H (.binaryproto, .npy or .csv); required. Read once.

    No bottoms. top[0]: H, 1 x 1 x L x L.
    Errors: IOError for a file that cannot be read, ValueError for one that holds
    no gain matrix.
    """

    KEYS = {"source": params.path(params.REQUIRED)}

    @_reported
    def setup(self, bottom, top):
        _check_blobs(bottom, top, (0,), (1,))
        source = params.parse(self.param_str, self.KEYS)["source"]
        self.H = _read_gain(source)
        warning = gains.negative_entries(self.H)
        if warning:
            _warn(self, "%s: %s" % (source, warning))

    @_reported
    def reshape(self, bottom, top):
        top[0].reshape(1, 1, *self.H.shape)

    @_reported
    def forward(self, bottom, top):
        # Every time: a layer that works in place may have changed the blob.
        top[0].data[0, 0] = self.H

    def backward(self, top, propagate_down, bottom):
        pass


class SoftmaxWithInfogainLoss(caffe.Layer):
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
    gradient with respect to labels or H.
    Source: Caffe, infogain_loss_layer.cpp.
    """

    KEYS = {
        "source": params.path(None),
        "axis": params.integer(1),
        "ignore_label": params.integer(None),
        "normalization": params.choice(None, losses.NORMALIZATIONS),
        "normalize": params.boolean(True),
    }

    @_reported
    def setup(self, bottom, top):
        _check_blobs(bottom, top, (2, 3), (1, 2))
        self.params = params.parse(self.param_str, self.KEYS)
        self.normalization = self.params["normalization"] or (
            "VALID" if self.params["normalize"] else "BATCH_SIZE")
        self.warned = False
        self.H = None
        source = self.params["source"]
        if (source is None) == (len(bottom) == 2):
            raise ValueError('H: expected either the key "source" or a third bottom, got %s'
                             % ("neither" if source is None else "both"))
        if source is not None:
            self._use_gain(_read_gain(source), source)

    def _use_gain(self, H, name):
        self.H = H
        warning = None if self.warned else gains.negative_entries(H)
        if warning:
            _warn(self, "%s: %s" % (name, warning))
            self.warned = True

    @_reported
    def reshape(self, bottom, top):
        self.outer, self.n_classes, self.inner = _split_shape(bottom[0], self.params["axis"])
        if bottom[1].count != self.outer * self.inner:
            raise ValueError(
                "bottom[1] (labels): expected one label for each of the %d positions of the scores, "
                "of shape %s with the classes on axis %d; got %s"
                % (self.outer * self.inner, _text(bottom[0].shape), self.params["axis"],
                   _text(bottom[1].shape)))
        if len(bottom) == 2:
            _check_size(self.H, self.n_classes, self.params["source"])
        elif bottom[2].count != self.n_classes ** 2 or list(bottom[2].shape)[-2:] != [
                self.n_classes] * 2:
            raise ValueError("bottom[2] (H): expected 1 x 1 x %d x %d, as the scores have %d classes, "
                             "got %s" % (self.n_classes, self.n_classes, self.n_classes,
                                         _text(bottom[2].shape)))
        top[0].reshape()
        if len(top) == 2:
            top[1].reshape(*bottom[0].shape)

    @_reported
    def forward(self, bottom, top):
        if not bottom[0].count:
            # Caffe gives an empty blob no memory, and ends if it is looked at.
            top[0].data[...] = 0
            return
        shape = self.outer, self.n_classes, self.inner
        self.labels = losses.read_labels(bottom[1].data, shape, self.params["ignore_label"],
                                         "bottom[1] (labels)")
        if len(bottom) == 3:
            self._use_gain(self._bottom_gain(bottom[2]), "bottom[2] (H)")
        loss, self.p = losses.softmax_with_infogain(bottom[0].data.reshape(shape), self.labels, self.H,
                                                    "bottom[0] (scores)")
        self.z = losses.normalizer(self.normalization, self.labels)
        top[0].data[...] = loss / self.z
        if len(top) == 2:
            top[1].data[...] = self.p.reshape(top[1].data.shape)

    def _bottom_gain(self, blob):
        H = blob.data.reshape(self.n_classes, self.n_classes)
        if not self.labels.count and not H.any():
            return H  # what ComputeH makes of a batch that is all ignored
        return gains.check_gain(H, "bottom[2] (H)")

    @_reported
    def backward(self, top, propagate_down, bottom):
        _refuse_gradient(propagate_down, {1: "labels", 2: "H"})
        if propagate_down[0] and bottom[0].count:
            scale = float(top[0].diff) / self.z
            dx = losses.softmax_with_infogain_gradient(self.p, self.labels, self.H, scale)
            bottom[0].diff[...] = dx.reshape(bottom[0].diff.shape)


def _split_shape(scores, axis):
    """(outer, C, inner): the sizes before, at and after the class axis."""
    shape = list(scores.shape)
    if not -len(shape) <= axis < len(shape):
        raise ValueError('key "axis" in param_str: expected an axis of the scores, of shape %s, got %d'
                         % (_text(shape), axis))
    axis %= len(shape)
    outer, inner = (int(np.prod(part, dtype=np.int64)) for part in (shape[:axis], shape[axis + 1:]))
    return outer, shape[axis], inner


def _check_size(H, n_classes, name):
    if H.shape != (n_classes, n_classes):
        raise ValueError("%s: expected H to be %d x %d, as there are %d classes, got %d x %d"
                         % ((name, n_classes, n_classes, n_classes) + H.shape))


def _text(shape):
    return " x ".join(map(str, shape)) or "scalar"
