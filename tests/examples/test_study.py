"""The example study: its cells, settings, decisions and claims, and a quick run of all of it."""
from __future__ import division, print_function

import io
import json
import os
import re
import signal
import sys

import numpy as np
import pytest
from _pytest.monkeypatch import MonkeyPatch  # pytest's own name for it is newer

import real_nets

caffe = pytest.importorskip("caffe")
pytest.importorskip("lmdb")

EXAMPLES = os.path.join(real_nets.CHECKOUT, "examples")
STUDY = os.path.join(EXAMPLES, "study", "study.py")
sys.path[:0] = [os.path.join(EXAMPLES, name) for name in ("study", "segmentation")]

import cells
import choice
import claims
import counts
import create_data
import files
import decisions
import example_runs
import pictures
import study
import study_report
import tasks
from caffe_losses.evaluation.comparison import BETTER, NOISE, WORSE
from caffe_losses.evaluation.rules import RULES
from caffe_losses.matrices.gains import gain_from_costs
from caffe_tools.compare.variants import Change
from commands import run_main

D = files.tree_distances()
RULE = {rule.key: rule for rule in RULES}


def probabilities(n, sharpness=1, seed=0):
    scores = sharpness * np.random.RandomState(seed).randn(n, 10)
    return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)


# Cells

def test_tails_of_all_sizes():
    assert cells.tail_counts(60000) == np.rint(6000 * .01 ** (np.arange(10) / 9)).astype(int).tolist()
    assert cells.tail_counts(300) == [121, 72, 43, 26, 16, 9, 6, 3, 2, 1]
    assert min(cells.tail_counts(20)) == 1


def test_the_grid_has_two_data_sets_four_sizes_and_two_nets():
    grid = cells.grid()
    assert [sum(cell.counts) for cell in grid if cell.data == "balanced"][::2] == [300, 1000, 3000, 60000]
    assert len(set(cell.name for cell in grid)) == len(grid) == 16
    for cell in grid:
        compared = [claim for claim in claims.BALANCED + claims.TAIL if claim.data == cell.data]
        names = [method.name for method in cell.methods]
        assert all(side[0] in names for claim in compared for side in (claim.before, claim.after))


def test_weights_of_the_methods():
    counts = cells.tail_counts(1000)
    of = {method.name: method.gain for method in cells.methods("tail", .75)}
    w, tree = np.diag(of["weights"](D, counts, 0)), of["tree"](D, counts, 0)
    assert np.average(w, weights=counts) == pytest.approx(1)
    assert np.allclose(w * counts, w[0] * counts[0])
    assert np.allclose(of["both"](D, counts, 0), w[:, None] * tree)
    smooth = of["smoothing"](D, counts, 0)
    assert np.diag(smooth).mean() == pytest.approx(np.diag(tree).mean()) and np.ptp(np.diag(smooth)) < 1e-12
    assert not np.allclose(of["shuffled"](D, counts, 0), of["shuffled"](D, counts, 1))
    assert np.allclose(np.sort(of["shuffled"](D, counts, 0).ravel()), np.sort(tree.ravel()))


def test_scaled_cells_scale_h_and_nothing_else():
    grid = cells.grid({"rate": {cell.name: .1 for cell in cells.grid()}})
    for scale, cell in cells.scaled(grid).items():
        none, weighted = [method.gain(D, cell.counts, 0) for method in cell.methods]
        assert np.array_equal(none, scale * np.eye(10))
        assert np.average(np.diag(weighted), weights=cell.counts) == pytest.approx(scale)
        assert cell.rate == .1 and cell.net == "mlp" and sum(cell.counts) == 14891


def test_smoothing_leaves_the_true_class_as_much_as_h():
    smoothing = [method.gain(D, [1] * 10, 0) for method in cells.methods("balanced", .75) if method.name == "smoothing"]
    assert np.diag(smoothing[0]).mean() == pytest.approx(np.diag(gain_from_costs(D, tau=.75)).mean())


# Data and nets

