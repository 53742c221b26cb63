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
    ("", "expected a net"), (CROP + SCORE, "expected a loss, of which to tell.*--blob BLOB"), (CROP + LOSS, "takes score, which no layer"),
    ("layer {", "line 1, column 8"), (CROP + SCORE + LOSS.replace("SoftmaxWithLoss", "InfogainLoss").replace(
        'bottom: "label"', ""), "bottoms")])
def test_errors(net, message):
    with pytest.raises(ValueError, match=message):
        deploy.make_deploy(net)


ONLY_TRAIN = CROP.replace("{ name", "{ include { phase: TRAIN } name")


@pytest.mark.parametrize("net", [
    ONLY_TRAIN + SCORE + LOSS,
    ONLY_TRAIN + SCORE + LOSS.replace("{", "{ include { phase: TRAIN }"),
    "".join(part.replace("{", "{ include { phase: TRAIN }", 1) for part in (CROP, SCORE, LOSS)),
    ONLY_TRAIN.replace('top: "data"', 'top: "both"') + 'layer { name: "half" type: "Slice" bottom: "both" top: "data" top: "rest" '
    'include { phase: TRAIN } slice_param { slice_point: 1 } }\n' + SCORE + LOSS])
def test_data_of_train_alone(tmp_path, net):
    made = deploy.make_deploy(net)
    loaded = net_of(made.text, tmp_path)
    assert [shape for _, shape in made.inputs] == [(1, 3, 5, 5)] and set(loaded.outputs) == set(top for top, _ in made.outputs)
    assert made.outputs[0][0] == "prob" and "is that of TRAIN, as TEST has none" in made.notes[1]
    assert [top for top, _ in made.outputs[1:]] == (["rest"] if "rest" in net else [])
    test_data = 'layer { name: "t" type: "Input" top: "data" include { phase: TEST } input_param { shape { dim: 2 dim: 5 } } }\n'
    assert deploy.make_deploy(test_data + net).inputs == [("data", (2, 5))]


OWN = 'input: "data" input: "depth" input: "label"\n'
DIMS, OWN_SHAPES = ["".join(text % size for size in (1, 2, 3)) for text in (
    "input_dim: 4 input_dim: %d input_dim: 5 input_dim: 5 # of it\n", "input_shape { dim: 4 dim: %d dim: 5 dim: 5 }\n")]
TWO = SCORE.replace('"data"', '"both"') + LOSS
CONCAT = 'layer { name: "both" type: "Concat" bottom: "data" bottom: "depth" top: "both" }\n'


@pytest.mark.parametrize("own", [OWN + DIMS, OWN + OWN_SHAPES, 'input: ["data", "depth", "label"]\n' + DIMS])
def test_inputs_of_the_net_take_shapes(tmp_path, own):
    def shapes(**options):
        made = deploy.make_deploy(own + CONCAT + TWO, **options)
        loaded = net_of(made.text, tmp_path)
        assert made.inputs == [(name, tuple(loaded.blobs[name].shape)) for name in loaded.inputs]
        return dict(made.inputs)

    assert shapes() == {"data": (4, 1, 5, 5), "depth": (4, 2, 5, 5)}
    assert shapes(batch=7) == {"data": (7, 1, 5, 5), "depth": (7, 2, 5, 5)}
    assert shapes(shapes={"depth": (4, 6, 5, 5)}) == {"data": (4, 1, 5, 5), "depth": (4, 6, 5, 5)}
    five = {name: (2, 3, 1, 5, 5) for name in ("data", "depth")}
    assert shapes(shapes=five) == five
    one = deploy.make_deploy(own + SCORE + LOSS)
    assert one.inputs == [("data", (4, 1, 5, 5))] and list(net_of(one.text, tmp_path).inputs) == ["data"]


def test_inputs_without_a_shape(tmp_path):
    with pytest.raises(ValueError, match="expected --shape data=N,C,H,W, as the net's input of this name has no shape"):
        deploy.make_deploy(OWN + SCORE + LOSS)
    made = deploy.make_deploy(OWN + SCORE + LOSS, shapes={"data": (1, 5)})
    assert tuple(net_of(made.text, tmp_path).blobs["data"].shape) == (1, 5)
    two = CROP.replace('type: "Data"', 'type: "Python"').replace('top: "label"', 'top: "depth" top: "label"')
    for kind in (two, two.replace("Python", "ImageAndDepth")):
        with pytest.raises(ValueError, match="layer data: expected --shape depth=N,C,H,W"):
            deploy.make_deploy(kind + CONCAT + TWO, shapes={"data": (1, 3, 5, 5)})
    made = deploy.make_deploy(CROP.replace('"label"', '"depth"') + 'layer { name: "both" type: "Concat" bottom: "depth" '
                              'bottom: "depth" top: "both" concat_param { axis: 0 } }\n' + TWO.replace("data", "depth"))
    assert made.inputs == [("depth", (1,))]  # the labels of a Data layer


@pytest.mark.parametrize("top, shape, message", [
    ("dat", (1, 1, 28, 28), "--shape: expected an input of the deployed net \\(data\\), got dat"),
    ("label", (1,), "expected an input of the deployed net \\(data\\), got label"),
    ("data", (28, 28), "--shape data: expected at least 4 numbers, as layer conv \\(Convolution\\) takes so many, got 2"),
    ("data", (1, 28, 28), "--shape data: expected at least 4 numbers, as layer conv")])
