"""Give every example a folder of its own, nets trained by `caffe train`, and errors in one line."""
from __future__ import division, print_function

import argparse
import contextlib
import fcntl
import multiprocessing
import os
import sys

try:
    from shlex import quote
except ImportError:  # Python 2
    from pipes import quote

from caffe_losses.formats.atomic import atomic_write
from caffe_prototxt.net.losses import is_classic
from google.protobuf import text_format
from tqdm import tqdm

import data
import jobs

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
N_CORES = multiprocessing.cpu_count()
# Side by side, runs of one thread each are faster than one after the other. The logs have all.
FOR_CAFFE = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "GLOG_minloglevel": "0",
             "GLOG_logtostderr": "1"}  # and no second log in /tmp


class Folder(object):
    """Hold the folder that everything is written to: folder("nets", "a.log") is a path inside."""

    def __init__(self, path):
        inside = os.path.relpath(path)
        self.path = path if inside.startswith(os.pardir) else inside

    def __call__(self, *parts):
        path = os.path.join(self.path, *parts)
        if not os.path.isdir(os.path.dirname(path)):
            os.makedirs(os.path.dirname(path))
        return path


class FolderInUse(Exception):
    """Report another run that writes into the folder."""


@contextlib.contextmanager
def alone_in(folder):
    """Keep other runs from writing into the folder, as long as this lasts."""
    with open(folder(".lock"), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except EnvironmentError:
            raise FolderInUse("another run is writing into %s; --output sets another folder"
                              % folder.path)
        yield


def check_caffe():
    """Raise ValueError if InfogainLoss takes probabilities in this Caffe: the nets of the examples give it scores."""
    if is_classic():
        raise ValueError("expected a Caffe of April 2017 or later, whose InfogainLoss takes scores, got one whose "
                         "InfogainLoss takes probabilities; tools/with_caffe.sh runs this in Debian 11's Caffe where "
                         "none is on the PATH")


def carry_out(run, options, again="start afresh"):
    """Call run(options, folder) for the folder options.output. Returns the exit status.

    again: what a second run does after one that was stopped.
    """
    # What is inside the checkout is named from its top, so that the commands printed
    # and the nets made are the same wherever the checkout is.
    os.chdir(ROOT)
    program = os.path.basename(sys.argv[0])
    try:
        folder = Folder(options.output)
        with alone_in(folder):
            run(options, folder)
    except KeyboardInterrupt:
        sys.stderr.write("\n%s: stopped; run it again to %s\n" % (program, again))
        return 130
    except (data.DataError, jobs.JobFailed, FolderInUse, EnvironmentError) as error:
        sys.stderr.write("%s: error: %s\n" % (program, error))
        return 2
    return 0


def add_options(parser, here, seeds):
    """Add the options of every example. here: its folder. seeds: the help of --seeds."""
    parser.add_argument("--seeds", type=_at_least_2, metavar="N", help=seeds)
    parser.add_argument("--output", metavar="DIR", type=os.path.abspath, default=os.path.join(here, "output"),
                        help="folder for all that is made (default: output/ beside this script)")
    parser.add_argument("--gpu", type=int, metavar="N", help="train on GPU N (default: on the CPU)")
    parser.add_argument("--quick", action="store_true",
                        help="few images, iterations and seeds: to see that it runs")


def _at_least_2(text):
    """Return a number of seeds that has a spread: a type of argparse."""
    try:
        if int(text) >= 2:
            return int(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError("expected a whole number of at least 2, got %r" % text)


def train(runs, gpu=None):
    """Train every net with `caffe train`, as many at a time as there are cores.

    runs: objects with solver and log, paths.
    """
    print("  tools/with_caffe.sh %s\n  and %d more, %d at a time"
          % (" ".join(map(quote, command(runs[0].solver, gpu))), len(runs) - 1, N_CORES))
    sys.stdout.flush()
    with tqdm(total=len(runs), unit="net", disable=None) as bar:  # disabled but on a terminal
        jobs.run([jobs.Job(command(run.solver, gpu), run.log) for run in runs], N_CORES, FOR_CAFFE,
                 on_end=lambda job: bar.update())


def command(solver, gpu=None):
    """Return the `caffe train` of a solver, a path, as a list of words."""
    return ["caffe", "train", "-solver", solver] + ([] if gpu is None else ["-gpu", str(gpu)])


def write_message(path, message):
    write_text(path, text_format.MessageToString(message))


def write_text(path, text):
    if not isinstance(text, bytes):  # Python 2's json gives bytes
        text = text.encode("utf-8")
    with atomic_write(path) as file:
        file.write(text)
