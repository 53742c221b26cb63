"""The layers in a real caffe.Net, beside Caffe's own where it has one."""
from __future__ import division, print_function

import os
from math import log

import numpy as np
import pytest

import loops
import real_nets
from caffe_losses.functional.blocks import NORMALIZATIONS
from caffe_losses.formats.matrix_files import write_matrix

caffe = pytest.importorskip("caffe")

NO_GRADIENT = "propagate_down: true propagate_down: false"


def random_h(n_classes, seed=0):
    return np.random.RandomState(seed).rand(n_classes, n_classes).astype(np.float32)


def label_shape(shape, axis):
    return [n for a, n in enumerate(shape) if a != axis % len(shape)]


def random_labels(shape, axis=1, ignore_label=None, seed=0):
    rng = np.random.RandomState(seed)
    labels = rng.randint(0, shape[axis], label_shape(shape, axis)).astype(np.float32)
    if ignore_label is not None:
        labels[rng.rand(*labels.shape) < .3] = ignore_label
    return labels


def loss_params(normalization=None, ignore_label=None):
    found = ["normalization: " + normalization] if normalization else []
    found += ["ignore_label: %d" % ignore_label] if ignore_label is not None else []
    return "loss_param { %s }" % " ".join(found)


def side_by_side(shape, axis=1, ignore_label=None, normalization="VALID", label_dims=None, weight=1):
    """A net with native SoftmaxWithLoss, native InfogainLoss and ours on the same blobs."""
    ours = {"axis": axis, "normalization": normalization}
    if ignore_label is not None:
        ours["ignore_label"] = ignore_label
    text = real_nets.input_layer(x=shape, label=label_dims or label_shape(shape, axis),
                                 H=[1, 1, shape[axis], shape[axis]])
    text += "".join(real_nets.learned("x", top) for top in ("x_softmax", "x_native", "x_ours"))
    common = loss_params(normalization, ignore_label) + " loss_weight: %g" % weight
    text += """
    layer { name: "softmax" type: "SoftmaxWithLoss" bottom: "x_softmax" bottom: "label" top: "softmax"
            softmax_param { axis: %d } %s }
    layer { name: "native" type: "InfogainLoss" bottom: "x_native" bottom: "label" bottom: "H" top: "native"
            top: "native_p" infogain_loss_param { axis: %d } %s loss_weight: 0 }
    """ % (axis, common, axis, common)
    text += real_nets.python_layer("SoftmaxWithInfogainLoss", ["x_ours", "label", "H"], ["ours", "ours_p"],
                                   ours, "loss_weight: %g loss_weight: 0" % weight)
    return real_nets.net(text)


def fill(net, **blobs):
    for name, values in blobs.items():
        net.blobs[name].data[...] = np.reshape(values, net.blobs[name].data.shape)


def run(net):
    """Forward and backward, over diffs that something was left in."""
    for name in net.blobs:
        if name.startswith("x"):
            net.blobs[name].diff[...] = 7
    net.forward()
    net.backward()


CASES = [((64, 10), 1, None), ((4, 2, 5, 2), 2, None), ((2, 21, 50, 50), 1, 255), ((3, 2, 5), -1, -1),
         ((2, 3, 2, 3, 2), 1, 1)]


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("shape, axis, ignore_label", CASES)
@pytest.mark.scores
def test_parity_with_native_and_the_loop(shape, axis, ignore_label, normalization):
    net = side_by_side(shape, axis, ignore_label, normalization)
    x, labels = real_nets.random_scores(shape), random_labels(shape, axis, ignore_label)
    H = random_h(shape[axis])
    fill(net, x=x, label=labels, H=H)
    run(net)
    loss, gradient = loops.batch(loops.softmax_with_infogain, x, labels, H, axis, ignore_label, normalization)
    assert float(net.blobs["ours"].data) == pytest.approx(loss, rel=1e-6)
    assert float(net.blobs["native"].data) == pytest.approx(loss, rel=1e-4)
    scale = max(1, np.abs(gradient).max())  # with NONE a gradient is as large as its row of H
    np.testing.assert_allclose(net.blobs["x_ours"].diff, net.blobs["x_native"].diff, atol=1e-6 * scale)
    np.testing.assert_allclose(net.blobs["x_ours"].diff, gradient, atol=1e-6 * scale)
    np.testing.assert_allclose(net.blobs["ours_p"].data, net.blobs["native_p"].data, atol=1e-6)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("shape, axis, ignore_label", CASES)
