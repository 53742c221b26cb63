#!/usr/bin/env python
"""What came out of a training: curves, recalls, confusions, costs and confidence, as one page of HTML.

A RUN is a log of `caffe train` (caffe.INFO, or standard error in a file). The log names the net, its test data and
the snapshots: the last snapshot is run on the test data, if both are still there. What is elsewhere, or no longer
as it was, is named with it:

  RUN = [NAME=]FILE[,FILE ...]   logs (of a training that was resumed: one after the other), a net (train_val.prototxt),
                                 a snapshot (.caffemodel), in any order

Runs of the same NAME are seeds of one method and shown together, with intervals. Without a NAME it is that of the
log, less what says the seed: mine_seed0.log and mine_seed1.log are two runs of "mine". The first method is what the
others are compared with.

examples:
  report.py caffe.log
  report.py caffe.log -o report.html --names classes.txt --distances D.csv
  report.py plain=caffe.log early=train_val.prototxt,snap_iter_10.caffemodel -o report.html
  report.py caffe.log --json --no-evaluation
"""
from __future__ import division, print_function

import collections
import contextlib
import json
import multiprocessing
import os
import re
import shutil
import sys
import tempfile

import numpy as np

from caffe_tools import cli  # first, as it puts the checkout's packages on the path

from caffe_losses.evaluation import comparison
from caffe_losses.formats import matrix_files
from caffe_losses.evaluation.tally import DECISIONS, PROBABLE, Tally, metric_list
from caffe_losses.matrices.gains import check_cost
from caffe_prototxt.training import logs
from caffe_tools import class_files
from caffe_tools.report.matrix_plot import require_matplotlib

MOST_POINTS = 1000  # of a curve in page and JSON; of more, means of neighbours
SNAPSHOTS = (".caffemodel", ".caffemodel.h5")
SEED = re.compile(r"[-_. ]?seed[-_]?(\d+)", re.IGNORECASE)


def main():
    args = _parser().parse_args()
    if args.output is not None:  # said now, and not after all nets have run
        require_matplotlib(args.output)
        if not os.path.isdir(os.path.dirname(os.path.abspath(args.output))):
            raise IOError("%s: cannot be written: No such folder" % args.output)
    D, names = _classes(args)
    runs = [_Run(text, args.folder) for text in args.run]
    _check_once(runs)
    _name(runs)
    _read_logs(runs)
    with _folder() as folder:
        results = [_result(run, args, D, names, folder) for run in runs]
    if not any(result["curves"] or result["evaluation"] for result in results):
        raise ValueError("nothing to report: %s" % "; ".join(
            "%s: %s" % (result["name"], ", ".join([result["status"]] + result["notes"])) for result in results))
    report = _report(results, args, D, names)
    if args.output is not None:
        from caffe_tools.report.html import page
        html = page(report).encode("utf-8")
        with matrix_files.atomic_write(args.output) as file:
            file.write(html)
    if args.json:
        _print(json.dumps(report, sort_keys=True))
    else:
        _print_summary(report, args)


def _parser():
    parser = cli.Parser(description=__doc__)
    parser.add_argument("run", nargs="+", metavar="RUN", help="[NAME=]FILE[,FILE ...], see above")
    parser.add_argument("-o", "--output", metavar="FILE", help="the page (.html)")
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    parser.add_argument("--title", default="Training report", help="of the page")
    group = parser.add_argument_group("classes and costs")
    group.add_argument("--names", metavar="FILE", help="class names, one a line, in the order of the labels")
    costs = group.add_mutually_exclusive_group()
    costs.add_argument("--distances", metavar="D", help="file with costs, D[true, predicted]: what each mistake costs")
    costs.add_argument("--tree", metavar="FILE", help="file with a class tree to take the costs from")
    group.add_argument("--top", type=int, default=5, metavar="K", help="of a ranking, the classes whose cost counts "
                       "(default: 5)")
    group = parser.add_argument_group("evaluation")
    group.add_argument("--no-evaluation", action="store_true", help="logs only: run no net")
    group.add_argument("--iterations", type=int, metavar="N", help="test batches to run (default: all samples of the "
                       "test data once, or the solver's test_iter where they cannot be counted)")
    group.add_argument("--score", metavar="BLOB", help="the scores (default: first bottom of the net's last loss)")
    group.add_argument("--label", metavar="BLOB", help="the labels (default: second bottom of the net's last loss)")
    group.add_argument("--folder", metavar="DIR", help="where caffe ran, which the names in logs and nets are relative "
                       "to (default: here, or above the log)")
    group.add_argument("--gpu", type=int, metavar="N", help="run the nets on GPU N (default: on the CPU)")
    return parser


