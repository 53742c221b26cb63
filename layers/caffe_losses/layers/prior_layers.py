"""The layer of logit adjustment: LogPrior."""
from __future__ import division, print_function

from caffe_losses.errors import naming
from caffe_losses.formats.matrix_files import read_numbers
from caffe_losses.layers import param_str
from caffe_losses.layers.base import check_blobs, refuse_gradient, reported
from caffe_losses.layers.counting_layers import LABELS, LabelCounter
from caffe_losses.matrices import class_weights

BY_FILE = ("counts", "source")  # the keys with counts that do not change, of which there is one


@reported
class LogPrior(LabelCounter):
    """The log prior of the classes, for logit adjustment: a Bias layer adds it to the scores, in TRAIN alone.

        a_c = strength log(n_c / n),  n_c the count of class c, n their sum

    A loss that is trained on scores + a learns scores that are right for classes that are equally frequent: in TEST and
    in the deployed net they stand alone. Both layers need include { phase: TRAIN }. use_loss.py --logit-adjust writes
    them.

    param_str:
        counts: list of C numbers >= 0, in samples or as fractions of them.
        source: file with the counts instead (.npy, or text with a number a line or commas between).
        strength: float >= 0, default 1 (the paper's tau); less adjusts less, 0 not at all.
        missing: for a class with count 0: "least" (default; as if it were as frequent as the rarest that occurs) or
            "error".
        n_classes: int, C; required with labels, else as many as there are counts.
        ignore_label: int, of labels, not counted; default: none.
        running: float in (0, 1), of labels, the decay of counts kept over batches: counts = running * counts + counts
            of the batch, in the layer's blob, as ComputeH keeps them. It needs param { lr_mult: 0 decay_mult: 0 }.
            Default: each batch by itself, a bad estimate where it has few samples of a class.

    No bottoms, with counts or source; or bottom[0]: labels, any shape. top[0]: a, C; Bias adds it along axis 1 of
    scores N x C x spatial.
    Errors: ValueError for counts that are negative, not finite or all 0, for a label outside 0..C-1 and not
    ignore_label, and for a gradient with respect to the labels; IOError for a file that cannot be read.
    Source: Menon et al., Long-tail learning via logit adjustment, ICLR 2021, arXiv 2007.07314.
    """

    KEYS = {
        "counts": param_str.number_list(None),
        "source": param_str.path(None),
        "strength": param_str.number(1.0, lambda s: s >= 0, "a number of at least 0"),
        "missing": param_str.choice("least", class_weights.MISSING_PRIORS),
        "n_classes": param_str.integer(None, 1),
        "ignore_label": param_str.integer(None),
        "running": param_str.number(None, lambda r: 0 < r < 1, "a number between 0 and 1"),
    }

    def setup(self, bottom, top):
        check_blobs(bottom, top, (0, 1), (1,))
        self.params = param_str.parse(self.param_str, self.KEYS)
        self._check_keys(len(bottom))
        self.fixed = None
        if not len(bottom):
            self.fixed = self._log_prior(self._counts())
        else:
            self.start_counting()

    def _check_keys(self, n_bottoms):
        given = [key for key in BY_FILE if self.params[key] is not None]
        if len(given) + n_bottoms != 1:
            raise ValueError('expected one of the key "counts", the key "source" and a bottom with labels, got %s'
                             % (" and ".join(['"%s"' % key for key in given] + ["a bottom"] * n_bottoms) or "none"))
        for key in ("running", "ignore_label"):
            if given and self.params[key] is not None:
                raise ValueError('key "%s" in param_str: expected with a bottom of labels, got it with "%s"'
                                 % (key, given[0]))
        if n_bottoms and self.params["n_classes"] is None:
            raise ValueError('key "n_classes" is missing from param_str: expected the number of classes of the labels')

    def _counts(self):
        """Return the counts of param_str, or of the file that it names."""
        counts, source, n_classes = [self.params[key] for key in ("counts", "source", "n_classes")]
        name = "counts"
        if source is not None:
            name = source
            with naming(source, "cannot be read: "):
                counts = read_numbers(source)
        if n_classes not in (None, len(counts)):
            raise ValueError("%s: expected %d numbers, as there are %d classes, got %d"
                             % (name, n_classes, n_classes, len(counts)))
        if not any(counts):
            raise ValueError("%s: expected at least one above 0, got none" % name)
        return counts

    def _log_prior(self, counts):
        return class_weights.log_prior(counts, self.params["strength"], self.params["missing"])

    def reshape(self, bottom, top):
        top[0].reshape(self.params["n_classes"] if self.fixed is None else len(self.fixed))

    def forward(self, bottom, top):
        # Every time: a layer that works in place may have changed the blob.
        top[0].data[...] = self._log_prior(self.count(bottom[0])) if self.fixed is None else self.fixed

    def backward(self, top, propagate_down, bottom):
        refuse_gradient(propagate_down, (LABELS,), first=0)
