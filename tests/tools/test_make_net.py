"""make_net.py: its layers in the real Caffe have the loss and the gradient of plain loops."""
from __future__ import division, print_function

import json
import os

import numpy as np
import pytest

import loops
import old_caffe
import real_nets
from commands import run_main
from caffe_losses.formats.matrix_files import write_matrix

caffe = pytest.importorskip("caffe")

X, LABELS = real_nets.random_scores((12, 5)), np.random.RandomState(0).randint(0, 4, 12)
H = np.random.RandomState(1).rand(5, 5).astype(np.float32)


def make_net(*arguments, **options):
    return run_main("make_net.py", *arguments, **options)


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
@pytest.mark.scores
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


D = np.where(np.eye(5), 0, H)


@pytest.mark.parametrize("loss, loop, matrix", [
    ("CostScaledSoftmaxLoss", loops.cost_scaled_softmax, D), ("ExpectedCostLoss", loops.expected_cost, D),
    ("caffe_losses.InfogainLoss", loops.softmax_with_infogain, H)])
@pytest.mark.parametrize("how", ["--source", "--h-file"])
def test_the_other_losses(tmp_path, monkeypatch, loss, loop, matrix, how):
    monkeypatch.chdir(tmp_path)
    write_matrix("M.npy", matrix)
    write_matrix("M.h5", matrix)
    status, fragment, err = make_net("--loss", loss, how, "M.h5" if how == "--h-file" and matrix is D else "M.npy")
    assert status == 0 and not err, err
    assert fragment.startswith("# ExpectedCostLoss is for a net trained before (caffe train -weights)") == (loss == "ExpectedCostLoss")
    value, gradient = loss_of(fragment)
    expected, expected_gradient = loops.batch(loop, X, LABELS, matrix)
    assert value == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-6)


@pytest.mark.scores
def test_several_weighted_losses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_matrix("H.h5", H)
    status, fragment, err = make_net("--loss", "InfogainLoss", "--h-file", "H.h5", "--score", "score", "--score", "aux",
                                     "--loss-weight", "1", "--loss-weight", ".25")
    assert status == 0 and not err, err
    assert fragment.count('type: "HDF5Data"') == 1
    net = real_nets.net(real_nets.input_layer(data=X.shape, label=LABELS.shape) + real_nets.learned("data", "score")
                        + real_nets.learned("data", "aux") + fragment)
    net.blobs["data"].data[...] = X
    net.blobs["label"].data[...] = LABELS
    net.forward()
    net.backward()
    expected, gradient = loops.batch(loops.softmax_with_infogain, X, LABELS, H)
    for loss, score, weight in (("loss", "score", 1), ("loss_2", "aux", .25)):
        assert float(net.blobs[loss].data) == pytest.approx(expected, rel=1e-5)
        np.testing.assert_allclose(net.blobs[score].diff, weight * gradient, atol=1e-6)


E = real_nets.random_scores((12, 3), 5, 1)


def triplet_loss_of(fragment, **shapes):
    net = real_nets.net(real_nets.input_layer(**{name: array.shape for name, array in shapes.items()}) + fragment)
    for name, array in shapes.items():
        net.blobs[name].data[...] = array
    net.forward()
    return float(net.blobs["loss"].data), net


@pytest.mark.parametrize("form, each", [("mse", lambda a, b: (1 / (1 + np.exp(b - a))) ** 2),
                                        ("log", lambda a, b: np.log(1 + np.exp(a - b)))])
