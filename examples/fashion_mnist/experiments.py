"""List the two comparisons of the example: losses on few images, and class weights on a long tail."""
from __future__ import division, print_function

import collections

import data

# methods: the Methods below. seeds: every method is trained with each.
# counts: how many training images of each class. n_validation: how many others of
# each class for Caffe's TEST phase; the long tail's first class leaves none.
Experiment = collections.namedtuple("Experiment",
                                    "name methods seeds iterations counts n_validation")

TAU = 0.75

# What tools/make_h.py is asked for, by the matrix's name.
MATRICES = collections.OrderedDict([
    ("tree",
     "--tree {tree} --names {names} --tau {tau} "
     "--distances-out {folder}/D.csv --plot {folder}/H_tree.png"),
    ("smoothing", "--smoothing {epsilon} --n-classes 10"),
    ("shuffled_seed{seed}",
     "--distances {folder}/D_shuffled_seed{seed}.csv --tau {tau} --names {names}"),
    ("balanced", "--counts {counts} --weights balanced"),
    ("effective", "--counts {counts} --weights effective_number --beta 0.9999"),
    ("square_root", "--counts {counts} --weights balanced --power 0.5"),
    ("sum_1", "--counts {counts} --weights max_over_count --scale sum"),
    ("max_over_count", "--counts {counts} --weights max_over_count --scale none"),
])

# title: as tables and picture show it. matrix: a name of MATRICES, or None.
# loss: what tools/make_net.py is asked for.
Method = collections.namedtuple("Method", "name title matrix loss")

FROM_FILE = "--loss InfogainLoss --source {H}"

TREE = [
    Method("softmax", "SoftmaxWithLoss", None, "--loss SoftmaxWithLoss"),
    Method("native", "InfogainLoss + H", "tree", FROM_FILE),
    Method("ours", "SoftmaxWithInfogainLoss + H", "tree",
           "--loss SoftmaxWithInfogainLoss --source {H}"),
    Method("smoothing", "control: label smoothing", "smoothing", FROM_FILE),
    Method("shuffled", "control: H, classes shuffled", "shuffled_seed{seed}", FROM_FILE),
]

TAIL = [
    Method("none", "no weights", None, "--loss SoftmaxWithLoss"),
    Method("balanced", "balanced: file", "balanced", FROM_FILE),
    Method("batch", "balanced: ComputeH, batch", None,
           "--loss InfogainLoss --compute-h 10 --weights balanced --scale sample"),
    Method("running", "balanced: ComputeH, running", None,
           "--loss InfogainLoss --compute-h 10 --weights balanced --scale sample --running 0.99"),
    Method("effective", "effective number: file", "effective", FROM_FILE),
    Method("square_root", "square root: file", "square_root", FROM_FILE),
    Method("sum_1", "too small: max/count, sum 1", "sum_1", FROM_FILE),
    Method("max_over_count", "too big: plain max/count", "max_over_count", FROM_FILE),
]
BADLY_SCALED = ("sum_1", "max_over_count")


def class_tree(n_seeds, quick=False):
    """Return the first experiment: few images, a class tree."""
    return Experiment("tree", TREE, list(range(n_seeds)), 60 if quick else 1500,
                      [20 if quick else 100] * 10, 10 if quick else 100)


def long_tail(n_seeds, quick=False):
    """Return the second experiment: from many images of the first class to few of the last."""
    counts = data.long_tail_counts(200, 2) if quick else data.long_tail_counts(6000, 60)
    return Experiment("tail", TAIL, list(range(n_seeds)), 60 if quick else 3000, counts.tolist(), 0)
