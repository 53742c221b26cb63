"""The options of logit adjustment, and the log priors that they ask for."""
from __future__ import division, print_function

import numpy as np

from caffe_losses.compat import to_display
from caffe_losses.matrices import class_weights, summary
from caffe_prototxt.data.labels import count_source, per_class_of_several
from caffe_prototxt.data.net_source import net_source
from caffe_prototxt.net.adjustments import LOG_PRIOR
from caffe_prototxt.net.matrix_sources import LayerMatrix
from caffe_prototxt.rewrite.plan import Prior
from caffe_prototxt.training import caffe_process
from caffe_prototxt.training.net_labels import Uncountable, count_net
from caffe_tools.options import class_files

MOST_COUNTS = 10  # that are printed


def add_options(parser, has_net=False):
    """Add --logit-adjust and its own options to a parser. has_net: whether the command has a net with labels to count.
    """
    parser.add_argument("--logit-adjust", nargs="?", const=1.0, type=float, metavar="STRENGTH", help="add the log "
                        "prior of the classes, times STRENGTH (default: 1), to the scores in TRAIN%s" % (
                            "; 0: take that away" if has_net else ""))
    parser.add_argument("--counts", type=class_files.numbers, metavar="N", help="of --logit-adjust: samples of each "
                        "class, 90,9,1 or a file of numbers%s" % (
                            " (default: what the net's TRAIN data layer reads is counted)" if has_net else ""))
    parser.add_argument("--labels", metavar="SOURCE", help="of --logit-adjust: data whose labels are counted, as "
                        "make_h.py --labels takes them")
    parser.add_argument("--pixels", action="store_true", help="of --labels: each record is an image whose values are "
                        "labels")


def check(parser, args):
    """End the command for options that do not go with --logit-adjust, or without it."""
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
        keys = {} if strength == 1 else {"strength": _as_read(strength)}
        if strength == 0:
            return None, ""
        if self.args.running is not None and self.args.counts is None and self.args.labels is None:
            keys["running"] = self.args.running
            return Prior(LayerMatrix("Python", None, LOG_PRIOR, keys).for_loss(loss), None), "the labels, as they come"
        counts, source = self.counts(loss)
        numbers = np.asarray(class_weights.log_prior(counts, strength), np.float32)
        listed = ",".join("%.12g" % count for count in counts) if len(counts) <= MOST_COUNTS else "%g to %g samples" % (
            min(counts), max(counts))
        words = "%s: %s" % (source, listed) if source else listed
        if self.args.native:
            return Prior(None, numbers), words
        keys["counts"] = list(map(_as_read, counts))
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
        counts, _ = per_class_of_several(tally, n_classes, ignored, "" if args.pixels or args.labels is None else
                                         class_files.OF_PIXELS)
        absent = np.flatnonzero(counts == 0)
        if len(absent):
            self.notes.append("%s: no %s of class %s, taken to be as rare as the rarest that occurs"
                              % (tally.source, tally.unit, summary.listed(absent)))
        return counts.tolist(), to_display(tally.source)


def _as_read(number):
    """Return a number as people write it, an int if it is whole."""
    return int(number) if number == int(number) else float(number)
