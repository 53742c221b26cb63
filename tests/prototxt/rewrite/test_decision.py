"""The decision in a deployed net is that of the formulas, and all that was trained stays bit for bit."""
from __future__ import division, print_function

from math import exp

import numpy as np
import pytest

import real_nets

caffe = pytest.importorskip("caffe")
from commands import run_main  # noqa: E402
from counts import calls  # noqa: E402
from caffe_losses.compat import to_bytes  # noqa: E402
from caffe_losses.formats.caffemodel import CaffeModel  # noqa: E402
from caffe_losses.formats.matrix_files import write_matrix  # noqa: E402
from caffe_prototxt.rewrite import decision, deploy  # noqa: E402

C = 4
W = [1, 4, .5, 2.5]
D = [[0, 1, 3, 2], [1, 0, 3, 7], [5, 3, 0, 1], [2, 2, 4, 0]]
FILLER = 'weight_filler { type: "gaussian" std: 1 } bias_filler { type: "uniform" min: -1 max: 1 }'
SCALE = 'scale_param { filler { type: "gaussian" std: 1 } }'


def inputs(*shape, **more):
    return real_nets.input_layer(data=shape, label=more.get("label", shape[:1]))


def layer(kind, name, bottom, param="", more=""):
    return 'layer { name: "%s" type: "%s" bottom: "%s" top: "%s" %s %s }\n' % (name, kind, bottom, name, param, more)


def scoring(kind, name="fc", bottom="data", more=""):
    param = "inner_product_param" if kind == "InnerProduct" else "convolution_param"
    size = "" if kind == "InnerProduct" else "kernel_size: 1"
    return layer(kind, name, bottom, "%s { num_output: %d %s %s %s }" % (param, C, size, FILLER, more))


def loss(bottom="fc", name="loss", param=""):
    return 'layer { name: "%s" type: "SoftmaxWithLoss" bottom: "%s" bottom: "label" top: "%s" %s }\n' % (name, bottom, name, param)


WHOLE, DENSE = inputs(30, 6), inputs(3, 2, 4, 5, label=(3, 4, 5))
OLD = ('input: "data" input: "label" input_dim: 30 input_dim: 6 input_dim: 1 input_dim: 1 input_dim: 30 input_dim: 1 input_dim: 1 '
       'input_dim: 1\nlayers { name: "fc" type: INNER_PRODUCT bottom: "data" top: "fc" inner_product_param { num_output: 4 %s } }\n'
       '%%slayers { name: "loss" type: SOFTMAX_LOSS bottom: "fc" bottom: "label" }\n' % FILLER)
