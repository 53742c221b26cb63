"""Progress bars with and without tqdm and a terminal."""
from __future__ import division, print_function

import io
import sys

import pytest

from caffe_losses.compat import progress_bar


class Terminal(io.StringIO):
    """A file that says it is a terminal, and takes str on Python 2 too."""

    def isatty(self):
        return True

    def write(self, text):
        return super(Terminal, self).write(u"%s" % text)


def drawn(file):
    with progress_bar(7, " nets", file=file, desc="made") as bar:
        bar.update(7)
    return file.getvalue()


def test_a_bar_on_a_terminal_only():
    pytest.importorskip("tqdm")
    assert "made:   0%" in drawn(Terminal()) and drawn(io.StringIO()) == ""


def test_no_bar_without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert drawn(Terminal()) == ""


def test_no_standard_error(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with progress_bar(1, "B") as bar:
        bar.update()
