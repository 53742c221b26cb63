#!/usr/bin/env python
"""Report on trainings: curves, recalls, confusions, costs and confidence, as one page of HTML.

A RUN is a log of `caffe train` (caffe.INFO, or standard error in a file). The log names the net, its test data and
the snapshots: the last snapshot is run on the test data, if both are still there. One that may be another training's
is not (newer than the log, named by two logs, or without the accuracy in the log), unless --any-snapshot asks for it.
What is elsewhere, or no longer as it was, is named with it:

  RUN = [NAME=]FILE[,FILE ...]   logs (of a training that was resumed: one after the other), a net (train_val.prototxt),
                                 a snapshot (.caffemodel), in any order

The Python layers that the net names are run (--no-python leaves them out); layers that write files are left out.

It ends with the decision that is best for the net, and the line that builds it: class weights (by the labels that the
net is trained with, or --class-weights), costs or both, each calibrated (by a temperature that is fitted on one half of
the test data and applied to the other) or not. Best is the least mean cost, without costs the greatest mean recall.

Runs of the same NAME are seeds of one method and shown together, with intervals. Without a NAME it is that of the
log, less what says the seed: mine_seed0.log and mine_seed1.log are two runs of "mine". The first method is what the
others are compared with.

examples:
  report.py caffe.log
  report.py caffe.log -o report.html --names classes.txt --distances D.csv
  report.py plain=caffe.log early=train_val.prototxt,snap_iter_10.caffemodel -o report.html
  report.py caffe.log --json --no-evaluation
  report.py caffe.log --csv .
"""
from __future__ import division, print_function

from caffe_tools import cli  # first, as it puts the checkout's packages on the path

import os

from caffe_losses.compat import to_unicode
from caffe_prototxt.training import caffe_process, precautions
from caffe_tools import results
from caffe_tools.options import class_files
from caffe_tools.report import csv_tables, summary
from caffe_tools.report.html import page
from caffe_tools.report.matrix_plot import import_matplotlib
from caffe_tools.report.runs import find_runs
from caffe_tools.training_weights import TrainingWeights


def main():
    parser = _parser()
    args = parser.parse_args()
    precautions.drop_current_folder()
    _check_output(parser, args)
    classes = results.read_classes(args.names, args.distances, args.tree)
    runs = find_runs(args.run, args.folder)
    _refuse_overwriting(parser, args, runs)
    with caffe_process.Caffe(seconds=None) as caffe:
        weights = TrainingWeights(args.class_weights, _argument_of_weights(args), args.label, not args.no_python, caffe)
        found = [run.result() if args.no_evaluation else results.result_of(
            run, runs, caffe, classes, args.top, weights, any_snapshot=args.any_snapshot, iterations=args.iterations,
            score=args.score, label=args.label, python=not args.no_python, gpu=args.gpu) for run in runs]
    report = results.report_of(found, classes, args.top, args.title)
    if args.output is not None:
        cli.write(page(report).encode("utf-8"), args.output)
    if args.csv is not None:
        _write_csv(runs, args.csv)
    if args.json:
        cli.say_json(report)
    else:
        _print_summary(report, args)


