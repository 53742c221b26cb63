"""The results of trainings, by their logs and the evaluation of their snapshots, and the report that these make."""
from __future__ import division, print_function

import collections

import numpy as np

from caffe_losses.compat import to_unicode
from caffe_losses.evaluation import comparison
from caffe_losses.formats import matrix_files
from caffe_losses.matrices.gains import check_cost
from caffe_tools import cli, decision_report
from caffe_tools.options import class_files
from caffe_tools.report import summary
from caffe_tools.report.evaluate import WrongOption, evaluate

# D: C x C costs, or None. names: class names, or None. options: the options that name the costs, for make_deploy.py.
Classes = collections.namedtuple("Classes", "D names options")


def read_classes(names_file, distances, tree):
    """Return the Classes in files: of class names, of costs and of a class tree; None each for what is not given.

    Raises IOError or ValueError, naming the file.
    """
    for path in (names_file, distances, tree):
        if path is not None:
            cli.check_is_file(path)
    names, D, options = None if names_file is None else class_files.read_names(names_file), None, []
    if tree is not None:
        options = ["--tree", tree] + ([] if names is None else ["--names", names_file])
        D, names = class_files.read_tree_costs(tree, names)
    elif distances is not None:
        options = ["--distances", distances]
        D = check_cost(matrix_files.read_matrix(distances), distances).astype(np.float64)
    if D is not None and names is not None and len(names) != len(D):
        raise ValueError("%s: expected %d class names, as there are costs of so many, got %d"
                         % (names_file, len(D), len(names)))
    return Classes(D, None if names is None else [to_unicode(name) for name in names], options)


def result_of(run, runs, caffe, classes, top, weights, **options):
    """Return what a report states of a run, a dict; a run that cannot be evaluated says why in its notes.

    run: runs.Run. runs: all of the report. The other arguments: as of evaluate. Raises WrongOption.
    """
    result = run.result()
    try:
        evaluation, notes = evaluate(run, runs, caffe, classes.D, top, weights,
                                     n_names=None if classes.names is None else len(classes.names), **options)
        result.update(evaluation)
        result["notes"] += map(to_unicode, notes)
    except WrongOption:
        raise
    except (ValueError, EnvironmentError) as error:
        result["notes"].append(to_unicode("not evaluated: %s" % cli.one_line(error)))
    return result


def report_of(results, classes, top, title):
    """Return the report of results, a dict that JSON can hold. Raises ValueError for nets of several numbers of classes."""
    if not any(result["curves"] or result["evaluation"] for result in results):
        raise ValueError("nothing to report: %s" % "; ".join(
            "%s: %s" % (result["name"], ", ".join([result["status"]] + result["notes"])) for result in results))
    evaluated = [result for result in results if result["evaluation"]]
    sizes = sorted(set(result["n_classes"] for result in evaluated)) or [None]
    if len(sizes) > 1:
        raise ValueError("expected nets of the same classes, got some of %s" % " and ".join(map(str, sizes)))
    methods, differences = comparison.methods_of(results), comparison.differences_of(results)
    decisions = decision_report.decisions_of(results, classes.options)
    summary.keep_within_bounds(methods, differences, decisions)
    return {"title": to_unicode(title), "runs": results, "methods": methods, "differences": differences,
            "decisions": decisions, "intervals": comparison.INTERVALS, "classes": classes.names, "n_classes": sizes[0],
            "D": None if classes.D is None else classes.D.tolist(), "top": min(top, sizes[0] or top),
            "spatial": any(result["spatial"] for result in evaluated)}