@pytest.mark.parametrize("native", [[], ["--native"]])
def test_triplets(form, each, native):
    a, p, n = [real_nets.random_scores((4, 3), seed, 1) for seed in range(3)]
    status, fragment, err = make_net("--loss", "TripletSoftmaxLoss", "--anchor", "a", "--positive", "p", "--negative", "n",
                                     "--form", form, *native)
    assert status == 0 and not err and ("Python" in fragment) == (not native), err
    expected = np.mean([each(np.linalg.norm(x - y), np.linalg.norm(x - z)) for x, y, z in zip(a, p, n)])
    assert triplet_loss_of(fragment, a=a, p=p, n=n)[0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("native", [[], ["--native"]])
def test_triplets_that_are_chosen(native):
    status, fragment, err = make_net("--loss", "TripletSoftmaxLoss", "--embedding", "fc7", "--select", "all", *native)
    assert status == 0 and not err, err
    loss, net = triplet_loss_of(fragment, fc7=E, label=LABELS)
    each = [1 / (1 + np.exp(np.linalg.norm(E[i] - E[k]) - np.linalg.norm(E[i] - E[j]))) ** 2
            for i in range(12) for j in range(12) for k in range(12)
            if i != j and LABELS[i] == LABELS[j] and LABELS[i] != LABELS[k]]
    assert loss == pytest.approx(np.mean(each), rel=1e-5) and net.blobs["anchor"].num == len(each)


def test_without_h():
    value, gradient = loss_of(make_net("--loss", "SoftmaxWithLoss")[1])
    expected, expected_gradient = loops.batch(loops.softmax_with_infogain, X, LABELS, np.eye(5))
    assert value == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-6)


@pytest.mark.parametrize("loss", ["SoftmaxWithLoss", "InfogainLoss", "SoftmaxWithInfogainLoss"])
@pytest.mark.scores
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


@pytest.mark.scores
def test_compute_h_ignores_the_label_that_the_loss_ignores():
    label = np.where(LABELS == 3, 255, LABELS)
    fragment = make_net("--loss", "InfogainLoss", "--compute-h", "5", "--ignore-label", "255")[1]
    assert '{"ignore_label": 255, "n_classes": 5, "scale": "sample", "weights": "balanced"}' in fragment
    assert np.isfinite(loss_of(fragment, label=label)[0])


@pytest.mark.scores
def test_no_loss_in_a_deployed_net(tmp_path):
    fragment = make_net("--loss", "InfogainLoss", "--compute-h", "5")[1]
    assert fragment.count('stage: "deploy"') == 2
    path = tmp_path / "net.prototxt"
    path.write_text(u'layer { name: "score" type: "Input" top: "score" top: "label" input_param {'
                    u' shape { dim: 2 dim: 5 } shape { dim: 2 } } }' + u"%s" % fragment)
    assert list(caffe.Net(str(path), caffe.TEST, stages=["deploy"]).blobs) == ["score", "label"]
    assert "loss" in caffe.Net(str(path), caffe.TEST).blobs


@pytest.mark.scores
def test_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fragment = make_net("--loss", "InfogainLoss", "--h-file", "H.npy", "--score", "fc8", "--label",
                        "target", "--name", "loss3", "--h-name", "H3", "-o", "out.prototxt")
    assert fragment[0] == 0 and fragment[1].startswith("out.prototxt: InfogainLoss; next: put it in")
    assert fragment[2] == "make_net.py: note: H.npy is not there yet, and could not be checked; caffe reads it from where it runs\n"
    with open("out.prototxt") as file:
        text = file.read()
    from google.protobuf import text_format
    net = text_format.Merge(text, caffe.proto.caffe_pb2.NetParameter())
    assert [layer.name for layer in net.layer] == ["H3", "loss3"]
    assert list(net.layer[1].bottom) == ["fc8", "target", "H3"] and list(net.layer[1].top) == ["loss3"]
    assert os.listdir(".") == ["out.prototxt"]


def test_json_and_the_same_file_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = make_net("--loss", "SoftmaxWithLoss")[1]
    for _ in range(2):
        status, out, err = make_net("--loss", "SoftmaxWithLoss", "-o", "new.prototxt", "--json")
        assert status == 0 and json.loads(out) == {"loss": "SoftmaxWithLoss", "output": "new.prototxt", "text": text}
        assert (tmp_path / "new.prototxt").read_text() == text


