"""Train the nets of this example with several seeds, and compare the neighbours in their embeddings.

How many test images have the label of their nearest training images says how good an embedding is; the pixels
themselves are what it has to beat. The nets and the solver are the files of this folder; what was trained is kept.
"""
from __future__ import division, print_function

import collections
import io
import json
import multiprocessing
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[1:1] = [os.path.join(os.path.dirname(os.path.dirname(HERE)), "tools")]

from caffe_tools import cli  # first, as it reports the packages that are missing

import create_data
import evaluate
from caffe_losses.formats.atomic import atomic_write
from caffe_prototxt.netspec.triplet_layers import triplet_fragment
from caffe_tools.compare.trainings import Trainings
import neighbours
import numpy as np
import picture
import report
import settings

NETS = {"mlp": "softmax_train_val.prototxt", "conv": "conv_softmax_train_val.prototxt"}
DEPLOYED = {"mlp": "deploy.prototxt", "conv": "conv_deploy.prototxt"}
CLASSIFIER = "layer {  # The control"  # where the control's loss begins
N_VALIDATION = 1000  # of each class that --validate scores with
N_SHOWN = 2000  # test images in the picture


def main():
    parser = cli.Parser(description=__doc__, epilog="example: with_caffe.sh examples/triplets/train.py --seeds 5")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="train every net with N seeds (default: 3)")
    parser.add_argument("--output", metavar="DIR", default=os.path.relpath(os.path.join(HERE, "output")),
                        help="folder for all that is made (default: output/ beside this script)")
    parser.add_argument("--gpu", metavar="N", help="train on GPU N (default: on the CPU)")
    parser.add_argument("--quick", action="store_true", help="few images and iterations: to see that it runs")
    parser.add_argument("--validate", action="store_true",
                        help="train every setting that was tried, with one seed on 50,000 of the training images, and "
                             "score it on the other 10,000: writes validation.json")
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("--seeds: expected at least 2, got %d" % options.seeds)
    (validate if options.validate else compare)(options)


def compare(options):
    """Score the chosen settings on the test images, and write their table and picture."""
    start = time.time()
    train, test = create_data.read("train"), create_data.read("t10k")
    if options.quick:
        train, test = [part[:1000] for part in train], [part[:500] for part in test]
    scores, planes = evaluated(options, settings.METHODS, range(options.seeds), train, test)
    results = {"classes": read("classes.txt").splitlines(), "n_train": len(train[1]), "n_test": len(test[1]),
               "seeds": options.seeds, "methods": [[method.name, method.title, settings.text(method.setting)]
                                                   for method in settings.METHODS],
               "tried": json.loads(read("validation.json")), "scores": scores,
               "planes": {name: planes[name] for name in ("pixels", settings.METHODS[0].name)},
               "shown": test[1][:N_SHOWN].tolist()}
    cli.say(report.as_markdown(results))
    write(options, "results.json", json.dumps(results, indent=1, sort_keys=True))
    write(options, "RESULTS.md", report.as_markdown(results))
    with atomic_write(os.path.join(options.output, "results.png")) as file:
        picture.draw(results, file)
    print("Done in %.0f s. The picture: %s" % (time.time() - start, os.path.join(options.output, "results.png")))


def validate(options):
    """Score every setting on the validation part of the training images."""
    methods = [settings.Method("tried%d" % i, settings.text(setting), setting)
               for i, setting in enumerate(settings.TRIED)]
    images, labels = create_data.read("train")
    rng = np.random.RandomState(0)
    shuffled = [rng.permutation(np.flatnonzero(labels == k)) for k in range(10)]
    train, held_out = [np.concatenate([of_class[part] for of_class in shuffled])
                       for part in (np.s_[:-N_VALIDATION], np.s_[-N_VALIDATION:])]
    if options.quick:
        train, held_out = train[::50], held_out[::10]
    scores, _ = evaluated(options, methods, [0], (images[train], labels[train]), (images[held_out], labels[held_out]))
    rows = [["pixels", scores["pixels"]]] + [[method.title, scores[method.name]] for method in methods]
    write(options, "validation.json", json.dumps(rows, indent=1, sort_keys=True))
    for title, of_setting in rows:
        print("%-60s %.4f %.4f" % (title, of_setting["neighbours"][0], of_setting["centroid"][0]))


