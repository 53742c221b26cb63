"""Every loss layer in a real caffe.Net against its loop, and LabelCheck."""
from __future__ import division, print_function

import numpy as np
import pytest

import loops
import real_nets
from caffe_losses.functional.blocks import NORMALIZATIONS
from caffe_losses.formats.matrix_files import write_matrix

caffe = pytest.importorskip("caffe")

LOOPS = {"SoftmaxWithInfogainLoss": loops.softmax_with_infogain, "InfogainLoss": loops.infogain,
         "CostScaledSoftmaxLoss": loops.cost_scaled_softmax, "ExpectedCostLoss": loops.expected_cost}
# shape of the scores, class axis, shape of the labels
SHAPES = [((6, 4), 1, (6,)), ((4, 5), 0, (5,)), ((3, 2, 5), -1, (3, 2)), ((2, 3, 2, 2), 1, (2, 1, 2, 2))]


def blobs_for(layer, shape, axis, label_shape, ignore_label=None, seed=0):
    """Scores (or probabilities), labels and the matrix."""
    rng = np.random.RandomState(seed)
    matrix = rng.rand(shape[axis], shape[axis]).astype(np.float32)
    if "Cost" in layer:
        np.fill_diagonal(matrix, 0)
    labels = rng.randint(0, shape[axis], label_shape).astype(np.float32)
    if ignore_label is not None:
        labels[rng.rand(*label_shape) < .3] = ignore_label
    scores = rng.randn(*shape).astype(np.float32)
    if layer == "InfogainLoss":
        scores = np.exp(scores) / np.exp(scores).sum(axis=axis, keepdims=True)
    return scores, labels, matrix


def loss_net(layer, shape, label_shape, matrix, param=None, weight=1., phase="TRAIN", tops=("loss",), source=None):
    inputs = dict(x=shape, label=label_shape)
    if source is None:
        inputs["M"] = (1, 1) + matrix.shape
    bottoms = ["x1", "label"] + ([] if source else ["M"])
    param = dict(param or {}, **({"source": source} if source else {}))
    weights = "loss_weight: %g" % weight + " loss_weight: 0" * (len(tops) - 1)
    net = real_nets.net(real_nets.input_layer(**inputs) + real_nets.learned("x", "x1")
                        + real_nets.python_layer(layer, bottoms, list(tops), param, weights), phase)
    if source is None:
        net.blobs["M"].data[0, 0] = matrix
    return net


def feed(net, scores, labels):
    net.blobs["x"].data[...] = scores
    net.blobs["label"].data[...] = labels
    net.blobs["x1"].diff[...] = 7  # what was there is not added to
    net.forward()
    return float(net.blobs["loss"].data)


@pytest.mark.parametrize("layer", sorted(LOOPS))
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("ignore_label", [None, 255])
@pytest.mark.parametrize("shape, axis, label_shape", SHAPES)
def test_loop_and_central_differences(layer, shape, axis, label_shape, ignore_label, normalization):
    scores, labels, matrix = blobs_for(layer, shape, axis, label_shape, ignore_label)
    param = {"axis": axis, "normalization": normalization}
    if ignore_label is not None:
        param["ignore_label"] = ignore_label
    net = loss_net(layer, shape, label_shape, matrix, param, weight=2.5)
    loss = feed(net, scores, labels)
    net.backward()
    gradient = net.blobs["x1"].diff.copy()
    expected, expected_gradient = loops.batch(LOOPS[layer], scores, labels, matrix, axis, ignore_label, normalization)
    assert loss == pytest.approx(expected, rel=1e-6)
    scale = 2.5 * max(1, np.abs(expected_gradient).max())
    np.testing.assert_allclose(gradient, 2.5 * expected_gradient, atol=1e-6 * scale)

    step = 1e-2 if layer != "InfogainLoss" else 1e-4  # a probability is small, and must stay one
    for index in list(np.ndindex(*shape))[::5]:
        ends = []
        for sign in (1, -1):
            moved = scores.copy()
            moved[index] += sign * step
            ends.append(feed(net, moved, labels))
        assert gradient[index] == pytest.approx(2.5 * (ends[0] - ends[1]) / (2 * step), abs=4e-3 * scale, rel=.02)


