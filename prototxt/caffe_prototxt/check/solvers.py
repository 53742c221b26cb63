"""Solvers: the nets that one names, and the states that it makes them for."""
from __future__ import division, print_function

import collections
import os

from caffe_losses.compat import quote, to_display
from caffe_prototxt.check import solver_fields
from caffe_prototxt.check.faults import ERROR, UNCHECKED, WARNING, Fault
from caffe_prototxt.net.data_layers import positive
from caffe_prototxt.textformat import scanner as T
from caffe_prototxt.textformat.messages import Item, read

TRAIN_NETS = ("net", "train_net", "net_param", "train_net_param")
_SOLVER_ONLY = frozenset(("net", "train_net", "test_net", "base_lr", "lr_policy", "max_iter", "train_net_param",
                          "test_net_param", "net_param", "solver_mode", "test_iter"))


def is_solver(text):
    """Return whether a text is a solver's, and not a net's. Raises ValueError for text in neither's syntax."""
    for field in T.fields(text):
        if field.name in ("layer", "layers", "input"):
            return False
        if field.name in _SOLVER_ONLY:
            return True
    return False


# A solver as read. nets: pairs of a file, relative to `root`, and, for each time that it is made, (phase, the solver's
# own state as messages.read gives it). faults: Faults of the solver itself. weights: the files that it names.
# root: the folder that Caffe must run from, None for the current one.
Solver = collections.namedtuple("Solver", "nets faults weights root")


def read_solver(text, path=None, known=None):
    """Return the Solver in a text. Raises ValueError for a text that is no solver's.

    path: str, its file: nets that are not in the current folder are looked for in those above it.
    known: what the Caffe here has, as of caffe_process.End, or None for what Caffe 1.0 has.
    """
    values, lines, line_numbers = collections.OrderedDict(), {}, T.Lines(text)
    for field in T.fields(text):
        lines.setdefault(field.name, line_numbers.of(field.start))
        values.setdefault(field.name, []).extend(
            read(text, Item(start, end, field)) for start, end in T.values(text, field))
    faults = []

    def fault(field, message, level=ERROR):
        faults.append(Fault("solver", level, None, lines.get(field), message))

    named = [name for name in TRAIN_NETS if name in values]
    if len(named) != 1:
        fault(named[-1] if named else None, "names %s, and Caffe wants one of %s" % (
            " and ".join(named) or "no net to train", ", ".join(TRAIN_NETS)))
    inside = [name for name in values if name.endswith("net_param")]
    if inside:
        fault(inside[0], "has a net in itself (%s)" % inside[0], UNCHECKED)
    nets = _nets(values, named, fault)
    missing = [name for name in nets if not os.path.exists(name)]
    above = folders_above(path) if path and missing else []
    root = next((folder for folder in above for name in missing if os.path.exists(os.path.join(folder, name))), None)
    for name in nets:
        if root is not None and os.path.exists(os.path.join(root, name)):
            fault("net", "names the net %s, which is in %s: run caffe there: cd %s" % (name, root, quote(root)),
                  WARNING)
        elif not os.path.exists(name):
            fault("net", "names the net %s, which is not there; Caffe reads it from where it runs, which is %s%s" % (
                name, os.getcwd(), ", and no folder above the solver has it" if path else ""))
    faults += solver_fields.faults(values, lines, known or {}, [root] if root else [""] + above)
    there = [(name, states) for name, states in nets.items() if os.path.exists(os.path.join(root or "", name))]
    return Solver(there, faults, _weights(values, root), root)


def _nets(values, named, fault):
    """Return {file: (phase, the solver's own state) for each time that the net is made}; report faults by `fault`."""
    nets = collections.OrderedDict()
    for name in named[:1]:
        if not name.endswith("_param"):
            nets.setdefault(_file(values[name]), []).append(("TRAIN", _message(values, "train_state", 0)))
    own = ["test_net"] * len(values.get("test_net", ())) + ["test_net_param"] * len(values.get("test_net_param", ()))
    n_tests, general = len(values.get("test_iter", ())), bool({"net", "net_param"} & set(values))
    if n_tests < len(own) or n_tests > len(own) and not general:
        fault("test_iter", "has %d test_iter for %d test nets: Caffe wants one for each" % (n_tests, len(own)))
    n_states = len(values.get("test_state", ()))
    if n_states not in (0, n_tests):
        fault("test_state", "has %d test_state for %d test nets: Caffe wants none, or one for each"
              % (n_states, n_tests))
    if n_tests and not positive(values.get("test_interval", [0])[-1]):
        fault("test_interval", "tests, and has no test_interval: Caffe stops")
    tested = values.get("test_net", []) + values.get("net", [])[-1:] * max(n_tests - len(own), 0)
    for number, file in enumerate(tested, len(values.get("test_net_param", ()))):  # Caffe's order
        nets.setdefault(_file([file]), []).append(("TEST", _message(values, "test_state", number)))
    return nets


def _weights(values, root):
    """Return the files of weights that a solver names."""
    named = [name for value in values.get("weights", ()) if isinstance(value, str) for name in value.split(",")]
    return [os.path.join(root or "", to_display(name.strip())) for name in named if name.strip()]


def folders_above(path):
    """Return the folders above a file, the nearest first."""
    folders, folder = [], os.path.abspath(path)
    while os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
        folders.append(folder)
    return folders


def _message(values, name, number):
    message = (list(values.get(name, ())) + [None] * (number + 1))[number]
    return message if isinstance(message, dict) else {}


def _file(values):
    name = values[-1]
    if not isinstance(name, str) or "\0" in name:
        raise ValueError("expected the name of a file for a net, got %s" % (name,))
    return to_display(name)
