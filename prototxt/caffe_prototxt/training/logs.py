"""Read the log of `caffe train`: losses, accuracies, snapshots, the solver and the nets.

Any log that has the solver's lines is read: glog's files (caffe.INFO), standard error redirected, with or without
glog's prefixes, of Caffe 1.0, of older ones and of forks that kept the lines:

    Iteration 100 (12.3 iter/s, 8.1s/100 iters), loss = 0.5     Iteration 100, loss = 0.5 before 2017
    Iteration 100, lr = 0.01                                    lr = 0.01, m = 0.9 in NVIDIA's 0.16 and 0.17
        Train net output #0: loss = 0.5 (* 1 = 0.5 loss)        not before 2014
    Iteration 100, Testing net (#0)                             without (#0) in 2013
        Test net output #0: accuracy = 0.9                      Test score #0: 0.9 in 2013; Test net output mAP #0: ...
    Snapshotting to binary proto file NAME                      Snapshotting to NAME in 2013

A log is read as a stream of bytes, so that its size does not matter; other lines are skipped. Source: Caffe, solver.cpp
and sgd_solver.cpp.
"""
from __future__ import division, print_function

import codecs
import collections
import datetime
import os
import re

from caffe_losses.compat import from_bytes, to_display, to_unicode
from caffe_losses.errors import naming
from caffe_prototxt.textformat import scanner
from caffe_prototxt.training.training_log import Log, Series, TestNet

BLOCK = 2 ** 20
LONGEST_LINE = 2 ** 20  # bytes; none of Caffe's is longer
MOST_LINES = 2 ** 20  # of a net's text
GLOG_CUTS_AT = 30000 - 100  # characters: glog's longest message, less its prefix; a net printed in full is shorter

# The last prefix of glog in a line, as two processes may print into one, and others before it, as docker: level, year
# (in newer versions), month, day, time and thread.
_PREFIX = re.compile(br".*([IWEF])(\d{4})?(\d\d)(\d\d) +(\d+):(\d\d):(\d\d\.\d+) +(\d+) [^\]\s]*\] ")
# A message with its first word; NVIDIA's stand behind [0.0] or [MultiGPU].
_MESSAGE = re.compile(br"(?:\s*\[[^\]]*\])*\s*((Iteration|Train|Test|Snapshotting|Creating|Initializing|Solving|"
                      br"Optimization|Restoring|Resuming|terminate) .*)")
