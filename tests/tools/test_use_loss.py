# -*- coding: utf-8 -*-
"""use_loss.py: files changed in place, and nothing else in them."""
from __future__ import division, print_function

import io
import json
import os
import re
import shutil
import stat
import sys

import numpy as np
import pytest

import corpus
import real_nets
from commands import run_main, run_main_bytes
from caffe_losses.formats.matrix_files import write_matrix

TOOL = os.path.join(real_nets.CHECKOUT, "tools", "use_loss.py")
NET = '''layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
  shape { dim: 8 dim: 4 } shape { dim: 8 } data_filler { type: "gaussian" } data_filler { type: "constant" value: 2 } } }
layer { name: "score" type: "InnerProduct" bottom: "data" top: "score"
        inner_product_param { num_output: 7 weight_filler { type: "xavier" } } }
# the loss
layer {
  name: "loss"
  type: "SoftmaxWithLoss"
  bottom: "score"
  bottom: "label"
  top: "loss"
}
'''
REGIONS = """layer { name: "rpn" type: "Convolution" bottom: "data" top: "rpn" convolution_param { num_output: 18 kernel_size: 1 } }
layer { name: "shaped" type: "Reshape" bottom: "rpn" top: "shaped" reshape_param { shape { dim: 0 dim: 2 dim: -1 dim: 0 } } }
layer { name: "rpn_loss" type: "SoftmaxWithLoss" bottom: "shaped" bottom: "rpn_labels" top: "rpn_loss" loss_param { ignore_label: -1 } }
layer { name: "scores" type: "InnerProduct" bottom: "pooled" top: "scores" inner_product_param { num_output: 3 } }
layer { name: "cls=loss" type: "SoftmaxWithLoss" bottom: "scores" bottom: "labels" top: "cls" }
layer { name: "bbox" type: "SmoothL1Loss" bottom: "b" bottom: "targets" bottom: "in" bottom: "out" top: "bbox" }
"""
NATIVE = NET.replace("SoftmaxWithLoss", "InfogainLoss").replace(
    '  top: "loss"\n', '  top: "loss"\n  infogain_loss_param { source: "infogainH.binaryproto" }\n')


@pytest.fixture
def folder(tmp_path):
    """A folder with a net, H for it and costs."""
    write_matrix(str(tmp_path / "infogainH.binaryproto"), np.eye(7) + .125)
    write_matrix(str(tmp_path / "H3.binaryproto"), np.eye(3))
    write_matrix(str(tmp_path / "D.csv"), 1 - np.eye(7))
    write_matrix(str(tmp_path / "D.binaryproto"), 1 - np.eye(7))
    put(tmp_path, NET)
    for name in corpus.NAMES:
        shutil.copy(os.path.join(corpus.FOLDER, name), str(tmp_path))
    return tmp_path


def put(folder, text, name="train_val.prototxt"):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))


def net(folder, name="train_val.prototxt"):
    with io.open(str(folder / name), encoding="utf-8", newline="") as file:
        text = file.read()
    return text if isinstance(text, str) else text.encode("utf-8")


def use_loss(folder, *arguments):
    return run_main("use_loss.py", *arguments, cwd=str(folder))


@pytest.mark.scores
def test_in_place_and_twice(folder):
    pytest.importorskip("caffe")
    os.chmod(str(folder / "train_val.prototxt"), 0o640)
    status, out, err = use_loss(folder, "train_val.prototxt", "--source", "infogainH.binaryproto")
    changed, following = out.splitlines()
    assert (status, err) == (0, "") and following.startswith("next: ") and changed == (
        "train_val.prototxt: loss (line 6): SoftmaxWithLoss is now InfogainLoss, matrix from infogainH.binaryproto")
    assert following.endswith("%s train_val.prototxt" % real_nets.quoted("check_net.py"))
    assert net(folder) == NATIVE
    assert stat.S_IMODE(os.stat(str(folder / "train_val.prototxt")).st_mode) == 0o640
    before = os.stat(str(folder / "train_val.prototxt"))
    status, out, err = use_loss(folder, "train_val.prototxt", "--source", "infogainH.binaryproto")
    assert (status, err) == (0, "") and out.splitlines() == [
        "train_val.prototxt: nothing to change: loss (line 6) is InfogainLoss, matrix from infogainH.binaryproto"]
    after = os.stat(str(folder / "train_val.prototxt"))
    assert (before.st_mtime, before.st_ino) == (after.st_mtime, after.st_ino)
    status, out, err = use_loss(folder, "train_val.prototxt", "--loss", "SoftmaxWithLoss")
    assert (status, err) == (0, "") and net(folder) == NET


