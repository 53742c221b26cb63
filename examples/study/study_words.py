"""Say the results of the study in words."""
from __future__ import division, print_function

from caffe_losses.evaluation.comparison import BETTER, NOISE, WORSE


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
