"""The layers that a changed loss needs before it: a Softmax, and what makes its matrix."""
from __future__ import division, print_function

import collections
import json

from caffe_losses.compat import to_display
from caffe_prototxt.net.losses import MODULE
from caffe_prototxt.textformat.messages import Name, on_one_line
from caffe_prototxt.net.nets import PHASES


OURS = ("ComputeH", "InfogainMatrix")
H_NAME = "H"  # what files of H call it
NAMED = ("HDF5Data", "Parameter")  # what these read they find by their name
NOT_TRAINED = collections.OrderedDict((("lr_mult", 0), ("decay_mult", 0)))


class Additions(object):
    """The layers that a plan adds."""

    def __init__(self, net, planned, h_name):
        self.plan = planned
        self.h_name = h_name
        self.matrices = {}  # the tops of the layers of H that are planned
        self.remade = set()  # the layers of H that are there, and get other parameters
        self.numbers = collections.defaultdict(lambda: 1)  # the last that a name has been given
        self.taken = {name: frozenset(PHASES) for name in net.inputs}
        removed = set(layer.index for layer in planned.removed)
        for layer in net.layers:
            if layer.index not in removed:
                for name in [layer.name] + layer.tops:
                    self._take(name, layer)

    def _take(self, name, layer):
        self.taken[name] = self.taken.get(name, frozenset()) | layer.phases

    def name(self, name, layer):
        """`name`, or one like it that nothing has where `layer` is."""
        found = name
        while self.taken.get(found, frozenset()) & layer.phases:
            self.numbers[name] += 1
            found = "%s_%d" % (name, self.numbers[name])
        self._take(found, layer)
        return found

    def softmax(self, loss, tops):
        """Plan a Softmax layer before a loss; returns its top. tops: the loss's; a second one becomes the Softmax's."""
        layer = loss.layer
        name = self.name(layer.name + "_prob" if layer.name else "prob", layer)
        top = tops.pop() if len(tops) == 2 else name
        fields = [("name", name), ("type", Name("SOFTMAX") if layer.old else "Softmax"), ("bottom", [loss.bottom]),
                  ("top", [top])] + sorted(layer.rules.items())
        if loss.axis not in (None, 1):
            fields.append(("softmax_param", {"axis": loss.axis}))
        self.plan.added.append((layer, collections.OrderedDict(fields)))
        return top

    def matrix(self, loss, matrix, makers):
        """Plan the layer that makes H; returns its top. makers: the layers that make it already, or None."""
        layer = loss.layer
        kind, param = matrix
        if kind not in OURS:
            return loss.matrix[1] if makers else self._native(loss, kind, param)
        text = json.dumps(param, sort_keys=True)
        frozen = [NOT_TRAINED] if "running" in param else None
        if makers:
            for maker in makers:
                if maker.index not in self.remade and not _says(maker.message("python_param"), param):
                    self.plan.changed.append((maker, {"param": frozen, "python_param": {"param_str": text}}))
                    self.remade.add(maker.index)
            return loss.matrix[1]
        bottoms = [loss.label] if kind == "ComputeH" else []
        rules = sorted(layer.rules.items())
        key = (kind, text, tuple(bottoms), on_one_line("rules", dict(rules)))
        if key not in self.matrices:
            name = self.matrices[key] = self.name(self.h_name, layer)
            fields = [("name", name), ("type", "Python"), ("bottom", bottoms), ("top", [name])] + rules
            fields += [("param", frozen), ("python_param", collections.OrderedDict(
                (("module", MODULE), ("layer", kind), ("param_str", text))))]
            self.plan.added.append((layer, collections.OrderedDict(fields)))
        return self.matrices[key]


    def _native(self, loss, kind, param):
        """Plan a layer of Caffe's own that reads H from a file; returns its top."""
        layer = loss.layer
        rules = sorted(layer.rules.items())
        key = (kind, on_one_line("param", param), on_one_line("rules", dict(rules)))
        if key not in self.matrices:
            name = self.matrices[key] = self.name(self.h_name, layer)
            if name != H_NAME and kind in NAMED:
                raise ValueError("%s: expected %s to be free as the name of the layer of type %s, as this is what it reads; "
                                 "it would be %s" % (layer, H_NAME, kind, name))
            fields = [("name", name), ("type", kind), ("top", [name])] + rules
            if kind == "Parameter":
                fields.append(("param", [NOT_TRAINED]))
            self.plan.added.append((layer, collections.OrderedDict(fields + sorted(param.items()))))
        return self.matrices[key]


def made_already(net, loss, matrix, changing):
    """The layers that make H for a loss already, if they are of the class that is to make it, else None."""
    if loss.matrix is None or loss.matrix[0] != "blob" or matrix is None or matrix[0] in ("source", "blob"):
        return None
    makers = net.makers(loss.layer, loss.matrix[1])
    if matrix[0] not in OURS:
        return makers if makers and all(_reads(maker, *matrix) for maker in makers) else None
    bottoms = [loss.label] if matrix[0] == "ComputeH" else []
    for maker in makers:
        param = maker.message("python_param") if maker.type == "Python" else None
        if param is None or (param.value("module"), param.value("layer")) != (MODULE, matrix[0]) or maker.bottoms != bottoms:
            return None
        if not _says(param, matrix[1]) and not all(user.index in changing for user in net.users(loss.matrix[1])):
            return None
    return makers or None


def _reads(layer, kind, param):
    """Whether a layer is of this type, and its messages say this."""
    return layer.type == kind and all(layer.values(name) == [_as_read(message)] for name, message in param.items())


def _as_read(value):
    """A message given as a dict, as messages.read gives it: with a list for each field."""
    if not isinstance(value, dict):
        return value
    return {name: [_as_read(item) for item in (field if isinstance(field, list) else [field])]
            for name, field in value.items()}


def _says(python_param, wanted):
    try:
        return json.loads(to_display(python_param.value("param_str", ""))) == wanted
    except (ValueError, TypeError):
        return False
