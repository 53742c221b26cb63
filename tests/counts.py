"""The number of examples that the tests try, and of calls that a function makes."""
from __future__ import division, print_function

import os
import sys

ALL = bool(os.environ.get("CAFFE_LOSSES_TEST_ALL"))


def examples(n):
    """Return n in `make test-all`; in `make test` a twentieth of it, at least 5."""
    return n if ALL else min(n, max(n // 20, 5))


def calls(function, *arguments):
    """Count the calls, of Python's functions and C's, that function(*arguments) makes: a time that no load changes."""
    n = [0]

    def count(frame, event, argument):
        n[0] += event in ("call", "c_call")
    sys.setprofile(count)
    try:
        function(*arguments)
    finally:
        sys.setprofile(None)
    return n[0]
