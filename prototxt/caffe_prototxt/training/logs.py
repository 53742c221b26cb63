"""The log of `caffe train`, read: losses, accuracies, snapshots, and the solver and nets it shows.

Any log that has the solver's lines is read: glog's files (caffe.INFO), standard error redirected, with or without
glog's prefixes, of Caffe 1.0, of older ones and of forks that kept the lines:

    Iteration 100 (12.3 iter/s, 8.1s/100 iters), loss = 0.5     Iteration 100, loss = 0.5 before 2017
    Iteration 100, lr = 0.01
        Train net output #0: loss = 0.5 (* 1 = 0.5 loss)        not before 2014
    Iteration 100, Testing net (#0)                             without (#0) in 2013
        Test net output #0: accuracy = 0.9                      Test score #0: 0.9 in 2013
    Snapshotting to binary proto file NAME                      Snapshotting to NAME in 2013

A log is read as a stream of bytes, so that its size does not matter, and what is no such line is skipped. Source:
Caffe, solver.cpp and sgd_solver.cpp.
"""
from __future__ import division, print_function

import array
import bisect
import codecs
import collections
import math
import os
import re

BLOCK = 2 ** 20
LONGEST_LINE = 2 ** 20  # bytes; no line of Caffe's is longer
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
    """A figure by iteration: `iterations` and `values`, arrays of floats."""

    def __init__(self):
        self.iterations, self.values = array.array("d"), array.array("d")

    def __len__(self):
        return len(self.values)

    def append(self, iteration, value):
        self.iterations.append(iteration)
        self.values.append(value)

    def followed_by(self, other, start):
        """This series before iteration `start`, and then the other."""
        joined = Series()
        end = bisect.bisect_left(self.iterations, start)
        joined.iterations = self.iterations[:end] + other.iterations
        joined.values = self.values[:end] + other.values
        return joined

    def first_not_finite(self):
        """The iteration of the first value that is NaN or infinite, or None."""
        return next((int(self.iterations[i]) for i, value in enumerate(self.values)
                     if math.isnan(value) or math.isinf(value)), None)


# A test net. text: its prototxt as printed, None if it was not, or not in full. file: the name of its file, or None.
TestNet = collections.namedtuple("TestNet", "text file")


