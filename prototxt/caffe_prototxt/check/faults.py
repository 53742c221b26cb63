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
        return any(fault.level == ERROR for fault, _ in self._states.values())

    def pairs(self):
        """Return pairs of a Fault and its States, errors first, by line."""
        return sorted(self._states.values(), key=lambda pair: (LEVELS.index(pair[0].level), pair[0].line or 0))
