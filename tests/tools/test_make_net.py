from __future__ import division, print_function

import os

import numpy as np
import pytest

import loops
import real_nets
from caffe_losses.matrix_files import write_matrix

caffe = pytest.importorskip("caffe")

X, LABELS = real_nets.random_scores((12, 5)), np.random.RandomState(0).randint(0, 4, 12)
H = np.random.RandomState(1).rand(5, 5).astype(np.float32)


def make_net(*arguments, **options):
    return real_nets.tool("make_net.py", *arguments, **options)


def loss_of(fragment, phase="TRAIN", label=LABELS):
    """Loss and gradient of a fragment, in a real net."""
    net = real_nets.net(real_nets.input_layer(data=X.shape, label=label.shape)
                        + real_nets.learned("data", "score") + fragment, phase)
    net.blobs["data"].data[...] = X
    net.blobs["label"].data[...] = label
    net.forward()
    if "loss" not in net.blobs:
        return None
    net.backward()
    return float(net.blobs["loss"].data), net.blobs["score"].diff.copy()


def balanced():
    return np.diag([12 / (5 * n) if n else 0 for n in np.bincount(LABELS, minlength=5)])


@pytest.mark.parametrize("loss", ["InfogainLoss", "SoftmaxWithInfogainLoss"])
@pytest.mark.parametrize("how, gain", [
    (["--source", "H.binaryproto"], H),
    (["--h-file", "H.binaryproto"], H),
    (["--h-file", "H.h5"], H),
    (["--h-file", "H_lmdb"], H),
    (["--compute-h", "5", "--weights", "balanced", "--scale", "none"], balanced()),
    (["--compute-h", "5", "--weights", "balanced", "--scale", "none", "--running", ".9"], balanced()),
    (["--compute-h", "5", "--weights", "balanced", "--scale", "none", "--gain", "H.binaryproto"],
     balanced().dot(H)),
])
def test_every_loss_with_every_h(tmp_path, monkeypatch, loss, how, gain):
    monkeypatch.chdir(tmp_path)
    for name in ("H.binaryproto", "H.h5", "H_lmdb"):
        write_matrix(name, H)
    status, fragment, err = make_net("--loss", loss, *how)
    assert status == 0 and not err, err
    value, gradient = loss_of(fragment)
    expected, expected_gradient = loops.batch(loops.softmax_with_infogain, X, LABELS, gain)
    assert value == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-6)


def test_without_h():
    value, gradient = loss_of(make_net("--loss", "SoftmaxWithLoss")[1])
    expected, expected_gradient = loops.batch(loops.softmax_with_infogain, X, LABELS, np.eye(5))
    assert value == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-6)


@pytest.mark.parametrize("loss", ["SoftmaxWithLoss", "InfogainLoss", "SoftmaxWithInfogainLoss"])
def test_options(tmp_path, monkeypatch, loss):
    monkeypatch.chdir(tmp_path)
    write_matrix("H.npy", np.eye(5))
    write_matrix("H.binaryproto", np.eye(5))
    source = {"SoftmaxWithLoss": [], "InfogainLoss": ["--source", "H.binaryproto"],
              "SoftmaxWithInfogainLoss": ["--source", "H.npy"]}[loss]
    status, fragment, err = make_net("--loss", loss, "--ignore-label", "3", "--normalization", "BATCH_SIZE",
                                     "--loss-weight", "2.5", "--axis", "-1", *source)
    assert status == 0, err
    value, gradient = loss_of(fragment)
    expected, expected_gradient = loops.batch(loops.softmax_with_infogain, X, LABELS, np.eye(5), ignore_label=3,
                                                              normalization="BATCH_SIZE")
    assert value == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gradient, 2.5 * expected_gradient, atol=1e-6)


def test_compute_h_ignores_the_label_that_the_loss_ignores():
    label = np.where(LABELS == 3, 255, LABELS)
    fragment = make_net("--loss", "InfogainLoss", "--compute-h", "5", "--ignore-label", "255")[1]
    assert fragment.count("255") == 2
    assert np.isfinite(loss_of(fragment, label=label)[0])


def test_no_loss_in_a_deployed_net(tmp_path):
    fragment = make_net("--loss", "InfogainLoss", "--compute-h", "5")[1]
    assert fragment.count('stage: "deploy"') == 2
    path = tmp_path / "net.prototxt"
    path.write_text(u'layer { name: "score" type: "Input" top: "score" top: "label" input_param {'
                    u' shape { dim: 2 dim: 5 } shape { dim: 2 } } }' + u"%s" % fragment)
    assert list(caffe.Net(str(path), caffe.TEST, stages=["deploy"]).blobs) == ["score", "label"]
    assert "loss" in caffe.Net(str(path), caffe.TEST).blobs


