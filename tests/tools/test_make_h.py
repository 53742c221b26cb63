"""make_h.py: every way to make H, every format, and errors that write nothing."""
from __future__ import division, print_function

import io
import json
import glob
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import real_nets
from commands import run_main
import sources
from caffe_losses.matrices import costs, gains
from caffe_losses.formats.matrix_files import read_matrix, write_matrix

EXAMPLE = os.path.join(real_nets.CHECKOUT, "examples", "fashion_mnist")
D = np.array([[0, 1, 3], [1, 0, 3], [3, 3, 0.]])


@pytest.fixture
def folder(tmp_path):
    """A folder with D.csv, H.npy, names and a tree."""
    write_matrix(str(tmp_path / "D.csv"), D)
    np.save(str(tmp_path / "H.npy"), np.eye(3) + .125)
    (tmp_path / "names.txt").write_text(u"T-shirt\nshirt\nb\u00f6ot\n", encoding="utf-8")
    (tmp_path / "tree.txt").write_text(u"all: 3\n  tops: 1\n    T-shirt\n    shirt\n  b\u00f6ot\n", encoding="utf-8")
    return str(tmp_path)


def make_h(folder, *arguments):
    status, out, err = run_main("make_h.py", *arguments, cwd=folder)
    assert status == 0 and not err, err
    return out


def made(folder, *arguments):
    make_h(folder, *(arguments + ("-o", "made.binaryproto")))
    return read_matrix(os.path.join(folder, "made.binaryproto"))


def test_from_a_matrix_bit_for_bit_and_as_caffe_reads_it(folder):
    caffe_io = pytest.importorskip("caffe.io", reason="compares with what Caffe reads")
    from caffe.proto import caffe_pb2
    out = make_h(folder, "H.npy", "-o", "infogainH.binaryproto")
    assert out.splitlines() == [
        "infogainH.binaryproto: H, 3 x 3, entries 0.125 to 1.125, row sums 1.375 to 1.375, symmetric, "
        "least loss 0.8252 (0.8252 to 0.8252 a class)",
        "with a net, here train_val.prototxt: %s train_val.prototxt --loss InfogainLoss --source infogainH.binaryproto"
        % real_nets.quoted("use_loss.py"),
        "next: %s --loss InfogainLoss --source infogainH.binaryproto"
        % real_nets.quoted("make_net.py")]
    proto = caffe_pb2.BlobProto()
    with open(os.path.join(folder, "infogainH.binaryproto"), "rb") as file:
        proto.ParseFromString(file.read())
    read = caffe_io.blobproto_to_array(proto)
    assert read.shape == (1, 1, 3, 3)
    assert read.astype(np.float32).tobytes() == (np.eye(3) + .125).astype(np.float32).tobytes()


def test_from_csv_and_between_formats(folder):
    make_h(folder, "H.npy", "-o", "H.csv")
    np.testing.assert_array_equal(made(folder, "H.csv"), np.eye(3) + .125)
    out = make_h(folder, "H.npy", "-o", "my H.csv")  # Caffe's own loss reads no .csv
    assert out.endswith(real_nets.quoted("make_net.py") + " --loss SoftmaxWithInfogainLoss --source 'my H.csv'\n")
    make_h(folder, "made.binaryproto", "-o", "back.npy")
    np.testing.assert_array_equal(np.load(os.path.join(folder, "back.npy")), np.eye(3) + .125)


def test_from_distances(folder):
    np.testing.assert_allclose(made(folder, "--distances", "D.csv", "--tau", "0.75"),
                               gains.gain_from_costs(D, tau=.75), rtol=1e-6)
    np.testing.assert_allclose(made(folder, "--distances", "D.csv", "--softmax-beta", "4"),
                               gains.gain_from_costs(D, beta=4), rtol=1e-6)


def test_from_a_tree(folder):
    H = made(folder, "--tree", "tree.txt", "--tau", "0.75", "--distances-out", "out.csv")
    np.testing.assert_array_equal(read_matrix(os.path.join(folder, "out.csv")), D)
    np.testing.assert_allclose(H, gains.gain_from_costs(D, tau=.75), rtol=1e-6)


def test_the_order_of_the_classes_is_told(folder):
    with io.open(os.path.join(folder, "order.txt"), "w", encoding="utf-8") as file:
        file.write(u"\ufeffb\u00f6ot\r\nT-shirt\r\nshirt\r\n")  # as Windows writes it
    out = make_h(folder, "--tree", "tree.txt", "--tau", "1", "-o", "H1.npy")
    assert "classes, in the order of the tree (--names sets another): 0 T-shirt, 1 shirt, 2 " in out
    out = make_h(folder, "--tree", "tree.txt", "--tau", "1", "-o", "H2.npy", "--names", "order.txt")
    assert "classes, in the order of order.txt: 0 b" in out
    first, second = (np.load(os.path.join(folder, name)) for name in ("H1.npy", "H2.npy"))
    np.testing.assert_allclose(second, first[np.ix_([2, 0, 1], [2, 0, 1])])


