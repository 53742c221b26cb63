"""Each fault is found in a net made to have it, and nothing in one that has none."""
from __future__ import division, print_function

import os
import sys

import numpy as np
import pytest

import real_nets
import user_files
from user_files import as_nobody

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


ADJUSTED = LOSS.replace('"score"', '"adjusted"')


def log_prior(param, bottoms=(), prior="include { phase: TRAIN }", add="include { phase: TRAIN }"):
    return real_nets.python_layer("LogPrior", bottoms, ("prior",), param, prior) + (
        'layer { name: "add" type: "Bias" bottom: "score" bottom: "prior" top: "adjusted" %s }\n' % add)


def test_a_log_prior(folder, one, nothing, check):
    running, not_trained = {"n_classes": 3, "running": .5}, "param { lr_mult: 0 }"
    nothing(DATA + SCORE + log_prior({"counts": [1, 2, 3]}) + ADJUSTED)
    nothing(DATA + SCORE + log_prior(running, ("label",), not_trained) + ADJUSTED)
    assert "keeps counts in a blob, which Caffe would train: write param { lr_mult: 0 decay_mult: 0 }" == one(
        DATA + SCORE + log_prior(running, ("label",)) + ADJUSTED, "error", "log_prior", "prior", 11)
    found = check(DATA + SCORE + log_prior({"counts": [1, 2]}) + ADJUSTED)["error"]
    assert found[0] == ("log_prior", "add", 12, "adds the log prior of 2 classes, of layer prior, to scores of 3")
    found = check(DATA + SCORE + log_prior({"n_classes": 4}, ("label",)) + ADJUSTED)["error"]
    assert found[0] == ("log_prior", "add", 12, "adds the log prior of 4 classes, of layer prior, to scores of 3")


def test_a_log_prior_outside_of_train(folder, one):
    expected = "is in TEST, too, where the scores are to be without the log prior: write include { phase: TRAIN } in it, "
    net = DATA + SCORE + log_prior({"counts": [1, 2, 3]}, (), "", "") + ADJUSTED
    assert one(net, "error", "log_prior", "prior", 11, states=None).startswith(expected)
    deployed = real_nets.input_layer(data=(1, 8)) + SCORE + log_prior({"counts": [1, 2, 3]}, (), "", "") + PROB.replace('"score"', '"adjusted"')
    assert one(deployed, "error", "log_prior", "prior", 6, states=[State("TEST")]).startswith(expected)
    weights = 'layer { name: "score_plus_log_prior" type: "Bias" bottom: "score" top: "adjusted" param { lr_mult: 0 } }\n'
    assert one(DATA + SCORE + weights + ADJUSTED, "error", "log_prior", "score_plus_log_prior", 11, states=[State("TEST")]).startswith(expected)


def test_a_log_prior_in_weights(folder, one):
    weights = 'layer { name: "score_plus_log_prior" type: "Bias" bottom: "score" top: "adjusted" param { lr_mult: 0 } }\n'
    assert "has its log prior in weights that are 0 until caffe train -weights FILE.caffemodel (which use_loss.py" in one(
        DATA + SCORE + weights + ADJUSTED, "warning", "weights", "score_plus_log_prior", 11)


def test_a_log_prior_of_labels_with_force_backward(folder, one, nothing):
    net = "force_backward: true\n" + DATA + SCORE
    nothing(net + log_prior({"counts": [1, 2, 3]}) + ADJUSTED)
    assert "asks a gradient with respect to the labels" in one(
        net + log_prior({"n_classes": 3}, ("label",)) + ADJUSTED, "error", "force_backward", "prior", 12)


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


def test_a_data_layer_without_a_batch_size(folder, one):
    user_files.write(str(folder))
    net = DATA.replace("nowhere", "train_lmdb").replace("transform_param { crop_size: 8 }", "").replace("batch_size: 4", "")
    assert one(net + SCORE + LOSS, "error", "caffe", "data", 2) == (
        "Caffe stops: Check failed: data_: one of its blobs is empty, as it has no batch_size")


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