@pytest.mark.scores
def test_layers_come_and_go(folder):
    pytest.importorskip("caffe")
    status, out, err = use_loss(folder, "train_val.prototxt", "--compute-h")
    assert (status, err) == (0, "") and "train_val.prototxt: new layer H\n" in out
    assert '''
layer {
  name: "H"
  type: "Python"
  bottom: "label"
  top: "H"
  python_param {
    module: "caffe_losses"
    layer: "ComputeH"
    param_str: '{"n_classes": 7, "scale": "sample", "weights": "balanced"}'
  }
}
# the loss
layer {
  name: "loss"
  type: "InfogainLoss"
  bottom: "score"
  bottom: "label"
  bottom: "H"
''' in net(folder)
    status, out, err = use_loss(folder, "train_val.prototxt", "--source", "infogainH.binaryproto")
    assert (status, err) == (0, "") and "layer H (line 5) is out, as nothing else used it" in out
    assert net(folder) == NATIVE


@pytest.mark.parametrize("name, kind", [("H.h5", "HDF5Data"), ("H_lmdb", "Data"), ("H.caffemodel", "Parameter")])
@pytest.mark.parametrize("loss", ["InfogainLoss", "SoftmaxWithInfogainLoss"])
@pytest.mark.scores
def test_h_through_a_layer_of_caffes_own(folder, monkeypatch, name, kind, loss):
    caffe = pytest.importorskip("caffe")
    monkeypatch.chdir(folder)
    H = np.random.RandomState(0).rand(7, 7)
    write_matrix(name, H)
    write_matrix("infogainH.binaryproto", H)
    status, out, err = use_loss(folder, "train_val.prototxt", "--loss", loss, "--h-file", name)
    assert status == 0 and not err and "from a layer of type %s" % kind in out, err
    changed = net(folder)
    assert 'type: "%s"' % kind in changed
    found = caffe.Net("train_val.prototxt", caffe.TRAIN)
    if kind == "Parameter":
        found.copy_from(name)
    found.forward()
    np.testing.assert_array_equal(found.blobs["H"].data[0, 0], H.astype(np.float32))
    assert use_loss(folder, "train_val.prototxt", "--loss", loss, "--h-file", name)[1].count("nothing to change") == 1
    assert net(folder) == changed
    status, out, err = use_loss(folder, "train_val.prototxt", "--loss", "InfogainLoss", "--source", "infogainH.binaryproto")
    assert status == 0 and "layer H (line" in out, err
    assert 'type: "%s"' % kind not in net(folder)
    assert use_loss(folder, "train_val.prototxt", "--loss", "SoftmaxWithLoss")[0] == 0
    if loss == "InfogainLoss":
        assert net(folder) == NET


def test_h_needs_its_name(folder):
    put(folder, NET.replace('"score"', '"H"'))
    write_matrix(str(folder / "H.h5"), np.eye(7))
    status, _, err = use_loss(folder, "train_val.prototxt", "--h-file", "H.h5")
    assert status == 2 and "expected H to be free as the name of the layer of type HDF5Data" in err


