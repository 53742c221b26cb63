#!/usr/bin/env python
"""Times the infogain loss out of Caffe's own layers against single layers: Caffe's InfogainLoss, ours, SoftmaxWithLoss.

All in one net, on the same blobs, with the same H; forward and backward of each, in turn,
in one process, round by round; losses and gradients agree, which is checked before.
Memory is by how much the process has grown after the first forward and backward of each:
all blobs, data and diff, the gradient of the scores among them.
"""
from __future__ import division, print_function

import ctypes
import os
import shutil
import sys
import tempfile

os.environ.setdefault("GLOG_minloglevel", "2")

import benchmark  # first: it says where the packages are
import numpy as np

import loops
import real_nets
from bench_losses import SHAPES, any_gain
from caffe_losses.formats.matrix_files import write_matrix
from caffe_prototxt.netspec.native_layers import write_weights
from caffe_prototxt.netspec.native_losses import native_fragment
from tables import Part, Table
from timing import (Ratio, findings, in_turn, number, parameter_layer, pass_through, quartiles, ratio_cell, ratios,
                    rounded, shape_text, time_cell)
from tqdm import tqdm

KIND = "SoftmaxWithInfogainLoss"
COMPETITORS = [("native", "native InfogainLoss"), ("ours", "our SoftmaxWithInfogainLoss"),
               ("softmax", "SoftmaxWithLoss")]
WAYS = ["composition"] + [name for name, _ in COMPETITORS]
TOLERANCE = 2e-6  # of the composition: its gradient relative to the largest of ours, its loss to a loop in float64
SMALLEST = 2 ** 20  # scores whose memory is more than what else the process takes


def build(shape, H, folder):
    """A net with all losses on the scores of a Parameter layer, in the order of WAYS, with the weights it needs."""
    source, weights = [os.path.join(folder, name) for name in ("H.binaryproto", "loss.caffemodel")]
    write_matrix(source, H)
    text, blobs = native_fragment(KIND, H, "x", name="composition", axis=-1 if len(shape) == 2 else 1)
    write_weights(weights, blobs)
    text = real_nets.input_layer(label=shape[:1] + shape[2:]) + parameter_layer("x", shape) + text
    text += ('layer { name: "native" type: "InfogainLoss" bottom: "x" bottom: "label" top: "native" '
             'infogain_loss_param { source: "%s" } }\n' % source)
    text += real_nets.python_layer(KIND, ["x", "label"], ["ours"], {"source": source}, "loss_weight: 1")
    text += 'layer { name: "softmax" type: "SoftmaxWithLoss" bottom: "x" bottom: "label" top: "softmax" }\n'
    net = real_nets.net(text)
    net.copy_from(weights)
    return net


def resident():
    """Bytes of the process in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def map_from(size):
    """Let malloc map what has this size or more, so that what is freed does not stay in the process."""
    M_MMAP_THRESHOLD = -3
    ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, size)


def grown(run):
    """Bytes that the process has grown by after a run."""
    before = resident()
    run()
    return resident() - before


def measure(shape, rounds):
    map_from(2 ** 17)
    H = any_gain(shape[1])
    folder = tempfile.mkdtemp()
    try:
        net = build(shape, H, folder)
    finally:
        shutil.rmtree(folder)
    rng = np.random.RandomState(0)
    scores, labels = net.params["x"][0].data, net.blobs["label"].data
    scores[...] = rng.randn(*shape) * 3
    labels[...] = rng.randint(0, shape[1], labels.shape)
    names = list(net._layer_names)
    net._forward(0, names.index("composition_labels") - 1)
    runs = {way: pass_through(net, way) for way in WAYS}
    runs["composition"] = pass_through(net, "composition_labels", "composition")
    memory = {way: grown(runs[way]) for way in WAYS}
    map_from(2 ** 25)
    net.forward()
    net.backward()
    errors, difference = check(net, H)
    times = in_turn(runs, rounds)
    large = scores.size >= SMALLEST
    return {"scores": shape_text(shape), "times": {way: quartiles(values) for way, values in times.items()},
            "ratios": ratios(times, "composition"), "difference": rounded(difference),
            "errors": {way: rounded(error) for way, error in errors.items()},
            "memory": {way: rounded(size / scores.nbytes) if large else None for way, size in memory.items()}}


def check(net, H):
    """Return {way: the relative error of its loss}, by a loop in float64, and that of the gradient (see TOLERANCE)."""
    loss, _ = loops.batch(loops.softmax_with_infogain, net.blobs["x"].data, net.blobs["label"].data, H)
    errors = {way: abs(float(net.blobs[way].data) / loss - 1) for way in ("composition", "native", "ours")}
    own, _, ours = [net.blobs["x_x_0_split_%d" % i].diff for i in range(3)]
    difference = np.abs(own - ours).max() / np.abs(ours).max()
    assert errors["composition"] < TOLERANCE and difference < TOLERANCE, (errors, difference)
    return errors, difference


def figures(shapes=SHAPES, rounds=9):
    rows = [measure(shape, rounds) for shape in tqdm(shapes, desc="native", disable=None)]
    return {"rounds": rounds, "shapes": rows}


def all_ratios(found):
    return [Ratio("Infogain, Caffe's own layers", "scores %s" % row["scores"], title, row["ratios"][name],
                  row["times"]["composition"][1])
            for name, title in COMPETITORS for row in found["shapes"]]


def part(found):
    introduction = (
        "The infogain loss as make_net.py makes it of Caffe's own layers, for GPUs, here on the CPU; against Caffe's "
        "InfogainLoss, our SoftmaxWithInfogainLoss (on as many threads as it takes) and, which has no H, "
        "SoftmaxWithLoss. Scores are N x C (x H x W). Ratio: the other's time / the composition's, above 1 the "
        "composition is faster; median of %d rounds, in brackets the quartiles. Times of forward + backward in "
        "microseconds. Memory: in blobs of the scores' size, the gradient of the scores among them. Gradient: the "
        "largest difference from ours, relative to the largest. Error: of the loss, relative to a loop in float64."
        % found["rounds"])
    head = (["scores"] + ["%s/composition" % name for name, _ in COMPETITORS] + WAYS
            + ["%s, memory" % way for way in WAYS] + ["gradient", "error", "native error"])
    rows = [[row["scores"]] + [ratio_cell(row["ratios"][name]) for name, _ in COMPETITORS]
            + [time_cell(row["times"][way]) for way in WAYS] + [number(row["memory"][way]) for way in WAYS]
            + ["%.1g" % value for value in (row["difference"], row["errors"]["composition"], row["errors"]["native"])]
            for row in found["shapes"]]
    return Part("The infogain loss out of Caffe's own layers", introduction,
                [Table("Forward + backward", [head] + rows)],
                [sentence.replace(" ours is ", " the composition is ") for sentence in findings(all_ratios(found))])


def main():
    parser = benchmark.parser_of(__doc__, 9)
    benchmark.add_shapes(parser, SHAPES, "of the scores, for instance 64x10")
    args = parser.parse_args()
    benchmark.show(sys.modules[__name__], figures(args.shapes, args.rounds), args)


if __name__ == "__main__":
    main()