# The last line of a traceback, which says more than the "terminate called" that Caffe ends with after it.
_RAISED = re.compile(br"[\w.]*(?:Error|Exception): ")
_CREATED = re.compile(br"Log file created at: (\d{4})/")
_ITERATION = re.compile(br"Iteration (\d{1,15})\b(, Testing net(?: \(#(\d{1,9})\))?)?")
_FIGURE = re.compile(br"\b(loss|lr) = ([^\s,]+)")
_OUTPUT = re.compile(br"(Train|Test) net output(?: \w+)? #(\d{1,9}): (.*?) = ([^\s,]+)(?: \((\*))?")
_OLD_SCORE = re.compile(br"Test score #(\d{1,9}): (\S+)")
_SNAPSHOT = re.compile(br"Snapshotting to (?:binary proto file |HDF5 file )?(.+)")
_TEST_NET = re.compile(br"Creating test net \(#(\d{1,9})\)(?: specified by (?:test_)?net file: (.+))?")
_FIELD_LINE = re.compile(br"\s*(?:[A-Za-z_]\w*\s*[:{<]|[}>])")
_WINDOWS = {b"1.#QNAN": b"nan", b"-1.#IND": b"nan", b"1.#INF": b"inf", b"-1.#INF": b"-inf"}
EPOCH = datetime.datetime(2013, 1, 1)  # of times in seconds; so near, they keep their microseconds
_NAN = float("nan")


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
    with naming(path, "cannot be read: "), open(path, "rb") as file:
        reader = _Reader(datetime.datetime.fromtimestamp(os.path.getmtime(path)).year)
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
    """A Log of what one thread prints, while it is read. training: the list of the logs of all its threads."""

    def __init__(self, training):
        super(_Log, self).__init__()
        self.training = training
        self.iteration = self.testing = self.creating = None
        self.series = collections.OrderedDict()  # by (test net or None, name, number)
        self.net_text, self.net_file = {}, {}  # by the number of the test net; None: the training net
        self.n_written = 0  # of the snapshots

    def take_solver(self, text):
        text = from_bytes(text)
        try:
            for field in scanner.fields(text):
                if text[field.value] not in scanner.CLOSERS:
                    is_string = text[field.value] in scanner.QUOTES
                    value = scanner.unquote(text, field.value, field.end) if is_string else text[field.value:field.end]
                    self.solver.setdefault(field.name, []).append(to_unicode(to_display(value)))
        except ValueError:  # cut off: what stands before counts
            pass

    def take_net(self, text):
        if self.creating not in self.net_text:
            whole = text.count(b"{") == text.count(b"}") and len(text) < GLOG_CUTS_AT
            self.net_text[self.creating] = to_unicode(text) + "\n" if whole else None

    def read_iteration(self, message):
        match = _ITERATION.match(message)
        if not match:
            return
        iteration, tests, net = match.groups()
        if tests:
            self.iteration, self.testing = int(iteration), int(net or 0)
            return
        for name, text in _FIGURE.findall(message):
            value = _number(text)
            if value is not None:
                self.iteration = int(iteration)
                self._append(self.loss if name == b"loss" else self.rate, value)

    def read_output(self, message):
        output, old_score = _OUTPUT.match(message), _OLD_SCORE.match(message)
        if output:
            phase, number, name, value, weighted = output.groups()
            self._add_output(phase, name, number, value, bool(weighted))
        elif old_score:
            number, value = old_score.groups()
            self._add_output(b"Test", b"score #" + number, number, value, False)

    def _add_output(self, phase, name, number, text, is_loss):
        value, net = _number(text), self.testing if phase == b"Test" else None
        if value is not None and self.iteration is not None and (phase == b"Train" or net is not None):
            key = net, to_unicode(name), int(number)
            self._append(self.series.setdefault(key, Series(is_loss)), value)

    def _append(self, series, value):
        rates = [log.rate.values[-1] for log in self.training if len(log.rate)]
        series.append(self.iteration, value, _NAN if self.printed is None else self.printed,
                      rates[0] if rates else _NAN)

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

    def read_progress(self, message):
        if message.startswith(b"Solving"):
            self.started = self.started or self.printed
        elif message.startswith(b"Optimization Done"):
            self.ended = self.ended or "done"  # caffe says so after a training that was stopped, too
        elif message.startswith(b"Optimization stopped early"):
            self.ended = "stopped"
        elif message.startswith(b"terminate"):
            self.failed = self.failed or to_unicode(message)
        elif b" from " in message:  # Restoring, Resuming
            self.resumed = to_unicode(message.partition(b" from ")[2])

    def read_fatal(self, message):
        self.failed = to_unicode(message[:500])

    def finish(self):
        """Arrange what was read as Log states it. Returns this."""
        self.snapshots = self.snapshots[self.n_written:] + self.snapshots[:self.n_written]
        by_name = collections.OrderedDict()
        for (net, name, _), series in self.series.items():
            by_name.setdefault((net, name), []).append(series)
        for (net, name), several in by_name.items():
            outputs = self.train if net is None else self.test.setdefault(net, collections.OrderedDict())
            names = [name] if len(several) == 1 else ["%s[%d]" % (name, i) for i in range(len(several))]
            outputs.update(zip(names, several))
        self.train_net = self.net_text.pop(None, None)
        for net in sorted(set(self.net_text) | set(self.net_file)):
            self.test_nets[net] = TestNet(self.net_text.get(net), self.net_file.get(net))
        return self


