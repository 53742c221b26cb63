"""Loss layers for Caffe that know how bad a mistake is.

A net names a layer of this package through python_param, with the folder that
holds the package on PYTHONPATH:

    layer {
      name: "loss"  type: "Python"  bottom: "score"  bottom: "label"  top: "loss"
      python_param {
        module: "caffe_losses"  layer: "SoftmaxWithInfogainLoss"
        param_str: '{"source": "infogainH.binaryproto"}'
      }
      loss_weight: 1    # without it Caffe takes no Python layer for a loss
    }

Layers (module `layers`): ComputeH, InfogainMatrix, SoftmaxWithInfogainLoss,
InfogainLoss, CostScaledSoftmaxLoss, ExpectedCostLoss, LabelCheck; (module
`triplet_layers`): TripletSoftmaxLoss, L2Distance, TripletSelect.
Their mathematics, on plain arrays and without Caffe: `losses`, `weights`,
`gains`, `costs`, `trees`, `metrics`, `intervals`, `triplets`. Matrices in files:
`matrix_files`. What came out of trainings, side by side: `tallies`, `comparison`,
`charts`, `page`.

Conventions, everywhere in this package:

- scores x: N x C x spatial. Labels: N x spatial, whole numbers 0..C-1 held in a
  float blob. `axis` is the class axis of the scores.
- H is C x C, H[true label, predicted label]: a gain (similarity); a bigger entry
  attracts probability to that class. D is C x C, D[true label, predicted label]:
  a cost (distance), 0 on the diagonal. A name says which of the two it is.
- Blobs are float32; sums over a batch are float64.
- Gradients are multiplied by the loss weight (top[0].diff), written to the
  bottom's diff, never added to it, and only where propagate_down asks.
- Normalisation is Caffe's: FULL divides by all positions, VALID by those not
  ignored (the default), BATCH_SIZE by the outer size, NONE by 1; never by less
  than 1. The old `normalize` true / false means VALID / BATCH_SIZE;
  `normalization` wins over it.
- `param_str` is a JSON object; a Python literal ({'n_classes': 7}) is read too.
- An error names the layer, the bottom or key, what was expected and what came.
"""
from __future__ import division, print_function

import importlib
import sys
import types

# Every layer's class, and the module it stands in.
LAYERS = dict.fromkeys(("ComputeH", "InfogainMatrix", "SoftmaxWithInfogainLoss", "InfogainLoss",
                        "CostScaledSoftmaxLoss", "ExpectedCostLoss", "LabelCheck"), "layers.loss_layers")
LAYERS.update(dict.fromkeys(("TripletSoftmaxLoss", "L2Distance", "TripletSelect"), "layers.triplet_layers"))


class _Package(types.ModuleType):
    """This package, importing caffe only when a layer is asked for.

    The mathematics needs no Caffe, and a command that only makes a matrix must
    not wait for one. Python 2.7 has no module __getattr__, hence the class.
    """

    def __getattr__(self, name):
        if name not in LAYERS:
            raise AttributeError("module 'caffe_losses' has no attribute %r" % name)
        return getattr(importlib.import_module("caffe_losses." + LAYERS[name]), name)

    def __dir__(self):
        return sorted(set(vars(self)) | set(LAYERS))


_plain = sys.modules[__name__]  # Python 2 empties a module nobody refers to
sys.modules[__name__] = _Package(__name__, __doc__)
vars(sys.modules[__name__]).update(vars(_plain))
