"""Triplets, as caffe.Layer classes that call the mathematics of `functional`."""
from __future__ import division, print_function

import caffe
import numpy as np

from caffe_losses.functional import mining, triplets
from caffe_losses.functional.blocks import NORMALIZATIONS
from caffe_losses.layers import param_str
from caffe_losses.layers.base import check_blobs, refuse_gradient, reported, warn, warn_untrained
from caffe_losses.validation import check_finite, shape_text

# The most numbers in a blob, whose count is an int.
MAX_COUNT = 2 ** 31 - 1

# Distance of the negative in a batch without a triplet: e to the minus this is 0.
FAR = 1000


class _OfRows(caffe.Layer):
    """The base of layers that compare the rows of bottoms of one shape."""

    bottom_names = ()

    def check_shapes(self, bottom):
        """Check and keep the shape; return whether it has changed since the last call."""
        # Caffe gives an empty blob no memory, and ends if its data is looked at.
        shapes = [bottom[i].data.shape if bottom[i].count else tuple(bottom[i].shape) for i in range(len(bottom))]
        if shapes == getattr(self, "shapes", None):
            return False
        n, width = _rows(shapes[0], self.bottom_names[0])
        for shape, name in zip(shapes[1:], self.bottom_names[1:]):
            if _rows(shape, name) != (n, width):
                raise ValueError("%s: expected as many rows and numbers as %s, of shape %s, got %s"
                                 % (name, self.bottom_names[0], shape_text(shapes[0]), shape_text(shape)))
        self.shapes, self.shape = shapes, (n, width)
        return True

    def rows(self, bottom):
        return [bottom[i].data.reshape(self.shape) for i in range(len(bottom))]

    def wanted_diffs(self, propagate_down, bottom):
        """Return the diffs of the bottoms whose gradient is asked for, None for the others."""
        return [bottom[i].diff.reshape(self.shape) if propagate_down[i] else None for i in range(len(bottom))]


@reported
class TripletSoftmaxLoss(_OfRows):
    """Hoffer and Ailon's triplet loss: the softmax ratio of the distances.

        a = ||x - x+||, b = ||x - x-||, not squared;  d+ = e^a / (e^a + e^b)
        loss = w/Z sum over triplets of (d+)^2
        da = w/Z 2 (d+)^2 (1 - d+), db = -da;  da/dx = (x - x+)/a, and 0 where a = 0

    param_str:
        norm: "l2" (default, the paper's) or "squared_l2", a = ||x - x+||^2. Its gradient grows with the distance.
        form: "mse" (default, the paper's) or "log": log(1 + e^(a - b)), which keeps its gradient on the hardest
            triplets, where that of "mse" vanishes.
        normalization: "VALID" (default), "FULL" and "BATCH_SIZE" divide by the N triplets, as there is none to ignore;
            "NONE" by 1. Z is at least 1.

    bottom[0], [1], [2]: anchors, positives and negatives, N x C each; further axes belong to the row. top[0]: the
    loss, a scalar. top[1], optional: d+ of each triplet, N; no gradient comes back from it. Let a layer take it,
    Reduction for a mean in the log or Silence: Caffe prints N lines of a top that none takes, and its TEST phase
    corrupts memory if N grows from batch to batch.
    The net's layer needs loss_weight: 1, or Caffe does not train on it.
    Errors: ValueError for a number that is NaN or Inf, and bottoms of other shapes.
    Source: Hoffer and Ailon, Deep metric learning using triplet network, 2015, arXiv 1412.6622, section 3; (d+)^2 is
    half of its ||(d+, d- - 1)||^2, and what Caffe's EuclideanLoss makes of (d+, d-) and (0, 1).
    """

    KEYS = {
        "norm": param_str.choice("l2", triplets.NORMS),
        "form": param_str.choice("mse", triplets.FORMS),
        "normalization": param_str.choice("VALID", NORMALIZATIONS),
    }
    bottom_names = ("bottom[0] (anchor)", "bottom[1] (positive)", "bottom[2] (negative)")

    def setup(self, bottom, top):
        check_blobs(bottom, top, (3,), (1, 2))
        self.params = param_str.parse(self.param_str, self.KEYS)
        self.started = False

    def reshape(self, bottom, top):
        if self.check_shapes(bottom):
            top[0].reshape()
            if len(top) == 2:
                _reshape(top[1], self.shape[0])
            self.z = max(1, self.shape[0]) if self.params["normalization"] != "NONE" else 1

    def forward(self, bottom, top):
        if not self.started:
            self.started = True
            warn_untrained(self, top)
        if not self.shape[0]:
            top[0].data[...] = 0
            return
        norm, names = self.params["norm"], self.bottom_names
        anchor, positive, negative = self.rows(bottom)
        a = triplets.distances(anchor, positive, norm, names[:2])
        b = triplets.distances(anchor, negative, norm, (names[0], names[2]))
        ratio = triplets.softmax_ratio(a, b, self.params["form"])
        self.to_positive = ratio.slope * triplets.slopes(a, norm)
        self.to_negative = -ratio.slope * triplets.slopes(b, norm)
        top[0].data[...] = ratio.loss.sum() / self.z
        if len(top) == 2:
            top[1].data[...] = ratio.d_plus

    def backward(self, top, propagate_down, bottom):
        if not self.shape[0]:
            return
        scale = float(top[0].diff) / self.z
        anchor, positive, negative = self.rows(bottom)
        triplets.triplet_gradient(anchor, positive, negative, scale * self.to_positive, scale * self.to_negative,
                                  self.wanted_diffs(propagate_down, bottom))