def test_split_takes_what_it_is_told_and_no_image_twice():
    labels = np.arange(200) % 10
    train, validation = files.split(labels, range(1, 11), 4)
    assert np.bincount(labels[train]).tolist() == list(range(1, 11))
    assert np.bincount(labels[validation]).tolist() == [4] * 10
    assert len(set(train) | set(validation)) == len(train) + len(validation)
    again, other = files.split(labels, range(1, 11), 4), files.split(labels, range(1, 11), 4, draw=1)
    assert np.array_equal(train, again[0]) and np.array_equal(validation, again[1])
    assert not np.array_equal(train, other[0])
    with pytest.raises(ValueError, match="class 0: expected 21 images, got 20"):
        files.split(labels, 18, 3)


@pytest.mark.parametrize("name", sorted(files.FILES))
def test_the_nets_read_other_data_and_take_h(name):
    lmdbs = ["/some/lmdb%d" % i for i in range(len(files.FILES[name][2]))]
    plain, with_h = files.train_val(name, lmdbs), files.train_val(name, lmdbs, "H.binaryproto")
    assert all('"%s"' % lmdb in plain for lmdb in lmdbs) and not any(
        '"%s"' % lmdb in plain for lmdb in files.FILES[name][2])
    assert "SoftmaxWithLoss" not in with_h and 'source: "H.binaryproto"' in with_h


def test_logit_adjustment_is_as_use_loss_writes_it(tmp_path):
    net, path = files.FILES["mlp"][0], str(tmp_path / "adjusted.prototxt")
    counts = cells.tail_counts(300)
    status, _, err = run_main("use_loss.py", os.path.join(EXAMPLES, net), "-o", path, "--logit-adjust", "0.5",
                              "--counts", ",".join(map(str, counts)))
    assert (status, err) == (0, "")
    adjusted = Change(str(files.read_text(net)), [], False, None).with_log_prior(counts, .5)
    assert adjusted == files.read_text(path)
    assert files.train_val("mlp", files.FILES["mlp"][2], counts=counts).replace(": 1}", ": 0.5}") == adjusted


# Settings

def test_the_best_settings_are_chosen():
    found = {"weighted_rates": [], "adjusted_rates": [dict(cell="x_mlp", rate=.3, accuracy=[.5])],
             "rates": [dict(cell=cell, rate=rate, accuracy=accuracy) for cell, rate, accuracy in (
                 ("a", .1, [.5, .7]), ("a", .01, [.6, .6]), ("b", .01, [.5, .5]), ("b", .1, [.6, .5]))],
             "taus": [dict(cell=cell, tau=tau, cost=cost) for cell, tau, cost in (
                 ("x_mlp", 1, [.2, .3]), ("x_conv", 1, [.1, .1]), ("x_mlp", .5, [.3, .3]), ("x_conv", .5, [0, 0]),
                 ("y_mlp", 1, [.1, .1]), ("y_mlp", .5, [.2, .2]))]}
    assert choice.settings(found) == {"rate": {"a": .01, "b": .1}, "weighted_rate": {}, "adjusted_rate": {"x_mlp": .3},
                                      "tau": {"x_mlp": .5, "x_conv": .5, "y_mlp": 1}}
    (cell,) = [cell for cell in cells.grid({"rate": {"tail_299_mlp": .1}, "adjusted_rate": {"tail_299_mlp": .3}})
               if cell.name == "tail_299_mlp"]
    assert [getattr(cell, method.rate) for method in (cells.NONE, cells.ADJUSTED)] == [.1, .3]


def test_every_cell_has_a_setting():
    chosen = choice.settings(choice.validation())
    names = set(cell.name for cell in cells.grid())
    assert set(chosen["rate"]) == set(chosen["tau"]) == names
    tails = set(name for name in names if name.startswith("tail"))
    assert set(chosen["weighted_rate"]) == set(chosen["adjusted_rate"]) == tails


# Decisions

def test_temperature_of_scores_that_are_too_large():
    p = probabilities(4000)
    rng = np.random.RandomState(1)
    labels = np.array([rng.choice(10, p=row) for row in p])
    assert decisions.temperature(p, labels) == pytest.approx(1, abs=.1)
    assert decisions.temperature(decisions.scaled(p, 1 / 3), labels) == pytest.approx(3, rel=.1)


