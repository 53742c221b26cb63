"""Train nets and keep their outcomes, so that what was trained once is not trained again."""
from __future__ import division, print_function

import collections
import os
import sys

from caffe_losses.formats.atomic import atomic_write
from caffe_losses.formats.matrix_files import write_matrix
from google.protobuf import text_format
import numpy as np
from tqdm import tqdm

import data
import jobs
import runs

# A net to train and what is to be kept of it. name: of its files. data: a digest of all that it is trained and
# evaluated with.
# H: the matrix of its loss, written to the path given to `net`, which gives a NetParameter; or None.
# solver: gives a SolverParameter for a path and a prefix of paths. prepare: called before it starts: writes its data.
# evaluate: gives {name: array} for the paths of its .prototxt and .caffemodel.
Task = collections.namedtuple("Task", "name data H net solver prepare evaluate")


class Outcomes(object):
    """Train tasks, and give what was kept of each."""

    def __init__(self, folder, gpu=None):
        self.folder, self.gpu = folder, gpu

    def __getitem__(self, task):
        """Return {name: array}, as the task's evaluate gave them."""
        with np.load(self._path(task), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}

    def train(self, tasks):
        """Train the tasks that have not been trained yet, as many at a time as there are cores."""
        waiting = [task for task in tasks if not os.path.exists(self._path(task))]
        print("%d nets, %d of them trained already" % (len(tasks), len(tasks) - len(waiting)))
        sys.stdout.flush()
        started = {}
        with tqdm(total=len(tasks), initial=len(tasks) - len(waiting), unit="net", disable=None) as bar:
            def ended(job):
                self._keep(started.pop(job.log))
                bar.update()
            jobs.run(self._jobs(waiting, started), runs.N_CORES, runs.FOR_CAFFE, on_end=ended)

    def _jobs(self, tasks, started):
        for task in tasks:
            prefix = self._prefix(task)
            task.prepare()
            if task.H is not None:
                write_matrix(self._matrix(task), task.H)
            runs.write_message(prefix + ".prototxt", task.net(self._matrix(task)))
            runs.write_message(prefix + ".solver.prototxt", task.solver(prefix + ".prototxt", prefix))
            started[prefix + ".log"] = task
            yield jobs.Job(runs.command(prefix + ".solver.prototxt", self.gpu), prefix + ".log")

    def _keep(self, task):
        """Keep what the net says of the images, in place of the net."""
        prefix = self._prefix(task)
        snapshot = "%s_iter_%d" % (prefix, task.solver("", "").max_iter)
        found = task.evaluate(prefix + ".prototxt", snapshot + ".caffemodel")
        with atomic_write(self._path(task)) as file:
            np.savez(file, **found)
        for ending in (".caffemodel", ".solverstate"):
            os.remove(snapshot + ending)

    def _prefix(self, task):
        return self.folder("nets", task.name)

    def _matrix(self, task):
        return self.folder("matrices", task.name + ".binaryproto")

    def _path(self, task):
        """Return the path of a task's outcome, whose name says of which data, H, net and solver it is."""
        texts = [task.data] + [text_format.MessageToString(message)
                               for message in (task.net("H.binaryproto"), task.solver("", ""))]
        described = "\n".join(texts).replace(self.folder.path, "").encode("utf-8")
        H = [] if task.H is None else [np.asarray(task.H, np.float32)]
        return self.folder("outcomes", "%s-%s.npz" % (task.name, data.digest(np.frombuffer(described, np.uint8), *H)))
