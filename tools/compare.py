#!/usr/bin/env python
"""Train variants of a net with several seeds, and say which of them helps.

From your SOLVER, its net and data, it makes the variants for which there is data:

  the net as it is                  what the others are compared with
  H                                 with --distances or --tree: gains exp(-D / tau)
  label smoothing                   as much as H leaves: a control
  H, classes shuffled               in another order for each seed: a control
  class weights                     with --class-weights
  class weights and H               with both
  logit adjustment                  with --logit-adjust
  your own                          --variant NAME=OPTIONS, options of use_loss.py (repeatable)

trains each by `caffe train` with each seed, evaluates it on the net's test data, as report.py does, with the decisions
at test time too, and writes the page. All goes into a folder, and what has been trained is kept there, by the content
of net, solver and data: what was stopped goes on when it is started again. Nothing of yours is changed.

Lists of --tau, --power, --logit-adjust and --lr are tried on a fifth of the TRAIN data that is held out (copies of the
data are made), or on --validate NET, by the mean cost or else the mean recall, and the best is trained with all of the
data; label smoothing and the shuffled H take what is best for H. A seed is the solver's random_seed: it draws the
weights that a training starts with. Data and HDF5Data layers give the samples in the same order for each, unless
--order-by-seed.

On several machines with a shared folder: --print-jobs prints a line for each training that is missing, for GNU
parallel or a batch system, and evaluates those that are there; with lists, what is to be trained with the best of them
is printed once they have been tried. Data are told apart by their content, those above 64 MB and the images that a list
names by less: by size and time, and not at all.

examples:
  compare.py solver.prototxt --tree tree.txt --names classes.txt
  compare.py solver.prototxt --class-weights --power 1,.5
  compare.py solver.prototxt --class-weights --all
  compare.py solver.prototxt --distances D.csv --tau .3,.75,1.5 --seeds 10
  compare.py solver.prototxt --class-weights --print-jobs
  compare.py solver.prototxt --logit-adjust .5,1
  compare.py solver.prototxt --variant "ComputeH=--compute-h --running 0.99"
"""
from __future__ import division, print_function

from caffe_tools import cli  # first, as it puts the checkout's packages on the path

import argparse
import contextlib
import os

from caffe_losses.errors import naming
from caffe_prototxt.check import solvers
from caffe_prototxt.check.faults import ERROR
from caffe_prototxt.net import losses
from caffe_prototxt.training import caffe_process, precautions
from caffe_tools import results
from caffe_tools.compare.comparison import Comparison, check_tests
from caffe_tools.options import class_files
from caffe_tools.report.matrix_plot import import_matplotlib


def main():
    args = _parse()
    precautions.drop_current_folder()
    import_matplotlib("the pictures of the page")
    classes = results.read_classes(args.names, args.distances, args.tree)
    solver = cli.read_net(args.solver)
    with naming(args.solver):
        net = _net_of(solver, args.solver)
    for path in filter(None, (args.weights or "").split(",")):
        cli.check_is_file(path)
    if args.validate is not None:
        check_tests(args.validate)
    for name in ("trained", "nets", "held_out"):
        _make_folder(os.path.join(args.output, name))
    with _alone_in(args.output), caffe_process.Caffe(seconds=None) as caffe:
        Comparison(args, classes, solver, net, caffe).run()


