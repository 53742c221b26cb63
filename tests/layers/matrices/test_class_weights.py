from __future__ import division, print_function

import numpy as np
import pytest

from caffe_losses.matrices.class_weights import KINDS, SCALES, class_weights, log_prior
from caffe_losses.validation import count_labels

COUNTS = [90, 9, 1]


def published_h(labels, n_classes):
    """The published ComputeH, label by label: only the classes present have a weight."""
    counts = [0] * n_classes
    for label in labels:
        counts[label] += 1
    weights = [max(counts) / n if n else 0 for n in counts]
    return [w / sum(weights) for w in weights]


def test_max_over_count_by_hand():
    # 90/90, 90/9, 90/1, divided by their sum 101
    np.testing.assert_allclose(class_weights(COUNTS), [1 / 101, 10 / 101, 90 / 101], rtol=1e-15)


def test_max_over_count_is_the_published_layer():
    labels = np.random.RandomState(0).randint(0, 6, 50)
    np.testing.assert_allclose(class_weights(count_labels(labels, 7)), published_h(labels, 7), rtol=1e-14)


def test_balanced_by_hand():
    w = class_weights(COUNTS, "balanced", scale="none")
    np.testing.assert_allclose(w, [.37037, 3.7037, 33.333], rtol=1e-4)
    np.testing.assert_allclose(w, [100 / 270, 100 / 27, 100 / 3], rtol=1e-15)


@pytest.mark.parametrize("beta, expected", [
    (.9, [.2375, .3877, 2.3748]),
    (.99, [.0445, .3063, 2.6492]),
    (.999, [.0310, .2980, 2.6710]),
])
def test_effective_number_by_hand(beta, expected):
    w = class_weights(COUNTS, "effective_number", beta=beta, scale="classes")
    np.testing.assert_allclose(w, expected, atol=6e-5)
    loop = [(1 - beta) / (1 - beta ** n) for n in COUNTS]
    np.testing.assert_allclose(w, np.array(loop) * 3 / sum(loop), rtol=1e-12)


def test_effective_number_is_exact_for_beta_close_to_1():
    # 1 - beta^n loses all digits here; the limit for beta -> 1 is 1 / n
    w = class_weights([10, 1000], "effective_number", beta=1 - 1e-12, scale="none")
    np.testing.assert_allclose(w, [.1, .001], rtol=1e-8)


def test_effective_number_with_beta_0_weighs_all_the_same():
    np.testing.assert_array_equal(
        class_weights(COUNTS, "effective_number", beta=0, scale="none"), [1, 1, 1])


def test_inverse_by_hand():
    np.testing.assert_allclose(class_weights(COUNTS, "inverse", scale="none"), [1 / 90, 1 / 9, 1])


def test_median_frequency_by_hand():
    np.testing.assert_allclose(class_weights(COUNTS, "median_frequency", scale="none"), [.1, 1, 9])
    np.testing.assert_allclose(class_weights([8, 0, 2], "median_frequency", scale="none"), [.625, 0, 2.5])


def test_median_frequency_of_pixels_by_the_loop():
    images = [np.array([0, 0, 0, 1]), np.array([0, 1, 1, 1, 1, 1]), np.array([2, 0])]
    frequency = []
    for c in range(3):
        holding = [image for image in images if c in image]
        frequency.append(sum((image == c).sum() for image in holding) / sum(image.size for image in holding))
    assert frequency == [5 / 12, 6 / 10, 1 / 2]
    w = class_weights([5, 6, 1], "median_frequency", scale="none", present=[12, 10, 2])
    np.testing.assert_allclose(w, np.median(frequency) / frequency)
    np.testing.assert_allclose(
        class_weights([5, 6, 0, 1], "median_frequency", scale="none", present=[12, 10, 0, 2])[[0, 1, 3]], w)
    for bad in ([12, 5, 2], [12, 10], [12, np.nan, 2]):
        with pytest.raises(ValueError, match="present: expected for each of 3 classes"):
            class_weights([5, 6, 1], "median_frequency", present=bad)


