"""use_loss.py and make_net.py --logit-adjust, from a user's net to what Caffe has learned of it."""
from __future__ import division, print_function

import io
import json
import os
import shlex

import numpy as np
import pytest

import real_nets
import training
import user_files
from caffe_losses.formats.caffemodel import CaffeModel, write_layers
from commands import run_main

caffe = pytest.importorskip("caffe")

NET = "train_val.prototxt"
COUNTS = [900, 90, 10]
LOG_PRIOR = np.log([.9, .09, .01])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's folder: a net and LMDBs of 900, 90 and 10 samples."""
    user_files.write(str(tmp_path))
    user_files.write_unbalanced(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def text(name=NET):
    with io.open(name, encoding="utf-8") as file:
        return str(file.read())


def put(content, name=NET):
    with open(name, "w") as file:
        file.write(content)


def use_loss(*arguments):
    status, out, err = run_main("use_loss.py", *arguments)
    assert (status, err) == (0, ""), err
    return out.splitlines()


def caffe_train(*arguments):
    status, _, err = real_nets.run(["caffe", "train", "-solver", "solver.prototxt"] + list(arguments),
                                   env=dict(os.environ, GLOG_minloglevel="0", OPENBLAS_NUM_THREADS="1"))
    assert status == 0, err[-3000:]
    with open("caffe.log", "w") as file:
        file.write(err)
    return err


def learned(name="snap_iter_200.caffemodel"):
    return caffe.Net(NET, name, caffe.TEST).params["score"][0].data.copy()


def test_it_trains_at_once(folder):
    """Every step of caffe train is that of a net with the prior in a bias that is not trained."""
    before = text()
    said = use_loss(NET, "--logit-adjust")
    assert said[0] == (NET + ": loss (line 15) is now logit-adjusted: in TRAIN it gets score + log prior "
                       "(train_lmdb: 900,90,10), in TEST score alone") and said[1].startswith("next: ") and len(said) == 2
    status, out, err = run_main("check_net.py", "solver.prototxt")
    assert status == 0 and "0 errors, 0 warnings\n" in out, out
    caffe_train()
    weights = learned()
    by_hand = before.replace("  top: \"loss\" }", "  top: \"loss\"  exclude { phase: TRAIN } }") + '''
layer { name: "prior" type: "Bias" bottom: "score" top: "adjusted" param { lr_mult: 0 } include { phase: TRAIN } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "adjusted" bottom: "label" top: "loss" include { phase: TRAIN } }
'''
    put(by_hand)
    with open("prior.caffemodel", "wb") as file:
        write_layers(file, [(b"prior", [LOG_PRIOR.astype(np.float32)])])
    caffe_train("-weights", "prior.caffemodel")
    np.testing.assert_allclose(learned(), weights, rtol=1e-4, atol=1e-6)


def test_a_second_time_another_strength_and_back(folder):
    before = text()
    use_loss(NET, "--logit-adjust")
    after, stat = text(), os.stat(NET)
    assert use_loss(NET, "--logit-adjust") == [
        NET + ": nothing to change: loss (line 20) is logit-adjusted: in TRAIN it gets score + log prior (train_lmdb: "
        "900,90,10), in TEST score alone"]
    assert text() == after and os.stat(NET).st_mtime == stat.st_mtime
    assert use_loss(NET) == [NET + ":20: loss: SoftmaxWithLoss, 3 classes, logit-adjusted"]
    assert "gets score + 0.5 x log prior" in use_loss(NET, "--logit-adjust", "0.5")[0]
    assert text() == after.replace('[900, 90, 10]}', '[900, 90, 10], "strength": 0.5}')
    assert use_loss(NET, "--logit-adjust", "0")[0] == NET + ": loss (line 20) is now not logit-adjusted: it gets score"
    assert text() == before
    assert use_loss(NET, "--logit-adjust=0") == [NET + ": nothing to change: loss (line 15) is not logit-adjusted: it gets score"]
    assert "would be logit-adjusted" in use_loss(NET, "--logit-adjust", "--dry-run")[0] and text() == before
    assert "+layer { name: \"score_for_loss\"" in "\n".join(use_loss(NET, "--logit-adjust", "--diff")) and text() == before


@pytest.mark.scores
def test_with_another_loss(folder):
    said = use_loss(NET, "--loss", "SoftmaxWithInfogainLoss", "--source", "H.npy", "--logit-adjust")
    assert "SoftmaxWithLoss is now SoftmaxWithInfogainLoss, matrix from H.npy" in said[0]
    assert "is now logit-adjusted" in said[1] and len(said) == 3
    caffe.Net(NET, caffe.TRAIN).forward()
    said = use_loss(NET, "--loss", "SoftmaxWithLoss")
    assert "SoftmaxWithInfogainLoss is now SoftmaxWithLoss" in said[0] and "log_prior" in text()
    assert "nothing to change: loss (line 20) is SoftmaxWithLoss" in use_loss(NET, "--loss", "SoftmaxWithLoss", "--logit-adjust")[0]


def test_running(folder):
    use_loss(NET, "--logit-adjust", "--running", "0.9")
    assert '\'{"ignore_label"' not in text() and '\'{"n_classes": 3, "running": 0.9}\'' in text()
    assert run_main("check_net.py", NET)[0] == 0
    caffe_train()
    counts = CaffeModel("snap_iter_200.caffemodel").numbers(b"log_prior", 0)
    assert counts.sum() == pytest.approx(500, rel=1e-4) and counts[0] > counts[1] > counts[2]
    assert use_loss(NET, "--logit-adjust", "--running", "0.9")[0].startswith(NET + ": nothing to change")


def test_hdf5_and_a_decision(tmp_path, monkeypatch):
    """HDF5 data; in TEST, in report.py and deployed the scores stand alone."""
    import h5py
    monkeypatch.chdir(tmp_path)
    assert training.train(".") == 0
    with open("solver.prototxt") as file:
        solver = file.read()
    assert "(train.txt: 20,20,20)" in use_loss(NET, "--logit-adjust", "2")[0]
    use_loss(NET, "--logit-adjust", "2", "--counts", "1000,10,1")
    put(solver, "solver.prototxt")
    log = caffe_train()
    logged = [float(line.split("accuracy = ")[1]) for line in log.splitlines() if "accuracy = " in line][-1]
    weights, bias = [blob.data for blob in caffe.Net(NET, "snap_iter_20.caffemodel", caffe.TEST).params["score"]]
    with h5py.File("test.h5", "r") as file:
        correct = np.argmax(file["data"][...].dot(weights.T) + bias, axis=1) == file["label"][...]
    assert logged == pytest.approx(np.tile(correct, 3)[80:120].mean())  # the third test of 2 x 20
    status, out, err = run_main("report.py", "caffe.log", "--json")
    run = json.loads(out)["runs"][0]
    assert status == 0 and not run["notes"] and run["evaluation"]["probable"]["scores"]["accuracy"] == pytest.approx(correct.mean())
    status, out, err = run_main("make_deploy.py", NET, "--shape", "data=1,4", "--weights", "snap_iter_20.caffemodel", "-o", "deploy.prototxt")
    assert status == 0 and "gives prob (Softmax of score)" in out, err
    assert "prior" not in text("deploy.prototxt") and "Split" not in text("deploy.prototxt")
    status, out, err = run_main("make_deploy.py", NET, "--shape", "data=1,4", "--weights", "snap_iter_20.caffemodel", "--counts", "20,10,10", "-o", "rare.prototxt")
    assert status == 0 and "the class weights in the bias of its layer" in out, err


def test_native(folder):
    """The prior is in a .caffemodel, and needs no Python; it learns the same."""
    use_loss(NET, "--logit-adjust", "0.5")
    caffe_train()
    weights = learned()
    said = use_loss(NET, "--logit-adjust", "0.5", "--native")
    assert "is now logit-adjusted" in said[0] and said[1] == "train_val_loss.caffemodel: the weights of the loss"
    assert "Python" not in text()
    np.testing.assert_allclose(CaffeModel("train_val_loss.caffemodel").numbers(b"score_plus_log_prior", 0), LOG_PRIOR / 2, rtol=1e-6)
    status, out, err = run_main("check_net.py", NET)
    assert status == 0 and ("layer score_plus_log_prior, line 15 in TRAIN: has its log prior in weights that are 0 until caffe train "
                            "-weights train_val_loss.caffemodel brings them: without that nothing is adjusted") in out
    caffe_train("-weights", "train_val_loss.caffemodel")
    np.testing.assert_allclose(learned(), weights, rtol=1e-5, atol=1e-7)
    put(user_files.UNBALANCED_SOLVER + 'weights: "train_val_loss.caffemodel"\n', "solver.prototxt")
    if "weights" in caffe.proto.caffe_pb2.SolverParameter.DESCRIPTOR.fields_by_name:
        assert "0 errors, 0 warnings" in run_main("check_net.py", "solver.prototxt")[1]
    status, out, err = run_main("make_deploy.py", NET, "--weights", "snap_iter_200.caffemodel", "-o", "deploy.prototxt")
    assert status == 0 and "gives prob (Softmax of score)" in out, err
    assert use_loss(NET, "--logit-adjust", "0.5", "--native")[0].startswith(NET + ": nothing to change")
    before = text()
    said = use_loss(NET, "--logit-adjust", "2", "--native")
    assert "2 x log prior" in said[0] and "is now" in said[0] and text() == before
    np.testing.assert_allclose(CaffeModel("train_val_loss.caffemodel").numbers(b"score_plus_log_prior", 0), 2 * LOG_PRIOR, rtol=1e-6)


@pytest.mark.scores
def test_native_with_a_matrix(folder):
    use_loss(NET, "--loss", "SoftmaxWithInfogainLoss", "--native", "--source", "H.npy", "--logit-adjust")
    names = list(CaffeModel("train_val_loss.caffemodel").layers)
    assert b"score_plus_log_prior" in names and b"loss_gains" in names
    caffe_train("-weights", "train_val_loss.caffemodel")


def test_where_the_counts_come_from(folder):
    assert "log prior (4,3.5,0)" in use_loss(NET, "--logit-adjust", "--counts", "4,3.5,0")[0]
    assert '{"counts": [4, 3.5, 0]}' in text()
    np.save("n.npy", [5, 6, 7])
    assert "log prior (5,6,7)" in use_loss(NET, "--logit-adjust", "--counts", "n.npy")[0]
    assert "(test_lmdb: 100,100,100)" in use_loss(NET, "--logit-adjust", "--labels", "test_lmdb")[0]


def test_dense_labels(folder):
    """Label images in LMDBs are counted by pixel; what is ignored is not."""
    import lmdb
    from caffe.proto import caffe_pb2
    with lmdb.open("masks_lmdb", map_size=2 ** 20).begin(write=True) as transaction:
        for i in range(4):
            pixels = np.zeros((6, 6), np.uint8)
            pixels[0], pixels[1, :2], pixels[2, 0] = 255, 1, 2
            datum = caffe_pb2.Datum(channels=1, height=6, width=6, data=pixels.tobytes())
            transaction.put(b"%08d" % i, datum.SerializeToString())
    put('''layer { name: "data" type: "Data" top: "data" data_param { source: "masks_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "label" type: "Data" top: "label" data_param { source: "masks_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "score" type: "Convolution" bottom: "data" top: "score" convolution_param { num_output: 3 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" loss_param { ignore_label: 255 } }
''')
    assert "(masks_lmdb: 108,8,4)" in use_loss(NET, "--logit-adjust")[0]
    net = caffe.Net(NET, caffe.TRAIN)
    net.forward()
    net.backward()
    moved = np.moveaxis(net.blobs["score"].data, 1, -1) + np.log(np.array([108, 8, 4]) / 120.)
    np.testing.assert_allclose(np.moveaxis(net.blobs["score_for_loss"].data, 1, -1), moved, rtol=1e-5, atol=1e-5)
    assert "(masks_lmdb: 108,8,4)" in use_loss(NET, "--logit-adjust", "--labels", "masks_lmdb", "--pixels")[0]


def test_a_class_without_samples(folder):
    put(text().replace("num_output: 3", "num_output: 5"))
    status, out, err = run_main("use_loss.py", NET, "--logit-adjust")
    assert status == 0 and '"counts": [900, 90, 10, 0, 0]' in text()
    assert err == "use_loss.py: note: train_lmdb: no record of class 3, 4, taken to be as rare as the rarest that occurs\n"


def test_json(folder):
    result = json.loads(run_main("use_loss.py", NET, "--logit-adjust", "--json")[1])
    assert result["changed"] and result["added"] == ["log_prior", "score_plus_log_prior", "score_for_loss"]
    result = json.loads(run_main("use_loss.py", NET, "--logit-adjust", "0", "--json")[1])
    assert result["losses"][0]["logit_adjusted"] and sorted(result["removed"]) == ["log_prior", "score_for_loss", "score_plus_log_prior"]


def test_several_losses(folder):
    put(text() + 'layer { name: "side" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "side" include { phase: TEST } }\n')
    status, out, err = run_main("use_loss.py", NET, "--logit-adjust")
    assert status == 2 and "expected --layer NAME or --all, as there are 2 losses" in err
    status, out, err = run_main("use_loss.py", NET, "--logit-adjust", "--layer", "side")
    assert status == 2 and "expected a loss in TRAIN for --logit-adjust, got side (line 16)" in err
    assert len(use_loss(NET, "--logit-adjust", "--all")) == 2 and text().count("LogPrior") == 1


@pytest.mark.parametrize("arguments, message", [
    (["--logit-adjust", "-1"], "--logit-adjust: expected a number of at least 0, got -1"),
    (["--logit-adjust", "nan"], "--logit-adjust: expected a number of at least 0, got nan"),
    (["--logit-adjust", "much"], "invalid float value: 'much'"),
    (["--logit-adjust", "1e38"], "strength: expected a number of at least 0, that float32 holds"),
    (["--logit-adjust", "--counts", "1,2"], "--counts: expected 3 classes, as the scores of loss (line 15) have, got 2"),
    (["--logit-adjust", "--counts", "0,0,0"], "--counts: expected at least one above 0, got none"),
    (["--logit-adjust", "--counts", "1,-2,3"], "counts: expected numbers of at least 0, got -2 for class 1"),
    (["--logit-adjust", "--counts", "1,nan,3"], "counts: expected numbers of at least 0, got nan for class 1"),
    (["--logit-adjust", "--counts", "1", "2", "3"], "--counts: expected numbers with commas between them, got blanks; write --counts 1,2,3"),
    (["--logit-adjust", "--counts", "1,2,3", "--labels", "train_lmdb"], "expected one of --counts, --labels and --running, got --counts and --labels"),
    (["--logit-adjust", "--labels", "none_lmdb"], "none_lmdb: cannot be read: no such file"),
    (["--counts", "1,2,3"], "--counts: expected with --logit-adjust only"),
    (["--logit-adjust", "--pixels"], "--pixels: expected with --labels only"),
    (["--logit-adjust", "--running", "1"], "--running: expected a number between 0 and 1, got 1"),
    (["--logit-adjust", "--running", ".9", "--native"], "--running: expected without --native, whose weights do not change"),
    (["--native"], "--native: expected --loss ExpectedCostLoss or SoftmaxWithInfogainLoss, or --logit-adjust, got none"),
    (["--logit-adjust", "--counts", "n.npy", "-o", "n.npy"], "expected a file that is not read, got the input n.npy"),
])
def test_errors(folder, arguments, message):
    np.save("n.npy", [5, 6, 7])
    before = text()
    status, out, err = run_main("use_loss.py", NET, *arguments)
    assert status == 2 and message in err and len(err.splitlines()) == 1, err
    assert text() == before and not os.path.exists("train_val_loss.caffemodel")


def test_without_the_data(folder):
    put(text().replace("train_lmdb", "nowhere"))
    status, out, err = run_main("use_loss.py", NET, "--logit-adjust")
    assert status == 2 and "layer data: its source 'nowhere' is not there" in err
    assert "is now logit-adjusted" in use_loss(NET, "--logit-adjust", "--counts", "900,90,10")[0]


def test_labels_that_only_caffe_can_tell(folder):
    put(text().replace('bottom: "label"  top: "loss"', 'bottom: "shifted"  top: "loss"').replace(
        'layer { name: "accuracy"', 'layer { name: "shifted" type: "Power" bottom: "label" top: "shifted" power_param { scale: -1 shift: 2 } }\n'
        'layer { name: "accuracy"'))
    assert "(shifted, 20 batches as Caffe reads them: 10,90,900)" in use_loss(NET, "--logit-adjust")[0]
    put(text().replace('type: "Power" bottom: "label"', 'type: "Python" python_param { module: "none" layer: "None" } bottom: "label"'))
    status, out, err = run_main("use_loss.py", NET, "--logit-adjust")
    assert status == 2 and "labels of loss (line 21): expected some to count, got none: " in err and "; give --counts or --labels" in err, err


@pytest.mark.parametrize("native", [False, True])
def test_make_net(folder, native):
    arguments = ["--loss", "SoftmaxWithLoss", "--logit-adjust", "0.5", "--counts", "900,90,10", "-o", "loss.prototxt"] + ["--native"] * native
    status, out, err = run_main("make_net.py", *arguments)
    assert (status, err) == (0, ""), err
    assert run_main("make_net.py", *arguments)[0] == 0  # over its own
    head = real_nets.input_layer(data=(4, 2), score=(4, 3), label=(4,))
    put(head + text("loss.prototxt"), "whole.prototxt")
    for phase, prior in (("TRAIN", LOG_PRIOR / 2), ("TEST", 0 * LOG_PRIOR)):
        net = real_nets.net(text("whole.prototxt"), phase)
        if native and phase == "TRAIN":
            net.copy_from("loss.caffemodel")
        net.forward()
        np.testing.assert_allclose(net.blobs["score_for_loss"].data, np.tile(prior, (4, 1)), rtol=1e-6)
    assert [str(name) for name in caffe.Net("whole.prototxt", caffe.TEST, stages=["deploy"]).blobs] == ["data", "label", "score"]
    status, out, err = run_main("make_net.py", "--loss", "SoftmaxWithLoss", "--logit-adjust")
    assert status == 2 and "--logit-adjust: expected with --counts or --labels" in err


def test_net_spec():
    from caffe import NetSpec, layers as L
    from caffe_prototxt.netspec.loss_layers import plus_log_prior
    n = NetSpec()
    n.data, n.label = L.Input(shape=[{"dim": [4, 2, 3]}, {"dim": [4, 2]}], ntop=2)
    n.adjusted = plus_log_prior(n.data, axis=2, counts=COUNTS, strength=2)
    n.loss = L.SoftmaxWithLoss(n.adjusted, n.label, include={"phase": caffe.TRAIN}, softmax_param={"axis": 2})
    n.by_labels = plus_log_prior(n.data, n.label, axis=-1, n_classes=3, running=.9)
    net = real_nets.net(str(n.to_proto()))
    net.blobs["label"].data[...] = [[0, 0], [0, 0], [0, 1], [1, 2]]
    net.forward()
    np.testing.assert_allclose(net.blobs["adjusted"].data, np.tile(2 * LOG_PRIOR, (4, 2, 1)), rtol=1e-6)
    np.testing.assert_allclose(net.blobs["by_labels"].data, np.tile(np.log([5 / 8, 2 / 8, 1 / 8]), (4, 2, 1)), rtol=1e-6)
    assert list(real_nets.net(str(n.to_proto()), "TEST").blobs) == ["data", "label"]


def test_a_net_that_is_adjusted_is_not_compared_with_itself(folder):
    use_loss(NET, "--logit-adjust")
    status, _, err = run_main("compare.py", "solver.prototxt", "--logit-adjust", "--seeds", "2")
    assert status == 2 and err.count("\n") == 1
    assert "expected a net without logit adjustment to compare with, got one with it; take it away: " in err
    assert shlex.split(err.split("take it away: ")[1])[-3:] == [NET, "--logit-adjust", "0"]
    status, out, err = run_main("compare.py", "solver.prototxt", "--class-weights", "--seeds", "1", "--print-jobs")
    assert status == 0, err
    assert "missing: SoftmaxWithLoss, logit-adjusted, seed 0" in err and "missing: SoftmaxWithLoss, seed" not in err
