"""Errors, warnings and checks of blobs that all layers share. Imports no caffe: layers and blobs are arguments."""
from __future__ import division, print_function

import functools
import sys
import traceback

import numpy as np

from caffe_losses.formats.matrix_files import read_matrix


def reported(layer):
    """Print the errors of a layer's methods to standard error, as the caffe program ends without saying which.

    They are raised on with the layer's name in front: ValueError and IOError as such, others as RuntimeError.
    """
    for name in ("setup", "reshape", "forward", "backward"):
        if name in vars(layer):
            setattr(layer, name, _reporting(vars(layer)[name]))
    return layer


def _reporting(method):
    @functools.wraps(method)
    def reporting(self, *args):
        try:
            return method(self, *args)
        except Exception as error:
            kind = next((kind for kind in (ValueError, IOError) if isinstance(error, kind)), RuntimeError)
            text = "%s: %s" % (type(error).__name__, error) if kind is RuntimeError else error
            named = kind("%s: %s" % (type(self).__name__, text))
            sys.stderr.write("%s\n%s" % (named, traceback.format_exc()))
            sys.stderr.flush()
            raise named
    return reporting


def warn(layer, text):
    sys.stderr.write("%s: warning: %s\n" % (type(layer).__name__, text))
    sys.stderr.flush()


def warn_untrained(layer, top):
    """Warn, in TRAIN, of a loss without a loss_weight."""
    if in_training(layer) and not top[0].diff:
        warn(layer, "expected a loss_weight, got none (or 0): Caffe does not train on this loss; give its "
             "layer loss_weight: 1" + (" loss_weight: 0" if len(top) == 2 else ""))


def in_training(layer):
    return getattr(layer, "phase", 0) == 0  # caffe.TRAIN; old Caffes give a layer no phase


def check_blobs(bottom, top, n_bottoms, n_tops):
    """Raise ValueError unless the numbers of blobs are among n_bottoms and n_tops, tuples."""
    for kind, blobs, allowed in (("bottoms", bottom, n_bottoms), ("tops", top, n_tops)):
        if len(blobs) not in allowed:
            raise ValueError("expected %s %s, got %d" % (" or ".join(map(str, allowed)), kind, len(blobs)))


def refuse_gradient(propagate_down, names, first=1):
    """Raise ValueError if a gradient is asked for with respect to a bottom from `first` on."""
    for i in range(first, len(propagate_down)):
        if propagate_down[i]:
            raise ValueError(
                "%s: expected no gradient to be asked for, as there is none; remove force_backward, and give "
                "layers with blobs before it (a running ComputeH) param { lr_mult: 0 decay_mult: 0 }" % names[i])


def read_float32(source):
    """Read a matrix from a file as a blob holds it."""
    with np.errstate(over="ignore"):  # the check that follows refuses Inf
        return read_matrix(source).astype(np.float32, copy=False)  # H may be large


def check_size(H, n_classes, name):
    """Raise ValueError unless H is C x C."""
    if H.shape != (n_classes, n_classes):
        raise ValueError("%s: expected H to be %d x %d, as there are %d classes, got %d x %d"
                         % ((name, n_classes, n_classes, n_classes) + H.shape))
