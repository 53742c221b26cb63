#!/usr/bin/env python
"""Make H, the gain matrix of an infogain loss, and write it to a file.

H[true class, predicted class] is a gain (a similarity): a bigger entry attracts probability to
that class. It is made from at most one of

  MATRIX           H itself, as it is: a file of gains, in any of the formats below
  --distances D    a file with costs, D[true class, predicted class], 0 on the diagonal
  --tree TREE      a class tree; the distance of two classes is the height of their lowest
                   common ancestor. Indented text, or edges (group member, or group member
                   length), or a class a line with its ancestors (cat,animal,root)
  --confusion F    a confusion matrix [true, predicted] of another classifier: the distance of
                   two classes is 1 if it never confuses them, 0 if it always does
  --embeddings F   a vector for each class, a row each: the distance of two classes is that
                   of their vectors
  --smoothing E    uniform label smoothing, (1 - E) I + E / C

where all distances go to gains by one of --tau, --softmax-beta and --linear (near classes get a
large gain, rows then sum to 1); and from class weights w, which multiply its rows (alone: H =
diag(w)), given by one of

  --class-weights  the weights themselves
  --counts         how often each class occurs
  --labels         the data, whose labels are counted
  --net            the net, whose training labels are counted

which are printed, a class a line, with the counts; --weights-out writes them.

The ending of the file says the format: .binaryproto (what Caffe's InfogainLoss reads), .npy, .csv,
.json; .h5 or .lmdb for a data layer and .caffemodel for a Parameter layer, which is then printed.

examples:
  make_h.py H.npy -o infogainH.binaryproto
  make_h.py --tree tree.txt --names classes.txt --tau 0.75 -o infogainH.binaryproto --plot H.png
  make_h.py --distances D.csv --softmax-beta 4 -o infogainH.binaryproto
  make_h.py --confusion confusion.csv --linear -o infogainH.binaryproto
  make_h.py --embeddings word2vec.npy --metric cosine --tau 0.2 -o infogainH.binaryproto
  make_h.py --class-weights 1,2,10 -o infogainH.binaryproto
  make_h.py --counts 90,9,1 --weights balanced -o infogainH.binaryproto
  make_h.py --labels train_lmdb --weights effective_number --beta 0.999 -o infogainH.binaryproto
  make_h.py --labels masks --pixels --ignore-label 255 --weights median_frequency -o infogainH.binaryproto
  make_h.py infogainH.binaryproto -o H.h5
  make_h.py --net train_val.prototxt --weights inverse --power 0.5 -o infogainH.binaryproto
"""
from __future__ import division, print_function

from caffe_tools import cli  # first, as it puts the checkout's packages on the path

import collections
import os

import numpy as np

from caffe_losses.errors import naming
from caffe_losses.formats import matrix_files
from caffe_losses.matrices import class_weights, costs, gains, summary
from caffe_prototxt.data.labels import count_source, per_class_of_several
from caffe_prototxt.data.net_source import net_source
from caffe_prototxt.rewrite.fragment import h_fragment
from caffe_prototxt.training import caffe_process
from caffe_prototxt.training.net_labels import count_net
from caffe_tools.options import class_files
from caffe_tools.options.compute_options import check_beta
from caffe_tools.report.matrix_plot import matrix_picture

# the largest C with C x C float32 in the 2 GiB of a protobuf message
MAX_CLASSES = int((matrix_files.MAX_BYTES / 4) ** .5) - 1

DISTANCES = ("distances", "tree", "confusion", "embeddings")
CONVERSIONS = ("tau", "softmax_beta", "linear")
COUNTS = ("counts", "labels", "net")
MOST_ROWS = 40
NET = "train_val.prototxt"  # the net of a user, by Caffe's usual name

# weights: one for each class. counts: of each class; None: the weights were given. source: of the labels, str, or None.
# unit: what was counted. n_ignored: int, or None where no label is ignored.
Weights = collections.namedtuple("Weights", "weights counts source unit n_ignored")
Weights.__new__.__defaults__ = (None,) * 5