@pytest.mark.scores
def test_identity_is_softmax_with_loss(shape, axis, ignore_label, normalization):
    net = side_by_side(shape, axis, ignore_label, normalization)
    fill(net, x=real_nets.random_scores(shape), label=random_labels(shape, axis, ignore_label),
         H=np.eye(shape[axis]))
    run(net)
    assert float(net.blobs["ours"].data) == pytest.approx(float(net.blobs["softmax"].data), rel=1e-5)
    np.testing.assert_allclose(net.blobs["x_ours"].diff, net.blobs["x_softmax"].diff, atol=1e-6)


@pytest.mark.parametrize("shape, axis, ignore_label", [c for c in CASES if np.prod(c[0]) < 1000])
@pytest.mark.parametrize("weight", [1, 2.5])
@pytest.mark.scores
def test_central_differences(shape, axis, ignore_label, weight):
    net = side_by_side(shape, axis, ignore_label, weight=weight)
    x = real_nets.random_scores(shape, scale=1)
    fill(net, x=x, label=random_labels(shape, axis, ignore_label), H=random_h(shape[axis]))
    run(net)
    gradient = net.blobs["x_ours"].diff.copy()
    step = .01
    for index in list(np.ndindex(*shape))[::3]:
        ends = []
        for sign in (1, -1):
            net.blobs["x"].data[...] = x
            net.blobs["x"].data[index] += sign * step
            net.forward()
            ends.append(weight * float(net.blobs["ours"].data))
        assert gradient[index] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=2e-3)


@pytest.mark.parametrize("dims", [(2, 3, 4), (2, 1, 3, 4), (2, 12)])
@pytest.mark.scores
def test_label_shapes_that_native_takes(dims):
    shape = (2, 5, 3, 4)
    net = side_by_side(shape, label_dims=dims)
    fill(net, x=real_nets.random_scores(shape), label=random_labels(shape), H=random_h(5))
    run(net)
    assert float(net.blobs["ours"].data) == pytest.approx(float(net.blobs["native"].data), rel=1e-5)


def test_classes_on_axis_0():
    x, labels = real_nets.random_scores((4, 6)), random_labels((4, 6), 0)  # native takes no axis 0
    net = ours_net((4, 6), {"axis": 0}, labels=(6,), h_shape=(1, 1, 4, 4))
    fill(net, x=x, label=labels, H=random_h(4))
    run(net)
    loss, gradient = loops.batch(loops.softmax_with_infogain, x, labels, random_h(4), axis=0)
    assert float(net.blobs["loss"].data) == pytest.approx(loss, rel=1e-6)
    np.testing.assert_allclose(net.blobs["x1"].diff, gradient, atol=1e-6)


def test_normalize_is_the_old_form_of_normalization():
    x, labels = real_nets.random_scores((4, 3, 2)), random_labels((4, 3, 2), ignore_label=9, seed=1)
    for param, normalization in [({"normalize": True}, "VALID"), ({"normalize": False}, "BATCH_SIZE"), ({}, "VALID"),
                                 ({"normalize": False, "normalization": "NONE"}, "NONE")]:
        net = ours_net((4, 3, 2), dict(param, ignore_label=9))
        fill(net, x=x, label=labels, H=random_h(3))
        run(net)
        loss, _ = loops.batch(loops.softmax_with_infogain, x, labels, random_h(3), 1, 9, normalization)
        assert float(net.blobs["loss"].data) == pytest.approx(loss, rel=1e-6)


def ours_net(shape, param=None, bottoms=("x1", "label", "H"), more="loss_weight: 1", h_shape=None,
             labels=None, head=""):
    """A net with our loss of x; labels and H have the shapes for axis 1 unless given."""
    inputs = {"x": shape, "label": labels or label_shape(shape, 1)}
    if "H" in bottoms:
        inputs["H"] = h_shape or [1, 1, shape[1], shape[1]]
    return real_nets.net(head + real_nets.input_layer(**inputs) + real_nets.learned("x", "x1")
                         + real_nets.python_layer("SoftmaxWithInfogainLoss", bottoms, ["loss"], param, more))


