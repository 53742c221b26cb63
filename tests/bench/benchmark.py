"""A benchmark as a command: its table on the terminal, its figures in a file."""
from __future__ import division, print_function

import argparse
import ctypes
import json
import multiprocessing
import os
import platform
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
CHECKOUT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(CHECKOUT, *folder) for folder in
                (("layers",), ("prototxt",), ("tests",))] + [HERE]

import tables
import timing
from caffe_losses.formats.atomic import atomic_write

HIDDEN = argparse.SUPPRESS  # the help of an option that only a benchmark gives itself


def parser_of(doc, rounds):
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help="(default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write figures and machine there, and print nothing")
    return parser


def add_shapes(parser, shapes, what):
    parser.add_argument("shapes", nargs="*", default=shapes, metavar="SHAPE", type=timing.shape_of,
                        help="%s (default: %s)" % (what, ", ".join(map(timing.shape_text, shapes))))


def show(bench, figures, args):
    """Print the figures of a benchmark as its tables, or write them.

    bench: the benchmark's module, with part(figures).
    """
    if args.json:
        write_json(args.json, {"machine": machine(), "figures": figures})
    else:
        print(tables.as_text([bench.part(figures)]))


def keep(path, name, figures):
    """Put the figures of a benchmark among those of others in a file."""
    with open(path) as file:
        results = json.load(file)
    write_json(path, dict(results, **{name: {"machine": machine(), "figures": figures}}))


def write_json(path, content):
    text = json.dumps(content, indent=1, sort_keys=True, separators=(",", ": "))
    write_text(path, text + "\n")


def write_text(path, text):
    with atomic_write(path) as file:
        file.write(text if isinstance(text, bytes) else text.encode("utf-8"))  # Python 2's json gives bytes


def machine():
    """Describe what the times depend on: a dict of words."""
    import numpy as np
    try:
        from caffe import __version__ as caffe_version
    except ImportError:
        caffe_version = "none"
    from caffe_losses.functional import blocks
    return {"cores": multiprocessing.cpu_count(), "cpu": _cpu(), "python": platform.python_version(),
            "numpy": np.__version__, "caffe": caffe_version, "blas": _blas(),
            "OPENBLAS_NUM_THREADS": os.environ.get("OPENBLAS_NUM_THREADS", "not set"),
            "our_threads": blocks.thread_count()}  # at most: what it says, not a second reckoning


def _cpu():
    with open("/proc/cpuinfo") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _blas():
    """The OpenBLAS in this process, or the names of the BLAS libraries."""
    with open("/proc/self/maps") as file:
        paths = sorted(set(line.split()[-1] for line in file if ".so" in line and "blas" in line.lower()))
    for path in paths:
        config = getattr(ctypes.CDLL(path), "openblas_get_config", None)
        if config is not None:
            config.restype = ctypes.c_char_p
            return " ".join(config().decode().split()[:2])
    return ", ".join(os.path.basename(path) for path in paths) or "unknown"
