"""The study on real data: R's files, settings and decisions, and its words."""
from __future__ import division, print_function

import json
import os
import struct
import subprocess
import sys

import numpy as np
import pytest

import real_nets

caffe = pytest.importorskip("caffe")
pytest.importorskip("h5py")

STUDY = os.path.join(real_nets.CHECKOUT, "examples", "study")
sys.path[:0] = [STUDY]

import rda
import real_data
import real_report
from caffe_losses.evaluation.comparison import BETTER, NOISE, WORSE


# R's files

def item(kind, *parts):
    return b"".join(part if isinstance(part, bytes) else struct.pack(">i", part) for part in (kind,) + parts)


def chars(text):
    return item(9, len(text), text.encode("ascii"))


def strings(*texts):
    return item(16, len(texts), *map(chars, texts))


def pair(name, value, rest):
    return item(2 | 0x400, name, value, rest)


def symbol(text):
    return item(1, chars(text))


NONE = item(254)
FACTOR = item(13 | 0x300, 3, 2, 1, 2, pair(symbol("levels"), strings("a", "b"), pair(
    symbol("class"), strings("factor"), NONE)))
FRAME = item(19 | 0x300, 3, item(14, 3, struct.pack(">3d", 1.5, 2, -1)), item(13, 3, 4, 5, 6), FACTOR, pair(
    symbol("names"), strings("x", "n", "y"), pair(item(255 | 3 << 8), strings("data.frame"), NONE)))
CONTENT = b"RDX2\nX\n" + struct.pack(">3i", 2, 0, 0) + pair(symbol("Toy"), FRAME, NONE)


def write_rda(path, content):
    with open(str(path), "wb") as file:
        process = subprocess.Popen(["xz", "-c"], stdin=subprocess.PIPE, stdout=file)
        process.communicate(content)


def test_a_data_frame_is_read(tmp_path):
    write_rda(tmp_path / "a.rda", CONTENT)
    frame = rda.read_frame(str(tmp_path / "a.rda"))
    assert sorted(frame) == ["n", "x", "y"]
    assert frame["x"].tolist() == [1.5, 2, -1] and frame["n"].tolist() == [4, 5, 6]
    assert frame["y"][0].tolist() == [1, 0, 1] and frame["y"][1] == ["a", "b"]


@pytest.mark.parametrize("content", [b"", b"RDX3" + CONTENT[4:], CONTENT[:-30], CONTENT[:40], CONTENT.replace(
    item(13, 3, 4), item(15, 3, 4)), b"RDX2\nX\n" + struct.pack(">3i", 2, 0, 0) + item(13, 1, 1)])
def test_another_file_is_one_line(tmp_path, content):
    write_rda(tmp_path / "a.rda", content)
    with pytest.raises(ValueError, match="a.rda: expected one data frame of R's, packed by xz, got something else"):
        rda.read_frame(str(tmp_path / "a.rda"))


def test_data_that_are_missing_are_one_line(tmp_path):
    status, out, err = real_nets.run([sys.executable, os.path.join(STUDY, "real_data.py"), "-o", str(tmp_path / "out")],
                                     env=dict(os.environ, MLBENCH=str(tmp_path)))
    assert (status, err.count("\n")) == (2, 1) and "install Debian's r-cran-mlbench, or set MLBENCH" in err


# Losses

def test_distances_of_near_classes():
    D = real_data.distances(["opel", "bus", "saab"], real_data.NEAR["Vehicle"])
    assert D.tolist() == [[0, 3, 1], [3, 0, 3], [1, 3, 0]]


def test_the_average_sample_weighs_1():
    counts = np.array([900, 90, 10])
    for kind, value in [(remedy.kind, remedy.values[0]) for remedy in real_data.WEIGHTS] + [("shuffled weights", 1)]:
        assert np.average(real_data.weights_of(kind, value, counts), weights=counts) == pytest.approx(1)
    w = real_data.weights_of("limit", 20, counts)
    assert w[1] / w[0] == pytest.approx(10) and w[2] / w[0] == pytest.approx(20)
    w = real_data.weights_of("power", .5, counts)
    assert w[2] / w[0] == pytest.approx(90 ** .5)
    w = [real_data.weights_of("shuffled weights", 1, counts, seed) for seed in range(9)]
    assert len(set(np.argmax(w, axis=1))) == 3


