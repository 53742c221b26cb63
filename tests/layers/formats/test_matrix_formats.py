"""Each kind of file holds its matrix, and Caffe reads it."""
from __future__ import division, print_function

import itertools
import os
import sys

import numpy as np
import pytest

pytest.importorskip("hypothesis")
from hypothesis import given, settings, strategies as st

import loops
import real_nets
from counts import examples
from caffe_losses.formats.matrix_files import ENDINGS, read_matrix, write_matrix

h5py = pytest.importorskip("h5py")

FORMATS = [".binaryproto", ".caffemodel", ".csv", ".h5", ".json", ".lmdb", ".npy"]
KEEP_FLOAT64 = [".csv", ".json", ".npy"]
H = np.random.RandomState(0).rand(5, 5).astype(np.float32)


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def matrices(kind, unsigned, n_bits):
    """Square matrices of any finite bits, denormals, -0 and extremes with them."""
    info = np.finfo(kind)
    special = np.array([0., -0., info.tiny, info.tiny / 2, -info.tiny / 8, info.max, info.min, info.eps, 1 / 3], kind)
    values = st.one_of(st.sampled_from(special.tolist()), st.integers(0, 2 ** n_bits - 1).map(
        lambda bits: float(np.array(bits, unsigned).view(kind))).filter(np.isfinite))
    return st.integers(1, 4).flatmap(lambda n: st.lists(values, min_size=n * n, max_size=n * n).map(
        lambda numbers: np.array(numbers, kind).reshape(n, n)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("formats")


@settings(max_examples=examples(12), deadline=None)
@given(matrix=matrices(np.float32, np.uint32, 32))
def test_every_pair_of_formats(folder, matrix):
    for one in FORMATS:
        write_matrix(str(folder / ("A" + one)), matrix)
        found = read_matrix(str(folder / ("A" + one)))
        for other in FORMATS:
            write_matrix(str(folder / ("B" + other)), found)
            assert same_bits(read_matrix(str(folder / ("B" + other))).astype(np.float32), matrix), (one, other)


@settings(max_examples=examples(50), deadline=None)
@given(matrix=matrices(np.float64, np.uint64, 64))
def test_every_pair_that_keeps_float64(folder, matrix):
    for one, other in itertools.product(KEEP_FLOAT64, repeat=2):
        write_matrix(str(folder / ("A" + one)), matrix)
        write_matrix(str(folder / ("B" + other)), read_matrix(str(folder / ("A" + one))))
        assert same_bits(read_matrix(str(folder / ("B" + other))), matrix), (one, other)


@pytest.mark.parametrize("ending", sorted(set(FORMATS) - {".csv", ".json"}))
def test_the_bits_of_nan_and_infinity(tmp_path, ending):
    matrix = np.array([[0x7f800000, 0xff800000], [0x7fc00001, 0xffc12345]], np.uint32).view(np.float32)
    write_matrix(str(tmp_path / ("H" + ending)), matrix)
    assert same_bits(read_matrix(str(tmp_path / ("H" + ending))), matrix)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("matrix", [
    np.asfortranarray(H.astype(np.float64)), H[::-1, ::2], H.astype(">f4"), np.eye(3, dtype=bool),
    np.arange(6, dtype=np.int64).reshape(2, 3), H.astype(np.float16), [[1, 2], [3, 4.5]],
])
def test_any_array_of_numbers(tmp_path, ending, matrix):
    path = str(tmp_path / ("H" + ending))
    write_matrix(path, matrix)
    assert np.array_equal(read_matrix(path), np.asarray(matrix).astype(np.float32))
    if ending == ".npy":
        assert read_matrix(path).dtype == np.asarray(matrix).dtype


@pytest.mark.parametrize("matrix", [
    np.zeros((0, 0)), np.zeros(4), np.zeros((1, 1, 2, 2)), [["a"]], [[1j]], [[None]], np.array([[{}]]), "text",
])
def test_what_is_no_matrix_is_refused(tmp_path, matrix):
    for ending in ENDINGS:
        with pytest.raises(ValueError, match="H%s: expected a matrix of numbers, got shape" % ending):
            write_matrix(str(tmp_path / ("H" + ending)), matrix)
    assert os.listdir(str(tmp_path)) == []


# .json and .csv

def test_json_is_a_list_of_lists(tmp_path):
    write_matrix(str(tmp_path / "H.json"), np.array([[1, .1], [-0., 5e-324]]))
    assert (tmp_path / "H.json").read_text() == u"[[1.0,0.1],\n[-0.0,5e-324]]\n"
    (tmp_path / "H.json").write_bytes(b"\xef\xbb\xbf [ [1, 2E1 ,-3.5e-1]\n,\n[ 0,-0, 12345678901234567890 ] ]\r\n")
    assert same_bits(read_matrix(str(tmp_path / "H.json")), np.array([[1, 20, -.35], [0, -0., 12345678901234567890.]]))


@pytest.mark.parametrize("text", [
    "", " ", "[]", "[[]]", "[[],[]]", "[1,2]", "1", "null", "[[1,2]", "[[1,2]]]", "[[1,2]] 3", "[[1,2],]",
    "[[1,2,]]",
    "[[1,2] [3,4]]", "[[1,2],,[3,4]]", "[[1,2],[3]]", "[[1,NaN]]", "[[1,Infinity]]", "[[1e999]]",
    "[[" + "9" * 400 + "]]",
    "[[true]]", "[[null]]", '[["1"]]', "[[[1]]]", "[[{}]]", '{"H": [[1]]}', '[{"a": 1, "a": 2}]', "[[01]]", "[[+1]]",
    "[[.5]]", "[[1.]]", "[[0x10]]", "[[1_0]]", "[[1 2]]", "[[1]]\0", "[[--1]]", "[" * 100000, "[[" + "[" * 5000 + "]]",
], ids=lambda text: text[:12])
def test_what_is_no_matrix_in_json(tmp_path, text):
    (tmp_path / "H.json").write_bytes(text.encode("ascii"))
    with pytest.raises(ValueError) as error:
        read_matrix(str(tmp_path / "H.json"))
    message = str(error.value)
    assert message.startswith(str(tmp_path / "H.json: ")) and "expected" in message
    assert "\n" not in message and len(message) < 300


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_json_has_no_nan(tmp_path, value):
    with pytest.raises(ValueError, match="H.json: expected finite numbers, as JSON has no others, got -?(nan|inf)"):
        write_matrix(str(tmp_path / "H.json"), np.array([[1, value]]))
    assert os.listdir(str(tmp_path)) == []


def test_csv_with_any_line_ends_and_numbers(tmp_path):
    (tmp_path / "H.csv").write_bytes(b"1,2\r3,4\r\n\r\n#x\n+5e0, nan\n-inf,.5")
    np.testing.assert_array_equal(read_matrix(str(tmp_path / "H.csv")), [[1, 2], [3, 4], [5, np.nan], [-np.inf, .5]])


@pytest.mark.parametrize("text", [b"1_0", b"0x10", b"1,,2", b"1,", b"1;2", b"1 2", b"\0", b"1e", b"," * 46340],
                         ids=lambda text: repr(text[:12]))
def test_what_is_no_row_in_csv(tmp_path, text):
    (tmp_path / "H.csv").write_bytes(text)
    with pytest.raises(ValueError, match="H.csv: .*expected") as error:
        read_matrix(str(tmp_path / "H.csv"))
    assert len(str(error.value)) < 300


# .h5

def test_hdf5_as_hdf5data_reads_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("H.h5", "H.hdf5"):
        write_matrix(name, H)
        assert (tmp_path / (name + ".txt")).read_text() == name + u"\n"
        with h5py.File(name, "r") as file:
            assert list(file) == ["H"] and file["H"].shape == (1, 1, 5, 5) and file["H"].dtype == np.float32
            assert np.array_equal(file["H"][0, 0], H)


def hdf5(tmp_path, **datasets):
    with h5py.File(str(tmp_path / "H.h5"), "w") as file:
        for name, value in datasets.items():
            file[name] = value
    return str(tmp_path / "H.h5")


def test_any_dataset_that_is_a_matrix(tmp_path):
    for value in (H, H[np.newaxis], H.astype(np.float64), np.eye(3, dtype=np.int64), H.astype(">f4")):
        found = read_matrix(hdf5(tmp_path, gains=value))
        assert found.dtype == value.dtype and np.array_equal(found, value.reshape(value.shape[-2:]))
    assert np.array_equal(read_matrix(hdf5(tmp_path, data=np.zeros(3), H=H, label=np.zeros(3))), H)
    with h5py.File(str(tmp_path / "H.h5"), "w") as file:
        file.create_dataset("H", data=np.eye(1000), compression="gzip", chunks=(64, 64))
        file.create_group("more")["G"] = H
    assert np.array_equal(read_matrix(str(tmp_path / "H.h5")), np.eye(1000))


def test_hdf5_without_a_matrix(tmp_path):
    for datasets, message in [
            (dict(), "expected one dataset, or one named H, got 0"),
            (dict(a=H, b=H), "expected one dataset, or one named H, got 2"),
            (dict(H=np.zeros(3)), "expected a blob of shape 1 x 1 x L x L, got 3"),
            (dict(H=np.zeros((2, 1, 3, 3))), "expected a blob of shape 1 x 1 x L x L, got 2 x 1 x 3 x 3"),
            (dict(H=np.zeros((0, 3))), "expected a blob of shape"),
            (dict(H=np.array([[b"text"]])), "expected numbers, got"),
            (dict(H=h5py.SoftLink("/nothing")), "got 0"),
            (dict(H=h5py.ExternalLink("other.h5", "H")), "got 0")]:
        with pytest.raises(ValueError, match="H.h5: .*" + message):
            read_matrix(hdf5(tmp_path, **datasets))
    with h5py.File(str(tmp_path / "H.h5"), "w") as file:
        file.create_dataset("H", (100000, 100000), np.float32, chunks=(1000, 1000))  # nothing is in the file of it
    with pytest.raises(ValueError, match="expected at most 67108864 bytes of numbers in a file of that size"):
        read_matrix(str(tmp_path / "H.h5"))


def test_a_name_that_hdf5data_cannot_list(tmp_path):
    for name in ("my H.h5", "my\tH.hdf5"):
        with pytest.raises(ValueError, match="expected a name without spaces"):
            write_matrix(str(tmp_path / name), H)
    assert os.listdir(str(tmp_path)) == []


@pytest.mark.parametrize("package, purpose, name", [("h5py", "HDF5", "H.h5"), ("lmdb", "LMDB", "H_lmdb")])
def test_without_a_package(tmp_path, monkeypatch, package, purpose, name):
    monkeypatch.setitem(sys.modules, package, None)  # importing it fails
    os.mkdir(str(tmp_path / "read"))
    path = str(tmp_path / "read" / name)
    for work in (lambda: write_matrix(str(tmp_path / name), H), lambda: read_matrix(path)):
        with pytest.raises(ImportError) as error:
            work()
        assert str(error.value) == ("expected the Python package %s, for %s, got none: pip install %s, or "
                                    "run it by tools/with_caffe.sh" % (package, purpose, package))
    assert os.listdir(str(tmp_path)) == ["read"]


# LMDB

def lmdb_of(path, *values):
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(path, map_size=2 ** 24) as environment, environment.begin(write=True) as transaction:
        for i, value in enumerate(values):
            transaction.put(b"%08d" % i, value)
    return path


def test_lmdb_is_what_lmdb_reads(tmp_path):
    lmdb = pytest.importorskip("lmdb")
    for n in (1, 5, 31, 32, 300):  # a value of one page and of several, and one that ends with its page
        path = str(tmp_path / ("H%d_lmdb" % n))
        matrix = np.random.RandomState(n).randn(n, n).astype(np.float32)
        write_matrix(path, matrix)
        with lmdb.open(path, map_size=2 ** 24) as environment:
            assert environment.stat()["entries"] == 1
            with environment.begin() as transaction:
                (key, value), = transaction.cursor()
            assert matrix.tobytes() in value
            with environment.begin(write=True) as transaction:  # and goes on with
                for i in range(300):
                    transaction.put(b"a%d" % i, b"b" * 500)
                transaction.delete(key)
            with environment.begin() as transaction:
                assert transaction.get(b"a99") == b"b" * 500 and transaction.get(key) is None


def datum(**fields):
    caffe_pb2 = pytest.importorskip("caffe.proto.caffe_pb2", reason="writes Datums as Caffe does")
    return caffe_pb2.Datum(**fields).SerializeToString()


def test_a_datum_that_caffe_wrote(tmp_path):
    pytest.importorskip("caffe")
    import caffe.io
    for n in (1, 3, 200):
        matrix = np.random.RandomState(n).randn(n, n).astype(np.float32)
        written = caffe.io.array_to_datum(matrix[np.newaxis], label=3).SerializeToString()  # unpacked
        assert np.array_equal(read_matrix(lmdb_of(str(tmp_path / ("H%d.lmdb" % n)), written)), matrix)


def test_packed_and_unpacked_numbers_together(tmp_path):
    numbers = np.arange(9, dtype="<f4")
    unpacked = b"".join(b"\x35" + x.tobytes() for x in numbers)
    packed = b"\x32\x08" + numbers[7:].tobytes()
    head = b"\x08\x01\x10\x03\x18\x03"
    path = lmdb_of(str(tmp_path / "H_lmdb"), unpacked[:20] + b"\x28\x05" + unpacked[20:35] + head + packed)
    assert read_matrix(path).tolist() == numbers.reshape(3, 3).tolist()


def test_lmdb_without_a_matrix(tmp_path):
    good = datum(channels=1, height=2, width=2, float_data=[1, 2, 3, 4])
    for i, (values, message) in enumerate([
            ([], "expected an LMDB with one Datum, got one with 0 records"),
            ([good, good], "expected an LMDB with one Datum, got one with 2 records"),
            ([good] * 500, "expected an LMDB with one Datum, got one with 500 records"),
            ([datum(channels=1, height=2, width=2, data=b"1234")], "got one with an image's bytes"),
            ([datum(channels=1, height=2, width=2, float_data=[1, 2, 3, 4], encoded=True)], "an image's bytes"),
            ([datum(channels=1, height=2, width=2)], "expected a Datum with float_data, got one without"),
            ([datum(channels=1, height=2, width=3, float_data=[1, 2, 3, 4])], "expected 6 numbers for shape 1 x 2 x 3"),
            ([datum(channels=3, height=1, width=1, float_data=[1, 2, 3])], "expected a blob of shape"),
            ([datum(height=2, width=2, float_data=[1, 2, 3, 4])], "expected a blob of shape"),
            ([b"no datum"], "expected a")]):
        with pytest.raises(ValueError, match="_lmdb: .*" + message):
            read_matrix(lmdb_of(str(tmp_path / ("H%d_lmdb" % i)), *values))
    assert read_matrix(lmdb_of(str(tmp_path / "H_lmdb"), good)).tolist() == [[1, 2], [3, 4]]


def test_a_database_of_more_than_h_is_not_replaced(tmp_path):
    path = lmdb_of(str(tmp_path / "train_lmdb"), b"one", b"two")
    with pytest.raises(IOError, match="train_lmdb: cannot be written: .*, or an LMDB with one record, got one with 2"):
        write_matrix(path, H)
    path = lmdb_of(str(tmp_path / "H_lmdb"), b"one")
    write_matrix(path, H)
    assert same_bits(read_matrix(path), H)


def test_lmdb_in_a_folder_that_is_read_only_with_a_stale_lock(tmp_path):
    path = tmp_path / "H_lmdb"
    write_matrix(str(path), H)
    (path / "lock.mdb").write_bytes(b"stale" * 2000)
    os.chmod(str(path / "data.mdb"), 0o444)
    os.chmod(str(path), 0o555)
    before = (path / "lock.mdb").read_bytes()
    try:
        assert same_bits(read_matrix(str(path)), H)
    finally:
        os.chmod(str(path), 0o755)
    assert sorted(os.listdir(str(path))) == ["data.mdb", "lock.mdb"] and (path / "lock.mdb").read_bytes() == before


@pytest.mark.parametrize("size", [0, 1, 100, 4096, 8191, 8192, 12000, 12288, 12500])
def test_lmdb_that_is_cut_off(tmp_path, size):
    path = tmp_path / "H_lmdb"
    write_matrix(str(path), np.eye(40))
    real_nets.cut(str(path / "data.mdb"), size)
    with pytest.raises(ValueError, match="H_lmdb: expected"):
        read_matrix(str(path))


# .caffemodel

def net_parameter(path, *layers):
    """layers: pairs of a name and the shapes of its blobs, all of ones."""
    caffe_pb2 = pytest.importorskip("caffe.proto.caffe_pb2", reason="writes a NetParameter as Caffe does")
    net = caffe_pb2.NetParameter(name="net")
    for name, shapes in layers:
        layer = net.layer.add(name=name, type="InnerProduct")
        for shape in shapes:
            blob = layer.blobs.add()
            blob.shape.dim.extend(shape)
            blob.data.extend(np.ones(shape).ravel().tolist())
    with open(path, "wb") as file:
        file.write(net.SerializeToString())
    return path


def test_the_layer_of_a_caffemodel(tmp_path):
    path = str(tmp_path / "H.caffemodel")
    ip = ("ip", [(3, 4), (3,)])
    assert read_matrix(net_parameter(path, ("gains", [(1, 1, 2, 2)]))).shape == (2, 2)
    assert read_matrix(net_parameter(path, ("data", []), ("gains", [(1, 1, 2, 2)]), ("loss", []))).shape == (2, 2)
    assert read_matrix(net_parameter(path, ip, ("H", [(1, 1, 2, 2)]), ip)).shape == (2, 2)
    for layers, message in [
            ([], "expected a layer H, or one layer with a blob, got 0"),
            ([ip, ip], "expected a layer H, or one layer with a blob, got 2"),
            ([ip], "expected one blob in the layer of H, got 2"),
            ([ip, ("H", [])], "expected one blob in the layer of H, got 0"),
            ([("H", [(2, 2)]), ("H", [(2, 2)])], "expected a layer H, or one layer with a blob, got 2"),
            ([("H", [(4,)])], "expected a blob of shape 1 x 1 x L x L, got 4")]:
        with pytest.raises(ValueError, match="H.caffemodel: " + message):
            read_matrix(net_parameter(path, *layers))


# in Caffe

X, LABELS = real_nets.random_scores((12, 5)), np.random.RandomState(0).randint(0, 5, 12)


def loss_layer(which, source=None):
    bottoms = ["score", "label"] + (["H"] if source is None else [])
    if which == "ours":
        return real_nets.python_layer("SoftmaxWithInfogainLoss", bottoms, ["loss"],
                                      {} if source is None else {"source": source}, "loss_weight: 1")
    return 'layer { name: "loss" type: "InfogainLoss" %s top: "loss" %s }' % (
        " ".join('bottom: "%s"' % bottom for bottom in bottoms),
        "" if source is None else 'infogain_loss_param { source: "%s" }' % source)


def loss_and_gradient(layers, weights=None):
    net = real_nets.net(real_nets.input_layer(data=X.shape, label=LABELS.shape)
                        + real_nets.learned("data", "score") + layers)
    if weights:
        net.copy_from(weights)
    net.blobs["data"].data[...] = X
    net.blobs["label"].data[...] = LABELS
    for _ in range(3):  # a data layer starts again
        net.forward()
    net.backward()
    assert "H" not in net.blobs or net.blobs["H"].data.shape == (1, 1, 5, 5)
    return net.blobs["loss"].data.tobytes(), net.blobs["score"].diff.tobytes()


@pytest.mark.parametrize("which", ["native", "ours"])
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.scores
def test_caffe_reads_it(tmp_path, monkeypatch, ending, which):
    """The layer that feeds such a file gives the loss of `source:` with the same H, and the loop's."""
    pytest.importorskip("caffe")
    from caffe_prototxt.rewrite.fragment import h_fragment
    monkeypatch.chdir(tmp_path)
    write_matrix("H.binaryproto", H)
    write_matrix("H" + ending, H)
    found = loss_and_gradient(h_fragment("H" + ending, 5) + loss_layer(which),
                              "H.caffemodel" if ending == ".caffemodel" else None)
    assert found == loss_and_gradient(loss_layer(which, "H.binaryproto"))
    expected, gradient = loops.batch(loops.softmax_with_infogain, X, LABELS, H)
    assert np.frombuffer(found[0], np.float32)[0] == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(np.frombuffer(found[1], np.float32).reshape(X.shape), gradient, atol=1e-6)


@pytest.mark.scores
def test_fragments_with_net_spec_and_in_deploy(tmp_path, monkeypatch):
    caffe = pytest.importorskip("caffe")
    from caffe_prototxt.netspec.loss_layers import h_from_file, infogain_loss
    monkeypatch.chdir(tmp_path)
    for name in ("H.h5", "H_lmdb", "H.caffemodel", "H.json"):
        write_matrix(name, H)
        n = caffe.NetSpec()
        n.score, n.label = caffe.layers.Input(shape=[{"dim": [12, 5]}, {"dim": [12]}], ntop=2)
        n.H = h_from_file(name, 5)
        n.loss = infogain_loss(n.score, n.label, H=n.H)
        (tmp_path / "net.prototxt").write_text(u"%s" % n.to_proto())
        assert "loss" in caffe.Net("net.prototxt", caffe.TEST).blobs
        assert list(caffe.Net("net.prototxt", caffe.TEST, stages=["deploy"]).blobs) == ["score", "label"]
    with pytest.raises(ValueError, match="n_classes: expected the number of classes"):
        h_from_file("H.caffemodel")
