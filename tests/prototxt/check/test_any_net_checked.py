"""Any text at all, checked and deployed: an error of one line, or an answer; and in linear time."""
from __future__ import division, print_function

import pytest

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import strategies as st  # noqa: E402

from caffe_prototxt.check import check, solvers  # noqa: E402
from caffe_prototxt.rewrite import deploy  # noqa: E402
from caffe_prototxt.training import caffe_process  # noqa: E402
from caffe_prototxt.net.graph import usual_states  # noqa: E402
from caffe_prototxt.net.nets import Net  # noqa: E402
from caffe_prototxt.net.states import State, merged  # noqa: E402
from any_net import PIECES, mutated  # noqa: E402
from counts import calls, examples  # noqa: E402

ANY = st.one_of(mutated(), st.text(max_size=200).map(lambda text: "".join(chr(ord(char) % 256) for char in text)),
                st.lists(st.sampled_from(PIECES), max_size=20).map(" ".join))
LAYER = '''layer {
  name: "conv%d"  # one of many
  type: "Convolution"
  bottom: "b%d"
  top: "b%d"
  param { lr_mult: 1 decay_mult: 1 }
  convolution_param { num_output: 64 kernel_size: 3 weight_filler { type: "xavier" } }
}
layer { name: "loss%d" type: "InfogainLoss" bottom: "b%d" bottom: "label" top: "loss%d" loss_param { normalize: true } }
'''


def large(n):
    return "".join(['layer { name: "data" type: "Data" top: "b0" top: "label" }\n'] + [
        LAYER % (i, i, i + 1, i, i + 1, i) for i in range(n)])


@hypothesis.settings(max_examples=examples(300))
@hypothesis.given(ANY)
def test_text(text):
    try:
        net = Net(text)
        report = check.check(net, usual_states(net))
        assert all(fault.message and (fault.line or 1) <= text.count("\n") + 1 for fault, _ in report.faults)
    except ValueError as error:
        assert str(error)


@hypothesis.settings(max_examples=examples(300))
@hypothesis.given(ANY)
def test_solvers(text):
    try:
        if solvers.is_solver(text):
            nets = solvers.read_solver(text).nets
            for _, states in nets:
                for phase, of_solver in states:
                    merged(phase, {}, of_solver)
    except ValueError as error:
        assert str(error)


@hypothesis.settings(max_examples=examples(300))
@hypothesis.given(ANY)
def test_deployed(text):
    """The deployed net has no losses and no data layers, and deploys to itself."""
    try:
        made = deploy.make_deploy(text, shapes={"data": (1, 3, 8, 8)})
    except ValueError as error:
        assert str(error)
        return
    net = Net(made.text)
    assert not [layer for layer in net.layers if layer.type in ("Data", "HDF5Data", "SoftmaxWithLoss", "InfogainLoss")]


@pytest.fixture(scope="module")
def caffe():
    pytest.importorskip("caffe")
    with caffe_process.Caffe(60) as process:
        yield process


@hypothesis.settings(max_examples=examples(300))
@hypothesis.given(mutated())
def test_in_caffe(caffe, text):
    try:
        net = Net(text)
    except ValueError:
        return
    report = check.check(net, [State("TRAIN")], caffe)
    assert "no_caffe" not in [fault.kind for fault, _ in report.faults]


def check_all(text):
    net = Net(text)
    check.check(net, usual_states(net))


def test_time_is_linear():
    check_all(large(10))
    assert calls(check_all, large(300)) < 11 * calls(check_all, large(30))
