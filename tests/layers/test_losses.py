"""The mathematics of the losses, without Caffe."""
from __future__ import division, print_function

from math import log

import numpy as np
import pytest

import loops
from caffe_losses import losses

H2 = np.array([[.8, .2], [0, 3]], np.float32)


def loss_and_gradient(scores, labels, H, axis=1, ignore_label=None, normalization="VALID"):
    axis %= scores.ndim
    shape = (int(np.prod(scores.shape[:axis])), scores.shape[axis], int(np.prod(scores.shape[axis + 1:])))
    read = losses.read_labels(labels, shape, ignore_label)
    z = losses.normalizer(normalization, read)
    total, p = losses.softmax_with_infogain(scores.reshape(shape), read, H)
    gradient = losses.softmax_with_infogain_gradient(p, read, H, 1 / z)
    return total / z, gradient.reshape(scores.shape)


def test_by_hand():
    # p = (3/4, 1/4) and (1/2, 1/2)
    scores = np.array([[log(3), 0], [7, 7]], np.float32)
    loss, gradient = loss_and_gradient(scores, np.array([0., 1.]), H2)
    first = -.8 * log(.75) - .2 * log(.25)
    second = -3 * log(.5)
    assert loss == pytest.approx((first + second) / 2, rel=1e-6)
    np.testing.assert_allclose(gradient, np.array([[.75 - .8, .25 - .2], [1.5, 1.5 - 3]]) / 2, atol=1e-7)


def random_case(seed, shape, axis=1, ignore=False):
    rng = np.random.RandomState(seed)
    scores = (rng.randn(*shape) * 4).astype(np.float32)
    labels = rng.randint(0, shape[axis], [n for a, n in enumerate(shape) if a != axis % len(shape)])
    if ignore:
        labels = np.where(rng.rand(*labels.shape) < .3, 255, labels)
    return scores, labels.astype(np.float32), rng.rand(shape[axis], shape[axis]).astype(np.float32)


@pytest.mark.parametrize("normalization", losses.NORMALIZATIONS)
@pytest.mark.parametrize("ignore", [False, True])
@pytest.mark.parametrize("shape, axis", [
    ((64, 10), 1), ((64, 10), -1), ((10, 12), 0), ((4, 2, 5, 2), 2), ((3, 4, 6, 2), 1), ((2, 3, 4, 2, 5), -2)])
def test_the_loop(shape, axis, ignore, normalization):
    scores, labels, H = random_case(1, shape, axis, ignore)
    options = dict(axis=axis, ignore_label=255 if ignore else None, normalization=normalization)
    loss, gradient = loss_and_gradient(scores, labels, H, **options)
    expected, expected_gradient = loops.softmax_with_infogain(scores, labels, H, **options)
    assert loss == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-6 * np.abs(expected_gradient).max())


def test_float64_central_differences():
    scores, labels, H = random_case(2, (3, 4, 2))
    scores = scores.astype(np.float64)
    _, gradient = loss_and_gradient(scores, labels, H)
    for index in np.ndindex(*scores.shape):
        step = np.zeros_like(scores)
        step[index] = 1e-5
        up, down = (loss_and_gradient(scores + sign * step, labels, H)[0] for sign in (1, -1))
        assert gradient[index] == pytest.approx((up - down) / 2e-5, abs=1e-8)


@pytest.mark.parametrize("scale", [1e4, 1e30])
def test_extreme_scores(scale):
    scores = np.array([[scale, -scale, 0], [-scale, scale, 0]], np.float32)
    labels, H = np.array([0, 0]), np.array([[1, .5, .25]] * 3, np.float32)
    loss, gradient = loss_and_gradient(scores, labels, H)
    expected = (.5 * 2 * scale + .25 * scale + 1 * 2 * scale + .25 * scale) / 2
    assert loss == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(gradient, [[.375, -.25, -.125], [-.5, .625, -.125]], rtol=1e-6)


def test_masked_class():
    scores = np.array([[1, -np.inf, 2]], np.float32)
    H = np.array([[1, 0, .5]] * 3, np.float32)
    loss, gradient = loss_and_gradient(scores, np.array([0]), H)
    expected, expected_gradient = loss_and_gradient(scores[:, ::2], np.array([0]),
                                                    np.ascontiguousarray(H[::2, ::2]))
    assert loss == pytest.approx(expected)
    np.testing.assert_allclose(gradient[:, ::2], expected_gradient)
    assert gradient[0, 1] == 0
    H[:, 1] = 1  # and where the masked class has a gain, the loss is truly infinite
    loss, gradient = loss_and_gradient(scores, np.array([0]), H)
    assert loss == np.inf and np.isfinite(gradient).all()


@pytest.mark.parametrize("bad, got", [(np.nan, "nan"), (np.inf, "inf")])
def test_bad_score_is_named(bad, got):
    scores, labels, H = random_case(3, (2, 3, 4))
    scores[1, 2, 3] = bad
    with pytest.raises(ValueError, match=r"score at .* = \(1, 2, 3\): expected a finite number.* got " + got):
        loss_and_gradient(scores, labels, H)


def test_all_classes_masked():
    scores = np.full((2, 3), -np.inf, np.float32)
    with pytest.raises(ValueError, match="not for all classes"):
        loss_and_gradient(scores, np.zeros(2), np.eye(3, dtype=np.float32))


def test_all_ignored():
    scores, labels, H = random_case(4, (5, 3))
    loss, gradient = loss_and_gradient(scores, labels * 0 - 1, H, ignore_label=-1)
    assert loss == 0 and not gradient.any()


def test_the_sum_is_float64():
    # 2e7 positions' worth of float32 rounding would show; here 2e5 equal losses
    scores = np.zeros((200000, 2), np.float32)
    loss, _ = loss_and_gradient(scores, np.zeros(200000), np.eye(2, dtype=np.float32))
    assert loss == pytest.approx(log(2), rel=1e-7)
