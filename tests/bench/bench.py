#!/usr/bin/env python
"""Runs the benchmarks, each in a process of its own, and makes their page.

results.json keeps the figures of all, RESULTS.md and results.png are made of it. With names
only those run again, and the figures of the others stay: bench.py losses growth
"""
from __future__ import division, print_function

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time

import benchmark  # first: it says where the packages are
import bench_page
import bench_picture
from caffe_losses.formats.atomic import atomic_write

PEERS = "peers"  # another Python has PyTorch: bench_peers.py --keep
NAMES = [name for name, _ in bench_page.BENCHES if name != PEERS]


def run(name):
    """Machine and figures of a benchmark, or None if it failed; what it said is on the terminal then."""
    handle, path = tempfile.mkstemp(suffix=".json")
    os.close(handle)
    try:
        script = os.path.join(benchmark.HERE, "bench_%s.py" % name)
        if subprocess.call([sys.executable, script, "--json", path]):
            return None
        return read(path)
    finally:
        os.unlink(path)


def read(path):
    with io.open(path, encoding="utf-8") as file:
        return json.load(file)


def write_page(folder, results):
    """RESULTS.md and results.png, of results that are complete."""
    benchmark.write_text(os.path.join(folder, "RESULTS.md"), bench_page.as_markdown(results))
    with atomic_write(os.path.join(folder, "results.png")) as file:
        bench_picture.draw(results, file)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of %s (default: all)" % ", ".join(NAMES))
    parser.add_argument("--page", action="store_true", help="run nothing: make the page of results.json again")
    parser.add_argument("--output", metavar="DIR", default=benchmark.HERE, help="(default: beside this script)")
    args = parser.parse_args()
    for name in args.names:
        if name not in NAMES:
            parser.error("expected a name of %s, got %s" % (", ".join(NAMES), name))
    path = os.path.join(args.output, "results.json")
    results = read(path) if os.path.exists(path) else {}
    failed = []
    todo = [] if args.page else [name for name in NAMES if name in args.names or not args.names]
    for i, name in enumerate(todo):
        start = time.time()
        print("%d of %d: %s" % (i + 1, len(todo), name))
        sys.stdout.flush()
        found = run(name)
        print("    %s, %.0f s" % ("done" if found else "FAILED", time.time() - start))
        if found:
            results[name] = found
            benchmark.write_json(path, results)
        else:
            failed.append(name)
    missing = [name for name in NAMES if name not in results]
    if missing:
        print("no page yet: there are no figures of %s" % ", ".join(missing))
    else:
        write_page(args.output, results)
        print("wrote %s" % os.path.join(args.output, "RESULTS.md"))
    return 1 if failed or missing else 0


if __name__ == "__main__":
    sys.exit(main())
