"""Make the tasks of the study's cells, and score their outcomes."""
from __future__ import division, print_function

import collections
import itertools
import os

from caffe_losses.evaluation.rules import RULES
from caffe_losses.matrices.costs import shuffled_costs
import numpy as np

import cells
import create_data
import files
import decisions
from tasks import Task

class Grid(object):
    """Make the tasks of nets of whole images, and score what came of them."""

    def __init__(self, folder, D, train, test):
        """Keep what the tasks are made of. D: C x C costs. train, test: images and labels."""
        self.folder, self.D = folder, D
        self.train, self.test = train, test
        self.digests = files.digest(*train), files.digest(*test)

    def tasks(self, cells, seeds):
        """Return {(cell name, method name, seed): Task}, in the order in which they are trained: seed by seed."""
        return collections.OrderedDict(
            ((cell.name, method.name, seed), self._task(cell, method, seed))
            for seed, cell in itertools.product(seeds, cells) for method in cell.methods)

    def _task(self, cell, method, seed):
        of_train, of_test = self.digests
        drawn = files.digest(self._drawn(cell, method, seed)[0])
        lmdb = self.folder("data", "%s_%d_%s_seed%d_%s%s" % (
            cell.data, sum(cell.counts), method.part, seed, of_train, drawn))
        H = method.gain and method.gain(self.D, cell.counts, seed)
        counts = cell.counts if method is cells.ADJUSTED else None

        def net(matrix):
            return files.train_val(cell.net, [lmdb], method.gain and matrix, counts)
        return Task("%s_%s" % (cell.name, method.name), seed, of_train + drawn + of_test, H, net,
                    getattr(cell, method.rate), cell.iterations,
                    lambda: self._write_data(lmdb, cell, method, seed),
                    lambda snapshot: self._evaluate(snapshot, cell, method, seed))

    def _drawn(self, cell, method, seed):
        """Return the images a net trains with, in order, and those held out: indices of self.train."""
        # In the order of the seed: Caffe's Data layer reads in order.
        drawn = np.random.RandomState(seed).permutation(files.split(self.train[1], cell.counts, draw=seed)[0])
        n = int(round(method.part * len(drawn)))
        return drawn[:n], drawn[n:]

    def _write_data(self, lmdb, cell, method, seed):
        if not os.path.exists(lmdb):
            images, labels = self.train
            drawn, _ = self._drawn(cell, method, seed)
            create_data.write_lmdb(lmdb, images[drawn], labels[drawn])

    def _evaluate(self, snapshot, cell, method, seed):
        """Return the probabilities of the images held out, if any, else of the test images, with the labels."""
        held_out = self._drawn(cell, method, seed)[1]
        images, labels = [part[held_out] for part in self.train] if len(held_out) else self.test
        return {"p": files.probabilities(cell.net, snapshot, images), "labels": labels}

    def near_kept(self, seeds):
        """Count the pairs of near classes, and those that are near in the shuffled D too, a list over seeds."""
        near = (self.D < self.D.max()) & (self.D > 0)
        return {"pairs": int(near.sum() // 2),
                "kept": [int((near & shuffled_costs(near, seed)).sum() // 2) for seed in seeds]}

    def scores(self, cell, seeds, outcomes):
        """Return the scores of the nets of a cell: {method: {rule: {metric: a list over seeds}}}.

        outcomes: a function of the names of a cell and a method, and a seed, that gives what _evaluate gave.
        """
        weights = cells.balanced_weights(cell.counts)
        found = {}
        for method, seed in itertools.product(cell.methods, seeds):
            if method.part < 1:
                continue
            T = None
            rules = RULES[:1]  # with H: the most probable class
            if method is cells.NONE and cells.HELD_OUT in cell.methods:
                rules = [rule for rule in RULES if cell.data == "tail" or not rule.weights]
                T = decisions.temperature(**outcomes(cell.name, cells.HELD_OUT.name, seed))
            outcome = outcomes(cell.name, method.name, seed)
            for rule in rules:
                of_rule = found.setdefault(method.name, {}).setdefault(rule.key, {})
                of_seed = decisions.scores(outcome["p"], outcome["labels"], self.D, rule, weights, T)
                for metric, value in sorted(of_seed.items()):
                    of_rule.setdefault(metric, []).append(round(value, 5))
        return found
