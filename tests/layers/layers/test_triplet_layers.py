"""TripletSoftmaxLoss, L2Distance and TripletSelect in a real caffe.Net."""
from __future__ import division, print_function


import numpy as np
import pytest

import loops
import real_nets
from counts import calls
from caffe_losses.functional import mining, triplets
from caffe_losses.functional.blocks import NORMALIZATIONS

caffe = pytest.importorskip("caffe")

PARTS = ("anchor", "positive", "negative")
LOSS = "loss_weight: 1"


def rows(*shape, **options):
    return (np.random.RandomState(options.get("seed", 0)).randn(*shape) * options.get("scale", 1)).astype(np.float32)


def filled(text, phase="TRAIN", head="", **blobs):
    """A net that begins with the blobs, each with a learned one after it, named with a 1: x, x1."""
    inputs = real_nets.input_layer(**{name: np.shape(values) for name, values in blobs.items()})
    learned = "".join(real_nets.learned(name, name + "1") for name in sorted(blobs) if name != "label")
    net = real_nets.net(head + inputs + learned + text, phase)
    for name, values in blobs.items():
        if np.size(values):
            net.blobs[name].data[...] = values
    return net


def loss_net(x, param=None, more=LOSS, tops=("loss",), **options):
    text = real_nets.python_layer("TripletSoftmaxLoss", [part + "1" for part in PARTS], list(tops), param, more)
    return filled(text, **dict(options, **dict(zip(PARTS, x))))


def run(net, *diffs):
    """Forward and backward, over diffs that something was left in; the loss."""
    for name in diffs:
        net.blobs[name].diff[...] = 7
    net.forward()
    net.backward()
    return float(net.blobs["loss"].data)


DIFFS = [part + "1" for part in PARTS]


# TripletSoftmaxLoss

@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("form", triplets.FORMS)
@pytest.mark.parametrize("norm", triplets.NORMS)
@pytest.mark.parametrize("shape", [(6, 4), (1, 3), (3, 2, 2, 2)])
def test_loss_and_gradient_are_those_of_the_loop(shape, norm, form, normalization):
    x = rows(3, *shape)
    net = loss_net(x, {"norm": norm, "form": form, "normalization": normalization}, "loss_weight: 2.5")
    loss = run(net, *DIFFS)
    expected, gradients = loops.triplet_batch(*x, norm=norm, form=form)
    z = 1 if normalization == "NONE" else shape[0]
    assert loss == pytest.approx(expected / z, rel=1e-6)
    for name, gradient in zip(DIFFS, gradients):
        np.testing.assert_allclose(net.blobs[name].diff, 2.5 / z * gradient.reshape(shape), atol=1e-5)


def test_without_keys_it_is_the_mean_of_the_papers():
    x = rows(3, 5, 4)
    assert run(loss_net(x)) == pytest.approx(loops.triplet_batch(*x)[0] / 5, rel=1e-6)


@pytest.mark.parametrize("form", triplets.FORMS)
@pytest.mark.parametrize("norm", triplets.NORMS)
def test_central_differences(norm, form):
    x, step = rows(3, 4, 3), 1e-2
    net = loss_net(x, {"norm": norm, "form": form})
    run(net)
    gradients = {part: net.blobs[part + "1"].diff.copy() for part in PARTS}
    for part, values in zip(PARTS, x):
        for index in np.ndindex(*values.shape):
            ends = []
            for sign in (1, -1):
                net.blobs[part].data[...] = values
                net.blobs[part].data[index] += sign * step
                ends.append(float(net.forward()["loss"]))
            net.blobs[part].data[...] = values
            assert gradients[part][index] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-3)


def test_d_plus_of_every_triplet():
    x = np.zeros((3, 3, 2), np.float32)
    x[1, :, 0], x[2, :, 1] = [0, 1, 0], [0, 0, -1]  # distances (0, 0), (1, 0), (0, 1)
    net = loss_net(x, tops=("loss", "d_plus"), more="loss_weight: 1 loss_weight: 0")
    assert run(net) == pytest.approx((.25 + .534447 + .072329) / 3, rel=1e-5)
    np.testing.assert_allclose(net.blobs["d_plus"].data, [.5, .731059, .268941], rtol=1e-5)
    for name in PARTS:
        net.blobs[name].reshape(7, 2)
    net.forward()
    assert net.blobs["d_plus"].data.shape == (7,)


