#!/usr/bin/env python
"""Make H, the gain matrix of an infogain loss, and write it to a file.

H[true class, predicted class] is a gain: a bigger entry attracts probability to
that class. It is made from one of

  MATRIX          H itself, as it is (.npy, .csv, .binaryproto)
  --distances D   a matrix of costs, 0 on the diagonal: the farther, the less gain
  --tree TREE     a text file whose indentation groups the classes; the distance of
                  two classes is the height of their lowest common ancestor; with --names
                  for the order of the labels, else the classes are in the text's order
  --smoothing E   uniform label smoothing, (1 - E) I + E / C

and / or from class weights w, which multiply its rows (alone: H = diag(w)):

  --counts, --labels   how often each class occurs, or the labels to count

examples:
  make_h.py H.npy -o infogainH.binaryproto
  make_h.py --tree tree.txt --names classes.txt --tau 0.75 -o infogainH.binaryproto --plot H.png
  make_h.py --distances D.csv --softmax-beta 4 -o infogainH.binaryproto
  make_h.py --counts 90,9,1 --weights balanced -o infogainH.binaryproto
  make_h.py --labels train_lmdb --weights effective_number --beta 0.999 -o infogainH.binaryproto
"""
from __future__ import division, print_function

import argparse
import json
import os
import sys

try:
    from shlex import quote
except ImportError:  # Python 2
    from pipes import quote

import numpy as np

# From a checkout the packages are beside tools/; installed ones are found anyway.
CHECKOUT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(CHECKOUT, name) for name in ("layers", "prototxt")]

from caffe_losses import command, gains, matrix_files, trees, weights

# the largest C with C x C float32 in the 2 GiB of a protobuf message
MAX_CLASSES = int((matrix_files.MAX_BYTES / 4) ** .5) - 1


def main():
    parser = _parser()
    args = parser.parse_args()
    _check_together(parser, args)
    names = _read_names(args.names) if args.names is not None else None
    costs, names = _costs(args, names)
    gain = _gain(args, costs, names)
    H = gain if args.counts is None and args.labels is None else _weighted(args, gain, names)
    _check_result(H, args, names)
    matrix_files.write_files(_writers(args, costs, H, names))
    _report(args, H, names)


def _parser():
    parser = command.Parser(description=__doc__)
    parser.add_argument("matrix", nargs="?", metavar="MATRIX", help="file with H as it is")
    parser.add_argument("--distances", metavar="D", help="file with a cost matrix D[true, predicted]")
    parser.add_argument("--tree", help="text file with a class tree ('name: height' sets a group's height, "
                        "else it is 1 above its highest child)")
    parser.add_argument("--smoothing", type=float, metavar="E", help="uniform label smoothing, 0..1")
    parser.add_argument("--tau", type=float, help="distances to gains: exp(-D / tau), rows then sum to 1; "
                        "the smaller tau, the closer to the identity")
    parser.add_argument("--softmax-beta", type=float, metavar="B", help="distances to gains: softmax of "
                        "-B D / max D; the bigger B, the closer to the identity")
    parser.add_argument("--counts", type=_numbers, metavar="N,N,...", help="samples of each class")
    parser.add_argument("--labels", metavar="SOURCE", help="labels to count: an LMDB, an HDF5 file or list, "
                        "a text file with the label last on each line, a .npy")
    parser.add_argument("--weights", choices=weights.KINDS,
                        help="class weights from the counts (default: balanced)")
    parser.add_argument("--beta", type=float, help="of effective_number, in [0, 1), for instance 0.999")
    parser.add_argument("--power", type=float, help="softens the weights; 0.5: square root")
    parser.add_argument("--scale", choices=weights.SCALES, help="of the weights; sample: "
                        "the average sample weighs 1, so the learning rate keeps its meaning (default); sum: "
                        "they sum to 1; classes: to the number of classes; none: as they are")
    parser.add_argument("--n-classes", type=int, metavar="C", help="number of classes, if nothing else tells")
    parser.add_argument("--ignore-label", type=int, help="label that is not counted")
    parser.add_argument("--names", metavar="FILE", help="class names, one a line, in the order of the labels")
    parser.add_argument("-o", "--output", required=True, metavar="FILE",
                        help="where H goes (.binaryproto, .npy, .csv)")
    parser.add_argument("--distances-out", metavar="FILE", help="also write the cost matrix D")
    parser.add_argument("--plot", metavar="PNG", help="also draw H")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    return parser


