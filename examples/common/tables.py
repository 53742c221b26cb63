"""Write results as tables for a terminal and in markdown, and compare runs in a sentence."""
from __future__ import division, print_function

import collections
import textwrap

import numpy as np

from caffe_losses.evaluation.comparison import BETTER, NOISE, WORSE, compare

WIDTH = 120

Part = collections.namedtuple("Part", "heading introduction tables findings")
Table = collections.namedtuple("Table", "heading rows")


def as_text(parts):
    """Return the Parts of a report as text for a terminal."""
    lines = []
    for part in parts:
        lines += ["", part.heading.upper(), "", textwrap.fill(part.introduction, WIDTH)]
        for table in part.tables:
            lines += ["", table.heading, _columns(table.rows)]
        lines.append("")
        lines += [textwrap.fill("- " + finding, WIDTH, subsequent_indent="  ")
                  for finding in part.findings]
    return "\n".join(lines)


def as_markdown(title, parts):
    """Return the Parts of a report as a markdown document, with the picture beside it."""
    lines = ["# " + title, "", "![The results](results.png)"]
    for part in parts:
        lines += ["", "## " + part.heading, "", part.introduction]
        for table in part.tables:
            lines += ["", "**%s**" % table.heading, "", _markdown_table(table.rows)]
        lines.append("")
        lines += ["- " + finding for finding in part.findings]
    return "\n".join(lines).replace("+-", u"\u00b1") + "\n"


def _columns(rows):
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width
                                               in zip(row[1:], widths[1:])])
        for row in rows)


def _markdown_table(rows):
    rule = ["---"] + ["---:"] * (len(rows[0]) - 1)
    return "\n".join("| %s |" % " | ".join(row) for row in [rows[0], rule] + rows[1:])


def comparison(metrics, before, after):
    """Compare paired runs in several Metrics and say it in a sentence.

    before, after: {key of a Metric: a number for each seed}, of the same seeds in the same order.
    """
    figures = collections.defaultdict(list)
    for metric in metrics:
        pair = before[metric.key], after[metric.key]
        figures[compare(metric, *pair)[1]].append(change_in_words(metric, *pair))
    return "; ".join("%s: %s" % (verdict.upper(), ", ".join(figures[verdict]))
                     for verdict in (BETTER, NOISE, WORSE) if figures[verdict]) + "."


def change_in_words(metric, before, after):
    """Return both means, and how many of how many seeds got better: "mean cost 0.30 -> 0.20 (9/10)"."""
    gain = np.subtract(before, after) if metric.smaller else np.subtract(after, before)
    return "%s %s -> %s (%d/%d)" % (metric.title, metric.form % np.mean(before), metric.form % np.mean(after),
                                    np.count_nonzero(gain > 0), len(gain))


def cell(metric, values):
    spread = metric.form % np.std(values, ddof=1)
    return "%s +-%s" % (metric.form % np.mean(values), spread[spread.startswith("0."):])
