"""report.py on which decision is best, against slow loops, and the command that builds it."""
from __future__ import division, print_function

import json
import os
import re
import shlex
import shutil

import numpy as np
import pytest

import real_nets
import training
from commands import run_main

caffe = pytest.importorskip("caffe")

TRAIN_COUNTS, TEST_COUNTS, C = (80, 16, 4), (240, 160, 85), 3
D = np.array([[0, 1, 3], [2, 0, 3], [3, 3, 0.]])
COSTS = "0,1,3\n2,0,3\n3,3,0\n"
RULES = {"probable": (0, 0, 0), "cheapest": (0, 1, 0), "weighted": (1, 0, 0), "weighted_cheapest": (1, 1, 0),
         "calibrated": (0, 0, 1), "calibrated_cheapest": (0, 1, 1), "calibrated_weighted": (1, 0, 1),
         "calibrated_weighted_cheapest": (1, 1, 1)}  # weights, costs, calibrated

DENSE = """
layer { name: "data" type: "HDF5Data" top: "data" top: "label" include { phase: TRAIN }
        hdf5_data_param { source: "train.txt" batch_size: 10 } }
layer { name: "data" type: "HDF5Data" top: "data" top: "label" include { phase: TEST }
        hdf5_data_param { source: "test.txt" batch_size: 8 } }
layer { name: "score" type: "Convolution" bottom: "data" top: "score"
        convolution_param { num_output: 3 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss"
        loss_param { ignore_label: 255 } }
"""


def write_data(folder, n_test=sum(TEST_COUNTS), shape=(), ignored=0.):
    """Write data whose classes are rare in training and overlap. Returns the labels of the training and the test data."""
    import h5py
    rng, written = np.random.RandomState(3), []
    for name, counts in (("train", TRAIN_COUNTS), ("test", TEST_COUNTS)):
        labels = rng.permutation(np.repeat(np.arange(C), counts))
        if shape:
            labels = rng.choice(labels, size=(25,) + shape)
        x = rng.randn(4, *labels.shape) + 1.6 * np.moveaxis(np.eye(C, 4)[labels], -1, 0)
        labels = np.where(rng.rand(*labels.shape) < ignored, 255, labels)
        with h5py.File(os.path.join(folder, name + ".h5"), "w") as file:
            file["data"], file["label"] = np.moveaxis(x, 0, 1).astype(np.float32), labels.astype(np.float32)
        written.append(labels)
    return written


def train(folder, net=None, seed=1, log="caffe.log"):
    """Train on the data in a folder."""
    with open(os.path.join(folder, "train_val.prototxt"), "w") as file:
        file.write(net or training.NET % training.LOSS)
    with open(os.path.join(folder, "solver.prototxt"), "w") as file:
        file.write((training.SOLVER % (.1, 40, seed)).replace('"snap"', '"snap_%d"' % seed))
    for name in ("train", "test"):
        with open(os.path.join(folder, name + ".txt"), "w") as file:
            file.write(name + ".h5\n")
    status, _, err = real_nets.run(["caffe", "train", "-solver", "solver.prototxt"], cwd=folder,
                                   env=dict(os.environ, GLOG_minloglevel="0", OPENBLAS_NUM_THREADS="1"))
    assert status == 0, err
    with open(os.path.join(folder, log), "w") as file:
        file.write(err)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("decisions"))
    write_data(folder)
    for seed in (1, 2):
        train(folder, seed=seed, log="net_seed%d.log" % seed)
    with open(os.path.join(folder, "D.csv"), "w") as file:
        file.write(COSTS)
    return folder


@pytest.fixture
def folder(trained, monkeypatch):
    monkeypatch.chdir(trained)
    return trained


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("dense"))
    write_data(folder, shape=(6, 7), ignored=.3)
    train(folder, DENSE)
    return folder


def report(*arguments):
    status, out, err = run_main("report.py", *arguments)
    assert status == 0 and not err, err
    return out


def as_json(*arguments):
    return json.loads(report("--json", *arguments))


def scores_and_labels(snapshot, n_batches, n):
    """The scores N x C x pixels and labels N x pixels that Caffe has for the test data."""
    net = caffe.Net("train_val.prototxt", snapshot, caffe.TEST)
    x, labels = [], []
    for _ in range(n_batches):
        net.forward()
        x.append(net.blobs["score"].data.copy())
        labels.append(net.blobs["label"].data.copy())
    x, labels = np.concatenate(x)[:n], np.concatenate(labels)[:n]
    return x.reshape(n, C, -1).astype(np.float64), labels.reshape(n, -1).astype(int)


