"""Decide from the probabilities of a net, by several rules, and score that."""
from __future__ import division, print_function

from caffe_losses.evaluation import metrics
from caffe_losses.evaluation.decisions import temperature_scaled
from caffe_losses.evaluation.rules import RULES
import numpy as np

# Temperatures among which the best is looked for; a net can be too sure by far, hardly too unsure.
TEMPERATURES = np.exp(np.linspace(np.log(.25), np.log(16), 241))


def temperature(p, labels):
    """Return the T for which p^(1/T), made to sum to 1, has the least negative log likelihood.

    p: N x C probabilities of a net on images that it was not trained on. labels: N integers.
    Source: Guo et al. 2017, On calibration of modern neural networks, arXiv 1706.04599.
    """
    p = finite(p)
    return float(min(TEMPERATURES, key=lambda T: -np.log(scaled(p, T)[np.arange(len(p)), labels]).mean()))


def scaled(p, T):
    """Return probabilities p as they are at temperature T: softmax(log p / T)."""
    return temperature_scaled(np.log(np.maximum(p, 1e-30)), T)


def scores(p, labels, D, rule=RULES[0], weights=None, T=None):
    """Return the metrics of one net under one of RULES: {metric: number}.

    p: N x C probabilities. labels: N integers. D: C x C costs of the mistakes, by which all decisions are judged.
    weights: C class weights, of rules that use them: they multiply the probabilities, which then are made to sum to 1.
    T: the temperature, of rules that use it.
    """
    p = finite(p)
    if rule.calibrated:
        p = scaled(p, T)
    if rule.weights:
        p = p * np.asarray(weights)
        p /= p.sum(axis=1, keepdims=True)
    ranking = metrics.rank_by_expected_cost(p, D) if rule.costs else metrics.rank_by_probability(p)
    decided, farthest_in_a_group = ranking[:, 0], D[D < D.max()].max()
    return {
        "accuracy": metrics.accuracy(labels, decided),
        "cost": metrics.mean_cost(labels, decided, D),
        "across": metrics.count_costlier(labels, decided, D, farthest_in_a_group),
        "severity": metrics.severity(labels, decided, D),
        "top3": metrics.mean_cost_of_top(3, labels, ranking, D),
        "top5": metrics.mean_cost_of_top(5, labels, ranking, D),
        "calibration": metrics.calibration_error(labels, decided, p),
    }


def finite(p):
    """Return probabilities p, all equal where some are NaN: those of a net that diverged."""
    return np.where(np.isfinite(p).all(axis=1, keepdims=True), p, 1 / p.shape[1])
