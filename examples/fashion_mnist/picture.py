"""Draw the results as one picture, made to be read at 900 pixels wide."""
from __future__ import division, print_function

from style import BLUE, GREEN, GREY, INK, ORANGE, STYLE, set_title  # first: it says that nothing is shown

import matplotlib
from matplotlib import gridspec, pyplot, ticker
import numpy as np

# Method: its name in the picture, its colour.
TREE = [
    ("softmax", "SoftmaxWithLoss", GREY),
    ("native", "InfogainLoss\nwith H (native)", ORANGE),
    ("ours", "SoftmaxWithInfo-\ngainLoss with H", ORANGE),
    ("smoothing", "control: label\nsmoothing", BLUE),
    ("shuffled", "control: H with\nclasses shuffled", BLUE),
]
TAIL = [
    ("none", "no weights", GREY, "o"),
    ("balanced", "balanced, H from a file", ORANGE, "s"),
    ("running", "balanced, ComputeH", GREEN, "^"),
    ("max_over_count", "too big: plain max/count", BLUE, "x"),
]


def draw(results, file):
    """Draw what train.py found, as PNG into an open file."""
    with matplotlib.rc_context(STYLE):
        figure = pyplot.figure(figsize=(9, 8))
        rows = gridspec.GridSpec(2, 1, height_ratios=[1.3, 1], hspace=0.52,
                                 left=0.155, right=0.985, top=0.96, bottom=0.08)
        top = gridspec.GridSpecFromSubplotSpec(1, 4, rows[0], width_ratios=[1, 1, 0.45, 1.7],
                                               wspace=0.12)
        cost, across = figure.add_subplot(top[0]), figure.add_subplot(top[1])
        _draw_methods(cost, results["tree"], "cost", "mean cost of a decision\n(distance of classes)")
        _draw_methods(across, results["tree"], "across",
                      "mistakes across groups\n(of %s images)" % _thousands(results["n_test"]))
        across.set_yticklabels([])
        set_title(cost, "Mistakes: a dot per seed, left is better")
        _draw_matrix(figure.add_subplot(top[3]), results)
        _draw_recalls(figure.add_subplot(rows[1]), results)
        figure.savefig(file, format="png", dpi=200)
        pyplot.close(figure)


def _draw_methods(axes, scores, metric, label):
    """Draw a row for each method: every seed a small dot, the mean a big one."""
    for row, (name, _, colour) in enumerate(TREE):
        values = np.array(scores[name]["probable"][metric])
        heights = row + np.linspace(-0.18, 0.18, len(values))
        axes.plot(values, heights, "o", color=colour, alpha=0.35, markersize=4, markeredgewidth=0)
        axes.plot(values.mean(), row, "o", color=colour, markersize=9)
    axes.axvline(np.mean(scores["softmax"]["probable"][metric]), color=GREY, linewidth=1,
                 linestyle=":", zorder=0)
    axes.set_ylim(len(TREE) - 0.5, -0.5)
    axes.set_yticks(range(len(TREE)))
    axes.set_yticklabels([title for _, title, _ in TREE])
    axes.xaxis.set_major_locator(ticker.MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.grid(axis="x", color="#EEEEEE")
    axes.set_axisbelow(True)
    axes.set_xlabel(label)


def _draw_matrix(axes, results):
    """Draw H as a heat map, the classes in the order of the tree, so that its groups are blocks."""
    order = results["tree_order"]
    classes = [results["classes"][label] for label in order]
    H = np.array(results["H"])[np.ix_(order, order)]
    axes.imshow(H, cmap="Oranges", vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(H):
        if value >= 0.05:
            axes.text(column, row, ("%.2f" % value).lstrip("0"), ha="center", va="center",
                      fontsize=8.5, color="white" if value > 0.6 else INK)
    axes.set_xticks(range(len(H)))
    axes.set_yticks(range(len(H)))
    axes.set_xticklabels(classes, rotation=90)
    axes.set_yticklabels(classes)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.tick_params(pad=1)
    set_title(axes, "H, made from the class tree")


def _draw_recalls(axes, results):
    """Draw the recalls, a line for each method, with the classes from left to right as they get rarer."""
    counts = results["settings"]["tail"]["counts"]
    for i, (name, title, colour, marker) in enumerate(TAIL):
        shift = 0.08 * (i - (len(TAIL) - 1) / 2)  # else the marks hide each other
        recalls = np.array(results["tail"][name]["recalls"])
        mean, spread = recalls.mean(axis=0), recalls.std(axis=0, ddof=1)
        axes.errorbar(np.arange(len(mean)) + shift, mean, spread, label=title, color=colour,
                      marker=marker, markersize=5.5, linewidth=1.2, elinewidth=1)
    axes.set_xticks(range(len(counts)))
    axes.set_xticklabels(["%s\n%s" % (name, _thousands(n))
                          for name, n in zip(results["classes"], counts)])
    axes.set_ylim(-0.03, 1.03)
    axes.set_ylabel("recall on the test images")
    axes.set_xlabel("class, and how many training images it has")
    set_title(axes, "Long tail: the rarer the class, the farther right", pad=24)
    axes.grid(axis="y", color="#EEEEEE")
    axes.legend(ncol=4, loc="lower right", bbox_to_anchor=(1.01, 1.01), columnspacing=1.5,
                handletextpad=0.4, borderaxespad=0)


def _thousands(n):
    return "{:,}".format(n)
