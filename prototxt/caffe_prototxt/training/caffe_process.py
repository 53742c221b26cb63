"""Caffe in a child process, which makes nets and runs them on test data: where Caffe stops, only that process ends."""
from __future__ import division, print_function

import collections
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

import numpy as np

import caffe_losses
import caffe_prototxt
from caffe_losses import optional_packages
from caffe_losses.compat import to_bytes, to_str, to_unicode, unicode_type
from caffe_prototxt.data.labels import LabelCounts
from caffe_prototxt.training import precautions, probe

# In NVIDIA's 0.16 and 0.17: Created Layer @1 (1), TRAIN Top shape for layer 1 '@1' 20 3 (60)
_LAYER = re.compile(r"\] (?:Creat(?:ing|ed) [lL]ayer|Setting up) @(\d+)(?: \(\d+\))?$")
_SHAPE = re.compile(r"\] (?:Top shape:|[A-Z]+ Top shape for layer \d+ '.*') ([\d ]*)\(\d+\)$")
_BACKWARD = re.compile(r"\] @(\d+) needs backward computation\.$")
_FATAL = re.compile(r"^F\d{4} [\d:.]+ +\d+ [\w./-]+:\d+\] (.*)")
_PARSER = re.compile(r"Error parsing text-format [\w.]+: (\d+):(\d+): (.*)")
_PATTERNS = _LAYER, _SHAPE, _BACKWARD, _PARSER
_NONE = (None,) * len(_PATTERNS)
_TRACE = "*** Check failure stack trace: ***"

# The end of a request.
#   made: bool, whether the net was made, or run. message: str, the reason in one line, or None if it was.
#   no_caffe: the reason why there is no Caffe, or None.
#   stopped_at: index of the layer at which it ended, or None.
#   raised: the class of the Python exception that ended it, or None; is_file: whether that is one of files.
#   imports: {index of a Python layer: the reason why its class cannot be imported}.
#   syntax: (line, column) at which protobuf's parser stopped, or None.
#   shapes: {index of a layer: shapes of its tops}. backward: the indices of the layers that are asked for gradients.
#   weights: {index of a layer: shapes of its blobs}, where the net was made and nothing counted.
#   counted: with `count`, {"values", "counts", "first", "batches"} as probe gives them.
#   known: the types, fields and enums of this Caffe, as probe has them; empty without one. late: whether time was up.
End = collections.namedtuple("End", "made message no_caffe stopped_at raised is_file imports syntax shapes backward "
                             "counted known late weights")


