"""What the commands share: where the packages are, and errors in one line."""
from __future__ import division, print_function

import argparse
import os
import sys

CHECKOUT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(CHECKOUT, name) for name in ("layers", "prototxt")]


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line."""

    def __init__(self, **options):
        super(Parser, self).__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message):
        self.exit(2, "%s: error: %s (--help shows examples)\n" % (self.prog, " ".join(message.split())))


def run(main):
    """Run a command; an error in what it was given is one line and exit status 2."""
    try:
        main()
    except (ValueError, IOError, OSError, ImportError) as error:
        sys.stderr.write("%s: error: %s\n" % (os.path.basename(sys.argv[0]), " ".join(str(error).split())))
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
