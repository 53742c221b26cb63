"""Write the tables of what weights do to scenes."""
from __future__ import division, print_function

import collections

import numpy as np

import dense_scores
from caffe_losses.evaluation.comparison import Metric, compare
from caffe_losses.evaluation.intervals import PERCENT
from study_tables import Part, Table, in_words, prose, spread

WAYS = collections.OrderedDict([("probable", "most probable class"), ("prior", "weights at test time")])
DENSE_METRICS = [
    Metric("mean_iu", "mean IU", "%.4f", False), Metric("garments_iu", "of garments", "%.4f", False),
    Metric("mean_recall", "mean recall", "%.4f", False), Metric("accuracy", "pixels right", "%.4f", False),
]


def part(dense, n_seeds):
    """Return the scenes as a Part. dense: of results.json."""
    introduction = prose("""
        A label for each pixel: 1 to 3 garments on a noisy canvas, 64 x 64, {background:.0f} % of the pixels
        background, the first garment drawn ten times as often as the last; a rim of a pixel around each garment is
        ignored. A small fully convolutional net, {iterations} iterations at learning rate {rates[0]:g}, with
        weights {rates[1]:g}; {seeds} seeds, each with {n_train:,} canvases of its own; {n_test:,} canvases of test
        images. Median-frequency weights from the label images; scaled so that the average pixel weighs 1. Their
        controls: the same decision at test time, the probabilities of the net without weights times the weights
        (decision: {prior}); and the weights shuffled among the classes; square root: of the weights. In the second
        table: what changes from "no weights", with its {level} % confidence interval.""",
                         background=100 * dense["shares"][0], iterations=dense["iterations"], rates=dense["rates"],
                         seeds=n_seeds, n_train=dense["n_train"], n_test=dense["n_test"], prior=WAYS["prior"],
                         level=PERCENT)
    ways = [(method, way) for method in dense_scores.METHODS for way in WAYS
            if way == "probable" or method.name == "none"]

    def titles(method, way):
        return [method.title, WAYS[way]]
    head = ["", "decision"] + [metric.title for metric in DENSE_METRICS]
    figures = [head] + [titles(*both) + [spread(metric, _of(dense, both)[metric.key]) for metric in DENSE_METRICS]
                        for both in ways]
    changes = [head] + [titles(*both) + [_change(_of(dense, ways[0])[metric.key], _of(dense, both)[metric.key], metric)
                                         for metric in DENSE_METRICS] for both in ways[1:]]
    at_test_time, trained = ways[1:3]
    changes.append(["median frequency, against weights at test time", ""] + [
        _change(_of(dense, at_test_time)[metric.key], _of(dense, trained)[metric.key], metric)
        for metric in DENSE_METRICS])
    classes = [["", "decision"] + dense["classes"],
               ["(share of the pixels)", ""] + ["%.1f %%" % (100 * share) for share in dense["shares"]]]
    classes += [titles(*both) + ["%.2f" % iou for iou in np.mean(_of(dense, both)["ious"], axis=0)] for both in ways]
    return Part("Scenes: a label for each pixel", introduction, [
        Table("On the test canvases", figures), Table("Against no weights", changes),
        Table("IU of each class", classes)],
        ["Scenes, their labels, and what the first net of \"no weights\" and of \"median frequency\" decide for: "
         "[picture](scenes.png)."])


def _of(dense, both):
    method, way = both
    return dense["scores"][method.name][way]


def _change(before, after, metric):
    return in_words(*compare(metric, before, after), metric=metric)
