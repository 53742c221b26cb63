"""tests/bench: every benchmark runs, and the page is what its figures say."""
from __future__ import division, print_function

import copy
import io
import json
import os
import sys

import numpy as np
import pytest

import real_nets

caffe = pytest.importorskip("caffe")
pytest.importorskip("lmdb")

BENCH = os.path.join(real_nets.CHECKOUT, "tests", "bench")
sys.path.insert(0, BENCH)

import bench
import bench_by_hand
import bench_growth
import bench_labels
import bench_losses
import bench_matrix_files
import bench_native
import bench_page
import bench_triplets
import benchmark
import tables
import timing


def read(name):
    with io.open(os.path.join(BENCH, name), encoding="utf-8") as file:
        return file.read()


@pytest.fixture
def results():
    return json.loads(read("results.json"))


# The benchmarks, with next to nothing to do

SWEEPS = [("classes", [(2, 2), (2, 3)]), ("positions", [(1, 3, 2, 2), (1, 3, 2, 3)])]
RECORDS = [bench_labels.Records("3 encoded", 3, None, (5, 9), [bench_labels.WARM])]
SHAPES = [(4, 3), (2, 3, 2, 2)]
TINY = {"losses": lambda: bench_losses.figures(SHAPES, 1),
        "growth": lambda: bench_growth.figures(SWEEPS, 1),
        "by_hand": lambda: bench_by_hand.figures(SHAPES, 1),
        "triplets": lambda: bench_triplets.figures([(3, 2)], 1, [(6, 2)]),
        "native": lambda: bench_native.figures(SHAPES, 1),
        "labels": lambda: bench_labels.figures(RECORDS, 1),
        "matrix_files": lambda: bench_matrix_files.figures([20], 1)}


@pytest.fixture(autouse=True)
def short_measurements(monkeypatch):
    monkeypatch.setattr(timing, "SECONDS", 1e-4)


def count_here(what, path, condition):
    _, counts = {"ours": bench_labels.ours, "loop": bench_labels.loop}[what](path)
    return 1e-3, sorted(counts.items()), 1, 1


@pytest.mark.parametrize("name, one", [one for one in bench_page.BENCHES if one[0] != bench.PEERS])
def test_runs(name, one, monkeypatch):
    monkeypatch.setattr(bench_labels, "in_a_process", count_here)  # a process takes its time
    monkeypatch.setattr(bench_matrix_files, "measure_apart", bench_matrix_files.measure)
    figures = TINY[name]()
    kept = json.loads(json.dumps(figures))
    assert tables.as_text([one.part(kept)]) == tables.as_text([one.part(figures)])
    found = one.all_ratios(kept)
    assert found and all(0 < low <= middle <= high for low, middle, high in (ratio.spread for ratio in found))


def test_a_count_in_a_process(tmp_path):
    path = str(tmp_path / "lmdb")
    bench_labels.write(path, 5, (1, 2, 2), None)
    seconds, counts, megabytes, share = bench_labels.in_a_process("ours", path, bench_labels.WARM)
    assert seconds > 0 and megabytes > 1 and 0 <= share <= 1
    assert [tuple(pair) for pair in counts] == sorted(bench_labels.loop(path)[1].items())


def test_h_as_bottom():
    row, = bench_losses.figures([(4, 3)], 1, from_bottom=True)["shapes"]
    assert row["difference"] < 1e-6 and row["our_error"] < 1e-5


def test_ours_on_one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = bench_losses.figures([(4, 3)], 1)
    row, = found["shapes"]
    assert os.environ["OMP_NUM_THREADS"] == "3" and benchmark.machine()["our_threads"] == 3
    part = bench_losses.part(found)
    head, cells = part.tables[0].rows
    assert cells[head.index("native/ours, one thread")] == timing.ratio_cell(row["one_thread"])
    assert any(finding.startswith("With ours on one thread: Against native") for finding in part.findings)
    row["one_thread"] = row["times"]["one thread"] = None  # figures of before
    part = bench_losses.part(found)
    assert part.tables[0].rows[1][head.index("ours, one thread")] == "-"
    assert not any("one thread" in finding for finding in part.findings)


@pytest.mark.parametrize("case", bench_by_hand.CASES)
def test_what_is_wrong_by_hand_is_no_competitor(case, monkeypatch):
    monkeypatch.setattr(bench_by_hand, "TOLERANCE", dict.fromkeys(bench_by_hand.COMPETITORS, -1))
    with pytest.raises(AssertionError):
        bench_by_hand.measure(case, (4, 3), 1)


@pytest.mark.parametrize("way", ["native", "numpy"])
def test_what_is_not_the_same_loss_is_not_timed(way, monkeypatch):
    monkeypatch.setitem(bench_by_hand.TOLERANCE, way, -1)
    for figures in (bench_losses.figures, bench_growth.figures):
        with pytest.raises(AssertionError):
            figures()


def test_another_matrix_is_no_competitor():
    matrix = bench_matrix_files.any_matrix(5, "float64").astype(np.float32)
    bench_matrix_files.check(matrix, 5)
    for wrong in (matrix.T, matrix[:4], matrix + np.float32(1e-6)):
        with pytest.raises(AssertionError):
            bench_matrix_files.check(wrong, 5)


