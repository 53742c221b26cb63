"""Runs: the files that an argument of report.py names, the logs among them, and the curves they hold."""
from __future__ import division, print_function

import collections
import os
import re

import numpy as np

from caffe_losses.compat import to_unicode
from caffe_losses.optional_packages import progress_bar
from caffe_prototxt.training import logs

MOST_POINTS = 1000  # of a curve in page and JSON; of more, means of neighbours
SNAPSHOTS = (".caffemodel", ".caffemodel.h5")
SEED = re.compile(r"[-_. ]?seed[-_]?(\d+)", re.IGNORECASE)


class Run(object):
    """A training by its files.

    logs, nets, snapshots: lists of files. folder: str, where caffe ran, or None if that is to be looked for.
    name: str, or None until `name_runs`. log: logs.Log, and seed: int, each None until `read_logs`, or if it has none.
    """

    def __init__(self, argument, folder):
        """argument: str, [NAME=]FILE[,FILE ...]. Raises ValueError or IOError."""
        self.name, files = None, argument
        if "=" in argument and not os.path.exists(argument):
            self.name, files = argument.split("=", 1)
        self.logs, self.nets, self.snapshots, self.folder = [], [], [], folder
        for file in [files] if os.path.exists(files) else files.split(","):
            if not os.path.isfile(file):
                raise IOError("%s: cannot be read: no such file" % (file or repr(file)))
            self._files_like(file).append(file)
        if max(len(self.nets), len(self.snapshots)) > 1:
            raise ValueError("%s: expected one net and one snapshot, got several; other runs are other arguments"
                             % argument)
        if not self.logs and not (self.nets and self.snapshots):
            raise ValueError("%s: expected a log, or a net and a snapshot" % argument)
        self.log, self.seed = None, None

    def _files_like(self, file):
        if file.endswith(SNAPSHOTS):
            return self.snapshots
        if file.endswith((".solverstate", ".solverstate.h5")):
            raise ValueError("%s: expected a .caffemodel, which has the weights" % file)
        return self.nets if file.endswith((".prototxt", ".prototext", ".pbtxt")) else self.logs

    def main_file(self):
        """Return the file that names the run."""
        return (self.logs or self.snapshots)[0]

    def result(self):
        """Return the part of the report that needs no net to be run, as a dict that JSON can hold."""
        log = self.log
        notes = [to_unicode(note) for note in log.notes] if log else []
        if log and log.diverged() is not None and log.test:
            notes.append(u"from iteration %d on a test accuracy means nothing: Caffe's Accuracy layer takes NaN scores "
                         u"for right" % log.diverged())
        return {"name": self.name, "seed": self.seed, "iterations": log and log.iterations(), "notes": notes,
                "files": [to_unicode(file) for file in self.logs + self.nets + self.snapshots],
                "status": log.status() if log else "no log", "curves": _curves(log) if log else {},
                "snapshot": None, "source": None, "evaluation": None}


def find_runs(arguments, folder):
    """Return the Runs that arguments name, their logs read. Raises ValueError or IOError."""
    runs = [Run(argument, folder) for argument in arguments]
    paths = [os.path.realpath(log) for run in runs for log in run.logs]
    for path in paths:
        if paths.count(path) > 1:
            raise ValueError("%s: named twice; a run counts once" % path)
    _name_runs(runs)
    with progress_bar(sum(map(os.path.getsize, paths)), "B", unit_scale=True, desc="reading logs") as bar:
        for run in runs:
            run.log = logs.read_log(run.logs, bar.update) if run.logs else None
            run.seed = _seed(run)
    return runs


def _name_runs(runs):
    """Name the runs that have no name by their files."""
    unnamed = [run for run in runs if run.name is None]
    stems = [re.sub(r"\.(log|txt|caffemodel(\.h5)?)$", "", os.path.basename(run.main_file())) for run in unnamed]
    for run, stem in zip(unnamed, stems):
        if SEED.search(stem):
            run.name = SEED.sub("", stem) or "run"
        else:  # a/caffe.log and b/caffe.log are no seeds of one method
            run.name = stem if stems.count(stem) == 1 else run.main_file()
    for run in runs:
        run.name = to_unicode(run.name)


def _seed(run):
    """Return the random_seed of the solver, or else the seed in the file's name, or None."""
    stated = run.log.solver.get("random_seed", []) if run.log else []
    if stated and re.match(r"\d+$", stated[0]):
        return int(stated[0])
    match = SEED.search(os.path.basename(run.main_file()))
    return int(match.group(1)) if match else None


def _curves(log):
    curves = [("training loss", log.loss)]
    for net, outputs in log.test.items():
        curves += [("test %s%s" % (name, " (net #%d)" % net if len(log.test) > 1 else ""), series)
                   for name, series in outputs.items()]
    if len(log.train) > 1:
        curves += [("training output %s" % name, series) for name, series in log.train.items()]
    if len(log.rate) > 1:
        curves.append(("learning rate", log.rate))
    return collections.OrderedDict((name, _thinned(series)) for name, series in curves if len(series))


def _thinned(series):
    iterations, values = np.array(series.iterations), np.array(series.values)
    if len(values) > MOST_POINTS:
        ends = np.linspace(0, len(values), MOST_POINTS + 1).astype(int)
        iterations, values = [np.add.reduceat(array, ends[:-1]) / np.diff(ends) for array in (iterations, values)]
    return {"iterations": iterations.tolist(),
            "values": [value if np.isfinite(value) else None for value in values.tolist()]}