def by_hand(x, labels, counts, rule, temperatures, halves):
    """The scores of a rule, position by position."""
    is_weighted, has_costs, calibrated = rule
    w = [sum(counts) / count if is_weighted else 1 for count in counts]
    costs = D if has_costs else 1 - np.eye(C)
    right, present, paid, hits = [0] * C, [0] * C, 0, 0
    bins = np.zeros((15, 3))
    for i in range(len(x)):
        T = temperatures[halves[i]] if calibrated else 1
        for j in range(x.shape[2]):
            label = labels[i, j]
            if label == 255:
                continue
            e = [np.exp((x[i, k, j] - x[i, :, j].max()) / T) for k in range(C)]
            p = [number / sum(e) for number in e]
            expected = [sum(w[t] * p[t] * costs[t, k] for t in range(C)) for k in range(C)]
            order = sorted(range(C), key=lambda k: expected[k])
            decided = order[0]
            right[label] += decided == label
            present[label] += 1
            paid += D[label, decided]
            hits += label in order[:2]
            at = min(14, int(np.ceil(p[decided] * 15)) - 1)
            bins[at] += 1, decided == label, p[decided]
    n = sum(present)
    return {"accuracy": sum(right) / n, "balanced": np.mean([one / all_ for one, all_ in zip(right, present)]),
            "cost": paid / n, "top_accuracy": hits / n,
            "calibration": sum(abs(bins[:, 1] - bins[:, 2])) / n}


def halves_of(labels):
    """Which half each sample is in: in the order of their labels in turn; images as they come."""
    order = range(len(labels)) if labels.shape[1] > 1 else sorted(range(len(labels)), key=lambda i: labels[i, 0])
    halves = [None] * len(labels)
    for number, i in enumerate(order):
        halves[i] = number % 2
    return np.array(halves)


def best_temperature(x, labels):
    """By a fine grid."""
    def loss(T):
        scaled = x / T
        log_p = scaled - scaled.max(axis=1, keepdims=True)
        log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
        return -np.mean([log_p[i, labels[i, j], j] for i in range(len(x)) for j in range(x.shape[2])
                         if labels[i, j] != 255])
    return min(np.exp(np.linspace(np.log(.2), np.log(5), 1000)), key=loss)


def check_by_hand(run, x, labels, counts):
    found, halves = run["decisions"], halves_of(labels)
    for half in (0, 1):
        fitted_on = halves != half
        assert found["temperatures"][half] == pytest.approx(best_temperature(x[fitted_on], labels[fitted_on]), rel=.01)
    assert found["temperature"] == pytest.approx(best_temperature(x, labels), rel=.01)
    assert set(found["rules"]) == set(RULES)
    for name, rule in RULES.items():
        expected = by_hand(x, labels, counts, rule, found["temperatures"], halves)
        for key, value in expected.items():
            assert found["scores"][name][key]["mean"] == pytest.approx(value, abs=1e-6), (name, key)


def test_a_net_with_rare_classes(folder):
    found = as_json("net_seed1.log", "--distances", "D.csv", "--top", "2")
    (run,), (decision,) = found["runs"], found["decisions"]
    assert run["decisions"]["class_weights"]["counts"] == list(TRAIN_COUNTS)
    x, labels = scores_and_labels("snap_1_iter_40.caffemodel", 25, sum(TEST_COUNTS))
    check_by_hand(run, x, labels, TRAIN_COUNTS)
    check_interval(decision, x, labels)
    for name in ("probable", "cheapest"):
        for key in ("accuracy", "balanced", "cost", "top_cost", "calibration"):
            assert decision["scores"][name][key]["mean"] == pytest.approx(run["evaluation"][name]["scores"][key])


def check_interval(decision, x, labels):
    """The interval of class weights by another bootstrap."""
    x, labels = x[:, :, 0], labels[:, 0]
    before = labels == x.argmax(axis=1)
    after = labels == (x - np.log(TRAIN_COUNTS)).argmax(axis=1)
    rng, drawn = np.random.RandomState(7), []

    def recall(right, chosen):
        return np.mean([right[chosen][labels[chosen] == k].mean() for k in range(C)])

    for _ in range(2000):
        chosen = rng.randint(len(labels), size=len(labels))
        drawn.append(recall(after, chosen) - recall(before, chosen))
    mean = recall(after, np.arange(len(labels))) - recall(before, np.arange(len(labels)))
    low, high = np.percentile(drawn, [.5, 99.5])
    found = decision["differences"]["weighted"]["balanced"]
    assert found["mean"] == pytest.approx(mean, abs=1e-6)
    assert [found["low"], found["high"]] == pytest.approx([2 * mean - high, 2 * mean - low], abs=.02)


