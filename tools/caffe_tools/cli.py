"""The command line: arguments, users' text, output, and errors in one line with exit status 2.

A command imports this module first: it puts the packages of a checkout on the path.
"""
from __future__ import division, print_function

import argparse
import errno
import io
import json
import os
import signal
import sys


def _print_uncaught(kind, error, trace):
    """Print an uncaught error, but end in silence at Ctrl-C, which may come while modules are imported."""
    if issubclass(kind, KeyboardInterrupt):
        os._exit(130)
    sys.__excepthook__(kind, error, trace)


sys.excepthook = _print_uncaught

try:
    from shlex import quote
except ImportError:  # Python 2
    from pipes import quote

# In a checkout the packages lie beside tools/; an installed one has no such folders.
CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(CHECKOUT, root) for root in ("layers", "prototxt")]

from caffe_losses.compat import from_bytes, from_display, to_str, to_unicode
from caffe_losses.errors import naming
from caffe_losses.formats.atomic import atomic_write
from caffe_losses.formats.plain_files import open_plain
from caffe_losses.optional_packages import has_package


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that keeps the lines of its description, and whose errors are one line."""

    def __init__(self, **options):
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super(Parser, self).__init__(**options)

    def error(self, message):
        self.exit(2, "%s: error: %s (--help shows an example)\n" % (self.prog, one_line(message)))


def run(main):
    """Run a command: an error in its input is one line and exit status 2.

    A signal that asks it to end lets it delete its temporary files first.
    """
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:  # nohup ignores it
            signal.signal(number, _end)
    try:
        main()
    except (ValueError, EnvironmentError, ImportError, MemoryError) as error:
        if getattr(error, "errno", None) == errno.EPIPE:  # whoever reads the output has seen enough
            os._exit(128 + getattr(signal, "SIGPIPE", 13))
        sys.stderr.write("%s: error: %s\n" % (_program(), one_line(error) or "not enough memory"))
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _end(number, frame):
    sys.exit(128 + number)


def note(message):
    """Print a note to standard error, in one line."""
    sys.stderr.write("%s: note: %s\n" % (_program(), one_line(message)))


def command_line(name, *arguments):
    """Return the line for a shell that runs another of the commands, from the folder of this one."""
    words = _with_caffe() + [os.path.join(os.path.dirname(sys.argv[0]), name)] + list(arguments)
    return " ".join(map(quote, words))


def _with_caffe():
    """Return the words that bring a command to where a Caffe is, none where it is here."""
    within = os.environ.get("CAFFE_LOSSES_WITHIN")  # set by with_caffe.sh in its root file system
    script = os.path.join(CHECKOUT, "tools", "with_caffe.sh")
    if within or not has_package("caffe") and os.path.exists(script):
        return [within or script]
    return []


def refuse_overwriting(parser, output, inputs):
    """End the command if its output would replace an input, also under another name.

    output: str, or None. inputs: paths, None for each that is not given.
    """
    for path in inputs:
        if None not in (path, output) and _would_replace(output, path):
            parser.error("expected an output that is none of the inputs, got %s, which would replace %s; give another "
                         "name" % (output, path))


def _would_replace(output, path):
    if os.path.exists(output) and os.path.exists(path):
        return os.path.samefile(output, path)
    return os.path.realpath(output) == os.path.realpath(path)


def _program():
    return os.path.basename(sys.argv[0])


def one_line(message):
    """Return a message with its line breaks and runs of blanks as one blank each."""
    return " ".join(str(message).split())


# Input

def read_net(path):
    """Return the text of a file, one character a byte. Raises IOError, naming it."""
    return from_bytes(_read(path))


def read_text(path):
    """Return the text of a user's file, UTF-8 with or without a mark, as str on every Python.

    Raises IOError or ValueError, naming the file.
    """
    try:
        text = _read(path).decode("utf-8-sig")
    except ValueError:
        raise ValueError("%s: expected text in UTF-8, got something else" % path)
    return to_str(io.StringIO(text, newline=None).read())


def _read(path):
    with naming(path, "cannot be read: "), open_plain(path) as file:
        return file.read()


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
