#!/usr/bin/env python
"""Growth of the cost of SoftmaxWithInfogainLoss with classes and with positions, and what bounds it.

bench_losses.py's measurements, on 64 samples with more and more classes, and on images of
21 classes with more and more positions.
"""
from __future__ import division, print_function

import collections
import itertools
import sys

import benchmark  # first: it says where the packages are
import numpy as np

from bench_losses import COMPETITORS, any_gain, measure, net_of, ratios_of
from tables import Part, Table
from timing import findings, number, pass_through, percent, ratio_cell, shape_of, time_cell
from tqdm import tqdm

SAMPLES, CLASSES = 64, 21
SMALLEST = (1, 2)  # one position of two classes: what is left are the calls
SWEEPS = [("classes", [(SAMPLES, c) for c in (2, 5, 10, 21, 100, 1000)]),
          ("positions", [(1, CLASSES, h, w) for h, w in ((8, 8), (25, 40), (100, 100), (250, 400), (500, 500))])]
TITLES = {"classes": "%d samples, more and more classes" % SAMPLES,
          "positions": "One image of %d classes, more and more positions" % CLASSES}
WAYS = [("ours", "ours")] + COMPETITORS
# Parts of ours; the calls of the other parts are counted twice.
BOUNDS = [("call", "calls"), ("exp", "exp"), ("rows", "rows of H"), ("labels", "labels"), ("scale", "scaling")]
# No time was taken of a rest: it is what the measured parts leave of the whole.
REST = ("what the timed parts leave over (numpy's other passes over the scores are in it: maximum, difference, sums, "
        "products)")
COMPARED = [("empty", "an empty layer"), ("copy", "a copy")]
NATIVE_BOUNDS = [("softmax", "Caffe's Softmax"), ("log", "Caffe's Log")]
NATIVE_REST = "what Softmax and Log leave over (its own loops over the scores, H and the gradient are in it)"
FITTED = 3  # the largest of a sweep, through which the exponent is fitted


def figures(sweeps=SWEEPS, rounds=7):
    bar = tqdm(total=sum(len(shapes) for _, shapes in sweeps), desc="growth", disable=None)
    # In turn with everything else: a machine is not as fast at all times.
    call = pass_through(net_of(SMALLEST, any_gain(SMALLEST[1])), "ours")

    def measured(shape):
        found = measure(shape, rounds, more={"call": call})
        bar.update()
        return {key: found[key] for key in ("scores", "times", "ratios")}

    with bar:
        return {"rounds": rounds, "sweeps": {name: [measured(shape) for shape in shapes] for name, shapes in sweeps}}


# What follows from the figures

def size(row):
    return int(np.prod(shape_of(row["scores"])))


def exponent(rows, way):
    """b of a cost a scores^b, fitted by least squares of the logs."""
    logs = [np.log([size(row) for row in rows]), np.log([row["times"][way][1] for row in rows])]
    return np.polyfit(logs[0], logs[1], 1)[0]


def shares(row, bounds=BOUNDS, whole="ours"):
    """{title of a bound: its share of the time of ours, or of native}."""
    return collections.OrderedDict((title, row["times"][name][1] / row["times"][whole][1]) for name, title in bounds)


def with_rest(found, rest):
    """Shares, and what they leave of 1, by the name `rest`: nothing where they sum up to more."""
    return collections.OrderedDict(list(found.items()) + [(rest, max(0, 1 - sum(found.values())))])


def largest(found):
    """The title of the largest share."""
    return max(found, key=lambda title: found[title])


def all_ratios(found):
    return ratios_of([row for name, _ in SWEEPS for row in found["sweeps"][name]])


def part(found):
    introduction = (
        "SoftmaxWithInfogainLoss, forward + backward, in microseconds, median of %d rounds; ratios with quartiles, "
        "above 1 ours is faster; losses and gradients agree, which is checked first; numpy by hand works in float64 from "
        "the product with H on. Shares say what bounds ours: calls, all that it takes for one position of two classes; exp "
        "and rows of H, over as many scores by one thread of numpy (ours may use more); labels, our check of them; "
        "scaling, of the gradient. Each is timed alone, and calls has those of the others in it, so at small shapes they "
        "sum up to more than 100 %% (the picture scales them to 100 %%). The rest is not timed: it is 100 %% less the "
        "others, and 0 %% where they sum up to more; numpy's other passes over the scores (maximum, difference, sums, "
        "products) are in it, and whatever the others miss. For comparison an empty layer in Python and a copy of the "
        "scores. Of native: forward of Caffe's own Softmax and Log layers." % found["rounds"])
    of_sweeps = []
    for name, _ in SWEEPS:
        rows = found["sweeps"][name]
        of_sweeps += [Table(TITLES[name], times_table(rows)), Table(TITLES[name] + ": shares", shares_table(rows))]
    return Part("How the cost grows, and what bounds it", introduction, of_sweeps, list(sentences(found)))


def times_table(rows):
    head = (["scores"] + ["%s/ours" % name for name, _ in COMPETITORS] + [name for name, _ in WAYS]
            + ["ours, ns a score"])
    return [head] + [
        [row["scores"]] + [ratio_cell(row["ratios"][name]) for name, _ in COMPETITORS]
        + [time_cell(row["times"][name]) for name, _ in WAYS] + [number(row["times"]["ours"][1] * 1e3 / size(row))]
        for row in rows]


def shares_table(rows):
    table = []
    for row in rows:
        of_ours = with_rest(shares(row), "the rest")
        compared = shares(row, COMPARED)
        of_native = shares(row, NATIVE_BOUNDS, "native")
        table.append([row["scores"]] + [percent(found[title]) for found in (of_ours, compared, of_native)
                                        for title in found])
    head = ["scores"] + list(of_ours) + list(compared) + ["native: " + title for title in of_native]
    return [head] + table


def sentences(found):
    for name, _ in SWEEPS:
        rows = found["sweeps"][name]
        largest_rows = rows[-FITTED:]
        yield "With %s the cost grows, over the last %d shapes, as scores^b: %s; calls are %s of ours at %s." % (
            name, len(largest_rows),
            ", ".join("%s b = %.2f" % (title, exponent(largest_rows, way)) for way, title in WAYS),
            percent(shares(largest_rows[0])["calls"]), largest_rows[0]["scores"])
        for sentence in stretches(rows):
            yield sentence
        yield of_native(rows[-1])
    for sentence in findings(all_ratios(found)):
        yield sentence


def stretches(rows):
    """Yield what takes most of ours, a sentence for each stretch of a sweep."""
    bounds = [with_rest(shares(row), REST) for row in rows]
    for title, stretch in itertools.groupby(range(len(rows)), lambda i: largest(bounds[i])):
        stretch = list(stretch)
        found = [bounds[i][title] for i in stretch]
        yield "Scores %s: the largest share of ours is %s: %s." % (
            _range(rows[stretch[0]]["scores"], rows[stretch[-1]]["scores"]), title,
            _range(percent(min(found)), percent(max(found))))


def _range(first, last):
    return first if first == last else "%s to %s" % (first, last)


def of_native(row):
    found = with_rest(shares(row, NATIVE_BOUNDS, "native"), NATIVE_REST)
    title = largest(found)
    return "Scores %s: the largest share of native is %s: %s; exp by numpy would be %s of its time." % (
        row["scores"], title, percent(found[title]), percent(row["times"]["exp"][1] / row["times"]["native"][1]))


def main():
    args = benchmark.parser_of(__doc__, 7).parse_args()
    benchmark.show(sys.modules[__name__], figures(rounds=args.rounds), args)


if __name__ == "__main__":
    main()
