"""The base of the layers that count labels, in each batch or over batches."""
from __future__ import division, print_function

import caffe
import numpy as np

from caffe_losses.layers.base import in_training, warn
from caffe_losses.validation import count_labels

LABELS = "bottom[0] (labels)"

# Too small to count anywhere, its square too.
MARK = 1e-30


class LabelCounter(caffe.Layer):
    """A layer that counts labels. Its params have n_classes, ignore_label and running, as ComputeH explains them."""

    has_warned = False  # of a missing phase, in this process

    def start_counting(self):
        """Add the blob with the counts, if they are kept over batches."""
        if self.params["running"] is not None:
            self.blobs.add_blob(self.params["n_classes"])
            self.blobs[0].data[...] = 0
            self._look_for_phase()

    def count(self, labels):
        """Return how often each class occurs in a blob of labels, or with `running` in those up to it."""
        counts = np.zeros(self.params["n_classes"])
        if labels.count:  # Caffe gives an empty blob no memory, and ends if it is looked at
            counts = count_labels(labels.data, len(counts), self.params["ignore_label"], LABELS)
        return counts if self.params["running"] is None else self._keep(counts)

    def _keep(self, counts):
        """Return the counts kept over batches, to which TRAIN adds this batch."""
        kept = self.blobs[0].data
        if self._trains():
            kept *= self.params["running"]
            kept += counts
        elif not kept.any():
            return counts  # nothing was trained yet
        return kept.astype(np.float64)

    def _look_for_phase(self):
        """Mark the gradient of the counts where Caffe gives no phase: only a solver, in TRAIN, clears it."""
        self.trains = None
        if not hasattr(self, "phase"):
            self.trains = False
            self.blobs[0].diff[...] = MARK
            if not LabelCounter.has_warned:
                LabelCounter.has_warned = True
                warn(self, "this Caffe gives a Python layer no phase: running counts are kept only where a solver is "
                     "seen to train the net, else they are those of each batch or the ones loaded")

    def _trains(self):
        """Return whether the layer is known to be in training."""
        if self.trains is None:
            return in_training(self)
        self.trains = self.trains or not self.blobs[0].diff.any()
        return self.trains
