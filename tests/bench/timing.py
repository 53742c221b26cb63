"""Times of functions, taken in turn, and what is compared in them."""
from __future__ import division, print_function

import collections
import contextlib
import ctypes
import os
import time
import timeit

import numpy as np

SECONDS = .01  # a measurement lasts at least as long, so that the clock's own time does not count
TICK = 1e-6  # of Python 2's clock
SLOW, FEW = .3, 3  # what takes longer than SLOW seconds is measured in FEW rounds only

# How many times as long as ours the other takes: above 1, ours is faster. what: the layer or command. data: on which.
# against: what ours is compared with. spread: [first quartile, median, third quartile] over the rounds. ours: the
# microseconds of ours.
Ratio = collections.namedtuple("Ratio", "what data against spread ours")


def in_turn(runs, rounds, variables=None, lead=0):
    """The microseconds of a call of each of several functions, one after the other, round by round.

    runs: {name: function}. variables: {name: {variable of the environment: its value while that function runs}}.
    lead: seconds that each runs before it is measured, in which the threads of the one before stop waiting for more.
    Returns {name: list, one for each round}.
    """
    variables = variables or {}

    def seconds_of(name, number):
        with environment(variables.get(name, {})):
            started = time.time()
            while time.time() - started < lead:
                runs[name]()
            return timeit.timeit(runs[name], number=number)

    seconds = {name: min(seconds_of(name, 1), seconds_of(name, 1)) for name in runs}
    times = {name: [] for name in runs}
    for i in range(rounds):
        for name in runs:
            if i < FEW or seconds[name] < SLOW:
                number = max(1, int(SECONDS / max(TICK, seconds[name])))
                times[name].append(seconds_of(name, number) / number * 1e6)
    return times


@contextlib.contextmanager
def environment(variables):
    """With these variables of the environment, and the former ones afterwards."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    threads = _set_blas_threads(variables.get("OPENBLAS_NUM_THREADS"))
    try:
        yield
    finally:
        _set_blas_threads(threads)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _set_blas_threads(number):
    """Have the OpenBLAS in this process, which read its variable at its start, use that many threads, if any.

    Returns how many it used before, or None.
    """
    blas = openblas() if number else None
    if blas is None:
        return None
    before = blas.openblas_get_num_threads()
    blas.openblas_set_num_threads(int(number))
    return before


def openblas():
    """The OpenBLAS in this process as a ctypes library, or None."""
    with open("/proc/self/maps") as file:
        paths = sorted(set(line.split()[-1] for line in file if ".so" in line and "openblas" in line.lower()))
    libraries = [ctypes.CDLL(path) for path in paths]
    return next((library for library in libraries if hasattr(library, "openblas_get_num_threads")), None)


def quartiles(values):
    """[first quartile, median, third quartile], of four digits: more would be noise."""
    return [rounded(value) for value in np.percentile(values, [25, 50, 75])]


def rounded(value):
    """A number that JSON can hold, of four digits; None stays."""
    return None if value is None else float("%.4g" % value)


def ratios(times, ours="ours", others=None):
    """{name: quartiles of the rounds' ratios, its time / that of ours}, for each of the others."""
    others = [name for name in times if name != ours] if others is None else others
    # zip: a slow one has fewer rounds.
    return {name: quartiles([other / own for other, own in zip(times[name], times[ours])]) for name in others}


def pass_through(net, first, last=None, backward=True):
    """A function that runs a net from one layer to another, forward and then backward.

    last: None for that one layer alone.
    """
    names = list(net._layer_names)
    start = names.index(first)
    end = start if last is None else names.index(last)

    def run():
        net._forward(start, end)
        if backward:
            net._backward(end, start)
    return run


def peak_memory(run):
    """Bytes that a run has allocated at its peak, or None on Python 2."""
    try:
        import tracemalloc
    except ImportError:
        return None
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def parameter_layer(name, shape):
    """A layer whose top is a blob that asks for gradients."""
    return 'layer { name: "%s" type: "Parameter" top: "%s" parameter_param { shape { %s } } }\n' % (
        name, name, " ".join("dim: %d" % n for n in shape))


# In words

def shape_of(text):
    """An argparse type: 64x10."""
    return tuple(int(n) for n in text.split("x"))


def shape_text(shape):
    return "x".join(map(str, shape))


def ratio_cell(spread):
    """A ratio with its quartiles; "-" for what was not measured."""
    return "-" if spread is None else "%s (%s to %s)" % tuple(number(spread[i]) for i in (1, 0, 2))


def time_cell(spread):
    return "-" if spread is None else number(spread[1])


def number(value, form="%.3g"):
    """Three digits, and those before the point all; "-" for None."""
    if value is None:
        return "-"
    return "%.0f" % value if value >= 1000 else form % value


def percent(share):
    return "%.2g %%" % (100 * share) if share < .1 else "%.0f %%" % (100 * share)


def findings(found):
    """Who is faster, in a sentence for each competitor. found: list of Ratio."""
    by_competitor = collections.OrderedDict()
    for ratio in found:
        by_competitor.setdefault(ratio.against, []).append(ratio)
    for against, group in by_competitor.items():
        parts = []
        for word, some in (("faster", [r for r in group if r.spread[1] > 1]),
                           ("as fast", [r for r in group if r.spread[1] == 1]),
                           ("slower", [r for r in group if r.spread[1] < 1])):
            if some:
                parts.append("%s in %d of %d comparisons (%s)" % (word, len(some), len(group), _range(some)))
        yield "Against %s ours is %s." % (against, ", ".join(parts))


def _range(group):
    medians = sorted(ratio.spread[1] for ratio in group)
    low, high = number(medians[0]), number(medians[-1])
    return low if low == high else "%s to %s" % (low, high)
