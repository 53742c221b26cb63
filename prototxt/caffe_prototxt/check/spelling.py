"""Tell a misspelt name, at which Caffe stops, from one that a fork of Caffe may have."""
from __future__ import division, print_function

import difflib
import re

from caffe_losses.compat import to_display
from caffe_prototxt.check.faults import ERROR, UNCHECKED
from caffe_prototxt.net.nets import present_type


def unknown(stated, name, known, cutoff=.75):
    """Return (ERROR, message) for a name that is misspelt, else (UNCHECKED, message), as it may be a fork's.

    stated: what is said of the layer, with %s for the name. known: the names that there are.
    cutoff: how alike two names must be for one to be meant, as difflib has it.
    """
    near = nearest(name, known, cutoff)
    # Lstm is a fork's, lstm is nobody's.
    alike = near is not None and near.lower() == name.lower() and name not in (name.lower(), name.upper())
    meant = "a fork's" if near is None else near + ", or a fork's" * alike
    message = "%s, which this Caffe does not have, and stops at; is it %s?" % (stated % to_display(name), meant)
    return UNCHECKED if near is None or alike else ERROR, message


def nearest(name, known, cutoff=.75):
    """Return the name of those known that a misspelt one means, or None."""
    near = [other for other in (present_type(name), present_type(re.sub("(?<=[a-z])(?=[A-Z])", "_", name).upper()))
            if other in known]
    near += [other for other in known if other.lower() == name.lower() or sorted(other) == sorted(name)]
    alike = [other for other in known if len(re.findall("[0-9]", other)) == len(re.findall("[0-9]", name))]
    return (near + difflib.get_close_matches(name, alike, 1, cutoff) + [None])[0]
