# -*- coding: utf-8 -*-
"""use_loss.py and make_net.py --native: a loss out of Caffe's own layers in the place of one, and back."""
from __future__ import division, print_function

import json
import os

import numpy as np
import pytest

import corpus
import real_nets
import training
from caffe_losses.compat import from_bytes, to_bytes, to_display
from commands import run_main
from caffe_losses.formats.matrix_files import write_matrix
from caffe_prototxt.net import losses
from caffe_prototxt.net.nets import Net

caffe = pytest.importorskip("caffe")

N_CLASSES = 5
H = np.random.RandomState(1).rand(N_CLASSES, N_CLASSES).astype(np.float32)
D = H * (1 - np.eye(N_CLASSES, dtype=np.float32))
INFOGAIN = 'infogain_loss_param { source: "H.binaryproto" %s } '
PYTHON = 'python_param { module: "caffe_losses" layer: "%s" param_str: \'%s\' } '
OURS, COSTS = "SoftmaxWithInfogainLoss", "ExpectedCostLoss"
DENSE, LABELS = (2, 5, 3, 4), (2, 1, 3, 4)

# (type of the loss, the rest of its text, shapes of scores and labels, what it becomes)
CASES = [
    ("InfogainLoss", INFOGAIN % "" + 'include { phase: TRAIN } loss_param { ignore_label: 2 }', (6, 5), (6,), OURS),
    ("InfogainLoss", INFOGAIN % "axis: 1" + 'loss_weight: .5 loss_param { ignore_label: 255 normalization: BATCH_SIZE }',
     DENSE, LABELS, OURS),
    ("InfogainLoss", INFOGAIN % "axis: -1" + 'loss_param { normalization: FULL }', (2, 3, 5), (2, 3), OURS),
    ("InfogainLoss", INFOGAIN % "axis: 2" + 'include { phase: TRAIN stage: "s" } include { phase: TRAIN } '
     'loss_param { ignore_label: 255 }', (2, 3, 5, 2), (2, 3, 2), OURS),
    ("SoftmaxWithLoss", 'loss_weight: 2 loss_param { ignore_label: 255 normalize: false } exclude { phase: TEST }',
     DENSE, LABELS, OURS),
    ("Python", PYTHON % (OURS, '{"source": "H.binaryproto", "ignore_label": 0, "normalization": "NONE"}')
     + 'loss_weight: 3', DENSE, LABELS, OURS),
    ("Python", PYTHON % (COSTS, '{"source": "D.csv", "axis": -1}') + 'loss_weight: 1', (6, 5), (6, 1), COSTS)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_matrix("H.binaryproto", H)
    write_matrix("eye.csv", np.eye(N_CLASSES))
    write_matrix("D.csv", D)
    return tmp_path


def put(text, name="net.prototxt"):
    with open(name, "wb") as file:
        file.write(to_bytes(text))


def read(name):
    with open(name, "rb") as file:
        return from_bytes(file.read())


def use_loss(*arguments):
    return run_main("use_loss.py", *arguments)


def net_text(kind, rest, scores=(6, 5), labels=(6,), name=' name: "loss"', top='top: "loss"'):
    return (real_nets.input_layer(x=scores, label=labels) + real_nets.learned("x", "score")
            + '# the loss\nlayer {%s type: "%s" bottom: "score" bottom: "label" %s %s }\n' % (name, kind, top, rest))


def values(name, weights=None):
    """The loss with its weight, and the gradient of the scores, on labels of which some are no class."""
    net = caffe.Net(name, caffe.TRAIN)
    if weights:
        net.copy_from(weights)
    net.blobs["x"].data[...] = real_nets.random_scores(net.blobs["x"].data.shape)
    labels = net.blobs["label"].data
    labels[...] = np.random.RandomState(2).randint(0, N_CLASSES, labels.shape)
    loss = losses.find_losses(Net(read(name)))[0]
    if losses.read_params(loss).ignore_label == 255:
        labels.ravel()[::3] = 255
    net.forward()
    net.backward()
    return float(net.blobs["loss"].data) * (loss.values("loss_weight") or [1])[0], net.blobs["score"].diff.copy()


@pytest.mark.parametrize("kind, rest, scores, labels, becomes", CASES)
def test_loss_and_gradient_stay_and_back_again(folder, kind, rest, scores, labels, becomes):
    before = net_text(kind, rest, scores, labels)
    put(before)
    source = ["--source", "eye.csv"] if kind == "SoftmaxWithLoss" else []
    status, out, err = use_loss("net.prototxt", "--loss", becomes, "--native", "-o", "native.prototxt", *source)
    assert (status, err) == (0, "") and "-weights native_loss.caffemodel" in out, err
    assert "is now %s (Caffe's own layers), matrix from" % becomes in out and "new layer" not in out
    assert set(os.listdir(".")) == {"H.binaryproto", "eye.csv", "D.csv", "net.prototxt", "native.prototxt",
                                    "native_loss.caffemodel"}
    loss, gradient = values("net.prototxt")
    found, found_gradient = values("native.prototxt", "native_loss.caffemodel")
    assert found == pytest.approx(loss, rel=2e-6)
    assert np.abs(found_gradient - gradient).max() <= 2e-6 * np.abs(gradient).max()
    old, new = [Net(read(name)).layers for name in ("net.prototxt", "native.prototxt")]
    assert all(layer.rules == old[-1].rules and layer.type != "Python" for layer in new[2:])
    if scores == (6, 5):  # the whole batch at once
        assert "InnerProduct" in [layer.type for layer in new]
    files = {name: os.stat(name).st_mtime for name in ("native.prototxt", "native_loss.caffemodel")}
    source = source or ["--source", "D.csv" if becomes == COSTS else "H.binaryproto"]
    status, out, err = use_loss("native.prototxt", "--loss", becomes, "--native", *source)
    assert (status, err) == (0, "") and "nothing to change" in out
    assert files == {name: os.stat(name).st_mtime for name in files}

    again = ["--loss", kind] if kind != "Python" else ["--loss", becomes]
    again += source if kind != "SoftmaxWithLoss" else []
    status, out, err = use_loss("native.prototxt", "-o", "back.prototxt", *again)
    assert (status, err) == (0, "") and "layer loss_" not in out
    back = losses.read_loss(losses.find_losses(Net(read("back.prototxt")))[0])
    first = losses.read_loss(losses.find_losses(Net(before))[0])
    assert len(Net(read("back.prototxt")).layers) == 3 and back.layer.rules == first.layer.rules
    assert back.params[:4] == first.params[:4] and back.layer.bottoms == first.layer.bottoms
    assert values("back.prototxt")[0] == pytest.approx(loss, rel=1e-12)
    if kind == "SoftmaxWithLoss":
        assert read("back.prototxt") == before


@pytest.mark.parametrize("name", [name for name in corpus.NAMES if name not in (
    "from_data.prototxt", "old_syntax.prototxt", "weighted_fork.prototxt")])  # two tops, and what else is refused
def test_nets_of_any_layout(folder, name):
    """Every loss of a net becomes one out of Caffe's own layers, and one layer again; all else keeps its bytes."""
    before = corpus.read(name)
    put(before)
    found = [losses.read_loss(layer) for layer in losses.find_losses(Net(before))]
    own = {loss.layer.name: "eye%d.csv" % (loss.n_classes() or 3) for loss in found}
    for loss in found:
        write_matrix(own[loss.layer.name], np.eye(loss.n_classes() or 3))
    status, _, err = use_loss("net.prototxt", "--loss", OURS, "--native", "--all", *sum(
        [["--layer", "%s=%s" % (to_display(loss), own[loss])] for loss in sorted(own)], []))
    assert status == 0, err
    for kind in ("native", "back"):
        net = Net(read("net.prototxt"))
        now = [losses.read_loss(layer) for layer in losses.find_losses(net)]
        assert [bool(loss.kind.composed) for loss in now] == [kind == "native"] * len(found)
        for one, other in zip(found, now):
            assert one.params[:3] == other.params[:3] and one.layer.rules == other.layer.rules
            assert (one.scores, one.label) == (other.scores, other.label) and one.layer.name == other.layer.name
            assert all(part.rules == one.layer.rules for part in other.parts)
        parts = [layer for loss in now for layer in loss.parts + [loss.layer]]
        texts = [[layer.text[layer.start:layer.end] for layer in layers] for layers in (
            [layer for layer in Net(before).layers if layer.index not in [loss.layer.index for loss in found]],
            [layer for layer in net.layers if layer.index not in [part.index for part in parts]])]
        assert texts[0] == texts[1]
        assert use_loss("net.prototxt", "--loss", "SoftmaxWithLoss", "--all")[0] == 0


def test_another_matrix_changes_the_weights_alone(folder):
    put(net_text("SoftmaxWithLoss", ""))
    assert use_loss("net.prototxt", "--loss", OURS, "--native", "--source", "H.binaryproto")[0] == 0
    before = read("net.prototxt")
    loss = values("net.prototxt", "net_loss.caffemodel")[0]
    status, out, err = use_loss("net.prototxt", "--source", "eye.csv")
    assert (status, err) == (0, "") and "nothing to change" in out and "net_loss.caffemodel: the weights" in out
    assert read("net.prototxt") == before and values("net.prototxt", "net_loss.caffemodel")[0] != loss
    assert use_loss("net.prototxt", "--loss", COSTS, "--native", "--source", "D.csv")[0] == 0
    put(net_text("Python", PYTHON % (COSTS, '{"source": "D.csv"}') + 'loss_weight: 1'), "ours.prototxt")
    assert values("net.prototxt", "net_loss.caffemodel")[0] == pytest.approx(values("ours.prototxt")[0], rel=2e-6)


@pytest.mark.parametrize("name", [br'a\n layer { }', b"fl\xe4che/1", b"fl\xc3\xa4che"])
def test_names_of_any_kind(folder, name):
    """A name stays in its quotes in the comment, too, and the weights have it as Caffe reads it."""
    put(net_text("SoftmaxWithLoss", "", name=' name: "%s"' % from_bytes(name)))
    assert use_loss("net.prototxt", "--loss", OURS, "--native", "--source", "eye.csv")[0] == 0
    assert len(losses.find_losses(Net(read("net.prototxt")))) == 1
    if b"\xe4" not in name:  # pycaffe on Python 3 cannot name such blobs
        assert values("net.prototxt", "net_loss.caffemodel")[0] > 0


def test_names_that_begin_alike(folder):
    """The blob of scores, and another layer, may have names that begin with that of the loss."""
    text = net_text("SoftmaxWithLoss", "").replace('"score"', '"loss_fc"') + (
        'layer { name: "loss_accuracy" type: "Accuracy" bottom: "loss_fc" bottom: "label" top: "loss_accuracy" }\n')
    put(text)
    assert use_loss("net.prototxt", "--loss", OURS, "--native", "--source", "H.binaryproto")[0] == 0
    assert len(Net(read("net.prototxt")).layers) > 20
    assert use_loss("net.prototxt", "--loss", "SoftmaxWithLoss")[0] == 0 and read("net.prototxt") == text


def test_a_loss_for_each_phase_and_one_beside_them(folder):
    """Losses of one name share their weights; with other weights one of them would be wrong."""
    text = net_text("SoftmaxWithLoss", "include { phase: TRAIN } loss_param { ignore_label: 255 }") + (
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" include { phase: TEST }'
        ' loss_param { ignore_label: %s } }\n'
        'layer { type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "n\xc3\xa4chste" loss_weight: 0.3 }\n')
    put(text % 255)
    status, out, err = use_loss("net.prototxt", "--loss", OURS, "--native", "--source", "H.binaryproto", "--all")
    assert (status, err) == (0, ""), err
    found = losses.find_losses(Net(read("net.prototxt")))
    assert [layer.name for layer in found] == ["loss", "loss", "loss_2"]
    for phase in (caffe.TRAIN, caffe.TEST):
        net = caffe.Net("net.prototxt", phase)
        net.copy_from("net_loss.caffemodel")
        assert net.params["loss_gains"][0].data.any() and net.params["loss_2_gains"][0].data.any()
    os.remove("net_loss.caffemodel")
    put(text % 1)
    status, out, err = use_loss("net.prototxt", "--loss", OURS, "--native", "--source", "H.binaryproto", "--all")
    assert status == 2 and "expected losses of one name to need the same weights" in err
    assert read("net.prototxt") == text % 1 and not os.path.exists("net_loss.caffemodel")


@pytest.mark.parametrize("text, arguments, message", [
    (net_text("InfogainLoss", INFOGAIN % "", top='top: "loss" top: "prob" loss_weight: 1 loss_weight: 0'), (),
     "expected one top, as SoftmaxWithInfogainLoss (Caffe's own layers) has no more, got 2"),
    ('layers { name: "loss" type: SOFTMAX_LOSS bottom: "score" bottom: "label" }', ("--source", "H.binaryproto"),
     "convert the net first: upgrade_net_proto_text OLD NEW"),
    (net_text("SoftmaxWithLoss", ""), (), "expected a file with the gain matrix"),
    (net_text("SoftmaxWithLoss", ""), ("--source", "none.csv"), "none.csv: cannot be read"),
    (net_text("SoftmaxWithLoss", ""), ("--source", "H3.csv"), "expected 5 classes"),
    (net_text("SoftmaxWithLoss", 'propagate_down: 0 propagate_down: 0'), ("--source", "H.binaryproto"),
     "expected propagate_down: true for its scores"),
    (net_text("SoftmaxWithLoss", 'softmax_param { axis: 0 }'), ("--source", "H.binaryproto"), "axis: expected 1, 2"),
    (net_text("SoftmaxWithLoss", "").replace('"x"', '"loss_max"'), ("--source", "H.binaryproto"),
     "expected no other layer or blob named loss_max"),
    (net_text("SoftmaxWithLoss", ""), ("--h-file", "H.binaryproto"), "expected --native, whose matrix is that of --source"),
    (net_text("SoftmaxWithLoss", ""), ("--compute-h",), "or --compute-h, got both")])
def test_what_is_refused(folder, text, arguments, message):
    put(text)
    write_matrix("H3.csv", np.eye(3))
    before = os.listdir(".")
    status, out, err = use_loss("net.prototxt", "--loss", OURS, "--native", *arguments)
    assert status == 2 and message in err and err.count("\n") == 1
    assert read("net.prototxt") == text and os.listdir(".") == before


def test_losses_that_cannot_be_native(folder):
    put(net_text("SoftmaxWithLoss", ""))
    for options in ([], ["--loss", "InfogainLoss"]):
        status, _, err = use_loss("net.prototxt", "--native", "--source", "H.binaryproto", *options)
        assert status == 2 and "--native: expected --loss ExpectedCostLoss or SoftmaxWithInfogainLoss" in err


def test_nothing_is_written_for_a_dry_run(folder):
    put(net_text("SoftmaxWithLoss", ""))
    before = os.listdir(".")
    for option in ("--dry-run", "--diff"):
        status, out, err = use_loss("net.prototxt", "--loss", OURS, "--native", "--source", "H.binaryproto", option)
        assert (status, err) == (0, "") and out and os.listdir(".") == before


@pytest.mark.parametrize("arguments, files", [
    ((), ["loss.caffemodel"]), (("-o", "new.prototxt"), ["new.caffemodel", "new.prototxt"])])
def test_make_net(folder, arguments, files):
    """The fragment of two losses in a net of its user's."""
    status, out, err = run_main("make_net.py", "--loss", OURS, "--native", "--source", "H.binaryproto", "--axis", "-1",
                                "--score", "score", "--score", "x", "--ignore-label", "255", *arguments)
    assert status == 0 and sorted(set(os.listdir(".")) - {"H.binaryproto", "eye.csv", "D.csv"}) == files
    assert "-weights %s" % files[0] in (out if arguments else err)
    text = read("new.prototxt") if arguments else out
    net = real_nets.net(real_nets.input_layer(x=(6, 5), label=(6,)) + real_nets.learned("x", "score") + text)
    net.copy_from(files[0])
    net.blobs["x"].data[...] = real_nets.random_scores((6, 5))
    outputs = net.forward()
    assert outputs["loss"] == outputs["loss_2"] > 0
    arguments = ["--loss", OURS, "--native", "--source", "H.binaryproto", "--json"] + list(arguments)
    status, out, err = run_main("make_net.py", *arguments)  # one loss, without the layers for what is ignored
    assert (status, err) == (0, "") and json.loads(out)["weights"] == files[0]


def test_weights_of_others_are_not_lost(folder):
    put(net_text("SoftmaxWithLoss", ""))
    net = real_nets.net(real_nets.input_layer(x=(6, 5)) + real_nets.learned("x", "score"))
    net.save("net_loss.caffemodel")
    before = os.stat("net_loss.caffemodel").st_mtime
    status, out, err = use_loss("net.prototxt", "--loss", OURS, "--native", "--source", "H.binaryproto")
    assert status == 2 and "one with layer score, which would be lost; move it away" in err
    assert read("net.prototxt") == net_text("SoftmaxWithLoss", "") and os.stat("net_loss.caffemodel").st_mtime == before


@pytest.mark.parametrize("in_solver", [False, True])
def test_training_begins_with_both_weights(folder, in_solver, monkeypatch):
    """caffe train with a trained net and the weights of the loss ends as with the single loss."""
    write_matrix("H3.binaryproto", H[:3, :3])
    assert training.train(".", iterations=10, seed=2) == 0
    os.rename("snap_iter_10.caffemodel", "pretrained.caffemodel")
    native = training.LOSS.replace("SoftmaxWithLoss", "InfogainLoss").replace(
        ' }', ' infogain_loss_param { source: "H3.binaryproto" } }')
    assert training.train(".", native, arguments=["-weights", "pretrained.caffemodel"]) == 0
    single = weights("snap_iter_20.caffemodel")
    status, out, err = use_loss("train_val.prototxt", "--loss", OURS, "--native", "-o", "n.prototxt")
    assert status == 0, err
    line = [line for line in out.splitlines() if line.startswith("next: caffe train")][0]
    both = line[line.index("pretrained.caffemodel,"):].rstrip(")")
    text = read("n.prototxt")
    composition = text[text.index('layer {', text.index('"score"')):text.index('layer { name: "accuracy"')]
    if in_solver:
        if "weights" not in caffe.proto.caffe_pb2.SolverParameter.DESCRIPTOR.fields_by_name:
            pytest.skip("this Caffe's solver has no weights")
        monkeypatch.setattr(training, "SOLVER", training.SOLVER + '\nweights: "%s"' % both)
    assert training.train(".", composition, arguments=[] if in_solver else ["-weights", both]) == 0
    found = weights("snap_iter_20.caffemodel")
    assert all(np.abs(found["score"][i] - single["score"][i]).max() <= 1e-6 for i in (0, 1))
    assert "loss_gains" in found


def weights(path):
    net = caffe.proto.caffe_pb2.NetParameter()
    with open(path, "rb") as file:
        net.ParseFromString(file.read())
    return {layer.name: [np.array(blob.data) for blob in layer.blobs] for layer in net.layer}
