"""The shapes of blobs as far as the text of a net tells them, as Caffe's layers make one from another."""
from __future__ import division, print_function

import collections

from caffe_prototxt.net import data_layers, losses
from caffe_prototxt.net.data_layers import positive
from caffe_prototxt.net.matrix_sources import MODULE
from caffe_prototxt.textformat.messages import is_true

# Layers whose first top is shaped as their first bottom, and those that keep its first two axes; then what forks add.
SAME_SHAPE = frozenset((
    "AbsVal", "BNLL", "BatchNorm", "Bias", "Clip", "Dropout", "ELU", "Eltwise", "Exp", "LRN", "Log", "MVN", "PReLU",
    "Power", "ReLU", "Scale", "Sigmoid", "Softmax", "Split", "Swish", "TanH", "Threshold"))
OTHER_PLANES = frozenset(("Crop", "Pooling"))
KEEP_CLASSES = SAME_SHAPE | OTHER_PLANES
_SAME_SHAPE = SAME_SHAPE | frozenset(("BN", "Normalize", "ReLU6"))
_OTHER_PLANES = OTHER_PLANES | frozenset(("Interp", "Upsample"))

# Layers that make scores of classes, and the message that holds their number.
MAKE_CLASSES = {"InnerProduct": "inner_product_param", "Convolution": "convolution_param",
                "Deconvolution": "convolution_param"}


class Shape(collections.namedtuple("Shape", "sizes whole")):
    """The sizes of a blob's axes, None where they are unknown. whole: whether these are all of its axes."""

    def size(self, axis):
        """Return the size on an axis, or None."""
        axis = self.axis(axis)
        return self.sizes[axis] if axis is not None and axis < len(self.sizes) else None

    def axis(self, axis):
        """Return an axis that may count from the end as its number from the start, or None."""
        n_axes = len(self.sizes)
        if axis < 0:
            axis = axis + n_axes if self.whole else -1
        return axis if axis >= 0 and (axis < n_axes or not self.whole) else None

    def first(self, n):
        """Return the sizes of the first n axes."""
        return (self.sizes + (None,) * n)[:n]

    def with_size(self, axis, size):
        """Return a Shape with another size on an axis, which counts from the start."""
        return Shape(self.first(axis) + (size,) + self.sizes[axis + 1:], self.whole)


UNKNOWN = Shape((), False)


class Shapes(object):
    """The Shapes of the tops of a net's layers, in all phases.

    net: nets.Net. inputs: {blob: sizes} of data, where they are known from elsewhere than the text.
    """

    def __init__(self, net, inputs=None):
        self._net, self._tops = net, {}  # by the index of a layer
        self._inputs = {blob: Shape(tuple(sizes), True) for blob, sizes in (inputs or {}).items()}

    def of(self, layer, blob):
        """Return the Shape of a blob as `layer` gets it."""
        for waiting in self._before(layer, blob):
            bottoms = [self._merged(waiting, bottom) for bottom in waiting.bottoms]
            try:
                self._tops[waiting.index] = _top_shapes(waiting, bottoms)
            except ValueError:  # something else stands where a value or a message belongs
                self._tops[waiting.index] = []
        return self._merged(layer, blob)

    def _before(self, layer, blob):
        """Return the layers that a blob depends on and whose tops are not known yet, in the net's order."""
        found, waiting = {}, list(self._net.makers(layer, blob))
        while waiting:
            maker = waiting.pop()
            if maker.index not in found and maker.index not in self._tops:
                found[maker.index] = maker
                waiting += [other for bottom in maker.bottoms for other in self._net.makers(maker, bottom)]
        return [maker for _, maker in sorted(found.items())]

    def _merged(self, layer, blob):
        """Return what is the same in the Shapes that the makers of a blob, one for each phase, give it."""
        shapes = [self._inputs[blob] if blob in self._inputs and not maker.bottoms else
                  dict(zip(maker.tops, self._tops[maker.index])).get(blob, UNKNOWN)
                  for maker in self._net.makers(layer, blob)] or [self._inputs.get(blob, UNKNOWN)]
        sizes = [own[0] if len(set(own)) == 1 else None for own in zip(*(shape.sizes for shape in shapes))]
        return Shape(tuple(sizes), all(shape.whole and len(shape.sizes) == len(sizes) for shape in shapes))


def _top_shapes(layer, bottoms):
    """Return the Shape of each top of a layer. bottoms: their Shapes."""
    kind = layer.type
    if not bottoms:
        return _of_data(layer)
    if kind in _SAME_SHAPE or losses.python_class(layer) == (MODULE, "LabelCheck"):
        return [max(bottoms, key=_known) if kind == "Eltwise" else bottoms[0]] * len(layer.tops)
    if kind == "Slice":
        return _slice(layer, bottoms[0])
    if kind == "Concat":
        return [_concat(layer, bottoms)]
    if kind in MAKE_CLASSES or layer.items("convolution_param"):  # of a fork's convolutions, too
        param = layer.message(MAKE_CLASSES.get(kind, "convolution_param"))
        return [_classes(param, bottoms[0], kind == "InnerProduct")]
    return [_RULES[kind](layer, bottoms[0])] if kind in _RULES else []


