"""Write the tables that Caffe's tools/extra/parse_log.py makes of a log."""
from __future__ import division, print_function

import collections
import csv
import io
import math
import os

from caffe_losses.compat import to_unicode

ENDINGS = (".train", ".test")
COLUMNS = ("NumIters", "Seconds", "LearningRate")


def tables(run):
    """Return (ending, content in bytes or None) of the tables of a run with a log, NAME.train and NAME.test.

    A row for each iteration with outputs: its number, the seconds since the training started, the learning rate that
    was printed last before it, and each output. Two things that parse_log.py loses are there: a table of one row, and
    outputs of the same name (name[1], or of test net 1: name (net #1)). Without outputs the training loss is one.
    """
    log, test = run.log, collections.OrderedDict()
    for net, outputs in log.test.items():
        test.update((name + (" (net #%d)" % net if net else ""), series) for name, series in outputs.items())
    train = log.train or {"loss": log.loss}
    return zip(ENDINGS, (_table(train, log.started), _table(test, log.started)))


def file_name(run, folder, ending):
    """Return the name that parse_log.py gives to a table of a run."""
    return os.path.join(folder, os.path.basename(run.logs[0]) + ending)


def _table(outputs, started):
    rows = collections.OrderedDict()
    for name, series in outputs.items():
        for iteration, value, seconds, rate in zip(*[getattr(series, array) for array in series.ARRAYS]):
            rows.setdefault(iteration, {"NumIters": iteration, "Seconds": seconds, "LearningRate": rate})[name] = value
    ordered = [rows[iteration] for iteration in sorted(rows)]
    start = started if started is not None else min([row["Seconds"] for row in ordered] or [0])
    for row in ordered:
        row["Seconds"] = "" if math.isnan(row["Seconds"]) else round(row["Seconds"] - start, 6)
    if len(ordered) > 1:  # printed after the first outputs only
        ordered[0]["LearningRate"] = ordered[1]["LearningRate"]
    names = list(COLUMNS) + list(outputs)
    lines = [names] + [[row.get(name, "") for name in names] for row in ordered]
    return b"".join(_line(line) for line in lines) if ordered else None


def _line(cells):
    cells = [repr(cell) if isinstance(cell, float) else cell for cell in cells]
    if str is bytes:
        file, cells = io.BytesIO(), [to_unicode(cell).encode("utf-8") for cell in cells]
    else:
        file = io.StringIO()
    csv.writer(file).writerow(cells)
    content = file.getvalue()
    return content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape")
