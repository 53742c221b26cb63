"""Each fault is found in a net made to have it, and nothing in one that has none."""
from __future__ import division, print_function

import os
import sys

import numpy as np
import pytest

import real_nets
import user_files

pytest.importorskip("caffe")
from caffe_losses.compat import from_bytes  # noqa: E402
from caffe_losses.formats.matrix_files import write_matrix  # noqa: E402
from caffe_prototxt.check import check as check_net  # noqa: E402
from caffe_prototxt.training import caffe_process  # noqa: E402
from caffe_prototxt.net.graph import usual_states  # noqa: E402
from caffe_prototxt.net.nets import Net  # noqa: E402
from caffe_prototxt.net.states import State  # noqa: E402

DATA = '''# the data
layer {
  name: "data" type: "Data" top: "data" top: "label"
  transform_param { crop_size: 8 }
  data_param { source: "nowhere" batch_size: 4 backend: LMDB }
}
'''
SCORE = '''layer {
  name: "score" type: "InnerProduct" bottom: "data" top: "score"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } }
}
'''
LOSS = '''layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
'''
PROB = '''layer { name: "prob" type: "Softmax" bottom: "score" top: "prob" }
'''


def python_loss(more="loss_weight: 1", param='{"source": "H.npy"}', layer="SoftmaxWithInfogainLoss", bottoms=("score", "label")):
    return real_nets.python_layer(layer, bottoms, ("loss",), param, more)


def native(bottoms=("score", "label"), more='infogain_loss_param { source: "H.binaryproto" }', tops=("loss",)):
    return 'layer { name: "loss" type: "InfogainLoss" %s %s %s }\n' % (
        " ".join('bottom: "%s"' % b for b in bottoms), " ".join('top: "%s"' % t for t in tops), more)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("H.binaryproto", "H.npy"):
        write_matrix(name, np.eye(3) + .125)
    write_matrix("H4.binaryproto", np.eye(4) + .125)
    write_matrix("H4.npy", np.eye(4) + .125)
    return tmp_path


@pytest.fixture(scope="module")
def caffe():
    """One Caffe for all nets."""
    with caffe_process.Caffe() as caffe:
        yield caffe


@pytest.fixture
def check(folder, caffe):
    """A function that gives what is found in a net, as {"error": [(kind, layer, line, message)], "warning": ..., "not checked": ...}.

    In TRAIN, if it is not said in which states.
    """
    def check(text, states=(State("TRAIN"),), **options):
        net = Net(from_bytes(text))
        report = check_net.check(net, states or usual_states(net), caffe, **options)
        found = {level: [(fault.kind, fault.layer and fault.layer.name, fault.line, fault.message) for fault, _ in report.faults
                         if fault.level == level] for level in ("error", "warning", "not checked")}
        return dict(found, report=report)
    return check


@pytest.fixture
def one(check):
    """A function that gives the message of the one fault that is in a net."""
    def one(text, level, kind, layer, line, **options):
        found = check(text, **options)
        faults = found["error"] + found["warning"]
        assert [fault[:3] for fault in faults] == [(kind, layer, line)] and found[level], faults
        return faults[0][3]
    return one


@pytest.fixture
def nothing(check):
    """A function that asserts that nothing is found in a net."""
    def nothing(text, **options):
        found = check(text, **options)
        assert not found["error"] and not found["warning"]
        return found
    return nothing


@pytest.mark.parametrize("loss", [LOSS, native(), python_loss(), native(("score", "label", "H"), "") + real_nets.python_layer(
    "InfogainMatrix", (), ("H",), {"source": "H.npy"}, 'exclude { stage: "deploy" }')])
def test_nothing_where_nothing_is_wrong(folder, nothing, loss):
    if '"H"' in loss:
        loss = "".join(reversed(loss.splitlines(True)))
    (kind, layer, line, message), = nothing(DATA + SCORE + loss, states=None)["not checked"]
    assert (kind, layer, line) == ("data", "data", 2) and "data of 4 x 3 x 8 x 8, label of 4" in message


