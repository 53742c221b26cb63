"""The inputs of a deployed net: their shapes, from the net, its data or the user."""
from __future__ import division, print_function

from caffe_losses.compat import to_display
from caffe_prototxt.data import records
from caffe_prototxt.net import data_layers

# Layers whose second top is a label for each sample.
_LABELLED = frozenset(("Data", "ImageData", "WindowData"))
_OF_IMAGES = _LABELLED | frozenset(("AnnotatedData",))
# The messages with the shapes of layers that have no data to read, and the fields of sizes that older ones have.
_PARAMS = {"Input": "input_param", "DummyData": "dummy_data_param", "MemoryData": "memory_data_param"}
_SIZES = {"DummyData": ("num", "channels", "height", "width"),
          "MemoryData": ("batch_size", "channels", "height", "width")}
# The layers that take no fewer axes than so many.
_AXES = {"Convolution": 3, "Deconvolution": 3, "Pooling": 4, "LRN": 4, "InnerProduct": 2}


class Shapes(object):
    """The shapes of inputs.

    given: {top: shape}, by the user. batch: int, the first axis, or None. notes: list of str, what was assumed.
    """

    def __init__(self, given, batch):
        self.given, self.batch, self.notes = given or {}, batch, []

    def check_tops(self, tops):
        """Raise ValueError for a given shape of a blob that is no input. tops: the inputs."""
        unknown = sorted(set(self.given) - set(tops))
        if unknown:
            raise ValueError("--shape: expected an input of the deployed net (%s), got %s"
                             % (", ".join(map(to_display, tops)) or "none", to_display(unknown[0])))

    def of_top(self, node, number, users):
        """Return the shape of a top of a layer with data. users: the Nodes that take it."""
        layer, top = node.layer, node.tops[number]
        own = own_shape(layer, number)
        if top in self.given or own:
            return self._own(top, own, users, 4 if layer.type in _OF_IMAGES and number == 0 else 0)
        return (self.batch or 1,) + self._of_record(layer, top, number)

    def of_input(self, name, own, users):
        """Return the shape of an `input` of the net. own: its shape in the net, or None."""
        if name not in self.given and own is None:
            raise ValueError("expected --shape %s=N,C,H,W, as the net's input of this name has no shape"
                             % to_display(name))
        return self._own(name, own, users, 0)

    def _own(self, top, own, users, of_images):
        shape = self.given.get(top, own)
        n_axes, why = len(own or "1"), "its shape in the net has"
        for user in users:
            needed = _n_axes(user, of_images)
            if needed > n_axes:
                n_axes, why = needed, "layer %s (%s) takes so many" % (user.layer.display_name, to_display(user.type))
        if top in self.given and len(shape) < n_axes:
            raise ValueError("--shape %s: expected at least %d numbers, as %s, got %d"
                             % (to_display(top), n_axes, why, len(shape)))
        return tuple(shape) if self.batch is None else (self.batch,) + tuple(shape[1:])

    def _of_record(self, layer, top, number):
        """Return the shape of a top without its first axis, by its layer's parameters and its data."""
        if number == 1 and layer.type in _LABELLED:
            return ()
        size, record, why = data_layers.image_size(layer) if number == 0 else None, None, ""
        try:
            if number == 0 or layer.type == "HDF5Data":
                record = records.record_shape(layer, top)
        except (EnvironmentError, ImportError, ValueError) as error:
            why = " (%s)" % error
        if size:
            if record is None:
                self._assume_channels(layer, top, size, why)
            record = (record[0] if record else data_layers.channels(layer),) + size
        if not record or not all(record):
            raise ValueError("layer %s: expected --shape %s=N,C,H,W, as neither its text nor its data tells%s"
                             % (layer.display_name, to_display(top), why))
        return record

    def _assume_channels(self, layer, top, size, why):
        transform = layer.message("transform_param")
        means = len(transform.values("mean_value")) if transform else 0
        is_color = means == 3 or transform and transform.value("force_color") == "true"
        if layer.type in ("Data", "AnnotatedData") and data_layers.channels(layer) == 3 and not is_color:
            self.notes.append("%s: 3 channels are assumed, as its data %s%s; --shape %s=%d,1,%d,%d is 1" % (
                to_display(top), "cannot be read" if why else "is not there", why, to_display(top), self.batch or 1,
                size[0], size[1]))


def own_shape(layer, number):
    """Return the shape of a top of a layer whose text has it, or None."""
    param = layer.message(_PARAMS.get(layer.type))
    if not param:
        return None
    shapes = _dims(param, "shape") or list(zip(*map(param.values, _SIZES.get(layer.type, ()))))
    of_top = shapes[:1] if len(shapes) == 1 else shapes[number:number + 1]  # one is for all
    is_label = layer.type == "MemoryData" and number > 0
    return _checked(of_top[0][:1] if is_label else of_top[0]) if of_top else None


def net_shapes(message, n_inputs):
    """Return the shapes of the `input` fields of a net, None for one without. message: Message of the whole net."""
    sizes = iter(message.values("input_dim"))
    shapes = _dims(message, "input_shape") or list(zip(sizes, sizes, sizes, sizes))
    return list(map(_checked, shapes)) if len(shapes) == n_inputs else [None] * n_inputs


def _dims(message, name):
    return [shape.get("dim", ()) if isinstance(shape, dict) else () for shape in message.values(name)]


def _checked(sizes):
    return tuple(sizes) if sizes and all(map(data_layers.positive, sizes)) else None


def _n_axes(user, of_images):
    """Return the least number of axes that a layer takes. of_images: that of the blob, if it is one of images."""
    n_axes = _AXES.get(user.type, 1)
    if n_axes == 3 and user.layer.value_in("convolution_param", "kernel_h") is not None:
        n_axes = 4
    return of_images if of_images and n_axes > 2 else n_axes
