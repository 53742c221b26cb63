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
sys.path[:0] = [EXAMPLE, os.path.join(real_nets.CHECKOUT, "examples", "common")]

import data
import embedding_net
import embedding_report
import example_runs
import neighbours
import settings


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
@pytest.mark.parametrize("n_threads", [1, 3])
def test_neighbours_are_those_of_the_loop(k, n_threads):
    train, labels = clusters(60)
    test, _ = clusters(450, seed=1)  # three blocks
    found = neighbours.decide_by_neighbours(train, labels, test, k, n_threads)
    assert found.tolist() == [decide_slowly(train, labels, row, k) for row in test]


@pytest.mark.parametrize("n", [5, 6, 48, 49, 50, 1000])
@pytest.mark.parametrize("k", [1, 5])
def test_the_smallest_are_all_found(n, k):
    values = np.random.RandomState(n).rand(40, n)
    found = np.sort(neighbours._smallest(values, k), axis=1)
    np.testing.assert_array_equal(found, np.sort(np.argsort(values, axis=1)[:, :k], axis=1))


def test_centroids():
    train, labels = clusters(60)
    test, _ = clusters(20, seed=1)
    centroids = [train[labels == label].mean(axis=0) for label in range(3)]
    expected = [np.argmin([((row - centroid) ** 2).sum() for centroid in centroids]) for row in test]
    assert neighbours.decide_by_centroid(train, labels, test).tolist() == expected


def test_scores_are_shares():
    train, labels = clusters(60)
    assert neighbours.scores(train, labels, train, labels)["neighbours"] == np.mean(
        neighbours.decide_by_neighbours(train, labels, train) == labels)


def test_plane_finds_the_dimensions_that_part_the_classes():
    rng = np.random.RandomState(0)
    labels = np.arange(300) % 3
    x = rng.randn(300, 5).astype(np.float32)
    x[:, 4] *= 50  # the largest variance says nothing
    x[:, 1] += 9 * (labels == 1)
    x[:, 3] += 9 * (labels == 2)
    points = neighbours.plane(x, labels, x)
    spread = max(points[labels == label].std(axis=0).max() for label in range(3))
    middles = [points[labels == label].mean(axis=0) for label in range(3)]
    for i in range(3):
        assert np.linalg.norm(middles[i] - middles[i - 1]) > 4 * spread


@pytest.mark.parametrize("scale", [0, 1])
def test_plane_of_what_never_changes(scale):
    train, labels = clusters(60)
    train = np.hstack([scale * train, np.zeros((60, 4), np.float32)])
    assert np.isfinite(neighbours.plane(train, labels, train)).all()


# Net

@pytest.mark.parametrize("setting", settings.TRIED + [method.setting for method in settings.METHODS])
def test_deployed_net_is_the_trunk_alone(setting):
    net = embedding_net.train_val("name", setting, "train")
    deployed = [layer for layer in net.layer if not layer.exclude and layer.type != "Data"]
    assert deployed[0].type == "Input" and deployed[-1].top[0] == "embedding"
    assert not set(layer.type for layer in deployed) - {"Input", "InnerProduct", "Convolution", "ReLU"}


# Report

def test_results_are_what_the_report_makes_of_the_figures():
    with io.open(os.path.join(EXAMPLE, "results.json"), encoding="utf-8") as file:
        results = json.load(file)
    with io.open(os.path.join(EXAMPLE, "validation.json"), encoding="utf-8") as file:
        assert json.load(file) == results["tried"]
    with io.open(os.path.join(EXAMPLE, "RESULTS.md"), encoding="utf-8") as file:
        assert embedding_report.as_markdown(results) == file.read()
    assert [settings.text(setting) for setting in settings.TRIED] == [title for title, _ in results["tried"][1:]]
    assert all(method.setting in settings.TRIED for method in settings.METHODS)
    assert [settings.text(method.setting) for method in settings.METHODS] == [text for _, _, text in results["methods"]]


# The command

def needs_data():
    if not os.path.isdir(data.FOLDER):
        pytest.skip("there is no Fashion-MNIST at " + data.FOLDER)


def test_quick_run(tmp_path):
    needs_data()
    status, out, err = example_runs.run_here(TRAIN, "--quick", "--output", tmp_path)
    assert status == 0, err
    assert out.splitlines()[-1].endswith(str(tmp_path / "results.png"))
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")
    results = json.loads((tmp_path / "results.json").read_bytes().decode("utf-8"))
    for method in settings.METHODS:
        assert method.title in out and np.shape(results["scores"][method.name]["neighbours"]) == (2,)
        assert .1 < np.mean(results["scores"][method.name]["centroid"]) < 1


def test_missing_data_is_one_line(tmp_path):
    status, _, err = example_runs.run(TRAIN, "--quick", "--output", str(tmp_path / "out"),
                                      FASHION_MNIST=str(tmp_path / "nowhere"))
    assert status == 2
    assert err.startswith("train.py: error: no Fashion-MNIST at " + str(tmp_path / "nowhere"))
    assert len(err.splitlines()) == 1


def test_wrong_option_is_one_line(tmp_path):
    status, _, err = example_runs.run_here(TRAIN, "--output", tmp_path, "--seeds", 1)
    assert status == 2
    assert "at least 2, got '1'" in err and len(err.splitlines()) == 1
