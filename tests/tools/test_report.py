"""tools/report.py on logs and snapshots of the real caffe train."""
from __future__ import division, print_function

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import real_nets
from commands import run_main
import training
import user_files

pytest.importorskip("caffe")
pytest.importorskip("matplotlib")

try:
    from html.parser import HTMLParser
except ImportError:  # Python 2
    from HTMLParser import HTMLParser


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a training, and in its folder `methods` two methods of two seeds each."""
    top = str(tmp_path_factory.mktemp("report"))
    for method, rate in (("slow", .001), ("fast", .1)):
        for seed in (1, 2):
            folder = os.path.join(top, "methods", "%s_%d" % (method, seed))
            os.makedirs(folder)
            assert training.train(folder, rate=rate, seed=seed, log="%s_seed%d.log" % (method, seed)) == 0
    user_files.write(top)
    training.train(top)
    return top


@pytest.fixture
def folder(trained, monkeypatch):
    monkeypatch.chdir(trained)
    return trained


@pytest.fixture
def methods(folder, monkeypatch):
    """The folder of the methods; here are no snapshots, so that those of each log are found."""
    monkeypatch.chdir("methods")
    return os.getcwd()


def report(*arguments):
    status, out, err = run_main("report.py", *arguments)
    assert status == 0 and not err, err
    return out


def as_json(*arguments):
    return json.loads(report("--json", *arguments))


def log_of(method, seed):
    return os.path.join("%s_%d" % (method, seed), "%s_seed%d.log" % (method, seed))


ALL = [log_of(method, seed) for method in ("slow", "fast") for seed in (1, 2)]


def test_the_simplest_call(folder):
    out = report("caffe.log")
    accuracy = re.search("caffe: accuracy (0.[0-9]{4}), lowest recall (0.[0-9]{4}) [(]class [0-2][)]\n", out).group(1)
    assert out.startswith("caffe, seed 1: done\n") and "\n-o report.html writes" in out
    # 50 samples are no whole number of batches of 20, so the log's own accuracy is of 40.
    assert float(accuracy) * 50 == pytest.approx(round(float(accuracy) * 50), abs=.01)


def test_the_accuracy_is_that_of_the_net_over_the_same_batches(folder):
    found = as_json("caffe.log", "--iterations", "2")
    (run,) = found["runs"]
    assert run["source"] == "2 iterations of 20 samples"
    assert run["curves"]["test accuracy"]["iterations"] == [0, 10, 20]
    assert run["curves"]["training loss"]["iterations"] == [0, 5, 10, 15, 20]
    net = evaluated("train_val.prototxt", "snap_iter_20.caffemodel", 2)
    assert run["evaluation"]["probable"]["scores"]["accuracy"] == pytest.approx(net)


def evaluated(definition, snapshot, iterations):
    """The mean of what the net's own Accuracy layer says."""
    import caffe
    net = caffe.Net(definition, snapshot, caffe.TEST)
    return np.mean([float(net.forward()["accuracy"]) for _ in range(iterations)])


def test_seeds_methods_and_differences(methods):
    found = as_json(*ALL + ["--distances", "../D.csv", "--names", "../classes.txt"])
    assert [(run["name"], run["seed"]) for run in found["runs"]] == [
        ("slow", 1), ("slow", 2), ("fast", 1), ("fast", 2)]
    assert [method["name"] for method in found["methods"]] == ["slow", "fast"]
    scores = {run["name"] + str(run["seed"]): run["evaluation"]["probable"]["scores"]["cost"] for run in found["runs"]}
    by_hand = found["methods"][1]["evaluation"]["probable"]["scores"]["cost"]
    assert by_hand["mean"] == pytest.approx((scores["fast1"] + scores["fast2"]) / 2) and by_hand["n"] == 2
    (difference,) = [d for d in found["differences"] if d["of"][0] != d["from"][0]]
    assert scores["fast1"] != scores["slow1"]
    assert difference["of"] == ["fast", "probable"] and difference["from"] == ["slow", "probable"]
    pairs = np.array([scores["fast1"] - scores["slow1"], scores["fast2"] - scores["slow2"]])
    assert difference["scores"]["cost"]["mean"] == pytest.approx(pairs.mean())
    half = 63.6567 * pairs.std(ddof=1) / np.sqrt(2)
    assert difference["scores"]["cost"]["high"] == pytest.approx(pairs.mean() + half, abs=1e-4)
    assert found["classes"] == list(user_files.CLASSES) and np.shape(found["D"]) == (3, 3)
    confusion = np.array(found["methods"][0]["evaluation"]["cheapest"]["confusion"])
    assert confusion.sum() == 2 * training.N_TEST and confusion.sum(axis=1).tolist() == [34, 34, 32]


