"""Evaluate a run: find its last snapshot, doubt it where it must be, and run it on the test data in a child process."""
from __future__ import division, print_function

import json
import os
import re

import numpy as np

from caffe_losses.compat import to_str, to_unicode
from caffe_losses.evaluation import comparison
from caffe_losses.evaluation.tally import PROBABLE, Tally
from caffe_losses.optional_packages import progress_bar
from caffe_tools.decision_report import trial_of
from caffe_tools.report import snapshots
from caffe_tools.training_weights import from_here

NEWER = "snapshot %s is newer than the log: another training may have written over it"
OF_GPU = re.compile("gpu|cuda|device ordinal", re.IGNORECASE)


class WrongOption(ValueError):
    """An option of the command does not fit a net."""


def evaluate(run, runs, caffe, D, top, class_weights, any_snapshot=False, **options):
    """Run the snapshot of a run on its test data.

    run: runs.Run. runs: all of the report. caffe: caffe_process.Caffe. D, top: as of Tally.
    class_weights: training_weights.TrainingWeights.
    any_snapshot: whether one is evaluated, too, that may be another training's.
    options: iterations, score, label, python, gpu and n_names, of net_tally.write_tally.
    Returns (what the report states of the evaluation, a dict; notes, a list of str).
    Raises WrongOption, or ValueError or IOError: the reason why it cannot be evaluated.
    """
    snapshot = snapshots.find_snapshot(run)
    doubts = _doubts(snapshot, run, runs)
    _refuse(doubts, any_snapshot)
    weights = class_weights.of(_training_definition(run, snapshot.folder, caffe.folder), snapshot.folder)
    arrays = _tally(run, snapshot, caffe, D, weights, top, options)
    n_classes = int(arrays["n_classes"])
    tally = Tally(n_classes, D, top)
    tally.arrays = {key: arrays[key] for key in tally.arrays}
    doubts += _disagreements(snapshot, run, json.loads(arrays["comparable"].item()),
                             tally.scores(PROBABLE)["accuracy"])
    _refuse(doubts, any_snapshot)
    if not doubts and snapshots.is_newer(snapshot, run):
        doubts = ["snapshot %s is newer than the log, but fits it" % snapshot.name]
    notes = doubts + _notes(snapshot, run) + ["not evaluated with it: " + note for note in arrays["left_out"].tolist()]
    return {"snapshot": to_unicode(snapshot.path), "snapshot_iteration": snapshot.iteration,
            "source": arrays["source"].item(), "spatial": bool(arrays["spatial"]), "n_classes": n_classes,
            "counts": np.sum(tally.confusion(PROBABLE), axis=1).tolist(),
            "evaluation": comparison.evaluation_of(tally),
            "decisions": trial_of(dict(json.loads(arrays["trial"].item()), net=_net_file(run, snapshot.folder)),
                                  weights)}, notes


def _refuse(doubts, any_snapshot):
    if doubts and not any_snapshot:
        raise ValueError(doubts[0] + "; --any-snapshot evaluates it all the same")


def _tally(run, snapshot, caffe, D, weights, top, options):
    definition = _definition(run, snapshot.folder, caffe.folder)
    with progress_bar(None, " batches", desc=run.name.encode("ascii", "replace").decode("ascii")) as bar:
        def show(n_batches):
            bar.total = n_batches
            bar.update()
        try:
            return caffe.tally(definition, snapshot.path, snapshot.folder, D, show, weights["weights"], top=top,
                               are_given=weights["counts"] is None, default_iterations=_test_iter(run),
                               n_tests=_n_tests(snapshot, run), **options)
        except ValueError as error:
            message = str(error)
            if options["gpu"] is not None and OF_GPU.search(message):
                message = "--gpu %d: expected a GPU that Caffe can use, got none (%s)" % (options["gpu"], message)
            raise (WrongOption if message.startswith("--") else ValueError)(message)


def _doubts(snapshot, run, runs):
    """Return why a snapshot may be another training's, as the logs and the times of the files tell: a list of str."""
    doubts, others = [], snapshots.others_with(snapshot, run, runs)
    if others:
        doubts.append("snapshot %s is named by the log of %s, too: one training may have written over the other's"
                      % (snapshot.name, ", ".join(map(to_str, others))))
    if snapshots.is_newer(snapshot, run) and snapshots.keeps_time(run) and not _tested_at(snapshot, run):
        doubts.append(NEWER % snapshot.name)
    return doubts


