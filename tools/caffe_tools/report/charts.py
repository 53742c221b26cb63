"""Charts of trainings and their evaluations, by matplotlib, as bytes of a PNG.

Every picture is one narrow chart, so that it can be read on a telephone. Methods are told apart by the dashes of
their lines, too, and not by colour alone: they often lie on one another.
"""
from __future__ import division, print_function

import collections
import gc
import io

import numpy as np

from caffe_losses.evaluation.intervals import mean_interval
from caffe_tools.report.matrix_plot import draw_matrix, drawing, is_logarithmic, short_label, side_inches

WIDTH, HEIGHT = 4.1, 2.7  # inches, of the chart without what is written around it
DPI = 200
# Okabe and Ito's colours, which colour-blind eyes tell apart, less the yellow, which white paper swallows.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", "--", ":", "-.")
INK, GRID, SOFT = "#222222", "#E4E4E4", "#8A8A8A"
STYLE = {"font.size": 9, "axes.titlesize": 10, "axes.labelsize": 9, "legend.fontsize": 8, "axes.labelcolor": INK,
         "text.color": INK, "xtick.color": INK, "ytick.color": INK, "axes.edgecolor": "#BBBBBB",
         "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
MOST_THIN = 2  # seeds of which each has its line; their interval is wider than the chart
ROW = .42  # inches, of a class in a chart of recalls
MOST_CLASSES = 25  # in a chart of recalls
MOST_POINTS = 1000  # of a line; of more, means of neighbours
LARGEST = 1e100  # a larger value is drawn as one that is not finite
LONGEST_LABEL = 40
NO_BOUNDS = (-float("inf"), float("inf"))

# Figures of one method by iteration. runs: list of (iterations, values), one for each seed.
Curve = collections.namedtuple("Curve", "name runs")


def curves(list_of_curves, ylabel, steps=False, bounds=NO_BOUNDS):
    """Draw a line for each method: the mean over its seeds, in a band that is its interval.

    Up to MOST_THIN seeds have no band and a thin line each, as have seeds that were not measured at the same
    iterations. A cross marks the last value before a NaN.

    list_of_curves: Curves, one for each method; one without runs keeps its colour free.
    steps: bool, whether a value holds until the next one. bounds: the least and the greatest value there can be.
    """
    return _by_iteration(list_of_curves, ylabel, bounds, lambda axes, name, runs, style: _draw_curve(
        axes, name, runs, dict(style, drawstyle="steps-post" if steps else "default"), bounds))


def spread(list_of_curves, ylabel, bounds=NO_BOUNDS):
    """Draw the median of many outputs for each method, in a band from the least to the greatest.

    list_of_curves: Curves whose runs are the outputs, of all seeds.
    """
    return _by_iteration(list_of_curves, ylabel, bounds, _draw_spread)


def _by_iteration(list_of_curves, ylabel, bounds, draw_runs):
    """Draw the runs of each method by draw_runs(axes, name, runs, style)."""
    def draw(axes):
        drawn = [np.zeros(0)]
        for i, (name, runs) in enumerate(list_of_curves):
            runs = [_points(x, y) for x, y in runs]
            if runs:
                draw_runs(axes, short_label(name, 60), runs, _line_style(i))
            drawn += [y[np.isfinite(y)] for _, y in runs]
        axes.set(xlabel="iteration", ylabel=short_label(ylabel, LONGEST_LABEL))
        _limit(axes, np.concatenate(drawn), bounds)
    return _picture(draw)


def _points(iterations, values):
    """Return the points of a curve as they can be drawn: few, and no number that a scale cannot take."""
    x, y = np.asarray(iterations, float), np.asarray(values, float)
    y = np.where(np.abs(y) > LARGEST, np.nan, np.where(np.abs(y) < 1 / LARGEST, 0, y))
    if len(y) > MOST_POINTS:
        ends = np.linspace(0, len(y), MOST_POINTS + 1).astype(int)
        x, y = [np.add.reduceat(array, ends[:-1]) / np.diff(ends) for array in (x, y)]
    return x, y


def _limit(axes, values, bounds):
    """Show all values; the intervals of few seeds may be so wide that nothing else could be told apart."""
    low, high = (values.min(), values.max()) if len(values) else (0, 0)
    if low > 0 and high > 50 * low:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.5, high * 1.5)
    elif high > low:
        more, least, most = .25 * (high - low), bounds[0], bounds[1]
        axes.set_ylim(max(low - more, least - .02), min(high + more, most + .02))


def _line_style(i):
    return dict(color=COLOURS[i % len(COLOURS)], linestyle=DASHES[i % len(DASHES)])


