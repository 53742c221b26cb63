"""Train nets on Fashion-MNIST with losses that know how bad a mistake is, and compare them.

Two experiments (experiments.py lists what each compares): a class tree on 1,000
images, and class weights on a long tail. Every matrix and every loss is made by
the project's own commands, every net is trained by `caffe train`.
"""
from __future__ import division, print_function

import json
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
EXAMPLES = os.path.dirname(HERE)
sys.path[1:1] = [os.path.join(EXAMPLES, "common"), os.path.join(os.path.dirname(EXAMPLES), "tools")]

# Read when caffe is imported first; else every net evaluated would be printed layer by layer.
os.environ.setdefault("GLOG_minloglevel", "2")

from caffe_tools import cli  # first, as it reports the packages that are missing

from caffe_losses.formats.atomic import atomic_write
import data
import evaluate
import experiments
import picture
import report
import runs
import steps


def parse():
    parser = cli.Parser(description=__doc__,
                        epilog="example: tools/with_caffe.sh examples/fashion_mnist/train.py --seeds 5")
    runs.add_options(parser, HERE, "train every net with N seeds, in the second experiment with half as "
                                  "many (default: 10)")
    options = parser.parse_args()
    options.seeds = options.seeds or (2 if options.quick else 10)
    return options


def run(options, folder):
    """Run both experiments, from the data to the picture."""
    start = time.time()
    tree = experiments.class_tree(options.seeds, options.quick)
    tail = experiments.long_tail(max(2, options.seeds // 2), options.quick)

    print("Writing the data")
    train = data.load("train")
    for experiment in (tree, tail):
        steps.write_data(folder, experiment, train)

    print("Making the matrices and the losses")
    D, H = steps.make_matrices(folder, tree, tail)
    for experiment in (tree, tail):
        steps.make_losses(folder, experiment)

    print("Training")
    tree_runs = steps.write_nets(folder, tree, options.gpu)
    tail_runs = steps.write_nets(folder, tail, options.gpu)
    runs.train(tree_runs + tail_runs, options.gpu)

    print("Evaluating on the test images")
    images, labels = data.load("t10k")
    results = {
        "classes": data.class_names(),
        "tree_order": steps.tree_order(),
        "D": D.tolist(),
        "H": H.tolist(),
        "n_test": len(labels),
        "tau": experiments.TAU,
        "epsilon": steps.smoothing_of(H),
        "settings": {experiment.name: dict(experiment._asdict(), methods=None)
                     for experiment in (tree, tail)},
        "sample_weights": {name: steps.sample_weight(folder, name, tail.counts)
                           for name in experiments.BADLY_SCALED},
        "tree": evaluate.collect(tree_runs, images, lambda p: evaluate.tree_scores(p, labels, D)),
        "tail": evaluate.collect(tail_runs, images, lambda p: evaluate.tail_scores(p, labels)),
    }
    write_results(folder, results)
    print("\nDone in %.0f s. The picture: %s" % (time.time() - start, folder("results.png")))


def write_results(folder, results):
    print(report.as_text(results))
    runs.write_text(folder("results.json"), json.dumps(results, indent=1, sort_keys=True))
    runs.write_text(folder("RESULTS.md"), report.as_markdown(results))
    with atomic_write(folder("results.png")) as file:
        picture.draw(results, file)


def main():
    options = parse()
    runs.check_caffe()
    sys.exit(runs.carry_out(run, options))


if __name__ == "__main__":
    cli.run(main)