def test_scaled_probabilities():
    p = np.array([[.9, .1], [1, 0]])
    assert np.allclose(decisions.scaled(p, 2)[0], np.array([3, 1]) / 4)  # sqrt(.9) : sqrt(.1) = 3 : 1
    assert np.isfinite(decisions.scaled(p, .25)).all() and decisions.scaled(p, .25)[1, 0] == pytest.approx(1)


@pytest.mark.parametrize("rule", [RULE[key] for key in ("probable", "cheapest", "weighted", "weighted_cheapest")])
def test_decisions_are_those_of_the_loop(rule):
    """With weights, a mistake of class j costs w_j times as much."""
    p, w = probabilities(200), np.arange(1, 11) / 3
    labels = np.arange(200) % 10
    right = cost = 0
    for row, label in zip(p, labels):
        costs = []
        for k in range(10):
            costs.append(sum(row[j] * (w[j] if rule.weights else 1) * (D[j, k] if rule.costs else float(j != k))
                             for j in range(10)))
        decided = costs.index(min(costs))
        right += decided == label
        cost += D[label, decided]
    found = decisions.scores(p, labels, D, rule, w)
    assert found["accuracy"] == pytest.approx(right / 200) and found["cost"] == pytest.approx(cost / 200)


def test_weighted_probabilities_are_calibrated_where_the_weights_are_right():
    """There are 2 classes, and others that never occur: 3:1 in training, and as many of each in the test."""
    rng = np.random.RandomState(0)
    x = np.concatenate([rng.randn(20000) - 1, rng.randn(20000) + 1])
    labels = np.repeat([0, 1], 20000)
    odds = np.exp(2 * x) / 3  # of class 1, after a training with 3 of class 0 for each of class 1
    p = np.zeros((40000, 10))
    p[:, 0], p[:, 1] = 1 / (1 + odds), odds / (1 + odds)
    found = decisions.scores(p, labels, D, RULE["weighted"], [1, 3] + [1] * 8)
    assert found["calibration"] < .01 < decisions.scores(p, labels, D)["calibration"]


def test_a_net_that_diverged_decides_for_nothing():
    p = np.full((20, 10), np.nan, np.float32)
    labels = np.arange(20) % 10
    assert decisions.scores(p, labels, D)["accuracy"] == .1
    assert decisions.temperature(p, labels) in decisions.TEMPERATURES


# Claims

def cell(before, after):
    return {"scores": {"none": {"probable": {"cost": before}}, "tree": {"probable": {"cost": after}}}}


@pytest.mark.parametrize("before, after, verdict", [
    ([.30, .31, .32], [.20, .21, .23], BETTER),
    ([.20, .21, .22], [.30, .31, .33], WORSE),
    ([.30, .31, .32], [.31, .30, .33], NOISE),
    ([.3, .3], [.3, .3], NOISE),
])
def test_verdicts(before, after, verdict):
    claim = claims.BALANCED[0]
    assert claims.difference(cell(before, after), claim, claims.COST)[1] == verdict
    assert claims.change(cell(before, after), claim, claims.COST) == pytest.approx(
        100 * (np.mean(after) / np.mean(before) - 1), abs=1e-9)


def test_interval_of_a_difference():
    interval, _ = claims.difference(cell([0, 0, 0], [1, 2, 3]), claims.BALANCED[0], claims.COST)
    half = 9.9248 / np.sqrt(3)  # Student's t, 99.5 %, 2 degrees of freedom; the standard deviation is 1
    assert (interval.mean, interval.low, interval.high) == pytest.approx((2, 2 - half, 2 + half), rel=1e-4)


# The command

def run_study(output):
    return example_runs.run_here(STUDY, "--quick", "--seeds", 2, "--output", output)


