from __future__ import division, print_function

import os
import shutil

import numpy as np
import pytest

lmdb = pytest.importorskip("lmdb")
pytest.importorskip("hypothesis")
from hypothesis import given, settings, strategies as st

import real_nets
import sources
from counts import examples
from caffe_losses.formats import lmdb_pages
from caffe_prototxt.data import leveldbs


def records(batches):
    return [data[start:start + size].tobytes() for data, starts, sizes in batches
            for start, size in zip(starts, sizes)]


def read_by_lmdb(path):
    environment = lmdb.open(path, readonly=True, lock=False)
    with environment.begin() as transaction:
        found = [value for _, value in transaction.cursor()]
    environment.close()
    return found


@settings(max_examples=examples(30))
@given(seed=st.integers(0, 2 ** 32 - 1), transactions=st.integers(1, 8), most=st.sampled_from([3, 40, 400]),
       longest=st.sampled_from([10, 300, 3000, 30000]))
def test_an_lmdb_is_read_as_the_module_lmdb_reads_it(tmp_path_factory, seed, transactions, most, longest):
    """Whatever was put, replaced and deleted, in however many transactions."""
    rng = np.random.RandomState(seed)
    path = str(tmp_path_factory.mktemp("lmdb"))
    environment = lmdb.open(path, map_size=2 ** 28)
    for _ in range(transactions):
        with environment.begin(write=True) as transaction:
            for _ in range(rng.randint(most)):
                key = b"%08d" % rng.randint(most) + b"x" * rng.randint(50)
                if rng.rand() < .3:
                    transaction.delete(key)
                else:
                    transaction.put(key, rng.bytes(rng.randint(longest)))
    environment.close()
    assert records(lmdb_pages.batches(path)) == read_by_lmdb(path)
    assert lmdb_pages.count_records(path) == len(read_by_lmdb(path))
    shutil.rmtree(path)


def test_an_lmdb_of_many_levels(tmp_path):
    expected = [b"%d" % i for i in range(100000)]
    path = sources.write_lmdb(tmp_path / "lmdb", expected)
    assert records(lmdb_pages.batches(path)) == expected


def test_a_cut_lmdb_is_an_error_at_any_length(tmp_path):
    path = sources.write_lmdb(tmp_path / "lmdb", [b"r" * size for size in [10, 3000, 20000] * 20])
    file = os.path.join(path, "data.mdb")
    for size in np.linspace(0, os.path.getsize(file), 60, endpoint=False).astype(int)[::-1]:
        real_nets.cut(file, size)
        try:
            assert len(records(lmdb_pages.batches(path))) == 60  # the last page may be a free one
        except ValueError as error:
            assert "expected an LMDB" in str(error)


def test_a_damaged_lmdb_never_crashes(tmp_path):
    path = sources.write_lmdb(tmp_path / "lmdb", [b"r" * size for size in [10, 100, 3000] * 30])
    file = os.path.join(path, "data.mdb")
    with open(file, "rb") as opened:
        good = bytearray(opened.read())
    rng, refused = np.random.RandomState(0), 0
    for _ in range(1000):
        damaged = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            page = rng.randint(len(good) // 4096) * 4096
            damaged[page + rng.randint(rng.choice([16, 160, 4096]))] = rng.randint(256)
        with open(file, "wb") as opened:
            opened.write(damaged)
        try:
            records(lmdb_pages.batches(path))
        except ValueError:
            refused += 1
    assert refused > 20


def test_what_is_no_lmdb_of_records(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "data.mdb").write_bytes(b"text" * 5000)
    with pytest.raises(ValueError, match="expected an LMDB of a 64-bit machine"):
        records(lmdb_pages.batches(str(other)))
    environment = lmdb.open(str(tmp_path / "nested"), max_dbs=2)
    environment.open_db(b"inner")
    environment.close()
    with pytest.raises(ValueError, match="got one of databases"):
        records(lmdb_pages.batches(str(tmp_path / "nested")))


@pytest.mark.parametrize("compression", ["snappy", None])
def test_a_leveldb_is_read_and_keeps_its_records(tmp_path, compression):
    rng = np.random.RandomState(0)
    expected = [rng.bytes(20) * rng.randint(1, 50) for _ in range(3000)]
    path = sources.write_leveldb(tmp_path / "leveldb", expected, compression)
    assert any(name.endswith((".ldb", ".sst")) for name in os.listdir(path))
    for _ in range(3):
        assert records(leveldbs.batches(path)) == expected


def test_a_leveldb_that_a_training_has_open(tmp_path):
    path = sources.write_leveldb(tmp_path / "leveldb", [b"a", b"b"])
    held = leveldbs._values(path)
    assert next(held) == b"a"
    with pytest.raises(IOError, match="this LevelDB is open in another program"):
        records(leveldbs.batches(path))
    held.close()
    assert records(leveldbs.batches(path)) == [b"a", b"b"]


def test_a_broken_leveldb_is_an_error(tmp_path):
    path = sources.write_leveldb(tmp_path / "leveldb", [b"%d" % i * 100 for i in range(5000)])
    tables = sorted(name for name in os.listdir(path) if name.endswith((".ldb", ".sst")))
    with open(os.path.join(path, tables[0]), "r+b") as file:
        file.seek(1000)
        file.write(b"damage")
    if sources.has_plyvel():
        with pytest.raises(IOError, match="expected a LevelDB: .*orrupt"):
            records(leveldbs.batches(path))
    else:
        assert len(records(leveldbs.batches(path))) < 5000
    os.remove(os.path.join(path, tables[0]))
    with pytest.raises(IOError, match="expected a LevelDB: "):
        records(leveldbs.batches(path))
    (tmp_path / "leveldb" / "CURRENT").write_text(u"MANIFEST-000099\n")
    with pytest.raises(IOError, match="expected a LevelDB: "):
        records(leveldbs.batches(path))
