"""The results of the study in words."""
from __future__ import division, print_function

from caffe_losses.evaluation.comparison import BETTER, NOISE, WORSE


def prose(text, **values):
    """A text of several lines as one, with the values in their places."""
    return " ".join(text.split()).format(**values)


def marked(text, verdict):
    """Better is bold, worse italic."""
    return {BETTER: "**%s**", NOISE: "%s", WORSE: "*%s*"}[verdict] % text


def in_words(interval, verdict, metric):
    """A change with its Interval: "**-0.0123 [-0.0200, -0.0046]**"."""
    form = metric.form.replace("%", "%+")
    return marked("%s [%s, %s]" % tuple(form % number for number in (interval.mean, interval.low, interval.high)), verdict)
