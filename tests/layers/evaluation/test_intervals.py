"""Confidence intervals against tables, by hand and by simulation."""
from __future__ import division, print_function

import numpy as np
import pytest

from caffe_losses.evaluation.intervals import Interval, mean_interval, student_quantile


# t at 99 %, two-sided. Source: Abramowitz and Stegun, table 26.10.
@pytest.mark.parametrize("n, t", [(2, 63.657), (3, 9.925), (4, 5.841), (5, 4.604), (10, 3.250), (31, 2.750)])
def test_quantiles_are_those_of_the_table(n, t):
    values = np.arange(n)
    interval = mean_interval(values)
    assert (interval.high - interval.mean) / (values.std(ddof=1) / n ** .5) == pytest.approx(t, abs=6e-4)


def test_quantile_of_many_values_is_the_normal_one():
    assert student_quantile(10 ** 7) == pytest.approx(student_quantile(np.inf)) == pytest.approx(2.575829, abs=1e-6)


def test_interval_by_hand():
    # mean 2, s = 1, s / sqrt(3) = .57735, t = 9.92484
    mean, low, high, n = mean_interval([1, 2, 3])
    assert (mean, n) == (2, 3) and high - mean == pytest.approx(mean - low) == pytest.approx(5.73011, abs=1e-5)


def test_few_values():
    assert mean_interval([]) == Interval(None, None, None, 0) == mean_interval([None, float("nan")])
    assert mean_interval([4, None]) == Interval(4, None, None, 1)


def test_coverage():
    """About 99 of 100 intervals hold the true mean."""
    rng = np.random.RandomState(0)
    held = [interval.low < 3 < interval.high
            for interval in (mean_interval(rng.normal(3, 2, 5)) for _ in range(2000))]
    assert .982 < np.mean(held) < .998