def test_the_tree_of_the_example(folder):
    make_h(folder, "--tree", os.path.join(EXAMPLE, "tree.txt"), "--names", os.path.join(EXAMPLE, "classes.txt"),
           "--tau", "0.75", "--distances-out", "out.csv", "-o", "H.npy")
    costs = read_matrix(os.path.join(folder, "out.csv"))
    groups = [{0, 2, 3, 4, 6}, {5, 7, 9}, {1}, {8}]  # labels of Fashion-MNIST: tops, footwear, trouser, bag
    for i in range(10):
        for j in range(10):
            together = any(i in group and j in group for group in groups)
            assert costs[i, j] == (0 if i == j else 1 if together else 3)


def test_a_tree_of_edges(folder):
    expected = made(folder, "--tree", "tree.txt", "--tau", "1")
    with io.open(os.path.join(folder, "tree.csv"), "w", encoding="utf-8") as file:
        file.write(u"parent,child,length\nall,tops,2\ntops,T-shirt,1\ntops,shirt,1\nall,b\u00f6ot,3")
    np.testing.assert_array_equal(made(folder, "--tree", "tree.csv", "--tau", "1", "--names", "names.txt"), expected)


def test_linear_from_confusion_and_embeddings(folder):
    counts = np.array([[8, 2, 0], [1, 9, 0], [0, 5, 5]])
    vectors = np.array([[1, 0], [0, 2], [-3, 0.]])
    write_matrix(os.path.join(folder, "counts.csv"), counts)
    np.save(os.path.join(folder, "vectors.npy"), vectors)
    for arguments, D in ((["--confusion", "counts.csv"], costs.costs_from_confusion(counts)),
                         (["--embeddings", "vectors.npy"], costs.costs_from_embeddings(vectors, "cosine")),
                         (["--embeddings", "vectors.npy", "--metric", "euclidean"],
                          costs.costs_from_embeddings(vectors, "euclidean"))):
        H = made(folder, "--linear", "--distances-out", "out.npy", *arguments)
        np.testing.assert_array_equal(np.load(os.path.join(folder, "out.npy")), D)
        np.testing.assert_allclose(H, gains.gain_from_costs(D, linear=True), rtol=1e-6)


def test_class_weights(folder):
    for name, text in (("w.txt", "1 2.5\n10 # the last\n"), ("w.csv", "1,2.5,10")):
        with open(os.path.join(folder, name), "w") as file:
            file.write(text)
    np.save(os.path.join(folder, "w.npy"), [1, 2.5, 10])
    for source in ("1,2.5,10", "w.txt", "w.csv", "w.npy"):
        np.testing.assert_array_equal(made(folder, "--class-weights", source), np.diag([1, 2.5, 10]))
    np.testing.assert_allclose(made(folder, "--class-weights", "w.txt", "--distances", "D.csv", "--tau", "1"),
                               gains.gain_from_costs(D, tau=1) * [[1], [2.5], [10]], rtol=1e-6)


def test_from_counts(folder):
    H = made(folder, "--counts", "90,9,1")
    np.testing.assert_allclose(H, np.diag([100 / 270, 100 / 27, 100 / 3]), rtol=1e-6)
    H = made(folder, "--counts", "90,9,1", "--weights", "effective_number", "--beta", ".99", "--scale", "classes")
    np.testing.assert_allclose(H.diagonal(), [.0445, .3063, 2.6492], atol=6e-5)
    H = made(folder, "--counts", "90,9,1", "--power", ".5", "--scale", "none", "--distances", "D.csv", "--tau", "1")
    np.testing.assert_allclose(
        H, np.sqrt([[100 / 270], [100 / 27], [100 / 3]]) * gains.gain_from_costs(D, tau=1), rtol=1e-6)


def test_smoothing(folder):
    np.testing.assert_allclose(made(folder, "--smoothing", ".2", "--n-classes", "4"),
                               gains.smoothed_identity(4, .2), rtol=1e-6)


LABELS = [0, 0, 2, 1, 0, 2]


def write_labels(folder, kind):
    if kind == "lines.txt":
        text = "\n".join(map(str, LABELS))
    elif kind == "images.txt":
        text = "".join("some folder/%d.png %d\n" % pair for pair in enumerate(LABELS))
    elif kind == "hdf5.txt":
        h5py = pytest.importorskip("h5py")
        for name, part in (("a.h5", LABELS[:2]), ("b.h5", LABELS[2:])):
            with h5py.File(os.path.join(folder, name), "w") as file:
                file["label"] = np.array(part, np.float32)[:, np.newaxis]
        text = "a.h5\nb.h5\n"
    elif kind == "labels.npy":
        np.save(os.path.join(folder, kind), np.array(LABELS))
        return
    else:
        lmdb = pytest.importorskip("lmdb")
        caffe_pb2 = pytest.importorskip("caffe.proto.caffe_pb2")
        with lmdb.open(os.path.join(folder, kind), map_size=2 ** 20).begin(write=True) as transaction:
            for i, label in enumerate(LABELS):
                transaction.put(b"%08d" % i, caffe_pb2.Datum(label=label, data=b"x").SerializeToString())
        return
    with open(os.path.join(folder, kind), "w") as file:
        file.write(text)


