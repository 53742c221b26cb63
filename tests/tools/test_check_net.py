"""The command around caffe_prototxt.check.check, whose tests are in tests/prototxt/test_check.py."""
from __future__ import division, print_function

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import real_nets
from commands import run_main, run_main_bytes

pytest.importorskip("caffe")
from caffe_losses.formats.matrix_files import write_matrix  # noqa: E402

NET = '''layer {
  name: "data" type: "Data" top: "data" top: "label"
  data_param { source: "nowhere" batch_size: 4 backend: LMDB }
}
layer {
  name: "score" type: "InnerProduct" bottom: "data" top: "score"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } }
}
''' + real_nets.python_layer("SoftmaxWithInfogainLoss", ("score", "label"), ("loss",), {"source": "H.npy"}, "%s")
GOOD, BAD = NET % "loss_weight: 0.5", NET % ""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_matrix("H.npy", np.eye(3) + .125)
    return tmp_path


def write(folder, name, text):
    (folder / name).write_text(u"%s" % text)


def test_output(folder):
    write(folder, "net.prototxt", GOOD)
    status, out, err = run_main("check_net.py", "net.prototxt")
    assert status == 0 and not err
    assert out == '''net.prototxt
not checked: layer data, line 1: its data nowhere is not there; inputs stand for it, data of 4 x 3 x 224 x 224, label of 4; so the labels of loss are not checked
loss in TRAIN: 0.5 x loss (caffe_losses.SoftmaxWithInfogainLoss, line 9)
loss in TEST: 0.5 x loss (caffe_losses.SoftmaxWithInfogainLoss, line 9)
0 errors, 0 warnings, 1 not checked
'''
    write(folder, "net.prototxt", BAD)
    status, out, err = run_main("check_net.py", "net.prototxt", "--gpu", "0,1", "--shape", "data=4,1,2,2")
    lines = out.splitlines()
    assert status == 1 and not err
    assert lines[1].startswith("error: layer loss, line 9 in TRAIN: is a loss in Python without loss_weight: ")
    assert lines[2].startswith("error: layer loss, line 9 in TRAIN: is a Python layer, and caffe train takes none on more")
    assert lines[3].endswith("data of 4 x 1 x 2 x 2, label of 4; so the labels of loss are not checked") and lines[4] == "2 errors, 0 warnings, 1 not checked"


def test_states(folder):
    write(folder, "net.prototxt", GOOD.replace('"Data"', '"Data" include { phase: TEST stage: "val" min_level: 2 }'))
    status, out, _ = run_main("check_net.py", "net.prototxt", "--phase", "TEST", "--stage", "a,val", "--level", "2", "--json")
    report, = json.loads(out)
    assert status == 0 and report["loss"] == [{"phase": "TEST", "level": 2, "stages": ["a", "val"], "parts": [{
        "layer": "loss", "line": 9, "top": "loss", "type": "caffe_losses.SoftmaxWithInfogainLoss", "weight": .5}]}]
    assert run_main("check_net.py", "net.prototxt", "--phase", "TEST", "--stage", "val")[0] == 1


def test_solver(folder):
    write(folder, "train_val.prototxt", BAD)
    write(folder, "solver.prototxt", 'net: "train_val.prototxt" base_lr: 0.1 lr_policy: "fixed" test_iter: 1 test_state { stage: "val" }')
    status, out, err = run_main("check_net.py", "solver.prototxt", "--json")
    assert status == 1 and not err
    solver, net = json.loads(out)
    assert [fault["message"] for fault in solver["errors"]] == ["tests, and has no test_interval: Caffe stops"]
    assert net["net"] == "train_val.prototxt" and [fault["kind"] for fault in net["errors"]] == ["no_loss_weight"]
    assert [(state["phase"], state["stages"]) for state in net["loss"]] == [("TRAIN", []), ("TEST", ["val"])]
    write(folder, "solver.prototxt", 'net: "nowhere.prototxt" lr_policy: "fixed"')
    status, out, err = run_main("check_net.py", "solver.prototxt")
    assert status == 1 and "names the net nowhere.prototxt, which is not there; Caffe reads it from where it runs" in out