NETS = {  # text, the blob of the scores, the class axis, the layer in whose bias class weights go
    "whole": (WHOLE + scoring("InnerProduct") + loss(), "fc", 1, "fc"),
    "dense": (DENSE + scoring("Convolution") + loss(), "fc", 1, "fc"),
    "no bias": (WHOLE + scoring("InnerProduct", more="bias_term: false") + loss(), "fc", 1, None),
    "upsampled": (inputs(3, 2, 4, 5, label=(3, 10, 12)) + scoring("Convolution", "low") + layer("Deconvolution", "fc", "low", "convolution_param { num_output: 4 "
                  "group: 4 kernel_size: 4 stride: 2 bias_term: false weight_filler { type: \"bilinear\" } }") + loss(), "fc", 1, None),
    "relu": (WHOLE + scoring("InnerProduct") + layer("ReLU", "fc", "fc").replace('"fc"', '"r"', 1) + loss(), "fc", 1, None),
    "1 x 1": (inputs(9, 2, 4, 5) + scoring("Convolution", "low") + layer("Pooling", "fc", "low", "pooling_param { pool: AVE global_pooling: "
              "true }") + loss(), "fc", 1, None),
    "three axes": (inputs(3, 2, 5, label=(3, 5)) + scoring("Convolution", more="engine: CAFFE") + loss(), "fc", 1, "fc"),
    "axis 2": (inputs(3, 2, 4, 5, label=(3, 2, 5)) + layer("Scale", "fc", "data", SCALE) + loss(param="softmax_param { axis: 2 }"), "fc", 2, None),
    "last axis": (inputs(5, 3, 6, label=(5, 3)) + scoring("InnerProduct", more="axis: 2") + loss(param="softmax_param { axis: -1 }"), "fc", 2, "fc"),
    "shared": (WHOLE + scoring("InnerProduct").replace("inner_product_param", 'param { } param { name: "b" } inner_product_param') +
               loss(), "fc", 1, None),
    "softmax": (WHOLE + scoring("InnerProduct") + layer("Softmax", "prob", "fc"), "fc", 1, "fc"),
    "probabilities": (WHOLE + scoring("InnerProduct") + layer("Softmax", "p", "fc") + 'layer { name: "loss" type: '
                      '"MultinomialLogisticLoss" bottom: "p" bottom: "label" top: "loss" }\n', "fc", 1, "fc"),
    "names taken": (WHOLE + scoring("InnerProduct", "scaled") + layer("Power", "score", "scaled") + loss("score"), "score", 1, None),
    "unknown shape": (inputs(3, 2, 4, 5, label=(3, 10)) + layer("Reshape", "flat", "data", "reshape_param { shape { dim: 0 dim: 4 dim: -1 } }") +
                      layer("Scale", "fc", "flat", SCALE) + loss(), "fc", 1, None),
    "old": (OLD % "", "fc", 1, "fc"),
    "old with relu": (OLD % 'layers { name: "r" type: RELU bottom: "fc" top: "fc" }\n', "fc", 1, None),
    "old dense": ((OLD % 'layers { name: "r" type: RELU bottom: "fc" top: "fc" }\n').replace(
        "INNER_PRODUCT", "CONVOLUTION").replace("inner_product_param {", "convolution_param { kernel_size: 1").replace(
        " input_dim: 1 input_dim: 1 input_dim: 30 input_dim: 1 input_dim: 1 input_dim: 1",
        " input_dim: 2 input_dim: 2 input_dim: 30 input_dim: 1 input_dim: 2 input_dim: 2"),
        "fc", 1, None),
    "windows": ((WHOLE + scoring("InnerProduct") + loss()).replace("\n", "\r\n"), "fc", 1, "fc"),
}
DECISIONS = {"weights": (W, None, 1), "D": (None, D, 1), "all": (W, D, 2.5), "warm weights": (W, None, .5), "T": (None, None, 3),
             "nothing": (None, None, 1), "zero": ([0, 4, .5, 0], None, 1)}


def oracle(x, weights, D, T):
    """(probabilities, score) of each class, of one position; slowly."""
    e = [exp(v / T - max(x) / T) for v in x]
    p = [v / sum(e) for v in e]
    w = [1] * C if weights is None else weights
    if D is None:
        return p, [w[k] * p[k] for k in range(C)]
    return p, [sum(-w[j] * p[j] * D[j][k] for j in range(C)) for k in range(C)]


def decided(blob, axis):
    """Return a blob as rows of classes."""
    return np.rollaxis(blob, axis, blob.ndim).reshape(-1, blob.shape[axis])


def save(text, path="net.prototxt", model="trained.caffemodel"):
    """Write a net and random weights of it. Returns the net."""
    with open(path, "wb") as file:
        file.write(to_bytes(text))
    caffe.set_random_seed(3)
    trained = caffe.Net(path, caffe.TEST)
    trained.save(model)
    return trained


def options(weights, D, T):
    given = ["--weights", "trained.caffemodel", "-o", "deploy.prototxt", "--temperature", T]
    if weights is not None:
        np.save("w.npy", weights)
        given += ["--class-weights", "w.npy"]
    if D is not None:
        write_matrix("D.csv", np.array(D))
        given += ["--distances", "D.csv"]
    return given


def run(*arguments):
    status, out, err = run_main("make_deploy.py", "net.prototxt", *arguments)
    assert status == 0, err
    return caffe.Net("deploy.prototxt", "deploy.caffemodel", caffe.TEST), out + err


def filled(net, data):
    net.blobs["data"].data[...] = data
    net.forward()
    return net


@pytest.mark.parametrize("name, wanted", [(name, wanted) for name in sorted(NETS) for wanted in sorted(DECISIONS)
                                          if name in ("whole", "dense") or wanted in ("weights", "all")])
