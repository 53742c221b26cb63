from __future__ import division, print_function

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOTS = [os.path.join(os.path.dirname(HERE), name) for name in ("layers", "prototxt")]

sys.path[:0] = ROOTS + [HERE]
# What a test runs (caffe train, the commands) finds the packages too.
os.environ["PYTHONPATH"] = os.pathsep.join(ROOTS + [p for p in [os.environ.get("PYTHONPATH")] if p])
os.environ.setdefault("GLOG_minloglevel", "2")  # Caffe logs every layer it makes
os.environ.setdefault("MPLBACKEND", "Agg")