@pytest.mark.parametrize("layer", sorted(LOOPS))
@pytest.mark.parametrize("ending", [".binaryproto", ".npy", ".csv"])
def test_matrix_from_a_file(tmp_path, layer, ending):
    scores, labels, matrix = blobs_for(layer, (6, 4), 1, (6,))
    write_matrix(str(tmp_path / ("M" + ending)), matrix)
    net = loss_net(layer, (6, 4), (6,), matrix, source=str(tmp_path / ("M" + ending)))
    loss = feed(net, scores, labels)
    net.backward()
    expected, gradient = loops.batch(LOOPS[layer], scores, labels, matrix)
    assert loss == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(net.blobs["x1"].diff, gradient, atol=2e-6 * max(1, np.abs(gradient).max()))


@pytest.mark.parametrize("layer", sorted(LOOPS))
def test_the_matrix_as_a_bottom_may_change(layer):
    scores, labels, matrix = blobs_for(layer, (6, 4), 1, (6,))
    net = loss_net(layer, (6, 4), (6,), matrix)
    for factor in (1, 2, 1):
        net.blobs["M"].data[0, 0] = factor * matrix
        assert feed(net, scores, labels) == pytest.approx(
            loops.batch(LOOPS[layer], scores, labels, factor * matrix)[0], rel=1e-6)


@pytest.mark.parametrize("shape", [(6, 4), (64, 100), (3, 21, 5, 17)])
@pytest.mark.parametrize("as_bottom", [False, True])
def test_a_diagonal_matrix_is_native_s(tmp_path, shape, as_bottom):
    rng = np.random.RandomState(4)
    weights = rng.rand(shape[1]).astype(np.float32) * (rng.rand(shape[1]) < .7)
    label_shape, H = shape[:1] + shape[2:], np.diag(weights)
    inputs = dict(x=shape, label=label_shape, M=(1, 1) + H.shape)
    write_matrix(str(tmp_path / "H.npy"), H)
    text = real_nets.input_layer(**inputs) + real_nets.learned("x", "x1") + real_nets.learned("x", "x2")
    text += real_nets.python_layer(
        "SoftmaxWithInfogainLoss", ["x1", "label"] + ["M"] * as_bottom, ["loss"],
        dict({} if as_bottom else {"source": str(tmp_path / "H.npy")}, ignore_label=1), "loss_weight: 1")
    text += ('layer { name: "native" type: "InfogainLoss" bottom: "x2" bottom: "label" bottom: "M" top: "native" '
             'loss_param { ignore_label: 1 } }')
    net = real_nets.net(text)
    net.blobs["M"].data[0, 0] = H
    loss = feed(net, rng.randn(*shape) * 3, rng.randint(0, shape[1], label_shape))
    net.backward()
    assert loss == pytest.approx(float(net.blobs["native"].data), rel=1e-5)
    np.testing.assert_allclose(net.blobs["x1"].diff, net.blobs["x2"].diff, atol=1e-7)


@pytest.mark.parametrize("layer", ["SoftmaxWithInfogainLoss", "InfogainLoss"])
def test_a_bottom_may_be_diagonal_and_not(layer):
    scores, labels, matrix = blobs_for(layer, (6, 4), 1, (6,))
    net = loss_net(layer, (6, 4), (6,), matrix)
    for H in (np.eye(4), np.eye(4), matrix, 2 * np.eye(4), np.diag([1, 0, 2, 3]), matrix):
        net.blobs["M"].data[0, 0] = H
        assert feed(net, scores, labels) == pytest.approx(loops.batch(LOOPS[layer], scores, labels, H)[0], rel=1e-6)


@pytest.mark.parametrize("entry, value, message", [
    ((2, 1), np.nan, r"at \(2, 1\): expected a finite number, got nan"),
    ((2, 2), np.nan, r"at \(2, 2\): expected a finite number, got nan"),
    ((2, 2), np.inf, r"at \(2, 2\): expected a finite number, got inf")])
def test_a_bad_entry_of_a_matrix_that_was_diagonal(entry, value, message):
    scores, labels, _ = blobs_for("SoftmaxWithInfogainLoss", (6, 4), 1, (6,))
    net = loss_net("SoftmaxWithInfogainLoss", (6, 4), (6,), np.eye(4))
    feed(net, scores, labels)
    net.blobs["M"].data[0, 0][entry] = value
    with pytest.raises(ValueError, match=message):
        feed(net, scores, labels)


