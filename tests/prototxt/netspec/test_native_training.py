"""Losses out of Caffe's own layers under the real `caffe train`: as native InfogainLoss, resumed, and finetuned."""
from __future__ import division, print_function

import os
import re

import numpy as np
import pytest

import training
from caffe_losses.formats.matrix_files import write_matrix

caffe = pytest.importorskip("caffe")

from caffe_prototxt.netspec.native_layers import write_weights
from caffe_prototxt.netspec.native_losses import native_fragment

H = np.random.RandomState(0).rand(3, 3).astype(np.float32) + 2 * np.eye(3, dtype=np.float32)
NATIVE = ('layer { name: "loss" type: "InfogainLoss" bottom: "score" bottom: "label" top: "loss" '
          'infogain_loss_param { source: "H.binaryproto" } loss_param { %s } }')
WEIGHTS = ["-weights", "loss.caffemodel"]


def composition(**options):
    """The text of a loss, whose weights are written to loss.caffemodel."""
    text, blobs = native_fragment("SoftmaxWithInfogainLoss", H, **options)
    write_weights("loss.caffemodel", blobs)
    return text, blobs


def weights_of(snapshot):
    net = caffe.Net("train_val.prototxt", snapshot, caffe.TRAIN)
    return {name: [blob.data.copy() for blob in blobs] for name, blobs in net.params.items()}


def test_losses(log):
    with open(log) as file:
        return [float(value) for value in re.findall(r"Test net output #\d+: loss = (\S+)", file.read())]


test_losses.__test__ = False


ROUNDING = 2e-5  # of 100 iterations: both drift as far along what no softmax sees, the same added to all classes


@pytest.mark.parametrize("options, loss_param", [(dict(axis=-1), ""), (dict(ignore_label=2), "ignore_label: 2")])
def test_it_trains_as_native_does(tmp_path, monkeypatch, options, loss_param):
    """The same weights and test losses after 100 iterations, from scratch and from weights of another training."""
    monkeypatch.chdir(tmp_path)
    write_matrix("H.binaryproto", H)
    text, blobs = composition(**options)
    found = {}
    for start in ("nothing", "pretrained.caffemodel"):
        pretrained = ["-weights", start] if start != "nothing" else []
        assert training.train(".", NATIVE % loss_param, iterations=100, arguments=pretrained) == 0
        native, native_losses = weights_of("snap_iter_100.caffemodel"), test_losses("caffe.log")
        both = ["-weights", ",".join(pretrained[1:] + WEIGHTS[1:])]
        assert training.train(".", text, iterations=100, arguments=both) == 0
        found[start] = weights_of("snap_iter_100.caffemodel")
        for blob, other in zip(found[start]["score"], native["score"]):
            assert np.abs(blob - other).max() <= ROUNDING
        assert test_losses("caffe.log") == pytest.approx(native_losses, rel=1e-5) and len(native_losses) == 11
        for name, arrays in blobs.items():
            assert [blob.tobytes() for blob in found[start][name]] == [array.tobytes() for array in arrays], name
        if start == "nothing":
            assert training.train(".", iterations=10, seed=2) == 0
            os.rename("snap_iter_10.caffemodel", "pretrained.caffemodel")
    assert not (found["nothing"]["score"][0] == found["pretrained.caffemodel"]["score"][0]).all()


def test_resume_needs_no_weights(tmp_path, monkeypatch):
    """60 iterations give bit for bit what 30, a snapshot and 30 more give; 30 are 8 times all samples."""
    monkeypatch.chdir(tmp_path)
    text, _ = composition(axis=-1)
    assert training.train(".", text, iterations=60, arguments=WEIGHTS) == 0
    straight = weights_of("snap_iter_60.caffemodel")
    os.remove("snap_iter_60.caffemodel")
    os.remove("loss.caffemodel")
    assert training.train(".", text, iterations=60, arguments=["-snapshot", "snap_iter_30.solverstate"]) == 0
    resumed = weights_of("snap_iter_60.caffemodel")
    assert set(resumed) == set(straight)
    for name, blobs in straight.items():
        assert [blob.tobytes() for blob in resumed[name]] == [blob.tobytes() for blob in blobs]


@pytest.mark.parametrize("matrix", [H, np.eye(3, dtype=np.float32) + .5, np.ones((3, 3), np.float32)])
def test_without_its_weights_the_loss_is_0(tmp_path, monkeypatch, matrix):
    """Whatever H is: one of equal rows, or with equal sums, too."""
    monkeypatch.chdir(tmp_path)
    text, _ = native_fragment("SoftmaxWithInfogainLoss", matrix)
    assert training.train(".", text, iterations=10) == 0
    assert test_losses("caffe.log") == [0, 0]
