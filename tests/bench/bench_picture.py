"""The benchmarks' figures as one picture, made to be read at 900 pixels wide."""
from __future__ import division, print_function

import benchmark  # noqa: F401: it says where the packages are
from style import BLUE, GREEN, GREY, INK, ORANGE, STYLE, set_title  # before pyplot: it says that nothing is shown

import matplotlib
from matplotlib import gridspec, pyplot, ticker

import bench_growth
import bench_page
from bench_growth import BOUNDS, REST, SWEEPS, shares, size, with_rest

LINES = {"ours": (ORANGE, "o-"), "native": (BLUE, "s--"), "numpy": (GREEN, "^:")}
SHARES = [ORANGE, BLUE, GREEN, "#CC79A7", "#56B4E9", "#D8D8D8"]  # of BOUNDS and the rest
CAFFE, NUMPY, LOOP, TORCH = "Caffe's own", "numpy by hand", "a loop by hand", "PyTorch"
KINDS = [(CAFFE, BLUE, "s"), (NUMPY, GREEN, "^"), (LOOP, GREY, "o"), (TORCH, ORANGE, "D")]


def draw(results, file):
    """Draw the results of all benchmarks, as PNG into an open file."""
    growth = results["growth"]["figures"]["sweeps"]
    with matplotlib.rc_context(STYLE):
        figure = pyplot.figure(figsize=(9, 10.9))
        rows = gridspec.GridSpec(3, 1, height_ratios=[1, .8, 1.25], hspace=.34, left=.09, right=.965, top=.97,
                                 bottom=.08)
        for row, draw_one in ((0, _draw_growth), (1, _draw_shares)):
            columns = gridspec.GridSpecFromSubplotSpec(1, 2, rows[row], wspace=.2 if row == 0 else .36)
            for i, (sweep, _) in enumerate(SWEEPS):
                draw_one(figure.add_subplot(columns[i]), growth[sweep], sweep)
        ratios = gridspec.GridSpecFromSubplotSpec(1, 2, rows[2], width_ratios=[.2, 1], wspace=0)
        _draw_ratios(figure.add_subplot(ratios[1]), bench_page.every_ratio(results))
        figure.savefig(file, format="png", dpi=200)
        pyplot.close(figure)


def _draw_growth(axes, rows, sweep):
    sizes = [size(row) for row in rows]
    for name, title in bench_growth.WAYS:
        colour, line = LINES[name]
        low, middle, high = zip(*[row["times"][name] for row in rows])
        axes.fill_between(sizes, low, high, color=colour, alpha=.2, linewidth=0)
        axes.plot(sizes, middle, line, color=colour, markersize=5, linewidth=1.8, label=title)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("scores in the blob")
    axes.set_ylabel(u"forward + backward, \u00b5s")
    axes.grid(color="#EEEEEE")
    axes.set_axisbelow(True)
    axes.legend(loc="upper left")
    set_title(axes, "Cost by " + {"classes": "classes: %d x C" % bench_growth.SAMPLES,
                                  "positions": "positions: 1 x %d x H x W" % bench_growth.CLASSES}[sweep])


def _draw_shares(axes, rows, sweep):
    """A bar of 1 for each shape: what the time of ours goes to."""
    titles = [title for _, title in BOUNDS] + [REST]
    for i, row in enumerate(rows):
        found, start = with_rest(shares(row), REST), 0
        total = sum(found.values())  # above 1 where the calls of several parts are counted twice
        for title, colour in zip(titles, SHARES):
            width = found[title] / total
            axes.barh(i, width, left=start, height=.72, color=colour, label=title if not i else None)
            start += width
    axes.set_yticks(range(len(rows)))
    axes.set_yticklabels([row["scores"] for row in rows])
    axes.set_ylim(len(rows) - .4, -.6)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda share, _: "%.0f %%" % (100 * share)))
    set_title(axes, "Where our time goes, by " + sweep)
    if sweep == SWEEPS[0][0]:
        handles, _ = axes.get_legend_handles_labels()
        axes.legend(handles, titles[:-1] + ["left over, not timed"], loc="upper left", bbox_to_anchor=(-.12, -.1), ncol=6,
                    columnspacing=1.4, handlelength=1.2)


def _draw_ratios(axes, found):
    """A row for each layer or command, a mark for each comparison, right of 1 where ours is faster."""
    names = bench_page.ordered([ratio.what for ratio in found])
    axes.axvspan(1e-3, 1, color="#F6F6F6", zorder=0)
    axes.axvline(1, color=INK, linewidth=1)
    for k, (kind, colour, marker) in enumerate(KINDS):
        of_kind = [ratio for ratio in found if kind_of(ratio) == kind]
        if not of_kind:
            continue
        axes.plot([ratio.spread[1] for ratio in of_kind],
                  [names.index(ratio.what) + .2 * (k - 1.5) for ratio in of_kind], marker, color=colour, alpha=.65,
                  markersize=6, markeredgewidth=0, label=kind)
    axes.set_xscale("log")
    medians = [ratio.spread[1] for ratio in found]
    axes.set_xlim(min(medians + [.5]) / 1.4, max(medians + [2]) * 1.4)
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda ratio, _: "%g" % ratio))
    axes.set_yticks(range(len(names)))
    axes.set_yticklabels([name.replace(" and ", "\nand ") for name in names])
    axes.set_ylim(len(names) - .5, -.6)
    axes.grid(color="#E8E8E8", axis="x")
    axes.set_axisbelow(True)
    axes.set_xlabel("the other's time / ours: right of 1, ours is faster; a mark for each shape or file")
    axes.legend(loc="upper left", bbox_to_anchor=(0, -.13), borderaxespad=.2, ncol=4, columnspacing=1.4,
                handletextpad=.2)
    set_title(axes, "How many times as fast")


def kind_of(ratio):
    words = [("torch", TORCH), ("loop", LOOP), ("numpy", NUMPY)]
    return next((kind for word, kind in words if word in ratio.against.lower()), CAFFE)
