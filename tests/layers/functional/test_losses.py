"""The losses of batches, against hand-computed values, slow loops and numerical derivatives."""
from __future__ import division, print_function

from math import log

import numpy as np
import pytest

import loops
from caffe_losses.functional import blocks, losses

pytestmark = pytest.mark.filterwarnings("error")  # numpy's of a NaN score are silenced

GAIN = np.array([[.8, .2], [0, 3]], np.float32)
COST = np.array([[0, 2], [5, 0]], np.float32)
LOSSES = ["softmax_with_infogain", "infogain", "cost_scaled_softmax", "expected_cost"]
OF_GAINS = LOSSES[:2]


@pytest.fixture(autouse=True, params=["many scores", "few scores", "no factor"])
def way(request, monkeypatch):
    """Compute small arrays in each way that large ones and small ones are computed."""
    if request.param == "many scores":
        monkeypatch.setattr(losses, "FEW_SCORES", 0)
    elif request.param == "no factor":
        monkeypatch.setattr(losses, "leaves_factor", lambda *_: False)


def matrix_of(name, matrix):
    return losses.matrix_of(matrix) if name in OF_GAINS else losses.Matrix(matrix)


def loss_and_gradient(name, scores, labels, matrix, axis=1, ignore_label=None, normalization="VALID"):
    axis %= scores.ndim
    shape = (int(np.prod(scores.shape[:axis])), scores.shape[axis], int(np.prod(scores.shape[axis + 1:])))
    shape = shape if shape[2] != 1 else shape[:2]
    read = blocks.read_labels(labels, shape, ignore_label)
    z = blocks.normalizer(normalization, read)
    gradient = np.full(shape, np.nan, scores.dtype)
    loss, matrix, factor = getattr(losses, name), matrix_of(name, matrix), None
    if losses.leaves_factor(loss, matrix, shape):
        factor = np.full(shape[:1], np.nan, scores.dtype)
    total = blocks.batch_loss(loss, scores.reshape(shape), read, matrix, gradient, factor=factor)
    out = np.empty(scores.shape, scores.dtype)
    blocks.scaled(gradient, 1 / z, out, factor)
    return total / z, out


def random_case(name, seed, shape, axis=1, ignore=False, diagonal=False):
    """Scores (or probabilities), labels and a gain or cost matrix."""
    rng = np.random.RandomState(seed)
    n_classes = shape[axis]
    scores = (rng.randn(*shape) * 4).astype(np.float32)
    matrix = rng.rand(n_classes, n_classes).astype(np.float32)
    if name == "infogain":
        scores = rng.rand(*shape).astype(np.float32)
    elif name != "softmax_with_infogain":
        np.fill_diagonal(matrix, 0)
    if diagonal:
        matrix *= np.eye(n_classes, dtype=np.float32)
        matrix[0] = 0  # an absent class has no weight
    labels = rng.randint(0, n_classes, [n for a, n in enumerate(shape) if a != axis % len(shape)])
    if ignore:
        labels = np.where(rng.rand(*labels.shape) < .3, 255, labels)
    return scores, labels.astype(np.float32), matrix


# p = (3/4, 1/4) with label 0 and (1/4, 3/4) with label 0
BY_HAND = {
    "softmax_with_infogain": (GAIN, [-.8 * log(.75) - .2 * log(.25), -.8 * log(.25) - .2 * log(.75)],
                              [[.75 - .8, .25 - .2], [.25 - .8, .75 - .2]]),
    "infogain": (GAIN, [-.8 * log(.75) - .2 * log(.25), -.8 * log(.25) - .2 * log(.75)],
                 [[-.8 / .75, -.2 / .25], [-.8 / .25, -.2 / .75]]),
    "cost_scaled_softmax": (COST, [0, -2 * log(.25)], [[0, 0], [2 * (.25 - 1), 2 * .75]]),
    "expected_cost": (COST, [.5, 1.5], [[.75 * -.5, .25 * 1.5], [.25 * -1.5, .75 * .5]]),
}


@pytest.mark.parametrize("name", LOSSES)
def test_by_hand(name):
    matrix, values, slopes = BY_HAND[name]
    scores = np.array([[.75, .25], [.25, .75]], np.float32)
    if name != "infogain":
        scores = np.log(scores) + np.array([[7], [-3]], np.float32)
    loss, gradient = loss_and_gradient(name, scores, np.zeros(2), matrix)
    assert loss == pytest.approx(sum(values) / 2, rel=1e-6)
    np.testing.assert_allclose(gradient, np.array(slopes) / 2, atol=1e-7)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("normalization", blocks.NORMALIZATIONS)