def _classes(args):
    """(costs, class names), None for what is not given."""
    for option in ("top", "iterations"):
        number = getattr(args, option)
        if number is not None and number < 1:
            raise ValueError("--%s: expected at least 1, got %d" % (option, number))
    names = None if args.names is None else class_files.read_names(args.names)
    D = None
    if args.tree is not None:
        D, names = class_files.read_tree_costs(args.tree, names)
    elif args.distances is not None:
        D = check_cost(matrix_files.read_matrix(args.distances), args.distances).astype(np.float64)
    if D is not None and names is not None and len(names) != len(D):
        raise ValueError("%s: expected %d class names, as there are costs of so many, got %d"
                         % (args.names, len(D), len(names)))
    return D, None if names is None else [_text(name) for name in names]


# Runs

class _Run(object):
    """What an argument names. name: str or None. logs, nets, snapshots: files. folder: where caffe ran, or None."""

    def __init__(self, text, folder):
        self.name, files = None, text
        if "=" in text and not os.path.exists(text):
            self.name, files = text.split("=", 1)
        self.logs, self.nets, self.snapshots, self.folder = [], [], [], folder
        for file in [files] if os.path.exists(files) else files.split(","):
            if not os.path.isfile(file):
                raise IOError("%s: cannot be read: no such file" % (file or repr(file)))
            self._kind(file).append(file)
        if max(len(self.nets), len(self.snapshots)) > 1:
            raise ValueError("%s: expected one net and one snapshot, got several; other runs are other arguments" % text)
        if not self.logs and not (self.nets and self.snapshots):
            raise ValueError("%s: expected a log, or a net and a snapshot" % text)
        self.log, self.seed = None, None

    def _kind(self, file):
        if file.endswith(SNAPSHOTS):
            return self.snapshots
        if file.endswith((".solverstate", ".solverstate.h5")):
            raise ValueError("%s: expected a .caffemodel, which has the weights" % file)
        return self.nets if file.endswith((".prototxt", ".prototext", ".pbtxt")) else self.logs

    def main_file(self):
        return (self.logs or self.snapshots)[0]


def _check_once(runs):
    found = set()
    for file in [os.path.realpath(log) for run in runs for log in run.logs]:
        if file in found:
            raise ValueError("%s: named twice; a run counts once" % file)
        found.add(file)


def _name(runs):
    """Give a name to the runs that have none."""
    unnamed = [run for run in runs if run.name is None]
    stems = [re.sub(r"\.(log|txt|caffemodel(\.h5)?)$", "", os.path.basename(run.main_file())) for run in unnamed]
    for run, stem in zip(unnamed, stems):
        if SEED.search(stem):
            run.name = SEED.sub("", stem) or "run"
        else:  # a/caffe.log and b/caffe.log are no seeds of one method
            run.name = stem if stems.count(stem) == 1 else run.main_file()
    for run in runs:
        run.name = _text(run.name)


def _read_logs(runs):
    from tqdm import tqdm
    total = sum(os.path.getsize(log) for run in runs for log in run.logs)
    with tqdm(total=total, unit="B", unit_scale=True, desc="reading logs", leave=False, disable=None) as bar:
        for run in runs:
            if run.logs:
                run.log = logs.read_log(run.logs, bar.update)
            run.seed = _seed(run)


def _seed(run):
    """The random_seed of the solver, or the seed that the file's name says, or None."""
    stated = run.log.solver.get("random_seed", []) if run.log else []
    if stated and re.match(r"\d+$", stated[0]):
        return int(stated[0])
    found = SEED.search(os.path.basename(run.main_file()))
    return int(found.group(1)) if found else None


# What is reported of a run

def _result(run, args, D, names, folder):
    log = run.log
    notes = [_text(note) for note in log.notes] if log else []
    if log and log.diverged() is not None and log.test:
        notes.append(u"from iteration %d on a test accuracy means nothing: Caffe's Accuracy layer takes NaN scores for "
                     u"right" % log.diverged())
    result = {"name": run.name, "seed": run.seed, "files": [_text(file) for file in run.logs + run.nets + run.snapshots],
              "iterations": log and log.iterations(), "status": log.status() if log else "no log", "notes": notes,
              "curves": _curves(log) if log else {}, "snapshot": None, "source": None, "evaluation": None}
    if not args.no_evaluation:
        try:
            tally, found = _evaluated(run, args, D, names, folder)
            result.update(found, evaluation=comparison.evaluation_of(tally))
        except (ValueError, EnvironmentError, ImportError) as error:
            notes.append(_text("not evaluated: %s" % cli.one_line(error)))
    return result


def _curves(log):
    found = [("training loss", log.loss)]
    for net, outputs in log.test.items():
        found += [("test %s%s" % (name, " (net #%d)" % net if len(log.test) > 1 else ""), series)
                  for name, series in outputs.items()]
    if len(log.train) > 1:
        found += [("training output %s" % name, series) for name, series in log.train.items()]
    if len(log.rate) > 1:
        found.append(("learning rate", log.rate))
    return collections.OrderedDict((name, _thinned(series)) for name, series in found if len(series))


