"""The layers that make H, and the one that checks labels: ComputeH, InfogainMatrix, LabelCheck."""
from __future__ import division, print_function

import caffe
import numpy as np

from caffe_losses.layers import param_str
from caffe_losses.layers.base import check_blobs, check_size, in_training, read_float32, refuse_gradient, reported, warn
from caffe_losses.layers.counting_layers import LABELS, LabelCounter
from caffe_losses.matrices import class_weights, gains
from caffe_losses.validation import label_index

# The largest L with L x L entries in a blob, whose count is an int.
MAX_CLASSES = 46340

# The weight of the average sample outside of which a warning says so.
LEAST_AVERAGE, MOST_AVERAGE = .5, 2


def _read_gain(source):
    return gains.check_gain(read_float32(source), source)


def _refuse_gradient(layer, top, propagate_down, bottom):
    refuse_gradient(propagate_down, (LABELS,), first=0)


@reported
class ComputeH(LabelCounter):
    """H from the labels of a batch: a diagonal of class weights.

        H = diag(w) S,  w from the counts of the classes (class_weights.class_weights)

    With no further keys the published layer's numbers: for the classes that are present max count / count, divided by
    their sum. The average sample then weighs much less than 1, which acts as a smaller learning rate (the layer says so
    once): use_loss.py and make_net.py write "weights": "balanced" and "scale": "sample".

    param_str:
        n_classes: int, L; required.
        weights: "max_over_count" (default), "balanced", "inverse", "effective_number" (with beta) or
            "median_frequency".
        beta: float in [0, 1), for effective_number.
        power: float >= 0, default 1; 0.5 softens the weights to their square root.
        scale: "sum" (default; the weights sum to 1), "sample" (the average sample weighs 1, and so the learning rate
            keeps its meaning), "classes" (they sum to L) or "none".
        missing: "zero" (default; an absent class weighs 0) or "error".
        ignore_label: int, not counted; default: none.
        gain: file with an L x L gain matrix S; default: the identity.
        running: float in (0, 1), the decay of counts kept over batches: counts = running * counts + counts of the
            batch. They are kept in the layer's blob, so a snapshot saves and a resume restores them; in the TEST phase
            they are used and left as they are. Such a layer needs param { lr_mult: 0 decay_mult: 0 }. Default: each
            batch by itself. A Caffe before April 2016 (NVIDIA's 0.16 and 0.17 too) gives a Python layer no phase: there
            counts are kept from the first iteration in which a solver clears the gradients of the net.

    bottom[0]: labels, any shape. top[0]: H, 1 x 1 x L x L.
    Errors: ValueError for a label outside 0..L-1 and not ignore_label, and for a gradient with respect to the labels.
    """

    KEYS = {
        "n_classes": param_str.integer(param_str.REQUIRED, 1, MAX_CLASSES),
        "weights": param_str.choice("max_over_count", class_weights.KINDS),
        "beta": param_str.number(None, lambda b: 0 <= b < 1, "a number in [0, 1)"),
        "power": param_str.number(1.0, lambda p: p >= 0, "a number of at least 0"),
        "scale": param_str.choice("sum", class_weights.SCALES),
        "missing": param_str.choice("zero", ("zero", "error")),
        "ignore_label": param_str.integer(None),
        "gain": param_str.path(None),
        "running": param_str.number(None, lambda r: 0 < r < 1, "a number between 0 and 1"),
    }

    def setup(self, bottom, top):
        check_blobs(bottom, top, (1,), (1,))
        self.params = param_str.parse(self.param_str, self.KEYS)
        self.n_classes = self.params["n_classes"]
        self.warned = not in_training(self)
        if (self.params["beta"] is None) == (self.params["weights"] == "effective_number"):
            raise ValueError('key "beta" in param_str: expected with "weights": "effective_number", and only with it')
        self.gain = None
        if self.params["gain"] is not None:
            self.gain = _read_gain(self.params["gain"])
            check_size(self.gain, self.n_classes, self.params["gain"])
        self.start_counting()

    def reshape(self, bottom, top):
        top[0].reshape(1, 1, self.n_classes, self.n_classes)

    def forward(self, bottom, top):
        counts = self.count(bottom[0])
        options = {key: self.params[key] for key in ("beta", "power", "scale", "missing")}
        w = class_weights.class_weights(counts, self.params["weights"], **options)
        self._warn_of_scale(counts, w)
        H = top[0].data[0, 0]
        if self.gain is None:  # at once: np.diag of 1,000 classes and its copy take longer than the loss
            H.fill(0)
            np.fill_diagonal(H, w)
        else:
            H[...] = gains.weighted_gain(w, self.gain)

    def _warn_of_scale(self, counts, w):
        """Warn, once, of weights that act as another learning rate."""
        average = float(counts.dot(w)) / (counts.sum() or 1)
        if not self.warned and average and not LEAST_AVERAGE <= average <= MOST_AVERAGE:
            self.warned = True
            warn(self, 'the average sample weighs %.3g, which acts as a learning rate %.3g times as large; '
                 '"scale": "sample" in param_str makes it 1' % (average, average))

    backward = _refuse_gradient


@reported
class InfogainMatrix(caffe.Layer):
    """H from a file, as a blob for the third bottom of an infogain loss.

    param_str:
        source: file with H (.binaryproto, .npy or .csv); required. Read once.

    No bottoms. top[0]: H, 1 x 1 x L x L.
    Errors: IOError for a file that cannot be read, ValueError for one that holds no gain matrix.
    """

    KEYS = {"source": param_str.path(param_str.REQUIRED)}

    def setup(self, bottom, top):
        check_blobs(bottom, top, (0,), (1,))
        source = param_str.parse(self.param_str, self.KEYS)["source"]
        self.H = _read_gain(source)
        warning = gains.negative_entries(self.H)
        if warning:
            warn(self, "%s: %s" % (source, warning))

    def reshape(self, bottom, top):
        top[0].reshape(1, 1, *self.H.shape)

    def forward(self, bottom, top):
        # Every time: a layer that works in place may have changed the blob.
        top[0].data[0, 0] = self.H

    def backward(self, top, propagate_down, bottom):
        pass


@reported
class LabelCheck(caffe.Layer):
    """Labels passed on unchanged, and an error at the first that is out of range.

    The guard to put before a native loss: Caffe's InfogainLoss reads past the end of H on a label out of range, and
    goes on.

    param_str:
        n_classes: int, C; required.
        ignore_label: int, let through as well; default: none.

    bottom[0]: labels, any shape. top[0]: the same (it may be the same blob).
    Errors: ValueError for a label outside 0..C-1 and not ignore_label, naming its position, and for a gradient with
    respect to the labels.
    """

    KEYS = {"n_classes": param_str.integer(param_str.REQUIRED, 1), "ignore_label": param_str.integer(None)}

    def setup(self, bottom, top):
        check_blobs(bottom, top, (1,), (1,))
        self.params = param_str.parse(self.param_str, self.KEYS)

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        if bottom[0].count:
            labels = bottom[0].data
            label_index(labels, self.params["n_classes"], self.params["ignore_label"], LABELS)
            top[0].data[...] = labels

    backward = _refuse_gradient