def _parse():
    parser = cli.Parser(description=__doc__)
    parser.add_argument("solver", metavar="SOLVER", help="the solver of your net")
    group = parser.add_argument_group("variants")
    costs = group.add_mutually_exclusive_group()
    costs.add_argument("--distances", metavar="D", help="file with costs, D[true, predicted]")
    costs.add_argument("--tree", metavar="FILE", help="file with a class tree to take the costs from")
    group.add_argument("--names", metavar="FILE", help="class names, one a line, in the order of the labels")
    group.add_argument("--class-weights", nargs="?", const="", metavar="W", help="class weights: 1,2,10 or a file of "
                       "numbers; without any, balanced ones by the labels that the net is trained with")
    group.add_argument("--tau", type=_numbers, default=[.75], metavar="T,T", help="of H (default: 0.75)")
    group.add_argument("--power", type=_numbers, default=[1.], metavar="P,P", help="of balanced class weights; 0.5: "
                       "square root (default: 1)")
    group.add_argument("--logit-adjust", nargs="?", const=[1.], type=_numbers, metavar="S,S", help="logit adjustment, "
                       "of these strengths (default: 1), by the labels that the net is trained with")
    group.add_argument("--lr", type=_numbers, default=[1.], metavar="F,F", help="factors of base_lr (default: 1)")
    group.add_argument("--variant", action="append", default=[], metavar="NAME=OPTIONS", help="a net that use_loss.py "
                       "makes with these options (repeatable)")
    group.add_argument("--layer", action="append", default=[], metavar="NAME", help="name of the loss that changes "
                       "(repeatable)")
    group.add_argument("--all", action="store_true", help="all losses change")
    group.add_argument("--loss", choices=sorted(kind for kind in losses.KINDS if losses.KINDS[kind].matrix == "gain"),
                       metavar="TYPE", help="the loss with H, as of use_loss.py (default: InfogainLoss)")
    group = parser.add_argument_group("training")
    group.add_argument("--seeds", type=int, default=3, metavar="N", help="trainings of each variant (default: 3)")
    group.add_argument("--validate", metavar="NET", help="net whose TEST phase has validation data, on which lists are "
                       "tried (default: a fifth of the TRAIN data is held out)")
    group.add_argument("--order-by-seed", action="append", default=[], metavar="PATTERN", help="the TRAIN data of each "
                       "seed, with %%d for the seed: data layers whose source is that of seed 0 read it (repeatable)")
    group.add_argument("--weights", metavar="FILE", help="for caffe train -weights: to go on from a trained net")
    group.add_argument("--jobs", type=int, metavar="N", help="trainings at a time (default: as many as cores, or GPUs)")
    group.add_argument("--gpu", metavar="N,N", help="train on these GPUs, a training on each")
    group.add_argument("--print-jobs", action="store_true", help="train nothing: print a line for each training that "
                       "is missing")
    parser.add_argument("-o", "--output", default="compare", metavar="DIR", help="where all goes (default: compare)")
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    args = parser.parse_args()
    _check(parser, args)
    return args


def _check(parser, args):
    """End the command for options that do not go together; put the numbers of --class-weights and --gpu in place."""
    for option, number in (("--seeds", args.seeds), ("--jobs", args.jobs)):
        if number is not None and number < 1:
            parser.error("%s: expected at least 1, got %d" % (option, number))
    if args.gpu is not None and not all(number.isdigit() for number in args.gpu.split(",")):
        parser.error("--gpu: expected numbers of GPUs with commas between them, got %r" % args.gpu)
    if not any([args.distances, args.tree, args.class_weights is not None, args.logit_adjust, args.variant]):
        parser.error("expected --distances, --tree, --class-weights, --logit-adjust or --variant, got nothing to "
                     "compare with")
    for pattern in args.order_by_seed:
        if pattern.count("%") != 1 or "%d" not in pattern:
            parser.error("--order-by-seed: expected a source with %%d for the seed, got %r" % pattern)
    if args.layer and args.all:
        parser.error("expected --layer or --all, got both")
    if args.class_weights:
        try:
            args.class_weights = class_files.numbers(args.class_weights)
        except argparse.ArgumentTypeError as error:
            parser.error("--class-weights: %s" % error)
    if os.path.exists(args.output) and not os.path.isdir(args.output):
        parser.error("-o %s: expected a folder, got a file" % args.output)


def _numbers(argument):
    """Return the positive numbers of a list, each once."""
    numbers = class_files.numbers(argument)
    if not all(0 < number < float("inf") for number in numbers):
        raise argparse.ArgumentTypeError("expected positive numbers, got %s" % argument)
    return sorted(set(numbers), key=numbers.index)


def _net_of(solver, path):
    """Return the file of the net that a solver trains. Raises ValueError for a solver with a fault."""
    if not solvers.is_solver(solver):
        raise ValueError("expected a solver, got a net; give the solver that trains it")
    found = solvers.read_solver(solver, path)
    if found.root is not None:
        raise ValueError("its net is in %s: run this there: cd %s" % (found.root, cli.quote(found.root)))
    for fault in found.faults:
        # A folder for snapshots may be missing: they go elsewhere.
        if fault.level == ERROR and "snapshots" not in fault.message:
            raise ValueError("line %s %s" % (fault.line, fault.message))
    trained = [name for name, made in found.nets if any(phase == "TRAIN" for phase, _ in made)]
    if not trained:
        raise ValueError("expected a solver that names its net, got none that is there")
    return trained[0]


def _make_folder(path):
    if not os.path.isdir(path):
        with naming(path, "cannot be made: "):
            os.makedirs(path)


@contextlib.contextmanager
def _alone_in(folder):
    """Keep another compare.py from writing into a folder, as long as this lasts."""
    import fcntl
    with open(os.path.join(folder, ".lock"), "w") as file:
        fcntl.fcntl(file, fcntl.F_SETFD, fcntl.FD_CLOEXEC)  # Python 2 would leave it to child processes
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except EnvironmentError:
            raise ValueError("%s: expected no other compare.py in it, got one that is running; -o sets another folder"
                             % folder)
        yield


if __name__ == "__main__":
    cli.run(main)
