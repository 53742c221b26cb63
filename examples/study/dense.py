"""Make the tasks of the dense example, and score their outcomes."""
from __future__ import division, print_function

import collections
import itertools
import os

import numpy as np

import create_data
import files
import dense_scores
from tasks import Task

ITERATIONS = 1000
# Of every class of the training images: how many for training scenes, how many others for validation.
N_TRAIN, N_VALIDATION = create_data.N_IMAGES, 1000
N_SHOWN = 5  # test scenes in the picture
TEST_SEED = 2 ** 31  # none of those that train


def sources(train):
    """Return the images and labels of training scenes and those of validation scenes: no image is in both.

    train: all training images and their labels.
    """
    images, labels = train
    return [(images[chosen], labels[chosen]) for chosen in files.split(labels, N_TRAIN, N_VALIDATION)]


class Dense(object):
    """Make the tasks of nets with a score for each pixel, and score what came of them."""

    def __init__(self, folder, train, test, rates, quick=False):
        """Keep what the tasks are made of.

        train, test: images of single garments and their labels. rates: learning rates without weights and with.
        """
        self.folder, self.rates = folder, rates
        self.iterations, self.n_train, n_test = (10, 100, 50) if quick else (
            ITERATIONS, create_data.N_TRAIN, create_data.N_TEST)
        self.train = train
        self.test = create_data.scenes(test[0], test[1], n_test, np.random.RandomState(TEST_SEED))

    def tasks(self, seeds, methods=dense_scores.METHODS):
        """Return {(method name, seed): Task}, seed by seed."""
        found = collections.OrderedDict()
        for seed in seeds:
            drawn = self._drawn(seed)
            digest, pixels = files.digest(*drawn), dense_scores.pixels(drawn[1])
            found.update(((method.name, seed), self._task(method, seed, digest, pixels)) for method in methods)
        return found

    def described(self):
        """Return the figures of the scenes that the report shows."""
        counts = dense_scores.pixels(self._drawn(0)[1]).counts
        return {"n_train": self.n_train, "n_test": len(self.test[0]), "iterations": self.iterations,
                "rates": self.rates,
                "classes": files.class_names("segmentation"), "shares": np.round(counts / counts.sum(), 4).tolist()}

    def _task(self, method, seed, digest, pixels):
        lmdbs = [self.folder("data", "dense_seed%d_%s_%s" % (seed, digest, part)) for part in ("images", "labels")]
        weights = method.weights and method.weights(pixels, seed)
        rate = self.rates[method.weights is not None]

        def net(matrix):
            return files.train_val("dense", lmdbs, method.weights and matrix)
        return Task("dense_" + method.name, seed, digest + files.digest(*self.test),
                    None if weights is None else np.diag(weights), net, rate, self.iterations,
                    lambda: self._write_data(lmdbs, seed),
                    lambda snapshot: self._evaluate(snapshot, pixels))

    def _evaluate(self, snapshot, pixels):
        """Return the confusion matrix of each way to decide, and what is decided for in the scenes that are shown."""
        weights = dense_scores.median_frequency(pixels)
        found = dense_scores.confusions(snapshot, self.test[0], self.test[1], weights)
        p = files.probabilities("dense", snapshot, self.test[0][:N_SHOWN])
        return dict(found, shown=dense_scores.decisions(p, weights)["probable"].astype(np.uint8))

    def _drawn(self, seed):
        return create_data.scenes(self.train[0], self.train[1], self.n_train, np.random.RandomState(seed))

    def scores(self, seeds, outcomes, methods=dense_scores.METHODS):
        """Return the scores of the nets: {method: {way to decide: {score: a list over seeds}}}.

        outcomes: a function of a method's name and a seed that gives what _evaluate gave.
        """
        found = collections.OrderedDict()
        for method, seed in itertools.product(methods, seeds):
            for way, confusion in sorted(outcomes(method.name, seed).items()):
                if way != "shown":
                    for name, score in dense_scores.scores(confusion).items():
                        of_way = found.setdefault(method.name, {}).setdefault(way, {})
                        of_way.setdefault(name, []).append(np.round(score, 5).tolist())
        return found

    def _write_data(self, lmdbs, seed):
        if not all(map(os.path.exists, lmdbs)):
            for path, images in zip(lmdbs, self._drawn(seed)):
                create_data.write_lmdb(path, images, [0] * len(images))