@pytest.mark.parametrize("ignore", [False, True])
@pytest.mark.parametrize("shape, axis", [
    ((64, 10), 1), ((64, 10), -1), ((10, 12), 0), ((4, 2, 5, 2), 2), ((3, 4, 6, 2), 1), ((2, 3, 4, 2, 5), -2),
    ((5, 1), 1), ((3, 2, 1, 1), 1)])
def test_the_loop(name, shape, axis, ignore, normalization):
    scores, labels, matrix = random_case(name, 1, shape, axis, ignore)
    options = dict(axis=axis, ignore_label=255 if ignore else None, normalization=normalization)
    loss, gradient = loss_and_gradient(name, scores, labels, matrix, **options)
    expected, expected_gradient = loops.batch(getattr(loops, name), scores, labels, matrix, **options)
    assert loss == pytest.approx(expected, rel=1e-6, abs=1e-9)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-6 * max(1e-9, np.abs(expected_gradient).max()))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", [(40, 7), (9, 7, 3), (2, 7, 60)])
def test_blocks_and_threads_change_nothing(name, shape, monkeypatch):
    scores, labels, matrix = random_case(name, 5, shape, ignore=True)
    whole, gradient = loss_and_gradient(name, scores, labels, matrix, ignore_label=255)
    monkeypatch.setattr(blocks, "BLOCK", 50)
    for threads in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        loss, again = loss_and_gradient(name, scores, labels, matrix, ignore_label=255)
        assert loss == pytest.approx(whole, rel=1e-6)
        np.testing.assert_allclose(again, gradient, rtol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_central_differences_in_float64(name):
    scores, labels, matrix = random_case(name, 2, (3, 4, 2))
    scores = scores.astype(np.float64)
    if name == "infogain":
        scores = scores * .8 + .1  # away from 0 and 1
    _, gradient = loss_and_gradient(name, scores, labels, matrix.astype(np.float64))
    for index in np.ndindex(*scores.shape):
        step = np.zeros_like(scores)
        step[index] = 1e-5
        up, down = (loss_and_gradient(name, scores + sign * step, labels, matrix.astype(np.float64))[0]
                    for sign in (1, -1))
        assert gradient[index] == pytest.approx((up - down) / 2e-5, abs=1e-7)


@pytest.mark.parametrize("name", [n for n in LOSSES if n != "infogain"])
@pytest.mark.parametrize("ignore", [None, 255])
def test_probabilities(name, ignore):
    scores, labels, matrix = random_case(name, 3, (4, 5, 6), ignore=ignore is not None)
    p = np.empty_like(scores)
    read = blocks.read_labels(labels, scores.shape, ignore)
    blocks.batch_loss(getattr(losses, name), scores, read, matrix_of(name, matrix), p=p)
    for o, i in np.ndindex(4, 6):  # of ignored positions, too
        np.testing.assert_allclose(p[o, :, i], np.exp(loops.log_softmax(scores[o, :, i].astype(float))), rtol=1e-5)


@pytest.mark.parametrize("name", OF_GAINS)
@pytest.mark.parametrize("shape", [(40, 7), (9, 7, 3), (2, 7, 60), (5, 1)])
def test_a_diagonal_matrix_gives_what_its_rows_give(name, shape, monkeypatch):
    scores, labels, matrix = random_case(name, 7, shape, ignore=True, diagonal=True)
    assert losses.diagonal_of(matrix) is not None
    for block, threads in ((blocks.BLOCK, "1"), (50, "3")):
        monkeypatch.setattr(blocks, "BLOCK", block)
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        loss, gradient = loss_and_gradient(name, scores, labels, matrix, ignore_label=255)
        with monkeypatch.context() as context:
            context.setattr(losses, "matrix_of", losses.Matrix)
            expected, expected_gradient = loss_and_gradient(name, scores, labels, matrix, ignore_label=255)
        assert loss == pytest.approx(expected, rel=1e-6, abs=1e-9)
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5, atol=2e-7)
        of_loop = loops.batch(getattr(loops, name), scores, labels, matrix, ignore_label=255)
        assert loss == pytest.approx(of_loop[0], rel=1e-6, abs=1e-9)
        np.testing.assert_allclose(gradient, of_loop[1], atol=1e-6 * max(1e-9, np.abs(of_loop[1]).max()))


@pytest.mark.parametrize("diagonal", [False, True])
def test_many_classes(diagonal):
    before = np.getbufsize()
    scores, labels, matrix = random_case("softmax_with_infogain", 7, (3, losses.MANY_CLASSES), diagonal=diagonal)
    loss, gradient = loss_and_gradient("softmax_with_infogain", scores, labels, matrix)
    expected, expected_gradient = loops.batch(loops.softmax_with_infogain, scores, labels, matrix)
    assert loss == pytest.approx(expected, rel=1e-6) and np.getbufsize() == before
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-6 * np.abs(expected_gradient).max())