@pytest.mark.scores
def test_what_writes_nothing(folder):
    pytest.importorskip("caffe")
    for option in ("--diff", "--dry-run"):
        status, out, err = use_loss(folder, "train_val.prototxt", "--source", "infogainH.binaryproto", option, "-o", "o.prototxt")
        assert (status, err) == (0, "") and net(folder) == NET and not os.path.exists(str(folder / "o.prototxt"))
        if option == "--diff":
            assert out.startswith("--- train_val.prototxt\n+++ train_val.prototxt\n@@ -5,8 +5,9 @@\n # the loss\n")
            assert '-  type: "SoftmaxWithLoss"\n+  type: "InfogainLoss"\n' in out
        else:
            assert "SoftmaxWithLoss would be InfogainLoss" in out
    assert use_loss(folder, "train_val.prototxt", "--loss", "SoftmaxWithLoss", "--diff")[:2] == (0, "")


@pytest.mark.scores
def test_the_diff_has_the_bytes_of_the_net(folder):
    pytest.importorskip("caffe")
    status, out, err = run_main_bytes("use_loss.py", "latin1_mixed.prototxt", "--source", "H3.binaryproto", "--diff", cwd=folder)
    assert status == 0 and not err and b'# \xfcber alle\r\n' in out and out.endswith(b"\\ No newline at end of file\n")
    status, out, err = real_nets.run([sys.executable, TOOL, "tabs_crlf.prototxt", "--source", "H3.binaryproto", "-o", "/dev/stdout"], cwd=str(folder))
    assert status == 0 and 'infogain_loss_param { source: "H3.binaryproto" }' in out


@pytest.mark.parametrize("comment", [b"", b"# gr\xf6\xdfer\n"])
@pytest.mark.parametrize("name", [b"fl\xe4che", b"fl\xc3\xa4che"])
@pytest.mark.parametrize("loss", ["InfogainLoss", "caffe_losses.InfogainLoss", "SoftmaxWithInfogainLoss"])
@pytest.mark.scores
def test_names_in_any_encoding(folder, loss, name, comment):
    pytest.importorskip("caffe")
    put(folder, comment + NET.encode("ascii").replace(b'"score"', b'"' + name + b'"'))
    status, out, err = use_loss(folder, "train_val.prototxt", "--source", "infogainH.binaryproto", "--loss", loss)
    assert (status, err) == (0, "") and "SoftmaxWithLoss is now " + loss in out
    after = (folder / "train_val.prototxt").read_bytes()
    assert after.startswith(comment) and after.count(b'"' + name + b'"') == 3


@pytest.mark.scores
def test_several_losses_are_listed(folder):
    pytest.importorskip("caffe")
    write_matrix(str(folder / "H5.binaryproto"), np.eye(5))
    before = net(folder, "several_losses.prototxt")
    listed = ["several_losses.prototxt:%d: %s: SoftmaxWithLoss, 5 classes, loss_weight %s" % what for what in (
        (38, "side1/loss", "0.3"), (60, "side2/loss", "0.3"), (87, "loss", "1"))]
    status, out, err = use_loss(folder, "several_losses.prototxt", "--source", "H5.binaryproto")
    assert status == 2 and out.splitlines() == listed and net(folder, "several_losses.prototxt") == before
    assert err == "use_loss.py: error: several_losses.prototxt: expected --layer NAME or --all, as there are 3 losses\n"
    assert use_loss(folder, "several_losses.prototxt") == (0, "\n".join(listed) + "\n", "")
    status, out, err = use_loss(folder, "several_losses.prototxt", "--source", "H5.binaryproto", "--layer", "loss", "--layer", "side2/loss")
    assert (status, err) == (0, "")
    assert re.findall("(?:Softmax|Infogain)\\w*Loss", net(folder, "several_losses.prototxt")) == ["SoftmaxWithLoss", "InfogainLoss", "InfogainLoss"]
    assert use_loss(folder, "several_losses.prototxt", "--source", "H5.binaryproto", "--all")[0] == 0
    assert "SoftmaxWithLoss" not in net(folder, "several_losses.prototxt")


@pytest.mark.scores
def test_one_loss_for_each_phase_is_one(folder):
    pytest.importorskip("caffe")
    status, out, err = use_loss(folder, "phases.prototxt", "--source", "H3.binaryproto")
    assert (status, err) == (0, "") and net(folder, "phases.prototxt").count('"InfogainLoss"') == 2
    assert use_loss(folder, "phases.prototxt")[1].splitlines()[0].endswith("InfogainLoss, 3 classes, TRAIN only")
    put(folder, net(folder, "phases.prototxt").replace('name: "loss"', 'name: "val"', 1))
    assert use_loss(folder, "train_val.prototxt", "--loss", "SoftmaxWithLoss")[0] == 2


