"""Bootstrap intervals against a loop over draws, by simulation, and at the edges."""
from __future__ import division, print_function

import time

import numpy as np
import pytest

from caffe_losses.evaluation import metrics
from caffe_losses.evaluation.bootstrap import bootstrap_differences, bootstrap_scores, joined, sample_sums
from caffe_losses.evaluation.comparison import BETTER, NOISE, WORSE, verdict_of
from caffe_losses.evaluation.intervals import LEVEL, Interval
from caffe_losses.evaluation.tally import Tally


def samples(n=150, n_classes=4, spatial=(), seed=0):
    """Return probabilities, labels (few of the last class) and costs."""
    rng = np.random.RandomState(seed)
    shares = np.r_[np.ones(n_classes - 1), 3 / n] / (n_classes - 1 + 3 / n)
    labels = rng.choice(n_classes, size=(n,) + spatial, p=shares)
    p = rng.gamma(.7, size=(n, n_classes) + spatial)
    p += (np.arange(n_classes).reshape((1, -1) + (1,) * len(spatial)) == labels[:, None])
    return p / p.sum(axis=1, keepdims=True), labels, rng.rand(n_classes, n_classes) * (1 - np.eye(n_classes))


def scores_of(p, labels, ranking, D):
    """Return the metrics by the functions for all samples at once."""
    decided, n_classes = ranking[:, 0], len(D)
    confusion = metrics.confusion_matrix(labels, decided, n_classes)
    return {"accuracy": metrics.accuracy(labels, decided), "cost": metrics.mean_cost(labels, decided, D),
            "balanced": metrics.balanced_accuracy(labels, decided, n_classes),
            "mean_iu": np.nanmean(metrics.intersections_over_unions(confusion)),
            "severity": metrics.severity(labels, decided, D),
            "top_cost": metrics.mean_cost_of_top(2, labels, ranking, D),
            "top_accuracy": metrics.accuracy_of_top(2, labels, ranking),
            "calibration": metrics.calibration_error(labels, decided, p),
            "expected_cost": np.mean([p_i.dot(D[:, k]) for p_i, k in zip(p, decided)])}