@pytest.mark.parametrize("scale", ["", 'layer { name: "x" type: "Power" bottom: "data" top: "data" }\n'])
def test_shapes_that_cannot_be(top, shape, message, scale):
    conv = 'layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 2 kernel_size: 3 } }\n'
    with pytest.raises(ValueError, match=message):
        deploy.make_deploy(CROP + scale + conv + SCORE.replace('"data"', '"conv"') + LOSS, shapes={top: shape})
    own = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 dim: 3 } } }\n'
    with pytest.raises(ValueError, match="--shape data: expected at least 3 numbers, as its shape in the net has, got 2"):
        deploy.make_deploy(own + SCORE + LOSS, shapes={"data": (1, 2)})


@pytest.mark.parametrize("more, is_assumed", [
    ("", True), ("force_gray: true", False), ("force_color: true", False), ("mean_value: 104 mean_value: 117 mean_value: 123", False)])
def test_assumed_channels_are_told(more, is_assumed):
    made = deploy.make_deploy(CROP.replace("crop_size: 5", "crop_size: 5 " + more) + SCORE + LOSS)
    assert ("3 channels are assumed" in "".join(made.notes)) == is_assumed


def test_several_heads_and_unused_tops_are_told(tmp_path):
    net = CROP + 'layer { name: "s" type: "Slice" bottom: "data" top: "a" top: "b" slice_param { slice_point: 1 } }\n' + SCORE.replace(
        '"data"', '"a"') + LOSS
    made = deploy.make_deploy(net)
    assert made.outputs == [("prob", "Softmax of score"), ("b", "top of s that no layer takes")]
    assert set(net_of(made.text, tmp_path).outputs) == {"prob", "b"}
    made = deploy.make_deploy(net + SCORE.replace('"score"', '"more"') + LOSS.replace('"score"', '"more"').replace('"loss"', '"aux"'))
    assert made.notes[1] == "the net has several losses, and gives the output of each: aux, loss; --loss NAME keeps one"


ANNOTATED = ('layer { name: "data" type: "AnnotatedData" top: "data" top: "label" %s transform_param { resize_param { prob: 1 '
             'resize_mode: WARP height: 30 width: 40 } } data_param { source: "%s" batch_size: 8 backend: LMDB } }\n')
MULTIBOX = ('layer { name: "mbox_loss" type: "MultiBoxLoss" bottom: "score" bottom: "conf" bottom: "prior" bottom: "label" '
            'top: "mbox_loss" %s }\n')


def test_ssd_has_to_say_its_outputs(tmp_path):
    train = "include { phase: TRAIN }"
    detection = 'layer { name: "out" type: "DetectionOutput" bottom: "score" top: "out" include { phase: TEST } }\n'
    for net in (ANNOTATED % ("", "x") + SCORE + MULTIBOX % "", ANNOTATED % ("", "x") + SCORE + MULTIBOX % train + detection,
                CROP + SCORE + LOSS.replace("SoftmaxWithLoss", "FocalLoss").replace("{", "{" + train)):
        with pytest.raises(ValueError, match="expected a loss of a known kind.*--blob BLOB"):
            deploy.make_deploy(net)
    made = deploy.make_deploy(ANNOTATED % (train, "x") + SCORE + MULTIBOX % train + detection, outputs=["out"])
    assert made.inputs == [("data", (1, 3, 30, 40))] and names(made.text.replace("DetectionOutput", "Power")) == ["data", "score", "out"]
    import lmdb
    datum = caffe.proto.caffe_pb2.Datum(channels=1, height=5, width=7, data=bytes(35)).SerializeToString()
    with lmdb.open(str(tmp_path / "lmdb"), map_size=2 ** 20).begin(write=True) as transaction:
        transaction.put(b"0", b"\x0a" + bytes(bytearray([len(datum)])) + datum + b"\x10\x01")
    data = ANNOTATED % ("", tmp_path / "lmdb")
    for text, shape in ((data, (1, 1, 30, 40)), (data.replace("WARP", "FIT_SMALL_SIZE"), (1, 1, 5, 7))):
        assert deploy.make_deploy(text + SCORE + LOSS).inputs == [("data", shape)]


@pytest.mark.parametrize("python", [True, False])
@pytest.mark.parametrize("options", [{}, {"norm": "squared_l2"}, {"form": "log"}])
def test_the_embedding_of_a_triplet_net(tmp_path, python, options):
    from caffe_prototxt.netspec.triplet_layers import triplet_fragment
    fc7 = SCORE.replace("score", "fc7") + SCORE.replace('"data"', '"fc7"').replace("score", "norm")
    made = deploy.make_deploy(CROP + fc7 + triplet_fragment(
        embedding="norm", label="label", select={"strategy": "all", "count": True}, python=python, **options))
    assert made.outputs == [("norm", "InnerProduct")] and names(made.text) == ["data", "fc7", "norm"]
    sliced = 'layer { name: "apart" type: "Slice" bottom: "three" top: "anchor" top: "positive" top: "negative" }\n'
    trunk = fc7 + 'layer { name: "three" type: "Reshape" bottom: "norm" top: "three" reshape_param { shape { dim: -1 dim: 3 } ' \
        "num_axes: 1 } }\n"
    made = deploy.make_deploy(CROP + trunk + sliced + triplet_fragment(python=python, **options))
    assert made.outputs == [("norm", "InnerProduct")] and names(made.text) == ["data", "fc7", "norm"]
    assert net_of(made.text, tmp_path).outputs == ["norm"]


def test_a_net_that_ends_in_a_softmax(tmp_path):
    softmax = 'layer { name: "p" type: "Softmax" bottom: "score" top: "p" }\n'
    made = deploy.make_deploy(CROP + SCORE + softmax + 'layer { name: "a" type: "Accuracy" bottom: "p" bottom: "label" top: "a" }\n')
    assert made.outputs == [("p", "Softmax")] and names(made.text) == ["data", "score", "p"]
    assert deploy.make_deploy(made.text).text == made.text