@pytest.mark.scores
def test_a_fork_and_a_mark(folder):
    pytest.importorskip("caffe")
    status, out, err = use_loss(folder, "fork.prototxt", "--source", "infogainH.binaryproto")
    assert status == 0 and "use_loss.py: note: could not check with Caffe: " in err and len(err.splitlines()) == 2
    assert "note: not checked: whether infogainH.binaryproto, of 7 classes, fits the scores of loss (line 11), as the text " in err
    put(folder, b"\xef\xbb\xbf" + NET.encode("utf-8"))
    status, out, err = use_loss(folder, "train_val.prototxt", "--source", "infogainH.binaryproto")
    assert status == 2 and "got a byte order mark, at which Caffe stops; take it out: sed " in err


def test_a_field_that_stands_twice(folder):
    pytest.importorskip("caffe")
    put(folder, NET.replace("num_output: 7", "num_output: 7 bias_term: true bias_term: true").encode("utf-8"))
    status, out, err = use_loss(folder, "train_val.prototxt", "--source", "infogainH.binaryproto")
    assert status == 0 and 'it cannot read the net' in err and 'multiple "bias_term" fields' in err and len(err.splitlines()) == 1


def test_a_misnamed_loss(folder):
    for name in ("SoftmaxLoss", "Softmax_Loss", "SOFTMAX_LOSS"):
        put(folder, NET.replace("SoftmaxWithLoss", name).encode("utf-8"))
        status, out, err = use_loss(folder, "train_val.prototxt", "--source", "infogainH.binaryproto")
        assert status == 2 and "is %s, which is to be SoftmaxWithLoss" % name in err


def test_a_file_that_is_not_there_yet(folder):
    pytest.importorskip("caffe")
    status, out, err = use_loss(folder, "train_val.prototxt", "--source", "later/H.binaryproto")
    assert status == 0 and "note: later/H.binaryproto is not there yet, and could not be checked" in err


def test_without_caffe(folder):
    """The text is changed all the same."""
    program = "import sys, runpy; sys.modules['caffe'] = None; sys.argv[0] = %r; runpy.run_path(%r, run_name='__main__')" % (TOOL, TOOL)
    status, out, err = real_nets.run([sys.executable, "-c", program, "train_val.prototxt", "--source", "infogainH.binaryproto"], cwd=str(folder))
    assert status == 0 and net(folder) == NATIVE and err.startswith("use_loss.py: note: could not check with Caffe: ")


