"""Which decision is best for each method of a report: its figures, a sentence, and the command that builds it."""
from __future__ import division, print_function

import collections

import numpy as np

from caffe_losses.compat import to_str, to_unicode
from caffe_losses.evaluation import comparison, rules
from caffe_losses.evaluation.intervals import PERCENT, Interval
from caffe_losses.evaluation.tally import DECISIONS, PROBABLE
from caffe_tools import cli
from caffe_tools.training_weights import from_here

BY_BOOTSTRAP = ("%d %% confidence intervals by the bootstrap over the test samples; differences are paired by sample, "
                "and each comparison is taken by itself" % PERCENT)


def trial_of(trial, weights):
    """Return what a report states of the decisions of a run. trial: of write_tally. weights: TrainingWeights.of."""
    no_weights = trial.pop("no_weights")
    return dict(trial, class_weights=dict(weights, weights=None, missing=no_weights) if no_weights else weights)


def decisions_of(results, costs):
    """Return a dict for each method that was evaluated.

    name. seeds: int. rules, scores, differences, rivals: as of rules.Trial, over the seeds where there are several.
    intervals: str, what they are of. best: the key of the best rule, or None. notes: list of str. sentence, command:
    str.

    results: the runs of a report. costs: list of str, the options that name the costs; empty: there are none.
    """
    by_name, metric = collections.OrderedDict(), rules.deciding_metric(bool(costs))
    for run in results:
        if run["decisions"]:
            by_name.setdefault(run["name"], []).append(run)
    return [_decision_of(name, runs, metric, costs) for name, runs in by_name.items()]


def _decision_of(name, runs, metric, costs):
    trials = [run["decisions"] for run in runs]
    found = trials[0] if len(runs) == 1 else rules.over_seeds(trials, metric)
    best = rules.best_rule(found, metric)
    notes = list(collections.OrderedDict.fromkeys(note for trial in trials for note in _notes(trial)))
    if _rule(best).calibrated:
        notes.append(u"the temperature in the command is fitted on all test data%s" % (
            u", of the first run" * (len(runs) > 1)))
    return {"name": name, "seeds": len(runs), "rules": found["rules"], "scores": found["scores"],
            "differences": found["differences"], "rivals": found["rivals"],
            "intervals": BY_BOOTSTRAP if len(runs) == 1 else comparison.INTERVALS, "best": best, "notes": notes,
            "sentence": to_unicode("%s: %s" % (name, _sentence(found, best, metric))),
            "command": to_unicode(command_of(runs, best, costs))}


def _rule(best):
    return next(rule for rule in rules.RULES if rule.key == (best or PROBABLE))


def _notes(trial):
    """Yield what the decisions of a run are made with, and what is missing."""
    weights = trial["class_weights"]
    if weights["missing"]:
        yield u"without class weights: %s; --class-weights FILE gives some" % to_unicode(weights["missing"])
    elif weights["counts"]:
        yield u"class weights: balanced, by %s" % to_unicode(weights["source"])
        absent = np.flatnonzero(np.array(weights["counts"]) == 0).tolist()
        if absent:
            yield u"class weights never decide for class %s, of which there is no training label" % (
                u", ".join(map(str, absent)))
    if trial["not_calibrated"]:
        yield u"not calibrated: %s" % to_unicode(trial["not_calibrated"])
    elif trial["fitted"] > 1:
        yield u"temperatures fitted on 1 of %d test samples" % trial["fitted"]
    if trial["n_pixels"] < trial["of_pixels"]:
        yield u"of each image %d of %d pixels, drawn at random" % (trial["n_pixels"], trial["of_pixels"])


def _sentence(found, best, metric):
    """Return which rule is best, and by how much."""
    title = "mean recall" if metric.key == "balanced" else metric.title
    others = [key for key in found["rules"] if not key.startswith("calibrated") and key != PROBABLE]
    if best is not None:
        difference = Interval(**found["differences"][best][metric.key])
        sizes = [metric.form % abs(size) for size in (difference.mean, difference.low, difference.high)]
        low, high = sizes[1:] if difference.mean > 0 else sizes[:0:-1]
        return "the best decision is by %s: %s %s, which is %s (%s to %s) %s than by the %s%s" % (
            rules.TITLES[best], title, metric.form % found["scores"][best][metric.key]["mean"], sizes[0], low, high,
            "less" if difference.mean < 0 else "more", DECISIONS[PROBABLE], _as_good(found, best, metric))
    if not others:
        return "without costs and class weights the %s is the only decision" % DECISIONS[PROBABLE]
    worse = any(comparison.verdict_of(Interval(**found["differences"][key][metric.key]), metric.smaller)
                == comparison.WORSE for key in found["differences"])
    return "no decision %s the %s by more than noise (%s %s)" % (
        "is better than" if worse else "differs from", DECISIONS[PROBABLE], title,
        metric.form % found["scores"][PROBABLE][metric.key]["mean"])


def _as_good(found, best, metric):
    """Return in words which rule has a better mean than the best one, but by no more than noise, or nothing."""
    means = {key: found["scores"][key][metric.key]["mean"] for key in found["rules"]}
    first = (min if metric.smaller else max)(found["rules"], key=means.get)
    if means[first] == means[best] or comparison.verdict_of(
            Interval(**found["rivals"][best][first]), metric.smaller) != comparison.NOISE:
        return ""
    return "; that by %s (%s) is better by no more than noise" % (rules.TITLES[first], metric.form % means[first])


def command_of(runs, key, costs):
    """Return the line for a shell that builds a decision into the net of a method, of its first run.

    key: of the rule to decide by; None: PROBABLE. costs: list of str, the options that name the costs.
    """
    run, trial = runs[0], runs[0]["decisions"]
    rule = _rule(key)
    words = [trial["net"] or "train_val.prototxt", "--weights", from_here(run["snapshot"])]
    words += ["--loss", trial["loss"]] * bool(trial["loss"])
    words += trial["class_weights"]["options"] * rule.weights + costs * rule.costs
    words += ["--temperature", "%.4g" % trial["temperature"]] * rule.calibrated + ["-o", "decision.prototxt"]
    return cli.command_line("make_deploy.py", *map(to_str, words))
