"""Nets for the tests, in the real Caffe."""
from __future__ import division, print_function

import json
import os
import subprocess
import sys
import tempfile

import numpy as np

from caffe_losses.compat import quote

CHECKOUT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def quoted(command):
    """Return a command of tools/ as the others print it for a shell: a checkout may have a blank in its path."""
    return quote(os.path.join(CHECKOUT, "tools", command))


def net(text, phase="TRAIN"):
    """A caffe.Net from the text of a prototxt."""
    import caffe
    with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
        file.write(text)
        file.flush()
        return caffe.Net(file.name, getattr(caffe, phase))


def input_layer(**shapes):
    """An Input layer with a top of each name and shape."""
    tops = sorted(shapes)
    return 'layer { name: "input" type: "Input" %s input_param { %s } }\n' % (
        " ".join('top: "%s"' % top for top in tops),
        " ".join("shape { %s }" % " ".join("dim: %d" % n for n in shapes[top]) for top in tops))


def learned(bottom, top):
    """A layer that adds a learned scalar, 0: what comes after it is asked for gradients."""
    return ('layer { name: "%s" type: "Bias" bottom: "%s" top: "%s" bias_param { axis: 0 num_axes: 0 } }\n'
            % (top, bottom, top))


def python_layer(layer, bottoms, tops, param=None, more="", name=None, module="caffe_losses"):
    """One of our layers, or of another module's; `param` is a dict, or the text of param_str."""
    text = param if isinstance(param, str) else json.dumps(param or {})
    return 'layer { name: "%s" type: "Python" %s %s python_param { module: "%s" layer: "%s" ' \
        "param_str: %s } %s }\n" % (
            name or tops[0], " ".join('bottom: "%s"' % b for b in bottoms),
            " ".join('top: "%s"' % t for t in tops), module, layer, json.dumps(text), more)


def run(command, **options):
    """(exit status, standard output, standard error) of a command."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               universal_newlines=True, **options)
    out, err = process.communicate()
    return process.returncode, out, err


def tool(name, *arguments, **options):
    """Run one of the commands in tools/."""
    return run([sys.executable, os.path.join(CHECKOUT, "tools", name)] + [str(a) for a in arguments],
               **options)


def cut(path, size):
    """Cut a file off after `size` bytes; Python 2 has no os.truncate."""
    with open(path, "r+b") as file:
        file.truncate(size)


def random_scores(shape, seed=0, scale=3):
    return (np.random.RandomState(seed).randn(*shape) * scale).astype(np.float32)
