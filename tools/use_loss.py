#!/usr/bin/env python
"""Change the loss of a net in place, and nothing else in its file.

  --loss SoftmaxWithLoss             Caffe's, without H
  --loss InfogainLoss                Caffe's, with H (what a SoftmaxWithLoss becomes unless you say)
  --loss SoftmaxWithInfogainLoss     ours, with H: exact for any scores, checks labels
  --loss caffe_losses.InfogainLoss   ours, on probabilities: a Softmax layer goes before it
  --loss CostScaledSoftmaxLoss       ours, with costs
  --loss ExpectedCostLoss            ours, with costs

The matrix, H or costs, comes from

  --source FILE            a file the loss reads itself
  --h-file FILE            a file, through a layer, for one loss or several: HDF5Data (.h5), Data
                           (.lmdb), Parameter (.caffemodel), else our InfogainMatrix
  --compute-h C            the labels of each batch of C classes, through a layer
  --h-blob BLOB            a blob that a layer of the net makes already

and stays as it is without one of them. Names, bottoms, tops, rules, loss_weight and
loss_param stay or are translated; all else keeps every byte, comments too. A second
run changes nothing. Several losses: say which, or all; NET alone lists them. One
loss for TRAIN and one for TEST, of one name, count as one. Names of files are
relative to where caffe runs. Exit status 2, and nothing written, for any error.

examples:
  use_loss.py train_val.prototxt
  use_loss.py train_val.prototxt --source infogainH.binaryproto --diff
  use_loss.py train_val.prototxt --source infogainH.binaryproto
  use_loss.py train_val.prototxt --loss SoftmaxWithInfogainLoss -o ours.prototxt
  use_loss.py train_val.prototxt --compute-h 3 --weights balanced --scale sample --running 0.99
  use_loss.py train_val.prototxt --loss ExpectedCostLoss --source D.csv --layer loss
  use_loss.py train_val.prototxt --loss SoftmaxWithLoss --all
"""
from __future__ import division, print_function

import difflib
import os
import re

from caffe_tools import cli  # first, as it puts the checkout's packages on the path

import numpy as np

from caffe_losses.compat import from_display, to_bytes, to_display
from caffe_losses.formats import matrix_files
from caffe_losses.matrices import gains
from caffe_prototxt.net import losses
from caffe_prototxt.net.matrix_sources import matrix_source
from caffe_prototxt.net.nets import Net
from caffe_prototxt.rewrite import plan, verify
from caffe_prototxt.textformat import scanner
from caffe_tools import compute_options
from caffe_tools.cli import say


def main():
    parser = _parser()
    args = parser.parse_args()
    request = _request(parser, args)
    before = cli.read_net(args.net)
    try:
        will_be = args.loss == losses.INFOGAIN.name or args.loss is None and request.matrix is not None
        net = Net(before, compute_options.is_classic(args, will_be or "infogain" in before.lower()))
        layers = losses.find_losses(net)
        chosen = _choose(net, layers, args)
        if request.kind is None and request.matrix is None:
            _list(layers, args.net)
            return
        if chosen is None:
            _list(layers, args.net)
            raise ValueError("expected --layer NAME or --all, as there are %d losses" % len(layers))
        planned = plan.plan(net, [losses.read_loss(layer) for layer in chosen], request)
        _check_matrices(net, planned, args)
        after = plan.write(before, planned)
        unchecked = verify.verify(net, after, planned) if after != before else None
    except ValueError as error:
        raise ValueError("%s: %s" % (args.net, error))
    if unchecked:
        cli.note(unchecked)
    if before.startswith(scanner.BOM):
        cli.note("%s begins with a byte order mark, at which Caffe stops" % args.net)
    if args.diff:
        cli.write(to_bytes("".join(_diff(before, after, args.net))))
        return
    output = args.output or args.net
    if not args.dry_run and (after != before or args.output):
        cli.write(to_bytes(after), output)
    _report(planned, after != before, output, args)


def _parser():
    parser = cli.Parser(description=__doc__)
    parser.add_argument("net", metavar="NET", help="the prototxt")
    parser.add_argument("--loss", choices=sorted(losses.KINDS), metavar="TYPE", help="one of those above")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--source", metavar="FILE", help="file with the matrix, that the loss reads")
    source.add_argument("--h-file", metavar="FILE",
                        help="file with the matrix, that a layer reads; its ending says which")
    source.add_argument("--h-blob", metavar="BLOB", help="blob with the matrix, that the net makes")
    compute_options.add_options(parser, source)
    parser.add_argument("--h-name", default="H", help="of the layer of H and its top (default: %(default)s)")
    parser.add_argument("--layer", action="append", default=[], metavar="NAME", help="name of the loss (repeatable)")
    parser.add_argument("--all", action="store_true", help="all losses")
    compute_options.add_infogain(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="where the net goes (default: it is changed in place)")
    parser.add_argument("--diff", action="store_true", help="show the changes, write nothing")
    parser.add_argument("--dry-run", action="store_true", help="say what would change, write nothing")
    return parser