def test_command(tmp_path, capsys, monkeypatch):
    path = str(tmp_path / "part.json")
    script = os.path.join(BENCH, "bench_losses.py")
    monkeypatch.setattr(sys, "argv", [script, "--rounds", "1", "8x3", "--json", path])
    bench_losses.main()
    assert capsys.readouterr()[0] == ""
    with open(path) as file:
        part = json.load(file)
    assert part["machine"]["caffe"] == caffe.__version__ and part["machine"]["cores"] >= 1
    assert [row["scores"] for row in part["figures"]["shapes"]] == ["8x3"]
    monkeypatch.setattr(sys, "argv", [script, "--rounds", "1", "8x3", "--h-bottom"])
    bench_losses.main()
    out, _ = capsys.readouterr()
    assert "as third bottom" in out.replace("\n", " ") and "\n8x3 " in out


def run_bench(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["bench.py"] + list(arguments))
    return bench.main()


def test_the_page_alone(tmp_path, results, capsys, monkeypatch):
    (tmp_path / "results.json").write_bytes(read("results.json").encode("utf-8"))
    command = ["--page", "--output", str(tmp_path)]
    assert run_bench(monkeypatch, *command) == 0
    assert (tmp_path / "RESULTS.md").read_bytes().decode("utf-8") == read("RESULTS.md")
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")
    del results["labels"]
    (tmp_path / "results.json").write_bytes(json.dumps(results).encode("utf-8"))
    assert run_bench(monkeypatch, *command) == 1
    assert capsys.readouterr()[0].endswith("\nno page yet: there are no figures of labels\n")


def test_a_part_again_keeps_the_others(tmp_path, results, capsys, monkeypatch):
    (tmp_path / "results.json").write_bytes(read("results.json").encode("utf-8"))
    again = copy.deepcopy(results["triplets"])
    again["machine"]["cpu"] = "abacus"
    monkeypatch.setattr(bench.bench_picture, "draw", lambda *_, **__: None)
    monkeypatch.setattr(bench, "run", {"triplets": again, "labels": None}.get)  # that of labels fails
    assert run_bench(monkeypatch, "labels", "triplets", "--output", str(tmp_path)) == 1
    out, _ = capsys.readouterr()
    assert "1 of 2: triplets\n    done" in out and "2 of 2: labels\n    FAILED" in out
    assert json.loads((tmp_path / "results.json").read_bytes().decode("utf-8")) == dict(results, triplets=again)
    assert u"abacus" in (tmp_path / "RESULTS.md").read_bytes().decode("utf-8")


def test_unknown_name(capsys, monkeypatch):
    with pytest.raises(SystemExit):
        run_bench(monkeypatch, "nets")
    assert "expected a name of losses, growth" in capsys.readouterr()[1]


# The page

def test_the_page_is_made_of_the_figures(results):
    assert bench_page.as_markdown(results) == read("RESULTS.md")


def test_every_bench_is_in_the_page(results):
    scripts = [name[len("bench_"):-len(".py")] for name in os.listdir(BENCH)
               if name.startswith("bench_") and name.endswith(".py")]
    assert sorted(name for name, _ in bench_page.BENCHES) == sorted(set(scripts) - {"page", "picture"})
    assert sorted(results) == sorted(name for name, _ in bench_page.benches(results))
    makefile = read(os.path.join(os.pardir, os.pardir, "Makefile"))
    assert all("make bench-%s " % name in makefile for name, _ in bench_page.BENCHES)


def test_a_page_without_pytorch(results):
    results.pop("peers", None)
    text = bench_page.as_markdown(results)
    assert "not compared with PyTorch" in text and "Against PyTorch" not in text


def test_losses_are_stated_as_wins_are(results):
    found = bench_page.every_ratio(results)
    lost = [ratio for ratio in found if ratio.spread[1] < 1]
    part = bench_page.slower(results)
    assert part.introduction.startswith("In %d of %d comparisons" % (len(lost), len(found)))
    rows = part.tables[0].rows[1:] if lost else []
    assert sorted((row[0], row[1], row[2]) for row in rows) == sorted(ratio[:3] for ratio in lost)
    assert len(set(ratio[:3] for ratio in found)) == len(found)
    overview, = bench_page.overview(results).tables
    assert sum(int(row[1]) for row in overview.rows[1:]) == len(found)
    assert sum(int(row[3]) for row in overview.rows[1:]) == len(lost)


def test_what_several_sections_measure_counts_once(results):
    again = copy.deepcopy(results["losses"]["figures"]["shapes"][0])
    n = len(bench_page.every_ratio(results))
    again["ratios"] = dict.fromkeys(again["ratios"], [.01, .01, .01])
    results["growth"]["figures"]["sweeps"]["classes"].append(again)
    found = bench_page.every_ratio(results)
    assert len(found) == n and min(ratio.spread[1] for ratio in found) > .01  # as the first has it