@pytest.fixture(scope="module")
def stopped_and_gone_on(tmp_path_factory):
    """A run that was stopped after a few nets, and one over what it left."""
    if not os.path.isdir(create_data.SOURCE):
        pytest.skip("there is no Fashion-MNIST at " + create_data.SOURCE)
    output = tmp_path_factory.mktemp("study")

    def kept():
        folder = str(output / "outcomes")
        names = os.listdir(folder) if os.path.isdir(folder) else []
        return {name: os.stat(os.path.join(folder, name)).st_mtime for name in names if not name.startswith(".")}

    def keep_and_interrupt(outcomes, task, training):
        keep(outcomes, task, training)
        if len(kept()) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    keep, quick = tasks.Outcomes._keep, cells.quick
    patch = MonkeyPatch()
    if not counts.ALL:
        patch.setattr(cells, "quick", lambda grid: [cell for cell in quick(grid) if cell.net == cells.NETS[0]])
    patch.setattr(tasks.Outcomes, "_keep", keep_and_interrupt)
    stopped = run_study(output)
    patch.setattr(tasks.Outcomes, "_keep", keep)
    left = kept()
    gone_on = run_study(output)
    yield output, stopped, left, gone_on, kept()
    patch.undo()


@pytest.mark.scores
def test_stopped_study_says_how_to_go_on(stopped_and_gone_on):
    output, (status, _, err), left, _, _ = stopped_and_gone_on
    assert status == 130 and err.strip().splitlines()[-1] == "study.py: stopped; run it again to go on"
    assert not example_runs.running_with(str(output))


@pytest.mark.scores
def test_the_next_run_goes_on(stopped_and_gone_on):
    output, _, left, (status, out, err), all_kept = stopped_and_gone_on
    assert status == 0, err
    assert "%d of them trained already" % len(left) in out
    assert len(all_kept) > len(left) and all(all_kept[name] == time for name, time in left.items())
    assert not [name for name in os.listdir(str(output / "nets")) if name.endswith(".caffemodel")]
    results = json.loads((output / "results.json").read_bytes().decode("utf-8"))
    assert (output / "RESULTS.md").read_bytes().decode("utf-8") == study_report.report(results)
    assert (output / "results.png").read_bytes().startswith(b"\x89PNG")
    for claim in claims.BALANCED + claims.TAIL:
        assert claim.title in out


@pytest.mark.scores
def test_nothing_is_trained_twice(stopped_and_gone_on, monkeypatch):
    output, _, _, _, all_kept = stopped_and_gone_on
    monkeypatch.setattr(pictures, "draw", lambda *_, **__: None)
    monkeypatch.setattr(pictures, "draw_scenes", lambda *_, **__: None)
    status, out, err = run_study(output)
    assert status == 0, err
    counted = [(int(nets), int(trained))
               for nets, trained in re.findall(r"(\d+) nets, (\d+) of them trained already", out)]
    assert all(nets == trained for nets, trained in counted) and sum(nets for nets, _ in counted) == len(all_kept)


def test_damaged_data_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"not gzip at all")
    monkeypatch.setattr(create_data, "SOURCE", str(tmp_path))
    status, _, err = run_study(tmp_path / "out")
    assert status == 2
    assert "train-images-idx3-ubyte.gz" in err and len(err.splitlines()) == 1


@pytest.mark.scores
def test_folder_in_use_is_one_line(tmp_path):
    with study.alone_in(study.Folder(str(tmp_path))):
        status, _, err = run_study(tmp_path)
    assert status == 2
    assert "another run is writing into " + str(tmp_path) in err and len(err.splitlines()) == 1


def test_wrong_option_is_one_line(tmp_path):
    status, _, err = example_runs.run(STUDY, "--output", str(tmp_path), "--seeds", "1")
    assert status == 2
    assert "at least 2, got 1" in err and len(err.splitlines()) == 1


def test_a_classic_caffe_is_one_line(tmp_path, classic_caffe):
    status, out, err = example_runs.run_here(STUDY, "--output", tmp_path / "out", "--quick")
    assert status == 2 and not out and not os.path.exists(str(tmp_path / "out"))
    assert ": error: expected a Caffe of April 2017 or later, whose InfogainLoss takes scores, got one whose " in err
    assert len(err.splitlines()) == 1


# What is committed

def read(name):
    with io.open(os.path.join(EXAMPLES, "study", name), encoding="utf-8") as file:
        return file.read()


def test_committed_report_is_what_the_figures_say():
    results = json.loads(read("results.json"))
    assert study_report.report(results) == read("RESULTS.md")
    assert results["tried"] == choice.validation()
    assert len(results["cells"]) == 16 and results["seeds"] >= 10
