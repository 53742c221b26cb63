"""Losses out of Caffe's own layers beside native InfogainLoss and float64 loops, in a real caffe.Net."""
from __future__ import division, print_function

import itertools

import numpy as np
import pytest

import loops
import real_nets
from caffe_losses.formats.matrix_files import write_matrix
from caffe_prototxt.net import losses
from caffe_prototxt.net.nets import Net

caffe = pytest.importorskip("caffe")

from caffe import layers as L
from caffe_prototxt.netspec import native_layers, native_losses

# The types with a .cu file in Caffe's src/caffe/layers, as of the source of Debian 11's package (commit 99bd997 of
# August 2018) without Accuracy, Clip and Swish, which got theirs after tag 1.0 of April 2017.
WITH_CUDA = set("""AbsVal BNLL BatchNorm BatchReindex Bias Concat ContrastiveLoss Convolution Crop Deconvolution Dropout
    ELU Eltwise Embed EuclideanLoss Exp Filter HDF5Data HDF5Output Im2col InnerProduct LRN LSTM LSTMUnit Log MVN PReLU
    Pooling Power RNN ReLU Reduction Scale Sigmoid SigmoidCrossEntropyLoss Silence Slice Softmax SoftmaxWithLoss Split
    TanH Threshold Tile""".split())
WITHOUT_WORK = {"Reshape"}  # its top shares the data and the diff of its bottom, on a GPU too


def matrix_of(kind, n_classes):
    matrix = np.random.RandomState(1).rand(n_classes, n_classes).astype(np.float32)
    return matrix * (1 - np.eye(n_classes, dtype=np.float32)) if kind == "ExpectedCostLoss" else matrix


def labels_of(shape, axis, ignore_label, label_axes):
    """Labels, every third the ignored one, as N x spatial or (label_axes: all) N x 1 x spatial."""
    shape = list(shape)
    n_classes = shape[axis]
    shape[axis] = 1
    labels = np.random.RandomState(2).randint(0, n_classes, shape)
    if ignore_label is not None:
        labels.ravel()[::3] = ignore_label
    return labels if label_axes == "all" else np.squeeze(labels, axis)


def build(kind, scores, labels, matrix, source=None, head="", **options):
    """A net with the loss, and if its H is in the file `source` native InfogainLoss, each on a copy of the scores."""
    text = head + real_nets.input_layer(x=scores.shape, label=labels.shape) + real_nets.learned("x", "own")
    fragment, blobs = native_losses.native_fragment(kind, matrix, "own", **options)
    text += fragment
    if source:
        says = "".join(" %s: %s" % (name, options[name]) for name in ("ignore_label", "normalization")
                       if options.get(name) is not None)
        text += real_nets.learned("x", "other") + (
            'layer { name: "native" type: "InfogainLoss" bottom: "other" bottom: "label" top: "native" loss_weight: %g '
            'infogain_loss_param { source: "%s" axis: %d } loss_param { %s } }\n'
            % (options.get("loss_weight", 1), source, options.get("axis", 1), says))
    net = real_nets.net(text)
    fill(net, blobs)
    net.blobs["x"].data[...], net.blobs["label"].data[...] = scores, labels
    net.forward()
    net.backward()
    return net


def fill(net, blobs):
    for name, arrays in blobs.items():
        assert len(net.params[name]) == len(arrays)
        for blob, array in zip(net.params[name], arrays):
            assert blob.data.shape == array.shape and array.dtype == np.float32
            blob.data[...] = array


def check(found, expected, bound=2e-6):
    """Compare gradients relative to the largest."""
    assert np.abs(found - expected).max() <= bound * np.abs(expected).max()


LOOPS = {"SoftmaxWithInfogainLoss": loops.softmax_with_infogain, "ExpectedCostLoss": loops.expected_cost}
SHAPES = [((6, 5), 1, "few"), ((6, 5), -1, "few"), ((2, 5, 3, 4), 1, "few"), ((2, 5, 3, 4), 1, "all"),
          ((2, 3, 5, 2), 2, "few"), ((2, 2, 2, 5), 3, "all"), ((2, 3, 5), -1, "all")]