def test_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fragment = make_net("--loss", "InfogainLoss", "--h-file", "H.npy", "--score", "fc8", "--label",
                        "target", "--name", "loss3", "--h-name", "H3", "-o", "out.prototxt")
    assert fragment[0] == 0 and fragment[1].startswith("out.prototxt: InfogainLoss; next: put it in")
    assert fragment[2] == "make_net.py: note: H.npy is not there yet; caffe reads it from where it runs\n"
    with open("out.prototxt") as file:
        text = file.read()
    from google.protobuf import text_format
    net = text_format.Merge(text, caffe.proto.caffe_pb2.NetParameter())
    assert [layer.name for layer in net.layer] == ["H3", "loss3"]
    assert list(net.layer[1].bottom) == ["fc8", "target", "H3"] and list(net.layer[1].top) == ["loss3"]
    assert os.listdir(".") == ["out.prototxt"]


def test_names_that_are_not_ascii():
    label = u"l\u00e4bel" if str is not bytes else u"l\u00e4bel".encode("utf-8")
    status, out, err = make_net("--loss", "InfogainLoss", "--source", "H.binaryproto", "--label", label)
    assert status == 0 and out.count("layer {") == 1 and "Warning" not in err
    from google.protobuf import text_format
    net = text_format.Merge(out, caffe.proto.caffe_pb2.NetParameter())
    assert list(net.layer[0].bottom) == ["score", u"l\u00e4bel"]


@pytest.mark.parametrize("arguments, message", [
    ([], "--loss"),
    (["--loss", "InfoGain"], "loss: expected one of SoftmaxWithLoss, InfogainLoss"),
    (["--loss", "InfogainLoss"], "H: expected one way to get H with InfogainLoss, got 0"),
    (["--loss", "SoftmaxWithLoss", "--source", "H.npy"], "H: expected no H with SoftmaxWithLoss, got 1"),
    (["--loss", "InfogainLoss", "--source", "H", "--compute-h", "3"], "not allowed with"),
    (["--loss", "InfogainLoss", "--source", "H.binaryproto", "--weights", "balanced"], "--weights: expected with --compute-h"),
    (["--loss", "InfogainLoss", "--compute-h", "0"], "--compute-h: expected at least 1 class, got 0"),
    (["--loss", "InfogainLoss", "--compute-h", "3", "--beta", ".9"], "--beta: expected with --weights eff"),
    (["--loss", "InfogainLoss", "--compute-h", "3", "--running", "1"], "--running: expected a number between 0 and 1"),
    (["--loss", "InfogainLoss", "--source", "H.npy"], "--source: expected a file that ends in .binaryproto, as Caffe's own"),
    (["--loss", "SoftmaxWithInfogainLoss", "--source", "H.txt"], "--source: expected a file that ends in .binaryproto, .caffemodel"),
    (["--loss", "InfogainLoss", "--compute-h", "3", "--h-name", "score"], "expected different names for the blobs"),
    (["--loss", "SoftmaxWithLoss", "--name", "label"], "expected different names for the blobs"),
    (["--loss", "SoftmaxWithLoss", "--score", ""], "expected different names for the blobs"),
    (["--loss", "SoftmaxWithLoss", "--loss-weight", "nan"], "--loss-weight: expected a finite number, got nan"),
    (["--loss", "SoftmaxWithLoss", "--ignore-label", "99999999999"], "--ignore-label: expected a 32-bit number"),
    (["--loss", "InfogainLoss", "--compute-h", "3", "--power", "-1"], "--power: expected a number of at least 0"),
    (["--loss", "InfogainLoss", "--source", "H", "--axis", "x"], "--axis"),
])
def test_errors_are_one_line(arguments, message):
    import re
    status, out, err = make_net(*arguments)
    assert status == 2 and not out and len(err.splitlines()) == 1, err
    assert err.startswith("make_net.py: error: ") and re.search(message, err), err


def test_fragments_with_net_spec():
    from caffe import NetSpec, layers as L
    from caffe_prototxt.fragments import compute_h, infogain_loss, softmax_loss
    n = NetSpec()
    n.data, n.label = L.Input(shape=[{"dim": [12, 5]}, {"dim": [12]}], ntop=2)
    n.score = L.Power(n.data)
    n.H = compute_h(n.label, n_classes=5, weights="balanced", scale="none")
    n.loss = infogain_loss(n.score, n.label, H=n.H, python=True)
    n.plain = softmax_loss(n.score, n.label, loss_weight=.5)
    net = real_nets.net(str(n.to_proto()))
    net.blobs["data"].data[...] = X
    net.blobs["label"].data[...] = LABELS
    net.forward()
    assert float(net.blobs["loss"].data) == pytest.approx(loops.batch(loops.softmax_with_infogain, X, LABELS, balanced())[0], rel=1e-5)
    with pytest.raises(ValueError, match="expected either H .* or source"):
        infogain_loss(n.score, n.label)