def _known(shape):
    return shape.whole, len(shape.sizes) - shape.sizes.count(None)


def _of_data(layer):
    """Return the Shapes of the tops of a layer without bottoms."""
    param = layer.message({"Input": "input_param", "DummyData": "dummy_data_param"}.get(layer.type))
    if param is not None:
        shapes = [Shape(tuple(map(positive, shape.get("dim", ()))), True) if isinstance(shape, dict) else UNKNOWN
                  for shape in param.values("shape")]
        return shapes * len(layer.tops) if len(shapes) == 1 else shapes + [UNKNOWN] * (len(layer.tops) - len(shapes))
    if layer.type not in data_layers.PARAMS or layer.type == "HDF5Data":
        return []
    image, labels = (data_layers.declared_shapes(layer) + [None, None])[:2]
    planes = image[2:] if image else (None, None)
    return [Shape((data_layers.batch_size(layer), None) + planes, True), Shape(labels or (), bool(labels))]


def _classes(param, bottom, is_last):
    """Return the Shape of the top of a layer that makes `num_output` classes. is_last: whether on its last axis."""
    axis = bottom.axis(_whole(param, "axis", 1)) if param else None
    if axis is None:
        return UNKNOWN
    sizes = bottom.first(axis) + (positive(param.value("num_output")),)
    if is_last:
        return Shape(sizes, True)
    kernels = param.values("kernel_size") + param.values("kernel_h") + param.values("kernel_w")
    one_by_one = set(kernels) == {1} and not param.names() & {"pad", "pad_h", "pad_w", "stride", "stride_h", "stride_w"}
    planes = bottom.sizes[axis + 1:]
    return Shape(sizes + (planes if one_by_one else (None,) * len(planes)), bottom.whole)


def _planes(layer, bottom):
    """Return the Shape of the top of a layer that changes heights and widths."""
    is_pooling, kept = layer.type == "Pooling", bottom.first(2)
    if layer.type == "Crop" and _whole(layer.message("crop_param"), "axis", 2) not in (2, 3):
        return UNKNOWN
    if is_pooling and is_true(layer.value_in("pooling_param", "global_pooling")):
        return Shape(kept + (1, 1), True)
    n_planes = 2 if is_pooling else max(len(bottom.sizes) - 2, 0)
    return Shape(kept + (None,) * n_planes, bottom.whole or is_pooling)


def _flatten(layer, bottom):
    param = layer.message("flatten_param")
    start = bottom.axis(_whole(param, "axis", 1))
    if start is None or _whole(param, "end_axis", -1) != -1:
        return UNKNOWN
    return Shape(bottom.first(start) + (_product(bottom.sizes[start:]) if bottom.whole else None,), True)


def _reshape(layer, bottom):
    """Return the Shape of the top of a Reshape: a dim 0 keeps the bottom's size there, a -1 is what is left over."""
    param = layer.message("reshape_param")
    dims = param.value("shape", {}).get("dim", []) if param else []
    if _whole(param, "axis", 0) != 0 or _whole(param, "num_axes", -1) != -1 or not all(
            isinstance(dim, int) and dim >= -1 for dim in dims):
        return UNKNOWN
    sizes = [bottom.size(i) if dim == 0 else dim for i, dim in enumerate(dims)]
    if -1 in dims:
        taken = [size for i, size in enumerate(bottom.sizes) if dims[i:i + 1] != [0]]
        rest, given = _product(taken) if bottom.whole else None, _product([dim for dim in dims if dim > 0])
        sizes[dims.index(-1)] = rest // given if rest and rest % given == 0 else None
    return Shape(tuple(map(positive, sizes)), True)


def _slice(layer, bottom):
    param = layer.message("slice_param")
    axis = bottom.axis(_whole(param, "axis", _whole(param, "slice_dim", 1)))
    if axis is None:
        return [UNKNOWN] * len(layer.tops)
    size, points = bottom.size(axis), list(map(positive, param.values("slice_point"))) if param else []
    if points:
        edges = [0] + points + [size]
        parts = [None if None in (start, end) else positive(end - start) for start, end in zip(edges, edges[1:])]
    else:
        n_tops = max(len(layer.tops), 1)
        parts = [size // n_tops if size and size % n_tops == 0 else None] * n_tops
    return [bottom.with_size(axis, part) for part in parts]


def _concat(layer, bottoms):
    param, most = layer.message("concat_param"), max(bottoms, key=_known)
    axis = most.axis(_whole(param, "axis", _whole(param, "concat_dim", 1)))
    if axis is None:
        return UNKNOWN
    sizes = [bottom.size(axis) for bottom in bottoms]
    return most.with_size(axis, None if None in sizes else sum(sizes))


_RULES = dict({"Flatten": _flatten, "Reshape": _reshape}, **dict.fromkeys(_OTHER_PLANES, _planes))


def _whole(message, name, default):
    """Return a whole number in a message. Raises ValueError for anything else."""
    value = default if message is None else message.value(name, default)
    if not isinstance(value, int):
        raise ValueError("%s: expected a whole number, got %s" % (name, value))
    return value


def _product(sizes):
    """Return the product of sizes, or None if one of them is unknown."""
    product = 1
    for size in sizes:
        product = None if None in (product, size) else product * size
    return product