def _check_together(parser, args):
    """Refuse options that mean nothing together."""
    gain = [name for name in ("matrix", "distances", "tree", "smoothing") if getattr(args, name) is not None]
    if len(gain) > 1:
        parser.error("expected one of MATRIX, --distances, --tree and --smoothing, got %d" % len(gain))
    if args.counts is not None and args.labels is not None:
        parser.error("expected either --counts or --labels, got both")
    weighted = args.counts is not None or args.labels is not None
    if not gain and not weighted:
        parser.error("expected MATRIX, --distances, --tree, --smoothing, --counts or --labels, got none")
    has_costs = args.distances is not None or args.tree is not None
    conversions = (args.tau is not None) + (args.softmax_beta is not None)
    if conversions != has_costs:
        parser.error("expected either --tau or --softmax-beta with --distances or --tree, and only there; "
                     "got %d of them" % conversions)
    if args.distances_out and not has_costs:
        parser.error("--distances-out: expected --distances or --tree, got neither")
    for name in ("weights", "power", "scale"):
        if getattr(args, name) is not None and not weighted:
            parser.error("--%s: expected with --counts or --labels only" % name)
    if args.ignore_label is not None and args.labels is None:
        parser.error("--ignore-label: expected with --labels only")
    if (args.beta is not None) != (args.weights == "effective_number"):
        parser.error("--beta: expected with --weights effective_number, and only there")
    outputs = [path for path in (args.output, args.distances_out, args.plot) if path is not None]
    if "" in outputs or len(set(map(os.path.realpath, outputs))) < len(outputs):
        parser.error("expected a file of its own for each output, got %s" % ", ".join(map(repr, outputs)))
    if args.n_classes is not None and args.n_classes < 1:
        parser.error("--n-classes: expected at least 1, got %d" % args.n_classes)


def _numbers(text):
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError("expected numbers with commas between them, got %r" % text)


def _read_names(path):
    names = [line.strip() for line in command.read_text(path).splitlines() if line.strip()]
    if not names:
        raise ValueError("%s: expected class names, one a line, got none" % path)
    return names


def _costs(args, names):
    """(D or None, names): the tree knows its classes' names."""
    if args.distances is not None:
        return gains.check_cost(matrix_files.read_matrix(args.distances), args.distances), names
    if args.tree is None:
        return None, names
    text = command.read_text(args.tree)
    try:
        return trees.tree_costs(trees.parse_tree(text), names)
    except ValueError as error:
        raise ValueError("%s: %s" % (args.tree, error))


def _gain(args, costs, names):
    """H before the weights; None for the identity."""
    if costs is not None:
        return gains.gain_from_costs(costs, args.tau, args.softmax_beta)
    if args.smoothing is not None:
        n_classes = _n_classes(args, names)
        if n_classes is None:
            raise ValueError("--n-classes: expected the number of classes with --smoothing, got none")
        return gains.smoothed_identity(n_classes, args.smoothing)
    if args.matrix is None:
        return None
    H = gains.check_gain(matrix_files.read_matrix(args.matrix), args.matrix)
    if gains.looks_like_cost(H):
        raise ValueError("%s: expected a gain, got what looks like distances (0 on the diagonal, more "
                         "elsewhere); give it as --distances with --tau" % args.matrix)
    return H


