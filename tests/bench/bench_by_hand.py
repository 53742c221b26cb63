#!/usr/bin/env python
"""Times our layers against what people write by hand, and against compositions of Caffe's own layers.

by_hand.py has the layers by hand: a loop over the positions, and numpy on the whole batch.
All in one net, on the same blobs; their losses and gradients are ours, which is checked
before anything is timed. Forward and backward of each, in turn, in one process, round by
round. bench_triplets.py does the same with triplets.
"""
from __future__ import division, print_function

import collections
import os
import shutil
import sys
import tempfile

os.environ.setdefault("GLOG_minloglevel", "2")

import benchmark  # first: it says where the packages are
import numpy as np

import real_nets
from caffe_losses.formats.matrix_files import write_matrix
from tables import Part, Table
from timing import (Ratio, findings, in_turn, parameter_layer, pass_through, quartiles, ratio_cell, ratios, rounded,
                    shape_text, time_cell)
from tqdm import tqdm

SHAPES = [(64, 10), (256, 1000), (10, 21, 100, 100)]
COMPETITORS = collections.OrderedDict([
    ("loop", "a loop by hand"), ("numpy", "numpy by hand"), ("native", "native InfogainLoss"),
    ("own", "a composition of Caffe's own layers")])
# How far losses and gradients may be from ours, relative to the (largest) of ours. Native sums up a loss in float32.
TOLERANCE = {"loop": 1e-4, "numpy": 1e-4, "native": 1e-2, "own": 1e-3}


def gain(rng, n):
    return rng.rand(n, n) + np.eye(n)


def class_weights(rng, n):
    return np.diag(rng.rand(n) + .1)


def cost(rng, n):
    return rng.rand(n, n) * (1 - np.eye(n))


# layer: ours. more: what else to say of it. by_hand: what its classes' names begin with. matrix: a function of a
# RandomState and C. probabilities: whether the layers take them. native: whether InfogainLoss is the same. own: the
# composition of Caffe's own layers: the types before Eltwise and Reduction, and the sign of the sum; None if there is
# none.
Case = collections.namedtuple("Case", "layer more by_hand matrix probabilities native own")
CASES = [
    Case("SoftmaxWithInfogainLoss", "", "InfogainOfScores", gain, False, True, (["Softmax", "Log"], -1)),
    Case("SoftmaxWithInfogainLoss", "class weights", "WeightedSoftmax", class_weights, False, True, None),
    Case("InfogainLoss", "", "Infogain", gain, True, False, (["Log"], -1)),
    Case("CostScaledSoftmaxLoss", "", "CostScaled", cost, False, False, None),
    Case("ExpectedCostLoss", "", "ExpectedCost", cost, False, False, (["Softmax"], 1))]


def ways(case, shape):
    """The competitors of a case, in the order of the net."""
    found = ["loop", "numpy"]
    if case.native:
        found.append("native")
    if case.own and len(shape) == 2:  # Embed has the classes on the last axis
        found.append("own")
    return found


def build(case, shape, matrix, folder):
    """A net with ours and all competitors on the scores of a Parameter layer."""
    source, by_hand = [os.path.join(folder, name) for name in ("M.binaryproto", "M.npy")]
    write_matrix(source, matrix.astype(np.float32))
    np.save(by_hand, matrix.diagonal() if case.matrix is class_weights else matrix)
    blob = blob_of(case)
    text = real_nets.input_layer(label=shape[:1] + shape[2:]) + parameter_layer("x", shape)
    if case.probabilities:
        text += 'layer { name: "p" type: "Softmax" bottom: "x" top: "p" }\n'
    text += real_nets.python_layer(case.layer, [blob, "label"], ["ours"], {"source": source}, "loss_weight: 1")
    for way in ways(case, shape):
        if way == "native":
            text += ('layer { name: "native" type: "InfogainLoss" bottom: "%s" bottom: "label" top: "native" '
                     'infogain_loss_param { source: "%s" } }\n' % (blob, source))
        elif way == "own":
            text += composition(case, shape, blob)
        else:
            text += real_nets.python_layer(case.by_hand + way.capitalize(), [blob, "label"], [way], by_hand,
                                           "loss_weight: 1", module="by_hand")
    net = real_nets.net(text)
    if "own_rows" in net.params:
        net.params["own_rows"][0].data[...] = matrix
    return net


def composition(case, shape, blob):
    """sum_j M[l, j] f_j(x) / N out of Caffe's own layers: Embed takes the row of M for each label."""
    types, sign = case.own
    text = ""
    for i, kind in enumerate(types):
        text += 'layer { name: "own_%d" type: "%s" bottom: "%s" top: "own_%d" }\n' % (i, kind, blob, i)
        blob = "own_%d" % i
    return text + (
        'layer { name: "own_rows" type: "Embed" bottom: "label" top: "own_rows" param { lr_mult: 0 } '
        "embed_param { input_dim: %d num_output: %d bias_term: false } }\n"
        'layer { name: "own_product" type: "Eltwise" bottom: "%s" bottom: "own_rows" top: "own_product" '
        "eltwise_param { operation: PROD } }\n"
        'layer { name: "own" type: "Reduction" bottom: "own_product" top: "own" loss_weight: 1 '
        "reduction_param { coeff: %.17g } }\n" % (shape[1], shape[1], blob, sign / shape[0]))


def blob_of(case):
    return "p" if case.probabilities else "x"