@pytest.mark.parametrize("missing, arguments, message", [
    (("LayerParameter", "parameter_param"), ["InfogainLoss", "--h-file", "H.caffemodel"], "it has no Parameter layer: take an .h5"),
    (("SoftmaxParameter", "axis"), ["SoftmaxWithLoss", "--axis", "2"], "leave out the axis"),
    (("LayerParameter", "python_param"), ["InfogainLoss", "--compute-h", "3"], "it has no Python layers: take one of Caffe's own"),
    (("LayerParameter", "reduction_param"), ["TripletSoftmaxLoss", "--native", "--anchor", "a", "--positive", "p", "--negative", "n"],
     "expected a Caffe that has what"),
])
def test_a_caffe_without_what_the_layers_need(tmp_path, monkeypatch, missing, arguments, message):
    old_caffe.without_fields(monkeypatch, [missing])
    monkeypatch.chdir(tmp_path)
    write_matrix("H.caffemodel", H)
    status, out, err = make_net("--loss", *arguments)
    assert status == 2 and not out and len(err.splitlines()) == 1 and message in err, err
    if missing[1] == "parameter_param":
        net = real_nets.input_layer(data=X.shape, label=LABELS.shape) + real_nets.learned("data", "score") + (
            'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }')
        (tmp_path / "net.prototxt").write_text(u"%s" % net)
        status, out, err = run_main("use_loss.py", "net.prototxt", "--h-file", "H.caffemodel")
        assert status == 2 and message in err and len(err.splitlines()) == 1, err
        assert (tmp_path / "net.prototxt").read_text() == net


