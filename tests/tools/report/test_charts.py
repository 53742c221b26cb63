"""Charts: every text can be read, and lines and bars show what they are given."""
from __future__ import division, print_function

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib.colors") and pytest.importorskip("matplotlib")

from caffe_tools.report import charts
from caffe_losses.evaluation.intervals import Interval, mean_interval

NAMES = ["SoftmaxWithLoss", u"H, cost $1 \u2603", "a", "b", "c", "d", "e", "f", "g"]


def curve(name, *runs):
    return charts.Curve(name, [(range(len(values)), values) for values in runs])


@pytest.fixture
def drawn(monkeypatch):
    """The axes of every picture that is made, with a renderer."""
    axes = []
    plain = charts._picture

    def keep(draw, *arguments, **options):
        def and_keep(axis):
            draw(axis)
            axes.append(axis)
        return plain(and_keep, *arguments, **options)
    monkeypatch.setattr(charts, "_picture", keep)
    return axes


def check(axes):
    """No text stands over another, and both axes say what they are."""
    axes.figure.canvas.draw()
    renderer = axes.figure.canvas.get_renderer()
    texts = [axes.xaxis.label, axes.yaxis.label] + axes.get_xticklabels() + axes.get_yticklabels()
    boxes = [text.get_window_extent(renderer) for text in texts if text.get_text() and text.get_visible()]
    boxes += [axes.get_legend().get_window_extent(renderer)] if axes.get_legend() else []
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            assert not (a.x0 < b.x1 - 1 and b.x0 < a.x1 - 1 and a.y0 < b.y1 - 1 and b.y0 < a.y1 - 1), (a, b)
    assert axes.get_xlabel()


@pytest.mark.parametrize("n_methods", [1, 3, 9])
@pytest.mark.parametrize("n_seeds", [1, 2, 3])
def test_curves(drawn, n_methods, n_seeds):
    png = charts.curves([curve(name, *[[2.5, 1.5 + i, 1] for i in range(n_seeds)]) for name in NAMES[:n_methods]], "loss")
    assert png.startswith(b"\x89PNG")
    (axes,) = drawn
    check(axes)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("iteration", "loss")
    bands = n_methods if n_seeds > charts.MOST_THIN else 0
    assert len(axes.collections) == bands
    means = [line for line in axes.lines if not line.get_label().startswith("_")]
    assert len(means) == n_methods
    np.testing.assert_allclose(means[0].get_ydata()[1], 1.5 + (n_seeds - 1) / 2)


def test_seeds_of_other_iterations_have_a_line_each(drawn):
    charts.curves([charts.Curve("a", [([0, 1], [2, 1]), ([0, 5], [3, 1])])], "loss")
    assert [line.get_xdata().tolist() for line in drawn[0].lines] == [[0, 1], [0, 5]]


def test_a_cross_where_a_run_diverged(drawn):
    charts.curves([curve("a", [3, 2, np.nan, np.nan], [3, 2, 1, 1])], "loss")
    crosses = [line for line in drawn[0].lines if line.get_marker() == "x"]
    assert [(line.get_xdata().tolist(), line.get_ydata().tolist()) for line in crosses] == [([1], [2])]
    mean = [line for line in drawn[0].lines if line.get_label() == "a"][0]
    np.testing.assert_array_equal(mean.get_ydata(), [3, 2, np.nan, np.nan])


@pytest.mark.parametrize("values", [[], [np.nan], [np.nan, np.inf], [1], [0, 0], [1e-30, 1e30], [-1, 5], [1e308, -1e308],
                                    [1e308] * 5000, [5e-324, 1e-320, 1], [1.7e308, 1]])
@pytest.mark.parametrize("chart", [charts.curves, charts.spread])
def test_odd_values(drawn, values, chart):
    assert chart([curve("a", values), curve("b")], "loss").startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["$x_{$", "$$", "\\frac{$", "\\$", "$\\alpha$", "%s{}", u"\u2603" * 99])
def test_odd_names(drawn, name):
    assert charts.curves([curve(name, [1, 2])], name).startswith(b"\x89PNG")


def test_the_learning_rate_is_drawn_as_steps(drawn):
    charts.curves([curve("a", [.1, .01])], "learning rate", steps=True)
    assert drawn[0].lines[0].get_drawstyle() == "steps-post"


def test_many_outputs_share_a_band(drawn):
    charts.spread([curve("a", *np.arange(1200).reshape(400, 3))], "per_class")
    (axes,) = drawn
    assert len(axes.collections) == 1 and axes.lines[0].get_ydata().tolist() == [598.5, 599.5, 600.5]


@pytest.mark.parametrize("chart", [charts.curves, charts.spread])
def test_shares_stay_within_their_bounds(drawn, chart):
    chart([curve("a", [.1, .9], [.9, 1], [.2, .95])], "accuracy", bounds=(0, 1))
    (axes,) = drawn
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert 0 <= band.min() and band.max() <= 1 and axes.get_ylim()[1] < 1.05


def test_a_long_curve_is_thinned_in_the_picture(drawn):
    charts.curves([curve("a", np.arange(5000.))], "loss")
    assert len(drawn[0].lines[0].get_ydata()) == charts.MOST_POINTS


def test_a_wide_range_is_logarithmic(drawn):
    charts.curves([curve("a", [100, 1])], "loss")
    charts.curves([curve("a", [10, 1])], "loss")
    charts.curves([curve("a", [100, 0])], "loss")
    assert [axes.get_yscale() for axes in drawn] == ["log", "linear", "linear"]


@pytest.mark.parametrize("n_methods", [1, 2, 5, 6, 9])
@pytest.mark.parametrize("n_classes", [2, 10, charts.MOST_CLASSES])
def test_recalls(drawn, n_methods, n_classes):
    intervals = [mean_interval([.1, .3]), Interval(None, None, None, 0), mean_interval([1])] * n_classes
    charts.recalls([u"class $%d of a long name\u2603" % i for i in range(n_classes)], [7] * n_classes,
                   [(name, intervals[:n_classes]) for name in NAMES[:n_methods]])
    (axes,) = drawn
    check(axes)
    np.testing.assert_allclose(axes.lines[0].get_xdata()[:2], [.2, np.nan])


def test_reliability(drawn):
    charts.reliability([(name, [[4, 1, 2.], [0, 0, 0], [10, 9, 8.]]) for name in NAMES])
    check(drawn[0])
    np.testing.assert_allclose(drawn[0].lines[1].get_xydata(), [[.5, .25], [.8, .9]])


@pytest.mark.parametrize("n_classes", [1, 2, 12, 50])
def test_matrix(drawn, n_classes):
    png = charts.matrix(100 * np.eye(n_classes), None, "% of the true class")
    assert png.startswith(b"\x89PNG")
    charts.matrix(100 * np.eye(n_classes) + .01, None, "% of the true class", (0, 100))
    assert drawn[1].images[0].get_clim() == (0, 100) and type(drawn[1].images[0].norm) is matplotlib.colors.Normalize
    if n_classes < 13:
        assert {text.get_text() for text in drawn[0].texts} <= {"0", "100"}


def test_no_two_of_many_methods_look_the_same(drawn):
    charts.curves([curve(str(i), [2, 1]) for i in range(28)], "loss")
    assert len({(line.get_color(), line.get_linestyle()) for line in drawn[0].lines}) == 28
