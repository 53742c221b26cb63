from __future__ import division, print_function

import numpy as np
import pytest

from caffe_losses.evaluation import metrics

# Classes: T-shirt, shirt, boot; a boot is far from both.
COSTS = np.array([[0, 1, 3],
                  [1, 0, 3],
                  [3, 3, 0]])
PROBABILITIES = np.array([[.7, .2, .1],
                          [.3, .4, .3],
                          [.4, .15, .45],
                          [.2, .2, .6]])
LABELS = np.array([0, 0, 1, 2])


def test_rank_by_probability_by_hand():
    assert metrics.rank_by_probability(PROBABILITIES).tolist() == [
        [0, 1, 2], [1, 0, 2], [2, 0, 1], [2, 0, 1]]


def test_rank_by_expected_cost_by_hand():
    # Expected costs: row 2 is (.15 + 1.35, .4 + 1.35, 1.2 + .45) = (1.5, 1.75, 1.65).
    assert metrics.rank_by_expected_cost(PROBABILITIES, COSTS).tolist() == [
        [0, 1, 2], [1, 0, 2], [0, 2, 1], [2, 0, 1]]


def test_metrics_by_hand():
    decided = metrics.rank_by_probability(PROBABILITIES)[:, 0]  # 0 1 2 2: costs 0 1 3 0
    assert metrics.accuracy(LABELS, decided) == 2 / 4
    assert metrics.mean_cost(LABELS, decided, COSTS) == 4 / 4
    assert metrics.severity(LABELS, decided, COSTS) == 4 / 2
    assert metrics.count_costlier(LABELS, decided, COSTS, 1) == 1
    assert metrics.count_costlier(LABELS, decided, COSTS, 0.5) == 2
    assert metrics.class_recalls(LABELS, decided, 3).tolist() == [1 / 2, 0, 1]
    assert metrics.balanced_accuracy(LABELS, decided, 3) == .5


def test_mean_cost_of_top_by_hand():
    ranking = metrics.rank_by_probability(PROBABILITIES)
    assert metrics.mean_cost_of_top(1, LABELS, ranking, COSTS) == 1
    # Costs of the first two: 0 1, 1 0, 3 1, 0 3.
    assert metrics.mean_cost_of_top(2, LABELS, ranking, COSTS) == 9 / 8
    # All classes are in the top C, so each sample costs the mean of its label's row.
    assert metrics.mean_cost_of_top(3, LABELS, ranking, COSTS) == pytest.approx(
        (4 + 4 + 4 + 6) / 12)


def test_calibration_error_by_hand():
    # Confidences .7, .4, .45, .6 in two bins: (0, .5] holds .4 and .45, both wrong.
    decided = [0, 1, 2, 2]
    assert metrics.calibration_error(LABELS, decided, PROBABILITIES, n_bins=2) == pytest.approx(
        (.85 + abs(2 - 1.3)) / 4)


def test_calibration_error_takes_the_confidence_of_the_decision():
    probabilities = np.array([[.9, .1], [.9, .1]])
    assert metrics.calibration_error([1, 1], [1, 1], probabilities) == pytest.approx(.9)


def test_calibration_bins_are_closed_above():
    # .5 belongs to (0, .5]: right there, and .75 wrong in (.5, 1].
    probabilities = np.array([[.5, .5], [.75, .25]])
    assert metrics.calibration_error([0, 1], [0, 0], probabilities, n_bins=2) == (.5 + .75) / 2


@pytest.mark.parametrize("confidence", [0, 1])
def test_calibration_at_both_ends(confidence):
    probabilities = np.array([[confidence, 1 - confidence]])
    assert metrics.calibration_error([0], [0], probabilities) == 1 - confidence


def _calibration_loop(labels, decided, probabilities, n_bins):
    total = 0
    for m in range(1, n_bins + 1):
        right, confidences = [], []
        for label, decision, p in zip(labels, decided, probabilities):
            if (m - 1) / n_bins < p[decision] <= m / n_bins:
                right.append(label == decision)
                confidences.append(p[decision])
        if right:
            total += len(right) / len(labels) * abs(np.mean(right) - np.mean(confidences))
    return total