@pytest.mark.parametrize("ending", [".binaryproto", ".npy", ".csv"])
@pytest.mark.scores
def test_h_from_a_file(tmp_path, ending):
    source = str(tmp_path / ("H" + ending))
    write_matrix(source, random_h(4))
    text = real_nets.input_layer(x=(6, 4), label=(6,)) + real_nets.learned("x", "x1")
    text += real_nets.python_layer("InfogainMatrix", [], ["H"], {"source": source})
    text += real_nets.python_layer("SoftmaxWithInfogainLoss", ["x1", "label"], ["by_file"],
                                   {"source": source}, "loss_weight: 1")
    text += real_nets.python_layer("SoftmaxWithInfogainLoss", ["x1", "label", "H"], ["by_bottom"], {},
                                   "loss_weight: 1")
    text += ('layer { name: "native" type: "InfogainLoss" bottom: "x1" bottom: "label" bottom: "H"'
             ' top: "native" }')
    net = real_nets.net(text)
    x, labels = real_nets.random_scores((6, 4)), random_labels((6, 4))
    fill(net, x=x, label=labels)
    run(net)
    np.testing.assert_array_equal(net.blobs["H"].data[0, 0], random_h(4))
    loss, gradient = loops.batch(loops.softmax_with_infogain, x, labels, random_h(4))
    for top in ("by_file", "by_bottom", "native"):
        assert float(net.blobs[top].data) == pytest.approx(loss, rel=1e-6)
    np.testing.assert_allclose(net.blobs["x1"].diff, 3 * gradient, atol=1e-6)  # three losses, summed


def test_infogain_matrix_survives_a_layer_in_place(tmp_path):
    write_matrix(str(tmp_path / "H.npy"), random_h(3))
    net = real_nets.net(
        real_nets.python_layer("InfogainMatrix", [], ["H"], {"source": str(tmp_path / "H.npy")})
        + 'layer { name: "twice" type: "Power" bottom: "H" top: "H" power_param { scale: 2 } }')
    for _ in range(3):
        net.forward()
        np.testing.assert_allclose(net.blobs["H"].data[0, 0], 2 * random_h(3))


@pytest.mark.scores
def test_shapes_change_at_every_iteration():
    net = side_by_side((4, 3, 2), ignore_label=7)
    for n, inner in [(4, 2), (1, 5), (9, 1), (4, 2), (2, 3)]:
        shape = (n, 3, inner)
        net.blobs["x"].reshape(*shape)
        net.blobs["label"].reshape(n, inner)
        x, labels = real_nets.random_scores(shape, n), random_labels(shape, ignore_label=7, seed=n)
        fill(net, x=x, label=labels, H=random_h(3))
        run(net)
        loss, gradient = loops.batch(loops.softmax_with_infogain, x, labels, random_h(3), ignore_label=7)
        assert float(net.blobs["ours"].data) == pytest.approx(loss, rel=1e-6)
        np.testing.assert_allclose(net.blobs["x_ours"].diff, gradient, atol=1e-6)


def test_all_ignored():
    net = ours_net((4, 3), {"ignore_label": -1})
    fill(net, x=real_nets.random_scores((4, 3)), label=np.full(4, -1), H=random_h(3))
    run(net)
    assert float(net.blobs["loss"].data) == 0 and not net.blobs["x1"].diff.any()
    net.blobs["H"].data[...] = 0  # what ComputeH makes of such a batch
    run(net)
    assert float(net.blobs["loss"].data) == 0 and not net.blobs["x1"].diff.any()


@pytest.mark.parametrize("was", [0, 4])  # Caffe gives a blob that never held anything no memory
def test_empty_batches(was):
    loss = real_nets.net(real_nets.input_layer(x=(was, 3), label=(was,), H=(1, 1, 3, 3))
                         + real_nets.python_layer("SoftmaxWithInfogainLoss", ["x", "label", "H"], ["loss"]))
    counted = real_nets.net(real_nets.input_layer(label=(was,))
                            + real_nets.python_layer("ComputeH", ["label"], ["H"], {"n_classes": 3}))
    loss.blobs["x"].reshape(0, 3)
    for net in (loss, counted):
        net.blobs["label"].reshape(0)
        net.forward()
    assert float(loss.blobs["loss"].data) == 0
    assert not counted.blobs["H"].data.any()


def test_a_net_that_asks_for_no_gradient():
    net = real_nets.net(real_nets.input_layer(x=(4, 3), label=(4,), H=(1, 1, 3, 3))
                        + real_nets.python_layer("SoftmaxWithInfogainLoss", ["x", "label", "H"], ["loss"], {},
                                                 "loss_weight: 1"))
    net.blobs["H"].data[0, 0] = np.eye(3)
    net.forward()
    net.backward()
    assert float(net.blobs["loss"].data) == pytest.approx(log(3))
    assert not net.blobs["x"].diff.any()