def test_the_decision(tmp_path, monkeypatch, name, wanted):
    monkeypatch.chdir(tmp_path)
    (text, scores, axis, bias), (weights, D, T) = NETS[name], DECISIONS[wanted]
    trained = save(text)
    data = real_nets.random_scores(trained.blobs["data"].data.shape, scale=1)
    x = decided(filled(trained, data).blobs[scores].data, axis)
    p, score = [np.array(values) for values in zip(*[oracle(row, weights, D, T) for row in x.tolist()])]
    net, _ = run(*options(weights, D, T))
    top = list(net.outputs)[0]
    in_bias = bias is not None and weights is not None and D is None and min(weights) > 0
    expected = score / score.sum(axis=1, keepdims=True) if in_bias else score
    np.testing.assert_allclose(decided(filled(net, data).blobs[top].data, axis), expected, rtol=2e-5, atol=1e-6)
    assert len(net.outputs) == 1 and in_bias == (top in ("prob", "p") and weights is not None)
    # with --decide
    net, _ = run(*options(weights, D, T) + ["--decide"])
    (top,) = net.outputs
    labels = decided(filled(net, data).blobs[top].data, axis).ravel()
    best = np.sort(score, axis=1)
    apart = best[:, -1] - best[:, -2] > 1e-5 * np.abs(best).max()
    assert apart.mean() > .5 and (labels == score.argmax(axis=1))[apart].all()
    # all that was trained is there, bit for bit
    before, after = [CaffeModel(path).layers for path in ("trained.caffemodel", "deploy.caffemodel")]
    changed = [(layer, number) for layer, blobs in before.items() for number, blob in enumerate(blobs)
               if after[layer][number].message.tobytes() != blob.message.tobytes()]
    assert changed == ([(to_bytes(bias), 1)] if in_bias else [])


