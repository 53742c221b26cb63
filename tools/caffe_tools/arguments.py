"""Arguments and output that the commands on nets share."""
from __future__ import division, print_function

import argparse
import json
import sys

from caffe_losses.compat import from_bytes, from_display


def read_net(path):
    """The text of a file, one character a byte. Raises IOError, naming it."""
    try:
        with open(path, "rb") as file:
            return from_bytes(file.read())
    except EnvironmentError as error:
        raise IOError("%s: cannot be read: %s" % (path, error.strerror))


def shape(argument):
    """(top, shape) of an argument TOP=N,C,H,W."""
    top, _, numbers = argument.partition("=")
    try:
        sizes = tuple(int(number) for number in numbers.split(","))
    except ValueError:
        sizes = ()
    if not top or not sizes or min(sizes) < 1 or max(sizes) >= 2 ** 31:
        raise argparse.ArgumentTypeError("expected TOP=N,C,H,W with positive whole numbers, got %r" % argument)
    return from_display(top), sizes


def stages(argument):
    """The stages of an argument S,S,..."""
    return tuple(from_display(stage) for stage in (argument or "").split(",") if stage)


def write(content):
    """Write bytes to standard output."""
    sys.stdout.flush()
    getattr(sys.stdout, "buffer", sys.stdout).write(content)


def say(line):
    """Print a line, whatever is in the names of a net."""
    write((line if isinstance(line, bytes) else line.encode("utf-8", "surrogateescape")) + b"\n")


def say_json(value):
    """Print a value as JSON, on Python 2 too, where names may be bytes in no encoding."""
    say(json.dumps(_decoded(value), indent=1, sort_keys=True))


def _decoded(value):
    if isinstance(value, dict):
        return {key: _decoded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
