"""inspect_h.py: its tables, its pictures and its differences, and errors of one line."""
from __future__ import division, print_function

import json
import os
import re

import numpy as np
import pytest

from commands import run_main
from caffe_losses.formats.matrix_files import write_matrix

H = np.array([[.5, .25, .25], [0, 2, 0], [.5, .375, .125]])


@pytest.fixture
def folder(tmp_path):
    write_matrix(str(tmp_path / "H.binaryproto"), H)
    write_matrix(str(tmp_path / "H.csv"), H + np.array([[0, 0, 0], [0, 0, -.5], [.25, .25, 0]]))
    write_matrix(str(tmp_path / "D.npy"), 1 - np.eye(3))
    write_matrix(str(tmp_path / "big.npy"), np.eye(25) + np.arange(25)[:, np.newaxis] / 100)
    (tmp_path / "names.txt").write_text(u"shirt\ndress\nb\u00f6ot\n", encoding="utf-8")
    return str(tmp_path)


def inspect(folder, *arguments):
    status, out, err = run_main("inspect_h.py", *arguments, cwd=folder)
    assert not err, err
    return status, out


def test_show(folder):
    status, out = inspect(folder, "show", "H.binaryproto")
    assert status == 0
    assert out.splitlines() == [
        "H.binaryproto: H, 3 x 3, entries 0 to 2, row sums 1 to 2, not symmetric, least loss 0.6713 (0 to 1.04 a class)",
        "warning: H attracts the samples of class 2 to another class more than to their own",
        "class  row sum  for itself  least loss  attracted to",
        "0            1      50.0 %        1.04  1: 0.25, 2: 0.25",
        "1            2     100.0 %           0",
        "2            1      12.5 %      0.9743  0: 0.5, 1: 0.375"]


def test_show_with_names(folder):
    _, out = inspect(folder, "show", "H.binaryproto", "--names", "names.txt", "--classes", "2,shirt", "--most", "1")
    lines = out.splitlines()[2:]
    assert len(lines) == 3 and lines[1].endswith("  shirt: 0.5") and lines[2].endswith("  dress: 0.25")
    assert lines[2].startswith("0 shirt ")


def test_show_of_many_classes(folder):
    _, out = inspect(folder, "show", "big.npy")
    lines = out.splitlines()
    assert len(lines) == 1 + 1 + 20 + 1
    assert [line.split()[0] for line in lines[2:-1]] == [str(l) for l in range(5, 25)]
    assert lines[-1] == ("(the 20 of 25 classes with the smallest share for themselves; --classes shows others, "
                         "--json all)")


def test_json(folder):
    status, out = inspect(folder, "show", "big.npy", "--json")
    found = json.loads(out)
    assert status == 0 and len(found["classes"]) == 25 and found["n_classes"] == 25
    row = found["classes"][3]
    assert row["label"] == 3 and row["row_sum"] == pytest.approx(1 + 25 * .03)
    assert row["attracted_to"] == [{"label": k, "name": str(k), "gain": .03} for k in (0, 1, 2)]


def test_show_of_distances_is_remarked(folder):
    _, out = inspect(folder, "show", "D.npy")
    assert "warning: H looks like distances" in out
    assert "make_h.py --distances" in out


def test_show_of_negative_and_empty_rows(folder):
    write_matrix(os.path.join(folder, "odd.npy"), [[1, -.5], [0, 0]])
    _, out = inspect(folder, "show", "odd.npy")
    assert "least loss none, as entries are negative" in out
    assert "warning: H has 1 negative entries" in out and "nothing in row 1" in out
    assert re.search(r"^1 +0 +- +0$", out, re.M)


