from __future__ import division, print_function

from math import log

import numpy as np
import pytest

from caffe_losses.matrices import summary

H = np.array([[.5, .25, .25], [0, 2, 0], [.5, .375, .125]])


def test_least_loss_is_the_least():
    least = summary.least_losses(H)
    rng = np.random.RandomState(0)
    for l, row in enumerate(H):
        best = row / row.sum()
        assert least[l] == pytest.approx(-sum(h * log(p) for h, p in zip(row, best) if h))
        for p in rng.dirichlet(np.ones(3), 200):
            assert -sum(row * np.log(p)) >= least[l] - 1e-12


def test_least_loss_of_odd_rows():
    np.testing.assert_array_equal(summary.least_losses([[0, 0, 0], [0, 0, 1e-30], [1, -1e-9, 1]]), [0, 0, -np.inf])
    assert summary.least_losses([[1e30, 1e-30], [3, 3]])[1] == pytest.approx(6 * log(2))


def test_attracted_to():
    assert summary.attracted_to(H, 0) == [1, 2]  # of equal gains the lower label first
    assert summary.attracted_to(H, 1) == []
    assert summary.attracted_to(np.array([[1, 0, 1], [0, 1, 0], [0, 0, 1]], bool), 0) == [2]
    assert summary.attracted_to(np.array([[9, 0, 7], [0, 9, 0], [0, 0, 9]], np.uint8), 0) == [2]
    assert summary.attracted_to(H, 2, 1) == [0]
    assert summary.attracted_to(np.ones((1, 1)), 0) == []


def test_summary_by_hand():
    found = summary.summarise(H)
    assert found["n_classes"] == 3 and found["row_sums"] == [1, 2] and (found["smallest"], found["largest"]) == (0, 2)
    assert not found["symmetric"] and not found["diagonal"]
    assert summary.summarise(np.diag([1, 2]))["diagonal"]
    assert summary.summarise([[1, -1], [0, 1]])["least_loss"] == [None, None, 0]


def test_compare_by_the_loop():
    rng = np.random.RandomState(0)
    A = rng.rand(6, 6).astype(np.float32)
    B = np.where(rng.rand(6, 6) < .3, rng.rand(6, 6), A)
    found = summary.compare(A, B)
    gaps = {(i, j): abs(float(A[i, j]) - B[i, j]) for i in range(6) for j in range(6)}
    assert found["different"] == sum(gap > 0 for gap in gaps.values())
    assert found["largest"] == max(gaps.values()) == gaps[tuple(found["at"])]
    in_rows = [sum(gaps[i, j] for j in range(6)) for i in range(6)]
    assert in_rows[found["row"]] == max(in_rows) == pytest.approx(found["row_difference"])


def test_symmetric_and_different_mean_to_float32_rounding():
    H = np.random.RandomState(0).rand(300, 300) + .01
    H += H.T
    noise = H * (1 + 5e-8 * np.random.RandomState(1).uniform(-1, 1, H.shape))
    for matrix in (H, noise, noise.astype(np.float32)):
        assert summary.summarise(matrix)["symmetric"]
        found = summary.compare(H, matrix)
        assert found["different"] == 0 and found["largest"] == np.abs(H - matrix).max()
        assert summary.compare(H, matrix, 0)["different"] == np.count_nonzero(H != matrix)
    noise[2, 299] *= 1 + 1e-6
    assert not summary.summarise(noise)["symmetric"]
    found = summary.compare(H, noise)
    assert found["different"] == 1 and found["at"] == [2, 299] and found["row"] == 2
    assert summary.compare(H, noise, 1e-5)["different"] == 0
    assert summary.compare(np.array([[1e-50]]), np.zeros((1, 1)))["different"] == 0  # float32 has no such number


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.float16, np.int64])
def test_matrices_of_small_numbers(dtype):
    H = (np.eye(3) * 100 + 60 * (dtype != bool)).astype(np.float64)
    small = H.astype(dtype) if dtype != np.int8 else (H - 100).astype(dtype)
    expected = small.astype(np.float64)
    assert summary.summarise(small) == summary.summarise(expected)
    assert summary.warnings_about(small) == summary.warnings_about(expected)
    assert summary.compare(small, expected)["largest"] == 0
    assert summary.compare(small, expected - 50)["largest"] == 50