def test_seeds_that_do_not_match_are_not_paired(methods):
    found = as_json("a=" + ALL[0], "a=" + ALL[1], "b=" + ALL[2])
    assert found["differences"] == []  # one pair alone


def test_found_from_anywhere(methods, monkeypatch):
    """Names in the log are relative to where caffe ran, and this may be elsewhere."""
    expected = as_json(log_of("fast", 1))["runs"][0]["evaluation"]
    assert expected
    shutil.copy(log_of("fast", 1), "../../elsewhere.log")
    monkeypatch.chdir("../..")
    assert as_json(os.path.join(methods, log_of("fast", 1)))["runs"][0]["evaluation"] == expected
    (run,) = as_json("elsewhere.log", "--folder", os.path.relpath(os.path.join(methods, "fast_1")))["runs"]
    assert run["evaluation"] == expected
    with open("elsewhere.log") as file, open(os.path.join(methods, "fast_1", "moved.log"), "w") as moved:
        moved.write(file.read().replace("binary proto file snap", "binary proto file /where/it/was/snap"))
    (run,) = as_json(os.path.join(methods, "fast_1", "moved.log"))["runs"]
    assert run["evaluation"] == expected and run["notes"] == []
    (run,) = as_json("elsewhere.log")["runs"]
    assert run["evaluation"] is None and "snap_iter_20.caffemodel, which is not there" in run["notes"][0]


def test_the_file_of_the_net_where_the_log_shows_it_cut_off(folder):
    with open("caffe.log") as file:
        text = file.read()
    at = text.index("Creating test net")
    with open("cut.log", "w") as file:
        file.write(text[:at] + text[at:].replace("}\n}\n", "}\n", 1))
    assert as_json("cut.log")["runs"][0]["evaluation"] == as_json("caffe.log")["runs"][0]["evaluation"]


# Snapshots that are another training's

@pytest.fixture
def overwritten(trained, tmp_path, monkeypatch):
    """A folder in which a second training wrote over the snapshots of the first."""
    monkeypatch.chdir(tmp_path)
    for name, rate, seed in (("first", .001, 1), ("second", .1, 2)):
        training.train(str(tmp_path), rate=rate, seed=seed, log=name + ".log")


def said(*arguments):
    """(notes, whether it was evaluated) of each run."""
    return [("; ".join(run["notes"]), run["evaluation"] is not None) for run in as_json(*arguments)["runs"]]


def test_a_snapshot_that_another_training_wrote_over(overwritten):
    differs = ("snapshot snap_iter_20.caffemodel is newer than the log and gives accuracy 0.7, and the log says 0.35 at "
               "iteration 20: it is another training's, or the test data have changed")
    assert said("first.log") == [("not evaluated: " + differs + "; --any-snapshot evaluates it all the same", False)]
    assert said("second.log") == [("", True)]
    assert said("first.log", "--any-snapshot") == [(differs, True)]
    assert said("first=first.log,snap_iter_20.caffemodel") == [("", True)]
    both = said("first.log", "second.log")
    assert [evaluated for _, evaluated in both] == [False, False]
    assert both[0][0].startswith("not evaluated: snapshot snap_iter_20.caffemodel is named by the log of second, too")
    assert [evaluated for _, evaluated in said("first.log", "second.log", "--any-snapshot")] == [True, True]


