#!/usr/bin/env python
"""Times counting the labels of an LMDB against the loop with caffe_pb2.Datum that people write.

Each count runs in a process of its own, ours and the loop's in turn; the median of the
rounds. Where the file is in memory, the seconds are those of the processor, which other
programs disturb less. Cold: the file is not in memory, the seconds are the clock's, and the
share of its pages that are in memory afterwards says how much was read.
"""
from __future__ import division, print_function

import argparse
import collections
import ctypes
import json
import mmap
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
CHECKOUT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(CHECKOUT, "prototxt")]

import numpy as np

LIBC = ctypes.CDLL(None)
DONTNEED = 4  # POSIX_FADV_DONTNEED
WARM, COLD = False, True
BARS = {"60,000 of 1x28x28": 3, "5,000 of 3x256x256": 30}


def write(path, n, shape=None, lengths=None):
    """n Datums of a shape, or of encoded images (random bytes) of these lengths."""
    import lmdb
    from caffe.proto import caffe_pb2
    rng = np.random.RandomState(0)
    longest = lengths[1] if lengths else int(np.prod(shape))
    noise = rng.bytes(2 * longest)
    environment = lmdb.open(path, map_size=2 ** 40)
    for first in range(0, n, 1000):
        with environment.begin(write=True) as transaction:
            for i in range(first, min(first + 1000, n)):
                start, label = rng.randint(longest), rng.randint(10)
                if lengths:
                    datum = caffe_pb2.Datum(data=noise[start:start + rng.randint(*lengths)], label=label, encoded=True)
                else:
                    datum = caffe_pb2.Datum(data=noise[start:start + longest], label=label)
                    datum.channels, datum.height, datum.width = shape
                transaction.put(b"%08d" % i, datum.SerializeToString())
    environment.close()


def loop(path):
    import lmdb
    from caffe.proto import caffe_pb2
    datum, counts = caffe_pb2.Datum(), collections.Counter()
    start = cpu_and_wall()
    with lmdb.open(path, readonly=True, lock=False).begin() as transaction:
        for _, value in transaction.cursor():
            datum.ParseFromString(value)
            counts[datum.label] += 1
    return (cpu_and_wall() - start).tolist(), dict(counts)


def ours(path):
    import tqdm  # noqa: F401: as caffe_pb2 is before the loop
    from caffe_prototxt import datums, labels  # noqa: F401
    start = cpu_and_wall()
    found = labels.count_source(path)
    return (cpu_and_wall() - start).tolist(), dict(zip(found.values.tolist(), found.counts.tolist()))


def cpu_and_wall():
    return np.array([sum(resource.getrusage(resource.RUSAGE_SELF)[:2]), time.time()])


def mapped(path):
    """An LMDB's file, and its content as an array."""
    file = open(os.path.join(path, "data.mdb"), "rb")
    array = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    return file, array


def forget(path):
    """Take a file out of memory."""
    file, _ = mapped(path)
    os.fsync(file.fileno())
    LIBC.posix_fadvise(file.fileno(), ctypes.c_int64(0), ctypes.c_int64(0), DONTNEED)
    file.close()


def share_in_memory(path):
    file, array = mapped(path)
    pages = (ctypes.c_ubyte * ((len(array) + mmap.PAGESIZE - 1) // mmap.PAGESIZE))()
    if LIBC.mincore(ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(len(array)), pages):
        raise OSError("mincore failed")
    file.close()
    return (np.frombuffer(pages, np.uint8) & 1).mean()


def in_a_process(what, path, cold=False):
    """(seconds, counts, MB of memory at the peak, share of the file in memory after it) of a count."""
    if cold:
        forget(path)
        assert share_in_memory(path) < .01, "the file could not be taken out of memory"
    out = subprocess.check_output([sys.executable, os.path.abspath(__file__), "--count", what, path])
    seconds, counts, memory = json.loads(out.decode().splitlines()[-1])
    return seconds[cold], counts, memory, share_in_memory(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--cold", type=int, default=5000, metavar="N",
                        help="records of 3x256x256 in the cold file (default: %(default)s, 1 GB)")
    parser.add_argument("--folder", help="where the files go, for instance on another disk")
    parser.add_argument("--count", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.count:
        seconds, counts = {"ours": ours, "loop": loop}[args.count[0]](args.count[1])
        print(json.dumps([seconds, sorted(counts.items()), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
        return
    folder = tempfile.mkdtemp(dir=args.folder)
    try:
        bench(folder, args)
    finally:
        shutil.rmtree(folder)


def bench(folder, args):
    row = "%-34s %9s %9s %7s %7s %12s %12s"
    print(row % ("records", "loop, s", "ours, s", "ratio", "bar", "read by loop", "read by ours"))
    for name, n, options, conditions in [
            ("60,000 of 1x28x28", 60000, {"shape": (1, 28, 28)}, [WARM]),
            ("5,000 of 3x256x256", 5000, {"shape": (3, 256, 256)}, [WARM]),
            ("5,000 encoded, 5 to 50 KB", 5000, {"lengths": (5000, 50000)}, [WARM, COLD]),
            ("1,000,000 of 1x1x1", 10 ** 6, {"shape": (1, 1, 1)}, [WARM]),
            ("%d of 3x256x256" % args.cold, args.cold, {"shape": (3, 256, 256)}, [COLD])]:
        path = os.path.join(folder, "lmdb")
        write(path, n, **options)
        for cold in conditions:
            found = compare(path, cold, args.rounds)
            times = [np.median([count[0] for count in found[what]]) for what in ("loop", "ours")]
            read = ["%.2f %%" % (found[what][-1][3] * 100) if cold else "" for what in ("loop", "ours")]
            print(row % (name + ", cold" * cold, "%.4f" % times[0], "%.4f" % times[1], "%.1f" % (times[0] / times[1]),
                         BARS.get(name, ""), read[0], read[1]))
            sys.stdout.flush()
        if n == 10 ** 6:
            print("    of it at the peak in memory: %.0f MB; the file: %.0f MB" % (
                found["ours"][-1][2], os.path.getsize(os.path.join(path, "data.mdb")) / 2 ** 20))
        shutil.rmtree(path)


def compare(path, cold, rounds):
    """What in_a_process gives, for the loop and for ours, round by round."""
    if not cold:
        in_a_process("ours", path), in_a_process("loop", path)  # to have the file in memory
    found = {"loop": [], "ours": []}
    for _ in range(rounds):
        for what in found:
            found[what].append(in_a_process(what, path, cold))
    assert len({str(count[1]) for counts in found.values() for count in counts}) == 1
    return found


if __name__ == "__main__":
    main()
