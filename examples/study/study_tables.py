"""Write results as tables in markdown, and in words."""
from __future__ import division, print_function

import collections

import numpy as np

from caffe_losses.evaluation.comparison import BETTER, NOISE, WORSE

Part = collections.namedtuple("Part", "heading introduction tables findings")
Table = collections.namedtuple("Table", "heading rows")


def as_markdown(title, introduction, parts):
    """Return the Parts of a report as a markdown document, with the picture beside it."""
    lines = [u"# " + title, "", introduction, "", "![The results](results.png)"]
    for part in parts:
        lines += ["", "## " + part.heading, "", part.introduction]
        for table in part.tables:
            rule = ["---"] + ["---:"] * (len(table.rows[0]) - 1)
            lines += ["", "**%s**" % table.heading, ""]
            lines += ["| %s |" % " | ".join(row) for row in [table.rows[0], rule] + table.rows[1:]]
        lines += [""] + ["- " + finding for finding in part.findings]
    return "\n".join(lines) + "\n"


def spread(metric, values):
    """Return a mean with its standard deviation."""
    deviation = metric.form % np.std(values, ddof=1)
    return u"%s \u00b1%s" % (metric.form % np.mean(values), deviation[deviation.startswith("0."):])


def prose(text, **values):
    """Return a text of several lines as one, with the values in their places."""
    return " ".join(text.split()).format(**values)


def marked(text, verdict):
    """Return a text marked by its verdict: better is bold, worse italic."""
    return {BETTER: "**%s**", NOISE: "%s", WORSE: "*%s*"}[verdict] % text


def in_words(interval, verdict, metric):
    """Return a change with its Interval: "**-0.0123 [-0.0200, -0.0046]**"."""
    form = metric.form.replace("%", "%+")
    numbers = (interval.mean, interval.low, interval.high)
    return marked("%s [%s, %s]" % tuple(form % number for number in numbers), verdict)
