#!/usr/bin/env python
"""Change the loss of a net in place, and nothing else in its file.

  --loss SoftmaxWithLoss             Caffe's, without H
  --loss InfogainLoss                Caffe's, with H (what a SoftmaxWithLoss becomes unless you say)
  --loss SoftmaxWithInfogainLoss     ours, with H: exact for any scores, checks labels
  --loss caffe_losses.InfogainLoss   ours, on probabilities: a Softmax layer goes before it
  --loss CostScaledSoftmaxLoss       ours, with costs
  --loss ExpectedCostLoss            ours, with costs, for a net that has been trained before:
                                     fresh weights fall onto one class

The matrix, H or costs, comes from

  --source FILE            a file the loss reads itself
  --h-file FILE            a file, through a layer, for one loss or several: HDF5Data (.h5), Data
                           (.lmdb), Parameter (.caffemodel), else our InfogainMatrix
  --compute-h [C]          the labels of each batch, through a layer; of C classes, or as many as
                           the scores have
  --h-blob BLOB            a blob that a layer of the net makes already
  --from-class-weighting   the class weights in the text of a fork's SoftmaxWithLoss (SegNet's,
                           ENet's), as the diagonal of H in a file beside the net

and stays as it is without one of them. Names, bottoms, tops, rules, loss_weight and
loss_param stay or are translated; all else keeps every byte, comments too. A second
run changes nothing. Several losses: say which, or all; NET alone lists them. A matrix
for each: --layer cls_loss=H21.binaryproto --layer rpn_loss=H2.binaryproto. One loss for
TRAIN and one for TEST, of one name, count as one. --label-check puts our LabelCheck
before Caffe's own losses, which read past the end of H on a label out of range. Names
of files are relative to where caffe runs. Exit status 2, and nothing written, for any
error.

--logit-adjust [STRENGTH] is for rare classes: in TRAIN the loss gets the scores plus STRENGTH times
the log of how frequent each class is (a LogPrior and Caffe's Bias layer), elsewhere the scores
alone, which are what to decide by. The training labels of the net are counted (where only Caffe
can tell them, by running the layers that make them), unless --counts, --labels or --running says
otherwise. --logit-adjust 0 takes it away.

--native makes SoftmaxWithInfogainLoss or ExpectedCostLoss out of Caffe's own layers, which all
have CUDA code: for a GPU or several, and where there are no Python layers. The matrix of --source
becomes their weights, in NET_loss.caffemodel beside the net, for caffe train -weights. Without
--native such a loss becomes one layer again. With --logit-adjust, the log prior is in these weights.

examples:
  use_loss.py train_val.prototxt
  use_loss.py train_val.prototxt --source infogainH.binaryproto --diff
  use_loss.py train_val.prototxt --source infogainH.binaryproto
  use_loss.py train_val.prototxt --label-check
  use_loss.py train_val.prototxt --loss SoftmaxWithInfogainLoss -o ours.prototxt
  use_loss.py train_val.prototxt --compute-h --running 0.99
  use_loss.py train_val.prototxt --loss ExpectedCostLoss --source D.csv --layer loss
  use_loss.py train_val.prototxt --loss SoftmaxWithLoss --all
  use_loss.py train_val.prototxt --logit-adjust
  use_loss.py train_val.prototxt --logit-adjust 0.5 --counts 900,90,10
  use_loss.py train_val.prototxt --loss SoftmaxWithInfogainLoss --native --source infogainH.binaryproto
"""
from __future__ import division, print_function

from caffe_tools import cli  # first, as it puts the checkout's packages on the path

import collections
import difflib
import os
import re

import numpy as np

