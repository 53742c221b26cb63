"""Run the commands of the examples as a user does, in a terminal, and interrupt them; or run them in this process."""
from __future__ import division, print_function

import io
import os
import runpy
import signal
import sys

import commands
import jobs
from processes import interrupt, running_with, start, wait_until  # noqa: F401

def run(script, *arguments, **environment):
    """Run an example's command in a process of its own; return its status, standard output and error."""
    process = start([sys.executable, script] + list(arguments), **environment)
    out, err = process.communicate()
    return process.returncode, out.decode("utf-8"), err.decode("utf-8")


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