def test_module(folder, one):
    layer = 'layer { name: "L" type: "Python" bottom: "score" top: "l" python_param { module: "%s" layer: "%s" } }\n'
    assert "its module not_there cannot be imported: ModuleNotFoundError: No module named 'not_there'" in one(
        DATA + SCORE + LOSS + layer % ("not_there", "L"), "error", "python", "L", 12).replace(
            "ImportError: No module named not_there", "ModuleNotFoundError: No module named 'not_there'")
    message = one(DATA + SCORE + LOSS + layer % ("caffe_losses", "InfogainMatrix2"), "error", "python", "L", 12)
    assert message.endswith("has no class InfogainMatrix2")
    assert one(DATA + SCORE + LOSS + layer % ("json", "JSONDecoder"), "error", "python", "L", 12).endswith("is no caffe.Layer")


def test_param_str(folder, one):
    message = one(DATA + SCORE + python_loss(param='{"sauce": "H.npy"}'), "error", "python", "loss", 11)
    assert message.startswith('SoftmaxWithInfogainLoss: unknown key "sauce" in param_str')


def test_python_loss_without_loss_weight(folder, one):
    message = one(DATA + SCORE + python_loss(""), "error", "no_loss_weight", "loss", 11)
    assert message.endswith("Caffe does not train on it; write loss_weight: 1")


@pytest.mark.parametrize("loss", [LOSS, native(), python_loss()])
def test_softmax_before_a_loss(folder, one, loss):
    message = one(DATA + SCORE + PROB + loss.replace('"score"', '"prob"'), "warning", "softmax", "loss", 12)
    assert message == "gets the output of a Softmax, prob, and applies one itself: give it the scores, score"


def test_no_softmax_before_a_loss_of_probabilities(folder, one):
    message = one(DATA + SCORE + python_loss(layer="InfogainLoss"), "warning", "softmax", "loss", 11)
    assert message == "wants probabilities, and gets the scores of score: put a Softmax before it"


H_LAYER = real_nets.python_layer("InfogainMatrix", (), ("H",), {"source": "H4.npy"})


@pytest.mark.parametrize("loss, line", [
    (native(more='infogain_loss_param { source: "H4.binaryproto" }'), 11),
    (H_LAYER + native(("score", "label", "H"), ""), 12)])
def test_size_of_h(folder, one, loss, line):
    assert one(DATA + SCORE + loss, "error", "h_size", "loss", line) == "has scores of 3 classes, and an H that is 4 x 4"


def test_size_of_h_in_python(folder, one):
    message = one(DATA + SCORE + python_loss(param={"source": "H4.npy"}), "error", "python", "loss", 11)
    assert message.endswith("H4.npy: expected H to be 3 x 3, as there are 3 classes, got 4 x 4")


@pytest.mark.parametrize("value, instead", [("true", "VALID"), ("false", "BATCH_SIZE")])
def test_normalize(folder, one, value, instead):
    more = 'infogain_loss_param { source: "H.binaryproto" } loss_param { normalize: %s }' % value
    message = one(DATA + SCORE + native(more=more), "error", "normalize", "loss", 11)
    assert message.endswith("write normalization: " + instead)


def test_force_backward(folder, one, nothing):
    H = real_nets.python_layer("InfogainMatrix", (), ("H",), {"source": "H.npy"})
    net = "force_backward: true\n" + DATA + SCORE
    assert "with force_backward: true (line 1) Caffe asks for a gradient" in one(
        net + H + native(("score", "label", "H"), ""), "error", "force_backward", "loss", 13)
    assert "take force_backward out" in one(net + python_loss(), "error", "force_backward", "loss", 12)
    nothing(net + native())


def test_h_that_is_trained(folder, one, nothing):
    H = real_nets.python_layer("ComputeH", ("label",), ("H",), {"n_classes": 3, "running": .5}, "%s")
    net = DATA + SCORE + H + native(("score", "label", "H"), "")
    assert "give layer H param { lr_mult: 0 decay_mult: 0 }" in one(net % "", "error", "gradient", "loss", 12)
    nothing(net % "param { lr_mult: 0 }")


@pytest.mark.parametrize("weights, message", [
    ("loss_weight: 1", "has 2 tops and 1 loss_weight: Caffe wants one for each top, as loss_weight: 1 loss_weight: 0"),
    ("", "has 2 tops and no loss_weight: Caffe wants one for each top, as loss_weight: 1 loss_weight: 0")])
