"""The examples in the commands' help, run as a user would."""
from __future__ import division, print_function

import glob
import os
import re
import shlex

import numpy as np
import pytest

import real_nets
import training
import user_files
from caffe_losses.formats import matrix_files

pytest.importorskip("caffe")

TOOLS = sorted(os.path.basename(path) for path in glob.glob(os.path.join(real_nets.CHECKOUT, "tools", "*.py"))
               if "argparse" in open(path).read() or "command.Parser" in open(path).read())


def examples(tool):
    with open(os.path.join(real_nets.CHECKOUT, "tools", tool)) as file:
        (block,) = re.findall(r"\nexamples:\n((?:  .*\n)+)", file.read())
    return [shlex.split(line) for line in block.splitlines()]


def test_the_commands_are_found():
    assert {"make_h.py", "make_net.py", "inspect_h.py", "check_net.py", "make_deploy.py"} <= set(TOOLS)


@pytest.mark.parametrize("tool", TOOLS)
def test_examples(tool, tmp_path):
    folder = str(tmp_path)
    user_files.write(folder)
    for name in ("infogainH.binaryproto", "H.h5"):
        matrix_files.write_matrix(os.path.join(folder, name), np.eye(3) + .125)
    if tool == "report.py":
        assert training.train(folder) == 0
    lines = examples(tool)
    assert lines
    for line in lines:
        assert line[0] == tool
        status, out, err = real_nets.tool(*line, cwd=folder)
        assert status == 0 and out and not err, (line, err)
        status, help_text, _ = real_nets.tool(tool, "--help")
        assert status == 0 and "  " + line[0] in help_text