def test_modules_that_do_not_import(folder):
    path = os.pathsep.join([str(folder), os.environ["PYTHONPATH"]])
    for name, module, timeout, level, message in [
            ("odd", "raise RuntimeError('one\\ntwo')", 60, "error", "its module odd cannot be imported: RuntimeError: one two"),
            ("ends", "import os; os._exit(7)", 60, "error", "it ended with status 7"),
            ("sleeps", "import time; time.sleep(60)", 2, "not checked", "Caffe took longer than 2 s; --timeout sets more")]:
        write(folder, name + ".py", module)
        write(folder, "net.prototxt", BAD.replace('"caffe_losses"', '"%s"' % name))
        status, out, err = run_main("check_net.py", "net.prototxt", "--phase", "TRAIN", "--timeout", timeout,
                                    env=dict(os.environ, PYTHONPATH=path))
        assert status == 1 and not err
        assert [line for line in out.splitlines() if line.startswith(level) and message in line], out
        assert "none here" not in out and out.splitlines()[-1].startswith("1 error" if level != "error" else "2 errors")


def test_without_caffe(folder):
    (folder / "sub").mkdir()
    write(folder, "sub/caffe.py", "raise ImportError('no caffe')")
    write(folder, "net.prototxt", BAD)
    path = os.pathsep.join([str(folder / "sub"), os.environ["PYTHONPATH"]])
    status, out, err = run_main("check_net.py", "net.prototxt", env=dict(os.environ, PYTHONPATH=path))
    assert status == 1 and not err and "1 error, 0 warnings, 1 not checked" in out
    assert "not checked: what Caffe itself says, as there is none here (ImportError: no caffe)" in out
    status, out, err = run_main("check_net.py", "net.prototxt", "--no-caffe")
    assert status == 1 and not err and out.splitlines()[-1] == "1 error, 0 warnings, 1 not checked"


@pytest.mark.parametrize("net, message", [
    ("layer {", "net.prototxt: line 1, column 8: expected"), ("", "expected a net, got an empty file"),
    ("# a comment", "expected a net (a train_val.prototxt), got no layers"),
    ("layer: 3", "line 1, column 8: expected"), ('layers { layer { name: "a" } }', "upgrade_net_proto_text")])
def test_errors_are_one_line(folder, net, message):
    write(folder, "net.prototxt", net)
    status, out, err = run_main("check_net.py", "net.prototxt")
    assert status == 2 and not out and len(err.splitlines()) == 1 and message in err


@pytest.mark.parametrize("option, value, message", [
    ("--shape", "dat=1,1,28,28", "net.prototxt: --shape: expected a top of a data layer (data, label), got dat"),
    ("--shape", "score=1,3", "net.prototxt: --shape: expected a top of a data layer (data, label), got score"),
    ("--shape", "data=4,784", "net.prototxt: --shape data: expected 4 numbers, as its layer is of type Data, got 2"),
    ("--gpu", "a", "argument --gpu: expected numbers of GPUs such as 0,1 or all, got 'a'"), ("--gpu", "-1", "argument --gpu: expected"),
    ("--gpu", "0,", "argument --gpu: expected numbers of GPUs")])
def test_options_that_fit_nothing(folder, option, value, message):
    write(folder, "net.prototxt", GOOD)
    status, out, err = run_main("check_net.py", "net.prototxt", option, value)
    assert status == 2 and not out and len(err.splitlines()) == 1 and message in err
    assert run_main("check_net.py", "net.prototxt", "--shape", "label=4", "--gpu", "0")[0] == 0


def test_no_such_net(folder):
    status, out, err = run_main("check_net.py", "nowhere.prototxt")
    assert status == 2 and err == "check_net.py: error: nowhere.prototxt: cannot be read: No such file or directory\n"


@pytest.mark.parametrize("name", [b"gr\xfcn", b"gr\xc3\xbcn"])
@pytest.mark.parametrize("tool, options", [("check_net.py", ["--json"]), ("check_net.py", []), ("make_deploy.py", ["-o", "out"])])
def test_names_in_any_encoding(folder, name, tool, options):
    text = BAD.replace('name: "score"', 'name: "gr"').replace('"score"', '"SCORE"').encode("ascii").replace(b'"gr"', b'"' + name + b'"')
    (folder / "net.prototxt").write_bytes(text.replace(b"SCORE", name).replace(b"type: \"Python\"", b"type: \"Pyth\xc3\xb6n\"")
                                          if tool == "check_net.py" else text.replace(b"SCORE", name))
    arguments = ["net.prototxt", "--shape", "data=1,2,3,4"] + options
    status, out, err = run_main_bytes(tool, *arguments)
    assert status == 0 and not err, err
    if options == ["--json"]:
        json.loads(out.decode("ascii"))
    elif name == b"gr\xfcn":  # as a process, with a standard output that takes ASCII only
        process = subprocess.Popen([sys.executable, os.path.join(real_nets.CHECKOUT, "tools", tool)] + arguments,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ, LC_ALL="C"))
        assert process.communicate() == (out, b"") and process.returncode == 0