@pytest.mark.parametrize("kind", ["lines.txt", "images.txt", "hdf5.txt", "labels.npy", "lmdb"])
def test_from_labels(folder, kind):
    write_labels(folder, kind)
    np.testing.assert_allclose(made(folder, "--labels", kind), np.diag([6 / 9, 2, 1]), rtol=1e-6)
    out = make_h(folder, "--labels", kind, "--n-classes", "5", "-o", "wide.npy")
    assert "warning: no record of class 3, 4: its row of H is 0, so that a sample of it is not trained on\n" in out
    assert np.load(os.path.join(folder, "wide.npy")).shape == (5, 5)


def test_json(folder):
    summary = json.loads(make_h(folder, "H.npy", "-o", "H.csv", "--json"))
    least = 1.375 * np.log(1.375) - 1.125 * np.log(1.125) - .25 * np.log(.125)
    assert summary == {"output": "H.csv", "n_classes": 3, "row_sums": [1.375, 1.375], "symmetric": True,
                       "smallest": .125, "largest": 1.125, "warnings": [], "diagonal": False, "layer": None,
                       "counts": None, "weights": None, "source": None, "unit": None, "ignored": None,
                       "least_loss": [pytest.approx(least)] * 3}


def test_plot(folder):
    pytest.importorskip("matplotlib")
    out = make_h(folder, "--tree", "tree.txt", "--tau", "1", "-o", "H.binaryproto", "--plot", "H.png")
    assert "H.png: H as a picture" in out
    with open(os.path.join(folder, "H.png"), "rb") as file:
        assert file.read(8) == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("arguments, message", [
    ([], "expected MATRIX, --distances, --tree, --confusion, .* --counts, --labels or --net, got none"),
    (["H.npy", "--tree", "tree.txt"], "expected one of MATRIX, .* got MATRIX and --tree"),
    (["--distances", "D.csv"], "--distances: expected --tau, --softmax-beta or --linear to make gains of distances, got none"),
    (["--distances", "D.csv", "--tau", "1", "--softmax-beta", "1"], "expected one of --tau, --softmax-beta or --linear"),
    (["--distances", "D.csv", "--linear", "--softmax-beta", "1"], "got --softmax-beta and --linear"),
    (["--confusion", "D.csv", "--linear", "--metric", "cosine"], "--metric: expected with --embeddings only"),
    (["--confusion", "none.csv", "--linear"], "none.csv: confusion: expected samples of every true class"),
    (["--embeddings", "D.csv", "--linear", "--metric", "taxi"], "--metric: invalid choice"),
    (["--embeddings", "none.csv", "--linear"], "none.csv: embeddings: expected no row of zeros"),
    (["--class-weights", "1,-1"], "class weights: expected numbers of at least 0, got -1 for class 1"),
    (["--class-weights", "0,0"], "class weights: expected at least one above 0, got none"),
    (["--class-weights", "missing.txt"], "--class-weights: expected numbers with commas between them, or a file of them"),
    (["--class-weights", "names.txt"], "--class-weights: expected numbers in the file names.txt"),
    (["--class-weights", "H.npy"], "--class-weights: expected numbers in the file H.npy .expected a row of numbers"),
    (["--class-weights", "lying.npy"], "--class-weights: expected numbers in the file lying.npy"),
    (["--class-weights", "1,2", "--counts", "1,2"], "got --class-weights and --counts"),
    (["--class-weights", "1,2", "--scale", "sum"], "--scale: expected with --counts, --labels or --net only"),
    (["--distances", "D.csv", "--tau", "-1"], "tau: expected a number above 0, got -1"),
    (["H.npy", "--tau", "1"], "--tau: expected with --distances, --tree, --confusion or --embeddings only"),
    (["D.csv"], "D.csv: expected a gain, got what looks like distances .*make_h.py --distances"),
    (["--distances", "H.npy", "--tau", "1"], "H.npy at .0, 0.: expected a cost matrix, with 0 on the diagonal"),
    (["missing.npy"], "missing.npy: cannot be read: No such file"),
    (["names.txt"], "names.txt: expected a file that ends in"),
    (["--tree", "names.txt", "--names", "tree.txt", "--tau", "1"], "names.txt: names: expected the classes"),
    (["--tree", "missing.txt", "--tau", "1"], "missing.txt"),
    (["--tree", "one.txt", "--tau", "1"], "one.txt: expected a tree of several classes, got one"),
    (["--tree", "", "--tau", "1"], "'': cannot be read: No such file"),
    (["D.csv", "one", "two"], "unrecognized arguments: one two"),
    (["--counts", "1,a"], "--counts: expected numbers with commas between them, or a file of them, got '1,a'"),
    (["--counts", "1,-1"], "counts: expected numbers of at least 0, got -1 for class 1"),
    (["--counts", "0,0"], "H: expected at least one positive entry, got none"),
    (["--counts", "1,2", "--beta", ".9"], "--beta: expected with --weights effective_number"),
    (["--counts", "1,2", "--distances", "D.csv", "--tau", "1"], "expected 2 x 2, as there are 2 weights, got 3 x 3"),
    (["--counts", "1,2", "--names", "names.txt"], "--names: expected 2 classes, as H is 2 x 2, got 3"),
    (["H.npy", "--power", "2"], "--power: expected with --counts, --labels or --net only"),
    (["H.npy", "--ignore-label", "2"], "--ignore-label: expected with --labels or --net only"),
    (["--counts", "1,2", "--power", "-1"], "power: expected a number of at least 0, got -1"),
    (["H.npy", "--plot", "H.foo"], "H.foo: expected a picture that ends in"),
    (["H.npy", "--plot", "none/H.png"], "none/H.png: cannot be written: No such file"),
    (["H.npy", "--plot", ""], "expected a file of its own for each output"),
    (["--distances", "D.csv", "--tau", "1", "--distances-out", "./out.binaryproto"], "a file of its own for each"),
    (["--distances", "D.csv", "--tau", "1", "--distances-out", "out.foo"], "out.foo: expected a file that ends in"),
    (["--tree", "H.npy", "--tau", "1"], "H.npy: expected text in UTF-8"),
    (["tiny.npy"], "H: expected at least one positive entry"),
    (["huge.npy"], "expected a finite number, got inf"),
    (["--labels", "inf.npy"], "inf.npy: expected whole numbers as labels, got inf in record 1"),
    (["--labels", "text.npy"], "text.npy: expected a .npy file of numbers, got"),
    (["--labels", "lying.npy"], "lying.npy: "),
    (["--smoothing", ".1"], "--n-classes: expected the number of classes"),
    (["--smoothing", ".1", "--n-classes", "100000"], "--n-classes: expected at most 23"),
    (["--labels", "missing"], "missing: cannot be read"),
    (["--labels", "big.npy"], "big.npy: expected the number of classes, .* only 2 of the labels 0..1000000 occur"),
    (["--labels", "names.txt"], "names.txt: line 1: expected a label as the last word, got"),
    (["--labels", "labels.npy", "--n-classes", "2"], r"labels.npy: expected labels 0..1, got 2 in 2 records .the first: record 2."),
])
def test_errors_are_one_line_and_write_nothing(folder, arguments, message):
    write_labels(folder, "labels.npy")
    for name, array in (("big", [0, 10 ** 6]), ("tiny", np.eye(2) * 1e-300), ("huge", np.eye(2) * 1e300),
                        ("inf", [0, np.inf]), ("text", ["a"]), ("lying", [0, 1])):
        np.save(os.path.join(folder, name + ".npy"), np.array(array))
    with open(os.path.join(folder, "lying.npy"), "r+b") as file:
        content = file.read().replace(b"(2,), }" + b" " * 13, b"(20000000000000,), }")
        file.seek(0)
        file.write(content)
    write_matrix(os.path.join(folder, "none.csv"), np.diag([1, 0, 1]))
    with open(os.path.join(folder, "one.txt"), "w") as file:
        file.write("cat")
    before = sorted(os.listdir(folder))
    status, out, err = run_main("make_h.py", "-o", "out.binaryproto", *arguments, cwd=folder)
    assert status == 2 and not out
    assert len(err.splitlines()) == 1 and err.startswith("make_h.py: error: "), err
    assert re.search(message, err), err
    assert sorted(os.listdir(folder)) == before