def _disagreements(snapshot, run, comparable, accuracy):
    """Return [why the decisions cannot be those of the training in the log], empty if they can be.

    The outputs of the log's test at the snapshot's iteration are compared one by one where that test can be made again,
    else the accuracies, as far as another choice of samples explains a difference. A snapshot that is newer than the
    log needs the first, unless the log's file is a copy.
    """
    logged, found, n_tested = _tested_at(snapshot, run), comparable["tested"], comparable["n_tested"]
    if not found and n_tested:
        found = dict.fromkeys(comparable["accuracies"], accuracy)
    newer, compared = snapshots.is_newer(snapshot, run), sorted(set(found) & set(logged))
    for name in compared:
        before, is_loss = logged[name]
        if (snapshots.outputs_differ(before, found[name], n_tested, is_loss) if comparable["tested"] else
                snapshots.accuracies_differ(before, n_tested, accuracy, comparable["n_images"], comparable["is_epoch"])):
            return ["snapshot %s %sgives %s %.4g, and the log says %.6g at iteration %d: it is another training's, or "
                    "the test data have changed" % (snapshot.name, "is newer than the log and " if newer else "",
                                                    to_str(name), found[name], before, snapshot.iteration)]
    is_known = compared and (comparable["tested"] or not snapshots.keeps_time(run))
    return [NEWER % snapshot.name] if newer and not is_known else []


def _tested_at(snapshot, run):
    """Return {output: (value, whether it is a loss)} of the log's test of the net that is evaluated at a snapshot."""
    if snapshot.is_named or run.nets or not run.log.test:
        return {}
    outputs = run.log.test[min(run.log.test)]
    at = {name: (dict(series.points()).get(snapshot.iteration), series.is_loss) for name, series in outputs.items()}
    return {name: tested for name, tested in at.items() if tested[0] is not None}


def _n_tests(snapshot, run):
    """Return how many tests the process that wrote a snapshot had made when it tested it, or None."""
    if not _tested_at(snapshot, run) or snapshot.iteration < run.log.start:
        return None
    iterations = next(iter(run.log.test[min(run.log.test)].values())).iterations
    return sum(run.log.start <= iteration < snapshot.iteration for iteration in iterations)


def _notes(snapshot, run):
    """Return notes on which snapshot was evaluated: not the last one, or from before the log's end."""
    if snapshot.is_named:
        return []
    if snapshot.missing:
        return ["the last snapshot, %s, is missing: evaluated is %s" % (snapshot.missing[0], snapshot.name)]
    last = run.log.iterations() and run.log.iterations()[1]
    return ["evaluated is %s; the log goes on to iteration %d" % (snapshot.name, last)] * bool(
        last and snapshot.iteration is not None and last > snapshot.iteration)


def _test_iter(run):
    numbers = run.log.solver.get("test_iter", []) if run.log else []
    return int(numbers[0]) if numbers and re.match(r"\d{1,9}$", numbers[0]) else None


def _definition(run, folder, temporary):
    """Return the file with the net of the run's TEST phase. temporary: str, a folder for one that only the log has."""
    if run.nets:
        return os.path.abspath(run.nets[0])
    if not run.log.test_nets:
        raise ValueError("no test net: the log names none; give a net with data and labels for the TEST phase")
    net = run.log.test_nets[min(run.log.test_nets)]
    if net.text is not None:
        return _written(net.text, temporary)
    name = net.file or (run.log.solver.get("test_net") or run.log.solver.get("net") or [None])[0]
    if name is None:
        raise ValueError("no test net: the log shows it cut off, and names no file; give it")
    return os.path.join(folder, to_str(name))


def _training_definition(run, folder, temporary):
    """Return (the file with the net of the run's TRAIN phase, its name in messages), or None if none is known."""
    if run.nets:
        return os.path.abspath(run.nets[0]), run.nets[0]
    if run.log.train_net is not None:
        return _written(run.log.train_net, temporary), "the training net in the log"
    name = to_str((run.log.solver.get("train_net") or run.log.solver.get("net") or [""])[0])
    path = os.path.join(folder, name)
    return (path, name) if name and os.path.isfile(path) else None


def _net_file(run, folder):
    """Return the file of the net that was trained, as short as it is from here; None: the log names none."""
    if run.nets:
        return to_unicode(run.nets[0])
    name = to_str((run.log.solver.get("net") or run.log.solver.get("train_net") or [""])[0])
    return to_unicode(from_here(os.path.join(folder, name))) if name else None


def _written(text, temporary):
    """Write the text of a net to a temporary file, and return its path."""
    path = os.path.join(temporary, "net.prototxt")
    with open(path, "wb") as file:
        file.write(text.encode("utf-8"))
    return path