class Log(object):
    """The figures that one training printed.

    solver: {field: list of str}, the fields of one line in the solver's text.
    loss, rate: Series, the smoothed training loss and the learning rate.
    train: {output: Series}. test: {number of the test net: {output: Series}}. An output of several numbers is
        several outputs: name[0], name[1] ...
    losses: list of Series, those that are losses.
    test_nets: {number: TestNet}. snapshots: list of names of files, in the order of their writing; first one
        that may not be whole, as the log does not go on after it.
    resumed: str, the solver state that it went on from, or None.
    ended: "done", "stopped" (by a signal), or None: the log ends before the training.
    failed: str, the error it ended with, or None.
    notes: list of str, what else there is to say of the log.
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
        """All series of figures, the learning rate left out."""
        yield self.loss
        for outputs in [self.train] + list(self.test.values()):
            for series in outputs.values():
                yield series

    def iterations(self):
        """(first, last) iteration that there is a figure of, or None."""
        ends = [series.iterations[i] for series in self.series() if len(series) for i in (0, -1)]
        return (int(min(ends)), int(max(ends))) if ends else None

    def diverged(self):
        """The first iteration with a loss that is NaN or infinite, or None."""
        found = [series.first_not_finite() for series in self.losses]
        return min([iteration for iteration in found if iteration is not None] or [None])

    def underflowed(self):
        """The iteration from which on the training loss is 87.3365 to the end, or None.

        There the true class has probability 0 in float32, for every sample: the training has diverged, and
        SoftmaxWithLoss hides it.
        """
        count = 0
        for value in reversed(self.loss.values):
            if abs(value - UNDERFLOW) > 1e-3:
                break
            count += 1
        return int(self.loss.iterations[-count]) if count else None

    def status(self):
        """In words, how it ended."""
        if self.diverged() is not None:
            return "diverged: NaN or infinity from iteration %d on" % self.diverged()
        if self.underflowed() is not None:
            return "diverged: the loss is 87.3365 from iteration %d on (the true class has probability 0)" % (
                self.underflowed())
        if self.failed:
            return "failed: %s" % self.failed
        if self.ended:
            return {"done": "done", "stopped": "stopped early"}[self.ended]
        return "cut off: the log ends before the training" if self.iterations() else "no iteration"


def read_log(paths, on_read=lambda n_bytes: None):
    """Read the log of one training, in one file or several.

    paths: list of names of files, in the order of their writing; each further one goes on from a snapshot, as a
        log appended to another does. Of several trainings from the start the last one counts.
    on_read: called with the number of bytes after every block that is read.
    Returns a Log. Raises IOError or ValueError, naming the file: it cannot be read, is empty, or holds no line of
    a solver.
    """
    logs = []
    for path in paths:
        found = _read_file(path, on_read)
        if not any(log.iterations() or log.solver or log.failed for log in found):
            raise ValueError("%s: expected the log of a training, got %s" % (
                path, "one without a line of Caffe's solver" if os.path.getsize(path) else "an empty file"))
        logs += found
    return _joined(logs)


def _read_file(path, on_read):
    reader = _Reader()
    try:
        with open(path, "rb") as file:
            for line, ends in _lines(file, on_read):
                reader.read(line, ends)
    except EnvironmentError as error:
        raise IOError("%s: cannot be read: %s" % (path, error.strerror or error))
    return reader.finish()


def _lines(file, on_read):
    """(line without its end, whether it had one) of a file, as bytes; of UTF-16, what it is in UTF-8."""
    decoder = None
    rest = b""
    while True:
        block = file.read(BLOCK)
        on_read(len(block))
        if not rest and block[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):  # PowerShell's redirection
            decoder = codecs.getincrementaldecoder("utf-16")(errors="replace")
        if not block:
            break
        if decoder:
            block = decoder.decode(block).encode("utf-8", "replace")
        lines = (rest + block).split(b"\n")
        rest = lines.pop()[-LONGEST_LINE:]
        for line in lines:
            yield line, True
    if rest:
        yield rest, False


class _Reader(object):
    """The lines of a log one by one; every training that it holds becomes a Log.

    Ranks or threads that print into one file are told apart by the thread's number in glog's prefix.
    """

    def __init__(self):
        self.logs = []
        self.by_thread = {}
        self.collecting = None  # function of the text, once it is whole
        self.text = []
        self.n_lines = 0
        self.readers = {b"Iteration": _iteration, b"Train": _output, b"Test": _output, b"Snapshotting": _snapshot,
                        b"Creating": _creating, b"Initializing": self._initializing, b"Optimization": _optimization,
                        b"Restoring": _resuming, b"Resuming": _resuming, b"terminate": _terminate,
                        b"Check": _fatal}

    def read(self, line, ends):
        self.n_lines += 1
        if self.collecting:
            if _FIELD_LINE.match(line) and len(self.text) < MOST_LINES:
                self.text.append(line.rstrip(b"\r"))
                return
            self._end_text()
        # glog's prefix and NVIDIA's [0.0] end in "] "
        at = line.rfind(b"] ")
        message = line[at + 2:].strip() if at >= 0 else line.strip()
        word = message.partition(b" ")[0]
        reader = self.readers.get(word)
        if reader is None:
            if line[:1] != b"F" or not _PREFIX.match(line):
                return
            reader = _fatal
        if not ends and not message.endswith(b")") and (b" = " in message or b" score #" in message):
            return  # cut off, maybe inside the number
        prefix = _PREFIX.search(line)
        thread = prefix and prefix.group(2)
        log = self.by_thread.get(thread)
        if log is None or word in (b"Iteration", b"Initializing"):
            log = self._log(log, thread, message)
        log.last_line = self.n_lines
        reader(log, message)

    def _log(self, log, thread, message):
        """The training that a line of a thread belongs to. log: what the thread's last line belonged to, or None."""
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
        series = self.outputs.get((net, name, number))
        if series is None:
            series = self.outputs[net, name, number] = Series()
            if is_loss:
                self.losses.append(series)
        series.append(self.iteration, value)

    def take_solver(self, text):
        for line in text.splitlines():
            field = _SOLVER_FIELD.match(line)
            if field:
                self.solver.setdefault(_text(field.group(1)), []).append(_unquoted(field.group(2).strip()))

    def take_net(self, text):
        if self.creating is not None and self.creating not in self.net_text:
            whole = text.count(b"{") == text.count(b"}") and len(text) < GLOG_CUTS_AT
            self.net_text[self.creating] = _text(text) + "\n" if whole else None

    def finish(self):
        """This as a plain Log."""
        log = Log()
        for field in ("solver", "loss", "rate", "losses", "resumed", "ended", "failed", "first_line", "last_line"):
            setattr(log, field, getattr(self, field))
        log.snapshots = self.snapshots[self.n_written:] + self.snapshots[:self.n_written]
        names = collections.Counter((net, name) for net, name, _ in self.outputs)
        seen = collections.Counter()
        for (net, name, _), series in self.outputs.items():
            outputs = log.train if net is None else log.test.setdefault(net, collections.OrderedDict())
            several = names[net, name] > 1
            outputs["%s[%d]" % (name, seen[net, name]) if several else name] = series
            seen[net, name] += 1
        for net in sorted(set(self.net_text) | set(self.net_file)):
            log.test_nets[net] = TestNet(self.net_text.get(net), self.net_file.get(net))
        return log


