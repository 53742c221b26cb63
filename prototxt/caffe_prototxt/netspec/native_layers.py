"""Add the layers that a loss out of Caffe's own layers is made of, and keep the weights that they need.

The scores are brought to outer x C x inner x 1, and the labels to outer x 1 x inner x 1, by layers that share the data.
A matrix is applied to the classes by a Convolution 1 x 1 then. With the classes on the last axis it is M x C and M x 1,
and an InnerProduct, which takes the whole batch at once, where a Convolution goes from image to image.
"""
from __future__ import division, print_function

from collections import OrderedDict

import numpy as np

from caffe import layers as L, params as P

from caffe_losses.compat import from_display, to_bytes
from caffe_losses.formats.atomic import atomic_write, write_all
from caffe_losses.formats.binaryproto import write_layers
from caffe_prototxt.net.matrix_sources import NOT_TRAINED
from caffe_prototxt.netspec.loss_layers import EXCLUDE


class NativeLayers(object):
    """Layers in a caffe.NetSpec whose names begin with that of their loss.

    net: NetSpec. name: str, of the loss. n_classes: int. axis: int, of the classes in the scores: 1, 2 ..., or -1.
    rules: dict, the include or exclude of every layer; None: EXCLUDE.
    blobs: OrderedDict {name of a layer: list of arrays of float32}, as write_weights takes them.
    """

    def __init__(self, net, name, n_classes, axis=1, rules=None):
        if isinstance(axis, bool) or not isinstance(axis, int) or axis < 1 and axis != -1:
            raise ValueError("axis: expected 1, 2 ..., or -1 for the last, got %s" % axis)
        self.net, self.name, self.n_classes, self.axis = net, name, n_classes, axis
        self.rules = {"exclude": EXCLUDE} if rules is None else rules
        self.blobs = OrderedDict()

    def add(self, name, layer_type, *bottoms, **params):
        """Add a layer, and return its Top. name: str, behind that of the loss; None: the loss itself."""
        name = self.name if name is None else "%s_%s" % (self.name, name)
        self.net[name] = getattr(L, layer_type)(*bottoms, **dict(self.rules, **params))
        return self.net[name]

    def linear(self, name, bottom, weights, bias=None, is_matrix=False):
        """Add the product of a matrix with the classes of every position, which is not trained.

        weights: array, outputs x inputs. bias: array of outputs, or None. is_matrix: whether they are of the loss's
        own matrix, and to be 0 without their .caffemodel.
        """
        weights = np.asarray(weights)
        param = {"num_output": len(weights), "bias_term": bias is not None}
        if not is_matrix and (weights == weights.flat[0]).all():
            param["weight_filler"] = {"type": "constant", "value": float(weights.flat[0])}
        shape = weights.shape
        if self.axis == -1:
            layer_type, params = "InnerProduct", {"inner_product_param": param}
        else:
            shape += (1, 1)
            # cuDNN's may round the factors to 11 bits (TF32).
            param.update(kernel_size=1, engine=P.Convolution.CAFFE)
            layer_type, params = "Convolution", {"convolution_param": param}
        blobs = [weights.reshape(shape)] + [np.asarray(bias)] * (bias is not None)
        top = self.add(name, layer_type, bottom, param=[NOT_TRAINED] * len(blobs), **params)
        self.blobs["%s_%s" % (self.name, name)] = [blob.astype(np.float32) for blob in blobs]
        return top

    def sum(self, name, bottom, sign=1):
        """Add the sum over the classes, or minus that."""
        return self.linear(name, bottom, np.full((1, self.n_classes), sign))

    def eltwise(self, name, operation, one, other, constant=True, **params):
        """Add the sum or the product of two blobs of one shape.

        operation: "SUM" or "PROD". constant: whether `other` gets no gradient, nor do the layers that make it.
        """
        param = {"operation": getattr(P.Eltwise, operation)}
        params.update({"propagate_down": [True, False]} if constant else {})
        return self.add(name, "Eltwise", one, other, eltwise_param=param, **params)

    def reduction(self, name, operation, bottom, axis=0, **params):
        """Add the sum or the mean over an axis and all that follow. operation: "SUM" or "MEAN"."""
        param = {"operation": getattr(P.Reduction, operation), "axis": axis}
        return self.add(name, "Reduction", bottom, reduction_param=param, **params)

    def scores(self, score):
        """Add the scores with the classes on axis 1."""
        if self.axis == -1:
            return self.reshape("scores", score, [-1, self.n_classes])
        return self.reshape("scores", self._outer("scores_outer", score), [0, 0, -1, 1])

    def one_hot(self, label):
        """Add 1 for the class that is the label and 0 for the others: max(0, 1 - |label - class|)."""
        if self.axis == -1:
            labels = self.reshape("labels", label, [-1, 1])
        else:
            labels = self.reshape("labels", self._outer("labels_outer", label), [0, 1, -1, 1])
        top = self.linear("one_hot", labels, np.ones((self.n_classes, 1)), -np.arange(self.n_classes))
        # In place, unlike AbsVal.
        top = self.add("one_hot_absolute", "ReLU", top, in_place=True, relu_param={"negative_slope": -1})
        top = self.add("one_hot_flipped", "Power", top, in_place=True, power_param={"scale": -1, "shift": 1})
        return self.add("one_hot_positive", "ReLU", top, in_place=True)

    def minus_maximum(self, scores):
        """Add minus the largest score of every position, for each class."""
        c = self.n_classes
        if self.axis == -1:
            dims, kernel, back = [1, 1, -1, c], (1, c), [-1, 1]
        else:
            dims, kernel, back = [0, 1, c, -1], (c, 1), [0, 1, -1, 1]
        columns = self.reshape("columns", scores, dims)
        largest = self.add("max", "Pooling", columns, pooling_param={
            "pool": P.Pooling.MAX, "kernel_h": kernel[0], "kernel_w": kernel[1], "engine": P.Pooling.CAFFE})
        return self.linear("minus_max", self.reshape("max_of_position", largest, back), -np.ones((c, 1)))

    def reshape(self, name, bottom, dims, **param):
        """Add another shape of a blob, with the same data."""
        param["shape"] = {"dim": dims}
        return self.add(name, "Reshape", bottom, reshape_param=param)

    def _outer(self, name, bottom):
        """Add a blob with one axis before that of the classes, if it has several."""
        return bottom if self.axis == 1 else self.reshape(name, bottom, [-1], axis=0, num_axes=self.axis)


def write_weights(path, blobs):
    """Write the weights of layers as a .caffemodel for `caffe train -weights`, whole or not at all.

    blobs: {name of a layer: list of arrays}, as the losses of native_losses return them; of several losses together.
    Raises ValueError for more than a message of 2 GiB, and IOError.
    """
    layers = [(to_bytes(from_display(name)), arrays) for name, arrays in blobs.items()]
    write_all([(path, atomic_write, lambda file: write_layers(file, layers))])
