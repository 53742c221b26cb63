"""Confidence intervals of means over seeds, by Student's t."""
from __future__ import division, print_function

import collections
import math

import numpy as np

# Of every interval. Results are compared in many metrics, and at 95 % one of twenty would differ by chance.
LEVEL = .99
PERCENT = int(round(100 * LEVEL))

# mean: of the n finite values. low, high: ends of the interval; None with fewer than two values.
Interval = collections.namedtuple("Interval", "mean low high n")


def mean_interval(values):
    """Return the Interval that holds the true mean of independent values with a confidence of LEVEL.

        mean +- t s / sqrt(n), t the (1 + LEVEL) / 2 quantile for n - 1 degrees of freedom

    values: numbers, one for each seed; NaN and None are left out. Source: Student 1908, The probable error of a mean.
    """
    values = np.asarray([value for value in values if value is not None], np.float64)
    values = values[np.isfinite(values)]
    n = len(values)
    mean = float(values.mean()) if n else None
    if n < 2:
        return Interval(mean, None, None, n)
    half = student_quantile(n) * float(values.std(ddof=1)) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def student_quantile(n):
    """Return the (1 + LEVEL) / 2 quantile of Student's t for n values; n: int, or infinity for the normal one."""
    from scipy.special import ndtri, stdtrit  # pycaffe needs scipy, so it is there; late, as one seed does not
    return float(ndtri((1 + LEVEL) / 2) if n == np.inf else stdtrit(n - 1, (1 + LEVEL) / 2))
