"""Run the commands of the examples as a user does, in a terminal, and interrupt them; or run them in this process."""
from __future__ import division, print_function

import contextlib
import io
import os
import runpy
import signal
import sys

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


@contextlib.contextmanager
def modules_of(folder):
    """Import the modules of a folder while this lasts, and not those of other examples that have the same names."""
    names = [name[:-len(".py")] for name in os.listdir(folder) if name.endswith(".py")]
    before = {name: sys.modules[name] for name in names if name in sys.modules}
    for name, module in before.items():
        if os.path.dirname(os.path.abspath(module.__file__)) != folder:
            del sys.modules[name]
    try:
        yield
    finally:
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(before)


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
        with modules_of(os.path.dirname(script)):
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
