"""Train nets and keep their outcomes, so that what was trained once is not trained again."""
from __future__ import division, print_function

import collections
import multiprocessing
import os
import sys

from caffe_losses.formats.atomic import atomic_write
from caffe_losses.formats.matrix_files import write_matrix
from google.protobuf import text_format
import numpy as np
from tqdm import tqdm

from caffe_prototxt.training import jobs
from caffe_tools import cli
import data

N_CORES = multiprocessing.cpu_count()
# Side by side, runs of one thread each are faster than one after the other. The logs have all.
FOR_CAFFE = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "GLOG_minloglevel": "0",
             "GLOG_logtostderr": "1"}  # and no second log in /tmp

# A net to train and what is to be kept of it. name: of its files. data: a digest of all that it is trained and
# evaluated with.
# H: the matrix of its loss, written to the path given to `net`, which gives the net's text; or None.
# solver: gives a SolverParameter for a path and a prefix of paths. prepare: called before it starts: writes its data.
# evaluate: gives {name: array} for the path of its .caffemodel.
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
            def ended(job, status):
                if status:
                    raise ValueError("%s ended with status %d; its log ends: %s" % (
                        job.log, status, " ".join(jobs.last_words(job))))
                self._keep(started.pop(job.log))
                bar.update()
            gpu = [] if self.gpu is None else ["-gpu", str(self.gpu)]
            jobs.run(self._jobs(waiting, started), [gpu] * N_CORES, ended, FOR_CAFFE)

    def _jobs(self, tasks, started):
        for task in tasks:
            prefix = self._prefix(task)
            task.prepare()
            if task.H is not None:
                write_matrix(self._matrix(task), task.H)
            solver = prefix + ".solver.prototxt"
            cli.write(task.net(self._matrix(task)).encode("utf-8"), prefix + ".prototxt")
            cli.write(text_format.MessageToString(task.solver(prefix + ".prototxt", prefix)).encode("utf-8"), solver)
            started[prefix + ".log"] = task
            yield jobs.Job(["caffe", "train", "-solver", solver], prefix + ".log")

    def _keep(self, task):
        """Keep what the net says of the images, in place of the net."""
        prefix = self._prefix(task)
        snapshot = "%s_iter_%d" % (prefix, task.solver("", "").max_iter)
        found = task.evaluate(snapshot + ".caffemodel")
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
        texts = [task.data, task.net("H.binaryproto"), text_format.MessageToString(task.solver("", ""))]
        described = "\n".join(texts).replace(self.folder.path, "").encode("utf-8")
        H = [] if task.H is None else [np.asarray(task.H, np.float32)]
        return self.folder("outcomes", "%s-%s.npz" % (task.name, data.digest(np.frombuffer(described, np.uint8), *H)))
