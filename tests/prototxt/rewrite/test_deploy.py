"""A net to deploy takes the weights of the training, and gives the probabilities of its scores."""
from __future__ import division, print_function

import os

import numpy as np
import pytest

import real_nets

caffe = pytest.importorskip("caffe")
import corpus  # noqa: E402
from caffe_losses.compat import to_bytes  # noqa: E402
from caffe_prototxt.rewrite import deploy  # noqa: E402
from caffe_prototxt.net.states import State  # noqa: E402

DATA = 'layer { name: "data" type: "Data" top: "data" top: "label" %s data_param { source: "%s" batch_size: 4 backend: LMDB } }\n'
SCORE = '''layer { name: "score" type: "InnerProduct" bottom: "data" top: "score"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
'''
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }\n'
CROP = DATA % ("transform_param { crop_size: 5 }", "nowhere")


def softmax(x, axis=1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def net_of(text, folder, weights=None):
    path = os.path.join(str(folder), "deploy.prototxt")
    with open(path, "wb") as file:
        file.write(to_bytes(text))
    return caffe.Net(path, caffe.TEST) if weights is None else caffe.Net(path, weights, caffe.TEST)


def names(text):
    return [layer.name for layer in corpus.message(text).layer]


@pytest.mark.parametrize("name, scores", [
    ("several_losses.prototxt", {"loss_prob": "classifier", "side1/loss_prob": "side1/classifier",
                                 "side2/loss_prob": "side2/classifier"}),
    ("dense.prototxt", {"prob": "score"}), ("phases.prototxt", {"prob": "score"}), ("old_syntax.prototxt", {"prob": "score"}),
    ("in_strings.prototxt", {"prob": "score"}), ("tabs_crlf.prototxt", None), ("one_line.prototxt", {"prob": "score"}),
    ("latin1_mixed.prototxt", None), ("from_data.prototxt", None), ("probabilities.prototxt", {"prob": "score"})])
def test_the_corpus(tmp_path, monkeypatch, name, scores):
    monkeypatch.chdir(tmp_path)
    from caffe_losses.formats.matrix_files import write_matrix
    write_matrix("H.binaryproto", np.eye(3))
    text = corpus.read(name)
    shapes = corpus.SHAPES[name][0]
    made = deploy.make_deploy(text, shapes={top: shape for top, shape in shapes.items() if top == "data"})
    trained = real_nets.net(corpus.runnable(text, shapes), "TEST")
    trained.save("trained.caffemodel")
    net = net_of(made.text, tmp_path, "trained.caffemodel")
    assert list(net.inputs) == ["data"] and [top for top, _ in made.inputs] == ["data"]
    data = real_nets.random_scores(trained.blobs["data"].data.shape)
    trained.blobs["data"].data[...] = net.blobs["data"].data[...] = data
    trained.forward()
    net.forward()
    assert set(net.outputs) == set(top for top, _ in made.outputs)
    axis = 2 if name == "one_line.prototxt" else 1
    for prob, score in (scores or {made.outputs[0][0]: made.outputs[0][1].split()[-1]}).items():
        np.testing.assert_allclose(net.blobs[prob].data, softmax(trained.blobs[score].data, axis), rtol=1e-5, atol=1e-7)
    assert ("\r\n" in made.text) == ("\r\n" in text)


@pytest.mark.parametrize("write", ["lmdb", "encoded", "images", "hdf5"])
def test_shape_of_the_first_record(tmp_path, monkeypatch, write):
    monkeypatch.chdir(tmp_path)
    from PIL import Image
    kind, param = "Data", 'data_param { source: "records" batch_size: 4 backend: LMDB }'
    Image.new("RGB", (7, 5)).save("image.png")
    if write in ("lmdb", "encoded"):
        import lmdb
        datum = caffe.proto.caffe_pb2.Datum(channels=3, height=5, width=7, data=bytes(105), label=1)
        if write == "encoded":
            with open("image.png", "rb") as file:
                datum = caffe.proto.caffe_pb2.Datum(encoded=True, data=file.read(), label=1)
        with lmdb.open("records", map_size=2 ** 20).begin(write=True) as transaction:
            transaction.put(b"0", datum.SerializeToString())
    elif write == "images":
        kind, param = "ImageData", 'image_data_param { source: "records" batch_size: 4 }'
        (tmp_path / "records").write_text(u"image.png 1\n")
    else:
        import h5py
        kind, param = "HDF5Data", 'hdf5_data_param { source: "records" batch_size: 4 }'
        with h5py.File("a.h5", "w") as file:
            file["data"] = np.zeros((9, 3, 5, 7))
        (tmp_path / "records").write_text(u"a.h5\n")
    net = 'layer { name: "d" type: "%s" top: "data" top: "label" %s }\n' % (kind, param) + SCORE + LOSS
    made = deploy.make_deploy(net)
    assert made.inputs == [("data", (1, 3, 5, 7))]
    assert net_of(made.text, tmp_path).blobs["data"].data.shape == (1, 3, 5, 7)
    assert deploy.make_deploy(net, batch=10).inputs == [("data", (10, 3, 5, 7))]
    if kind != "HDF5Data":
        net = net.replace('type: "%s"' % kind, 'type: "%s" transform_param { crop_size: 4 }' % kind)
        assert deploy.make_deploy(net).inputs == [("data", (1, 3, 4, 4))]


def test_what_is_not_there_has_to_be_said():
    with pytest.raises(ValueError, match="layer data: expected --shape data=N,C,H,W, as neither"):
        deploy.make_deploy(DATA % ("", "nowhere") + SCORE + LOSS)
    made = deploy.make_deploy(DATA % ("", "nowhere") + SCORE + LOSS, shapes={"data": (2, 5)})
    assert made.inputs == [("data", (2, 5))]


def test_layers_that_only_the_loss_needs_go(tmp_path):
    net = (CROP + SCORE + 'layer { name: "H" type: "Python" bottom: "label" top: "H" python_param { module: "caffe_losses" '
           'layer: "ComputeH" param_str: \'{"n_classes": 3}\' } }\n'
           'layer { name: "loss" type: "InfogainLoss" bottom: "score" bottom: "label" bottom: "H" top: "loss" }\n'
           'layer { name: "accuracy" type: "Accuracy" bottom: "score" bottom: "label" top: "accuracy" }\n'
           'layer { name: "quiet" type: "Silence" bottom: "H" }\n')
    made = deploy.make_deploy(net)
    assert names(made.text) == ["data", "score", "prob"]
    assert list(net_of(made.text, tmp_path).blobs) == ["data", "score", "prob"]


@pytest.mark.parametrize("loss, outputs", [
    (LOSS.replace("{", "{ include { phase: TRAIN }"), ["prob"]),
    (LOSS + 'layer { name: "p" type: "Softmax" bottom: "score" top: "p" include { phase: TEST } }\n', ["p"]),
    ('layer { name: "loss" type: "InfogainLoss" bottom: "score" bottom: "label" top: "loss" top: "p" loss_weight: 1 '
     'loss_weight: 0 infogain_loss_param { source: "H" } }\n', ["p"]),
    (real_nets.python_layer("ExpectedCostLoss", ("score", "label"), ("loss",), {"source": "D.csv"}, "loss_weight: 1"), ["prob"]),
    (LOSS.replace("SoftmaxWithLoss", "SigmoidCrossEntropyLoss"), ["prob"]),
    (LOSS.replace("SoftmaxWithLoss", "EuclideanLoss"), ["score"]),
    (LOSS.replace('"loss"', '"prob"'), ["prob"]),
    (LOSS + LOSS.replace('"loss"', '"again"'), ["prob"]),
])
def test_outputs(tmp_path, loss, outputs):
    made = deploy.make_deploy(CROP + SCORE + loss)
    assert [top for top, _ in made.outputs] == outputs == list(net_of(made.text, tmp_path).outputs)


def test_chosen_outputs(tmp_path):
    net = CROP + SCORE + SCORE.replace('"score"', '"other"') + LOSS + LOSS.replace('"score"', '"other"').replace('"loss"', '"more"')
    assert [top for top, _ in deploy.make_deploy(net).outputs] == ["loss_prob", "more_prob"]
    made = deploy.make_deploy(net, names=["more"])
    assert names(made.text) == ["data", "other", "prob"]
    made = deploy.make_deploy(net, outputs=["score"])
    assert names(made.text) == ["data", "score"] and made.outputs == [("score", "InnerProduct")]
    with pytest.raises(ValueError, match="expected the name of a loss, got x"):
        deploy.make_deploy(net, names=["x"])
    with pytest.raises(ValueError, match="expected a blob to put out, got x"):
        deploy.make_deploy(net, outputs=["x"])


def test_rules_are_those_of_test(tmp_path):
    net = ('# both\n' + CROP.replace("{ name", "{ include { phase: TRAIN } name") + CROP.replace(
        "{ name", "{ include { phase: TEST } # here\n name").replace("crop_size: 5", "crop_size: 6 scale: 0.5 mean_value: 104")
        + SCORE.replace("}\n", 'exclude { stage: "x" } }\n') + SCORE.replace('"score"', '"train"').replace(
            "}\n", "include { phase: TRAIN } }\n") + LOSS)
    made = deploy.make_deploy(net)
    assert names(made.text) == ["data", "score", "prob"] and made.inputs == [("data", (1, 3, 6, 6))]
    assert "include" not in made.text and "exclude" not in made.text and made.text.startswith("# both\n")
    assert made.transforms == {"data": "scale 0.5, mean_value 104"}
    assert "# data went through scale 0.5, mean_value 104 in training: for whoever fills this\n" in made.text


def test_stages(tmp_path):
    net = (CROP.replace("{ name", '{ include { stage: "val" } name') + SCORE + LOSS)
    assert names(deploy.make_deploy(net).text) == ["data", "score", "prob"]
    assert names(deploy.make_deploy(net, State("TEST", 0, ("val",))).text) == ["data", "score", "prob"]


def test_old_syntax_with_data(tmp_path):
    net = '''name: "old"
# the data
layers { name: "data" type: DATA top: "data" top: "label" data_param { source: "x" batch_size: 4 crop_size: 5 } }
layers { name: "score" type: INNER_PRODUCT bottom: "data" top: "score"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layers { name: "loss" type: SOFTMAX_LOSS bottom: "score" bottom: "label" }
'''
    made = deploy.make_deploy(net)
    loaded = net_of(made.text, tmp_path)
    assert loaded.blobs["data"].data.shape == (1, 3, 5, 5) and list(loaded.outputs) == ["prob"]
    assert "label" not in made.text and "layers" in made.text


def test_layers_in_a_list(tmp_path):
    net = "layer [" + ", ".join(part.replace("layer ", "", 1) for part in (CROP, SCORE, LOSS)) + "]"
    made = deploy.make_deploy(net)
    assert names(made.text) == ["data", "score", "prob"]
    assert list(net_of(made.text, tmp_path).outputs) == ["prob"]


@pytest.mark.parametrize("net, message", [
    ("", "expected a net"), (CROP + SCORE, "expected a loss, of which to tell"), (CROP + LOSS, "takes score, which no layer"),
    ("layer {", "line 1, column 8"), (CROP + SCORE + LOSS.replace("SoftmaxWithLoss", "InfogainLoss").replace(
        'bottom: "label"', ""), "bottoms")])
def test_errors(net, message):
    with pytest.raises(ValueError, match=message):
        deploy.make_deploy(net)


def test_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(u"%s" % (CROP + SCORE + LOSS))
    status, out, err = real_nets.tool("make_deploy.py", "net.prototxt", "-o", "deploy.prototxt")
    assert status == 0 and not err
    assert out.splitlines() == ["deploy.prototxt: takes data 1 x 3 x 5 x 5; gives prob (Softmax of score)",
                                "next: caffe.Net('deploy.prototxt', 'your.caffemodel', caffe.TEST)"]
    status, out, err = real_nets.tool("make_deploy.py", "net.prototxt")
    with open("deploy.prototxt") as file:
        assert status == 0 and not err and out == file.read()
    (tmp_path / "net.prototxt").write_text(u"%s" % (CROP + SCORE.replace("num_output: 3", "num_output: 0") + LOSS))
    status, out, err = real_nets.tool("make_deploy.py", "net.prototxt", "-o", "bad.prototxt")
    assert status == 2 and not out and len(err.splitlines()) == 1 and not os.path.exists("bad.prototxt")
    assert "net.prototxt: expected a net that Caffe makes when its losses are gone, got one with layer score: has no num_output" in err
    assert real_nets.tool("make_deploy.py", "nowhere")[2] == "make_deploy.py: error: nowhere: cannot be read: " \
        "No such file or directory\n"