@pytest.mark.parametrize("seed", range(5))
def test_against_loops(seed):
    rng = np.random.RandomState(seed)
    n, c, k = 200, 7, 4
    p = rng.dirichlet(np.ones(c), n)
    labels = rng.randint(c, size=n)
    costs = rng.rand(c, c) * (1 - np.eye(c))
    ranking = metrics.rank_by_expected_cost(p, costs)
    decided = ranking[:, 0]

    for i in range(n):
        expected = [sum(p[i, j] * costs[j, m] for j in range(c)) for m in range(c)]
        assert ranking[i].tolist() == sorted(range(c), key=expected.__getitem__)
    paid = [costs[labels[i], decided[i]] for i in range(n)]
    wrong = [cost for i, cost in enumerate(paid) if labels[i] != decided[i]]
    assert metrics.accuracy(labels, decided) == pytest.approx(1 - len(wrong) / n)
    assert metrics.mean_cost(labels, decided, costs) == pytest.approx(sum(paid) / n)
    assert metrics.severity(labels, decided, costs) == pytest.approx(sum(wrong) / len(wrong))
    assert metrics.count_costlier(labels, decided, costs, .5) == sum(cost > .5 for cost in paid)
    assert metrics.mean_cost_of_top(k, labels, ranking, costs) == pytest.approx(
        sum(costs[labels[i], ranking[i, m]] for i in range(n) for m in range(k)) / (n * k))
    assert metrics.calibration_error(labels, decided, p) == pytest.approx(
        _calibration_loop(labels, decided, p, 15))
    recalls = [np.mean([decided[i] == j for i in range(n) if labels[i] == j]) for j in range(c)]
    assert metrics.class_recalls(labels, decided, c) == pytest.approx(recalls)
    assert metrics.balanced_accuracy(labels, decided, c) == pytest.approx(np.mean(recalls))


def test_expected_cost_under_zero_one_costs_is_most_probable():
    p = np.random.RandomState(0).dirichlet(np.ones(6), 50)
    assert np.array_equal(metrics.rank_by_expected_cost(p, 1 - np.eye(6)),
                          metrics.rank_by_probability(p))


def test_costs_are_read_as_true_then_predicted():
    costs = [[0, 5], [1, 0]]
    assert metrics.mean_cost([0], [1], costs) == 5
    # Taking a 0 for a 1 is dear: even .3 for class 0 is enough to decide for it.
    assert metrics.rank_by_expected_cost([[.3, .7]], costs).tolist() == [[0, 1]]


def test_severity_without_a_mistake_is_nan():
    assert np.isnan(metrics.severity([0, 1], [0, 1], COSTS))
    assert metrics.mean_cost([0, 1], [0, 1], COSTS) == 0


def test_absent_class_has_no_recall_and_does_not_count():
    assert np.isnan(metrics.class_recalls([0, 0, 2], [0, 1, 2], 3)[1])
    assert metrics.balanced_accuracy([0, 0, 2], [0, 1, 2], 3) == (.5 + 1) / 2


def test_equal_probabilities_rank_the_lower_class_first():
    p = np.full((1, 20), 1 / 20)
    assert metrics.rank_by_probability(p).tolist() == [list(range(20))]
    assert metrics.rank_by_expected_cost(p, 1 - np.eye(20))[0, 0] == 0


def test_labels_held_as_floats():
    assert metrics.accuracy(np.float32([0, 1]), np.float32([0, 2])) == .5


def test_float32_softmax_over_many_classes_passes():
    scores = np.random.RandomState(0).randn(3, 5000).astype(np.float32) * 5
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    assert metrics.rank_by_probability(p)[:, 0].tolist() == scores.argmax(axis=1).tolist()


