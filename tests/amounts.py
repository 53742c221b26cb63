"""How many cases a test runs."""
from __future__ import division, print_function

import os


def amount(few, many):
    """Return `few`, or `many` if all tests are to run (CAFFE_LOSSES_TEST_ALL)."""
    return many if os.environ.get("CAFFE_LOSSES_TEST_ALL") else few
