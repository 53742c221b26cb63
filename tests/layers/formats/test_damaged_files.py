"""Files that are cut off, flipped, lying or something else: an error or a matrix, never a crash or much memory."""
from __future__ import division, print_function

import json
import os
import random
import sys

import numpy as np
import pytest

import real_nets
from counts import examples
from caffe_losses.formats.matrix_files import write_matrix

FORMATS = [".binaryproto", ".caffemodel", ".csv", ".h5", ".json", ".lmdb", ".npy"]
THROUGH_A_LIBRARY = [".h5", ".lmdb"]  # which can crash, as Caffe does, on all damage but that of a file cut off
CONSTANT = 2 ** 24  # bytes of memory that do not depend on the file

# sizes, dims and lengths that lie, in the ways of the formats
LIES = [b"\xff", b"\x00", b"\x80", b"\x7f", b"\xff" * 4, b"\xff" * 8, b"\x00" * 4, b"\x00" * 8,
        b"\xff" * 9 + b"\x01", b"\x80\x80\x80\x80\x80\x80\x01", b"\x00\x00\x00\x80", b"\xff\xff\xff\x7f",
        b"(99999999, 99999999)", b"(0, 99999999999999999999999)", b"'|O'", b"nan", b"NaN", b"-inf", b"1e999", b"1e-400",
        b"9" * 400, b"[", b"]", b"{", b'{"a": 1, "a": 2}', b'"', b"null", b"true", b",", b"\n", b"#", b"0x1p3", b"1_0"]
TEXT = b"# gains of the classes\nshirt, boot\none two\n" * 20


def damage(content, rng, only_cut):
    """Return a content with one kind of damage, or a few."""
    if only_cut:
        return content[:rng.randrange(len(content))]
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        # most of what a reader has to believe stands at the start
        at = rng.randrange(rng.choice([64, 256, len(content)]) + 1) % (len(content) + 1)
        kind = rng.randrange(8)
        if kind == 0:
            del content[at:]
        elif kind == 1:
            del content[at:at + rng.choice([1, 4, 16, 100])]
        elif kind == 2:
            content[at:at] = bytearray(rng.randrange(256) for _ in range(rng.choice([1, 4, 16])))
        elif kind == 3:
            lie = rng.choice(LIES)
            content[at:at + rng.choice([0, len(lie)])] = lie
        elif kind == 4:
            content[at:at] = content[:rng.choice([8, 64])]
        elif content:
            content[at % len(content)] ^= 1 << rng.randrange(8)
    if rng.random() < .01:
        return rng.choice([b"", TEXT, TEXT[:1], b"\0" * len(content)])
    return bytes(content)


def read_damaged(good, matrix, trials, *options):
    """Write a good file and damaged ones, and read them all in a child process."""
    write_matrix(good, matrix)
    inside = "data.mdb" if good.endswith(".lmdb") else ""  # an LMDB is a folder
    with open(os.path.join(good, inside) if inside else good, "rb") as file:
        content = file.read()
    stem, ending = os.path.splitext(good)
    paths = [good]
    for trial in range(trials):
        paths.append("%s%d%s" % (stem, trial, ending))
        if inside:
            os.mkdir(paths[-1])
        with open(os.path.join(paths[-1], inside) if inside else paths[-1], "wb") as file:
            file.write(damage(content, random.Random(trial), ending in THROUGH_A_LIBRARY))
    program = os.path.join(real_nets.CHECKOUT, "tests", "read_damaged.py")
    status, out, err = real_nets.run([sys.executable, program] + list(options) + paths)
    assert status == 0, (status, err)  # that of a crash is negative
    return len(content), json.loads(out)


@pytest.mark.parametrize("ending", FORMATS)
def test_damaged(tmp_path, ending):
    matrix = np.random.RandomState(0).randn(12, 12).astype(np.float32)
    as_caffe = ["--as-caffe"] * (ending in (".binaryproto", ".caffemodel") and not os.environ.get("NO_CAFFE"))
    trials = examples(1500)
    _, found = read_damaged(str(tmp_path / ("H" + ending)), matrix, trials, *as_caffe)
    assert found["wrong"] == []
    assert len(found["errors"]) > trials / 5
    assert found["matrices"] > trials / 50 or ending in THROUGH_A_LIBRARY
    assert found["memory"] < CONSTANT


@pytest.mark.parametrize("ending", FORMATS)
def test_memory_with_large_damaged_files(tmp_path, ending):
    n = 700 if ending in (".csv", ".json") else 2000
    size, found = read_damaged(str(tmp_path / ("H" + ending)), np.random.RandomState(0).randn(n, n), examples(12))
    assert found["wrong"] == []
    assert found["memory"] < 2 * size + CONSTANT  # and before that, that of the one good file


@pytest.mark.skipif(not examples(1), reason="takes half a minute; make test-all runs it")
def test_little_memory_is_taken(tmp_path):
    pytest.importorskip("caffe")
    path = str(tmp_path / "figures.json")
    script = os.path.join(real_nets.CHECKOUT, "tests", "bench", "bench_matrix_files.py")
    status, _, err = real_nets.run([sys.executable, script, "--rounds", "1", "1500", "--json", path])
    assert status == 0, err
    with open(path) as file:
        rows = json.load(file)["figures"]["rows"]
    assert len(rows) == 10 and rows[0]["file"] == "caffe.io"
    for row in rows[1:]:
        most = 2.6 if row["file"] in (".lmdb", ".h5") else 1.2  # the library holds the file, and the pages it is to be on
        assert row["write"]["memory"] < most and row["read"]["memory"] < 1.2  # the file is mapped
