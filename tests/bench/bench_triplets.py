#!/usr/bin/env python
"""Times TripletSoftmaxLoss against Caffe's own layers and against Python by hand, and TripletSelect.

All losses in one net, on the same three blobs; forward and backward of each, in turn, in
one process, round by round. Memory is what lies between the three blobs and the loss: of
the layer what it allocates at its peak, of the composition of Caffe's own layers its
blobs, data and diff.
"""
from __future__ import division, print_function

import os
import sys

os.environ.setdefault("GLOG_minloglevel", "2")

import benchmark  # first: it says where the packages are
import numpy as np

import real_nets
from caffe_losses.functional.mining import STRATEGIES
from caffe_prototxt.netspec.triplet_layers import PARTS, triplet_fragment
from tables import Part, Table
from timing import (Ratio, findings, in_turn, number, parameter_layer, pass_through, peak_memory, quartiles, ratio_cell,
                    ratios, rounded, shape_text, time_cell)
from tqdm import tqdm

SHAPES = [(64, 64), (128, 64), (1024, 64), (1024, 512), (16384, 128)]
BATCHES = [(64, 64), (128, 64), (256, 64)]
N_CLASSES = 10
BY_HAND = {"numpy": "TripletSoftmaxNumpy", "loop": "TripletSoftmaxLoop"}
COMPETITORS = [("native", "a composition of Caffe's own layers"), ("numpy", "numpy by hand"), ("loop", "a loop by hand")]
WAYS = ["ours"] + [name for name, _ in COMPETITORS]
TOLERANCE = 1e-4  # of the loss, and of the gradients, relative to the largest: the composition's sums are float32


def build(shape):
    """A net with all losses, each on splits of its own of the same Parameters."""
    text = "".join(parameter_layer(part, shape) for part in PARTS)
    for way in WAYS:
        blobs = ["%s_%s" % (part, way) for part in PARTS]
        text += "".join(real_nets.learned(part, blob) for part, blob in zip(PARTS, blobs))
        if way in BY_HAND:
            text += real_nets.python_layer(BY_HAND[way], blobs, [way], None, "loss_weight: 1", module="by_hand")
        else:
            text += triplet_fragment(blobs, way, python=way == "ours")
    net = real_nets.net(text)
    for seed, part in enumerate(PARTS):
        net.params[part][0].data[...] = np.random.RandomState(seed).randn(*shape) * shape[1] ** -.5
    net.forward()
    net.backward()
    return net


def native_memory(net):
    """Bytes of the blobs between: data and diff, but no data of a Split's tops, which share it."""
    between = [(name, blob) for name, blob in net.blobs.items()
               if name.startswith("native_") or name.startswith("anchor_native_")]
    return sum(blob.count * 4 * (1 if "_split_" in name else 2) for name, blob in between)


def difference(net, way):
    """The largest difference of its gradient from ours, relative to the largest of ours."""
    ours, others = [[net.blobs["%s_%s" % (part, w)].diff for part in PARTS] for w in ("ours", way)]
    return max(np.abs(a - b).max() for a, b in zip(ours, others)) / max(np.abs(a).max() for a in ours)


def measure_loss(shape, rounds):
    net = build(shape)
    differences = {way: difference(net, way) for way, _ in COMPETITORS}
    losses = {way: abs(float(net.blobs[way].data) / float(net.blobs["ours"].data) - 1) for way, _ in COMPETITORS}
    assert max(differences.values()) < TOLERANCE and max(losses.values()) < TOLERANCE, (differences, losses)
    runs = {way: pass_through(net, way) for way in WAYS}
    runs["native"] = pass_through(net, "anchor_native_anchor_native_0_split", "native")
    times = in_turn(runs, rounds)
    blob = 4 * np.prod(shape)
    memory = peak_memory(runs["ours"])
    return {"triplets": shape_text(shape), "times": {way: quartiles(values) for way, values in times.items()},
            "ratios": ratios(times), "memory": rounded(memory and memory / blob),
            "native_memory": rounded(native_memory(net) / blob), "difference": rounded(differences["native"])}


def measure_choice(shape, rounds):
    """{strategy: {"time": quartiles of microseconds, "triplets": how many it chooses}}."""
    found = {}
    for strategy in STRATEGIES:
        text = real_nets.input_layer(x=shape, label=shape[:1]) + real_nets.learned("x", "x1")
        net = real_nets.net(text + triplet_fragment(embedding="x1", label="label", select=dict(strategy=strategy)))
        net.blobs["x"].data[...] = np.random.RandomState(0).randn(*shape)
        net.blobs["label"].data[...] = np.arange(shape[0]) % N_CLASSES
        net.forward()
        net.backward()
        times = in_turn({"choice": pass_through(net, "anchor")}, rounds)
        found[strategy] = {"time": quartiles(times["choice"]), "triplets": len(net.blobs["anchor"].data)}
    return found


def figures(shapes=SHAPES, rounds=9, batches=BATCHES):
    with tqdm(total=len(shapes) + len(batches), desc="triplets", disable=None) as bar:
        def measured(measure, shape):
            found = measure(shape, rounds)
            bar.update()
            return found

        return {"rounds": rounds, "losses": [measured(measure_loss, shape) for shape in shapes],
                "choices": [[shape_text(shape), measured(measure_choice, shape)] for shape in batches]}


def all_ratios(found):
    return [Ratio("TripletSoftmaxLoss", "triplets %s" % row["triplets"], title, row["ratios"][name],
                  row["times"]["ours"][1])
            for name, title in COMPETITORS for row in found["losses"]]


def part(found):
    introduction = (
        "Triplets of N x C each. Ratio: the other's time / ours, above 1 ours is faster; median of %d rounds, in "
        "brackets the quartiles. Native is a composition of Caffe's own layers; numpy and loop are layers in Python by "
        "hand. Times of forward + backward in microseconds. Memory: in blobs of one N x C. Gradient: the largest "
        "difference of native's from ours, relative to the largest of ours. TripletSelect: milliseconds, "
        "and how many triplets; labels of %d classes." % (found["rounds"], N_CLASSES))
    head = (["triplets"] + ["%s/ours" % way for way, _ in COMPETITORS] + WAYS
            + ["our memory", "native memory", "gradient"])
    rows = [[row["triplets"]] + [ratio_cell(row["ratios"][way]) for way, _ in COMPETITORS]
            + [time_cell(row["times"][way]) for way in WAYS]
            + [number(row["memory"]), number(row["native_memory"]), "%.1g" % row["difference"]]
            for row in found["losses"]]
    choices = [["batch"] + list(STRATEGIES)] + [
        [batch] + ["%s (%d)" % (number(by_strategy[s]["time"][1] / 1e3), by_strategy[s]["triplets"])
                   for s in STRATEGIES] for batch, by_strategy in found["choices"]]
    return Part("Triplets", introduction, [Table("TripletSoftmaxLoss", [head] + rows),
                                           Table("TripletSelect", choices)], list(findings(all_ratios(found))))


def main():
    parser = benchmark.parser_of(__doc__, 9)
    benchmark.add_shapes(parser, SHAPES, "triplets and width, for instance 128x64")
    args = parser.parse_args()
    benchmark.show(sys.modules[__name__], figures(args.shapes, args.rounds), args)


if __name__ == "__main__":
    main()
