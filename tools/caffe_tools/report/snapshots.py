"""Find the snapshot of a run, and doubt whether it is still that run's."""
from __future__ import division, print_function

import math
import os
import re

from caffe_losses.compat import to_str
from caffe_prototxt.check import solvers
from caffe_tools.report.runs import SNAPSHOTS

QUARTER, LATE = 15 * 60, 10  # seconds: what time zones differ by; how soon a log is closed after its last line
SIGMAS = 4  # by which the accuracies of two parts of the test data may differ


class Snapshot(object):
    """A snapshot of a run.

    path: str. folder: str, where caffe ran. is_named: whether the user names it, or else the log does.
    missing: list of the later ones that the log names and that are not there. iteration: int, or None.
    """

    def __init__(self, path, folder, is_named, missing=()):
        self.path, self.folder, self.is_named, self.missing = os.path.abspath(path), folder, is_named, list(missing)
        self.name = os.path.basename(path)
        match = re.search(r"_iter_(\d{1,15})\.", self.name)
        self.iteration = int(match.group(1)) if match else None


def find_snapshot(run):
    """Return the latest Snapshot of a run that still exists. Raises ValueError."""
    if run.snapshots:
        return Snapshot(run.snapshots[0], _folder_of_net(run), True)
    missing = []
    for name in _names(run):
        found = _find(run, name)
        if found:
            return Snapshot(found[0], found[1], False, missing)
        missing.append(name)
    raise ValueError("no snapshot: the log names %s" % (missing[0] + ", which is not there" if missing else "none"))


def others_with(snapshot, run, runs):
    """Return the names of the other runs whose logs name the file of a snapshot, too."""
    if snapshot.is_named:
        return []
    return [other.name for other in runs if other is not run and any(
        found and os.path.samefile(found[0], snapshot.path)
        for found in [_find(other, name) for name in _names(other) if os.path.basename(name) == snapshot.name])]


def is_newer(snapshot, run):
    """Return whether a snapshot was changed after its run's log ended."""
    return not snapshot.is_named and os.path.getmtime(snapshot.path) > os.path.getmtime(run.logs[-1])


def keeps_time(run):
    """Return whether the log's file has the time of its last line still, in any time zone: a copy has another."""
    printed = run.log.printed
    if printed is None:
        return False
    late = (os.path.getmtime(run.logs[-1]) - printed) % QUARTER
    return late <= LATE or late >= QUARTER - 1


def accuracies_differ(logged, n_logged, found, n_found, is_epoch):
    """Return whether two accuracies, of so many samples each, differ by more than another choice of samples explains.

    is_epoch: whether `found` is of all samples there are, each once; the logged one then is of some of the same.
    """
    both = (logged * n_logged + found * n_found) / (n_logged + n_found)
    rest = n_logged % n_found
    of_samples = rest * (1 - rest / n_found) / n_logged ** 2 if is_epoch else 1 / n_logged + 1 / n_found
    return abs(logged - found) > SIGMAS * math.sqrt(max(0, both * (1 - both)) * of_samples) + 1 / n_logged + .005


def outputs_differ(logged, found, n_samples, is_loss):
    """Return whether an output that the log has differs from the same one over the same samples now.

    On another device the decisions for a few samples, and the last digits of a loss, are others.
    """
    few = 1e-5 if is_loss else max(1.5 / n_samples, .002)
    return abs(logged - found) > 5e-3 * max(abs(logged), abs(found)) * is_loss + few


def _names(run):
    """Return the names of the snapshots in a run's log, the last one first."""
    return [_file_name(to_str(name)) for name in reversed(run.log.snapshots)] if run.log else []


def _file_name(name):
    """Return the name of a snapshot's file: old logs state it without its ending."""
    whole = name + SNAPSHOTS[0]
    return whole if not name.endswith(SNAPSHOTS) and not os.path.exists(name) else name


def _find(run, name):
    """Return (path, folder where caffe ran) of a snapshot in the log, or None."""
    of_net = _folder_of_net(run)
    paths = [(os.path.join(folder, name), of_net if os.path.isabs(name) else folder) for folder in _folders(run)]
    log = os.path.abspath(run.main_file())
    paths.append((os.path.join(os.path.dirname(log), os.path.basename(name)), of_net))  # both were moved together
    return next((found for found in paths if os.path.isfile(found[0])), None)


def _folders(run):
    """Return the folders that names in the log may be relative to: the log's and those above it, and the current one.

    The log's comes first, as the current folder may have snapshots of the same name that are another run's.
    """
    if run.folder is not None:
        return [os.path.abspath(run.folder)]
    return solvers.folders_above(run.main_file()) + [os.getcwd()]


def _folder_of_net(run):
    """Return the folder where caffe ran, as far as the name of the net in the log tells it; else the current one."""
    if run.folder is not None:
        return os.path.abspath(run.folder)
    fields = ("net", "train_net", "test_net") if run.log else ()
    names = [name for field in fields for name in run.log.solver.get(field, ())]
    return next((folder for folder in [os.getcwd()] + _folders(run) for name in names
                 if not os.path.isabs(name) and os.path.isfile(os.path.join(folder, to_str(name)))), os.getcwd())