BAD_FORWARD = [
    (dict(label=[0, 1, 3, 0]), r"bottom\[1\] \(labels\) at \(2\): expected a whole number 0..2, got 3"),
    (dict(label=[0, 1, -1, 0]), "expected a whole number 0..2, got -1"),
    (dict(label=[0, 1, .5, 0]), "expected a whole number 0..2, got 0.5"),
    (dict(label=[0, np.nan, 0, 0]), r"at \(1\): expected a whole number 0..2, got nan"),
    (dict(x=[[0, 0, 0]] * 3 + [[0, np.nan, 0]]), r"bottom\[0\] \(scores\) at \(outer, class\) = \(3, 1\): .* got nan"),
    (dict(x=[[0, np.inf, 0]] * 4), r"= \(0, 1\): expected a finite number.*, got inf"),
    (dict(H=[[1, 0, 0], [0, np.nan, 0], [0, 0, 1]]), r"bottom\[2\] \(H\) at \(1, 1\): expected a finite number"),
    (dict(H=np.zeros((3, 3))), r"bottom\[2\] \(H\): expected at least one positive entry, got none"),
]


@pytest.mark.parametrize("blobs, message", BAD_FORWARD)
def test_bad_blobs(blobs, message, capfd):
    net = ours_net((4, 3))
    fill(net, **dict(dict(x=np.zeros((4, 3)), label=np.zeros(4), H=np.eye(3)), **blobs))
    with pytest.raises(ValueError, match="^SoftmaxWithInfogainLoss: .*" + message):
        net.forward()
    first = capfd.readouterr().err.splitlines()[0]
    assert first.startswith("SoftmaxWithInfogainLoss: ")


BAD_NETS = [
    (dict(param={"axes": 1}), 'unknown key "axes" in param_str; the keys are axis, ignore_label, normal'),
    (dict(param={"axis": 2}), r'key "axis" in param_str: expected an axis of the scores, of shape 4 x 3, got 2'),
    (dict(param={"source": "H.npy"}), 'expected either the key "source" or a third bottom, got both'),
    (dict(bottoms=("x1", "label")), 'expected either the key "source" or a third bottom, got neither'),
    (dict(bottoms=("x1",)), "expected 2 or 3 bottoms, got 1"),
    (dict(param={"normalization": "valid"}), 'expected one of "FULL", "VALID", "BATCH_SIZE", "NONE", got "valid"'),
    (dict(param="{"), "param_str: expected a JSON object"),
    (dict(labels=(5,)), r"bottom\[1\] \(labels\): expected one label for each position of the scores, .* got 5"),
    (dict(h_shape=(1, 1, 4, 4)), r"bottom\[2\] \(H\): expected 1 x 1 x 3 x 3, as the scores have 3 classes, got"),
    (dict(h_shape=(9,)), r"bottom\[2\] \(H\): expected 1 x 1 x 3 x 3"),
]


@pytest.mark.parametrize("options, message", BAD_NETS)
def test_bad_nets(options, message, capfd):
    with pytest.raises(ValueError, match="^SoftmaxWithInfogainLoss: .*" + message):
        ours_net((4, 3), **options)
    assert capfd.readouterr().err.startswith("SoftmaxWithInfogainLoss: ")


def test_bad_h_files(tmp_path):
    source = str(tmp_path / "H.binaryproto")

    def build():
        return ours_net((4, 3), {"source": source}, bottoms=("x1", "label"))

    with pytest.raises(IOError, match="SoftmaxWithInfogainLoss: .*H.binaryproto: cannot be read"):
        build()
    write_matrix(source, np.eye(4))
    with pytest.raises(ValueError, match="H.binaryproto: expected H to be 3 x 3, as there are 3 classes, got 4 x 4"):
        build()
    write_matrix(source, np.ones((3, 4)))
    with pytest.raises(ValueError, match="H.binaryproto: expected a square matrix, got shape 3 x 4"):
        build()
    write_matrix(source, np.diag([1, np.nan, 1]))
    with pytest.raises(ValueError, match=r"H.binaryproto at \(1, 1\): expected a finite number, got nan"):
        build()
    write_matrix(source, np.eye(3))
    real_nets.cut(source, os.path.getsize(source) - 2)
    with pytest.raises(ValueError, match="H.binaryproto: expected .* the file is cut off"):
        build()