def test_labels_that_are_none(folder):
    h5py, lmdb = pytest.importorskip("h5py"), pytest.importorskip("lmdb")
    pytest.importorskip("caffe")
    with h5py.File(os.path.join(folder, "H.h5"), "w") as file:
        file["data"] = [1]
    lmdb.open(os.path.join(folder, "empty"), map_size=2 ** 20).close()
    with lmdb.open(os.path.join(folder, "other"), map_size=2 ** 20).begin(write=True) as transaction:
        transaction.put(b"0", b"no Datum")
    for source, message in [(".", "expected an LMDB"), ("H.h5", "expected a dataset 'label', got data"),
                            ("empty", "expected labels, got none"), ("other", "expected Datums with a label, got something else")]:
        status, out, err = run_main("make_h.py", "-o", "H.npy", "--labels", source, cwd=folder)
        assert status == 2 and not out and len(err.splitlines()) == 1
        assert err.startswith("make_h.py: error: %s: %s" % (source, message)), err


def test_makes_a_matrix_without_caffe(folder):
    program = ("import sys; sys.argv = ['make_h.py', 'H.npy', '-o', 'out.npy']\n"
               "sys.path.insert(0, %r)\nimport make_h\nmake_h.cli.run(make_h.main)\n"
               "assert 'caffe' not in sys.modules and 'matplotlib' not in sys.modules"
               % os.path.join(real_nets.CHECKOUT, "tools"))
    status, _, err = real_nets.run([sys.executable, "-c", program], cwd=folder)
    assert status == 0, err


def test_damaged_files_of_numbers(folder):
    np.save(os.path.join(folder, "cut.npy"), np.arange(3.))
    for content in (b"", b"\x93NUMPY\x01\x00\x46\x00{'descr': '<f8', ((((", b"PK\x03\x04"):
        with open(os.path.join(folder, "cut.npy"), "wb") as file:
            file.write(content)
        for option in ("--counts", "--class-weights"):
            status, out, err = run_main("make_h.py", option, "cut.npy", "-o", "no.npy", cwd=folder)
            assert status == 2 and not out and "expected numbers in the file cut.npy" in err and len(err.splitlines()) == 1, err