def check(net, blob, names):
    """{competitor: how far its loss or gradient is from ours}; none may be farther than TOLERANCE.

    blob: whose splits the layers take. names: of the layers in that order, "ours" one of them.
    """
    slopes = {name: net.blobs["%s_%s_0_split_%d" % (blob, blob, i)].diff for i, name in enumerate(names)}
    ours, slope = float(net.blobs["ours"].data), slopes.pop("ours")
    found = {}
    for name, other in slopes.items():
        found[name] = max(abs(float(net.blobs[name].data) / ours - 1),
                          np.abs(other - slope).max() / np.abs(slope).max())
        assert found[name] < TOLERANCE[name], (blob, slope.shape, name, found[name])
    return found


def measure(case, shape, rounds):
    """Times, ratios and differences of one of the CASES for scores of a shape, as a dict."""
    rng = np.random.RandomState(0)
    matrix = case.matrix(rng, shape[1]).astype(np.float32).astype(np.float64)
    folder = tempfile.mkdtemp()
    try:
        net = build(case, shape, matrix, folder)
    finally:
        shutil.rmtree(folder)
    net.params["x"][0].data[...] = rng.randn(*shape) * 3
    net.blobs["label"].data[...] = rng.randint(0, shape[1], shape[:1] + shape[2:])
    net.forward()
    net.backward()
    names = ways(case, shape)
    differences = check(net, blob_of(case), ["ours"] + names)
    runs = {name: pass_through(net, name) for name in ["ours"] + names}
    if "own" in names:
        runs["own"] = pass_through(net, "own_0", "own")
    return _found(case.layer, case.more, shape, in_turn(runs, rounds), differences)


def measure_compute_h(shape, rounds):
    """The same of ComputeH, forward alone: it has no backward. shape: of the scores."""
    n_classes = shape[1]
    text = real_nets.input_layer(label=shape[:1] + shape[2:])
    text += real_nets.python_layer("ComputeH", ["label"], ["ours"], {"n_classes": n_classes})
    for way in ("loop", "numpy"):
        text += real_nets.python_layer("ComputeH" + way.capitalize(), ["label"], [way], str(n_classes),
                                       module="by_hand")
    net = real_nets.net(text)
    labels = net.blobs["label"].data
    labels[...] = np.random.RandomState(0).randint(0, n_classes, labels.shape)
    net.forward()
    differences = {way: np.abs(net.blobs[way].data - net.blobs["ours"].data).max() for way in ("loop", "numpy")}
    assert max(differences.values()) < 1e-6, differences
    runs = {name: pass_through(net, name, backward=False) for name in ("ours", "loop", "numpy")}
    return _found("ComputeH", "", shape, in_turn(runs, rounds), differences)


def _found(layer, more, shape, times, differences):
    return {"layer": layer, "more": more, "scores": shape_text(shape), "ratios": ratios(times),
            "times": {name: quartiles(values) for name, values in times.items()},
            "differences": {name: rounded(value) for name, value in differences.items()}}


def figures(shapes=SHAPES, rounds=7):
    measures = [lambda shape, case=case: measure(case, shape, rounds) for case in CASES]
    measures.append(lambda shape: measure_compute_h(shape, rounds))
    todo = [(one, shape) for one in measures for shape in shapes]
    return {"rounds": rounds, "rows": [one(shape) for one, shape in tqdm(todo, desc="by_hand", disable=None)]}


def data(row):
    """Return in words what the layer was measured on."""
    return (row["more"] + ", " if row["more"] else "") + "scores " + row["scores"]


def all_ratios(found):
    return [Ratio(row["layer"], data(row), title, row["ratios"][name], row["times"]["ours"][1])
            for name, title in COMPETITORS.items() for row in found["rows"] if name in row["ratios"]]


def part(found):
    introduction = (
        "The same losses by hand: loop goes through the positions one by one, numpy takes the batch as an array, "
        "both in float64 from the product with the matrix on; losses and gradients agree, which is checked first; own "
        "is a composition of Caffe's own layers, where there is one (Softmax, Log, Embed for the rows of the matrix, "
        "Eltwise, Reduction; for N x C alone). Ratio: the other's time / ours, above 1 ours is faster; median of %d "
        "rounds (of the slow ones 3), in brackets the quartiles. Our time, forward + backward (ComputeH: forward) in "
        "microseconds. Difference: the largest of a by-hand one's loss or gradient from ours, relative."
        % found["rounds"])
    rows = [["layer", "scores"] + ["%s/ours" % name for name in COMPETITORS] + ["ours", "difference"]]
    for row in found["rows"]:
        apart = max(row["differences"][name] for name in ("loop", "numpy"))
        rows.append([row["layer"] + (", " + row["more"] if row["more"] else ""), row["scores"]]
                    + [ratio_cell(row["ratios"].get(name)) for name in COMPETITORS]
                    + [time_cell(row["times"]["ours"]), "%.1g" % apart])
    return Part("Against layers by hand", introduction, [Table("Forward + backward", rows)],
                list(findings(all_ratios(found))))


def main():
    parser = benchmark.parser_of(__doc__, 7)
    benchmark.add_shapes(parser, SHAPES, "of the scores, for instance 64x10")
    args = parser.parse_args()
    benchmark.show(sys.modules[__name__], figures(args.shapes, args.rounds), args)


if __name__ == "__main__":
    main()