def test_negative_gain_warns_once(capfd):
    net = ours_net((4, 3))
    fill(net, x=np.zeros((4, 3)), label=np.zeros(4), H=np.eye(3) - .1)
    for _ in range(3):
        net.forward()
    err = capfd.readouterr().err
    assert err.count("warning") == 1 and "no lower bound" in err


@pytest.mark.parametrize("more, warned", [("", True), ("loss_weight: 0", True), ("loss_weight: .5", False)])
def test_a_loss_that_is_not_trained_on_warns_once(more, warned, capfd):
    net = ours_net((4, 3), more=more)
    fill(net, x=np.zeros((4, 3)), label=np.zeros(4), H=np.eye(3))
    for _ in range(3):
        net.forward()
    assert capfd.readouterr().err.count("warning: expected a loss_weight, got none") == warned


def test_gradient_of_labels_or_h_is_refused(capfd):
    net = ours_net((4, 3), head="force_backward: true\n")
    fill(net, x=np.zeros((4, 3)), label=np.zeros(4), H=np.eye(3))
    net.forward()
    with pytest.raises(ValueError, match=r"bottom\[1\] \(labels\): expected no gradient"):
        net.backward()


# ComputeH

def compute_h(labels, param, gain=None, phase="TRAIN", more=""):
    net = real_nets.net(real_nets.input_layer(label=np.shape(labels))
                        + real_nets.python_layer("ComputeH", ["label"], ["H"], param, more), phase)
    net.blobs["label"].data[...] = labels
    net.forward()
    return net.blobs["H"].data[0, 0].copy()


COUNTS = np.repeat([0, 1, 2], [90, 9, 1])


@pytest.mark.parametrize("param, expected", [
    ({}, np.array([1, 10, 90]) / 101),
    ({"weights": "balanced", "scale": "none"}, [.37037, 3.7037, 33.333]),
    ({"weights": "effective_number", "beta": .99, "scale": "classes"}, [.0445, .3063, 2.6492]),
    ({"weights": "median_frequency", "scale": "none"}, [.1, 1, 9]),
    ({"weights": "balanced", "power": .5, "scale": "none"}, np.sqrt([.37037, 3.7037, 33.333])),
    ({"weights": "balanced", "scale": "sample"}, [.37037, 3.7037, 33.333]),
])
def test_compute_h_on_counts_90_9_1(param, expected):
    H = compute_h(COUNTS, dict(param, n_classes=3))
    np.testing.assert_allclose(H.diagonal(), expected, rtol=1e-3 if "beta" in param else 1e-4)
    assert not (H - np.diag(H.diagonal())).any()


def test_compute_h_absent_class_and_ignore_label():
    labels = [[0, 0, 2], [255, 2, 0]]
    H = compute_h(labels, {"n_classes": 4, "ignore_label": 255})
    np.testing.assert_allclose(H.diagonal(), [.4, 0, .6, 0], rtol=1e-6)  # 3/3 and 3/2, divided by 5/2
    with pytest.raises(ValueError, match="ComputeH: counts: expected every class to occur"):
        compute_h(labels, {"n_classes": 4, "ignore_label": 255, "missing": "error"})


@pytest.mark.parametrize("scale, average", [("sum", ".0267"), ("none", "2.7"), ("classes", ".0802"), ("sample", None)])
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_compute_h_warns_once_of_weights_that_are_a_learning_rate(capfd, scale, average, phase):
    net = real_nets.net(real_nets.input_layer(label=COUNTS.shape)
                        + real_nets.python_layer("ComputeH", ["label"], ["H"], {"n_classes": 3, "scale": scale}), phase)
    net.blobs["label"].data[...] = COUNTS
    net.forward()
    net.forward()
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("ComputeH: ")]
    assert len(said) == (average is not None and phase == "TRAIN")
    assert not said or "warning: the average sample weighs %s, which acts as" % average.replace(".0", "0.0") in said[0]


def test_compute_h_python_literal():
    np.testing.assert_allclose(compute_h([0, 1, 1], "{'n_classes': 2}"), np.diag([2 / 3, 1 / 3]), rtol=1e-6)


