"""Run the experiment behind the README, no example to copy: when H, class weights or a decision at test time help.

Every claim of the README, with its control: on balanced data and on a long tail, with
300 to 60,000 training images, two nets, and as many seeds as asked for. Every net is
trained by `caffe train`. It takes long; what was trained is kept, and a second run goes
on from there.
"""
from __future__ import division, print_function

import contextlib
import fcntl
import json
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[1:1] = [os.path.join(ROOT, "examples", "segmentation"), os.path.join(ROOT, "tools")]

# Read when caffe is imported first; else every net evaluated would be printed layer by layer.
os.environ.setdefault("GLOG_minloglevel", "2")
# Nets are evaluated beside those that train, so with one thread.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from caffe_tools import cli  # first, as it reports the packages that are missing

import cells
import choice
import create_data
import files
import dense_scores
import numpy as np
import pictures
import study_report
from caffe_losses.formats.atomic import atomic_write
from caffe_prototxt.net.losses import is_classic
from dense import N_SHOWN, Dense, sources
from grid import Grid
from tasks import Outcomes
from tqdm import tqdm


class Folder(object):
    """Hold the folder that everything is written to: folder("nets", "a.log") is a path inside."""

    def __init__(self, path):
        self.path = path

    def __call__(self, *parts):
        path = os.path.join(self.path, *parts)
        if not os.path.isdir(os.path.dirname(path)):
            os.makedirs(os.path.dirname(path))
        return path