def test_without_a_decision_the_net_is_the_one_of_today(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = NETS["whole"][0]
    save(text)
    run("--weights", "trained.caffemodel", "-o", "deploy.prototxt", "--temperature", "1")
    with open("deploy.prototxt", "rb") as file:
        assert file.read() == to_bytes(deploy.make_deploy(text).text)
    with open("deploy.caffemodel", "rb") as one, open("trained.caffemodel", "rb") as other:
        assert one.read() == other.read()


def test_several_losses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = WHOLE + scoring("InnerProduct") + scoring("InnerProduct", "fc2") + loss() + loss("fc2", "aux/loss")
    trained = save(text)
    data = real_nets.random_scores((30, 6), scale=1)
    filled(trained, data)
    net, said = run(*options(W, D, 2))
    assert set(net.outputs) == {"loss_score", "aux/loss_score"} and "--loss NAME keeps one" in said
    filled(net, data)
    for scores, top in (("fc", "loss_score"), ("fc2", "aux/loss_score")):
        expected = [oracle(row, W, D, 2)[1] for row in trained.blobs[scores].data.tolist()]
        np.testing.assert_allclose(net.blobs[top].data, expected, rtol=2e-5, atol=1e-6)


SHARED = {  # text, {output: (scores, class axis, whether its score is divided by the sum)}
    "two tops of a layer": (DENSE + scoring("Convolution").replace('bottom: "data" top: "fc"', 'bottom: "data" bottom: "data" top: "fc" '
                            'top: "raw"') + loss(), {"score": ("fc", 1, False), "raw": None}),
    "two class axes": (inputs(3, 2, 4, 4, label=(3, 4, 4)) + scoring("Convolution") + loss() + loss(name="aux", param="softmax_param { axis: 2 }"),
                       {"prob_score": ("fc", 1, False), "prob_2_score": ("fc", 2, False)}),
    "two losses by one softmax": (WHOLE + scoring("InnerProduct") + layer("Softmax", "p", "fc") + loss() + loss("p", "aux").replace(
        "SoftmaxWithLoss", "MultinomialLogisticLoss"), {"p": ("fc", 1, True)})}


@pytest.mark.parametrize("name", sorted(SHARED))
def test_weights_go_into_a_bias_that_nothing_else_gets(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    text, outputs = SHARED[name]
    trained = save(text)
    data = real_nets.random_scores(trained.blobs["data"].data.shape, scale=1)
    filled(trained, data)
    net, _ = run(*options(W, None, 1))
    assert set(filled(net, data).outputs) == set(outputs)
    for top, wanted in outputs.items():
        got, expected = net.blobs[top].data, trained.blobs[wanted[0] if wanted else top].data
        if wanted:
            got, expected = decided(got, wanted[1]), np.array([oracle(row, W, None, 1)[1] for row in decided(expected, wanted[1]).tolist()])
            expected /= expected.sum(axis=1, keepdims=True) if wanted[2] else 1
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-6)


def test_a_softmax_that_other_layers_take_keeps_its_temperature(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained = save(WHOLE + scoring("InnerProduct") + layer("Softmax", "p", "fc") + layer("Power", "q", "p"))
    data = real_nets.random_scores((30, 6), scale=1)
    filled(trained, data)
    net, _ = run(*options(W, None, 2) + ["--blob", "p", "--blob", "q"])
    filled(net, data)
    np.testing.assert_array_equal(net.blobs["q"].data, trained.blobs["q"].data)
    (top,) = set(net.outputs) - {"q"}
    np.testing.assert_allclose(net.blobs[top].data, [oracle(row, W, None, 2)[1] for row in trained.blobs["fc"].data.tolist()],
                               rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("wanted", ["weights", "all"])
def test_a_softmax_in_place(tmp_path, monkeypatch, wanted):
    monkeypatch.chdir(tmp_path)
    data, given = real_nets.random_scores((30, 6), scale=1), []
    for top in ("p", "fc"):
        save(WHOLE + scoring("InnerProduct") + 'layer { name: "p" type: "Softmax" bottom: "fc" top: "%s" }\n' % top)
        net = filled(run(*options(*DECISIONS[wanted]))[0], data)
        given += [net.blobs[output].data for output in net.outputs]
    np.testing.assert_array_equal(given[0], given[1])


def test_the_comments(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(NETS["whole"][0])
    run(*options(W, D, 2) + ["--decide"])
    with open("deploy.prototxt") as file:
        comments = [line[2:].strip() for line in file if line.startswith("# ")]
    assert comments == [
        "scaled: fc divided by the temperature 2.0, for probabilities that are calibrated",
        "score: minus the expected cost of deciding for a class k, -sum_j w_j p_j D[j, k]: p = prob, w = the class weights w.npy, "
        "D = the costs of D.csv; the bigger, the better", "decision: the class of the biggest score"]


def test_old_weights_with_a_new_net(tmp_path, monkeypatch):
    """A .caffemodel of before 2015: V1 layers, blobs with num to width."""
    monkeypatch.chdir(tmp_path)
    trained = save(NETS["whole"][0])
    old = caffe.proto.caffe_pb2.NetParameter()
    added = old.layers.add(name="fc", type=caffe.proto.caffe_pb2.V1LayerParameter.INNER_PRODUCT)
    for blob, (height, width) in zip(trained.params["fc"], ((C, 6), (1, C))):
        added.blobs.add(num=1, channels=1, height=height, width=width, data=blob.data.ravel().tolist())
    with open("trained.caffemodel", "wb") as file:
        file.write(old.SerializeToString())
    data = real_nets.random_scores((30, 6), scale=1)
    x = filled(trained, data).blobs["fc"].data.tolist()
    for weights, costs in ((W, None), (W, D)):
        net, _ = run(*options(weights, costs, 1))
        score = np.array([oracle(row, weights, costs, 1)[1] for row in x])
        (top,) = net.outputs
        np.testing.assert_array_equal(filled(net, data).blobs[top].data.argmax(axis=1), score.argmax(axis=1))


def test_work_is_linear():
    def work(n):
        deep = "".join(layer("InnerProduct", "l%d" % i, "l%d" % (i - 1), "inner_product_param { num_output: 4 }") for i in range(1, n))
        text = WHOLE + scoring("InnerProduct", "l0") + deep + loss("l%d" % (n - 1))
        return calls(lambda: deploy.Deployment(text).make(decision.Decision(None, None, 2., True, {})))

    work(10)
    assert work(1000) < 11 * work(100)