IGNORED = [None, 2, 255, -1]
NORMALIZATIONS = [None, "FULL", "BATCH_SIZE", "NONE"]


@pytest.mark.parametrize("scale", [3, 1e4])
@pytest.mark.parametrize("shape, axis, label_axes", SHAPES)
def test_loss_is_exact_and_gradient_is_native(tmp_path, shape, axis, label_axes, scale):
    source = str(tmp_path / "H.binaryproto")
    scores = real_nets.random_scores(shape, scale=scale)
    H = matrix_of("SoftmaxWithInfogainLoss", shape[axis])
    write_matrix(source, H)
    for ignore_label, normalization in itertools.product(IGNORED, NORMALIZATIONS):
        labels = labels_of(shape, axis, ignore_label, label_axes)
        net = build("SoftmaxWithInfogainLoss", scores, labels, H, source, axis=axis, ignore_label=ignore_label,
                    normalization=normalization, loss_weight=2.5)
        expected, gradient = loops.batch(loops.softmax_with_infogain, scores, labels, H, axis, ignore_label,
                                         normalization or "VALID")
        assert float(net.blobs["loss"].data) == pytest.approx(expected, rel=2e-6), (ignore_label, normalization)
        check(net.blobs["own"].diff, net.blobs["other"].diff)
        check(net.blobs["own"].diff, 2.5 * gradient)
        assert not net.blobs["label"].diff.any()


@pytest.mark.parametrize("scale", [3, 1e4])
@pytest.mark.parametrize("shape, axis, label_axes", SHAPES)
def test_expected_cost(shape, axis, label_axes, scale):
    scores = real_nets.random_scores(shape, scale=scale)
    D = matrix_of("ExpectedCostLoss", shape[axis])
    for ignore_label, normalization in itertools.product(IGNORED, NORMALIZATIONS):
        labels = labels_of(shape, axis, ignore_label, label_axes)
        net = build("ExpectedCostLoss", scores, labels, D, axis=axis, ignore_label=ignore_label,
                    normalization=normalization, loss_weight=2.5)
        expected, gradient = loops.batch(loops.expected_cost, scores, labels, D, axis, ignore_label,
                                         normalization or "VALID")
        assert float(net.blobs["loss"].data) == pytest.approx(expected, rel=2e-6), (ignore_label, normalization)
        # Where the softmax is 0 or 1 the gradient is 0, but for what rounding leaves of it.
        assert np.abs(net.blobs["own"].diff / 2.5 - gradient).max() <= 2e-6 * max(1e-3, np.abs(gradient).max())


@pytest.mark.parametrize("kind", sorted(LOOPS))
@pytest.mark.parametrize("shape, axis", [((4, 5), -1), ((2, 5, 2, 3), 1)])
def test_gradient_is_the_slope(kind, shape, axis):
    """Central differences of the net's own loss."""
    scores, labels = real_nets.random_scores(shape, scale=1), labels_of(shape, axis, 2, "few")
    net = build(kind, scores, labels, matrix_of(kind, 5), axis=axis, ignore_label=2, normalization="NONE")
    gradient, step = net.blobs["own"].diff.astype(float), 1e-2

    def loss(scores):
        net.blobs["x"].data[...] = scores
        return float(net.forward()["loss"])

    for i in np.ndindex(*shape):
        move = np.zeros(shape, np.float32)
        move[i] = step
        slope = (loss(scores + move) - loss(scores - move)) / (2 * step)
        assert slope == pytest.approx(gradient[i], abs=5e-4)


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("kind", sorted(LOOPS))
def test_all_ignored_and_no_class(kind, axis):
    """Without a label that counts loss and gradient are 0, and never NaN."""
    scores, matrix = real_nets.random_scores((4, 3), scale=1e4), matrix_of(kind, 3)
    for label, ignore_label in ((255, 255), (1, 1), (-1, 255), (-2 ** 31, None), (2 ** 31 - 1, 255), (3, None)):
        net = build(kind, scores, np.full(4, label), matrix, axis=axis, ignore_label=ignore_label)
        assert float(net.blobs["loss"].data) == 0 and not net.blobs["own"].diff.any()


