"""The layers that changed losses need before them: a Softmax, a matrix, a check of the labels, a log prior."""
from __future__ import division, print_function

import collections

from caffe_prototxt.net.adjustments import PLUS_LOG_PRIOR
from caffe_prototxt.net.losses import python_class, takers
from caffe_prototxt.net.matrix_sources import FIND_BY_NAME, H_NAME, MODULE, NOT_TRAINED, LayerMatrix
from caffe_prototxt.net.states import PHASES
from caffe_prototxt.textformat.messages import Name, on_one_line


def label_checks(loss):
    """Return the LabelCheck layers that make the labels of a loss."""
    return [maker for maker in loss.layer.net.makers(loss.layer, loss.label)
            if python_class(maker) == (MODULE, "LabelCheck")]


class Additions(object):
    """The layers that are added to a net for its changed losses.

    net: nets.Net. removed: of its layers, whose names become free. h_name: of the layer of H and its top.
    label_check: whether labels are checked: True, or the number of classes.
    added: pairs of the Layer before which a new one goes, and its fields.
    changed: pairs of a Layer that makes H already, and the fields that it is to have.
    """

    def __init__(self, net, removed, h_name, label_check=None):
        self.h_name, self.label_check = h_name, label_check
        self.added, self.changed = [], []
        self._tops = {}  # of the added layers that losses can share, by all that they say
        self._numbers = collections.defaultdict(lambda: 1)  # the last that a name has got
        self._taken = collections.defaultdict(set, {name: set(PHASES) for name in net.inputs})  # phases of each name
        for layer in net.layers:
            if layer not in removed:
                for name in [layer.name] + layer.tops:
                    self._taken[name] |= layer.phases

    def name(self, name, layer):
        """Return `name`, or one like it, that is free in the phases of `layer`."""
        free = name
        while self._taken[free] & layer.phases:
            self._numbers[name] += 1
            free = "%s_%d" % (name, self._numbers[name])
        self._taken[free] |= layer.phases
        return free

    def softmax(self, loss, tops):
        """Add a Softmax layer before a loss; return its top. tops: the loss's; a second one becomes the Softmax's."""
        layer = loss.layer
        name = self.name(layer.name + "_prob" if layer.name else "prob", layer)
        top = tops.pop() if len(tops) == 2 else name
        param = None if loss.params.axis in (None, 1) else {"axis": loss.params.axis}
        self.added.append((layer, collections.OrderedDict([
            ("name", name), ("type", Name("SOFTMAX") if layer.old else "Softmax"), ("bottom", [loss.bottom]),
            ("top", [top])] + sorted(layer.rules.items()) + [("softmax_param", param)])))
        return top

    def matrix(self, loss, matrix, makers):
        """Add or change the layer that makes H, a LayerMatrix; return its top. makers: those that make it, or None."""
        if makers:
            fields = matrix.fields(self.h_name, loss.label, loss.layer.rules)
            change = {"param": fields["param"], "python_param": {"param_str": matrix.param_str}}
            self.changed += [(maker, change) for maker in makers if not matrix.has_same_keys(maker)
                             and maker not in [layer for layer, _ in self.changed]]
            return loss.matrix.name
        top = self._shared(loss.layer, loss.layer.rules, loss.label, matrix, self.h_name)
        if top != H_NAME and matrix.type in FIND_BY_NAME:
            raise ValueError("%s: expected %s to be free as the name of the layer of type %s, as this is what it "
                             "reads, got %s; take an .lmdb, or --source" % (loss.layer, H_NAME, matrix.type, top))
        return top

    def checked_label(self, loss):
        """Add a LabelCheck before a loss; return its top, or the label if none is wanted or one is there."""
        layer, n_classes = loss.layer, loss.n_classes()
        if not self.label_check or label_checks(loss):
            return loss.label
        if layer.old:
            raise layer.error("the present syntax (layer { }) for a LabelCheck; convert the net first: "
                              "upgrade_net_proto_text OLD NEW", "the old one (layers { }), which has no Python layers")
        if self.label_check is not True and n_classes not in (None, self.label_check):
            raise layer.error("--label-check %d, as its scores have" % n_classes, self.label_check)
        if self.label_check is True and n_classes is None:
            raise layer.error("--label-check C, with the number of classes, as the text does not tell that of its "
                              "scores", "--label-check alone")
        keys = {"n_classes": n_classes or self.label_check, "ignore_label": loss.params.ignore_label}
        return self._shared(layer, layer.rules, loss.label, LayerMatrix("Python", None, "LabelCheck", {
            key: value for key, value in keys.items() if value is not None}), "label_check")

    def log_prior(self, loss, scores, prior):
        """Add the layers that add a log prior to the scores of a loss in TRAIN, and pass them on elsewhere.

        prior: LayerMatrix, or None where the log prior is in weights.
        Returns the top that the loss is to get, and the name of the layer that adds.
        """
        before, phases = takers(loss)[0], loss.layer.phases
        rules = {phase: sorted(loss.layer.rules_in(phase).items()) for phase in phases}
        top, name = self.name(scores + "_for_loss", loss.layer), self.name(scores + PLUS_LOG_PRIOR, loss.layer)
        bottoms, param = [scores], [NOT_TRAINED]
        if prior:
            bottoms.append(self._shared(before, dict(rules["TRAIN"]), loss.label, prior, "log_prior"))
            param = None
        axis = loss.params.axis
        self.added.append((before, collections.OrderedDict(
            [("name", name), ("type", "Bias"), ("bottom", bottoms), ("top", [top])] + rules["TRAIN"]
            + [("param", param), ("bias_param", None if axis in (None, 1) else {"axis": axis})])))
        for phase in phases - {"TRAIN"}:
            self.added.append((before, collections.OrderedDict(
                [("name", top), ("type", "Split"), ("bottom", [scores]), ("top", [top])] + rules[phase])))
        return top, name

    def change_log_prior(self, there, prior, changing):
        """Change the layers of an Adjustment that make the log prior.

        prior: LayerMatrix. changing: the Layers that take the scores of all losses that change.
        """
        change = {"param": prior.fields("", "", {})["param"], "python_param": {"param_str": prior.param_str}}
        for maker in there.priors:
            if prior.has_same_keys(maker) or maker in [layer for layer, _ in self.changed]:
                continue
            others = [user for adding in maker.net.users(maker.tops[0]) for top in adding.tops
                      for user in maker.net.users(top) if user not in changing]
            if others:
                raise maker.error("only losses that change to get the log prior that it makes, but %s does, too (--all "
                                  "changes all)" % others[0], "another log prior")
            self.changed.append((maker, change))

    def _shared(self, before, rules, label, source, name):
        """Add a layer that losses of the same rules can share; return its top. source: LayerMatrix."""
        key = on_one_line("layer", source.fields(name, label, rules))
        if key not in self._tops:
            self._tops[key] = self.name(name, before)
            self.added.append((before, source.fields(self._tops[key], label, rules)))
        return self._tops[key]