def test_intervals_are_those_of_a_loop_over_draws():
    p, labels, D = samples()
    rankings = [metrics.rank_by_probability(p), metrics.rank_by_expected_cost(p * [1, 2, 3, 9], D)]
    found = bootstrap_differences(*[sample_sums(p, labels, ranking, D, top=2) for ranking in rankings],
                                  n_draws=300, seed=7)
    rng, drawn = np.random.RandomState(7), []
    observed = difference(p, labels, rankings, D, np.arange(150))
    for _ in range(300):
        drawn.append(difference(p, labels, rankings, D, rng.randint(150, size=150)))
    assert min(len(set(labels[rng.randint(150, size=150)])) for _ in range(100)) == 3  # draws without the rare class
    assert set(found) == set(observed)
    factor = 2.60923 / 2.575829 * (150 / 149) ** .5  # t for 149 degrees of freedom, z at 99 %
    for key, interval in found.items():
        low, high = np.percentile([draw[key] for draw in drawn], [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
        assert interval.n == 150
        d = observed[key]
        assert interval[:3] == pytest.approx((d, d - factor * (high - d), d + factor * (d - low)), abs=1e-5), key


def difference(p, labels, rankings, D, drawn):
    before, after = [scores_of(p[drawn], labels[drawn], ranking[drawn], D) for ranking in rankings]
    return {key: after[key] - before[key] for key in after}


def test_one_method_has_the_scores_of_a_tally():
    p, labels, D = samples()
    tally = Tally(4, D, top=3)
    tally.add(p, labels)
    found = bootstrap_scores(sample_sums(p, labels, metrics.rank_by_probability(p), D, top=3))
    for key, score in tally.scores("probable").items():
        assert found[key].mean == pytest.approx(score) and found[key].low < score < found[key].high
    without = bootstrap_scores(sample_sums(p, labels, metrics.rank_by_probability(p)))
    assert set(without) == {"accuracy", "balanced", "mean_iu", "calibration", "top_accuracy"}
    assert without["accuracy"] == found["accuracy"]


def test_images_are_drawn_whole():
    """An image of equal pixels says as much as one pixel."""
    p, labels, D = samples()
    ranking = metrics.rank_by_probability(p)
    image = np.repeat(p[:, :, None], 6, axis=2).reshape(150, 4, 2, 3)
    label_image = np.repeat(labels, 6).reshape(150, 2, 3)
    label_image[:, 1, 2] = 255
    rankings = metrics.rank_by_probability(image)
    sums = sample_sums(image, label_image[:, None], rankings, D, ignore_label=255)
    expected = bootstrap_scores(sample_sums(p, labels, ranking, D))
    found = bootstrap_scores(sums)
    for key in expected:
        assert found[key] == pytest.approx(expected[key]), key
    batches = [sample_sums(image[part], label_image[part], rankings[part], D, ignore_label=255)
               for part in (slice(0, 40), slice(40, None))]
    assert bootstrap_scores(joined(batches)) == found


def test_samples_without_a_label_do_not_count():
    p, labels, D = samples()
    ranking = metrics.rank_by_probability(p)
    found = bootstrap_scores(sample_sums(np.r_[p, p], np.r_[labels, labels * 0 - 1], np.r_[ranking, ranking],
                                         ignore_label=-1))
    assert found == bootstrap_scores(sample_sums(p, labels, ranking)) and found["accuracy"].n == 150


def test_verdicts_of_paired_differences():
    rng = np.random.RandomState(0)
    labels = rng.randint(2, size=500)
    right = np.eye(2)[labels] * .8 + .1
    wrong = np.where(np.arange(500)[:, None] % 5 == 0, 1 - right, right)  # of every fifth
    good, bad = [sample_sums(p, labels, metrics.rank_by_probability(p)) for p in (right, wrong)]
    difference = bootstrap_differences(bad, good)["accuracy"]
    assert difference.mean == pytest.approx(.2) and verdict_of(difference, False) == BETTER
    assert verdict_of(bootstrap_differences(good, bad)["accuracy"], False) == WORSE
    same = bootstrap_differences(bad, bad)
    assert all(interval[:3] == (0, 0, 0) and verdict_of(interval, False) == NOISE for interval in same.values())


def test_equal_methods_seldom_differ():
    """Two nets that are right as often: an interval without 0 in about one of 100."""
    claims = []
    for seed in range(150):
        rng = np.random.RandomState(seed)
        p = [np.where(rng.rand(300, 1) < .7, [.7, .3], [.3, .7]) for _ in range(2)]
        sums = [sample_sums(q, np.zeros(300), metrics.rank_by_probability(q)) for q in p]
        claims.append(verdict_of(bootstrap_differences(sums[0], sums[1], 400)["accuracy"], False) != NOISE)
    assert np.mean(claims) < .04


def test_few_samples_say_little():
    p, ranking = np.tile([.9, .1], (3, 1)), np.tile([0, 1], (3, 1))
    sums = [sample_sums(p, labels, ranking) for labels in ([0, 0, 0], [0, 0, 1])]
    of_two_thirds = bootstrap_scores(sums[1])["accuracy"]
    assert of_two_thirds.low < -.5 and of_two_thirds.high > 3  # t is 9.9 of three
    assert bootstrap_scores(sums[0])["accuracy"][:3] == (1, 1, 1)


def test_no_ends_and_no_values():
    p = np.array([[.9, .1], [.2, .8]])
    ranking, D = metrics.rank_by_probability(p), 1 - np.eye(2)
    one = bootstrap_scores(sample_sums(p[:1], [0], ranking[:1], D))
    assert one["accuracy"] == Interval(1, None, None, 1)
    assert one["severity"] == Interval(None, None, None, 1)
    assert verdict_of(one["severity"], True) == NOISE
    assert bootstrap_scores(sample_sums(p, [0, 1], ranking, D))["accuracy"] == Interval(1, 1, 1, 2)


def test_deterministic_and_quick():
    p, labels, D = samples(10000, 10)
    sums = [sample_sums(p, labels, ranking, D)
            for ranking in (metrics.rank_by_probability(p), metrics.rank_by_expected_cost(p, D))]
    start = time.time()
    found = bootstrap_differences(sums[0], sums[1], 1000)
    assert time.time() - start < 5  # about .3 s
    assert found == bootstrap_differences(sums[0], sums[1], 1000)
    assert found != bootstrap_differences(sums[0], sums[1], 1000, seed=1)


P, RANKING = [[.6, .4], [.3, .7]], [[0, 1], [1, 0]]


@pytest.mark.parametrize("call, message", [
    (lambda: sample_sums(P, [0, 1], [0, 1]), r"ranking: expected shape \(2, 2\).* got \(2,\)"),
    (lambda: sample_sums(P, [0, 1], [[0, 2], [1, 0]]), r"ranking: .*0\.\.1, got 2"),
    (lambda: sample_sums(P, [0], RANKING), "labels: expected 2 samples, got 1"),
    (lambda: sample_sums(P, [0, 2], RANKING), r"labels: .*0\.\.1, got 2"),
    (lambda: sample_sums([[.6, .4], [3, 7]], [0, 1], RANKING), r"sum of the probabilities at \(1\): .* got 10"),
    (lambda: sample_sums(P, [0, 1], RANKING, top=0), "top: expected at least 1, got 0"),
    (lambda: sample_sums(P, [0, 1], RANKING, 1 - np.eye(3)), "D: expected 2 x 2, got 3 x 3"),
    (lambda: bootstrap_scores(sample_sums(P, [9, 9], RANKING, ignore_label=9)), "labels: .*not ignored, got none"),
    (lambda: bootstrap_scores(sample_sums(P, [0, 1], RANKING), n_draws=10), "n_draws: expected at least 200, got 10"),
    (lambda: bootstrap_differences(sample_sums(P, [0, 1], RANKING), sample_sums(P[:1], [0], RANKING[:1])),
     "after: expected sums of the same .* 2 x 22, got 1 x 22"),
    (lambda: bootstrap_differences(sample_sums(P, [0, 1], RANKING), sample_sums(P, [1, 1], RANKING)),
     "after: expected the same samples .* got other labels"),
])
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
