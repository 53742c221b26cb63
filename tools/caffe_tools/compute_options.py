"""The options of the commands that write a loss, and the layers before it: ComputeH and LogPrior; checks of a matrix."""
from __future__ import division, print_function

import os

import numpy as np

from caffe_losses.compat import to_display
from caffe_losses.formats import matrix_files
from caffe_losses.matrices import class_weights, gains, summary
from caffe_prototxt.data.labels import count_source, per_class
from caffe_prototxt.data.net_source import net_source
from caffe_prototxt.net import losses
from caffe_prototxt.net.adjustments import LOG_PRIOR
from caffe_prototxt.net.matrix_sources import LayerMatrix
from caffe_prototxt.rewrite.plan import Prior
from caffe_prototxt.training import caffe_process
from caffe_prototxt.training.net_labels import Uncountable, count_net
from caffe_tools import class_files, cli

KEYS = ("weights", "beta", "power", "scale", "missing", "gain", "running")
MOST_COUNTS = 10  # that are printed
DEFAULTS = {"weights": "balanced", "scale": "sample"}  # the layer's own are the published ones


def add_options(parser, source, has_net=False):
    """Add --compute-h to `source`, a group of options that exclude each other, and its own options to the parser.

    has_net: whether the command has a net, which tells the number of classes where that is not given.
    """
    more = {"nargs": "?", "const": True} if has_net else {}
    source.add_argument("--compute-h", type=int, metavar="C", help="H from the labels, of C classes%s"
                        % (" (default: as many as the scores have)" if has_net else ""), **more)
    parser.add_argument("--weights", choices=class_weights.KINDS, help="of --compute-h (default: balanced)")
    parser.add_argument("--beta", type=float, help="of --weights effective_number")
    parser.add_argument("--power", type=float, help="of --compute-h: softens the weights; 0.5: square root")
    parser.add_argument("--scale", choices=class_weights.SCALES, help="of --compute-h (default: sample, the average "
                        "sample weighs 1, and so the learning rate keeps its meaning; sum: the weights sum to 1)")
    parser.add_argument("--missing", choices=("zero", "error"), help="of --compute-h: what a class gets that "
                        "the batch does not hold (default: weight 0)")
    parser.add_argument("--gain", metavar="FILE", help="of --compute-h: gain whose rows the weights multiply")
    parser.add_argument("--running", type=float, metavar="DECAY", help="of --compute-h%s: counts kept over batches, with "
                        "this decay (for instance 0.99)" % (" and --logit-adjust" if has_net else ""))


def add_logit_adjust(parser, has_net=False):
    """Add --logit-adjust and its own options to a parser. has_net: as of add_options."""
    parser.add_argument("--logit-adjust", nargs="?", const=1.0, type=float, metavar="STRENGTH", help="add the log prior "
                        "of the classes, times STRENGTH (default: 1), to the scores in TRAIN%s" % (
                            "; 0: take that away" if has_net else ""))
    parser.add_argument("--counts", type=class_files.numbers, metavar="N", help="of --logit-adjust: samples of each "
                        "class, 90,9,1 or a file of numbers%s" % (
                            " (default: what the net's TRAIN data layer reads is counted)" if has_net else ""))
    parser.add_argument("--labels", metavar="SOURCE", help="of --logit-adjust: data whose labels are counted, as "
                        "make_h.py --labels takes them")
    parser.add_argument("--pixels", action="store_true", help="of --labels: each record is an image whose values are "
                        "labels")


def add_infogain(parser):
    parser.add_argument("--infogain", choices=("auto", "scores", "classic"), default="auto",
                        help="what Caffe's own InfogainLoss takes: scores, or (classic) probabilities, as before April "
                        "2017 and in some forks; then a Softmax layer goes before it (default: as this Caffe's does)")


def is_classic(args, is_used):
    """Return whether Caffe's InfogainLoss takes probabilities. is_used: whether the net has one, or will have."""
    if args.infogain != "auto":
        return args.infogain == "classic"
    classic = bool(is_used and losses.is_classic())
    if classic:
        cli.note("this Caffe's InfogainLoss takes probabilities, as before April 2017 (--infogain classic): a Softmax "
                 "layer goes before it")
    return classic


def layer_params(parser, args):
    """Return the parameters of the ComputeH layer, without n_classes where the net tells it; None: no --compute-h.

    Values that ComputeH would refuse in its setup end the command here.
    """
    params = {key: getattr(args, key) for key in KEYS if getattr(args, key) is not None}
    _check_logit_adjust(parser, args)
    of_others = () if args.logit_adjust is None else ("running",)
    if args.compute_h is None and set(params) - set(of_others):
        parser.error("--%s: expected with --compute-h only" % sorted(set(params) - set(of_others))[0])
    for name, is_good, expected in (("beta", lambda beta: 0 <= beta < 1, "in [0, 1)"),
                                    ("running", lambda decay: 0 < decay < 1, "between 0 and 1"),
                                    ("power", lambda power: 0 <= power < float("inf"), "of at least 0")):
        if name in params and not is_good(params[name]):
            parser.error("--%s: expected a number %s, got %g" % (name, expected, params[name]))
    if args.compute_h is None:
        return None
    if args.compute_h < 1:
        parser.error("--compute-h: expected at least 1 class, got %d" % args.compute_h)
    check_beta(parser, args)
    if args.compute_h is not True:
        params["n_classes"] = args.compute_h
    return dict(DEFAULTS, **params)


