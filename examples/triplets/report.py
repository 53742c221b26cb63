"""Write the results as tables in markdown, and in sentences that follow from the figures."""
from __future__ import division, print_function

import collections

import numpy as np

from caffe_losses.evaluation.comparison import BETTER, NOISE, WORSE, Metric, compare

METRICS = [Metric("neighbours", "5 nearest", "%.4f", False), Metric("centroid", "nearest centroid", "%.4f", False)]
HEAD = [""] + [metric.title for metric in METRICS]


def as_markdown(results):
    """Return RESULTS.md."""
    scores = results["scores"]
    rows = [HEAD + ["trunk; loss; learning rate; iterations"],
            ["pixels"] + [metric.form % scores["pixels"][metric.key][0] for metric in METRICS] + [""]]
    rows += [[title] + [_cell(metric, scores[name][metric.key]) for metric in METRICS] + [setting]
             for name, title, setting in results["methods"]]
    tried = [HEAD] + [[title] + [metric.form % of_setting[metric.key][0] for metric in METRICS]
                      for title, of_setting in results["tried"]]
    return u"\n".join(
        ["# Fashion-MNIST: embeddings trained on triplets", "", "![The results](results.png)", "",
         "## Neighbours in the embedding", "",
         "%d training images; an embedding of 64 dimensions; %d seeds; mean and standard deviation over the seeds, on "
         "%d test images. 5 nearest: the share of test images that have the label of most of their 5 nearest training "
         "images (of several labels that of the nearest); nearest centroid: that of the class whose mean is nearest. "
         "The settings were chosen on a part of the training images (below). In the picture: the first %d test images, "
         "in the plane that linear discriminant analysis of the training images finds."
         % (results["n_train"], results["seeds"], results["n_test"], len(results["shown"])),
         "", "**The test images**", ""] + _table(rows) + [""] + ["- " + finding for finding in findings(results)]
        + ["", "## What was tried", "",
           "All settings that were tried, trained with one seed on 50000 of the training images and scored on the "
           "other 10000, neighbours and centroids from the 50000. hardest, semi_hard, all and random are "
           "TripletSelect's strategies, on batches of 128; mse and log the forms of TripletSoftmaxLoss; softmax a "
           "classifier.",
           "", "**The validation part**", ""] + _table(tried) + ["", ""])


def findings(results):
    """Yield what the test images show, in sentences."""
    scores = results["scores"]
    pixels = {key: values * results["seeds"] for key, values in scores["pixels"].items()}
    for name, title, _ in results["methods"]:
        yield "%s against the pixels. %s" % (title, comparison(METRICS, pixels, scores[name]))
    first = results["methods"][0]
    for name, title, _ in results["methods"][1:]:
        yield "%s against %s. %s" % (first[1], title, comparison(METRICS, scores[name], scores[first[0]]))


def comparison(metrics, before, after):
    """Compare paired runs in several Metrics and say it in a sentence: both means, how many of how many got better.

    before, after: {key of a Metric: a number for each seed}, of the same seeds in the same order.
    """
    figures = collections.defaultdict(list)
    for metric in metrics:
        pair = before[metric.key], after[metric.key]
        gain = np.subtract(*pair) if metric.smaller else np.subtract(*pair[::-1])
        figures[compare(metric, *pair)[1]].append("%s %s -> %s (%d/%d)" % (
            metric.title, metric.form % np.mean(pair[0]), metric.form % np.mean(pair[1]),
            np.count_nonzero(gain > 0), len(gain)))
    return "; ".join("%s: %s" % (verdict.upper(), ", ".join(figures[verdict]))
                     for verdict in (BETTER, NOISE, WORSE) if figures[verdict]) + "."


def _cell(metric, values):
    spread = metric.form % np.std(values, ddof=1)
    return u"%s \u00b1%s" % (metric.form % np.mean(values), spread[spread.startswith("0."):])


def _table(rows):
    return ["| %s |" % " | ".join(row) for row in [rows[0], ["---"] + ["---:"] * (len(rows[0]) - 1)] + rows[1:]]