def _thinned(series):
    iterations, values = np.array(series.iterations), np.array(series.values)
    if len(values) > MOST_POINTS:
        ends = np.linspace(0, len(values), MOST_POINTS + 1).astype(int)
        iterations, values = [np.add.reduceat(array, ends[:-1]) / np.diff(ends) for array in (iterations, values)]
    return {"iterations": iterations.tolist(),
            "values": [value if np.isfinite(value) else None for value in values.tolist()]}


# Evaluation

def _evaluated(run, args, D, names, folder):
    """(Tally, what was evaluated) of the run's snapshot. Raises ValueError or IOError: why it cannot be."""
    place, snapshot = _snapshot(run)
    definition = _definition(run, place, folder)
    test_iter = run.log.solver.get("test_iter", []) if run.log else []
    settings = {"definition": definition, "snapshot": snapshot, "place": place, "gpu": args.gpu, "D": D,
                "top": args.top, "names": None if names is None else len(names),
                "iterations": args.iterations, "score": args.score, "label": args.label,
                "default_iterations": int(test_iter[0]) if test_iter else None, "desc": run.name}
    found = _in_a_process(settings, folder)
    tally = Tally(int(found["n_classes"]), D, args.top)
    for key in tally.arrays:
        tally.arrays[key] = found[key]
    return tally, {"snapshot": _text(snapshot), "source": found["source"].item(), "spatial": bool(found["spatial"]),
                   "n_classes": int(found["n_classes"])}


def _places(run):
    """The folders that names in the log may be relative to."""
    if run.folder is not None:
        return [run.folder]
    places, above = [os.getcwd()], os.path.abspath(run.main_file())
    while above != os.path.dirname(above):
        above = os.path.dirname(above)
        places.append(above)
    return places


def _snapshot(run):
    """(where caffe ran, snapshot), the latest that is still there."""
    places = _places(run)
    if run.snapshots:
        return places[0], os.path.abspath(run.snapshots[0])
    wanted = [_name_of(name) for name in reversed(run.log.snapshots)]
    for name in wanted:
        for place in places:
            if os.path.isfile(os.path.join(place, name)):
                return place, os.path.abspath(os.path.join(place, name))
    for name in wanted:  # all was moved together
        beside = os.path.join(os.path.dirname(os.path.abspath(run.main_file())), os.path.basename(name))
        if os.path.isfile(beside):
            return places[0], beside
    raise ValueError("no snapshot: %s" % ("the log names %s, which is not there" % wanted[0] if wanted
                                          else "the log names none"))


def _name_of(name):
    name = name if isinstance(name, str) else name.encode("utf-8")  # Python 2
    return name if name.endswith(SNAPSHOTS) or os.path.exists(name) else _with_ending(name)


def _with_ending(name):
    return name + ".caffemodel" if os.path.exists(name + ".caffemodel") else name


def _definition(run, place, folder):
    """The file with the net of the run's TEST phase."""
    if run.nets:
        return os.path.abspath(run.nets[0])
    if not run.log.test_nets:
        raise ValueError("no test net: the log names none; give a net with data and labels for the TEST phase")
    net = run.log.test_nets[min(run.log.test_nets)]
    if net.text is not None:
        path = os.path.join(folder, "net.prototxt")
        with open(path, "wb") as file:
            file.write(net.text.encode("utf-8"))
        return path
    named = net.file or (run.log.solver.get("test_net") or run.log.solver.get("net") or [None])[0]
    if named is None:
        raise ValueError("no test net: the log shows it cut off, and names no file; give it")
    return os.path.join(place, named if isinstance(named, str) else named.encode("utf-8"))


def _in_a_process(settings, folder):
    """The arrays that _evaluate wrote in a process of its own, which Caffe may end as it likes."""
    os.environ["GLOG_minloglevel"] = "2"  # read at the import; else Caffe prints every layer it makes
    import caffe  # noqa: F401  once, and not in each process
    output, errors = os.path.join(folder, "tally.npz"), os.path.join(folder, "errors")
    for path in (output, errors):
        if os.path.exists(path):
            os.remove(path)
    sys.stdout.flush()
    process = multiprocessing.Process(target=_evaluate, args=(settings, output, errors))
    process.start()
    try:
        process.join()
    finally:
        if process.is_alive():
            process.terminate()
            process.join()
    if process.exitcode or not os.path.exists(output):
        raise ValueError(_cause(errors, process.exitcode))
    with np.load(output, allow_pickle=False) as found:
        return {key: found[key] for key in found.files}


