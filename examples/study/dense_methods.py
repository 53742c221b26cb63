"""What the dense example compares: class weights for pixels, most of which are background."""
from __future__ import division, print_function

import collections

from caffe_losses.weights import count_labels
import numpy as np

import canvases
import data

COUNTED = "--labels {labels} --pixels --ignore-label %d --n-classes %d " % (canvases.IGNORED, canvases.N_CLASSES)
IGNORING = " --ignore-label %d" % canvases.IGNORED

# What tools/make_h.py is asked for, by the matrix's name. labels: the LMDB of the label images that a seed
# trains with. shuffled: what shuffled_weights gives of the matrix "median" of the seed, with commas.
# A median frequency is of the images that hold the class: it weighs background against garments, and small garments
# against big ones, but hardly frequent against rare ones. "balanced" does.
MATRICES = collections.OrderedDict([
    ("median", COUNTED + "--weights median_frequency"),
    ("median_unscaled", COUNTED + "--weights median_frequency --scale none"),
    ("median_root", COUNTED + "--weights median_frequency --power 0.5"),
    ("balanced_root", COUNTED + "--weights balanced --power 0.5"),
    ("shuffled", "--class-weights {shuffled}"),
])

# title: as tables and pictures show it. matrix: a name of MATRICES, or None.
# loss: what tools/make_net.py is asked for.
Method = collections.namedtuple("Method", "name title matrix loss")

FROM_FILE = "--loss InfogainLoss --source {H}" + IGNORING

METHODS = [
    Method("none", "no weights", None, "--loss SoftmaxWithLoss" + IGNORING),
    Method("median", "median frequency", "median", FROM_FILE),
    Method("unscaled", "median frequency, unscaled", "median_unscaled", FROM_FILE),
    Method("median_root", "median frequency, square root", "median_root", FROM_FILE),
    Method("balanced_root", "balanced, square root", "balanced_root", FROM_FILE),
    Method("shuffled", "control: weights shuffled", "shuffled", FROM_FILE),
]


def shuffled_weights(weights, label_images, seed):
    """The weights of the control: none at its own class, and scaled so that the average pixel weighs 1.

    weights: C class weights. label_images: those that are trained with, N x height x width, uint8.
    """
    shuffled = np.asarray(weights, np.float64)[data.shuffled_classes(seed, len(weights))]
    return shuffled / np.average(shuffled, weights=count_labels(label_images, len(weights), canvases.IGNORED))
