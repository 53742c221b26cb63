"""LogPrior in real nets: its numbers, its counts over batches, and logit adjustment by Caffe's own Bias layer."""
from __future__ import division, print_function

from math import log

import numpy as np
import pytest

import loops
import real_nets

caffe = pytest.importorskip("caffe")

COUNTS = [900, 90, 10]
RUNNING = "param { lr_mult: 0 decay_mult: 0 }"


def prior(labels=None, param=None, phase="TRAIN", more=""):
    """A net with a LogPrior, of the counts in `param`, or of a batch of labels."""
    head = "" if labels is None else real_nets.input_layer(label=np.shape(labels))
    net = real_nets.net(head + real_nets.python_layer(
        "LogPrior", [] if labels is None else ["label"], ["prior"], param, more), phase)
    if labels is not None:
        net.blobs["label"].data[...] = labels
    return net


def numbers(*arguments, **options):
    net = prior(*arguments, **options)
    net.forward()
    assert net.blobs["prior"].data.dtype == np.float32
    return net.blobs["prior"].data.copy()


@pytest.mark.parametrize("param, expected", [
    ({"counts": COUNTS}, [log(.9), log(.09), log(.01)]),
    ({"counts": [.9, .09, .01]}, [log(.9), log(.09), log(.01)]),
    ({"counts": COUNTS, "strength": .5}, [log(.9) / 2, log(.09) / 2, log(.01) / 2]),
    ({"counts": COUNTS, "strength": 0, "n_classes": 3}, [0, 0, 0]),
    ({"counts": [4, 0, 1]}, [log(.8), log(.2), log(.2)]),
    ({"counts": [7]}, [0]),
    ("{'counts': (1, 3)}", [log(.25), log(.75)]),
    ({"counts": [1e300, 1e-300]}, [0, -600 * log(10)]),
])
def test_counts(param, expected):
    np.testing.assert_allclose(numbers(param=param), expected, rtol=1e-6)


@pytest.mark.parametrize("name, content", [("n.txt", "900 # shirts\n90\n10\n"), ("n.csv", "900,90,10"), ("n.npy", None)])
def test_counts_from_a_file(tmp_path, name, content):
    path = tmp_path / name
    np.save(str(path), COUNTS) if content is None else path.write_bytes(content.encode("ascii"))
    np.testing.assert_array_equal(numbers(param={"source": str(path)}), numbers(param={"counts": COUNTS}))


def test_labels_of_each_batch():
    labels = [[0, 0, 2], [255, 2, 0]]
    net = prior(labels, {"n_classes": 4, "ignore_label": 255, "strength": 2})
    net.forward()
    np.testing.assert_allclose(net.blobs["prior"].data, 2 * np.log([.6, .4, .4, .4]), rtol=1e-6)
    net.blobs["label"].data[...] = 255
    net.forward()
    assert not net.blobs["prior"].data.any()
    net.blobs["label"].reshape(0)
    net.forward()
    assert not net.blobs["prior"].data.any()
    with pytest.raises(ValueError, match="LogPrior: counts: expected every class to occur .*, got none of class 1"):
        numbers(labels, {"n_classes": 4, "ignore_label": 255, "missing": "error"})


def test_running_counts():
    net, counts = prior([0] * 4, {"n_classes": 2, "running": .5}, more=RUNNING), np.zeros(2)
    for labels in ([0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 0, 1]):
        net.blobs["label"].data[...] = labels
        net.forward()
        counts = counts / 2 + np.bincount(labels, minlength=2)
        np.testing.assert_allclose(net.params["prior"][0].data, counts)
        np.testing.assert_allclose(net.blobs["prior"].data, np.log(counts / counts.sum()), rtol=1e-6)


def test_running_counts_stand_still_in_test():
    net = prior([0, 1, 1, 1], {"n_classes": 2, "running": .5}, "TEST", RUNNING)
    net.params["prior"][0].data[...] = [8, 2]
    net.forward()
    np.testing.assert_array_equal(net.params["prior"][0].data, [8, 2])
    np.testing.assert_allclose(net.blobs["prior"].data, np.log([.8, .2]), rtol=1e-6)


def test_it_survives_a_layer_in_place():
    net = real_nets.net(real_nets.python_layer("LogPrior", [], ["prior"], {"counts": [1, 1]})
                        + 'layer { name: "twice" type: "Power" bottom: "prior" top: "prior" power_param { scale: 2 } }')
    for _ in range(3):
        net.forward()
        np.testing.assert_allclose(net.blobs["prior"].data, 2 * np.log([.5, .5]), rtol=1e-6)


