"""Draw the results as one picture, made to be read at 900 pixels wide."""
from __future__ import division, print_function

import matplotlib
matplotlib.use("Agg")
from matplotlib import gridspec, patheffects, pyplot, ticker
import numpy as np

from caffe_tools.report.charts import COLOURS, INK, SOFT, STYLE
from report import METRICS

BLUE, ORANGE = COLOURS[:2]

# Ten colours that differ, for the ten classes; the names stand in the picture anyway.
CLASSES = ["#4E79A7", "#F28E2B", "#E15759", "#76B7B2", "#59A14F", "#C9A400", "#B07AA1", "#D4779B", "#8C6D4F", "#6B6B6B"]


def draw(results, file):
    """Draw what train.py found, as PNG into an open file."""
    with matplotlib.rc_context(STYLE):
        figure = pyplot.figure(figsize=(9, 7))
        rows = gridspec.GridSpec(2, 1, height_ratios=[1, 2.1], hspace=0.3, left=0.02, right=0.98, top=0.95, bottom=0.03)
        top = gridspec.GridSpecFromSubplotSpec(1, 3, rows[0], width_ratios=[.42, 1, 1], wspace=0.12)
        bottom = gridspec.GridSpecFromSubplotSpec(1, 2, rows[1], wspace=0.04)
        accuracies = [figure.add_subplot(top[i + 1]) for i in range(2)]
        for axes, metric in zip(accuracies, METRICS):
            _draw_scores(axes, results, metric)
        accuracies[1].set_yticklabels([])
        first = results["methods"][0]
        for i, (name, title) in enumerate([("pixels", "The pixels, in the plane that parts them best"),
                                             (first[0], "The embedding of " + first[1])]):
            _draw_plane(figure.add_subplot(bottom[i]), results, name, title)
        figure.savefig(file, format="png", dpi=200)
        pyplot.close(figure)


def _draw_scores(axes, results, metric):
    """Draw a row for each method: every seed a small dot, the mean a big one."""
    names = [("pixels", "pixels")] + [(name, title) for name, title, _ in results["methods"]]
    for row, (name, _) in enumerate(names):
        values = np.array(results["scores"][name][metric.key])
        colour = SOFT if name == "pixels" else ORANGE if row == 1 else BLUE
        heights = row + np.linspace(-0.15, 0.15, len(values)) if len(values) > 1 else row
        axes.plot(values, heights + np.zeros(len(values)), "o", color=colour, alpha=0.4, markersize=4,
                  markeredgewidth=0)
        axes.plot(values.mean(), row, "o", color=colour, markersize=8)
        axes.annotate("%.3f" % values.mean(), (values.mean(), row), (0, 7), textcoords="offset points", ha="center",
                      fontsize=8.5)
    axes.axvline(results["scores"]["pixels"][metric.key][0], color=SOFT, linewidth=1, linestyle=":", zorder=0)
    axes.set_ylim(len(names) - 0.5, -0.7)
    axes.set_yticks(range(len(names)))
    axes.set_yticklabels([title for _, title in names])
    axes.margins(x=0.12)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.grid(axis="x", color="#EEEEEE")
    axes.set_axisbelow(True)
    axes.set_title("Right by the " + metric.title, loc="left", fontweight="bold")


def _draw_plane(axes, results, name, title):
    """Draw test images as dots in the plane that parts the classes best, each class's name at its middle."""
    points, labels = np.array(results["planes"][name]), np.array(results["shown"])
    low, high = np.percentile(points, [0.5, 99.5], axis=0)
    low, high = low - 0.07 * (high - low), high + 0.07 * (high - low)
    axes.scatter(points[:, 0], points[:, 1], s=5, c=[CLASSES[label] for label in labels], linewidths=0, alpha=0.6)
    middles = _apart([np.median(points[labels == label], axis=0) for label in range(len(results["classes"]))],
                     (high - low) * [0.16, 0.05])
    for label, middle in enumerate(middles):
        text = axes.text(middle[0], middle[1], results["classes"][label], ha="center", va="center", fontsize=9,
                         fontweight="bold", color=INK)
        text.set_path_effects([patheffects.withStroke(linewidth=3, foreground="white")])
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(True)
    axes.set_title(title, loc="left", fontweight="bold")


def _apart(middles, size):
    """Return the places of texts of a size: from their middles up and down until none lies on another."""
    places = np.array(middles)
    for _ in range(1000):
        moves = np.zeros(len(places))
        for i, j in zip(*np.triu_indices(len(places), 1)):
            if (np.abs(places[i] - places[j]) < size).all():
                step = size[1] / 8 * (1 if places[i][1] > places[j][1] else -1)
                moves[i] += step
                moves[j] -= step
        if not moves.any():
            break
        places[:, 1] += moves
    return places
