"""Compare the remedies on real data: four data sets of R's package mlbench, and a net with one hidden layer.

Half of each data set is for training, half for test, the same for all. Settings are chosen on a fifth of the training
half that is held out. Every net is trained by `caffe train`, and kept: a second run goes on from there.
"""
from __future__ import division, print_function

import collections
import io
import itertools
import json
import multiprocessing
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(1, os.path.join(os.path.dirname(os.path.dirname(HERE)), "tools"))
os.environ.setdefault("GLOG_minloglevel", "2")  # or every net evaluated would be printed layer by layer

from caffe_tools import cli  # first, as it reports the packages that are missing

import caffe
import h5py
import numpy as np

import rda
import real_report
from caffe_losses.evaluation import decisions, metrics
from caffe_losses.formats.matrix_files import write_matrix
from caffe_losses.matrices.class_weights import class_weights
from caffe_losses.matrices.costs import shuffled_costs
from caffe_losses.matrices.gains import equal_smoothing, gain_from_costs, smoothed_identity
from caffe_tools.compare.held_out import EACH, hold_out
from caffe_tools.compare.trainings import Trainings
from caffe_tools.compare.variants import Change

NAMES = ["Shuttle", "Satellite", "Vehicle", "LetterRecognition"]
# Costs of mistakes: those of near classes, and FAR for all others. Grey soils differ by how damp they are.
NEAR = {"Satellite": [("grey soil", "damp grey soil", 1), ("damp grey soil", "very damp grey soil", 1),
                      ("grey soil", "very damp grey soil", 2), ("cotton crop", "vegetation stubble", 1)],
        "Vehicle": [("opel", "saab", 1)]}
FAR = 3
RATES = [1, .25, .06, .015, .004]  # times the base_lr of the solver
N_CHOOSING = 5  # seeds by which settings are chosen
AT_ITS_RATE = ", at the rate of SoftmaxWithLoss"
DECAY = .0005
DECAYED = "Shuttle"  # the data on which it is tried

# kind, values: of what the loss is made; the value is chosen. like: title of the one whose setting it takes, or None.
Remedy = collections.namedtuple("Remedy", "title kind values like")
NONE = Remedy("SoftmaxWithLoss", "none", [0], None)
WEIGHTS = [Remedy("class weights", "power", [1], None),
           Remedy("square roots of class weights", "power", [.5], None),
           Remedy("effective numbers", "effective", [.999], None),
           Remedy("class weights, limited to a factor of 20", "limit", [20], None)]
ADJUSTMENT = Remedy("logit adjustment", "adjust", [.5, 1, 1.5], None)
RARE = [NONE] + WEIGHTS + [Remedy("class weights, shuffled", "shuffled weights", [1], "class weights"), ADJUSTMENT]
H = Remedy("H from distances", "tau", [.1, .2, .3, .75], None)
COSTS = [NONE, H, Remedy("label smoothing", "smoothing", [], H.title),
         Remedy("H from distances, classes shuffled", "shuffled costs", [], H.title)]
CHEAPEST = Remedy("least expected cost", "none", [0], None)

Setting = collections.namedtuple("Setting", "value rate")


def main():
    parser = cli.Parser(description=__doc__, epilog="example: tools/with_caffe.sh examples/study/real_data.py --jobs 2")
    parser.add_argument("--seeds", type=int, default=10, metavar="N", help="train every net with N seeds (default: 10)")
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count(), metavar="N",
                        help="trainings at a time (default: as many as cores)")
    parser.add_argument("-o", "--output", default=os.path.join(HERE, "output", "real"), metavar="DIR", help="where all "
                        "goes (default: output/real beside this script)")
    options = parser.parse_args()
    found, output = [], os.path.abspath(options.output)
    for name in NAMES:
        data = read(name)
        _in_folder(os.path.join(output, name))
        print(name)
        found.append(DataSet(name, data, options.seeds, options.jobs).compare())
        print("%s took %.0f s" % (name, found[-1]["seconds"]))
    results = {"seeds": options.seeds, "data": found, "decay": DECAY}
    for name, text in (("real_results.json", json.dumps(results, indent=1, sort_keys=True)),
                       ("REAL.md", real_report.as_markdown(results, json.loads(_read(of_study()))))):
        cli.write(text.encode("utf-8"), os.path.join(output, name))


