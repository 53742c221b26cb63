"""The scenes of the example segmentation, and what the study makes of them: methods, the net, scores, the picture."""
from __future__ import division, print_function

import collections
import io
import os
import sys

import numpy as np
import pytest

caffe = pytest.importorskip("caffe")
pytest.importorskip("lmdb")

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "examples", name) for name in ("study", "segmentation")]

import create_data
import files
import dense
import dense_scores
import pictures
import tasks
from caffe_losses.formats.matrix_files import write_matrix

N = 60  # scenes
ITERATIONS = 20


@pytest.fixture(scope="module")
def garments():
    """Stand-ins of 10 classes that can be told apart by shape and brightness: 4 of each."""
    labels = np.arange(40) % 10
    images = np.zeros((40, 28, 28), np.uint8)
    for image, label in zip(images, labels):
        image[label:, 3:25 - label] = 100 + 15 * label
    return images, labels


@pytest.fixture(scope="module")
def scenes(garments):
    return create_data.scenes(*(garments + (N, np.random.RandomState(0))))


# Canvases

def test_the_background_is_most_and_the_labels_are_of_classes_or_ignored(scenes):
    images, truths = scenes
    assert images.shape == truths.shape == (N, 64, 64) and images.dtype == truths.dtype == np.uint8
    assert set(np.unique(truths)) == set(range(11)) | {255}
    counts = np.bincount(truths.ravel(), minlength=256)
    assert counts[0] > .6 * truths.size and 0 < counts[255] < .1 * truths.size


def test_the_same_seed_makes_the_same_scenes(garments, scenes):
    again, other = [create_data.scenes(*(garments + (N, np.random.RandomState(seed)))) for seed in (0, 1)]
    assert all(map(np.array_equal, again, scenes))
    assert not any(map(np.array_equal, other, scenes))


def test_a_garment_is_where_it_is_bright_and_the_rim_is_what_touches_it(garments, monkeypatch):
    monkeypatch.setattr(create_data, "N_GARMENTS", (1, 1))
    for image, truth in zip(*create_data.scenes(*(garments + (20, np.random.RandomState(2))))):
        (label,) = set(truth.ravel()) - {0, 255}
        inside = truth == label
        assert (image[inside] == 100 + 15 * (label - 1)).all()
        assert inside.sum() == np.count_nonzero(garments[0][label - 1])  # all of it, none outside of the canvas
        assert image[~inside].max() < create_data.NOISE
        for i, j in np.ndindex(*truth.shape):
            rows, columns = [slice(max(k - create_data.RIM, 0), k + create_data.RIM + 1) for k in (i, j)]
            touching = inside[rows, columns]
            assert (truth[i, j] == 255) == (touching.any() and not inside[i, j])


def test_the_later_garment_hides_the_earlier_one_and_its_rim(monkeypatch):
    monkeypatch.setattr(create_data, "SIDE", 30)  # so that every garment lies where the one before does
    labels = np.arange(10)
    images = np.zeros((10, 28, 28), np.uint8)
    images[:, 10:20, 10:20] = (100 + labels)[:, None, None]
    monkeypatch.setattr(create_data, "N_GARMENTS", (3, 3))
    image, truth = [a[0] for a in create_data.scenes(images, labels, 1, np.random.RandomState(0))]
    assert len(set(truth.ravel())) == 3
    assert (truth == 255).sum() == 12 ** 2 - 10 ** 2
    assert (image[truth > 0][truth[truth > 0] < 255] == 99 + truth[15, 15]).all()


def test_classes_are_as_frequent_as_their_shares(garments, monkeypatch):
    monkeypatch.setattr(create_data, "N_GARMENTS", (1, 1))
    _, truths = create_data.scenes(*(garments + (1500, np.random.RandomState(3))))
    drawn = np.bincount([np.setdiff1d(truth, [0, 255])[0] - 1 for truth in truths], minlength=10)
    spread = np.sqrt(1500 * create_data.SHARES * (1 - create_data.SHARES))
    assert (np.abs(drawn - 1500 * create_data.SHARES) < 4 * spread).all()
    assert create_data.SHARES[0] == pytest.approx(10 * create_data.SHARES[-1]) and create_data.SHARES.sum() == pytest.approx(1)


def test_no_image_is_in_training_and_in_validation_scenes():
    labels = np.arange(60000) % 10
    images = np.arange(60000).reshape(-1, 1, 1)  # stand-ins: each its number
    (train, train_labels), (validation, validation_labels) = dense.sources((images, labels))
    assert not set(train.ravel()) & set(validation.ravel())
    assert np.bincount(train_labels).tolist() == [5000] * 10
    assert np.bincount(validation_labels).tolist() == [1000] * 10
    assert np.array_equal(labels[train.ravel()], train_labels)


# What is compared

WEIGHTS = collections.OrderedDict((method.name, method.weights) for method in dense_scores.METHODS)


def slow_pixels(truths):
    """For each class, how many pixels are its own, and how many are in the images that hold it."""
    counts, present = [0] * 11, [0] * 11
    for truth in truths:
        found = collections.Counter(truth.ravel().tolist())
        for label in range(11):
            counts[label] += found[label]
            present[label] += truth.size if found[label] else 0
    return counts, present


def slow_median_frequency(truths, power=1):
    frequencies = [count / n for count, n in zip(*slow_pixels(truths))]
    return [(sorted(frequencies)[5] / frequency) ** power for frequency in frequencies]


def average_weight(weights, truths):
    return np.mean([weights[label] for label in truths.ravel().tolist() if label != 255])


def test_pixels_are_those_of_a_slow_loop(scenes):
    assert tuple(map(np.ndarray.tolist, dense_scores.pixels(scenes[1]))) == slow_pixels(scenes[1])


