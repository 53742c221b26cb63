"""Logit adjustment in nets of all kinds: what they compute in each phase, and the way back."""
from __future__ import division, print_function

import re

import numpy as np
import pytest

import corpus
import loops
import real_nets
from caffe_losses.formats.matrix_files import write_matrix
from caffe_prototxt.net import losses
from caffe_prototxt.net.adjustments import adjustment, scores_alone
from caffe_prototxt.net.nets import Net
from caffe_prototxt.net.states import State
from caffe_prototxt.rewrite.deploy import make_deploy

caffe = pytest.importorskip("caffe")

LOADABLE = sorted(set(corpus.SHAPES) - {"old_syntax.prototxt"})
HEAD = real_nets.input_layer(data=(6, 4), label=(6,)) + """
layer { name: "score" type: "InnerProduct" bottom: "data" top: "score"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
"""
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }\n'
ACCURACY = 'layer { name: "accuracy" type: "Accuracy" bottom: "score" bottom: "label" top: "accuracy" }\n'
COUNTS = [900, 90, 10]
LOG_PRIOR = np.log([.9, .09, .01])


def counts_of(name):
    return [10 ** i for i in range(corpus.SHAPES[name][1])]


@pytest.mark.parametrize("running", [None, .9])
@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("name", LOADABLE)
def test_there_and_back(name, native, running):
    """A second time changes nothing, another strength its number alone, and all can be taken away again."""
    before, counts = corpus.read(name), counts_of(name)
    after = corpus.adjusted(before, counts, 1, running, native)
    assert after != before and corpus.adjusted(after, counts, 1, running, native) == after
    assert corpus.adjusted(after, None) == before
    other = corpus.adjusted(after, counts, .25, running, native)
    assert re.sub(r'"strength": [\d.]+', "", other) == re.sub(r'"strength": [\d.]+', "", after)
    assert (other == after) == native
    again = corpus.adjusted(corpus.adjusted(before, counts, 1, None, not native), counts, 1, running, native)
    assert again == after  # the form changes