@pytest.mark.parametrize("labels, param, message", [
    (None, {}, 'expected one of the key "counts", the key "source" and a bottom with labels, got none'),
    ([0], {}, 'key "n_classes" is missing from param_str'),
    ([0], {"counts": COUNTS}, 'expected one of .*, got "counts" and a bottom'),
    (None, {"counts": COUNTS, "source": "n.txt"}, 'expected one of .*, got "counts" and "source"'),
    (None, {"counts": COUNTS, "running": .9}, 'key "running" in param_str: expected with a bottom of labels'),
    (None, {"counts": COUNTS, "ignore_label": 0}, 'key "ignore_label" in param_str: expected with a bottom of labels'),
    (None, {"counts": COUNTS, "n_classes": 4}, "counts: expected 4 numbers, as there are 4 classes, got 3"),
    (None, {"counts": [3, -1]}, "counts: expected numbers of at least 0, got -1 for class 1"),
    (None, {"counts": [0, 0]}, "counts: expected at least one above 0, got none"),
    (None, '{"counts": [1, NaN]}', 'key "counts" in param_str: expected a list of numbers, got'),
    (None, {"counts": [1, True]}, "expected a list of numbers"),
    (None, {"counts": ["1", 2]}, "expected a list of numbers"),
    (None, {"counts": []}, r"expected a list of numbers, got \[\]"),
    (None, {"counts": 3}, "expected a list of numbers, got 3"),
    (None, {"counts": [3, 0], "missing": "error"}, r'expected every class to occur \(missing is "error"\), got none of class 1'),
    (None, {"counts": [3, 0], "missing": "zero"}, 'expected one of "least", "error", got "zero"'),
    (None, {"counts": COUNTS, "strength": -1}, 'key "strength" in param_str: expected a number of at least 0, got -1'),
    (None, {"counts": COUNTS, "strength": 1e38}, "strength: expected a number of at least 0, that float32 holds"),
    (None, {"counts": COUNTS, "tau": 1}, 'unknown key "tau" in param_str; the keys are counts, ignore_label, missing, '),
    ([0, 3], {"n_classes": 3}, r"bottom\[0\] \(labels\) at \(1\): expected a whole number 0..2, got 3"),
    ([0, 1], {"n_classes": 3, "running": 1}, "expected a number between 0 and 1, got 1"),
    (None, {"source": "/none/n.txt"}, "/none/n.txt: cannot be read: No such file"),
])
def test_errors(labels, param, message, capfd):
    with pytest.raises((ValueError, IOError), match="^LogPrior: .*" + message):
        numbers(labels, param)
    assert capfd.readouterr().err.startswith("LogPrior: ")


@pytest.mark.parametrize("content, message", [(b"", "n.txt: expected at least one above 0, got none"), (b"1 two", "n.txt: .*two"),
                                              (b"1\n-2", "got -2 for class 1"), (b"1 nan", "got nan for class 1")])
def test_files_without_counts(tmp_path, content, message):
    (tmp_path / "n.txt").write_bytes(content)
    with pytest.raises(ValueError, match="LogPrior: .*" + message):
        numbers(param={"source": str(tmp_path / "n.txt")})


def adjusted(shape, param, axis=1, labels=False):
    """A net with SoftmaxWithLoss of scores + log prior, and SoftmaxWithInfogainLoss of the same."""
    of_labels = [n for a, n in enumerate(shape) if a != axis % len(shape)]
    text = real_nets.input_layer(x=shape, label=of_labels) + real_nets.learned("x", "x1")
    text += real_nets.python_layer("LogPrior", ["label"] if labels else [], ["prior"], param)
    text += ('layer { name: "add" type: "Bias" bottom: "x1" bottom: "prior" top: "x_for_loss" bias_param { axis: %d } }\n'
             'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "x_for_loss" bottom: "label" top: "loss"\n'
             '        softmax_param { axis: %d } loss_param { ignore_label: 9 } }\n' % (axis, axis))
    net = real_nets.net(text)
    rng = np.random.RandomState(0)
    net.blobs["x"].data[...] = rng.randn(*shape)
    values = rng.randint(0, shape[axis], of_labels)
    values[rng.rand(*of_labels) < .2] = 9
    net.blobs["label"].data[...] = values
    return net


CASES = [((8, 3), 1), ((2, 3, 4, 2), 1), ((2, 4, 3), -1)]


@pytest.mark.parametrize("shape, axis", CASES)
def test_the_loss_is_that_of_a_slow_loop(shape, axis):
    net = adjusted(shape, {"counts": COUNTS, "strength": 1.5}, axis)
    net.forward()
    net.backward()
    x, labels = net.blobs["x"].data, net.blobs["label"].data
    moved = np.moveaxis(x.astype(np.float64), axis, -1) + 1.5 * np.log(np.array(COUNTS) / 1000.)
    loss, gradient = loops.batch(loops.softmax_with_infogain, np.moveaxis(moved, -1, axis), labels, np.eye(3), axis, 9)
    assert float(net.blobs["loss"].data) == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(net.blobs["x1"].diff, gradient, atol=1e-6)


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("shape, axis", CASES)
def test_central_differences(shape, axis, labels):
    """A batch's own labels, too, do not depend on the scores."""
    param = {"n_classes": 3, "ignore_label": 9} if labels else {"counts": COUNTS}
    net = adjusted(shape, param, axis, labels)
    net.forward()
    net.backward()
    gradient, x = net.blobs["x1"].diff.copy(), net.blobs["x"].data.copy()
    for index in list(np.ndindex(*shape))[::3]:
        ends = []
        for sign in (1, -1):
            net.blobs["x"].data[...] = x
            net.blobs["x"].data[index] += sign * .01
            net.forward()
            ends.append(float(net.blobs["loss"].data))
        assert gradient[index] == pytest.approx((ends[0] - ends[1]) / .02, abs=2e-3)


@pytest.mark.parametrize("labels", [False, True])
def test_force_backward(labels):
    """The counts that a net has in its text are asked for no gradient; labels have none."""
    param = {"n_classes": 3} if labels else {"counts": COUNTS}
    net = real_nets.net(
        "force_backward: true\n" + real_nets.input_layer(x=(4, 3), label=(4,))
        + real_nets.python_layer("LogPrior", ["label"] if labels else [], ["prior"], param)
        + 'layer { name: "add" type: "Bias" bottom: "x" bottom: "prior" top: "y" }\n'
          'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "label" top: "loss" '
          'propagate_down: true propagate_down: false }')
    net.forward()
    if labels:
        with pytest.raises(ValueError, match=r"LogPrior: bottom\[0\] \(labels\): expected no gradient to be asked for"):
            net.backward()
    else:
        net.backward()
        assert net.blobs["x"].diff.any()
