"""Name the file, line or record in errors."""
from __future__ import division, print_function

import contextlib


@contextlib.contextmanager
def naming(name, failure=""):
    """Put a name in front of ValueErrors and of errors of the system, which become IOErrors.

    name: str; an empty one is shown as ''. failure: str, what the system could not do, for instance "cannot be read: ".
    """
    name = name or "''"
    try:
        yield
    except EnvironmentError as error:
        raise IOError("%s: %s%s" % (name, failure, error.strerror or error))
    except ValueError as error:
        raise ValueError("%s: %s" % (name, error))