@pytest.mark.parametrize("form", triplets.FORMS)
@pytest.mark.parametrize("values", [(0, 0, 1), (1, 1, 1), (0, 1e-30, 2e-30), (0, 1e18, -1e18), (1e18, 1e-30, 0)])
def test_extremes(values, form):
    x = np.array(values, np.float32)[:, None, None] * np.ones((3, 2, 64), np.float32)
    net = loss_net(x, {"form": form})
    loss = run(net, *DIFFS)
    expected, gradients = loops.triplet_batch(*x, form=form)
    assert np.isfinite(loss) and loss == pytest.approx(expected / 2, rel=1e-6)
    for name, gradient in zip(DIFFS, gradients):
        np.testing.assert_allclose(net.blobs[name].diff, gradient / 2, rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize("asked", [(1, 0, 0), (0, 1, 0), (0, 1, 1), (0, 0, 0)])
def test_only_what_is_asked_for_is_written(asked):
    x = rows(3, 4, 2)
    more = LOSS + " " + " ".join("propagate_down: %s" % ("true" if one else "false") for one in asked)
    net = loss_net(x, more=more)
    run(net, *DIFFS)
    gradients = loops.triplet_batch(*x)[1]
    for name, gradient, one in zip(DIFFS, gradients, asked):
        np.testing.assert_allclose(net.blobs[name].diff, gradient / 4 if one else 7, atol=1e-6)


def test_one_blob_may_be_several_bottoms():
    x = rows(2, 5, 3)
    text = real_nets.python_layer("TripletSoftmaxLoss", ["x1", "x1", "y1"], ["loss"], {}, LOSS)
    net = filled(text, x=x[0], y=x[1])
    loss = run(net)
    expected, gradients = loops.triplet_batch(x[0], x[0], x[1])
    assert loss == pytest.approx(expected / 5, rel=1e-6)
    np.testing.assert_allclose(net.blobs["x1"].diff, (gradients[0] + gradients[1]) / 5, atol=1e-6)


def test_shapes_change_at_every_iteration():
    net = loss_net(rows(3, 4, 3))
    for n, width in [(4, 3), (1, 3), (50, 3), (2, 700), (4, 3)]:
        x = rows(3, n, width, scale=width ** -.5)
        for part, values in zip(PARTS, x):
            net.blobs[part].reshape(n, width)
            net.blobs[part].data[...] = values
        expected, gradients = loops.triplet_batch(*x)
        assert run(net) == pytest.approx(expected / n, rel=1e-6)
        for name, gradient in zip(DIFFS, gradients):
            np.testing.assert_allclose(net.blobs[name].diff, gradient / n, atol=1e-6)


@pytest.mark.parametrize("was", [0, 4])
@pytest.mark.parametrize("layer, bottoms", [("TripletSoftmaxLoss", PARTS), ("L2Distance", PARTS[:2])])
def test_empty_batches(layer, bottoms, was):
    tops = ["loss", "d_plus"][:len(bottoms) - 1]
    net = real_nets.net(real_nets.input_layer(**dict.fromkeys(bottoms, (was, 3)))
                        + real_nets.python_layer(layer, bottoms, tops))
    for part in bottoms:
        net.blobs[part].reshape(0, 3)
    net.forward()  # which looks at the tops, as the caffe program does
    net._backward(1, 0)  # net.backward would look at the inputs, which have no memory
    assert net.blobs[tops[-1]].data.shape == (0,)
    assert layer == "L2Distance" or float(net.blobs["loss"].data) == 0


BAD_LOSSES = [
    (dict(param={"forms": "log"}), 'unknown key "forms" in param_str; the keys are form, norm, normalization'),
    (dict(param={"form": "softplus"}), 'key "form" in param_str: expected one of "mse", "log", got "softplus"'),
    (dict(param={"norm": 2}), 'key "norm" in param_str: expected one of "l2", "squared_l2", got 2'),
    (dict(param={"normalization": "MEAN"}), 'expected one of "FULL", "VALID", "BATCH_SIZE", "NONE", got "MEAN"'),
    (dict(tops=("loss", "d", "e")), "expected 1 or 2 tops, got 3"),
    (dict(x=[np.zeros(s) for s in ((4, 2), (4, 2), (4, 3))]),
     r"bottom\[2\] \(negative\): expected as many rows and numbers as bottom\[0\] \(anchor\), of shape 4 x 2, got 4 x 3"),
    (dict(x=[np.zeros(s) for s in ((4, 2), (3, 2), (4, 2))]), r"bottom\[1\] \(positive\): expected .*, got 3 x 2"),
    (dict(x=[np.zeros((4, 2)), np.array([[0, 0]] * 3 + [[0, np.nan]]), np.zeros((4, 2))]),
     r"bottom\[1\] \(positive\) at \(3, 1\): expected a finite number, got nan"),
    (dict(x=[np.full((4, 2), np.inf)] + [np.zeros((4, 2))] * 2),
     r"bottom\[0\] \(anchor\) at \(0, 0\): expected a finite number, got inf"),
]


@pytest.mark.parametrize("options, message", BAD_LOSSES)
def test_bad_losses(options, message, capfd):
    with pytest.raises(ValueError, match="^TripletSoftmaxLoss: .*" + message):
        loss_net(**dict(dict(x=np.zeros((3, 4, 2))), **options)).forward()
    assert capfd.readouterr().err.splitlines()[0].startswith("TripletSoftmaxLoss: ")


@pytest.mark.parametrize("shape", [(), (0,), (4, 0)])
def test_rows_without_numbers_are_an_error(shape):
    text = real_nets.input_layer(**dict.fromkeys(PARTS, shape or (1,)))
    if not shape:
        text = "".join('layer { name: "%s" type: "Input" top: "%s" input_param { shape { } } }' % (p, p) for p in PARTS)
    if shape == (0,):  # no sample, of one number
        real_nets.net(text + real_nets.python_layer("TripletSoftmaxLoss", PARTS, ["loss"])).forward()
        return
    with pytest.raises(ValueError, match=r"bottom\[0\] \(anchor\): expected N x C, a row of numbers for each sample"):
        real_nets.net(text + real_nets.python_layer("TripletSoftmaxLoss", PARTS, ["loss"]))


@pytest.mark.parametrize("more, warned", [("", True), (LOSS, False)])
def test_a_loss_that_is_not_trained_on_warns_once(more, warned, capfd):
    net = loss_net(rows(3, 4, 2), more=more)
    for _ in range(3):
        net.forward()
    assert capfd.readouterr().err.count("warning: expected a loss_weight, got none") == warned


# L2Distance

@pytest.mark.parametrize("norm", triplets.NORMS)
@pytest.mark.parametrize("shape", [(6, 4), (3, 2, 2, 2)])
def test_distance_and_gradient_are_those_of_the_loop(shape, norm):
    x = rows(2, *shape)
    x[1, 0] = x[0, 0]
    text = real_nets.python_layer("L2Distance", ["x1", "y1"], ["distance"], {"norm": norm})
    text += ('layer { name: "loss" type: "Reduction" bottom: "distance" top: "loss" loss_weight: 3'
             ' reduction_param { operation: SUMSQ } }')  # the gradient that comes is 2 a
    net = filled(text, x=x[0], y=x[1])
    run(net, "x1", "y1")
    found = [loops.distance(u, v, norm) for u, v in zip(*x.reshape(2, shape[0], -1))]
    np.testing.assert_allclose(net.blobs["distance"].data, [a for a, _ in found], rtol=1e-6)
    gradient = np.array([6 * a * np.array(da) for a, da in found]).reshape(shape)
    np.testing.assert_allclose(net.blobs["x1"].diff, gradient, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(net.blobs["y1"].diff, -gradient, rtol=1e-5, atol=1e-5)
    assert not net.blobs["x1"].diff[0].any()


def test_distance_as_a_loss():
    net = filled(real_nets.python_layer("L2Distance", ["x1", "y1"], ["loss"], {}, "loss_weight: 2"),
                 x=[[3., 0]], y=[[0., 4]])
    assert run(net, "x1", "y1") == pytest.approx(5)
    np.testing.assert_allclose(net.blobs["x1"].diff, [[1.2, -1.6]], rtol=1e-6)
    np.testing.assert_allclose(net.blobs["y1"].diff, [[-1.2, 1.6]], rtol=1e-6)


@pytest.mark.parametrize("value, expected", [(1e-30, 8e-30), (1e18, 8e18)])
def test_distance_of_extremes(value, expected):
    net = filled(real_nets.python_layer("L2Distance", ["x1", "y1"], ["loss"], {}, LOSS),
                 x=np.full((1, 64), value), y=np.zeros((1, 64)))
    assert run(net) == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(net.blobs["x1"].diff, np.full((1, 64), .125), rtol=1e-6)


def test_bad_distance():
    text = real_nets.python_layer("L2Distance", ["x1", "y1"], ["loss"], {}, LOSS)
    with pytest.raises(ValueError, match=r"^L2Distance: bottom\[1\] \(x2\): expected as many rows and numbers as"):
        filled(text, x=np.zeros((2, 2)), y=np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"^L2Distance: bottom\[1\] \(x2\) at \(1, 0\): expected a finite number"):
        filled(text, x=np.zeros((2, 2)), y=[[0, 0], [np.nan, 0]]).forward()


# TripletSelect

def select(param, tops=PARTS, more="", bottoms=("x1", "label")):
    return real_nets.python_layer("TripletSelect", bottoms, list(tops), param, more, name="select")


def select_net(x, labels, param, tops=PARTS, after="", **options):
    return filled(select(param, tops) + after, **dict(options, x=x, label=labels))


def chosen(net, x):
    """The triplets in a net's blobs, found by what stands in the embeddings."""
    places = {tuple(row): i for i, row in enumerate(x.reshape(len(x), -1).tolist())}
    return [tuple(places[tuple(row)] for row in triplet) for triplet in
            zip(*[net.blobs[part].data.reshape(-1, x[0].size).tolist() for part in PARTS])]


SEVERAL = [(6, (0, 0, 1, 1, 2, 2)), (5, (0, 0, 0, 0, 9)), (3, (4, 4, -2)), (8, (0, 1) * 4)]


@pytest.mark.parametrize("strategy", ["all", "hardest", "semi_hard"])
def test_the_choice_is_that_of_the_enumeration(strategy):
    net = select_net(np.zeros((6, 3)), np.zeros(6), {"strategy": strategy}, PARTS + ("count",))
    for seed, (n, labels) in enumerate(SEVERAL):
        x = rows(n, 3, seed=seed)
        net.blobs["x"].reshape(n, 3)
        net.blobs["label"].reshape(n)
        net.blobs["x"].data[...], net.blobs["label"].data[...] = x, labels
        net.forward()
        expected = loops.select_triplets(x, labels, strategy)
        assert float(net.blobs["count"].data) == len(expected)
        assert len(net.blobs["anchor"].data) == max(1, len(expected))
        assert not expected or set(chosen(net, x)) == expected


def test_further_axes_are_kept_and_labels_may_have_some():
    x = rows(6, 2, 3, 1)
    net = select_net(x, np.reshape([0, 0, 1, 1, 2, 255], (6, 1, 1, 1)), {"strategy": "all", "ignore_label": 255})
    net.forward()
    assert net.blobs["anchor"].data.shape == (12, 2, 3, 1)
    assert set(chosen(net, x)) == loops.select_triplets(x, [0, 0, 1, 1, 2, 255], "all", 255)


def random_draws(param, n=4, **options):
    x = rows(30, 2)
    net = select_net(x, np.arange(30) % 3, dict(param, strategy="random"), **options)
    found = []
    for _ in range(n):
        net.forward()
        found.append(chosen(net, x))
    return found


def test_random_runs_on_from_the_seed():
    first = random_draws({"seed": 5})
    assert len(set(map(tuple, first))) == 4 and all(len(drawn) == 30 for drawn in first)
    assert random_draws({"seed": 5}) == first
    assert random_draws({"seed": 6}) != first
    assert random_draws({}) == random_draws({"seed": 0})
    assert random_draws({"seed": 5}, phase="TEST") == first


def test_max_triplets_of_all():
    x, labels = rows(30, 2), np.arange(30) % 3
    net = select_net(x, labels, {"strategy": "all", "max_triplets": 50, "seed": 1})
    net.forward()
    found = chosen(net, x)
    assert len(set(found)) == 50 and set(found) <= loops.select_triplets(x, labels, "all")


def test_more_triplets_than_a_blob_holds():
    net = select_net(np.zeros((600, 40)), np.arange(600) % 2, {"strategy": "all"})  # 54 million of 40
    with pytest.raises(ValueError, match="^TripletSelect: expected at most 53687091 triplets in a batch, got "
                       '53820000: give the key "max_triplets"'):
        net.forward()


LOSS_OF_CHOICE = real_nets.python_layer("TripletSoftmaxLoss", PARTS, ["loss"], {}, LOSS)
WITHOUT = [np.zeros(4), np.arange(4), np.full(4, 255), [0, 0, 255, 255]]


@pytest.mark.parametrize("strategy", mining.STRATEGIES)
@pytest.mark.parametrize("labels", WITHOUT)
def test_a_batch_without_a_triplet_costs_nothing(labels, strategy):
    x = rows(4, 3)
    net = select_net(x, labels, {"strategy": strategy, "ignore_label": 255}, PARTS + ("count",), LOSS_OF_CHOICE)
    assert run(net, "x1") == 0
    assert not net.blobs["x1"].diff.any() and float(net.blobs["count"].data) == 0
    net.blobs["label"].data[...] = [0, 0, 1, 255]
    assert run(net, "x1") > 0 or strategy == "semi_hard"
    assert not net.blobs["x1"].diff[3].any()


def test_batches_without_a_triplet_are_counted(capfd):
    net = select_net(rows(4, 3), np.zeros(4), {"strategy": "all"}, after=LOSS_OF_CHOICE)
    for i in range(120):
        net.blobs["label"].data[0] = i % 2
        net.forward()
    said = [line for line in capfd.readouterr().err.splitlines() if "warning" in line]
    assert [line.split(": expected")[0] for line in said] == [
        "TripletSelect: warning: no triplet in 1 of 1 batches", "TripletSelect: warning: no triplet in 10 of 19 batches"]


@pytest.mark.parametrize("was", [0, 4])
def test_an_empty_batch_has_no_triplet(was):
    text = real_nets.input_layer(x=(was, 3), label=(was,)) + select({"strategy": "hardest"}, bottoms=("x", "label"))
    net = real_nets.net(text + LOSS_OF_CHOICE)
    net.blobs["x"].reshape(0, 3)
    net.blobs["label"].reshape(0)
    net.forward()
    net._backward(2, 0)
    assert float(net.blobs["loss"].data) == 0


@pytest.mark.parametrize("strategy", mining.STRATEGIES)
@pytest.mark.parametrize("weight", [1, 2.5])
def test_gradient_through_choice_and_loss_is_that_of_the_loop(strategy, weight):
    x, labels = rows(9, 3), np.array([0, 0, 0, 1, 1, 2, 2, 2, 3])
    loss = LOSS_OF_CHOICE.replace(LOSS, "loss_weight: %g" % weight)
    net = select_net(x, labels, {"strategy": strategy, "seed": 3}, after=loss)
    run(net, "x1")
    found = chosen(net, x)
    expected = np.zeros(x.shape)
    for triplet in found:
        for i, gradient in zip(triplet, loops.triplet_softmax(*x[list(triplet)])[1]):
            expected[i] += weight * np.array(gradient) / len(found)
    np.testing.assert_allclose(net.blobs["x1"].diff, expected, atol=1e-6)


TRUNK = """
layer { name: "hidden" type: "InnerProduct" bottom: "x1" top: "hidden"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "tanh" type: "TanH" bottom: "hidden" top: "hidden" }
layer { name: "embedding" type: "InnerProduct" bottom: "hidden" top: "embedding"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
"""


@pytest.mark.parametrize("form", triplets.FORMS)
@pytest.mark.parametrize("strategy", ["all", "hardest", "semi_hard"])
def test_central_differences_through_a_trunk(strategy, form):
    x, labels, step = rows(12, 4), np.arange(12) % 3, 5e-3
    text = TRUNK + select({"strategy": strategy}, bottoms=("embedding", "label"))
    text += real_nets.python_layer("TripletSoftmaxLoss", PARTS, ["loss"], {"form": form}, LOSS)
    caffe.set_random_seed(1)
    net = filled(text, x=x, label=labels)
    for blobs in net.params.values():
        for blob in blobs:
            blob.diff[...] = 0
    run(net)

    def choice():
        return loops.select_triplets(net.blobs["embedding"].data, labels, strategy)

    chosen_here, compared = choice(), 0
    for layer in ("hidden", "embedding"):
        for blob in net.params[layer]:
            weights, gradient = blob.data.copy(), blob.diff.copy()
            for index in np.ndindex(*weights.shape):
                ends, choices = [], []
                for sign in (1, -1):
                    blob.data[...] = weights
                    blob.data[index] += sign * step
                    ends.append(float(net.forward()["loss"]))
                    choices.append(choice())
                blob.data[...] = weights
                if choices == [chosen_here] * 2:  # where another is chosen, the loss has a step
                    compared += 1
                    assert gradient[index] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-3)
    assert compared >= 20


def test_layers_after_the_choice_follow_its_shape():
    """Native layers, in place and split ones among them, at every number of triplets."""
    after = """
    layer { name: "same" type: "ReLU" bottom: "anchor" top: "anchor" relu_param { negative_slope: 1 } }
    layer { name: "near" type: "Eltwise" bottom: "anchor" bottom: "positive" top: "near" eltwise_param { coeff: 1 coeff: -1 } }
    layer { name: "far" type: "Eltwise" bottom: "anchor" bottom: "negative" top: "far" eltwise_param { coeff: 1 coeff: -1 } }
    layer { name: "loss" type: "EuclideanLoss" bottom: "near" bottom: "far" top: "loss" }
    """
    net = select_net(np.zeros((6, 3)), np.zeros(6), {"strategy": "all"}, after=after)
    for seed, (n, labels) in enumerate(SEVERAL):
        x = rows(n, 3, seed=seed)
        net.blobs["x"].reshape(n, 3)
        net.blobs["label"].reshape(n)
        net.blobs["x"].data[...], net.blobs["label"].data[...] = x, labels
        every = loops.all_triplets(labels)
        gap = np.array([x[n] - x[p] for _, p, n in every])  # of near and far
        assert run(net) == pytest.approx((gap ** 2).sum() / (2 * len(every)), rel=1e-5)
        expected = np.zeros(x.shape)
        for (_, p, n), difference in zip(every, gap):
            expected[p] -= difference / len(every)
            expected[n] += difference / len(every)
        np.testing.assert_allclose(net.blobs["x1"].diff, expected, atol=1e-5)


BAD_SELECTS = [
    (dict(param={}), 'key "strategy" is missing from param_str: expected one of "all", "hardest"'),
    (dict(param={"strategy": "hard"}), 'expected one of "all", "hardest", "semi_hard", "random", got "hard"'),
    (dict(param={"strategy": "random", "seed": -1}), r'key "seed" in param_str: expected a whole number in 0\.\.'),
    (dict(param={"strategy": "all", "max_triplets": 0}), r'key "max_triplets" .* in 1\.\.2147483647, got 0'),
    (dict(tops=("a", "b")), "expected 3 or 4 tops, got 2"),
    (dict(labels=np.zeros(5)), r"bottom\[1\] \(labels\): expected one label for each of the 4 samples, got 5"),
    (dict(labels=[0, 1, .5, 0]), r"bottom\[1\] \(labels\) at \(2\): expected a whole number -16777216..16777216, got 0.5"),
    (dict(labels=[0, np.nan, 1, 0]), r"at \(1\): expected a whole number .*, got nan"),
    (dict(x=[[0, 0]] * 3 + [[np.inf, 0]]), r"bottom\[0\] \(embedding\) at \(3, 0\): expected a finite number, got inf"),
    (dict(x=np.zeros((4, 0))), r"bottom\[0\] \(embedding\): expected N x C, a row of numbers .* got shape 4 x 0"),
]


@pytest.mark.parametrize("options, message", BAD_SELECTS)
def test_bad_selects(options, message, capfd):
    given = dict(dict(x=np.zeros((4, 2)), labels=[0, 0, 1, 1], param={"strategy": "all"}, tops=PARTS), **options)
    text = select(given["param"], given["tops"], bottoms=("x", "label"))
    text = real_nets.input_layer(x=np.shape(given["x"]), label=np.shape(given["labels"])) + text
    with pytest.raises(ValueError, match="^TripletSelect: .*" + message):
        net = real_nets.net(text)
        net.blobs["x"].data[...], net.blobs["label"].data[...] = given["x"], given["labels"]
        net.forward()
    assert capfd.readouterr().err.splitlines()[0].startswith("TripletSelect: ")


def test_gradient_of_labels_is_refused():
    net = select_net(rows(4, 2), [0, 0, 1, 1], {"strategy": "all"}, after=LOSS_OF_CHOICE, head="force_backward: true\n")
    net.forward()
    with pytest.raises(ValueError, match=r"^TripletSelect: bottom\[1\] \(labels\): expected no gradient"):
        net.backward()


def test_hardest_of_128_has_no_loop_over_triplets():
    """There are thousands of triplets."""
    net = select_net(rows(128, 64), np.arange(128) % 10, {"strategy": "hardest"}, after=LOSS_OF_CHOICE)
    net.forward()
    index = list(net._layer_names).index("select")

    def both():
        net._forward(index, index)
        net._backward(index, index)
    assert calls(both) < 1000