@pytest.mark.parametrize("name", LOSSES)
def test_scores_in_another_order(name):
    scores, labels, matrix = random_case(name, 7, (6, 5), diagonal=name in OF_GAINS)
    read, results = blocks.read_labels(labels, (6, 5)), []
    for order in ("C", "F"):
        gradient = np.empty_like(scores)
        total = blocks.batch_loss(getattr(losses, name), np.array(scores, order=order), read, matrix_of(name, matrix),
                                  gradient)
        results.append((total, gradient))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-6)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", OF_GAINS)
def test_central_differences_of_a_diagonal_matrix(name):
    scores, labels, matrix = random_case(name, 8, (3, 4, 2), diagonal=True)
    scores, matrix = scores.astype(np.float64), matrix.astype(np.float64)
    if name == "infogain":
        scores = scores * .8 + .1  # away from 0 and 1
    _, gradient = loss_and_gradient(name, scores, labels, matrix)
    for index in np.ndindex(*scores.shape):
        step = np.zeros_like(scores)
        step[index] = 1e-5
        up, down = (loss_and_gradient(name, scores + sign * step, labels, matrix)[0] for sign in (1, -1))
        assert gradient[index] == pytest.approx((up - down) / 2e-5, abs=1e-7)


@pytest.mark.parametrize("matrix, expected", [
    (np.diag([1, 0, 2.]), [1, 0, 2]), ([[3.]], [3]), (np.zeros((2, 2)), [0, 0]), (np.diag([1, np.nan]), [1, np.nan]),
    (np.diag([1, 2.])[::-1], None), ([[1, 0], [1e-45, 1]], None), ([[1, np.nan], [0, 1]], None)])
def test_diagonal_of(matrix, expected):
    found = losses.diagonal_of(np.array(matrix, np.float32))
    if expected is None:
        assert found is None
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("offset", [-1e3, -60, -30, 0, 30, 60, 80, 1e3])
def test_an_offset_of_all_scores_changes_nothing(offset):
    scores, labels, matrix = random_case("softmax_with_infogain", 9, (30, 5))
    scores = np.round(scores * 64) / 64  # which an offset does not round
    for H in (matrix, matrix * np.eye(5, dtype=np.float32)):
        loss, gradient = loss_and_gradient("softmax_with_infogain", scores, labels, H)
        moved, moved_gradient = loss_and_gradient("softmax_with_infogain", scores + np.float32(offset), labels, H)
        assert moved == pytest.approx(loss, rel=4e-6)
        np.testing.assert_allclose(moved_gradient, gradient, atol=1e-7)


def test_small_losses_of_large_scores_are_exact():
    scores = np.array([[40, 33, 0], [0, 12, 40]], np.float32)
    loss, _ = loss_and_gradient("softmax_with_infogain", scores, np.array([0, 2]), np.eye(3, dtype=np.float32))
    assert loss == pytest.approx((np.log1p(np.exp(-7.)) + np.log1p(np.exp(-28.))) / 2, rel=2e-4)


@pytest.mark.parametrize("largest, of_label", [(45, -33), (45, -36), (47, -80), (-20, -110), (-21, -60), (80, 0)])
def test_large_losses_are_finite(largest, of_label):
    scores = np.array([[largest, of_label, largest - 30]], np.float32)
    loss, gradient = loss_and_gradient("softmax_with_infogain", scores, np.ones(1), np.eye(3, dtype=np.float32) * 1e-9)
    assert loss == pytest.approx(1e-9 * (largest - of_label), rel=1e-6)
    np.testing.assert_allclose(gradient, [[1e-9, -1e-9, 0]], rtol=1e-6, atol=1e-21)


@pytest.mark.parametrize("scale", [1e4, 1e30])
def test_extreme_scores(scale):
    scores = np.array([[scale, -scale, 0], [-scale, scale, 0]], np.float32)
    H = np.array([[1, .5, .25]] * 3, np.float32)
    loss, gradient = loss_and_gradient("softmax_with_infogain", scores, np.zeros(2), H)
    expected = (.5 * 2 * scale + .25 * scale + 1 * 2 * scale + .25 * scale) / 2
    assert loss == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(gradient, [[.375, -.25, -.125], [-.5, .625, -.125]], rtol=1e-6)
    D = np.array([[0, 3, 1]] * 3, np.float32)
    loss, gradient = loss_and_gradient("cost_scaled_softmax", scores, np.zeros(2), D)
    assert loss == pytest.approx(3 * 2 * scale / 2, rel=1e-6)
    np.testing.assert_array_equal(gradient, [[0, 0, 0], [-1.5, 1.5, 0]])
    loss, gradient = loss_and_gradient("expected_cost", scores, np.zeros(2), D)
    assert loss == 1.5 and not gradient.any()


