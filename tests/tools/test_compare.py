"""tools/compare.py on nets that the real caffe train trains."""
from __future__ import division, print_function

import glob
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import processes
import real_nets
import sources
import user_files
from caffe_losses.evaluation import comparison
from caffe_losses.evaluation.comparison import Metric
from caffe_losses.formats import lmdb_files
from caffe_losses.formats.matrix_files import read_matrix, write_matrix
from caffe_losses.matrices import costs, gains
from commands import run_main

caffe = pytest.importorskip("caffe")
pytest.importorskip("matplotlib")

from caffe_tools.compare import comparison as comparison_module, held_out, outcome, trainings  # noqa: E402
from caffe_tools.compare.outcome import Way  # noqa: E402

pytestmark = pytest.mark.scores  # H goes into InfogainLoss

TREE = ("--tree", "tree.txt", "--names", "classes.txt")
PARTS = {"SoftmaxWithLoss": 0, "H": 1, "label smoothing": 1, "class weights and H": 2}
COST = Metric("cost", "mean cost", "%.4f", True)


@pytest.fixture
def folder(tmp_path):
    """A user's folder: a net with unbalanced classes, its solver and data."""
    folder = str(tmp_path)
    user_files.write(folder)
    user_files.write_unbalanced(folder)
    replace(folder, "solver.prototxt", "max_iter: 200", "max_iter: 40")
    return folder


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A folder that compare.py has worked in, and what it printed: with two seeds of all variants."""
    folder = str(tmp_path_factory.mktemp("compared") / "user")
    os.mkdir(folder)
    user_files.write(folder)
    user_files.write_unbalanced(folder)
    replace(folder, "solver.prototxt", "max_iter: 200", "max_iter: 40")
    before = sorted(os.listdir(folder))
    out, err = compare(folder, "--class-weights", "--seeds", "2", *TREE)
    assert sorted(os.listdir(folder)) == sorted(before + ["compare"])
    assert err.startswith("12 trainings, 2 at a time") and err.count("\n") == 1
    return folder, out


@pytest.fixture
def no_page(monkeypatch):
    """Nobody looks at the page, whose pictures take seconds."""
    monkeypatch.setattr(comparison_module, "page", lambda report: u"<html>")


def replace(folder, name, old, new):
    path = os.path.join(folder, name)
    with open(path) as file:
        text = file.read()
    assert old in text
    with open(path, "w") as file:
        file.write(text.replace(old, new))


def compare(folder, *arguments):
    status, out, err = run_main("compare.py", "solver.prototxt", *arguments, cwd=folder)
    assert status == 0, err
    return out, err


def logs(folder):
    return {os.path.basename(path): os.stat(path).st_mtime
            for path in glob.glob(os.path.join(folder, "compare", "trained", "*.log"))}


def results(folder):
    with io.open(os.path.join(folder, "compare", "results.json"), encoding="utf-8") as file:
        return json.load(file)


def test_a_user_s_net_ends_with_a_page(compared):
    folder, out = compared
    assert out.endswith("open it in a browser\n")
    report = results(folder)
    assert [method["name"] for method in report["methods"]] == [
        "SoftmaxWithLoss", "H", "label smoothing", "H, classes shuffled", "class weights", "class weights and H"]
    assert all(method["seeds"] == [0, 1] for method in report["methods"])
    with io.open(os.path.join(folder, "compare", "report.html"), encoding="utf-8") as file:
        assert "<html" in file.read()
    with io.open(os.path.join(folder, "compare", "results.md"), encoding="utf-8") as file:
        assert "| class weights and H, least expected cost |" in file.read()
    rows = {line.split("  ")[0]: line for line in out.splitlines()}
    for method in report["methods"]:
        assert rows[method["name"]].endswith(" %.4f" % method["evaluation"]["probable"]["scores"]["cost"]["mean"])


def test_a_second_time_it_trains_nothing(compared, no_page):
    folder, out = compared
    trained = logs(folder)
    again, err = compare(folder, "--class-weights", "--seeds", "2", *TREE)
    assert not err
    assert logs(folder) == trained and again == out


def test_the_matrices_of_the_variants(folder, no_page):
    compare(folder, "--class-weights", "--tau", "0.5", "--power", ".5", "--seeds", "1", *TREE)
    made = {os.path.basename(path): read_matrix(path)
            for path in glob.glob(os.path.join(folder, "compare", "nets", "*.binaryproto"))}
    D = np.array([[0, 1, 3], [1, 0, 3], [3, 3, 0.]])
    H = gains.gain_from_costs(D, tau=.5)
    weights = np.array([900, 90, 10.]) ** -.5
    weights *= 1000 / (weights * [900, 90, 10]).sum()
    epsilon = (1 - np.diag(H).mean()) * 3 / 2
    order = [2, 0, 1] if np.allclose(made["H__classes_shuffled_tau0.5_seed0.binaryproto"][0, 1], H[2, 0]) else [1, 2, 0]
    expected = {"H_tau0.5": H, "label_smoothing_tau0.5": (1 - epsilon) * np.eye(3) + epsilon / 3,
                "H__classes_shuffled_tau0.5_seed0": H[np.ix_(order, order)],
                "class_weights_power0.5": np.diag(weights), "class_weights_and_H_tau0.5_power0.5": weights[:, None] * H}
    assert sorted(made) == sorted(name + ".binaryproto" for name in expected)
    for name, matrix in expected.items():
        np.testing.assert_allclose(made[name + ".binaryproto"], matrix, rtol=1e-6)


MATRICES = {"H": "H_tau0.75", "class weights": "class_weights_power1", "label smoothing": "label_smoothing_tau0.75",
            "class weights and H": "class_weights_and_H_tau0.75_power1"}


@pytest.mark.parametrize("variant", sorted(MATRICES))
def test_the_lines_at_the_end_make_the_same_net(compared, tmp_path, no_page, monkeypatch, variant):
    """The variant is made to seem the best."""
    folder = str(tmp_path / "user")
    shutil.copytree(compared[0], folder)
    monkeypatch.setattr(outcome, "best_way", lambda ways, metric, n_parts: next(
        way for way in ways if (way.method, way.rule) == (variant, "probable")))
    out, _ = compare(folder, "--class-weights", "--seeds", "2", *TREE)
    lines = [line for line in out.splitlines() if "make_h.py" in line or "use_loss.py" in line]
    assert len(lines) == 2
    for line in lines:
        words = [word for word in shlex.split(line) if not word.endswith("with_caffe.sh")]
        assert run_main(os.path.basename(words[0]), *words[1:], cwd=folder)[0] == 0
    matrix = os.path.join("compare", "nets", MATRICES[variant] + ".binaryproto")
    np.testing.assert_allclose(read_matrix(os.path.join(folder, "infogainH.binaryproto")),
                               read_matrix(os.path.join(folder, matrix)), rtol=1e-5)
    (net,) = glob.glob(os.path.join(folder, "compare", "trained", variant.replace(" ", "_") + "_seed0_??????????.prototxt"))
    with open(net) as ours, open(os.path.join(folder, "train_val.prototxt")) as changed:
        assert ours.read().replace(matrix, "infogainH.binaryproto") == changed.read()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_killed_and_started_again_it_trains_nothing_twice(folder, end):
    replace(folder, "solver.prototxt", "max_iter: 40", "max_iter: 1500")
    command = [sys.executable, os.path.join(real_nets.CHECKOUT, "tools", "compare.py"), "solver.prototxt",
               "--class-weights", "--seeds", "3", "--jobs", "1"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    processes.wait_until(lambda: len(logs(folder)) >= 2, process)
    process.send_signal(end)
    process.communicate()
    kept = logs(folder)
    assert process.returncode and 2 <= len(kept) < 6
    processes.wait_until(lambda: not processes.running_with("compare/trained"))
    _, err = compare(folder, "--class-weights", "--seeds", "3")
    assert err.startswith("%d trainings, and %d that are kept" % (6 - len(kept), len(kept)))
    assert len(logs(folder)) == 6
    assert all(logs(folder)[name] == time_before for name, time_before in kept.items())


def test_what_is_trained_is_told_apart_by_net_solver_and_data(folder, no_page):
    def n_trained():
        err = compare(folder, "--class-weights", "1,2,3", "--seeds", "1")[1]
        return int(err.split()[0]) if err else 0

    assert n_trained() == 2 and n_trained() == 0
    replace(folder, "solver.prototxt", "base_lr: 0.0001", "base_lr: 0.0002")
    assert n_trained() == 2
    replace(folder, "train_val.prototxt", "xavier", "gaussian")
    assert n_trained() == 2
    shutil.rmtree(os.path.join(folder, "test_lmdb"))
    shutil.copytree(os.path.join(folder, "train_lmdb"), os.path.join(folder, "test_lmdb"))
    assert n_trained() == 2 and n_trained() == 0
    err = compare(folder, "--class-weights", "1,2,4", "--seeds", "1")[1]
    assert err.startswith("1 training, and 1 that is kept")


def test_one_that_diverges_is_shown_as_such(folder):
    out, _ = compare(folder, "--class-weights", "1,3e38,3e38", "--seeds", "2", "--distances", "D.csv")
    assert "class weights, seed 1: diverged" in out
    assert "not evaluated, with a seed at least: class weights, class weights and H" in out
    assert "\nlabel smoothing " in out
    with io.open(os.path.join(folder, "compare", "report.html"), encoding="utf-8") as file:
        assert "diverged" in file.read()


def test_one_that_crashes_does_not_stop_the_rest(folder, no_page):
    image = np.zeros((4, 4), np.uint8)
    shutil.rmtree(os.path.join(folder, "train_lmdb"))
    sources.write_lmdb(os.path.join(folder, "train_lmdb"), [
        sources.datum(label, (1, 4, 4), image.tobytes()) for label in (0, 1, 2, 255)])
    arguments = "--variant", "checked=--label-check", "--variant", "H=--source H.npy --loss SoftmaxWithInfogainLoss"
    replace(folder, "train_val.prototxt", 'top: "loss" }', 'top: "loss" loss_param { normalization: VALID } }')
    write_matrix(os.path.join(folder, "H.npy"), np.eye(3))
    out, err = compare(folder, "--seeds", "1", *arguments)
    assert "note: checked, seed 0: failed: ValueError: " in err and "(labels) at " in err
    assert "not evaluated, with a seed at least: " in out
    assert "SoftmaxWithLoss" in out
    err = compare(folder, "--seeds", "1", *arguments)[1]
    assert err.startswith("2 trainings, and 1 that is kept")  # what failed is tried again


def test_lines_for_parallel(folder, no_page):
    arguments = ["--class-weights", "--seeds", "2", "--print-jobs"]
    lines, err = compare(folder, *arguments)
    assert lines.count("\n") == 4 and "note: missing: class weights, seed 1" in err
    assert all("cd %s && " % folder in line and " caffe train -solver compare/trained/" in line
               for line in lines.splitlines())
    status, _, err = real_nets.run(["sh", "-c", lines.splitlines()[0]], cwd=os.path.dirname(folder))
    assert status == 0, err
    more, err = compare(folder, *arguments)
    assert more.count("caffe train") == more.count("\n") == 3 and err.count("note: missing") == 3
    assert "compare/report.html" in err
    with io.open(os.path.join(folder, "compare", "results.md"), encoding="utf-8") as file:
        assert "not complete: to be trained still are " in file.read()
    if not any(os.access(os.path.join(path, "parallel"), os.X_OK) for path in os.environ["PATH"].split(os.pathsep)):
        pytest.skip("no GNU parallel here")
    with open(os.path.join(folder, "lines"), "w") as file:
        file.write(more)
    status, _, err = real_nets.run(["sh", "-c", "parallel --will-cite < lines"], cwd=folder)
    assert status == 0, err
    out, err = compare(folder, *arguments)
    assert not out and "missing" not in err and err.endswith("compare/report.html\n") and err.count("\n") == 1


def test_settings_are_chosen_on_held_out_training_data(folder, no_page):
    out, err = compare(folder, "--distances", "D.csv", "--tau", ".3,1", "--lr", "1,.001", "--seeds", "2")
    assert "SoftmaxWithLoss: chosen is lr 1, by the mean cost on a fifth of the TRAIN data, held out (" in out
    assert "H: tried with tau 0.3, lr 1; tau 0.3, lr 0.001; tau 1, lr 1; tau 1, lr 0.001" in err
    (chosen,) = [line.split("chosen is ")[1].split(", by")[0] for line in out.splitlines() if line.startswith("H: chosen")]
    pairs = dict(pair.rsplit(": ", 1) for pair in out.split("H: chosen")[1].split("held out (")[1].split(")")[0]
                 .replace(", lr", " lr").split(", "))
    assert min(pairs, key=lambda pair: float(pairs[pair])) == chosen.replace(", lr", " lr")
    tried = [path for path in glob.glob(os.path.join(folder, "compare", "trained", "*.prototxt")) if "solver" not in path]
    texts = [open(path).read() for path in tried]
    assert sum("held_out/train_lmdb" in text for text in texts) == 2 * 2 + 4 * 2
    assert all(('"test_lmdb"' in text) != ("held_out/train_lmdb" in text) for text in texts)
    assert sum('"test_lmdb"' in text for text in texts) == 4 * 2


def test_settings_are_chosen_on_a_validation_net(folder, no_page):
    shutil.copytree(os.path.join(folder, "test_lmdb"), os.path.join(folder, "val_lmdb"))
    with open(os.path.join(folder, "train_val.prototxt")) as file:
        text = file.read()
    with open(os.path.join(folder, "val.prototxt"), "w") as file:
        file.write(text.replace("test_lmdb", "val_lmdb"))
    out, _ = compare(folder, "--class-weights", "--lr", "1,.001", "--seeds", "1", "--validate", "val.prototxt")
    assert "SoftmaxWithLoss: chosen is lr 1, by the balanced accuracy on val.prototxt" in out
    assert not os.listdir(os.path.join(folder, "compare", "held_out"))


def test_logit_adjustment(folder, no_page):
    """Train, of several strengths, with the one that is best on held-out data."""
    out, _ = compare(folder, "--logit-adjust", "2,.5", "--seeds", "1")
    assert [method["name"] for method in results(folder)["methods"]] == ["SoftmaxWithLoss", "logit adjustment"]
    chosen, = [strength for strength in ("2", "0.5") if "adjustment: chosen is lr 1, strength %s, by" % strength in out]
    nets = [path for path in glob.glob(os.path.join(folder, "compare", "trained", "logit_adjustment_seed0_*.prototxt"))
            if "solver" not in path and "held_out" not in open(path).read()]
    assert len(nets) == 1 and '{"counts": [900, 90, 10], "strength": %s}' % chosen in open(nets[0]).read()


def test_a_solver_with_a_test_net_is_not_chosen_on_it(folder, no_page):
    with open(os.path.join(folder, "train_val.prototxt")) as file:
        text = file.read()
    with open(os.path.join(folder, "test.prototxt"), "w") as file:
        file.write(text)
    replace(folder, "solver.prototxt", 'net: "train_val.prototxt"', 'train_net: "train_val.prototxt" test_net: "test.prototxt"')
    out, _ = compare(folder, "--class-weights", "--lr", "1,.1", "--seeds", "1")
    read = [json.load(open(path)) for path in glob.glob(os.path.join(folder, "compare", "trained", "*.json"))]
    assert sorted("held_out" in result["source"] for result in read) == [False] * 2 + [True] * 4
    before = logs(folder)
    replace(folder, "test.prototxt", "test_lmdb", "train_lmdb")
    assert "6 trainings" not in out and compare(folder, "--class-weights", "--lr", "1,.1", "--seeds", "1")[1]
    assert len(logs(folder)) > len(before)


def test_json_alone_is_on_standard_output(folder, no_page):
    out, err = compare(folder, "--class-weights", "--lr", "1,.1", "--seeds", "1", "--json")
    assert json.loads(out)["outcome"]["sentences"] and "tried with lr 1; lr 0.1" in err


def test_a_solver_without_tests(folder, no_page):
    replace(folder, "solver.prototxt", "test_iter: 6  test_interval: 100", "")
    out, _ = compare(folder, "--class-weights", "--seeds", "1")
    assert "not evaluated" not in out
    replace(folder, "train_val.prototxt", 'include { phase: TEST }\n', 'include { phase: TEST stage: "none" }\n')
    status, _, err = run_main("compare.py", "solver.prototxt", "--class-weights", cwd=folder)
    assert status == 2 and err.count("\n") == 1
    assert "train_val.prototxt: expected a data layer in the TEST phase" in err


def test_the_order_by_seed(folder, no_page):
    for seed in (0, 1):
        shutil.copytree(os.path.join(folder, "train_lmdb"), os.path.join(folder, "seed%d_lmdb" % seed))
    replace(folder, "train_val.prototxt", "train_lmdb", "seed0_lmdb")
    compare(folder, "--class-weights", "--seeds", "2", "--order-by-seed", "seed%d_lmdb")
    for seed in (0, 1):
        nets = [path for path in glob.glob(os.path.join(folder, "compare", "trained", "*_seed%d_*.prototxt" % seed))
                if "solver" not in path]
        assert len(nets) == 2 and all('"seed%d_lmdb"' % seed in open(path).read() for path in nets)


def test_a_gpu_for_each_training(folder, monkeypatch):
    lines, _ = compare(folder, "--class-weights", "--seeds", "1", "--print-jobs", "--gpu", "0,1")
    (path,) = glob.glob(os.path.join(folder, "compare", "trained", "class_weights*.solver.prototxt"))
    with open(path) as file:
        assert "solver_mode: GPU" in file.read()
    runs = []
    write_matrix(os.path.join(folder, "w.caffemodel"), np.eye(3))
    monkeypatch.chdir(folder)
    trained = trainings.Trainings('net: "a" max_iter: 3', folder, "w.caffemodel", [["-gpu", "0"], ["-gpu", "1"]], True)
    trained._run = lambda jobs, on_end, on_wait: runs.append([job.command for job in jobs])
    trained._estimate = lambda training: None
    trained.train([trained.new("loss", seed, "", 1) for seed in range(2)])
    assert [command[:3] + command[4:] for command in runs[0]] == [
        ["caffe", "train", "-solver", "-weights", "w.caffemodel"]] * 2


WRONG = {
    "nothing to compare": ([], "expected --distances, --tree, --class-weights, --logit-adjust or --variant, got nothing to"),
    "strength": (["--logit-adjust", "-1"], "--logit-adjust: expected positive numbers, got -1"),
    "seeds": (["--class-weights", "--seeds", "0"], "--seeds: expected at least 1, got 0"),
    "gpu": (["--class-weights", "--gpu", "a"], "--gpu: expected numbers of GPUs with commas between them, got 'a'"),
    "tau": (["--distances", "D.csv", "--tau", "0,1"], "--tau: expected positive numbers, got 0,1"),
    "variant": (["--variant", "=--all"], "--variant =--all: expected NAME=OPTIONS"),
    "variant's options": (["--variant", "a=--los b"], "use_loss.py"),
    "weights": (["--class-weights", "1,2"], "weights"),
    "names": (["--names", "nowhere", "--class-weights"], "nowhere: cannot be read: No such file"),
    "layer": (["--class-weights", "--layer", "lo"], "--layer: expected the name of a loss (loss), got lo"),
    "order": (["--class-weights", "--order-by-seed", "a"], "--order-by-seed: expected a source with %d for the seed"),
    "weights of a net": (["--class-weights", "--weights", "a.caffemodel"], "a.caffemodel: cannot be read: No such file"),
    "validation": (["--class-weights", "--validate", "a.prototxt"], "a.prototxt: cannot be read: No such file"),
    "classes": (["--distances", "D2.csv"], "--distances D2.csv: expected 3 classes, as the scores of loss (line 15) have"),
    "a variant's name": (["--variant", "SoftmaxWithLoss=--compute-h"], "--variant SoftmaxWithLoss: expected a name of its "
                                                                       "own, got that of another variant"),
    "validation by a solver": (["--class-weights", "--validate", "solver.prototxt"], "solver.prototxt: expected a net, got "
                                                                                      "a solver"),
    "no such order": (["--class-weights", "--order-by-seed", "a%d"], "--order-by-seed: expected a source of "
                                                                     "train_val.prototxt for the seed 0, got a0"),
    "number of names": (["--class-weights", "--names", "D2.csv"], "--names: expected 3 classes"),
    "output": (["--class-weights", "-o", "D.csv"], "-o D.csv: expected a folder, got a file"),
}


@pytest.mark.parametrize("case", sorted(WRONG))
def test_a_wrong_option_is_one_line(folder, case):
    arguments, message = WRONG[case]
    write_matrix(os.path.join(folder, "D2.csv"), np.ones((2, 2)) - np.eye(2))
    status, out, err = run_main("compare.py", "solver.prototxt", *arguments, cwd=folder)
    assert status == 2 and err.count("\n") == 1 and message in err, (out, err)


def test_wrong_solvers_are_one_line(folder):
    for text, message in (('net: "nowhere.prototxt"', "names the net nowhere.prototxt, which is not there"),
                          ('net: "train_val.prototxt" lr_policy: "fixed"', "the solver: expected max_iter, got none"),
                          ('net: "train_val.prototxt" lr_policy: "fixed" max_iter: 3 foo: 2', "foo"),
                          (user_files.UNBALANCED, "expected a solver, got a net")):
        with open(os.path.join(folder, "solver.prototxt"), "w") as file:
            file.write(text)
        status, _, err = run_main("compare.py", "solver.prototxt", "--class-weights", cwd=folder)
        assert status == 2 and err.count("\n") == 1 and "solver" in err and message in err, err


def test_another_one_in_the_folder_is_one_line(folder):
    import fcntl
    os.mkdir(os.path.join(folder, "compare"))
    with open(os.path.join(folder, "compare", ".lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        status, _, err = run_main("compare.py", "solver.prototxt", "--class-weights", cwd=folder)
    assert status == 2 and "compare: expected no other compare.py in it" in err and err.count("\n") == 1


# Parts of the data held out

DATA = '''layer { name: "data" type: "%s" top: "data" top: "label" include { phase: TRAIN }
  %s { source: "%s" batch_size: 2 } }
layer { name: "test" type: "%s" top: "data" top: "label" include { phase: TEST } %s { source: "test" batch_size: 2 } }'''


def divided(tmp_path, kind, param, source):
    """Return the sources of the two parts."""
    net = DATA % (kind, param, source, kind, param)
    text = held_out.hold_out(net, str(tmp_path / "parts"))
    assert held_out.hold_out(net, str(tmp_path / "parts")) == text
    parts = [part.split('"')[0] for part in text.split('source: "')[1:]]
    assert text == net.replace(source, parts[0]).replace('"test"', '"%s"' % parts[1]).replace(
        'name: "%s"' % parts[1], 'name: "test"')
    return parts


def test_an_lmdb_is_divided(tmp_path):
    source = str(tmp_path / "db")
    sources.write_lmdb(source, [sources.datum(i, (1, 1, 1), b"\0") for i in range(11)])
    records = [[bytes(record) for record in lmdb_files.records(part)]
               for part in [source] + divided(tmp_path, "Data", "data_param", source)]
    assert records[2] == [records[0][4], records[0][9]]
    assert records[1] == [record for i, record in enumerate(records[0]) if i not in (4, 9)]


def test_a_list_is_divided(tmp_path):
    source = str(tmp_path / "list.txt")
    sources.write_text(source, ["%d.png %d" % (i, i) for i in range(6)])
    kept, out = [open(part).read() for part in divided(tmp_path, "ImageData", "image_data_param", source)]
    assert out == "4.png 4\n" and kept == "".join("%d.png %d\n" % (i, i) for i in (0, 1, 2, 3, 5))


def test_hdf5_is_divided(tmp_path):
    h5py = pytest.importorskip("h5py")
    source = str(tmp_path / "list.txt")
    names = [str(tmp_path / ("%d.h5" % i)) for i in range(2)]
    for i, name in enumerate(names):
        with h5py.File(name, "w") as file:
            file["data"], file["label"] = np.arange(12).reshape(6, 2) + 100 * i, np.arange(6)
    sources.write_text(source, names)
    kept, out = [open(part).read().split() for part in divided(tmp_path, "HDF5Data", "hdf5_data_param", source)]
    for i in range(2):
        with h5py.File(kept[i], "r") as of_kept, h5py.File(out[i], "r") as of_out:
            assert of_kept["label"][...].tolist() == [0, 1, 2, 3, 5] and of_out["label"][...].tolist() == [4]
            assert of_out["data"][...].tolist() == [[8 + 100 * i, 9 + 100 * i]]


def test_data_that_cannot_be_divided(tmp_path):
    with pytest.raises(ValueError, match="data .line 1.: expected .* got WindowData; --validate NET"):
        held_out.hold_out(DATA % ("WindowData", "window_data_param", "a", "WindowData", "window_data_param"), "")
    with pytest.raises(ValueError, match="got both phases"):
        held_out.hold_out((DATA % ("Data", "data_param", "a", "Data", "data_param")).replace(
            "include { phase: TRAIN }", ""), "")
    with pytest.raises(IOError, match="nowhere: No such file"):
        held_out.hold_out(DATA % ("Data", "data_param", "nowhere", "Data", "data_param"), str(tmp_path))
    with pytest.raises(ValueError, match="test .line 3.: expected a data layer of the TRAIN phase with the same type"):
        (tmp_path / "list").write_text(u"a 1\n")
        held_out.hold_out(DATA % ("ImageData", "image_data_param", str(tmp_path / "list"), "Data", "data_param"),
                          str(tmp_path))


# What is said

def way(method, rule, values):
    difference, verdict = comparison.compare(COST, [1., 1.1, 1.2][:len(values)], values)
    return Way(method, rule, dict(enumerate(values)), difference, verdict)


def test_the_sentence():
    first = way("SoftmaxWithLoss", "probable", [1., 1.1, 1.2])
    H, smoothing = way("H", "probable", [.5, .6, .71]), way("label smoothing", "probable", [.8, .9, 1.])
    decision = way("SoftmaxWithLoss", "cheapest", [.51, .61, .72])

    def said(*ways):
        ways = [first] + list(ways)
        return outcome.sentence(ways, outcome.best_way(ways, COST, PARTS), COST, ["label smoothing"])

    assert said() == "nothing helped: of 0 variants and decisions none has a better mean cost than SoftmaxWithLoss " \
        "(1.1000) by more than noise; more seeds make the noise smaller: --seeds 10"
    assert said(H, smoothing) == "H helped: mean cost 0.6033, 0.4967 (0.4636 to 0.5297) less than the 1.1000 of " \
        "SoftmaxWithLoss; the controls: label smoothing 0.9000"
    both = way("H", "cheapest", [.3, .41, .5])
    assert said(H, smoothing, both).startswith(
        "H with the decision by least expected cost helped: mean cost 0.4033")
    assert "; H with the decision by least expected cost (0.5993) is better by no more than noise" in said(
        H, way("H", "cheapest", [.49, .6, .708]))
    worse = way("H", "probable", [2., 2.1, 2.2])
    assert outcome.best_way([first, worse], COST, PARTS) is None
    training = way("H", "probable", [.5, .61, .7])
    assert outcome.best_way([first, training, decision], COST, PARTS) == decision  # no training
    weighted = way("class weights and H", "probable", [.5, .6, .71])
    assert outcome.best_way([first, weighted, training], COST, PARTS) == training
    assert outcome.sentence([], None, COST, []) == "no comparison: the net as it is was not evaluated"


def test_the_table_of_seeds_that_are_missing():
    runs = [{"name": name, "seed": seed, "decisions": mean and {
        "rules": ["probable"], "scores": {"probable": {"cost": {"mean": mean}}}}}
        for name, means in (("loss", [1., 1.1, 1.2]), ("H", [.5, .6, None]), ("weights", [None] * 3))
        for seed, mean in enumerate(means)]
    ways = outcome.ways_of(runs, COST)
    assert [way.method for way in ways] == ["loss", "H"] and ways[1].difference.n == 2
    scores = {"scores": {"accuracy": {"mean": .5}, "balanced": {"mean": .5}, "cost": {"mean": .5}}}
    report = {"top": 1, "D": [[0]], "spatial": False, "decisions": [], "methods": [
        {"name": "loss", "evaluation": {"probable": scores}}, {"name": "H", "evaluation": {"probable": scores}},
        {"name": "weights", "evaluation": None}]}
    rows = outcome.rows(report, ways, COST, ["H", "weights"])
    assert rows[0][:3] == ["variant", "change in mean cost", "verdict"] and rows[1][1:3] == ["", ""]
    assert rows[2][0] == "H" and rows[2][2] == "within the noise, 2 of 3 seeds"  # equal differences
    assert rows[3][:3] == ["weights", "", "not evaluated"] and len(set(map(len, rows))) == 1


def test_what_is_known_of_the_comparisons():
    same = Way("loss", "probable", {0: 1., 1: 1.}, *comparison.compare(COST, [1., 1.], [1., 1.]))
    assert outcome.remarks([]) == [] and "all seeds of loss gave the same" in outcome.remarks([same])[1]
    assert outcome.remarks([way("loss", "probable", [1., 1.1, 1.2])] * 48) == [
        "compared on the test data, with loss in 47 ways: of so many about 0.24 would be better by chance alone"]
    one = Way("loss", "probable", {0: 1.}, *comparison.compare(COST, [1.], [1.]))
    assert outcome.sentence([one], None, COST, []).startswith("one seed says nothing of the noise")


def test_a_line_a_minute(monkeypatch, capsys):
    monkeypatch.setattr(trainings, "A_LINE_EACH", -1)
    progress = trainings._Progress(5, 2, 2, 30., "training")
    with progress:
        progress.wait()
        progress.ended()
        progress.started = time.time() - 60
        progress.ended()
        progress.wait()
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["5 trainings, and 2 that are kept, 2 at a time; about 90 s, without the tests",
                     lines[1],
                     "2 of 5 done, about 2 min left"]
    assert lines[1].startswith("0 of 5 done, about ")


def test_costs_shuffled_and_smoothing_as_much():
    D = np.arange(16).reshape(4, 4) * (1 - np.eye(4))
    for seed in range(5):
        shuffled = costs.shuffled_costs(D, seed)
        assert sorted(shuffled.ravel()) == sorted(D.ravel()) and (np.diag(shuffled) == 0).all()
        (order,) = [order for order in ([int(np.flatnonzero((D == value).any(1))[0]) for value in shuffled.max(1)],)]
        np.testing.assert_array_equal(shuffled, D[np.ix_(order, order)])
        assert (np.array(order) != np.arange(4)).all()
    np.testing.assert_array_equal(costs.shuffled_costs(D, 1), costs.shuffled_costs(D, 1))
    H = np.array([[.5, .25, .25], [.1, .8, .1], [.2, .2, .6]])
    assert gains.equal_smoothing(H) == pytest.approx((1 - 1.9 / 3) * 1.5)
    assert np.diag(gains.smoothed_identity(3, gains.equal_smoothing(H))) == pytest.approx(1.9 / 3)
