"""Rules to decide by: batches against the public functions on all samples at once, and which of them is best."""
from __future__ import division, print_function

import numpy as np
import pytest

from caffe_losses.evaluation import bootstrap, rules
from caffe_losses.evaluation.comparison import Metric
from caffe_losses.evaluation.decisions import (cross_fitted_temperature, expected_cost_scores, fit_temperature,
                                               temperature_scaled, weighted_probabilities)
from caffe_losses.evaluation.rules import IGNORED, Trial

WEIGHTS = np.array([.25, .5, 1, 4])
N_CLASSES = len(WEIGHTS)


def samples(n=240, pixels=1, ignored=0., seed=0):
    rng = np.random.RandomState(seed)
    labels = np.minimum(rng.geometric(.5, size=(n, pixels)) - 1, 3)
    x = 2 * rng.randn(n, N_CLASSES, pixels) + 2 * (np.arange(N_CLASSES)[:, None] == labels[:, None]) - np.arange(4)[:, None] / 2
    D = rng.rand(N_CLASSES, N_CLASSES) * (1 - np.eye(N_CLASSES))
    return x.astype(np.float32), np.where(rng.rand(n, pixels) < ignored, IGNORED, labels), D


def found(x, labels, D, weights=WEIGHTS, batch=50, top=2):
    trial = Trial(N_CLASSES, len(x), D, weights, top)
    for start in range(0, len(x), batch):
        trial.add(x[start:start + batch], labels[start:start + batch])
    return trial.results()


@pytest.mark.parametrize("pixels, ignored", [(1, 0), (1, .2), (6, .2)])
def test_every_rule_against_the_public_functions(pixels, ignored):
    x, labels, D = samples(pixels=pixels, ignored=ignored)
    result = found(x, labels, D)
    calibrated, temperatures = cross_fitted_temperature(x, labels, ignore_label=IGNORED)
    assert result["temperatures"] == list(temperatures)
    assert result["temperature"] == fit_temperature(x, labels, ignore_label=IGNORED)
    assert result["rules"] == [rule.key for rule in rules.RULES] and result["rules"][0] == "probable"
    sums = {}
    for prefix, p in (("", temperature_scaled(x, 1)), ("calibrated_", calibrated)):
        for key, scores in (("probable", p), ("cheapest", expected_cost_scores(p, D)),
                            ("weighted", weighted_probabilities(p, WEIGHTS)),
                            ("weighted_cheapest", expected_cost_scores(p, D, WEIGHTS))):
            ranking = np.argsort(-scores, axis=1, kind="mergesort")
            name = (prefix + key).replace("calibrated_probable", "calibrated")
            sums[name] = bootstrap.sample_sums(p, labels, ranking, D, 2, IGNORED)
            for key, interval in bootstrap.bootstrap_scores(sums[name]).items():
                assert result["scores"][name][key] == pytest.approx(dict(interval._asdict())), (name, key)
    for name in result["rules"][1:]:
        expected = bootstrap.bootstrap_differences(sums["probable"], sums[name])
        for key in expected:
            assert result["differences"][name][key] == pytest.approx(dict(expected[key]._asdict()), abs=1e-12)
    expected = bootstrap.bootstrap_differences(sums["weighted"], sums["cheapest"])["cost"]
    assert result["rivals"]["weighted"]["cheapest"] == pytest.approx(dict(expected._asdict()))


def test_many_samples_are_put_together_and_the_intervals_stay(monkeypatch):
    x, labels, D = samples(3000)
    grouped = found(x, labels, D)
    monkeypatch.setattr(rules, "MOST_ROWS", 10 ** 6)
    alone = found(x, labels, D)
    for key in ("accuracy", "balanced", "cost", "top_accuracy"):
        for rule in ("weighted", "calibrated_cheapest"):
            one, other = [result["differences"][rule][key] for result in (grouped, alone)]
            assert one["mean"] == pytest.approx(other["mean"])
            assert one["high"] - one["low"] == pytest.approx(other["high"] - other["low"], rel=.15), (key, rule)


def test_too_many_scores_are_not_calibrated(monkeypatch):
    x, labels, D = samples()
    expected = found(x, labels, D)
    monkeypatch.setattr(rules, "MOST_BYTES", 4 * 4 * 240 - 1)
    monkeypatch.setattr(rules, "MOST_PARTS", 2)
    result = found(x, labels, D)
    assert result["rules"] == ["probable", "cheapest", "weighted", "weighted_cheapest"]
    assert result["not_calibrated"].startswith("the scores of 240 test samples take more than")
    for rule in result["rules"]:
        for key in ("balanced", "cost", "calibration"):
            assert result["scores"][rule][key] == pytest.approx(expected["scores"][rule][key])


