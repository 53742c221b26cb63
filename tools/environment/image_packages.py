"""Install what the tests and the example need and this Python lacks: python tools/environment/image_packages.py FOLDER

What is missing goes into FOLDER, with all that it needs in versions known to fit; put it on PYTHONPATH. What the image
has is not touched: numpy and protobuf above all are those that its Caffe was built with, and pip would bring others.
"""
from __future__ import division, print_function

import importlib
import io
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
PINS = os.path.join(HERE, "image_python2.7.txt" if sys.version_info[0] == 2 else "image_python3.txt")
VERSIONS = os.path.join(HERE, "caffe_py27.txt")  # of those that stand in PINS without


def main(folder):
    options, sections = parse(read(PINS), read(VERSIONS))
    missing = [name for name in sections if not is_there(name)]
    print("image_packages: missing: %s" % (" ".join(missing) or "nothing"))
    if not missing:
        return 0
    if subprocess.call([sys.executable, "-m", "pip", "--version"]):
        sys.stderr.write("image_packages: error: %s has no pip either\n" % sys.executable)
        return 2
    pins = sorted(set(pin for name in missing for pin in sections[name]))  # some need the same
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(options + "".join(pins))
        file.flush()
        subprocess.check_call([sys.executable, "-m", "pip", "install", "--target", folder, "--no-deps",
                               "--no-cache-dir", "--disable-pip-version-check", "--require-hashes", "-r", file.name])
    entries = [entry for entry in [os.environ.get("PYTHONPATH"), folder] if entry]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(entries))
    return subprocess.call([sys.executable, "-c", "import caffe, " + ", ".join(sections)], env=environment)


def read(path):
    with io.open(path, encoding="utf-8") as file:
        return file.read()


def parse(text, versions):
    """The options of a file of pins, and a dict: what is needed, and its pins with those of all that it needs."""
    head, _, rest = text.partition("\n# For ")
    options = "".join(line + "\n" for line in head.splitlines() if line.startswith("--"))
    pinned = dict(re.findall("^(.*?)(==.*\n)", versions, re.M))
    sections = {}
    for section in rest.split("\n# For "):
        name, _, pins = section.partition("\n")
        sections[name] = [pin if "==" in pin else pin.strip() + pinned[pin.strip()]
                          for pin in re.findall(r"^\S.*(?:\n    .*)*\n", pins + "\n", re.M)]
    return options, sections


def is_there(name):
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
