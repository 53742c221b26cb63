"""Nets made in Caffe, in a process of their own, and what its log says of them."""
from __future__ import division, print_function

import collections
import json
import os
import re
import signal
import shutil
import subprocess
import sys
import tempfile
import threading

from caffe_prototxt import precautions, probe
from caffe_prototxt import text as T

_LAYER = re.compile(r"\] (?:Creating [lL]ayer|Setting up) @(\d+)$")
_SHAPE = re.compile(r"\] Top shape: ([\d ]*)\(\d+\)$")
_BACKWARD = re.compile(r"\] @(\d+) needs backward computation\.$")
_FATAL = re.compile(r"^F\d{4} [\d:.]+ +\d+ [\w./-]+:\d+\] (.*)")
_PARSER = re.compile(r"Error parsing text-format [\w.]+: (\d+):(\d+): (.*)")
_TRACE = "*** Check failure stack trace: ***"

# How a run ended.
#   made: bool, whether the net was made.
#   no_caffe: why there is no Caffe, or None.
#   place: of the layer it ended at, or None. message: str, one line; None if the net was made.
#   raised: the class of the Python exception it ended with, or None; is_file: whether that is one of files.
#   imports: {place: why the class of a Python layer is not to be had}.
#   syntax: (line, column) at which protobuf's parser stopped, or None.
#   shapes: {place: shapes of the tops}. backward: set of the places that are asked for gradients.
#   known: what Caffe knows, as probe says; empty without one. late: whether it took too long.
End = collections.namedtuple("End", "made no_caffe place message raised is_file imports syntax shapes backward known late")


class Caffe(object):
    """Where nets are made, one after the other. To be closed.

    seconds: the time that one may take.
    """

    def __init__(self, seconds=120):
        self.seconds = seconds
        self._process = None
        self._folder = tempfile.mkdtemp(prefix="check_net.")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._end_process()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, text, phase, python):
        """Make a net.

        text: str, one character a byte, with layers named @0, @1, ... phase: "TRAIN" or "TEST".
        python: (place, module, class) of its Python layers.
        Returns End.
        """
        net, log, answer = (os.path.join(self._folder, name) for name in ("net.prototxt", "log", "answer"))
        for path, content in ((net, T.encode(text)), (log, b""), (answer, b"{}")):
            with open(path, "wb") as file:
                file.write(content)
        status, late = self._request({
            "folder": getattr(os, "getcwdb", os.getcwd)().decode("latin-1"), "net": net, "log": log, "answer": answer,
            "phase": phase, "python": [(place, _readable(module), _readable(name)) for place, module, name in python]})
        with open(answer) as file:
            said = file.read()
        ended = "it took longer than %g s" % self.seconds if late else "it ended with status %d" % status
        with open(log, "rb") as file:
            return _end((_native(line) for line in file), json.loads(said or "{}"), ended, late)

    def _request(self, request):
        """(the status with which the process that made the net ended, whether it took too long)."""
        if self._process is None:
            environment = dict(os.environ, GLOG_minloglevel="0", GLOG_logtostderr="1", GLOG_v="0")
            environment["PYTHONPATH"] = precautions.named_path(environment.get("PYTHONPATH", ""))
            if not environment["PYTHONPATH"]:  # Python 2 takes an empty one for the current folder
                del environment["PYTHONPATH"]
            with open(os.devnull, "wb") as null:
                self._process = subprocess.Popen(
                    [sys.executable, probe.__file__.replace(".pyc", ".py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    stderr=null, env=environment, universal_newlines=True)
        process, late, maker = self._process, [], []

        def end():
            late.append(True)
            try:
                os.kill(maker[0], signal.SIGKILL) if maker else process.kill()
            except OSError:
                pass  # it has ended just now

        timer = threading.Timer(self.seconds, end)
        timer.start()
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            for line in iter(process.stdout.readline, ""):
                word, number = line.split()
                if word == "status":
                    return os.WEXITSTATUS(int(number)) if os.WIFEXITED(int(number)) else -os.WTERMSIG(int(number)), bool(late)
                maker.append(int(number))
        except EnvironmentError:
            pass  # it ended before
        finally:
            timer.cancel()
        return self._end_process(), bool(late)

    def _end_process(self):
        """End the process, and return its status."""
        process, self._process = self._process, None
        if process is None:
            return 0
        for pipe in (process.stdin, process.stdout):
            try:
                pipe.close()
            except EnvironmentError:
                pass
        return process.wait()


def _end(log, answer, ended, late):
    """The End that a log and an answer tell. ended: how the process did, if they do not say."""
    place, message, syntax, last = None, None, None, ""
    shapes, backward = collections.OrderedDict(), set()
    fatal, began = None, False
    for line in log:
        line = line.rstrip("\r\n")
        began = began or line == probe.MARK
        if not began:
            continue
        found = _LAYER.search(line)
        if found:
            place = int(found.group(1))
        elif _SHAPE.search(line) and place is not None:
            shapes.setdefault(place, []).append(tuple(int(size) for size in _SHAPE.search(line).group(1).split()))
        elif _BACKWARD.search(line):
            backward.add(int(_BACKWARD.search(line).group(1)))
        elif _PARSER.search(line):
            row, column, message = _PARSER.search(line).groups()
            syntax = int(row), int(column)
        elif _FATAL.match(line):
            fatal = [_FATAL.match(line).group(1)]
        elif fatal and line != _TRACE:
            fatal.append(line)
        if line == _TRACE:
            break
        last = line or last
    raised, is_file = None, False
    if answer.get("raised"):
        raised, said, is_file = answer["raised"]
        message = _native(said or raised)
    elif message is None and fatal:
        message = " ".join(fatal)
    elif message is None and not set(answer) & {"made", "imports", "no_caffe"}:
        message = ended + (", and said last: " + last if last and not late else "")
    imports = {int(number): " ".join(_native(why).split()) for number, why in answer.get("imports", {}).items()}
    no_caffe = _native(answer.get("no_caffe", "")) or (None if "types" in answer else ended)
    return End(bool(answer.get("made")), no_caffe, place, None if message is None else " ".join(message.split()),
               raised, is_file, imports, syntax, shapes, backward, _known(answer), late)


def _known(answer):
    if "types" not in answer:
        return {}
    return {"classic": answer["classic"], "types": [_native(name) for name in answer["types"]],
            "fields": {_native(message): [_native(name) for name in names] for message, names in answer["fields"].items()}}


def _readable(name):
    """A name as JSON takes it."""
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else name


def _native(text):
    """Text or UTF-8 as str, which on Python 2 is the latter."""
    if isinstance(text, str):
        return text
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else text.encode("utf-8")