def _parser():
    parser = cli.Parser(description=__doc__)
    parser.add_argument("run", nargs="+", metavar="RUN", help="[NAME=]FILE[,FILE ...], see above")
    parser.add_argument("-o", "--output", metavar="FILE", help="the page (.html)")
    parser.add_argument("--csv", metavar="DIR", nargs="?", const=".", help="write the tables of Caffe's parse_log.py "
                        "into a folder (default: here): LOG.train and LOG.test")
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    parser.add_argument("--title", default="Training report", help="of the page")
    group = parser.add_argument_group("classes and costs")
    group.add_argument("--names", metavar="FILE", help="class names, one a line, in the order of the labels")
    costs = group.add_mutually_exclusive_group()
    costs.add_argument("--distances", metavar="D", help="file with costs, D[true, predicted]: what each mistake costs")
    costs.add_argument("--tree", metavar="FILE", help="file with a class tree to take the costs from")
    group.add_argument("--class-weights", type=class_files.numbers, metavar="W", help="a weight for each class, to "
                       "decide with: 1,2,10 or a file of numbers (default: balanced ones, by the labels that the net "
                       "is trained with)")
    group.add_argument("--top", type=int, default=5, metavar="K", help="of a ranking, the classes whose cost counts "
                       "(default: 5)")
    group = parser.add_argument_group("evaluation")
    group.add_argument("--no-evaluation", action="store_true", help="logs only: run no net")
    group.add_argument("--any-snapshot", action="store_true", help="evaluate a snapshot, too, that may be another "
                       "training's: newer than the log, named by two logs, or without the log's accuracy")
    group.add_argument("--no-python", action="store_true", help="leave Python layers out of the nets; one whose "
                       "scores or labels need them is not evaluated")
    group.add_argument("--iterations", type=int, metavar="N", help="test batches to run (default: all samples of the "
                       "test data once, or the solver's test_iter where they cannot be counted)")
    group.add_argument("--score", metavar="BLOB", help="the scores (default: first bottom of the net's last loss)")
    group.add_argument("--label", metavar="BLOB", help="the labels (default: second bottom of the net's last loss)")
    group.add_argument("--folder", metavar="DIR", help="where caffe ran, which the names in logs and nets are relative "
                       "to (default: here, or above the log)")
    group.add_argument("--gpu", type=int, metavar="N", help="run the nets on GPU N (default: on the CPU)")
    return parser


def _check_output(parser, args):
    """End the command at an output that cannot be written: said now, and not after all nets have run."""
    if args.output is not None:
        if os.path.splitext(args.output)[1].lower() not in ("", ".html", ".htm"):
            parser.error("-o %s: expected the name of a page, which ends in .html" % args.output)
        import_matplotlib("the pictures of " + args.output)
        if not os.path.isdir(os.path.dirname(os.path.abspath(args.output))):
            raise IOError("%s: cannot be written: No such folder" % args.output)
    for option in ("csv", "folder"):
        folder = getattr(args, option)
        if folder is not None and not os.path.isdir(folder):
            parser.error("--%s %s: expected a folder, got none" % (option, folder))
    for option, least in (("top", 1), ("iterations", 1), ("gpu", 0)):
        number = getattr(args, option)
        if number is not None and number < least:
            parser.error("--%s: expected at least %d, got %d" % (option, least, number))


def _refuse_overwriting(parser, args, runs):
    """End the command if it would write over a file that it reads, or two tables into one."""
    inputs = [file for run in runs for file in run.files()] + [args.names, args.distances, args.tree,
                                                                 args.class_weights and args.class_weights.path]
    outputs = [args.output]
    if args.csv is not None:
        outputs += [csv_tables.file_name(run, args.csv, ending)
                    for run in runs if run.logs for ending in csv_tables.ENDINGS]
    for i, output in enumerate(outputs):
        cli.refuse_overwriting(parser, output, inputs)
        if output in outputs[:i]:
            parser.error("--csv %s: expected logs of different names, got two tables %s" % (args.csv, output))


def _write_csv(runs, folder):
    for run in [run for run in runs if run.logs]:
        for ending, content in csv_tables.tables(run):
            if content:
                cli.write(content, csv_tables.file_name(run, folder, ending))


def _argument_of_weights(args):
    """Return what stands after --class-weights, or None."""
    weights = args.class_weights
    return weights and (weights.path or ",".join("%.15g" % number for number in weights))


def _print_summary(report, args):
    for line in summary.lines_of(report):
        cli.say(line)
    if args.output is not None:
        cli.say(u"%s: the page; open it in a browser" % to_unicode(args.output))
    else:
        cli.say(u"-o report.html writes all this and the pictures as a page")
    for line in summary.lines_of_decisions(report):
        cli.say(line)


if __name__ == "__main__":
    cli.run(main)
