"""Files are written whole or not at all, whatever happens meanwhile."""
from __future__ import division, print_function

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from counts import examples
from caffe_losses.formats.atomic import atomic_write
from caffe_losses.formats.matrix_files import matrix_writer, read_matrix, write_files, write_matrix

H = np.array([[1, .25, 1e-30], [-2, 3e38, 0], [1 / 3, 5, -0.0]], np.float32)


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.fixture
def path(tmp_path):
    return lambda name: str(tmp_path / name)


def test_a_read_only_file_stays(path):
    write_matrix(path("H.npy"), H)
    os.chmod(path("H.npy"), 0o444)
    with pytest.raises(IOError, match="H.npy: cannot be written: expected another file than a read-only one; chmod u.w it"):
        write_files([(path("D.npy"), matrix_writer(path("D.npy"), H)), (path("H.npy"), matrix_writer(path("H.npy"), -H))])
    assert os.listdir(path("")) == ["H.npy"] and same_bits(read_matrix(path("H.npy")), H)


def test_several_files_all_or_none(path):
    def broken(file):
        file.write(b"half")
        raise ValueError("broken")
    good = matrix_writer(path("H.npy"), H)
    with pytest.raises(ValueError, match="broken"):
        write_files([(path("H.npy"), good), (path("other"), broken)])
    assert os.listdir(path("")) == []
    write_files([(path("H.npy"), good), (path("D.csv"), matrix_writer(path("D.csv"), H))])
    assert sorted(os.listdir(path(""))) == ["D.csv", "H.npy"]


@pytest.mark.parametrize("name", ["", "folder/", "none/H.npy"])
def test_no_file_of_that_name(path, name):
    with pytest.raises(IOError, match="cannot be written"):
        with atomic_write(os.path.join(path(""), name) if name else ""):
            pass


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(path):
    write_matrix(path("H.npy"), H)
    with pytest.raises(RuntimeError):
        with atomic_write(path("H.npy")) as file:
            file.write(b"half")
            raise RuntimeError
    assert os.listdir(path("")) == ["H.npy"]
    assert same_bits(read_matrix(path("H.npy")), H)


def test_mode_and_links_are_kept(path):
    write_matrix(path("new.npy"), H)
    umask = os.umask(0)
    os.umask(umask)
    assert os.stat(path("new.npy")).st_mode & 0o777 == 0o666 & ~umask
    os.chmod(path("new.npy"), 0o640)
    os.symlink("new.npy", path("link.npy"))
    write_matrix(path("link.npy"), H * 0)
    assert os.path.islink(path("link.npy")) and not read_matrix(path("new.npy")).any()
    assert os.stat(path("new.npy")).st_mode & 0o777 == 0o640


def test_a_device_is_written_not_replaced():
    with atomic_write("/dev/null") as file:
        file.write(b"gone")
    assert not os.path.isfile("/dev/null")


@pytest.mark.parametrize("ending", [".binaryproto", ".lmdb", ".h5"])
def test_killed_while_writing(path, ending):
    """Whenever the writer is killed, the final name holds a whole file or none."""
    write_matrix(path("H" + ending), np.zeros((1200, 1200)))
    program = ("import sys, numpy, itertools; from caffe_losses.formats.matrix_files import write_matrix\n"
               "for i in itertools.count(1):\n"
               "    write_matrix(%r, numpy.full((1200, 1200), i)); sys.stdout.write('.'); sys.stdout.flush()"
               % path("H" + ending))
    seen = set()
    for number, wait in enumerate(np.linspace(0, .06, examples(12)), 1):
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        process.stdout.read(number)  # so many are written, however busy the machine
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        found = read_matrix(path("H" + ending))
        assert found.shape == (1200, 1200) and len(np.unique(found)) == 1
        seen.add(found[0, 0])
    assert len(seen) > 1  # it was writing when it was killed


