"""Runs: the files that an argument of report.py names, the logs among them, and the curves they hold."""
from __future__ import division, print_function

import collections
import os
import re

from caffe_losses.compat import to_unicode
from caffe_losses.optional_packages import progress_bar
from caffe_prototxt.training import logs
from caffe_prototxt.training.training_log import is_finite
from caffe_tools import cli
from caffe_tools.report import log_notes, summary

SNAPSHOTS = (".caffemodel", ".caffemodel.h5")
# Names of outputs that are best at their least; of GoogLeNet's loss1/top-1 the last part.
IS_SMALLER = re.compile("loss|err|cost|dist|rmse|mae|mse", re.IGNORECASE)
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
            cli.check_is_file(file)
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
        return {"name": self.name, "seed": self.seed, "iterations": log and log.iterations(),
                "files": [to_unicode(file) for file in self.files()], "status": log.status() if log else "no log",
                "notes": [to_unicode(note) for note in log_notes.notes_of(log)] if log else [],
                "figures": _figures(log) if log else {}, "curves": _curves(log) if log else {},
                "snapshot": None, "snapshot_iteration": None, "source": None, "evaluation": None, "counts": None,
                "decisions": None}

    def files(self):
        return self.logs + self.nets + self.snapshots


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
    if stated and re.match(r"\d{1,18}$", stated[0]):
        return int(stated[0])
    match = SEED.search(os.path.basename(run.main_file()))
    return int(match.group(1)) if match else None


def _curves(log):
    named = [(name, series) for name, series in log.outputs() + [("learning rate", log.rate)] if len(series)]
    return collections.OrderedDict((name, {"iterations": list(series.iterations),
                                           "values": [_finite(value) for value in series.values]})
                                   for name, series in named)


def _figures(log):
    """Return the last and the best value of each figure but training outputs, as they stand in the log."""
    figures = collections.OrderedDict()
    for name, series in log.outputs():
        if len(series) and not name.startswith("training output"):
            smaller = series.is_loss or bool(IS_SMALLER.search(name.rsplit("/", 1)[-1]))
            (at, last), best = series.points()[-1], series.best(smaller)
            figures[name] = {"last": _finite(last), "text": summary.exact(last), "iteration": int(at),
                             "best": best and best[1], "best_iteration": best and int(best[0])}
    return figures


def _finite(value):
    return value if is_finite(value) else None
