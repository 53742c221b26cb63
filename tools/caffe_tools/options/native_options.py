"""The option --native of the commands that write a loss, and the weights that such a loss needs."""
from __future__ import division, print_function

import os

from caffe_losses.compat import from_display, to_bytes
from caffe_losses.formats.caffemodel import write_layers
from caffe_prototxt.net.losses import COMPOSED
from caffe_prototxt.rewrite.composing import has_weights


def check(parser, args):
    """End the command for options that do not go with --native."""
    if not args.native:
        return
    if args.loss not in COMPOSED and args.logit_adjust is None:
        parser.error("--native: expected --loss %s, or --logit-adjust, got %s"
                     % (" or ".join(sorted(COMPOSED)), args.loss or "none"))
    if getattr(args, "running", None) is not None:
        parser.error("--running: expected without --native, whose weights do not change")
    for option in ("h_file", "compute_h", "h_blob", "from_class_weighting", "label_check"):
        if getattr(args, option, None) not in (None, False):
            parser.error("expected --native, whose matrix is that of --source, or --%s, got both"
                         % option.replace("_", "-"))


def weights_writers(path, blobs):
    """Return the file of the weights and its writer, as a list of one pair, or of none where that would be no change.

    blobs: {name of a layer: list of arrays}. Raises IOError or ValueError if the file holds anything else.
    """
    if not blobs or os.path.exists(path) and has_weights(path, blobs):
        return []
    layers = [(to_bytes(from_display(name)), arrays) for name, arrays in blobs.items()]
    return [(path, lambda file: write_layers(file, layers))]


def weights_path(output, instead, ending):
    """Return the file for the weights: beside the output; where that is no file (/dev/stdout), beside `instead`."""
    is_file = output is not None and (os.path.isfile(output) or not os.path.exists(output))
    return os.path.splitext(output if is_file else instead)[0] + ending


def advice(path):
    """Return lines on how a training gets the weights."""
    lines = ["to train: caffe train -solver SOLVER -weights %s (behind others and a comma: pretrained.caffemodel,%s)"
             % (path, path)]
    try:
        from caffe.proto import caffe_pb2
        is_in_solver = "weights" in caffe_pb2.SolverParameter.DESCRIPTOR.fields_by_name
    except Exception:  # a Caffe that is not for this Python fails in its own ways
        is_in_solver = False
    return lines + ['or, in the solver, which -weights overrides: weights: "%s"' % path] * is_in_solver