def test_a_newer_snapshot_that_no_test_of_the_log_is_of(overwritten):
    for name in ("first.log", "second.log"):
        with open(name) as file:
            text = file.read()
        times = os.path.getatime(name), os.path.getmtime(name)
        with open(name, "w") as file:
            file.write(text.replace("Iteration 20, Testing", "Iteration 21, Testing"))
        os.utime(name, times)
    newer = "snapshot snap_iter_20.caffemodel is newer than the log: another training may have written over it"
    ((note, evaluated),) = said("first.log")
    assert not evaluated and note == "not evaluated: " + newer + "; --any-snapshot evaluates it all the same"
    ((note, evaluated),) = said("second.log")
    assert evaluated and "newer" not in note
    os.utime("second.log", (time.time() - 10 ** 5,) * 2)  # as a copy may have it
    ((note, evaluated),) = said("second.log")
    assert not evaluated and newer in note


def test_accuracies_tell_where_times_are_lost(overwritten):
    """A copy leaves the log newer, or the snapshot."""
    now = time.time()
    for late in (100, -100, -.01):
        for log in ("first.log", "second.log"):
            os.utime(log, (now + late + 300, now + late + 300))
        os.utime("snap_iter_20.caffemodel", (now + 300, now + 300))
        (note, evaluated), = said("first.log")
        assert not evaluated and "gives accuracy 0.7, and the log says 0.35 at iteration 20" in note
        assert said("second.log") == [
            ("" if late > 0 else "snapshot snap_iter_20.caffemodel is newer than the log, but fits it", True)]


def test_the_older_snapshot_is_named_where_the_last_is_missing(overwritten):
    os.remove("snap_iter_20.caffemodel")
    (run,) = as_json("second.log")["runs"]
    assert run["notes"] == ["the last snapshot, snap_iter_20.caffemodel, is missing: evaluated is snap_iter_10.caffemodel"]
    assert run["snapshot_iteration"] == 10 and run["counts"] == [17, 17, 16]
    assert "evaluated: snap_iter_10.caffemodel on all 50 samples" in report("second.log")


def test_the_log_s_own_folder_comes_first(overwritten, trained, monkeypatch):
    """The current folder has snapshots of the same names."""
    log = os.path.abspath("second.log")
    expected = as_json(log)["runs"][0]
    monkeypatch.chdir(trained)
    found = as_json(log)["runs"][0]
    assert found["evaluation"] == expected["evaluation"] and found["snapshot"] == expected["snapshot"]


# Trainings that went wrong