def test_two_tops_with_one_loss_weight(folder, one, nothing, weights, message):
    net = DATA + SCORE + native(tops=("loss", "p"), more='infogain_loss_param { source: "H.binaryproto" } ' + weights)
    assert one(net, "error", "loss_weight", "loss", 11) == message
    nothing(net.replace(weights or "top: \"p\"", weights + " loss_weight: 1 loss_weight: 0"[
        len(weights and " loss_weight: 1"):] + ("" if weights else " top: \"p\"")))


@pytest.mark.parametrize("loss", [LOSS, native(), python_loss()])
def test_labels_out_of_range(folder, one, nothing, loss):
    user_files.write(str(folder))
    net = DATA.replace("nowhere", "train_lmdb").replace("transform_param { crop_size: 8 }", "") + SCORE + loss
    assert not nothing(net)["not checked"]
    if "SoftmaxWithLoss" in loss:
        net = net.replace("num_output: 3", "num_output: 2")
        assert one(net, "error", "labels", "loss", 11).startswith(
            "has labels that it has no class for: train_lmdb: expected labels 0..1, got 2 in 3 records")
        nothing(net.replace('top: "loss"', 'top: "loss" loss_param { ignore_label: 2 }'))


def test_layers_without_effect_on_the_loss(folder, one, nothing):
    more = SCORE.replace('"score"', '"side"') + SCORE.replace('"score"', '"more"').replace('"data"', '"side"')
    message = one(DATA + more + SCORE + LOSS, "warning", "no_effect", "side", 7)
    assert message == "has no effect on the loss, and Caffe does not train it; nor more"
    nothing(DATA + SCORE + LOSS + SCORE.replace('"score"', '"frozen"').replace(
        "inner_product_param", "param { lr_mult: 0 } inner_product_param"))


def test_no_loss(folder, one):
    assert one(DATA + SCORE, "warning", "no_loss", None, None) == "has no loss for TRAIN: Caffe would train nothing"


@pytest.mark.parametrize("net, kind, layer, line, message", [
    (DATA + LOSS, "blob", "loss", 7, "takes score, which no layer before it makes"),
    (DATA + SCORE + SCORE + LOSS, "blob", "score", 11, "makes score, which another layer makes before it"),
    (DATA + SCORE.replace("num_output: 3", "") + LOSS, "missing", "score", 7, "has no num_output: write inner_product_param { "),
    (DATA + SCORE.replace("xavier", "x") + LOSS, "caffe", "score", 7, "Caffe stops: Check failed: false Unknown filler name: x"),
    (DATA + SCORE + LOSS.replace("WithLoss", "WithLos"), "type", "loss", 11, "is of type SoftmaxWithLos, which this Caffe does "
     "not have, and stops at; is it SoftmaxWithLoss?"),
    (DATA + SCORE.replace("num_output", "num_outputs") + LOSS, "missing", "score", 9, "has num_outputs, which Caffe does not "
     "have, and stops at; is it num_output?"),
    (DATA + SCORE.replace("weight_filler", "weight_filer") + LOSS, "field", "score", 9, "has weight_filer, which this Caffe does "
     "not have, and stops at; is it weight_filler?"),
    (DATA + SCORE + LOSS.replace('top: "loss"', 'top: "loss" include { phase: TRAIN } exclude { phase: TEST }'), "rules", "loss", 11,
     "has include and exclude rules"),
    (DATA + SCORE + LOSS.replace('top: "loss"', 'top: "loss" propagate_down: true'), "propagate_down", "loss", 11,
     "has 2 bottoms and 1 propagate_down"),
    (DATA + SCORE + LOSS.replace('top: "loss"', 'top: "loss" top: "p" loss_weight: 1 loss_weight: 0'), "tops", "loss", 11,
     "has 2 tops, and Caffe's SoftmaxWithLoss runs with one only"),
    (DATA + SCORE + native(more=""), "caffe", "loss", 11, "Caffe stops: Check failed: "),
    (DATA + SCORE + native(more='infogain_loss_param { source: "H" }'), "caffe", "loss", 11, "Caffe stops: "),
])
def test_what_caffe_refuses(folder, one, net, kind, layer, line, message):
    assert one(net, "error", kind, layer, line).startswith(message)