from caffe_losses.compat import from_display, to_bytes, to_display
from caffe_losses.errors import naming
from caffe_losses.formats import matrix_files
from caffe_losses.matrices import class_weights
from caffe_prototxt.check import solvers
from caffe_prototxt.net import losses
from caffe_prototxt.net.matrix_sources import BlobMatrix, FileMatrix, LayerMatrix, matrix_source
from caffe_prototxt.net.nets import Net
from caffe_prototxt.rewrite import plan, verify
from caffe_prototxt.textformat import scanner
from caffe_prototxt.textformat.messages import Item, read
from caffe_tools import loss_words
from caffe_tools.cli import say
from caffe_tools.options import adjust_options, class_files, compute_options, native_options

# net: nets.Net. layers: its losses. chosen: those that are meant; None where that is not clear. request: plan.Request.
# writers: pairs of a file to write beside the net and its writer.
_Task = collections.namedtuple("_Task", "net layers chosen request writers")
# plan: plan.Plan of the logit adjustment. losses: of losses.Loss, each with the counts in words. notes: list of str.
_Adjusted = collections.namedtuple("_Adjusted", "plan losses notes")


def main():
    parser = _parser()
    class_files.refuse_blanks(parser, ("--counts",))
    args = parser.parse_args()
    compute = _check_options(parser, args)
    before = cli.read_net(args.net)
    planned, adjusted, after, notes = None, None, before, []
    with naming(args.net):
        task = _task(before, args, compute)
        if (task.request or args.logit_adjust is not None) and task.chosen is None:
            for line in loss_words.listed(task.net, task.layers, args.net):
                say(line)
            raise ValueError("expected --layer NAME or --all, as there are %d losses" % len(task.layers))
        if task.request:
            planned = plan.plan(task.net, [losses.read_loss(layer) for layer in task.chosen], task.request)
            notes += _check_matrices(planned, task)
            after = plan.write(before, planned)
            notes += filter(None, [verify.verify(task.net, after, planned) if after != before else None])
    with_losses = after
    if args.logit_adjust is not None:
        adjusted, after = _adjust(task, after, args)
        notes += [note for note in adjusted.notes if note not in notes]
    output = args.output or args.net
    writes = not (args.dry_run or args.diff) and (after != before or args.output is not None)
    blobs = dict(planned.blobs if planned else {}, **(adjusted.plan.blobs if adjusted else {}))
    weights = native_options.weights_path(output, args.net, losses.WEIGHTS_ENDING), blobs
    weights_writers = [] if args.dry_run or args.diff else native_options.weights_writers(*weights)
    writers = [(output, lambda file: file.write(to_bytes(after)))] if writes else []
    if writes:
        notes += _other_names(output)
        writers += task.writers
    matrix_files.write_files(weights_writers + writers)
    for note in notes:
        cli.note(note)
    if args.diff:
        cli.write(to_bytes("".join(_diff(before, after, args.net))))
        return
    changes = with_losses != before, after != with_losses
    _report(task, planned, adjusted, changes, output if writes else None, args, notes, weights_writers)


def _parser():
    parser = cli.Parser(description=__doc__)
    parser.add_argument("net", metavar="NET", help="the prototxt")
    parser.add_argument("--loss", choices=sorted(losses.KINDS), metavar="TYPE", help="one of those above")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--source", metavar="FILE", help="file with the matrix, that the loss reads")
    source.add_argument("--h-file", metavar="FILE",
                        help="file with the matrix, that a layer reads; its ending says which")
    source.add_argument("--h-blob", metavar="BLOB", help="blob with the matrix, that the net makes")
    source.add_argument("--from-class-weighting", action="store_true",
                        help="H from class_weighting in loss_param; SoftmaxWithInfogainLoss unless --loss says another")
    compute_options.add_options(parser, source, has_net=True)
    adjust_options.add_options(parser, has_net=True)
    parser.add_argument("--native", action="store_true", help="--loss out of Caffe's own layers")
    parser.add_argument("--h-name", default="H", help="of the layer of H and its top (default: %(default)s)")
    parser.add_argument("--layer", action="append", default=[], metavar="NAME[=FILE]", help="name of the loss, and its "
                        "own file with the matrix, read as --source or --h-file are (repeatable)")
    parser.add_argument("--all", action="store_true", help="all losses")
    parser.add_argument("--label-check", nargs="?", const=True, type=int, metavar="C", help="a LabelCheck before "
                        "Caffe's own losses, of C classes (default: as many as the scores have)")
    compute_options.add_infogain(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="where the net goes (default: it is changed in place)")
    parser.add_argument("--diff", action="store_true", help="show the changes, write nothing")
    parser.add_argument("--dry-run", action="store_true", help="say what would change, write nothing")
    parser.add_argument("--json", action="store_true", help="print the losses and what changes as JSON")
    return parser


