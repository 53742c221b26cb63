"""The dense example as tasks, and the scores of their outcomes."""
from __future__ import division, print_function

import collections
import itertools
import os

import numpy as np

import canvases
import dense_methods
import dense_net
import dense_scores
import image_input
from grid import loss
from tasks import Task

# How many canvases to train with, for each seed others, and how many to test with.
N_TRAIN, N_TEST = 3000, 1000
N_SHOWN = 5  # test canvases in the picture
TEST_SEED = 2 ** 31  # none of those that train


class Dense(object):
    """Nets with a score for each pixel."""

    def __init__(self, folder, train, test, gpu=None, quick=False):
        """train, test: images of single garments and their labels."""
        self.folder, self.gpu = folder, gpu
        self.setting = dense_net.CHOSEN._replace(iterations=10) if quick else dense_net.CHOSEN
        self.sources = canvases.sources(train)[0]
        self.n_train, n_test = (100, 50) if quick else (N_TRAIN, N_TEST)
        self.test = canvases.canvases(test[0], test[1], n_test, np.random.RandomState(TEST_SEED))

    def tasks(self, seeds):
        """{(method name, seed): Task}, seed by seed."""
        found = collections.OrderedDict()
        for seed in seeds:
            pixels = self.pixels(seed)
            for method in dense_methods.METHODS:
                found[method.name, seed] = self._task(method, seed, pixels)
        return found

    def pixels(self, seed):
        """The Pixels that a seed trains with."""
        return dense_methods.pixels(self._drawn(seed)[1])

    def _task(self, method, seed, pixels):
        prefix = self.folder("data", "dense_seed%d" % seed)
        weights = method.weights and method.weights(pixels, seed)

        def net(source):
            return dense_net.train_val("dense", loss(method.weights and source, canvases.IGNORED), *canvases.paths(prefix),
                                       setting=self.setting)
        return Task("dense_%s_seed%d" % (method.name, seed), None if weights is None else np.diag(weights), net,
                    lambda path, prefix: dense_net.solver(path, prefix, seed, self.setting, self.gpu is not None),
                    lambda: self._write_data(prefix, seed),
                    lambda definition, snapshot: self._evaluate(definition, snapshot, pixels))

    def _evaluate(self, definition, snapshot, pixels):
        """The confusion matrix of each way to decide, and what is decided for in the canvases that are shown."""
        weights = dense_methods.median_frequency(pixels)
        found = dense_scores.confusions(definition, snapshot, self.test[0], self.test[1], weights)
        p = image_input.outputs(definition, snapshot, self.test[0][:N_SHOWN])
        return dict(found, shown=dense_scores.decisions(p, weights)["probable"].astype(np.uint8))

    def _drawn(self, seed):
        return canvases.canvases(self.sources[0], self.sources[1], self.n_train, np.random.RandomState(seed))

    def scores(self, seeds, outcomes):
        """What the nets are worth: {method: {way to decide: {score: a list over seeds}}}.

        outcomes: a function of a method's name and a seed that gives what _evaluate gave.
        """
        found = collections.OrderedDict()
        for method, seed in itertools.product(dense_methods.METHODS, seeds):
            for way, confusion in sorted(outcomes(method.name, seed).items()):
                if way != "shown":
                    for name, score in dense_scores.scores(confusion).items():
                        of_way = found.setdefault(method.name, {}).setdefault(way, {})
                        of_way.setdefault(name, []).append(np.round(score, 5).tolist())
        return found

    def _write_data(self, prefix, seed):
        if not all(map(os.path.exists, canvases.paths(prefix))):
            canvases.write(prefix, *self._drawn(seed))
