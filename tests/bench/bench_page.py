"""The benchmarks' page, made of their figures alone."""
from __future__ import division, print_function

import benchmark  # noqa: F401: it says where the packages are
import bench_by_hand
import bench_growth
import bench_labels
import bench_losses
import bench_matrix_files
import bench_triplets
import tables
from tables import Part, Table
from timing import number, ratio_cell

BENCHES = [("losses", bench_losses), ("growth", bench_growth), ("by_hand", bench_by_hand),
           ("triplets", bench_triplets), ("labels", bench_labels), ("matrix_files", bench_matrix_files)]
MACHINE = ("%(cores)d cores of %(cpu)s, Python %(python)s, numpy %(numpy)s, Caffe %(caffe)s, BLAS: %(blas)s with "
           "OPENBLAS_NUM_THREADS %(OPENBLAS_NUM_THREADS)s")


def as_markdown(results):
    """results: {name of a benchmark: {"machine": ..., "figures": ...}}, all of BENCHES."""
    return tables.as_markdown("How fast it is, against what", [overview(results), slower(results)] + [
        bench.part(results[name]["figures"]) for name, bench in BENCHES])


def every_ratio(results):
    return [ratio for name, bench in BENCHES for ratio in bench.all_ratios(results[name]["figures"])]


def overview(results):
    introduction = (
        "Our layers and commands against Caffe's own, and against what people write by hand: a layer in Python that loops "
        "over the batch, and one in numpy with an array for every step. They compute the same, which is checked first. "
        "Everything is measured in the real Caffe, in one process (files and labels: each in its own), one after the "
        "other, round by round. **Ratio: the other's time / ours, so above 1 ours is faster**; median of the rounds, and "
        "in brackets the quartiles. This page and its picture are made by `make bench` from "
        "[results.json](results.json), every sentence too. A few shapes are measured in several sections.")
    rows = [["", "comparisons", "ours is faster", "ours is slower", "smallest ratio", "largest ratio"]]
    found = every_ratio(results)
    for what in ordered([ratio.what for ratio in found]):
        of_layer = [ratio for ratio in found if ratio.what == what]
        for against in ordered([ratio.against for ratio in of_layer]):
            medians = [ratio.spread[1] for ratio in of_layer if ratio.against == against]
            n_faster = sum(median >= 1 for median in medians)
            rows.append(["%s against %s" % (what, against)] + ["%d" % n for n in (
                len(medians), n_faster, len(medians) - n_faster)] + [number(end(medians)) for end in (min, max)])
    return Part("What is compared", introduction + "\n\n" + machines(results), [Table("All comparisons", rows)], [])


def ordered(values):
    """The different values of a list, in the order in which they come."""
    return sorted(set(values), key=values.index)


def machines(results):
    """On what the benchmarks ran, in a sentence for each machine."""
    of_bench = [(name, MACHINE % results[name]["machine"]) for name, _ in BENCHES]
    different = ordered([machine for _, machine in of_bench])
    if len(different) == 1:
        return "Measured on %s." % different[0]
    return " ".join("Measured on %s: %s." % (machine, ", ".join(name for name, own in of_bench if own == machine))
                    for machine in different)


def lost_time(ratio):
    """The microseconds that ours takes more."""
    return ratio.ours * (1 - ratio.spread[1])


def slower(results):
    """Every comparison that ours loses."""
    found = every_ratio(results)
    lost = sorted((ratio for ratio in found if ratio.spread[1] < 1), key=lambda ratio: ratio.spread[1])
    introduction = "In %d of %d comparisons the median ratio is below 1." % (len(lost), len(found))
    if lost:
        introduction += " There ours takes at most %s microseconds more." % number(max(map(lost_time, lost)))
    rows = [["", "on", "against", "ratio", "microseconds more"]]
    rows += [[ratio.what, ratio.data, ratio.against, ratio_cell(ratio.spread), number(lost_time(ratio))] for ratio in lost]
    return Part("Where ours is slower", introduction, [Table("The smallest ratio first", rows)] if lost else [], [])
