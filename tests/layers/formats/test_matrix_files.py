"""Matrices that are read and written, and files that hold none."""
from __future__ import division, print_function

import os

import numpy as np
import pytest

from caffe_losses.formats.matrix_files import ENDINGS, matrix_writer, read_matrix, write_files, write_matrix

H = np.array([[1, .25, 1e-30], [-2, 3e38, 0], [1 / 3, 5, -0.0]], np.float32)


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.fixture
def path(tmp_path):
    return lambda name: str(tmp_path / name)


def blob_proto():
    caffe_pb2 = pytest.importorskip("caffe.proto.caffe_pb2", reason="reads what Caffe itself wrote")
    return caffe_pb2.BlobProto()


def test_caffe_reads_what_we_write(path):
    proto = blob_proto()
    import caffe.io
    write_matrix(path("H.binaryproto"), H)
    with open(path("H.binaryproto"), "rb") as file:
        proto.ParseFromString(file.read())
    assert list(proto.shape.dim) == [1, 1, 3, 3]
    assert same_bits(caffe.io.blobproto_to_array(proto)[0, 0].astype(np.float32), H)


def test_we_read_what_caffe_writes(path):
    blob_proto()
    import caffe.io
    with open(path("H.binaryproto"), "wb") as file:
        file.write(caffe.io.array_to_blobproto(H[np.newaxis, np.newaxis]).SerializeToString())
    assert same_bits(read_matrix(path("H.binaryproto")), H)


def test_the_bytes_are_those_of_caffe(path):
    blob_proto()
    import caffe.io
    write_matrix(path("H.binaryproto"), H)
    with open(path("H.binaryproto"), "rb") as file:
        ours = file.read()
    theirs = caffe.io.array_to_blobproto(H[np.newaxis, np.newaxis]).SerializeToString()
    assert sorted(ours) == sorted(theirs)  # the same fields, in an order of their own


@pytest.mark.parametrize("fill, dtype", [
    (lambda p: p.shape.dim.extend([3, 3]), np.float32),
    (lambda p: p.shape.dim.extend([1, 1, 1, 3, 3]), np.float32),
    (lambda p: [setattr(p, name, n) for name, n in zip(("num", "channels", "height", "width"), (1, 1, 3, 3))],
     np.float32),
    (lambda p: p.shape.dim.extend([1, 1, 3, 3]), np.float64),
])
def test_other_forms(path, fill, dtype):
    proto = blob_proto()
    fill(proto)
    (proto.data if dtype is np.float32 else proto.double_data).extend(H.ravel().tolist())
    with open(path("H.binaryproto"), "wb") as file:
        file.write(proto.SerializeToString())
    assert same_bits(read_matrix(path("H.binaryproto")), H.astype(dtype))


def test_unpacked_data(path):
    content = b"\x3a\x02\x08\x01\x3a\x02\x08\x02" + b"".join(b"\x2d" + x.tobytes() for x in H[0, :2])
    with open(path("H.binaryproto"), "wb") as file:
        file.write(content)
    assert read_matrix(path("H.binaryproto")).tolist() == [[1, .25]]


@pytest.mark.parametrize("ending", [".npy", ".csv", ".binaryproto"])
def test_round_trip(path, ending):
    write_matrix(path("H" + ending), H)
    assert same_bits(read_matrix(path("H" + ending)).astype(np.float32), H)


@pytest.mark.parametrize("ending", [".npy", ".csv"])
def test_round_trip_of_float64(path, ending):
    matrix = np.random.RandomState(0).randn(4, 4) / 3
    write_matrix(path("H" + ending), matrix)
    assert same_bits(read_matrix(path("H" + ending)), matrix)


def test_csv_with_comments(path):
    with open(path("H.csv"), "wb") as file:
        file.write(b"\xef\xbb\xbf# gains\r\n1, 2e-3 # first\r\n\r\n-3,4\r\n")
    assert read_matrix(path("H.csv")).tolist() == [[1, .002], [-3, 4]]


@pytest.mark.parametrize("name, content, message", [
    ("H.csv", b"", "got an empty file"),
    ("H.csv", b"1,2\n3\n", "line 2: expected 2 numbers, as in the first row, got 1"),
    ("H.csv", b"a,b\n1,2\n", "line 1: expected numbers with commas"),
    ("H.csv", b"\xff\xfe", "H.csv: "),
    ("H.npy", b"", "expected a .npy file"),
    ("H.npy", b"PK\x03\x04 an archive", "expected a .npy file"),
    ("H.npy", b"\x93NUMPY\x01\x00\x10\x00{'descr':}      ", "expected a .npy file"),
    ("H.binaryproto", b"", "expected a BlobProto with data"),
    ("H.binaryproto", b"some text that is no message", "H.binaryproto: expected"),
    ("H.binaryproto", b"\xff" * 40, "expected a serialised BlobProto"),
    ("H.txt", b"1", ": expected a file that ends in .binaryproto, .caffemodel, .csv, "),
])
def test_bad_files(path, name, content, message):
    with open(path(name), "wb") as file:
        file.write(content)
    with pytest.raises(ValueError, match=message):
        read_matrix(path(name))


def test_npy_that_lies_about_its_size(path):
    np.save(path("H.npy"), np.eye(3))
    with open(path("H.npy"), "rb") as file:
        content = file.read()
    with open(path("H.npy"), "wb") as file:
        file.write(content.replace(b"(3, 3)", b"(300000, 300000)"))
    with pytest.raises(ValueError, match="the file is damaged|expected a .npy file"):
        read_matrix(path("H.npy"))


