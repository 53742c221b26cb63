"""Import packages that need not be installed, and show progress with and without tqdm."""
from __future__ import division, print_function

import contextlib
import importlib
import pkgutil
import sys

_PIP_NAMES = {"PIL": "Pillow"}


def optional(name, purpose, *others):
    """Import a package that need not be installed.

    name: str, as it is imported. purpose: str, what it is needed for. others: str, packages that do as well.
    Raises ImportError, which says how to install it.
    """
    for candidate in (name,) + others:
        try:
            return importlib.import_module(candidate)
        except ImportError:
            pass
    raise ImportError("expected the Python package %s, for %s, got none: pip install %s"
                      % (" or ".join((name,) + others), purpose, _PIP_NAMES.get(name, name)))


def has_package(name):
    """Return whether a package can be found, without importing it."""
    if str is bytes:  # Python 2
        return pkgutil.find_loader(name) is not None
    from importlib.util import find_spec
    found = find_spec(name)
    return found is not None and found.has_location  # a mere folder of that name has none


def progress(steps, total=None, unit="it", size=lambda step: 1):
    """Yield the steps; a `progress_bar` shows how many are done.

    total: int, the sum of all sizes; None if it is not known. size: function of a step, how many of `unit` it is.
    """
    with progress_bar(total, unit, unit_scale=True) as bar:
        for step in steps:
            yield step
            bar.update(size(step))


class _NoBar(object):
    """A bar that shows nothing."""

    def update(self, count=1):
        pass


@contextlib.contextmanager
def progress_bar(total, unit, **options):
    """Show a tqdm bar over `total` units on standard error, if that is a terminal and tqdm is installed.

    options: more arguments for tqdm. The bar has `update(count)`.
    """
    tqdm = None
    if sys.stderr and sys.stderr.isatty():
        try:
            from tqdm import tqdm
        except ImportError:
            pass
    if tqdm is None:
        yield _NoBar()
    else:
        with tqdm(total=total, unit=unit, leave=False, **options) as bar:
            yield bar
