"""A Caffe whose InfogainLoss is that of before April 2017: faults of its nets, and nets written for it."""
from __future__ import division, print_function

import pytest

from caffe_prototxt.check import text_checks
from caffe_prototxt.net.graph import Graph
from caffe_prototxt.net.nets import Net
from caffe_prototxt.net.states import State
from commands import run_main

DATA = 'layer { name: "d" type: "Input" top: "x" top: "l" }\n'
SCORE = 'layer { name: "score" type: "InnerProduct" bottom: "x" top: "score" inner_product_param { num_output: 3 } }\n'
LOSS = 'layer { name: "loss" type: "InfogainLoss" bottom: "%s" bottom: "l" top: "loss" %s }\n'


def faults(text):
    return [(fault.level, fault.kind, fault.message) for fault in text_checks.state_faults(Graph(Net(text, True), State("TRAIN")))]


@pytest.mark.parametrize("between", ["", "Scale", "Eltwise", "Pooling", "Flatten", "Dropout", "Power"])
def test_scores_that_reach_a_classic_infogain_loss(between):
    layer = 'layer { name: "b" type: "%s" bottom: "score" top: "b" }\n' % between if between else ""
    (level, kind, message), = faults(DATA + SCORE + layer + LOSS % ("b" if between else "score", ""))
    assert (level, kind) == ("error", "softmax") and "wants probabilities, as this Caffe's InfogainLoss is that of before" in message
    softmax = 'layer { name: "p" type: "Softmax" bottom: "score" top: "p" }\n'
    assert not faults(DATA + SCORE + softmax + layer.replace("score", "p") + LOSS % ("b" if between else "p", ""))


@pytest.mark.parametrize("param, message", [
    ("ignore_label: 255", "has ignore_label, which this Caffe's InfogainLoss"), ("normalization: NONE", "has normalization: NONE")])
def test_loss_param_of_a_classic_infogain_loss(param, message):
    softmax = 'layer { name: "p" type: "Softmax" bottom: "score" top: "p" }\n'
    (level, kind, text), = faults(DATA + SCORE + softmax + LOSS % ("p", "loss_param { %s }" % param))
    assert (level, kind) == ("error", "classic") and text.startswith(message) and "take SoftmaxWithInfogainLoss" in text
    assert not faults(DATA + SCORE + softmax + LOSS % ("p", "loss_param { normalization: VALID }"))


NET = """layer { name: "d" type: "Input" top: "x" top: "l" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "x" bottom: "l" top: "loss" softmax_param { axis: 1 } }
"""


def test_use_loss_asks_the_caffe_that_it_is_for(tmp_path, classic_caffe):
    (tmp_path / "net.prototxt").write_text(u"%s" % NET)
    status, out, err = run_main("use_loss.py", "net.prototxt", "--source", "H.binaryproto", cwd=str(tmp_path))
    text = (tmp_path / "net.prototxt").read_text()
    assert status == 0 and "use_loss.py: note: this Caffe's InfogainLoss takes probabilities" in err
    assert 'type: "Softmax"' in text and 'type: "InfogainLoss" bottom: "loss_prob"' in text and "axis" not in text
    (tmp_path / "net.prototxt").write_text(u"%s" % NET)
    status, out, err = run_main("use_loss.py", "net.prototxt", "--source", "H.binaryproto", "--infogain", "scores", cwd=str(tmp_path))
    text = (tmp_path / "net.prototxt").read_text()
    assert status == 0 and "takes probabilities" not in err and 'type: "Softmax"' not in text


def test_make_net_asks_the_caffe_that_it_is_for(tmp_path, classic_caffe):
    arguments = ["make_net.py", "--loss", "InfogainLoss", "--source", "H.binaryproto"]
    status, out, err = run_main(*arguments, cwd=str(tmp_path))
    assert status == 0 and "takes probabilities" in err and 'type: "Softmax"' in out and 'bottom: "loss_prob"' in out
    status, out, err = run_main(*(arguments + ["--axis", "2"]), cwd=str(tmp_path))
    assert status == 2 and "expected no axis with --infogain classic" in err
    status, out, err = run_main("make_net.py", "--loss", "SoftmaxWithLoss", cwd=str(tmp_path))
    assert status == 0 and not err


@pytest.mark.scores
def test_auto_is_scores_on_this_caffe(tmp_path):
    pytest.importorskip("caffe")
    status, out, err = run_main("make_net.py", "--loss", "InfogainLoss", "--source", "H.binaryproto", cwd=str(tmp_path))
    assert status == 0 and "takes probabilities" not in err and "Softmax" not in out
