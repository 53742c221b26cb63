"""The examples as files: their data, the nets that their make_files.sh makes, and a copy in another folder."""
from __future__ import division, print_function

import filecmp
import gzip
import io
import json
import os
import re
import shutil
import sys

import numpy as np
import pytest

import commands
import counts
import example_runs
import real_nets

caffe = pytest.importorskip("caffe")
lmdb = pytest.importorskip("lmdb")
caffe_pb2 = pytest.importorskip("caffe.proto.caffe_pb2")

EXAMPLES = os.path.join(real_nets.CHECKOUT, "examples")
NAMES = ("fashion_mnist", "long_tail", "segmentation", "triplets")
DATA = os.environ.get("FASHION_MNIST", "/usr/share/datasets/fashion-mnist")
MADE = r"_lmdb|output$|__pycache__|\.caffemodel$|\.solverstate$"  # what an example has written
COUNTS = {"fashion_mnist": [100] * 10, "long_tail": [6000, 3597, 2156, 1293, 775, 465, 278, 167, 100, 60]}

needs_data = pytest.mark.skipif(not os.path.isdir(DATA), reason="there is no Fashion-MNIST at " + DATA)


def read(*path):
    with io.open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


def write(text, *path):
    with io.open(os.path.join(*path), "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode("utf-8"))


def copy(name, target):
    """Copy an example without what it has written."""
    shutil.copytree(os.path.join(EXAMPLES, name), target,
                    ignore=lambda _, names: [one for one in names if re.search(MADE, one)])


def module_of(name):
    """The create_data.py of an example as a module."""
    return commands.module_of("create_data.py", os.path.join("examples", name))


def create_data(name, *arguments):
    """Run create_data.py; return status, standard output and error."""
    return example_runs.run_here(os.path.join(EXAMPLES, name, "create_data.py"), *arguments)


WITH_CAFFE = """#!/bin/sh
case $1 in
    */*.py) exec "$PYTHON" "$@" ;;
    *.py) tool=$1; shift; exec "$PYTHON" "%s/$tool" "$@" ;;
    *) exec "$@" ;;
esac
""" % os.path.join(real_nets.CHECKOUT, "tools")


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """A function that runs a line in a folder, and returns what it printed.

    with_caffe.sh does what the one of tools/ does where Caffe is, without looking for Caffe each time.
    """
    bin_folder = tmp_path_factory.mktemp("bin")
    write(WITH_CAFFE, str(bin_folder), "with_caffe.sh")
    os.chmod(str(bin_folder / "with_caffe.sh"), 0o755)
    environment = dict(os.environ, PATH=str(bin_folder) + os.pathsep + os.environ["PATH"], PYTHON=sys.executable,
                       GLOG_minloglevel="0")

    def run(line, folder):
        status, out, err = real_nets.run(["sh", "-c", line], cwd=str(folder), env=environment)
        assert status == 0, (out, err)
        return out + err
    return run


def read_lmdb(*path):
    """Images and labels as Caffe would read them, in its order."""
    images, labels = [], []
    env = lmdb.open(os.path.join(*map(str, path)), readonly=True, lock=False)
    with env.begin() as transaction:
        for _, value in transaction.cursor():
            datum = caffe_pb2.Datum.FromString(value)
            images.append(np.frombuffer(datum.data, np.uint8).reshape(datum.height, datum.width))
            labels.append(datum.label)
    env.close()
    return np.array(images), np.array(labels)


# Data

@needs_data
@pytest.mark.parametrize("name", sorted(COUNTS))
def test_every_seed_reads_the_same_images_in_its_own_order(name, tmp_path):
    assert create_data(name, "--seeds", 2, "--folder", tmp_path)[0] == 0
    (images, labels), (others, of_others) = [read_lmdb(tmp_path, "train_seed%d_lmdb" % seed) for seed in (0, 1)]
    assert np.bincount(labels).tolist() == np.bincount(of_others).tolist() == COUNTS[name]
    assert not np.array_equal(images, others)
    rows, of_other_rows = [sorted(image.tobytes() + b"%d" % label for image, label in zip(*both))
                           for both in ((images, labels), (others, of_others))]
    assert rows == of_other_rows
    assert np.bincount(read_lmdb(tmp_path, "test_lmdb")[1]).tolist() == [1000] * 10


@needs_data
def test_the_labels_are_those_of_the_images(tmp_path):
    assert create_data("triplets", "--folder", tmp_path, "--limit", 50)[0] == 0
    images, labels = read_lmdb(tmp_path, "train_seed0_lmdb")
    originals, their_labels = [part[:50] for part in module_of("triplets").read("train")]
    assert sorted(zip(map(np.ndarray.tobytes, images), labels)) == sorted(
        zip(map(np.ndarray.tobytes, originals), their_labels))


@pytest.mark.parametrize("name", NAMES)
def test_missing_and_damaged_data_are_one_line(name, tmp_path, monkeypatch):
    for i, content in enumerate((None, b"not gzip at all", gzip_of(b""), gzip_of(b"\0" * 15), gzip_of(b"\0" * 17),
                                 gzip_of(b"\0" * 1600)[:-9])):
        source = tmp_path / str(i)
        source.mkdir()
        if content is not None:
            (source / "train-images-idx3-ubyte.gz").write_bytes(content)
        monkeypatch.setenv("FASHION_MNIST", str(source))
        status, out, err = create_data(name, "--folder", tmp_path / "out")
        assert status == 2 and len(err.splitlines()) == 1, err
        assert re.match(r"create_data.py: error: .*train-images-idx3-ubyte.gz: expected a file of Fashion-MNIST, got "
                        ".*; install Debian's dataset-fashion-mnist, or set FASHION_MNIST to the folder", err), err


def gzip_of(content):
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb") as file:
        file.write(content)
    return stream.getvalue()


@pytest.fixture(params=NAMES)
def write_lmdb(request):
    """The function of an example that writes an LMDB."""
    return module_of(request.param).write_lmdb


def test_an_lmdb_is_replaced_even_where_there_is_half_of_one(write_lmdb, tmp_path):
    images, labels = np.arange(200 * 784).reshape(200, 28, 28).astype(np.uint8), np.arange(200) % 10
    path = str(tmp_path / "images")
    os.mkdir(path + ".unfinished")
    (tmp_path / "images.unfinished" / "data.mdb").write_bytes(b"half")
    write_lmdb(path, images, labels)
    write_lmdb(path, images[:5], labels[:5])
    assert np.array_equal(read_lmdb(path)[0], images[:5]) and read_lmdb(path)[1].tolist() == [0, 1, 2, 3, 4]
    assert os.listdir(str(tmp_path)) == ["images"]


def test_an_lmdb_that_does_not_fit_leaves_what_is_there(write_lmdb, tmp_path, monkeypatch):
    images, labels = np.zeros((200, 28, 28), np.uint8), np.zeros(200, int)
    path = str(tmp_path / "images")
    write_lmdb(path, images[:5], labels[:5])
    lmdb_open = lmdb.open
    monkeypatch.setattr(lmdb, "open", lambda path, map_size: lmdb_open(path, map_size=2 ** 16))
    with pytest.raises(lmdb.MapFullError):
        write_lmdb(path, images, labels)
    monkeypatch.undo()
    assert np.array_equal(read_lmdb(path)[0], images[:5])


# Files

@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with the examples in it as in the checkout, and those of segmentation's data that make_files.sh reads."""
    folder = str(tmp_path_factory.mktemp("root"))
    for name in NAMES + ("study",):
        copy(name, os.path.join(folder, "examples", name))
    return folder


@needs_data
@pytest.mark.scores
@pytest.mark.parametrize("name", NAMES + ("study",))
def test_the_files_are_those_that_make_files_makes(name, root, shell):
    folder = os.path.join(root, "examples", name)
    if name == "segmentation":
        assert create_data(name, "--folder", folder)[0] == 0
    lines = read(folder, "make_files.sh")
    made = [one for one in os.listdir(folder) if re.search(r"\.(prototxt|binaryproto)$", one) and not
            re.match("(conv_)?softmax_train_val|conv_train_val|solver|real_", one)]
    assert made and "with_caffe.sh sh examples/%s/make_files.sh" % name in lines
    for one in made:
        os.remove(os.path.join(folder, one))
    shell("with_caffe.sh sh examples/%s/make_files.sh" % name, root)
    same = filecmp.cmpfiles(folder, os.path.join(EXAMPLES, name), os.listdir(folder), shallow=False)[0]
    assert set(made) <= set(same)


@pytest.mark.parametrize("name", NAMES[:3])
def test_use_loss_makes_the_net_with_h_of_the_net_without(name, tmp_path):
    folder = "examples/" + name
    status, _, err = commands.run_main(
        "use_loss.py", folder + "/softmax_train_val.prototxt", "--source", folder + "/infogainH.binaryproto",
        "-o", str(tmp_path / "made"), cwd=real_nets.CHECKOUT)
    assert status == 0, err
    assert read(str(tmp_path), "made") == read(EXAMPLES, name, "infogain_train_val.prototxt")


def solvers(name):
    return sorted(one for one in os.listdir(os.path.join(EXAMPLES, name)) if one.endswith("solver.prototxt"))


@needs_data
@pytest.mark.scores
@pytest.mark.parametrize("name", NAMES)
def test_a_newcomer_copies_an_example_changes_its_paths_and_trains(name, tmp_path, shell):
    copy(name, str(tmp_path / "mine"))
    for one in os.listdir(str(tmp_path / "mine")):
        if one.endswith("prototxt"):
            text = read(str(tmp_path), "mine", one).replace("examples/" + name, "mine")
            write(re.sub("max_iter: .*", "max_iter: 3", re.sub("test_iter: .*", "test_iter: 1", text)),
                  str(tmp_path), "mine", one)
    shell("with_caffe.sh mine/create_data.py --limit 20", tmp_path)
    assert solvers(name)
    for solver in solvers(name):
        status, out, err = commands.run_main("check_net.py", "mine/" + solver, cwd=tmp_path)
        assert status == 0 and "0 errors" in out, (out, err)
        assert "Optimization Done" in shell("caffe train -solver mine/%s" % solver, tmp_path)
    prefix = re.search('snapshot_prefix: "(.*)"', read(str(tmp_path), "mine", "solver.prototxt")).group(1)
    net = caffe.Net(str(tmp_path / "mine" / "deploy.prototxt"), caffe.TEST,
                    weights=str(tmp_path / prefix) + "_iter_3.caffemodel")
    assert np.isfinite(list(net.forward().values())[0]).all()


# make train

@needs_data
@pytest.mark.scores
@pytest.mark.parametrize("name", ("fashion_mnist", "long_tail"))
def test_every_loss_of_the_figures_is_trained(name, root, shell):
    """The comparison that make train runs; all of it, with few iterations, where there is time."""
    for one, changes in (("solver.prototxt", [("max_iter: .*", "max_iter: 20"), ("test_iter: .*", "test_iter: 1")]),
                         ("compare.sh", [('create_data.py"', 'create_data.py" --limit 20')])):
        text = read(EXAMPLES, name, one)
        for pattern, new in changes:
            text = re.sub(pattern, new, text)
        write(text, root, "examples", name, one)
    out = shell("with_caffe.sh sh examples/%s/compare.sh --seeds 1 %s" % (name, "--print-jobs" * (not counts.ALL)), root)
    for method in json.loads(read(EXAMPLES, name, "results.json"))["methods"]:
        assert "%s%s" % ("\n" if counts.ALL else ": missing: ", method["name"]) in out


def test_the_figures_are_what_results_keeps(root, shell):
    shutil.copy(os.path.join(EXAMPLES, "results.py"), os.path.join(root, "examples"))
    for name in ("fashion_mnist", "long_tail"):
        results = json.loads(read(EXAMPLES, name, "results.json"))
        for method in results["methods"]:
            for evaluation in method["evaluation"].values():
                evaluation.update(bins=[], confusion=[])
        folder = os.path.join(root, "examples", name)
        if not os.path.isdir(os.path.join(folder, "output")):
            os.mkdir(os.path.join(folder, "output"))
        write(json.dumps(dict(results, runs=[])), folder, "output", "results.json")
        os.remove(os.path.join(folder, "results.json"))
    shell("with_caffe.sh examples/results.py", root)
    for name in ("fashion_mnist", "long_tail"):
        assert json.loads(read(root, "examples", name, "results.json")) == json.loads(read(EXAMPLES, name, "results.json"))
    with open(os.path.join(root, "examples", "picture.png"), "rb") as file:
        assert file.read(4) == b"\x89PNG"


# The pages

def table(name):
    """The rows of the table of an example's page, without its head."""
    rows = re.findall(r"^\| (.*) \|$", read(EXAMPLES, name, "README.md"), re.M)
    return [row.split(" | ") for row in rows if not row.startswith("---")][1:]


FORMS = {"fashion_mnist": [("accuracy", "%.4f"), ("cost", "%.4f"), ("severity", "%.3f"), ("top_cost", "%.3f"),
                           ("calibration", "%.3f")],
         "long_tail": [("balanced", "%.3f")]}


@pytest.mark.parametrize("name", sorted(FORMS))
def test_the_table_of_the_page_has_the_figures(name):
    results = json.loads(read(EXAMPLES, name, "results.json"))
    expected = []
    for method in results["methods"]:
        found = method["evaluation"]["probable"]
        row = [method["name"]] + [form % found["scores"][key]["mean"] for key, form in FORMS[name]]
        if name == "long_tail":
            row += ["%.2f" % recall["mean"] for recall in found["recalls"]]
        expected.append(row)
    assert [row for row in table(name) if row[0] != "(training images)"] == expected


def test_the_page_of_segmentation_has_the_figures_of_the_study():
    (scores,) = [json.loads(read(EXAMPLES, "study", "results.json"))["dense"]["scores"]]
    expected = [[title] + ["%.3f" % np.mean(scores[method][way][key]) for key in ("mean_iu", "mean_recall", "accuracy")]
                for title, method, way in (("SoftmaxWithLoss", "none", "probable"),
                                           ("InfogainLoss with class weights", "median", "probable"),
                                           ("class weights at test time", "none", "prior"))]
    assert table("segmentation") == expected


def test_the_page_of_triplets_has_the_figures():
    results = json.loads(read(EXAMPLES, "triplets", "results.json"))
    titles = [("pixels", "pixels")] + [(name, title) for name, title, _ in results["methods"]]
    assert table("triplets") == [[title] + ["%.4f" % np.mean(results["scores"][name][key])
                                            for key in ("neighbours", "centroid")] for name, title in titles]


@pytest.mark.parametrize("name", NAMES)
def test_the_commands_of_the_page_name_what_there_is(name):
    page = read(EXAMPLES, name, "README.md")
    assert len(page.splitlines()) <= 30
    (lines,) = re.findall("```sh\n(.*?)```", page, re.S)
    lines = lines.splitlines()
    assert lines[0] == "with_caffe.sh examples/%s/create_data.py" % name and len(lines) <= 4
    for path in re.findall(r"examples/[\w/]+\.\w+", "\n".join(lines)):
        assert os.path.exists(os.path.join(real_nets.CHECKOUT, path)) or path.endswith(".caffemodel")


def test_what_every_example_writes_its_data_with_is_the_same():
    """Each script stands alone, to be copied; what it has in common with the others must not drift apart."""
    functions = {}
    for folder in ("fashion_mnist", "long_tail", "segmentation", "triplets"):
        with open(os.path.join(EXAMPLES, folder, "create_data.py")) as file:
            for text in file.read().split("\n\n\n"):
                name = text.startswith("def ") and text[len("def "):text.index("(")]
                if name in ("read", "_read_idx", "write_lmdb"):
                    functions.setdefault(name, {}).setdefault(text.rstrip(), []).append(folder)
    assert {name: [len(folders) for folders in of_name.values()] for name, of_name in functions.items()} == {
        "read": [4], "_read_idx": [4], "write_lmdb": [4]}
