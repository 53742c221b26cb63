"""Read the log of `caffe train`: losses, accuracies, snapshots, the solver and the test nets.

Any log that has the solver's lines is read: glog's files (caffe.INFO), standard error redirected, with or without
glog's prefixes, of Caffe 1.0, of older ones and of forks that kept the lines:

    Iteration 100 (12.3 iter/s, 8.1s/100 iters), loss = 0.5     Iteration 100, loss = 0.5 before 2017
    Iteration 100, lr = 0.01
        Train net output #0: loss = 0.5 (* 1 = 0.5 loss)        not before 2014
    Iteration 100, Testing net (#0)                             without (#0) in 2013
        Test net output #0: accuracy = 0.9                      Test score #0: 0.9 in 2013
    Snapshotting to binary proto file NAME                      Snapshotting to NAME in 2013

A log is read as a stream of bytes, so that its size does not matter; other lines are skipped. Source: Caffe, solver.cpp
and sgd_solver.cpp.
"""
from __future__ import division, print_function

import array
import bisect
import codecs
import collections
import itertools
import math
import os
import re

from caffe_losses.compat import to_unicode
from caffe_losses.errors import naming

BLOCK = 2 ** 20
LONGEST_LINE = 2 ** 20  # bytes; none of Caffe's is longer
MOST_LINES = 2 ** 20  # of a net's text
GLOG_CUTS_AT = 30000 - 100  # characters: glog's longest message, less its prefix; a net printed in full is shorter

# log(FLT_MIN), where SoftmaxWithLoss ends when the true class has probability 0
UNDERFLOW = 87.3365

_PREFIX = re.compile(br"([IWEF])\d{4} +\d+:\d\d:\d\d\.\d+ +(\d+) ")
_AT = re.compile(br"Iteration (\d+)")
_ITERATION = re.compile(br"Iteration (\d+)\b(?:, Testing net(?: \(#(\d+)\))?|.*?\b(loss|lr) = (\S+))")
_OUTPUT = re.compile(br"(Train|Test) net output #(\d+): (.*?) = (\S+)(?: \((\*))?")
_OLD_SCORE = re.compile(br"Test score #(\d+): (\S+)")
_SNAPSHOT = re.compile(br"Snapshotting to (?:binary proto file |HDF5 file )?(.+)")
_TEST_NET = re.compile(br"Creating test net \(#(\d+)\)(?: specified by (?:test_)?net file: (.+))?")
_FIELD_LINE = re.compile(br"\s*(?:[A-Za-z_]\w*\s*[:{<]|[}>])")
_SOLVER_FIELD = re.compile(br"(\w+): (.*)")
_WINDOWS = {b"1.#QNAN": b"nan", b"-1.#IND": b"nan", b"1.#INF": b"inf", b"-1.#INF": b"-inf"}


class Series(object):
    """A figure by iteration, in the arrays `iterations` and `values`."""

    def __init__(self, iterations=(), values=()):
        self.iterations, self.values = array.array("d", iterations), array.array("d", values)

    def __len__(self):
        return len(self.values)

    def append(self, iteration, value):
        self.iterations.append(iteration)
        self.values.append(value)

    def followed_by(self, other, start):
        """Return this series before iteration `start`, continued by another."""
        end = bisect.bisect_left(self.iterations, start)
        return Series(self.iterations[:end] + other.iterations, self.values[:end] + other.values)

    def first_not_finite(self):
        """Return the iteration of the first value that is NaN or infinite, or None."""
        return next((int(iteration) for iteration, value in zip(self.iterations, self.values)
                     if math.isnan(value) or math.isinf(value)), None)


# A test net. text: its prototxt, None if it was not printed in full. file: the name of its file, or None.
TestNet = collections.namedtuple("TestNet", "text file")


