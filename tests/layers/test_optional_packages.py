"""Packages that are missing: an error that says how to install them, or no bar of progress."""
from __future__ import division, print_function

import io
import json
import sys

import pytest

from caffe_losses.optional_packages import explain, optional, progress, progress_bar, stand_in


class Terminal(io.StringIO):
    """A standard error that is a terminal, and takes str on Python 2 too."""

    def isatty(self):
        return True

    def write(self, text):
        return super(Terminal, self).write(u"%s" % text)


def test_a_missing_package_is_named_with_how_to_install_it(monkeypatch):
    assert optional("json", "JSON") is sys.modules["json"]
    assert optional("no_such_package", "JSON", "json") is sys.modules["json"]
    monkeypatch.setitem(sys.modules, "PIL", None)
    for names, message in [
            (("PIL", "images"), "expected the Python package PIL, for images, got none: pip install Pillow, "
                                "or run it by tools/with_caffe.sh"),
            (("one", "HDF5", "two"), "expected the Python package one or two, for HDF5, got none: pip install one, or "
                                      "run it by tools/with_caffe.sh")]:
        with pytest.raises(ImportError) as error:
            optional(*names)
        assert str(error.value) == message


def test_a_package_that_is_broken_is_not_called_missing(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(tmp_path))
    for kind, text in (("ImportError", "libhdf5.so: no such file"), ("TypeError", "duplicate file name caffe.proto")):
        (tmp_path / ("broken_%s.py" % kind)).write_text(u"raise %s(%r)" % (kind, text))
        with pytest.raises(ImportError) as error:
            optional("broken_" + kind, "HDF5")
        assert "got one that cannot be imported (%s): " % text in str(error.value)
    assert explain(ImportError("libhdf5.so: no such file")) == "libhdf5.so: no such file"


def test_explain():
    assert explain(ImportError("No module named 'google'")).startswith(
        "expected the Python package google, got none: pip install protobuf, or ")
    for text in (ImportError("No module named caffe"), "ModuleNotFoundError: No module named 'caffe'"):
        assert explain(text) == "expected the Python package caffe, got none: run it by tools/with_caffe.sh"
    assert explain(ImportError("No module named 'json.no_part'")) == "No module named 'json.no_part'"


def test_a_stand_in_fails_where_it_is_used(monkeypatch):
    monkeypatch.setitem(sys.modules, "no_such_package", None)
    stand_in("no_such_package", "matrices")
    import no_such_package
    kept = no_such_package.zeros
    with pytest.raises(ImportError, match="^expected the Python package no_such_package, for matrices, got none: "):
        kept(3)
    stand_in("json", "JSON")
    assert json.loads("1") == 1


def drawn(monkeypatch, stderr):
    """Return what is drawn on a standard error by a bar and by a loop."""
    monkeypatch.setattr(sys, "stderr", stderr)
    with progress_bar(7, " nets", desc="made") as bar:
        bar.update(7)
    assert list(progress(iter(["a", "bc"]), 3, " letters", len)) == ["a", "bc"]
    return stderr and stderr.getvalue()


def test_a_bar_on_a_terminal_only(monkeypatch):
    pytest.importorskip("tqdm")
    text = drawn(monkeypatch, Terminal())
    assert "made:   0%" in text and "letters" in text
    assert drawn(monkeypatch, io.StringIO()) == ""


def test_no_bar_without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert drawn(monkeypatch, Terminal()) == ""


def test_no_standard_error(monkeypatch):
    assert drawn(monkeypatch, None) is None