def _n_classes(args, names):
    """The number of classes as far as the options tell, or None."""
    known = [names, args.counts]
    n_classes = args.n_classes or next((len(k) for k in known if k is not None), None)
    if n_classes is not None and n_classes > MAX_CLASSES:
        raise ValueError("--n-classes: expected at most %d, the most a .binaryproto can hold, got %d"
                         % (MAX_CLASSES, n_classes))
    return n_classes


def _weighted(args, gain, names):
    counts = args.counts if args.counts is not None else _count(args, gain, names)
    w = weights.class_weights(counts, args.weights or "balanced", args.beta,
                              1.0 if args.power is None else args.power, args.scale or "sample")
    return gains.weighted_gain(w, gain)


def _count(args, gain, names):
    from caffe_prototxt.labels import count_source, per_class
    n_classes = _n_classes(args, names) or (None if gain is None else len(gain))
    counts, _ = per_class(count_source(args.labels), n_classes, args.ignore_label)
    if len(counts) > MAX_CLASSES:
        raise ValueError("%s: expected labels below %d, the most classes a .binaryproto can hold, got %d"
                         % (args.labels, MAX_CLASSES, len(counts) - 1))
    return counts


def _check_result(H, args, names):
    with np.errstate(over="ignore"):
        gains.check_gain(np.asarray(H, np.float32))  # what a net reads of it
    for what, size in (("--names", len(names) if names else None), ("--n-classes", args.n_classes)):
        if size not in (None, len(H)):
            raise ValueError("%s: expected %d classes, as H is %d x %d, got %d"
                             % (what, len(H), len(H), len(H), size))


def _writers(args, costs, H, names):
    """What to write where: all the files, or none if one cannot be written."""
    writers = [(args.output, matrix_files.matrix_writer(args.output, H))]
    if args.distances_out is not None:
        writers.append((args.distances_out, matrix_files.matrix_writer(args.distances_out, costs)))
    if args.plot is not None:
        from caffe_losses.plots import matrix_picture
        writers.append((args.plot, matrix_picture(args.plot, H, names, "gain H")))
    return writers


def _report(args, H, names):
    H = np.asarray(H, np.float32)
    rows = H.sum(axis=1, dtype=np.float64)
    summary = {"output": args.output, "n_classes": len(H), "row_sums": [rows.min(), rows.max()],
               "symmetric": bool((H == H.T).all()), "smallest": float(H.min()), "largest": float(H.max())}
    warnings = _warnings(H)
    if args.json:
        print(json.dumps(dict(summary, warnings=warnings), sort_keys=True))
        return
    print("%s: H, %d x %d, entries %.4g to %.4g, row sums %.4g to %.4g, %ssymmetric"
          % (args.output, len(H), len(H), summary["smallest"], summary["largest"], rows.min(), rows.max(),
             "" if summary["symmetric"] else "not "))
    if args.tree is not None:
        print("classes, in the order of %s: %s" % (args.names or "the tree (--names sets another)", _listed(names)))
    for path, what in ((args.distances_out, "D, the costs it was made from"), (args.plot, "H as a picture")):
        if path:
            print("%s: %s" % (path, what))
    for warning in warnings:
        print("warning: %s" % warning)
    # Caffe's own loss reads nothing but a .binaryproto
    loss = "InfogainLoss" if args.output.endswith(".binaryproto") else "SoftmaxWithInfogainLoss"
    print("next: %s --loss %s --source %s"
          % (os.path.join(os.path.dirname(sys.argv[0]), "make_net.py"), loss, quote(args.output)))


def _listed(names):
    shown = ["%d %s" % pair for pair in enumerate(names[:12])]
    return ", ".join(shown + ["..."] * (len(names) > 12))


def _warnings(H):
    negative = gains.negative_entries(H)
    found = [negative] if negative else []
    empty = np.flatnonzero(~H.any(axis=1))
    if len(empty):
        found.append("H has nothing in row %s: a sample of that class is not trained on"
                     % ", ".join(map(str, empty[:10])) + (" ..." if len(empty) > 10 else ""))
    return found


if __name__ == "__main__":
    command.run(main)