@pytest.mark.parametrize("change, kind, line, message", [
    (("type:", "typo:", 1), "missing", 3, "has typo, which Caffe does not have, and stops at; is it type?"),
    (('type: "InnerProduct" ', "", 1), "missing", 7, "has no type"),
    (("batch_size", "batchsize", 1), "field", 5, "has batchsize, which this Caffe does not have, and stops at; is it batch_size?"),
    (("LMDB", "LMBD", 1), "field", 5, "has backend: LMBD, which this Caffe does not have, and stops at; is it LMDB?"),
    (("backend", "backend: LMDB backend", 1), "twice", 5, "has backend twice, and Caffe's parser stops: take one of them out"),
    (("bottom: ", "include { fase: TRAIN } bottom: ", 1), "rule", 7, "has fase in a rule (include), which this Caffe does not have"),
    (("num_output: 3", "num_output: 3 bias_trem: 1", 1), "field", 9, "has bias_trem, which this Caffe does not have, and stops at; is "),
    (("inner_product_param", "iner_product_param", 1), "missing", 9, "has iner_product_param, which Caffe does not have"),
    (("nowhere", r"C:\new\train", 1), "path", 2, r"has source: C:\new\train, in which a \ with the letter after it stands for"),
    (("SoftmaxWithLoss", "SoftmaxLoss", 1), "missing", 11, 'is of type SoftmaxLoss, which Caffe does not have: write type: "SoftmaxW'),
    (("SoftmaxWithLoss", "Softmax_Loss", 1), "missing", 11, "is of type Softmax_Loss, which Caffe does not have"),
    (("SoftmaxWithLoss", "SOFTMAX_LOSS", 1), "missing", 11, "is of type SOFTMAX_LOSS, which Caffe does not have"),
    (("InnerProduct", "INNER_PRODUCT", 1), "type", 7, "is of type INNER_PRODUCT, which this Caffe does not have, and stops at; is it Inn"),
    (('bottom: "score" bottom: "label"', 'bottom: "label" bottom: "score"', 1), "swapped", 11,
     'gets the scores second, and the labels first: write bottom: "score" bottom: "label"')])
def test_what_is_misspelt(check, change, kind, line, message):
    (fault,) = check((DATA + SCORE + LOSS).replace(*change))["error"]
    assert (fault[0], fault[2]) == (kind, line) and fault[3].startswith(message), fault


@pytest.mark.parametrize("phase, consequences", [("TRIAN", 2), ("TEST_", 2)])
def test_a_phase_that_is_misspelt(check, phase, consequences):
    found = check(DATA.replace("type:", "include { phase: %s } type:" % phase) + SCORE + LOSS)["error"]
    assert found[0][:3] == ("rule", "data", 2) and found[0][3].startswith("has phase: %s in a rule, and Caffe stops" % phase)
    assert [fault[0] for fault in found[1:]] == ["blob"] * consequences


@pytest.mark.parametrize("layer, message", [
    ('type: "Convolution" bottom: "data" convolution_param { kernel_size: 3 }', "has no num_output: write convolution_param"),
    ('type: "Convolution" bottom: "data" convolution_param { num_output: 3 }', "has no kernel_size: write convolution_param"),
    ('type: "Deconvolution" bottom: "data"', "has no convolution_param { num_output: N kernel_size: N }"),
    ('type: "Pooling" bottom: "data" pooling_param { pool: MAX }', "has no kernel_size: write pooling_param { kernel_size: N }"),
    ('type: "Embed" bottom: "label" embed_param { num_output: 3 }', "has no input_dim: write embed_param"),
    ('type: "InnerProduct" bottom: "data" inner_product_param { }', "has no num_output: write inner_product_param"),
    ('type: "Python" bottom: "data"', 'has no python_param { module: "..." layer: "..." }'),
    ('type: "Python" bottom: "data" python_parm { module: "m" }', "has python_parm, which Caffe does not have, and stops at; is it p"),
    ('type: "Python" bottom: "data" python_param { layer: "m" }', 'has no module: write python_param { module: "..." }')])
def test_what_a_layer_needs(check, layer, message):
    (fault,) = check(DATA + SCORE + LOSS + 'layer { name: "a" top: "a" %s }\n' % layer)["error"]
    assert fault[:3] == ("missing", "a", 12) and fault[3].startswith(message), fault


@pytest.mark.parametrize("rule, message", [
    ('include { phase: "TRAIN" }', "has phase in a rule (include), and Caffe's parser stops: write phase: TRAIN or phase: TEST, with"),
    ("exclude { stage: a }", 'has stage in a rule (exclude), and Caffe\'s parser stops: write stage: "...", in quotes'),
    ('include { min_level: "1" }', "has min_level in a rule (include), and Caffe's parser stops: write a whole number"),
    ("include { phase: TRAIN phase: TRAIN }", "has phase twice in a rule, and Caffe's parser stops: take one of them out"),
    ("include: 3", "has include that is no { }")])
