"""Draw scenes, their labels and what nets make of them, as one picture made to be read at 900 pixels wide."""
from __future__ import division, print_function

import matplotlib
matplotlib.use("Agg")

from caffe_tools.report.charts import INK, STYLE
from matplotlib import colors, patches, pyplot
import numpy as np

from create_data import IGNORED
import data

RIM_COLOUR = "#FFFFFF"
# By label. A garment's colours are those of its group: tops blue and green, footwear red and orange.
CLASS_COLOURS = [INK, "#56B4E9", "#F0E442", "#0072B2", "#CC79A7", "#009E73", "#E66100", "#9AD8B5", "#FFB27F", "#9467BD",
                 "#C1121F"]


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
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_visible(False)
    row[0].set_ylabel(title, rotation=0, ha="right", va="center", labelpad=6)


def _coloured(labels):
    """Return label images in colours: n x height x width x 3, 0..1."""
    table = np.tile(colors.to_rgb(RIM_COLOUR), (IGNORED + 1, 1))
    table[:len(CLASS_COLOURS)] = [colors.to_rgb(colour) for colour in CLASS_COLOURS]
    return table[labels]


def _legend():
    named = list(zip(data.class_names("segmentation"), CLASS_COLOURS)) + [("rim, ignored", RIM_COLOUR)]
    return [patches.Patch(facecolor=colour, edgecolor=INK, linewidth=.6, label=name) for name, colour in named]
