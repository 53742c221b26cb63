"""Faults in the fields of a solver: names that Caffe does not have, and values at which it stops later."""
from __future__ import division, print_function

import itertools
import os

from caffe_losses.compat import quote, to_display
from caffe_prototxt.check.faults import ERROR, WARNING, Fault
from caffe_prototxt.check.field_checks import one_line
from caffe_prototxt.check.spelling import unknown
from caffe_prototxt.net.data_layers import positive
from caffe_prototxt.net.states import PHASES, phase_name
from caffe_prototxt.textformat.messages import Name

_CHOICES = {"lr_policy": ("fixed", "step", "exp", "inv", "multistep", "poly", "sigmoid"),
            "regularization_type": ("L1", "L2"),
            "type": ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")}
_STEPS = ("step", "sigmoid")  # the policies that need a stepsize
_REPEATED = frozenset(("test_net", "test_net_param", "test_iter", "test_state", "stepvalue", "weights"))
_STRINGS = ("net", "train_net", "test_net", "lr_policy", "snapshot_prefix", "regularization_type", "type", "weights")


def faults(values, lines, known, folders):
    """Return the Faults of a solver's fields.

    values: {field: its values}, as messages.read gives them. lines: {field: line}.
    known: as of caffe_process.End, or {}.
    folders: those that Caffe may run from, "" for the current one.
    """
    found = itertools.chain(_names(values, known), _values(values, known), _states(values, known), _rates(values),
                            _snapshots(values, folders))
    return [Fault("solver", level, None, lines.get(field), message) for field, level, message in found]


def _names(values, known):
    fields = known.get("fields", {}).get("caffe.SolverParameter")
    for name in values if fields else ():
        if name not in fields:
            yield (name,) + unknown("has %s", name, fields, .85)
    for name, several in values.items():
        if len(several) > 1 and name not in _REPEATED and (not fields or name in fields):
            yield name, ERROR, "has %s twice, and Caffe's parser stops: take one of them out" % to_display(name)


def _values(values, known):
    for name, several in values.items():
        for value in several:
            if name in _STRINGS and (not isinstance(value, str) or isinstance(value, Name)):
                yield name, ERROR, 'has %s: %s, and Caffe\'s parser stops: write %s: "%s", in quotes' % (
                    name, value, name, value)
            choices = known.get("enums", {}).get(name) if name not in _STRINGS else None
            if choices and isinstance(value, Name) and value not in choices:
                yield (name,) + unknown("has %s: %%s" % name, value, choices)
    for name, choices in _CHOICES.items():
        value = values.get(name, [None])[-1]
        if isinstance(value, str) and value and value not in choices:
            yield (name,) + unknown('has %s: "%%s"' % name, value, choices)


def _states(values, known):
    fields = known.get("fields", {}).get("caffe.NetState", ("phase", "level", "stage"))
    for field in ("train_state", "test_state"):
        states = [state for state in values.get(field, ()) if isinstance(state, dict)]
        for name, several in [pair for state in states for pair in state.items()]:
            if name not in fields:
                yield (field,) + unknown("has %%s in %s" % field, name, fields, .6)
            elif name == "phase" and phase_name(several[-1]) not in PHASES:
                yield field, ERROR, "has phase: %s in %s, and Caffe stops, as it has TRAIN and TEST only" % (
                    several[-1], field)


def _rates(values):
    policy = values.get("lr_policy", [""])[-1]
    if policy == "":
        yield "lr_policy", ERROR, 'has no lr_policy, and Caffe stops: write lr_policy: "fixed", or one of %s' % (
            ", ".join(_CHOICES["lr_policy"]))
    elif policy in _STEPS and not positive(values.get("stepsize", [0])[-1]):
        yield "lr_policy", ERROR, 'has lr_policy: "%s" and no stepsize, and Caffe stops: write stepsize: N' % policy
    if "base_lr" not in values:
        yield "base_lr", WARNING, "has no base_lr, which then is 0: Caffe would learn nothing"


def _snapshots(values, folders):
    """Find a folder for snapshots that is not there: Caffe stops, before the training or at its end."""
    prefix = values.get("snapshot_prefix", [""])[-1]
    folder = os.path.dirname(to_display(prefix)) if isinstance(prefix, str) and "\0" not in prefix else ""
    if folder and not any(os.path.isdir(os.path.join(root, folder)) for root in folders):
        yield "snapshot_prefix", ERROR, "writes its snapshots into the folder %s, which is not there, and Caffe " \
            "stops: mkdir -p %s" % (one_line(folder), quote(os.path.join(folders[0], folder)))