@pytest.mark.parametrize("arguments, message", [
    (["none.prototxt"], "none.prototxt"),
    (["train_val.prototxt", "--loss", "Infogain"], "invalid choice"),
    (["train_val.prototxt", "--loss", "InfogainLoss"], "expected a file or a layer with the gain matrix of InfogainLoss (as --source FILE), got none"),
    (["train_val.prototxt", "--source", "H3.binaryproto"], "H3.binaryproto: expected 7 classes, as the scores of loss (line 6) have, got 3"),
    (["train_val.prototxt", "--compute-h", "6"], "--compute-h: expected 7 classes"),
    (["train_val.prototxt", "--compute-h", "7", "--gain", "H3.binaryproto"], "H3.binaryproto: expected 7 classes"),
    (["train_val.prototxt", "--compute-h", "0"], "--compute-h: expected at least 1 class, got 0"),
    (["train_val.prototxt", "--source", "D.csv"], "expected a file that ends in .binaryproto, as Caffe's own InfogainLoss reads nothing else"),
    (["train_val.prototxt", "--source", "D.binaryproto"], "expected a gain, got what looks like distances"),
    (["train_val.prototxt", "--source", "infogainH.binaryproto", "--loss", "ExpectedCostLoss"], "expected a cost matrix, with 0 on the diagonal"),
    (["train_val.prototxt", "--compute-h", "7", "--loss", "ExpectedCostLoss"], "expected costs for ExpectedCostLoss, and ComputeH makes gains"),
    (["train_val.prototxt", "--source", "D.csv", "--loss", "SoftmaxWithLoss"], "expected no matrix for SoftmaxWithLoss, got one"),
    (["train_val.prototxt", "--source", "D.csv", "--h-file", "D.csv"], "not allowed with"),
    (["train_val.prototxt", "--weights", "balanced"], "--weights: expected with --compute-h only"),
    (["train_val.prototxt", "--h-blob", "nothing"], "expected a layer before it that makes the blob \"nothing\", got none"),
    (["train_val.prototxt", "--h-blob", ""], "--h-blob: expected a name, got none"),
    (["train_val.prototxt", "--source", "infogainH.binaryproto", "--layer", "los"], "--layer: expected the name of a loss (loss), got los"),
    (["train_val.prototxt", "--source", "infogainH.binaryproto", "--layer", "loss", "--all"], "expected --layer or --all, got both"),
    (["train_val.prototxt", "--source", "infogainH.binaryproto", "-o", "no/where"], "no/where: cannot be written"),
    (["weighted_fork.prototxt", "--source", "H3.binaryproto"], "class weights of a fork (class_weighting, weight_by_label_freqs), which InfogainLoss does not have: --from-class-weighting makes"),
    (["old_syntax.prototxt", "--compute-h", "3"], "convert the net first: upgrade_net_proto_text OLD NEW"),
    (["solver.prototxt", "--source", "H3.binaryproto"], "expected a net, got a solver's file; give its net, train_val.prototxt"),
    (["solver.prototxt"], "expected a net, got a solver's file; give its net, train_val.prototxt"),
    (["empty.prototxt"], "empty.prototxt: expected a net, got an empty file"),
    (["ssd.prototxt", "--all", "--source", "H3.binaryproto"], "found mbox_loss (line 1) is MultiBoxLoss"),
    (["regions.prototxt", "--all", "--source", "H3.binaryproto"], "expected 2 classes, as the scores of rpn_loss (line 3) have, got 3 (--layer NAME=FILE"),
    (["regions.prototxt", "--layer", "bbox", "--source", "H3.binaryproto"], "got bbox, which is SmoothL1Loss"),
    (["regions.prototxt", "--layer", "rpn_loss=", "--source", "H3.binaryproto"], "--layer rpn_loss=: expected NAME=FILE, got no FILE"),
    (["regions.prototxt", "--layer", "rpn_loss=H2", "--layer", "rpn_loss=H3"], "--layer rpn_loss=H3: expected one FILE for each"),
    (["regions.prototxt", "--layer", "rpn_loss=H3.binaryproto"], "expected 2 classes, as the scores of rpn_loss"),
    (["unknown.prototxt", "--compute-h"], "expected --compute-h C, with the number of classes"),
    (["unknown.prototxt", "--label-check"], "expected --label-check C, with the number of classes"),
    (["train_val.prototxt", "--label-check", "6"], "expected --label-check 7, as its scores have, got 6"),
    (["train_val.prototxt", "--label-check", "--loss", "SoftmaxWithInfogainLoss", "--source", "infogainH.binaryproto"], "as ours check their labels"),
    (["old_syntax.prototxt", "--label-check"], "convert the net first: upgrade_net_proto_text OLD NEW"),
    (["weighted_fork.prototxt", "--from-class-weighting", "--loss", "ExpectedCostLoss"], "expected a loss with gains for --from"),
    (["weighted_fork.prototxt", "--from-class-weighting", "--layer", "loss=H3.binaryproto"], "or --from-class-weighting, got both"),
    (["train_val.prototxt", "--from-class-weighting"], "expected a loss with class_weighting in its loss_param"),
    (["weighted_fork.prototxt", "--from-class-weighting"], "class_weighting: expected 3 classes, as the scores of loss (line 4) have, got 2"),
    (["train_val.prototxt", "--source", "infogainH.binaryproto", "-o", "./infogainH.binaryproto"], "expected a file that is not read, got the input infogainH.binaryproto"),
    (["train_val.prototxt", "--layer", "loss=infogainH.binaryproto", "-o", "infogainH.binaryproto"], "expected a file that is not read"),
    (["read_only.prototxt", "--source", "infogainH.binaryproto"], "read_only.prototxt: cannot be written: expected another file than a read-only one"),
    (["train_val.prototxt", "--source", "infogainH.binaryproto", "-o", "read_only.prototxt"], "chmod u+w it, or choose another name"),
    (["train_val.prototxt", "--source", "infogainH.binaryproto", "--json", "--diff"], "expected --json or --diff, got both"),
    (["other.prototxt", "--source", "H3.binaryproto"], "found euclid (line 1) is EuclideanLoss"),
    (["broken.prototxt", "--source", "H3.binaryproto"], "broken.prototxt: line 2, column 12: expected a value, got '}'"),
    ([".", "--source", "H3.binaryproto"], "directory"),
])
@pytest.mark.scores
def test_errors_are_one_line(folder, arguments, message):
    put(folder, "net: \"train_val.prototxt\"\nbase_lr: 0.1\n", "solver.prototxt")
    put(folder, 'layer { name: "euclid" type: "EuclideanLoss" bottom: "a" bottom: "b" }', "other.prototxt")
    put(folder, 'layer {\n  type:    }', "broken.prototxt")
    put(folder, "\n", "empty.prototxt")
    put(folder, 'layer { name: "mbox_loss" type: "MultiBoxLoss" bottom: "l" bottom: "c" bottom: "p" bottom: "g" }', "ssd.prototxt")
    put(folder, REGIONS, "regions.prototxt")
    put(folder, NET.replace('bottom: "score"', 'bottom: "pooled"'), "unknown.prototxt")
    put(folder, NET, "read_only.prototxt")
    os.chmod(str(folder / "read_only.prototxt"), 0o444)
    kept = {name: (folder / name).read_bytes() for name in os.listdir(str(folder))}
    status, out, err = use_loss(folder, *arguments)
    err = "".join(line for line in err.splitlines(True) if ": note: could not check with Caffe: " not in line)
    assert status == 2 and len(err.splitlines()) == 1 and err.startswith("use_loss.py: error: ") and message in err, err
    assert {name: (folder / name).read_bytes() for name in os.listdir(str(folder))} == kept