def test_rules_that_caffe_cannot_read(check, caffe, rule, message):
    layer = 'layer { name: "a" type: "Flatten" bottom: "data" top: "a" %s }\n'
    data = real_nets.input_layer(data=(4, 2))
    assert caffe.run(data + layer % "", "TRAIN", []).made and not caffe.run(data + layer % rule, "TRAIN", []).made
    (fault,) = check(DATA + SCORE + LOSS + layer % rule)["error"]
    assert fault[:3] == ("rule", "a", 12) and fault[3].startswith(message)


def test_what_depends_on_a_fork_is_read_all_the_same(check):
    fork = 'layer { name: "fork" type: "Foo" bottom: "data" top: "f" foo_param { a: 1 } }\n'
    found = check(DATA + fork + SCORE.replace('"data"', '"f"') + LOSS)
    assert not found["error"] and [fault[:2] for fault in found["not checked"]] == [
        ("data", "data"), ("type", "fork"), ("behind", "score")]
    assert found["not checked"][2][3] == "depends on what is left out, and is left out, too; the same of loss"
    (fault,) = check(DATA + fork + SCORE.replace('"data"', '"f"').replace("num_output: 3", "num_output: 3 bias_trem: 1") + LOSS)["error"]
    assert fault[:3] == ("field", "score", 10)
    (fault,) = check(DATA + fork + SCORE.replace('"data"', '"f"') + LOSS.replace("WithLoss", "WithLos"))["error"]
    assert fault[:3] == ("type", "loss", 12)


def test_one_fault_of_the_net_itself_does_not_hide_the_next(check):
    found = check('name: "a" name: "b"\nforce_backward: 7\nfork: 1\n' + DATA + SCORE.replace("xavier", "x") + LOSS)
    assert [fault[:3:2] for fault in found["error"]] == [("twice", 1), ("caffe", 2), ("caffe", 10)], found["error"]
    assert [fault[:3:2] for fault in found["not checked"]][0] == ("field", 3)


@pytest.mark.parametrize("field", ["force_backward: maybe", "debug_info: maybe"])
def test_a_bool_of_the_net_itself(check, field):
    """The parser names the token after such a value, which is a layer's."""
    (fault,) = check(DATA + field + "\n" + SCORE + LOSS)["error"]
    assert fault[:3] == ("caffe", None, 7) and 'Value: "maybe"' in fault[3]


def test_a_layer_has_what_it_needs(nothing):
    nothing(DATA + SCORE + LOSS + 'layer { name: "a" type: "Pooling" bottom: "data" top: "a" pooling_param { global_pooling: true } }\n'
            'layer { name: "b" type: "Convolution" bottom: "data" top: "b" param { lr_mult: 0 } '
            'convolution_param { num_output: 1 kernel_h: 1 kernel_w: 2 } }\n')


@pytest.mark.parametrize("net", [
    "is_fork: true\n" + DATA + SCORE + LOSS, "fork_param { debug: true }\n" + DATA + SCORE + LOSS,
    DATA + SCORE + LOSS + 'layer { name: "a" type: "Lstm" bottom: "data" top: "a" }\n',
    DATA + SCORE + LOSS + 'layer { name: "a" type: "ROIPooling" bottom: "data" top: "a" }\n',
    DATA + SCORE + LOSS + 'layer { name: "a" type: "Eltwise" bottom: "data" top: "a" eltwise_param { operation: MIN } }\n',
    DATA + SCORE + LOSS.replace('top: "loss"', 'top: "loss" include { min_iter: 5 }'),
    DATA.replace("batch_size", "shuffle_pool_size: 3 batch_size") + SCORE + LOSS])
def test_what_a_fork_may_have(nothing, net):
    found = [fault for fault in nothing(net)["not checked"] if fault[0] != "data"]
    assert len(found) == 1 and "which this Caffe does not have" in found[0][3].replace("which Caffe", "which this Caffe")


