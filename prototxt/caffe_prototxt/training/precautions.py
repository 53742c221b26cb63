"""Precautions with nets that somebody else wrote: none writes a file, or runs code that nobody put on the path.

A net that a command makes only to look at it is made without the layers that write, and, where the user says so,
without those in Python. Modules that a net names are not imported from the current folder by accident.
"""
from __future__ import division, print_function

import collections
import os
import sys

from caffe_losses.compat import to_display

# The layers that write files, and the fields that say where. HDF5Output is Caffe's own; the others are of forks.
# An empty name is enough for all but DetectionOutput, which writes only where it has a folder (and empties that first).
WRITERS = {"HDF5Output": ("hdf5_output_param", "file_name"), "MatWrite": ("mat_write_param", "prefix"),
           "FLOWriter": ("writer_param", "folder"), "FloatWriter": ("writer_param", "folder"),
           "ImgWriter": ("writer_param", "folder"),
           "DetectionOutput": ("detection_output_param", "save_output_param", "output_directory")}


def left_out(graph, python=True):
    """Return the layers that a net must be made without, and why: {Node: reason}.

    graph: graph.Graph. python: bool, whether the classes of Python layers may run.
    """
    reasons = collections.OrderedDict()
    for node in graph.nodes:
        target = _target(node.layer) if node.type in WRITERS else None
        if target or node.type in WRITERS and node.type != "DetectionOutput":
            reasons[node] = "%s writes %s, and was left out" % (node.type, target or "files")
        elif node.type == "Python" and not python:
            reasons[node] = "is a Python layer, and was left out with --no-python"
    return reasons


def _target(layer):
    """Return where a layer writes, as a str to show, or None."""
    message, names = layer, WRITERS[layer.type]
    try:
        for name in names[:-1]:
            message = message and message.message(name)
        target = message and message.value(names[-1])
    except ValueError:  # Caffe's parser stops at such a text
        target = None
    return to_display(target) if isinstance(target, str) else None


def named_path(path):
    """Return a PYTHONPATH without the entries that mean the current folder, wherever that is.

    An empty entry is what PYTHONPATH=folder:$PYTHONPATH leaves where there was none: nobody asked for it. The current
    folder named in full stays: somebody wrote it, and `caffe train` imports from there, too.
    """
    return os.pathsep.join(entry for entry in path.split(os.pathsep) if os.path.normpath(entry or ".") != ".")


def drop_current_folder():
    """Take the current folder off the path of this process, unless PYTHONPATH names it in full.

    Python has made the empty entries of PYTHONPATH absolute by now, so that only PYTHONPATH tells which they were; the
    folder of the command, which Python puts first, goes too where it is the current one.
    """
    here, named = os.getcwd(), named_path(os.environ.get("PYTHONPATH", "")).split(os.pathsep)
    if here not in map(os.path.normpath, named):
        sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]