def evaluated(options, methods, seeds, train, test):
    """Train the methods with every seed, and score them beside the pixels.

    train, test: images and labels.
    Returns {method: {score: a list over seeds}} and {method: points of the first seed in their best plane}.
    """
    scores, planes = collections.OrderedDict(), {}

    def score(name, rows):
        if name not in scores:
            planes[name] = np.round(neighbours.plane(rows[0], train[1], rows[1][:N_SHOWN]), 4).tolist()
        for key, value in neighbours.scores(rows[0], train[1], rows[1], test[1]).items():
            scores.setdefault(name, {}).setdefault(key, []).append(value)
    score("pixels", [evaluate.pixels(images) for images, _ in (train, test)])
    for (method, _), snapshot in trained(options, methods, seeds, train).items():
        deploy = os.path.join(HERE, DEPLOYED[method.setting.trunk])
        score(method.name, [evaluate.embeddings(deploy, snapshot, images) for images, _ in (train, test)])
    return scores, planes


def trained(options, methods, seeds, train):
    """Train the methods with every seed. Returns {(Method, seed): path of the .caffemodel}."""
    for seed in seeds:
        if not os.path.isdir(source(options, seed, train)):
            create_data.write_shuffled(source(options, seed, train), train[0], train[1], seed)
    found = collections.OrderedDict(((method, seed), None) for method in methods for seed in seeds)
    slots = [[]] * multiprocessing.cpu_count() if options.gpu is None else [["-gpu", options.gpu]]
    for planned in sorted(set(method.setting.iterations for method in methods), reverse=True):
        iterations = 30 if options.quick else planned
        solver = read("solver.prototxt").replace("max_iter: 5000", "max_iter: %d" % iterations).replace(
            "base_lr: 0.1", "base_lr: 1")
        trainings = Trainings(solver, path(options, "nets"), None, slots, options.gpu is not None)
        listed = [(key, trainings.new(key[0].name, key[1], net(key[0].setting, key[1], source(options, key[1], train)),
                                      key[0].setting.rate)) for key in found if key[0].setting.iterations == planned]
        failed = trainings.train([training for _, training in listed])
        if failed:
            raise ValueError("expected trainings without an error, got %s" % ", ".join(
                "%s: %s" % pair for pair in sorted(failed.items())))
        found.update((key, "%s_iter_%d.caffemodel" % (training.prefix, iterations)) for key, training in listed)
    return found


def net(setting, seed=0, lmdb="examples/triplets/train_seed0_lmdb"):
    """Return the text of a setting's net. seed: of random triplets. lmdb: the images to train with."""
    text = read(NETS[setting.trunk]).replace("examples/triplets/train_seed0_lmdb", lmdb)
    if setting.strategy is None:
        return text
    select = dict(strategy=setting.strategy)
    if setting.strategy == "random":
        select["seed"] = seed
    if setting.max_triplets is not None:
        select["max_triplets"] = setting.max_triplets
    return text[:text.index(CLASSIFIER)] + triplet_fragment(embedding="embedding", label="label", select=select,
                                                            form=setting.form)


def source(options, seed, train):
    """Return the path of the training images in the order of a seed."""
    return path(options, "data", "train%d_seed%d_lmdb" % (len(train[1]), seed))


def path(options, *parts):
    """Return a path in the output folder, whose folder is made."""
    found = os.path.join(options.output, *parts)
    folder = found if len(parts) == 1 else os.path.dirname(found)
    if not os.path.isdir(folder):
        os.makedirs(folder)
    return found


def read(name):
    """Return the text of a file beside this script."""
    with io.open(os.path.join(HERE, name), encoding="utf-8") as file:
        return file.read()


def write(options, name, text):
    """Write a text into the output folder."""
    with atomic_write(os.path.join(options.output, name)) as file:
        file.write(text if isinstance(text, bytes) else text.encode("utf-8"))


if __name__ == "__main__":
    cli.run(main)
