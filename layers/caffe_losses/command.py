"""What the commands share: errors in one line, and exit status 2 for them."""
from __future__ import division, print_function

import argparse
import os
import sys


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that keeps the lines of its description, and whose errors are one line."""

    def __init__(self, **options):
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super(Parser, self).__init__(**options)

    def error(self, message):
        self.exit(2, "%s: error: %s (--help shows an example)\n" % (self.prog, one_line(message)))


def run(main, errors=(ValueError, EnvironmentError, ImportError)):
    """Run a command: main(), with each of `errors` as one line and exit status 2."""
    try:
        main()
    except errors as error:
        sys.stderr.write("%s: error: %s\n" % (os.path.basename(sys.argv[0]), one_line(error)))
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def one_line(message):
    return " ".join(str(message).split())
