"""Where a loss gets its matrix from: a file that it reads, a blob of the net, or a layer that makes one."""
from __future__ import division, print_function

import json
from collections import OrderedDict

from caffe_losses.compat import from_display, to_display
from caffe_losses.formats.matrix_files import is_binaryproto, layer_type, read_matrix
from caffe_prototxt.textformat.messages import Name

MODULE = "caffe_losses"
H_NAME = "H"  # the name of the matrix inside files
FIND_BY_NAME = ("HDF5Data", "Parameter")  # these find the matrix by the name of their top, or by their own
# The layers that count labels, and what is expected, and came, where the number of classes is unknown.
_WITH_CLASSES = {
    "ComputeH": ("--compute-h C, with the number of classes, as the text does not tell that of its scores",
                 "--compute-h alone"),
    "LogPrior": ("--counts, as the text does not tell the number of classes of its scores", "--running")}
NOT_TRAINED = OrderedDict((("lr_mult", 0), ("decay_mult", 0)))


class _Source(object):
    """The base of all. files: of the matrices that it reads, as users name them."""

    files = ()

    def for_loss(self, loss):
        """Return the source as it is for a loss."""
        return self

    def __eq__(self, other):
        return type(self) is type(other) and vars(self) == vars(other)

    def __ne__(self, other):
        return not self == other


class FileMatrix(_Source):
    """A file that the loss itself reads. path: str, one character a byte."""

    def __init__(self, path):
        self.path = path

    @property
    def files(self):
        return [to_display(self.path)]

    def check(self, loss, kind):
        """Raise ValueError unless a loss of this kind reads such a file."""
        path = to_display(self.path)
        if not kind.layer and not kind.composed and not is_binaryproto(path):
            raise loss.layer.error("a file that ends in .binaryproto, as Caffe's own InfogainLoss reads nothing else, "
                                   "for %s" % kind.name, path)

    def __str__(self):
        return "matrix from %s" % to_display(self.path)


class BlobMatrix(_Source):
    """A blob that the net makes already. name: str."""

    def __init__(self, name):
        self.name = name

    def check(self, loss, kind):
        net = loss.layer.net
        if self != loss.matrix and self.name not in net.inputs and not net.makers(loss.layer, self.name):
            raise ValueError('%s: expected a layer before it that makes the blob "%s", got none'
                             % (loss.layer, to_display(self.name)))

    def __str__(self):
        return "matrix from the blob %s" % to_display(self.name)


class LayerMatrix(_Source):
    """A layer to add, which makes the matrix.

    type: of the layer. params: {field: message} of a layer of Caffe's. python_class, keys: of one of ours, and the keys
    of its param_str.
    """

    def __init__(self, type, params=None, python_class=None, keys=None, files=()):
        self.type, self.params, self.python_class, self.keys = type, params or {}, python_class, keys
        self.files = list(files)

    @property
    def param_str(self):
        return json.dumps(self.keys, sort_keys=True)

    def bottoms(self, label):
        takes = self.python_class in ("ComputeH", "LabelCheck") or self.python_class and "running" in self.keys
        return [label] if takes else []

    def for_loss(self, loss):
        """Return this source with what a layer that counts has from the loss: the number of classes, the ignored label.
        """
        if self.python_class not in _WITH_CLASSES or not self.bottoms(loss.label):
            return self
        keys = dict(self.keys)
        if loss.params.ignore_label is not None:
            keys["ignore_label"] = loss.params.ignore_label
        if keys.setdefault("n_classes", loss.n_classes()) is None:
            raise loss.layer.error(*_WITH_CLASSES[self.python_class])
        return LayerMatrix(self.type, None, self.python_class, keys, self.files)

    def check(self, loss, kind):
        if kind.matrix == "cost" and self.python_class:
            raise ValueError("%s: expected costs for %s, and %s makes gains"
                             % (loss.layer, kind.name, self.python_class))

    def fields(self, name, label, rules):
        """Return the fields of the layer, as Edits takes them. label: the blob of labels. rules: of nets.Layer."""
        not_trained = self.type == "Parameter" or self.python_class and "running" in self.keys
        fields = OrderedDict((("name", name), ("type", self.type), ("bottom", self.bottoms(label)), ("top", [name])))
        fields.update(sorted(rules.items()))
        fields["param"] = [NOT_TRAINED] if not_trained else None
        if self.python_class:
            fields["python_param"] = OrderedDict((
                ("module", MODULE), ("layer", self.python_class), ("param_str", self.param_str)))
        fields.update(sorted(self.params.items()))
        return fields

    def is_made_by(self, layer, label):
        """Return whether a layer is of the class that makes this matrix, from the same bottoms."""
        if self.python_class is None:
            return layer.type == self.type and all(
                layer.values(name) == [_as_read(message)] for name, message in self.params.items())
        names = [layer.value_in("python_param", name) for name in ("module", "layer")]
        return layer.type == "Python" and layer.bottoms == self.bottoms(label) and names == [MODULE, self.python_class]

    def has_same_keys(self, layer):
        """Return whether the param_str of a layer of this class says the same; Caffe's own layers have none."""
        if self.python_class is None:
            return True
        try:
            return json.loads(to_display(layer.value_in("python_param", "param_str", ""))) == self.keys
        except (AttributeError, TypeError, ValueError):
            return False

    def __str__(self):
        if self.python_class == "ComputeH":
            return "H from the labels"
        if self.python_class:
            return "matrix from %s through a layer" % self.keys["source"]
        return "matrix from a layer of type %s" % self.type


def matrix_source(source=None, h_file=None, compute=None, h_blob=None):
    """Return the source that is given, or None.

    source: str, a file that the loss reads. h_file: str, a file that a layer reads. compute: the keys of ComputeH's
    param_str. h_blob: str, a blob of the net.
    """
    if source is not None:
        return FileMatrix(from_display(source))
    if h_blob is not None:
        return BlobMatrix(from_display(h_blob))
    if h_file is not None:
        return layer_that_reads(h_file)
    return None if compute is None else compute_h(compute)


def compute_h(keys):
    """Return the source that computes H from the labels.

    keys: of ComputeH's param_str; without n_classes it is the number of classes of each loss.
    """
    return LayerMatrix("Python", None, "ComputeH", keys, [keys["gain"]] if "gain" in keys else [])


def layer_that_reads(path, n_classes=None):
    """Return the LayerMatrix that reads a file with H: HDF5Data, Data, Parameter, or our InfogainMatrix.

    path: str, as Caffe is to find it. n_classes: int, for a Parameter layer; None: read from the file.
    """
    kind = layer_type(path)
    if kind == "HDF5Data":
        param = {"source": from_display(path + ".txt"), "batch_size": 1}
        return LayerMatrix(kind, {"hdf5_data_param": param}, files=[path])
    if kind == "Data":
        param = {"source": from_display(path), "batch_size": 1, "backend": Name("LMDB")}
        return LayerMatrix(kind, {"data_param": param}, files=[path])
    if kind == "Parameter":
        sizes = [1, 1] + 2 * [len(read_matrix(path)) if n_classes is None else n_classes]
        return LayerMatrix(kind, {"parameter_param": {"shape": {"dim": sizes}}}, files=[path])
    return LayerMatrix("Python", None, "InfogainMatrix", {"source": path}, [path])


def _as_read(value):
    """Return a message given as a dict as messages.read gives it: with a list for each field."""
    if not isinstance(value, dict):
        return value
    return {name: [_as_read(item) for item in (field if isinstance(field, list) else [field])]
            for name, field in value.items()}
