"""The mathematics of triplets, against hand-computed values and slow loops."""
from __future__ import division, print_function

import warnings
from math import exp, log

import numpy as np
import pytest

import loops
from counts import examples
from caffe_losses.functional import triplets

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies
MANY = hypothesis.settings(max_examples=examples(300))

# D+, D- -> the paper's loss, the log form's
VALUES = [(0, 0, .25, log(2)), (3, 3, .25, log(2)), (0, 1, .072329, .313262), (1, 0, .534447, 1.313262),
          (0, 2, .014209, log(1 + exp(-2))), (0, 5, 4.479e-5, .006715), (1e18, 0, 1, 1e18), (0, 1e18, 0, 0)]


def rows(*shape, **options):
    return (np.random.RandomState(options.get("seed", 0)).randn(*shape) * options.get("scale", 1)).astype(np.float32)


# The loss

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
        warnings.filterwarnings("ignore", "invalid value", RuntimeWarning, r"caffe_losses\.functional\.triplets$")
        with pytest.raises(ValueError, match=r"^x%d at \(4, 1\): expected a finite number, got %g$" % (which + 1, value)):
            triplets.distances(*x)


# The choice

@st.composite
def batches(draw):
    """Embeddings on a small grid, so that distances are exact and often equal, and labels."""
    n = draw(st.integers(1, 9))
    width = draw(st.integers(1, 3))
    rng = np.random.RandomState(draw(st.integers(0, 10 ** 6)))
    x = rng.randint(-2, 3, (n, width)).astype(np.float32)
    labels = rng.choice([-7, 0, 3, 1000], n, p=draw(st.sampled_from([[.25] * 4, [.9, .1, 0, 0], [1, 0, 0, 0]])))
    return x, labels, draw(st.sampled_from([None, None, 0, 3]))


def choose(x, labels, ignore_label, strategy, **options):
    index, valid = triplets.read_labels(labels.astype(np.float32), ignore_label)
    found = triplets.select(x, index, strategy, valid, random=np.random.RandomState(0), **options)
    assert len(set(map(len, found))) == 1 and (np.diff(found.anchor) >= 0).all()
    return list(zip(*[part.tolist() for part in found]))


@MANY
@hypothesis.given(batches(), st.sampled_from(("all", "hardest", "semi_hard")))
def test_the_choice_is_that_of_the_enumeration(batch, strategy):
    x, labels, ignore_label = batch
    found = choose(x, labels, ignore_label, strategy)
    assert len(found) == len(set(found))
    assert set(found) == loops.select_triplets(x, labels, strategy, ignore_label)


@MANY
@hypothesis.given(batches())
def test_random_gives_every_anchor_one_triplet(batch):
    x, labels, ignore_label = batch
    found = choose(x, labels, ignore_label, "random")
    every = loops.all_triplets(labels, ignore_label)
    assert set(found) <= set(every)
    assert [a for a, _, _ in found] == sorted(set(a for a, _, _ in every))
    assert found == choose(x, labels, ignore_label, "random")  # the same seed


def test_random_is_even():
    labels = np.array([0, 0, 0, 1, 1, 2])
    random = np.random.RandomState(0)
    drawn = [tuple(part[0] for part in triplets.select(None, labels, "random", random=random)) for _ in range(3000)]
    of_first = [t for t in loops.all_triplets(labels) if t[0] == 0]
    counts = [drawn.count(t) for t in of_first]
    assert sum(counts) == 3000
    np.testing.assert_allclose(counts, 500, atol=100)


@MANY
@hypothesis.given(batches(), st.sampled_from(triplets.STRATEGIES), st.integers(1, 40))
def test_max_triplets(batch, strategy, limit):
    x, labels, ignore_label = batch
    whole = choose(x, labels, ignore_label, strategy)
    found = choose(x, labels, ignore_label, strategy, max_triplets=limit)
    assert len(found) == len(set(found)) == min(limit, len(whole))
    every = loops.all_triplets(labels, ignore_label)
    assert set(found) <= (set(every) if strategy == "random" else set(whole))


def test_max_triplets_takes_evenly_from_very_many():
    labels = np.arange(3000) % 3  # 18 billion triplets: not to be held in memory
    found = triplets.select(None, labels, "all", random=np.random.RandomState(0), max_triplets=3000)
    assert len(set(zip(*[part.tolist() for part in found]))) == 3000
    assert (labels[found.anchor] == labels[found.positive]).all() and (found.anchor != found.positive).all()
    assert (labels[found.anchor] != labels[found.negative]).all()
    for part in found:
        np.testing.assert_allclose(np.histogram(part, 10, (0, 3000))[0], 300, atol=80)


def test_more_than_the_limit_is_an_error():
    labels = np.arange(40) % 2
    message = r'^expected at most %d triplets in a batch, got %d: give the key "max_triplets"'
    with pytest.raises(ValueError, match=message % (15199, 15200)):
        triplets.select(None, labels, "all", limit=15199)
    assert len(triplets.select(None, labels, "all", limit=15200).anchor) == 15200
    with pytest.raises(ValueError, match=message % (39, 40)):
        triplets.select(rows(40, 2), labels, "hardest", limit=39)


@pytest.mark.parametrize("scale", [1e-30, 1, 1e18])
@pytest.mark.parametrize("shift", [0, 1])
def test_the_choice_at_any_scale(scale, shift):
    """The choice does not change with what all embeddings share, nor with their scale."""
    x, labels = rows(40, 8), np.arange(40) % 4
    moved = ((x + shift) * np.float32(scale)).astype(np.float32)
    for strategy in ("hardest", "semi_hard"):
        chosen = triplets.select(moved, labels, strategy)
        assert set(zip(*[part.tolist() for part in chosen])) == loops.select_triplets(moved / np.float32(scale), labels,
                                                                                        strategy)


@pytest.mark.parametrize("labels, message", [
    ([0, 1, .5], r"label at \(2\): expected a whole number -16777216..16777216, got 0.5"),
    ([np.nan, 1, 2], r"at \(0\): expected .*, got nan"), ([0, np.inf, 2], r"at \(1\): expected .*, got inf"),
    ([0, 1, 2e7], r"at \(2\): expected .*, got 2e\+07"),
])
def test_bad_labels(labels, message):
    with pytest.raises(ValueError, match=message):
        triplets.read_labels(np.array(labels, np.float32))


@MANY
@hypothesis.given(batches(), st.integers(0, 1000))
def test_scatter_is_a_sum_over_uses(batch, seed):
    x, labels, ignore_label = batch
    chosen = triplets.Triplets(*[np.array(part, int) for part in
                                 zip(*choose(x, labels, ignore_label, "all"))] or np.zeros((3, 0), int))
    gradients = np.random.RandomState(seed).randn(3, len(chosen.anchor), x.shape[1]).astype(np.float32)
    expected = np.zeros(x.shape)
    for index, of_part in zip(chosen, gradients):
        np.add.at(expected, index, of_part)
    out = np.full(x.shape, 7, np.float32)
    triplets.scatter(chosen, gradients, out)
    np.testing.assert_allclose(out, expected, atol=1e-5)
