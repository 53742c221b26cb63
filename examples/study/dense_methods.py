"""List the methods that the dense example compares: class weights for pixels, most of them background.

A median frequency is of the images that hold the class: it weighs background against garments, and small garments
against big ones, but hardly frequent against rare ones.
"""
from __future__ import division, print_function

import collections

from caffe_losses.matrices.class_weights import class_weights
from caffe_losses.matrices.costs import shuffled_costs
from caffe_losses.validation import count_labels
import numpy as np

from create_data import IGNORED
import dense_scores

# How many pixels of each class there are, and how many, of whatever class, in the images that hold it.
Pixels = collections.namedtuple("Pixels", "counts present")

# title: as tables and pictures show it. weights: a function of Pixels and a seed that gives C class weights;
# None: SoftmaxWithLoss.
Method = collections.namedtuple("Method", "name title weights")


def pixels(label_images):
    """Return the Pixels of N x height x width label images."""
    of_images = np.array([count_labels(labels, dense_scores.N_CLASSES, IGNORED) for labels in label_images])
    return Pixels(of_images.sum(axis=0), (of_images > 0).sum(axis=0) * label_images[0].size)


def median_frequency(pixels, power=1):
    """Return the class weights of the example, scaled so that the average pixel weighs 1."""
    return class_weights(pixels.counts, "median_frequency", power=power, scale="sample", present=pixels.present)


def _shuffled(pixels, seed):
    """Return the same weights, none at its own class, scaled so that the average pixel weighs 1 again."""
    weights = np.diag(shuffled_costs(np.diag(median_frequency(pixels)), seed))
    return weights / np.average(weights, weights=pixels.counts)


# Learning rates tried on validation canvases, for "none" and for "median", which stands for all that have weights.
RATES = (.05, .1, .2, .4)
METHODS = [
    Method("none", "no weights", None),
    Method("median", "median frequency", lambda pixels, seed: median_frequency(pixels)),
    Method("median_root", "median frequency, square root", lambda pixels, seed: median_frequency(pixels, power=.5)),
    Method("shuffled", "control: median frequency, shuffled", _shuffled),
]