@reported
class L2Distance(_OfRows):
    """The distance of each row of one blob from the same row of another.

        a = ||x1 - x2||,  da/dx1 = (x1 - x2)/a, and 0 where a = 0;  da/dx2 = -da/dx1

    param_str:
        norm: "l2" (default) or "squared_l2": a = ||x1 - x2||^2, da/dx1 = 2 (x1 - x2).

    bottom[0], bottom[1]: N x C; further axes belong to the row. top[0]: N distances. Let a layer take them: Caffe
    prints N lines of a top that none takes.
    Errors: ValueError for a number that is NaN or Inf, and bottoms of other shapes.
    """

    KEYS = {"norm": param_str.choice("l2", triplets.NORMS)}
    bottom_names = ("bottom[0] (x1)", "bottom[1] (x2)")

    def setup(self, bottom, top):
        check_blobs(bottom, top, (2,), (1,))
        self.norm = param_str.parse(self.param_str, self.KEYS)["norm"]

    def reshape(self, bottom, top):
        if self.check_shapes(bottom):
            _reshape(top[0], self.shape[0])

    def forward(self, bottom, top):
        if self.shape[0]:
            x1, x2 = self.rows(bottom)
            self.distances = triplets.distances(x1, x2, self.norm, self.bottom_names)
            top[0].data[...] = self.distances

    def backward(self, top, propagate_down, bottom):
        if self.shape[0]:
            x1, x2 = self.rows(bottom)
            triplets.distance_gradient(x1, x2, top[0].diff * triplets.slopes(self.distances, self.norm),
                                       *self.wanted_diffs(propagate_down, bottom))


