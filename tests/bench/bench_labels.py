#!/usr/bin/env python
"""Times counting the labels of an LMDB against the loop with caffe_pb2.Datum that people write.

Each count runs in a process of its own, ours and the loop's in turn; the median of the
rounds. Where the file is in memory, the seconds are those of the processor, which other
programs disturb less. Cold: the file is not in memory, the seconds are the clock's, and the
share of its pages that are in memory afterwards says how much was read.
"""
from __future__ import division, print_function

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

import benchmark  # first: it says where the packages are
import numpy as np

from tables import Part, Table
from timing import Ratio, findings, percent, quartiles, ratio_cell, ratios, rounded, time_cell
from tqdm import tqdm

LIBC = ctypes.CDLL(None)
DONTNEED = 4  # POSIX_FADV_DONTNEED
WARM, COLD = "warm", "cold"
CLOCKS = collections.OrderedDict([(WARM, "the processor"), (COLD, "the clock")])

# records: how many. shape: of a Datum; or lengths: of encoded images (random bytes), from and below.
Records = collections.namedtuple("Records", "title records shape lengths conditions")
SETS = [Records("60,000 of 1x28x28", 60000, (1, 28, 28), None, [WARM]),
        Records("5,000 of 3x256x256", 5000, (3, 256, 256), None, [WARM, COLD]),
        Records("5,000 encoded, 5 to 50 KB", 5000, None, (5000, 50000), [WARM, COLD]),
        Records("1,000,000 of 1x1x1", 10 ** 6, (1, 1, 1), None, [WARM])]
COMPETITOR = "a loop over caffe_pb2.Datum"


def write(path, n, shape, lengths):
    """n Datums, as a Records says."""
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
    import lmdb, tqdm  # noqa: E401, F401
    from caffe.proto import caffe_pb2  # noqa: F401: imported before the loop too
    from caffe_prototxt.data import labels
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


def in_a_process(what, path, condition):
    """(seconds, counts, MB of memory at the peak, share of the file in memory after it) of a count."""
    if condition == COLD:
        forget(path)
        assert share_in_memory(path) < .01, "the file could not be taken out of memory"
    out = subprocess.check_output([sys.executable, os.path.abspath(__file__), "--count", what, path])
    seconds, counts, memory = json.loads(out.decode().splitlines()[-1])
    return seconds[condition == COLD], counts, memory, share_in_memory(path)


def compare(path, condition, rounds):
    """Measure the loop and ours in a process each, round by round."""
    if condition == WARM:
        in_a_process("ours", path, WARM), in_a_process("loop", path, WARM)  # to have the file in memory
    found = {"loop": [], "ours": []}
    for _ in range(rounds):
        for what in found:
            found[what].append(in_a_process(what, path, condition))
    assert len({str(count[1]) for counts in found.values() for count in counts}) == 1
    return found


def measure(path, records, condition, rounds):
    found = compare(path, condition, rounds)
    times = {what: [count[0] for count in counts] for what, counts in found.items()}
    last = {what: counts[-1] for what, counts in found.items()}
    return {"title": records.title, "condition": condition,
            "seconds": {what: quartiles(values) for what, values in times.items()}, "ratios": ratios(times),
            "read": {what: rounded(count[3]) if condition == COLD else None for what, count in last.items()},
            "memory": rounded(last["ours"][2]),
            "file": rounded(os.path.getsize(os.path.join(path, "data.mdb")) / 2 ** 20)}


def figures(sets=SETS, rounds=3, folder=None):
    """folder: where the files go; None: a temporary one of the system's."""
    rows = []
    folder = tempfile.mkdtemp(dir=folder)
    path = os.path.join(folder, "lmdb")
    try:
        for records in tqdm(sets, desc="labels", disable=None):
            write(path, records.records, records.shape, records.lengths)
            rows += [measure(path, records, condition, rounds) for condition in records.conditions]
            shutil.rmtree(path)
    finally:
        shutil.rmtree(folder)
    return {"rounds": rounds, "rows": rows}


def all_ratios(found):
    """Where the file is cold by another name: seconds of the clock and of the processor are not counted together."""
    return [Ratio("counting labels, " + row["condition"], row["title"] + ", seconds of " + CLOCKS[row["condition"]],
                  COMPETITOR, row["ratios"]["loop"], 1e6 * row["seconds"]["ours"][1]) for row in found["rows"]]


def sentences(found):
    for condition, clock in CLOCKS.items():
        of_condition = dict(found, rows=[row for row in found["rows"] if row["condition"] == condition])
        for sentence in findings(all_ratios(of_condition)):
            yield "%s, seconds of %s: %s" % (condition.capitalize(), clock, sentence)


def part(found):
    introduction = (
        "Counting the labels of an LMDB against the loop with caffe_pb2.Datum that people write; each count in a process "
        "of its own. Ratio: the loop's time / ours, above 1 ours is faster; median of %d rounds, in brackets the "
        "quartiles. Warm, the file is in memory, and seconds are those of the processor; cold, it is not, and they "
        "are those of the clock; read is the share of its pages in memory afterwards. Memory: of ours at the peak, all "
        "modules and the file's pages in it." % found["rounds"])
    rows = [["records", "seconds of", "loop/ours", "loop, s", "ours, s", "read by loop", "read by ours", "memory, MB",
             "file, MB"]]
    for row in found["rows"]:
        read = [percent(row["read"][what]) if row["condition"] == COLD else "" for what in ("loop", "ours")]
        rows.append([row["title"] + ", " + row["condition"], CLOCKS[row["condition"]], ratio_cell(row["ratios"]["loop"])]
                    + [time_cell(row["seconds"][what]) for what in ("loop", "ours")] + read
                    + ["%.0f" % row["memory"], "%.0f" % row["file"]])
    return Part("Counting labels", introduction, [Table("LMDB", rows)], list(sentences(found)))


def main():
    parser = benchmark.parser_of(__doc__, 3)
    parser.add_argument("--folder", help="where the files go, for instance on another disk")
    parser.add_argument("--count", nargs=2, help=benchmark.HIDDEN)
    args = parser.parse_args()
    if args.count:
        seconds, counts = {"ours": ours, "loop": loop}[args.count[0]](args.count[1])
        print(json.dumps([seconds, sorted(counts.items()), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
        return
    benchmark.show(sys.modules[__name__], figures(rounds=args.rounds, folder=args.folder), args)


if __name__ == "__main__":
    main()
