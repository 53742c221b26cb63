"""Any text at all: an error of one line, or a right answer; never anything else."""
from __future__ import division, print_function

import pytest

import corpus
from caffe_losses.compat import from_bytes
from caffe_prototxt.net import losses
from caffe_prototxt.net.matrix_sources import BlobMatrix, FileMatrix, compute_h, layer_that_reads
from caffe_prototxt.net.nets import Net

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import strategies as st  # noqa: E402

from any_net import PIECES, mutated  # noqa: E402
from counts import calls, examples  # noqa: E402

MATRICES = [FileMatrix("H.binaryproto"), compute_h({"n_classes": 3}), compute_h({"n_classes": 3, "running": .9}),
            layer_that_reads("H.npy"), BlobMatrix("label"), compute_h({}), None]


@hypothesis.settings(max_examples=examples(400))
@hypothesis.given(mutated(), st.sampled_from([None] + list(losses.KINDS)), st.sampled_from(MATRICES), st.booleans(), st.sampled_from([None, 3, True]))
def test_mutated_nets(text, kind, matrix, classic, label_check):
    pytest.importorskip("caffe")
    try:
        after = corpus.changed(text, kind, matrix, classic, label_check=label_check)[0]
    except ValueError as error:
        assert str(error) and "not written" not in str(error), error
        return
    assert corpus.changed(after, kind, matrix, classic, label_check=label_check)[0] == after


@hypothesis.settings(max_examples=examples(300))
@hypothesis.given(st.lists(st.sampled_from(PIECES), max_size=25).map(" ".join) | st.binary(max_size=60).map(from_bytes), st.sampled_from(MATRICES))
def test_any_text(text, matrix):
    pytest.importorskip("caffe")
    try:
        after = corpus.changed(text, None, matrix)[0]
    except ValueError as error:
        assert "not written" not in str(error)
        return
    assert corpus.changed(after, None, matrix)[0] == after


@hypothesis.settings(max_examples=examples(400))
@hypothesis.given(mutated(), st.sampled_from([{}, {"native": True}, {"running": .9}]), st.booleans())
def test_mutated_nets_are_adjusted(text, options, classic):
    pytest.importorskip("caffe")
    try:
        after = corpus.adjusted(text, [1, 2, 3], classic=classic, **options)
    except ValueError as error:
        assert str(error) and "not written" not in str(error), error
        return
    assert corpus.adjusted(after, [1, 2, 3], classic=classic, **options) == after
    assert corpus.adjusted(after, None, classic=classic) == text


def large(layers):
    """A net with so many layers, and a loss in every tenth."""
    ordinary = ('layer {\n  name: "conv%d"  # ordinary\n  type: "Convolution"\n  bottom: "b%d"\n  top: "b%d"\n  convolution_param {\n'
                '    num_output: 3\n    weight_filler { type: "xavier" }\n  }\n}\n')
    loss = 'layer {\n  name: "loss%d"\n  type: "SoftmaxWithLoss"\n  bottom: "b%d"\n  bottom: "label"\n  top: "loss%d"\n}\n'
    return 'layer { name: "d" type: "Data" top: "b0" top: "label" }\n' + "".join(
        (loss % (i, i, i) if i % 10 == 9 else "") + ordinary % (i, i, i + 1) for i in range(layers))


@pytest.mark.parametrize("kind, matrix, names", [
    ("InfogainLoss", FileMatrix("H.binaryproto"), ["loss9"]),
    ("caffe_losses.InfogainLoss", compute_h({"n_classes": 3}), [])])
def test_time_is_linear(kind, matrix, names):
    pytest.importorskip("caffe")

    def write(layers):
        text = large(layers)
        _, unchecked = corpus.changed(text, kind, matrix, names=names)
        net = Net(text)
        assert net.n_classes(net.layers[-1], "b%d" % (layers - 1)) == 3
        return unchecked

    write(10)  # imports what it needs
    assert calls(write, 300) < 11 * calls(write, 30)
    assert "larger than 1 MB" in write(6000)  # minutes, were one of the calls quadratic
