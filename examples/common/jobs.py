"""Run commands side by side, all or none: the first that fails, or a signal, ends them."""
from __future__ import division, print_function

import collections
import contextlib
import ctypes
import functools
import io
import itertools
import os
import signal
import subprocess
import time

POLL_SECONDS = 0.01
LAST_LINES = 8

_prctl = getattr(ctypes.CDLL(None), "prctl", None)  # Linux has it
_PR_SET_PDEATHSIG = 1

# command: a list of words. log: where its output goes, a path.
Job = collections.namedtuple("Job", "command log")


class JobFailed(Exception):
    """Report a command that ended with an error; the message has the end of its log."""

    def __init__(self, job, status):
        with io.open(job.log, encoding="utf-8", errors="replace") as log:
            lines = [line.rstrip() for line in log]
        # Caffe's last words are a stack trace, the cause stands before it.
        last = list(itertools.takewhile(lambda line: not line.startswith("*** "),
                                        lines))[-LAST_LINES:]
        super(JobFailed, self).__init__(
            "%s ended with status %d; its log is %s, which ends:\n  %s"
            % (" ".join(job.command), status, job.log, "\n  ".join(last)))


def run(jobs, at_once, environment=None, on_end=lambda job: None):
    """Run all the jobs, `at_once` at a time.

    jobs: any iterable; the next one is asked for when it can start.
    environment: a dict of variables to set for them.
    on_end: called with each that succeeds.
    Raises JobFailed, or KeyboardInterrupt after SIGINT, SIGTERM or SIGHUP; no job
    is running any more then.
    """
    environment = dict(os.environ, **(environment or {}))
    waiting = iter(jobs)
    running = {}
    with _signals_caught() as signals:
        try:
            while True:
                if signals:
                    raise KeyboardInterrupt
                for job in itertools.islice(waiting, at_once - len(running)):
                    running[_start(job, environment)] = job
                if not running:
                    return
                for process in [process for process in running if process.poll() is not None]:
                    job = running.pop(process)
                    if process.returncode:
                        raise JobFailed(job, process.returncode)
                    on_end(job)
                time.sleep(POLL_SECONDS)
        finally:
            for process in running:
                process.kill()
            for process in running:
                process.wait()


def _start(job, environment):
    with open(job.log, "wb") as log:
        return subprocess.Popen(job.command, stdout=log, stderr=subprocess.STDOUT,
                                env=environment, preexec_fn=functools.partial(_depend_on, os.getpid()))


def _depend_on(parent):
    """Let only the parent end a job, and end it with the parent. To be called in the job, before its command."""
    # In a group of its own: Ctrl-C is for the parent, which then ends it. Caffe would take it
    # as "save and stop", and Python layers as an exception.
    os.setpgrp()
    if _prctl:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # which ended before that
            os._exit(1)


@contextlib.contextmanager
def _signals_caught():
    """Collect the signals that ask for an end, so that none comes between a start and its note."""
    caught = []
    asking = [number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
              if signal.getsignal(number) != signal.SIG_IGN]  # nohup ignores SIGHUP
    before = [signal.signal(number, lambda number, frame: caught.append(number))
              for number in asking]
    try:
        yield caught
    finally:
        for number, handler in zip(asking, before):
            signal.signal(number, handler)