def test_lists_without_caffe(folder):
    """Caffe is not imported to list; nor for --help: see test_help.py."""
    program = "import sys, runpy; sys.argv[0] = %r\ntry: runpy.run_path(%r, run_name='__main__')\nfinally: assert 'caffe' not in sys.modules" % (TOOL, TOOL)
    status, out, err = real_nets.run([sys.executable, "-c", program, "train_val.prototxt"], cwd=str(folder))
    assert status == 0 and not err, err


def test_a_matrix_for_each_loss(folder):
    pytest.importorskip("caffe")
    write_matrix(str(folder / "H2.binaryproto"), np.eye(2))
    put(folder, REGIONS, "regions.prototxt")
    for arguments in (["--layer", "rpn_loss=H2.binaryproto", "--layer", "cls=loss=H3.binaryproto"],
                      ["--all", "--source", "H3.binaryproto", "--layer", "rpn_loss=H2.binaryproto"]):
        status, out, err = use_loss(folder, "regions.prototxt", "-o", "new.prototxt", *arguments)
        assert (status, err) == (0, "")
        assert re.findall('source: "(.*?)"', net(folder, "new.prototxt")) == ["H2.binaryproto", "H3.binaryproto"]
    status, out, err = use_loss(folder, "regions.prototxt", "--all", "--compute-h", "-o", "new.prototxt")
    assert re.findall('"n_classes": (.)', net(folder, "new.prototxt")) == ["2", "3"] and 'name: "H_2"' in net(folder, "new.prototxt")
    assert use_loss(folder, "regions.prototxt")[1].splitlines() == [
        "regions.prototxt:3: rpn_loss: SoftmaxWithLoss, 2 classes", "regions.prototxt:5: cls=loss: SoftmaxWithLoss, 3 classes",
        "regions.prototxt:6: bbox: SmoothL1Loss, which this command does not change"]


