"""The caffe program with our layers, as its user sees it: training, snapshots, and our errors."""
from __future__ import division, print_function

import os

import numpy as np
import pytest

import real_nets
import training
from caffe_losses.formats.matrix_files import write_matrix

caffe = pytest.importorskip("caffe")

SOLVER = """net: "net.prototxt" base_lr: 0.1 momentum: 0.9 weight_decay: 0.001 lr_policy: "fixed" display: 1
max_iter: %d random_seed: 1 solver_mode: CPU snapshot: 10 snapshot_prefix: "snap" snapshot_after_train: true"""

DATA = """
layer { name: "data" type: "HDF5Data" top: "data" top: "label" hdf5_data_param { source: "list.txt" batch_size: 8 } }
layer { name: "score" type: "InnerProduct" bottom: "data" top: "score"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
"""


def caffe_train(folder, loss, labels=None, iterations=20, arguments=(), solver=""):
    """Run the real caffe train on a small net that ends in the text of `loss`."""
    import h5py
    rng = np.random.RandomState(0)
    with h5py.File(str(folder / "data.h5"), "w") as file:
        file["data"] = rng.randn(24, 4).astype(np.float32)
        file["label"] = np.array(rng.randint(0, 3, 24) if labels is None else labels, np.float32)
    (folder / "list.txt").write_text(u"data.h5\n")
    (folder / "net.prototxt").write_text(u"%s" % (DATA + loss))
    (folder / "solver.prototxt").write_text(u"%s" % (SOLVER % iterations + solver))
    environment = dict(os.environ, GLOG_minloglevel="0", OPENBLAS_NUM_THREADS="1")
    return real_nets.run(["caffe", "train", "-solver", "solver.prototxt"] + list(arguments),
                         cwd=str(folder), env=environment)


def infogain(bottoms=("score", "label"), param=None, more="loss_weight: 1"):
    return real_nets.python_layer("SoftmaxWithInfogainLoss", bottoms, ["loss"], param, more)


def compute_h(param):
    return real_nets.python_layer("ComputeH", ["label"], ["H"], param)


BY_FILE = infogain(param={"source": "H.binaryproto"})
BY_BOTTOM = infogain(bottoms=("score", "label", "H"))

PARTS = ("anchor", "positive", "negative")


def triplets(param, select_tops=PARTS, loss_param=None):
    """Triplets of the scores, taken for embeddings, and their loss."""
    return (real_nets.python_layer("TripletSelect", ["score", "label"], list(select_tops), param)
            + real_nets.python_layer("TripletSoftmaxLoss", PARTS, ["loss"], loss_param, "loss_weight: 1"))


