"""List the comparisons of the study on whole images: every method in every cell, with every seed.

A cell is a data set of one size and a net. The data set is balanced, or has a long tail.
"""
from __future__ import division, print_function

import collections

from caffe_losses.matrices.class_weights import class_weights
from caffe_losses.matrices.costs import shuffled_costs
from caffe_losses.matrices.gains import equal_smoothing, gain_from_costs, smoothed_identity, weighted_gain
import numpy as np

import files

# data: "balanced" or "tail". counts: how many training images of each class. net: a key of files.TITLES.
# rate, weighted_rate, adjusted_rate: the first learning rates of SoftmaxWithLoss, class weights and logit adjustment.
# tau: of H. methods: Methods.
Cell = collections.namedtuple("Cell", "name data counts net iterations rate weighted_rate adjusted_rate tau methods")

# title: as tables show it. gain: a function of D, a Cell's counts and a seed that gives H; None: SoftmaxWithLoss.
# rate: which of a Cell's learning rates is its. part: of the training images that it is trained with.
Method = collections.namedtuple("Method", "name title gain rate part")
Method.__new__.__defaults__ = ("rate", 1)

NETS = ("mlp", "conv")
# {how many training images: iterations}; the longest tail in the 60,000 images stands for them.
ITERATIONS = collections.OrderedDict([(300, 500), (1000, 1500), (3000, 2000), (60000, 4000)])
LONGEST_TAIL, LONGEST_TAIL_ITERATIONS = np.array([6000, 3597, 2156, 1293, 775, 465, 278, 167, 100, 60]), 3000


def balanced_weights(counts):
    """Return class weights with which all classes weigh the same, and the average sample weighs 1."""
    return class_weights(counts, "balanced", scale="sample")


def distances(tau):
    """Return the Method that makes H from D alone."""
    return Method("tree", "H from distances", lambda D, counts, seed: gain_from_costs(D, tau=tau))


def methods(data_set, tau):
    """Return the Methods of a data set; claims.py lists which are compared."""
    tree = distances(tau).gain

    def shuffled(D, counts, seed):
        return tree(shuffled_costs(D, seed), counts, seed)

    def smoothing(D, counts, seed):
        return smoothed_identity(len(D), equal_smoothing(tree(D, counts, seed)))

    listed = [NONE, HELD_OUT, distances(tau),
              Method("smoothing", "label smoothing", smoothing),
              Method("shuffled", "H from distances, classes shuffled", shuffled)]
    if data_set == "tail":
        listed += [WEIGHTS, ADJUSTED,
                   Method("both", "class weights and distances", _weighted(tree), "weighted_rate"),
                   Method("both_shuffled", "class weights and distances, classes shuffled", _weighted(shuffled),
                          "weighted_rate")]
    return listed


def _weighted(gain=None):
    """Return the same Method with the rows of its H times the class weights."""
    return lambda D, counts, seed: weighted_gain(balanced_weights(counts), gain and gain(D, counts, seed))


NONE = Method("none", "SoftmaxWithLoss", None)
# The last fifth of the images tells by which temperature the scores of such a net are too sure.
HELD_OUT = Method("held_out", "SoftmaxWithLoss on four fifths of the images", None, part=4 / 5)
WEIGHTS = Method("weights", "class weights", _weighted(), "weighted_rate")
ADJUSTED = Method("adjusted", "logit adjustment", None, "adjusted_rate")

# What class weights are multiplied by, to see how far they can be scaled.
SCALES = (1 / 64, 1 / 16, 1 / 4, 1, 2, 4, 8, 16)

# What `study.py --validate` chooses from, on validation images: in each cell the learning rates, of SoftmaxWithLoss and
# logit adjustment from RATES, by the mean recall, and then tau in the two cells of each size by the mean cost.
RATES = (.003, .01, .03, .1, .3)
WEIGHTED_RATES = (.001, .003, .01, .03, .1)
TAUS = (.1, .2, .3, .5, .75, 1.2)


def balanced_counts(size):
    return [size // files.N_CLASSES] * files.N_CLASSES


def tail_counts(size):
    """Return the counts of the longest tail, thinned to about `size` images, at least one of each class."""
    thinned = np.maximum(np.rint(LONGEST_TAIL * size / LONGEST_TAIL.sum()), 1).astype(int)
    return np.minimum(LONGEST_TAIL, thinned).tolist()


def grid(settings=None):
    """Return the Cells: two data sets, four sizes, two nets. settings: as of choice.settings."""
    return [_cell(data_set, counts_of(size), size, net, settings or {})
            for data_set, counts_of in (("balanced", balanced_counts), ("tail", tail_counts))
            for size in ITERATIONS for net in NETS]


def _cell(data_set, counts, size, net, settings):
    name = "%s_%d_%s" % (data_set, sum(counts), net)
    iterations = ITERATIONS[size] if sum(counts) > size / 2 else LONGEST_TAIL_ITERATIONS
    chosen = {field: settings.get(field, {}).get(name) for field in ("rate", "weighted_rate", "adjusted_rate", "tau")}
    return Cell(name, data_set, counts, net, iterations, methods=methods(data_set, chosen["tau"]), **chosen)


def scaled(grid, scales=SCALES):
    """Return {scale: Cell}: the largest tail and the first net, without weights and with, all loss times the scale."""
    cell = [cell for cell in grid if cell.data == "tail" and cell.net == NETS[0]][-1]
    return collections.OrderedDict((scale, _scaled(cell, scale)) for scale in scales)


def _scaled(cell, scale):
    def times(gain):
        return lambda D, counts, seed: scale * gain(D, counts, seed)
    listed = [Method("none", "no weights", times(lambda D, counts, seed: np.eye(len(D)))),
              Method("weights", "class weights", times(_weighted()))]
    return cell._replace(name="scale_%g" % scale, methods=listed)


def quick(grid):
    """Return the smallest cells with few iterations, for a trial."""
    return [cell._replace(iterations=30) for cell in grid if sum(cell.counts) < 500]
