#!/usr/bin/env python
"""Times our SoftmaxWithInfogainLoss against Caffe's own InfogainLoss, and against numpy by hand.

All in one net, on the same blobs, H from the same file; forward and backward of each, in
turn, in one process, round by round; their losses and gradients are ours, which is checked
before. Ours once more with OMP_NUM_THREADS=1: Caffe and numpy by hand use one thread. More
times say what bounds them: an empty layer in Python; exp, a copy and the rows of H over as
many scores (one thread of numpy, in blocks as ours); our check of the labels and our
scaling of the gradient; and forward of Caffe's own Softmax and Log layers. bench_growth.py shows them.
"""
from __future__ import division, print_function

import multiprocessing
import os
import shutil
import sys
import tempfile

os.environ.setdefault("GLOG_minloglevel", "2")

import benchmark  # first: it says where the packages are
import numpy as np

import loops
import real_nets
from bench_by_hand import check
from caffe_losses.functional.blocks import BLOCK, read_labels, scaled
from caffe_losses.formats.matrix_files import write_matrix
from tables import Part, Table
from timing import (Ratio, findings, in_turn, number, parameter_layer, pass_through, peak_memory, quartiles, ratio_cell,
                    ratios, rounded, shape_text, time_cell)
from tqdm import tqdm

SHAPES = [(32, 5), (64, 10), (256, 1000), (10, 21, 100, 100), (1, 21, 500, 500)]
COMPETITORS = [("native", "native InfogainLoss"), ("numpy", "numpy by hand")]
THREADED = ("native, BLAS threads", "ours, BLAS threads")
# The variables of a way. OMP_NUM_THREADS is read at every call of ours; timing.environment tells OpenBLAS its own.
VARIABLES = {"one thread": {"OMP_NUM_THREADS": "1"}}
VARIABLES.update((name, {"OPENBLAS_NUM_THREADS": str(multiprocessing.cpu_count())}) for name in THREADED)


def build(shape, folder, from_bottom):
    """A net with native, ours, numpy by hand and the bounds on the scores of a Parameter layer."""
    inputs = {"label": shape[:1] + shape[2:]}
    if from_bottom:
        inputs["H"] = (1, 1, shape[1], shape[1])
    source = os.path.join(folder, "H.binaryproto")
    text = real_nets.input_layer(**inputs) + parameter_layer("x", shape)
    bottoms = ["x", "label"] + (["H"] if from_bottom else [])
    text += 'layer { name: "native" type: "InfogainLoss" %s top: "native" infogain_loss_param { %s } }\n' % (
        " ".join('bottom: "%s"' % b for b in bottoms), "" if from_bottom else 'source: "%s"' % source)
    text += real_nets.python_layer("SoftmaxWithInfogainLoss", bottoms, ["ours"],
                                   {} if from_bottom else {"source": source}, "loss_weight: 1")
    text += real_nets.python_layer("InfogainOfScoresNumpy", ["x", "label"], ["numpy"],
                                   os.path.join(folder, "H.npy"), "loss_weight: 1", module="by_hand")
    text += real_nets.python_layer("Empty", ["x"], ["empty"], None, "loss_weight: 1", module="by_hand")
    text += ('layer { name: "softmax" type: "Softmax" bottom: "x" top: "softmax" }\n'
             'layer { name: "log" type: "Log" bottom: "softmax" top: "log" }\n')
    return real_nets.net(text)


def net_of(shape, H, from_bottom=False):
    """A net as `build` makes it, with scores and labels, after one forward."""
    rng = np.random.RandomState(0)
    folder = tempfile.mkdtemp()
    try:
        write_matrix(os.path.join(folder, "H.binaryproto"), H)
        np.save(os.path.join(folder, "H.npy"), H.astype(np.float64))
        net = build(shape, folder, from_bottom)
    finally:
        shutil.rmtree(folder)
    # The Parameter layer's top takes over its parameter at every forward.
    net.params["x"][0].data[...] = rng.randn(*shape) * 3
    net.blobs["label"].data[...] = rng.randint(0, shape[1], shape[:1] + shape[2:])
    if from_bottom:
        net.blobs["H"].data[0, 0] = H
    net.forward()
    return net


def any_gain(n_classes):
    return np.random.RandomState(1).rand(n_classes, n_classes).astype(np.float32)