@pytest.mark.parametrize("where", ["loss_param", "softmax_param"])
@pytest.mark.parametrize("loss", [None, "InfogainLoss"])
def test_class_weights_of_a_fork(folder, loss, where):
    """The loss is that of the fork: each sample's, times the weight of its class, divided by their number."""
    caffe = pytest.importorskip("caffe")
    weights = [.25, 0, 3, 1, 1, 2, 4.5]
    fields = "weight_by_label_freqs: true class_weighting: [%s]" % ", ".join(map(str, weights))
    before = NET.replace('  top: "loss"\n', '  top: "loss"\n  %s { %s }\n  loss_weight: 2\n' % (where, fields))
    put(folder, before)
    assert "7 classes, loss_weight 2, class weights in its text (--from-class-weighting)" in use_loss(folder, "train_val.prototxt")[1]
    more = ["--loss", loss] if loss else []
    status, out, err = use_loss(folder, "train_val.prototxt", "--from-class-weighting", "--dry-run", *more)
    assert status == 0 and net(folder) == before and not os.path.exists(str(folder / "train_val_loss_H.binaryproto"))
    status, out, err = use_loss(folder, "train_val.prototxt", "--from-class-weighting", *more)
    assert status == 0 and "train_val_loss_H.binaryproto: H, the class weights" in out
    assert "note: the net before could not be checked with Caffe, which reads the new one: it cannot read the net: " in err
    assert loss or '"SoftmaxWithInfogainLoss"' in net(folder)
    assert "class_weighting" not in net(folder) and "freqs" not in net(folder) and "loss_param {}" not in net(folder)
    cwd = os.getcwd()
    os.chdir(str(folder))
    try:
        made = caffe.Net("train_val.prototxt", caffe.TRAIN)
    finally:
        os.chdir(cwd)
    made.forward()
    scores, labels = made.blobs["score"].data.astype(float), made.blobs["label"].data.astype(int)
    log_p = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    expected = -np.mean([weights[label] * log_p[i, label] for i, label in enumerate(labels)])
    assert float(made.blobs["loss"].data) == pytest.approx(expected, rel=1e-5)
    put(folder, before.replace("4.5", "4"))
    status, out, err = use_loss(folder, "train_val.prototxt", "--from-class-weighting")
    assert status == 2 and "got another matrix in its place" in err


@pytest.mark.parametrize("fields, message", [
    ("class_weighting: 1", "expected weight_by_label_freqs: true beside class_weighting"),
    ("weight_by_label_freqs: false class_weighting: 1", "expected weight_by_label_freqs: true beside class_weighting"),
    ("weight_by_label_freqs: true", "got weight_by_label_freqs alone; --compute-h weighs by the labels of each batch"),
    ("weight_by_label_freqs: true class_weighting: x", "expected numbers as class_weighting, got x"),
    ("weight_by_label_freqs: true class_weighting: -1", "expected numbers of at least 0, got -1 for class 0"),
    ("weight_by_label_freqs: true class_weighting: [0, 0]", "expected at least one above 0")])
def test_class_weights_that_are_none(folder, fields, message):
    put(folder, NET.replace('  top: "loss"\n', '  top: "loss"\n  loss_param { %s }\n' % fields))
    status, out, err = use_loss(folder, "train_val.prototxt", "--from-class-weighting")
    assert status == 2 and message in err and len(err.splitlines()) == 1, err


