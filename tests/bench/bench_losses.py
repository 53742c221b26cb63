#!/usr/bin/env python
"""Times our SoftmaxWithInfogainLoss against Caffe's own InfogainLoss.

Both in one net, on the same blobs, H from the same file; forward and backward of
each, in turn, in one process; the median of the rounds. Two more times say what
bounds ours: exp alone over as many scores, and an empty Python layer.
"""
from __future__ import division, print_function

import argparse
import os
import sys
import tempfile
import timeit

os.environ.setdefault("GLOG_minloglevel", "2")
HERE = os.path.dirname(os.path.abspath(__file__))
CHECKOUT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(CHECKOUT, "layers"), os.path.join(CHECKOUT, "tests"), HERE]

import numpy as np

import caffe
import loops
import real_nets
from caffe_losses.matrix_files import write_matrix

SHAPES = [(32, 5), (64, 10), (256, 1000), (10, 21, 100, 100), (1, 21, 500, 500)]


class Empty(caffe.Layer):
    """What any layer in Python costs."""

    def setup(self, bottom, top):
        top[0].reshape()

    def reshape(self, bottom, top):
        pass

    def forward(self, bottom, top):
        pass

    def backward(self, top, propagate_down, bottom):
        pass


def build(shape, source, from_bottom):
    """A net with native, ours and an empty layer on the scores of a Parameter layer."""
    inputs = {"label": shape[:1] + shape[2:]}
    if from_bottom:
        inputs["H"] = (1, 1, shape[1], shape[1])
    text = real_nets.input_layer(**inputs)
    text += 'layer { name: "x" type: "Parameter" top: "x" parameter_param { shape { %s } } }' % (
        " ".join("dim: %d" % n for n in shape))
    bottoms = ["x", "label"] + (["H"] if from_bottom else [])
    text += 'layer { name: "native" type: "InfogainLoss" %s top: "native" infogain_loss_param { %s } }' % (
        " ".join('bottom: "%s"' % b for b in bottoms), "" if from_bottom else 'source: "%s"' % source)
    text += real_nets.python_layer("SoftmaxWithInfogainLoss", bottoms, ["ours"],
                                   {} if from_bottom else {"source": source}, "loss_weight: 1")
    text += ('layer { name: "empty" type: "Python" bottom: "x" top: "empty" loss_weight: 1'
             ' python_param { module: "bench_losses" layer: "Empty" } }')
    return real_nets.net(text)


def pass_through(net, layer):
    """A function that runs one layer of a net forward and backward."""
    index = list(net._layer_names).index(layer)

    def run():
        net._forward(index, index)
        net._backward(index, index)
    return run


def peak_memory(run):
    """Bytes that a run has allocated at its peak, or None on Python 2."""
    try:
        import tracemalloc
    except ImportError:
        return None
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def measure(shape, rounds, from_bottom, seed=0):
    rng = np.random.RandomState(seed)
    H = rng.rand(shape[1], shape[1]).astype(np.float32)
    with tempfile.NamedTemporaryFile(suffix=".binaryproto") as file:
        write_matrix(file.name, H)
        net = build(shape, file.name, from_bottom)
    scores = net.params["x"][0].data  # the layer's top takes over its parameter at every forward
    scores[...] = rng.randn(*shape) * 3
    net.blobs["label"].data[...] = rng.randint(0, shape[1], shape[:1] + shape[2:])
    if from_bottom:
        net.blobs["H"].data[0, 0] = H
    net.forward()
    memory = peak_memory(pass_through(net, "ours"))
    number = max(3, int(3e5 / scores.size))
    out = np.empty(min(scores.size, 2 ** 18), np.float32)
    part = scores.reshape(-1)[:out.size]
    runs = {name: pass_through(net, name) for name in ("native", "ours", "empty")}
    runs["exp"] = lambda: np.exp(part, out=out)
    times = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(timeit.timeit(run, number=number) / number)
    times = {name: np.median(values) for name, values in times.items()}
    times["exp"] *= scores.size / out.size
    slopes = [net.blobs[name].diff for name in net.blobs if name.startswith("x_")]
    loss, _ = loops.batch(loops.softmax_with_infogain, scores, net.blobs["label"].data, H)
    return dict(times, ratio=times["native"] / times["ours"], memory=memory and memory / scores.nbytes,
                difference=np.abs(slopes[0] - slopes[1]).max(),
                ours_error=abs(float(net.blobs["ours"].data) / loss - 1),
                native_error=abs(float(net.blobs["native"].data) / loss - 1))


def _shape(text):
    return tuple(int(n) for n in text.split("x"))


def _text(shape):
    return "x".join(map(str, shape))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", default=SHAPES, metavar="SHAPE", type=_shape,
                        help="of the scores, for instance 64x10 (default: %s)" % ", ".join(map(_text, SHAPES)))
    parser.add_argument("--rounds", type=int, default=9, help="(default: %(default)s)")
    parser.add_argument("--h-bottom", action="store_true", help="H as third bottom instead of from a file")
    args = parser.parse_args()
    print("native/ours: above 1, ours is faster. Times of forward + backward in microseconds, median of %d rounds.\n"
          "memory: peak allocated, in score blobs. error: of the loss, relative to a loop in float64.\n" % args.rounds)
    row = "%-16s %11s %10s %10s %10s %7s %9s %7s %10s %12s"
    print(row % ("scores", "native/ours", "native", "ours", "of it exp", "empty", "gradient", "memory", "our error",
                 "native error"))
    for shape in args.shapes:
        found = measure(shape, args.rounds, args.h_bottom)
        print(row % (_text(shape), "%.2f" % found["ratio"], "%.1f" % (found["native"] * 1e6),
                     "%.1f" % (found["ours"] * 1e6), "%.1f" % (found["exp"] * 1e6), "%.1f" % (found["empty"] * 1e6),
                     "%.1g" % found["difference"], "%.2f" % found["memory"] if found["memory"] else "-",
                     "%.1g" % found["ours_error"], "%.1g" % found["native_error"]))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
