"""Train nets and keep their outcomes, so that what was trained once is not trained again."""
from __future__ import division, print_function

import collections
import itertools
import multiprocessing
import os

from caffe_losses.formats.atomic import atomic_write
from caffe_losses.formats.matrix_files import write_matrix
from caffe_tools.compare.trainings import Trainings, log_of
import numpy as np

import files

# A net to train and what is to be kept of it. name: of its files. data: a digest of all that it is trained and
# evaluated with. H: the matrix of its loss, written to the path given to `net`, which gives the net's text; or None.
# rate: the first learning rate; it falls to 0. prepare: called before it starts: writes its data.
# evaluate: gives {name: array} for the path of its .caffemodel.
Task = collections.namedtuple("Task", "name seed data H net rate iterations prepare evaluate")

# Not Adam, which divides the gradients by their size: it would hide what the scale of class weights does.
SOLVER = ('net: "" base_lr: 1 lr_policy: "poly" power: 1 momentum: 0.9 max_iter: %d display: 100 snapshot_prefix: "" '
          'solver_mode: CPU')


class Outcomes(object):
    """Train tasks, and give what was kept of each."""

    def __init__(self, folder, gpu=None):
        self.folder = folder
        self._slots = [[]] * multiprocessing.cpu_count() if gpu is None else [["-gpu", str(gpu)]]
        self._trainings = {}  # by the number of iterations

    def __getitem__(self, task):
        """Return {name: array}, as the task's evaluate gave them."""
        with np.load(self._path(task), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}

    def train(self, tasks):
        """Train the tasks that have not been trained yet, seed by seed, and keep what they say of the images."""
        waiting = [task for task in tasks if not os.path.exists(self._path(task))]
        print("%d nets, %d of them trained already" % (len(tasks), len(tasks) - len(waiting)))
        for seed, of_seed in itertools.groupby(waiting, lambda task: task.seed):
            listed = [(task, self._training(task)) for task in of_seed]
            failed = self._of(listed[0][0]).train([training for _, training in listed], "net")
            if failed:
                raise ValueError("expected nets that train, got %s" % sorted(failed.items()))
            for task, training in listed:
                self._keep(task, training)

    def _of(self, task):
        if task.iterations not in self._trainings:
            self._trainings[task.iterations] = Trainings(
                SOLVER % task.iterations, self.folder("nets", ""), None, self._slots, self._slots[0] != [])
        return self._trainings[task.iterations]

    def _training(self, task):
        task.prepare()
        matrix = self.folder("matrices", task.name + "_seed%d.binaryproto" % task.seed)
        if task.H is not None:
            write_matrix(matrix, task.H)
        return self._of(task).new(task.name, task.seed, task.net(matrix), task.rate)

    def _keep(self, task, training):
        """Keep what the net says of the images, in place of the net."""
        snapshot = "%s_iter_%d.caffemodel" % (training.prefix, task.iterations)
        found = task.evaluate(snapshot)
        with atomic_write(self._path(task)) as file:
            np.savez(file, **found)
        for path in (log_of(training), snapshot):
            os.remove(path)

    def _path(self, task):
        """Return the path of a task's outcome, whose name says of which data, H, net and solver it is."""
        described = [task.data, task.net("H.binaryproto"), "%r %r" % (task.rate, task.iterations)]
        described = "\n".join(described).replace(self.folder.path, "").encode("utf-8")
        H = [] if task.H is None else [np.asarray(task.H, np.float32)]
        return self.folder("outcomes", "%s_seed%d-%s.npz" % (task.name, task.seed, files.digest(
            np.frombuffer(described, np.uint8), *H)))
