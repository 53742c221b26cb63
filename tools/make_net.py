#!/usr/bin/env python
"""Print the layers of a loss, for a train_val.prototxt.

  --loss SoftmaxWithLoss             Caffe's, without H
  --loss InfogainLoss                Caffe's, with H (Caffe of after April 2017)
  --loss SoftmaxWithInfogainLoss     ours, with H: exact for any scores, checks labels
  --loss caffe_losses.InfogainLoss   ours, on probabilities: a Softmax layer goes before it
  --loss CostScaledSoftmaxLoss       ours, with costs D
  --loss ExpectedCostLoss            ours, with costs D; for a net trained before: from fresh
                                     weights it falls onto one class
  --loss TripletSoftmaxLoss          of triplets

--native makes SoftmaxWithInfogainLoss, ExpectedCostLoss and TripletSoftmaxLoss out of Caffe's own
layers, which all have CUDA code: for a GPU or several, and where there are no Python layers. The
matrix of --source becomes weights, in NAME.caffemodel beside the output, for caffe train -weights.
Scores N x C: --axis -1, many times as fast.

Which of the two for triplets: ours on the CPU (exact at any distance, less memory: up to 1 MB where Caffe's
layers keep 6.5 blobs of the anchor's size; a step takes .1 ms more for 64 triplets, and less from
about 1,000 on), --native on a GPU or on several. It takes the blobs --anchor, --positive and
--negative, or chooses triplets from those of --embedding and --label (--select).

H, or D, comes from

  --source FILE            a file the loss reads itself
  --h-file FILE            a file, through a layer, for one loss or several: HDF5Data (.h5), Data
                           (.lmdb), Parameter (.caffemodel), else our InfogainMatrix
  --compute-h C            the labels of each batch of C classes, through a layer

--logit-adjust [STRENGTH] is for rare classes: in TRAIN the loss gets the scores plus STRENGTH times
the log of how frequent each class is, by --counts or --labels, elsewhere the scores alone.

A net that you have is changed by use_loss.py. For a new one put the layers in the place of its loss; every one has
exclude { stage: "deploy" }. Names of files are relative to where caffe runs.

examples:
  make_net.py --loss InfogainLoss --source infogainH.binaryproto
  make_net.py --loss SoftmaxWithInfogainLoss --source infogainH.binaryproto --ignore-label 255
  make_net.py --loss InfogainLoss --h-file H.h5
  make_net.py --loss InfogainLoss --compute-h 7 --running 0.99
  make_net.py --loss ExpectedCostLoss --source D.csv
  make_net.py --loss SoftmaxWithLoss --logit-adjust --counts 900,90,10
  make_net.py --loss SoftmaxWithInfogainLoss --native --source infogainH.binaryproto --axis -1 -o loss.prototxt
  make_net.py --loss TripletSoftmaxLoss --embedding fc7 --select semi_hard
  make_net.py --loss TripletSoftmaxLoss --native --anchor a --positive p --negative n
  make_net.py --loss InfogainLoss --h-file H.h5 --score fc8 --score aux1 --loss-weight 1 --loss-weight 0.3
"""
from __future__ import division, print_function

from caffe_tools import cli  # first, as it puts the checkout's packages on the path

import os

from caffe_losses.formats import matrix_files
from caffe_losses.compat import from_display, to_bytes, to_display
from caffe_losses.errors import naming
from caffe_losses.functional.blocks import NORMALIZATIONS
from caffe_prototxt.net.losses import COMPOSED, INFOGAIN, KINDS
from caffe_prototxt.net.matrix_sources import matrix_source
from caffe_prototxt.net.nets import Net
from caffe_prototxt.rewrite.fragment import RULES, fragment_and_weights
from caffe_prototxt.rewrite.verify import check_readable
from caffe_tools.options import adjust_options, class_files, compute_options, native_options

TRIPLET = "TripletSoftmaxLoss"


