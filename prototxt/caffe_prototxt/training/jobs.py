"""Run commands side by side, each with a log; they end with this process, and at a signal."""
from __future__ import division, print_function

import collections
import contextlib
import ctypes
import functools
import itertools
import os
import signal
import subprocess
import time

POLL_SECONDS = 0.01

_prctl = getattr(ctypes.CDLL(None), "prctl", None)  # Linux has it
_PR_SET_PDEATHSIG = 1

# command: a list of words. log: where its output goes, a path.
Job = collections.namedtuple("Job", "command log")


def run(jobs, slots, on_end, environment=None, on_wait=lambda: None):
    """Run all the jobs, one in each slot at a time.

    jobs: any iterable; the next one is asked for when it can start.
    slots: lists of words, that the command of the job in the slot ends with: [["-gpu", "0"], ["-gpu", "1"]].
    on_end: called with each Job that has ended and its exit status. on_wait: called while jobs are running.
    environment: a dict of variables to set for them.
    Raises KeyboardInterrupt after SIGINT, SIGTERM or SIGHUP, and what on_end raises; no job is running any more then.
    """
    environment = dict(os.environ, **(environment or {}))
    waiting, free, running = iter(jobs), list(slots), {}
    with _signals_caught() as signals:
        try:
            while True:
                if signals:
                    raise KeyboardInterrupt
                for job in itertools.islice(waiting, len(free)):
                    slot = free.pop(0)
                    running[_start(job, slot, environment)] = job, slot
                if not running:
                    return
                for process in [process for process in running if process.poll() is not None]:
                    job, slot = running.pop(process)
                    free.append(slot)
                    on_end(job, process.returncode)
                on_wait()
                time.sleep(POLL_SECONDS)
        finally:
            for process in running:
                process.kill()
            for process in running:
                process.wait()


def _start(job, slot, environment):
    with open(job.log, "wb") as log:
        return subprocess.Popen(job.command + slot, stdout=log, stderr=subprocess.STDOUT, env=environment,
                                preexec_fn=functools.partial(_depend_on, os.getpid()))


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
