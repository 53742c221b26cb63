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
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[1:1] = [os.path.join(os.path.dirname(os.path.dirname(HERE)), "tools")]

from caffe_tools import cli  # first, as it reports the packages that are missing

import evaluate  # before caffe is imported
import create_data
from caffe_losses.formats.atomic import atomic_write
from caffe_prototxt.netspec.triplet_layers import triplet_fragment
from caffe_tools.compare.trainings import Trainings
import numpy as np
import picture
import report

# The files of a trunk: the control's net, a classifier, up to CLASSIFIER the others' too; and the deployed one.
NETS = {"mlp": ("softmax_train_val.prototxt", "deploy.prototxt"),
        "conv": ("conv_softmax_train_val.prototxt", "conv_deploy.prototxt")}
CLASSIFIER = "layer {  # The control"
LMDB = "examples/triplets/train_seed0_lmdb"
# What is compared on the test images, trained on all training images: these are the files NAME_train_val.prototxt.
# Chosen from those in validation.json. setting: as in validation.json: trunk; strategy of TripletSelect, form of
# TripletSoftmaxLoss (or a classifier); first learning rate; iterations.
Method = collections.namedtuple("Method", "name title setting")
METHODS = [Method("semi_hard", "semi_hard triplets", "mlp; semi_hard, log; rate 0.1; 5000"),
           Method("random", "random triplets", "mlp; random, log; rate 0.1; 5000"),
           Method("softmax", "control: a classifier", "mlp; softmax; rate 0.05; 5000")]
SETTING = re.compile(r"(?P<trunk>\w+); (?:softmax|(?P<strategy>\w+), (?P<form>\w+)(?:, at most (?P<most>\d+))?); "
                     r"rate (?P<rate>[\d.]+); (?P<iterations>\d+)$")
N_VALIDATION = 1000  # of each class that --validate scores with
N_SHOWN = 2000  # test images in the picture


def main():
    parser = cli.Parser(description=__doc__, epilog="example: with_caffe.sh examples/triplets/train.py --seeds 5")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="train every net with N seeds (default: 3)")
    parser.add_argument("--output", metavar="DIR", default=os.path.relpath(os.path.join(HERE, "output")),
                        help="folder for all that is made (default: output/ beside this script)")
    parser.add_argument("--gpu", metavar="N", help="train on GPU N (default: on the CPU)")
    parser.add_argument("--quick", action="store_true", help="few images and iterations: to see that it runs")
    parser.add_argument("--validate", action="store_true", help="train the settings in validation.json, with one seed "
                        "on 50,000 of the training images, and score them on the other 10,000: writes it anew")
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("--seeds: expected at least 2, got %d" % options.seeds)
    (validate if options.validate else compare)(options, json.loads(read("validation.json")))


def compare(options, tried):
    """Score the chosen settings on the test images, and write their table and picture."""
    train, test = create_data.read("train"), create_data.read("t10k")
    if options.quick:
        train, test = [part[:1000] for part in train], [part[:500] for part in test]
    scores, planes = evaluated(options, METHODS, range(options.seeds), train, test)
    results = {"classes": read("classes.txt").splitlines(), "n_train": len(train[1]), "n_test": len(test[1]),
               "seeds": options.seeds, "methods": METHODS, "tried": tried, "scores": scores,
               "planes": {name: planes[name] for name in ("pixels", METHODS[0].name)},
               "shown": test[1][:N_SHOWN].tolist()}
    files = [os.path.join(options.output, name) for name in ("RESULTS.md", "results.json", "results.png")]
    cli.write(report.as_markdown(results).encode("utf-8"))
    cli.write(report.as_markdown(results).encode("utf-8"), files[0])
    cli.write(json.dumps(results, indent=1, sort_keys=True).encode("utf-8"), files[1])
    with atomic_write(files[2]) as file:
        picture.draw(results, file)
    print("The picture: " + files[2])


