"""Keep the figures that `make train` found, and draw the picture of the README: H, and the recall of each class.

    with_caffe.sh examples/results.py
"""
from __future__ import division, print_function

import io
import json
import os

import matplotlib
matplotlib.use("Agg")

from caffe_losses.formats.matrix_files import read_matrix
from caffe_tools import cli
from caffe_tools.report.charts import COLOURS, SOFT, STYLE
from matplotlib import pyplot
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ORDER = [0, 2, 3, 4, 6, 5, 7, 9, 1, 8]  # as in the tree: tops, footwear, trouser, bag
COUNTS = [6000, 3597, 2156, 1293, 775, 465, 278, 167, 100, 60]
METHODS = [("SoftmaxWithLoss", "without class weights", SOFT, "o"), ("class weights", "class weights", COLOURS[1], "s"),
           ("ComputeH, running", "class weights by ComputeH", COLOURS[2], "^")]


def main():
    for example in ("fashion_mnist", "long_tail"):
        with io.open(os.path.join(HERE, example, "output", "results.json"), encoding="utf-8") as file:
            found = json.load(file)
        results = {key: found[key] for key in ("classes", "differences", "methods")}
        for method in results["methods"]:
            for evaluation in method["evaluation"].values():
                del evaluation["bins"], evaluation["confusion"]
        text = json.dumps(results, indent=1, sort_keys=True)
        cli.write(text.encode("utf-8"), os.path.join(HERE, example, "results.json"))
    H = read_matrix(os.path.join(HERE, "fashion_mnist", "infogainH.binaryproto"))
    with matplotlib.rc_context(STYLE):
        figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.6), gridspec_kw={"width_ratios": [1, 1.5]})
        figure.subplots_adjust(left=.09, right=.99, bottom=.24, top=.9, wspace=.16)
        _draw_matrix(left, H[np.ix_(ORDER, ORDER)], [results["classes"][k] for k in ORDER])
        _draw_recalls(right, {method["name"]: method["evaluation"]["probable"] for method in results["methods"]})
        right.set_xticklabels(["%s, %d" % pair for pair in zip(results["classes"], COUNTS)], rotation=40, ha="right")
        figure.savefig(os.path.join(HERE, "picture.png"), dpi=200)


def _draw_matrix(axes, H, names):
    axes.imshow(H, cmap="Oranges", vmin=0, vmax=1)
    axes.set(xticks=range(10), yticks=range(10), ylabel="true class", yticklabels=names)
    axes.set_xticklabels(names, rotation=90)
    axes.set_title("H of a class tree", loc="left", fontweight="bold")


def _draw_recalls(axes, found):
    for i, (name, title, colour, marker) in enumerate(METHODS):
        axes.plot(np.arange(10) + .1 * (i - 1), [recall["mean"] for recall in found[name]["recalls"]], marker=marker,
                  color=colour, label=title, linewidth=1.2)
    axes.set(xticks=range(10), ylim=(0, 1.02), ylabel="recall")
    axes.set_title("Recall on a long tail of classes (training images)", loc="left", fontweight="bold")
    axes.grid(axis="y", color="#EEEEEE")
    axes.legend(loc="lower left")


if __name__ == "__main__":
    main()