def test_the_command_builds_the_best_decision(folder):
    (decision,) = as_json("net_seed1.log")["decisions"]
    assert decision["best"] == "weighted"  # recall of the rarest from nothing to something
    sentence, command = report("net_seed1.log").splitlines()[-2:]
    assert sentence == decision["sentence"] and command.strip() == decision["command"]
    difference, score = [decision[key]["weighted"]["balanced"] for key in ("differences", "scores")]
    assert sentence.partition(";")[0] == (
        "net: the best decision is by class weights: mean recall %.4f, which is %.4f (%.4f to %.4f) more than by the most "
        "probable class" % (score["mean"], difference["mean"], difference["low"], difference["high"]))
    built = deployed(command)
    assert "--counts 80,16,4" in command
    x, labels = scores_and_labels("snap_1_iter_40.caffemodel", 25, sum(TEST_COUNTS))
    assert decisions(built) == (x[:, :, 0] - np.log(TRAIN_COUNTS)).argmax(axis=1).tolist()


def deployed(command):
    """Run the make_deploy.py that a line names. Returns the net."""
    words = shlex.split(command)
    words = words[[os.path.basename(word) for word in words].index("make_deploy.py") + 1:]
    status, _, err = run_main("make_deploy.py", *words)
    assert status == 0, err
    return caffe.Net("decision.prototxt", "decision.caffemodel", caffe.TEST)


def decisions(net):
    import h5py
    with h5py.File("test.h5", "r") as file:
        x = file["data"][:]
    net.blobs["data"].reshape(*x.shape)
    net.blobs["data"].data[...] = x
    net.forward()
    return net.blobs[net.outputs[-1]].data.argmax(axis=1).tolist()


def test_costs_and_weights_of_the_user(folder):
    with open("w.txt", "w") as file:
        file.write("1\n3\n9\n")
    (run,), (decision,) = [as_json("net_seed1.log", "--distances", "D.csv", "--class-weights", "w.txt", "--top", "2")[key]
                           for key in ("runs", "decisions")]
    x, labels = scores_and_labels("snap_1_iter_40.caffemodel", 25, sum(TEST_COUNTS))
    check_by_hand(run, x, labels, (9, 3, 1))
    assert run["decisions"]["class_weights"]["options"] == ["--class-weights", "w.txt"]
    assert decision["best"] is not None and "the best decision is by " in decision["sentence"]
    assert "mean cost" in decision["sentence"] and " less than by the most probable class" in decision["sentence"]
    assert decision["best"] == "cheapest" and decision["command"].endswith(
        "snap_1_iter_40.caffemodel --distances D.csv -o decision.prototxt")
    e = np.exp(x[:, :, 0])
    assert decisions(deployed(decision["command"])) == (-e.dot(D)).argmax(axis=1).tolist()


def test_seeds(folder):
    found = as_json("net_seed1.log", "net_seed2.log")
    (decision,) = found["decisions"]
    assert decision["name"] == "net" and decision["seeds"] == 2 and "over seeds" in decision["intervals"]
    recalls = [[run["decisions"]["scores"][rule]["balanced"]["mean"] for run in found["runs"]]
               for rule in ("probable", "weighted")]
    change = np.subtract(recalls[1], recalls[0])
    difference = decision["differences"]["weighted"]["balanced"]
    assert difference["mean"] == pytest.approx(change.mean()) and difference["n"] == 2
    half = 63.6567 * change.std(ddof=1) / np.sqrt(2)
    assert difference["high"] == pytest.approx(min(1, change.mean() + half), abs=1e-4)
    assert (decision["best"] is None) == (half >= change.mean())
    assert "snap_1_iter_40.caffemodel" in decision["command"]
    two = as_json("a=net_seed1.log", "b=net_seed2.log")["decisions"]
    assert [one["name"] for one in two] == ["a", "b"] and all("bootstrap" in one["intervals"] for one in two)


