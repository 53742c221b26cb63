#!/usr/bin/env python
"""Times our losses and triplets against PyTorch's and pytorch-metric-learning's, on the CPU, in one process.

No Caffe is in it: ours are the functions that the layers call. PyTorch has the same arrays and as many threads. The
losses, the gradients and the triplets are compared first.
"""
from __future__ import division, print_function

import os
import sys

import benchmark  # first: it says where the packages are
import numpy as np

from caffe_losses.functional import blocks, losses, mining, triplets
from caffe_losses.optional_packages import has_package
from tables import Part, Table
from timing import Ratio, findings, in_turn, quartiles, ratio_cell, ratios, rounded, shape_text, time_cell

SHAPES = [(32, 5), (64, 10), (128, 100), (256, 1000), (1024, 1000), (10, 21, 100, 100), (1, 21, 500, 500),
          (2, 150, 120, 120), (1, 1000, 64, 64)]
BATCHES = [(64, 64), (128, 64), (256, 64)]
N_CLASSES = 10
KINDS = [("any H", "cross_entropy with the rows of H as targets"), ("class weights", "cross_entropy with weight=")]
MINERS = [("all", "get_all_triplets_indices"), ("hardest", "BatchHardMiner"), ("semi_hard", "TripletMarginMiner")]
LEAD = .25  # seconds: PyTorch's threads wait actively for the next call, on a core that ours could use
TOLERANCE = 1e-5  # of the loss, and of the gradients, relative to the largest
MISSING = "not compared with PyTorch; pip install torch pytorch-metric-learning, and make bench-peers ARGS=--keep"


def ours(x, labels, H):
    """Return a function that does what a layer does forward and backward, and the array of its gradient."""
    shape = x.shape[:2] + (x[0, 0].size,) * (x.ndim > 2)
    loss, matrix = losses.softmax_with_infogain, losses.matrix_of(H)
    made, gradient = np.empty(shape, np.float32), np.empty_like(x)
    factor = np.empty(shape[:1], np.float32) if losses.leaves_factor(loss, matrix, shape) else None

    def run():
        read = blocks.read_labels(labels, shape)
        total = blocks.batch_loss(loss, x.reshape(shape), read, matrix, made, factor=factor)
        blocks.scaled(made, 1 / read.count, gradient, factor)
        return total / read.count
    return run, gradient


def of_torch(x, labels, H, weighted):
    """Return the same of PyTorch, which gets its labels as integers, and a function that returns its gradient."""
    import torch
    scores, labels = torch.from_numpy(x.copy()).requires_grad_(), torch.from_numpy(labels.astype(np.int64))
    H, weight, count = torch.from_numpy(H), torch.from_numpy(H.diagonal().copy()), labels.numel()

    def run():
        scores.grad = None
        options = {"weight": weight} if weighted else {}
        target = labels if weighted else H[labels].movedim(-1, 1)
        loss = torch.nn.functional.cross_entropy(scores, target, reduction="sum", **options) / count
        loss.backward()
        return loss.item()
    return run, lambda: scores.grad.numpy()


def measure_loss(shape, kind, rounds):
    rng = np.random.RandomState(0)
    x = (rng.randn(*shape) * 3).astype(np.float32)
    labels = rng.randint(0, shape[1], shape[:1] + shape[2:]).astype(np.float32)
    H = rng.rand(shape[1], shape[1]).astype(np.float32)
    weighted = kind == "class weights"
    H = np.diag(H[0] + np.float32(.5)) if weighted else H
    run, gradient = ours(x, labels, H)
    other, other_gradient = of_torch(x, labels, H, weighted)
    losses_of = run(), other()
    difference = np.abs(gradient - other_gradient()).max() / np.abs(gradient).max()
    assert abs(losses_of[0] / losses_of[1] - 1) < TOLERANCE and difference < TOLERANCE, (losses_of, difference)
    times = in_turn({"ours": run, "torch": other}, rounds, lead=LEAD)
    return {"kind": kind, "scores": shape_text(shape), "difference": rounded(difference),
            "times": {way: quartiles(values) for way, values in times.items()}, "ratio": ratios(times)["torch"]}


