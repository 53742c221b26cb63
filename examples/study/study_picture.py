"""Draw the study as one picture, made to be read at 900 pixels wide."""
from __future__ import division, print_function

import matplotlib
matplotlib.use("Agg")

from caffe_losses.evaluation.intervals import mean_interval
from caffe_tools.report.charts import COLOURS, INK, SOFT, STYLE
from matplotlib import pyplot, ticker
import numpy as np

import claims
import nets

BLUE, ORANGE, GREEN, PURPLE = COLOURS[:4]

# Of a data set: (method, rule), title, colour, marker. All are compared with SoftmaxWithLoss.
LINES = {
    "balanced": [
        (("tree", "probable"), "H from distances", ORANGE, "o"),
        (("none", "cheapest"), "no H; distances at test time", GREEN, "s"),
        (("smoothing", "probable"), "control: label smoothing", BLUE, "^"),
        (("shuffled", "probable"), "control: H, classes shuffled", SOFT, "x"),
    ],
    "tail": [
        (("weights", "probable"), "class weights", ORANGE, "o"),
        (("both", "probable"), "class weights and distances", PURPLE, "D"),
        (("none", "weighted"), "no H; weights at test time", GREEN, "s"),
        (("tree", "probable"), "H from distances", BLUE, "^"),
    ],
}


def draw(results, file):
    """Draw what the grid found, as PNG into an open file."""
    columns = list(nets.TITLES)
    with matplotlib.rc_context(STYLE):
        figure, axes = pyplot.subplots(2, len(columns), figsize=(9, 7.2), sharey="row")
        for column, net in enumerate(columns):
            for row, data_set in enumerate(("balanced", "tail")):
                grid = [cell for cell in results["cells"] if cell["data"] == data_set and cell["net"] == net]
                _draw_panel(axes[row, column], grid, data_set)
            axes[0, column].set_title("Balanced; net with %s" % nets.TITLES[net], loc="left")
            axes[1, column].set_title("Long tail; net with %s" % nets.TITLES[net], loc="left")
        axes[0, 0].set_ylabel("mean cost of a decision against\nSoftmaxWithLoss (%); lower is better")
        axes[1, 0].set_ylabel("mean recall against SoftmaxWithLoss\n(points); higher is better")
        figure.subplots_adjust(left=.095, right=.985, top=.915, bottom=.075, hspace=.5, wspace=.06)
        for row, height in enumerate((.995, .5)):
            figure.legend(*axes[row, 0].get_legend_handles_labels(), ncol=4, loc="upper center", columnspacing=1.2,
                          handletextpad=.3, bbox_to_anchor=(.53, height))
        figure.savefig(file, format="png", dpi=200)
        pyplot.close(figure)


def _draw_panel(axes, grid, data_set):
    for i, (way, title, colour, marker) in enumerate(LINES[data_set]):
        intervals = [_difference(cell, way, data_set) for cell in grid]
        shift = 1.06 ** (i - (len(LINES[data_set]) - 1) / 2)  # else the marks hide each other
        axes.errorbar([sum(cell["counts"]) * shift for cell in grid], [interval.mean for interval in intervals],
                      [interval.mean - interval.low for interval in intervals], label=title, color=colour,
                      marker=marker, markersize=5.5, linewidth=1.3, elinewidth=1.1, capsize=2)
    axes.axhline(0, color=INK, linewidth=.8, zorder=0)
    axes.set_xscale("log")
    axes.set_xticks([sum(cell["counts"]) for cell in grid])
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda n, _: "{:,.0f}".format(n)))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.set_xlabel("training images")
    axes.grid(axis="y", color="#EEEEEE")
    axes.set_axisbelow(True)


def _difference(cell, way, data_set):
    """Return the Interval of a way's gain over SoftmaxWithLoss: in % of the cost, in points of the mean recall."""
    metric = "cost" if data_set == "balanced" else "accuracy"
    before, after = [np.array(cell["scores"][method][rule][metric]) for method, rule in (claims.NONE, way)]
    return mean_interval(100 * (after - before) / (before.mean() if data_set == "balanced" else 1))
