"""The options of a decision: class weights, costs, a temperature."""
from __future__ import division, print_function

import numpy as np

from caffe_losses.errors import naming
from caffe_losses.formats import matrix_files
from caffe_losses.matrices import class_weights, gains
from caffe_prototxt.data.labels import count_source, per_class_of_several
from caffe_prototxt.rewrite.decision import Decision
from caffe_tools.options import class_files

NEEDS_BLOBS = ("class_weights", "counts", "labels", "distances", "tree")
TEMPERATURES = 1e-6, 1e6  # float32 holds what they divide


def add_options(parser):
    """Add the options of a decision to a parser."""
    group = parser.add_argument_group("decision")
    group.add_argument("--weights", metavar="FILE", help="the .caffemodel of the trained net; the deployed one goes "
                       "beside the net, with the numbers of the decision in it")
    group.add_argument("--class-weights", type=class_files.numbers, metavar="W", help="a weight for each class, by which "
                       "its probability is multiplied: 1,2,10 or a file of numbers (.npy, text)")
    group.add_argument("--counts", type=class_files.numbers, metavar="N", help="samples of each class, for balanced "
                       "class weights: 90,9,1 or a file of numbers")
    group.add_argument("--labels", metavar="SOURCE", help="labels to count for them: an LMDB or LevelDB of Datum, an "
                       "HDF5 file or list, a text file with the label last on each line, a .npy")
    group.add_argument("--pixels", action="store_true", help="of --labels: each record is an image whose values are "
                       "labels")
    group.add_argument("--dataset", metavar="NAME", help="of --labels: that of the labels in HDF5 (default: label)")
    group.add_argument("--ignore-label", type=int, metavar="L", help="of --labels: label that is not counted")
    group.add_argument("--power", type=float, help="of --counts and --labels: softens the weights; 0.5: square root")
    group.add_argument("--distances", metavar="D", help="file with costs: the class of least expected cost scores best")
    group.add_argument("--tree", help="file with a class tree, whose distances are the costs")
    group.add_argument("--names", metavar="FILE", help="of --tree: class names, one a line, in the order of the labels")
    group.add_argument("--temperature", type=float, metavar="T", help="divide the scores by T before the Softmax, to "
                       "calibrate its probabilities (default: 1)")
    group.add_argument("--decide", action="store_true", help="give the class itself, by an ArgMax layer")


def check_together(parser, args):
    """End the command if options mean nothing together. Returns whether there is a decision."""
    def given(*names):
        return ["--" + name.replace("_", "-") for name in names if getattr(args, name) not in (None, False)]

    for group in (("class_weights", "counts", "labels"), ("distances", "tree")):
        if len(given(*group)) > 1:
            parser.error("expected one of %s, got %s" % (", ".join(given(*group)), " and ".join(given(*group))))
    for names, needed in ((("power",), ("counts", "labels")), (("pixels", "dataset", "ignore_label"), ("labels",)),
                          (("names",), ("tree",))):
        if given(*names) and not given(*needed):
            parser.error("%s: expected with --%s only" % (given(*names)[0], " or --".join(needed)))
    need = given(*NEEDS_BLOBS)
    if need and args.weights is None:
        parser.error("%s: expected with --weights FILE.caffemodel, as its numbers become blobs of the net's layers, "
                     "which are in a .caffemodel, not in a prototxt; got none" % need[0])
    if args.temperature is not None and not TEMPERATURES[0] <= args.temperature <= TEMPERATURES[1]:
        parser.error("--temperature: expected a number above 0 (%g to %g), got %g"
                     % (TEMPERATURES + (args.temperature,)))
    return bool(need or given("decide") or args.temperature not in (None, 1))


def files_read(args):
    """Return the files that the options name, to be read; None for an option that names none."""
    return [args.weights, args.labels, args.distances, args.tree, args.names] + [
        numbers.path for numbers in (args.class_weights, args.counts) if numbers is not None]


def read_decision(args, n_classes):
    """Return (Decision, counts of the labels or None). n_classes: function that returns that of the net, or None."""
    sources, D, weights, counts = {}, None, None, None
    if args.tree is not None:
        D = class_files.read_tree_costs(args.tree, args.names and class_files.read_names(args.names))[0]
        sources["D"] = "the distances of the class tree " + args.tree
    elif args.distances is not None:
        D = gains.check_cost(matrix_files.read_matrix(args.distances), args.distances)
        sources["D"] = "the costs of " + args.distances
    if args.class_weights is not None:
        weights = class_weights.check_weights(args.class_weights)
        sources["weights"] = "the class weights %s" % args.class_weights
    elif args.counts is not None or args.labels is not None:
        counts = args.counts
        if counts is None:
            counts = _count(args, n_classes() if D is None else len(D))
        power = 1.0 if args.power is None else args.power
        with naming(args.labels or "--counts"):
            weights = class_weights.check_weights(
                class_weights.class_weights(counts, "balanced", power=power, scale="sample"))
        sources["weights"] = "balanced class weights%s from the %s" % (
            "" if power == 1 else " to the power %g" % power,
            "counts %s" % counts if args.labels is None else "labels of " + args.labels)
    temperature = 1.0 if args.temperature is None else args.temperature
    return Decision(weights, D, temperature, args.decide, sources), counts


def _count(args, n_classes):
    """Return how often each class occurs in the labels."""
    tally = count_source(args.labels, args.dataset or "label", args.pixels)
    return per_class_of_several(tally, n_classes, args.ignore_label, "" if args.pixels else class_files.OF_PIXELS)[0]


def weight_notes(weights):
    """Return notes on class weights: a class with weight 0 is never decided for."""
    if weights is None or weights.all():
        return []
    zero = ", ".join(map(str, np.flatnonzero(weights == 0)))
    return ["class weights: class %s has weight 0, and is never decided for" % zero]
