"""The package hands on its layers and modules by name, and imports them only then."""
from __future__ import division, print_function

import importlib
import os
import subprocess
import sys

import pytest

import caffe_losses


def test_modules_are_reached_from_the_package():
    program = ("import sys, caffe_losses\n"
               "assert not {'numpy', 'caffe'} & set(sys.modules)\n"
               "caffe_losses.metrics.rank_by_expected_cost\n"
               "caffe_losses.functional, caffe_losses.param_str.parse, caffe_losses.__version__\n"
               "from caffe_losses import class_trees, tally\n"
               "assert caffe_losses.tally is tally is sys.modules['caffe_losses.evaluation.tally']\n"
               "assert 'caffe' not in sys.modules")
    assert subprocess.call([sys.executable, "-c", program]) == 0


def test_every_public_module_is_listed():
    folder = os.path.dirname(caffe_losses.__file__)
    for name in caffe_losses.MODULES:
        assert getattr(caffe_losses, name) is importlib.import_module(
            "caffe_losses.%s.%s" % (caffe_losses.MODULES[name], name))
        assert name in dir(caffe_losses)
    for part in ("functional", "matrices", "evaluation"):
        listed = {name for name, of in caffe_losses.MODULES.items() if of == part}
        assert listed == {name[:-len(".py")] for name in os.listdir(os.path.join(folder, part))
                          if name.endswith(".py") and name != "__init__.py"}


@pytest.mark.parametrize("name", ["ComputeG", "loss_layers", "shells", "trees", "__all__"])
def test_an_unknown_name_is_an_attribute_error(name):
    with pytest.raises(AttributeError, match="has no attribute '%s'" % name):
        getattr(caffe_losses, name)


def test_layers_are_found_by_name_as_a_net_finds_them():
    caffe = pytest.importorskip("caffe")
    for name in caffe_losses.LAYERS:
        assert issubclass(getattr(caffe_losses, name), caffe.Layer) and name in dir(caffe_losses)