@pytest.mark.parametrize("ending", [".npy", ".csv", ".json", ".binaryproto", ".caffemodel", ".h5"])
def test_a_full_disk(path, ending):
    pytest.importorskip("h5py")
    os.symlink("/dev/full", path("H" + ending))
    with pytest.raises(IOError, match="H%s: cannot be written: No space left on device" % ending):
        write_matrix(path("H" + ending), np.ones((300, 300)))


def test_a_full_disk_is_named_whoever_writes(path):
    os.symlink("/dev/full", path("net.prototxt"))
    with pytest.raises(IOError, match="net.prototxt: cannot be written: No space left on device"):
        with atomic_write(path("net.prototxt")) as file:
            file.write(b" " * 10 ** 6)


# LMDB: a folder

def lmdb_folder(path, names=("data.mdb", "lock.mdb")):
    os.mkdir(path("H_lmdb"))
    for name in names:
        with open(path(os.path.join("H_lmdb", name)), "wb") as file:
            file.write(b"old")


@pytest.mark.parametrize("names", [(), ("data.mdb",), ("data.mdb", "lock.mdb"), ("lock.mdb",)])
def test_an_lmdb_that_is_there_is_replaced(path, names):
    lmdb_folder(path, names)
    os.chmod(path("H_lmdb"), 0o750)
    os.symlink("H_lmdb", path("link_lmdb"))
    write_matrix(path("link_lmdb/"), H)
    assert sorted(os.listdir(path(""))) == ["H_lmdb", "link_lmdb"] and os.path.islink(path("link_lmdb"))
    assert os.listdir(path("H_lmdb")) == ["data.mdb"]  # the lock file was that of the old one
    assert os.stat(path("H_lmdb")).st_mode & 0o777 == 0o750
    assert same_bits(read_matrix(path("link_lmdb/")), H)


def test_another_folder_or_a_file_is_not_replaced(path):
    lmdb_folder(path, ("data.mdb", "notes.txt"))
    with pytest.raises(IOError, match="H_lmdb: cannot be written: expected no such folder, .*, got one with notes.txt"):
        write_matrix(path("H_lmdb"), H)
    assert sorted(os.listdir(path("H_lmdb"))) == ["data.mdb", "notes.txt"]
    write_matrix(path("H.npy"), H)
    os.rename(path("H.npy"), path("D_lmdb"))
    with pytest.raises(IOError, match="D_lmdb: cannot be written: Not a directory"):
        write_matrix(path("D_lmdb"), H)
    assert sorted(os.listdir(path(""))) == ["D_lmdb", "H_lmdb"]


def test_a_failure_leaves_the_old_lmdb_or_none(path):
    for exists in (False, True):
        with pytest.raises(ValueError, match="float32 can hold"):
            write_matrix(path("H.lmdb"), np.full((2, 2), 1e300))
        assert os.listdir(path("")) == ["H.lmdb"] * exists
        if exists:
            assert same_bits(read_matrix(path("H.lmdb")), H)
        else:
            write_matrix(path("H.lmdb"), H)


def test_the_mode_of_a_new_lmdb(path):
    write_matrix(path("H.lmdb"), H)
    umask = os.umask(0)
    os.umask(umask)
    assert os.stat(path("H.lmdb")).st_mode & 0o777 == 0o777 & ~umask
    assert os.stat(path("H.lmdb/data.mdb")).st_mode & 0o777 == 0o666 & ~umask


def test_folders_and_files_together_all_or_none(path):
    names = ["H.h5", "H.lmdb", "H.npy", "H.caffemodel"]
    writers = [(path(name), matrix_writer(path(name), H)) for name in names]
    broken = (path("bad.csv"), matrix_writer(path("bad.npy"), H))
    with pytest.raises(IOError, match="none/bad.csv: cannot be written: No such file or directory"):
        write_files(writers + [(path("none/bad.csv"), broken[1])])
    assert os.listdir(path("")) == []
    write_files(writers)
    assert sorted(os.listdir(path(""))) == ["H.caffemodel", "H.h5", "H.h5.txt", "H.lmdb", "H.npy"]
    assert all(same_bits(read_matrix(path(name)), H) for name in names)
