"""Train embeddings of Fashion-MNIST on triplets, and look for each image's neighbours in them.

Nets of 64 outputs are trained by `caffe train`, on triplets that TripletSelect
chooses from the batch, with TripletSoftmaxLoss (settings.py lists them). How many
test images have the label of their nearest training images says how good the
embedding is; the pixels themselves are what it has to beat.
"""
from __future__ import division, print_function

import collections
import json
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
EXAMPLES = os.path.dirname(HERE)
sys.path[1:1] = [os.path.join(EXAMPLES, "common"), os.path.join(os.path.dirname(EXAMPLES), "tools")]

# Read when caffe is imported first; else every net evaluated would be printed layer by layer.
os.environ.setdefault("GLOG_minloglevel", "2")
# The neighbours are looked for by as many threads as there are cores, of one BLAS thread each.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from caffe_tools import cli  # first, as it reports the packages that are missing

from caffe_losses.formats.atomic import atomic_write
import numpy as np
import data
import embedding_net
import embedding_picture
import embedding_report
import image_input
import neighbours
import runs
import settings

# How many images of each class --validate trains with, and how many others it scores with.
VALIDATION = (5000, 1000)
VALIDATION_QUICK = (100, 100)

# How many test images the picture shows.
N_SHOWN = 2000

# A net to train. net, solver, snapshot, log: paths.
Run = collections.namedtuple("Run", "method seed net solver snapshot log")


def parse():
    parser = cli.Parser(description=__doc__,
                        epilog="example: tools/with_caffe.sh examples/triplets/train.py --seeds 5")
    runs.add_options(parser, HERE, "train every net with N seeds (default: 3)")
    parser.add_argument("--validate", action="store_true",
                        help="train every setting that was tried, with one seed on 50,000 of the training images, and "
                             "score it on the other 10,000: writes validation.json")
    options = parser.parse_args()
    options.seeds = options.seeds or (2 if options.quick else 3)
    return options


def run(options, folder):
    (validate if options.validate else compare)(options, folder)


def validate(options, folder):
    """Score every setting on the validation part of the training images."""
    methods = [settings.Method("tried%d" % i, settings.text(setting), setting)
               for i, setting in enumerate(settings.TRIED)]
    if options.quick:
        methods = [settings.quick(method) for method in methods]
    images, labels = data.load("train")
    train, held_out = data.split(labels, *(VALIDATION_QUICK if options.quick else VALIDATION))
    found = evaluate(options, folder, methods, [0], (images[train], labels[train]),
                     (images[held_out], labels[held_out]))
    rows = [[method.title, found["scores"][method.name]] for method in methods]
    runs.write_text(folder("validation.json"), json.dumps([["pixels", found["scores"]["pixels"]]] + rows, indent=1,
                                                          sort_keys=True))
    for title, scores in [("pixels", found["scores"]["pixels"])] + rows:
        print("%-60s %.4f %.4f" % (title, scores["neighbours"][0], scores["centroid"][0]))


def compare(options, folder):
    """Score the chosen settings on the test images, and write their table and picture."""
    start = time.time()
    train, test = data.load("train"), data.load("t10k")
    methods = settings.METHODS
    if options.quick:
        methods = [settings.quick(method) for method in methods]
        train, test = [tuple(part[:count] for part in both) for both, count in ((train, 1000), (test, 500))]
    found = evaluate(options, folder, methods, list(range(options.seeds)), train, test)
    with open(os.path.join(HERE, "validation.json")) as file:
        tried = json.load(file)
    results = {"classes": data.class_names(), "n_train": len(train[1]), "n_test": len(test[1]),
               "seeds": options.seeds, "methods": [[method.name, method.title, settings.text(method.setting)]
                                                   for method in methods],
               "tried": tried, "scores": found["scores"],
               "planes": {name: found["planes"][name] for name in ("pixels", methods[0].name)},
               "shown": test[1][:N_SHOWN].tolist()}
    print(embedding_report.as_text(results))
    runs.write_text(folder("results.json"), json.dumps(results, indent=1, sort_keys=True))
    runs.write_text(folder("RESULTS.md"), embedding_report.as_markdown(results))
    with atomic_write(folder("results.png")) as file:
        embedding_picture.draw(results, file)
    print("\nDone in %.0f s. The picture: %s" % (time.time() - start, folder("results.png")))


def evaluate(options, folder, methods, seeds, train, test):
    """Train the methods with every seed, and score them beside the pixels.

    train, test: images and labels.
    Returns {"scores": {method: {score: a list over seeds}}, "planes": {method: points of the first seed}}.
    """
    print("Writing the data")
    for seed in seeds:
        order = data.shuffled(np.arange(len(train[1])), seed)
        data.write_lmdb(_lmdb(folder, seed), train[0][order], train[1][order])
    print("Training")
    trained = [_write_net(folder, method, seed, options.gpu) for method in methods for seed in seeds]
    runs.train(trained, options.gpu)
    print("Looking for neighbours")
    sys.stdout.flush()
    found = {"scores": collections.OrderedDict(), "planes": {}}
    _score(found, "pixels", [_pixels(train[0]), _pixels(test[0])], train, test)
    for one in trained:
        rows = [image_input.outputs(one.net, one.snapshot, images) for images in (train[0], test[0])]
        _score(found, one.method.name, rows, train, test)
    return found


def _score(found, name, rows, train, test):
    of_run = neighbours.scores(rows[0], train[1], rows[1], test[1], runs.N_CORES)
    if name not in found["scores"]:
        found["planes"][name] = np.round(neighbours.plane(rows[0], train[1], rows[1][:N_SHOWN]), 4).tolist()
    scores = found["scores"].setdefault(name, {key: [] for key in of_run})
    for key, value in of_run.items():
        scores[key].append(value)


def _pixels(images):
    return images.reshape(len(images), -1).astype(np.float32) * np.float32(image_input.SCALE)


def _lmdb(folder, seed):
    return folder("data", "seed%d" % seed)


def _write_net(folder, method, seed, gpu):
    prefix = folder("nets", "%s_seed%d" % (method.name, seed))
    one = Run(method, seed, prefix + ".prototxt", prefix + ".solver.prototxt",
              "%s_iter_%d.caffemodel" % (prefix, method.setting.iterations), prefix + ".log")
    runs.write_message(one.net, embedding_net.train_val(method.name, method.setting, _lmdb(folder, seed), seed))
    runs.write_message(one.solver, embedding_net.solver(one.net, prefix, method.setting, seed, gpu is not None))
    return one


def main():
    options = parse()
    sys.exit(runs.carry_out(run, options))


if __name__ == "__main__":
    cli.run(main)