@pytest.mark.scores
@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("name", sorted(set(LOADABLE) - {"probabilities.prototxt"}))
def test_what_the_net_computes(name, native, tmp_path, monkeypatch):
    """In TRAIN as where the prior is in a bias of the scores' layer; in TEST as before."""
    monkeypatch.chdir(tmp_path)
    write_matrix("H.binaryproto", np.eye(corpus.SHAPES[name][1]))
    before, counts = corpus.read(name), counts_of(name)
    after = corpus.adjusted(before, counts, 1, None, native)
    log_prior = np.log(np.array(counts) / float(sum(counts)))
    values, _, _, plain = corpus.run(before, name, "TEST")
    new_values = corpus.run(after, name, "TEST", plain)[0]
    assert new_values == values and (values or name == "tabs_crlf.prototxt")  # which has no loss there
    net = Net(after)
    _, _, _, made = corpus.run(after, name, "TRAIN", plain)
    in_train = [losses.read_loss(layer) for layer in losses.find_losses(net) if "TRAIN" in layer.phases]
    for loss in in_train if native else ():
        made.params[adjustment(loss.layer, loss.scores).adding[0].name][0].data[...] = log_prior
    made.forward()
    for loss in in_train:
        layer, found = loss.layer, adjustment(loss.layer, loss.scores)
        assert scores_alone(layer, loss.scores) == found.scores
        axis = loss.params.axis or 1
        moved = np.moveaxis(made.blobs[found.scores].data.astype(np.float64), axis, -1) + log_prior
        np.testing.assert_allclose(np.moveaxis(made.blobs[loss.scores].data, axis, -1), moved, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("native", [False, True])
def test_loss_and_gradient(native):
    net = real_nets.net(corpus.adjusted(HEAD + ACCURACY + LOSS, COUNTS, .5, None, native))
    if native:
        net.params["score_plus_log_prior"][0].data[...] = LOG_PRIOR / 2
    net.blobs["data"].data[...] = np.random.RandomState(0).randn(6, 4)
    net.blobs["label"].data[...] = [0, 1, 2, 0, 1, 2]
    net.forward()
    net.backward()
    score = net.blobs["score"].data.astype(np.float64)
    loss, gradient = loops.batch(loops.softmax_with_infogain, score + LOG_PRIOR / 2, net.blobs["label"].data, np.eye(3))
    assert float(net.blobs["loss"].data) == pytest.approx(loss, rel=1e-6)
    np.testing.assert_allclose(net.params["score"][0].diff, gradient.T.dot(net.blobs["data"].data), atol=1e-6)
    correct = np.argmax(score, axis=1) == net.blobs["label"].data
    assert float(net.blobs["accuracy"].data) == pytest.approx(correct.mean())  # in TRAIN, too, of the scores alone


TEXT = '''layer {
  name: "log_prior"
  type: "Python"
  top: "log_prior"
  include { phase: TRAIN }
  python_param {
    module: "caffe_losses"
    layer: "LogPrior"
    param_str: '{"counts": [900, 90, 10], "strength": 1}'
  }
}
layer {
  # logit adjustment: the loss alone gets this, in TRAIN; the scores without it are to decide by
  name: "score_plus_log_prior"
  type: "Bias"
  bottom: "score"
  bottom: "log_prior"
  top: "score_for_loss"
  include { phase: TRAIN }
}
layer {
  name: "score_for_loss"
  type: "Split"
  bottom: "score"
  top: "score_for_loss"
  include { phase: TEST }
}
layer {
  name: "loss"  # mine
  type: "SoftmaxWithLoss"
  bottom: "score_for_loss"
'''


def test_the_text():
    loss = 'layer {\n  name: "loss"  # mine\n  type: "SoftmaxWithLoss"\n  bottom: "score"\n  bottom: "label"\n  top: "loss"\n}\n'
    after = corpus.adjusted(HEAD + loss, COUNTS)
    assert after == HEAD + TEXT + '  bottom: "label"\n  top: "loss"\n}\n'


@pytest.mark.parametrize("rules, in_train, in_test", [
    ('exclude { stage: "deploy" }', 'exclude { stage: "deploy" } exclude { phase: TEST }', 'exclude { stage: "deploy" } exclude { phase: TRAIN }'),
    ('include { stage: "a" } include { phase: TEST }', 'include { stage: "a" phase: TRAIN }', 'include { stage: "a" phase: TEST } include { phase: TEST }'),
    ('include { phase: TRAIN stage: "a" }', 'include { phase: TRAIN stage: "a" }', None),
    ('exclude { phase: TEST }', 'exclude { phase: TEST }', None),
    ('exclude { phase: 1 }', 'exclude { phase: 1 }', None)])
def test_rules(rules, in_train, in_test):
    after = corpus.adjusted(HEAD + LOSS.replace(" }\n", " %s }\n" % rules), COUNTS)
    layers = {layer.name: layer for layer in Net(after).layers}
    for name, expected in (("score_plus_log_prior", in_train), ("log_prior", in_train), ("score_for_loss", in_test)):
        assert (name in layers) == (expected is not None)
        if expected:
            assert layers[name].rules == Net("layer { %s }" % expected).layers[0].rules
            assert layers[name].phases == ({"TEST"} if name == "score_for_loss" else {"TRAIN"})


@pytest.mark.scores
@pytest.mark.parametrize("kind", ["SoftmaxWithInfogainLoss", "ExpectedCostLoss"])
def test_a_loss_out_of_caffes_own_layers(kind, tmp_path, monkeypatch):
    from caffe_prototxt.net.matrix_sources import FileMatrix
    from caffe_prototxt.rewrite import plan
    monkeypatch.chdir(tmp_path)
    write_matrix("M.csv", np.eye(3) if kind == "SoftmaxWithInfogainLoss" else 1 - np.eye(3))
    net = Net(HEAD + LOSS)
    planned = plan.plan(net, list(map(losses.read_loss, losses.find_losses(net))),
                        plan.Request(losses.KINDS[kind], FileMatrix("M.csv"), native=True, h_name="H"))
    composed = plan.write(net.text, planned)
    after = corpus.adjusted(composed, COUNTS)
    assert corpus.adjusted(after, COUNTS) == after and corpus.adjusted(after, None) == composed
    for phase in ("TRAIN", "TEST"):
        made = real_nets.net(after, phase)
        for name, blobs in planned.blobs.items():
            for blob, values in zip(made.params[name], blobs):
                blob.data[...] = values
        made.blobs["data"].data[...] = np.random.RandomState(0).randn(6, 4)
        made.blobs["label"].data[...] = [0, 1, 2, 0, 1, 2]
        made.forward()
        formula = loops.softmax_with_infogain if kind == "SoftmaxWithInfogainLoss" else loops.expected_cost
        scores = made.blobs["score"].data.astype(np.float64) + LOG_PRIOR * (phase == "TRAIN")
        matrix = np.eye(3) if kind == "SoftmaxWithInfogainLoss" else 1 - np.eye(3)
        loss, _ = loops.batch(formula, scores, made.blobs["label"].data, matrix)
        assert float(made.blobs["loss"].data) == pytest.approx(loss, rel=1e-5)


def test_probabilities(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_matrix("H.binaryproto", np.eye(3))
    after = corpus.adjusted(corpus.read("probabilities.prototxt"), COUNTS)
    values, _, _, net = corpus.run(after, "probabilities.prototxt")
    loss, _ = loops.batch(loops.softmax_with_infogain, net.blobs["score"].data + LOG_PRIOR, net.blobs["label"].data, np.eye(3),
                          normalization="BATCH_SIZE")
    assert values["loss"] == pytest.approx(loss, rel=1e-5)


def test_losses_share_a_log_prior():
    side = LOSS.replace('"loss"', '"side"').replace('"score"', '"data"')
    head = HEAD.replace("num_output: 3", "num_output: 4")
    text = head + side + LOSS
    after = corpus.adjusted(text, [1, 2, 3, 4])
    layers = [layer.name for layer in Net(after).layers]
    assert layers == ["input", "score", "log_prior", "data_plus_log_prior", "data_for_loss", "side", "score_plus_log_prior", "score_for_loss", "loss"]
    real_nets.net(after).forward()
    with pytest.raises(ValueError, match=r"log_prior \(line .*: expected only losses that change .* but side \(line .* does, too"):
        corpus.adjusted(after, [1, 2, 3, 5], names=["loss"])
    one = corpus.adjusted(after, None, names=["loss"])
    assert [layer.name for layer in Net(one).layers] == ["input", "score", "log_prior", "data_plus_log_prior", "data_for_loss", "side", "loss"]
    assert corpus.adjusted(one, None) == text


def test_names_that_are_taken():
    text = HEAD + "".join('layer { name: "%s" type: "Power" bottom: "score" top: "%s" }\n' % (name, name) for name in (
        "log_prior", "score_for_loss", "score_plus_log_prior")) + LOSS
    after = corpus.adjusted(text, COUNTS)
    real_nets.net(after).forward()
    assert [layer.name for layer in Net(after).layers][-4:-1] == ["log_prior_2", "score_plus_log_prior_2", "score_for_loss_2"]
    assert corpus.adjusted(after, None) == text


@pytest.mark.parametrize("native", [False, True])
def test_deployed_it_is_gone(native):
    for rules in ("", " include { phase: TRAIN }"):
        text = HEAD + LOSS.replace(" }\n", rules + " }\n")
        plain = make_deploy(text).text
        deployed = make_deploy(corpus.adjusted(text, COUNTS, native=native))
        assert deployed.text == plain and deployed.outputs == [("prob", "Softmax of score")]
        assert make_deploy(corpus.adjusted(text, COUNTS, native=native), State("TRAIN")).text == plain


def test_deployed_it_is_gone_where_it_is_in_test_by_mistake():
    after = corpus.adjusted(HEAD + LOSS.replace(" }\n", " include { phase: TRAIN } }\n"), COUNTS)
    assert make_deploy(after.replace("include { phase: TRAIN }", "")).text == make_deploy(HEAD + LOSS).text


@pytest.mark.parametrize("text, options, message", [
    (corpus.read("old_syntax.prototxt"), {}, r"expected the present syntax \(layer \{ \}\) for --logit-adjust"),
    ("force_backward: true\n" + HEAD + LOSS, {"running": .9}, "line 1: expected no force_backward: true, as Caffe then asks LogPrior for a gradient"),
    (HEAD.replace("num_output: 3", "") + LOSS, {"running": .9}, "expected --counts, as the text does not tell the number of classes of its scores, got --running"),
    (corpus.read("probabilities.prototxt").replace("include { phase: TEST }", ""), {}, "expected a Softmax for its loss alone, as in TRAIN"),
])
def test_errors(text, options, message):
    with pytest.raises(ValueError, match=message):
        corpus.adjusted(text, COUNTS, **options)
