"""Rules that hold for every source file, whatever it does."""
from __future__ import division, print_function

import io
import os
import sys

import pytest

import real_nets

FOLDERS = ("layers", "prototxt", "tools", "examples", "tests")
SOURCES = sorted(os.path.join(folder, name) for top in FOLDERS
                 for folder, _, names in os.walk(os.path.join(real_nets.CHECKOUT, top))
                 for name in names if name.endswith(".py") and os.sep + "output" not in folder)


def test_compiles_on_python_2():
    program = "import sys\nfor name in sys.argv[1:]: compile(open(name).read(), name, 'exec')"
    try:
        missing = real_nets.run(["python2.7", "-c", ""])[0]
    except OSError:
        missing = True
    if missing:
        pytest.skip("there is no python2.7")
    status, _, err = real_nets.run(["python2.7", "-c", program] + SOURCES)
    assert status == 0, err


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: os.path.relpath(path, real_nets.CHECKOUT))
def test_division_is_that_of_python_3(path):
    with io.open(path, encoding="utf-8") as file:
        text = file.read()
    assert "from __future__ import division, print_function\n" in text or not text.count("\nimport ")


def test_the_mathematics_needs_no_caffe():
    modules = [path.replace(os.sep, ".")[path.index("caffe_losses"):-len(".py")] for path in SOURCES
               if "layers/caffe_losses/" in path.replace(os.sep, "/") and not path.endswith(("_layers.py", "__init__.py"))]
    program = ("import sys, importlib\nsys.modules['caffe'] = sys.modules['google'] = None  # importing them fails\n"
               "for name in sys.argv[1:]: importlib.import_module(name)")
    status, _, err = real_nets.run([sys.executable, "-c", program] + modules)
    assert status == 0, err