@pytest.mark.parametrize("call, message", [
    (lambda: metrics.rank_by_probability([.5, .5]), r"probabilities: expected N x C \(x spatial\), got shape"),
    (lambda: metrics.rank_by_probability(np.zeros((0, 3))), "probabilities: expected N x C"),
    (lambda: metrics.rank_by_probability([[.5, .5], [np.nan, 1]]),
     r"probabilities at \(1, 0\): .* got nan"),
    (lambda: metrics.rank_by_probability([[2., -1.]]), r"probabilities at \(0, 1\): .*at least 0.* got -1"),
    (lambda: metrics.rank_by_probability([[.5, np.inf]]), r"probabilities at \(0, 1\): .* got inf"),
    (lambda: metrics.rank_by_expected_cost([[1., 0], [0, 0]], [[0, 1], [1, 0]]), r"at \(1, 0\): .*above 0 for"),
    (lambda: metrics.rank_by_probability([["a", "b"]]), "probabilities: expected numbers"),
    (lambda: metrics.calibration_error([0], [0], [[3., 4.]]),
     r"sum of the probabilities at \(0\): expected 1 .* got 7"),
    (lambda: metrics.rank_by_expected_cost([[.5, .5]], COSTS), "D: expected 2 x 2, got 3 x 3"),
    (lambda: metrics.accuracy([0, 1], [0]), "decided: expected 2 samples, got 1"),
    (lambda: metrics.accuracy([], []), "labels: expected one class per sample"),
    (lambda: metrics.accuracy([0, np.nan], [0, 0]), "labels: label at"),
    (lambda: metrics.accuracy([0.5], [0]), "labels: label at"),
    (lambda: metrics.mean_cost([0, 3], [0, 0], COSTS), r"labels: .*0\.\.2, got 3"),
    (lambda: metrics.mean_cost([0, 0], [0, -1], COSTS), r"decided: .*0\.\.2, got -1"),
    (lambda: metrics.mean_cost([0], [0], COSTS[:2]), "D: expected a square"),
    (lambda: metrics.mean_cost([0], [0], [[0, np.nan], [1, 0]]), r"D at \(0, 1\): .* got nan"),
    (lambda: metrics.mean_cost([0], [0], np.eye(2)), "D at .*0 on the diagonal"),
    (lambda: metrics.mean_cost_of_top(4, LABELS, np.zeros((4, 3), int), COSTS),
     r"k: expected 1\.\.3, got 4"),
    (lambda: metrics.mean_cost_of_top(1, LABELS, LABELS, COSTS), "ranking: expected N x C"),
    (lambda: metrics.calibration_error([0], [0], PROBABILITIES), "labels: expected 4 samples"),
    (lambda: metrics.calibration_error(LABELS, LABELS, PROBABILITIES, n_bins=0), "n_bins"),
    (lambda: metrics.class_recalls([0, 3], [0, 0], 3), "labels: "),
    (lambda: metrics.accuracy(["a"], [0]), "labels: label: expected numbers"),
    (lambda: metrics.confidence_bins([np.nan], [1]), r"confidence at \(0\): expected a number in 0\.\.1, got nan"),
    (lambda: metrics.error_of_bins(np.zeros((2, 3))), "bins: expected samples, got none"),
    (lambda: metrics.recalls_of([[1, 2]]), "confusion: expected a square matrix"),
    (lambda: metrics.intersections_over_unions([[1, -1], [0, 1]]), r"confusion at \(0, 1\): .* got -1"),
])
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_confusion_matrix_by_hand():
    confusion = metrics.confusion_matrix([0, 0, 1, 2], [0, 1, 2, 2], 4)
    assert confusion.tolist() == [[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(metrics.recalls_of(confusion), [.5, 0, 1, np.nan])
    # 1 of {0, 0}, 0 of {1, 1}, 1 of {2, 2}, none
    np.testing.assert_array_equal(metrics.intersections_over_unions(confusion), [1 / 2, 0, 1 / 2, np.nan])


def test_confidence_bins_add_up():
    confidence, right = np.array([0, .2, .5, .75, 1]), np.array([0, 1, 1, 0, 1])
    bins = metrics.confidence_bins(confidence, right, 2)
    assert bins.tolist() == [[3, 2, .7], [2, 1, 1.75]]
    assert metrics.error_of_bins(bins) == pytest.approx((1.3 + .75) / 5)
    parts = sum(metrics.confidence_bins(confidence[i:i + 1], right[i:i + 1], 2) for i in range(5))
    np.testing.assert_array_equal(parts, bins)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.int64, np.uint64, np.float16, np.float32])