class _Reader(object):
    """Read the lines of a log one by one; every training in it becomes a Log.

    A training may print from several threads, whose numbers stand in glog's prefixes: ranks, or as NVIDIA's Caffe,
    whose main thread makes the nets that another one trains.

    year: int, that of the log where it states none.
    """

    def __init__(self, year):
        self.trainings, self.by_thread = [], {}  # lists of _Logs; the last _Log of each thread
        self.collecting, self.text = None, []  # a function of the text, once that is whole
        self.raised = None  # the last line of a traceback after which Caffe has printed nothing
        self.margin = 0  # bytes before what Caffe prints
        self.year, self.month = year, 0
        self.readers = {
            b"Iteration": _Log.read_iteration, b"Train": _Log.read_output, b"Test": _Log.read_output,
            b"Snapshotting": _Log.read_snapshot, b"Creating": _Log.read_creating, b"Initializing": self._initializing}

    def read(self, line, is_whole):
        if self.collecting:
            if _FIELD_LINE.match(line, self.margin) and len(self.text) < MOST_LINES:
                self.text.append(line[self.margin:].rstrip(b"\r"))
                return
            self._end_text()
        prefix = _PREFIX.match(line)
        match = _MESSAGE.match(line, prefix.end() if prefix else 0)
        if match:
            message, read = match.group(1).strip(), self.readers.get(match.group(2), _Log.read_progress)
            if self.raised and match.group(2) == b"terminate":
                message, read = self.raised, _Log.read_fatal
            self.raised = None
        elif prefix and prefix.group(1) == b"F":
            message, read = line[prefix.end():].strip(), _Log.read_fatal
        else:
            self.raised = line.strip() if _RAISED.match(line) else self.raised
            created = _CREATED.match(line)
            self.year = int(created.group(1)) if created else self.year
            return
        if not is_whole and not message.endswith(b")") and (b" = " in message or b" score #" in message):
            return  # the end of the file, maybe inside a number
        log = self._log_of(prefix and prefix.group(8), message)
        if prefix:
            log.printed, self.margin = self._seconds(prefix), prefix.start(1)
        read(log, message)

    def _seconds(self, prefix):
        """Return the time that a prefix states, in seconds, or None for no time."""
        _, year, month, day, hours, minutes, seconds, _ = prefix.groups()
        if int(month) < self.month and year is None:
            self.year += 1
        self.month = int(month)
        try:
            minute = datetime.datetime(int(year or self.year), self.month, int(day), int(hours), int(minutes))
        except ValueError:
            return None
        return (minute - EPOCH).total_seconds() + float(seconds)

    def _log_of(self, thread, message):
        """Return the _Log of a thread in the training that its message belongs to."""
        log, iteration = self.by_thread.get(thread), _ITERATION.match(message)
        starts = message.startswith(b"Initializing solver from")
        goes_back = log is not None and iteration and int(iteration.group(1)) < (log.iteration or 0)
        if log is not None and not starts and not goes_back:
            return log
        latest = self.trainings[-1] if self.trainings else None
        if latest is None or log in latest or starts and any(other.iteration is not None for other in latest):
            latest = []
            self.trainings.append(latest)
            self.by_thread.pop(None, None)  # "terminate called" stands without a prefix
        log = self.by_thread[thread] = _Log(latest)
        latest.append(log)
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
        if self.raised and self.trainings and not any(log.ended for log in self.trainings[-1]):
            self._log_of(None, self.raised).read_fatal(self.raised)
        return [_merged([log.finish() for log in training]) for training in self.trainings]


def _number(text):
    try:
        return float(_WINDOWS.get(text, text))
    except ValueError:
        return None  # two lines in one another


# Several trainings in one log

def _joined(logs):
    """Return the Logs of one training as one."""
    with_figures = [log for log in logs if log.iterations()] or logs[-1:]
    joined, n_earlier = with_figures[0], 0
    for log in with_figures[1:]:
        start = log.iterations()[0]
        if log.resumed or start > 0:
            joined = _followed_by(joined, log, start)
        else:
            _complete(log, joined, ("solver", "test_nets"))
            joined, n_earlier = log, n_earlier + 1
    if n_earlier:
        joined.notes.append("the log holds %d trainings from the start: the last one is shown" % (n_earlier + 1))
    if len(joined.loss) - len(set(joined.loss.iterations)) > 1:
        joined.notes.append("several losses stand for one iteration: several processes print into the log, and without "
                            "glog's prefixes nothing says which are whose")
    if logs[-1] is not with_figures[-1] and logs[-1].failed:
        joined.notes.append("a later start failed: %s" % logs[-1].failed)
    return joined


def _merged(logs):
    """Return the logs of the threads of one training as one: of ranks the first with losses."""
    merged = max(logs, key=lambda log: (len(log.loss) > 0, log.iterations() is not None))
    if sum(len(log.loss) > 0 for log in logs) > 1:
        merged.notes.append("several ranks print into the log: the first with losses is shown")
    for log in logs:
        _complete(merged, log, Log.PARTS)
        merged.printed = max(merged.printed or 0, log.printed or 0) or None
    return merged


def _complete(log, other, parts):
    """Give a Log those of some parts that it lacks from another."""
    for part in parts:
        if not getattr(log, part):
            setattr(log, part, getattr(other, part))


def _followed_by(log, later, start):
    """Return `later` with the figures of `log` from before iteration `start`, and what only `log` states."""
    later.snapshots = log.snapshots + later.snapshots
    later.loss, later.rate = log.loss.followed_by(later.loss, start), log.rate.followed_by(later.rate, start)
    later.train = _outputs_followed_by(log.train, later.train, start)
    later.test = collections.OrderedDict(
        (net, _outputs_followed_by(log.test.get(net, {}), later.test.get(net, {}), start))
        for net in sorted(set(log.test) | set(later.test)))
    _complete(later, log, ("solver", "train_net", "test_nets"))
    later.started, later.start = log.started or later.started, start
    later.notes = log.notes + later.notes + ["resumed at iteration %d" % start]
    return later


def _outputs_followed_by(outputs, later, start):
    names = list(outputs) + [name for name in later if name not in outputs]
    return collections.OrderedDict(
        (name, outputs.get(name, Series()).followed_by(later.get(name, Series()), start)) for name in names)