@reported
class TripletSelect(caffe.Layer):
    """Triplets from a batch of labelled embeddings: two samples of a class, one of another.

        all        every triplet
        hardest    for each anchor its farthest positive and its nearest negative
        semi_hard  for each anchor and positive the nearest of the negatives that are farther than the positive; no
                   triplet where no negative is
        random     for each anchor a positive and a negative, drawn at random

    Begin with semi_hard: a net that has learned nothing yet, hardest draws to a point, and the loss stays at 0.25
    (0.693 with form "log"); examples/triplets compares them. Distances are those of the embeddings; of samples equally
    far the first is taken. The gradient of a sample is the sum over the triplets that use it.

    param_str:
        strategy: one of the four; required.
        seed: int from 0, default 0, of the random numbers for "random" and max_triplets.
            Every forward draws more of them, in TEST too. A net that is made anew begins again at the seed, so also
            one that resumes from a snapshot.
        max_triplets: int from 1; of more, so many are taken at random. Default: all are taken. T triplets take 6 T C
            floats in the tops; "all" has about B^3 / L of a batch of B samples of L classes: 179,000 for 128 of 10.
        ignore_label: int; its samples are in no triplet and get gradient 0; default: none.

    bottom[0]: embeddings, B x C; further axes are kept. bottom[1]: labels, one for each, any whole numbers. top[0],
    [1], [2]: anchors, positives and negatives, T x C each, sorted by anchor; T changes from batch to batch. Let a
    layer take all three. top[3], optional: T, a scalar, as a line in the log.
    A batch without a triplet (one class only, no class twice, no sample) gives T = 1 with anchor and positive at 0 and
    the negative at distance 1000: in any loss of the ratio or with a margin, native ones too, that is loss 0 and
    gradient 0. top[3] is 0 then, and a warning on standard error counts such batches, at 1, 10, 100 and so on.
    Errors: ValueError for a label that is no whole number, an embedding that is NaN or Inf, more triplets than a blob
    holds, and a gradient with respect to the labels.
    Source: hardest: Hermans, Beyer and Leibe, In defense of the triplet loss, 2017, arXiv 1703.07737; semi_hard:
    Schroff, Kalenichenko and Philbin, FaceNet, 2015, arXiv 1503.03832.
    """

    KEYS = {
        "strategy": param_str.choice(param_str.REQUIRED, mining.STRATEGIES),
        "seed": param_str.integer(0, 0),
        "max_triplets": param_str.integer(None, 1),
        "ignore_label": param_str.integer(None),
    }
    bottom_names = ("bottom[0] (embedding)", "bottom[1] (labels)")

    def setup(self, bottom, top):
        check_blobs(bottom, top, (2,), (3, 4))
        self.params = param_str.parse(self.param_str, self.KEYS)
        self.random = np.random.RandomState(self.params["seed"])
        self.shapes = None
        self.batches = self.without = 0

    def reshape(self, bottom, top):
        shapes = [tuple(bottom[0].shape), tuple(bottom[1].shape)]
        if shapes == self.shapes:
            return
        embedding, labels = shapes
        self.shape = _rows(embedding, self.bottom_names[0])
        if np.prod(labels, dtype=np.int64) != self.shape[0]:
            raise ValueError("%s: expected one label for each of the %d samples, got %s"
                             % (self.bottom_names[1], self.shape[0], shape_text(labels)))
        if self.shapes is None or embedding[1:] != self.shapes[0][1:]:
            for i in range(3):
                top[i].reshape(1, *embedding[1:])  # until forward counts the triplets
        if len(top) == 4:
            top[3].reshape()
        self.shapes = shapes

    def forward(self, bottom, top):
        self.triplets = self._select(bottom)
        n = len(self.triplets.anchor)
        for i in range(3):
            # The layers after this one take on its shape: Caffe has each reshape before its forward.
            top[i].reshape(max(1, n), *self.shapes[0][1:])
            top[i].data[...] = bottom[0].data[self.triplets[i]] if n else 0
        if len(top) == 4:
            top[3].data[...] = n
        self.batches += 1
        if not n:
            top[2].data.reshape(-1)[0] = FAR
            self.without += 1
            if self.without == 10 ** (len(str(self.without)) - 1):
                warn(self, "no triplet in %d of %d batches: expected two samples of one class and one of another in "
                     "a batch; loss and gradient are 0 without" % (self.without, self.batches))

    def _select(self, bottom):
        n, width = self.shape
        if not n:  # Caffe gives an empty blob no memory, and ends if it is looked at
            return mining.Triplets(*np.zeros((3, 0), np.intp))
        x = bottom[0].data.reshape(self.shape)
        check_finite(x, self.bottom_names[0])
        labels, valid = mining.read_labels(bottom[1].data.reshape(-1), self.params["ignore_label"],
                                           self.bottom_names[1])
        return mining.select(x, labels, self.params["strategy"], valid, self.random, self.params["max_triplets"],
                             MAX_COUNT // width)

    def backward(self, top, propagate_down, bottom):
        refuse_gradient(propagate_down, self.bottom_names)
        if propagate_down[0] and self.shape[0]:
            n = len(self.triplets.anchor)
            gradients = [top[i].diff.reshape(-1, self.shape[1])[:n] for i in range(3)]
            mining.scatter(self.triplets, gradients, bottom[0].diff.reshape(self.shape))


def _reshape(top, n):
    """Give a top n numbers, and memory for at least one: Caffe looks at every top that no layer takes."""
    top.reshape(max(1, n))
    top.reshape(n)


def _rows(shape, name):
    """Return the number of rows of a blob, and of numbers in each."""
    width = int(np.prod(shape[1:], dtype=np.int64))
    if not shape or not width:
        raise ValueError("%s: expected N x C, a row of numbers for each sample, got shape %s"
                         % (name, shape_text(shape)))
    return shape[0], width