def test_labels_are_checked_before_a_native_loss(folder, monkeypatch):
    caffe = pytest.importorskip("caffe")
    monkeypatch.chdir(folder)
    put(folder, NET.replace('top: "loss"\n', 'top: "loss"\n  loss_param { ignore_label: 255 }\n', 1))
    status, out, err = use_loss(folder, "train_val.prototxt", "--label-check")
    assert (status, err) == (0, "") and "train_val.prototxt: new layer label_check\n" in out
    changed = net(folder)
    assert 'bottom: "score"\n  bottom: "label_check"\n' in changed and '\'{"ignore_label": 255, "n_classes": 7}\'' in changed
    assert "nothing to change" in use_loss(folder, "train_val.prototxt", "--label-check")[1] and net(folder) == changed
    assert use_loss(folder, "train_val.prototxt", "--compute-h")[0] == 0
    made = caffe.Net("train_val.prototxt", caffe.TRAIN)
    made.forward()
    put(folder, net(folder).replace("value: 2", "value: 8"))
    with pytest.raises(Exception):
        caffe.Net("train_val.prototxt", caffe.TRAIN).forward()


def test_a_copy_with_nothing_to_change(folder):
    for arguments in ([], ["--loss", "SoftmaxWithLoss"]):
        status, out, err = use_loss(folder, "train_val.prototxt", "-o", "copy.prototxt", *arguments)
        assert (status, err) == (0, "") and "copy.prototxt: a copy of train_val.prototxt, with nothing to change\n" in out
        assert net(folder, "copy.prototxt") == NET
        os.unlink(str(folder / "copy.prototxt"))


def test_links(folder):
    pytest.importorskip("caffe")
    os.symlink("train_val.prototxt", str(folder / "link.prototxt"))
    status, out, err = use_loss(folder, "link.prototxt", "--source", "infogainH.binaryproto")
    assert status == 0 and "link.prototxt is a link: the file that changes is %s" % (folder / "train_val.prototxt") in err
    assert os.path.islink(str(folder / "link.prototxt")) and net(folder) == NATIVE
    os.link(str(folder / "train_val.prototxt"), str(folder / "other.prototxt"))
    status, out, err = use_loss(folder, "train_val.prototxt", "--loss", "SoftmaxWithLoss")
    assert status == 0 and "train_val.prototxt has 2 names (hard links)" in err
    assert net(folder) == NET and net(folder, "other.prototxt") == NATIVE


def test_json(folder):
    pytest.importorskip("caffe")
    listed = json.loads(use_loss(folder, "train_val.prototxt", "--json")[1])
    assert listed["losses"][0]["n_classes"] == 7 and listed["losses"][0]["becomes"] is None and listed["written"] is None
    assert json.loads(use_loss(folder, "weighted_fork.prototxt", "--json")[1])["losses"][0]["class_weighting"] == [.25, 4.5]
    result = json.loads(use_loss(folder, "train_val.prototxt", "--compute-h", "--json")[1])
    assert result["written"] == "train_val.prototxt" and result["changed"] and result["added"] == ["H"]
    assert (result["losses"][0]["type"], result["losses"][0]["becomes"]) == ("SoftmaxWithLoss", "InfogainLoss")
    assert json.loads(use_loss(folder, "train_val.prototxt", "--json")[1])["losses"][0]["matrix"] == "matrix from the blob H"


def test_what_a_loss_is_for(folder):
    pytest.importorskip("caffe")
    status, out, err = use_loss(folder, "train_val.prototxt", "--loss", "ExpectedCostLoss", "--source", "D.csv")
    assert (status, err) == (0, "") and "ExpectedCostLoss is for a net trained before (caffe train -weights)" in out


def test_a_file_for_a_gain_and_a_cost(folder):
    pytest.importorskip("caffe")
    assert use_loss(folder, "train_val.prototxt", "--loss", "ExpectedCostLoss", "--source", "D.csv")[0] == 0
    second = NET[NET.index("# the loss"):].replace('"loss"', '"second"').replace("SoftmaxWithLoss", "InfogainLoss")
    put(folder, net(folder) + second)
    status, out, err = use_loss(folder, "train_val.prototxt", "--all", "--source", "D.binaryproto")
    assert status == 2 and "D.binaryproto: expected a gain, got what looks like distances" in err


def test_a_blob_of_unknown_size(folder):
    pytest.importorskip("caffe")
    status, out, err = use_loss(folder, "from_data.prototxt", "--h-blob", "similarity", "--loss", "SoftmaxWithInfogainLoss")
    assert status == 0 and "note: not checked: whether --h-blob similarity fits the 3 classes of loss" in err
