from __future__ import division, print_function

from math import exp

import numpy as np
import pytest

from caffe_losses.matrices import gains

D = np.array([[0, 1, 3], [1, 0, 3], [3, 2, 0]])


def test_tau_by_hand():
    H = gains.gain_from_costs(D, tau=.75)
    total = 1 + exp(-4 / 3) + exp(-4)
    np.testing.assert_allclose(H[0], [1 / total, exp(-4 / 3) / total, exp(-4) / total], rtol=1e-14)
    np.testing.assert_allclose(H.sum(axis=1), 1, rtol=1e-14)


def test_beta_by_hand():
    H = gains.gain_from_costs(D, beta=2)
    total = exp(-2) + exp(-4 / 3) + 1
    np.testing.assert_allclose(H[2], [exp(-2) / total, exp(-4 / 3) / total, 1 / total], rtol=1e-14)


def test_linear_by_hand():
    np.testing.assert_allclose(gains.gain_from_costs(D, linear=True),
                               [[.6, .4, 0], [.4, .6, 0], [0, .25, .75]], rtol=1e-14)


def test_the_loop():
    for l in range(3):
        for tau in (.1, 1, 10):
            row = [exp(-D[l, k] / tau) for k in range(3)]
            np.testing.assert_allclose(gains.gain_from_costs(D, tau=tau)[l], np.array(row) / sum(row))


def test_limits():
    np.testing.assert_array_equal(gains.gain_from_costs(D, tau=1e-300), np.eye(3))
    np.testing.assert_array_equal(gains.gain_from_costs(D, beta=0), np.full((3, 3), 1 / 3))
    np.testing.assert_allclose(gains.gain_from_costs(D * 1e300, beta=1), gains.gain_from_costs(D, beta=1))


@pytest.mark.parametrize("options", [
    {}, {"tau": 1, "beta": 1}, {"tau": 1, "linear": True}, {"beta": 1, "linear": True}, {"tau": 0}, {"tau": -1}, {"tau": np.nan}, {"beta": -1}, {"beta": np.inf}])
def test_bad_options(options):
    with pytest.raises(ValueError, match="expected"):
        gains.gain_from_costs(D, **options)


@pytest.mark.parametrize("bad, message", [
    (np.eye(3), r"D at \(0, 0\): expected a cost matrix, with 0 on the diagonal, got 1"),
    (np.zeros((3, 3)), "at least one positive cost"),
    (D - 1, r"at \(0, 0\): expected a cost of at least 0, got -1"),
    (np.where(D == 2, np.nan, D), r"at \(2, 1\): expected a finite number, got nan"),
    (D[:2], "expected a square matrix, got shape 2 x 3"),
    (np.zeros((0, 0)), "expected a square matrix"),
    ([["a"]], "expected numbers"),
])
def test_bad_costs(bad, message):
    with pytest.raises(ValueError, match=message):
        gains.gain_from_costs(bad, tau=1)


@pytest.mark.parametrize("bad, message", [
    (-np.eye(3), "positive entry, got none"),
    (np.zeros((3, 3)), "positive entry, got none"),
    ([[1, np.inf], [0, 1]], r"at \(0, 1\): expected a finite number, got inf"),
    (np.zeros(4), "expected a square matrix, got shape 4"),
    (D, "H: expected a gain, got what looks like distances .* make_h.py --distances"),
    ([[0, 1e-9], [0, 0]], "expected a gain, got what looks like distances"),
])
def test_bad_gains(bad, message):
    with pytest.raises(ValueError, match=message):
        gains.check_gain(bad)


def test_negative_entries_are_told():
    assert gains.negative_entries(np.eye(2)) is None
    assert "1 negative entries, the smallest -0.5" in gains.negative_entries(
        np.array([[1, -.5], [0, 1]]))


def test_smoothing_by_hand():
    np.testing.assert_allclose(gains.smoothed_identity(4, .1), np.eye(4) * .9 + .025)
    for bad in (-.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="smoothing: expected"):
            gains.smoothed_identity(4, bad)


def test_weighted_gain():
    np.testing.assert_array_equal(gains.weighted_gain([2, 3]), [[2, 0], [0, 3]])
    np.testing.assert_array_equal(gains.weighted_gain([2, 3], [[1, 10], [10, 1]]), [[2, 20], [30, 3]])
    with pytest.raises(ValueError, match="expected 3 x 3, as there are 3 weights, got 2 x 2"):
        gains.weighted_gain([1, 2, 3], np.eye(2))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_distances_whose_zeros_are_rounded(dtype):
    E = np.random.RandomState(0).randn(40, 30).astype(dtype)
    E[1] = E[0]
    E /= np.sqrt((E ** 2).sum(axis=1, keepdims=True))
    rounded = 1 - E.dot(E.T)
    assert rounded.diagonal().any() and (rounded < 0).any()
    exact = np.maximum(rounded, 0)
    np.fill_diagonal(exact, 0)
    np.testing.assert_array_equal(gains.check_cost(rounded), exact)
    with pytest.raises(ValueError, match="expected a gain, got what looks like distances"):
        gains.check_gain(rounded)
    gains.check_gain(np.eye(2) * 1e-5 + 1)  # small, but more than rounding leaves


def test_what_is_more_than_rounding():
    for at, message in (((0, 0), "expected a cost matrix"), ((0, 1), "expected a cost of at least 0, got -1e-05")):
        bad = D.astype(np.float64)
        bad[at] = -1e-5 if at[1] else 1e-5
        with pytest.raises(ValueError, match=message):
            gains.check_cost(bad)
