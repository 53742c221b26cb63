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

from caffe_losses.compat import to_unicode
from caffe_losses.errors import naming
from caffe_prototxt.training.training_log import Log, Series, TestNet

BLOCK = 2 ** 20
LONGEST_LINE = 2 ** 20  # bytes; none of Caffe's is longer
MOST_LINES = 2 ** 20  # of a net's text
GLOG_CUTS_AT = 30000 - 100  # characters: glog's longest message, less its prefix; a net printed in full is shorter

# Level, year (in glog's newer versions), month, day, time and thread.
_PREFIX = re.compile(br"([IWEF])(\d{4})?(\d\d)(\d\d) +(\d+):(\d\d):(\d\d\.\d+) +(\d+) ")
_CREATED = re.compile(br"Log file created at: (\d{4})/")
_ITERATION = re.compile(br"Iteration (\d{1,15})\b(?:, Testing net(?: \(#(\d{1,9})\))?)?")
_FIGURE = re.compile(br"\b(loss|lr) = ([^\s,]+)")
_OUTPUT = re.compile(br"(Train|Test) net output(?: \w+)? #(\d{1,9}): (.*?) = ([^\s,]+)(?: \((\*))?")
_OLD_SCORE = re.compile(br"Test score #(\d{1,9}): (\S+)")
_SNAPSHOT = re.compile(br"Snapshotting to (?:binary proto file |HDF5 file )?(.+)")
_TEST_NET = re.compile(br"Creating test net \(#(\d{1,9})\)(?: specified by (?:test_)?net file: (.+))?")
_FIELD_LINE = re.compile(br"\s*(?:[A-Za-z_]\w*\s*[:{<]|[}>])")
_SOLVER_FIELD = re.compile(br"(\w+): (.*)")
_WINDOWS = {b"1.#QNAN": b"nan", b"-1.#IND": b"nan", b"1.#INF": b"inf", b"-1.#INF": b"-inf"}
EPOCH = datetime.date(2013, 1, 1)  # of times in seconds; so near, they keep their microseconds
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
    return _shown_ranks(reader.finish())


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
        self.series = collections.OrderedDict()  # by (test net or None, name, number)
        self.net_text, self.net_file = {}, {}  # by the number of the test net; None: the training net
        self.n_written = 0  # of the snapshots

    def add(self, net, name, number, value, is_loss=False):
        value = _number(value)
        if value is None or self.iteration is None:
            return
        if (net, name, number) not in self.series:
            self.series[net, name, number] = Series(is_loss)
        self._append(self.series[net, name, number], value)

    def _append(self, series, value):
        printed, rates = self.printed, self.rate.values
        series.append(self.iteration, value, _NAN if printed is None else printed, rates[-1] if rates else _NAN)

    def take_solver(self, text):
        for line in text.splitlines():
            field = _SOLVER_FIELD.match(line)
            if field:
                self.solver.setdefault(to_unicode(field.group(1)), []).append(_unquoted(field.group(2).strip()))

    def take_net(self, text):
        if self.creating not in self.net_text:
            whole = text.count(b"{") == text.count(b"}") and len(text) < GLOG_CUTS_AT
            self.net_text[self.creating] = to_unicode(text) + "\n" if whole else None

    def read_iteration(self, message):
        match = _ITERATION.match(message)
        if not match:
            return
        iteration, figures = int(match.group(1)), []
        if match.group(0).endswith(match.group(1)):  # no test
            figures = [(name, _number(value)) for name, value in _FIGURE.findall(message)]
        else:
            self.iteration, self.testing = iteration, int(match.group(2) or 0)
        for name, value in figures:
            if value is not None:
                self.iteration = iteration
                self._append(self.loss if name == b"loss" else self.rate, value)

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

    def read_solving(self, message):
        self.started = self.started or self.printed

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

    The thread's number in glog's prefix distinguishes ranks and threads that print into one file.

    year: int, that of the log where it states none.
    """

    def __init__(self, year):
        self.logs, self.by_thread = [], {}
        self.collecting, self.text = None, []  # a function of the text, once that is whole
        self.n_lines, self.year, self.month, self.days = 0, year, 0, {}
        self.readers = {
            b"Iteration": _Log.read_iteration, b"Train": _Log.read_output, b"Test": _Log.read_output,
            b"Snapshotting": _Log.read_snapshot, b"Creating": _Log.read_creating, b"Initializing": self._initializing,
            b"Solving": _Log.read_solving, b"Optimization": _Log.read_optimization, b"Restoring": _Log.read_resuming,
            b"Resuming": _Log.read_resuming, b"terminate": _Log.read_terminate, b"Check": _Log.read_fatal}

    def read(self, line, is_whole):
        self.n_lines += 1
        if self.collecting:
            if _FIELD_LINE.match(line) and len(self.text) < MOST_LINES:
                self.text.append(line.rstrip(b"\r"))
                return
            self._end_text()
        word, message = self._message(line)
        is_fatal = line[:1] == b"F" and _PREFIX.match(line)
        reader = self.readers.get(word, _Log.read_fatal if is_fatal else None)
        # The last line may be cut off inside a number.
        is_cut = not is_whole and not message.endswith(b")") and (b" = " in message or b" score #" in message)
        if reader is None or is_cut:
            created = _CREATED.match(line)
            self.year = int(created.group(1)) if created else self.year
            return
        prefix = _PREFIX.search(line)
        thread = prefix and prefix.group(8)
        log = self.by_thread.get(thread)
        if log is None or word in (b"Iteration", b"Initializing"):
            log = self._log(log, thread, message)
        log.last_line, log.printed = self.n_lines, self._seconds(prefix) if prefix else log.printed
        reader(log, message)

    def _message(self, line):
        """Return (its first word, the message) of a line, without glog's prefix and NVIDIA's [0.0] or [MultiGPU]."""
        has_prefix = line[:1] in b"IWEF" and line[1:2].isdigit()
        word, message = _first_word(line.partition(b"] ")[2] if has_prefix else line)
        if word in self.readers or has_prefix:
            return word, message
        return _first_word(line.rpartition(b"] ")[2])  # behind a prefix of something else, as docker's

    def _seconds(self, prefix):
        """Return the time that a prefix states, in seconds."""
        _, year, month, day, hours, minutes, seconds, _ = prefix.groups()
        if int(month) < self.month and year is None:
            self.year += 1
        self.month = int(month)
        date = int(year or self.year), self.month, int(day)
        if date not in self.days:
            try:
                self.days[date] = (datetime.date(*date) - EPOCH).days
            except ValueError:
                return None
        return ((self.days[date] * 24 + int(hours)) * 60 + int(minutes)) * 60 + float(seconds)

    def _log(self, log, thread, message):
        """Return the training that a line of a thread belongs to. log: that of the thread's last line, or None."""
        starts, iteration = message.startswith(b"Initializing solver from"), _ITERATION.match(message)
        goes_back = iteration and log is not None and int(iteration.group(1)) < (log.iteration or 0)
        if log is None and self.logs and not (starts or iteration and thread):
            return self.logs[-1]  # of another thread, as errors may be, or without a prefix
        if log is None or goes_back or starts and (log.solver or log.iteration is not None):
            waiting = [other for other in self.logs if other.iteration is None and not other.failed] if thread else []
            if waiting and not starts:  # NVIDIA's solver: the main thread makes the nets, another runs them
                log = waiting[-1]
            else:
                log = _Log()
                log.first_line = self.n_lines
                self.logs.append(log)
            self.by_thread[thread] = log
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


def _first_word(message):
    message = message.strip()
    while message[:1] == b"[" and b"] " in message:
        message = message.partition(b"] ")[2].strip()
    return message.partition(b" ")[0], message


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
    if logs[-1] is not with_figures[-1] and logs[-1].failed:
        joined.notes.append("a later start failed: %s" % logs[-1].failed)
    return joined


def _shown_ranks(logs):
    """Return a Log for each training: of ranks, whose lines stand between one another's, the first with losses."""
    shown, group = [], []
    for log in logs + [None]:
        if group and (log is None or not group[0].first_line < log.first_line < group[0].last_line):
            shown.append(_shown_rank(group))
            group = []
        group.append(log)
    return shown


def _shown_rank(group):
    shown = ([log for log in group if len(log.loss)] or [log for log in group if log.iterations()] or group)[0]
    if sum(bool(log.iterations()) for log in group) > 1:
        shown.notes.append("several ranks print into the log: the first with losses is shown")
    for log in group:
        _complete(shown, log, Log.PARTS)
        shown.printed = max(shown.printed or 0, log.printed or 0) or None
    return shown


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