def test_one_fault_does_not_hide_the_next(folder, check):
    bad = SCORE.replace('"score"', '"bad"').replace("xavier", "x")
    found = check(DATA + bad + SCORE.replace('"score"', '"worse"').replace("xavier", "y") + SCORE + python_loss(param="{1"))
    assert [fault[1:3] for fault in found["error"]] == [("bad", 7), ("worse", 11), ("loss", 19)]


def test_more_than_one_gpu(folder, one, nothing):
    assert "caffe train takes none on more than one GPU" in one(
        DATA + SCORE + python_loss(), "error", "multi_gpu", "loss", 11, gpus=2)
    nothing(DATA + SCORE + native(), gpus=2)


def test_total_loss(folder, nothing):
    net = DATA + SCORE + LOSS.replace('top: "loss"', 'top: "loss" loss_weight: 0.5') + LOSS.replace('"loss"', '"second"').replace(
        "}", "include { phase: TRAIN } }")
    report = nothing(net, states=None)["report"]
    assert {state.phase: [(part.weight, part.top, part.layer.name, part.layer.line, part.type) for part in parts]
            for state, parts in report.losses.items()} == {
        "TRAIN": [(.5, "loss", "loss", 11, "SoftmaxWithLoss"), (1, "second", "second", 12, "SoftmaxWithLoss")],
        "TEST": [(.5, "loss", "loss", 11, "SoftmaxWithLoss")]}


def test_stages(folder, check, nothing):
    """A net whose data layers are there for stages only is not checked without one."""
    data = DATA.replace('type: "Data"', 'type: "Data" include { stage: "%s" }')
    net = data % "train" + data % "val" + SCORE + LOSS.replace("}", 'exclude { stage: "deploy" } }')
    assert set(state.stages for state in nothing(net, states=None)["report"].losses) == {("train",), ("val",)}
    assert [fault[::2] for fault in check(net)["error"]] == [("blob", 13), ("blob", 17)]


def test_a_label_that_is_missing_in_test_is_no_matter_of_stages(folder, check):
    net = DATA + SCORE + LOSS.replace("}", 'exclude { stage: "deploy" } }')
    report = check(net.replace('type: "Data"', 'type: "Data" include { phase: TRAIN }'), states=None)["report"]
    assert [(fault.line, fault.message, states) for fault, states in report.faults if fault.level == "error"] == [
        (7, "takes data, which no layer before it makes", [State("TEST")]),
        (11, "takes label, which no layer before it makes", [State("TEST")])]


def corpus():
    return sorted(name for name in os.listdir(os.path.join(real_nets.CHECKOUT, "tests", "nets")) if name.endswith(".prototxt"))


@pytest.mark.parametrize("name", corpus())
def test_nothing_in_the_corpus(folder, nothing, name):
    with open(os.path.join(real_nets.CHECKOUT, "tests", "nets", name), "rb") as file:
        nothing(from_bytes(file.read()), states=None)


BACKWARD = "import caffe, sys; net = caffe.Net('net.prototxt', caffe.TRAIN); net.forward(); net.backward(); print('done')"


@pytest.mark.parametrize("loss", ["native", "ours"])
@pytest.mark.parametrize("first", ["", "force_backward: true\n"])
def test_what_is_said_of_force_backward_is_so(folder, first, loss):
    net = first + real_nets.input_layer(data=(2, 4), label=(2,)) + SCORE + (
        H_LAYER.replace("H4", "H") + native(("score", "label", "H"), "") if loss == "native" else python_loss())
    with open("net.prototxt", "w") as file:
        file.write(net)
    status, out, _ = real_nets.run([sys.executable, "-c", BACKWARD])
    assert (status == 0 and "done" in out) == (not first)


def test_what_is_said_of_learned_h_is_so(folder, one):
    H = real_nets.python_layer("ComputeH", ("label",), ("H",), {"n_classes": 3, "running": .5}, "%s")
    net = real_nets.input_layer(data=(2, 4), label=(2,)) + SCORE + H + native(("score", "label", "H"), "")
    for more, dies in (("", True), ("param { lr_mult: 0 }", False)):
        with open("net.prototxt", "w") as file:
            file.write(net % more)
        assert bool(real_nets.run([sys.executable, "-c", BACKWARD])[0]) == dies


