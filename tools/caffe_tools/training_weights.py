"""Class weights to decide with: the user's, or balanced ones by the labels that a net is trained with."""
from __future__ import division, print_function

import contextlib
import os

from caffe_losses.compat import to_display
from caffe_losses.matrices import class_weights
from caffe_prototxt.data.labels import per_class_of_several
from caffe_prototxt.data.net_source import net_source
from caffe_prototxt.training.net_labels import count_net
from caffe_tools.cli import one_line

SECONDS = 30  # that counting may take
MOST_COUNTS = 20  # classes whose counts are an option on a command line


class TrainingWeights(object):
    """The class weights of the nets of a report.

    given: class_files.Numbers of --class-weights, or None. words: str, that option's argument.
    label: the blob of labels, str, or None: that of the net's last loss. python: bool, whether Python layers may run.
    caffe: caffe_process.Caffe. seconds: float, the time that counting may take; None: any.
    """

    def __init__(self, given, words, label, python, caffe, seconds=SECONDS):
        self.label, self.python, self.caffe, self.seconds = label, python, caffe, seconds
        self._by_net, self._given = {}, None
        if given is not None:
            weights = class_weights.check_weights(given)
            self._given = _found(weights, "--class-weights " + words, ["--class-weights", words])

    def of(self, net, folder):
        """Return those of a net, a dict: weights, counts, source, missing (the reason why there are none) and options.

        net: (file, its name in messages), or None: unknown. folder: str, where caffe ran.
        weights: C numbers, or fewer where the last classes have no training label, or None. counts: of their classes,
        or None. source: str. options: those of make_deploy.py that give the same weights.
        """
        if self._given is not None or net is None:
            return self._given or _none("the log shows no net with the training data, and names none")
        path, name = net
        with open(path, "rb") as file:
            key = folder, file.read()
        if key not in self._by_net:
            try:
                with _inside(folder):
                    self._by_net[key] = self._counted(os.path.abspath(path), folder)
            except (ValueError, EnvironmentError, ImportError) as error:
                reason = one_line(error).partition(" (--labels")[0]  # an option of make_h.py
                self._by_net[key] = _none(reason.replace(path, name))
        return self._by_net[key]

    def of_all(self, net, folder):
        """Return those of a net, as `of` does, and take them for those of every other one."""
        self._given = self.of(net, folder)
        return self._given

    def _counted(self, path, folder):
        data = net_source(path, self.label, last=True)
        tally = count_net(self.caffe, data, None, self.python, self.seconds, self.caffe.count_source)
        if data.whole and not tally.complete:
            return _none("counting the labels of %s takes more than %d s" % (tally.source, self.seconds))
        counts, _ = per_class_of_several(tally, data.n_classes, data.ignore_label)
        weights = class_weights.class_weights(counts, "balanced", scale="sample")
        return _found(weights, "%d %ss of %s" % (counts.sum(), tally.unit, to_display(tally.source)),
                      _options(counts, data, folder), counts)


def from_here(path):
    """Return a path as short as it is from the current folder."""
    start = os.path.join(os.getcwd(), "")
    return path[len(start):] if path.startswith(start) else path


def _options(counts, data, folder):
    """Return the options of make_deploy.py that make the weights of the counts of a net_source.NetSource."""
    whole = data.whole
    if len(counts) <= MOST_COUNTS or not whole or whole.dataset != "label" or whole.root_folder:
        return ["--counts", ",".join(map(str, counts.tolist()))]
    ignored = [] if data.ignore_label is None else ["--ignore-label=%d" % data.ignore_label]
    return ["--labels", from_here(os.path.join(folder, whole.source))] + ["--pixels"] * whole.pixels + ignored


@contextlib.contextmanager
def _inside(folder):
    """Work in a folder, to which the names in a net are relative."""
    here = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)


def _found(weights, source, options, counts=None):
    return {"weights": weights.tolist(), "counts": None if counts is None else counts.tolist(), "source": source,
            "missing": None, "options": options}


def _none(reason):
    return {"weights": None, "counts": None, "source": None, "missing": reason, "options": []}