def _evaluate(settings, output, errors):
    """Run a net on its test data, and write what it adds up to."""
    terminal = os.fdopen(os.dup(2), "w")
    file = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 2)
    try:
        _write_tally(settings, output, terminal)
    except Exception as error:  # whatever the user's net and layers raise
        os.write(file, ("report: %s\n" % cli.one_line(error)).encode("utf-8", "replace"))
        os._exit(1)
    os._exit(0)  # without Caffe's own end, which some builds do not survive


def _write_tally(settings, output, terminal):
    from tqdm import tqdm
    from caffe_losses.functional.losses import softmax_parts
    from caffe_prototxt.training.predictions import Evaluation
    import caffe
    os.chdir(settings["place"])
    if settings["gpu"] is not None:
        caffe.set_device(settings["gpu"])
        caffe.set_mode_gpu()
    evaluation = Evaluation(settings["definition"], settings["snapshot"], settings["iterations"],
                            settings["default_iterations"], settings["score"], settings["label"])
    if settings["names"] not in (None, evaluation.n_classes):
        raise ValueError("--names: expected %d class names, as the net has, got %d"
                         % (evaluation.n_classes, settings["names"]))
    tally = Tally(evaluation.n_classes, settings["D"], settings["top"])
    for scores, labels in tqdm(evaluation.batches(), total=evaluation.n_iterations, unit=" batches", leave=False,
                               desc=settings["desc"].encode("ascii", "replace").decode("ascii"),
                               file=terminal, disable=None):
        if not evaluation.are_probabilities:
            _, e, s = softmax_parts(scores)
            scores = e / s[:, None]
        if len(labels):
            tally.add(scores, labels)
    if not tally.n_samples():
        raise ValueError("%s: expected labels that are not ignored, got none" % evaluation.label)
    np.savez(output, n_classes=evaluation.n_classes, spatial=evaluation.spatial,
             source=np.array(_text(evaluation.source)), **tally.arrays)


def _cause(errors, status):
    """The line of a net's errors that says why it failed."""
    with open(errors, "rb") as file:
        lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
    for mark in ("report: ", "Check failed: ", "] "):
        for line in lines:
            if mark in line:
                return line.partition(mark)[2] if mark != "Check failed: " else line[line.index(mark):]
    return lines[-1] if lines else "caffe ended with status %s" % status


@contextlib.contextmanager
def _folder():
    path = tempfile.mkdtemp()
    try:
        yield path
    finally:
        shutil.rmtree(path)


# The report

def _report(results, args, D, names):
    evaluated = [result for result in results if result["evaluation"]]
    sizes = sorted(set(result["n_classes"] for result in evaluated))
    if len(sizes) > 1:
        raise ValueError("expected nets of the same classes, got some of %s" % " and ".join(map(str, sizes)))
    n_classes = sizes[0] if sizes else None
    return {"title": _text(args.title), "runs": results, "methods": comparison.methods_of(results),
            "differences": comparison.differences_of(results), "intervals": comparison.INTERVALS,
            "classes": names, "n_classes": n_classes, "D": None if D is None else D.tolist(),
            "top": min(args.top, n_classes or args.top),
            "spatial": any(result["spatial"] for result in evaluated)}


def _print_summary(report, args):
    for result in report["runs"]:
        _print(u"%s%s: %s%s" % (result["name"], u"" if result["seed"] is None else u", seed %s" % result["seed"],
                                result["status"], u"".join(u"; " + note for note in result["notes"])))
        losses = result["curves"].get("training loss", {"values": [None]})["values"]
        if losses[-1] is not None:
            _print(u"  training loss %.4g at iteration %d" % (losses[-1], result["iterations"][1]))
    metrics = metric_list(report["top"], report["D"] is not None, report["spatial"])
    for method in report["methods"]:
        for decision, of_decision in sorted((method["evaluation"] or {}).items(),
                                            key=lambda item: item[0] != PROBABLE):
            _print(u"%s, deciding for the %s: %s" % (method["name"], DECISIONS[decision], u", ".join(
                u"%s %s" % (metric.title, _with_spread(metric, of_decision["scores"][metric.key]))
                for metric in metrics)))
    if args.output is not None:
        _print(u"%s: the page; open it in a browser" % _text(args.output))
    else:
        _print(u"next: -o report.html writes all this and the pictures as a page")


def _with_spread(metric, interval):
    if interval["mean"] is None:
        return u"NaN"
    spread = u"" if interval["low"] is None else u" +-%s" % (metric.form % (interval["high"] - interval["mean"]))
    return metric.form % interval["mean"] + spread


def _text(name):
    """A name as text: bytes, as Python 2 has them, read as UTF-8."""
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else name


def _print(text):
    print(text if isinstance(text, str) else text.encode("utf-8"))  # Python 2


if __name__ == "__main__":
    cli.run(main)