def of_study():
    """Return the name of the results of study.py: of those that it wrote here, or else of those committed."""
    made = os.path.join("output", "results.json")
    return made if os.path.exists(os.path.join(HERE, made)) else "results.json"


def _in_folder(folder):
    """Make a folder and go there: sources in nets and lists of data are relative."""
    for part in ("trained", "matrices", "held_out"):
        if not os.path.isdir(os.path.join(folder, part)):
            os.makedirs(os.path.join(folder, part))
    os.chdir(folder)


def _read(name):
    with io.open(os.path.join(HERE, name), encoding="utf-8") as file:
        return str(file.read())


# Data

def read(name):
    """Return the features of a data set, N x M, the labels and the names of the classes. Raises IOError, ValueError."""
    path = os.path.join(os.environ.get("MLBENCH", "/usr/lib/R/site-library/mlbench/data"), name + ".rda")
    if not os.path.exists(path):
        raise IOError("%s: expected data of R's package mlbench, got none; install Debian's r-cran-mlbench, or set "
                      "MLBENCH to the folder with its .rda files" % path)
    frame = rda.read_frame(path)
    (factor,) = [column for column in frame if isinstance(frame[column], tuple)]
    labels, classes = frame.pop(factor)
    return np.stack([frame[column] for column in sorted(frame)], axis=1), labels, classes


def distances(classes, near):
    """Return D. near: (class, class, cost) for those that are not FAR from each other."""
    D = FAR * (1 - np.eye(len(classes)))
    for one, other, cost in near:
        pair = [classes.index(one), classes.index(other)]
        D[pair, pair[::-1]] = cost
    return D


def write_data(x, labels, n_seeds):
    """Write the halves of a data set for HDF5Data, the training half in another order for each seed.

    Features are standardised by the training half. Returns the numbers of samples of each class, of both halves.
    """
    order = np.random.RandomState(0).permutation(len(labels))
    train, test = [order[half] for half in decisions.halves(labels[order], len(order))[0]]
    x = (x - x[train].mean(axis=0)) / x[train].std(axis=0)
    for name, rows in [("test", test)] + [("train_seed%d" % seed, np.random.RandomState(seed).permutation(train))
                                          for seed in range(n_seeds)]:
        if not os.path.exists(name + ".txt"):
            with h5py.File(name + ".h5", "w") as file:
                file["data"], file["label"] = x[rows].astype(np.float32), labels[rows].astype(np.float32)
            cli.write((name + ".h5\n").encode("ascii"), name + ".txt")
    return np.bincount(labels[train]), np.bincount(labels[test])


# Losses

def weights_of(kind, value, counts, seed=0):
    """Return class weights by which the average sample weighs 1."""
    if kind == "effective":
        weights = class_weights(counts, "effective_number", beta=value)
    else:
        weights = class_weights(counts, "balanced", power=value if kind == "power" else 1)
    if kind == "limit":
        weights = np.minimum(weights, value * weights.min())
    if kind == "shuffled weights":
        weights = np.random.RandomState(seed).permutation(weights)
    return weights * counts.sum() / (weights * counts).sum()


def matrix_of(kind, value, counts, D, seed):
    """Return the H of a remedy."""
    if kind not in ("tau", "smoothing", "shuffled costs"):
        return np.diag(weights_of(kind, value, counts, seed))
    gain = gain_from_costs(shuffled_costs(D, seed) if kind == "shuffled costs" else D, tau=value)
    return smoothed_identity(len(D), equal_smoothing(gain)) if kind == "smoothing" else gain


