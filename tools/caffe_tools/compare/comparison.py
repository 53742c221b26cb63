"""The comparison of a net's variants: choose their settings, train them, evaluate them and report on them."""
from __future__ import division, print_function

import hashlib
import json
import multiprocessing
import os

import numpy as np

from caffe_losses.compat import from_display, to_unicode
from caffe_losses.errors import naming
from caffe_losses.evaluation import rules
from caffe_losses.evaluation.tally import PROBABLE
from caffe_prototxt.check import solvers
from caffe_prototxt.net import data_layers
from caffe_prototxt.net.graph import Graph
from caffe_prototxt.net.nets import Net
from caffe_prototxt.net.states import merged
from caffe_tools import cli, decision_report, results
from caffe_tools.compare import outcome
from caffe_tools.compare.held_out import hold_out
from caffe_tools.compare.trainings import UNFINISHED, Trainings, log_of, say_on_the_way
from caffe_tools.compare.variants import Change, Variants, other_variant
from caffe_tools.report.html import page
from caffe_tools.report.runs import find_runs
from caffe_tools.training_weights import TrainingWeights

TOP = 5  # classes of a ranking whose cost counts


class Comparison(object):
    """A comparison of the variants of a net. args: the options. classes: results.Classes. solver: its text.

    net: str, its file. caffe: caffe_process.Caffe.
    """

    def __init__(self, args, classes, solver, net, caffe):
        self.args, self.classes, self.net, self.caffe = args, classes, net, caffe
        slots = [["-gpu", number] for number in args.gpu.split(",")] if args.gpu else (
            [[]] * (args.jobs or multiprocessing.cpu_count()))
        self.trainings = Trainings(solver, os.path.join(args.output, "trained"), args.weights, slots[:args.jobs],
                                   args.gpu is not None)
        self.weights = TrainingWeights(args.class_weights or None, str(args.class_weights), None, True, caffe,
                                       *([None] if args.class_weights is not None else []))
        weights = self.weights.of_all((os.path.abspath(net), net), os.getcwd())
        if args.class_weights is not None and weights["missing"]:
            raise ValueError("--class-weights: expected labels to count, got none: %s; give the weights"
                             % weights["missing"])
        if not self.trainings.has_tests:
            check_tests(net)
        make_h = ["--class-weights", str(args.class_weights)] if args.class_weights else ["--net", net]
        with naming(net):
            text = cli.read_net(net)
            change = Change(text, [from_display(name) for name in args.layer], args.all, args.loss)
            if classes.names is not None:
                change.check_classes("--names", len(classes.names))
            self.variants = Variants(net, os.path.join(args.output, "nets"), change, classes.D, classes.options,
                                     None if args.class_weights is None else dict(weights, options=make_h),
                                     args.logit_adjust is not None, list(map(other_variant, args.variant)))
        for pattern in args.order_by_seed:
            if _with_seed(text, pattern, 0) == _with_seed(text, pattern, 1):
                raise ValueError("--order-by-seed: expected a source of %s for the seed 0, got %s, which it does not "
                                 "name" % (net, pattern % 0))
        self.gpu = None if args.gpu is None else int(args.gpu.split(",")[0])
        self.metric = rules.deciding_metric(classes.D is not None)
        self.settings, self.remarks = {}, []

    def run(self):
        """Choose the settings, train, evaluate and report; or print what is to be trained."""
        if not self._choose():
            return
        trainings = [self._training(variant, self.settings[variant.title], seed)
                     for seed in range(self.args.seeds) for variant in self.variants.listed]
        if not self._trained(trainings):
            missing = self.trainings.missing(trainings)
            trainings = [training for training in trainings if training not in missing]
            if not trainings:
                return
            self.remarks.append("not complete: to be trained still are " + ", ".join(map(_training_in_words, missing)))
        order = [variant.title for variant in self.variants.listed]
        trainings.sort(key=lambda training: (order.index(training.title), training.seed))
        self._report(self._evaluated(trainings))

    # Training

    def _choose(self):
        """Choose the Setting of each variant. Returns whether that could be done: not before all has been trained."""
        for variant in self.variants.listed:
            if not self.variants.can_be_set(variant, self.settings):
                continue  # what it depends on is to be trained first, by whoever was given the lines
            tried = self.variants.settings(variant, self.args.tau, self.args.power, self.args.logit_adjust,
                                            self.args.lr, self.settings)
            if len(tried) > 1:
                values = self._tried(variant, tried)
                if values is None:
                    continue
                best = (min if self.metric.smaller else max)(tried, key=lambda setting: values[tried.index(setting)])
                shown = ["none" if abs(value) == float("inf") else self.metric.form % value for value in values]
                self.remarks.append("%s: chosen is %s, by the %s on %s (%s)%s" % (
                    variant.title, _in_words(best), self.metric.title, self._validation(),
                    ", ".join("%s: %s" % pair for pair in zip(map(_in_words, tried), shown)),
                    "; none of them could be evaluated there: it is the first" * (set(shown) == {"none"})))
            self.settings[variant.title] = best if len(tried) > 1 else tried[0]
        return len(self.settings) == len(self.variants.listed)

    def _tried(self, variant, tried):
        """Return the mean of the deciding metric for each Setting, infinite where a net diverged; None: not trained."""
        trainings = [self._training(variant, setting, seed, validates=True) for setting in tried
                     for seed in range(self.args.seeds)]
        if self.trainings.missing(trainings) and not self.args.print_jobs:
            say_on_the_way("%s: tried with %s" % (variant.title, "; ".join(map(_in_words, tried))))
        if not self._trained(trainings):
            return None
        found = self._evaluated(trainings, validates=True)
        worst = float("inf") if self.metric.smaller else -float("inf")
        values = [result["evaluation"][PROBABLE]["scores"][self.metric.key] if result["evaluation"] else worst
                  for result in found]
        return np.reshape([worst if value is None else value for value in values], (len(tried), -1)).mean(1).tolist()

    def _training(self, variant, setting, seed, validates=False):
        with naming(self.net):
            net = self.variants.net_of(variant, setting, seed)
        for pattern in self.args.order_by_seed:
            net = _with_seed(net, pattern, seed)
        if validates and not self.args.validate:
            with naming(self.net):
                net = hold_out(net, os.path.join(self.args.output, "held_out"))
        return self.trainings.new(variant.title, seed, net, setting.lr, tests=not validates)

    def _trained(self, trainings):
        """Do the trainings, or print what is missing of them. Returns whether none is missing."""
        missing = self.trainings.missing(trainings)
        if self.args.print_jobs:
            for line in self.trainings.lines(missing):
                cli.say(line)
            for training in missing:
                cli.note("missing: " + _training_in_words(training))
            return not missing
        failed = self.trainings.train(trainings)
        if failed and len(failed) == len(missing) == len(trainings):
            log, ended = sorted(failed.items())[0]
            raise ValueError("all %d trainings failed, the first: %s (%s)" % (len(failed), ended, log))
        return True

    def _validation(self):
        return self.args.validate or "a fifth of the TRAIN data, held out"

    # Evaluation

    def _evaluated(self, trainings, validates=False):
        """Return what is to be reported of each training, a dict. validates: whether on the validation data."""
        arguments, net = [], self.args.validate if validates else None
        for training in [training for training in trainings if os.path.exists(_last_log(training))]:
            # The log of a solver that tests has the net of its test_state, too, or of its test_net.
            own = training.prefix + ".prototxt" if validates or not self.trainings.has_tests else None
            arguments.append("%s=%s" % (training.title, ",".join(filter(None, [_last_log(training), net or own]))))
        runs = find_runs(arguments, os.getcwd())
        return [self._result(run, runs, net) for run in runs]

    def _result(self, run, runs, net):
        described = [repr((self.classes.D is not None and self.classes.D.tolist(), self.weights.of(None, None), TOP)),
                     net and self.trainings.content_of(cli.read_net(net))]
        key = hashlib.sha1(repr(described).encode("utf-8")).hexdigest()[:10]
        path = "%s.%s.json" % (os.path.splitext(run.logs[0])[0], key)
        if run.logs[0].endswith(UNFINISHED) or not os.path.exists(path):
            result = results.result_of(run, runs, self.caffe, self.classes, TOP, self.weights, any_snapshot=True,
                                       iterations=None, score=None, label=None, python=True, gpu=self.gpu)
            if result["evaluation"]:
                cli.write(json.dumps(result).encode("ascii"), path)
            return result
        with open(path) as file:
            return dict(run.result(), **json.loads(file.read()))

    def _report(self, found):
        ways = outcome.ways_of(found, self.metric)
        best = outcome.best_way(ways, self.metric, self.variants.n_parts())
        report = results.report_of(found, self.classes, TOP, "%s: what helps" % self.net)
        missing = sorted(set(result["name"] for result in found if not result["evaluation"]))
        words = outcome.sentence(ways, best, self.metric, [v.title for v in self.variants.listed if v.like])
        remarks = self.remarks + ["not evaluated, with a seed at least: %s" % ", ".join(missing)] * bool(missing)
        remarks += outcome.remarks(ways) + [self._seeds_in_words(), "in brackets the %s" % report["intervals"]]
        report["outcome"] = {"sentences": [to_unicode(words)], "remarks": [to_unicode(remark) for remark in remarks],
                             "rows": outcome.rows(report, ways, self.metric, missing) if ways else []}
        names = [os.path.join(self.args.output, name) for name in ("report.html", "results.json", "results.md")]
        contents = page(report), to_unicode(json.dumps(report, indent=1, sort_keys=True)), outcome.markdown(report)
        for name, content in zip(names, contents):
            cli.write(content.encode("utf-8"), name)
        if self.args.print_jobs:  # standard output has the lines alone
            cli.note("%s; the page: %s" % (words, names[0]))
            return
        if self.args.json:
            cli.say_json(report)
            return
        for run in found:
            if run["status"] != "done" or run["notes"]:
                cli.say("%s, seed %s: %s" % (run["name"], run["seed"], "; ".join([run["status"]] + run["notes"])))
        if ways:
            cli.say_table(report["outcome"]["rows"])
        for line in remarks + [words]:
            cli.say(line)
        for line in self._lines(best, found, report):
            cli.say("  " + line)
        cli.say("%s: the page; open it in a browser" % names[0])

    def _seeds_in_words(self):
        return "a seed draws the weights that a training starts with%s" % (
            ", and the order of the data" if self.args.order_by_seed else
            "; Data and HDF5Data layers that do not shuffle give the data in the same order for each")

    def _lines(self, best, found, report):
        """Return the lines for a shell that put what helped into the net."""
        if best is None:
            return []
        lines, variant = [], next(v for v in self.variants.listed if v.title == best.method)
        if variant is not self.variants.listed[0]:
            make_h, use_loss = self.variants.matrix_lines(variant, self.settings[variant.title],
                                                          "infogainH.binaryproto")
            lines += [cli.command_line("make_h.py", *make_h)] if make_h else []
            lines.append(cli.command_line("use_loss.py", self.net, *use_loss))
        if best.rule != PROBABLE:
            runs = [result for result in found if result["name"] == best.method and result["decisions"]]
            lines.append(decision_report.command_of(runs, best.rule, self.classes.options))
        rate = self.settings[variant.title].lr
        return lines + ["# and in the solver: base_lr %g times what it is" % rate] * (rate != 1)


def check_tests(path):
    """Raise ValueError for the file of a net without data in its TEST phase."""
    text = cli.read_net(path)
    with naming(path):
        if solvers.is_solver(text):
            raise ValueError("expected a net, got a solver")
        net = Net(text)
        graph = Graph(net, merged("TEST", net.state)._replace(phase="TEST"))
        if not any(data_layers.is_data(node) for node in graph.nodes):
            raise ValueError("expected a data layer in the TEST phase, to compare the variants on its data, got none")


def _with_seed(text, pattern, seed):
    """Return the text of a net with the source of seed 0 replaced by that of another seed."""
    for mark in "\"'":
        text = text.replace(mark + pattern % 0 + mark, mark + pattern % seed + mark)
    return text


def _training_in_words(training):
    return "%s, seed %d (%s)" % (training.title, training.seed, log_of(training))


def _last_log(training):
    """Return the log of a training, unfinished where it failed."""
    log = log_of(training)
    return log if os.path.exists(log) else log + UNFINISHED


def _in_words(setting):
    return ", ".join("%s %g" % (name, value) for name, value in setting._asdict().items()
                     if value is not None)