def test_only_layers_with_cuda_code():
    for kind, axis, normalization in itertools.product(LOOPS, (1, 2, -1), ("VALID", "FULL", "BATCH_SIZE", "NONE")):
        net = caffe.NetSpec()
        net.x, net.label = L.Input(), L.Input()
        native_losses.NATIVE[kind](net, net.x, net.label, np.eye(3), ignore_label=255, normalization=normalization,
                                   axis=axis)
        layers = net.to_proto().layer[2:]
        assert set(layer.type for layer in layers) <= WITH_CUDA | WITHOUT_WORK
        assert all(layer.exclude[0].stage[0] == "deploy" for layer in layers)
        assert all(param.lr_mult == 0 and param.HasField("lr_mult") and param.decay_mult == 0
                   for layer in layers for param in layer.param)


@pytest.mark.parametrize("kind", sorted(LOOPS))
def test_force_backward_changes_no_gradient(kind):
    scores, labels, matrix = real_nets.random_scores((6, 5)), np.arange(6) % 5, matrix_of(kind, 5)
    for axis in (1, -1):
        expected = build(kind, scores, labels, matrix, axis=axis).blobs["own"].diff
        check(build(kind, scores, labels, matrix, axis=axis, head="force_backward: true\n").blobs["own"].diff, expected)


def test_labels_from_trained_layers_get_no_gradient():
    text = real_nets.input_layer(x=(6, 5), l=(6,)) + real_nets.learned("x", "own") + real_nets.learned("l", "label")
    fragment, blobs = native_losses.native_fragment("SoftmaxWithInfogainLoss", np.eye(5), "own")
    net = real_nets.net(text + fragment)
    fill(net, blobs)
    net.blobs["label"].diff[...] = 7
    net.forward()
    net.backward()
    assert (net.blobs["label"].diff == 7).all() and not net.params["label"][0].diff.any()
    assert not any(blob.diff.any() for name in blobs for blob in net.params[name])
    assert net.blobs["own"].diff.any() and not net.blobs["loss_max"].diff.any()


@pytest.mark.parametrize("axis", [1, -1])
def test_shapes_change_from_batch_to_batch(axis):
    """Every batch is as in a net of its own."""
    H = matrix_of("", 3)
    classes = dict(axis=axis, ignore_label=1)
    net = build("SoftmaxWithInfogainLoss", np.zeros((2, 3, 3)), np.zeros((2, 3)), H, **classes)
    for n, size in ((5, 3), (1, 7), (4, 2)):
        shape = (n, 3, size) if axis == 1 else (n, size, 3)
        scores, labels = real_nets.random_scores(shape), np.random.RandomState(n).randint(0, 3, (n, size))
        for blob, values in (("x", scores), ("label", labels)):
            net.blobs[blob].reshape(*values.shape)
            net.blobs[blob].data[...] = values
        net.forward()
        net.backward()
        alone = build("SoftmaxWithInfogainLoss", scores, labels, H, **classes)
        for blob in ("loss", "own"):
            assert (net.blobs[blob].data == alone.blobs[blob].data).all()
            assert (net.blobs[blob].diff == alone.blobs[blob].diff).all()