def main():
    parser = _parser()
    class_files.refuse_blanks(parser, ("--counts", "--class-weights"))
    args = parser.parse_args()
    _check_together(parser, args)
    names = None if args.names is None else class_files.read_names(args.names)
    D, names = _distances(args, names)
    gain = _gain(args, D, names)
    weights = _weights(parser, args, gain, names)
    H = gain if weights is None else gains.weighted_gain(weights.weights, gain)
    _check_result(H, args, names)
    warnings = _warnings(args, H, weights, None if D is None else gain)
    layer = h_fragment(args.output, len(H)) if matrix_files.layer_type(args.output) else None
    made = ((args.output, matrix_files.matrix_writer, (H,)), (args.distances_out, matrix_files.matrix_writer, (D,)),
            (args.weights_out, class_files.numbers_writer, (weights and weights.weights,)),
            (args.plot, matrix_picture, (H, names)))
    matrix_files.write_files([(path, writer(path, *content)) for path, writer, content in made if path is not None])
    if args.json:
        _say_json(args, H, weights, warnings, layer)
    else:
        _report(args, H, names, weights, warnings, layer)


def _parser():
    parser = cli.Parser(description=__doc__)
    group = parser.add_argument_group("H is made from")
    group.add_argument("matrix", nargs="?", metavar="MATRIX", help="file with H, taken as it is: gains, not distances")
    group.add_argument("--distances", metavar="D", help="file with costs (the bigger, the worse the mistake)")
    group.add_argument("--tree", help="file with a class tree; with --names for the order of the labels, else the "
                       "classes are in the text's order. In indented text 'name: height' sets a group's height; else a "
                       "group is as much above its highest member as the branch to it is long, 1 if that is not given")
    group.add_argument("--confusion", metavar="F", help="file with a confusion matrix: classes that are often confused "
                       "become near, and mistaking them costs less")
    group.add_argument("--embeddings", metavar="F", help="file with a row for each class: classes with similar vectors "
                       "become near")
    group.add_argument("--metric", choices=costs.METRICS, help="of --embeddings (default: cosine)")
    group.add_argument("--smoothing", type=float, metavar="E", help="uniform label smoothing, 0..1")
    group = parser.add_argument_group("distances D go to gains H by")
    group.add_argument("--tau", type=float, help="exp(-D / tau), rows then divided by their sums; the smaller tau, the "
                       "closer to the identity")
    group.add_argument("--softmax-beta", type=float, metavar="B", help="softmax of -B D / max D over each row; the "
                       "bigger B, the closer to the identity")
    group.add_argument("--linear", action="store_true", default=None, help="1 - D / max D, rows then divided by their "
                       "sums: the farthest classes get 0")
    group = parser.add_argument_group("class weights")
    group.add_argument("--class-weights", type=class_files.numbers, metavar="W", help="a weight for each class, taken "
                       "as they are: 1,2,10 or a file of numbers (.npy, text)")
    group.add_argument("--counts", type=class_files.numbers, metavar="N", help="samples of each class: 90,9,1 or a "
                       "file of numbers")
    group.add_argument("--labels", metavar="SOURCE", help="labels to count: an LMDB or LevelDB of Datum, an HDF5 file "
                       "or list, a text file with the label last on each line (ImageData's list), a .npy")
    group.add_argument("--net", metavar="PROTOTXT", help="a train_val.prototxt: count what its TRAIN data layer reads; "
                       "the ignored label and the number of classes come from the net, too")
    group.add_argument("--label-blob", metavar="NAME", help="of --net: the blob of labels, if its losses have several")
    group.add_argument("--stages", metavar="S,S", help="of --net: those of the solver's train_state, if it has any")
    group.add_argument("--batches", type=int, metavar="N", help="of --net: count N batches as Caffe reads them "
                       "(default: the whole source where its labels are just those that the net gets, else an epoch in "
                       "Caffe)")
    group.add_argument("--no-python", action="store_true", default=None,
                       help="of --net: refuse to run its Python layers, where the labels need one")
    group.add_argument("--pixels", action="store_true", default=None, help="of --labels: each record is an image whose "
                       "values are labels. Then also a folder of images, or a text file that lists them, but no .npy")
    group.add_argument("--dataset", metavar="NAME", help="of --labels: that of the labels in HDF5 (default: label)")
    group.add_argument("--root-folder", metavar="DIR", help="of --labels: what the names of listed images begin with")
    group.add_argument("--ignore-label", type=int, metavar="L", help="label that is not counted")
    group.add_argument("--weights", choices=class_weights.KINDS,
                       help="class weights from the counts (default: balanced)")
    group.add_argument("--beta", type=float, help="of effective_number, in [0, 1), for instance 0.999")
    group.add_argument("--power", type=float, help="softens the weights; 0.5: square root")
    group.add_argument("--scale", choices=class_weights.SCALES, help="of the weights; sample: the average sample "
                       "weighs 1, so the learning rate keeps its meaning (default); sum: they sum to 1; classes: to "
                       "the number of classes; none: as they are")
    group = parser.add_argument_group("classes and files")
    group.add_argument("--n-classes", type=int, metavar="C", help="number of classes, if nothing else tells")
    group.add_argument("--names", metavar="FILE", help="class names, one a line, in the order of the labels")
    group.add_argument("-o", "--output", required=True, metavar="FILE", help="where H goes")
    group.add_argument("--distances-out", metavar="FILE", help="also write the distances D")
    group.add_argument("--weights-out", metavar="FILE", help="also write the class weights (.csv, .npy or .txt)")
    group.add_argument("--plot", metavar="PNG", help="also draw H (class weights alone as bars)")
    group.add_argument("--json", action="store_true", help="print the summary as JSON")
    return parser


