"""The data layers of a net, read without their data: where it is, and the shapes that it has."""
from __future__ import division, print_function

from caffe_losses.compat import to_bytes
from caffe_losses.formats.plain_files import exists
from caffe_prototxt.net import losses
from caffe_prototxt.net.matrix_sources import MODULE
from caffe_prototxt.textformat.messages import is_true

PARAMS = {"Data": "data_param", "AnnotatedData": "data_param", "ImageData": "image_data_param",
          "HDF5Data": "hdf5_data_param", "WindowData": "window_data_param"}
OF_IMAGES = frozenset(PARAMS) - {"HDF5Data"}
# Layers whose second top may be boxes, a row for each of a batch, and the shape that it then has.
OF_BOXES, BOXES = frozenset(("AnnotatedData",)), (1, 1, 1, 8)
# Layers without bottoms that need no data to be made.
MAKE_THEIR_OWN = frozenset(("Input", "DummyData", "MemoryData", "Parameter"))


def is_data(node):
    """Return whether a graph.Node brings data from outside of the net."""
    if node.bottoms or not node.tops or node.type in MAKE_THEIR_OWN:
        return False
    return node.type != "Python" or losses.python_class(node.layer)[0] != MODULE


def data_param(layer):
    """Return the message of a data layer that names its data, or None."""
    return layer.message(PARAMS.get(layer.type))


def source(layer):
    """Return the file or folder that a data layer reads, one character a byte, or None."""
    path = layer.value_in(PARAMS.get(layer.type), "source")
    return path if isinstance(path, str) else None


def source_exists(layer):
    """Return whether a data layer has its data. True also for types that are not in PARAMS.

    True where nobody may look, too: whoever opens it says so.
    """
    if layer.type not in PARAMS:
        return True
    path = source(layer)
    try:
        return path is not None and "\0" not in path and exists(to_bytes(path))
    except EnvironmentError:
        return True


def declared_shapes(layer):
    """Return the shape of each top of a data layer, a tuple, or None where the layer leaves it open."""
    shapes = [None] * len(layer.tops)
    if data_param(layer) is not None and layer.type != "HDF5Data":
        batch, size = batch_size(layer), image_size(layer)
        shapes[1:2] = [None if layer.type in OF_BOXES else (batch,)] * len(shapes[1:2])
        if size:
            shapes[0] = (batch, channels(layer)) + size
    return shapes


def batch_size(layer, default=1):
    return positive(layer.value_in(PARAMS.get(layer.type), "batch_size")) or default


def image_size(layer):
    """Return (height, width) of the images of a data layer: its crop_size, or the size it resizes to, or None.

    SSD's forks resize in transform_param, to that size whatever the mode but for FIT_SMALL_SIZE.
    """
    param = data_param(layer)
    if param is None or layer.type == "HDF5Data":
        return None
    crop = positive(layer.value_in("transform_param", "crop_size")) or positive(param.value("crop_size"))
    if crop:
        return crop, crop
    transform = layer.message("transform_param")
    resize = transform and transform.message("resize_param")
    if resize and resize.value("resize_mode") != "FIT_SMALL_SIZE":
        height, width = positive(resize.value("height")), positive(resize.value("width"))
    else:
        height, width = positive(param.value("new_height")), positive(param.value("new_width"))
    return (height, width) if height and width else None


def channels(layer):
    """Return 3, or 1 where a data layer says that its images are gray."""
    is_color = is_true(layer.value_in(PARAMS.get(layer.type), "is_color", "true"))
    return 1 if is_true(layer.value_in("transform_param", "force_gray")) or not is_color else 3


def positive(value):
    """Return a value that is a size of a blob, or None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2 ** 31 else None


def label_users(node, number):
    """Return (Node, number of its bottom) of the losses and measures that get a top as a bottom but their first."""
    users = [user.taker or (user, bottom) for user, bottom in node.users if user.bottoms[bottom] == node.tops[number]]
    return [(user, bottom) for user, bottom in users if bottom > 0 and (
                user.type == "Accuracy" or losses.is_on_labels(user.layer) or node.type not in OF_BOXES and (
                    any(user.loss_weights) or losses.is_loss_type(user.type)))]


def label_shape(layer, number, scores):
    """Return the shape that bottom `number` of a loss has, by that of its first bottom."""
    if number > 1 and layer.type in (losses.INFOGAIN.type, "Python") and len(scores) > 1:
        return 1, 1, scores[1], scores[1]
    if number == 1 and layer.type in losses.ON_VALUES:
        return scores
    axis = layer.value_in(losses.AXIS_PARAM.get(layer.type, "softmax_param"), "axis")
    axis = axis % len(scores) if scores and isinstance(axis, int) else 1
    spatial = scores[axis + 1:]
    return scores[:axis] + ((1,) + spatial if any(size != 1 for size in spatial) else ())