def _check_options(parser, args):
    """End the command for options that do not go together. Returns the keys of ComputeH's param_str, or None."""
    compute = compute_options.layer_params(parser, args)
    for option, name in (("--h-blob", args.h_blob), ("--h-name", args.h_name), ("--source", args.source),
                         ("--h-file", args.h_file), ("--output", args.output)):
        if name == "":
            parser.error("%s: expected a name, got none" % option)
    native_options.check(parser, args)
    adjust_options.check(parser, args)
    if args.json and args.diff:
        parser.error("expected --json or --diff, got both")
    if args.label_check is not None and args.label_check < 1:
        parser.error("--label-check: expected at least 1 class, got %d" % args.label_check)
    own = [argument[split.end():] for argument in args.layer for split in re.finditer("=", argument)]
    cli.refuse_overwriting(parser, args.output, [
        args.source, args.h_file, args.gain, args.labels, args.counts and args.counts.path] + own)
    return compute


def _task(text, args, compute):
    """Return the _Task that the options ask for; its request is None where they ask for nothing."""
    _refuse_solver(text)
    matrix = matrix_source(args.source, args.h_file, compute, args.h_blob)
    will_be = args.loss == losses.INFOGAIN.name or args.loss is None and bool(matrix or args.layer)
    net = Net(text, compute_options.is_classic(args, will_be or "infogain" in text.lower()))
    layers = losses.find_losses(net)
    if not layers:
        others = ", ".join(map(_as_other, losses.other_losses(net)[:3]))
        raise ValueError("expected a loss that can be changed (%s), found %s%s"
                         % (", ".join(losses.KINDS), others or "no loss", "" if net.layers else " and no layer"))
    names, own = _own_matrices(layers, args)
    chosen, kind, writers = losses.select(layers, names, args.all), losses.KINDS.get(args.loss), []
    if args.from_class_weighting:
        if own:
            raise ValueError("expected --layer NAME=FILE or --from-class-weighting, got both")
        chosen = _weighted(layers, names)
        kind = kind or losses.OURS
        if kind.matrix != "gain":
            raise ValueError("expected a loss with gains for --from-class-weighting, got %s" % kind.name)
        own, writers = _from_class_weighting(chosen, args)
    asks = kind or matrix or own or args.label_check
    request = plan.Request(kind, matrix, from_display(args.h_name), own, args.from_class_weighting, args.label_check,
                           args.native and args.loss in losses.COMPOSED)
    return _Task(net, layers, chosen, request if asks else None, writers)


def _adjust(task, text, args):
    """Return (_Adjusted, the text with the logit adjustment). text: of the net, its losses changed already."""
    net, priors = Net(text, task.net.classic), adjust_options.LogPriors(args, args.net)
    layers = losses.find_losses(net)
    chosen = [losses.read_loss(layers[task.layers.index(layer)]) for layer in task.chosen]
    chosen = [loss for loss in chosen if "TRAIN" in loss.layer.phases]
    if not chosen:
        raise ValueError("%s: expected a loss in TRAIN for --logit-adjust, got %s" % (
            args.net, ", ".join(map(str, task.chosen))))
    found = [priors.of(loss) for loss in chosen]
    with naming(args.net):
        planned = plan.plan_adjustments(net, list(zip(chosen, [prior for prior, _ in found])))
        after = plan.write(text, planned)
        notes = list(filter(None, [verify.verify(net, after, planned) if after != text else None]))
    return _Adjusted(planned, list(zip(chosen, [words for _, words in found])), priors.notes + notes), after


