"""Score trained nets on canvases: the class decided for at each pixel, and how much of each class is right."""
from __future__ import division, print_function

import collections

from caffe_losses.evaluation import metrics
import numpy as np

from create_data import BACKGROUND, IGNORED, N_GARMENT_CLASSES
import nets

N_CLASSES = 1 + N_GARMENT_CLASSES
AT_ONCE = 50  # canvases: probabilities of all of them at once would fill the memory


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
    """Count a net's decisions at the pixels of canvases: {way to decide: C x C int64, [true, decided]}.

    snapshot: path of a .caffemodel.
    images, label_images: N x height x width, uint8; pixels whose label is 255 do not count.
    weights: C class weights, for the decision "prior".
    """
    found = collections.OrderedDict()
    for start, p in zip(range(0, len(images), AT_ONCE), nets.outputs("dense", snapshot, images, AT_ONCE)):
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
