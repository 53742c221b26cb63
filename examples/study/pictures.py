"""Draw the study as one picture, and scenes as another, made to be read at 900 pixels wide."""
from __future__ import division, print_function

import matplotlib
matplotlib.use("Agg")

from caffe_losses.evaluation.intervals import mean_interval
from caffe_tools.report.charts import COLOURS, INK, SOFT, STYLE
from matplotlib import colors, patches, pyplot, ticker
import numpy as np

import claims
from create_data import IGNORED
import files

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
        (("adjusted", "probable"), "logit adjustment", BLUE, "^"),
    ],
}
RIM_COLOUR = "#FFFFFF"
# By label. A garment's colours are those of its group: tops blue and green, footwear red and orange.
CLASS_COLOURS = [INK, "#56B4E9", "#F0E442", "#0072B2", "#CC79A7", "#009E73", "#E66100", "#9AD8B5", "#FFB27F", "#9467BD",
                 "#C1121F"]


def draw(results, file):
    """Draw what the grid found, as PNG into an open file."""
    columns = list(files.TITLES)
    with matplotlib.rc_context(STYLE):
        figure, axes = pyplot.subplots(2, len(columns), figsize=(9, 7.2), sharey="row")
        for column, net in enumerate(columns):
            for row, data_set in enumerate(("balanced", "tail")):
                grid = [cell for cell in results["cells"] if cell["data"] == data_set and cell["net"] == net]
                _draw_panel(axes[row, column], grid, data_set)
            axes[0, column].set_title("Balanced; net with %s" % files.TITLES[net], loc="left")
            axes[1, column].set_title("Long tail; net with %s" % files.TITLES[net], loc="left")
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


def draw_scenes(scenes, truths, decisions, file):
    """Draw scenes side by side, and below each its labels and what was decided for, as PNG into an open file.

    scenes, truths: n x height x width, uint8, as create_data.scenes gives them; about 5 of them.
    decisions: pairs of a title and n x height x width decided classes, a row of the picture each.
    """
    with matplotlib.rc_context(STYLE):
        n_rows, n_columns = 2 + len(decisions), len(scenes)
        legend_height, side = .6, (9 - 1.1) / n_columns  # inches
        height = n_rows * side + legend_height
        figure, rows = pyplot.subplots(n_rows, n_columns, figsize=(9, height), squeeze=False)
        figure.subplots_adjust(left=1.1 / 9, right=1, top=1, bottom=legend_height / height, wspace=.03, hspace=.03)
        _draw_row(rows[0], "scene", scenes, cmap="gray", vmin=0, vmax=255)
        for axes, (title, labels) in zip(rows[1:], [("labels", truths)] + list(decisions)):
            _draw_row(axes, title, _coloured(labels))
        figure.legend(handles=_legend(), ncol=6, loc="lower center", columnspacing=1.5,
                      handletextpad=.5, handlelength=1.2)
        figure.savefig(file, format="png", dpi=200)
        pyplot.close(figure)


def _draw_row(row, title, pictures, **shown):
    for axes, picture in zip(row, pictures):
        axes.imshow(picture, interpolation="nearest", **shown)
        axes.set(xticks=[], yticks=[], frame_on=False)
    row[0].set_ylabel(title, rotation=0, ha="right", va="center", labelpad=6)


def _coloured(labels):
    """Return label images in colours: n x height x width x 3, 0..1."""
    table = np.tile(colors.to_rgb(RIM_COLOUR), (IGNORED + 1, 1))
    table[:len(CLASS_COLOURS)] = [colors.to_rgb(colour) for colour in CLASS_COLOURS]
    return table[labels]


def _legend():
    named = list(zip(files.class_names("segmentation"), CLASS_COLOURS)) + [("rim, ignored", RIM_COLOUR)]
    return [patches.Patch(facecolor=colour, edgecolor=INK, linewidth=.6, label=name) for name, colour in named]
