"""Score trained nets on the test images: how often they are right, and how bad their mistakes are."""
from __future__ import division, print_function

import collections

from caffe_losses.evaluation import metrics

import image_input


def collect(runs, images, score):
    """Return the scores of trained nets: {method: dicts and lists as score gives them, a list over seeds}.

    runs: what steps.write_nets gives. score: a function of N x 10 probabilities.
    """
    scores = collections.OrderedDict()
    for run in runs:
        of_run = score(image_input.outputs(run.net, run.snapshot, images))
        scores.setdefault(run.method.name, []).append(of_run)
    return {method: _joined(of_runs) for method, of_runs in scores.items()}


def _joined(scores):
    """Return a list of dicts as a dict of lists, at any depth."""
    if isinstance(scores[0], dict):
        return {key: _joined([of_run[key] for of_run in scores]) for key in scores[0]}
    return scores


def tree_scores(p, labels, D):
    """Return the metrics of the first experiment, under each way to decide.

    p: N x C probabilities. labels: N integers. D: C x C distances of the classes.
    Returns {decision: {metric: number}}.
    """
    return {"probable": scores_of_ranking(p, labels, D, metrics.rank_by_probability(p)),
            "cheapest": scores_of_ranking(p, labels, D, metrics.rank_by_expected_cost(p, D))}


def scores_of_ranking(p, labels, D, ranking):
    """Return the metrics of a ranking of the classes, whose first is decided for: {metric: number}."""
    decided = ranking[:, 0]
    farthest_in_a_group = D[D < D.max()].max()
    return {
        "accuracy": metrics.accuracy(labels, decided),
        "cost": metrics.mean_cost(labels, decided, D),
        "across": metrics.count_costlier(labels, decided, D, farthest_in_a_group),
        "severity": metrics.severity(labels, decided, D),
        "top3": metrics.mean_cost_of_top(3, labels, ranking, D),
        "top5": metrics.mean_cost_of_top(5, labels, ranking, D),
        "calibration": metrics.calibration_error(labels, decided, p),
    }


def tail_scores(p, labels):
    """Return the metrics of the second experiment: {metric: number}, "recalls" a list per class."""
    decided = metrics.rank_by_probability(p)[:, 0]
    n_classes = p.shape[1]
    return {
        "accuracy": metrics.accuracy(labels, decided),
        "balanced": metrics.balanced_accuracy(labels, decided, n_classes),
        "recalls": metrics.class_recalls(labels, decided, n_classes).tolist(),
    }