# what is wrong: the text of the loss, the labels, what is done to H's file, the line to be seen
FAULTS = {
    "unknown key": (infogain(param={"sauce": "H.binaryproto"}), None, None,
                    'SoftmaxWithInfogainLoss: unknown key "sauce" in param_str; the keys are axis, ignore_label, '
                    'normalization, normalize, source'),
    "unknown key of ComputeH": (compute_h({"n_classes": 3, "weight": "balanced"}) + BY_BOTTOM, None, None,
                                'ComputeH: unknown key "weight" in param_str; the keys are beta, gain, '
                                'ignore_label, missing, n_classes, power, running, scale, weights'),
    "label out of range": (BY_FILE, [0, 1, 2, 0, 7] + [0] * 19, None,
                           "SoftmaxWithInfogainLoss: bottom[1] (labels) at (4): expected a whole number 0..2, got 7"),
    "label -1": (BY_FILE, [0, -1] + [0] * 22, None,
                 "SoftmaxWithInfogainLoss: bottom[1] (labels) at (1): expected a whole number 0..2, got -1"),
    "H of the wrong number of classes": (
        compute_h({"n_classes": 2}) + BY_BOTTOM, None, None,
        "SoftmaxWithInfogainLoss: bottom[2] (H): expected 1 x 1 x 3 x 3, as the scores have 3 classes, got "
        "1 x 1 x 2 x 2"),
    "label of ComputeH": (compute_h({"n_classes": 3}) + BY_BOTTOM, [1, 1, 3] + [0] * 21, None,
                          "ComputeH: bottom[0] (labels) at (2): expected a whole number 0..2, got 3"),
    "H of the wrong size": (BY_FILE, None, lambda path: write_matrix(path, np.eye(4)),
                            "SoftmaxWithInfogainLoss: H.binaryproto: expected H to be 3 x 3, as there are 3 "
                            "classes, got 4 x 4"),
    "truncated H": (BY_FILE, None, lambda path: real_nets.cut(path, 20),
                    "SoftmaxWithInfogainLoss: H.binaryproto: expected 36 bytes from byte 10 on, got 10: the "
                    "file is cut off"),
    "missing H": (BY_FILE, None, os.remove,
                  "SoftmaxWithInfogainLoss: H.binaryproto: cannot be read: No such file or directory"),
    "truncated H of InfogainMatrix": (
        real_nets.python_layer("InfogainMatrix", [], ["H"], {"source": "H.binaryproto"}) + BY_BOTTOM, None,
        lambda path: real_nets.cut(path, 20),
        "InfogainMatrix: H.binaryproto: expected 36 bytes from byte 10 on, got 10: the file is cut off"),
    "unknown key of TripletSelect": (triplets({"strategy": "all", "margin": 1}), None, None,
                                     'TripletSelect: unknown key "margin" in param_str; the keys are ignore_label, '
                                     'max_triplets, seed, strategy'),
    "label of TripletSelect": (triplets({"strategy": "all"}), [0, .5] + [1] * 22, None,
                               "TripletSelect: bottom[1] (labels) at (1): expected a whole number "
                               "-16777216..16777216, got 0.5"),
    "unknown key of TripletSoftmaxLoss": (triplets({"strategy": "all"}, loss_param={"margin": 1}), None, None,
                                          'TripletSoftmaxLoss: unknown key "margin" in param_str; the keys are form, '
                                          'norm, normalization'),
}


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_our_line_reaches_standard_error(tmp_path, fault):
    loss, labels, spoil, line = FAULTS[fault]
    write_matrix(str(tmp_path / "H.binaryproto"), np.eye(3))
    if spoil:
        spoil(str(tmp_path / "H.binaryproto"))
    status, _, err = caffe_train(tmp_path, loss, labels)
    assert status != 0
    assert any(found.startswith(line) for found in err.splitlines()), err[-3000:]


def losses_of(err):
    return [float(line.split("loss = ")[1].split()[0]) for line in err.splitlines() if ", loss = " in line]


def test_it_trains(tmp_path):
    write_matrix(str(tmp_path / "H.binaryproto"), np.eye(3) + .1)
    status, _, err = caffe_train(tmp_path, BY_FILE, iterations=200)
    assert status == 0, err[-3000:]
    losses = losses_of(err)
    assert losses[-1] < .8 * losses[0]