def test_a_damaged_zip_prints_nothing_at_the_end(folder):
    """Start a process: only there numpy prints when it deletes the object of a damaged .npz."""
    with open(os.path.join(folder, "zip.npy"), "wb") as file:
        file.write(b"PK\x03\x04")
    status, out, err = real_nets.tool("make_h.py", "zip.npy", "-o", "no.npy", cwd=folder)
    assert status == 2 and not out and len(err.splitlines()) == 1, err
    assert err.startswith("make_h.py: error: zip.npy: expected a .npy file of numbers, got something else")


def test_killed_at_any_moment(folder):
    """Whatever is under the final name afterwards is a whole matrix."""
    out = os.path.join(folder, "H.binaryproto")
    np.save(os.path.join(folder, "big.npy"), np.random.RandomState(0).rand(1500, 1500))
    make_h(folder, "H.npy", "-o", out)
    sizes = set()
    for wait in np.linspace(.1, .6, 5):
        process = subprocess.Popen([sys.executable, os.path.join(real_nets.CHECKOUT, "tools", "make_h.py"),
                                    "big.npy", "-o", out], cwd=folder, stdout=subprocess.PIPE)
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        sizes.add(len(read_matrix(out)))
    assert sizes <= {3, 1500}


def test_for_a_data_layer(folder):
    pytest.importorskip("caffe")
    for name, kind, option in (("H.h5", "HDF5Data", "h-file"), ("H.lmdb", "Data", "h-file"), ("H.caffemodel", "Parameter", "h-file")):
        out = make_h(folder, "H.npy", "-o", name)
        assert 'the layer that reads it:\nlayer {\n  name: "H"\n  type: "%s"' % kind in out
        assert out.endswith("%s --loss InfogainLoss --%s %s\n" % (real_nets.quoted("make_net.py"), option, name))
        np.testing.assert_array_equal(read_matrix(os.path.join(folder, name)), np.eye(3) + .125)
        summary = json.loads(make_h(folder, name, "-o", "other." + name, "--json"))
        assert 'type: "%s"' % kind in summary["layer"]


def test_net(folder):
    pytest.importorskip("caffe")
    import user_files
    write_labels(folder, "lmdb")
    text = user_files.net().replace("train_lmdb", "lmdb")
    for name, content in (("net.prototxt", text), ("wide.prototxt", text.replace("num_output: 3", "num_output: 5"))):
        with open(os.path.join(folder, name), "w") as file:
            file.write(content)
    out = make_h(folder, "--net", "net.prototxt", "-o", "H.npy")
    assert out.splitlines()[:6] == [
        "net.prototxt: labels from lmdb, of layer data", "lmdb: 6 records of 3 classes",
        "class  count  weight", "0          3  0.6667", "1          1       2", "2          2       1"]
    np.testing.assert_allclose(np.load(os.path.join(folder, "H.npy")), np.diag([6 / 9, 2, 1]), rtol=1e-6)
    out = make_h(folder, "--net", "wide.prototxt", "-o", "H.npy")  # as many classes as the net has scores
    assert "warning: no record of class 3, 4: " in out
    status, _, err = run_main("make_h.py", "--net", "wide.prototxt", "-o", "no.npy", "--names", "names.txt", cwd=folder)
    assert status == 2 and err == "make_h.py: error: wide.prototxt: expected scores of 3 classes, as --n-classes, --names or the gain say, got 5\n"


def test_what_is_said_next_fits_the_labels(folder):
    pytest.importorskip("caffe")
    import user_files
    write_labels(folder, "lmdb")
    text = user_files.net().replace("train_lmdb", "lmdb").replace('"label"', '"target"')
    loss = 'top: "loss"'
    assert text.count(loss) == 1
    with open(os.path.join(folder, "net.prototxt"), "w") as file:
        file.write(text.replace(loss, loss + " loss_param { ignore_label: 0 }"))
    out = make_h(folder, "--net", "net.prototxt", "-o", "H.binaryproto")
    assert out.endswith(real_nets.quoted("use_loss.py") + " net.prototxt --loss InfogainLoss --source H.binaryproto\n")
    out = make_h(folder, "--labels", "lmdb", "--ignore-label", "-1", "-o", "H.binaryproto")
    assert out.endswith(" --source H.binaryproto --ignore-label=-1\n")


def test_a_bad_output_is_told_before_anything_is_counted(folder):
    for name, expected in (("H.png", "a file that ends in .binaryproto"), ("a b.h5", "a name without spaces")):
        status, out, err = run_main("make_h.py", "--labels", "none", "-o", name, cwd=folder)
        assert status == 2 and not out and err.startswith("make_h.py: error: %s: expected %s" % (name, expected))


