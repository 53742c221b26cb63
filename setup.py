"""Installs the packages caffe_losses and caffe_prototxt, and the commands."""
from __future__ import division, print_function

from setuptools import find_packages, setup

ROOTS = (("layers", "caffe_losses"), ("prototxt", "caffe_prototxt"), ("tools", "caffe_tools"))

setup(
    name="caffe-losses",
    version="0.1.0",
    description="Loss layers for Caffe that know how bad a mistake is, and the tools around them",
    license="BSD-2-Clause",
    package_dir={root: folder + "/" + root for folder, root in ROOTS},
    packages=[".".join(part for part in (root, inner) if part) for folder, root in ROOTS
              for inner in [""] + find_packages(folder + "/" + root)],
    scripts=["tools/check_net.py", "tools/inspect_h.py", "tools/make_deploy.py", "tools/make_h.py", "tools/make_net.py",
             "tools/report.py", "tools/use_loss.py"],
    python_requires=">=2.7, !=3.0.*, !=3.1.*, !=3.2.*, !=3.3.*, !=3.4.*, !=3.5.*",
    # No requirements: numpy, scipy and protobuf are those that the user's Caffe was built with,
    # and a second one of any breaks it.
)