def test_inputs_without_a_shape_are_dropped(nothing, check, caffe):
    layer = real_nets.input_layer(data=(4, 2), label=(4,))
    assert caffe.run('input: "data"\n' + layer, "TRAIN", []).made and not caffe.run('input: "data"\n' + SCORE, "TRAIN", []).made
    nothing('input: "data" input: "label"\n' + layer + SCORE + LOSS)
    assert [fault[3] for fault in check('input: "data" input: "label"\n' + SCORE + LOSS)["error"]] == [
        "takes data, an input without input_shape, which Caffe drops",
        "takes label, an input without input_shape, which Caffe drops"]
    shapes = "input_shape { dim: 4 dim: 2 } input_shape { dim: 4 }\n"
    assert [fault[0] for fault in check('input: "data" input: "label"\n' + shapes + layer + SCORE + LOSS)["error"]] == ["blob"]


def test_the_same_of_several_layers_is_one_fault(folder, check):
    layer = 'layer { name: "m%d" type: "Python" bottom: "data" top: "m%d" python_param { module: "my_layers" layer: "L" } }\n'
    more = "".join(layer % (i, i) for i in range(27))
    (fault,) = check(DATA + SCORE + LOSS + more)["error"]
    assert fault[:3] == ("python", "m0", 12) and "export PYTHONPATH=FOLDER${PYTHONPATH:+:$PYTHONPATH}; the same of layers m1 (line 13), " in fault[3]
    assert fault[3].endswith(", m26 (line 38)")
    # one that lies near the net is no fault of the net
    (folder / "layers").mkdir()
    (folder / "layers" / "my_layers.py").write_text(u"")
    found = check(DATA + SCORE + LOSS + more, path=str(folder / "net.prototxt"))
    assert not found["error"] and "export PYTHONPATH=%s${PYTHONPATH:+:$PYTHONPATH}" % (folder / "layers") in found["not checked"][-1][3]
    types = "".join('layer { name: "%d" type: "Normalize" bottom: "data" top: "%d" }\n' % (i, i) for i in range(3))
    assert [fault[3] for fault in check(DATA + SCORE + LOSS + types)["not checked"][1:]] == [
        "is of type Normalize, which this Caffe does not have, and stops at; is it a fork's?; the same of layers 1 (line 13), 2 (line 14)"]


def test_weights_of_another_training(folder, one, nothing):
    write_matrix("D.csv", 1 - np.eye(3))
    loss = python_loss(layer="ExpectedCostLoss", param={"source": "D.csv"})
    assert one(DATA + SCORE + loss, "warning", "weights", "loss", 11).startswith("is for a net that has been trained before")
    nothing(DATA + SCORE + loss, weights=["trained.caffemodel"])
    nothing(DATA + SCORE + loss.replace('"loss"', '"cost"') + LOSS)  # beside another loss
    H = 'layer { name: "H" type: "Parameter" top: "H" param { lr_mult: 0 } parameter_param { shape { dim: 1 dim: 1 dim: 3 dim: 3 } } }\n'
    net = DATA + SCORE + H + native(("score", "label", "H"), "")
    assert "is 0 until caffe train -weights FILE.caffemodel brings it" in one(net, "warning", "weights", "loss", 12)
    nothing(net, weights=["trained.caffemodel"])


@pytest.mark.parametrize("batch, few", [(1, True), (2, True), (3, False), (None, False)])
def test_a_batch_without_a_triplet(folder, check, batch, few):
    triplets = real_nets.python_layer("TripletSelect", ("score", "label"), ("a", "p", "n"), {"strategy": "all"}, name="select")
    loss = real_nets.python_layer("TripletSoftmaxLoss", ("a", "p", "n"), ("loss",), {}, "loss_weight: 1")
    data = DATA.replace("batch_size: 4", "batch_size: %d" % batch) if batch else DATA.replace("batch_size: 4", "")
    found = check(data + SCORE + triplets + loss)
    assert [fault[:2] for fault in found["warning"]] == [("batch", "select")] * few and not found["error"]


def test_a_net_that_is_written_for_testing_needs_no_loss(nothing):
    for result in ('type: "Accuracy" bottom: "score" bottom: "label"', 'type: "Softmax" bottom: "score"'):
        nothing(DATA + SCORE + 'layer { name: "result" top: "result" %s }\n' % result)


def test_a_stage_that_is_needed(check):
    net = DATA.replace("type:", 'include { stage: "train" } type:') + SCORE + LOSS
    assert check(net)["error"][0][3] == ('takes data, which no layer before it makes; layer data does with stage: "train": give it by '
                                         "--stage, or in the solver's train_state or test_state")