def test_a_sample_of_the_pixels(monkeypatch):
    x, labels, D = samples(40, pixels=500, ignored=.3)
    whole = found(x, labels, D, batch=7)
    monkeypatch.setattr(rules, "MOST_PIXELS", 40 * 250)
    result = found(x, labels, D, batch=7)
    assert (whole["n_pixels"], result["n_pixels"], result["of_pixels"]) == (500, 250, 500)
    assert result["temperature"] == pytest.approx(whole["temperature"], rel=.1)
    for rule in rules.RULES:
        assert result["scores"][rule.key]["balanced"]["mean"] == pytest.approx(
            whole["scores"][rule.key]["balanced"]["mean"], abs=.03)


def test_images_of_different_sizes():
    x, labels, D = samples(4, pixels=30)
    trial = Trial(N_CLASSES, 4, D, WEIGHTS)
    for i, size in enumerate((20, 10, 30, 20)):
        trial.add(x[i:i + 1, :, :size], labels[i:i + 1, :size])
    assert trial.results()["n_pixels"] == 20


def test_batches_without_a_label_that_counts():
    x, labels, D = samples(100)
    labels[:50] = IGNORED
    result = found(x, labels, D, batch=25)
    assert result["scores"]["weighted"]["cost"]["n"] == 50
    x, labels, D = samples(3, pixels=4)
    labels[::2] = IGNORED
    assert "expected one that is not ignored, got none" in found(x, labels, D)["not_calibrated"]


def test_without_costs_or_weights_and_where_nothing_can_be_fitted():
    x, labels, D = samples()
    assert found(x, labels, None)["rules"] == ["probable", "weighted", "calibrated", "calibrated_weighted"]
    assert found(x, labels, None, None)["rules"] == ["probable", "calibrated"]
    one = found(x[:1], labels[:1], D)
    assert one["rules"][-1] == "weighted_cheapest" and "expected two samples or more" in one["not_calibrated"]
    assert one["differences"]["weighted"]["cost"]["low"] is None
    assert rules.best_rule(one, rules.deciding_metric(True)) is None


def test_a_class_of_weight_0_and_a_net_that_is_sure():
    """Where it is sure of that class all that has a weight has probability 0."""
    x, labels, D = samples()
    result = found(1e6 * x, labels, D, [0, 1, 1, 1])
    assert 0 < result["scores"]["weighted"]["accuracy"]["mean"] <= np.mean(labels != 0)


def interval(mean, half):
    return {"mean": mean, "low": mean - half, "high": mean + half, "n": 9}


@pytest.mark.parametrize("scores, halves, rivals, expected", [
    ({"b": .6, "c": .61}, {"b": .05, "c": .05}, .05, "b"),  # c is better, but no more than by noise: the simpler one
    ({"b": .6, "c": .61}, {"b": .05, "c": .05}, .005, "c"),
    ({"b": .52, "c": .55}, {"b": .01, "c": .2}, .005, "b"),  # c may be noise
    ({"b": .52, "c": .4}, {"b": .05, "c": .01}, .005, None)])
def test_the_best_rule(scores, halves, rivals, expected):
    metric = Metric("balanced", "", "%g", False)
    scores = dict(scores, probable=.5)
    result = {"rules": ["probable", "b", "c"],
              "scores": {key: {"balanced": interval(mean, 0)} for key, mean in scores.items()},
              "differences": {key: {"balanced": interval(scores[key] - .5, halves[key])} for key in "bc"},
              "rivals": {key: {other: interval(scores[other] - scores[key], rivals) for other in scores if other != key}
                         for key in scores}}
    assert rules.best_rule(result, metric) == expected
    mirrored = {"rules": result["rules"], "scores": {key: {"cost": interval(-mean, 0)} for key, mean in scores.items()},
                "differences": {key: {"cost": interval(.5 - scores[key], halves[key])} for key in "bc"},
                "rivals": result["rivals"]}
    assert rules.best_rule(mirrored, Metric("cost", "", "%g", True)) == expected


def test_over_seeds():
    several = [found(*samples(seed=seed)) for seed in range(3)]
    joined = rules.over_seeds(several, rules.deciding_metric(True))
    costs = [[one["scores"][key]["cost"]["mean"] for one in several] for key in ("probable", "weighted", "cheapest")]
    assert joined["scores"]["probable"]["cost"]["mean"] == pytest.approx(np.mean(costs[0]))
    change = np.subtract(costs[1], costs[0])
    difference = joined["differences"]["weighted"]["cost"]
    assert difference["n"] == 3 and difference["mean"] == pytest.approx(change.mean())
    assert difference["high"] == pytest.approx(change.mean() + 9.92484 * change.std(ddof=1) / np.sqrt(3), abs=1e-6)
    assert joined["rivals"]["weighted"]["cheapest"]["mean"] == pytest.approx(np.subtract(costs[2], costs[1]).mean())