@pytest.mark.parametrize("loss", ["InfogainLoss", "SoftmaxWithInfogainLoss"])
def test_it_trains_with_h_from_any_file(tmp_path, monkeypatch, loss):
    """The same losses with H from a layer that reads a file as with H from `source:`, and H is not trained."""
    from caffe_prototxt.net.matrix_sources import FileMatrix, layer_that_reads
    from caffe_prototxt.rewrite.fragment import h_fragment, loss_fragment
    monkeypatch.chdir(tmp_path)
    H = np.random.RandomState(0).rand(3, 3).astype(np.float32)
    write_matrix("H.binaryproto", H)
    status, _, err = caffe_train(tmp_path, loss_fragment(loss, FileMatrix("H.binaryproto")))
    assert status == 0, err[-3000:]
    losses = losses_of(err)
    assert len(losses) > 15 and len(set(losses)) > 15
    by_bottom = loss_fragment(loss, layer_that_reads("any"))
    by_bottom = by_bottom[by_bottom.index("layer {", 1):]  # less the layer of H
    for name in ("H.h5", "H_lmdb", "H.caffemodel", "H.json"):
        write_matrix(name, H)
        weights = ["-weights", name] if name == "H.caffemodel" else []
        status, _, err = caffe_train(tmp_path, h_fragment(name, 3) + by_bottom, arguments=weights)
        assert status == 0, err[-3000:]
        assert losses_of(err) == losses, name
        if weights:
            os.rename("snap_iter_20.caffemodel", "trained.caffemodel")
            status, _, err = caffe_train(tmp_path, h_fragment(name, 3) + by_bottom,
                                         arguments=["-weights", "trained.caffemodel,H.caffemodel"])
            assert status == 0, err[-3000:]
            for snapshot in ("trained.caffemodel", "snap_iter_10.caffemodel", "snap_iter_20.caffemodel"):
                blob, = caffe.Net("net.prototxt", snapshot, caffe.TEST).params["H"]
                assert blob.data.shape == (1, 1, 3, 3) and blob.data.tobytes() == H.tobytes()


@pytest.mark.parametrize("strategy", ["all", "hardest", "semi_hard", "random"])
def test_triplets_train(tmp_path, strategy):
    """Every batch has another number of triplets, and TEST runs between."""
    loss = triplets({"strategy": strategy}, PARTS + ("count",))
    rng = np.random.RandomState(0)
    labels = rng.randint(0, 3, 24)
    status, _, err = caffe_train(tmp_path, loss, labels, iterations=100,
                                 solver=" test_iter: 3 test_interval: 30")
    assert status == 0, err[-3000:]
    losses = losses_of(err)
    assert np.mean(losses[-9:]) < .8 * np.mean(losses[:9])
    batches = [labels[:8], labels[8:16], labels[16:]]
    counted = [int(line.split("count = ")[1].split()[0]) for line in err.splitlines() if "Train net output" in line
               and "count" in line]
    sizes = [sum((batch == c).sum() * ((batch == c).sum() - 1) * (batch != c).sum() for c in range(3))
             for batch in batches]
    assert len(set(sizes)) > 1
    if strategy == "all":
        assert counted[:4] == sizes + sizes[:1]


def test_batches_without_a_triplet_train_nothing(tmp_path):
    status, _, err = caffe_train(tmp_path, triplets({"strategy": "hardest"}), [1] * 24)
    assert status == 0, err[-3000:]
    assert set(losses_of(err)) == {0}
    said = [line.split(":")[2].strip() for line in err.splitlines() if line.startswith("TripletSelect: warning: ")]
    assert said == ["no triplet in 1 of 1 batches", "no triplet in 10 of 10 batches"]


def kept_counts(folder, snapshot):
    net = caffe.Net(str(folder / "net.prototxt"), str(folder / snapshot), caffe.TEST)
    return net.params["H"][0].data.copy()


RUNNING = {"n_classes": 3, "running": .9}
NOT_TRAINED = "param { lr_mult: 0 decay_mult: 0 }"
COMPUTE_H = real_nets.python_layer("ComputeH", ["label"], ["H"], RUNNING, NOT_TRAINED)


@pytest.mark.parametrize("loss", [
    COMPUTE_H + BY_BOTTOM,
    COMPUTE_H + 'layer { name: "loss" type: "InfogainLoss" bottom: "score" bottom: "label" bottom: "H" top: "loss" }',
    real_nets.python_layer("LogPrior", ["label"], ["prior"], RUNNING, NOT_TRAINED, name="H") +
    'layer { name: "add" type: "Bias" bottom: "score" bottom: "prior" top: "adjusted" }\n'
    'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "adjusted" bottom: "label" top: "loss" }'])