def main():
    parser = _parser()
    class_files.refuse_blanks(parser, ("--counts",))
    args = parser.parse_args()
    compute = compute_options.layer_params(parser, args)
    adjust_options.check(parser, args)
    _check_triplet(parser, args)
    _check_names(parser, args)
    cli.refuse_overwriting(parser, args.output, [
        args.source, args.h_file, args.gain, args.labels, args.counts and args.counts.path])
    _refuse_net(args.output)
    text, blobs = (from_display(_triplet_text(args)), {}) if args.loss == TRIPLET else _loss_text(args, compute)
    check_readable(text)
    weights = native_options.weights_path(args.output, args.name.replace(os.sep, "_"), ".caffemodel")
    writers = native_options.weights_writers(weights, blobs)
    if args.output is not None:
        writers.append((args.output, lambda file: file.write(to_bytes(text))))
    matrix_files.write_files(writers)
    if args.output is None and not args.json:
        cli.write(to_bytes(text))
    if args.json:
        cli.say_json(dict({"loss": args.loss, "output": args.output, "text": to_display(text)},
                          **({"weights": weights} if blobs else {})))
        return
    if args.output is not None:
        print("%s: %s; next: put it in the place of the loss of a new train_val.prototxt (use_loss.py does that in one "
              "that you have)" % (args.output, args.loss))
    for line in native_options.advice(weights) if blobs else ():
        (cli.note if args.output is None else print)(line)


def _refuse_net(path):
    """Refuse to replace a file that holds anything but what this command has written before."""
    if path is None or not os.path.isfile(path):
        return
    with naming(path):
        try:
            layers = Net(cli.read_net(path)).layers
            is_ours = all(layer.rules.get("exclude", [])[:1] == RULES["exclude"] for layer in layers) and (
                layers or not os.path.getsize(path))
        except ValueError:
            is_ours = False
        if not is_ours:
            raise ValueError("expected a new file for -o, or one that this command wrote, got another, which would be "
                             "lost; use_loss.py changes the loss of a net in place")


def _loss_text(args, compute):
    matrix = matrix_source(args.source, args.h_file, compute)
    label, name, h_name = map(from_display, (args.label, args.name, args.h_name))
    prior = None
    if args.logit_adjust is not None:
        priors = adjust_options.LogPriors(args)
        prior, _ = priors.of(None)
        for note in priors.notes:
            cli.note(note)
    text, blobs = fragment_and_weights(
        args.loss, matrix, list(map(from_display, args.score)), label, name, h_name, args.loss_weight or [None],
        args.axis, args.ignore_label, args.normalization,
        compute_options.is_classic(args, args.loss == INFOGAIN.name), args.native and args.loss in COMPOSED, prior)
    kind = KINDS[args.loss]
    for path in matrix.files if matrix else ():
        size = compute_options.check_matrix(path, kind)
        if args.compute_h and size not in (None, args.compute_h):
            raise ValueError("%s: expected %d classes, as --compute-h says, got %d" % (path, args.compute_h, size))
    return "".join("# %s\n" % line for line in compute_options.advice(kind)) + text, blobs


def _triplet_text(args):
    try:
        from caffe_prototxt.netspec.triplet_layers import triplet_fragment
    except Exception as error:  # a Caffe that is not for this Python fails in its own ways
        raise ImportError("expected Caffe's Python, for the layers of triplets, got none (%s): run this by tools/"
                          "with_caffe.sh" % error)
    select = None if args.select is None else {
        "strategy": args.select, "seed": args.seed, "ignore_label": args.ignore_label, "count": True}
    try:
        return triplet_fragment(
            (args.anchor, args.positive, args.negative), args.name, args.embedding, args.label, select,
            python=not args.native, norm=args.norm or "l2", form=args.form or "mse", normalization=args.normalization,
            loss_weight=(args.loss_weight or [None])[0])
    except (AttributeError, KeyError) as error:  # of net_spec
        raise ValueError("expected a Caffe that has what the layers of triplets need, got an older one (%s)" % error)


def _check_triplet(parser, args):
    """Refuse options of the triplet loss without it, and those of the others with it."""
    def given(*names):
        return [name for name in names if getattr(args, name) not in (None, False)]

    parts = given("anchor", "positive", "negative")
    if args.loss != TRIPLET:
        wrong = parts + given("embedding", "select", "seed", "norm", "form")
        args.score = args.score or ["score"]
        if wrong:
            parser.error("--%s: expected with --loss %s only" % (wrong[0], TRIPLET))
        if args.logit_adjust and not given("counts", "labels"):
            parser.error("--logit-adjust: expected with --counts or --labels, as there is no net whose labels to count")
        native_options.check(parser, args)
        return
    wrong = given("score", "source", "h_file", "compute_h", "axis", "logit_adjust")
    if wrong:
        parser.error("--%s: expected with another loss than %s" % (wrong[0].replace("_", "-"), TRIPLET))
    if (args.embedding is None) != (args.select is None) or args.embedding is None and len(parts) < 3:
        parser.error("expected --embedding with --select, or --anchor, --positive and --negative, to say where the "
                     "triplets come from")
    if args.select is None and given("seed", "ignore_label") or args.seed is not None and args.select != "random":
        parser.error("--seed, --ignore-label: expected with --select (--seed: random) only")
    if len(args.loss_weight or []) > 1:
        parser.error("--loss-weight: expected one, got %d" % len(args.loss_weight))
    for part in ("anchor", "positive", "negative"):
        setattr(args, part, getattr(args, part) or part)