def _iteration(log, message):
    found = _ITERATION.match(message)
    if not found:
        return
    iteration, net, what, value = found.groups()
    if what is None:
        log.iteration, log.testing = int(iteration), int(net or 0)
        return
    value = _number(value)
    if value is not None:
        log.iteration = int(iteration)
        (log.loss if what == b"loss" else log.rate).append(int(iteration), value)


def _output(log, message):
    found = _OUTPUT.match(message)
    if found:
        which, number, name, value, weighted = found.groups()
        if which == b"Train" or log.testing is not None:
            log.add(None if which == b"Train" else log.testing, _text(name), int(number), value, bool(weighted))
        return
    found = _OLD_SCORE.match(message)
    if found and log.testing is not None:
        log.add(log.testing, "score #%d" % int(found.group(1)), int(found.group(1)), found.group(2))


def _snapshot(log, message):
    found = _SNAPSHOT.match(message)
    if message.startswith(b"Snapshotting solver state"):
        log.n_written = len(log.snapshots)
    elif found:
        log.snapshots.append(_text(found.group(1)))


def _creating(log, message):
    found = _TEST_NET.match(message)
    if found:
        log.creating = int(found.group(1))
        if found.group(2):
            log.net_file[log.creating] = _text(found.group(2))
    elif message.startswith(b"Creating training net"):
        log.creating = None
        log.net_text.clear()


def _optimization(log, message):
    if message.startswith(b"Optimization Done"):
        log.ended = log.ended or "done"  # caffe says so after a training that was stopped, too
    elif message.startswith(b"Optimization stopped early"):
        log.ended = "stopped"


def _resuming(log, message):
    if b" from " in message:
        log.resumed = _text(message.partition(b" from ")[2])


def _terminate(log, message):
    log.failed = log.failed or _text(message)


def _fatal(log, message):
    log.failed = _text(message[:500])


def _number(text):
    try:
        return float(_WINDOWS.get(text, text))
    except ValueError:
        return None  # two lines in one another


def _text(content):
    return content.decode("utf-8", "replace")


def _unquoted(value):
    """A value of the text format as text."""
    if value[:1] == b'"' == value[-1:] and len(value) > 1:
        try:
            return _text(value[1:-1].decode("unicode_escape").encode("latin-1"))
        except ValueError:
            pass
    return _text(value)


# Several trainings in one log

def _joined(logs):
    """The Logs of one training as one."""
    logs = _without_echoes(logs)
    told = [log for log in logs if log.iterations()] or logs[-1:]
    joined, passed_over = told[0], 0
    for log in told[1:]:
        start = log.iterations()[0]
        if log.resumed or start > 0:
            joined = _followed_by(joined, log, start)
        else:
            log.solver, log.test_nets = log.solver or joined.solver, log.test_nets or joined.test_nets
            joined, passed_over = log, passed_over + 1
    if passed_over:
        joined.notes.append("the log holds %d trainings from the start: the last one is shown" % (passed_over + 1))
    if logs[-1] is not told[-1] and logs[-1].failed:
        joined.notes.append("a later start failed: %s" % logs[-1].failed)
    return joined


def _without_echoes(logs):
    """Return the first of trainings whose lines stand between one another's, ranks of one."""
    kept = []
    for log in logs:
        if kept and log.first_line < kept[-1].last_line and log.first_line > kept[-1].first_line:
            if log.iterations():
                note = "several ranks print into the log: the first is shown"
                kept[-1].notes += [note] if note not in kept[-1].notes else []
        else:
            kept.append(log)
    return kept


def _followed_by(log, later, start):
    joined = later
    joined.losses = log.losses + later.losses
    joined.loss, joined.rate = log.loss.followed_by(later.loss, start), log.rate.followed_by(later.rate, start)
    joined.train = _outputs_followed_by(log.train, later.train, start)
    joined.test = collections.OrderedDict(
        (net, _outputs_followed_by(log.test.get(net, {}), later.test.get(net, {}), start))
        for net in sorted(set(log.test) | set(later.test)))
    joined.solver = later.solver or log.solver
    joined.test_nets = later.test_nets or log.test_nets
    joined.snapshots = log.snapshots + later.snapshots
    joined.notes = log.notes + later.notes + ["resumed at iteration %d" % start]
    return joined


def _outputs_followed_by(outputs, later, start):
    names = list(outputs) + [name for name in later if name not in outputs]
    return collections.OrderedDict(
        (name, outputs.get(name, Series()).followed_by(later.get(name, Series()), start)) for name in names)
