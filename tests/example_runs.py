"""The commands of the examples as a user runs them: in a terminal, and interrupted."""
from __future__ import division, print_function

import glob
import io
import os
import signal
import subprocess
import sys
import time

PATIENCE = 120  # seconds: a busy machine is slow


def start(script, *arguments, **environment):
    """The process of an example's command, in a group of its own as a terminal would give it one."""
    return subprocess.Popen([sys.executable, script] + list(arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env=dict(os.environ, **environment), preexec_fn=os.setsid)


def finish(process):
    """Its status, standard output and standard error."""
    out, err = process.communicate()
    return process.returncode, out.decode("utf-8"), err.decode("utf-8")


def interrupt(process, when):
    """Ctrl-C, as soon as when() is true."""
    deadline = time.time() + PATIENCE
    while not when():
        assert process.poll() is None and time.time() < deadline
        time.sleep(.02)
    os.killpg(process.pid, signal.SIGINT)


def running_with(word):
    """The command lines of the processes that have a word in theirs."""
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