def block_runs(net, H):
    """{name: function} of what no softmax with H can do without, for a block, and how many blocks there are."""
    scores, labels = net.params["x"][0].data, net.blobs["label"].data.astype(np.intp).reshape(-1)
    block = np.ascontiguousarray(scores.reshape(-1)[:BLOCK])
    out = np.empty_like(block)
    of_block = labels[:max(1, len(block) // len(H))]
    runs = {"exp": lambda: np.exp(block, out=out), "copy": lambda: np.copyto(out, block)}
    if scores.ndim == 2:
        runs["rows"] = lambda: H.take(of_block, axis=0)
    else:
        columns = np.ascontiguousarray(H.T)
        runs["rows"] = lambda: columns.take(of_block, axis=1)
    return runs, scores.size / block.size


def measure(shape, rounds, from_bottom=False, more=()):
    """Times, ratios, memory and errors for scores of a shape, as a dict.

    more: {name: function}, measured in turn with the others.
    """
    H = any_gain(shape[1])
    net = net_of(shape, H, from_bottom)
    net.backward()
    check(net, "x", ["native", "ours", "numpy"])
    memory = peak_memory(pass_through(net, "ours"))
    runs = {name: pass_through(net, name) for name in ("native", "ours", "numpy", "empty")}
    runs.update({"one thread": runs["ours"], THREADED[0]: runs["native"], THREADED[1]: runs["ours"]})
    runs.update({name: pass_through(net, name, backward=False) for name in ("softmax", "log")})
    of_block, n_blocks = block_runs(net, H)
    runs.update(of_block)
    scores, labels = net.params["x"][0].data, net.blobs["label"].data
    out = np.empty_like(scores)
    runs["labels"] = lambda: read_labels(labels, shape)
    runs["scale"] = lambda: scaled(scores, .5, out)
    times = in_turn(dict(runs, **dict(more)), rounds, VARIABLES)
    for name in of_block:
        times[name] = [time * n_blocks for time in times[name]]
    slopes = [net.blobs["x_x_0_split_%d" % i].diff for i in range(2)]  # native, ours
    loss, _ = loops.batch(loops.softmax_with_infogain, scores, labels, H)
    return dict(scores=shape_text(shape), times={name: quartiles(values) for name, values in times.items()},
                ratios=ratios(times, others=[name for name, _ in COMPETITORS]),
                one_thread=ratios(times, "one thread", ["native"])["native"],
                blas_threads=ratios(times, THREADED[1], THREADED[:1])[THREADED[0]],
                memory=rounded(memory and memory / scores.nbytes),
                difference=rounded(np.abs(slopes[0] - slopes[1]).max()),
                our_error=rounded(abs(float(net.blobs["ours"].data) / loss - 1)),
                native_error=rounded(abs(float(net.blobs["native"].data) / loss - 1)))


def figures(shapes=SHAPES, rounds=9, from_bottom=False):
    return {"rounds": rounds, "from_bottom": from_bottom,
            "shapes": [measure(shape, rounds, from_bottom) for shape in tqdm(shapes, desc="losses", disable=None)]}


def all_ratios(found):
    return ratios_of(found["shapes"])


def ratios_of(rows):
    return [Ratio("SoftmaxWithInfogainLoss", "scores %s" % row["scores"], title, row["ratios"][name],
                  row["times"]["ours"][1])
            for name, title in COMPETITORS for row in rows]


def on_one_thread(found):
    return [Ratio("SoftmaxWithInfogainLoss", "scores %s" % row["scores"], "native InfogainLoss", row["one_thread"],
                  row["times"]["one thread"][1]) for row in found["shapes"] if row["one_thread"]]


def part(found):
    introduction = (
        "SoftmaxWithInfogainLoss against Caffe's native InfogainLoss and a layer in plain numpy (float64 from the "
        "product with H on), H %s; losses and gradients agree, which is checked first. Scores are N x C (x H x W). "
        "Ratio: the other's time / ours, above 1 ours is faster; median of %d rounds, in brackets the quartiles. "
        "Times of forward + backward in microseconds. One thread: ours with OMP_NUM_THREADS 1; it uses more only "
        "above %d scores. BLAS threads: both with as many threads of OpenBLAS as there are cores, as in a training for "
        "which OPENBLAS_NUM_THREADS is not set: native's products are faster then, and OpenBLAS's threads, which wait "
        "awake, take time from ours; OPENBLAS_NUM_THREADS=1 is for nets whose losses count, OMP_NUM_THREADS says how "
        "many threads ours takes. Memory: the peak allocated by ours, in score blobs. Gradient: the largest difference to "
        "native's. Error: of the loss, relative to a loop in float64."
        % ("as third bottom" if found["from_bottom"] else "from a file", found["rounds"], BLOCK))
    head = ["scores", "native/ours", "native/ours, one thread", "native/ours, BLAS threads", "numpy/ours", "native", "ours",
            "ours, one thread", "numpy", "memory", "gradient", "our error", "native error"]
    rows = [[row["scores"], ratio_cell(row["ratios"]["native"]), ratio_cell(row["one_thread"]),
             ratio_cell(row.get("blas_threads")), ratio_cell(row["ratios"]["numpy"])]
            + [time_cell(row["times"][name]) for name in ("native", "ours", "one thread", "numpy")]
            + [number(row["memory"])] + ["%.1g" % row[key] for key in ("difference", "our_error", "native_error")]
            for row in found["shapes"]]
    return Part("The infogain loss against native", introduction, [Table("Forward + backward", [head] + rows)],
                list(findings(all_ratios(found)))
                + ["With ours on one thread: " + sentence for sentence in findings(on_one_thread(found))]
                + [_errors(found)])


def _errors(found):
    worst = [max(found["shapes"], key=lambda row: row[key])[key] for key in ("our_error", "native_error")]
    return "The loss is off by up to %.1g of itself with ours, %.1g with native, which sums up in float32." % tuple(worst)


def main():
    parser = benchmark.parser_of(__doc__, 9)
    benchmark.add_shapes(parser, SHAPES, "of the scores, for instance 64x10")
    parser.add_argument("--h-bottom", action="store_true", help="H as third bottom instead of from a file")
    args = parser.parse_args()
    benchmark.show(sys.modules[__name__], figures(args.shapes, args.rounds, args.h_bottom), args)


if __name__ == "__main__":
    main()