def test_masked_class():
    scores = np.array([[1, -np.inf, 2]], np.float32)
    H = np.array([[1, 0, .5]] * 3, np.float32)
    loss, gradient = loss_and_gradient("softmax_with_infogain", scores, np.zeros(1), H)
    expected, expected_gradient = loss_and_gradient("softmax_with_infogain", scores[:, ::2], np.zeros(1),
                                                    H[::2, ::2])
    assert loss == pytest.approx(expected)
    np.testing.assert_allclose(gradient[:, ::2], expected_gradient)
    assert gradient[0, 1] == 0
    for weights in ([1, 0, 2], [1, 3, 2]):  # of no class of the labels is the score -Inf
        diagonal = np.diag(weights).astype(np.float32)
        loss, gradient = loss_and_gradient("softmax_with_infogain", scores, np.zeros(1), diagonal)
        assert loss == pytest.approx(np.log1p(np.e)) and gradient[0, 1] == 0
    for weight, expected in ((0, 0), (1, np.inf)):
        loss, gradient = loss_and_gradient("softmax_with_infogain", scores, np.ones(1),
                                           np.diag([1, weight, 1]).astype(np.float32))
        assert loss == expected and np.isfinite(gradient).all()
    H[:, 1] = 1  # where the masked class has a gain, the loss is truly infinite, and its slope is not
    loss, gradient = loss_and_gradient("softmax_with_infogain", scores, np.zeros(1), H)
    assert loss == np.inf and np.isfinite(gradient).all()
    D = np.array([[0, 2, 1]] * 3, np.float32)
    for name in ("cost_scaled_softmax", "expected_cost"):
        loss, gradient = loss_and_gradient(name, scores, np.zeros(1), D)
        expected, expected_gradient = loss_and_gradient(name, scores[:, ::2], np.zeros(1), D[::2, ::2])
        assert loss == pytest.approx(expected) and gradient[0, 1] == 0
        np.testing.assert_allclose(gradient[:, ::2], expected_gradient)


def test_infogain_below_the_threshold():
    scores = np.array([[0, 1], [1e-30, 1]], np.float32)
    loss, gradient = loss_and_gradient("infogain", scores, np.zeros(2), np.eye(2, dtype=np.float32))
    assert loss == pytest.approx(-log(1e-20), rel=1e-6)  # 46.05 for each, as Caffe's
    np.testing.assert_allclose(gradient, [[-5e19, 0], [-5e19, 0]], rtol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("bad, got", [(np.nan, "nan"), (np.inf, "inf")])
@pytest.mark.parametrize("shape, where, axes", [
    ((2, 3, 4), (1, 2, 3), "outer, class, inner"), ((6, 3), (4, 1), "outer, class")])
def test_bad_score_is_named(name, bad, got, shape, where, axes):
    scores, labels, matrix = random_case(name, 3, shape)
    scores[where] = bad
    message = r"score at \(%s\) = \(%s\): expected .*, got %s" % (axes, ", ".join(map(str, where)), got)
    with pytest.raises(ValueError, match=message):
        loss_and_gradient(name, scores, labels, matrix)


def test_scores_are_no_probabilities():
    for bad in (-2, 1.5, -np.inf):
        with pytest.raises(ValueError, match=r"= \(0, 1\): expected a probability.*, got "):
            loss_and_gradient("infogain", np.array([[.5, bad]], np.float32), np.zeros(1), GAIN)


@pytest.mark.parametrize("name", [n for n in LOSSES if n != "infogain"])
def test_all_classes_masked(name):
    scores = np.array([[0, 0], [-np.inf, -np.inf]], np.float32)
    with pytest.raises(ValueError, match=r"= \(1, 0\): .* not for all classes.*, got -inf"):
        loss_and_gradient(name, scores, np.zeros(2), COST)


def test_a_bad_score_in_one_of_many_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 30)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    scores, labels, matrix = random_case("expected_cost", 6, (50, 3))
    scores[37, 2] = scores[48, 0] = np.nan
    with pytest.raises(ValueError, match=r"= \(37, 2\)"):
        loss_and_gradient("expected_cost", scores, labels, matrix)


@pytest.mark.parametrize("name", LOSSES)
def test_all_ignored_and_empty(name):
    scores, labels, matrix = random_case(name, 4, (5, 3))
    loss, gradient = loss_and_gradient(name, scores, labels * 0 - 1, matrix, ignore_label=-1)
    assert loss == 0 and not gradient.any()
    loss, gradient = loss_and_gradient(name, scores[:0], labels[:0], matrix)
    assert loss == 0 and gradient.size == 0


def test_the_sum_is_float64():
    scores = np.zeros((2000000, 2), np.float32)
    loss, _ = loss_and_gradient("softmax_with_infogain", scores, np.zeros(2000000), np.eye(2, dtype=np.float32))
    assert loss == pytest.approx(log(2), rel=1e-7)