class Caffe(object):
    """A child process with Caffe, which answers one request after the other. To be closed.

    seconds: the time that a request may take; None: any.
    folder: str, a folder for temporary files, deleted when this is closed.
    """

    def __init__(self, seconds=120):
        self.seconds = seconds
        self.folder = tempfile.mkdtemp(prefix="caffe_losses.")
        self._process = self._worker = None  # _worker: pid of the fork that works on a request

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process is not None:
            self._kill()  # it may still import Caffe
        self._end_process()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, text, phase, python, count=None):
        """Make a net, and run it where values are to be counted.

        text: str, one character a byte, with layers named @0, @1, ... if the End is to name them.
        phase: "TRAIN" or "TEST". python: (index, module, class) of its Python layers.
        count: (blob, one character a byte, the most batches, the most seconds) for End.counted.
        Returns End.
        """
        request = {"net": self._write("net.prototxt", to_bytes(text)), "phase": phase, "python": [
            (index, to_unicode(module), to_unicode(name)) for index, module, name in python]}
        if count:
            request["count"] = (to_bytes(count[0]).decode("latin-1"),) + tuple(count[1:])
        return self._end(_path_text(os.getcwd()), request)

    def tally(self, definition, snapshot, folder, D, on_batch, weights=None, **options):
        """Run a net on its test data, and add up its decisions.

        definition, snapshot: files. folder: str, to run in. D: C x C costs, weights: class weights, or None each.
        on_batch: called with the number of all batches after each.
        options: the other settings of net_tally.write_tally.
        Returns the arrays that write_tally saves, by name. Raises ValueError: the reason why there are none.
        """
        output = os.path.join(self.folder, "tally.npz")
        paths = {"definition": definition, "snapshot": snapshot, "output": output}
        for name, array in (("costs", D), ("class_weights", weights)):
            if array is not None:
                paths[name] = os.path.join(self.folder, name + ".npy")
                np.save(paths[name], array)
        return self._arrays(folder, "tally", dict(options, **{key: _path_text(path) for key, path in paths.items()}),
                            output, on_batch)

    def count_source(self, source, dataset="label", pixels=False, root_folder="", seconds=None):
        """Count the labels of a data set as labels.count_source does, with the Caffe that is there already.

        Returns LabelCounts without `present`. Raises ValueError.
        """
        output = os.path.join(self.folder, "labels.npz")
        paths = {"source": source, "dataset": dataset, "root_folder": root_folder, "output": output}
        arrays = self._arrays(os.getcwd(), "labels", dict(
            {key: _path_text(path) for key, path in paths.items()}, pixels=bool(pixels), seconds=seconds), output)
        return LabelCounts(arrays["values"], arrays["counts"], None, to_str(arrays["unit"].item()),
                           [to_str(first) for first in arrays["first"].tolist()], source, bool(arrays["complete"]))

    def _arrays(self, folder, task, settings, output, on_batch=None):
        """Have a function of net_tally save arrays, and return them by name. Raises ValueError, as it does."""
        roots = [os.path.dirname(os.path.dirname(os.path.abspath(package.__file__)))
                 for package in (caffe_losses, caffe_prototxt)]
        end = self._end(_path_text(folder), {task: settings, "roots": roots}, on_batch)
        if not end.made:
            raise ValueError(end.no_caffe or end.message)
        with np.load(output, allow_pickle=False) as arrays:
            return dict(arrays)

    def _end(self, folder, request, on_batch=None):
        log, answer = self._write("log", b""), self._write("answer", b"{}")
        status, late = self._request(dict(request, folder=folder, log=log, answer=answer), on_batch)
        ended = ("Caffe took longer than %g s; --timeout sets more" % self.seconds if late
                 else "it ended with status %d" % status)
        with open(answer) as file:
            answered = _as_str(json.loads(file.read() or "{}"))
        with open(log, "rb") as file:
            return _read_end((to_str(line) for line in file), answered, ended, late)

    def _write(self, name, content):
        """Write bytes to a file in the folder, and return its path."""
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def _request(self, request, on_batch):
        """Have a request answered. Returns (exit status of the process that did it, whether it took too long)."""
        self.start()
        process, late = self._process, []

        def stop():
            late.append(True)
            self._kill()

        timer = threading.Timer(self.seconds or 0, stop)
        try:
            if self.seconds is not None:
                timer.start()
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            for line in iter(process.stdout.readline, ""):
                word, number = line.split()
                if word == "status":
                    self._worker, status = None, int(number)
                    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status), bool(late)
                elif word == "pid":
                    self._worker = int(number)
                else:
                    on_batch(int(number))
        except EnvironmentError:
            pass  # it ended before
        except BaseException:  # Ctrl-C
            self._kill()
            raise
        finally:
            timer.cancel()
        return self._end_process(), bool(late)

    def start(self):
        """Start the process if it does not run, so that it imports Caffe while its first request is made."""
        if self._process is not None:
            return
        environment = dict(os.environ, GLOG_minloglevel="0", GLOG_logtostderr="1", GLOG_v="0")
        path = precautions.named_path(environment.pop("PYTHONPATH", ""))
        if path:  # Python 2 takes an empty one for the current folder
            environment["PYTHONPATH"] = path
        with open(os.devnull, "wb") as null:
            self._process = subprocess.Popen(
                [sys.executable, probe.__file__.replace(".pyc", ".py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=null, env=environment, universal_newlines=True)

    def _kill(self):
        """Kill the process that works on a request."""
        try:
            os.kill(self._worker, signal.SIGKILL) if self._worker else self._process.kill()
        except EnvironmentError:
            pass  # it has ended just now

    def _end_process(self):
        """End the child process and its fork. Returns its status."""
        if self._process is None:
            return 0
        if self._worker:
            self._kill()
        process, self._process, self._worker = self._process, None, None
        for pipe in (process.stdin, process.stdout):
            try:
                pipe.close()
            except EnvironmentError:
                pass
        return process.wait()


def _as_str(value):
    """Return what JSON holds with each text as a str of this Python."""
    if isinstance(value, dict):
        return {to_str(key): _as_str(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_str(item) for item in value]
    return to_str(value) if isinstance(value, unicode_type) else value


def _path_text(path):
    """Return a path as JSON can hold it: text of one character a byte."""
    return (path if isinstance(path, bytes) else os.fsencode(path)).decode("latin-1")


def _read_end(log, answer, ended, late):
    """Return the End that a log and an answer state. ended: str, the message if they state none."""
    stopped_at = message = syntax = fatal = None
    shapes, backward, last = collections.OrderedDict(), set(), ""
    lines = (line.rstrip("\r\n") for line in log)
    for line in itertools.dropwhile(lambda line: line != probe.MARK, lines):
        # Most lines are those of the net's text, without a "]".
        layer, shape, asked, parser = [pattern.search(line) for pattern in _PATTERNS] if "] " in line else _NONE
        if layer:
            stopped_at = int(layer.group(1))
        elif shape and stopped_at is not None:
            shapes.setdefault(stopped_at, []).append(tuple(int(size) for size in shape.group(1).split()))
        elif asked:
            backward.add(int(asked.group(1)))
        elif parser:
            syntax, message = (int(parser.group(1)), int(parser.group(2))), parser.group(3)
        elif _FATAL.match(line):
            fatal = [_FATAL.match(line).group(1)]
        elif fatal and line != _TRACE:
            fatal.append(line)
        if line == _TRACE:
            break
        last = line or last
    raised, text, is_file = answer.get("raised", (None, None, False))
    if raised:
        message = text or raised
    elif message is None and fatal:
        message = " ".join(fatal)
    elif message is None and not set(answer) & {"made", "imports", "no_caffe"}:
        message = ended + (", and said last: " + last if last and not late else "")
    imports = {int(index): " ".join(reason.split()) for index, reason in answer.get("imports", {}).items()}
    no_caffe = optional_packages.explain(answer.get("no_caffe", ""))
    no_caffe = no_caffe or (None if "types" in answer or late else ended)
    known = {key: answer[key] for key in ("classic", "train_py", "types", "fields", "enums") if key in answer}
    return End(bool(answer.get("made")), None if message is None else " ".join(message.split()), no_caffe, stopped_at,
               raised, is_file, imports, syntax, shapes, backward, answer if "values" in answer else None, known, late,
               {int(name[1:]): [tuple(shape) for shape in shapes] for name, shapes in answer.get("weights", {}).items()
                if name.startswith("@")})
