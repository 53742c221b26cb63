"""The options of the commands that write an infogain loss, and the ComputeH layer before it."""
from __future__ import division, print_function

from caffe_losses.matrices import class_weights
from caffe_prototxt.net import losses
from caffe_tools import cli

KEYS = ("weights", "beta", "power", "scale", "missing", "gain", "running")


def add_options(parser, source):
    """Add --compute-h to `source`, a group of options that exclude each other, and its own options to the parser."""
    source.add_argument("--compute-h", type=int, metavar="C", help="H from the labels, of C classes")
    parser.add_argument("--weights", choices=class_weights.KINDS, help="of --compute-h (default: max_over_count)")
    parser.add_argument("--beta", type=float, help="of --weights effective_number")
    parser.add_argument("--power", type=float, help="of --compute-h: softens the weights; 0.5: square root")
    parser.add_argument("--scale", choices=class_weights.SCALES, help="of --compute-h (default: sum, the weights "
                        "sum to 1; sample: the average sample weighs 1)")
    parser.add_argument("--missing", choices=("zero", "error"), help="of --compute-h: what a class gets that "
                        "the batch does not hold (default: weight 0)")
    parser.add_argument("--gain", metavar="FILE", help="of --compute-h: gain whose rows the weights multiply")
    parser.add_argument("--running", type=float, metavar="DECAY",
                        help="of --compute-h: counts kept over batches, with this decay (for instance 0.99)")


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
    """Return the parameters of the ComputeH layer, or None without --compute-h.

    Values that ComputeH would refuse in its setup end the command here.
    """
    params = {key: getattr(args, key) for key in KEYS if getattr(args, key) is not None}
    if args.compute_h is None:
        if params:
            parser.error("--%s: expected with --compute-h only" % sorted(params)[0])
        return None
    if args.compute_h < 1:
        parser.error("--compute-h: expected at least 1 class, got %d" % args.compute_h)
    check_beta(parser, args)
    if args.beta is not None and not 0 <= args.beta < 1:
        parser.error("--beta: expected a number in [0, 1), got %g" % args.beta)
    if args.running is not None and not 0 < args.running < 1:
        parser.error("--running: expected a number between 0 and 1, got %g" % args.running)
    if args.power is not None and not 0 <= args.power < float("inf"):
        parser.error("--power: expected a number of at least 0, got %g" % args.power)
    return dict(params, n_classes=args.compute_h)


def check_beta(parser, args):
    """End the command if --beta comes without --weights effective_number, or that without it."""
    if (args.beta is not None) != (args.weights == "effective_number"):
        parser.error("--beta: expected with --weights effective_number, and only there")
