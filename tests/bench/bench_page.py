"""The benchmarks' page, made of their figures alone."""
from __future__ import division, print_function

import collections

import benchmark  # noqa: F401: it says where the packages are
import bench_by_hand
import bench_growth
import bench_labels
import bench_losses
import bench_matrix_files
import bench_native
import bench_peers
import bench_triplets
import tables
from tables import Part, Table
from timing import number, ratio_cell

BENCHES = [("losses", bench_losses), ("growth", bench_growth), ("by_hand", bench_by_hand),
           ("triplets", bench_triplets), ("native", bench_native), ("labels", bench_labels),
           ("matrix_files", bench_matrix_files), ("peers", bench_peers)]
MACHINE = ("%(cores)d cores of %(cpu)s, Python %(python)s, numpy %(numpy)s, Caffe %(caffe)s, BLAS: %(blas)s with "
           "OPENBLAS_NUM_THREADS %(OPENBLAS_NUM_THREADS)s; threads that ours may use: %(our_threads)s")
KINDS = [("a layer of ours", ["losses", "growth", "by_hand", "triplets"]),
         ("a loss out of Caffe's own layers", ["native"]), ("our work on files", ["labels", "matrix_files"]),
         ("what PyTorch is compared with", ["peers"])]


def as_markdown(results):
    """results: {name of a benchmark: {"machine": ..., "figures": ...}}, all of BENCHES; peers may be missing."""
    return tables.as_markdown("How fast it is, against what", [overview(results), slower(results)] + [
        bench.part(results[name]["figures"]) for name, bench in benches(results)])


def benches(results):
    """Those of BENCHES with figures: of all but the one that needs PyTorch there are some."""
    return [(name, bench) for name, bench in BENCHES if name != "peers" or name in results]


def every_ratio(results, names=None):
    """All comparisons, or those of some benchmarks; what several measure counts once, as the first has it."""
    found = collections.OrderedDict()
    for name, bench in benches(results):
        for ratio in bench.all_ratios(results[name]["figures"]) if names is None or name in names else []:
            found.setdefault((ratio.what, ratio.data, ratio.against), ratio)
    return list(found.values())


def overview(results):
    introduction = (
        "Our layers and commands against Caffe's own, and against what people write by hand: a layer in Python that "
        "loops over the batch, and one in numpy with an array for every step. They compute the same, and every "
        "benchmark checks it: losses and gradients, counts, matrices. Where a matrix is in it, those by hand work in "
        "float64 from the product with it on, as numpy.load gives it, ours in float32: that flatters ours at large "
        "shapes. The loss layers that take scores may use several threads (OMP_NUM_THREADS, or up to 4), Caffe's "
        "layers and numpy by hand use one; the section on native times ours with one, too. "
        "Everything but the comparison with PyTorch is measured in the real Caffe, in one process (files and labels: "
        "each in its own), one after the other, round by round. "
        "**Ratio: the other's time / ours, so above 1 ours is faster**; median of the rounds, "
        "and in brackets the quartiles. This page and its picture are made by `make bench` from "
        "[results.json](results.json), every sentence too. What several sections measure counts once in this table "
        "and the next, as the first has it.")
    rows = [["", "comparisons", "ours is faster", "ours is slower", "smallest ratio", "largest ratio"]]
    found = every_ratio(results)
    for what in ordered([ratio.what for ratio in found]):
        of_layer = [ratio for ratio in found if ratio.what == what]
        for against in ordered([ratio.against for ratio in of_layer]):
            medians = [ratio.spread[1] for ratio in of_layer if ratio.against == against]
            rows.append(["%s against %s" % (what, against)] + ["%d" % n for n in (
                len(medians), sum(median > 1 for median in medians), sum(median < 1 for median in medians))]
                + [number(end(medians)) for end in (min, max)])
    if "peers" not in results:
        introduction += "\n\nIt is %s." % bench_peers.MISSING
    return Part("What is compared", introduction + "\n\n" + machines(results), [Table("All comparisons", rows)], [])


def ordered(values):
    """The different values of a list, in the order in which they come."""
    return sorted(set(values), key=values.index)


def machines(results):
    """On what the benchmarks ran, in a sentence for each machine."""
    of_bench = [(name, MACHINE % results[name]["machine"]) for name, _ in benches(results)]
    different = ordered([machine for _, machine in of_bench])
    if len(different) == 1:
        return "Measured on %s." % different[0]
    return " ".join("Measured on %s: %s." % (machine, ", ".join(name for name, own in of_bench if own == machine))
                    for machine in different)


def lost_time(ratio):
    """The milliseconds that ours takes more."""
    return ratio.ours * (1 - ratio.spread[1]) / 1e3


def losses_among(ratios):
    return sorted((ratio for ratio in ratios if ratio.spread[1] < 1), key=lambda ratio: ratio.spread[1])


def slower(results):
    """Every comparison that ours loses."""
    found = every_ratio(results)
    lost = losses_among(found)
    introduction = "In %d of %d comparisons the median ratio is below 1." % (len(lost), len(found))
    for kind, names in KINDS:
        of_kind = losses_among(every_ratio(results, names))
        if of_kind:
            introduction += " There %s takes at most %s ms more." % (kind, number(max(map(lost_time, of_kind))))
    rows = [["", "on", "against", "ratio", "ms more"]]
    rows += [[ratio.what, ratio.data, ratio.against, ratio_cell(ratio.spread), number(lost_time(ratio))] for ratio in lost]
    return Part("Where ours is slower", introduction, [Table("The smallest ratio first", rows)] if lost else [], [])