def _request(parser, args):
    compute = compute_options.layer_params(parser, args)
    if args.layer and args.all:
        parser.error("expected --layer or --all, got both")
    for option, name in (("--h-blob", args.h_blob), ("--h-name", args.h_name), ("--source", args.source),
                         ("--h-file", args.h_file), ("--output", args.output)):
        if name == "":
            parser.error("%s: expected a name, got none" % option)
    matrix = matrix_source(args.source, args.h_file, compute, args.h_blob)
    return plan.Request(losses.KINDS.get(args.loss), matrix, from_display(args.h_name))


def _choose(net, layers, args):
    if not layers:
        others = ", ".join("%s is %s" % (layer, to_display(layer.type)) for layer in losses.other_losses(net)[:3])
        raise ValueError("expected a loss that can be changed (%s), found %s%s"
                         % (", ".join(losses.KINDS), others or "no loss", "" if net.layers else " and no layer"))
    return losses.select(layers, list(map(from_display, args.layer)), args.all)


def _list(layers, path):
    for layer in layers:
        try:
            n_classes = _n_classes(losses.read_loss(layer))
            classes = "%s classes" % (n_classes or "unknown number of")
        except ValueError as error:
            classes = str(error)
        phases = "" if len(layer.phases) != 1 else ", %s only" % to_display("".join(layer.phases))
        weights = "".join(", loss_weight %s" % weight for weight in layer.values("loss_weight"))
        say("%s:%d: %s: %s, %s%s%s" % (path, layer.line, to_display(layer.name) or "(no name)",
                                       losses.kind_of(layer).name, classes, weights, phases))


def _check_matrices(net, planned, args):
    """Refuse a matrix that the loss would refuse, or learn nonsense from."""
    sizes, path = [("--compute-h", args.compute_h)], args.source or args.h_file or args.gain
    if path is not None and not os.path.exists(path):
        cli.note("%s is not there yet, and could not be checked; caffe reads it from where it runs" % path)
    elif path is not None:
        with np.errstate(over="ignore"):
            matrix = matrix_files.read_matrix(path).astype(np.float32)
        are_costs = any(kind.matrix == "cost" for _, kind, _ in planned.targets)
        check = gains.check_cost if are_costs else gains.check_gain
        sizes.append((path, len(check(matrix, path))))
    for loss, _, _ in planned.targets:
        n_classes = _n_classes(loss)
        for what, size in sizes:
            if None not in (size, n_classes) and size != n_classes:
                raise ValueError("%s: expected %d classes, as the scores of %s have, got %d"
                                 % (what, n_classes, loss.layer, size))


def _n_classes(loss):
    axis = loss.params.axis
    return loss.layer.net.n_classes(loss.layer, loss.bottom, 1 if axis is None else axis)


def _report(planned, changed, output, args):
    if not changed:
        say("%s: nothing to change: %s" % (output, "; ".join(
            "%s is %s" % (loss.layer, _described(kind, matrix)) for loss, kind, matrix in planned.targets)))
        return
    would = "would be" if args.dry_run else "is now"
    for loss, kind, matrix in planned.targets:
        say("%s: %s: %s %s %s" % (output, loss.layer, loss.kind.name, would, _described(kind, matrix)))
    for _, fields in planned.added:
        say("%s: new layer %s" % (output, to_display(fields["name"])))
    for layer in planned.removed:
        say("%s: layer %s is out, as nothing else used it" % (output, layer))
    say("next: " + cli.command_line("check_net.py", output))


def _described(kind, matrix):
    return kind.name + (", %s" % matrix if matrix else "")


def _diff(before, after, name):
    """Return the lines of a unified diff. (Not by splitlines, which splits at a form feed, too.)"""
    old, new = [re.findall("[^\n]*\n|[^\n]+", text) for text in (before, after)]
    return [line if line.endswith("\n") else line + "\n\\ No newline at end of file\n"
            for line in difflib.unified_diff(old, new, name, name)]


if __name__ == "__main__":
    cli.run(main)