def test_pixels_of_which_some_are_ignored(dense, monkeypatch):
    monkeypatch.chdir(dense)
    with open("D.csv", "w") as file:
        file.write(COSTS)
    import h5py
    with h5py.File("train.h5", "r") as file:
        counts = [int((file["label"][:] == k).sum()) for k in range(C)]
    found = as_json("caffe.log", "--distances", "D.csv", "--top", "2")
    (run,) = found["runs"]
    assert run["spatial"] and run["decisions"]["class_weights"]["counts"] == counts
    x, labels = scores_and_labels("snap_1_iter_40.caffemodel", 4, 25)
    assert (labels == 255).any()
    check_by_hand(run, x, labels, counts)
    assert found["decisions"][0]["scores"]["probable"]["cost"]["n"] == 25  # images


def test_the_command_names_the_loss_where_there_are_several(dense, monkeypatch):
    """Evaluated is the last; the first has scores of its own."""
    monkeypatch.chdir(dense)
    with open("two.prototxt", "w") as file:
        file.write(DENSE.replace('name: "loss"', 'name: "last"').replace('layer { name: "score"', """
            layer { name: "aux" type: "Convolution" bottom: "data" top: "aux" convolution_param { num_output: 3 kernel_size: 1 } }
            layer { name: "first" type: "SoftmaxWithLoss" bottom: "aux" bottom: "label" top: "first"
                    loss_param { ignore_label: 255 } }
            layer { name: "score\""""))
    (decision,) = as_json("caffe.log,two.prototxt")["decisions"]
    (expected,) = as_json("caffe.log")["decisions"]
    assert decision["scores"] == expected["scores"] and "--loss last" in decision["command"]
    net = caffe.Net("two.prototxt", caffe.TEST)
    net.copy_from("snap_1_iter_40.caffemodel")
    net.save("two.caffemodel")
    assert deployed(decision["command"].replace("snap_1_iter_40", "two")).outputs == ["prob"]


def test_no_training_data_are_said(folder, tmp_path):
    for name in os.listdir("."):
        if not name.startswith("train.") and os.path.isfile(name):
            shutil.copy(name, str(tmp_path))
    os.chdir(str(tmp_path))
    (decision,) = as_json("net=train_val.prototxt,snap_1_iter_40.caffemodel")["decisions"]
    assert decision["rules"] == ["probable", "calibrated"]
    (note,) = decision["notes"]
    assert re.match(r"without class weights: train_val.prototxt: layer data: its source 'train.txt' is not there .*; "
                    "--class-weights FILE gives some$", note), note
    assert decision["sentence"] == "net: without costs and class weights the most probable class is the only decision"
    with open("test_only.prototxt", "w") as file:
        file.write((training.NET % training.LOSS).partition("layer { name: \"data\" type")[2].partition("layer")[1]
                   + (training.NET % training.LOSS).split("layer", 2)[2])
    (decision,) = as_json("net=test_only.prototxt,snap_1_iter_40.caffemodel")["decisions"]
    assert decision["notes"] == ["without class weights: test_only.prototxt: expected a data layer that makes the blob label, "
                                 "got none of phase TRAIN; --class-weights FILE gives some"]


@pytest.mark.parametrize("weights, message", [
    ("1,2", "--class-weights: expected 3 numbers, as the net has classes, got 2"),
    ("1,2,3,4", "--class-weights: expected 3 numbers, as the net has classes, got 4"),
    ("1,-2,3", "class weights: expected numbers of at least 0, got -2 for class 1"),
    ("0,0,0", "class weights: expected at least one above 0"),
    ("w2.txt", "--class-weights: expected 3 numbers, as the net has classes, got 2"),
    ("missing.txt", "--class-weights: expected numbers with commas between them, or a file of them, got 'missing.txt'")])
def test_class_weights_that_do_not_fit(folder, weights, message):
    with open("w2.txt", "w") as file:
        file.write("1 2\n")
    status, out, err = run_main("report.py", "net_seed1.log", "--class-weights", weights)
    assert status == 2 and not out and len(err.splitlines()) == 1 and message in err, err


def test_the_page_ends_with_the_decision(folder):
    pytest.importorskip("matplotlib")
    report("net_seed1.log", "--distances", "D.csv", "-o", "report.html")
    with open("report.html", "rb") as file:
        page = file.read().decode("utf-8")
    (decision,) = as_json("net_seed1.log", "--distances", "D.csv")["decisions"]
    section = page.rpartition("<h2>Which decision?</h2>")[2]
    assert decision["sentence"] in section and "<code>" in section and "make_deploy.py" in section
    assert section.count("<tr>") == 1 + len(RULES) and section.count("better best") == (decision["best"] is not None)
    for rule in decision["rules"]:
        assert "%.4f" % decision["scores"][rule]["cost"]["mean"] in section
    assert "%+.4f" % decision["differences"]["weighted"]["balanced"]["low"] in section
