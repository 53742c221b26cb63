"""Import packages that need not be installed."""
from __future__ import division, print_function

import importlib
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


def progress(steps, total=None, unit="it", size=lambda step: 1):
    """Yield the steps; a bar on the terminal shows how many are done, if there are a terminal and tqdm.

    total: int, the sum of all sizes; None if it is not known. size: function of a step, how many of `unit` it is.
    """
    with progress_bar(total, unit, unit_scale=True) as bar:
        for step in steps:
            yield step
            bar.update(size(step))


def progress_bar(total, unit, **options):
    """Return a bar of tqdm's on standard error; without a terminal or tqdm, one that shows nothing.

    total: int, or None if it is not known. options: more arguments for tqdm.
    The bar is a context manager with `update(count)` and `total`.
    """
    if not (sys.stderr and sys.stderr.isatty()):
        return _NoBar()
    try:
        import tqdm
    except ImportError:
        return _NoBar()
    return tqdm.tqdm(total=total, unit=unit, leave=False, **options)


class _NoBar(object):
    """A progress bar that shows nothing."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def update(self, count=1):
        """Do nothing."""