def test_nets_whose_labels_cannot_be_counted(folder):
    pytest.importorskip("caffe")
    import user_files
    write_labels(folder, "lmdb")
    text = user_files.net().replace("train_lmdb", "lmdb")
    staged = text.replace('top: "label"', 'top: "label" include { stage: "all" }', 1)
    os.mkdir(os.path.join(folder, "masks"))
    sources.write_lmdb(os.path.join(folder, "masks", "lmdb"), [sources.datum(shape=(1, 2, 2), image=b"\1\1\1\1")])
    masks = text.replace('bottom: "label"', 'bottom: "masks"') + (
        'layer { name: "masks" type: "Data" top: "masks" data_param { source: "masks/lmdb" backend: LMDB batch_size: 1 }'
        ' transform_param { scale: .5 } }')
    masks = masks[masks.rindex("layer {"):] + masks[:masks.rindex("layer {")]
    old = 'layers { layer { name: "data" type: "data" } top: "data" top: "label" }'
    for content, options, message in [
            (staged, [], "expected a data layer that makes the blob label, got none of phase TRAIN"),
            (masks, [], "expected whole numbers as labels, got 0.5 in batch 1"),
            (old, [], "got the first of all; convert the net: upgrade_net_proto_text"),
            (staged, ["--stages", "all"], None)]:
        with open(os.path.join(folder, "net.prototxt"), "w") as file:
            file.write(content)
        status, _, err = run_main("make_h.py", "--net", "net.prototxt", "-o", "no.npy", *options, cwd=folder)
        assert status == (2 if message else 0) and (message or "") in err, err


def test_pixels(folder):
    pytest.importorskip("caffe")
    image = np.array([[0, 0, 0, 1], [0, 0, 1, 255]], np.uint8)
    sources.write_hdf5(os.path.join(folder, "masks.h5"), np.array([image, np.where(image == 1, 2, image)]))
    out = make_h(folder, "--labels", "masks.h5", "--pixels", "--ignore-label", "255", "--weights", "median_frequency",
                 "--scale", "none", "-o", "H.npy")
    assert "masks.h5: 14 pixels of 3 classes (2 ignored)\nclass  count  weight\n0         10     0.4\n" in out
    # 10 of 16 pixels, and 2 of 8 twice: the median of the frequencies is 2/8
    np.testing.assert_allclose(np.load(os.path.join(folder, "H.npy")), np.diag([.25 / .625, 1, 1]), rtol=1e-6)


# What it must not do

@pytest.mark.parametrize("arguments", [
    ["H.npy", "-o", "H.npy"], ["--distances", "D.csv", "--tau", "1", "-o", "./D.csv"],
    ["--distances", "D.csv", "--tau", "1", "-o", "out.npy", "--distances-out", "D.csv"],
    ["--distances", "D.csv", "--tau", "1", "-o", "hard.csv"], ["--distances", "D.csv", "--tau", "1", "-o", "link.csv"],
    ["--confusion", "D.csv", "--linear", "-o", "D.csv"], ["--embeddings", "H.npy", "--linear", "-o", "H.npy"],
    ["--tree", "tree.csv", "--tau", "1", "-o", "tree.csv"], ["--counts", "counts.npy", "-o", "counts.npy"],
    ["--class-weights", "counts.npy", "-o", "out.npy", "--weights-out", "counts.npy"],
    ["--labels", "labels.npy", "-o", "labels.npy"], ["--labels", "list.csv", "-o", "list.csv"],
    ["--counts", "1,2,3", "--names", "names.txt", "-o", "out.npy", "--weights-out", "names.txt"],
    ["--labels", "H.h5.txt", "-o", "H.h5"], ["--labels", "H.lmdb", "-o", "H.lmdb/"],
    ["--labels", "masks", "--pixels", "-o", "out.npy", "--plot", "masks/a.png"]])
def test_no_output_replaces_an_input(folder, arguments):
    pytest.importorskip("lmdb")
    pytest.importorskip("h5py")
    write_labels(folder, "labels.npy")
    np.save(os.path.join(folder, "counts.npy"), [1, 2, 3])
    for name, content in (("tree.csv", "a,b\na,c\nr,a\nr,d"), ("list.csv", "0\n1\n2"), ("H.h5.txt", "other.h5")):
        with open(os.path.join(folder, name), "w") as file:
            file.write(content)
    for name in ("H.lmdb", "other.h5"):
        make_h(folder, "H.npy", "-o", name)
    os.mkdir(os.path.join(folder, "masks"))
    io.open(os.path.join(folder, "masks", "a.png"), "w").close()
    os.link(os.path.join(folder, "D.csv"), os.path.join(folder, "hard.csv"))
    os.symlink("D.csv", os.path.join(folder, "link.csv"))
    before = contents(folder)
    status, out, err = run_main("make_h.py", *arguments, cwd=folder)
    assert status == 2 and not out and len(err.splitlines()) == 1
    assert "expected a file that is not read, got the input " in err, err
    assert contents(folder) == before


def contents(folder):
    found = {}
    for path, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(path, name), "rb") as file:
                found[os.path.join(path, name)] = file.read()
    return found


