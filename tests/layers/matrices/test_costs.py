from __future__ import division, print_function

from math import sqrt

import numpy as np
import pytest

from caffe_losses.matrices import gains
from caffe_losses.matrices.costs import METRICS, costs_from_confusion, costs_from_embeddings

CONFUSION = [[8, 2, 0], [1, 9, 0], [0, 5, 5]]


def test_confusion_by_hand():
    # P = [[.8 .2 0] [.1 .9 0] [0 .5 .5]]
    D = costs_from_confusion(CONFUSION)
    np.testing.assert_allclose(
        D, [[0, 1 - .3 / 1.7, 1], [1 - .3 / 1.7, 0, 1 - .5 / 1.4], [1, 1 - .5 / 1.4, 0]], rtol=1e-14)
    gains.check_cost(D)
    # how many samples a class has changes nothing
    np.testing.assert_allclose(costs_from_confusion(np.array(CONFUSION) * [[1], [100], [.25]]), D, rtol=1e-14)


def test_confusion_of_classes_never_right():
    D = costs_from_confusion([[0, 1, 0], [1, 0, 0], [0, 0, 1]])
    np.testing.assert_array_equal(D, [[0, 0, 1], [0, 0, 1], [1, 1, 0]])
    D = costs_from_confusion([[0, 0, 1], [0, 0, 1], [0, 0, 1]])  # 0 and 1 never, and never confused
    np.testing.assert_array_equal(D, [[0, 1, 0], [1, 0, 0], [0, 0, 0]])


def test_confusion_by_the_loop():
    counts = np.random.RandomState(0).randint(0, 9, (6, 6)) + np.eye(6)
    D = costs_from_confusion(counts)
    for l in range(6):
        for k in range(6):
            p_lk, p_kl = counts[l, k] / sum(counts[l]), counts[k, l] / sum(counts[k])
            p_ll, p_kk = counts[l, l] / sum(counts[l]), counts[k, k] / sum(counts[k])
            expected = 0 if l == k else max(0, 1 - (p_lk + p_kl) / (p_ll + p_kk))
            assert D[l, k] == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("bad, message", [
    ([[1, -1], [0, 1]], r"confusion at \(0, 1\): expected a number of samples, got -1"),
    ([[1, 0], [0, 0]], "expected samples of every true class .* got none of class 1"),
    ([[1, np.inf], [0, 1]], r"confusion at \(0, 1\): expected a finite number, got inf"),
    ([[1, 2]], "confusion: expected a square matrix, got shape 1 x 2"),
])
def test_bad_confusion(bad, message):
    with pytest.raises(ValueError, match=message):
        costs_from_confusion(bad)


def test_embeddings_by_hand():
    E = [[1, 0], [0, 2], [-3, 0], [1, 1]]
    r = 1 - sqrt(.5)
    np.testing.assert_allclose(costs_from_embeddings(E), [
        [0, 1, 2, r], [1, 0, 1, r], [2, 1, 0, 2 - r], [r, r, 2 - r, 0]], atol=1e-15)
    np.testing.assert_allclose(costs_from_embeddings(E, "euclidean"), [
        [0, sqrt(5), 4, 1], [sqrt(5), 0, sqrt(13), sqrt(2)],
        [4, sqrt(13), 0, sqrt(17)], [1, sqrt(2), sqrt(17), 0]], atol=1e-15)


@pytest.mark.parametrize("scale", [1e-200, 1, 1e200])
@pytest.mark.parametrize("metric", METRICS)
def test_embeddings_by_the_loop(metric, scale):
    E = np.random.RandomState(1).randn(7, 5)
    D = costs_from_embeddings(E * scale, metric)
    for l in range(7):
        for k in range(7):
            if metric == "cosine":
                expected = 1 - sum(E[l] * E[k]) / sqrt(sum(E[l] ** 2) * sum(E[k] ** 2))
            else:
                expected = sqrt(sum((E[l] - E[k]) ** 2)) * scale
            assert D[l, k] == pytest.approx(expected, rel=1e-12, abs=1e-14 * (1 if metric == "cosine" else scale))
    np.testing.assert_array_equal(D, D.T)
    gains.check_cost(D)


def test_embeddings_far_from_the_origin():
    E = np.array([[1e6, 1], [1e6, 2], [1e6, 4.]])
    np.testing.assert_allclose(costs_from_embeddings(E, "euclidean"), [[0, 1, 3], [1, 0, 2], [3, 2, 0]])


@pytest.mark.parametrize("bad, metric, message", [
    ([[1, 2], [0, 0]], "cosine", "expected no row of zeros with cosine, got one for class 1"),
    ([[1, 2], [np.nan, 0]], "euclidean", r"embeddings at \(1, 0\): expected a finite number, got nan"),
    ([1, 2], "cosine", "expected a row of numbers for each class, got int.* of shape 2"),
    ([["a"]], "cosine", "expected a row of numbers"),
    ([[1]], "manhattan", "metric: expected one of cosine, euclidean, got 'manhattan'"),
])
def test_bad_embeddings(bad, metric, message):
    with pytest.raises(ValueError, match=message):
        costs_from_embeddings(bad, metric)
