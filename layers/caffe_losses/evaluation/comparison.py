"""Methods compared over their seeds: THE rule of what is more than noise."""
from __future__ import division, print_function

import collections

import numpy as np

from caffe_losses.evaluation.intervals import PERCENT, mean_interval
from caffe_losses.evaluation.metrics import recalls_of

# title and explanation are for people. form: of a value. smaller: whether smaller is better; None: neither is.
Metric = collections.namedtuple("Metric", "key title form smaller explanation")
Metric.__new__.__defaults__ = ("",)

EQUAL = 1e-9  # width of an interval, as a share of its mean, that rounding makes
BETTER, WORSE, NOISE = "better", "worse", "within the noise"

INTERVALS = ("%d %% confidence intervals of the mean over seeds, by Student's t; differences are paired by seed, "
             "and each comparison is taken by itself" % PERCENT)


def verdict_of(difference, smaller):
    """Return BETTER or WORSE for a paired difference whose interval excludes 0, else NOISE.

    difference: Interval of after - before. smaller: whether smaller is better; None: neither is.
    Equal differences of all seeds are no evidence: the seeds are copies of one, or the test samples too few.
    """
    if smaller is None or difference.low is None or difference.low <= 0 <= difference.high:
        return NOISE
    if difference.high - difference.low <= EQUAL * abs(difference.mean):
        return NOISE
    return BETTER if (difference.mean < 0) == smaller else WORSE


def compare(metric, before, after):
    """Return the Interval of after - before, and its verdict.

    before, after: a number for each seed, of the same seeds in the same order.
    """
    difference = mean_interval(np.subtract(after, before, dtype=np.float64))
    return difference, verdict_of(difference, metric.smaller)


def evaluation_of(tally):
    """Return a Tally as a dict that JSON can hold: {decision: scores, recalls, confusion, bins}."""
    return {decision: {"scores": {key: _finite(score) for key, score in tally.scores(decision).items()},
                       "recalls": [_finite(recall) for recall in recalls_of(tally.confusion(decision))],
                       "confusion": tally.confusion(decision).tolist(), "bins": tally.bins(decision).tolist()}
            for decision in tally.decisions}


def methods_of(runs):
    """Gather the runs of each name into a method, in the order of their first runs.

    runs: dicts with name, seed and evaluation (of evaluation_of, or None).
    Returns dicts with name, seeds and evaluation: {decision: scores {key: Interval}, recalls [Interval], and summed
    over the seeds confusion and bins}, None where no run was evaluated. Intervals are dicts.
    """
    by_name = collections.OrderedDict()
    for run in runs:
        by_name.setdefault(run["name"], []).append(run)
    return [{"name": name, "seeds": [run["seed"] for run in of_method],
             "evaluation": _evaluation_of_method([run["evaluation"] for run in of_method if run["evaluation"]])}
            for name, of_method in by_name.items()]


def _evaluation_of_method(evaluations):
    if not evaluations:
        return None
    return {decision: {
        "scores": {key: _interval([of_run[decision]["scores"][key] for of_run in evaluations])
                   for key in evaluations[0][decision]["scores"]},
        "recalls": [_interval(recalls) for recalls in zip(*[of_run[decision]["recalls"] for of_run in evaluations])],
        "confusion": np.sum([of_run[decision]["confusion"] for of_run in evaluations], axis=0).tolist(),
        "bins": np.sum([of_run[decision]["bins"] for of_run in evaluations], axis=0).tolist()}
        for decision in evaluations[0]}


def differences_of(runs):
    """Pair the seeds of each other method with the first one's, and each other decision with the first one.

    Returns dicts with of and from ([name, decision] each), seeds (the number of pairs) and scores {key: Interval},
    for two pairs or more.
    """
    evaluated = [run for run in runs if run["evaluation"]]
    if not evaluated:
        return []
    names = list(collections.OrderedDict.fromkeys(run["name"] for run in evaluated))
    decisions = sorted(evaluated[0]["evaluation"], key=lambda decision: decision != "probable")
    pairs = [((name, decisions[0]), (names[0], decisions[0])) for name in names[1:]]
    pairs += [((name, decision), (name, decisions[0])) for name in names for decision in decisions[1:]]
    differences = [_difference(evaluated, of, start) for of, start in pairs]
    return [difference for difference in differences if difference["seeds"] > 1]


def _difference(runs, of, start):
    before, after = [[(run["seed"], run["evaluation"][decision]["scores"]) for run in runs if run["name"] == name]
                     for name, decision in (start, of)]
    if of[0] == start[0]:  # decisions of the same runs, whatever their seeds
        pairs = [(one[1], other[1]) for one, other in zip(before, after)]
    else:
        before, after = _unique(before), _unique(after)
        pairs = [(before[seed], after[seed]) for seed in sorted(set(before) & set(after))]
    return {"of": list(of), "from": list(start), "seeds": len(pairs),
            "scores": {key: _interval([after[key] - before[key] for before, after in pairs
                                       if before[key] is not None and after[key] is not None])
                       for key in (pairs[0][0] if pairs else ())}}


def _unique(seeds_and_scores):
    """Return {seed: scores} of the runs whose seed is known and no other run's."""
    counts = collections.Counter(seed for seed, _ in seeds_and_scores)
    return {seed: scores for seed, scores in seeds_and_scores if seed is not None and counts[seed] == 1}


def _interval(values):
    return dict(mean_interval(values)._asdict())


def _finite(number):
    return float(number) if np.isfinite(number) else None
