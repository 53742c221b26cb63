#!/usr/bin/env python
"""Times H in files against caffe.io, and measures the memory that both take.

caffe.io: array_to_blobproto and SerializeToString, ParseFromString and
blobproto_to_array, which take the numbers one by one. Each measurement in a
process of its own, the median of the rounds; writing until the file is on the
disk, reading a file that is in the system's cache.
"""
from __future__ import division, print_function

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import timeit

os.environ.setdefault("GLOG_minloglevel", "2")
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(HERE)), "layers"))

import numpy as np

from caffe_losses.matrix_files import read_matrix, write_matrix

SIZES = [5000, 20000]
ENDINGS = [".binaryproto", ".caffemodel", ".lmdb", ".h5", ".npy"]
LARGE = 6000  # above, caffe.io takes minutes, and one kind of file tells enough


def caffe_io_write(path, matrix):
    import caffe.io
    blob = caffe.io.array_to_blobproto(matrix[np.newaxis, np.newaxis])
    with open(path, "wb") as file:
        file.write(blob.SerializeToString())
        file.flush()
        os.fsync(file.fileno())


def caffe_io_read(path):
    import caffe.io
    blob = caffe.io.caffe_pb2.BlobProto()
    with open(path, "rb") as file:
        blob.ParseFromString(file.read())
    return caffe.io.blobproto_to_array(blob)[0, 0]


ROW = "%-16s %-12s %-8s | %8s %8s %7s | %8s %8s %7s"
WAYS = {"ours": (write_matrix, read_matrix), "caffe.io": (caffe_io_write, caffe_io_read)}


def any_matrix(n, dtype):
    """Made in its place, so that it leaves no peak of memory behind."""
    matrix = np.empty((n, n), dtype)
    matrix[...] = np.random.RandomState(0).rand(n)
    return matrix


def peak_memory():
    return 1024 * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def measure(way, what, path, n, dtype, rounds):
    """(seconds, memory above the array itself in matrices of float32), in this process."""
    write, read = WAYS[way]
    for module in ["caffe.io"] * (way == "caffe.io") + ["h5py"] * path.endswith(".h5"):
        __import__(module)  # takes memory, too
    if what == "write":
        matrix = any_matrix(n, dtype)
        run, own = lambda: write(path, matrix), 0
    else:
        run, own = lambda: read(path), 4 * n * n
    before = peak_memory()
    times = [timeit.timeit(run, number=1)]
    memory = peak_memory() - before - own
    times += [timeit.timeit(run, number=1) for _ in range(rounds - 1)]
    return np.median(times), max(0, memory) / (4 * n * n)


def measure_apart(*arguments):
    """measure in a process of its own."""
    program = "import json, bench_matrix_files as bench; print(json.dumps(bench.measure(*%r)))" % (arguments,)
    found = [HERE, sys.path[0], os.environ.get("PYTHONPATH", "")]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(found))
    return json.loads(subprocess.check_output([sys.executable, "-c", program], env=environment).decode())


def report(n, rounds, folder):
    theirs = None
    if n <= LARGE:
        path = os.path.join(folder, "H.binaryproto")
        theirs = [measure_apart("caffe.io", what, path, n, "float32", 1) for what in ("write", "read")]
        numbers = [text for seconds, memory in theirs for text in ("%.3f" % seconds, "1", "%.2f" % memory)]
        print(ROW % (("%d x %d" % (n, n), "caffe.io", "float32") + tuple(numbers)))
    for ending in ENDINGS if n <= LARGE else ENDINGS[:1]:
        for dtype in ("float32", "float64"):
            if ending == ".npy" and dtype == "float64":
                continue  # is written and read as float64
            path = os.path.join(folder, "H" + ending)
            numbers = []
            for i, what in enumerate(("write", "read")):
                seconds, memory = measure_apart("ours", what, path, n, dtype, rounds)
                ratio = "%.0f" % (theirs[i][0] / seconds) if theirs else "-"
                numbers += ["%.3f" % seconds, ratio, "%.2f" % memory]
            print(ROW % (("%d x %d" % (n, n), ending, dtype) + tuple(numbers)))
            sys.stdout.flush()
            (shutil.rmtree if os.path.isdir(path) else os.unlink)(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", default=SIZES, type=int, metavar="L",
                        help="of H, L x L (default: %s)" % " ".join(map(str, SIZES)))
    parser.add_argument("--rounds", type=int, default=5, help="below L = %d, above one (default: %%(default)s)" % LARGE)
    parser.add_argument("--folder", help="where the files go (default: a temporary one)")
    args = parser.parse_args()
    print("times: caffe.io's time / ours. memory: above the array itself, in matrices of float32.\n")
    print(ROW % ("size of H", "file", "array", "write s", "times", "memory", "read s", "times", "memory"))
    folder = tempfile.mkdtemp(dir=args.folder)
    try:
        for n in args.sizes:
            report(n, args.rounds if n <= LARGE else 1, folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
