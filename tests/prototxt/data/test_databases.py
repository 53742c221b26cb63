"""Records of LMDBs and LevelDBs, whole and damaged, and the labels in Datums."""
from __future__ import division, print_function

import os
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import pytest

lmdb = pytest.importorskip("lmdb")
pytest.importorskip("hypothesis")
from hypothesis import given, settings, strategies as st

import real_nets
import sources
from counts import examples
from caffe_losses.formats import lmdb_files
from caffe_prototxt.data import databases


def records(path):
    opened, total = databases.open_records(path)
    found = [bytes(record) for record in opened]
    assert total in (None, len(found))
    return found


def test_an_lmdb_of_many_levels(tmp_path):
    expected = [b"%d" % i for i in range(examples(100000))]
    path = sources.write_lmdb(tmp_path / "lmdb", expected)
    assert records(path) == expected
    os.chmod(path, 0o555)
    opened = lmdb_files.records(path)
    assert bytes(next(opened)) == b"0"
    assert databases.is_database(path) and not databases.is_database(str(tmp_path))


def test_a_cut_lmdb_is_an_error_at_any_length(tmp_path):
    path = sources.write_lmdb(tmp_path / "lmdb", [b"r" * size for size in [10, 3000, 20000] * 20])
    file = os.path.join(path, "data.mdb")
    whole = os.path.getsize(file)
    for size in np.linspace(0, whole, examples(60), endpoint=False).astype(int)[::-1]:
        real_nets.cut(file, size)
        with pytest.raises(ValueError, match="expected an LMDB( of at least %d bytes, got %d: it is cut off|"
                                             ", got something else in data.mdb)" % (whole, size)):
            records(path)


def test_what_is_no_lmdb(tmp_path):
    (tmp_path / "data.mdb").write_bytes(b"text" * 5000)
    with pytest.raises(ValueError, match="expected an LMDB, got something else in data.mdb .*Invalid|INVALID"):
        records(str(tmp_path))


# LevelDB

@pytest.fixture
def leveldb():
    if not sources.has_plyvel():
        pytest.importorskip("leveldb")


@pytest.mark.parametrize("compression", ["snappy", None])
def test_a_leveldb_is_read_and_keeps_its_records(tmp_path, leveldb, compression):
    rng = np.random.RandomState(0)
    expected = [rng.bytes(20) * rng.randint(1, 50) for _ in range(3000)]
    path = sources.write_leveldb(tmp_path / "leveldb", expected, compression)
    assert any(name.endswith((".ldb", ".sst")) for name in os.listdir(path))
    for _ in range(3):
        assert records(path) == expected


def test_a_leveldb_that_a_training_has_open(tmp_path, leveldb):
    path = sources.write_leveldb(tmp_path / "leveldb", [b"a", b"b"])
    opening = "plyvel.DB(%r)" if sources.has_plyvel() else "leveldb.LevelDB(%r)"
    program = "import sys, %s\nheld = %s\nsys.stdout.write('.'); sys.stdout.flush(); sys.stdin.read()" % (
        opening.split(".")[0], opening % path)
    training = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert training.stdout.read(1) == b"."
    with pytest.raises(IOError, match="this LevelDB is open in another program"):
        records(path)
    training.communicate()
    assert records(path) == [b"a", b"b"]


def contents(folder):
    found = {}
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), "rb") as file:
            found[name] = file.read()
    return found


