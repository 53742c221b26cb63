"""Random and hostile configurations in real nets: a right answer or a clear error, never less."""
from __future__ import division, print_function

import numpy as np
import pytest

import loops
import real_nets
from caffe_losses.functional.blocks import NORMALIZATIONS
from counts import examples

caffe = pytest.importorskip("caffe")
hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies

MANY = hypothesis.settings(max_examples=examples(2000))
LOOPS = {"SoftmaxWithInfogainLoss": loops.softmax_with_infogain, "InfogainLoss": loops.infogain,
         "CostScaledSoftmaxLoss": loops.cost_scaled_softmax, "ExpectedCostLoss": loops.expected_cost}


@st.composite
def cases(draw):
    """A loss layer, its parameters, and blobs that are right for it."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=2, max_size=4)))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    layer = draw(st.sampled_from(sorted(LOOPS)))
    n_classes = shape[axis]
    rng = np.random.RandomState(draw(st.integers(0, 10 ** 6)))
    matrix = rng.rand(n_classes, n_classes) * (rng.rand(n_classes, n_classes) < draw(st.sampled_from([.5, 1])))
    matrix = matrix.astype(np.float32)
    if "Cost" in layer:
        hypothesis.assume(n_classes > 1)
        np.fill_diagonal(matrix, 0)
        matrix[0, 1] = 1
    else:
        matrix[0, 0] = 1
    param = {}
    if axis != 1:
        param["axis"] = axis
    ignore_label = draw(st.sampled_from([None, None, -1, 255, 0]))
    labels_shape = [n for a, n in enumerate(shape) if a != axis % len(shape)]
    labels = rng.randint(0, n_classes, labels_shape).astype(np.float32)
    if ignore_label is not None:
        param["ignore_label"] = ignore_label
        labels[rng.rand(*labels_shape) < .4] = ignore_label
    normalization = draw(st.sampled_from((None,) + NORMALIZATIONS))
    if normalization:
        param["normalization"] = normalization
    elif draw(st.booleans()):
        param["normalize"] = draw(st.booleans())
        normalization = "VALID" if param["normalize"] else "BATCH_SIZE"
    scale = draw(st.sampled_from([1, 5, 1e4]))
    scores = (rng.randn(*shape) * scale).astype(np.float32)
    if layer == "InfogainLoss":
        scores = rng.dirichlet(np.ones(4), shape).astype(np.float32)[..., 0]
    return dict(layer=layer, shape=shape, axis=axis, labels=labels, matrix=matrix, param=param, scores=scores,
                ignore_label=ignore_label, normalization=normalization or "VALID", scale=scale,
                weight=draw(st.sampled_from([1, 2.5, 0])))


def native_text(case):
    """Caffe's own InfogainLoss with the same options, if it has them."""
    if case["layer"] != "SoftmaxWithInfogainLoss" or case["axis"] % len(case["shape"]) == 0:
        return ""
    ignore = "" if case["ignore_label"] is None else "ignore_label: %d" % case["ignore_label"]
    return ('layer { name: "native" type: "InfogainLoss" bottom: "x2" bottom: "label" bottom: "M" top: "native"'
            ' infogain_loss_param { axis: %d } loss_weight: %g loss_param { normalization: %s %s } }'
            % (case["axis"], case["weight"], case["normalization"], ignore))


def ours(case):
    return real_nets.python_layer(case["layer"], case.get("bottoms", ["x1", "label", "M"]),
                                  case.get("tops", ["loss"]), case["param"], "loss_weight: %g" % case["weight"])


def build(case, native=""):
    text = real_nets.input_layer(x=case["shape"], label=case["labels"].shape or (1,), M=(1, 1) + case["matrix"].shape)
    text += real_nets.learned("x", "x1") + real_nets.learned("x", "x2") + ours(case) + native
    net = real_nets.net(text)
    net.blobs["x"].data[...] = case["scores"]
    net.blobs["label"].data[...] = case["labels"]
    net.blobs["M"].data[0, 0] = case["matrix"]
    return net


