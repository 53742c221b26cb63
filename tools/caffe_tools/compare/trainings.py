"""Trainings by `caffe train`, side by side; one that has ended is kept by the content of net, solver and data."""
from __future__ import division, print_function

import collections
import glob
import hashlib
import os
import re
import sys
import time

from caffe_losses.compat import from_bytes, to_bytes, to_display
from caffe_losses.errors import naming
from caffe_losses.formats.plain_files import open_plain
from caffe_losses.optional_packages import optional, progress_bar
from caffe_prototxt.check.solvers import TRAIN_NETS
from caffe_prototxt.training import jobs, logs
from caffe_tools import cli
from caffe_tools.compare.variants import slug

# A net to train. title: of its method. prefix: str, of its files. solver: str, its text.
Training = collections.namedtuple("Training", "title seed prefix solver")

FOR_CAFFE = {"GLOG_minloglevel": "0", "GLOG_logtostderr": "1"}  # the log has all, and there is no second one in /tmp
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
TESTS = ("test_iter", "test_interval", "test_net", "test_net_param", "test_state")
UNFINISHED = ".part"  # of a log, until caffe has ended without an error
MOST_READ = 2 ** 26  # bytes of a file that are its content; larger ones are told apart by size and time
CHANGING = ("lock.mdb", "LOCK", "LOG", "LOG.old")  # files of a database that reading changes
_QUOTED = re.compile("\"([^\"\n]+)\"|'([^'\n]+)'")
FIRST_ITERATIONS, FIRST_SECONDS = 20, 15  # of a training, by which its time is estimated
A_LINE_EACH = 60  # seconds