@pytest.fixture
def wrong(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return str(tmp_path)


def test_a_diverged_run(wrong):
    training.train(wrong, rate=1e38)
    out = report("caffe.log", "-o", "report.html", "--title", "<b>it's & \"that\"</b>")
    assert "diverged: " in out and "the training has diverged" in out
    with open("caffe.log") as file:
        assert re.findall("accuracy = (.*)", file.read())[1:] == ["1", "1"]  # says Caffe, of NaN
    assert "test accuracy means nothing" in out
    page = Page("report.html")
    page.check()
    assert "diverged: " in page.text and "<b>it's & \"that\"</b>" in page.text


def test_an_interrupted_run(wrong):
    training.train(wrong)
    with open("solver.prototxt") as file:
        text = file.read().replace("max_iter: 20", "max_iter: 100000000").replace("snapshot: 10 ", "snapshot: 20 ")
    with open("solver.prototxt", "w") as file:
        file.write(text)
    for end, expected in ((signal.SIGINT, "stopped early"), (signal.SIGKILL, "cut off: the log ends before")):
        with open("caffe.log", "w") as log:
            process = subprocess.Popen(["caffe", "train", "-solver", "solver.prototxt"], stderr=log,
                                       env=dict(os.environ, GLOG_minloglevel="0"))
            try:
                wait_for(lambda: "snap_iter_60.caffemodel" in open("caffe.log").read(), process)
                process.send_signal(end)
            finally:
                if end != signal.SIGINT:
                    process.kill()
                process.wait()
        real_nets.cut("caffe.log", os.path.getsize("caffe.log") - 5)
        out = report("caffe.log", "-o", "report.html")
        assert "caffe, seed 1: " + expected in out and "\ncaffe: accuracy " in out
        Page("report.html").check()


def wait_for(condition, process, seconds=60):
    end = time.time() + seconds
    while not condition():
        assert time.time() < end and process.poll() is None
        time.sleep(.01)


def test_a_run_that_failed(wrong):
    status = training.train(wrong, loss=training.LOSS.replace("label", "lable"))
    assert status != 0
    status, out, err = run_main("report.py", "caffe.log")
    assert status == 2 and not out and len(err.splitlines()) == 1
    assert "nothing to report: caffe: failed: Unknown bottom blob 'lable'" in err


def test_what_caffe_ends_the_process_for_is_a_note(folder):
    shutil.move("test.h5", "test.h5.away")
    try:
        with open("test.txt") as file:
            before = file.read()
        (run,) = as_json("caffe.log")["runs"]
        assert run["evaluation"] is None and "test.h5" in run["notes"][0], run["notes"]
        (run,) = as_json("caffe.log", "--iterations", "1")["runs"]
        assert run["evaluation"] is None and "HDF5" in run["notes"][0], run["notes"]
        with open("test.txt") as file:
            assert file.read() == before
    finally:
        shutil.move("test.h5.away", "test.h5")
    assert as_json("net=train_val.prototxt,methods/fast_1/snap_iter_20.caffemodel,caffe.log")["runs"][0]["evaluation"]


def test_nothing_is_left_behind(folder, tmp_path):
    before = sorted(os.listdir("."))
    environment = dict(os.environ, TMPDIR=str(tmp_path))
    status, _, _ = real_nets.tool("report.py", "caffe.log", env=environment)
    assert status == 0 and sorted(os.listdir(".")) == before and not os.listdir(str(tmp_path))


@pytest.mark.parametrize("arguments, message", [
    ([], "(the following|too few) arguments"),
    (["missing.log"], "missing.log: cannot be read: No such file"),
    (["a=caffe.log,"], "'': cannot be read: No such file"),
    (["."], r"\.: cannot be read: Is a directory"),
    (["empty.log"], "empty.log: expected the log of a training, got an empty file"),
    (["classes.txt"], "classes.txt: expected the log of a training, got one without a line of Caffe's solver"),
    (["caffe.log", "caffe.log"], "caffe.log: named twice; a run counts once"),
    (["train_val.prototxt"], "train_val.prototxt: expected a log, or a net and a snapshot"),
    (["a=caffe.log,train_val.prototxt,solver.prototxt"], "expected one net and one snapshot, got several"),
    (["snap_iter_20.solverstate"], "snap_iter_20.solverstate: expected a .caffemodel"),
    (["caffe.log", "--distances", "H.npy"], "H.npy"),
    (["caffe.log", "--distances", "D.csv", "--tree", "tree.txt"], "not allowed with"),
    (["caffe.log", "--tree", "H.npy"], "H.npy: expected text in UTF-8"),
    (["caffe.log", "--tree", "tree.txt", "--names", "short.txt"], "tree.txt: "),
    (["caffe.log", "--top", "0"], "--top: expected at least 1, got 0"),
    (["caffe.log", "--iterations", "0"], "--iterations: expected at least 1, got 0"),
    (["caffe.log", "-o", "missing/report.html"], "report.html: cannot be written: No such folder"),
    (["caffe.log", "--distances", "D.csv", "--names", "short.txt"], "short.txt: expected 3 class names"),
])
def test_errors(folder, arguments, message):
    with open("empty.log", "w"):
        pass
    with open("short.txt", "w") as file:
        file.write("one\ntwo\n")
    status, out, err = run_main("report.py", *arguments)
    assert status == 2 and not out
    assert len(err.splitlines()) == 1 and re.search(message, err), err


@pytest.mark.parametrize("options, message", [
    (["--names", "short.txt"], "--names: expected 3 class names, as the net has, got 2"),
    (["--distances", "D4.csv"], "--distances or --tree: expected costs of 3 classes, as the net has, got 4"),
    (["--label", "lable"], "--label lable: expected a blob of the net, data, label, "),
    (["--label", "data"], "--label data: expected a label for each of 20 samples of 3 classes, got shape"),
    (["--score", "scores"], "--score scores: expected a blob of the net, data, label, "),
    (["--gpu", "7"], "--gpu 7: expected a GPU that Caffe can use, got none ("),
    (["--gpu", "-1"], "--gpu: expected at least 0, got -1"),
    (["--folder", "missing"], "--folder missing: expected a folder, got none"),
    (["--csv", "missing"], "--csv missing: expected a folder, got none"),
    (["-o", "r.pdf"], "-o r.pdf: expected the name of a page, which ends in .html"),
])
def test_options_that_are_not_of_the_net(folder, options, message):
    with open("short.txt", "w") as file:
        file.write("one\ntwo\n")
    np.savetxt("D4.csv", 1 - np.eye(4), delimiter=",")
    status, out, err = run_main("report.py", "caffe.log", *options)
    assert status == 2 and not out
    assert len(err.splitlines()) == 1 and message in err, err


@pytest.mark.parametrize("arguments, output", [
    (["caffe.log", "-o", "{}"], "caffe.log"), (["caffe.log", "-o", "{}", "--names", "classes.html"], "classes.html"),
    (["caffe.html", "-o", "{}"], "caffe.html"), (["caffe.html", "-o", "{}"], "link.html"),
    (["caffe.html", "-o", "{}"], "hard.html"), (["caffe.log.test", "caffe.log", "--csv", "."], "caffe.log.test"),
    (["a=caffe.log", "methods/same/caffe.log", "--csv", "."], "two tables")])
def test_no_input_is_written_over(folder, arguments, output):
    shutil.copy("classes.txt", "classes.html")
    if not os.path.exists("methods/same"):
        os.mkdir("methods/same")
    for name in ("caffe.html", "caffe.log.test", "methods/same/caffe.log"):
        shutil.copy("caffe.log", name)
    for name, link in (("link.html", os.symlink), ("hard.html", os.link)):
        if not os.path.lexists(name):
            link("caffe.html", name)
    status, out, err = run_main("report.py", "--no-evaluation", *[argument.replace("{}", output) for argument in arguments])
    assert status == 2 and not out and len(err.splitlines()) == 1 and output in err, err
    with open("caffe.log") as before, open("caffe.html") as after:
        assert before.read() == after.read()


@pytest.mark.parametrize("arguments", [["pipe"], ["caffe.log", "--names", "pipe"], ["caffe.log", "--distances", "pipe"],
                                       ["caffe.log", "--tree", "pipe"], ["/dev/zero"]])
def test_pipes_and_devices(folder, arguments):
    if not os.path.exists("pipe"):
        os.mkfifo("pipe")
    status, out, err = run_main("report.py", *arguments)
    assert status == 2 and not out and len(err.splitlines()) == 1
    assert "expected a plain file, got a pipe or a device; write it to a file first" in err


def test_matplotlib_s_settings_of_the_current_folder_are_not_read(tmp_path):
    (tmp_path / "caffe.log").write_bytes(b"I1029 14:52:46.795838 1 solver.cpp:218] Iteration 5, loss = 1\n")
    (tmp_path / "matplotlibrc").write_bytes(b"text.usetex: True\nno.such.key: \xff\n")
    for named in (".", "matplotlibrc", str(tmp_path / "matplotlibrc")):
        status, _, err = real_nets.tool("report.py", "caffe.log", "-o", "report.html", cwd=str(tmp_path),
                                        env=dict(os.environ, MATPLOTLIBRC=named))
        assert status == 0 and not err, err


def test_without_evaluation_no_caffe_is_needed(folder):
    tool = os.path.join(real_nets.CHECKOUT, "tools", "report.py")
    program = ("import sys, runpy; sys.modules['caffe'] = sys.modules['google'] = None; sys.argv[0] = %r; "
               "runpy.run_path(%r, run_name='__main__')" % (tool, tool))
    status, out, err = real_nets.run([sys.executable, "-c", program, "caffe.log", "--no-evaluation", "-o", "report.html"])
    assert status == 0 and not err, err
    Page("report.html").check()
    assert "No run was evaluated" in Page("report.html").text


@pytest.mark.parametrize("tool, arguments, purpose", [
    ("report.py", ["caffe.log", "-o", "report.html"], "pictures of report.html"),
    ("inspect_h.py", ["plot", "H.npy", "-o", "H.png"], "picture H.png"),
    ("make_h.py", ["H.npy", "-o", "H.csv", "--plot", "H.png"], "picture H.png")])
def test_without_matplotlib(folder, monkeypatch, tool, arguments, purpose):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, out, err = run_main(tool, *arguments)
    assert status == 2 and not out
    assert err == ("%s: error: expected the Python package matplotlib, for the %s, got none: pip install matplotlib, or "
                   "run it by tools/with_caffe.sh\n" % (tool, purpose))


# The page

class Page(HTMLParser, object):
    """A page as it is written: its tags, texts and pictures."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self, path):
        super(Page, self).__init__()
        self.tags, self.open, self.texts, self.pictures, self.problems = [], [], [], [], []
        with open(path, "rb") as file:
            self.content = file.read().decode("utf-8")
        self.feed(self.content)
        self.close()
        self.text = "".join(self.texts)

    def handle_starttag(self, tag, pairs):
        attributes = dict(pairs)
        self.tags.append((tag, attributes))
        if tag not in self.VOID:
            self.open.append((tag, attributes))
        if tag == "img":
            self.pictures.append(attributes)
        if tag == "table" and not any(outer.get("class") == "scroll" for _, outer in self.open):
            self.problems.append("a table that does not scroll in itself")

    def handle_endtag(self, tag):
        if not self.open or self.open.pop()[0] != tag:
            self.problems.append("</%s> closes something else" % tag)

    def handle_data(self, text):
        self.texts.append(text)

    def handle_entityref(self, name):  # Python 2
        self.texts.append({"amp": "&", "lt": "<", "gt": ">", "quot": '"'}[name])

    def handle_charref(self, number):
        self.texts.append(chr(int(number)))

    def check(self):
        """Check what holds for every page: it needs nothing else, can be read aloud, and fits a narrow window."""
        names = [tag for tag, _ in self.tags]
        assert not self.problems and not self.open, (self.problems, self.open)
        assert not set(names) & {"script", "link", "iframe", "object", "embed", "form", "base", "video"}
        assert self.content.startswith("<!DOCTYPE html>\n<html lang=\"en\">") and names.count("h1") == 1
        assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in [a for _, a in self.tags]
        assert ("meta", {"charset": "utf-8"}) in self.tags
        for tag, attributes in self.tags:
            assert not [name for name in attributes if name.startswith("on")]
            assert "href" not in attributes and not ("src" in attributes and tag != "img")
        style = re.search("<style>(.*?)</style>", self.content, re.S).group(1)
        assert "url(" not in style and "@import" not in style
        assert ".scroll { overflow-x: auto; max-width: 100%" in style and "img { max-width: 100%; height: auto" in style
        for picture in self.pictures:
            assert picture["alt"] and picture["src"].startswith("data:image/png;base64,")
            png = base64.b64decode(picture["src"].partition(",")[2])
            assert png.startswith(b"\x89PNG\r\n\x1a\n")
            assert 200 < int(picture["width"]) < 1700 and 100 < int(picture["height"]) < 1700
        assert all(len(picture["alt"]) > 15 for picture in self.pictures)
        assert names.count("figcaption") == len(self.pictures)


def test_one_learning_rate_for_all_makes_no_chart(methods):
    report(*ALL[:2] + ["--no-evaluation", "-o", "report.html"])
    assert re.findall("<figcaption>(.*?)</figcaption>", Page("report.html").content) == [
        "training loss", "test accuracy", "test loss"]


def test_the_page(methods):
    report(*ALL + ["--distances", "../D.csv", "--names", "../classes.txt", "-o", "report.html"])
    page = Page("report.html")
    page.check()
    assert re.findall("<h2>(.*?)</h2>", page.content) == [
        "Training", "Decisions on the test data", "Differences, seed by seed", "Recall of each class",
        "What is taken for what", "Confidence", "What the figures mean", "Which decision?"]
    for name in ("slow", "fast"):
        assert re.search(r'<p class="headline">%s: accuracy 0.\d{4}, lowest recall 0.\d{4} [(](shirt|dress|boot)[)]</p>' % name,
                         page.content)
    captions = re.findall("<figcaption>(.*?)</figcaption>", page.content)
    assert captions == ["training loss", "test accuracy", "test loss", "learning rate",
                        "Deciding for the most probable class", "Deciding for the least expected cost",
                        "What each mistake costs", "slow, most probable class", "slow, least expected cost",
                        "fast, most probable class", "fast, least expected cost", "Reliability"]
    for words in ("expected cost", "severity", "top-3 cost", "ECE", "balanced accuracy", "shirt", "99 %", "Student"):
        assert words in page.text, words


def test_figures_on_the_page_are_those_of_the_json(methods):
    found = as_json(*ALL + ["--tree", "../tree.txt", "--names", "../classes.txt", "-o", "report.html"])
    text = Page("report.html").text
    for method in found["methods"]:
        for decision in method["evaluation"].values():
            for key in ("accuracy", "cost", "expected_cost"):
                assert "%.4f" % decision["scores"][key]["mean"] in text


def test_many_outputs_share_a_picture(wrong):
    line = "I1029 14:52:46.795838 1 solver.cpp:397] %s\n"
    with open("caffe.log", "w") as log:
        for iteration in range(3):
            log.write(line % "Iteration %d, Testing net (#0)" % iteration)
            for i in range(3000):
                log.write(line % "    Test net output #%d: per_class = %g" % (i, i / 3000))
            for i in range(3000, 3100):
                log.write(line % "    Test net output #%d: $x_{%d$ = 1e308" % (i, i))
    start = time.time()
    report("caffe.log", "--no-evaluation", "-o", "report.html")
    page = Page("report.html")
    page.check()
    assert len(page.pictures) == 2 and len(page.content) < 2e5 and time.time() - start < 20
    assert "the median of 3000 outputs" in page.text and "beyond 1e+100 are not drawn" in page.text


def test_intervals_of_shares_are_shares(methods):
    found = as_json(*ALL + ["--distances", "../D.csv"])
    for method in found["methods"]:
        for evaluation in method["evaluation"].values():
            ends = [interval[end] for interval in evaluation["recalls"] + [evaluation["scores"]["accuracy"]]
                    for end in ("low", "high")]
            assert min(ends) >= 0 and max(ends) <= 1 and evaluation["scores"]["cost"]["low"] >= 0
    for difference in found["differences"]:
        interval = difference["scores"]["accuracy"]
        assert -1 <= interval["low"] <= interval["mean"] <= interval["high"] <= 1
    out = report(*ALL)
    row = [line.split() for line in out.splitlines() if line.startswith(("method ", "class 2 (16)"))]
    assert row[0][:2] == ["method", "accuracy"] and len(row) == 2


def test_hostile_names_stay_text(folder):
    hostile = u"<script>alert(1)</script> $x_1$ \u2603 \u5c65"
    with open("hostile.txt", "wb") as file:
        file.write((hostile + u"\n&amp;\n\"'\n").encode("utf-8"))
    report("<img onerror>=caffe.log", "--names", "hostile.txt", "-o", "report.html")
    page = Page("report.html")
    page.check()
    assert hostile in page.text and "<img onerror>" in page.text
