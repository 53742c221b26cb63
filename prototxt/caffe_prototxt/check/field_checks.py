"""Faults in the fields of layers: what is missing or misspelt, and paths that an editor or Windows has spoilt."""
from __future__ import division, print_function

import re

from caffe_losses.compat import to_display
from caffe_prototxt.check.faults import ERROR, fault_of
from caffe_prototxt.check.spelling import nearest, unknown
from caffe_prototxt.net.losses import meant_type
from caffe_prototxt.net.states import PHASES
from caffe_prototxt.textformat import scanner
from caffe_prototxt.textformat.messages import MOST_DEEP, Name, is_true

# The message of a type, and the fields that it needs: one of each group. (Caffe stops later, and names another thing.)
_KERNEL = ("kernel_size", "kernel_h", "kernel_w")
_REQUIRED = {"InnerProduct": ("inner_product_param", [("num_output",)]),
             "Convolution": ("convolution_param", [("num_output",), _KERNEL]),
             "Deconvolution": ("convolution_param", [("num_output",), _KERNEL]),
             "Im2col": ("convolution_param", [_KERNEL]), "Pooling": ("pooling_param", [_KERNEL]),
             "Embed": ("embed_param", [("num_output",), ("input_dim",)]),
             "LSTM": ("recurrent_param", [("num_output",)]), "RNN": ("recurrent_param", [("num_output",)]),
             "Python": ("python_param", [("module",), ("layer",)])}
# The types of the values that Caffe's parser reads for the fields of a rule, as messages.read gives them.
_RULE_FIELDS = {"phase": ((int, Name), "write phase: TRAIN or phase: TEST, without quotes"),
                "min_level": ((int,), "write a whole number"), "max_level": ((int,), "write a whole number"),
                "stage": ((str,), 'write stage: "...", in quotes'),
                "not_stage": ((str,), 'write not_stage: "...", in quotes')}
_SPOILT = re.compile("[\\\\\a\b\f\r\t\v]")  # what a literal of a spoilt path has in it
_VALUES = {"module": '"..."', "layer": '"..."'}


def field_faults(layer):
    """Return the Faults in the fields of a layer. Raises ValueError where the text has no value of a field's kind."""
    return [fault_of(layer, level, kind, message)._replace(line=layer.net.line_of(offset))
            for check in (_type, _rules, _required, _paths) for level, kind, message, offset in check(layer)]


def _type(layer):
    if not layer.type:
        yield _missing("has no type", "type", layer, layer, .6)
    elif meant_type(layer) and not layer.old:
        yield ERROR, "missing", "is of type %s, which Caffe does not have: write type: \"%s\"" % (
            to_display(layer.type), meant_type(layer)), layer.begin


def _missing(message, name, within, layer, cutoff=.75):
    """Return the fault of a field that is missing, with the one that is misspelt in its place. within: the Message."""
    near = nearest(name, within.names() - {name}, cutoff)
    if near is None:
        return ERROR, "missing", message, layer.begin
    return ERROR, "missing", "has %s, which Caffe does not have, and stops at; is it %s?" % (
        to_display(near), name), within.items(near)[0].field.start


def _rules(layer):
    """Find what is wrong in the rules, which Caffe reads before it makes a layer."""
    for kind, rules in sorted(layer.rules.items()):
        for rule in rules:
            if not isinstance(rule, dict):
                yield ERROR, "rule", "has %s that is no { }" % kind, layer.begin
                continue
            for name, values in rule.items():
                for level, message in _of_rule(kind, name, values):
                    yield level, "rule", message, layer.begin
    for phase in [rule.phase for rule in layer.include + layer.exclude if rule.phase not in (None,) + PHASES]:
        near = nearest(phase, PHASES, .6)
        yield ERROR, "rule", "has phase: %s in a rule, and Caffe stops, as it has TRAIN and TEST only%s" % (
            to_display(phase), "; is it %s?" % near if near else ""), layer.begin


def _of_rule(kind, name, values):
    """Find what is wrong with a field of a rule. kind: "include" or "exclude"."""
    types, remedy = _RULE_FIELDS.get(name, ((), ""))
    if not types:
        yield unknown("has %%s in a rule (%s)" % kind, name, _RULE_FIELDS, .6)
    elif len(values) > 1 and not name.endswith("stage"):
        yield ERROR, "has %s twice in a rule, and Caffe's parser stops: take one of them out" % name
    elif not all(type(value) in types for value in values):
        yield ERROR, "has %s in a rule (%s), and Caffe's parser stops: %s" % (name, kind, remedy)


def _required(layer):
    param, groups = _REQUIRED.get(layer.type, (None, ()))
    if param is None:
        return
    message = layer.message(param)
    if message is None:
        yield _missing("has no %s { %s }" % (param, " ".join(
            "%s: %s" % (group[0], _VALUES.get(group[0], "N")) for group in groups)), param, layer, layer)
        return
    if layer.type == "Pooling" and any(map(is_true, message.values("global_pooling"))):
        return
    for group in groups:
        if not any(message.values(name) and message.values(name)[0] not in (0, "") for name in group):
            yield _missing("has no %s: write %s { %s: %s }" % (group[0], param, group[0], _VALUES.get(group[0], "N")),
                           group[0], message, layer)


def _paths(layer):
    r"""Find strings such as "C:\new\table", in which \n and \t are a line feed and a tab."""
    text = layer.text[layer.begin:layer.stop]
    if text.count("{") + text.count("<") < MOST_DEEP and not _SPOILT.search("".join(scanner.literals(text))):
        return  # as of most layers: it takes long to read every value
    for name, value in _strings({field.name: layer.values(field.name) for field in layer.fields}):
        if name != "param_str" and re.search("[\a\b\f\n\r\t\v]", value):
            yield ERROR, "path", "has %s: %s, in which a \\ with the letter after it stands for another character: " \
                "write / for each \\ of a path" % (name, one_line(value)), layer.begin


def one_line(value):
    """Return a string as it is shown in a line: its line feeds and the like by their escapes."""
    return re.sub("[\0-\x1f]", lambda match: repr(match.group())[1:-1], to_display(value))


def _strings(message):
    for name, values in message.items():
        for value in values:
            if isinstance(value, dict):
                for inner in _strings(value):
                    yield inner
            elif isinstance(value, str):
                yield name, value
