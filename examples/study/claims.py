"""List the claims of the study, each of two ways to decide, and compare them in a cell, metric by metric."""
from __future__ import division, print_function

import collections

import numpy as np

from caffe_losses.evaluation.comparison import Metric, compare

ACCURACY = Metric("accuracy", "top-1", "%.4f", False)
COST = Metric("cost", "mean cost", "%.4f", True)
ACROSS = Metric("across", "across groups", "%.0f", True)
SEVERITY = Metric("severity", "severity", "%.3f", True)
TOP3 = Metric("top3", "top-3 cost", "%.3f", True)
ECE = Metric("calibration", "ECE", "%.3f", True)
METRICS = [ACCURACY, COST, ACROSS, SEVERITY, TOP3, ECE]

# data: whose cells are compared. before, after: (method, rule) each.
Claim = collections.namedtuple("Claim", "data title before after")

NONE, CHEAPEST, CALIBRATED_CHEAPEST, WEIGHTED, CALIBRATED_WEIGHTED, WEIGHTED_CHEAPEST, CALIBRATED_BOTH = [
    ("none", rule) for rule in ("probable", "cheapest", "calibrated_cheapest", "weighted", "calibrated_weighted",
                                "weighted_cheapest", "calibrated_weighted_cheapest")]
TREE, SMOOTHING, SHUFFLED, WEIGHTS, ADJUSTED, BOTH, BOTH_SHUFFLED = [
    (method, "probable")
    for method in ("tree", "smoothing", "shuffled", "weights", "adjusted", "both", "both_shuffled")]
BALANCED = [
    Claim("balanced", "H from distances, against SoftmaxWithLoss", NONE, TREE),
    Claim("balanced", "H from distances, against label smoothing", SMOOTHING, TREE),
    Claim("balanced", "H from distances, against H from shuffled distances", SHUFFLED, TREE),
    Claim("balanced", "label smoothing, against SoftmaxWithLoss", NONE, SMOOTHING),
    Claim("balanced", "distances at test time, against SoftmaxWithLoss", NONE, CHEAPEST),
    Claim("balanced", "distances at test time, calibrated, against SoftmaxWithLoss", NONE, CALIBRATED_CHEAPEST),
    Claim("balanced", "H from distances, against distances at test time", CHEAPEST, TREE),
    Claim("balanced", "H from distances, against distances at test time, calibrated", CALIBRATED_CHEAPEST, TREE),
]
TAIL = [
    Claim("tail", "class weights, against SoftmaxWithLoss", NONE, WEIGHTS),
    Claim("tail", "class weights at test time, against SoftmaxWithLoss", NONE, WEIGHTED),
    Claim("tail", "class weights at test time, calibrated, against SoftmaxWithLoss", NONE, CALIBRATED_WEIGHTED),
    Claim("tail", "class weights, against class weights at test time", WEIGHTED, WEIGHTS),
    Claim("tail", "class weights, against class weights at test time, calibrated", CALIBRATED_WEIGHTED, WEIGHTS),
    Claim("tail", "logit adjustment, against SoftmaxWithLoss", NONE, ADJUSTED),
    Claim("tail", "logit adjustment, against class weights", WEIGHTS, ADJUSTED),
    Claim("tail", "logit adjustment, against class weights at test time", WEIGHTED, ADJUSTED),
    Claim("tail", "distances at test time, against SoftmaxWithLoss", NONE, CHEAPEST),
    Claim("tail", "class weights and distances at test time, against SoftmaxWithLoss", NONE, WEIGHTED_CHEAPEST),
    Claim("tail", "class weights and distances at test time, against class weights at test time", WEIGHTED,
          WEIGHTED_CHEAPEST),
    Claim("tail", "distances without class weights, against SoftmaxWithLoss", NONE, TREE),
    Claim("tail", "distances without class weights, against label smoothing", SMOOTHING, TREE),
    Claim("tail", "distances without class weights, against shuffled distances", SHUFFLED, TREE),
    Claim("tail", "class weights and distances, against class weights", WEIGHTS, BOTH),
    Claim("tail", "class weights and distances, against class weights and shuffled distances", BOTH_SHUFFLED, BOTH),
    Claim("tail", "class weights and distances, against both at test time", WEIGHTED_CHEAPEST, BOTH),
    Claim("tail", "class weights and distances, against both at test time, calibrated", CALIBRATED_BOTH, BOTH),
]


def difference(cell, claim, metric):
    """Return the Interval of after - before in one cell of results.json, paired by seed, and its verdict."""
    return compare(metric, *[cell["scores"][method][rule][metric.key]
                             for method, rule in (claim.before, claim.after)])


def change(cell, claim, metric):
    """Return the change of the mean over the seeds, in % of the mean before."""
    method, rule = claim.before
    return 100 * difference(cell, claim, metric)[0].mean / np.mean(cell["scores"][method][rule][metric.key])
