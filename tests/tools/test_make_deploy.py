"""make_deploy.py: what it writes, says and refuses."""
from __future__ import division, print_function

import json
import os

import pytest

import real_nets
from commands import run_main

pytest.importorskip("caffe")

DATA = 'layer { name: "data" type: "Input" top: "data" top: "label" input_param { shape { dim: 4 dim: 5 } shape { dim: 4 } } }\n'
SCORE = '''layer { name: "score" type: "InnerProduct" bottom: "%s" top: "score"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
'''
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }\n'
NET = DATA + SCORE % "data" + LOSS


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("net.prototxt", NET)
    return tmp_path


def write(name, text):
    with open(name, "w") as file:
        file.write(text)


def read(name):
    with open(name) as file:
        return file.read()


def refused(*arguments):
    """Return the one line with which the command ends; it has written nothing."""
    before = sorted(os.listdir("."))
    status, out, err = run_main("make_deploy.py", *arguments)
    assert status == 2 and not out and len(err.splitlines()) == 1 and sorted(os.listdir(".")) == before, (status, out, err)
    return err


def test_what_it_says(folder):
    status, out, err = run_main("make_deploy.py", "net.prototxt", "-o", "deploy.prototxt", "--batch", "1")
    assert status == 0 and not err
    assert out.splitlines() == ["deploy.prototxt: takes data 1 x 5; gives prob (Softmax of score)",
                                "next: caffe.Net('deploy.prototxt', 'your.caffemodel', caffe.TEST)"]
    status, out, err = run_main("make_deploy.py", "net.prototxt", "--batch", "1")
    assert status == 0 and not err and out == read("deploy.prototxt")
    status, out, err = run_main("make_deploy.py", "net.prototxt", "--json", "-o", "again.prototxt", "--batch", "1")
    said = json.loads(out)
    assert status == 0 and not err and read("again.prototxt") == read("deploy.prototxt") and said == {
        "output": "again.prototxt", "net": None, "notes": [], "transforms": {}, "caffemodel": None,
        "weights": None, "counts": None, "inputs": [{"blob": "data", "shape": [1, 5]}],
        "outputs": [{"blob": "prob", "meaning": "Softmax of score"}]}


def test_what_it_refuses(folder):
    write("bad.prototxt", NET.replace("num_output: 3", "num_output: 0"))
    assert ("bad.prototxt: expected a net that Caffe makes when its losses are gone, got one with layer score: Caffe stops"
            in refused("bad.prototxt", "-o", "deploy.prototxt"))
    assert refused("nowhere") == "make_deploy.py: error: nowhere: cannot be read: No such file or directory\n"
    assert "expected an input of the deployed net (data), got dat" in refused("net.prototxt", "--shape", "dat=1,5")
    os.symlink("net.prototxt", "link")
    os.link("net.prototxt", "hard")
    for output in ("net.prototxt", "./net.prototxt", "link", "hard"):
        assert "--output: expected another file than net.prototxt" in refused("net.prototxt", "-o", output)
    assert read("net.prototxt") == NET


@pytest.mark.parametrize("layer, message", [
    (real_nets.python_layer("Layer", ("data",), ("x",), module="nowhere_to_be_found"), "cannot be imported"),
    ('layer { name: "x" type: "ConvolutionDepthwise" bottom: "data" top: "x" }\n', "of type ConvolutionDepthwise, which this Caffe"),
    ('layer { name: "x" type: "Lstm" bottom: "data" top: "x" }\n', "of type Lstm, which this Caffe does not have"),
    ('layer { name: "x" type: "ReLU" bottom: "data" top: "x" relu_param { negative_slop: 1 } }\n', "has negative_slop, which this"),
    ('layer { name: "x" type: "ReLU" bottom: "data" top: "x" fork_param { a: 1 } }\n', "has fork_param, which this Caffe")])
def test_what_this_caffe_lacks_is_written_and_not_checked(folder, layer, message):
    write("net.prototxt", DATA + layer + SCORE % "x" + LOSS)
    status, _, err = run_main("make_deploy.py", "net.prototxt", "-o", "deploy.prototxt")
    assert status == 0 and layer.strip() in read("deploy.prototxt")
    assert len(err.splitlines()) == 1 and "note: not checked: layer x " in err and message in err
