"""Sums over batches against the metrics of all samples at once."""
from __future__ import division, print_function

import numpy as np
import pytest

from caffe_losses.evaluation import metrics
from caffe_losses.evaluation.tally import CHEAPEST, PROBABLE, Tally, metric_list


def samples(n=300, n_classes=6, seed=0):
    rng = np.random.RandomState(seed)
    p = rng.dirichlet(np.full(n_classes, .5), n)
    return p, rng.randint(n_classes - 1, size=n), rng.rand(n_classes, n_classes) * (1 - np.eye(n_classes))


@pytest.mark.parametrize("batch", [1, 7, 300])
def test_batches_give_what_all_samples_give(batch):
    p, labels, D = samples()
    tally = Tally(6, D, top=3)
    for start in range(0, len(p), batch):
        tally.add(p[start:start + batch], labels[start:start + batch])
    assert tally.n_samples() == 300
    for decision, ranking in ((PROBABLE, metrics.rank_by_probability(p)),
                              (CHEAPEST, metrics.rank_by_expected_cost(p, D))):
        decided = ranking[:, 0]
        expected = {
            "accuracy": metrics.accuracy(labels, decided), "balanced": metrics.balanced_accuracy(labels, decided, 6),
            "cost": metrics.mean_cost(labels, decided, D), "severity": metrics.severity(labels, decided, D),
            "top_cost": metrics.mean_cost_of_top(3, labels, ranking, D),
            "calibration": metrics.calibration_error(labels, decided, p),
            "expected_cost": np.mean([sum(p[i, j] * D[j, decided[i]] for j in range(6)) for i in range(300)]),
            "mean_iu": np.mean([mean_iu(labels, decided, k) for k in range(5)])}
        assert tally.scores(decision) == pytest.approx(expected)
        for k in range(6):
            for j in range(6):
                assert tally.confusion(decision)[k, j] == sum((labels == k) & (decided == j))


def mean_iu(labels, decided, k):
    return sum((labels == k) & (decided == k)) / sum((labels == k) | (decided == k))


def test_types_and_pixels_do_not_matter():
    p, labels, D = samples()
    p, D = np.float16(p / 2).astype(np.float64), np.float16(D)
    p[:, 0] += 1 - p.sum(axis=1)
    expected = Tally(6, D.astype(np.float64), top=3)
    expected.add(p, labels)
    tally = Tally(6, D, top=3)
    tally.add(p.reshape(10, 30, 6).swapaxes(1, 2), np.uint8(labels).reshape(10, 1, 30))
    for decision in tally.decisions:
        assert tally.scores(decision) == pytest.approx(expected.scores(decision), rel=1e-12)
    assert Tally(2, [[False, True], [True, False]]).D.tolist() == [[0, 1], [1, 0]]


def test_without_costs():
    p, labels, _ = samples()
    tally = Tally(6)
    tally.add(p, labels)
    assert tally.decisions == [PROBABLE] and set(tally.scores(PROBABLE)) == {
        "accuracy", "balanced", "mean_iu", "calibration"}


def test_no_mistake_has_no_severity():
    tally = Tally(2, 1 - np.eye(2), top=9)
    tally.add(np.eye(2), [0, 1])
    assert np.isnan(tally.scores(PROBABLE)["severity"]) and tally.scores(PROBABLE)["cost"] == 0
    assert tally.top == 2


def test_every_metric_has_a_score():
    p, labels, D = samples()
    tally = Tally(6, D)
    tally.add(p, labels)
    listed = metric_list(tally.top, spatial=True)
    assert {metric.key for metric in listed} == set(tally.scores(CHEAPEST))
    assert [metric.key for metric in metric_list(3)] == [metric.key for metric in listed if metric.key != "mean_iu"]
    assert [metric.key for metric in metric_list(3, costs=False)] == ["accuracy", "balanced", "calibration"]


def test_errors():
    with pytest.raises(ValueError, match="D: expected costs of 3 classes, as the net has, got 2"):
        Tally(3, np.zeros((2, 2)))
    with pytest.raises(ValueError, match="expected samples whose label is not ignored, got none"):
        Tally(3).scores(PROBABLE)
    with pytest.raises(ValueError, match="probabilities"):
        Tally(2).add(np.full((1, 2), np.nan), [0])
