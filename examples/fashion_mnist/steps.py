"""Take the steps before the results: write data, matrices, losses, nets."""
from __future__ import division, print_function

import collections
import io
import os
import sys

try:
    from shlex import quote
except ImportError:  # Python 2
    from pipes import quote

from caffe.proto import caffe_pb2
from caffe_losses.formats.matrix_files import read_matrix, write_matrix
from caffe_losses.matrices.class_trees import parse_tree, tree_costs
from google.protobuf import text_format
import numpy as np

import data
import experiments
import jobs
import net
from runs import N_CORES, write_message

# A net to train. seed: int. net, solver, snapshot, log: paths.
Run = collections.namedtuple("Run", "method seed net solver snapshot log")


def beside(name):
    """Return the path of a file of the example."""
    return os.path.join(os.path.dirname(os.path.relpath(os.path.abspath(__file__))), name)


def tree_order():
    """Return the labels in the order in which the classes stand in the tree."""
    names = data.class_names()
    return [names.index(name) for name in _tree().classes]


def tree_distances():
    """Return D, the distances of the classes in the tree."""
    return tree_costs(_tree(), data.class_names())[0]


def _tree():
    with io.open(beside("tree.txt"), encoding="utf-8") as file:
        return parse_tree(file.read())


# Data

def write_data(folder, experiment, train):
    """Write LMDBs: the same images for every seed, each time in another order.

    train: images and labels.
    """
    images, labels = train
    chosen, validation = data.split(labels, experiment.counts, experiment.n_validation)
    for seed in experiment.seeds:
        order = data.shuffled(chosen, seed)
        data.write_lmdb(_lmdb(folder, experiment, seed), images[order], labels[order])
    if len(validation):
        data.write_lmdb(_lmdb(folder, experiment), images[validation], labels[validation])


def _lmdb(folder, experiment, seed=None):
    part = "validation" if seed is None else "seed%d" % seed
    return folder("data", "%s_%s" % (experiment.name, part))


# Matrices and losses, by the project's commands

def make_matrices(folder, tree, tail):
    """Make the H of every method, by tools/make_h.py. Returns D and H of the class tree."""
    words = dict(tree=beside("tree.txt"), names=beside("classes.txt"), tau=experiments.TAU,
                 folder=os.path.dirname(folder("matrices", "")),
                 counts=",".join(str(n) for n in tail.counts))
    _run_commands(folder, [_make_h(folder, "tree", words)])
    D, H = read_matrix(folder("matrices", "D.csv")), read_matrix(_matrix(folder, "tree"))

    words["epsilon"] = "%.4f" % smoothing_of(H)
    for seed in tree.seeds:
        order = data.shuffled_classes(seed)
        write_matrix(folder("matrices", "D_shuffled_seed%d.csv" % seed), D[np.ix_(order, order)])
    _run_commands(folder, _once(_make_h(folder, name, words, seed)
                                for name in experiments.MATRICES if name != "tree"
                                for seed in tree.seeds))
    return D, H


def smoothing_of(H):
    """Return the epsilon of label smoothing that leaves the true class as much as H does on average."""
    n_classes = len(H)
    return (1 - np.diag(H).mean()) * n_classes / (n_classes - 1)


def sample_weight(folder, matrix, counts):
    """Return the weight of the average training sample, with the class weights on the diagonal of H."""
    return float(np.average(np.diag(read_matrix(_matrix(folder, matrix))), weights=counts))


def make_losses(folder, experiment):
    """Make the layers of every loss, by tools/make_net.py."""
    _run_commands(folder, _once(_make_net(folder, method, seed)
                                for method in experiment.methods for seed in experiment.seeds))


def _matrix(folder, name, seed=None):
    return folder("matrices", "H_%s.binaryproto" % name.format(seed=seed))


def _loss(folder, method, seed):
    name = method.name
    if "{seed}" in (method.matrix or ""):
        name += "_seed%d" % seed
    return folder("losses", name + ".prototxt")


def _make_h(folder, name, words, seed=None):
    options = [word.format(seed=seed, **words) for word in experiments.MATRICES[name].split()]
    return ["tools/make_h.py"] + options + ["-o", _matrix(folder, name, seed)]


def _make_net(folder, method, seed):
    H = method.matrix and _matrix(folder, method.matrix, seed)
    options = [word.format(H=H) for word in method.loss.split()]
    return ["tools/make_net.py"] + options + ["-o", _loss(folder, method, seed)]


def _once(commands):
    return [list(command) for command in collections.OrderedDict.fromkeys(map(tuple, commands))]


def _run_commands(folder, commands):
    """Run commands of tools/, whose last word is the file that each makes."""
    for command in commands:
        print("  tools/with_caffe.sh " + " ".join(map(quote, command)))
    sys.stdout.flush()
    jobs.run([jobs.Job([sys.executable] + command,
                       folder("logs", os.path.basename(command[-1]) + ".log"))
              for command in commands], N_CORES)


# Nets

def write_nets(folder, experiment, gpu=None):
    """Write the net and the solver of every method and seed. Returns the Runs."""
    return [_write_net(folder, experiment, method, seed, gpu)
            for method in experiment.methods for seed in experiment.seeds]


def _write_net(folder, experiment, method, seed, gpu):
    name = "%s_%s_seed%d" % (experiment.name, method.name, seed)
    prefix = folder("nets", name)
    run = Run(method, seed, prefix + ".prototxt", prefix + ".solver.prototxt",
              "%s_iter_%d.caffemodel" % (prefix, experiment.iterations), prefix + ".log")
    with open(_loss(folder, method, seed)) as file:
        loss = text_format.Merge(file.read(), caffe_pb2.NetParameter())
    validation = _lmdb(folder, experiment) if experiment.n_validation else None
    write_message(run.net, net.train_val(name, loss, _lmdb(folder, experiment, seed), validation))
    write_message(run.solver, net.solver(run.net, prefix, experiment.iterations, seed,
                                         experiment.n_validation * data.N_CLASSES,
                                         gpu is not None))
    return run
