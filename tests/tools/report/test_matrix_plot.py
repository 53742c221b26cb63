"""Heat maps: names and entries can be read at every size."""
from __future__ import division, print_function

import io

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from caffe_tools.report import matrix_plot


def drawn(matrix, names=None):
    """The axes of a heat map, as large as matrix_picture makes it, and its renderer."""
    side = matrix_plot.side_inches(len(matrix))
    figure = Figure(figsize=(side, side), dpi=matrix_plot.DPI)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes([0, 0, 1, 1])
    image = matrix_plot.draw_matrix(axes, matrix, names)
    canvas.draw()
    return axes, image, canvas.get_renderer()


def gain(n_classes):
    return .9 * np.eye(n_classes) + np.random.RandomState(0).rand(n_classes, n_classes) * 1e-4


@pytest.mark.parametrize("n_classes, named", [(2, 2), (10, 10), (12, 12), (13, 13), (40, 40), (41, 41), (100, 100),
                                              (101, 51), (1000, 100), (4000, 100)])
def test_names_can_be_read(n_classes, named):
    """None stands over another, and none is smaller than 7 points."""
    axes, _, renderer = drawn(gain(n_classes), ["class %d of a long name" % c for c in range(n_classes)])
    for labels, low, high in ((axes.get_xticklabels(), "x0", "x1"), (axes.get_yticklabels(), "y0", "y1")):
        assert len(labels) == named and all(label.get_size() >= 7 for label in labels)
        spans = sorted((getattr(box, low), getattr(box, high))
                       for box in (label.get_window_extent(renderer) for label in labels))
        assert all(first[1] <= second[0] for first, second in zip(spans, spans[1:]))
    assert ("every" in axes.get_xlabel()) == (named < n_classes)


def test_entries_fit_into_their_cells():
    H = gain(12)
    H[0, :6] = [-123456, 1e-30, 0, 1, .25, 1e12]
    axes, _, renderer = drawn(H)
    cell = axes.transData.transform((1, 0))[0] - axes.transData.transform((0, 0))[0]
    assert len(axes.texts) == 144
    for text in axes.texts:
        assert text.get_window_extent(renderer).width < cell, text.get_text()


def test_no_large_entry_is_lost_in_a_large_matrix():
    H = np.zeros((4001, 4001))
    H[3999, 17] = 1
    _, image, _ = drawn(H)
    cells = image.get_array()
    assert cells.shape == (1334, 1334) and cells[1333, 5] == 1 and cells.sum() == 1


def test_scale():
    def logarithmic(H):
        return isinstance(drawn(np.array(H))[1].norm, matplotlib.colors.LogNorm)
    assert logarithmic([[1, .001], [0, 1.]])
    assert not logarithmic([[1, .1], [0, 1.]])
    assert not logarithmic([[1, -.001], [.001, 1.]])
    assert not logarithmic(np.eye(3)) and not logarithmic(np.zeros((2, 2)))


@pytest.mark.parametrize("kind, start", [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_formats(kind, start):
    file = io.BytesIO()
    matrix_plot.matrix_picture("H." + kind, gain(3), ["$1 shirt", u"b\u00f6ot", "x" * 40])(file)
    assert file.getvalue().startswith(start)


@pytest.mark.parametrize("weights", [[.25, 3, 0], [1e-4, 1, 30], list(range(1, 300))])
def test_class_weights_alone_are_bars(weights):
    assert matrix_plot.is_diagonal(np.diag(weights)) and not matrix_plot.is_diagonal(gain(3))
    axes = Figure().add_subplot(1, 1, 1)
    matrix_plot.draw_weights(axes, weights)
    assert [bar.get_height() for bar in axes.patches] == weights
    assert axes.get_yscale() == ("log" if min(w for w in weights if w) < max(weights) / 100 else "linear")
    file = io.BytesIO()
    matrix_plot.matrix_picture("H.png", np.diag(weights))(file)
    assert file.getvalue().startswith(b"\x89PNG")