def test_numbers_of_any_type_give_the_same(dtype):
    """In their own type negation and subtraction of bools are errors, small integers overflow, float16 rounds."""
    rng = np.random.RandomState(0)
    n_classes, largest = (2, 1) if dtype is bool else (20, 120)
    labels, decided = rng.randint(n_classes, size=(2, 3000))
    p = np.eye(n_classes)[decided]
    D = rng.randint(1, largest + 1, size=(n_classes, n_classes)) * (1 - np.eye(n_classes))
    confusion = np.minimum(metrics.confusion_matrix(labels, decided, n_classes), largest)

    def values(convert):
        of = [convert(array) for array in (labels, decided)]
        ranking = metrics.rank_by_expected_cost(convert(p), convert(D))
        return [metrics.accuracy(*of), metrics.mean_cost(*(of + [convert(D)])), metrics.severity(*(of + [convert(D)])),
                metrics.count_costlier(*(of + [convert(D), 100])), metrics.balanced_accuracy(*(of + [n_classes])),
                metrics.mean_cost_of_top(2, of[0], convert(ranking), convert(D)),
                metrics.accuracy_of_top(2, of[0], convert(ranking)),
                metrics.calibration_error(of[0], of[1], convert(p)),
                metrics.rank_by_probability(convert(p)).tolist(), ranking.tolist(),
                metrics.confusion_matrix(of[0], of[1], np.uint8(n_classes)).tolist(),
                metrics.recalls_of(convert(confusion)).tolist(),
                metrics.intersections_over_unions(convert(confusion)).tolist(),
                metrics.error_of_bins(convert(np.minimum([[90, 70, 100], [30, 1, 2]], largest)))]
    for found, expected in zip(values(lambda array: np.asarray(array).astype(dtype)), values(np.float64)):
        assert found == expected
    assert values(lambda array: np.asarray(array).tolist()) == values(np.float64)


def test_pixels_are_samples():
    rng = np.random.RandomState(0)
    p, labels = rng.dirichlet(np.ones(3), (5, 4, 2)), rng.randint(3, size=(5, 4, 2))
    maps = np.moveaxis(p, -1, 1) * 1
    rows, of_rows = p.reshape(-1, 3), labels.ravel()
    for rank in (metrics.rank_by_probability, lambda q: metrics.rank_by_expected_cost(q, COSTS)):
        ranking, expected = rank(maps), rank(rows)
        np.testing.assert_array_equal(np.moveaxis(ranking, 1, -1).reshape(-1, 3), expected)
        for truth in (labels, labels[:, None]):  # N x 1 x spatial, as Caffe has them
            decided = ranking[:, 0]
            assert metrics.accuracy(truth, decided) == metrics.accuracy(of_rows, expected[:, 0])
            assert metrics.severity(truth, decided, COSTS) == metrics.severity(of_rows, expected[:, 0], COSTS)
            assert metrics.mean_cost_of_top(2, truth, ranking, COSTS) == metrics.mean_cost_of_top(
                2, of_rows, expected, COSTS)
            assert metrics.calibration_error(truth, decided, maps) == pytest.approx(
                metrics.calibration_error(of_rows, expected[:, 0], rows))
    with pytest.raises(ValueError, match="decided: expected 5 x 4 x 2 samples, got 4 x 5 x 2"):
        metrics.accuracy(labels, labels.reshape(4, 5, 2))


def test_probabilities_times_weights_are_ranked():
    weighted = PROBABILITIES * [1, 2, 5]
    assert metrics.rank_by_probability(weighted).tolist() == [[0, 2, 1], [2, 1, 0], [2, 0, 1], [2, 1, 0]]
    # Row 0, (.7, .4, .5): expected costs .4 + 1.5, .7 + 1.5, 2.1 + 1.2.
    assert metrics.rank_by_expected_cost(weighted, COSTS).tolist() == [[0, 1, 2], [2, 1, 0], [2, 0, 1], [2, 1, 0]]
    np.testing.assert_array_equal(metrics.rank_by_expected_cost(weighted / 1e9, COSTS),
                                  metrics.rank_by_expected_cost(weighted, COSTS))


def test_accuracy_of_top_by_hand():
    ranking = metrics.rank_by_probability(PROBABILITIES)
    assert [metrics.accuracy_of_top(k, LABELS, ranking) for k in (1, 2, 3)] == [.5, .75, 1]
