"""Tell a misspelt name, at which Caffe stops, from one that a fork of Caffe may have."""
from __future__ import division, print_function

import difflib
import re

from caffe_prototxt.check.faults import ERROR, UNCHECKED
from caffe_prototxt.net.nets import present_type


def likeness(name, known, cutoff=.75):
    """Return (ERROR, the name that was meant) for a misspelt name, else (UNCHECKED, that it may be a fork's).

    known: the names that there are. cutoff: how alike two names must be for one to be meant, as difflib has it.
    """
    near = nearest(name, known, cutoff)
    if near is None:
        return UNCHECKED, "; is it a fork's?"
    if near.lower() == name.lower() and name not in (name.lower(), name.upper()):  # Lstm is a fork's, lstm is nobody's
        return UNCHECKED, "; is it %s, or a fork's?" % near
    return ERROR, "; is it %s?" % near


def nearest(name, known, cutoff=.75):
    """Return the name of those known that a misspelt one means, or None."""
    near = [other for other in (present_type(name), present_type(re.sub("(?<=[a-z])(?=[A-Z])", "_", name).upper()))
            if other in known]
    near += [other for other in known if other.lower() == name.lower() or sorted(other) == sorted(name)]
    alike = [other for other in known if len(re.findall("[0-9]", other)) == len(re.findall("[0-9]", name))]
    return (near + difflib.get_close_matches(name, alike, 1, cutoff) + [None])[0]