def _draw_curve(axes, name, runs, style, bounds):
    same = len(runs) > 1 and all(np.array_equal(x, runs[0][0]) for x, _ in runs)
    if same:
        x, table = runs[0][0], np.array([y for _, y in runs])
        means, lows, highs = _ends([mean_interval(column) for column in table.T])
        means[~np.isfinite(table).all(axis=0)] = np.nan  # the mean of those that are left would mislead
        if len(runs) > MOST_THIN:
            axes.fill_between(x, np.clip(lows, *bounds), np.clip(highs, *bounds), where=np.isfinite(means),
                              color=style["color"], alpha=.15, linewidth=0)
        _draw_line(axes, x, means, style, label=name)
    for i, (x, y) in enumerate(runs):
        if len(runs) == 1:
            _draw_line(axes, x, y, style, label=name)
        elif not same or len(runs) <= MOST_THIN:
            axes.plot(x, y, label=None if i or same else name, linewidth=.7, alpha=.6, **style)
        finite = np.isfinite(y)
        if not finite.all() and finite.any():
            last = np.flatnonzero(finite[:np.argmin(finite)])[-1:]
            axes.plot(x[last], y[last], marker="x", markersize=9, markeredgewidth=2, linestyle="", color=style["color"])


def _draw_line(axes, x, y, style, label):
    axes.plot(x, y, label=label, linewidth=1.6, marker="o", markersize=3 if len(x) < 40 else 0, **style)


def _draw_spread(axes, name, runs, style):
    x, table = runs[0][0], np.array([y for x, y in runs if np.array_equal(x, runs[0][0])])
    axes.fill_between(x, table.min(axis=0), table.max(axis=0), color=style["color"], alpha=.2, linewidth=0)
    axes.plot(x, np.median(table, axis=0), label=name, linewidth=1.6, **style)


def _ends(intervals):
    """Return (means, lows, highs) of Intervals, NaN for None."""
    return np.array([interval[:3] for interval in intervals], float).reshape(-1, 3).T


def recalls(names, counts, methods):
    """Draw a row for each class, with a dot and its interval for each method.

    names: list of class names. counts: list of int, their numbers of test samples.
    methods: list of (name, list of Interval, one for each class, whose mean is None where there is no sample).
    """
    def draw(axes):
        for i, (name, intervals) in enumerate(methods):
            means, lows, highs = _ends(intervals)
            at = np.arange(len(names)) + (i - (len(methods) - 1) / 2) * .8 / len(methods)
            axes.errorbar(means, at, xerr=np.nan_to_num([means - lows, highs - means]), label=short_label(name, 60),
                          color=COLOURS[i % len(COLOURS)], marker="os^Dv"[i // len(COLOURS) % 5], markersize=4,
                          linestyle="", elinewidth=.8, clip_on=False)
        axes.set_yticks(np.arange(len(names)))
        axes.set_yticklabels(["%s (%d)" % (short_label(name), count) for name, count in zip(names, counts)])
        axes.set_ylim(len(names) - .5, -.5)
        axes.set(xlim=(0, 1), xlabel="recall: the fraction of the class that is decided for it")
    return _picture(draw, ROW * len(names) + .2)


def reliability(methods):
    """Draw the fraction of right decisions by their confidence; on the diagonal the two are equal.

    methods: list of (name, bins as metrics.confidence_bins gives them).
    """
    def draw(axes):
        axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=":", label="as sure as right")
        for i, (name, bins) in enumerate(methods):
            count, right, confidence = np.asarray(bins, float)[np.asarray(bins)[:, 0] > 0].T
            axes.plot(confidence / count, right / count, marker="o", markersize=4, linewidth=1.4, clip_on=False,
                      label=short_label(name, 60), **_line_style(i))
        axes.set(xlim=(0, 1), ylim=(0, 1), ylabel="fraction right",
                 xlabel="confidence: the probability of the class decided for")
    return _picture(draw)


def matrix(entries, names, unit, limits=None):
    """Draw a heat map of a matrix, [true, predicted]. unit: str, of its entries. limits: those of a linear scale."""
    side = max(3.2, side_inches(len(entries)))

    def draw(axes):
        image = draw_matrix(axes, entries, names, limits)
        bar = axes.figure.colorbar(image, ax=axes, fraction=.046, pad=.02)
        bar.set_label(unit + (", log scale; grey: 0" if limits is None and is_logarithmic(entries) else ""))
        bar.outline.set_visible(False)
    return _picture(draw, side, side + 1, grid=False)


def _add_legend(axes):
    """Add a legend below the chart and its label, if anything in it has a name."""
    from matplotlib.transforms import ScaledTranslation
    _, labels = axes.get_legend_handles_labels()
    if not labels:
        return
    below = axes.transAxes + ScaledTranslation(0, -.5, axes.figure.dpi_scale_trans)  # inches
    longest = max(len(label) for label in labels)
    axes.legend(loc="upper left", bbox_to_anchor=(0, 0), bbox_transform=below, borderaxespad=0, handlelength=2.6,
                ncol=3 if longest < 9 else 2 if longest < 20 else 1)


def _picture(draw, height=HEIGHT, width=WIDTH, grid=True):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    gc.enable()  # as no longer needed figures are garbage in cycles; cli.run has it off
    with drawing(**STYLE):
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        axes = figure.add_subplot(1, 1, 1)
        if grid:
            axes.grid(color=GRID)
        axes.set_axisbelow(True)
        draw(axes)
        _add_legend(axes)
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=DPI, bbox_inches="tight")
    return content.getvalue()
