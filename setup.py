"""Installs the packages caffe_losses and caffe_prototxt, and the commands."""
from __future__ import division, print_function

import glob
import io
import os
import re

from setuptools import find_packages, setup

ROOTS = (("layers", "caffe_losses"), ("prototxt", "caffe_prototxt"), ("tools", "caffe_tools"))
HERE = os.path.dirname(os.path.abspath(__file__))
# What some commands and files need; each says so where it is missing.
EXTRAS = {"hdf5": ["h5py"], "lmdb": ["lmdb"], "leveldb": ["plyvel"], "images": ["Pillow"], "pictures": ["matplotlib"],
          "embeddings": ["scipy"], "progress": ["tqdm"]}
EXTRAS["all"] = sorted(sum(EXTRAS.values(), []))

with io.open(os.path.join(HERE, "layers", "caffe_losses", "__init__.py"), encoding="utf-8") as file:
    VERSION = re.search('__version__ = "(.*)"', file.read()).group(1)

setup(
    name="caffe-losses",
    version=VERSION,
    description="Loss layers for Caffe that know how bad a mistake is, and the tools around them",
    license="BSD-2-Clause",
    package_dir={root: folder + "/" + root for folder, root in ROOTS},
    packages=[".".join(part for part in (root, inner) if part) for folder, root in ROOTS
              for inner in [""] + find_packages(folder + "/" + root)],
    scripts=sorted(glob.glob("tools/*.py")),
    python_requires=">=2.7, !=3.0.*, !=3.1.*, !=3.2.*, !=3.3.*, !=3.4.*, !=3.5.*",
    # Without versions, so that those that the user's Caffe was built with satisfy them: a second one breaks it.
    install_requires=["numpy", "protobuf"],
    extras_require=EXTRAS,
)
