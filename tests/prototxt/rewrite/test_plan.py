# -*- coding: utf-8 -*-
from __future__ import division, print_function

import json
import re

import numpy as np
import pytest

import corpus
from caffe_losses.compat import from_bytes, from_display
from caffe_losses.formats.matrix_files import write_matrix
from caffe_prototxt.net import losses
from caffe_prototxt.textformat import scanner as T
from caffe_prototxt.net.matrix_sources import BlobMatrix, FileMatrix, compute_h, layer_that_reads
from caffe_prototxt.net.nets import Net

caffe = pytest.importorskip("caffe")
from caffe.proto import caffe_pb2  # noqa: E402

LOADABLE = sorted(corpus.SHAPES)
NATIVE = ("InfogainLoss", FileMatrix("H.binaryproto"))
PLAIN = [name for name in LOADABLE if "SoftmaxWithLoss" in corpus.read(name) or "SOFTMAX_LOSS" in corpus.read(name)
         or name == "in_strings.prototxt"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def identity(name):
    write_matrix("H.binaryproto", np.eye(corpus.SHAPES[name][1]))


def phases(name):
    return ["TRAIN", "TEST"] if name == "phases.prototxt" else ["TRAIN"]


def same_net(before, after, name, tolerance=1e-6):
    """That two nets have the same losses and gradients."""
    for phase in phases(name):
        values, diffs, grads, net = corpus.run(before, name, phase)
        new_values, new_diffs, new_grads, _ = corpus.run(after, name, phase, net)
        assert values and any(np.abs(diff).max() > 0 for diff in diffs.values())
        assert sorted(values.values()) == pytest.approx(sorted(new_values.values()), rel=1e-5)
        assert "(automatic)" in values or sorted(values) == sorted(new_values)
        for blob in set(diffs) & set(new_diffs) - {"prob", "similarity"}:
            np.testing.assert_allclose(new_diffs[blob], diffs[blob], atol=tolerance, err_msg=blob)
        for layer in grads:
            for new, old in zip(new_grads[layer], grads[layer]):
                np.testing.assert_allclose(new, old, atol=10 * tolerance, err_msg=layer)


# the change of a loss, made here on the message that Caffe reads: what use_loss makes in the text must be the same

def as_infogain(net):
    for layer in list(net.layer) + list(net.layers):
        if layer.type not in ("SoftmaxWithLoss", caffe_pb2.V1LayerParameter.SOFTMAX_LOSS):
            continue
        layer.type = "InfogainLoss" if layer.type == "SoftmaxWithLoss" else caffe_pb2.V1LayerParameter.INFOGAIN_LOSS
        if layer.loss_param.HasField("normalize"):
            value = "VALID" if layer.loss_param.normalize else "BATCH_SIZE"
            layer.loss_param.normalization = caffe_pb2.LossParameter.NormalizationMode.Value(value)
            layer.loss_param.ClearField("normalize")
        if not layer.loss_param.ListFields():
            layer.ClearField("loss_param")
        if layer.softmax_param.HasField("axis"):
            layer.infogain_loss_param.axis = layer.softmax_param.axis
        layer.ClearField("softmax_param")
        layer.infogain_loss_param.source = "H.binaryproto"
    return net


def as_ours(net):
    for layer in net.layer:
        if layer.type == "SoftmaxWithLoss":
            param = {"source": "H.npy"}
            if layer.softmax_param.HasField("axis"):
                param["axis"] = layer.softmax_param.axis
            if layer.loss_param.HasField("ignore_label"):
                param["ignore_label"] = layer.loss_param.ignore_label
            if layer.loss_param.HasField("normalization"):
                param["normalization"] = layer.loss_param.NormalizationMode.Name(layer.loss_param.normalization)
            elif layer.loss_param.HasField("normalize"):
                param["normalization"] = "VALID" if layer.loss_param.normalize else "BATCH_SIZE"
            layer.type = "Python"
            layer.ClearField("softmax_param")
            layer.ClearField("loss_param")
            layer.python_param.module, layer.python_param.layer = "caffe_losses", "SoftmaxWithInfogainLoss"
            layer.python_param.param_str = json.dumps(param, sort_keys=True)
            if not layer.loss_weight:
                layer.loss_weight.append(1)
    return net


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.scores
def test_the_message_is_the_one_before_with_the_change(name):
    before = corpus.read(name)
    after, unchecked = corpus.changed(before, *NATIVE)
    assert unchecked is None and after != before
    assert corpus.message(after) == as_infogain(corpus.message(before))
    if name != "old_syntax.prototxt":
        after = corpus.changed(before, "SoftmaxWithInfogainLoss", FileMatrix("H.npy"))[0]
        assert corpus.message(after) == as_ours(corpus.message(before))


def outside(text):
    """Return the text outside its losses."""
    parts, at = [], 0
    for layer in losses.find_losses(Net(text)):
        parts.append(text[at:layer.begin])
        at = layer.stop
    return parts + [text[at:]]


@pytest.mark.parametrize("kind", ["InfogainLoss", "SoftmaxWithInfogainLoss", "ExpectedCostLoss"])
@pytest.mark.parametrize("name", corpus.NAMES)
def test_bytes_outside_the_loss_and_comments_in_it(name, kind):
    before = corpus.read(name)
    if name == "weighted_fork.prototxt":
        with pytest.raises(ValueError, match=r"loss \(line 4\): expected no class weights of a fork .* --from-class-weighting makes H of them"):
            corpus.changed(before, kind, FileMatrix("H.binaryproto"))
        return
    if name == "old_syntax.prototxt" and kind != "InfogainLoss":
        with pytest.raises(ValueError, match=r"expected the present syntax .* convert the net first: upgrade_net_proto_text"):
            corpus.changed(before, kind, FileMatrix("H.binaryproto"))
        return
    after, unchecked = corpus.changed(before, kind, FileMatrix("H.binaryproto"))
    assert bool(unchecked) == (name == "fork.prototxt")
    if name not in ("from_data.prototxt", "probabilities.prototxt"):  # there a layer of H or a Softmax is for nothing then
        assert outside(after) == outside(before)
    comments = T.comments(before, 0, len(before))
    assert sorted(set(comments) - set(T.comments(after, 0, len(after)))) == []
    ends = set(re.findall("\r?\n", after)) - set(re.findall("\r?\n", before))
    assert not ends
    assert corpus.changed(after, kind, FileMatrix("H.binaryproto"))[0] == after


def test_a_fork_is_changed_and_could_not_be_checked():
    before = corpus.read("fork.prototxt")
    after, unchecked = corpus.changed(before, *NATIVE)
    assert "could not check with Caffe: it cannot read the net" in unchecked and 'video_data_param' in unchecked
    assert after == before.replace("SoftmaxWithLoss", "InfogainLoss").replace(
        "softmax_param { axis: 1 }", 'infogain_loss_param { axis: 1 source: "H.binaryproto" }')
    # A loss without the fork's fields is checked even where the net is not.
    after, unchecked = corpus.changed(before.replace("  mirror_stage: true\n", ""), *NATIVE)
    assert unchecked.startswith("only the layers that change could be checked with Caffe: it cannot read the net")


@pytest.mark.parametrize("name", LOADABLE)
@pytest.mark.scores
def test_identity_is_the_loss_before(folder, name):
    identity(name)
    before = corpus.read(name)
    if name == "probabilities.prototxt":
        before = corpus.changed(before, "SoftmaxWithLoss")[0]
    same_net(before, corpus.changed(before, *NATIVE)[0], name)
    if name != "old_syntax.prototxt":
        for matrix in (FileMatrix("H.binaryproto"), layer_that_reads("H.binaryproto")):
            same_net(before, corpus.changed(before, "SoftmaxWithInfogainLoss", matrix)[0], name)
        same_net(before, corpus.changed(before, "InfogainLoss", layer_that_reads("H.binaryproto"))[0], name)


@pytest.mark.parametrize("name", [name for name in LOADABLE if name not in ("old_syntax.prototxt", "from_data.prototxt")])
@pytest.mark.scores
def test_a_softmax_before_our_loss_of_probabilities(folder, name):
    identity(name)
    before = corpus.read(name)
    after = corpus.changed(before, "caffe_losses.InfogainLoss", FileMatrix("H.binaryproto"))[0]
    same_net(before, after, name, 1e-5)
    assert corpus.changed(after, "caffe_losses.InfogainLoss", FileMatrix("H.binaryproto"))[0] == after
    same_net(before, corpus.changed(after, "SoftmaxWithLoss")[0], name, 1e-5)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.scores
def test_there_and_back(folder, name):
    """Only what says nothing is different then: the engine, and `normalize` in its new words."""
    before = corpus.read(name)
    back = corpus.changed(corpus.changed(before, *NATIVE)[0], "SoftmaxWithLoss")[0]
    expected = before
    for old, new in (("normalize: false", "normalization: BATCH_SIZE"), ("normalize: true", "normalization: VALID"),
                     ("engine: CAFFE axis: 1", "axis: 1"),
                     ('"Softmax" # the first half\n  "WithLoss" #', '"SoftmaxWithLoss" # the first half\n #')):
        expected = expected.replace(old, new)
    assert back == expected
    same_net(before, back, name)
    if name != "old_syntax.prototxt":
        there = corpus.changed(before, "SoftmaxWithInfogainLoss", compute_h({"n_classes": corpus.SHAPES[name][1]}))[0]
        same_net(before, corpus.changed(there, "SoftmaxWithLoss")[0], name)


@pytest.mark.scores
def test_between_the_sources_of_h_and_back(folder):
    before = corpus.read("tabs_crlf.prototxt")
    native = corpus.changed(before, *NATIVE)[0]
    for matrix in (compute_h({"n_classes": 3, "running": .5}), layer_that_reads("H.csv")):
        through = corpus.changed(native, None, matrix)[0]
        assert corpus.changed(through, None, matrix)[0] == through
        assert '\tbottom: "label"\r\n\tbottom: "H"\r\n' in through and "infogain_loss_param" not in through
        assert "\t}\r\n}\r\n\r\nlayer {\r\n\tname: \"H\"\r\n\ttype: \"Python\"\r\n" in through
        assert corpus.changed(through, None, FileMatrix("H.binaryproto"))[0].replace("\r\n", "\n") == native.replace("\r\n", "\n")
    # other parameters: the layer that is there gets them
    other = corpus.changed(through.replace("H.csv", "G.csv"), None, matrix)[0]
    assert other == through
    first = corpus.changed(native, None, compute_h({"n_classes": 3, "running": .5}))[0]
    second = corpus.changed(first, None, compute_h({"n_classes": 3}))[0]
    assert second == corpus.changed(native, None, compute_h({"n_classes": 3}))[0]


def test_h_from_the_data_to_a_file_and_back():
    before = corpus.read("from_data.prototxt")
    after = corpus.changed(before, None, FileMatrix("H.binaryproto"))[0]
    assert "similarity" not in after and '  infogain_loss_param { axis: 1 source: "H.binaryproto" }\n' in after
    with pytest.raises(ValueError, match='expected a layer before it that makes the blob "G", got none'):
        corpus.changed(before, None, BlobMatrix("G"))
    again = before.replace('  bottom: "similarity"\n', "").replace("axis: 1", 'axis: 1 source: "H.binaryproto"')
    assert corpus.changed(again, None, BlobMatrix("similarity"))[0] == before
    # a blob that another layer uses keeps its layer
    watched = before.replace('Silence" bottom: "prob"', 'Silence" bottom: "prob" bottom: "similarity"')
    assert 'name: "matrix"' in corpus.changed(watched, None, FileMatrix("H.binaryproto"))[0]


@pytest.mark.parametrize("name", ["several_losses.prototxt", "phases.prototxt"])
@pytest.mark.scores
def test_one_h_for_the_losses_that_can_share_it(folder, name):
    n_classes = corpus.SHAPES[name][1]
    after = corpus.changed(corpus.read(name), "SoftmaxWithInfogainLoss", compute_h({"n_classes": n_classes, "scale": "none"}))[0]
    layers = [layer for layer in corpus.message(after).layer if layer.python_param.layer == "ComputeH"]
    if name == "several_losses.prototxt":
        assert len(layers) == 1 and not layers[0].include
    else:  # each where its loss is: with the same name, so that TEST gets what TRAIN has counted
        assert [layer.name for layer in layers] == ["H", "H"]
        assert [layer.include[0].phase for layer in layers] == [0, 1] and layers[0].include[0].not_stage[0] == "deploy"
    for phase in ("TRAIN", "TEST"):
        assert corpus.run(after, name, phase)[0]


def test_names_that_are_taken():
    before = corpus.read("several_losses.prototxt").replace('"top-1"', '"H"')
    after = corpus.changed(before, "InfogainLoss", compute_h({"n_classes": 5}))[0]
    assert 'name: "H_2"' in after and after.count('bottom: "H_2"') == 3


NET = ('layer { name: "d" type: "Input" top: "x" top: "l" }\n%s\nlayer {\n  name: "loss"\n  type: "SoftmaxWithLoss"\n'
       '  bottom: "x"\n  bottom: "l"\n  top: "loss"\n%s}\n')


def test_classic():
    """A fork's InfogainLoss of before April 2017: a Softmax goes before it, and goes again."""
    before = NET % ("", "  include { phase: TRAIN }\n")
    after = corpus.changed(before, *NATIVE, classic=True)[0]
    assert after == (NET % (
        '\nlayer {\n  name: "loss_prob"\n  type: "Softmax"\n  bottom: "x"\n  top: "loss_prob"\n  include { phase: TRAIN }\n}',
        '  include { phase: TRAIN }\n  infogain_loss_param { source: "H.binaryproto" }\n')).replace(
            'SoftmaxWithLoss"\n  bottom: "x"', 'InfogainLoss"\n  bottom: "loss_prob"')
    assert corpus.changed(after, *NATIVE, classic=True)[0] == after
    assert corpus.changed(after, "SoftmaxWithLoss", classic=True)[0] == before
    ours = corpus.changed(after, "SoftmaxWithInfogainLoss", classic=True)[0]
    assert "Softmax\"" not in ours and 'bottom: "x"\n  bottom: "l"' in ours
    with pytest.raises(ValueError, match="InfogainLoss gets probabilities from a Softmax layer .* say --infogain classic"):
        corpus.changed(after, "SoftmaxWithLoss")
    used = after + 'layer { type: "Silence" bottom: "loss_prob" }\n'
    assert 'type: "Softmax"' in corpus.changed(used, "SoftmaxWithLoss", classic=True)[0]
    old = corpus.read("old_syntax.prototxt")
    changed = corpus.changed(old, *NATIVE, classic=True)[0]
    assert "type: SOFTMAX\n" in changed and "type: INFOGAIN_LOSS\n" in changed
    assert corpus.changed(changed, "SoftmaxWithLoss", classic=True)[0] == old
    with pytest.raises(ValueError, match="expected its probabilities \"x\" from a Softmax layer, got them from elsewhere"):
        corpus.changed(before.replace("SoftmaxWithLoss", "InfogainLoss"), "SoftmaxWithLoss", classic=True)
    with pytest.raises(ValueError, match="expected no ignore_label with --infogain classic"):
        corpus.changed(NET % ("", "  loss_param { ignore_label: 0 }\n"), *NATIVE, classic=True)


def test_classic_has_no_axis():
    before = (NET % ("", "  infogain_loss_param { axis: 1 }\n")).replace("SoftmaxWithLoss", "InfogainLoss").replace(
        'bottom: "l"\n', 'bottom: "l"\n  bottom: "H"\n').replace('top: "l" }', 'top: "l" top: "H" }')
    after = corpus.changed(before, None, BlobMatrix("H"), classic=True)[0]
    assert "infogain_loss_param" not in after and corpus.changed(after, None, BlobMatrix("H"), classic=True)[0] == after


def test_two_tops():
    before = NET % ("", '  top: "p"\n')
    after = corpus.changed(before, *NATIVE)[0]
    assert '  top: "p"\n  loss_weight: 1\n  loss_weight: 0\n' in after
    after = corpus.changed(before.replace('"p"\n', '"p"\n  loss_weight: 2\n'), "SoftmaxWithInfogainLoss", NATIVE[1])[0]
    assert "  loss_weight: 2\n  loss_weight: 0\n" in after
    with pytest.raises(ValueError, match="expected one top, as Caffe's SoftmaxWithLoss runs with no more, got 2"):
        corpus.changed(after, "SoftmaxWithLoss")
    ours = corpus.changed(after, "caffe_losses.InfogainLoss")[0]
    assert ours.count('top: "p"') == 1 and ours.index('top: "p"') < ours.index('name: "loss"') and "loss_weight: 0" not in ours
    with pytest.raises(ValueError, match="expected loss_weight only for the loss, got it for its probabilities"):
        corpus.changed(after.replace("loss_weight: 0", "loss_weight: 1"), "caffe_losses.InfogainLoss")


@pytest.mark.parametrize("more, field", [
    ("  propagate_down: true\n  propagate_down: 0\n", "  propagate_down: true\n  propagate_down: 0\n  propagate_down: false\n"),
    ("  propagate_down: [true, false]\n", "  propagate_down: [true, false, false]\n"),
    ("  loss_weight: 0\n", "  loss_weight: 0\n"), ("  loss_weight: 0x2 # two\n", "  loss_weight: 0x2 # two\n")])
def test_fields_that_stay(more, field):
    before = NET % ("", more)
    matrix = layer_that_reads("H.npy")
    for kind in ("InfogainLoss", "SoftmaxWithInfogainLoss"):
        after = corpus.changed(before, kind, matrix)[0]
        assert field in after
        assert corpus.changed(after, kind, matrix)[0] == after
    assert corpus.changed(corpus.changed(before, "InfogainLoss", matrix)[0], "SoftmaxWithLoss")[0] == before


@pytest.mark.parametrize("text, message", [
    (NET % ("", "  propagate_down: true\n"), "expected propagate_down once for each of its 2 bottoms, got 1"),
    (NET % ("", '  bottom: "w"\n'), "expected 2 bottoms, as SoftmaxWithLoss has, got 3"),
    (NET % ("", '  top: "p"\n  top: "q"\n'), "expected at most 2 tops, got 3"),
    (NET % ("", "  softmax_param { axis: x }\n"), "expected a whole number as axis of softmax_param, got x"),
    (NET % ("", "  loss_param { normalization: SOME }\n"), "expected normalization to be one of FULL, VALID, BATCH_SIZE, NONE, got SOME"),
    (NET % ("", "  loss_param: 1\n"), "line 9, column 15: expected \"{\", got '1'"),
    (NET % ("", '  type: "A"\n'), "expected type once, as Caffe does"),
    ((NET % ("", "  python_param { module: 'caffe_losses' layer: 'InfogainLoss' param_str: 3 }\n")).replace("SoftmaxWithLoss", "Python"),
     "expected a string as param_str of python_param, got 3"),
    (NET % ("layers { }", ""), 'line 2, column 1: expected layers that are all "layer"'),
    (NET % ("layer: 1", ""), "line 2, column 8: expected \"{\", got '1'"),
    ("layers { layer { type: 'infogain_loss' } }", "got the first of all; convert the net: upgrade_net_proto_text"),
    ("layer: [ { bottom: 'a' bottom: 'b' type: 'SoftmaxWithLoss' }, { } ]", "expected a field for each layer, not one list"),
])
def test_errors_name_layer_and_line(text, message):
    with pytest.raises(ValueError) as error:
        corpus.changed(text, "InfogainLoss", compute_h({"n_classes": 3}))
    assert message in str(error.value) and "line " in str(error.value), error.value


def test_force_backward(folder):
    """The real Caffe asks for every gradient, and ours (and native with H as a bottom) do not have all."""
    before = "force_backward: true\n" + NET % ("", "")
    assert corpus.changed(before, *NATIVE)[0]
    for kind, matrix in (("SoftmaxWithInfogainLoss", FileMatrix("H.npy")), ("InfogainLoss", compute_h({"n_classes": 3}))):
        with pytest.raises(ValueError, match="line 1: expected no force_backward: true, as Caffe then asks .* for a gradient"):
            corpus.changed(before, kind, matrix)
    assert corpus.changed(before.replace("true", "false"), kind, matrix)[0]


def test_paths_are_quoted():
    name = 'a "b" \\ \'c\' \u00e9.binaryproto'
    after = corpus.changed(NET % ("", ""), "InfogainLoss", FileMatrix(from_display(name)))[0]
    (source,) = [layer.infogain_loss_param.source for layer in corpus.message(after).layer if layer.name == "loss"]
    assert source == (name if isinstance(source, type(name)) else from_bytes(name.encode("utf-8")))
    ours = corpus.changed(after, "SoftmaxWithInfogainLoss")[0]
    assert corpus.changed(corpus.changed(ours, "InfogainLoss")[0], "SoftmaxWithInfogainLoss")[0]
    assert json.loads(corpus.message(ours).layer[1].python_param.param_str)["source"] == source


def test_in_place_softmax():
    softmax = 'layer { type: "Softmax" bottom: "x" top: "x" }'
    before = (NET % (softmax, "")).replace("SoftmaxWithLoss", "InfogainLoss")
    after = corpus.changed(before, "SoftmaxWithLoss", classic=True)[0]
    assert after == (NET % ("", "")).replace("\n\n", "\n")
    with pytest.raises(ValueError, match="expected no other layer than the loss to use what it makes in place"):
        corpus.changed(before + 'layer { type: "Silence" bottom: "x" }', "SoftmaxWithLoss", classic=True)
