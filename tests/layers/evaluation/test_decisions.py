"""Temperature, weighted and expected-cost decisions against values by hand, loops and a fine grid."""
from __future__ import division, print_function

import numpy as np
import pytest

from caffe_losses.evaluation import metrics
from caffe_losses.evaluation.decisions import (
    cross_fitted_temperature, expected_cost_scores, fit_temperature, temperature_scaled, weighted_probabilities)

D = np.array([[0, 1, 3],
              [1, 0, 3],
              [3, 3, 0]])
LOGS = np.log([[.25, .25, .5], [.7, .2, .1]])


def samples(n=400, n_classes=5, spatial=(), seed=0):
    rng = np.random.RandomState(seed)
    labels = rng.randint(n_classes, size=(n,) + spatial)
    scores = rng.randn(*((n, n_classes) + spatial))
    scores += 2 * (np.arange(n_classes).reshape((1, -1) + (1,) * len(spatial)) == labels[:, None])
    return 3 * scores, labels


def test_temperature_scaled_by_hand():
    np.testing.assert_allclose(temperature_scaled(LOGS, 1), np.exp(LOGS))
    # Half the temperature squares: 1 1 4 of 6, and 49 4 1 of 54.
    np.testing.assert_allclose(temperature_scaled(LOGS, .5) * [[6], [54]], [[1, 1, 4], [49, 4, 1]])
    np.testing.assert_allclose(temperature_scaled(LOGS.T, .5, axis=0).T * [[6], [54]], [[1, 1, 4], [49, 4, 1]])


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_pixels_are_taken_along_any_axis(axis):
    scores, labels = samples(20, 4, (3, 2))
    weights, costs = [1, 2, 0, 4], 1 - np.eye(4)
    rows, moved = np.moveaxis(scores, 1, -1).reshape(-1, 4), np.moveaxis(scores, 1, axis)
    p = temperature_scaled(rows, 2)

    def check(found, expected):
        np.testing.assert_allclose(np.moveaxis(found, axis, -1).reshape(-1, 4), expected)
    check(temperature_scaled(moved, 2, axis), p)
    check(weighted_probabilities(temperature_scaled(moved, 2, axis), weights, axis), p * weights)
    check(expected_cost_scores(temperature_scaled(moved, 2, axis), costs, weights, axis), -(p * weights).dot(costs))
    assert fit_temperature(moved, labels, axis) == pytest.approx(fit_temperature(rows, labels.ravel()))
    assert fit_temperature(moved, labels[:, None], axis) == pytest.approx(fit_temperature(rows, labels.ravel()))


def test_scores_of_any_size_and_masked_classes():
    huge = [[1e308, -1e308, 0], [-np.inf, 1, 1]]
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_array_equal(temperature_scaled(huge, 1e-3), [[1, 0, 0], [0, .5, .5]])
        np.testing.assert_array_equal(temperature_scaled(np.float32([[1e4, 0]]), 1e-300), [[1, 0]])


def mean_loss(scores, labels, T):
    total = 0
    for x, label in zip(scores, labels):
        e = [np.exp((score - max(x)) / T) for score in x]
        total -= (x[label] - max(x)) / T - np.log(sum(e))
    return total / len(labels)


@pytest.mark.parametrize("scale", [.2, 1, 30])
def test_fitted_temperature_is_the_best_of_a_grid(scale):
    scores, labels = samples(60)
    scores *= scale
    fitted = fit_temperature(scores, labels)
    grid = fitted * np.exp(np.linspace(-1, 1, 401))  # steps of .5 %
    losses = [mean_loss(scores, labels, T) for T in grid]
    assert abs(np.log(grid[np.argmin(losses)] / fitted)) < .01
    assert mean_loss(scores, labels, fitted) <= min(losses) + 1e-9


def test_fitted_temperature_by_hand():
    # Right in 3 of 4, by scores of 0 and 1: p = 3 / 4 where exp(1 / T) = 3.
    scores, labels = [[1, 0]] * 4, [0, 0, 0, 1]
    expected = pytest.approx(1 / np.log(3), rel=1e-4)
    assert fit_temperature(scores, labels) == expected
    assert fit_temperature(np.array(scores, np.uint8), np.array(labels, bool)) == expected
    assert fit_temperature(scores + [[9, 0]], labels + [255], ignore_label=255) == expected
    assert fit_temperature([row + [-np.inf] for row in scores], labels) == expected  # a masked class


@pytest.mark.parametrize("scores, labels, expected", [
    ([[2, 1], [-1, 5]], [0, 1], 1e-4),  # all right
    ([[2, 1], [-1, 5]], [1, 0], 1e4),  # all wrong
    ([[1, 0], [1, 0]], [0, 1], 1e4),  # nothing to do with the labels
    ([[3, 3], [0, 0]], [0, 0], 1)])  # nothing to change
def test_temperature_at_its_bounds(scores, labels, expected):
    assert fit_temperature(scores, labels) == expected