def test_npy_with_objects_is_not_unpickled(path):
    np.save(path("H.npy"), np.array([[{}]], object))
    with pytest.raises(ValueError, match="expected a .npy file of numbers, got something else .*bjects"):
        read_matrix(path("H.npy"))


def test_fortran_order(path):
    np.save(path("H.npy"), np.asfortranarray(H))
    assert read_matrix(path("H.npy")).tolist() == H.tolist()


@pytest.mark.parametrize("ending", [".npy", ".binaryproto"])
def test_every_truncation_is_an_error(path, ending):
    write_matrix(path("H" + ending), H)
    with open(path("H" + ending), "rb") as file:
        content = file.read()
    for size in range(len(content)):
        with open(path("cut" + ending), "wb") as file:
            file.write(content[:size])
        with pytest.raises(ValueError, match="cut" + ending):
            read_matrix(path("cut" + ending))


@pytest.mark.parametrize("dims", [(1, 1, 4, 4), (1, 1, 3), (2, 1, 3, 3), (9,), (), (1, 1, 0, 0),
                                  (1, 1, 2 ** 40, 2 ** 40)])
def test_shape_that_does_not_fit(path, dims):
    proto = blob_proto()
    proto.shape.dim.extend(dims)
    proto.data.extend(H.ravel().tolist())
    with open(path("H.binaryproto"), "wb") as file:
        file.write(proto.SerializeToString())
    with pytest.raises(ValueError, match="H.binaryproto: expected"):
        read_matrix(path("H.binaryproto"))


def test_missing_file(path):
    with pytest.raises(IOError, match="nothing.npy: cannot be read: No such file"):
        read_matrix(path("nothing.npy"))


def test_what_float32_cannot_hold_is_refused(path):
    with pytest.raises(ValueError, match="float32 can hold, got 1e.300"):
        write_matrix(path("H.binaryproto"), np.full((2, 2), 1e300))
    assert os.listdir(path("")) == []


def test_a_matrix_above_2_gib_is_refused_before_anything_is_written(path):
    nothing = np.broadcast_to(np.float64(1), (23171, 23171))  # takes no memory
    for ending in (".binaryproto", ".caffemodel", ".lmdb", "_lmdb"):
        with pytest.raises(ValueError, match="H%s: .* fits into 2 GiB, .*, got 23171 x 23171" % ending):
            matrix_writer(path("H" + ending), nothing)
        matrix_writer(path("H" + ending), nothing[:23170, :23170])
    with pytest.raises(ValueError, match="fits into 2 GiB"):
        write_files([(path("D.npy"), matrix_writer(path("D.npy"), H)),
                     (path("H.lmdb"), matrix_writer(path("H.lmdb"), nothing))])
    assert os.listdir(path("")) == []


# what is no plain file

@pytest.mark.parametrize("ending", ENDINGS)
def test_what_cannot_be_read(path, ending):
    name = path("H" + ending)
    data = os.path.join(name, "data.mdb") if "lmdb" in ending else name
    with pytest.raises(IOError, match="H%s: cannot be read: No such file or directory" % ending):
        read_matrix(name)
    if data != name:
        os.mkdir(name)
    os.mkdir(data)
    with pytest.raises(IOError, match="H%s: cannot be read: Is a directory" % ending):
        read_matrix(name)
    os.rmdir(data)
    for device in ("/dev/zero", "/dev/stdin"):
        os.symlink(device, data)
        with pytest.raises(IOError, match="H%s: cannot be read: expected a plain file, got a pipe or" % ending):
            read_matrix(name)
        os.unlink(data)
    os.mkfifo(data)
    with pytest.raises(IOError, match="expected a plain file, got a pipe or a device"):
        read_matrix(name)
    os.unlink(data)
    os.symlink(os.path.basename(data), data)
    with pytest.raises(IOError, match="H%s: cannot be read: Too many levels of symbolic links" % ending):
        read_matrix(name)
    os.unlink(data)
    open(data, "wb").close()
    with pytest.raises(ValueError, match="H%s: expected " % ending):
        read_matrix(name)
    with pytest.raises(IOError, match="cannot be read: Not a directory"):
        read_matrix(os.path.join(data, "H" + ending))


@pytest.mark.parametrize("name, message", [
    ("/dev/null", "expected a plain file"), ("none", "No such file"), ("", "'': cannot be read: No such file"), (".", "Is a directory"),
    ("text", "expected a file that ends in .binaryproto, .*, or a BlobProto under another name, got something else")])
def test_no_ending(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text(u"1,0")
    with pytest.raises((IOError, ValueError), match="^%s: (cannot be read: )?%s" % (name, message) if name else message):
        read_matrix(name)


@pytest.mark.parametrize("name", ["infogainH", "H.dat", "my.H"])
def test_any_other_name_is_that_of_a_binaryproto_as_in_caffe(name, tmp_path):
    write_matrix(str(tmp_path / "H.binaryproto"), np.eye(3) + .125)
    os.rename(str(tmp_path / "H.binaryproto"), str(tmp_path / name))
    np.testing.assert_array_equal(read_matrix(str(tmp_path / name)), np.eye(3) + .125)
    with pytest.raises(ValueError, match="%s: expected a file that ends in" % name):
        write_matrix(str(tmp_path / name), np.eye(3))
