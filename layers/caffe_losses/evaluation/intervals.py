"""How sure a mean over seeds is: confidence intervals by Student's t."""
from __future__ import division, print_function

import collections
import math

import numpy as np

LEVEL = .95

# mean: of the n finite values. low, high: of the interval; None with fewer than two values.
Interval = collections.namedtuple("Interval", "mean low high n")


def mean_interval(values, level=LEVEL):
    """The mean of independent values, and where the true mean is with a confidence of `level`.

        mean +- t s / sqrt(n), t the (1 + level) / 2 quantile for n - 1 degrees of freedom

    values: numbers, one for each seed; those that are NaN are left out. level: float in (0, 1).
    Returns an Interval; mean, low and high are None where there is none.
    Source: Student 1908, The probable error of a mean.
    """
    values = np.asarray([value for value in values if value is not None], np.float64)
    values = values[np.isfinite(values)]
    n = len(values)
    if not n:
        return Interval(None, None, None, 0)
    mean = float(values.mean())
    if n == 1:
        return Interval(mean, None, None, 1)
    half = t_quantile((1 + level) / 2, n - 1) * float(values.std(ddof=1)) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def paired_difference(before, after, level=LEVEL):
    """The mean of after - before, pair by pair, with its interval.

    before, after: {seed: number}; the seeds that both have are paired.
    Returns an Interval.
    """
    return mean_interval([after[seed] - before[seed] for seed in sorted(set(before) & set(after))
                          if before[seed] is not None and after[seed] is not None], level)


def t_quantile(probability, freedom):
    """The quantile of Student's t distribution.

    probability: float in (0.5, 1). freedom: int, the degrees of freedom, at least 1.
    """
    low, high = 0.0, 1.0
    while _t_below(high, freedom) < probability:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_below(middle, freedom) < probability else (low, middle)
    return high


def _t_below(t, freedom):
    """The probability of a value below t, t >= 0. Source: Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = total = cosine if odd else 1.0
    if freedom == 1:
        total = 0.0
    for i in range(3 if odd else 2, freedom - 1, 2):
        term *= (i - 1) / i * cosine ** 2
        total += term
    between = 2 / math.pi * (angle + sine * total) if odd else sine * total  # of -t and t
    return (1 + between) / 2