def our_triplets(x, labels, strategy):
    """Return a function that selects triplets, and one that selects them and returns their loss and its gradient."""
    def select():
        return mining.select(x, labels, strategy)

    def loss():
        chosen = select()
        rows = [x[index] for index in chosen]
        a, b = triplets.distances(rows[0], rows[1]), triplets.distances(rows[0], rows[2])
        ratio = triplets.softmax_ratio(a, b, "log")
        slope = ratio.slope / len(a)
        gradients = [np.empty_like(part) for part in rows]
        triplets.triplet_gradient(*rows, to_positive=slope * triplets.slopes(a),
                                  to_negative=-slope * triplets.slopes(b), outs=gradients)
        gradient = np.empty_like(x)
        mining.scatter(chosen, gradients, gradient)
        return ratio.loss.mean(), gradient
    return select, loss


def torch_triplets(x, labels, strategy):
    """Return the same of pytorch-metric-learning, whose TripletMarginMiner selects more."""
    import torch
    from pytorch_metric_learning import distances, losses, miners, reducers
    from pytorch_metric_learning.utils.loss_and_miner_utils import get_all_triplets_indices
    distance = distances.LpDistance(normalize_embeddings=False)
    miner = {"hardest": lambda: miners.BatchHardMiner(distance=distance),
             "semi_hard": lambda: miners.TripletMarginMiner(1e9, "semihard", distance=distance),
             "all": lambda: lambda x, labels: get_all_triplets_indices(labels)}[strategy]()
    smooth = losses.TripletMarginLoss(0, smooth_loss=True, distance=distance, reducer=reducers.MeanReducer())
    embedding, labels = torch.from_numpy(x.copy()).requires_grad_(), torch.from_numpy(labels)

    def select():
        with torch.no_grad():
            return miner(embedding, labels)

    def loss():
        embedding.grad = None
        mean = smooth(embedding, labels, select())
        mean.backward()
        return mean.item(), embedding.grad.numpy()
    return select, loss


def same_triplets(own, other, squared):
    """Return whether both have the same triplets; of several negatives of a pair the nearest counts."""
    nearest = {}
    for anchor, positive, negative in zip(*other):
        nearest[anchor, positive] = min(nearest.get((anchor, positive), (np.inf, 0)),
                                        (squared[anchor, negative], negative))
    return {(a, p): n for a, p, n in zip(*own)} == {pair: negative for pair, (_, negative) in nearest.items()}


def measure_triplets(shape, strategy, rounds):
    x = np.random.RandomState(0).randn(*shape).astype(np.float32)
    labels = np.arange(shape[0]) % N_CLASSES
    select, loss = our_triplets(x, labels, strategy)
    other_select, other_loss = torch_triplets(x, labels, strategy)
    own, other = [[np.asarray(index).tolist() for index in chosen()] for chosen in (select, other_select)]
    if strategy == "all":
        assert sorted(zip(*own)) == sorted(zip(*other))
    else:
        assert same_triplets(own, other, mining.squared_distances(x)), strategy
    runs = {"ours": select, "torch": other_select}
    if len(own[0]) == len(other[0]):
        (value, gradient), (other_value, other_gradient) = loss(), other_loss()
        difference = np.abs(gradient - other_gradient).max() / np.abs(gradient).max()
        assert abs(value / other_value - 1) < TOLERANCE, (value, other_value)
        assert difference < 1e2 * TOLERANCE, difference  # theirs are distances in float32
        runs.update({"our loss": loss, "torch loss": other_loss})
    times = in_turn(runs, rounds, lead=LEAD)
    return {"strategy": strategy, "batch": shape_text(shape), "triplets": [len(own[0]), len(other[0])],
            "times": {way: quartiles(values) for way, values in times.items()},
            "ratio": ratios(times, "ours", ["torch"])["torch"],
            "loss_ratio": ratios(times, "our loss", ["torch loss"])["torch loss"] if "our loss" in runs else None}


