"""The commands on a net whose loss is out of Caffe's own layers: as on the same net with one layer for it."""
from __future__ import division, print_function

import json
import os
import re

import numpy as np
import pytest

import training
from commands import run_main
from caffe_losses.formats.matrix_files import write_matrix

caffe = pytest.importorskip("caffe")
pytest.importorskip("h5py")

SOLVER = 'net: "train_val.prototxt" base_lr: .1 lr_policy: "fixed" max_iter: 10 snapshot_prefix: "snap" %s'
DENSE = """layer { name: "images" type: "Data" top: "data" include { stage: "a" } data_param { source: "images_lmdb" batch_size: 3 } }
layer { name: "labels" type: "Data" top: "label" include { stage: "a" } data_param { source: "labels_lmdb" batch_size: 3 } }
layer { name: "score" type: "Convolution" bottom: "data" top: "score" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" loss_param { ignore_label: 255 } }
layer { name: "accuracy" type: "Accuracy" bottom: "score" bottom: "label" top: "accuracy" include { phase: TEST } }
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a training of the loss out of Caffe's own layers, and before.prototxt, its net with one layer."""
    top, kept = str(tmp_path_factory.mktemp("native")), os.getcwd()
    os.chdir(top)
    try:
        write_matrix("H.csv", np.eye(3) + .1)
        assert training.train(".", iterations=10) == 0
        os.rename("train_val.prototxt", "before.prototxt")
        status, out, err = run_main("use_loss.py", "before.prototxt", "--loss", "SoftmaxWithInfogainLoss", "--native",
                                    "--source", "H.csv", "-o", "train_val.prototxt")
        assert (status, err) == (0, "")
        text = open("train_val.prototxt").read()
        loss = text[text.index('layer {', text.index('"score"')):text.index('layer { name: "accuracy"')]
        assert training.train(".", loss, arguments=["-weights", "train_val_loss.caffemodel"]) == 0
    finally:
        os.chdir(kept)
    return top


@pytest.fixture
def folder(trained, monkeypatch):
    monkeypatch.chdir(trained)


def command(name, *arguments):
    status, out, err = run_main(name, *arguments)
    assert status == 0 and not err, err
    return out


def put(name, text):
    with open(name, "w") as file:
        file.write(text)
    return name


def faults(name, level="warnings"):
    status, out, err = run_main("check_net.py", name, "--json")
    return [fault["message"] for net in json.loads(out) for fault in net[level]]


def test_check_net_counts_one_loss_and_its_labels(folder):
    out = command("check_net.py", "train_val.prototxt")
    assert re.search(r"loss in TRAIN: 1 x loss \(SoftmaxWithInfogainLoss \(Caffe's own layers\), line \d+\)\n", out)
    assert "labels of loss: 60 counted" in out and "labels of loss: 50 counted" in out
    assert "0 errors, 1 warning" in out


def test_check_net_says_where_the_weights_are_missing(folder):
    missing, = faults("train_val.prototxt")
    assert "caffe train -weights train_val_loss.caffemodel brings them: without that the loss is 0" in missing
    assert faults(put("s.prototxt", SOLVER % "")) == [missing]
    assert faults(put("s.prototxt", SOLVER % 'weights: "before.caffemodel,train_val_loss.caffemodel"')) == []
    assert faults(put("s.prototxt", SOLVER % 'weights: "snap_iter_20.caffemodel"')) == []  # a snapshot has them
    assert faults(put("s.prototxt", SOLVER % 'weights: "snap_iter_10.caffemodel"')) == []
    net = caffe.Net("before.prototxt", caffe.TEST)
    net.save("other.caffemodel")
    assert faults(put("s.prototxt", SOLVER % 'weights: "other.caffemodel"')) == [missing]
    text = open("train_val.prototxt").read()
    assert "-weights FILE.caffemodel (which use_loss.py --native writes)" in faults(put("moved.prototxt", text))[0]