class Log(object):
    """The figures and the nets of one training.

    solver: {field: list of str}, the fields of one line in the solver's text.
    loss, rate: Series, the smoothed training loss and the learning rate.
    train: {output: Series}. test: {number of the test net: {output: Series}}. An output of several numbers is
        several outputs: name[0], name[1] ...
    losses: list of the Series that are losses.
    test_nets: {number: TestNet}. snapshots: list of file names, in the order of their writing; but first one after
        which the log ends, as it may not be whole.
    resumed: str, the solver state from which the training went on, or None.
    ended: "done", "stopped" (by a signal), or None: the log ends before the training.
    failed: str, the error that ended it, or None.
    notes: list of str, for people.
    """

    def __init__(self):
        self.solver = collections.OrderedDict()
        self.loss, self.rate = Series(), Series()
        self.train, self.test = collections.OrderedDict(), collections.OrderedDict()
        self.test_nets = collections.OrderedDict()
        self.losses, self.snapshots, self.notes = [self.loss], [], []
        self.resumed = self.ended = self.failed = None
        self.first_line = self.last_line = 0

    def series(self):
        """Return every Series but the learning rate."""
        return [self.loss] + [series for outputs in [self.train] + list(self.test.values())
                              for series in outputs.values()]

    def iterations(self):
        """Return the (first, last) iteration with a figure, or None."""
        ends = [series.iterations[i] for series in self.series() if len(series) for i in (0, -1)]
        return (int(min(ends)), int(max(ends))) if ends else None

    def diverged(self):
        """Return the first iteration with a loss that is NaN or infinite, or None."""
        iterations = [series.first_not_finite() for series in self.losses]
        return min([iteration for iteration in iterations if iteration is not None] or [None])

    def underflowed(self):
        """Return the iteration from which on the training loss is 87.3365 to the end, or None.

        There the true class of every sample has probability 0 in float32: the training has diverged, and
        SoftmaxWithLoss hides it.
        """
        count = len(list(itertools.takewhile(lambda loss: abs(loss - UNDERFLOW) <= 1e-3, reversed(self.loss.values))))
        return int(self.loss.iterations[-count]) if count else None

    def status(self):
        """Return in words how the training ended."""
        diverged, underflowed = self.diverged(), self.underflowed()
        if diverged is not None:
            return "diverged: NaN or infinity from iteration %d on" % diverged
        if underflowed is not None:
            return "diverged: the loss is 87.3365 from iteration %d on (the true class has probability 0)" % underflowed
        if self.failed:
            return "failed: %s" % self.failed
        if self.ended:
            return {"done": "done", "stopped": "stopped early"}[self.ended]
        return "cut off: the log ends before the training" if self.iterations() else "no iteration"


def read_log(paths, on_read=lambda n_bytes: None):
    """Read the log of one training, in one file or several.

    paths: list of file names, in the order of their writing; each further one goes on from a snapshot, as a log
        appended to another does. Of several trainings from the start the last one counts.
    on_read: called with the number of bytes of every block that is read.
    Returns a Log. Raises IOError or ValueError, naming the file: it cannot be read, is empty, or has no line of a
    solver.
    """
    logs = []
    for path in paths:
        in_file = _read_file(path, on_read)
        if not any(log.iterations() or log.solver or log.failed for log in in_file):
            raise ValueError("%s: expected the log of a training, got %s" % (
                path, "one without a line of Caffe's solver" if os.path.getsize(path) else "an empty file"))
        logs += in_file
    return _joined(logs)


def _read_file(path, on_read):
    reader = _Reader()
    with naming(path, "cannot be read: "), open(path, "rb") as file:
        for line, is_whole in _lines(file, on_read):
            reader.read(line, is_whole)
    return reader.finish()


def _lines(file, on_read):
    """Yield (line without its end, whether it had one) of a file, in bytes; UTF-16 becomes UTF-8."""
    decoder, rest = None, b""
    for block in iter(lambda: file.read(BLOCK), b""):
        on_read(len(block))
        if not rest and block[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):  # PowerShell's redirection
            decoder = codecs.getincrementaldecoder("utf-16")(errors="replace")
        if decoder:
            block = decoder.decode(block).encode("utf-8", "replace")
        lines = (rest + block).split(b"\n")
        rest = lines.pop()[-LONGEST_LINE:]
        for line in lines:
            yield line, True
    if rest:
        yield rest, False


