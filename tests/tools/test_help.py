"""The commands start in a process of their own, and the examples in their help run as a user would run them."""
from __future__ import division, print_function

import glob
import os
import re
import shlex
import sys

import numpy as np
import pytest

import real_nets
import training
import user_files
from caffe_losses.formats import matrix_files
from commands import run_main

pytest.importorskip("caffe")

FOLDER = os.path.join(real_nets.CHECKOUT, "tools")
TOOLS = sorted(os.path.basename(path) for path in glob.glob(os.path.join(FOLDER, "*.py")))
# What a user starts, without PYTHONPATH. --help is there at once: nothing slow is imported, and numpy is not needed.
HELP = """
import runpy, sys
sys.modules["numpy"] = None
sys.argv = [%r, "--help"]
sys.path[0] = %r
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    assert not {"caffe", "h5py", "lmdb", "matplotlib", "PIL", "scipy", "tqdm"} & set(sys.modules), sorted(sys.modules)
"""


def examples(help_text):
    (block,) = re.findall(r"\nexamples:\n((?:  .*\n)+)", help_text)
    return [shlex.split(line) for line in block.splitlines()]


def test_the_commands_are_found():
    assert TOOLS == ["check_net.py", "compare.py", "inspect_h.py", "make_deploy.py", "make_h.py", "make_net.py", "report.py",
                     "use_loss.py"]


@pytest.mark.parametrize("tool", TOOLS)
def test_starts_from_a_checkout(tool, tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    program = HELP % (os.path.join(FOLDER, tool), FOLDER)
    status, out, err = real_nets.run([sys.executable, "-c", program], cwd=str(tmp_path), env=environment)
    assert status == 0 and not err and out.startswith("usage: " + tool), err


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.scores
def test_examples(tool, tmp_path):
    folder = str(tmp_path)
    user_files.write(folder)
    for name in ("infogainH.binaryproto", "H.h5"):
        matrix_files.write_matrix(os.path.join(folder, name), np.eye(3) + .125)
    if tool == "report.py":
        assert training.train(folder) == 0
    if tool == "compare.py":
        user_files.write_unbalanced(folder)
    if tool == "make_deploy.py":
        assert real_nets.run(["caffe", "train", "-solver", "solver.prototxt"], cwd=folder)[0] == 0
    status, help_text, err = run_main(tool, "--help")
    assert status == 0 and not err
    for line in examples(help_text):
        assert line[0] == tool
        status, out, err = run_main(*line, cwd=folder)
        # compare.py says on standard error how far it is, and what is missing for --print-jobs.
        assert status == 0 and (out + err if tool == "compare.py" else out and not err), (line, err)