def _as_other(layer):
    meant = losses.meant_type(layer)
    return "%s is %s%s" % (layer, to_display(layer.type), ", which is to be %s" % meant if meant else "")


def _refuse_solver(text):
    """Raise ValueError for the text of a solver, naming its net."""
    if solvers.is_solver(text):
        named = [read(text, Item(start, end, field)) for field in scanner.fields(text) for start, end in
                 scanner.values(text, field) if field.name in solvers.TRAIN_NETS and text[field.value] not in "{<"]
        raise ValueError("expected a net, got a solver's file%s" % "".join(
            "; give its net, %s" % to_display(name) for name in named[:1]))


def _own_matrices(layers, args):
    """Return (the names of --layer, {index of a layer: the matrix that --layer NAME=FILE gives it})."""
    known, names, own = set(to_display(layer.name) for layer in layers), [], {}
    for argument in args.layer:
        splits = [split.start() for split in re.finditer("=", argument)]
        split = next((split for split in splits if argument[:split] in known), (splits or [None])[0])
        if argument in known or split is None:
            if args.all:
                raise ValueError("expected --layer or --all, got both; with --all, --layer NAME=FILE gives a loss a "
                                 "matrix of its own")
            names.append(from_display(argument))
            continue
        name, path = argument[:split], argument[split + 1:]
        if not path:
            raise ValueError("--layer %s: expected NAME=FILE, got no FILE" % argument)
        names.append(from_display(name))
        source = matrix_source(h_file=path) if args.h_file else matrix_source(source=path)
        if names[-1] in names[:-1]:
            raise ValueError("--layer %s: expected one FILE for each loss, got two" % argument)
        own.update((layer.index, source) for layer in layers if layer.name == names[-1])
    losses.select(layers, names, False)  # for the names that there are not
    return [] if args.all else names, own


def _weighted(layers, names):
    """Return the losses with class weights in their text. names: those that are meant; empty: all."""
    weighted = [layer for layer in losses.select(layers, names, not names) if losses.has_class_weighting(layer)]
    if not weighted:
        raise ValueError("expected a loss with class_weighting in its loss_param for --from-class-weighting, got none")
    return weighted


def _from_class_weighting(layers, args):
    """Return ({index of a layer: its FileMatrix}, writers) of the class weights in the text of losses."""
    own, matrices = {}, collections.OrderedDict()
    is_file = args.output is not None and (os.path.isfile(args.output) or not os.path.exists(args.output))
    stem = os.path.splitext(args.output if is_file else args.net)[0]
    for layer in layers:
        with naming(layer):
            H = np.diag(class_weights.check_weights(losses.class_weighting(layer))).astype(np.float32)
        path = "%s_%s_H.binaryproto" % (stem, re.sub(r"[^\w.-]", "_", to_display(layer.name) or "loss"))
        there = matrices.get(path)
        if there is None and os.path.exists(path):
            there = matrix_files.read_matrix(path)
        if there is not None and not np.array_equal(there, H):
            raise ValueError("%s: expected to write the class weights of %s there, got another matrix in its place; "
                             "move it away, or use -o" % (path, layer))
        own[layer.index], matrices[path] = FileMatrix(from_display(path)), H
    return own, [(path, matrix_files.matrix_writer(path, H)) for path, H in matrices.items()]


