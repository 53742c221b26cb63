"""The evaluation of a run: its last snapshot is looked for, and run on the test data in a child process."""
from __future__ import division, print_function

import itertools
import os

from caffe_losses.compat import to_str, to_unicode
from caffe_losses.evaluation import comparison
from caffe_losses.evaluation.tally import Tally
from caffe_losses.optional_packages import progress_bar
from caffe_tools.report.runs import SNAPSHOTS


def evaluate(run, caffe, D, top, **options):
    """Run the snapshot of a run on its test data.

    run: runs.Run. caffe: caffe_process.Caffe. D, top: as of Tally.
    options: iterations, score, label, python, gpu and n_names, of net_tally.write_tally.
    Returns (what the report states of the evaluation, a dict; notes, a list of str).
    Raises ValueError or IOError: the reason why it cannot be evaluated.
    """
    folder, snapshot = _snapshot(run)
    definition = _definition(run, folder, caffe.folder)
    test_iter = run.log.solver.get("test_iter", []) if run.log else []
    with progress_bar(None, " batches", desc=run.name.encode("ascii", "replace").decode("ascii")) as bar:
        def show(n_batches):
            bar.total = n_batches
            bar.update()
        arrays = caffe.tally(definition, snapshot, folder, D, show, top=top,
                             default_iterations=int(test_iter[0]) if test_iter else None, **options)
    n_classes = int(arrays["n_classes"])
    tally = Tally(n_classes, D, top)
    tally.arrays = {key: arrays[key] for key in tally.arrays}
    return {"snapshot": to_unicode(snapshot), "source": arrays["source"].item(), "spatial": bool(arrays["spatial"]),
            "n_classes": n_classes, "evaluation": comparison.evaluation_of(tally)}, arrays["left_out"].tolist()


def _folders(run):
    """Return the folders that names in the log may be relative to, the likeliest first."""
    if run.folder is not None:
        return [os.path.abspath(run.folder)]
    folders = [os.getcwd(), os.path.dirname(os.path.abspath(run.main_file()))]
    while folders[-1] != os.path.dirname(folders[-1]):
        folders.append(os.path.dirname(folders[-1]))
    return folders


def _snapshot(run):
    """Return (the folder where caffe ran, the latest snapshot that still exists)."""
    folders = _folders(run)
    if run.snapshots:
        return folders[0], os.path.abspath(run.snapshots[0])
    names = [_file_name(to_str(name)) for name in reversed(run.log.snapshots)]
    for name, folder in itertools.product(names, folders):
        if os.path.isfile(os.path.join(folder, name)):
            return folder, os.path.abspath(os.path.join(folder, name))
    for name in names:  # log and snapshots were moved together
        beside = os.path.join(os.path.dirname(os.path.abspath(run.main_file())), os.path.basename(name))
        if os.path.isfile(beside):
            return folders[0], beside
    raise ValueError("no snapshot: the log names %s" % (names[0] + ", which is not there" if names else "none"))


def _file_name(name):
    """Return the name of a snapshot's file: old logs state it without its ending."""
    whole = name + SNAPSHOTS[0]
    return whole if not name.endswith(SNAPSHOTS) and not os.path.exists(name) and os.path.exists(whole) else name


def _definition(run, folder, temporary):
    """Return the file with the net of the run's TEST phase. temporary: str, a folder for one that only the log has."""
    if run.nets:
        return os.path.abspath(run.nets[0])
    if not run.log.test_nets:
        raise ValueError("no test net: the log names none; give a net with data and labels for the TEST phase")
    net = run.log.test_nets[min(run.log.test_nets)]
    if net.text is not None:
        path = os.path.join(temporary, "net.prototxt")
        with open(path, "wb") as file:
            file.write(net.text.encode("utf-8"))
        return path
    name = net.file or (run.log.solver.get("test_net") or run.log.solver.get("net") or [None])[0]
    if name is None:
        raise ValueError("no test net: the log shows it cut off, and names no file; give it")
    return os.path.join(folder, to_str(name))
