"""Predictions of a net for its test data, in the real Caffe."""
from __future__ import division, print_function

import os

import numpy as np
import pytest

import real_nets
import training

caffe = pytest.importorskip("caffe")
h5py = pytest.importorskip("h5py")

from caffe_prototxt.training.predictions import Evaluation


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("trained"))
    assert training.train(folder) == 0
    return folder


@pytest.fixture
def folder(trained, monkeypatch):
    monkeypatch.chdir(trained)
    return trained


def evaluation(layers=None, **options):
    """Evaluate the trained weights in a net with other layers after its scores."""
    definition = "train_val.prototxt"
    if layers is not None:
        definition = "other.prototxt"
        with open(definition, "w") as file:
            file.write(training.NET % layers)
    return Evaluation(definition, "snap_iter_20.caffemodel", **options)


def together(found):
    scores, labels = zip(*found.batches())
    return np.concatenate(scores), np.concatenate(labels)


def data():
    with h5py.File("test.h5", "r") as file:
        return file["data"][...], file["label"][...]


def test_one_epoch_has_every_sample_once(folder):
    found = evaluation()
    assert (found.n_iterations, found.n_samples, found.n_classes) == (3, 50, 3)
    assert found.source == "all 50 samples of test.txt" and (found.score, found.label) == ("score", "label")
    assert not found.spatial and not found.are_probabilities and found.ignore_label is None
    scores, labels = together(found)
    x, expected = data()
    np.testing.assert_array_equal(labels, expected)
    W, b = [blob.data for blob in found.net.params["score"]]
    np.testing.assert_allclose(scores, x.dot(W.T) + b, rtol=1e-4, atol=1e-5)


def test_iterations(folder):
    scores, labels = together(evaluation(iterations=1))
    assert scores.shape == (20, 3)
    np.testing.assert_array_equal(labels, data()[1][:20])


LOSSES = {
    "SoftmaxWithLoss": training.LOSS,
    "InfogainLoss": 'layer { name: "loss" type: "InfogainLoss" bottom: "score" bottom: "label" top: "loss" '
                    'infogain_loss_param { source: "H.binaryproto" } }',
    "ours": real_nets.python_layer("SoftmaxWithInfogainLoss", ["score", "label"], ["loss"],
                                   {"source": "H.binaryproto"}, "loss_weight: 1"),
    "Accuracy alone": "",
    "HingeLoss": 'layer { name: "loss" type: "HingeLoss" bottom: "score" bottom: "label" top: "loss" }',
}


@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.scores
def test_scores_of_every_loss(folder, loss):
    from caffe_losses.formats.matrix_files import write_matrix
    write_matrix("H.binaryproto", np.eye(3))
    scores, labels = together(evaluation(LOSSES[loss]))
    expected = together(evaluation())
    np.testing.assert_array_equal(scores, expected[0])
    np.testing.assert_array_equal(labels, expected[1])


def test_probabilities(folder):
    found = evaluation('layer { name: "p" type: "Softmax" bottom: "score" top: "p" } '
                       'layer { name: "loss" type: "MultinomialLogisticLoss" bottom: "p" bottom: "label" top: "loss" }')
    assert found.are_probabilities
    np.testing.assert_allclose(together(found)[0].sum(axis=1), 1, atol=1e-5)


def test_the_last_loss_counts_and_named_blobs_win(folder):
    auxiliary = ('layer { name: "aux" type: "InnerProduct" bottom: "data" top: "aux" inner_product_param { '
                 'num_output: 3 } } layer { name: "loss1" type: "SoftmaxWithLoss" bottom: "aux" bottom: "label" '
                 'top: "loss1" } ' + training.LOSS)
    np.testing.assert_array_equal(together(evaluation(auxiliary))[0], together(evaluation())[0])
    assert not together(evaluation(auxiliary, score="aux", label="label"))[0].any()


DENSE = """
layer { name: "data" type: "HDF5Data" top: "data" top: "label" hdf5_data_param { source: "dense.txt" batch_size: 4 } }
layer { name: "reshaped" type: "Reshape" bottom: "data" top: "score" reshape_param { shape { dim: 0 dim: 3 dim: 2 dim: 5 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" loss_param { ignore_label: 255 } }
"""


