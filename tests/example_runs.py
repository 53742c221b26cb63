"""Run the commands of the examples as a user does, in a terminal, and interrupt them; or run them in this process."""
from __future__ import division, print_function

import glob
import io
import os
import runpy
import signal
import subprocess
import sys
import time

import commands
import jobs

PATIENCE = 120  # seconds: a busy machine is slow


def run(script, *arguments, **environment):
    """Run an example's command in a process of its own; return its status, standard output and error."""
    process = start([sys.executable, script] + list(arguments), **environment)
    out, err = process.communicate()
    return process.returncode, out.decode("utf-8"), err.decode("utf-8")


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


class _Output(io.BytesIO):
    """Bytes; on Python 2 a standard output takes either kind of text."""

    def write(self, text):
        return io.BytesIO.write(self, text if isinstance(text, bytes) else text.encode("utf-8"))


def run_here(script, *arguments):
    """Run a command in this process; return its status, standard output and error.

    The caller may have patched what it imports.
    """
    kept = sys.argv, sys.stdout, sys.stderr, sys.path[:], os.getcwd(), dict(os.environ)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    streams = [_Output(), _Output()]
    sys.stdout, sys.stderr = streams if str is bytes else [io.TextIOWrapper(stream, "utf-8") for stream in streams]
    sys.argv = [script] + [str(argument) for argument in arguments]
    sys.path.insert(0, os.path.dirname(script))
    try:
        runpy.run_path(script, run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        texts = [stream.getvalue().decode("utf-8") for stream in streams]
        sys.argv, sys.stdout, sys.stderr, sys.path[:] = kept[:4]
        os.chdir(kept[4])
        os.environ.clear()
        os.environ.update(kept[5])
        signal.signal(signal.SIGINT, handler)
    return (status,) + tuple(texts)


class JobsHere(object):
    """In the place of the module `jobs` where all jobs are commands of tools/: they run in this process."""

    Job = jobs.Job

    @staticmethod
    def run(listed, at_once):
        for job in listed:
            status, _, err = commands.run_main(os.path.basename(job.command[1]), *job.command[2:])
            assert status == 0, (job, err)
