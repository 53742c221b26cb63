"""What the study asks: two ways to get decisions compared in every cell, metric by metric."""
from __future__ import division, print_function

import collections

from caffe_losses.intervals import mean_interval
import numpy as np

from tables import Metric

LEVEL = .99  # of the intervals: there are many comparisons

ACCURACY = Metric("accuracy", "top-1", "%.4f", False)
COST = Metric("cost", "mean cost", "%.4f", True)
ACROSS = Metric("across", "across groups", "%.0f", True)
SEVERITY = Metric("severity", "severity", "%.3f", True)
TOP3 = Metric("top3", "top-3 cost", "%.3f", True)
ECE = Metric("calibration", "ECE", "%.3f", True)
METRICS = [ACCURACY, COST, ACROSS, SEVERITY, TOP3, ECE]

# data: whose cells are compared. before, after: (method, rule) each.
Claim = collections.namedtuple("Claim", "name data question before after")

NONE = ("none", "probable")
BALANCED = [
    Claim("tree", "balanced", "Does H from the distances help? Against SoftmaxWithLoss.", NONE, ("tree", "probable")),
    Claim("tree_smoothing", "balanced", "Is it the distances, or is any softer target as good? H against label smoothing.",
          ("smoothing", "probable"), ("tree", "probable")),
    Claim("tree_shuffled", "balanced", "Is it these distances? H against an H whose classes are shuffled.",
          ("shuffled", "probable"), ("tree", "probable")),
    Claim("smoothing", "balanced", "Does label smoothing help? Against SoftmaxWithLoss.", NONE, ("smoothing", "probable")),
    Claim("cheapest", "balanced", "Is it enough to decide for the least expected cost at test time? SoftmaxWithLoss "
          "with and without.", NONE, ("none", "cheapest")),
    Claim("calibrated_cheapest", "balanced", "The same with probabilities that were calibrated first, by one temperature.",
          NONE, ("none", "calibrated_cheapest")),
    Claim("tree_cheapest", "balanced", "H in training against D at test time, calibrated.",
          ("none", "calibrated_cheapest"), ("tree", "probable")),
]
TAIL = [
    Claim("weights", "tail", "Do class weights help? Against SoftmaxWithLoss.", NONE, ("weights", "probable")),
    Claim("weighted", "tail", "Is it enough to multiply the probabilities by the class weights at test time? "
          "SoftmaxWithLoss with and without.", NONE, ("none", "weighted")),
    Claim("calibrated_weighted", "tail", "The same with calibrated probabilities.", NONE, ("none", "calibrated_weighted")),
    Claim("weights_weighted", "tail", "Class weights in training against class weights at test time, calibrated.",
          ("none", "calibrated_weighted"), ("weights", "probable")),
    Claim("tail_tree", "tail", "Do distances help on a long tail, without class weights? Against SoftmaxWithLoss.", NONE,
          ("tree", "probable")),
    Claim("tail_tree_smoothing", "tail", "Distances against label smoothing.", ("smoothing", "probable"),
          ("tree", "probable")),
    Claim("both", "tail", "What do distances add to class weights? Both against class weights.", ("weights", "probable"),
          ("both", "probable")),
    Claim("both_shuffled", "tail", "Both against class weights with shuffled distances.", ("both_shuffled", "probable"),
          ("both", "probable")),
    Claim("both_weighted_cheapest", "tail", "Both in training against both at test time, calibrated.",
          ("none", "calibrated_weighted_cheapest"), ("both", "probable")),
]

BETTER, WORSE, NOISE = "better", "worse", "within the noise"


def difference(cell, claim, metric):
    """The Interval of after - before in one cell of results.json, paired by seed, and its verdict."""
    before, after = [np.array(cell["scores"][method][rule][metric.key]) for method, rule in (claim.before, claim.after)]
    interval = mean_interval(after - before, LEVEL)
    if interval.low <= 0 <= interval.high:
        return interval, NOISE
    return interval, BETTER if (interval.mean < 0) == metric.smaller_is_better else WORSE


def verdicts(cells, claim, metric):
    """{verdict: in how many of the claim's cells}."""
    return collections.Counter(difference(cell, claim, metric)[1] for cell in cells if cell["data"] == claim.data)