@pytest.mark.parametrize("kind", KINDS)
def test_scales(kind):
    beta = .99 if kind == "effective_number" else None
    by_scale = {scale: class_weights(COUNTS, kind, beta, scale=scale) for scale in SCALES}
    assert by_scale["sum"].sum() == pytest.approx(1)
    assert by_scale["classes"].sum() == pytest.approx(3)
    assert np.dot(by_scale["sample"], COUNTS) / 100 == pytest.approx(1)
    for w in by_scale.values():  # the scale changes nothing else
        np.testing.assert_allclose(w / w.sum(), by_scale["sum"])


def test_power_softens():
    w = class_weights(COUNTS, "balanced", power=.5, scale="none")
    np.testing.assert_allclose(w, np.sqrt([100 / 270, 100 / 27, 100 / 3]))
    np.testing.assert_array_equal(class_weights(COUNTS, "balanced", power=0, scale="none"), [1, 1, 1])


def test_absent_class_weighs_nothing():
    np.testing.assert_allclose(class_weights([3, 0, 1]), [.25, 0, .75])
    with pytest.raises(ValueError, match="none of class 1"):
        class_weights([3, 0, 1], missing="error")


@pytest.mark.parametrize("scale", SCALES)
def test_no_labels_at_all(scale):
    np.testing.assert_array_equal(class_weights([0, 0], scale=scale), [0, 0])


@pytest.mark.parametrize("counts", [[1, -1], [1, np.nan], [np.inf, 1], [], [[1, 2]]])
def test_bad_counts(counts):
    with pytest.raises(ValueError, match="^counts: expected"):
        class_weights(counts)


def test_bad_options():
    with pytest.raises(ValueError, match="beta: expected"):
        class_weights(COUNTS, "effective_number")
    with pytest.raises(ValueError, match="weights: expected one of"):
        class_weights(COUNTS, "inverse_square")
    with pytest.raises(ValueError, match="scale: expected one of"):
        class_weights(COUNTS, scale="max")
    with pytest.raises(ValueError, match="power: expected a number of at least 0"):
        class_weights(COUNTS, power=-1)
    with pytest.raises(ValueError, match="power: expected"):
        class_weights(COUNTS, power=1e6)


def test_log_prior_by_hand():
    np.testing.assert_allclose(log_prior(COUNTS), np.log([.9, .09, .01]), rtol=1e-14)
    np.testing.assert_allclose(log_prior(COUNTS, 2), np.log([.81, .0081, .0001]), rtol=1e-14)
    np.testing.assert_array_equal(log_prior(COUNTS, 0), [0, 0, 0])


def test_log_prior_of_an_absent_class_is_the_least():
    np.testing.assert_allclose(log_prior([3, 0, 1]), np.log([.75, .25, .25]))
    np.testing.assert_array_equal(log_prior([0, 0]), [0, 0])
    with pytest.raises(ValueError, match="none of class 1"):
        log_prior([3, 0, 1], missing="error")


def test_log_prior_is_finite():
    assert np.isfinite(log_prior([1e308, 1e308, 5e-324], 1e30)).all()


def test_log_prior_at_test_time_is_a_power_of_balanced_weights():
    """argmax(x - s log prior) decides as these weights do."""
    x = np.random.RandomState(0).randn(20, 3)
    adjusted = np.exp(x - log_prior(COUNTS, .7))
    weighted = np.exp(x) * class_weights(COUNTS, "balanced", power=.7, scale="sample")
    np.testing.assert_allclose(adjusted / adjusted.sum(axis=1, keepdims=True),
                               weighted / weighted.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("counts", [[1, -1], [1, np.nan], [np.inf, 1], [], [[1, 2]]])
def test_log_prior_of_bad_counts(counts):
    with pytest.raises(ValueError, match="^counts: expected"):
        log_prior(counts)


@pytest.mark.parametrize("options, message", [
    (dict(strength=-1), "strength: expected"), (dict(strength=np.nan), "strength: expected"),
    (dict(strength=1e38), "strength: expected"), (dict(missing="zero"), "missing: expected one of least, error, got 'zero'")])
def test_log_prior_with_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        log_prior(COUNTS, **options)
