"""Hold the figures of one training, as its log has them, and judge how it ended."""
from __future__ import division, print_function

import array
import bisect
import collections

# -log(FLT_MIN) and -log(1e-20), where SoftmaxWithLoss and the losses on probabilities end when the true class has
# probability 0.
CLIPPED = (87.3365, 46.0517)

# A test net. text: its prototxt, None if it was not printed in full. file: the name of its file, or None.
TestNet = collections.namedtuple("TestNet", "text file")


class Series(object):
    """A figure by iteration, in the arrays `iterations` and `values`.

    seconds: array, the time at which each was printed, NaN where the log has no times. rates: array, the learning rate
    that was printed last before each. is_loss: whether the figure is part of the loss.
    """

    ARRAYS = ("iterations", "values", "seconds", "rates")

    def __init__(self, is_loss=False):
        for name in self.ARRAYS:
            setattr(self, name, array.array("d"))
        self.is_loss = is_loss

    def __len__(self):
        return len(self.values)

    def append(self, iteration, value, seconds, rate):
        self.iterations.append(iteration)
        self.values.append(value)
        self.seconds.append(seconds)
        self.rates.append(rate)

    def followed_by(self, other, start):
        """Return this series before iteration `start`, continued by another."""
        end, joined = bisect.bisect_left(self.iterations, start), Series(self.is_loss or other.is_loss)
        for name in self.ARRAYS:
            setattr(joined, name, getattr(self, name)[:end] + getattr(other, name))
        return joined

    def points(self):
        """Return a list of (iteration, value)."""
        return list(zip(self.iterations, self.values))

    def best(self, smaller):
        """Return the first (iteration, value) of the best finite value, or None. smaller: whether it is the least."""
        finite = [point for point in self.points() if is_finite(point[1])]
        return min(finite, key=lambda point: point[1] if smaller else -point[1]) if finite else None

    def clipped(self):
        """Return (iteration, value) from which on the values are the same one of CLIPPED to the end, or None."""
        for limit in CLIPPED:
            first = len(self)
            while first and abs(self.values[first - 1] - limit) <= 1e-3:
                first -= 1
            if first < len(self):
                return int(self.iterations[first]), limit
        return None


class Log(object):
    """The figures and the nets of one training.

    solver: {field: list of str}, the fields of one line in the solver's text.
    loss, rate: Series, the smoothed training loss and the learning rate.
    train: {output: Series}. test: {number of the test net: {output: Series}}. An output of several numbers is
        several outputs: name[0], name[1] ...
    train_net: str, its prototxt, None if it was not printed in full. test_nets: {number: TestNet}.
    snapshots: list of file names, in the order of their writing; but first one after which the log ends, as it may
        not be whole.
    resumed: str, the solver state from which the training went on, or None. start: int, the first iteration of the
        last process that trained.
    ended: "done", "stopped" (by a signal), or None: the log ends before the training.
    failed: str, the error that ended it, or None.
    started, printed: the times in seconds at which the training started, and at which its last line was printed, or
        None. notes: list of str, for people.
    """

    # What one log of a training may have in place of another.
    PARTS = ("solver", "loss", "rate", "train", "test", "train_net", "test_nets", "snapshots", "resumed", "ended",
             "failed", "started")

    def __init__(self):
        self.solver, self.test_nets = collections.OrderedDict(), collections.OrderedDict()
        self.loss, self.rate = Series(is_loss=True), Series()
        self.train, self.test = collections.OrderedDict(), collections.OrderedDict()
        self.snapshots, self.notes = [], []
        self.train_net = self.resumed = self.ended = self.failed = self.started = self.printed = None
        self.start = 0

    def outputs(self):
        """Return (name for people, Series) of the training loss and of each output of the nets."""
        named = [("training loss", self.loss)]
        for net, outputs in self.test.items():
            named += [("test %s%s" % (name, " (net #%d)" % net if len(self.test) > 1 else ""), series)
                      for name, series in outputs.items()]
        return named + [("training output %s" % name, series) for name, series in self.train.items()]

    def losses(self):
        """Return (name for people, Series) of each loss."""
        return [(name, series) for name, series in self.outputs() if series.is_loss]

    def iterations(self):
        """Return the (first, last) iteration with a figure, or None."""
        ends = [series.iterations[i] for _, series in self.outputs() if len(series) for i in (0, -1)]
        return (int(min(ends)), int(max(ends))) if ends else None

    def diverged(self):
        """Return the first iteration with a loss that is NaN or infinite, or None."""
        iterations = [iteration for _, series in self.losses() for iteration, value in series.points()
                      if not is_finite(value)]
        return int(min(iterations)) if iterations else None

    def clipped(self):
        """Return (name, iteration, value) of the first loss that is clipped to the end, or None.

        There the true class of every sample has probability 0 in float32: the training has diverged, and Caffe's losses
        hide it. Each output is looked at, as their weighted sum may be any number.
        """
        found = [(name,) + series.clipped() for name, series in self.losses() if series.clipped()]
        return min(found, key=lambda clipped: clipped[1]) if found else None

    def status(self):
        """Return in words how the training ended."""
        diverged, clipped = self.diverged(), self.clipped()
        if diverged is not None:
            return "diverged: NaN or infinity from iteration %d on" % diverged
        if clipped is not None:
            return "diverged: %s is %g from iteration %d on (the true class has probability 0)" % (
                clipped[0], clipped[2], clipped[1])
        if self.failed:
            return "failed: %s" % self.failed
        if self.ended:
            return {"done": "done", "stopped": "stopped early"}[self.ended]
        return "cut off: the log ends before the training" if self.iterations() else "no iteration"


def is_finite(value):
    """Return whether a value is neither NaN nor infinite."""
    return abs(value) < float("inf")