@pytest.mark.parametrize("axis", [1, 2])
def test_dense_labels(folder, axis):
    rng = np.random.RandomState(0)
    x = rng.randn(6, 3, 2, 5).astype(np.float32)
    labels = rng.choice([0, 1, 2, 255], (6, 1, 2, 5)).astype(np.float32)
    with h5py.File("dense.h5", "w") as file:
        file["data"], file["label"] = (np.rollaxis(x, 1, axis + 1) if axis > 1 else x), labels
    with open("dense.txt", "w") as file:
        file.write("dense.h5\n")
    text = DENSE if axis == 1 else DENSE.replace("dim: 3 dim: 2", "dim: 2 dim: 3").replace(
        "loss_param", "softmax_param { axis: 2 } loss_param")
    with open("other.prototxt", "w") as file:
        file.write(text)
    found = Evaluation("other.prototxt", "snap_iter_20.caffemodel")
    assert found.spatial and found.ignore_label == 255 and found.n_samples == 6
    scores, taken = together(found)
    expected = [(x[n, :, h, w], labels[n, 0, h, w]) for n in range(6) for h in range(2) for w in range(5)
                if labels[n, 0, h, w] != 255]
    np.testing.assert_array_equal(scores, [row for row, _ in expected])
    assert taken.tolist() == [label for _, label in expected]


def test_the_rules_of_the_layers_are_those_of_caffe(folder):
    """A net for training, testing and use: only the test data are counted."""
    text = training.NET % training.LOSS
    text += 'layer { name: "data" type: "Input" top: "x" input_param { shape { dim: 1 } } include { stage: "deploy" } }'
    text = text.replace("include { phase: TEST }", 'include { phase: TEST not_stage: "deploy" min_level: 0 }')
    with open("other.prototxt", "w") as file:
        file.write(text)
    assert Evaluation("other.prototxt", "snap_iter_20.caffemodel").n_samples == 50


# A Caffe without OpenCV has no ImageData.
@pytest.mark.parametrize("source", ["LMDB"] + ["ImageData"] * ("ImageData" in caffe.layer_type_list()))
def test_other_data(folder, source, tmp_path):
    from caffe.proto import caffe_pb2
    if source == "LMDB":
        import lmdb
        with lmdb.open("lmdb", map_size=2 ** 20).begin(write=True) as transaction:
            for i in range(7):
                datum = caffe_pb2.Datum(label=i % 3, channels=4, height=1, width=1, float_data=range(4))
                transaction.put(b"%08d" % i, datum.SerializeToString())
        layer = 'type: "Data" data_param { source: "lmdb" backend: LMDB batch_size: 5 }'
    else:
        from PIL import Image
        with open("list.txt", "w") as file:
            for i in range(7):
                Image.fromarray(np.full((2, 2), i, np.uint8)).save("a picture %d.png" % i)
                file.write("%s %d\n" % (os.path.join(folder, "a picture %d.png" % i), i % 3))
        layer = 'type: "ImageData" image_data_param { source: "list.txt" batch_size: 5 is_color: false }'
    text = """layer { name: "data" top: "data" top: "label" %s }
              layer { name: "score" type: "InnerProduct" bottom: "data" top: "score" inner_product_param { num_output: 3 } }
              layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }""" % layer
    net = real_nets.net(text, "TEST")
    net.save("other.caffemodel")
    del net
    with open("other.prototxt", "w") as file:
        file.write(text)
    _, labels = together(Evaluation("other.prototxt", "other.caffemodel"))
    assert labels.tolist() == [0, 1, 2, 0, 1, 2, 0]


DUMMY = ('layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param { shape { dim: 2 dim: 4 } '
         'shape { dim: 2 } data_filler { type: "gaussian" } data_filler { type: "constant" value: %s } } } '
         'layer { name: "score" type: "InnerProduct" bottom: "data" top: "score" inner_product_param { num_output: 3 } } ')