def test_check_net_finds_labels_that_are_no_class(folder):
    """A label that nothing in Caffe refuses: 3 of 3 classes."""
    import h5py
    with h5py.File("bad.h5", "w") as file:
        file["data"], file["label"] = np.zeros((9, 4), np.float32), np.array([0, 1, 2, 3, 0, 1, 2, 0, 1], np.float32)
    put("bad.txt", "bad.h5\n")
    text = open("train_val.prototxt").read().replace("train.txt", "bad.txt")
    found, = faults(put("bad.prototxt", text), "errors")
    assert "has labels that it has no class for" in found and "3" in found
    assert faults(put("void.prototxt", text.replace("eltwise_param", "loss_param { ignore_label: 3 } eltwise_param").replace(
        "reduction_param { operation: MEAN", "loss_param { ignore_label: 3 } reduction_param { operation: MEAN")),
        "errors") == []


def test_check_net_without_the_data_and_with_a_softmax_before(folder):
    """Inputs of the right shape stand for labels that are not there, also where the scores' shape tells it."""
    write_matrix("H4.csv", np.eye(4))
    put("dense.prototxt", DENSE)
    status, out, err = run_main("check_net.py", "dense.prototxt", "--stage", "a", "--shape", "data=3,3,8,8", "--no-python")
    assert status == 0 and "label of 3 x 1 x 6 x 6" in out
    command("use_loss.py", "dense.prototxt", "--loss", "SoftmaxWithInfogainLoss", "--native", "--source", "H4.csv")
    status, native, err = run_main("check_net.py", "dense.prototxt", "--stage", "a", "--shape", "data=3,3,8,8",
                                   "--no-python")
    assert status == 0 and "label of 3 x 1 x 6 x 6" in native
    assert [line for line in native.splitlines() if line.startswith("not checked")] == [
        line for line in out.splitlines() if line.startswith("not checked")]
    softmax = 'layer { name: "p" type: "Softmax" bottom: "score" top: "p" }\n'
    text = open("train_val.prototxt").read()
    at = text.index('layer {', text.index('"score"'))
    text = text[:at] + softmax + text[at:].replace('bottom: "score"', 'bottom: "p"', 1)
    assert any("gets the output of a Softmax, p, and applies one itself" in message
               for message in faults(put("softmax.prototxt", text)))


def test_make_deploy_makes_the_same_net(folder):
    """The composition goes whole, and its comment with it."""
    for name in ("before", "train_val"):
        command("make_deploy.py", name + ".prototxt", "-o", name + "_deploy.prototxt")
    assert open("before_deploy.prototxt").read().split() == open("train_val_deploy.prototxt").read().split()
    command("make_deploy.py", "train_val.prototxt", "--weights", "snap_iter_20.caffemodel", "--class-weights", "1,2,1",
            "-o", "d.prototxt")
    net = caffe.Net("d.prototxt", "d.caffemodel", caffe.TEST)
    assert "loss_gains" not in net.params


def test_report_gives_the_same_figures(folder):
    """The evaluation of the snapshot by its own net, and by the net with one layer for the loss."""
    native = json.loads(command("report.py", "--json", "caffe.log"))
    text, before = open("train_val.prototxt").read(), open("before.prototxt").read()
    try:
        put("train_val.prototxt", before)
        single = json.loads(command("report.py", "--json", "caffe.log", "--score", "score", "--label", "label"))
    finally:
        put("train_val.prototxt", text)
    assert json.dumps(native) == json.dumps(single) and '"accuracy"' in json.dumps(native)


def test_report_says_that_the_weights_were_missing(folder, tmp_path, monkeypatch):
    text = open("train_val.prototxt").read()
    loss = text[text.index('layer {', text.index('"score"')):text.index('layer { name: "accuracy"')]
    monkeypatch.chdir(tmp_path)
    assert training.train(".", loss, iterations=100) == 0
    assert "loss stays at 0, as without the weights of SoftmaxWithInfogainLoss" in command("report.py", "caffe.log")


def test_make_h_counts_the_labels_that_such_a_loss_gets(folder):
    command("make_h.py", "--net", "train_val.prototxt", "-o", "counted.csv")
    command("make_h.py", "--net", "before.prototxt", "-o", "expected.csv")
    assert open("counted.csv").read() == open("expected.csv").read()