def _check_matrices(planned, task):
    """Refuse a matrix that the loss would refuse, or learn nonsense from; return notes on what could not be checked."""
    sizes, notes = {}, []
    for loss, kind, matrix in planned.targets:
        n_classes = loss.n_classes()
        given = task.request.own.get(loss.layer.index, task.request.matrix)
        for what, size in _sizes(loss, kind, matrix, task, sizes) if given else ():
            if None not in (size, n_classes) and size != n_classes:
                raise ValueError("%s: expected %d classes, as the scores of %s have, got %d (--layer NAME=FILE gives a "
                                 "loss a matrix of its own)" % (what, n_classes, loss.layer, size))
            if n_classes is None and size is not None or size is None and isinstance(matrix, BlobMatrix):
                notes.append("not checked: whether %s%s fits the %s of %s, as the text does not tell how many classes "
                             "both have; check_net.py makes the net in Caffe" % (
                                 what, "" if size is None else ", of %d classes," % size,
                                 "scores" if n_classes is None else "%d classes" % n_classes, loss.layer))
    return notes


def _sizes(loss, kind, matrix, task, known):
    """Return pairs of what says a number of classes of a matrix, and that. known: {(file, "gain" or "cost"): that}."""
    if task.writers:
        return [("class_weighting", len(losses.class_weighting(loss.layer)))]
    for path in matrix.files:
        if (path, kind.matrix) not in known:
            known[path, kind.matrix] = compute_options.check_matrix(path, kind)
    sizes = [(path, known[path, kind.matrix]) for path in matrix.files]
    if isinstance(matrix, BlobMatrix):
        shape = loss.layer.net.shape(loss.layer, matrix.name)
        sizes.append(("--h-blob %s" % to_display(matrix.name), shape.size(-1) or shape.size(3)))
    elif isinstance(matrix, LayerMatrix) and "n_classes" in (matrix.keys or {}):
        sizes.append(("--compute-h", matrix.keys["n_classes"]))
    return sizes


def _other_names(path):
    """Return notes on the other names of a file that is replaced."""
    notes, n_links = [], os.stat(path).st_nlink if os.path.isfile(path) else 1
    if os.path.islink(path):
        notes.append("%s is a link: the file that changes is %s" % (path, os.path.realpath(path)))
    if n_links > 1:
        notes.append("%s has %d names (hard links): it is now a file of its own, and the others stay as they were"
                     % (path, n_links))
    return notes


def _report(task, planned, adjusted, changes, output, args, notes, weights_writers):
    """Print what the net has, or how it changed.

    changes: whether its losses changed, and whether what they get did. output: the file that was written, or None.
    """
    files, weights = [path for path, _ in task.writers] if output is not None else [], [
        path for path, _ in weights_writers]
    if args.json:
        cli.say_json(dict(loss_words.as_json(task.net, task.layers, planned, adjusted and adjusted.plan), net=args.net,
                          written=output, changed=any(changes), files=files + weights, notes=notes))
        return
    written = output or args.output or args.net
    lines = [] if planned or adjusted else loss_words.listed(task.net, task.layers, args.net)
    if planned:
        lines = loss_words.changes(planned, written, args.dry_run) if changes[0] else (
            loss_words.unchanged(planned, written))
    if adjusted:
        is_new = changes[1] or weights and adjusted.plan.blobs
        lines += loss_words.adjusted(adjusted.losses, args.logit_adjust, written, "" if not is_new else (
            "would be" if args.dry_run else "is now"))
    if output is not None and not any(changes):
        lines.append("%s: a copy of %s, with nothing to change" % (output, args.net))
    lines += ["%s: H, the class weights of the text on its diagonal" % path for path in files]
    for path in weights:
        lines += ["%s: the weights of the loss" % path] + native_options.advice(path)
    if any(changes) and output is not None and os.path.isfile(output):
        lines.append("next: " + cli.command_line("check_net.py", output))
    for line in lines:
        say(line)


def _diff(before, after, name):
    """Return the lines of a unified diff. (Not by splitlines, which splits at a form feed, too.)"""
    old, new = [re.findall("[^\n]*\n|[^\n]+", text) for text in (before, after)]
    return [line if line.endswith("\n") else line + "\n\\ No newline at end of file\n"
            for line in difflib.unified_diff(old, new, name, name)]


if __name__ == "__main__":
    cli.run(main)
