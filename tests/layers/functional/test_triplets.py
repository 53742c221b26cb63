"""Distances and the triplet loss, against hand-computed values and slow loops."""
from __future__ import division, print_function

import warnings
from math import exp, log

import numpy as np
import pytest

import loops
from counts import examples
from caffe_losses.functional import triplets

# D+, D- -> the paper's loss, the log form's
VALUES = [(0, 0, .25, log(2)), (3, 3, .25, log(2)), (0, 1, .072329, .313262), (1, 0, .534447, 1.313262),
          (0, 2, .014209, log(1 + exp(-2))), (0, 5, 4.479e-5, .006715), (1e18, 0, 1, 1e18), (0, 1e18, 0, 0)]


def rows(*shape, **options):
    return (np.random.RandomState(options.get("seed", 0)).randn(*shape) * options.get("scale", 1)).astype(np.float32)


@pytest.mark.parametrize("a, b, mse, softplus", VALUES)
def test_values(a, b, mse, softplus):
    for form, expected in (("mse", mse), ("log", softplus)):
        ratio = triplets.softmax_ratio(np.array([float(a)]), np.array([float(b)]), form)
        assert ratio.loss[0] == pytest.approx(expected, rel=1e-4)
        assert np.isfinite(ratio.slope).all()


def test_derivative_is_largest_at_two_thirds():
    u = np.linspace(-5, 5, 100001)
    ratio = triplets.softmax_ratio(u, 0 * u)
    assert ratio.slope.max() == pytest.approx(8 / 27, rel=1e-9)
    assert ratio.d_plus[ratio.slope.argmax()] == pytest.approx(2 / 3, abs=1e-4)
    at = triplets.softmax_ratio(np.array([log(2)]), np.zeros(1))  # d+ = 2/3 is a - b = log 2
    assert at.slope[0] == pytest.approx(8 / 27, rel=1e-12)


def test_the_hardest_triplets_keep_their_gradient_in_the_log_form():
    far = np.array([40.])
    assert triplets.softmax_ratio(far, 0 * far, "mse").slope[0] < 1e-15
    assert triplets.softmax_ratio(far, 0 * far, "log").slope[0] == pytest.approx(1)


@pytest.mark.parametrize("form", triplets.FORMS)
def test_slope_is_the_derivative(form):
    u, step = np.linspace(-30, 30, 121), 1e-5
    ends = [triplets.softmax_ratio(u + sign * step, 0 * u, form).loss for sign in (1, -1)]
    np.testing.assert_allclose(triplets.softmax_ratio(u, 0 * u, form).slope, (ends[0] - ends[1]) / (2 * step),
                               rtol=1e-5, atol=1e-9)


def loss_and_gradient(x, norm="l2", form="mse"):
    """Sum of the losses and the three gradients, as the layer puts them together."""
    a, b = triplets.distances(x[0], x[1], norm), triplets.distances(x[0], x[2], norm)
    ratio = triplets.softmax_ratio(a, b, form)
    outs = [np.full_like(part, 7) for part in x]
    triplets.triplet_gradient(x[0], x[1], x[2], ratio.slope * triplets.slopes(a, norm),
                              -ratio.slope * triplets.slopes(b, norm), outs)
    return ratio.loss.sum(), outs


@pytest.mark.parametrize("form", triplets.FORMS)
@pytest.mark.parametrize("norm", triplets.NORMS)
@pytest.mark.parametrize("n, width", [(1, 1), (7, 5), (300, 200)])  # the last in several blocks
def test_loss_and_gradient_are_those_of_the_loop(n, width, norm, form):
    x = rows(3, n, width, scale=width ** -.5)
    loss, gradients = loss_and_gradient(x, norm, form)
    expected, expected_gradients = loops.triplet_batch(*x, norm=norm, form=form)
    assert loss == pytest.approx(expected, rel=1e-10)
    for gradient, of_loop in zip(gradients, expected_gradients):
        np.testing.assert_allclose(gradient, of_loop, atol=1e-6)


EXTREMES = {"anchor is positive": (0, 0, 1), "anchor is negative": (0, 1, 0), "all the same": (1, 1, 1),
            "1e-30 apart": (0, 1e-30, 2e-30), "1e18 apart": (0, 1e18, -1e18), "near and far": (1e18, 1e-30, 0),
            "as near as it gets": (0, 1e-45, -1e-45), "as far as it gets": (3e38, -3e38, 0)}


@pytest.mark.parametrize("form", triplets.FORMS)
@pytest.mark.parametrize("norm", triplets.NORMS)
@pytest.mark.parametrize("case", sorted(EXTREMES))
def test_extremes(case, norm, form):
    if case == "as far as it gets" and norm == "squared_l2":
        return  # its gradient, 12e38, is more than a float32 holds
    x = np.array(EXTREMES[case], np.float32)[:, None, None] * np.ones((3, 1, 64), np.float32)
    loss, gradients = loss_and_gradient(x, norm, form)
    expected, expected_gradients = loops.triplet_batch(*x, norm=norm, form=form)
    assert np.isfinite(loss) and loss == pytest.approx(expected, rel=1e-6)
    for gradient, of_loop in zip(gradients, expected_gradients):
        np.testing.assert_allclose(gradient, of_loop, rtol=1e-6, atol=1e-45)
        assert np.isfinite(gradient).all()


def test_outs_that_nobody_asks_for_are_left_alone():
    x, outs = rows(3, 4, 2), [None, np.zeros((4, 2), np.float32), None]
    triplets.triplet_gradient(x[0], x[1], x[2], np.ones(4), np.ones(4), outs)
    np.testing.assert_allclose(outs[1], x[1] - x[0], rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", [0, 1])
def test_a_number_that_is_not_finite_is_named(value, which):
    x = rows(2, 5, 3)
    x[which, 4, 1] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        message = r"^x%d at \(4, 1\): expected a finite number, got %g$" % (which + 1, value)
        with pytest.raises(ValueError, match=message):
            triplets.distances(*x)
