"""Packages that are missing: an error that says how to install them, or no bar of progress."""
from __future__ import division, print_function

import sys

import pytest

from caffe_losses.optional_packages import optional, progress


class Terminal(object):
    """A standard error that is a terminal."""

    def __init__(self):
        self.text = ""

    def isatty(self):
        return True

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def test_a_missing_package_is_named_with_how_to_install_it(monkeypatch):
    assert optional("json", "JSON") is sys.modules["json"]
    assert optional("no_such_package", "JSON", "json") is sys.modules["json"]
    monkeypatch.setitem(sys.modules, "PIL", None)
    for names, message in [
            (("PIL", "images"), "expected the Python package PIL, for images, got none: pip install Pillow"),
            (("one", "HDF5", "two"), "expected the Python package one or two, for HDF5, got none: pip install one")]:
        with pytest.raises(ImportError) as error:
            optional(*names)
        assert str(error.value) == message


@pytest.mark.parametrize("installed", [True, False])
def test_progress(monkeypatch, installed):
    if installed:
        pytest.importorskip("tqdm")
    else:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(progress(iter(["a", "bc"]), 3, " letters", len)) == ["a", "bc"]
    assert ("letters" in terminal.text) == installed
    monkeypatch.setattr(sys, "stderr", None)
    assert list(progress([1, 2])) == [1, 2]
