"""The rule of what is more than noise."""
from __future__ import division, print_function

import pytest

from caffe_losses.evaluation.comparison import BETTER, NOISE, WORSE, Metric, compare, verdict_of
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
    ([.3], [.1], NOISE, NOISE),  # one seed says nothing
])
def test_verdicts(before, after, of_cost, of_recall):
    assert compare(COST, before, after)[1] == of_cost
    assert compare(RECALL, before, after)[1] == of_recall


def test_the_interval_is_that_of_the_paired_difference():
    difference, _ = compare(COST, [1, 5, 9], [2, 7, 12])
    assert (difference.mean, difference.n) == (2, 3)
    assert difference.high - 2 == pytest.approx(5.73011, abs=1e-5)


def test_an_interval_that_touches_0_is_noise():
    assert verdict_of(Interval(1, 0, 2, 5), True) == NOISE
    assert verdict_of(Interval(-1, -2, -1e-9, 5), True) == BETTER