@pytest.mark.scores
def test_resume_continues_the_running_counts(tmp_path, monkeypatch, loss):
    """20 iterations give the counts and weights of 10, a snapshot, and 10 more."""
    monkeypatch.chdir(tmp_path)
    status, _, err = caffe_train(tmp_path, loss, iterations=20)
    assert status == 0, err[-3000:]
    straight = kept_counts(tmp_path, "snap_iter_20.caffemodel")
    assert straight.sum() > 8  # more than one batch is in it
    os.remove(str(tmp_path / "snap_iter_20.caffemodel"))
    assert not (kept_counts(tmp_path, "snap_iter_10.caffemodel") == straight).all()
    # HDF5Data starts again at its first row, and 10 batches of 8 are no whole number of epochs
    rows = np.arange(10 * 8, 10 * 8 + 24) % 24
    import h5py
    with h5py.File(str(tmp_path / "data.h5"), "r") as file:
        data, labels = file["data"][...], file["label"][...]
    again = caffe_train_from(tmp_path, data[rows], labels[rows])
    assert again == 0
    np.testing.assert_array_equal(kept_counts(tmp_path, "snap_iter_20.caffemodel"), straight)


def caffe_train_from(folder, data, labels):
    import h5py
    with h5py.File(str(folder / "data.h5"), "w") as file:
        file["data"], file["label"] = data, labels
    status, _, _ = real_nets.run(["caffe", "train", "-solver", "solver.prototxt", "-snapshot",
                                  "snap_iter_10.solverstate"], cwd=str(folder))
    return status


# A Caffe before April 2016, which sets no such attribute.
NO_PHASE = """
import caffe_losses
class NoPhase(caffe_losses.ComputeH):
    def __setattr__(self, name, value):
        if name != "phase":
            super(NoPhase, self).__setattr__(name, value)
"""
NO_PHASE_LAYER = real_nets.python_layer("NoPhase", ["label"], ["H"], {"n_classes": 3, "running": .9, "scale": "none"},
                                        "param { lr_mult: 0 decay_mult: 0 }", module="no_phase")


@pytest.fixture
def no_phase(tmp_path, monkeypatch):
    (tmp_path / "no_phase.py").write_text(u"%s" % NO_PHASE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path) + os.pathsep + os.environ["PYTHONPATH"])
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize("solver", ["", " iter_size: 2", ' type: "Adam" momentum2: 0.9 clip_gradients: 0.001'])
def test_without_a_phase_only_training_counts(tmp_path, monkeypatch, no_phase, solver):
    monkeypatch.setattr(training, "SOLVER", training.SOLVER + solver)
    assert training.train(str(tmp_path), NO_PHASE_LAYER + BY_BOTTOM) == 0
    log = (tmp_path / "caffe.log").read_text()
    assert log.count("NoPhase: warning: this Caffe gives a Python layer no phase: running counts are kept only ") == 1
    counts, labels = np.zeros(3), np.arange(60) % 3
    for batch in range(20 * (2 if "iter_size" in solver else 1)):
        counts = .9 * counts + np.bincount(labels[np.arange(batch * 16, batch * 16 + 16) % 60], minlength=3)
    monkeypatch.chdir(tmp_path)
    net = caffe.Net("train_val.prototxt", "snap_iter_20.caffemodel", caffe.TEST)
    np.testing.assert_allclose(net.params["H"][0].data, counts, rtol=1e-5)


def test_without_a_phase_a_net_alone_counts_nothing(no_phase):
    net = real_nets.net(real_nets.input_layer(label=(4,)) + NO_PHASE_LAYER)
    net.blobs["label"].data[...] = [0, 1, 1, 1]
    for _ in range(3):
        net.forward()
        np.testing.assert_allclose(net.blobs["H"].data[0, 0], np.diag([3, 1, 0]), rtol=1e-6)
    net.params["H"][0].data[...] = [8, 2, 4]
    net.forward()
    np.testing.assert_array_equal(net.params["H"][0].data, [8, 2, 4])
    np.testing.assert_allclose(net.blobs["H"].data[0, 0], np.diag([1, 4, 2]), rtol=1e-6)
