"""The example fashion_mnist: its data, its parts, and a quick run of all of it."""
from __future__ import division, print_function

import gzip
import io
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
from _pytest.monkeypatch import MonkeyPatch  # pytest's own name for it is newer

import counts

caffe = pytest.importorskip("caffe")
lmdb = pytest.importorskip("lmdb")
caffe_pb2 = pytest.importorskip("caffe.proto.caffe_pb2")

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EXAMPLE = os.path.join(ROOT, "examples", "fashion_mnist")
TRAIN = os.path.join(EXAMPLE, "train.py")
sys.path[:0] = [EXAMPLE, os.path.join(ROOT, "examples", "common")]

import data
import example_runs
import experiments
import image_input
import jobs
import net
import runs
import steps
import tables
from caffe_losses.evaluation.comparison import Metric
from example_runs import run_here, running_with

def read_lmdb(path):
    """Images and labels as Caffe would read them, in its order."""
    images, labels = [], []
    env = lmdb.open(path, readonly=True, lock=False)
    with env.begin() as transaction:
        for _, value in transaction.cursor():
            datum = caffe_pb2.Datum.FromString(value)
            images.append(np.frombuffer(datum.data, np.uint8).reshape(
                datum.channels, datum.height, datum.width)[0])
            labels.append(datum.label)
    env.close()
    return np.array(images), np.array(labels)


@pytest.fixture
def labelled():
    """Images that can be told apart, with labels: 20 of each class."""
    labels = np.arange(200) % 10
    images = np.zeros((200, 28, 28), np.uint8)
    images[:, 0, 0] = np.arange(200)
    images[:, 0, 1] = labels
    return images, labels


# Data

def test_long_tail_counts():
    assert data.long_tail_counts(6000, 60).tolist() == [
        6000, 3597, 2156, 1293, 775, 465, 278, 167, 100, 60]


def test_split_takes_what_it_is_told_and_no_image_twice(labelled):
    _, labels = labelled
    counts = range(1, 11)
    train, validation = data.split(labels, counts, 4)
    assert np.bincount(labels[train]).tolist() == list(counts)
    assert np.bincount(labels[validation]).tolist() == [4] * 10
    assert len(set(train) | set(validation)) == len(train) + len(validation)
    again = data.split(labels, counts, 4)
    assert np.array_equal(train, again[0]) and np.array_equal(validation, again[1])


def test_split_of_too_few_images(labelled):
    with pytest.raises(data.DataError, match="class 0: 21 images wanted, there are 20"):
        data.split(labelled[1], 18, 3)


def test_every_seed_reads_the_same_images_in_its_own_order(tmp_path, labelled):
    experiment = experiments.Experiment("few", [], [0, 1], 1, [3] * 10, 2)
    folder = runs.Folder(str(tmp_path))
    steps.write_data(folder, experiment, labelled)
    (images0, labels0), (images1, labels1) = [
        read_lmdb(folder("data", "few_seed%d" % seed)) for seed in (0, 1)]
    assert not np.array_equal(images0, images1)
    assert sorted(images0[:, 0, 0]) == sorted(images1[:, 0, 0])
    for images, labels in ((images0, labels0), (images1, labels1)):
        assert np.array_equal(images[:, 0, 1], labels)
        assert np.bincount(labels).tolist() == [3] * 10
    validation, _ = read_lmdb(folder("data", "few_validation"))
    assert len(validation) == 20
    assert not set(validation[:, 0, 0]) & set(images0[:, 0, 0])


def test_write_lmdb_replaces_what_is_there_even_half_an_lmdb(tmp_path, labelled):
    images, labels = labelled
    path = str(tmp_path / "images")
    os.mkdir(path + ".unfinished")
    (tmp_path / "images.unfinished" / "data.mdb").write_bytes(b"half")
    data.write_lmdb(path, images, labels)
    data.write_lmdb(path, images[:5], labels[:5])
    assert np.array_equal(read_lmdb(path)[0], images[:5])
    assert os.listdir(str(tmp_path)) == ["images"]


def test_write_lmdb_of_more_than_there_is_room_for_leaves_what_is_there(tmp_path, labelled, monkeypatch):
    images, labels = labelled
    path = str(tmp_path / "images")
    data.write_lmdb(path, images[:5], labels[:5])
    lmdb_open = lmdb.open
    monkeypatch.setattr(data.lmdb, "open", lambda path, map_size: lmdb_open(path, map_size=2 ** 16))
    with pytest.raises(data.DataError) as failure:
        data.write_lmdb(path, images, labels)
    monkeypatch.undo()
    assert str(failure.value).startswith(path + ": ") and "MDB_MAP_FULL" in str(failure.value)
    assert len(str(failure.value).splitlines()) == 1
    assert np.array_equal(read_lmdb(path)[0], images[:5])
    assert os.listdir(str(tmp_path)) == ["images"]


