"""The composition of Caffe's own layers beside ours, in a real caffe.Net."""
from __future__ import division, print_function

import numpy as np
import pytest

import loops
import real_nets

caffe = pytest.importorskip("caffe")

from caffe import layers as L, params as P
from caffe_prototxt.netspec import triplet_layers as triplets

PARTS = triplets.PARTS


def side_by_side(x, head="", weight=None, **options):
    """A net with both on the same three blobs, each on its own copy of them."""
    text = head + real_nets.input_layer(**{part: values.shape for part, values in zip(PARTS, x)})
    for kind in ("ours", "native"):
        text += "".join(real_nets.learned(part, "%s_%s" % (part, kind)) for part in PARTS)
        text += triplets.triplet_fragment(["%s_%s" % (part, kind) for part in PARTS], kind, python=kind == "ours",
                                          loss_weight=weight, **options)
    net = real_nets.net(text)
    for part, values in zip(PARTS, x):
        net.blobs[part].data[...] = values
    net.forward()
    net.backward()
    return net


def gradients(net, kind):
    return [net.blobs["%s_%s" % (part, kind)].diff.copy() for part in PARTS]


def rows(*shape, **options):
    return (np.random.RandomState(options.get("seed", 0)).randn(*shape) * options.get("scale", 1)).astype(np.float32)


def close(found, expected):
    scale = max(np.abs(values).max() for values in expected)
    for values, of_expected in zip(found, expected):
        np.testing.assert_allclose(values, np.reshape(of_expected, values.shape), atol=1e-4 * scale)


@pytest.mark.parametrize("form", triplets.FORMS)
@pytest.mark.parametrize("norm", triplets.NORMS)
@pytest.mark.parametrize("shape, scale", [((1, 3), 1), ((40, 64), .1), ((40, 64), 1e-3), ((6, 2, 3, 2), 1)])
@pytest.mark.parametrize("weight", [None, 2.5])
def test_loss_and_gradient_are_those_of_our_layer(shape, scale, norm, form, weight):
    x = rows(3, *shape, scale=scale)
    net = side_by_side(x, norm=norm, form=form, weight=weight)
    expected, _ = loops.triplet_batch(*x, norm=norm, form=form)
    assert float(net.blobs["ours"].data) == pytest.approx(expected / shape[0], rel=1e-6)
    assert float(net.blobs["native"].data) == pytest.approx(expected / shape[0], rel=1e-4)
    close(gradients(net, "native"), gradients(net, "ours"))


# Anchor, positive, negative: apart by what; whether the gradient of the composition is right too.
EXTREMES = {"anchor is positive": (0, 0, 1, True), "anchor is negative": (0, 1, 0, True),
            "all the same": (1, 1, 1, True), "1e-30 apart": (0, 1e-30, 2e-30, False),
            "positive 1e18 away": (0, 1e18, 0, True), "negative 1e18 away": (0, 0, -1e18, True),
            "both 1e18 away": (0, 1e18, -1e18, True)}


@pytest.mark.parametrize("form", triplets.FORMS)
@pytest.mark.parametrize("case", sorted(EXTREMES))
def test_extremes_are_finite(case, form):
    """In every blob: OpenBLAS makes 0 of a NaN times 0 on the way down, reference BLAS does not."""
    values, right = EXTREMES[case][:3], EXTREMES[case][3]
    x = np.array(values, np.float32)[:, None, None] * np.ones((3, 2, 64), np.float32)
    net = side_by_side(x, form=form)
    expected, _ = loops.triplet_batch(*x, form=form)
    loss = float(net.blobs["native"].data)
    assert np.isfinite(loss) and loss == pytest.approx(min(expected / 2, 87.3365), rel=1e-4)
    for name, blob in net.blobs.items():
        assert np.isfinite(blob.data).all() and np.isfinite(blob.diff).all(), name
    for gradient, of_ours in zip(gradients(net, "native"), gradients(net, "ours")):
        if right:
            np.testing.assert_allclose(gradient, of_ours, atol=1e-4)


def test_no_gradient_goes_to_the_target():
    net = side_by_side(rows(3, 4, 2), head="force_backward: true\n")
    for part, gradient in zip(PARTS, gradients(net, "ours")):
        np.testing.assert_allclose(net.blobs[part].diff, 2 * gradient, atol=1e-5)  # of the two losses


@pytest.mark.parametrize("strategy", ["all", "hardest", "semi_hard", "random"])
@pytest.mark.parametrize("form", triplets.FORMS)
def test_the_composition_follows_the_choice(strategy, form):
    """The number of triplets changes with the labels; without a triplet loss and gradient are 0."""
    text = real_nets.input_layer(x=(8, 3), label=(8,)) + real_nets.learned("x", "x1")
    text += triplets.triplet_fragment(python=False, form=form, embedding="x1", label="label",
                                      select=dict(strategy=strategy, count=True))
    net = real_nets.net(text)
    for labels in ([0, 0, 1, 1, 2, 2, 3, 3], [0] * 8, [0] * 7 + [1], list(range(8)), [0, 1] * 4):
        x = rows(8, 3, seed=int(sum(labels)))
        net.blobs["x"].data[...], net.blobs["label"].data[...] = x, labels
        net.blobs["x1"].diff[...] = 7
        net.forward()
        net.backward()
        n = int(net.blobs["loss_triplets"].data)
        chosen = [net.blobs[part].data for part in PARTS]
        assert float(net.blobs["loss"].data) == pytest.approx(
            loops.triplet_batch(*chosen, form=form)[0] / max(1, n), rel=1e-4)
        if not n:
            assert not float(net.blobs["loss"].data) and not net.blobs["x1"].diff.any()
        if strategy != "random":
            every = loops.select_triplets(x, labels, strategy)
            assert n == len(every)
            expected = np.zeros((8, 3))
            for triplet in every:
                for i, gradient in zip(triplet, loops.triplet_softmax(*x[list(triplet)], form=form)[1]):
                    expected[i] += np.array(gradient) / n
            np.testing.assert_allclose(net.blobs["x1"].diff, expected, atol=1e-5)


