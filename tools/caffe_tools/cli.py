"""The command line: arguments, users' text, output, and errors in one line with exit status 2.

A command imports this module first: it puts the packages of a checkout on the path.
"""
from __future__ import division, print_function

import argparse
import io
import json
import os
import sys

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


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that keeps the lines of its description, and whose errors are one line."""

    def __init__(self, **options):
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super(Parser, self).__init__(**options)

    def error(self, message):
        self.exit(2, "%s: error: %s (--help shows an example)\n" % (self.prog, one_line(message)))


def run(main):
    """Run a command: an error in its input is one line and exit status 2."""
    try:
        main()
    except (ValueError, EnvironmentError, ImportError, MemoryError) as error:
        sys.stderr.write("%s: error: %s\n" % (_program(), one_line(error) or "not enough memory"))
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def note(message):
    """Print a note to standard error, in one line."""
    sys.stderr.write("%s: note: %s\n" % (_program(), one_line(message)))


def command_line(name, *arguments):
    """Return the line for a shell that runs another of the commands, from the folder of this one."""
    return " ".join(map(quote, (os.path.join(os.path.dirname(sys.argv[0]), name),) + arguments))


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
    with naming(path, "cannot be read: "), io.open(path, "rb") as file:
        return file.read()


def check_is_file(path):
    """Raise IOError for what is no file that can be read from its start to its end."""
    if not os.path.isfile(path):
        raise IOError("%s: %s" % (path or repr(path), "expected a file, got a pipe or a device; write it into a file first"
                                  if os.path.exists(path) and not os.path.isdir(path)
                                  else "cannot be read: no such file"))


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
    sys.stdout.flush()
    getattr(sys.stdout, "buffer", sys.stdout).write(content)


def say(line):
    """Print a line, also one with names in no encoding."""
    write((line if isinstance(line, bytes) else line.encode("utf-8", "surrogateescape")) + b"\n")


def say_json(value, **options):
    """Print a value as JSON, on Python 2 too, where names may be bytes in no encoding."""
    say(json.dumps(_in_unicode(value), sort_keys=True, **options))


def _in_unicode(value):
    if isinstance(value, dict):
        return {key: _in_unicode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_in_unicode(item) for item in value]
    return to_unicode(value)