@pytest.mark.parametrize("name, power", [("median", 1), ("median_root", .5)])
def test_weights_are_the_median_frequencies_of_the_label_images(scenes, name, power):
    expected = np.array(slow_median_frequency(scenes[1], power))
    expected /= average_weight(expected, scenes[1])
    weights = WEIGHTS[name](dense_scores.pixels(scenes[1]), 0)
    np.testing.assert_allclose(weights, expected)
    assert average_weight(weights, scenes[1]) == pytest.approx(1)


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_weights_are_those_of_other_classes_and_weigh_as_much(scenes, seed):
    weights = np.array(slow_median_frequency(scenes[1]))
    shuffled = WEIGHTS["shuffled"](dense_scores.pixels(scenes[1]), seed)
    ratio = np.sort(shuffled) / np.sort(weights)
    np.testing.assert_allclose(ratio, ratio[0])
    assert not np.isclose(shuffled / ratio[0], weights).any()
    assert average_weight(shuffled, scenes[1]) == pytest.approx(1)


# The net

@pytest.fixture(scope="module")
def lmdbs(tmp_path_factory, scenes):
    folder = tmp_path_factory.mktemp("dense")
    paths = [str(folder / name) for name in ("images", "labels")]
    for path, images in zip(paths, scenes):
        create_data.write_lmdb(path, images, [0] * len(images))
    return paths


def train(folder, lmdbs, method, truths):
    """The snapshot that `caffe train` leaves, and its log."""
    H = None
    if WEIGHTS[method]:
        H = str(folder / "H.binaryproto")
        write_matrix(H, np.diag(WEIGHTS[method](dense_scores.pixels(truths), 0)))
    solver = tasks.SOLVER.replace("display: 100", "display: %d" % (ITERATIONS - 1)) % ITERATIONS
    trainings = tasks.Trainings(solver, str(folder), None, [[]], False)
    training = trainings.new(method, 5, files.train_val("dense", lmdbs, H), .1)
    assert not trainings.train([training])
    return "%s_iter_%d.caffemodel" % (training.prefix, ITERATIONS), training.prefix + ".log"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, lmdbs, scenes):
    return train(tmp_path_factory.mktemp("trained"), lmdbs, "none", scenes[1])


def first_and_last_loss(log):
    with io.open(log) as file:
        losses = [float(line.split("loss = ")[1]) for line in file if ", loss = " in line]
    return losses[0], losses[-1]


def test_the_loss_falls_and_the_deployed_net_gives_probabilities(trained, scenes):
    first, last = first_and_last_loss(trained[1])
    assert last < first / 2
    p = np.concatenate(list(files.outputs("dense", trained[0], scenes[0][:3], 2)))
    assert p.shape == (3, 11, 64, 64)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)


def test_the_same_seed_trains_the_same_net(trained, tmp_path, lmdbs, scenes):
    again = train(tmp_path, lmdbs, "none", scenes[1])
    deployed = os.path.join(ROOT, "examples", files.FILES["dense"][1])
    first, second = [caffe.Net(deployed, caffe.TEST, weights=snapshot) for snapshot, _ in (trained, again)]
    for name, blobs in first.params.items():
        for mine, other in zip(blobs, second.params[name]):
            assert np.array_equal(mine.data, other.data), name


@pytest.mark.scores
def test_a_net_with_weights_trains(tmp_path, lmdbs, scenes):
    first, last = first_and_last_loss(train(tmp_path, lmdbs, "median", scenes[1])[1])
    assert last < first


# Scores

def test_confusions_are_those_of_a_slow_loop(trained, scenes, monkeypatch):
    monkeypatch.setattr(dense_scores, "AT_ONCE", 3)  # does not divide 4
    images, truths = scenes[0][:4], scenes[1][:4]
    weights = np.linspace(.1, 3, 11)
    found = dense_scores.confusions(trained[0], images, truths, weights)
    p = files.probabilities("dense", trained[0], images)
    expected = {"probable": np.zeros((11, 11), int), "prior": np.zeros((11, 11), int)}
    for n, i, j in np.ndindex(*truths.shape):
        if truths[n, i, j] != 255:
            expected["probable"][truths[n, i, j], np.argmax(p[n, :, i, j])] += 1
            expected["prior"][truths[n, i, j], np.argmax(p[n, :, i, j] * weights)] += 1
    assert set(found) == set(expected)
    for name in expected:
        assert found[name].dtype == np.int64 and np.array_equal(found[name], expected[name])
    assert not np.array_equal(found["probable"], found["prior"])


def test_scores_by_hand():
    confusion = np.zeros((11, 11), np.int64)
    confusion[0, 0], confusion[0, 1], confusion[1, 0], confusion[1, 1] = 80, 10, 5, 5
    scores = dense_scores.scores(confusion)
    assert scores["ious"][:2] == pytest.approx([80 / 95, 5 / 20])
    assert np.isnan(scores["ious"][2:]).all()
    assert scores["mean_iu"] == pytest.approx((80 / 95 + 5 / 20) / 2)
    assert scores["garments_iu"] == pytest.approx(5 / 20)
    assert scores["accuracy"] == pytest.approx(.85)
    assert scores["mean_recall"] == pytest.approx((80 / 90 + 5 / 10) / 2)


# The picture

def test_picture(tmp_path, scenes):
    images, truths = scenes[0][:5], scenes[1][:5]
    with open(str(tmp_path / "scenes.png"), "wb") as file:
        pictures.draw_scenes(images, truths, [("nothing", np.zeros_like(truths))], file)
    assert (tmp_path / "scenes.png").read_bytes().startswith(b"\x89PNG")
    assert len(set(pictures.CLASS_COLOURS + [pictures.RIM_COLOUR])) == len(files.class_names("segmentation")) + 1 == 12
