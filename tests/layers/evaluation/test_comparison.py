"""The rule of what is more than noise."""
from __future__ import division, print_function

import numpy as np
import pytest

from caffe_losses.evaluation.comparison import BETTER, NOISE, WORSE, Metric, compare, differences_of, verdict_of
from caffe_losses.evaluation.intervals import Interval

COST = Metric("cost", "mean cost", "%.2f", True)
RECALL = Metric("recall", "mean recall", "%.2f", False)


@pytest.mark.parametrize("before, after, of_cost, of_recall", [
    ([.30, .31, .32, .33], [.20, .22, .21, .23], BETTER, WORSE),
    ([.20, .22, .21, .23], [.30, .31, .32, .33], WORSE, BETTER),
    ([.30, .31, .32, .33], [.31, .30, .33, .32], NOISE, NOISE),
    ([0, 0, 0], [1, 2, 3], NOISE, NOISE),  # 2 +- 5.73 at 99 %
    ([0, 0, 0], [2, 2.1, 1.9], WORSE, BETTER),  # 2 +- .57
    ([.30, .31], [.30, .31], NOISE, NOISE),
    ([.3, .4, .7], [.2, .3, .6], NOISE, NOISE),  # equal differences: copies of one seed, or too few samples
    ([.3], [.1], NOISE, NOISE),  # one seed says nothing
])
def test_verdicts(before, after, of_cost, of_recall):
    assert compare(COST, before, after)[1] == of_cost
    assert compare(RECALL, before, after)[1] == of_recall


def test_the_interval_is_that_of_the_paired_difference():
    difference, _ = compare(COST, [1, 5, 9], [2, 7, 12])
    assert (difference.mean, difference.n) == (2, 3)
    assert difference.high - 2 == pytest.approx(5.73011, abs=1e-5)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float64])
def test_differences_of_numbers_of_any_type(dtype):
    assert compare(COST, np.array([1, 1, 0], dtype), np.array([0, 0, 0], dtype))[0].mean == pytest.approx(-2 / 3)


def test_an_interval_that_touches_0_is_noise():
    assert verdict_of(Interval(1, 0, 2, 5), True) == NOISE
    assert verdict_of(Interval(-1, -2, -1e-9, 5), True) == BETTER
    assert verdict_of(Interval(-1, -2, -1e-9, 5), None) == NOISE  # of a metric of which neither is better


def run(name, seed, probable, cheapest):
    return {"name": name, "seed": seed, "evaluation": {"probable": {"scores": {"cost": probable}},
                                                       "cheapest": {"scores": {"cost": cheapest}}}}


def test_differences_pair_seeds_and_decisions():
    runs = [run("a", 0, 1., .5), run("a", 1, 5., 4.), run("b", 1, 7., 6.), run("b", 0, 2., 1.), run("b", 7, 100., 0.),
            run("b", None, 50., None)]
    of_b, cheaper_a, cheaper_b = differences_of(runs)
    assert (of_b["of"], of_b["from"], of_b["seeds"]) == (["b", "probable"], ["a", "probable"], 2)
    assert (of_b["scores"]["cost"]["mean"], of_b["scores"]["cost"]["n"]) == (1.5, 2)
    assert (cheaper_a["of"], cheaper_a["from"], cheaper_a["seeds"]) == (["a", "cheapest"], ["a", "probable"], 2)
    assert cheaper_a["scores"]["cost"]["mean"] == -.75
    assert cheaper_b["seeds"] == 4 and cheaper_b["scores"]["cost"]["n"] == 3  # of one no cost was found


def test_seeds_that_are_not_unique_are_not_paired():
    runs = [run("a", 0, 1., .5), run("a", 0, 2., .5), run("a", 1, 2., 1.), run("b", 0, 1., 1.), run("b", 1, 1., 1.)]
    assert [difference["of"][0] for difference in differences_of(runs)
            if difference["of"][0] != difference["from"][0]] == []
    assert differences_of([{"name": "a", "seed": 0, "evaluation": None}]) == []
