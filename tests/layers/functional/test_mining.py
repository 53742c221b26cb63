"""The selection of triplets, against slow loops over all of them."""
from __future__ import division, print_function

import warnings

import numpy as np
import pytest

import loops
from counts import examples
from caffe_losses.functional import mining

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies
MANY = hypothesis.settings(max_examples=examples(300))


def rows(*shape):
    return np.random.RandomState(0).randn(*shape).astype(np.float32)


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
    index, valid = mining.read_labels(labels.astype(np.float32), ignore_label)
    found = mining.select(x, index, strategy, valid, random=np.random.RandomState(0), **options)
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
    drawn = [tuple(part[0] for part in mining.select(None, labels, "random", random=random)) for _ in range(3000)]
    of_first = [t for t in loops.all_triplets(labels) if t[0] == 0]
    counts = [drawn.count(t) for t in of_first]
    assert sum(counts) == 3000
    np.testing.assert_allclose(counts, 500, atol=100)


@MANY
@hypothesis.given(batches(), st.sampled_from(mining.STRATEGIES), st.integers(1, 40))
def test_max_triplets(batch, strategy, limit):
    x, labels, ignore_label = batch
    whole = choose(x, labels, ignore_label, strategy)
    found = choose(x, labels, ignore_label, strategy, max_triplets=limit)
    assert len(found) == len(set(found)) == min(limit, len(whole))
    every = loops.all_triplets(labels, ignore_label)
    assert set(found) <= (set(every) if strategy == "random" else set(whole))


def test_max_triplets_takes_evenly_from_very_many():
    labels = np.arange(3000) % 3  # 18 billion triplets: not to be held in memory
    found = mining.select(None, labels, "all", random=np.random.RandomState(0), max_triplets=3000)
    assert len(set(zip(*[part.tolist() for part in found]))) == 3000
    assert (labels[found.anchor] == labels[found.positive]).all() and (found.anchor != found.positive).all()
    assert (labels[found.anchor] != labels[found.negative]).all()
    for part in found:
        np.testing.assert_allclose(np.histogram(part, 10, (0, 3000))[0], 300, atol=80)


def test_more_than_the_limit_is_an_error():
    labels = np.arange(40) % 2
    message = r'^expected at most %d triplets in a batch, got %d: give the key "max_triplets"'
    with pytest.raises(ValueError, match=message % (15199, 15200)):
        mining.select(None, labels, "all", limit=15199)
    assert len(mining.select(None, labels, "all", limit=15200).anchor) == 15200
    with pytest.raises(ValueError, match=message % (39, 40)):
        mining.select(rows(40, 2), labels, "hardest", limit=39)


@pytest.mark.parametrize("scale", [1e-30, 1, 1e18])
@pytest.mark.parametrize("shift", [0, 1])
def test_the_choice_at_any_scale(scale, shift):
    """The choice does not change with what all embeddings share, nor with their scale."""
    x, labels = rows(40, 8), np.arange(40) % 4
    moved = ((x + shift) * np.float32(scale)).astype(np.float32)
    for strategy in ("hardest", "semi_hard"):
        chosen = mining.select(moved, labels, strategy)
        assert set(zip(*[part.tolist() for part in chosen])) == loops.select_triplets(moved / np.float32(scale), labels,
                                                                                        strategy)


@pytest.mark.parametrize("labels, message", [
    ([0, 1, .5], r"label at \(2\): expected a whole number -16777216..16777216, got 0.5"),
    ([np.nan, 1, 2], r"at \(0\): expected .*, got nan"), ([0, np.inf, 2], r"at \(1\): expected .*, got inf"),
    ([0, 1, 2e7], r"at \(2\): expected .*, got 2e\+07"),
])
def test_bad_labels(labels, message):
    with warnings.catch_warnings(), pytest.raises(ValueError, match=message):
        warnings.simplefilter("error")
        mining.read_labels(np.array(labels, np.float32))


@MANY
@hypothesis.given(batches(), st.integers(0, 1000))
def test_scatter_is_a_sum_over_uses(batch, seed):
    x, labels, ignore_label = batch
    chosen = mining.Triplets(*[np.array(part, int) for part in
                                 zip(*choose(x, labels, ignore_label, "all"))] or np.zeros((3, 0), int))
    gradients = np.random.RandomState(seed).randn(3, len(chosen.anchor), x.shape[1]).astype(np.float32)
    expected = np.zeros(x.shape)
    for index, of_part in zip(chosen, gradients):
        np.add.at(expected, index, of_part)
    out = np.full(x.shape, 7, np.float32)
    mining.scatter(chosen, gradients, out)
    np.testing.assert_allclose(out, expected, atol=1e-5)