class _Log(Log):
    """A Log while it is read."""

    def __init__(self):
        super(_Log, self).__init__()
        self.iteration = self.testing = self.creating = None
        self.outputs = collections.OrderedDict()  # Series by (test net or None, name, number)
        self.net_text, self.net_file = {}, {}
        self.n_written = 0  # of the snapshots

    def add(self, net, name, number, value, is_loss=False):
        value = _number(value)
        if value is None or self.iteration is None:
            return
        if (net, name, number) not in self.outputs:
            self.outputs[net, name, number] = Series()
            self.losses += [self.outputs[net, name, number]] * is_loss
        self.outputs[net, name, number].append(self.iteration, value)

    def take_solver(self, text):
        for line in text.splitlines():
            field = _SOLVER_FIELD.match(line)
            if field:
                self.solver.setdefault(to_unicode(field.group(1)), []).append(_unquoted(field.group(2).strip()))

    def take_net(self, text):
        if self.creating is not None and self.creating not in self.net_text:
            whole = text.count(b"{") == text.count(b"}") and len(text) < GLOG_CUTS_AT
            self.net_text[self.creating] = to_unicode(text) + "\n" if whole else None

    def read_iteration(self, message):
        match = _ITERATION.match(message)
        if not match:
            return
        iteration, net, figure, value = match.groups()
        value = figure and _number(value)
        if figure is None:
            self.iteration, self.testing = int(iteration), int(net or 0)
        elif value is not None:
            self.iteration = int(iteration)
            (self.loss if figure == b"loss" else self.rate).append(int(iteration), value)

    def read_output(self, message):
        output, old_score = _OUTPUT.match(message), _OLD_SCORE.match(message)
        if output:
            phase, number, name, value, weighted = output.groups()
            net = None if phase == b"Train" else self.testing
            if phase == b"Train" or net is not None:
                self.add(net, to_unicode(name), int(number), value, bool(weighted))
        elif old_score and self.testing is not None:
            self.add(self.testing, "score #%d" % int(old_score.group(1)), int(old_score.group(1)), old_score.group(2))

    def read_snapshot(self, message):
        snapshot = _SNAPSHOT.match(message)
        if message.startswith(b"Snapshotting solver state"):
            self.n_written = len(self.snapshots)
        elif snapshot:
            self.snapshots.append(to_unicode(snapshot.group(1)))

    def read_creating(self, message):
        test_net = _TEST_NET.match(message)
        if test_net:
            self.creating = int(test_net.group(1))
            if test_net.group(2):
                self.net_file[self.creating] = to_unicode(test_net.group(2))
        elif message.startswith(b"Creating training net"):
            self.creating = None
            self.net_text.clear()

    def read_optimization(self, message):
        if message.startswith(b"Optimization Done"):
            self.ended = self.ended or "done"  # caffe says so after a training that was stopped, too
        elif message.startswith(b"Optimization stopped early"):
            self.ended = "stopped"

    def read_resuming(self, message):
        if b" from " in message:
            self.resumed = to_unicode(message.partition(b" from ")[2])

    def read_terminate(self, message):
        self.failed = self.failed or to_unicode(message)

    def read_fatal(self, message):
        self.failed = to_unicode(message[:500])

    def finish(self):
        """Arrange what was read as Log states it. Returns this."""
        self.snapshots = self.snapshots[self.n_written:] + self.snapshots[:self.n_written]
        by_name = collections.OrderedDict()
        for (net, name, _), series in self.outputs.items():
            by_name.setdefault((net, name), []).append(series)
        for (net, name), several in by_name.items():
            outputs = self.train if net is None else self.test.setdefault(net, collections.OrderedDict())
            names = [name] if len(several) == 1 else ["%s[%d]" % (name, i) for i in range(len(several))]
            outputs.update(zip(names, several))
        for net in sorted(set(self.net_text) | set(self.net_file)):
            self.test_nets[net] = TestNet(self.net_text.get(net), self.net_file.get(net))
        return self


