"""The options of the commands that write a loss, and the ComputeH layer before it; the check of its matrix."""
from __future__ import division, print_function

import os

import numpy as np

from caffe_losses.formats import matrix_files
from caffe_losses.matrices import class_weights, gains
from caffe_prototxt.net import losses
from caffe_tools import cli

KEYS = ("weights", "beta", "power", "scale", "missing", "gain", "running")
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
    parser.add_argument("--running", type=float, metavar="DECAY", help="of --compute-h%s: counts kept over batches, "
                        "with this decay (for instance 0.99)" % (" and --logit-adjust" if has_net else ""))


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
    of_others = set() if args.logit_adjust is None else {"running"}
    if args.compute_h is None and set(params) - of_others:
        parser.error("--%s: expected with --compute-h only" % sorted(set(params) - of_others)[0])
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
