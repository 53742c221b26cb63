"""Each fault of a solver is found, and what is said of Caffe is so."""
from __future__ import division, print_function

import pytest

import real_nets
from caffe_prototxt.check import solvers
from caffe_prototxt.training import caffe_process
from commands import run_main

pytest.importorskip("caffe")

GOOD = '''net: "net.prototxt"
base_lr: 0.1
lr_policy: "fixed"
max_iter: 1
snapshot_prefix: "snap"
solver_mode: CPU
'''
NET = real_nets.input_layer(data=(2, 4), label=(2,)) + '''layer { name: "score" type: "InnerProduct" bottom: "data" top: "score"
  inner_product_param { num_output: 3 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(u"%s" % NET)
    return tmp_path


@pytest.fixture(scope="module")
def known():
    with caffe_process.Caffe() as caffe:
        return caffe.run("", "TRAIN", []).known


@pytest.mark.parametrize("change, line, message", [
    (("lr_policy", "lr_polcy"), 3, "has lr_polcy, which this Caffe does not have, and stops at; is it lr_policy?"),
    (("fixed", "stp"), 3, 'has lr_policy: "stp", which this Caffe does not have, and stops at; is it step?'),
    (("fixed", "Fixed"), 3, None),
    (("fixed", "step"), 3, 'has lr_policy: "step" and no stepsize, and Caffe stops: write stepsize: N'),
    (('lr_policy: "fixed"', ""), None, "has no lr_policy, and Caffe stops: write lr_policy: "),
    (('"fixed"', "fixed"), 3, 'has lr_policy: fixed, and Caffe\'s parser stops: write lr_policy: "fixed", in quotes'),
    (("snap\"", "no/where\""), 5, "writes its snapshots into the folder no, which is not there, and Caffe stops: mkdir -p no"),
    (("max_iter: 1", "max_iter: 1 max_iter: 2"), 4, "has max_iter twice, and Caffe's parser stops: take one of them out"),
    (("max_iter", "train_state { phase: TRIAN } max_iter"), 4, "has phase: TRIAN in train_state, and Caffe stops, as it has"),
    (("max_iter", 'train_state { stages: "a" } max_iter'), 4, "has stages in train_state, which this Caffe does not have, and"),
    (("CPU", "CUP"), 6, "has solver_mode: CUP, which this Caffe does not have, and stops at; is it CPU?"),
    (("max_iter", 'type: "Adamm" max_iter'), 4, 'has type: "Adamm", which this Caffe does not have, and stops at; is it Adam?')])
def test_what_caffe_stops_at(folder, known, change, line, message):
    text = GOOD.replace(*change)
    (folder / "solver.prototxt").write_text(u"%s" % text)
    status, _, err = real_nets.run(["caffe", "train", "-solver", "solver.prototxt"])
    assert status != 0, err
    found = solvers.read_solver(text, "solver.prototxt", known).faults
    assert found[0].level == ("error" if message else "not checked") and found[0].line == line
    assert found[0].message.startswith(message or ""), found[0].message


def test_nothing_where_nothing_is_wrong(folder, known):
    (folder / "solver.prototxt").write_text(u"%s" % GOOD)
    assert real_nets.run(["caffe", "train", "-solver", "solver.prototxt"])[0] == 0
    solver = solvers.read_solver(GOOD + "stepvalue: 3 stepvalue: 4 weights: 'a.caffemodel'", "solver.prototxt", known)
    assert solver == solvers.Solver([("net.prototxt", [("TRAIN", {})])], [], ["a.caffemodel"], None)
    assert [fault.level for fault in solvers.read_solver(GOOD + "of_a_fork: 3\n", None, known).faults] == ["not checked"]
    assert solvers.read_solver(GOOD + "of_a_fork: 3\n").faults == []  # as without Caffe


@pytest.mark.parametrize("start", ["elsewhere", "repository/models/a"])
def test_a_net_from_the_root_of_a_repository(folder, start):
    for name in ("elsewhere", "repository/models/a"):
        (folder / name).mkdir(parents=True)
    (folder / "repository/models/a/net.prototxt").write_text(u"%s" % NET)
    (folder / "repository/models/a/solver.prototxt").write_text(u"%s" % GOOD.replace('"net', '"models/a/net').replace(
        '"snap', '"models/a/snap'))
    status, out, err = run_main("check_net.py", str(folder / "repository/models/a/solver.prototxt"), cwd=str(folder / start))
    root = str(folder / "repository")
    assert status == 0 and not err and "loss in TRAIN: 1 x loss" in out
    assert "warning: line 1: names the net models/a/net.prototxt, which is in %s: run caffe there: cd %s\n" % (root, root) in out
    status, out, err = run_main("check_net.py", "models/a/solver.prototxt", cwd=root)
    assert status == 0 and "run caffe there" not in out and "checked in TRAIN\n" in out