class Trainings(object):
    """The trainings of a solver's variants, in a folder.

    solver: str, the text of the user's solver. folder: str. weights: str, the .caffemodel files for caffe train, with
    commas between them, or None. slots: as of jobs.run. gpu: bool, whether these are GPUs.
    has_tests: bool, whether the solver tests its net.
    """

    def __init__(self, solver, folder, weights, slots, gpu):
        self.folder, self.weights, self.slots = folder, weights, slots
        self._pb2 = optional("caffe", "training").proto.caffe_pb2
        self._solver = self._read(solver)
        if gpu:
            self._solver.solver_mode = self._pb2.SolverParameter.GPU
        if not self._solver.max_iter:
            raise ValueError("the solver: expected max_iter, got none")
        self._net = next(name for name in TRAIN_NETS if self._solver.HasField(name))
        self.has_tests = bool(self._solver.test_iter)
        self._content = _Content()

    def _read(self, text):
        from google.protobuf import text_format
        try:
            return text_format.Merge(to_bytes(text), self._pb2.SolverParameter())
        except text_format.ParseError as error:
            raise ValueError("the solver: expected one that this Caffe can read, got an error at %s" % error)

    def new(self, title, seed, net, rate=1, tests=True):
        """Write the net and the solver of a training.

        net: str, its text. rate: what base_lr is multiplied by. tests: whether the solver tests as the user's does.
        """
        solver = self._pb2.SolverParameter()
        solver.CopyFrom(self._solver)
        solver.random_seed = seed
        solver.base_lr *= rate
        solver.ClearField("snapshot")
        solver.snapshot_after_train = True
        for field in () if tests else TESTS:
            solver.ClearField(field)
        key = self._content.key(net, _text(solver), self.weights)
        prefix = os.path.join(self.folder, "%s_seed%d_%s" % (slug(title), seed, key))
        setattr(solver, self._net, prefix + ".prototxt")
        solver.snapshot_prefix = prefix
        cli.write(to_bytes(net), prefix + ".prototxt")
        cli.write(_text(solver), prefix + ".solver.prototxt")
        return Training(title, seed, prefix, _text(solver))

    def content_of(self, net):
        """Return a short text that differs where a net, or a file that it names, does. net: str, its text."""
        return self._content.key(net, b"", None)

    def missing(self, trainings):
        """Return those that have not been trained yet, each once."""
        found = collections.OrderedDict((training.prefix, training) for training in trainings)
        return [training for training in found.values() if not os.path.exists(log_of(training))]

    def lines(self, trainings):
        """Yield the line for a shell that does each training, and gives its log the name by which it counts as done."""
        for training in trainings:
            log = log_of(training)
            yield "cd %s && %s %s > %s 2>&1 && mv %s %s" % (
                cli.quote(os.getcwd()), " ".join("%s=%s" % pair for pair in sorted(FOR_CAFFE.items())),
                cli.caffe_line(*self._command(training.prefix + ".solver.prototxt")[1:]), cli.quote(log + UNFINISHED),
                cli.quote(log + UNFINISHED), cli.quote(log))

    def train(self, trainings, unit="training"):
        """Do the trainings that have not been done. Returns {log: how it ended} of those that failed."""
        waiting, failed = self.missing(trainings), {}
        by_log = {log_of(training) + UNFINISHED: training for training in waiting}
        seconds = self._estimate(waiting[0]) if waiting else None
        progress = _Progress(len(waiting), len(set(trainings)) - len(waiting), len(self.slots), seconds, unit)

        def ended(job, status):
            if status:
                ended_how = logs.read_log([job.log]).status()
                if ended_how not in failed.values():
                    cli.note("%s, seed %d: %s (%s)" % (by_log[job.log].title, by_log[job.log].seed, ended_how, job.log))
                failed[job.log] = ended_how
            else:
                for state in glob.glob(by_log[job.log].prefix + "_iter_*.solverstate*"):
                    os.remove(state)
                os.rename(job.log, log_of(by_log[job.log]))
            progress.ended()
        with progress:
            self._run([jobs.Job(self._command(training.prefix + ".solver.prototxt"), log)
                       for log, training in sorted(by_log.items(), key=lambda pair: waiting.index(pair[1]))], ended,
                      progress.wait)
        return failed

    def _run(self, list_of_jobs, on_end, on_wait):
        threads = ONE_THREAD if len(self.slots) > 1 else {}  # side by side, one thread each is faster
        try:
            jobs.run(list_of_jobs, self.slots, on_end, dict(FOR_CAFFE, **threads), on_wait)
        except OSError as error:
            raise ValueError("caffe: cannot be run: %s; tools/with_caffe.sh runs this where Caffe is" % error.strerror)

    def _command(self, solver):
        return ["caffe", "train", "-solver", solver] + (["-weights", self.weights] if self.weights else [])

    def _estimate(self, training):
        """Return the seconds that a training takes, by its first iterations, or None."""
        solver = self._read(training.solver)
        n_iterations = solver.max_iter
        solver.max_iter, solver.display, solver.snapshot_after_train = min(n_iterations, FIRST_ITERATIONS), 1, False
        for field in TESTS:
            solver.ClearField(field)
        path, started = os.path.join(self.folder, "estimate.solver.prototxt"), time.time()
        cli.write(_text(solver), path)
        found = [os.path.join(self.folder, "estimate_%d.log" % i) for i in range(len(self.slots))]

        def stop():
            if time.time() - started > FIRST_SECONDS:
                raise _Late
        try:  # as many at a time as there will be
            self._run([jobs.Job(self._command(path), log) for log in found], lambda *_: None, stop)
        except _Late:
            pass
        series = logs.read_log(found[:1]).losses()
        for name in found + [path]:
            os.remove(name)
        seconds = series[0][1].seconds if series else ()
        return n_iterations * (seconds[-1] - seconds[0]) / (len(seconds) - 1) if len(seconds) > 1 else None


class _Late(Exception):
    """Report that what was to be seen has taken long enough."""


