"""Start processes as a terminal does, wait for them, and find those that run."""
from __future__ import division, print_function

import glob
import io
import os
import signal
import subprocess
import time

PATIENCE = 120  # seconds: a busy machine is slow


def start(command, **environment):
    """Start a command as a terminal would: in a group of its own that heeds Ctrl-C."""
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env=dict(os.environ, **environment), preexec_fn=os.setsid)


def interrupt(process, when):
    """Send Ctrl-C as soon as when() is true."""
    wait_until(when, process)
    os.killpg(process.pid, signal.SIGINT)


def wait_until(condition, process=None):
    deadline = time.time() + PATIENCE
    while not condition():
        assert time.time() < deadline and (process is None or process.poll() is None)
        time.sleep(.02)


def running_with(word):
    """Return the command lines of the processes that have a word in theirs."""
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with io.open(path, "rb") as file:
                command = file.read().decode("utf-8", "replace").split("\0")
        except EnvironmentError:
            continue  # it has ended
        if any(word in argument for argument in command):
            found.append(command)
    return found