def _parser():
    parser = cli.Parser(description=__doc__)
    parser.add_argument("--loss", required=True, metavar="TYPE", help="one of those above")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--source", metavar="FILE", help="file with H that the loss reads")
    source.add_argument("--h-file", metavar="FILE", help="file with H that a layer reads; its ending says which")
    compute_options.add_options(parser, source)
    adjust_options.add_options(parser)
    compute_options.add_infogain(parser)
    parser.add_argument("--score", action="append", help="name of the blob of scores (default: score); several times: "
                        "a loss for each, with one matrix for all")
    parser.add_argument("--label", default="label", help="name of the blob of labels (default: %(default)s)")
    parser.add_argument("--name", default="loss", help="of the loss layer and its top (default: %(default)s)")
    parser.add_argument("--h-name", default="H", help="of the layer of H and its top (default: %(default)s)")
    parser.add_argument("--axis", type=int, help="class axis of the scores (default: 1)")
    parser.add_argument("--ignore-label", type=int, help="label whose positions do not count")
    parser.add_argument("--normalization", choices=NORMALIZATIONS, help="(default: VALID)")
    parser.add_argument("--loss-weight", type=float, action="append",
                        help="(default: 1); several times: of each --score")
    parser.add_argument("--native", action="store_true", help="out of Caffe's own layers")
    group = parser.add_argument_group("the triplet loss")
    for part in ("anchor", "positive", "negative"):
        group.add_argument("--" + part, metavar="BLOB", help="name of the blob")
    group.add_argument("--embedding", metavar="BLOB",
                       help="blob of a row for each sample, of which triplets are chosen")
    group.add_argument("--select", choices=("all", "hardest", "semi_hard", "random"), help="how they are chosen")
    group.add_argument("--seed", type=int, help="of --select random")
    group.add_argument("--norm", choices=("l2", "squared_l2"), help="of the difference (default: l2)")
    group.add_argument("--form", choices=("mse", "log"), help="mse: the paper's, (d+)^2 (default); log: "
                       "log(1 + e^(a - b)), which keeps its gradient on the hardest triplets")
    parser.add_argument("-o", "--output", metavar="FILE", help="where the text goes (default: it is printed)")
    parser.add_argument("--json", action="store_true", help="print the text as JSON")
    return parser


def _check_names(parser, args):
    """Refuse names and numbers of which Caffe would make another net, or none."""
    blobs = args.score or [args.anchor, args.positive, args.negative] + [args.embedding] * (args.embedding is not None)
    names = blobs + [args.label, args.name] + ([args.h_name] if args.h_file or args.compute_h else [])
    if "" in names or len(set(names)) < len(names):
        parser.error("expected different names for the blobs --score, --label, --name and --h-name, got %s"
                     % ", ".join(map(repr, names)))
    for loss_weight in args.loss_weight or []:
        if not abs(loss_weight) < float("inf"):
            parser.error("--loss-weight: expected a finite number, got %g" % loss_weight)
    if args.loss_weight and len(args.loss_weight) == 1:
        args.loss_weight *= len(args.score or [1])
    if args.loss == "InfogainLoss" and args.source is not None and not matrix_files.is_binaryproto(args.source):
        parser.error("--source: expected a file that ends in .binaryproto, as Caffe's own InfogainLoss reads nothing "
                     "else, got %r" % args.source)
    if args.ignore_label is not None and not -2 ** 31 <= args.ignore_label < 2 ** 31:
        parser.error("--ignore-label: expected a 32-bit number, got %d" % args.ignore_label)


if __name__ == "__main__":
    cli.run(main)