def test_lost_time_is_that_of_its_kind(results):
    results.pop("peers", None)  # is there where PyTorch was
    for row in _everything_with_ratios(results):
        row["ratios"] = dict.fromkeys(row["ratios"], [2, 2, 2])
    results["losses"]["figures"]["shapes"][0].update(ratios={"native": [.5] * 3, "numpy": [2] * 3})
    results["losses"]["figures"]["shapes"][0]["times"]["ours"] = [40, 40, 40]
    results["labels"]["figures"]["rows"][2].update(ratios={"loop": [.5] * 3})
    results["labels"]["figures"]["rows"][2]["seconds"]["ours"] = [.2, .2, .2]
    assert bench_page.slower(results).introduction.endswith(
        "There a layer of ours takes at most 0.02 ms more. There our work on files takes at most 100 ms more.")


def _everything_with_ratios(results):
    found = []

    def look(value):
        if isinstance(value, dict):
            found.extend([value] if "ratios" in value else [])
            value = list(value.values())
        if isinstance(value, list):
            for item in value:
                look(item)
    look(results)
    return found


# What follows from figures

def growth_row(scores, ours, **parts):
    times = dict(dict.fromkeys(("call", "exp", "rows", "labels", "scale", "empty", "copy"), 1), native=50, numpy=60,
                 softmax=30, log=5, ours=ours, **{})
    times.update(parts)
    return {"scores": scores, "times": {name: [time, time, time] for name, time in times.items()}}


def test_exponent():
    rows = [growth_row("1x%d" % n, 3 * n ** 1.5) for n in (10, 100, 1000)]
    assert bench_growth.exponent(rows, "ours") == pytest.approx(1.5)
    assert bench_growth.exponent(rows, "native") == pytest.approx(0)


def test_what_bounds_each():
    rows = [growth_row("2x2", 100, call=90), growth_row("2x3", 100, call=80), growth_row("2x9", 100, exp=70),
            growth_row("2x99", 100)]
    assert list(bench_growth.stretches(rows)) == [
        "Scores 2x2 to 2x3: the largest share of ours is calls: 80 % to 90 %.",
        "Scores 2x9: the largest share of ours is exp: 70 %.",
        "Scores 2x99: the largest share of ours is %s: 95 %%." % bench_growth.REST]
    assert bench_growth.of_native(rows[-1]) == (
        "Scores 2x99: the largest share of native is Caffe's Softmax: 60 %; exp by numpy would be 2 % of its time.")
    rows[-1]["times"]["softmax"] = [10, 10, 10]
    assert bench_growth.NATIVE_REST + ": 70 %" in bench_growth.of_native(rows[-1])


def test_findings():
    ratios = [timing.Ratio("a", "b", "c", [1, median, 9], 1) for median in (2, .25, 4, .5, 1)] + [
        timing.Ratio("a", "b", "d", [1, 2000, 3000], 1)]
    assert list(timing.findings(ratios)) == [
        "Against c ours is faster in 2 of 5 comparisons (2 to 4), as fast in 1 of 5 comparisons (1), slower in 2 of 5 "
        "comparisons (0.25 to 0.5).",
        "Against d ours is faster in 1 of 1 comparisons (2000)."]


def test_times_are_taken_in_turn():
    calls = []
    times = timing.in_turn({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 4)
    assert sorted(times) == ["a", "b"] and all(len(values) == 4 and min(values) > 0 for values in times.values())
    blocks = [name for i, name in enumerate(calls[4:]) if name != calls[i + 3]]  # after the 2 + 2 that say how many
    assert blocks == ["a", "b"] * 4


@pytest.mark.parametrize("before", [None, "7"])
def test_variables_hold_for_their_function_alone(before, monkeypatch):
    monkeypatch.delenv("OF_A", raising=False)
    if before:
        monkeypatch.setenv("OF_A", before)
    found = {"a": set(), "b": set()}
    runs = {name: lambda name=name: found[name].add(os.environ.get("OF_A")) for name in found}
    timing.in_turn(runs, 2, {"a": {"OF_A": "1"}})
    assert found == {"a": {"1"}, "b": {before}} and os.environ.get("OF_A") == before


def test_what_is_slow_has_fewer_rounds(monkeypatch):
    monkeypatch.setattr(timing, "SLOW", 0)
    times = timing.in_turn({"ours": lambda: None}, 5)
    assert len(times["ours"]) == timing.FEW


def test_ratios_are_those_of_the_rounds():
    times = {"ours": [1, 2, 4], "other": [2, 8, 40]}
    assert timing.ratios(times) == {"other": [3, 4, 7]}


@pytest.mark.parametrize("value, text", [(.12345, "0.123"), (12.345, "12.3"), (1234.5, "1234"), (None, "-")])
def test_numbers(value, text):
    assert timing.number(value) == text


def test_shares_of_the_same_shape_sum_up():
    found = bench_growth.with_rest(bench_growth.shares(growth_row("2x2", 10)), "rest")
    assert sum(found.values()) == pytest.approx(1) and found["rest"] == pytest.approx(.5)
    assert np.isclose(bench_growth.with_rest({"a": 1.2}, "rest")["rest"], 0)
