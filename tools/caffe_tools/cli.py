"""The command line: arguments, users' text, output, and errors in one line with exit status 2.

A command imports this module first: it puts the packages of a checkout on the path.
"""
from __future__ import division, print_function

import os
import signal
import sys


def _end_at_once(*_):
    os._exit(130)


# Ctrl-C while modules are imported: there is nothing to clear up, and some would make an ImportError of it.
if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
    signal.signal(signal.SIGINT, _end_at_once)

import argparse
import contextlib
import errno
import gc
import io
import json

try:
    from shlex import quote
except ImportError:  # Python 2
    from pipes import quote

# In a checkout the packages lie beside tools/; an installed one has no such folders.
CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(CHECKOUT, root) for root in ("layers", "prototxt")]

from caffe_losses import __version__, optional_packages
from caffe_losses.compat import from_bytes, from_display, to_bytes, to_str, to_unicode
from caffe_losses.errors import naming
from caffe_losses.formats.atomic import atomic_write
from caffe_losses.formats.plain_files import open_plain
from caffe_losses.optional_packages import has_package


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that keeps the lines of its description, and whose errors are one line."""

    def __init__(self, **options):
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super(Parser, self).__init__(**options)
        self.add_argument("--version", action="version", version="%(prog)s (caffe-losses) " + __version__)

    def error(self, message):
        self.exit(2, "%s: error: %s (--help shows an example)\n" % (self.prog, one_line(message)))


def run(main):
    """Run a command: an error in its input is one line and exit status 2."""
    if signal.getsignal(signal.SIGINT) == _end_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.disable()  # a large net is a million objects that stay, among which to look for garbage takes long
    with _signals_as_exits():
        try:
            try:
                if os.pathsep in CHECKOUT and os.path.isdir(os.path.join(CHECKOUT, "layers")):
                    raise ValueError("expected a checkout without %r in its path, which PYTHONPATH cannot hold, got "
                                     "%s; move or rename the folder" % (os.pathsep, CHECKOUT))
                main()
            finally:
                getattr(gc, "freeze", int)()  # nor when Python ends; before 3.7 there is none
                sys.stdout.flush()  # now: when Python ends it could only print a traceback
        except KeyboardInterrupt:
            status = 130
        except (ValueError, EnvironmentError, ImportError, MemoryError) as error:
            status = _report(error)
        else:
            return
        try:
            sys.stdout.flush()
        except EnvironmentError:  # when Python ends it would try again to write what was printed
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(status)


def _report(error):
    """Print an error in one line to standard error. Returns the exit status."""
    number = getattr(error, "errno", None)
    if number == errno.EPIPE:  # whoever reads our output has enough
        return 141  # as of SIGPIPE, which Windows has not
    message = optional_packages.explain(error) if isinstance(error, ImportError) else error
    if number in (errno.EBADF, errno.ENOSPC):  # errors of files have their names instead
        message = "standard output: cannot be written: " + error.strerror
    try:
        sys.stderr.write("%s: error: %s\n" % (_program(), one_line(message) or "not enough memory"))
    except EnvironmentError:  # nobody reads that either
        pass
    return 2


def _report_import(kind, error, trace):
    """End the program for a package that is missing before `run`, while it imports: as `run` does."""
    if issubclass(kind, ImportError):
        sys.exit(_report(error))
    sys.__excepthook__(kind, error, trace)


def _open_standard_files():
    """Open those of the three standard files that are closed: the next file opened would be taken for one of them."""
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):  # output then is an error
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)
    for number, name in enumerate(("stdout", "stderr"), 1):
        if getattr(sys, name) is None:
            setattr(sys, name, io.open(number, "w", closefd=False))


@contextlib.contextmanager
def _signals_as_exits():
    """Have SIGTERM and SIGHUP end the command as an error does, so that no temporary file is left."""
    def end(number, _):
        for each in handlers:
            signal.signal(each, signal.SIG_IGN)  # a second one would end the clearing up
        sys.exit(128 + number)

    handlers = {}
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            handlers[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def note(message):
    """Print a note to standard error, in one line."""
    sys.stderr.write("%s: note: %s\n" % (_program(), one_line(message)))


def command_line(name, *arguments):
    """Return the line for a shell that runs another of the commands, from the folder of this one."""
    return _line(os.path.join(os.path.dirname(sys.argv[0]), name), *arguments)


def caffe_line(*arguments):
    """Return the line for a shell that runs the program caffe."""
    return _line("caffe", *arguments)


def _line(*words):
    words = list(words)
    within = os.environ.get("CAFFE_LOSSES_WITHIN")  # set by with_caffe.sh in its root file system
    script = os.path.join(CHECKOUT, "tools", "with_caffe.sh")
    if within or not has_package("caffe") and os.path.exists(script):
        words.insert(0, within or script)
    return " ".join(map(quote, words))


def refuse_overwriting(parser, output, inputs):
    """End the command if its output is one of its inputs. inputs: paths, or None for an input that is not there."""
    for name in inputs:
        if output is not None and name is not None and _same_file(output, name):
            parser.error("-o %s: expected a file that is not read, got the input %s; choose another name"
                         % (output, name))


def _same_file(first, second):
    if os.path.exists(first) and os.path.exists(second):
        return os.path.samefile(first, second)
    return os.path.realpath(first) == os.path.realpath(second)


def _program():
    return os.path.basename(sys.argv[0])


def one_line(message):
    """Return a message with its line breaks and runs of blanks as one blank each."""
    return " ".join(str(message).split())


# Input

def read_net(path):
    """Return the text of a file, one character a byte. Raises IOError, naming it."""
    with naming(path, "cannot be read: "), open_plain(path) as file:
        return from_bytes(file.read())


def read_text(path):
    """Return the text of a user's file, UTF-8 with or without a mark, as str on every Python.

    Raises IOError or ValueError, naming the file.
    """
    try:
        text = to_bytes(read_net(path)).decode("utf-8-sig")
    except ValueError:
        raise ValueError("%s: expected text in UTF-8, got something else" % path)
    return to_str(io.StringIO(text, newline=None).read())


def check_is_file(path):
    """Raise IOError for what is no file that can be read from its start to its end."""
    with naming(path, "cannot be read: "):
        open_plain(path).close()


def shape(argument):
    """Return (top, shape) of an argument TOP=N,C,H,W."""
    top, _, numbers = argument.partition("=")
    try:
        sizes = tuple(int(number) for number in numbers.split(","))
    except ValueError:
        sizes = ()
    if not top or not sizes or min(sizes) < 1 or max(sizes) >= 2 ** 31:
        raise argparse.ArgumentTypeError("expected TOP=N,C,H,W with positive whole numbers, got %r" % argument)
    return from_display(top), sizes


def stages(argument):
    """Return the stages of an argument S,S,..."""
    return tuple(from_display(stage) for stage in (argument or "").split(",") if stage)


# Output

def write(content, path=None):
    """Write bytes to a file, or without a path to standard output."""
    if path is not None:
        with atomic_write(path) as file:
            file.write(content)
        return
    if sys.stdout is None:
        raise IOError("standard output: cannot be written: it is closed")
    try:
        sys.stdout.flush()
        out = getattr(sys.stdout, "buffer", sys.stdout)
        out.write(content)
        out.flush()
    except EnvironmentError as error:
        if error.errno == errno.EPIPE:
            raise
        raise IOError("standard output: cannot be written: %s" % (error.strerror or error))


def say(line):
    """Print a line, also one with names in no encoding."""
    write((line if isinstance(line, bytes) else line.encode("utf-8", "surrogateescape")) + b"\n")


def say_table(rows, left=(0,)):
    """Print rows of cells in columns. left: the columns that are not aligned to the right."""
    widths = [max(len(to_unicode(cell)) for cell in column) for column in zip(*rows)]
    for row in rows:
        pads = [" " * (width - len(to_unicode(cell))) for cell, width in zip(row, widths)]
        say("  ".join(cell + pad if i in left else pad + cell for i, (cell, pad) in enumerate(zip(row, pads))).rstrip())


def say_json(value, **options):
    """Print a value as JSON, on Python 2 too, where names may be bytes in no encoding."""
    say(json.dumps(_in_unicode(value), sort_keys=True, **options))


def _in_unicode(value):
    if isinstance(value, dict):
        return {key: _in_unicode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_in_unicode(item) for item in value]
    return to_unicode(value)


sys.excepthook = _report_import
_open_standard_files()
optional_packages.stand_in("numpy", "matrices")