def test_data_in_hdf5_are_not_replaced(folder):
    pytest.importorskip("h5py")
    sources.write_hdf5(os.path.join(folder, "train.h5"), LABELS)
    sources.write_text(os.path.join(folder, "list.txt"), ["train.h5"])
    before = contents(folder)
    status, out, err = run_main("make_h.py", "--labels", "list.txt", "-o", "train.h5", cwd=folder)
    assert status == 2 and "train.h5: cannot be written: expected no such file, or one with a dataset H alone, got" in err
    assert contents(folder) == before


@pytest.mark.parametrize("name, package", [("q.h5", "h5py"), ("q.lmdb", "lmdb")])
def test_without_the_package_of_a_format_nothing_is_left(folder, monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    before = contents(folder)
    status, out, err = run_main("make_h.py", "--labels", "none", "-o", name, cwd=folder)
    assert status == 2 and not out and "error: expected the Python package %s, for " % package in err
    assert contents(folder) == before and name not in os.listdir(folder)


def test_a_signal_leaves_no_temporary_file(folder):
    np.save(os.path.join(folder, "big.npy"), np.random.RandomState(0).rand(1500, 1500))
    command = [sys.executable, os.path.join(real_nets.CHECKOUT, "tools", "make_h.py"), "big.npy", "-o", "out.csv"]
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE)
        while not any(os.path.getsize(name) for name in glob.glob(os.path.join(folder, ".out.csv.*"))):
            assert process.poll() is None
            time.sleep(.001)
        process.send_signal(number)
        assert process.communicate()[1] == b"" and process.returncode == 128 + number
        assert not [name for name in os.listdir(folder) if "out.csv" in name]


def test_ctrl_c_during_imports_is_silent(folder):
    """A module that interrupts stands for one that takes long to import."""
    with open(os.path.join(folder, "numpy.py"), "w") as file:
        file.write("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nimport time\ntime.sleep(60)\n")
    environment = dict(os.environ, PYTHONPATH=folder)
    for command in sorted(name for name in os.listdir(os.path.join(real_nets.CHECKOUT, "tools")) if name.endswith(".py")):
        status, out, err = real_nets.tool(command, "--help", env=environment)
        assert (status, out, err) == (130, "", "")


def test_one_class_is_an_error(folder):
    pytest.importorskip("caffe")
    pytest.importorskip("lmdb")
    image = b"\0\1\2\2"
    sources.write_lmdb(os.path.join(folder, "masks"), [sources.datum(0, (1, 2, 2), image)] * 3)
    np.save(os.path.join(folder, "zeros.npy"), np.zeros(4))
    for arguments, message in (
            (["--labels", "masks"], "masks: expected labels of several classes, got class 0 alone of 3 records; labels of "
             "pixels, and images of labels, are counted with --pixels"),
            (["--labels", "masks", "--n-classes", "3"], "masks: expected labels of several classes, got class 0 alone"),
            (["--labels", "zeros.npy"], "zeros.npy: expected labels of several classes, got class 0 alone of 4 records"),
            (["--labels", "zeros.npy", "--ignore-label", "0"], "zeros.npy: expected labels of several classes, got none"),
            (["--counts", "5"], "expected at least two classes, got one"),
            (["--class-weights", "1"], "expected at least two classes, got one")):
        status, out, err = run_main("make_h.py", "-o", "H.npy", *arguments, cwd=folder)
        assert status == 2 and not out and len(err.splitlines()) == 1 and message in err, err
    assert "3 pixels" not in make_h(folder, "--labels", "masks", "--pixels", "-o", "new.npy")


def test_numbers_typed_as_a_list(folder):
    for given, option in (("--counts", "--counts"), ("--class-weights", "--class-weights"), ("--class", "--class-weights")):
        for words in (["100", "50", "5"], ["100,", "50,", "5"]):
            status, out, err = run_main("make_h.py", given, *(words + ["-o", "out.npy"]), cwd=folder)
            assert status == 2 and not out and "%s: expected numbers with commas between them, got blanks; write %s 100,50,5" % (
                option, option) in err


def test_labels_that_start_at_1(folder):
    sources.write_text(os.path.join(folder, "labels.txt"), [1, 2, 3, 1])
    out = make_h(folder, "--labels", "labels.txt", "-o", "out.npy")
    assert "no record of class 0: its row of H is 0, so that a sample of it is not trained on; do the labels start at 1?" in out
    assert "do the labels" not in make_h(folder, "--labels", "labels.txt", "--ignore-label", "0", "-o", "out.npy")
    status, _, err = run_main("make_h.py", "--labels", "labels.txt", "--n-classes", "3", "-o", "no.npy", cwd=folder)
    assert status == 2 and "do they start at 1?" in err


def test_the_weights_are_told_written_and_drawn(folder):
    out = make_h(folder, "--counts", "90,9,1", "--names", "names.txt", "-o", "H.npy", "--weights-out", "w.txt")
    lines = out.splitlines()
    assert lines[0].split() == ["class", "count", "weight"] and lines[1].split() == ["0", "T-shirt", "90", "0.3704"]
    assert "w.txt: the class weights" in lines
    expected = np.load(os.path.join(folder, "H.npy"))
    make_h(folder, "--class-weights", "w.txt", "-o", "again.npy", "--weights-out", "w.npy")
    np.testing.assert_array_equal(np.load(os.path.join(folder, "again.npy")), expected)
    np.testing.assert_array_equal(np.load(os.path.join(folder, "w.npy")), expected.diagonal())
    found = json.loads(make_h(folder, "--counts", "90,0,1", "-o", "H.npy", "--json"))
    assert found["counts"] == [90, 0, 1] and found["weights"] == [pytest.approx(91 / 180), 0, 45.5]
    assert found["warnings"] == ["no sample of class 1: its row of H is 0, so that a sample of it is not trained on"]