class _Progress(object):
    """Tell how far the trainings are: by a bar on a terminal, else by a line a minute.

    n: int, of the trainings that are to be done; n_before: of those that are done. seconds: one takes, or None.
    """

    def __init__(self, n, n_before, at_once, seconds, unit):
        self.n, self.at_once, self.done, self.seconds, self.started = n, at_once, 0, seconds, time.time()
        self.told, self._bar = time.time(), progress_bar(n, " %ss" % unit)
        if n:
            say_on_the_way("%d %s%s, %d at a time%s" % (
                n, unit + "s" * (n != 1), ", and %d that %s kept" % (n_before, "is" if n_before == 1 else "are")
                if n_before else "", min(at_once, n),
                "" if seconds is None else "; about %s, without the tests" % duration(self._left())))

    def __enter__(self):
        self.bar = self._bar.__enter__()

    def __exit__(self, *error):
        self._bar.__exit__(*error)

    def ended(self):
        self.done += 1
        self.bar.update(1)

    def wait(self):
        if time.time() - self.told > A_LINE_EACH and not (sys.stderr and sys.stderr.isatty()):
            self.told, left = time.time(), self._left()
            say_on_the_way("%d of %d done" % (self.done, self.n)
                           + ("" if left is None else ", about %s left" % duration(left)))

    def _left(self):
        """Return the seconds that are left, or None."""
        elapsed = time.time() - self.started
        if self.done >= self.at_once:
            return elapsed / self.done * (self.n - self.done)
        return None if self.seconds is None else max(self.seconds * -(-self.n // self.at_once) - elapsed, 0)


class _Content(object):
    """The content of files, as short texts that differ where the files do."""

    def __init__(self):
        self._known = {}

    def key(self, net, solver, weights):
        """Return a short text that differs where a training does: its nets, the files that they name, its solver."""
        nets = [net] + [cli.read_net(path) for path in _named(from_bytes(solver)) if path.endswith("prototxt")]
        files = sum(map(_named, nets), (weights or "").split(",") if weights else [])
        described = [to_bytes(text) for text in nets] + [solver] + [self._of(path) for path in sorted(set(files))]
        return hashlib.sha1(b"\0".join(described)).hexdigest()[:10]

    def _of(self, path):
        """Return bytes that tell the content of a file, of what a list in it names, or of the files in a folder."""
        if path not in self._known:
            if os.path.isdir(path):
                inside = [os.path.join(path, name) for name in sorted(os.listdir(path)) if name not in CHANGING]
                self._known[path] = b"".join(map(self._of_file, filter(os.path.isfile, inside)))
            else:
                self._known[path] = self._of_file(path) + b"".join(map(self._of_file, _listed(path)))
        return self._known[path]

    def _of_file(self, path):
        found = os.stat(path)
        with naming(path):
            if found.st_size > MOST_READ:
                return ("%s %d %r" % (os.path.basename(path), found.st_size, found.st_mtime)).encode("utf-8", "replace")
            with open(path, "rb") as file:
                return hashlib.sha1(file.read()).digest()


def _named(text):
    """Return the files and folders that are there of those that a text names in quotes."""
    names = ["".join(pair) for pair in _QUOTED.findall(text.replace('\\"', '"'))]
    return [name for name in map(to_display, names) if "\0" not in name and os.path.exists(name)]


def _listed(path):
    """Return the HDF5 files that a text file lists, as HDF5Data's source does."""
    with open_plain(path) as file:
        start = file.read(2 ** 16)
    names = [] if b"\0" in start else [to_display(from_bytes(line)) for line in start.split()]
    return [name for name in names if name.endswith((".h5", ".hdf5")) and os.path.isfile(name)]


def say_on_the_way(line):
    """Print a line to standard error: standard output has the results alone."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def log_of(training):
    """Return the log of a training, which is there once it has been done."""
    return training.prefix + ".log"


def duration(seconds):
    """Return seconds in words."""
    if seconds < 90:
        return "%d s" % max(round(seconds), 1)
    return "%d min" % round(seconds / 60) if seconds < 5400 else "%.1f h" % (seconds / 3600)


def _text(message):
    from google.protobuf import text_format
    return text_format.MessageToString(message).encode("utf-8")