def _check_together(parser, args):
    """Refuse options that mean nothing together."""
    def given(*names):
        return [_option(name) for name in names if getattr(args, name) is not None]

    def only_with(options, needed, needs):
        if options and not needed:
            parser.error("%s: expected with %s only" % (options[0], needs))

    gain_sources, weight_sources = ("matrix",) + DISTANCES + ("smoothing",), ("class_weights",) + COUNTS
    for group in (gain_sources, weight_sources, CONVERSIONS):
        if len(given(*group)) > 1:
            parser.error("expected one of %s, got %s" % (_either(group), " and ".join(given(*group))))
    if not given(*gain_sources + weight_sources):
        parser.error("expected %s, got none" % _either(gain_sources + weight_sources))
    has_distances, counted = given(*DISTANCES), given(*COUNTS)
    if has_distances and not given(*CONVERSIONS):
        parser.error("%s: expected %s to make gains of distances, got none" % (has_distances[0], _either(CONVERSIONS)))
    only_with(given(*(CONVERSIONS + ("distances_out",))), has_distances, _either(DISTANCES))
    only_with(given("metric"), args.embeddings is not None, "--embeddings")
    only_with(given("weights", "power", "scale"), counted, _either(COUNTS))
    only_with(given("weights_out"), given(*weight_sources), _either(weight_sources))
    only_with(given("ignore_label"), given("labels", "net"), "--labels or --net")
    only_with(given("pixels", "dataset", "root_folder"), args.labels is not None, "--labels")
    only_with(given("label_blob", "stages", "batches", "no_python"), args.net is not None, "--net")
    check_beta(parser, args)
    outputs = _outputs(args)
    if "" in outputs or len(set(map(os.path.realpath, outputs))) < len(outputs):
        parser.error("expected a file of its own for each output, got %s" % ", ".join(map(repr, outputs)))
    inputs = [getattr(args, name) for name in ("matrix", "labels", "net", "names") + DISTANCES]
    inputs += [numbers.path for numbers in (args.counts, args.class_weights) if numbers is not None]
    if args.pixels and os.path.isdir(args.labels):
        inputs += [os.path.join(args.labels, name) for name in os.listdir(args.labels)]
    _refuse_overwriting(parser, args, inputs)
    for path in (args.output, args.distances_out):  # counting may take a while
        if path is not None:
            matrix_files.check_path(path)
    if args.weights_out is not None:
        class_files.numbers_writer(args.weights_out, [])
    for name in ("batches", "n_classes"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error("%s: expected at least 1, got %d" % (_option(name), getattr(args, name)))


def _outputs(args):
    return [path for path in (args.output, args.distances_out, args.weights_out, args.plot) if path is not None]


def _refuse_overwriting(parser, args, inputs):
    for output in _outputs(args):
        for path in matrix_files.files_of(output):
            cli.refuse_overwriting(parser, path, inputs)


def _option(name):
    return "MATRIX" if name == "matrix" else "--" + name.replace("_", "-")


def _either(names):
    options = [_option(name) for name in names]
    return ", ".join(options[:-1]) + " or " + options[-1]


def _distances(args, names):
    """Return (D or None, names): a tree knows the names of its classes."""
    if args.tree is not None:
        return class_files.read_tree_costs(args.tree, names, MAX_CLASSES)
    if args.distances is not None:
        return gains.check_cost(matrix_files.read_matrix(args.distances), args.distances), names
    for path, make in ((args.confusion, costs.costs_from_confusion),
                       (args.embeddings, lambda E: costs.costs_from_embeddings(E, args.metric or "cosine"))):
        if path is not None:
            matrix = matrix_files.read_matrix(path)
            with naming(path):
                return make(matrix), names
    return None, names


def _gain(args, D, names):
    """Return H before the weights, None for the identity."""
    if D is not None:
        return gains.gain_from_costs(D, args.tau, args.softmax_beta, args.linear)
    if args.smoothing is not None:
        n_classes = _n_classes(args, names)
        if n_classes is None:
            raise ValueError("--n-classes: expected the number of classes with --smoothing, got none")
        return gains.smoothed_identity(n_classes, args.smoothing)
    return None if args.matrix is None else gains.check_gain(matrix_files.read_matrix(args.matrix), args.matrix)


def _n_classes(args, names):
    """Return the number of classes that the options state, or None."""
    known = (names, args.counts, args.class_weights)
    n_classes = args.n_classes or next((len(of_classes) for of_classes in known if of_classes is not None), None)
    if n_classes is not None and n_classes > MAX_CLASSES:
        raise ValueError("--n-classes: expected at most %d, the most a .binaryproto can hold, got %d"
                         % (MAX_CLASSES, n_classes))
    return n_classes


def _weights(parser, args, gain, names):
    """Return Weights, or None."""
    if args.class_weights is not None:
        return Weights(class_weights.check_weights(args.class_weights))
    counted, present = Weights(counts=args.counts), None
    if args.labels is not None or args.net is not None:
        counted, present = _count(parser, args, gain, names)
    elif args.counts is None:
        return None
    weights = class_weights.class_weights(
        counted.counts, args.weights or "balanced", args.beta, 1.0 if args.power is None else args.power,
        args.scale or "sample", present=present)
    return counted._replace(weights=weights, counts=np.asarray(counted.counts))


def _count(parser, args, gain, names):
    """Count the labels in the data. Returns Weights, still without weights, and `present` of class_weights."""
    n_classes = _n_classes(args, names) or (None if gain is None else len(gain))
    ignore_label = args.ignore_label
    if args.net is None:
        tally = count_source(args.labels, args.dataset or "label", bool(args.pixels), args.root_folder or "")
    else:
        data = net_source(args.net, args.label_blob, tuple(args.stages.split(",")) if args.stages else ())
        if None not in (n_classes, data.n_classes) and n_classes != data.n_classes:
            raise ValueError("%s: expected scores of %d classes, as --n-classes, --names or the gain say, got %d"
                             % (args.net, n_classes, data.n_classes))
        n_classes = n_classes or data.n_classes
        ignore_label = data.ignore_label if ignore_label is None else ignore_label
        _refuse_overwriting(parser, args, [data.whole and data.whole.source])
        with caffe_process.Caffe(None) as caffe:
            tally = count_net(caffe, data, args.batches, not args.no_python)
        if not args.json:
            cli.say("%s: labels from %s, of layer %s"
                    % (args.net, data.whole.source if data.whole else "Caffe", data.layer))
    counts, present = per_class_of_several(tally, n_classes, ignore_label, "" if args.pixels or args.labels is None else
                                           class_files.OF_PIXELS)
    if len(counts) > MAX_CLASSES:
        raise ValueError("%s: expected labels below %d, the most classes a .binaryproto can hold, got %d"
                         % (tally.source, MAX_CLASSES, len(counts) - 1))
    n_ignored = None if ignore_label is None else int(tally.counts.sum() - counts.sum())
    return Weights(None, counts, tally.source, tally.unit, n_ignored), present


def _check_result(H, args, names):
    if len(H) < 2:
        raise ValueError("expected at least two classes, got one; with it every loss is 0")
    with np.errstate(over="ignore"):
        gains.check_gain(np.asarray(H, np.float32))  # what a net reads of it
    for what, size in (("--names", len(names) if names else None), ("--n-classes", args.n_classes)):
        if size not in (None, len(H)):
            raise ValueError("%s: expected %d classes, as H is %d x %d, got %d" % (what, len(H), len(H), len(H), size))


def _warnings(args, H, weights, gain):
    """Return the warnings for the user, one line each. gain: of distances, before the weights; None: there are none."""
    absent = [] if weights is None or weights.counts is None else np.flatnonzero(weights.counts == 0)
    warnings = summary.warnings_about(np.asarray(H, np.float32), absent)
    warnings += [warning for warning in [gain is not None and gains.degenerate(gain)] if warning]
    if len(absent):
        from_1 = list(absent) == [0] and args.ignore_label != 0
        start = "; do the labels start at 1? Caffe's start at 0: subtract 1 from each" * from_1
        warnings.insert(0, "no %s of class %s: its row of H is 0, so that a sample of it is not trained on%s"
                        % (weights.unit or "sample", summary.listed(absent), start))
    return warnings


def _say_json(args, H, weights, warnings, layer):
    w = weights or Weights()
    counts, numbers = [None if array is None else np.asarray(array).tolist() for array in (w.counts, w.weights)]
    cli.say_json(dict(
        summary.summarise(np.asarray(H, np.float32)), output=args.output, warnings=warnings, layer=layer,
        source=w.source, unit=w.unit, ignored=w.n_ignored, counts=counts, weights=numbers))


def _report(args, H, names, weights, warnings, layer):
    if weights is not None and weights.counts is not None:
        _print_weights(weights, names)
    cli.say("%s: %s" % (args.output, summary.in_words(summary.summarise(np.asarray(H, np.float32)))))
    if args.tree is not None:
        cli.say("classes, in the order of %s: %s" % (args.names or "the tree (--names sets another)", summary.listed(
            ["%d %s" % pair for pair in enumerate(names)], 12)))
    for path, what in ((args.distances_out, "D, the distances it was made from"),
                       (args.weights_out, "the class weights"), (args.plot, "H as a picture")):
        if path:
            cli.say("%s: %s" % (path, what))
    for warning in warnings:
        cli.say("warning: %s" % warning)
    if layer is not None:
        cli.say("the layer that reads it:\n" + layer.rstrip())
    if args.output.lower().endswith(".caffemodel"):
        cli.say("without caffe train -weights %s this H is 0, and so is the loss" % cli.quote(args.output))
    _print_next(args, layer)


def _print_weights(weights, names):
    """Print the class, the count and the weight of each class."""
    counts, n_classes = weights.counts, len(weights.counts)
    if weights.source is not None:
        ignored = "" if weights.n_ignored is None else " (%d ignored)" % weights.n_ignored
        cli.say("%s: %d %ss of %d classes%s" % (weights.source, counts.sum(), weights.unit, n_classes, ignored))
    rows = [(str(l) if names is None else "%d %s" % (l, names[l]), "%.15g" % counts[l], "%.4g" % weights.weights[l])
            for l in range(min(n_classes, MOST_ROWS))]
    cli.say_table([("class", "count", "weight")] + rows)
    if n_classes > MOST_ROWS:
        cli.say("(the first %d of %d classes; --weights-out writes the weights of all, --json says all)"
              % (MOST_ROWS, n_classes))


def _print_next(args, layer):
    """Print the lines for a shell that put H into a net."""
    # Caffe's own loss itself reads nothing but a .binaryproto
    native = layer is not None or args.output.lower().endswith(".binaryproto")
    words = ["--loss", "InfogainLoss" if native else "SoftmaxWithInfogainLoss",
             "--source" if layer is None else "--h-file", args.output]
    net = args.net or (NET if os.path.exists(NET) else None)
    if net is not None:
        cli.say("next: " + cli.command_line("use_loss.py", net, *words))
        return
    cli.say("with a net, here %s: %s" % (NET, cli.command_line("use_loss.py", NET, *words)))
    if args.ignore_label is not None:
        words.append("--ignore-label=%d" % args.ignore_label)
    cli.say("next: " + cli.command_line("make_net.py", *words))


if __name__ == "__main__":
    cli.run(main)
