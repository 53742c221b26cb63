"""The example triplets: neighbours, its net, its report, and a quick run of all of it."""
from __future__ import division, print_function

import io
import json
import os
import sys

import numpy as np
import pytest

import real_nets

caffe = pytest.importorskip("caffe")
pytest.importorskip("lmdb")

EXAMPLE = os.path.join(real_nets.CHECKOUT, "examples", "triplets")
TRAIN = os.path.join(EXAMPLE, "train.py")
sys.path[:0] = [EXAMPLE]

import example_runs
with example_runs.modules_of(EXAMPLE):
    import evaluate
    import picture
    import report
    import train
    import create_data


def clusters(n, width=3, n_classes=3, seed=0):
    rng = np.random.RandomState(seed)
    labels = np.arange(n) % n_classes
    return (rng.randn(n, width) + 1.2 * labels[:, None]).astype(np.float32), labels


# Neighbours

def decide_slowly(train, labels, row, k):
    """k nearest by loops; of several labels that of the nearest."""
    distances = [sum((float(a) - float(b)) ** 2 for a, b in zip(row, other)) for other in train]
    nearest = sorted(range(len(train)), key=lambda i: distances[i])[:k]
    votes = [labels[i] for i in nearest]
    most = max(votes.count(label) for label in votes)
    return next(label for label in votes if votes.count(label) == most)


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("n_threads", [None, 3])
def test_neighbours_are_those_of_the_loop(k, n_threads):
    train, labels = clusters(60)
    test, _ = clusters(450, seed=1)  # three blocks
    found = evaluate.decide_by_neighbours(train, labels, test, k, n_threads)
    assert found.tolist() == [decide_slowly(train, labels, row, k) for row in test]


@pytest.mark.parametrize("n", [5, 6, 48, 49, 50, 1000])
@pytest.mark.parametrize("k", [1, 5])
def test_the_smallest_are_all_found(n, k):
    values = np.random.RandomState(n).rand(40, n)
    found = np.sort(evaluate._smallest(values, k), axis=1)
    np.testing.assert_array_equal(found, np.sort(np.argsort(values, axis=1)[:, :k], axis=1))


def test_centroids():
    train, labels = clusters(60)
    test, _ = clusters(20, seed=1)
    centroids = [train[labels == label].mean(axis=0) for label in range(3)]
    expected = [np.argmin([((row - centroid) ** 2).sum() for centroid in centroids]) for row in test]
    assert evaluate.decide_by_centroid(train, labels, test).tolist() == expected


def test_scores_are_shares():
    train, labels = clusters(60)
    assert evaluate.scores(train, labels, train, labels)["neighbours"] == np.mean(
        evaluate.decide_by_neighbours(train, labels, train) == labels)


def test_plane_finds_the_dimensions_that_part_the_classes():
    rng = np.random.RandomState(0)
    labels = np.arange(300) % 3
    x = rng.randn(300, 5).astype(np.float32)
    x[:, 4] *= 50  # the largest variance says nothing
    x[:, 1] += 9 * (labels == 1)
    x[:, 3] += 9 * (labels == 2)
    points = picture.plane(x, labels, x)
    spread = max(points[labels == label].std(axis=0).max() for label in range(3))
    middles = [points[labels == label].mean(axis=0) for label in range(3)]
    for i in range(3):
        assert np.linalg.norm(middles[i] - middles[i - 1]) > 4 * spread


@pytest.mark.parametrize("scale", [0, 1])
def test_plane_of_what_never_changes(scale):
    train, labels = clusters(60)
    train = np.hstack([scale * train, np.zeros((60, 4), np.float32)])
    assert np.isfinite(picture.plane(train, labels, train)).all()


# Nets

@pytest.mark.parametrize("method", train.METHODS)
def test_what_is_trained_are_the_files(method):
    with io.open(os.path.join(EXAMPLE, method.name + "_train_val.prototxt"), encoding="utf-8") as file:
        assert train.net(method.setting) == file.read()
    solver = {"semi_hard": "solver.prototxt"}.get(method.name, method.name + "_solver.prototxt")
    with io.open(os.path.join(EXAMPLE, solver), encoding="utf-8") as file:
        text = file.read()
    setting = train.SETTING.match(method.setting).groupdict()
    assert "base_lr: %(rate)s\n" % setting in text and "max_iter: %(iterations)s\n" % setting in text
    assert 'net: "examples/triplets/%s_train_val.prototxt"' % method.name in text


def test_a_seed_changes_random_triplets_alone():
    random, semi_hard = [train.net(method.setting) for method in (train.METHODS[1], train.METHODS[0])]
    assert train.net(train.METHODS[1].setting, 7) == random.replace('\\"seed\\": 0', '\\"seed\\": 7') != random
    assert train.net(train.METHODS[0].setting, 7) == semi_hard


def test_every_setting_that_was_tried_is_a_net_that_caffe_makes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples" / "triplets").mkdir(parents=True)
    images = np.zeros((200, 28, 28), np.uint8)
    create_data.write_lmdb("examples/triplets/train_seed0_lmdb", images, np.arange(200) % 10)
    for setting, _ in json.loads(train.read("validation.json"))[1:]:
        (tmp_path / "net.prototxt").write_bytes(train.net(setting).encode("utf-8"))
        net = caffe.Net("net.prototxt", caffe.TRAIN)
        assert net.blobs["embedding"].data.shape == (128, 64) and "loss" in net.blobs


# Report

def test_results_are_what_the_report_makes_of_the_figures():
    with io.open(os.path.join(EXAMPLE, "results.json"), encoding="utf-8") as file:
        results = json.load(file)
    with io.open(os.path.join(EXAMPLE, "validation.json"), encoding="utf-8") as file:
        assert json.load(file) == results["tried"]
    with io.open(os.path.join(EXAMPLE, "RESULTS.md"), encoding="utf-8") as file:
        assert report.as_markdown(results) == file.read()
    tried = [title for title, _ in results["tried"][1:]]
    assert all(train.SETTING.match(title) for title in tried)
    assert all(method.setting in tried for method in train.METHODS)
    assert [list(method) for method in train.METHODS] == results["methods"]


# The command

def needs_data():
    if not os.path.isdir(create_data.SOURCE):
        pytest.skip("there is no Fashion-MNIST at " + create_data.SOURCE)


def test_quick_run(tmp_path):
    needs_data()
    status, out, err = example_runs.run_here(TRAIN, "--quick", "--seeds", 2, "--output", tmp_path)
    assert status == 0, err
    assert out.splitlines()[-1] == "The picture: " + str(tmp_path / "results.png")
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")
    results = json.loads((tmp_path / "results.json").read_bytes().decode("utf-8"))
    for method in train.METHODS:
        assert method.title in out and np.shape(results["scores"][method.name]["neighbours"]) == (2,)
        assert .1 < np.mean(results["scores"][method.name]["centroid"]) < 1


def test_missing_data_is_one_line(tmp_path):
    status, _, err = example_runs.run(TRAIN, "--quick", "--output", str(tmp_path / "out"),
                                      FASHION_MNIST=str(tmp_path / "nowhere"))
    assert status == 2
    assert err.startswith("train.py: error: %s/train-images-idx3-ubyte.gz: expected a file of" % (tmp_path / "nowhere"))
    assert len(err.splitlines()) == 1


def test_wrong_option_is_one_line(tmp_path):
    status, _, err = example_runs.run_here(TRAIN, "--output", tmp_path, "--seeds", 1)
    assert status == 2
    assert "at least 2, got 1" in err and len(err.splitlines()) == 1
