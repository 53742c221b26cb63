#!/usr/bin/env python
"""Times H in files against caffe.io, and measures the memory that both take.

caffe.io: array_to_blobproto and SerializeToString, ParseFromString and
blobproto_to_array, which take the numbers one by one. Each measurement in a
process of its own, the median of the rounds; writing until the file is on the
disk, reading a file that is in the system's cache.
"""
from __future__ import division, print_function

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import timeit

os.environ.setdefault("GLOG_minloglevel", "2")

import benchmark  # first: it says where the packages are
import numpy as np

from caffe_losses.formats.matrix_files import read_matrix, write_matrix
from tables import Part, Table
from timing import Ratio, findings, number, quartiles, ratio_cell, rounded, time_cell
from tqdm import tqdm

SIZES = [5000, 20000]
ENDINGS = [".binaryproto", ".caffemodel", ".lmdb", ".h5", ".npy"]
COMPETITOR = "caffe.io"
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


WAYS = {"ours": (write_matrix, read_matrix), COMPETITOR: (caffe_io_write, caffe_io_read)}


def any_matrix(n, dtype):
    """Return a matrix that is made in its own memory, so that no peak of memory is left behind."""
    matrix = np.empty((n, n), dtype)
    matrix[...] = np.random.RandomState(0).rand(n)
    return matrix


def check(matrix, n):
    """Check that a matrix is the one of any_matrix, as float32 holds it."""
    row = np.random.RandomState(0).rand(n).astype(np.float32)
    assert matrix.shape == (n, n) and all(np.array_equal(own, row) for own in matrix)


def peak_memory():
    return 1024 * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def measure(way, what, path, n, dtype, rounds):
    """Return (seconds of each round, memory above the array itself in matrices of float32), in this process."""
    write, read = WAYS[way]
    for module in ["caffe.io"] * (way == COMPETITOR) + ["h5py"] * path.endswith(".h5"):
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
    if what == "read":
        check(read(path), n)
    return times, max(0, memory) / (4 * n * n)


def measure_apart(*arguments):
    """Run `measure` in a child process."""
    program = "import json, bench_matrix_files as bench; print(json.dumps(bench.measure(*%r)))" % (arguments,)
    found = [benchmark.HERE] + [entry for entry in [os.environ.get("PYTHONPATH")] if entry]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(found))
    return json.loads(subprocess.check_output([sys.executable, "-c", program], env=environment).decode())


def kinds(n):
    """Return (ending, dtype) of the arrays and files that are measured at a size."""
    return [(ending, dtype) for ending in (ENDINGS if n <= LARGE else ENDINGS[:1])
            for dtype in ("float32", "float64") if (ending, dtype) != (".npy", "float64")]  # it is read as float64


def both_ways(way, path, n, dtype, rounds):
    """Return {"write": {"seconds": of each round, "memory": in matrices}, "read": the same}."""
    found = {}
    for what in ("write", "read"):
        seconds, memory = measure_apart(way, what, path, n, dtype, rounds)
        found[what] = {"seconds": seconds, "memory": rounded(memory)}
    (shutil.rmtree if os.path.isdir(path) else os.unlink)(path)
    return found


def measure_size(n, rounds, folder, update):
    theirs = None
    if n <= LARGE:
        theirs = both_ways(COMPETITOR, os.path.join(folder, "H.binaryproto"), n, "float32", 1)
        yield _row(n, COMPETITOR, "float32", theirs, None)
        update()
    for ending, dtype in kinds(n):
        ours = both_ways("ours", os.path.join(folder, "H" + ending), n, dtype, rounds if n <= LARGE else 1)
        yield _row(n, ending, dtype, ours, theirs)
        update()


def _row(n, kind, dtype, found, theirs):
    row = {"size": n, "file": kind, "array": dtype, "ratios": {}}
    for what, of_one in found.items():
        row[what] = {"seconds": quartiles(of_one["seconds"]), "memory": of_one["memory"]}
        if theirs:
            row["ratios"][what] = quartiles([theirs[what]["seconds"][0] / seconds for seconds in of_one["seconds"]])
    return row


def figures(sizes=SIZES, rounds=5, folder=None):
    """folder: where the files go; None: a temporary one of the system's."""
    folder = tempfile.mkdtemp(dir=folder)
    try:
        total = sum(len(kinds(n)) + (n <= LARGE) for n in sizes)
        with tqdm(total=total, desc="matrix_files", disable=None) as bar:
            rows = [row for n in sizes for row in measure_size(n, rounds, folder, bar.update)]
        return {"rounds": rounds, "rows": rows}
    finally:
        shutil.rmtree(folder)


def all_ratios(found):
    return [Ratio(doing, "%d x %d, %s, %s" % (row["size"], row["size"], row["file"], row["array"]), COMPETITOR,
                  row["ratios"][what], 1e6 * row[what]["seconds"][1])
            for what, doing in (("write", "writing H"), ("read", "reading H"))
            for row in found["rows"] if row["ratios"]]


def part(found):
    introduction = (
        "H in files against caffe.io: array_to_blobproto and SerializeToString, ParseFromString and blobproto_to_array. "
        "Each measurement in a process of its own; writing until the file is on the disk, reading a file that is in "
        "memory; what is read is compared with what was written. Ratio: caffe.io's time for a .binaryproto of float32 / "
        "ours, above 1 ours is faster; median of %d rounds of ours (sizes above %d: one), in brackets the quartiles, all "
        "against the same single measurement of caffe.io, whose own spread they do not show. Memory: above the "
        "array itself, in matrices of float32." % (found["rounds"], LARGE))
    rows = [["size of H", "file", "array", "writing: caffe.io/ours", "s", "memory",
             "reading: caffe.io/ours", "s", "memory"]]
    for row in found["rows"]:
        rows.append(["%d x %d" % (row["size"], row["size"]), row["file"], row["array"]]
                    + [cell for what in ("write", "read") for cell in (
                        ratio_cell(row["ratios"].get(what)), time_cell(row[what]["seconds"]),
                        number(row[what]["memory"], "%.2f"))])
    return Part("H in files", introduction, [Table("Files", rows)], list(findings(all_ratios(found))))


def main():
    parser = benchmark.parser_of(__doc__, 5)
    parser.add_argument("sizes", nargs="*", default=SIZES, type=int, metavar="L",
                        help="of H, L x L (default: %s)" % " ".join(map(str, SIZES)))
    parser.add_argument("--folder", help="where the files go (default: a temporary one)")
    args = parser.parse_args()
    benchmark.show(sys.modules[__name__], figures(args.sizes, args.rounds, args.folder), args)


if __name__ == "__main__":
    main()