@pytest.mark.parametrize("python", [True, False])
@pytest.mark.parametrize("norm", triplets.NORMS)
def test_distance(python, norm):
    x = rows(2, 5, 3, 2)
    n = caffe.NetSpec()
    n.x, n.y = [L.Parameter(parameter_param=dict(shape=dict(dim=[5, 3, 2]))) for _ in range(2)]
    n.distance = triplets.l2_distance(n.x, n.y, python=python, norm=norm)
    n.loss = L.Reduction(n.distance, loss_weight=1, reduction_param=dict(operation=P.Reduction.SUM))
    net = real_nets.net(str(n.to_proto()))
    for name, values in zip("xy", x):
        net.params[name][0].data[...] = values
    net.forward()
    net.backward()
    found = [loops.distance(u, v, norm) for u, v in zip(*x.reshape(2, 5, 6))]
    np.testing.assert_allclose(net.blobs["distance"].data, [a for a, _ in found], rtol=1e-5)
    gradient = np.reshape([da for _, da in found], (5, 3, 2))
    np.testing.assert_allclose(net.blobs["x"].diff, gradient, atol=1e-4)
    np.testing.assert_allclose(net.blobs["y"].diff, -gradient, atol=1e-4)


@pytest.mark.parametrize("python", [True, False])
@pytest.mark.parametrize("channels", [1, 2])
def test_shared_trunk(python, channels):
    """One trunk of three copies with shared weights, and that of Reshape and Slice."""
    images = rows(4, 3 * channels, 5, 5)

    def trunk(data, share=False):
        def weights(name):
            return dict(param=[dict(name=name), dict(name=name + "_b")]) if share else {}

        hidden = L.Convolution(data, num_output=3, kernel_size=3, weight_filler=dict(type="xavier"), **weights("w1"))
        return L.InnerProduct(L.ReLU(hidden, in_place=True), num_output=2, weight_filler=dict(type="xavier"),
                              **weights("w2"))

    def net(spec):
        found = real_nets.net(str(spec.to_proto()))
        found.blobs["data"].data[...] = images
        return found

    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=list(images.shape)))
    n.anchor, n.positive, n.negative = triplets.shared_trunk(n.data, trunk, channels)
    n.loss = triplets.triplet_softmax_loss(n.anchor, n.positive, n.negative, python=python)
    ours = net(n)

    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=list(images.shape)))
    tops = [trunk(part, share=True) for part in L.Slice(n.data, ntop=3, axis=1)]
    n.anchor, n.positive, n.negative = tops
    n.loss = triplets.triplet_softmax_loss(*tops, python=True)
    copies = net(n)

    learned = [blob for blobs in ours.params.values() for blob in blobs]
    thrice = [blob for blobs in list(copies.params.values())[:2] for blob in blobs]  # the others are the same again
    assert len(learned) == len(thrice) == 4
    for blob, other in zip(learned, thrice):
        other.data[...] = blob.data
    for one in (ours, copies):
        one.forward()
        one.clear_param_diffs()
        one.backward()
    assert float(ours.blobs["loss"].data) == pytest.approx(float(copies.blobs["loss"].data), rel=1e-4)
    assert ours.blobs["anchor"].data.shape == (4, 1, 2)
    for blob, other in zip(learned, thrice):
        np.testing.assert_allclose(blob.diff, other.diff, atol=1e-5)


@pytest.mark.parametrize("options, message", [
    (dict(norm="l1"), "norm: expected one of l2, squared_l2, got l1"),
    (dict(form="softplus"), "form: expected one of mse, log, got softplus"),
    (dict(python=False, normalization="NONE"), "normalization: expected VALID, FULL or BATCH_SIZE with Caffe's own"),
    (dict(python=False, shift=0), "shift: expected a number above 0, got 0"),
    (dict(python=False, shift=float("nan")), "shift: expected a number above 0, got nan"),
])
def test_bad_options(options, message):
    with pytest.raises(ValueError, match="^" + message):
        triplets.triplet_fragment(**options)


@pytest.mark.parametrize("python", [True, False])
def test_a_deployed_net_has_no_triplets(python):
    n = caffe.NetSpec()
    n.embedding, n.label = L.Input(shape=dict(dim=[2, 3])), L.Input(shape=dict(dim=[2]))
    parts = triplets.triplet_select(n.embedding, n.label, "all", max_triplets=5)
    n.loss = triplets.triplet_softmax_loss(*parts, python=python)
    layers = n.to_proto().layer
    assert len(layers) > 3 and all(layer.exclude[0].stage[0] == "deploy" for layer in layers[2:])
