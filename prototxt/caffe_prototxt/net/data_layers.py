"""What a net's data layers make, without their data: its shape, and what it is for."""
from __future__ import division, print_function

import os

from caffe_losses.compat import to_bytes
from caffe_prototxt.net import graph as G

PARAMS = {"Data": "data_param", "ImageData": "image_data_param", "HDF5Data": "hdf5_data_param",
          "WindowData": "window_data_param"}
# Layers without bottoms that need no data to be made.
MAKE_THEIR_OWN = frozenset(("Input", "DummyData", "MemoryData", "Parameter"))
# What the second bottom of a loss or a measure is: one label of a class for each position; or values as its first.
VALUES = frozenset(("EuclideanLoss", "SigmoidCrossEntropyLoss", "SmoothL1Loss", "L1Loss", "HuberLoss"))


def is_data(graph, place):
    """Whether a layer brings data from outside of the net."""
    layer = graph.layers[place]
    if layer.bottoms or not layer.tops or graph.types[place] in MAKE_THEIR_OWN:
        return False
    return graph.types[place] != "Python" or G.python_class(layer)[0] != "caffe_losses"


def source(layer, kind):
    """The file or folder that a data layer reads, one character a byte, or None."""
    param = layer.message(PARAMS[kind]) if kind in PARAMS else None
    found = None if param is None else param.value("source")
    return found if isinstance(found, str) else None


def is_there(layer, kind):
    """Whether a data layer has its data; so has one of another type than Caffe's four."""
    if kind not in PARAMS:
        return True
    path = source(layer, kind)
    return path is not None and "\0" not in path and os.path.exists(to_bytes(path))


def declared_shapes(layer, kind):
    """The shape of each top of a data layer, as tuples; None where its text does not say it."""
    shapes = [None] * len(layer.tops)
    param = layer.message(PARAMS[kind]) if kind in PARAMS else None
    if param is None:
        return shapes
    batch = positive(param.value("batch_size")) or 1
    size = None
    if kind != "HDF5Data":
        shapes[1:2] = [(batch,)] * len(shapes[1:2])
        size = image_size(layer, param)
    if size:
        shapes[0] = (batch, channels(layer, param)) + size
    return shapes


def batch_size(layer, kind):
    param = layer.message(PARAMS[kind]) if kind in PARAMS else None
    return (positive(param.value("batch_size")) if param else None) or 1


def image_size(layer, param):
    """(height, width) of the images of a data layer, if its text says it: its crop_size, or what it resizes to."""
    transform = layer.message("transform_param")
    crops = [message.value("crop_size") for message in (transform, param) if message is not None]
    crop = next((positive(size) for size in crops if positive(size)), None)
    if crop:
        return crop, crop
    height, width = positive(param.value("new_height")), positive(param.value("new_width"))
    return (height, width) if height and width else None


def channels(layer, param):
    """3, or 1 where a data layer says that its images are gray."""
    transform = layer.message("transform_param")
    gray = transform is not None and transform.value("force_gray") == "true" or param.value("is_color") == "false"
    return 1 if gray else 3


def positive(value):
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2 ** 31 else None


def takers(graph, place, top):
    """The losses and measures that get a top as another bottom than their first: (place, number of the bottom)."""
    found = []
    for user, number in graph.users[place]:
        if graph.layers[user].bottoms[number] == graph.layers[place].tops[top] and number > 0 and (
                any(graph.weights[user]) or G.is_loss(graph.types[user]) or graph.types[user] == "Accuracy"):
            found.append((user, number))
    return found


def taken_shape(kind, number, bottom_shape):
    """The shape of what a loss takes as bottom `number`, if its first bottom has `bottom_shape`."""
    if number > 1 and kind in ("InfogainLoss", "Python") and len(bottom_shape) > 1:
        return 1, 1, bottom_shape[1], bottom_shape[1]
    if number == 1 and kind in VALUES:
        return bottom_shape
    spatial = bottom_shape[2:]
    return bottom_shape[:1] + ((1,) + spatial if any(size != 1 for size in spatial) else ())