@pytest.mark.parametrize("n_records", [20, 5000])  # in the log alone, and in tables too
def test_a_leveldb_keeps_its_files_and_is_whole_or_an_error(tmp_path, leveldb, n_records):
    path = sources.write_leveldb(tmp_path / "leveldb", [b"%05d" % i * 20 for i in range(n_records)])
    before, temporary = contents(path), sorted(os.listdir(tempfile.gettempdir()))
    assert len(records(path)) == n_records and contents(path) == before
    assert sorted(os.listdir(tempfile.gettempdir())) == temporary
    for name in [name for name in before if name.endswith(".log") or name.startswith("MANIFEST")]:
        with open(os.path.join(path, name), "r+b") as file:
            file.truncate(len(before[name]) // 2 - 5)  # within a record
        with pytest.raises(IOError, match="expected a LevelDB, got one that is cut off: "):
            records(path)
        with open(os.path.join(path, name), "wb") as file:
            file.write(before[name])
    assert len(records(path)) == n_records


def test_a_broken_leveldb_is_an_error(tmp_path, leveldb):
    path = sources.write_leveldb(tmp_path / "leveldb", [b"%d" % i * 100 for i in range(5000)])
    tables = sorted(name for name in os.listdir(path) if name.endswith((".ldb", ".sst")))
    with open(os.path.join(path, tables[0]), "r+b") as file:
        file.seek(1000)
        file.write(b"damage")
    if sources.has_plyvel():
        with pytest.raises(IOError, match="expected a LevelDB: .*orrupt"):
            records(path)
    else:
        assert len(records(path)) < 5000
    os.remove(os.path.join(path, tables[0]))
    with pytest.raises(IOError, match="expected a LevelDB: "):
        records(path)
    (tmp_path / "leveldb" / "CURRENT").write_text(u"MANIFEST-000099\n")
    with pytest.raises(IOError, match="expected a LevelDB: "):
        records(path)


# Datums

LABELS = st.one_of(st.none(), st.integers(0, 300), st.integers(-2 ** 31, 2 ** 31 - 1))
IMAGES = st.sampled_from([b"", b"image", b"i" * 10 ** 4, b"(\7" * 10 ** 4])  # the last ones are read field by field
ORDERS = st.permutations(["data", "label", "encoded"])


@settings(max_examples=examples(400), deadline=None)
@given(label=LABELS, image=IMAGES, order=ORDERS, cut=st.integers(0, 30))
def test_labels_are_those_that_protobuf_finds(label, image, order, cut):
    caffe_pb2 = pytest.importorskip("caffe.proto.caffe_pb2")
    fields = {"data": image, "label": label, "encoded": True}
    # Serialised one by one, fields stand in any order.
    record = b"".join(caffe_pb2.Datum(**{name: fields[name]}).SerializeToString() for name in order)
    assert list(databases.datum_labels([record, bytearray(record)])) == [label, label]
    damaged = record[:-cut] if cut else record + b"\x07"
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        try:
            datum = caffe_pb2.Datum()
            whole = datum.ParseFromString(damaged) in (None, len(damaged))
        except Exception:
            whole = False
        expected = datum.label if whole and datum.HasField("label") else None
        assert list(databases.datum_labels([damaged])) == [expected]


def test_labels_by_hand():
    pytest.importorskip("caffe.proto.caffe_pb2")
    image = b"\x22\x80\x80\1" + b"(\1" * 2 ** 13  # no label in it
    assert list(databases.datum_labels([
        b"\x28\x07", b"\x28\x07\x28\x02", b"\x22\x02\x28\x01", b"\x28" + b"\xff" * 9 + b"\x01", b"",
        b"\x28\x07" + image, image + b"\x28\x07" + b"\x28\x02", image, image[:-1]])) == [
            7, 2, None, -1, None, 7, 2, None, None]


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.tuples(LABELS, IMAGES, ORDERS, st.integers(0, 3)), max_size=12))
def test_what_is_known_of_the_records_before_is_true_of_the_next(datums):
    caffe_pb2 = pytest.importorskip("caffe.proto.caffe_pb2")
    records = []
    for label, image, order, cut in datums:
        fields = {"data": image, "label": label, "encoded": True}
        record = b"".join(caffe_pb2.Datum(**{name: fields[name]}).SerializeToString() for name in order)
        records.append(record[:len(record) - cut])
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        assert list(databases.datum_labels(records)) == [
            list(databases.datum_labels([record]))[0] for record in records]


def test_datums():
    pytest.importorskip("caffe.proto.caffe_pb2")
    assert [datum.label for datum in databases.datums([b"\x28\x07", b"\x28\x02"])] == [7, 2]
    with pytest.raises(ValueError, match="expected a Datum, got something else"):
        list(databases.datums([b"no Datum"]))