def test_cross_fitted_halves_by_hand():
    scores, labels = samples(41)
    p, temperatures = cross_fitted_temperature(scores, labels)
    order = sorted(range(41), key=lambda i: labels[i])
    for half, other, T in ((order[::2], order[1::2], temperatures[0]), (order[1::2], order[::2], temperatures[1])):
        assert T == fit_temperature(scores[other], labels[other])
        np.testing.assert_array_equal(p[half], temperature_scaled(scores[half], T))
        for k in range(5):
            assert abs(sum(labels[half] == k) - sum(labels[other] == k)) <= 1
    again, _ = cross_fitted_temperature(scores.T, list(labels), axis=0)
    np.testing.assert_array_equal(again.T, p)


def test_cross_fitting_keeps_images_whole_and_calibrates():
    scores, labels = samples(10, 4, (20, 20))
    labels[0, :5] = 255
    p, (first, second) = cross_fitted_temperature(scores, labels[:, None], ignore_label=255)
    assert second == fit_temperature(scores[::2], labels[::2], ignore_label=255)
    np.testing.assert_array_equal(p[::2], temperature_scaled(scores[::2], first))
    decided, valid = p.argmax(axis=1), labels != 255
    rows = [np.moveaxis(q, 1, -1)[valid] for q in (p, temperature_scaled(scores, 1))]
    after, before = [metrics.calibration_error(labels[valid], decided[valid], q) for q in rows]
    assert after < .03 < before


def test_weighted_and_expected_costs_by_hand():
    p, weights = [[.5, .3, .2]], [1, 2, 0]
    np.testing.assert_allclose(weighted_probabilities(p, weights), [[.5, .6, 0]])
    np.testing.assert_allclose(expected_cost_scores(p, D), [[-.9, -1.1, -2.4]])
    np.testing.assert_allclose(expected_cost_scores(p, D, weights), [[-.6, -.5, -3.3]])
    np.testing.assert_array_equal(metrics.rank_by_expected_cost(np.multiply(p, weights), D), [[1, 0, 2]])


def test_weights_are_a_bias_of_their_logarithm():
    scores, _ = samples()
    weights = np.array([.1, 1, 2, 5, 9])
    np.testing.assert_array_equal(weighted_probabilities(temperature_scaled(scores, 2), weights).argmax(axis=1),
                                  (scores / 2 + np.log(weights)).argmax(axis=1))


P = [[.5, .5]]


@pytest.mark.parametrize("call, message", [
    (lambda: temperature_scaled([1, 2], 1), r"scores: expected N x C \(x spatial\), got shape \(2,\)"),
    (lambda: temperature_scaled(np.zeros((0, 2)), 1), "scores: expected N x C"),
    (lambda: temperature_scaled([[1, np.nan]], 1), r"scores at .*\(0, 1\): expected a finite number .* got nan"),
    (lambda: temperature_scaled([[-np.inf, -np.inf]], 1), r"scores at .*\(0, 0\): .* got -inf"),
    (lambda: temperature_scaled([["a", "b"]], 1), "scores: expected numbers"),
    (lambda: temperature_scaled(P, 0), "temperature: expected a number above 0, got 0"),
    (lambda: temperature_scaled(P, -1), "temperature: .* got -1"),
    (lambda: temperature_scaled(P, np.nan), "temperature: .* got nan"),
    (lambda: temperature_scaled(P, np.inf), "temperature: .* got inf"),
    (lambda: temperature_scaled(P, [1, 2]), "temperature: expected a number above 0"),
    (lambda: temperature_scaled(P, None), "temperature: expected numbers"),
    (lambda: fit_temperature(P, [2]), r"labels: .*0\.\.1, got 2"),
    (lambda: fit_temperature(P, [np.nan]), r"labels: .* got nan"),
    (lambda: fit_temperature(P, [0, 1]), "labels: expected 1 samples, got 2"),
    (lambda: fit_temperature(P, [255], ignore_label=255), "labels: expected one that is not ignored, got none"),
    (lambda: fit_temperature([[0, -np.inf]], [1]), "scores: expected a finite score of every label.* class 1"),
    (lambda: cross_fitted_temperature(P, [0]), "scores: expected two samples or more, got 1"),
    (lambda: cross_fitted_temperature(P * 3, [0, 1]), "labels: expected 3 samples, got 2"),
    (lambda: cross_fitted_temperature(P * 2, [0, 9], ignore_label=9), "labels: expected one that is not ignored"),
    (lambda: weighted_probabilities(P, [1, 2, 3]), "class weights: expected 2 numbers, got 3"),
    (lambda: weighted_probabilities(P, [1, -2]), "class weights: .* got -2 for class 1"),
    (lambda: weighted_probabilities(P, [1, np.nan]), "class weights: .* got nan for class 1"),
    (lambda: weighted_probabilities(P, [0, 0]), "class weights: expected at least one above 0"),
    (lambda: weighted_probabilities([[np.inf, 1]], [1, 1]), r"probabilities at \(0, 0\): .* got inf"),
    (lambda: weighted_probabilities([[0, 0]], [1, 1]), r"probabilities at \(0, 0\): .*above 0"),
    (lambda: expected_cost_scores(P, D), "D: expected 2 x 2, got 3 x 3"),
    (lambda: expected_cost_scores(P, np.eye(2)), "D at .*0 on the diagonal"),
    (lambda: expected_cost_scores(P, 1 - np.eye(2), [0, 0]), "class weights: "),
])
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
