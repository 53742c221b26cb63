"""setup.py installs the packages and the commands, and nothing else."""
from __future__ import division, print_function

import os
import shutil
import sys

import pytest

import caffe_losses
import real_nets


def test_install(tmp_path):
    pytest.importorskip("setuptools")
    source, target = str(tmp_path / "source"), str(tmp_path / "target")
    for name in ("layers", "prototxt", "tools"):
        shutil.copytree(os.path.join(real_nets.CHECKOUT, name), os.path.join(source, name))
    shutil.copy(os.path.join(real_nets.CHECKOUT, "setup.py"), source)
    status, _, err = real_nets.run([sys.executable, "setup.py", "-q", "install", "--root", target, "--prefix", "/here",
                                    "--install-lib", "/here/lib", "--single-version-externally-managed"], cwd=source)
    assert status == 0, err
    lib, scripts = os.path.join(target, "here", "lib"), os.path.join(target, "here", "bin")
    assert sorted(os.listdir(scripts)) == ["check_net.py", "compare.py", "inspect_h.py", "make_deploy.py", "make_h.py",
                                           "make_net.py", "report.py", "use_loss.py"]
    (info,) = [name for name in os.listdir(lib) if name.endswith(".egg-info")]
    assert info.startswith("caffe_losses-%s-" % caffe_losses.__version__)
    with open(os.path.join(lib, info, "requires.txt")) as file:
        assert file.read().startswith("numpy\nprotobuf\n\n[all]\nPillow\nh5py\nlmdb\nmatplotlib\nplyvel\nscipy\ntqdm\n")
    environment = dict(os.environ, PYTHONPATH=lib)
    status, out, err = real_nets.run([sys.executable, os.path.join(scripts, "make_h.py"), "--counts", "3,1", "-o",
                                      "H.npy"], cwd=str(tmp_path), env=environment)
    assert status == 0 and os.path.exists(str(tmp_path / "H.npy")), err
    program = ("import caffe_losses.functional.losses, caffe_prototxt.net.nets, caffe_tools.report.html; "
               "print(caffe_losses.__file__, caffe_prototxt.__file__, caffe_tools.__file__)")
    status, out, err = real_nets.run([sys.executable, "-c", program], cwd=str(tmp_path), env=environment)
    assert status == 0 and out.count(lib) == 3, (out, err)