@pytest.mark.parametrize("text, options, message", [
    (DUMMY % 1 + training.LOSS, {}, "--iterations says how many"),
    (DUMMY % 1, {"iterations": 1}, "expected a net whose TEST phase has a loss on classes or an Accuracy layer"),
    (DUMMY % 1 + training.LOSS, {"score": "scor", "label": "label"}, "--score scor: expected a blob of the net, data"),
    (DUMMY % 1, {"score": "score", "label": "data", "iterations": 1}, "data: expected a label for each of 2 samples"),
    (DUMMY % 3, {"score": "score", "label": "label", "iterations": 1}, "label at (0): expected a whole number 0..2, got 3"),
    (DUMMY % .5, {"score": "score", "label": "label", "iterations": 1}, "label at (0): expected a whole number 0..2, got 0.5"),
])
def test_errors(folder, text, options, message):
    with open("other.prototxt", "w") as file:
        file.write(text)
    with pytest.raises(ValueError) as raised:
        list(Evaluation("other.prototxt", "snap_iter_20.caffemodel", **options).batches())
    assert message in str(raised.value)


def test_the_solver_says_how_many_where_the_data_do_not(folder):
    with open("other.prototxt", "w") as file:
        file.write(DUMMY % 1 + training.LOSS)
    found = Evaluation("other.prototxt", "snap_iter_20.caffemodel", default_iterations=4)
    assert found.n_iterations == 4 and found.source == "4 iterations of 2 samples"


def test_scores_that_are_nan(folder):
    net = caffe.Net("train_val.prototxt", "snap_iter_20.caffemodel", caffe.TEST)
    net.params["score"][0].data[...] = np.nan
    net.save("nan.caffemodel")
    with pytest.raises(ValueError, match="expected finite scores, got NaN or infinity: the training has diverged"):
        list(Evaluation("train_val.prototxt", "nan.caffemodel").batches())


def test_missing_files(folder):
    for files in (("missing", "snap_iter_20.caffemodel"), ("train_val.prototxt", "missing")):
        with pytest.raises(IOError, match="missing: cannot be read: no such file"):
            Evaluation(*files)


@pytest.mark.parametrize("between", ["", 'layer { name: "r" type: "Reshape" bottom: "p" top: "r" reshape_param { shape { '
                                         'dim: 0 dim: 3 } } } layer { name: "f" type: "Flatten" bottom: "r" top: "f" }'])
def test_a_classic_infogain_loss_has_probabilities(folder, monkeypatch, between):
    """Caffe before April 2017: InfogainLossParameter has no axis, and a Softmax layer stands before the loss."""
    from caffe.proto import caffe_pb2
    from caffe_losses.formats.matrix_files import write_matrix

    class Parameter(object):
        class DESCRIPTOR(object):
            fields_by_name = {"source": None}
    monkeypatch.setattr(caffe_pb2, "InfogainLossParameter", Parameter)
    write_matrix("H.binaryproto", np.eye(3))
    found = evaluation('layer { name: "p" type: "Softmax" bottom: "score" top: "p" } %s layer { name: "loss" type: '
                       '"InfogainLoss" bottom: "%s" bottom: "label" top: "loss" infogain_loss_param { source: '
                       '"H.binaryproto" } }' % (between, "f" if between else "p"))
    assert found.are_probabilities
    scores = together(evaluation())[0]
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(together(found)[0], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("n_before", [0, 1, 2])
def test_a_test_of_the_solver_made_again(folder, n_before):
    """Its samples start where the test before it ended."""
    found = evaluation()
    list(found.batches())
    x, labels = data()
    W, b = [blob.data for blob in found.net.params["score"]]
    at = np.arange(40 * n_before, 40 * n_before + 40) % 50
    right = (x.dot(W.T) + b).argmax(axis=1)[at] == labels[at]
    assert found.tested(n_before, 2)["accuracy"] == pytest.approx(right.mean())
    assert found.tested(n_before, None) == {} and evaluation(iterations=1).tested(n_before, 2) == {}
    assert found.accuracies() == ["accuracy"]


def test_outputs_of_layers_that_remember_are_not_made_again(folder):
    """ComputeH with `running` has another H in the next test."""
    computed = real_nets.python_layer("ComputeH", ("label",), ("H",), {"n_classes": 3, "running": .9}) + (
        'layer { name: "loss" type: "InfogainLoss" bottom: "score" bottom: "label" bottom: "H" top: "loss" }')
    assert set(evaluation(computed).tested(0, 2)) == {"accuracy"}
    guard = real_nets.python_layer("LabelCheck", ("label",), ("checked",), {"n_classes": 3})
    assert set(evaluation(guard + training.LOSS.replace('"label"', '"checked"')).tested(0, 2)) == {"accuracy", "loss"}
