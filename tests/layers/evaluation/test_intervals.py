from __future__ import division, print_function

import math

import numpy as np
import pytest

from caffe_losses.evaluation.intervals import Interval, mean_interval, paired_difference, t_quantile


# Source: Abramowitz and Stegun, table 26.10.
@pytest.mark.parametrize("freedom, probability, expected", [
    (1, .975, 12.706), (2, .975, 4.303), (3, .975, 3.182), (4, .975, 2.776), (9, .975, 2.262), (30, .975, 2.042),
    (120, .975, 1.980), (1, .95, 6.314), (5, .95, 2.015), (10, .995, 3.169), (100000, .975, 1.960)])
def test_quantiles_are_those_of_the_table(freedom, probability, expected):
    assert t_quantile(probability, freedom) == pytest.approx(expected, abs=6e-4)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 12])
def test_quantiles_against_the_integrated_density(freedom):
    t = np.linspace(0, t_quantile(.9, freedom), 20001)
    scale = math.gamma((freedom + 1) / 2) / math.gamma(freedom / 2) / math.sqrt(freedom * math.pi)
    density = scale * (1 + t ** 2 / freedom) ** (-(freedom + 1) / 2)
    assert .5 + (density[1:] + density[:-1]).sum() / 2 * t[1] == pytest.approx(.9, abs=1e-7)


def test_by_hand():
    # mean 2, s = 1, s / sqrt(3) = .57735, t = 4.30265
    mean, low, high, n = mean_interval([1, 2, 3])
    assert (mean, n) == (2, 3) and high - mean == pytest.approx(mean - low) == pytest.approx(2.48414, abs=1e-5)


def test_few_values():
    assert mean_interval([]) == Interval(None, None, None, 0) == mean_interval([None, float("nan")])
    assert mean_interval([4, None]) == Interval(4, None, None, 1)


def test_paired_differences():
    found = paired_difference({0: 1., 1: 5., 2: 9.}, {2: 10., 0: 2., 7: 100.})
    assert found == Interval(1, 1, 1, 2)
    assert paired_difference({0: 1.}, {1: 2.}).n == 0
    assert paired_difference({0: None, 1: 1.}, {0: 2., 1: 2.}).n == 1


def test_coverage():
    """About 95 of 100 intervals hold the true mean."""
    rng = np.random.RandomState(0)
    held = [interval.low < 3 < interval.high
            for interval in (mean_interval(rng.normal(3, 2, 5)) for _ in range(2000))]
    assert .935 < np.mean(held) < .965