def _check_logit_adjust(parser, args):
    strength, given = args.logit_adjust, [name for name in ("counts", "labels") if getattr(args, name) is not None]
    if strength is None and given:
        parser.error("--%s: expected with --logit-adjust only" % given[0])
    if args.pixels and args.labels is None:
        parser.error("--pixels: expected with --labels only")
    if strength is None:
        return
    if not 0 <= strength < float("inf"):
        parser.error("--logit-adjust: expected a number of at least 0, got %g" % strength)
    given += ["running"] * (args.running is not None and args.compute_h is None)
    if len(given) > 1:
        parser.error("expected one of --counts, --labels and --running, got --%s" % " and --".join(given))


class LogPriors(object):
    """The log priors that --logit-adjust asks for. net: str, the file of the net whose labels are counted, or None."""

    def __init__(self, args, net=None):
        self.args, self.net, self.notes = args, net, []
        self._counts = {}  # of each blob of labels

    def of(self, loss):
        """Return (plan.Prior or None: take it away, the counts in words) of a loss. loss: losses.Loss."""
        strength = self.args.logit_adjust
        keys = {} if strength == 1 else {"strength": strength}
        if strength == 0:
            return None, ""
        if self.args.running is not None:
            running = dict(keys, running=self.args.running)
            return Prior(LayerMatrix("Python", None, LOG_PRIOR, running).for_loss(loss), None), "the labels, as they come"
        counts, source = self.counts(loss)
        numbers = np.asarray(class_weights.log_prior(counts, strength), np.float32)
        listed = ",".join("%.12g" % count for count in counts) if len(counts) <= MOST_COUNTS else "%g to %g samples" % (
            min(counts), max(counts))
        words = "%s: %s" % (source, listed) if source else listed
        if self.args.native:
            return Prior(None, numbers), words
        keys["counts"] = [int(count) if count == int(count) else float(count) for count in counts]
        return Prior(LayerMatrix("Python", None, LOG_PRIOR, keys), None), words

    def counts(self, loss):
        """Return (how often each class occurs, where that is from)."""
        key = loss and loss.label
        if key not in self._counts:
            self._counts[key] = self._count(loss)
        counts, source = self._counts[key]
        n_classes = loss and loss.n_classes()
        if n_classes not in (None, len(counts)):
            raise ValueError("%s: expected %d classes, as the scores of %s have, got %d"
                             % (source or "--counts", n_classes, loss.layer, len(counts)))
        if not any(counts):
            raise ValueError("--counts: expected at least one above 0, got none")
        return counts, source

    def _count(self, loss):
        args = self.args
        if args.counts is not None:
            return args.counts, ""
        n_classes, ignored = (loss.n_classes(), loss.params.ignore_label) if loss else (None, args.ignore_label)
        if args.labels is not None:
            tally = count_source(args.labels, pixels=args.pixels)
        else:
            data = net_source(self.net, to_display(loss.label))
            n_classes = n_classes or data.n_classes
            try:
                with caffe_process.Caffe(None) as caffe:
                    tally = count_net(caffe, data)
            except Uncountable as error:
                raise ValueError("labels of %s: expected some to count, got none: %s; give --counts or --labels"
                                 % (loss.layer, error))
        counts, _ = per_class(tally, n_classes, ignored)
        if np.count_nonzero(counts) < 2:
            raise ValueError("%s: expected labels of several classes, got %s" % (
                tally.source, "class %d alone" % counts.argmax() if counts.any() else "none"))
        absent = np.flatnonzero(counts == 0)
        if len(absent):
            self.notes.append("%s: no %s of class %s, taken to be as rare as the rarest that occurs"
                              % (tally.source, tally.unit, summary.listed(absent)))
        return counts.tolist(), to_display(tally.source)


def check_matrix(path, kind):
    """Return the number of classes in a file with the matrix of a loss; None, and a note, where it is not there.

    kind: losses.Kind. Raises ValueError for a matrix that the loss would refuse, or learn nonsense from.
    """
    if not os.path.exists(path):
        cli.note("%s is not there yet, and could not be checked; caffe reads it from where it runs" % path)
        return None
    with np.errstate(over="ignore"):
        matrix = matrix_files.read_matrix(path).astype(np.float32)
    return len((gains.check_cost if kind.matrix == "cost" else gains.check_gain)(matrix, path))


def advice(kind):
    """Return lines on what a loss is for, if it is not for every net."""
    return ["%s is for a net trained before (caffe train -weights): from fresh weights it falls onto one class"
            % kind.name] if kind in losses.FOR_TRAINED else []


def check_beta(parser, args):
    """End the command if --beta comes without --weights effective_number, or that without it."""
    if (args.beta is not None) != (args.weights == "effective_number"):
        parser.error("--beta: expected with --weights effective_number, and only there")
