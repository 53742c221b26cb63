"""Faults of a net, and how bad they are."""
from __future__ import division, print_function

import collections

ERROR, WARNING, UNCHECKED = "error", "warning", "not checked"
LEVELS = (ERROR, WARNING, UNCHECKED)

# kind: one word for scripts. level: of LEVELS. layer: the nets.Layer, or None for the net. line: int, or None.
Fault = collections.namedtuple("Fault", "kind level layer line message")


def fault_of(layer, level, kind, message):
    """Return the Fault of a layer, on the line where it begins."""
    return Fault(kind, level, layer, layer.line, message)


class FaultList(object):
    """Faults of a net in several states; those that are the same in some count once."""

    def __init__(self, faults):
        self._states = collections.OrderedDict()
        self.add(faults)

    def add(self, faults, state=None):
        """Add the faults of a State; None: those of the net in any state."""
        for fault in faults:
            # Layers may have the same name, so they are told apart by their index.
            key = (fault.kind, fault.layer.index if fault.layer else None, fault.message)
            _, states = self._states.setdefault(key, (fault, []))
            if state is not None and state not in states:
                states.append(state)

    def has_errors(self):
        return any(fault.level == ERROR for fault in self.faults())

    def faults(self):
        """Return the Faults, one for each layer."""
        return [fault for fault, _ in self._states.values()]

    def pairs(self):
        """Return pairs of a Fault and its States, errors first, by line; the same of several layers is one Fault."""
        alike = collections.OrderedDict()
        for fault, states in self._states.values():
            alike.setdefault((fault.kind, fault.level, fault.message, tuple(states)), []).append(fault)
        pairs = [(_of_all(faults), list(key[-1])) for key, faults in alike.items()]
        return sorted(pairs, key=lambda pair: (LEVELS.index(pair[0].level), pair[0].line or 0))


def _of_all(faults):
    """Return the Fault of the first of some layers that have the same, which names the others."""
    others = ["%s (line %d)" % (fault.layer.display_name, fault.line) for fault in faults[1:] if fault.layer]
    if not others:
        return faults[0]
    return faults[0]._replace(message="%s; the same of layer%s %s" % (
        faults[0].message, "s" * (len(others) > 1), ", ".join(others)))