def validate(options, tried):
    """Score every setting on the validation part of the training images."""
    images, labels = create_data.read("train")
    rng = np.random.RandomState(0)
    of_classes = [rng.permutation(np.flatnonzero(labels == k)) for k in range(10)]
    train, held_out = [np.concatenate([of_class[part] for of_class in of_classes])
                       for part in (np.s_[:-N_VALIDATION], np.s_[-N_VALIDATION:])]
    methods = [Method("tried%d" % i, setting, setting) for i, (setting, _) in enumerate(tried[1:])]
    scores, _ = evaluated(options, methods, [0], (images[train], labels[train]), (images[held_out], labels[held_out]))
    rows = [["pixels", scores["pixels"]]] + [[method.title, scores[method.name]] for method in methods]
    cli.write(json.dumps(rows, indent=1, sort_keys=True).encode("utf-8"),
              os.path.join(options.output, "validation.json"))
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
            planes[name] = np.round(picture.plane(rows[0], train[1], rows[1][:N_SHOWN]), 4).tolist()
        for key, value in evaluate.scores(rows[0], train[1], rows[1], test[1]).items():
            scores.setdefault(name, {}).setdefault(key, []).append(value)
    score("pixels", [images.reshape(len(images), -1) * evaluate.SCALE for images, _ in (train, test)])
    for name, deploy, snapshot in trained(options, methods, seeds, train):
        score(name, [evaluate.embeddings(deploy, snapshot, images) for images, _ in (train, test)])
    return scores, planes


def trained(options, methods, seeds, train):
    """Train the methods with every seed. Returns (name of the method, deployed net, snapshot) of each; paths."""
    for name in ("data", "nets"):
        if not os.path.isdir(os.path.join(options.output, name)):
            os.makedirs(os.path.join(options.output, name))
    lmdbs = [os.path.join(options.output, "data", "train%d_seed%d_lmdb" % (len(train[1]), seed)) for seed in seeds]
    for seed, lmdb in zip(seeds, lmdbs):
        if not os.path.isdir(lmdb):
            create_data.write_shuffled(lmdb, train[0], train[1], seed)
    slots = [[]] * multiprocessing.cpu_count() if options.gpu is None else [["-gpu", options.gpu]]
    listed, found = [], []
    for method in methods:
        setting = SETTING.match(method.setting).groupdict()
        iterations = 30 if options.quick else int(setting["iterations"])
        solver = re.sub("max_iter: .*", "max_iter: %d" % iterations,
                        re.sub("base_lr: .*", "base_lr: " + setting["rate"], read("solver.prototxt")))
        trainings = Trainings(solver, os.path.join(options.output, "nets"), None, slots, options.gpu is not None)
        for seed, lmdb in zip(seeds, lmdbs):
            listed.append(trainings.new(method.name, seed, net(method.setting, seed).replace(LMDB, lmdb)))
            found.append((method.name, os.path.join(HERE, NETS[setting["trunk"]][1]),
                          "%s_iter_%d.caffemodel" % (listed[-1].prefix, iterations)))
    failed = trainings.train(listed)
    if failed:
        raise ValueError("expected trainings without an error, got %s" % ", ".join(
            map(": ".join, sorted(failed.items()))))
    return found


def net(setting, seed=0):
    """Return the text of a setting's net. seed: of random triplets."""
    setting = SETTING.match(setting).groupdict()
    text = read(NETS[setting["trunk"]][0])
    if setting["strategy"] is None:
        return text
    select = {"strategy": setting["strategy"], "count": True}
    if setting["strategy"] == "random":
        select["seed"] = seed
    if setting["most"] is not None:
        select["max_triplets"] = int(setting["most"])
    return text[:text.index(CLASSIFIER)] + triplet_fragment(embedding="embedding", label="label", select=select,
                                                            form=setting["form"])


def read(name):
    """Return the text of a file beside this script."""
    with io.open(os.path.join(HERE, name), encoding="utf-8") as file:
        return file.read()


if __name__ == "__main__":
    cli.run(main)
