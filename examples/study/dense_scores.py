"""List the methods that the dense example compares, class weights for pixels, and score nets on scenes.

A median frequency is of the images that hold the class: it weighs background against garments, and small garments
against big ones, but hardly frequent against rare ones.
"""
from __future__ import division, print_function

import collections

from caffe_losses.evaluation import metrics
from caffe_losses.matrices.class_weights import class_weights
from caffe_losses.matrices.costs import shuffled_costs
from caffe_losses.validation import count_labels
import numpy as np

from create_data import BACKGROUND, IGNORED, N_GARMENT_CLASSES
import files

N_CLASSES = 1 + N_GARMENT_CLASSES
AT_ONCE = 50  # scenes: probabilities of all of them at once would fill the memory

# How many pixels of each class there are, and how many, of whatever class, in the images that hold it.
Pixels = collections.namedtuple("Pixels", "counts present")

# title: as tables and pictures show it. weights: a function of Pixels and a seed that gives C class weights;
# None: SoftmaxWithLoss.
Method = collections.namedtuple("Method", "name title weights")


def pixels(label_images):
    """Return the Pixels of N x height x width label images."""
    of_images = np.array([count_labels(labels, N_CLASSES, IGNORED) for labels in label_images])
    return Pixels(of_images.sum(axis=0), (of_images > 0).sum(axis=0) * label_images[0].size)


def median_frequency(pixels, power=1):
    """Return the class weights of the example, scaled so that the average pixel weighs 1."""
    return class_weights(pixels.counts, "median_frequency", power=power, scale="sample", present=pixels.present)


def _shuffled(pixels, seed):
    """Return the same weights, none at its own class, scaled so that the average pixel weighs 1 again."""
    weights = np.diag(shuffled_costs(np.diag(median_frequency(pixels)), seed))
    return weights / np.average(weights, weights=pixels.counts)


# Learning rates tried on validation canvases, for "none" and for "median", which stands for all that have weights.
RATES = (.025, .05, .1, .2, .4)
METHODS = [
    Method("none", "no weights", None),
    Method("median", "median frequency", lambda pixels, seed: median_frequency(pixels)),
    Method("median_root", "median frequency, square root", lambda pixels, seed: median_frequency(pixels, power=.5)),
    Method("shuffled", "control: median frequency, shuffled", _shuffled),
]


def decisions(p, weights):
    """Return the class decided for at each pixel, in two ways.

    p: N x C x height x width probabilities.
    weights: C class weights w.
    Returns {"probable": argmax_k p_k, "prior": argmax_k w_k p_k}, each N x height x width integers. The second
    does at test time what w in the loss is to do; it needs no other training.
    """
    weighted = p * np.reshape(weights, (1, -1, 1, 1))
    return collections.OrderedDict([("probable", p.argmax(axis=1)), ("prior", weighted.argmax(axis=1))])


def confusions(snapshot, images, label_images, weights):
    """Count a net's decisions at the pixels of scenes: {way to decide: C x C int64, [true, decided]}.

    snapshot: path of a .caffemodel.
    images, label_images: N x height x width, uint8; pixels whose label is 255 do not count.
    weights: C class weights, for the decision "prior".
    """
    found = collections.OrderedDict()
    for start, p in zip(range(0, len(images), AT_ONCE), files.outputs("dense", snapshot, images, AT_ONCE)):
        labels = label_images[start:start + AT_ONCE]
        counted = labels != IGNORED
        for name, decided in decisions(p, weights).items():
            confusion = metrics.confusion_matrix(labels[counted].astype(int), decided[counted], N_CLASSES)
            found[name] = found.get(name, 0) + confusion
    return found


def scores(confusion):
    """Return the metrics of a confusion matrix: {name: number}, "ious" and "recalls" a list by class.

    mean_iu: of all classes that occur. garments_iu: without the background.
    """
    ious, recalls = metrics.intersections_over_unions(confusion), metrics.recalls_of(confusion)
    return {
        "mean_iu": float(np.nanmean(ious)),
        "garments_iu": float(np.nanmean(np.delete(ious, BACKGROUND))),
        "accuracy": float(confusion.trace() / confusion.sum()),
        "mean_recall": float(np.nanmean(recalls)),
        "ious": ious.tolist(),
        "recalls": recalls.tolist(),
    }