def test_diff(folder):
    status, out = inspect(folder, "diff", "H.binaryproto", "H.csv")
    assert status == 1
    assert out.splitlines() == [
        "H.binaryproto and H.csv: 3 of 9 entries differ by more than what float32 rounds",
        "by the most, 0.5, at (1, 2): 0 and -0.5",
        "by the most in sum, 0.5, in row 1"]
    status, out = inspect(folder, "diff", "H.binaryproto", "H.csv", "--tolerance", ".5", "--names", "names.txt")
    assert status == 0 and "equal, 3 x 3, but for at most 0.5, within 0.5, at (dress, b" in out
    status, out = inspect(folder, "diff", "H.binaryproto", "H.binaryproto")
    assert status == 0 and out == "H.binaryproto and H.binaryproto: equal, 3 x 3\n"
    status, out = inspect(folder, "diff", "H.binaryproto", "H.csv", "--json")
    found = json.loads(out)
    assert status == 1 and not found["equal"] and found["different"] == 3 and found["at"] == [1, 2]


def test_diff_of_one_matrix_in_two_formats(folder):
    write_matrix(os.path.join(folder, "third.npy"), H / 3)
    write_matrix(os.path.join(folder, "third.binaryproto"), H / 3)
    status, out = inspect(folder, "diff", "third.npy", "third.binaryproto")
    assert status == 0 and out.startswith("third.npy and third.binaryproto: equal, 3 x 3, but for at most ")
    status, out = inspect(folder, "diff", "third.npy", "third.binaryproto", "--tolerance", "0")
    assert status == 1 and "entries differ by more than 0\n" in out
    status, out = inspect(folder, "diff", "third.npy", "third.binaryproto", "--json")
    assert status == 0 and json.loads(out)["equal"] and json.loads(out)["different"] == 0


def test_an_input_is_not_drawn_over(folder):
    os.rename(os.path.join(folder, "H.csv"), os.path.join(folder, "H.png"))
    status, out, err = run_main("inspect_h.py", "plot", "H.png", "-o", "./H.png", cwd=folder)
    assert status == 2 and "-o ./H.png: expected a file that is not read, got the input H.png" in err


def test_plot(folder):
    pytest.importorskip("matplotlib")
    for file, names in (("H.binaryproto", ["--names", "names.txt"]), ("big.npy", [])):
        status, out = inspect(folder, "plot", file, "-o", "H.png", *names)
        assert status == 0 and out.startswith("H.png: %s as a picture" % file)
        with open(os.path.join(folder, "H.png"), "rb") as picture:
            assert picture.read(8) == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("arguments, message", [
    ([], "show|plot|diff"),
    (["look", "H.binaryproto"], "invalid choice"),
    (["show", "missing.npy"], "missing.npy: cannot be read: No such file"),
    (["show", "names.txt"], "names.txt: expected a file that ends in"),
    (["show", "H.binaryproto", "--names", "short.txt"], "short.txt: expected 3 class names, one a line, got 1"),
    (["show", "H.binaryproto", "--classes", "3"], "--classes: expected names or labels 0..2, got '3'"),
    (["show", "H.binaryproto", "--most", "0"], "--most: expected at least 1, got 0"),
    (["show", "wide.npy"], "wide.npy: expected a square matrix, got shape 2 x 3"),
    (["show", "nan.npy"], r"nan.npy at \(0, 0\): expected a finite number, got nan"),
    (["plot", "H.binaryproto"], "-o"),
    (["plot", "H.binaryproto", "-o", "H.foo"], "H.foo: expected a picture that ends in"),
    (["diff", "H.binaryproto", "big.npy"], "expected two matrices of one shape, got 3 x 3 and 25 x 25"),
    (["diff", "H.binaryproto", "H.csv", "--tolerance", "nan"], "--tolerance: expected a number of at least 0, got nan"),
])
def test_errors(folder, arguments, message):
    np.save(os.path.join(folder, "wide.npy"), np.ones((2, 3)))
    np.save(os.path.join(folder, "nan.npy"), np.full((2, 2), np.nan))
    with open(os.path.join(folder, "short.txt"), "w") as file:
        file.write("a\n")
    status, out, err = run_main("inspect_h.py", *arguments, cwd=folder)
    assert status == 2 and not out
    assert len(err.splitlines()) == 1 and re.search(message, err), err