class _Reader(object):
    """Read the lines of a log one by one; every training in it becomes a Log.

    The thread's number in glog's prefix distinguishes ranks and threads that print into one file.
    """

    def __init__(self):
        self.logs, self.by_thread = [], {}
        self.collecting, self.text = None, []  # a function of the text, once that is whole
        self.n_lines = 0
        self.readers = {
            b"Iteration": _Log.read_iteration, b"Train": _Log.read_output, b"Test": _Log.read_output,
            b"Snapshotting": _Log.read_snapshot, b"Creating": _Log.read_creating, b"Initializing": self._initializing,
            b"Optimization": _Log.read_optimization, b"Restoring": _Log.read_resuming,
            b"Resuming": _Log.read_resuming, b"terminate": _Log.read_terminate, b"Check": _Log.read_fatal}

    def read(self, line, is_whole):
        self.n_lines += 1
        if self.collecting:
            if _FIELD_LINE.match(line) and len(self.text) < MOST_LINES:
                self.text.append(line.rstrip(b"\r"))
                return
            self._end_text()
        message = line.rpartition(b"] ")[2].strip()  # without glog's prefix and NVIDIA's [0.0]
        word = message.partition(b" ")[0]
        is_fatal = line[:1] == b"F" and _PREFIX.match(line)
        reader = self.readers.get(word, _Log.read_fatal if is_fatal else None)
        # The last line may be cut off inside a number.
        is_cut = not is_whole and not message.endswith(b")") and (b" = " in message or b" score #" in message)
        if reader is None or is_cut:
            return
        prefix = _PREFIX.search(line)
        thread = prefix and prefix.group(2)
        log = self.by_thread.get(thread)
        if log is None or word in (b"Iteration", b"Initializing"):
            log = self._log(log, thread, message)
        log.last_line = self.n_lines
        reader(log, message)

    def _log(self, log, thread, message):
        """Return the training that a line of a thread belongs to. log: that of the thread's last line, or None."""
        starts = message.startswith(b"Initializing solver from")
        iteration = _AT.match(message)
        if log is None and self.logs and not (starts or iteration and thread):
            return self.logs[-1]  # of another thread, as errors may be, or without a prefix
        if (log is None or starts and (log.solver or log.iteration is not None)
                or iteration and int(iteration.group(1)) < (log.iteration or 0)):
            log = self.by_thread[thread] = _Log()
            log.first_line = self.n_lines
            self.logs.append(log)
        return log

    def _initializing(self, log, message):
        if message.startswith(b"Initializing solver from parameters"):
            self.collecting = log.take_solver
        elif message.startswith(b"Initializing net from parameters"):
            self.collecting = log.take_net

    def _end_text(self):
        self.collecting(b"\n".join(self.text))
        self.collecting, self.text = None, []

    def finish(self):
        if self.collecting:
            self._end_text()
        return [log.finish() for log in self.logs]


def _number(text):
    try:
        return float(_WINDOWS.get(text, text))
    except ValueError:
        return None  # two lines in one another


def _unquoted(value):
    """Return a value of the text format as text."""
    if value[:1] == b'"' == value[-1:] and len(value) > 1:
        try:
            return to_unicode(value[1:-1].decode("unicode_escape").encode("latin-1"))
        except ValueError:
            pass
    return to_unicode(value)


# Several trainings in one log

def _joined(logs):
    """Return the Logs of one training as one."""
    logs = _without_echoes(logs)
    with_figures = [log for log in logs if log.iterations()] or logs[-1:]
    joined, n_earlier = with_figures[0], 0
    for log in with_figures[1:]:
        start = log.iterations()[0]
        if log.resumed or start > 0:
            joined = _followed_by(joined, log, start)
        else:
            log.solver, log.test_nets = log.solver or joined.solver, log.test_nets or joined.test_nets
            joined, n_earlier = log, n_earlier + 1
    if n_earlier:
        joined.notes.append("the log holds %d trainings from the start: the last one is shown" % (n_earlier + 1))
    if logs[-1] is not with_figures[-1] and logs[-1].failed:
        joined.notes.append("a later start failed: %s" % logs[-1].failed)
    return joined


def _without_echoes(logs):
    """Return the first Log of each group whose lines stand between one another's, as ranks of one training print."""
    kept = []
    for log in logs:
        if not kept or not kept[-1].first_line < log.first_line < kept[-1].last_line:
            kept.append(log)
        elif log.iterations():
            kept[-1].notes = ["several ranks print into the log: the first is shown"]
    return kept


def _followed_by(log, later, start):
    """Return `later` with the figures of `log` from before iteration `start`, and what only `log` states."""
    later.losses, later.snapshots = log.losses + later.losses, log.snapshots + later.snapshots
    later.loss, later.rate = log.loss.followed_by(later.loss, start), log.rate.followed_by(later.rate, start)
    later.train = _outputs_followed_by(log.train, later.train, start)
    later.test = collections.OrderedDict(
        (net, _outputs_followed_by(log.test.get(net, {}), later.test.get(net, {}), start))
        for net in sorted(set(log.test) | set(later.test)))
    later.solver, later.test_nets = later.solver or log.solver, later.test_nets or log.test_nets
    later.notes = log.notes + later.notes + ["resumed at iteration %d" % start]
    return later


def _outputs_followed_by(outputs, later, start):
    names = list(outputs) + [name for name in later if name not in outputs]
    return collections.OrderedDict(
        (name, outputs.get(name, Series()).followed_by(later.get(name, Series()), start)) for name in names)