def test_labels_of_boxes(check):
    """SSD's data and loss: no labels of classes."""
    net = (DATA.replace('"Data"', '"AnnotatedData"').replace("crop_size: 8", "resize_param { height: 6 width: 9 }") + SCORE +
           'layer { name: "loss" type: "MultiBoxLoss" bottom: "score" bottom: "score" bottom: "data" bottom: "label" top: "loss" }\n')
    found = check(net)
    assert not found["error"] + found["warning"]
    assert "data of 4 x 3 x 6 x 9, label of 1 x 1 x 1 x 8" in found["not checked"][0][3]
    found = check(DATA.replace('"Data"', '"AnnotatedData"') + SCORE + LOSS)  # labels of images
    assert not found["error"] and "data of 4 x 3 x 8 x 8, label of 4" in found["not checked"][0][3]


def test_train_py_is_named_where_it_is(folder):
    graph = check_net.Graph(Net(DATA + SCORE + python_loss()), State("TRAIN"))
    for there in (False, True):
        (fault,) = check_net.text_checks.multi_gpu(graph, there)
        assert ("train.py" in fault.message) == there


def test_one_fault_does_not_hide_the_next(folder, check):
    bad = SCORE.replace('"score"', '"bad"').replace("xavier", "x")
    found = check(DATA + bad + SCORE.replace('"score"', '"worse"').replace("xavier", "y") + SCORE + python_loss(param="{1"))
    assert [fault[1:3] for fault in found["error"]] == [("bad", 7), ("worse", 11), ("loss", 19)]


def test_more_than_one_gpu(folder, one, nothing):
    arguments = DATA + SCORE + python_loss(), "error", "multi_gpu", "loss", 11
    assert "a native InfogainLoss with H from a file trains there, and what use_loss.py --native makes" in one(*arguments, gpus=2)
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


SEQUENCES = '''layer { name: "data" type: "%s" top: "cont" top: "words" top: "target" %s }
layer { name: "embed" type: "Embed" bottom: "words" top: "e" embed_param { input_dim: 9 num_output: 5 weight_filler { type: "uniform" } } }
layer { name: "lstm" type: "LSTM" bottom: "e" bottom: "cont" top: "l" recurrent_param { num_output: 4 weight_filler { type: "uniform" } } }
layer { name: "predict" type: "InnerProduct" bottom: "l" top: "p" inner_product_param { num_output: 9 axis: 2 weight_filler { type: "uniform" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "p" bottom: "target" top: "loss" softmax_param { axis: 2 } }
'''


@pytest.mark.parametrize("data", [("HDF5Data", 'hdf5_data_param { source: "nowhere" batch_size: 20 }'), ("SequenceData", "")])
def test_a_net_of_sequences_as_lrcn(nothing, data):
    (fault,) = nothing(SEQUENCES % data)["not checked"]
    assert "words of %d x 16, target of %d x 16; so the labels of loss are not checked" % ((20, 20) if data[1] else (2, 2)) in fault[3]


def test_a_batch_that_only_might_be_wrong(check):
    net = ('layer { name: "data" type: "Videos" top: "data" top: "label" }\n' + SCORE +
           'layer { name: "r" type: "Reshape" bottom: "score" top: "r" reshape_param { shape { dim: 16 dim: 24 dim: 3 } } }\n')
    found = check(net)
    assert not found["error"] and [fault[:2] for fault in found["not checked"]] == [("data", "data"), ("shape", "r")]


def test_labels_of_several_losses(nothing):
    (fault,) = nothing(DATA + SCORE + LOSS + LOSS.replace('"loss"', '"aux"'))["not checked"]
    assert fault[3].endswith("label of 4; so the labels of loss, aux are not checked")


@pytest.mark.parametrize("kind", ["HDF5Data", "ImageData"])
def test_data_of_another_user(folder, kind):
    (folder / "list.txt").write_text(u"x.h5\n")
    (folder / "list.txt").chmod(0o600)
    for path in [folder] + list(folder.parents)[:2]:
        path.chmod(0o755)
    param = "image_data_param" if kind == "ImageData" else "hdf5_data_param"
    net = DATA.replace('"Data"', '"%s"' % kind).replace("data_param", param).replace("nowhere", "list.txt").replace("backend: LMDB", "")
    with as_nobody(), caffe_process.Caffe() as caffe:
        report = check_net.check(Net(net + SCORE + LOSS), [State("TRAIN")], caffe)
    (fault, _), = report.faults
    assert fault.kind == "data" and fault.message.startswith("its data list.txt: Permission denied; inputs stand for it, ")


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