def test_smoothing_leaves_as_much_as_h():
    D = real_data.distances(["opel", "saab", "bus"], real_data.NEAR["Vehicle"])
    H, smoothing, shuffled = [real_data.matrix_of(kind, .5, None, D, 0)
                              for kind in ("tau", "smoothing", "shuffled costs")]
    assert np.diag(smoothing).mean() == pytest.approx(np.diag(H).mean())
    assert np.allclose(np.sort(H.ravel()), np.sort(shuffled.ravel())) and not np.allclose(H, shuffled)


# A run

def test_a_data_set_is_compared(tmp_path, monkeypatch):
    rng = np.random.RandomState(0)
    labels = np.repeat([0, 1, 2, 3], [60, 40, 20, 10])
    data = rng.randn(130, 3) + labels[:, None], labels, ["opel", "saab", "bus", "van"]
    solver = real_data._read("real_solver.prototxt")
    monkeypatch.setattr(real_data, "_read", lambda name, read=real_data._read: solver.replace(
        "max_iter: 5000", "max_iter: 20") if name == "real_solver.prototxt" else read(name))
    for name, value in (
            ("RATES", [1]), ("N_CHOOSING", 1), ("DECAYED", "Vehicle"),
            ("RARE", [real_data.NONE] + real_data.WEIGHTS[:2] + [real_data.ADJUSTMENT._replace(values=[.5, 1])]),
            ("COSTS", [real_data.NONE, real_data.H._replace(values=[.1, .75]), real_data.COSTS[2]])):
        monkeypatch.setattr(real_data, name, value)
    monkeypatch.chdir(tmp_path)
    real_data._in_folder(str(tmp_path / "out"))
    found = real_data.DataSet("Vehicle", data, 1, 2).compare()
    n_trained = len(os.listdir("trained"))
    assert real_data.DataSet("Vehicle", data, 1, 2).compare()["rare"] == found["rare"]
    assert len(os.listdir("trained")) == n_trained
    assert found["train"] == [30, 20, 10, 5] and found["test"] == [30, 20, 10, 5]
    ways = {way["title"]: way for way in found["rare"] + found["costs"]}
    assert set(ways) == {
        "SoftmaxWithLoss", "class weights", "square roots of class weights", "logit adjustment",
        "SoftmaxWithLoss, weight decay", "class weights, weight decay", "logit adjustment, weight decay",
        "H from distances", "label smoothing"} | {
        remedy.title + real_data.AT_ITS_RATE for remedy in real_data.WEIGHTS[:2] + [real_data.ADJUSTMENT]} | {
        "%s at test time%s" % (remedy.title, words) for words in ("", ", calibrated") for remedy in
        real_data.WEIGHTS + [real_data.ADJUSTMENT]} | {
        "least expected cost at test time" + words for words in ("", ", calibrated")}
    assert all(len(way["scores"][key]) == 1 for way in ways.values() for key in ("recall", "accuracy", "cost"))
    assert ways["label smoothing"]["setting"] == ways["H from distances"]["setting"]
    assert len(found["tried"]) == 5 + 2 * (4 + 3) + 3 + 2
    json.dumps(found)


# Its words

def results():
    with open(os.path.join(STUDY, "real_results.json")) as file, open(os.path.join(STUDY, "results.json")) as of_study:
        return json.load(file), json.load(of_study)


def test_the_page_is_what_the_figures_say():
    with open(os.path.join(STUDY, "REAL.md"), "rb") as file:
        assert real_report.as_markdown(*results()).encode("utf-8") == file.read()


def test_evidence_in_words():
    cells = [(None, WORSE), (None, NOISE), (None, NOISE)]
    assert real_report.evidence({"A": [(None, BETTER)]}) == "better: A"
    assert real_report.evidence({"B": cells}) == "within the noise: 2 of 3 B; worse: 1 of 3 B"