class DataSet(object):
    """Compare the remedies on a data set, in the current folder. data: of read."""

    def __init__(self, name, data, n_seeds, n_jobs):
        self.name, self.classes, self.seeds, self.tried, self.started = name, data[2], range(n_seeds), [], time.time()
        self.D = distances(self.classes, NEAR[name]) if name in NEAR else None
        self.counts, self.n_test = write_data(data[0], data[1], max(n_seeds, N_CHOOSING))
        net = _read("real_train_val.prototxt").replace("num_output: 7 ", "num_output: %d " % len(self.classes))
        cli.write(net.encode("ascii"), "train_val.prototxt")
        self.change, solver = Change(net, [], False, None), _read("real_solver.prototxt")
        self.trainings, self.with_decay = [Trainings(solver + more, "trained", None, [[]] * n_jobs, False)
                                           for more in ("", "weight_decay: %g\n" % DECAY)]

    def compare(self):
        """Train and evaluate all remedies. Returns what there is to report, a dict that JSON can hold."""
        return {"name": self.name, "classes": self.classes, "train": self.counts.tolist(), "test": self.n_test.tolist(),
                "D": None if self.D is None else self.D.tolist(), "rare": self._rare(),
                "costs": [] if self.D is None else self._costs(), "tried": self.tried,
                "seconds": time.time() - self.started}

    def _rare(self):
        chosen, held_out = self._chosen(RARE, "recall")
        found = self._trained(RARE, chosen, self.trainings)
        at_its_rate = {title: chosen[title]._replace(rate=chosen[NONE.title].rate) for title in chosen}
        found += self._trained(WEIGHTS[:2] + [ADJUSTMENT], at_its_rate, self.trainings, AT_ITS_RATE)
        if self.name == DECAYED:
            found += self._trained([NONE, WEIGHTS[0], ADJUSTMENT], chosen, self.with_decay, ", weight decay")
        return found + self._at_test_time(WEIGHTS + [ADJUSTMENT._replace(kind="power")], held_out, "recall")

    def _costs(self):
        chosen, held_out = self._chosen(COSTS, "cost")
        return self._trained(COSTS, chosen, self.trainings) + self._at_test_time([CHEAPEST], held_out, "cost")

    def _chosen(self, remedies, metric):
        """Choose settings by the mean of a metric on held-out data.

        Returns ({title: Setting}, {rate: (scores, labels) of SoftmaxWithLoss on that data for each seed}).
        """
        tried = collections.OrderedDict(((remedy.title, Setting(*pair)), [
            self._training(remedy, Setting(*pair), seed, held_out=True) for seed in range(N_CHOOSING)])
            for remedy in remedies for pair in itertools.product(remedy.values, RATES) if remedy.like is None)
        _train(self.trainings, sum(tried.values(), []))
        outputs = {key: [_outputs(training, self.counts.sum() // EACH) for training in tried[key]] for key in tried}
        chosen = {}
        for remedy in remedies:
            chosen[remedy.title] = chosen[remedy.like] if remedy.like else self._best(remedy.title, metric, {
                setting: self._decided(outputs[title, setting]) for title, setting in tried if title == remedy.title})
        return chosen, {rate: outputs[NONE.title, Setting(0, rate)] for rate in RATES}

    def _best(self, title, metric, scores):
        """Return the Setting of the best mean of a metric. scores: {Setting: as of _decided}."""
        means = {setting: np.mean(of_setting[metric]) for setting, of_setting in scores.items()}
        self.tried += [[metric, title, setting.value, setting.rate, means[setting]] for setting in sorted(means)]
        return (min if metric == "cost" else max)(sorted(means), key=means.get)

    def _at_test_time(self, remedies, held_out, metric):
        """Decide by the scores of SoftmaxWithLoss, calibrated or not, its learning rate chosen for that decision.

        held_out: as of _chosen. Returns what that brings.
        """
        fitted = {rate: decisions.fit_temperature(*map(np.concatenate, zip(*held_out[rate]))) for rate in RATES}
        found = []
        for words, remedy in itertools.product(("", ", calibrated"), remedies):
            title, T = "%s at test time%s" % (remedy.title, words), fitted if words else dict.fromkeys(RATES, 1)

            def decided(outputs, setting):
                weights = None if remedy is CHEAPEST else weights_of(remedy.kind, setting.value, self.counts)
                return self._decided(outputs, T[setting.rate], weights, remedy is CHEAPEST)
            best = self._best(title, metric, {setting: decided(held_out[setting.rate], setting) for setting in [
                Setting(*pair) for pair in itertools.product(remedy.values, RATES)]})
            trained = [self._training(NONE, best, seed) for seed in self.seeds]
            _train(self.trainings, trained)
            found.append({"title": title, "setting": list(best), "temperature": T[best.rate], "scores": decided(
                [_outputs(training, self.n_test.sum()) for training in trained], best)})
        return found

    def _trained(self, remedies, chosen, trainings, words=""):
        """Train remedies with all seeds. words: what their titles end with. Returns what they bring."""
        by_title = collections.OrderedDict((remedy.title, [self._training(
            remedy, chosen[remedy.title], seed, trainings) for seed in self.seeds]) for remedy in remedies)
        _train(trainings, sum(by_title.values(), []))
        return [{"title": title + words, "setting": list(chosen[title]), "temperature": 1, "scores": self._decided(
            [_outputs(training, self.n_test.sum()) for training in listed])} for title, listed in by_title.items()]

    def _training(self, remedy, setting, seed, trainings=None, held_out=False):
        net = self._net(remedy, setting.value, seed).replace("train_seed0.txt", "train_seed%d.txt" % seed)
        return (trainings or self.trainings).new(remedy.title, seed, hold_out(net, "held_out") if held_out else net,
                                                 setting.rate)

    def _net(self, remedy, value, seed):
        """Return the text of a remedy's net."""
        if remedy.kind == "none":
            return self.change.text
        if remedy.kind == "adjust":
            return self.change.with_log_prior(self.counts.tolist(), value)
        path = os.path.join("matrices", "%s_%g_seed%d.binaryproto" % (remedy.kind.replace(" ", "_"), value, seed))
        write_matrix(path, matrix_of(remedy.kind, value, self.counts, self.D, seed))
        return self.change.with_matrix(path)

    def _decided(self, outputs, temperature=1, weights=None, by_cost=False):
        """Return {metric: its value for each (scores, labels)} of a decision."""
        found = collections.defaultdict(list)
        for scores, labels in outputs:
            p = decisions.temperature_scaled(scores, temperature)
            if weights is not None:
                p = decisions.weighted_probabilities(np.maximum(p, 1e-30), weights)
            decided = (decisions.expected_cost_scores(p, self.D) if by_cost else p).argmax(axis=1)
            found["recall"].append(metrics.balanced_accuracy(labels, decided, len(self.classes)))
            found["accuracy"].append(metrics.accuracy(labels, decided))
            if self.D is not None:
                found["cost"].append(metrics.mean_cost(labels, decided, self.D))
        return found


def _train(trainings, listed):
    failed = trainings.train(listed)
    if failed:
        raise ValueError("expected nets that train, got %s" % sorted(failed.items()))


def _outputs(training, n):
    """Return the scores and labels of the n samples that a net has for its TEST phase."""
    (snapshot,) = [name for name in os.listdir("trained") if name.endswith(".caffemodel")
                   and os.path.join("trained", name).startswith(training.prefix + "_iter_")]
    net = caffe.Net(training.prefix + ".prototxt", caffe.TEST, weights=os.path.join("trained", snapshot))
    found = []
    for _ in range(-(-n // len(net.blobs["label"].data))):
        net.forward()
        found.append([net.blobs[blob].data.copy() for blob in ("score", "label")])
    scores, labels = [np.concatenate(of_blob)[:n] for of_blob in zip(*found)]
    return np.nan_to_num(scores), labels.ravel()  # not finite where a net diverged


if __name__ == "__main__":
    cli.run(main)