def test_compute_h_gain(tmp_path):
    write_matrix(str(tmp_path / "S.npy"), random_h(3))
    H = compute_h(COUNTS, {"n_classes": 3, "gain": str(tmp_path / "S.npy"), "scale": "none"})
    np.testing.assert_allclose(H, np.array([[1], [10], [90]]) * random_h(3), rtol=1e-6)
    with pytest.raises(ValueError, match="S.npy: expected H to be 4 x 4, as there are 4 classes, got 3 x 3"):
        compute_h(COUNTS, {"n_classes": 4, "gain": str(tmp_path / "S.npy")})


RUNNING = 'param { lr_mult: 0 decay_mult: 0 }'


def test_compute_h_running_counts():
    param = {"n_classes": 2, "running": .5, "weights": "balanced", "scale": "none"}
    net = real_nets.net(real_nets.input_layer(label=(4,))
                        + real_nets.python_layer("ComputeH", ["label"], ["H"], param, RUNNING))
    counts = np.zeros(2)
    for labels in ([0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 0, 1]):
        net.blobs["label"].data[...] = labels
        net.forward()
        counts = counts / 2 + np.bincount(labels, minlength=2)
        np.testing.assert_allclose(net.params["H"][0].data, counts)
        np.testing.assert_allclose(net.blobs["H"].data[0, 0].diagonal(), counts.sum() / (2 * counts), rtol=1e-6)


def test_compute_h_running_counts_stand_still_in_test():
    param = {"n_classes": 2, "running": .5, "scale": "none"}
    net = real_nets.net(real_nets.input_layer(label=(4,))
                        + real_nets.python_layer("ComputeH", ["label"], ["H"], param, RUNNING), "TEST")
    net.blobs["label"].data[...] = [0, 1, 1, 1]
    net.forward()  # nothing was trained: the batch counts
    np.testing.assert_allclose(net.blobs["H"].data[0, 0], np.diag([3, 1]), rtol=1e-6)
    net.params["H"][0].data[...] = [8, 2]
    net.forward()
    np.testing.assert_array_equal(net.params["H"][0].data, [8, 2])
    np.testing.assert_allclose(net.blobs["H"].data[0, 0], np.diag([1, 4]), rtol=1e-6)


@pytest.mark.parametrize("param, message", [
    ({}, 'key "n_classes" is missing'),
    ({"n_classes": 3, "beta": .9}, 'key "beta" in param_str: expected with "weights": "effective_number"'),
    ({"n_classes": 3, "weights": "effective_number"}, 'key "beta" in param_str: expected with'),
    ({"n_classes": 3, "weights": "effective_number", "beta": 1}, r"expected a number in \[0, 1\), got 1"),
    ({"n_classes": 3, "running": 0}, "expected a number between 0 and 1, got 0"),
    ({"n_classes": 3, "running": 1}, "expected a number between 0 and 1, got 1"),
    ({"n_classes": 10 ** 11}, "expected a whole number in 1..46340, got 100000000000"),
    ({"n_classes": 3, "weight": "balanced"}, 'unknown key "weight"'),
    ({"n_classes": 2}, r"bottom\[0\] \(labels\) at \(99\): expected a whole number 0..1, got 2"),
])
def test_compute_h_errors(param, message, capfd):
    with pytest.raises(ValueError, match="^ComputeH: .*" + message):
        compute_h(COUNTS, param)
    assert capfd.readouterr().err.startswith("ComputeH: ")


@pytest.mark.parametrize("loss", ["native", "ours"])
@pytest.mark.scores
def test_compute_h_as_third_bottom(loss):
    shape = (50, 3)
    text = real_nets.input_layer(x=shape, label=(50,)) + real_nets.learned("x", "x1")
    text += real_nets.python_layer("ComputeH", ["label"], ["H"], {"n_classes": 3, "running": .9}, RUNNING)
    if loss == "native":
        text += 'layer { name: "loss" type: "InfogainLoss" bottom: "x1" bottom: "label" bottom: "H" top: "loss" }'
    else:
        text += real_nets.python_layer("SoftmaxWithInfogainLoss", ["x1", "label", "H"], ["loss"], {},
                                       "loss_weight: 1")
    net = real_nets.net(text)
    x, labels = real_nets.random_scores(shape), np.minimum(random_labels(shape), 1)
    fill(net, x=x, label=labels)
    run(net)
    counts = np.bincount(labels.astype(int))
    weights = np.append(counts.max() / counts, 0)
    expected, gradient = loops.batch(loops.softmax_with_infogain, x, labels, np.diag(weights / weights.sum()))
    assert float(net.blobs["loss"].data) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(net.blobs["x1"].diff, gradient, atol=1e-6)