@pytest.mark.scores
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
    (["--loss", "InfogainLoss"], "expected a file or a layer with the gain matrix of InfogainLoss .as --source FILE., got none"),
    (["--loss", "SoftmaxWithLoss", "--source", "H.npy"], "expected no matrix for SoftmaxWithLoss, got one"),
    (["--loss", "InfogainLoss", "--source", "H", "--compute-h", "3"], "not allowed with"),
    (["--loss", "InfogainLoss", "--source", "H.binaryproto", "--weights", "balanced"], "--weights: expected with --compute-h"),
    (["--loss", "InfogainLoss", "--compute-h", "0"], "--compute-h: expected at least 1 class, got 0"),
    (["--loss", "InfogainLoss", "--compute-h", "3", "--beta", ".9"], "--beta: expected with --weights eff"),
    (["--loss", "InfogainLoss", "--compute-h", "3", "--running", "1"], "--running: expected a number between 0 and 1"),
    (["--loss", "InfogainLoss", "--source", "H.npy"], "--source: expected a file that ends in .binaryproto, as Caffe's own"),
    (["--loss", "InfogainLoss", "--compute-h", "3", "--h-name", "score"], "expected different names for the blobs"),
    (["--loss", "SoftmaxWithLoss", "--name", "label"], "expected different names for the blobs"),
    (["--loss", "SoftmaxWithLoss", "--score", ""], "expected different names for the blobs"),
    (["--loss", "SoftmaxWithLoss", "--loss-weight", "nan"], "--loss-weight: expected a finite number, got nan"),
    (["--loss", "SoftmaxWithLoss", "--loss-weight", "1", "--loss-weight", "2"], "loss_weight: expected one, or one for each of 1 scores, got 2"),
    (["--loss", "SoftmaxWithLoss", "--score", "a", "--score", "a"], "expected different names for the blobs"),
    (["--loss", "ExpectedCostLoss", "--compute-h", "3"], "expected costs for ExpectedCostLoss, and ComputeH makes gains"),
    (["--loss", "ExpectedCostLoss", "--h-file", "D.npy"], "expected costs for ExpectedCostLoss, and InfogainMatrix makes gains"),
    (["--loss", "TripletSoftmaxLoss"], "expected --embedding with --select, or --anchor, --positive and --negative"),
    (["--loss", "TripletSoftmaxLoss", "--embedding", "e"], "expected --embedding with --select"),
    (["--loss", "TripletSoftmaxLoss", "--embedding", "e", "--select", "all", "--seed", "1"], "expected with --select .--seed: random"),
    (["--loss", "TripletSoftmaxLoss", "--embedding", "e", "--select", "all", "--source", "H.npy"], "--source: expected with another loss"),
    (["--loss", "TripletSoftmaxLoss", "--embedding", "label", "--select", "all"], "expected different names for the blobs"),
    (["--loss", "InfogainLoss", "--anchor", "a"], "--anchor: expected with --loss TripletSoftmaxLoss only"),
    (["--loss", "ExpectedCostLoss"], "expected a file or a layer with the cost matrix of ExpectedCostLoss .as --source FILE., got none"),
    (["--loss", "SoftmaxWithLoss", "--ignore-label", "99999999999"], "--ignore-label: expected a 32-bit number"),
    (["--loss", "InfogainLoss", "--compute-h", "3", "--power", "-1"], "--power: expected a number of at least 0"),
    (["--loss", "InfogainLoss", "--source", "H", "--axis", "x"], "--axis"),
    (["--loss", "ExpectedCostLoss", "--source", "G.npy"], "G.npy at .0, 0.: expected a cost matrix, with 0 on the diagonal"),
    (["--loss", "SoftmaxWithInfogainLoss", "--h-file", "D.npy"], "D.npy: expected a gain, got what looks like distances"),
    (["--loss", "InfogainLoss", "--compute-h", "3", "--gain", "G.npy"], "G.npy: expected 3 classes, as --compute-h says, got 5"),
    (["--loss", "SoftmaxWithInfogainLoss", "--source", "G.npy", "-o", "./G.npy"], "expected a file that is not read, got the input G.npy"),
    (["--loss", "SoftmaxWithLoss", "-o", "net.prototxt"], "net.prototxt: expected a new file for -o, or one that this command wrote"),
])
@pytest.mark.scores
def test_errors_are_one_line(tmp_path, monkeypatch, arguments, message):
    import re
    monkeypatch.chdir(tmp_path)
    write_matrix("G.npy", H)
    write_matrix("D.npy", D)
    (tmp_path / "net.prototxt").write_text(u'layer { name: "data" type: "Input" top: "data" }\n')
    kept = {name: (tmp_path / name).read_bytes() for name in os.listdir(str(tmp_path))}
    status, out, err = make_net(*arguments)
    assert status == 2 and not out and len(err.splitlines()) == 1, err
    assert err.startswith("make_net.py: error: ") and re.search(message, err), err
    assert kept == {name: (tmp_path / name).read_bytes() for name in os.listdir(str(tmp_path))}


def test_net_spec_on_an_older_caffe(monkeypatch):
    from caffe import NetSpec, layers as L
    from caffe_prototxt.netspec import loss_layers
    old_caffe.without_fields(monkeypatch, [("LayerParameter", "parameter_param"), ("SoftmaxParameter", "axis"),
                                           ("InfogainLossParameter", "axis")])
    with pytest.raises(ValueError, match="parameter_param: expected a Caffe that has shape in it, got an older one"):
        loss_layers.h_from_file("H.caffemodel", 3)
    n = NetSpec()
    n.score, n.label = L.Input(ntop=2)
    with pytest.raises(ValueError, match="softmax_param: expected a Caffe that has axis in it, got an older one"):
        loss_layers.softmax_loss(n.score, n.label, axis=2)
    with pytest.raises(ValueError, match="python: expected True with axis, ignore_label or normalization NONE"):
        loss_layers.infogain_loss(n.score, n.label, source="H", ignore_label=255)
    n.loss = loss_layers.infogain_loss(n.score, n.label, source="H")
    assert [layer.type for layer in n.to_proto().layer] == ["Input", "Softmax", "InfogainLoss"]


def test_fragments_with_net_spec():
    from caffe import NetSpec, layers as L
    from caffe_prototxt.netspec.loss_layers import compute_h, infogain_loss, softmax_loss
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