def test_time(folder, caffe):
    """A layer that never ends its setup is not waited for."""
    with open("slow_layers.py", "w") as file:
        file.write("import caffe, time\nclass Slow(caffe.Layer):\n    def setup(self, bottom, top): time.sleep(1000)\n")
    net = DATA + 'layer { name: "slow" type: "Python" bottom: "data" top: "s" python_param { module: "slow_layers" layer: "Slow" } }\n'
    path = os.environ["PYTHONPATH"]
    os.environ["PYTHONPATH"] = os.pathsep.join([os.getcwd(), path])
    try:
        with caffe_process.Caffe() as impatient:
            check_net.check(Net(DATA), [State("TRAIN")], impatient)  # so that Caffe is there
            impatient.seconds = 2
            report = check_net.check(Net(net), [State("TRAIN")], impatient)
    finally:
        os.environ["PYTHONPATH"] = path
    assert [(fault.kind, fault.layer.name, fault.message) for fault, _ in report.faults if fault.kind == "time"] == [
        ("time", "slow", "Caffe took longer than 2 s; --timeout sets more")]


def test_data_of_python_that_is_not_there(folder, nothing, caffe):
    """A data layer whose setup opens its files, as in FCN's nets."""
    with open("voc_layers.py", "w") as file:
        file.write("import caffe\nclass Data(caffe.Layer):\n    def setup(self, bottom, top): open('nowhere/train.txt')\n")
    net = ('layer { name: "data" type: "Python" top: "data" top: "label" python_param { module: "voc_layers" layer: "Data" } }\n'
           'layer { name: "score" type: "Convolution" bottom: "data" top: "score" convolution_param { num_output: 3 kernel_size: 1 '
           'weight_filler { type: "xavier" } } }\n' + native(more='infogain_loss_param { source: "H.binaryproto" } '
                                                             'loss_param { ignore_label: 255 normalization: NONE }'))
    path = os.environ["PYTHONPATH"]
    os.environ["PYTHONPATH"] = os.pathsep.join([os.getcwd(), path])
    try:
        with caffe_process.Caffe() as other:
            report = check_net.check(Net(net), [State("TRAIN")], other)
    finally:
        os.environ["PYTHONPATH"] = path
    (fault, _), = report.faults
    assert fault.level == "not checked" and "nowhere/train.txt" in fault.message
    assert fault.message.endswith("data of 1 x 3 x 224 x 224, label of 1 x 1 x 224 x 224; so the labels of loss are not checked")


def test_a_shape_that_only_might_be_wrong(folder, check):
    """A stop of Caffe that depends on the shape of missing data is no error."""
    data = DATA.replace("transform_param { crop_size: 8 }", "")
    fixed = 'layer { name: "r" type: "Reshape" bottom: "data" top: "r" reshape_param { shape { dim: %s dim: 7 dim: 11 } } }\n'
    found = check(data + fixed % "4 dim: 3" + SCORE.replace('"data"', '"r"') + LOSS)
    assert not found["error"] and [fault[:3] for fault in found["not checked"]] == [("data", "data", 2), ("shape", "r", 7)]
    assert found["not checked"][1][3].endswith("give the shape of the data: --shape TOP=N,C,H,W")
    found = check(data + fixed % "4 dim: 3" + SCORE.replace('"data"', '"r"') + LOSS, shapes={"data": (4, 3, 7, 11)})
    assert not found["error"] and [fault[0] for fault in found["not checked"]] == ["data"]
    # a net for small images, and one for pairs of images
    small = data + SCORE + LOSS + 'layer { name: "one" type: "Slice" bottom: "data" top: "a" top: "b" slice_param { slice_point: 1 } }\n' \
        'layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "c" }\n'
    found = check(small)
    assert not found["error"] and [fault[0] for fault in found["not checked"]] == ["data"]
    assert "data of 4 x 2 x 28 x 28" in found["not checked"][0][3]
