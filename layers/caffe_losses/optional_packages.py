"""Import packages that need not be installed, and show progress with and without tqdm."""
from __future__ import division, print_function

import contextlib
import importlib
import pkgutil
import re
import sys
import types

# How pip calls a package whose name there is another; None: it has none.
_PIP_NAMES = {"PIL": "Pillow", "google": "protobuf", "caffe": None}


def optional(name, purpose, *others):
    """Import a package that need not be installed.

    name: str, as it is imported. purpose: str, what it is needed for. others: str, packages that do as well.
    Raises ImportError, which says how to install it.
    """
    got = "none"
    for candidate in (name,) + others:
        try:
            return importlib.import_module(candidate)
        except Exception as error:  # one of another version fails in its own ways
            if not isinstance(error, ImportError) or missing_package(error) != candidate:
                got = "one that cannot be imported (%s)" % " ".join(str(error).split())
    raise ImportError(_expected(name, others, ", for " + purpose, got))


def explain(error):
    """Return the message of an ImportError, or a text that ends with it; a missing package with how to install it."""
    name = missing_package(error)
    return str(error) if name is None else _expected(name)


def missing_package(error):
    """Return the name of the package whose absence an ImportError reports, or None if it reports something else."""
    found = re.match(r"(?:\w+Error: )?(?:No module named|import of) '?(\w+)(\.)?", str(error))
    if not found:
        return None
    name, inside = found.groups()
    module = sys.modules.get(name)
    return None if inside and module and not isinstance(module, _StandIn) else name


def _expected(name, others=(), purpose="", got="none"):
    pip = _PIP_NAMES.get(name, name)
    return "expected the Python package %s%s, got %s: %srun it by tools/with_caffe.sh" % (
        " or ".join((name,) + others), purpose, got, "pip install %s, or " % pip if pip else "")


def stand_in(name, purpose):
    """Put a module in place of a package that is missing, whose functions raise ImportError when they are called.

    So --help does without the package, though the modules that a command imports name it.
    """
    try:
        optional(name, purpose)
    except ImportError as error:
        sys.modules[name] = _StandIn(name, str(error))


class _StandIn(types.ModuleType):
    """A module that has every function, each of which raises ImportError."""

    def __getattr__(self, name):
        def missing(*_, **__):
            raise ImportError(self.__doc__)

        if name == "__version__":  # other packages look at it when they are imported
            missing()
        if name.startswith("__"):
            raise AttributeError(name)
        return missing


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


@contextlib.contextmanager
def progress_bar(total, unit, **options):
    """Show a tqdm bar over `total` units on standard error, if that is a terminal and tqdm is installed.

    options: more arguments for tqdm. The bar has `update(count)`.
    """
    try:
        if not sys.stderr or not sys.stderr.isatty():
            raise ImportError
        from tqdm import tqdm
    except ImportError:
        tqdm = _NoBar
    with contextlib.closing(tqdm(total=total, unit=unit, leave=False, **options)) as bar:
        yield bar


class _NoBar(object):
    """A bar that shows nothing."""

    def __init__(self, **_):
        self.update = self.close = lambda *_: None