def test_negative_diagonals(capfd):
    scores, labels, _ = blobs_for("SoftmaxWithInfogainLoss", (6, 4), 1, (6,))
    net = loss_net("SoftmaxWithInfogainLoss", (6, 4), (6,), np.eye(4))
    for _ in range(2):
        H = np.diag([1, -.5, 2, 3])
        net.blobs["M"].data[0, 0] = H
        assert feed(net, scores, labels) == pytest.approx(
            loops.batch(loops.softmax_with_infogain, scores, labels, H)[0], rel=1e-6)
    assert capfd.readouterr().err.count("H has 1 negative entries, the smallest -0.5") == 1
    net.blobs["M"].data[0, 0] = -np.eye(4)
    with pytest.raises(ValueError, match="expected at least one positive entry, got none"):
        feed(net, scores, labels)


@pytest.mark.parametrize("layer", sorted(LOOPS))
def test_a_test_net_gives_gradients_too(layer):
    scores, labels, matrix = blobs_for(layer, (6, 4), 1, (6,), ignore_label=9)
    results = []
    for phase in ("TRAIN", "TEST"):
        net = loss_net(layer, (6, 4), (6,), matrix, {"ignore_label": 9}, phase=phase)
        loss = feed(net, scores, labels)
        net.backward()
        results.append((loss, net.blobs["x1"].diff.copy()))
    assert results[0][0] == results[1][0]
    np.testing.assert_array_equal(results[0][1], results[1][1])


@pytest.mark.parametrize("layer", sorted(set(LOOPS) - {"InfogainLoss"}))
def test_probabilities_as_second_top(layer):
    shape = (2, 4, 3, 2)
    scores, labels, matrix = blobs_for(layer, shape, 1, (2, 3, 2), ignore_label=255)
    net = loss_net(layer, shape, (2, 3, 2), matrix, {"ignore_label": 255}, tops=("loss", "p"))
    feed(net, scores, labels)
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(net.blobs["p"].data, p, rtol=1e-5)
    net.blobs["x"].reshape(5, 4, 1, 1)
    net.blobs["label"].reshape(5, 1, 1)
    feed(net, 0, 0)
    np.testing.assert_allclose(net.blobs["p"].data, np.full((5, 4, 1, 1), .25))


def test_softmax_before_infogain_is_softmax_with_infogain():
    """Two layers in a chain, as in a net of before April 2017, are our one."""
    text = real_nets.input_layer(x=(6, 4), label=(6,), M=(1, 1, 4, 4)) + real_nets.learned("x", "x1")
    text += 'layer { name: "p" type: "Softmax" bottom: "x1" top: "p" }'
    text += real_nets.python_layer("InfogainLoss", ["p", "label", "M"], ["loss"], {}, "loss_weight: 1")
    net = real_nets.net(text)
    scores, labels, matrix = blobs_for("SoftmaxWithInfogainLoss", (6, 4), 1, (6,))
    net.blobs["M"].data[0, 0] = matrix
    loss = feed(net, scores, labels)
    net.backward()
    expected, gradient = loops.batch(loops.softmax_with_infogain, scores, labels, matrix)
    assert loss == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(net.blobs["x1"].diff, gradient, atol=1e-6)


def test_infogain_refuses_scores():
    _, labels, matrix = blobs_for("InfogainLoss", (6, 4), 1, (6,))
    net = loss_net("InfogainLoss", (6, 4), (6,), matrix)
    with pytest.raises(ValueError, match=r"InfogainLoss: bottom\[0\] \(scores\) at .*: expected a probability"):
        feed(net, np.full((6, 4), 3), labels)


@pytest.mark.parametrize("layer", ["CostScaledSoftmaxLoss", "ExpectedCostLoss"])
def test_a_gain_is_no_cost(layer):
    scores, labels, matrix = blobs_for(layer, (6, 4), 1, (6,))
    net = loss_net(layer, (6, 4), (6,), np.eye(4))
    with pytest.raises(ValueError, match=r"%s: bottom\[2\] \(D\) at \(0, 0\): expected a cost matrix, with 0 on "
                                         r"the diagonal, got 1" % layer):
        feed(net, scores, labels)
    net.blobs["M"].data[0, 0] = -matrix
    with pytest.raises(ValueError, match="expected a cost of at least 0, got -"):
        feed(net, scores, labels)


