"""Loss layers for Caffe that know how bad a mistake is.

A net names a layer of this package through python_param, with the folder that holds the package on PYTHONPATH:

    layer {
      name: "loss"  type: "Python"  bottom: "score"  bottom: "label"  top: "loss"
      python_param {
        module: "caffe_losses"  layer: "SoftmaxWithInfogainLoss"
        param_str: '{"source": "infogainH.binaryproto"}'
      }
      loss_weight: 1    # without it Caffe takes no Python layer for a loss
    }

Layers: SoftmaxWithInfogainLoss, InfogainLoss, CostScaledSoftmaxLoss and ExpectedCostLoss; ComputeH, InfogainMatrix,
LogPrior and LabelCheck; TripletSoftmaxLoss, L2Distance and TripletSelect.

Modules, each in its folder and by its own name too (`from caffe_losses import metrics`). Only `layers` imports caffe:

    functional   losses, blocks, triplets, mining: arrays in, arrays out
    matrices     H and D: gains, costs, class_weights, class_trees, summary
    formats      matrix_files
    evaluation   metrics, decisions, rules, bootstrap, intervals, tally, comparison
    layers       the caffe.Layer classes, and param_str

Conventions, everywhere in this package:

- scores x: N x C x spatial. Labels: N x spatial, whole numbers 0..C-1 held in a float blob. `axis` is the class axis
  of the scores.
- H is C x C, H[true label, predicted label]: a gain (similarity); a bigger entry attracts probability to that class. D
  is C x C, D[true label, predicted label]: a cost (distance), 0 on the diagonal. A name says which of the two it is.
- Blobs are float32; sums over a batch are float64.
- Gradients are multiplied by the loss weight (top[0].diff), written to the bottom's diff, never added to it, and only
  where propagate_down asks.
- Normalisation is Caffe's: FULL divides by all positions, VALID by those not ignored (the default), BATCH_SIZE by the
  outer size, NONE by 1; never by less than 1. The old `normalize` true / false means VALID / BATCH_SIZE;
  `normalization` wins over it.
- `param_str` is a JSON object; a Python literal ({'n_classes': 7}) is read too.
- An error names the layer, the bottom or key, what was expected and what came.
"""
from __future__ import division, print_function

import importlib
import sys
import types

__version__ = "0.1.0"

LAYERS = {name: module for module, names in (
    ("loss_layers", ("SoftmaxWithInfogainLoss", "InfogainLoss", "CostScaledSoftmaxLoss", "ExpectedCostLoss")),
    ("matrix_layers", ("ComputeH", "InfogainMatrix", "LabelCheck")),
    ("prior_layers", ("LogPrior",)),
    ("triplet_layers", ("TripletSoftmaxLoss", "L2Distance", "TripletSelect"))) for name in names}
MODULES = {name: folder for folder, names in (
    ("functional", ("losses", "blocks", "triplets", "mining")),
    ("matrices", ("gains", "costs", "class_weights", "class_trees", "summary")),
    ("formats", ("matrix_files",)),
    ("evaluation", ("metrics", "decisions", "rules", "bootstrap", "intervals", "tally", "comparison")),
    ("layers", ("param_str",))) for name in names}


class _Package(types.ModuleType):
    """This package, which imports a module when a name of it is asked for.

    A command that only makes a matrix must not wait for caffe, nor `--help` for numpy. Python 2.7 has no module
    __getattr__, hence the class.
    """

    def __getattr__(self, name):
        if name in LAYERS:
            return getattr(importlib.import_module("caffe_losses.layers." + LAYERS[name]), name)
        if name in MODULES:
            return importlib.import_module("caffe_losses.%s.%s" % (MODULES[name], name))
        if name in MODULES.values():
            return importlib.import_module("caffe_losses." + name)
        raise AttributeError("module 'caffe_losses' has no attribute %r" % name)

    def __dir__(self):
        return sorted(set(vars(self)).union(LAYERS, MODULES, MODULES.values()))


_plain = sys.modules[__name__]  # Python 2 empties a module nobody refers to
sys.modules[__name__] = _Package(__name__, __doc__)
vars(sys.modules[__name__]).update(vars(_plain))