@contextlib.contextmanager
def alone_in(folder):
    """Keep other runs from writing into the folder, as long as this lasts."""
    with open(folder(".lock"), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except EnvironmentError:
            raise ValueError("another run is writing into %s; --output sets another folder" % folder.path)
        yield


def main():
    options = parse()
    if is_classic():
        raise ValueError("expected a Caffe of April 2017 or later, whose InfogainLoss takes scores, got one whose "
                         "InfogainLoss takes probabilities; with_caffe.sh has another where none is on the PATH")
    os.chdir(ROOT)  # what is inside is named from there: nets are the same wherever the checkout is
    inside = os.path.relpath(options.output)
    folder = Folder(options.output if inside.startswith(os.pardir) else inside)
    with alone_in(folder):
        try:
            (validate if options.validate else compare)(options, folder)
        except KeyboardInterrupt:
            sys.stderr.write("\nstudy.py: stopped; run it again to go on\n")
            sys.exit(130)


def parse():
    parser = cli.Parser(description=__doc__, epilog="example: with_caffe.sh examples/study/study.py --seeds 20")
    parser.add_argument("--seeds", type=int, metavar="N", help="train every net with N seeds (default: 10)")
    parser.add_argument("--output", metavar="DIR", type=os.path.abspath, default=os.path.join(HERE, "output"),
                        help="folder for all that is made (default: output/ beside this script)")
    parser.add_argument("--gpu", type=int, metavar="N", help="train on GPU N (default: on the CPU)")
    parser.add_argument("--quick", action="store_true", help="few images, iterations and seeds: to see that it runs")
    parser.add_argument("--validate", action="store_true",
                        help="try the settings, with 2 seeds, on validation images: writes validation.json into the "
                             "folder; beside this script it says what the study trains with")
    options = parser.parse_args()
    if options.seeds is None:
        options.seeds = 2 if options.quick or options.validate else 10
    if options.seeds < 2:
        parser.error("--seeds: expected at least 2, got %d" % options.seeds)
    if options.quick and options.output == parser.get_default("output"):
        options.output = os.path.join(options.output, "quick")  # what took hours stays as it is
    return options


# Settings

def validate(options, folder):
    """Score every setting that is tried on validation images."""
    images, labels = create_data.read("train")
    train, held_out = [(images[chosen], labels[chosen]) for chosen in
                       files.split(labels, 6000 - choice.N_VALIDATION, choice.N_VALIDATION)]
    grid = Grid(folder, files.tree_distances(), train, held_out)
    listed = [cell._replace(counts=np.minimum(cell.counts, 6000 - choice.N_VALIDATION).tolist())
              for cell in (cells.quick(cells.grid()) if options.quick else cells.grid())]
    found = {"taus": []}
    for method, rates in ((cells.NONE, cells.RATES), (cells.WEIGHTS, cells.WEIGHTED_RATES),
                          (cells.ADJUSTED, cells.RATES)):
        tried = [cell._replace(methods=[method], **dict.fromkeys(["rate", method.rate], rate))
                 for cell in listed if method in cell.methods for rate in rates]
        found[method.rate + "s"] = _tried(grid, options, tried)
    rates = choice.rates(found["rates"])
    for tau in cells.TAUS:
        tried = [cell._replace(rate=rates[cell.name], methods=[cells.distances(tau)]) for cell in listed]
        found["taus"] += [dict(one, tau=tau) for one in _tried(grid, options, tried)]
    found["dense_rates"] = list(_dense_tried(options, folder, *sources((images, labels))))
    cli.write(json.dumps(found, indent=1, sort_keys=True).encode("utf-8"), folder("validation.json"))
    print("The file: %s" % folder("validation.json"))


def _tried(grid, options, tried):
    """Score cells of one method each on the images of `grid`: a dict each."""
    named = [cell._replace(name="%s_rate%g" % (cell.name, cell.rate)) for cell in tried]
    outcome = _trained(grid.tasks(named, range(options.seeds)), grid.folder, options)
    found = []
    for cell, one in zip(tried, named):
        (method,) = one.methods
        of_method = grid.scores(one, range(options.seeds), outcome)[method.name]["probable"]
        found.append(dict(cell=cell.name, rate=cell.rate, iterations=cell.iterations, accuracy=of_method["accuracy"],
                          cost=of_method["cost"]))
        print("%-26s %-8s rate %-5g %s" % (cell.name, method.name, cell.rate, of_method["accuracy"]))
    return found


def _dense_tried(options, folder, train, held_out):
    """Score every learning rate of scenes: yield a dict each."""
    methods = dense_scores.METHODS[:2]
    for rate in dense_scores.RATES:
        dense = Dense(folder, train, held_out, [rate, rate], options.quick)
        scores = _of_dense(dense, options, methods)[0]
        for method in methods:
            mean_iu = scores[method.name]["probable"]["mean_iu"]
            print("%-26s %-8s rate %-5g %s" % ("scenes", method.name, rate, mean_iu))
            yield dict(method=method.name, rate=rate, mean_iu=mean_iu)


# The study

def compare(options, folder):
    """Score every cell and the scenes on the test images, and write the tables and pictures."""
    found = choice.validation()
    train, test = create_data.read("train"), create_data.read("t10k")
    listed = cells.grid(choice.settings(found))
    if options.quick:
        listed, test = cells.quick(listed), [part[:1000] for part in test]
    scaled = cells.scaled(listed, cells.SCALES[::7] if options.quick else cells.SCALES)
    grid = Grid(folder, files.tree_distances(), train, test)
    dense = Dense(folder, sources(train)[0], test, choice.dense_rates(found), options.quick)

    with _timed("Whole images"):
        results = dict(_of_grid(grid, options, listed, scaled), tried=found, classes=files.class_names(),
                       n_test=len(test[1]), seeds=options.seeds, near=grid.near_kept(range(options.seeds)))
    with _timed("Scenes"):
        scores, shown = _of_dense(dense, options, dense_scores.METHODS)
    results["dense"] = dict(dense.described(), scores=scores)
    write_results(folder, results)
    with atomic_write(folder("scenes.png")) as file:
        pictures.draw_scenes(*[part[:N_SHOWN] for part in dense.test] + [shown], file=file)
    print("\nThe pictures: %s, %s" % (folder("results.png"), folder("scenes.png")))


@contextlib.contextmanager
def _timed(title):
    """Print what begins, and how long it took."""
    start = time.time()
    print(title)
    yield
    print("%s took %.0f s" % (title, time.time() - start))


def _of_grid(grid, options, listed, scaled):
    """Train and score the cells and the scaled cells."""
    seeds = range(options.seeds)
    outcome = _trained(grid.tasks(listed + list(scaled.values()), seeds), grid.folder, options)
    return {
        "cells": [dict(name=cell.name, data=cell.data, counts=cell.counts, net=cell.net, iterations=cell.iterations,
                       rate=cell.rate, weighted_rate=cell.weighted_rate, adjusted_rate=cell.adjusted_rate, tau=cell.tau,
                       scores=grid.scores(cell, seeds, outcome))
                  for cell in tqdm(listed, unit="cell", disable=None)],
        "scales": [dict(scale=scale, heaviest=scale * cells.balanced_weights(cell.counts).max(), rate=cell.rate,
                        scores={method: of_method["probable"]["accuracy"]
                                for method, of_method in grid.scores(cell, seeds, outcome).items()})
                   for scale, cell in scaled.items()]}


def _of_dense(dense, options, methods):
    """Return the scores of scenes, and what first nets decide for in those shown: pairs of title and label images."""
    seeds = range(options.seeds)
    outcome = _trained(dense.tasks(seeds, methods), dense.folder, options)
    shown = [(method.title.replace(" f", "\nf"), outcome(method.name, 0)["shown"]) for method in methods[:2]]
    return dense.scores(seeds, outcome, methods), shown


def _trained(tasks, folder, options):
    """Train tasks, {key: Task}. Returns a function of what a key is made of that gives what was kept."""
    outcomes = Outcomes(folder, options.gpu)
    outcomes.train(list(tasks.values()))
    return lambda *key: outcomes[tasks[key]]


def write_results(folder, results):
    markdown = study_report.report(results).encode("utf-8")
    cli.write(markdown)
    cli.write(markdown, folder("RESULTS.md"))
    cli.write(json.dumps(results, indent=1, sort_keys=True).encode("utf-8"), folder("results.json"))
    with atomic_write(folder("results.png")) as file:
        pictures.draw(results, file)


if __name__ == "__main__":
    cli.run(main)