def test_train_and_test_nets_of_different_shapes(tmp_path):
    """One solver, batches of 5 in training and of 3 in testing."""
    net_path, solver_path = tmp_path / "net.prototxt", tmp_path / "solver.prototxt"
    text = "".join(
        'layer { name: "data" type: "DummyData" top: "x" top: "label" include { phase: %s } dummy_data_param {'
        ' shape { dim: %d dim: 4 } shape { dim: %d } data_filler { type: "gaussian" } data_filler { value: 2 } } }\n'
        % (phase, n, n) for phase, n in (("TRAIN", 5), ("TEST", 3)))
    text += 'layer { name: "x1" type: "InnerProduct" bottom: "x" top: "x1" inner_product_param { num_output: 4' \
            ' weight_filler { type: "xavier" } } }\n'
    write_matrix(str(tmp_path / "H.npy"), np.eye(4) + .1)
    text += real_nets.python_layer("SoftmaxWithInfogainLoss", ["x1", "label"], ["loss"],
                                   {"source": str(tmp_path / "H.npy")}, "loss_weight: 1")
    net_path.write_text(u"%s" % text)
    solver_path.write_text(u'net: "%s" base_lr: .5 lr_policy: "fixed" test_iter: 2 test_interval: 3 display: 0'
                           u' max_iter: 20 snapshot_after_train: false' % net_path)
    solver = caffe.SGDSolver(str(solver_path))
    solver.step(1)
    first = float(solver.net.blobs["loss"].data)
    solver.step(30)
    assert float(solver.net.blobs["loss"].data) < first
    assert solver.test_nets[0].blobs["x1"].shape[0] == 3


@pytest.mark.parametrize("shape", [(256, 1000), (10, 21, 100, 100)])
@pytest.mark.scores
def test_large_blobs_are_exact_where_native_is_not(shape):
    """Native sums in float32, over all positions."""
    rng = np.random.RandomState(0)
    inputs = dict(x=shape, label=shape[:1] + shape[2:], M=(1, 1, shape[1], shape[1]))
    text = real_nets.input_layer(**inputs) + real_nets.learned("x", "x1") + real_nets.learned("x", "x2")
    text += real_nets.python_layer("SoftmaxWithInfogainLoss", ["x1", "label", "M"], ["loss"], {}, "loss_weight: 1")
    text += 'layer { name: "native" type: "InfogainLoss" bottom: "x2" bottom: "label" bottom: "M" top: "native" }'
    net = real_nets.net(text)
    matrix = rng.rand(shape[1], shape[1]).astype(np.float32)
    net.blobs["M"].data[0, 0] = matrix
    scores, labels = (rng.randn(*shape) * 3).astype(np.float32), rng.randint(0, shape[1], inputs["label"])
    loss = feed(net, scores, labels)
    net.backward()
    expected, gradient = loops.batch(loops.softmax_with_infogain, scores, labels, matrix)
    assert loss == pytest.approx(expected, rel=1e-6)
    assert abs(float(net.blobs["native"].data) / expected - 1) > 2e-6
    np.testing.assert_allclose(net.blobs["x1"].diff, gradient, rtol=1e-4, atol=1e-6 * np.abs(gradient).max())
    np.testing.assert_allclose(net.blobs["x1"].diff, net.blobs["x2"].diff, atol=1e-5)


# LabelCheck

def label_check(labels, param, in_place=False):
    text = real_nets.input_layer(x=(4, 3), label=np.shape(labels)) + real_nets.learned("x", "x1")
    top = "label" if in_place else "checked"
    text += real_nets.python_layer("LabelCheck", ["label"], [top], param, name="check")
    text += 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "x1" bottom: "%s" top: "loss"' % top
    net = real_nets.net(text + " loss_param { ignore_label: 255 } }")
    net.blobs["label"].data[...] = labels
    net.forward()
    net.backward()
    return net.blobs[top].data.copy()


@pytest.mark.parametrize("in_place", [False, True])
def test_label_check_passes_labels(in_place):
    labels = [[0], [2], [255], [1]]
    np.testing.assert_array_equal(label_check(labels, {"n_classes": 3, "ignore_label": 255}, in_place), labels)


@pytest.mark.parametrize("bad", [3, -1, 255, 1.5, np.nan, np.inf])
def test_label_check_stops_at_the_first_bad_one(bad, capfd):
    with pytest.raises(ValueError, match=r"LabelCheck: bottom\[0\] \(labels\) at \(2\): expected a whole number 0..2,"):
        label_check([0, 1, bad, -5], {"n_classes": 3})
    assert capfd.readouterr().err.startswith("LabelCheck: bottom[0] (labels) at (2)")