def figures(shapes=SHAPES, rounds=9, batches=BATCHES):
    import pytorch_metric_learning
    import torch
    torch.set_num_threads(blocks.thread_count())
    return {"rounds": rounds, "torch": torch.__version__, "metric_learning": pytorch_metric_learning.__version__,
            "losses": [measure_loss(shape, kind, rounds) for kind, _ in KINDS for shape in shapes],
            "triplets": [measure_triplets(shape, strategy, rounds) for strategy, _ in MINERS for shape in batches]}


def all_ratios(found):
    of_losses = [Ratio("SoftmaxWithInfogainLoss", "%s, scores %s" % (row["kind"], row["scores"]),
                       "PyTorch's " + title, row["ratio"], row["times"]["ours"][1])
                 for kind, title in KINDS for row in found["losses"] if row["kind"] == kind]
    of_triplets = [Ratio("TripletSelect", "%s of %s" % (row["strategy"], row["batch"]), "pytorch-metric-learning's "
                         + title, row["ratio"], row["times"]["ours"][1])
                   for strategy, title in MINERS for row in found["triplets"] if row["strategy"] == strategy]
    return of_losses + of_triplets + [
        Ratio("TripletSelect and TripletSoftmaxLoss", "%s of %s" % (row["strategy"], row["batch"]),
              "pytorch-metric-learning's TripletMarginLoss", row["loss_ratio"], row["times"]["our loss"][1])
        for row in found["triplets"] if row["loss_ratio"]]


def part(found):
    introduction = (
        "The functions that SoftmaxWithInfogainLoss, TripletSelect and TripletSoftmaxLoss (form \"log\") call, against "
        "PyTorch %s and pytorch-metric-learning %s on the CPU, in one process without Caffe, with the same arrays and "
        "as many threads. Losses and gradients agree, and so do the triplets, which is checked first; PyTorch has its "
        "labels as integers already, ours checks them. Ratio: the other's time / ours, above 1 ours is faster; median "
        "of %d rounds, in brackets the quartiles. Times of forward + backward, and of the selection, in microseconds. "
        "Difference: of the gradients, relative to the largest. TripletMarginMiner gives every negative that is "
        "farther than the positive, TripletSelect the nearest of them." % (
            found["torch"], found["metric_learning"], found["rounds"]))
    head = ["H", "scores", "PyTorch/ours", "PyTorch", "ours", "difference"]
    rows = [[row["kind"], row["scores"], ratio_cell(row["ratio"])] + [time_cell(row["times"][way])
            for way in ("torch", "ours")] + ["%.1g" % row["difference"]] for row in found["losses"]]
    choices = [["strategy", "batch", "selection: theirs/ours", "theirs", "ours", "triplets of theirs", "of ours",
                "with loss and gradient: theirs/ours", "theirs", "ours"]]
    choices += [[row["strategy"], row["batch"], ratio_cell(row["ratio"])]
                + [time_cell(row["times"][way]) for way in ("torch", "ours")]
                + ["%d" % n for n in reversed(row["triplets"])] + [ratio_cell(row["loss_ratio"])]
                + [time_cell(row["times"].get(way)) for way in ("torch loss", "our loss")] for row in found["triplets"]]
    return Part("Against PyTorch", introduction, [Table("Losses", [head] + rows), Table("Triplets", choices)],
                list(findings(all_ratios(found))))


def main():
    parser = benchmark.parser_of(__doc__, 9)
    benchmark.add_shapes(parser, SHAPES, "of the scores, for instance 64x10")
    parser.add_argument("--keep", action="store_true", help="keep the figures in results.json")
    args = parser.parse_args()
    if not (has_package("torch") and has_package("pytorch_metric_learning")):
        print(MISSING)
        return
    found = figures(args.shapes, args.rounds)
    if args.keep:
        benchmark.keep(os.path.join(benchmark.HERE, "results.json"), "peers", found)
    else:
        benchmark.show(sys.modules[__name__], found, args)


if __name__ == "__main__":
    main()
