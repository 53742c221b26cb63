#!/usr/bin/env python
"""Times TripletSoftmaxLoss against the composition of Caffe's own layers, and TripletSelect.

Both losses in one net, on the same three blobs; forward and backward of each, in
turn, in one process; the median of the rounds. Memory is what lies between the three
blobs and the loss: of the layer what it allocates at its peak, of the composition its
blobs, data and diff.
"""
from __future__ import division, print_function

import argparse
import os
import sys
import timeit

os.environ.setdefault("GLOG_minloglevel", "2")
HERE = os.path.dirname(os.path.abspath(__file__))
CHECKOUT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(CHECKOUT, name) for name in ("layers", "prototxt", "tests")] + [HERE]

import numpy as np

import real_nets
from bench_losses import _shape, _text, pass_through, peak_memory
from caffe_losses.triplets import STRATEGIES
from caffe_prototxt.triplets import PARTS, triplet_fragment

SHAPES = [(64, 64), (128, 64), (1024, 64), (1024, 512), (16384, 128)]
BATCHES = [(64, 64), (128, 64), (256, 64)]
N_CLASSES = 10


def build(shape):
    """A net with both losses, each on splits of its own of the same Parameters."""
    text = "".join('layer { name: "%s" type: "Parameter" top: "%s" parameter_param { shape { %s } } }' % (
        part, part, " ".join("dim: %d" % n for n in shape)) for part in PARTS)
    for kind in ("ours", "native"):
        text += "".join(real_nets.learned(part, "%s_%s" % (part, kind)) for part in PARTS)
        text += triplet_fragment(["%s_%s" % (part, kind) for part in PARTS], kind, python=kind == "ours")
    net = real_nets.net(text)
    for seed, part in enumerate(PARTS):
        net.params[part][0].data[...] = np.random.RandomState(seed).randn(*shape) * shape[1] ** -.5
    net.forward()
    net.backward()
    return net


def native_layers(net):
    """The first and the last layer of the composition, with the Split that it needs."""
    names = list(net._layer_names)
    return names.index("anchor_native_anchor_native_0_split"), names.index("native")


def native_memory(net):
    """Bytes of the blobs between: data and diff, but no data of a Split's tops, which share it."""
    between = [(name, blob) for name, blob in net.blobs.items()
               if name.startswith("native_") or name.startswith("anchor_native_")]
    return sum(blob.count * 4 * (1 if "_split_" in name else 2) for name, blob in between)


def measure_loss(shape, rounds):
    net = build(shape)
    first, last = native_layers(net)

    def native():
        net._forward(first, last)
        net._backward(last, first)

    runs = {"ours": pass_through(net, "ours"), "native": native}
    times = medians(runs, max(1, int(1e5 / np.prod(shape))), rounds)
    blob = 4 * np.prod(shape)
    memory = peak_memory(runs["ours"])
    return dict(times, memory=memory and memory / blob, native_memory=native_memory(net) / blob,
                difference=max(np.abs(net.blobs[part + "_ours"].diff - net.blobs[part + "_native"].diff).max()
                               for part in PARTS))


def measure_choice(shape, rounds):
    """{strategy: (seconds forward and backward, number of triplets)}."""
    found = {}
    for strategy in STRATEGIES:
        text = real_nets.input_layer(x=shape, label=shape[:1]) + real_nets.learned("x", "x1")
        net = real_nets.net(text + triplet_fragment(embedding="x1", label="label", select=dict(strategy=strategy)))
        net.blobs["x"].data[...] = np.random.RandomState(0).randn(*shape)
        net.blobs["label"].data[...] = np.arange(shape[0]) % N_CLASSES
        net.forward()
        net.backward()
        found[strategy] = (medians({"choice": pass_through(net, "anchor")}, 5, rounds)["choice"],
                           len(net.blobs["anchor"].data))
    return found


def medians(runs, number, rounds):
    times = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(timeit.timeit(run, number=number) / number)
    return {name: np.median(values) for name, values in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", default=SHAPES, metavar="SHAPE", type=_shape,
                        help="triplets and width, for instance 128x64 (default: %s)" % ", ".join(map(_text, SHAPES)))
    parser.add_argument("--rounds", type=int, default=9, help="(default: %(default)s)")
    args = parser.parse_args()
    print("Times of forward + backward in microseconds, median of %d rounds. native/ours: above 1, ours is faster.\n"
          "memory: in blobs of one N x C. gradient: the largest difference of the two.\n" % args.rounds)
    row = "%-12s %11s %10s %10s %12s %14s %9s"
    print(row % ("triplets", "native/ours", "native", "ours", "our memory", "native memory", "gradient"))
    for shape in args.shapes:
        found = measure_loss(shape, args.rounds)
        print(row % (_text(shape), "%.2f" % (found["native"] / found["ours"]), "%.1f" % (found["native"] * 1e6),
                     "%.1f" % (found["ours"] * 1e6), "%.2f" % found["memory"] if found["memory"] else "-",
                     "%.2f" % found["native_memory"], "%.1g" % found["difference"]))
        sys.stdout.flush()
    print("\nTripletSelect, milliseconds for forward + backward, and how many triplets; labels of %d classes\n"
          % N_CLASSES)
    row = "%-12s" + " %18s" * len(STRATEGIES)
    print(row % (("batch",) + STRATEGIES))
    for shape in BATCHES:
        found = measure_choice(shape, args.rounds)
        print(row % ((_text(shape),) + tuple("%.2f (%d)" % (found[s][0] * 1e3, found[s][1]) for s in STRATEGIES)))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