@MANY
@hypothesis.given(cases())
@pytest.mark.scores
def test_random_configurations(case):
    native = native_text(case)
    net = build(case, native)
    net.forward()
    net.backward()
    loss, gradient = loops.batch(LOOPS[case["layer"]], case["scores"], case["labels"], case["matrix"], case["axis"],
                                 case["ignore_label"], case["normalization"])
    assert float(net.blobs["loss"].data) == pytest.approx(loss, rel=2e-6, abs=1e-6)
    if case["weight"]:
        scale = case["weight"] * max(1, np.abs(gradient).max())
        np.testing.assert_allclose(net.blobs["x1"].diff, case["weight"] * gradient, atol=2e-6 * scale)
    if native:
        if case["scale"] < 10:  # beyond, Caffe's clips log p
            assert float(net.blobs["native"].data) == pytest.approx(loss, rel=1e-4, abs=1e-5)
        if case["weight"]:
            np.testing.assert_allclose(net.blobs["x1"].diff, net.blobs["x2"].diff, atol=2e-6 * scale)


def spoil_label(case, draw):
    flat = case["labels"].reshape(-1)
    n_classes = case["shape"][case["axis"]]
    bad = [v for v in (-2, n_classes, 254, .5, float("nan"), float("inf"), -float("inf"), 1e30, -1)
           if v != case["ignore_label"]]
    flat[draw(st.integers(0, flat.size - 1))] = draw(st.sampled_from(bad))


def spoil_score(case, draw):
    flat = case["scores"].reshape(-1)
    flat[draw(st.integers(0, flat.size - 1))] = draw(st.sampled_from([float("nan"), float("inf")]))


def spoil_label_shape(case, draw):
    dims = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    hypothesis.assume(np.prod(dims) != case["labels"].size)
    case["labels"] = np.zeros(dims, np.float32)


def spoil_matrix_shape(case, draw):
    size = len(case["matrix"])
    dims = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)).filter(lambda d: d != (size, size)))
    case["matrix"] = np.ones(dims, np.float32)


def spoil_matrix(case, draw):
    kind = draw(st.sampled_from(["nan", "inf", "nothing", "negative"]))
    if kind in ("nan", "inf"):
        case["matrix"].reshape(-1)[draw(st.integers(0, case["matrix"].size - 1))] = float(kind)
    elif kind == "nothing":
        case["matrix"][...] = 0
        case["labels"][...] = 0  # not all ignored, or the loss is 0
        hypothesis.assume(case["ignore_label"] != 0)
    else:
        case["matrix"] = -case["matrix"] - 1


def spoil_bottoms(case, draw):
    case["bottoms"] = draw(st.sampled_from([["x1"], ["x1", "label"], ["x1", "label", "M", "M"], []]))


def spoil_tops(case, draw):
    case["tops"] = ["loss", "p", "q"]
    case["weight"] = 1


WRONG = {"axis": [None, "1", 1.5, True, 17, -17, [1], 10 ** 30], "ignore_label": ["a", 1.5, False, {}],
         "normalization": ["valid", 1, True, [], "MEAN"], "normalize": [1, "true", 0.0], "source": [3, "", ["H"]],
         "nonsense": [1], "": [1], "Axis": [1]}


def spoil_param(case, draw):
    key = draw(st.sampled_from(sorted(WRONG)))
    case["param"] = dict(case["param"], **{key: draw(st.sampled_from(WRONG[key]))})
    if key == "source":
        case["bottoms"] = ["x1", "label"]
    hypothesis.assume(case["param"][key] is not None or key == "axis")


def spoil_param_text(case, draw):
    text = draw(st.one_of(
        st.text(max_size=30),
        st.sampled_from(["{", "}", "[]", "1", "null", "{]", "{'axis': }", "axis: 1", "{'axis': 1", '{"axis": 1,, }',
                         "{'a' 'b'}", "__import__('os')._exit(1)", "{'axis': __import__('os')._exit(1)}", "()",
                         "{'axis': 1, **{}}", "{" * 500, "'" * 501, "{1: 2}", "{'axis': 1j}"])))
    text = text.replace("\0", "")
    hypothesis.assume(text.strip() not in ("", "{}", "{ }") and "\r" not in text)
    case["param"] = text


SPOILERS = [spoil_label, spoil_score, spoil_label_shape, spoil_matrix_shape, spoil_matrix, spoil_bottoms, spoil_tops,
            spoil_param, spoil_param_text]


@MANY
@hypothesis.given(cases(), st.sampled_from(SPOILERS), st.data())
def test_hostile_configurations(case, spoil, data):
    spoil(case, data.draw)
    name = case["layer"]
    with pytest.raises((ValueError, IOError)) as caught:
        build(case).forward()
    message = str(caught.value)
    assert message.startswith(name + ": ") and "\n" not in message and len(message) < 500