def idx(*shape):
    """The bytes of an IDX file of zeros."""
    return struct.pack(">4B%dI" % len(shape), 0, 0, 8, len(shape), *shape) + b"\0" * int(np.prod(shape))


def gzipped(content):
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb") as file:
        file.write(content)
    return stream.getvalue()


@pytest.fixture
def write_data(tmp_path, monkeypatch):
    """A function that writes the files of the part "t10k" and makes them the data set."""
    monkeypatch.setattr(data, "FOLDER", str(tmp_path))

    def write(images, labels):
        (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(images)
        (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(labels)
    return write


IMAGES, LABELS = gzipped(idx(2, 28, 28)), gzipped(idx(2))


def test_data_of_the_right_format(write_data):
    write_data(IMAGES, LABELS)
    images, labels = data.load("t10k")
    assert images.shape == (2, 28, 28) and labels.tolist() == [0, 0]


HEADER = "images-.*: expected an IDX file of bytes along 3 axes, got one that starts with b?"
OTHER_FORMATS = {  # images, labels and a part of the error
    "empty": (gzipped(b""), LABELS, HEADER + "''"),
    "3 bytes": (gzipped(b"\0\0\x08"), LABELS, HEADER),
    "half a header": (gzipped(idx(2, 28, 28)[:15]), LABELS, HEADER),
    "labels for images": (LABELS, LABELS, HEADER),
    "floats": (gzipped(b"\0\0\x0d" + idx(2, 28, 28)[3:]), LABELS, HEADER),
    "a byte short": (gzipped(idx(2, 28, 28)[:-1]), LABELS, "images-.*: expected 2 x 28 x 28 values, got 1567"),
    "2^64 bytes": (gzipped(struct.pack(">4B3I", 0, 0, 8, 3, 2 ** 31, 2 ** 31, 4)), LABELS, "images-.* values, got 0"),
    "no gzip": (b"", LABELS, "images-"),
    "gzip cut off": (IMAGES[:12], LABELS, "images-"),
    "gzip's end cut off": (IMAGES[:-6], LABELS, "images-"),
    "gzip damaged": (IMAGES[:10] + b"\xff" * 10, LABELS, "images-"),
    "too many labels": (IMAGES, gzipped(idx(3)), "the t10k images, shape .2, 28, 28., do not fit the 3 labels"),
    "label 10": (IMAGES, gzipped(idx(2)[:-1] + b"\x0a"), "expected t10k labels of 0 to 9, got 10"),
}


@pytest.mark.parametrize("name", sorted(OTHER_FORMATS))
def test_data_of_another_format_is_one_line(write_data, name):
    images, labels, message = OTHER_FORMATS[name]
    write_data(images, labels)
    with pytest.raises(data.DataError, match=message) as failure:
        data.load("t10k")
    assert len(str(failure.value).splitlines()) == 1


def needs_data():
    if not os.path.isdir(data.FOLDER):
        pytest.skip("there is no Fashion-MNIST at " + data.FOLDER)


def test_real_data():
    needs_data()
    images, labels = data.load("t10k")
    assert images.shape == (10000, 28, 28) and np.bincount(labels).tolist() == [1000] * 10


# Net

def test_deployed_net_is_the_trunk_alone():
    loss = caffe_pb2.NetParameter()
    layer = loss.layer.add(name="loss", type="SoftmaxWithLoss", bottom=["score", "label"], top=["loss"])
    layer.exclude.add(stage=["deploy"])
    whole = net.train_val("name", loss, "train", "validation")

    def kept(rule):
        return not rule.stage or "deploy" in rule.stage

    deployed = [layer.type for layer in whole.layer
                if not (layer.exclude or layer.type in ("Data", "Accuracy"))
                and all(map(kept, layer.include))]
    assert deployed == ["Input", "InnerProduct", "ReLU", "InnerProduct", "Softmax"]
    assert sum(layer.type == "Data" for layer in whole.layer) == 2


def test_smoothing_leaves_the_true_class_as_much_as_h():
    H = np.array([[.6, .4], [.2, .8]])
    epsilon = steps.smoothing_of(H)
    assert 1 - epsilon + epsilon / 2 == pytest.approx(.7)


@pytest.mark.parametrize("seed", range(10))
def test_shuffled_classes_leave_none_at_its_place(seed):
    order = data.shuffled_classes(seed)
    assert sorted(order) == list(range(10)) and (order != np.arange(10)).all()


# Report

def test_comparison_is_a_sentence():
    metrics = [Metric("cost", "mean cost", "%.2f", True), Metric("accuracy", "top-1", "%.1f", False),
               Metric("recall", "recall", "%.1f", False)]
    before = {"cost": [.30, .31, .32, .33], "accuracy": [.5, .6, .5, .6], "recall": [.8, .8, .8, .9]}
    after = {"cost": [.20, .22, .21, .23], "accuracy": [.6, .5, .6, .6], "recall": [.1, .1, .1, .2]}
    assert tables.comparison(metrics, before, after) == (
        "BETTER: mean cost 0.32 -> 0.21 (4/4); WITHIN THE NOISE: top-1 0.6 -> 0.6 (2/4); "
        "WORSE: recall 0.8 -> 0.1 (0/4).")


# Jobs

def python(code):
    return [sys.executable, "-c", code]


def test_failing_job_names_its_log_and_ends_the_others(tmp_path):
    mark = str(tmp_path / "mark")
    waiting = jobs.Job(python("import time; time.sleep(60)") + [mark], str(tmp_path / "0.log"))
    failing = jobs.Job(python("print('a reason'); raise SystemExit(7)"), str(tmp_path / "1.log"))
    with pytest.raises(jobs.JobFailed) as failure:
        jobs.run([waiting, failing], 2)
    assert "status 7" in str(failure.value)
    assert failing.log in str(failure.value) and "a reason" in str(failure.value)
    assert not running_with(mark)


def test_failing_caffe_shows_the_cause_not_the_stack_trace(tmp_path):
    job = jobs.Job(["caffe", "train", "-solver", str(tmp_path / "none")], str(tmp_path / "log"))
    with pytest.raises(jobs.JobFailed) as failure:
        jobs.run([job], 1)
    assert "File not found" in str(failure.value)
    assert "google::LogMessage" not in str(failure.value)


def test_jobs_keep_to_their_number_and_all_run(tmp_path):
    logs = [str(tmp_path / ("%d.log" % i)) for i in range(5)]
    done = []
    jobs.run([jobs.Job(python("import os; print(os.environ['WORD'])"), log) for log in logs], 2,
             {"WORD": "hello"}, on_end=lambda job: done.append(job))
    assert len(done) == 5
    assert [io.open(log).read() for log in logs] == ["hello\n"] * 5


def test_jobs_end_with_a_parent_that_is_killed(tmp_path):
    mark, log = str(tmp_path / "mark"), tmp_path / "log"
    job = python("import os, time; os.write(1, b'started'); time.sleep(600)") + [mark]
    parent = subprocess.Popen(python(
        "import sys; sys.path.insert(0, %r); import jobs; jobs.run([jobs.Job(%r, %r)], 1)"
        % (os.path.dirname(jobs.__file__), job, str(log))))
    example_runs.wait_until(lambda: log.exists() and log.read_bytes() == b"started")
    parent.kill()
    parent.wait()
    example_runs.wait_until(lambda: not running_with(mark))


ENDLESS = """net_param {
  layer { name: "x" type: "DummyData" top: "x" dummy_data_param { shape { dim: 1 dim: 2 } } }
  layer { name: "y" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 2 } }
  layer { name: "loss" type: "EuclideanLoss" bottom: "x" bottom: "y" top: "loss" }
}
base_lr: 1e-9 lr_policy: "fixed" max_iter: 2000000000 solver_mode: CPU snapshot_prefix: "%s"
"""


def test_an_interrupt_ends_the_jobs_and_caffe_saves_nothing(tmp_path):
    solver, log = tmp_path / "endless.solver", tmp_path / "log"
    solver.write_bytes((ENDLESS % (tmp_path / "snapshot")).encode("utf-8"))
    job = jobs.Job(["caffe", "train", "-solver", str(solver)], str(log))
    process = example_runs.start(python(
        "import sys; sys.path.insert(0, %r); import jobs; jobs.run([jobs.Job(*%r)], 1)"
        % (os.path.dirname(jobs.__file__), tuple(job))), GLOG_minloglevel="0")
    example_runs.interrupt(process, lambda: log.exists() and b"Starting Optimization" in log.read_bytes())
    assert process.communicate()[1].splitlines()[-1] == b"KeyboardInterrupt"
    assert not running_with(str(solver))
    assert sorted(os.listdir(str(tmp_path))) == ["endless.solver", "log"]


# The command

IN_TABLES = {"none", "balanced", "running", "max_over_count"}  # methods that the picture shows


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """A quick run: its folder, status, standard output and error."""
    needs_data()
    output = tmp_path_factory.mktemp("fashion_mnist")
    patch = MonkeyPatch()
    patch.setattr(steps, "jobs", example_runs.JobsHere)
    if not counts.ALL:
        patch.setattr(experiments, "TAIL", [method for method in experiments.TAIL if method.name in IN_TABLES])
    yield (output,) + run_here(TRAIN, "--quick", "--output", output)
    patch.undo()


@pytest.mark.scores
def test_an_interrupted_run_says_so(tmp_path, monkeypatch):
    needs_data()
    monkeypatch.setattr(steps, "make_matrices", lambda *_: os.kill(os.getpid(), signal.SIGINT) or time.sleep(60))
    status, _, err = run_here(TRAIN, "--quick", "--output", tmp_path)
    assert status == 130
    assert err.strip().splitlines()[-1].startswith("train.py: stopped")
    assert not (tmp_path / "results.json").exists()


@pytest.mark.scores
def test_whole_run(whole_run):
    output, status, out, err = whole_run
    assert status == 0, err
    assert out.splitlines()[-1].endswith(str(output / "results.png"))
    assert (output / "results.png").read_bytes().startswith(b"\x89PNG")
    results = json.loads((output / "results.json").read_bytes().decode("utf-8"))
    markdown = (output / "RESULTS.md").read_bytes().decode("utf-8")
    for method in experiments.TREE + experiments.TAIL:
        assert method.title in out and method.title in markdown
    cost = results["tree"]["native"]["probable"]["cost"]
    assert len(cost) == 2
    assert "%.4f +-%s" % (np.mean(cost), ("%.4f" % np.std(cost, ddof=1))[1:]) in out
    assert np.shape(results["tail"]["balanced"]["recalls"]) == (2, 10)


@pytest.mark.scores
def test_printed_commands_can_be_run_again(whole_run):
    output, _, out, _ = whole_run
    command = re.search(r"tools/with_caffe.sh (tools/make_h.py .*smoothing.*)", out).group(1).split()
    written = output / "matrices" / "H_smoothing.binaryproto"
    before = written.read_bytes()
    subprocess.check_call([sys.executable] + command, cwd=ROOT)
    assert written.read_bytes() == before


@pytest.mark.scores
def test_deployed_net_is_as_right_as_caffe_says(whole_run):
    output = whole_run[0]
    images, labels = read_lmdb(str(output / "data" / "tree_validation"))
    prefix = str(output / "nets" / "tree_native_seed1")
    p = image_input.outputs(prefix + ".prototxt", prefix + "_iter_60.caffemodel", images)
    with io.open(prefix + ".log") as log:
        said = re.findall(r"Test net output #\d: accuracy = ([\d.]+)", log.read())[-1]
    assert np.mean(p.argmax(axis=1) == labels) == pytest.approx(float(said))


@pytest.mark.scores
def test_ours_and_native_train_alike(whole_run):
    tree = json.loads((whole_run[0] / "results.json").read_bytes().decode("utf-8"))["tree"]
    assert tree["ours"]["probable"]["accuracy"] == pytest.approx(
        tree["native"]["probable"]["accuracy"], abs=.002)


@pytest.mark.scores
def test_missing_data_is_one_line(tmp_path):
    status, _, err = example_runs.run(TRAIN, "--quick", "--output", str(tmp_path),
                                      FASHION_MNIST=str(tmp_path / "nowhere"))
    assert status == 2
    assert err.startswith("train.py: error: no Fashion-MNIST at " + str(tmp_path / "nowhere"))
    assert len(err.splitlines()) == 1


@pytest.mark.scores
def test_damaged_data_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"not gzip at all")
    monkeypatch.setattr(data, "FOLDER", str(tmp_path))
    status, _, err = run_here(TRAIN, "--quick", "--output", tmp_path)
    assert status == 2
    assert "train-images-idx3-ubyte.gz" in err and len(err.splitlines()) == 1


@pytest.mark.scores
def test_folder_in_use_is_one_line(tmp_path):
    with runs.alone_in(runs.Folder(str(tmp_path))):
        status, _, err = run_here(TRAIN, "--quick", "--output", tmp_path)
    assert status == 2
    assert "another run is writing into " + str(tmp_path) in err and len(err.splitlines()) == 1


def test_wrong_option_is_one_line(tmp_path):
    status, _, err = run_here(TRAIN, "--output", tmp_path, "--seeds", 1)
    assert status == 2
    assert "at least 2, got '1'" in err and len(err.splitlines()) == 1
