"""What the commands share: errors in one line, and exit status 2 for them."""
from __future__ import division, print_function

import argparse
import io
import os
import sys


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that keeps the lines of its description, and whose errors are one line."""

    def __init__(self, **options):
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super(Parser, self).__init__(**options)

    def error(self, message):
        self.exit(2, "%s: error: %s (--help shows an example)\n" % (self.prog, one_line(message)))


def run(main):
    """Run a command: an error in what it was given is one line and exit status 2."""
    try:
        main()
    except (ValueError, EnvironmentError, ImportError, MemoryError) as error:
        message = one_line(error) or "not enough memory"
        sys.stderr.write("%s: error: %s\n" % (os.path.basename(sys.argv[0]), message))
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def read_text(path):
    """The text of a user's file, UTF-8 with or without a mark, as str on every Python.

    Raises IOError or ValueError, naming the file.
    """
    try:
        with io.open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except EnvironmentError as error:
        raise IOError("%s: cannot be read: %s" % (path, error.strerror))
    except ValueError:
        raise ValueError("%s: expected text in UTF-8, got something else" % path)
    return text if isinstance(text, str) else text.encode("utf-8")


def one_line(message):
    return " ".join(str(message).split())
