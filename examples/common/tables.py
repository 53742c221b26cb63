"""Results as tables for a terminal and in markdown, and runs compared, seed by seed."""
from __future__ import division, print_function

import collections
import textwrap

import numpy as np

WIDTH = 120

# A mean difference of paired runs below this many standard errors is taken for noise:
# the 97.5 % quantile of Student's t for 2, 3 and 4 seeds, and for more no less than 3.
NOISE_OF_FEW = {2: 12.7, 3: 4.3, 4: 3.2}
NOISE = 3

Metric = collections.namedtuple("Metric", "key title form smaller_is_better")
Part = collections.namedtuple("Part", "heading introduction tables findings")
Table = collections.namedtuple("Table", "heading rows")


def as_text(parts):
    """The Parts of a report, for a terminal."""
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
    """The Parts of a report as a markdown document, with the picture beside it."""
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


def compare(metric, before, after):
    """Paired runs compared in one metric.

    before, after: one number per seed, of the same seeds in the same order.
    Returns a verdict ("better", "worse" or "within the noise") and the figures in words.
    """
    before, after = np.asarray(before), np.asarray(after)
    gain = before - after if metric.smaller_is_better else after - before
    limit = noise(len(gain)) * np.std(gain, ddof=1) / np.sqrt(len(gain))
    if abs(gain.mean()) <= limit:
        verdict = "within the noise"
    else:
        verdict = "better" if gain.mean() > 0 else "worse"
    figures = "%s %s -> %s (%d/%d)" % (
        metric.title, metric.form % before.mean(), metric.form % after.mean(),
        np.count_nonzero(gain > 0), len(gain))
    return verdict, figures


def noise(n_seeds):
    return NOISE_OF_FEW.get(n_seeds, NOISE)


def comparison(metrics, before, after):
    """Runs compared in several metrics, as a sentence.

    before, after: {metric: a list over seeds}.
    """
    found = collections.defaultdict(list)
    for metric in metrics:
        verdict, figures = compare(metric, before[metric.key], after[metric.key])
        found[verdict].append(figures)
    return "; ".join("%s: %s" % (verdict.upper(), ", ".join(found[verdict]))
                     for verdict in ("better", "within the noise", "worse") if found[verdict]) + "."


def cell(metric, values):
    spread = metric.form % np.std(values, ddof=1)
    return "%s +-%s" % (metric.form % np.mean(values), spread[spread.startswith("0."):])