@pytest.mark.parametrize("arguments, warning", [
    (["--tau", "100"], "warning: H is flat: it tells no class from another"),
    (["--softmax-beta", "0"], "warning: H is flat"), (["--tau", "1e-9"], "warning: H is the identity: all mistakes cost the same"),
    (["--tau", ".1"], "warning: H is the identity but for 4.5e-05 of a row"), (["--softmax-beta", "1000"], "warning: H is the identity"),
    (["--tau", "1"], None), (["--linear"], None)])
def test_a_temperature_that_leaves_nothing_of_the_distances(folder, arguments, warning):
    out = make_h(folder, "--distances", "D.csv", "-o", "out.npy", *arguments)
    assert warning in out if warning else "warning" not in out


def test_a_pipe_is_refused(folder):
    os.mkfifo(os.path.join(folder, "pipe"))
    os.symlink("pipe", os.path.join(folder, "pipe.npy"))
    for arguments in (["pipe.npy"], ["--counts", "pipe"], ["--counts", "pipe.npy"], ["--tree", "pipe", "--tau", "1"],
                      ["--counts", "1,2", "--names", "pipe"], ["--labels", "pipe"], ["--net", "pipe"], ["--labels", "/dev/zero"]):
        status, out, err = run_main("make_h.py", "-o", "out.npy", *arguments, cwd=folder)
        assert status == 2 and not out and len(err.splitlines()) == 1 and "expected a plain file, got a pipe or a device" in err, err


@pytest.mark.parametrize("ending", ["npy", "csv", "h5", "binaryproto"])
def test_matrices_of_bools_and_small_integers(folder, ending):
    pytest.importorskip("h5py")
    for kind, entry in (("bool", 1), ("uint8", 200), ("int8", 100), ("float16", 1000), ("int64", 2 ** 40)):
        np.save(os.path.join(folder, "odd.npy"), (np.eye(3) * entry).astype(kind))
        make_h(folder, "odd.npy", "-o", "out." + ending)
        np.testing.assert_array_equal(read_matrix(os.path.join(folder, "out." + ending)), np.eye(3) * entry)
        np.save(os.path.join(folder, "odd.npy"), (D * entry / 4).astype(kind))
        make_h(folder, "--distances", "odd.npy", "--softmax-beta", "1", "-o", "out." + ending)


def test_a_deep_net_is_one_line(folder):
    deep = "{ " + "a { " * 10 ** 4 + "} " * (10 ** 4 + 1)
    for text in ("state " + deep, "layer { include %s }" % deep):
        with open(os.path.join(folder, "net.prototxt"), "w") as file:
            file.write(text)
        status, out, err = run_main("make_h.py", "--net", "net.prototxt", "-o", "no.npy", cwd=folder)
        assert status == 2 and not out and len(err.splitlines()) == 1 and "at most 20 messages in each other" in err, err


@pytest.mark.parametrize("name", ["infogainH.binaryproto", "my H.npy", "H.lmdb", "H.caffemodel"])
@pytest.mark.parametrize("has_net", [True, False])
def test_the_lines_said_next_run(folder, name, has_net):
    pytest.importorskip("caffe")
    import user_files
    if has_net:
        user_files.write(folder)
    out = make_h(folder, "--counts", "3,3,2", "-o", name)
    (line,) = [line[len("next: "):] for line in out.splitlines() if line.startswith("next: ")]
    command = shlex.split(line)
    assert os.path.basename(command[0]) == ("use_loss.py" if has_net else "make_net.py")
    status, _, err = run_main(os.path.basename(command[0]), *command[1:], cwd=folder)
    assert status == 0, err


def test_the_lines_said_next_bring_a_shell_to_caffe(folder, monkeypatch):
    monkeypatch.setenv("CAFFE_LOSSES_WITHIN", "/my checkout/with_caffe.sh")
    assert "\nnext: '/my checkout/with_caffe.sh' " in make_h(folder, "--counts", "1,2", "-o", "H.npy")


def test_a_tree_with_too_many_classes_is_refused_before_its_distances_are_made(folder):
    sources.write_text(os.path.join(folder, "words.txt"), ["g%d w%d" % (i // 2, i) for i in range(30000)])
    status, out, err = run_main("make_h.py", "--tree", "words.txt", "--tau", "1", "-o", "no.npy", cwd=folder)
    assert status == 2 and not out and "words.txt: expected at most 23" in err and "--names says which" in err
    sources.write_text(os.path.join(folder, "few.txt"), ["w%d" % i for i in (0, 1, 2)])
    make_h(folder, "--tree", "words.txt", "--names", "few.txt", "--tau", "1", "-o", "H.npy")
