"""Any text at all: an error of one line, or a right answer; never anything else."""
from __future__ import division, print_function

import difflib
import os
import re

import pytest

import corpus
from caffe_losses.compat import from_bytes
from caffe_prototxt.net import losses
from caffe_prototxt.rewrite import diff
from caffe_prototxt.net.nets import Net

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import strategies as st  # noqa: E402

from any_net import PIECES, mutated  # noqa: E402

MATRICES = [("source", "H.binaryproto"), ("ComputeH", {"n_classes": 3}), ("ComputeH", {"n_classes": 3, "running": .9}),
            ("InfogainMatrix", {"source": "H.npy"}), ("blob", "label"), None]


@hypothesis.settings(max_examples=400, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(mutated(), st.sampled_from([None] + list(losses.KINDS)), st.sampled_from(MATRICES), st.booleans())
def test_mutated_nets(text, kind, matrix, classic):
    pytest.importorskip("caffe")
    try:
        after, edits, _ = corpus.changed(text, kind, matrix, classic)
    except ValueError as error:
        assert str(error) and "not written" not in str(error), error
        return
    assert corpus.changed(after, kind, matrix, classic)[0] == after
    assert patched(text, diff.unified(text, edits, "net")) == after


@hypothesis.settings(max_examples=300, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(st.lists(st.sampled_from(PIECES), max_size=25).map(" ".join) | st.binary(max_size=60).map(from_bytes), st.sampled_from(MATRICES))
def test_any_text(text, matrix):
    pytest.importorskip("caffe")
    try:
        after = corpus.changed(text, None, matrix)[0]
    except ValueError as error:
        assert "not written" not in str(error)
        return
    assert corpus.changed(after, None, matrix)[0] == after


def patched(text, unified):
    """The text with a unified diff applied, as patch does it."""
    lines = re.findall("[^\n]*\n|[^\n]+", text)
    made, at = [], 0
    for head, body in re.findall(r"^@@ -(\d+,\d+) \+\d+,\d+ @@\n((?:[ +\\-].*\n)*)", unified, re.M):
        start, count = map(int, head.split(","))
        start -= count > 0
        made += lines[at:start]
        at = start
        for line in re.findall("[^\n]*\n", body.replace("\n\\ No newline at end of file\n", "\0\n")):
            content = line[1:].replace("\0\n", "")
            if line[0] in " -":
                assert lines[at] == content
                at += 1
            if line[0] in " +":
                made.append(content)
    return "".join(made + lines[at:])


@hypothesis.settings(max_examples=300, deadline=None)
@hypothesis.given(st.text(alphabet="ab\n", max_size=60), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9), st.text(alphabet="xa\n", max_size=6)), max_size=4))
def test_the_diff_is_one(text, wanted):
    edits, end = [], 0
    for start, length, new in sorted(wanted):
        if end <= start <= len(text):
            edits.append((start, min(start + length, len(text)), new))
            end = edits[-1][1] + 1
    after, at = "", 0
    for start, stop, new in edits:
        after += text[at:start] + new
        at = stop
    after += text[at:]
    unified = diff.unified(text, edits, "net")
    assert patched(text, unified) == after
    assert bool(unified) == (after != text)


def test_the_diff_is_difflibs():
    text = "".join("line %d\n" % i for i in range(60))
    edits = [(7, 13, "other"), (70, 70, "new\n"), (300, 308, "")]
    after = text[:7] + "other" + text[13:70] + "new\n" + text[70:300] + text[308:]
    expected = difflib.unified_diff(text.splitlines(True), after.splitlines(True), "net", "net")
    assert diff.unified(text, edits, "net") == "".join(expected)


def large(layers):
    """A net with so many layers, and a loss in every tenth."""
    ordinary = ('layer {\n  name: "conv%d"  # ordinary\n  type: "Convolution"\n  bottom: "b%d"\n  top: "b%d"\n  convolution_param {\n'
                '    num_output: 3\n    weight_filler { type: "xavier" }\n  }\n}\n')
    loss = 'layer {\n  name: "loss%d"\n  type: "SoftmaxWithLoss"\n  bottom: "b%d"\n  bottom: "label"\n  top: "loss%d"\n}\n'
    return 'layer { name: "d" type: "Data" top: "b0" top: "label" }\n' + "".join(
        (loss % (i, i, i) if i % 10 == 9 else "") + ordinary % (i, i, i + 1) for i in range(layers))


@pytest.mark.parametrize("kind, matrix, names", [
    ("InfogainLoss", ("source", "H.binaryproto"), ["loss9"]),
    ("caffe_losses.InfogainLoss", ("ComputeH", {"n_classes": 3}), [])])
def test_time_is_linear(kind, matrix, names):
    pytest.importorskip("caffe")
    took = []
    for layers in (2600, 26000):
        text = large(layers)
        start = sum(os.times()[:2])  # of this process, whatever else the machine does
        after, edits, unchecked = corpus.changed(text, kind, matrix, names=names)
        assert diff.unified(text, edits, "net")
        took.append(sum(os.times()[:2]) - start)
        net = Net(text)
        assert net.n_classes(net.layers[-1], "b%d" % (layers - 1)) == 3
    assert len(text) > 4900000 and ("larger than 1 MB" in unchecked)
    assert took[1] < 5 + 5 * (not names) and took[1] < 30 * took[0] + .3, took