def test_rules_and_description():
    """Every layer has the rules of the loss that is replaced, and the last says what the loss is."""
    line = """layer { name: "loss3/top" type: "SoftmaxWithLoss" bottom: "x" bottom: "y" top: "loss3"
              include { phase: TRAIN stage: "a" not_stage: "b" stage: "c\303\273" }
              include { phase: 1 min_level: 2 } }"""
    layer, = Net(line).layers
    text, _ = native_losses.native_fragment(
        "SoftmaxWithInfogainLoss", np.eye(3), "x", "y", layer.name, layer.tops[0], layer.rules, ignore_label=255,
        normalization="BATCH_SIZE", axis=2, loss_weight=.3)
    layers = Net(text).layers
    assert len(layers) > 20 and all(made.include == layer.include and not made.exclude for made in layers)
    last = layers[-1]
    assert (last.name, last.tops, last.value("loss_weight")) == ("loss3/top", ["loss3"], .3)
    assert losses.read_params(last)[1:3] == (255, "BATCH_SIZE") and last.value_in("softmax_param", "axis") == 2
    names = [made.name for made in layers[:-1]]
    assert all(name.startswith("loss3/top_") for name in names) and len(set(names)) == len(names)


def test_weights_in_a_file(tmp_path):
    """Caffe reads what is written, of two losses in one file, and nothing else is left in the folder."""
    path, blobs = str(tmp_path / "loss.caffemodel"), {}
    text = real_nets.input_layer(x=(6, 3), y=(6, 3, 2, 2), label=(6,), label2=(6, 2, 2))
    for kind, score, label, name, axis in (("SoftmaxWithInfogainLoss", "x", "label", "loss", -1),
                                           ("ExpectedCostLoss", "y", "label2", u"co\xfbt/1", 1)):
        name = name if str is not bytes else name.encode("utf-8")
        fragment, more = native_losses.native_fragment(kind, matrix_of(kind, 3), score, label, name=name, axis=axis)
        text += fragment
        blobs.update(more)
    native_layers.write_weights(path, blobs)
    net = real_nets.net(text)
    net.copy_from(path)
    assert len(blobs) == 9
    for name, arrays in blobs.items():
        assert [blob.data.tobytes() for blob in net.params[name]] == [array.tobytes() for array in arrays]
    assert [entry.name for entry in tmp_path.iterdir()] == ["loss.caffemodel"]


def test_weights_that_are_too_many(tmp_path, monkeypatch):
    monkeypatch.setattr("caffe_losses.formats.caffemodel.MAX_BYTES", 100)
    with pytest.raises(ValueError, match="expected weights that fit into 2 GiB"):
        native_layers.write_weights(str(tmp_path / "loss.caffemodel"), {"loss": [np.ones(25, np.float32)]})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options, message", [
    (dict(matrix=np.ones((2, 3))), "H: expected a square matrix, got shape 2 x 3"),
    (dict(matrix=np.array([[1, np.nan], [0, 1]])), r"H at \(0, 1\): expected a finite number, got nan"),
    (dict(matrix=np.array([[1, 1e39], [0, 1]])), r"H as float32 at \(0, 1\): expected a finite number, got inf"),
    (dict(axis=-2), "axis: expected 1, 2 ..., or -1 for the last, got -2"),
    (dict(axis=0), "axis: expected 1, 2 ..., or -1 for the last, got 0"),
    (dict(axis=1.5), "axis: expected 1, 2 ..., or -1 for the last, got 1.5"),
    (dict(normalization="full"), "normalization: expected one of FULL, VALID, BATCH_SIZE, NONE, got full"),
    (dict(ignore_label=2.5), "ignore_label: expected a whole number of 32 bits, got 2.5"),
    (dict(ignore_label=2 ** 31), "ignore_label: expected a whole number of 32 bits, got 2147483648"),
    (dict(loss_weight=float("nan")), "loss_weight: expected a finite number, got nan"),
])
def test_bad_options(options, message):
    with pytest.raises(ValueError, match="^" + message):
        native_losses.native_fragment("SoftmaxWithInfogainLoss", **dict(dict(matrix=np.eye(3)), **options))
