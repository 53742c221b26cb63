"""Counts of the labels in every kind of source, and what is no source of labels."""
from __future__ import division, print_function

import collections
import io
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("caffe.proto")
for module in ("lmdb", "h5py", "PIL"):
    pytest.importorskip(module)

import real_nets
import sources
from counts import examples
from user_files import as_nobody
from caffe_prototxt.data.labels import LabelCounts, count_source, per_class

LABELS = np.random.RandomState(0).randint(0, 7, 500)
EXPECTED = dict(collections.Counter(LABELS.tolist()))
FIRST = [LABELS.tolist().index(label) for label in range(7)]


def counted(found):
    assert (np.diff(found.values) > 0).all() and found.values.dtype == found.counts.dtype == np.int64
    return dict(zip(found.values.tolist(), found.counts.tolist()))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def datums(labels):
    return [sources.datum(int(label), (3, 20, 20)) for label in labels]


def hdf5_list(shape, lines=("a.h5", "", "more/b")):
    sources.write_hdf5("a.h5", LABELS[:200].reshape((200,) + shape).astype(np.float32))
    sources.write_hdf5("b.hdf5", LABELS[200:].reshape((300,) + shape), compression="gzip", chunks=(7,) + shape)
    os.mkdir("more")
    os.rename("b.hdf5", os.path.join("more", "b"))
    return sources.write_text("list", lines)


WRITERS = {
    "lmdb": lambda: sources.write_lmdb("train_db", datums(LABELS)),
    "leveldb": lambda: sources.write_leveldb("train_db", datums(LABELS)),
    "leveldb, not compressed": lambda: sources.write_leveldb("train_db", datums(LABELS), None),
    "hdf5": lambda: sources.write_hdf5("labels", LABELS),
    "hdf5 N x 1": lambda: sources.write_hdf5("labels.h5", LABELS[:, np.newaxis].astype(np.float32)),
    "hdf5 N x 1 x 1 x 1": lambda: sources.write_hdf5("labels.h5", LABELS.reshape(-1, 1, 1, 1).astype(np.float64)),
    "hdf5 list": lambda: hdf5_list(()),
    "hdf5 list, N x 1": lambda: hdf5_list((1,)),
    "hdf5 list, in one line": lambda: hdf5_list((), ["more/b a.h5"]),
    "image list": lambda: sources.write_text("train.txt", ["a folder/%d.png %d" % pair for pair in enumerate(LABELS)]),
    "lines": lambda: sources.write_text("labels", LABELS),
    "lines of floats": lambda: sources.write_text("labels.csv", ["%.18e" % label for label in LABELS]),
    "npy": lambda: np.save("labels.npy", LABELS.astype(np.uint8)) or "labels.npy",
    "npy of floats": lambda: np.save("labels.npy", LABELS.reshape(-1, 1).astype(np.float16)) or "labels.npy",
}


@pytest.mark.parametrize("kind", sorted(WRITERS))
def test_every_source(here, kind):
    found = count_source(WRITERS[kind]())
    assert counted(found) == EXPECTED
    assert found.unit == "record" and found.present is None
    numbers = [int(re.search(r"\d+$", text).group()) for text in found.first]
    if "list" not in kind or "image" in kind:
        assert numbers == [i + (kind[0] in "li" and "db" not in kind) for i in FIRST]  # lines count from 1
    counts, present = per_class(found)
    assert counts.tolist() == [EXPECTED[label] for label in range(7)] and present is None


def test_databases_that_caffe_s_own_tool_wrote(here):
    rng = np.random.RandomState(1)
    lines = []
    for i, label in enumerate(LABELS[:40]):
        lines.append("%d.png %d" % (i, label))
        sources.write_image("%d.png" % i, rng.randint(0, 256, (20, 30, 3)).astype(np.uint8))
    sources.write_text("list.txt", lines)
    try:
        real_nets.run(["convert_imageset", "--version"])
    except OSError:
        pytest.skip("this Caffe is without convert_imageset")
    expected = dict(collections.Counter(LABELS[:40].tolist()))
    for options in (["--backend=lmdb"], ["--backend=leveldb"], ["--backend=lmdb", "--encoded", "--encode_type=png"],
                    ["--backend=leveldb", "--encoded", "--encode_type=jpg"]):
        name = "".join(options).replace("-", "")
        status, _, err = real_nets.run(["convert_imageset"] + options + ["./", "list.txt", name])
        assert status == 0, (err, options)
        assert counted(count_source(name)) == expected, name


def test_an_old_text_file_of_windows(here):
    with io.open("labels.txt", "w", encoding="utf-8", newline="") as file:
        file.write(u"\ufeff1\r\n\r\nsome b\u00f6ot.png 2\r\n0 ")
    found = count_source("labels.txt")
    assert counted(found) == {0: 1, 1: 1, 2: 1} and found.first == ["line 4", "line 1", "line 3"]


def test_long_text(here, monkeypatch):
    from caffe_prototxt.data import label_sources
    monkeypatch.setattr(label_sources, "BLOCK", 64)
    monkeypatch.setattr(label_sources, "LINES", 10)
    sources.write_text("long.txt", ["image%d %d" % (i, i % 3 + (i == 900)) for i in range(1000)])
    found = count_source("long.txt")
    assert counted(found) == dict(collections.Counter(i % 3 + (i == 900) for i in range(1000)))
    assert found.first == ["line 1", "line 2", "line 3"]
    sources.write_hdf5("long.h5", LABELS)
    assert counted(count_source("long.h5")) == EXPECTED
    sources.write_text("long.txt", ["x" * 200 + " 1"])
    with pytest.raises(ValueError, match="long.txt: line 1: expected text, got more than 64 bytes"):
        count_source("long.txt")


# Pixels.

MASKS = [np.random.RandomState(i).choice([0, 1, 2, 255] if i % 2 else [0, 5], (6, 8)).astype(np.uint8) for i in range(5)]


def pixels(masks=MASKS):
    """By a slow loop: how often each label occurs, and the pixels of the images that have it."""
    counts, present = collections.Counter(), collections.Counter()
    for mask in masks:
        for row in mask:
            for label in row:
                counts[int(label)] += 1
        for label in set(mask.ravel().tolist()):
            present[label] += mask.size
    return dict(counts), dict(present)


def mask_datums():
    for i, mask in enumerate(MASKS):
        if i == 1:
            yield sources.datum(0, (1, 6, 8), b"", float_data=mask.ravel().tolist())
        elif i == 2:
            stream = io.BytesIO()
            from PIL import Image
            Image.fromarray(mask).save(stream, "PNG")
            yield sources.datum(0, (1, 6, 8), stream.getvalue(), encoded=True)
        else:
            yield sources.datum(0, (1, 6, 8), mask.tobytes())


def mask_files(folder):
    os.mkdir(folder)
    return [sources.write_image(os.path.join(folder, "%d.png" % i), mask, "P" if i % 2 else None)
            for i, mask in enumerate(MASKS)]


def listed(suffix):
    mask_files("my masks")
    return sources.write_text("list.txt", ["image %d.jpg %d.png%s" % (i, i, suffix) if not suffix else
                                           "%d.png%s" % (i, suffix) for i in range(5)])


PIXEL_WRITERS = {
    "lmdb": lambda: sources.write_lmdb("masks", mask_datums()),
    "leveldb": lambda: sources.write_leveldb("masks", mask_datums()),
    "folder": lambda: os.path.dirname(mask_files("masks")[0]),
    "list": lambda: listed(""),
    "list of ImageData": lambda: listed(" 0"),
    "hdf5 N x H x W": lambda: sources.write_hdf5("masks.h5", np.array(MASKS, np.float32)),
    "hdf5 N x 1 x H x W": lambda: sources.write_hdf5("masks.h5", np.array(MASKS)[:, np.newaxis]),
}


@pytest.mark.parametrize("kind", sorted(PIXEL_WRITERS))
def test_labels_of_pixels(here, kind):
    found = count_source(PIXEL_WRITERS[kind](), pixels=True, root_folder="my masks/")
    counts, present = pixels()
    assert counted(found) == counts and found.unit == "pixel"
    assert dict(zip(found.values.tolist(), found.present.tolist())) == present
    by_class = per_class(found, 6, 255)
    assert by_class[0].tolist() == [counts.get(c, 0) for c in range(6)]
    assert by_class[1].tolist() == [present.get(c, 0) for c in range(6)]
    assert re.search(r"(\b|/)1(\.png)?$", found.first[-1])  # of 255


@pytest.mark.parametrize("mode", [None, "P"])
def test_one_image(here, mode):
    found = count_source(sources.write_image("mask.png", MASKS[1], mode), pixels=True)
    assert (counted(found), dict(zip(found.values.tolist(), found.present.tolist()))) == pixels(MASKS[1:2])


def test_images_of_other_depths(here):
    sources.write_image("many.png", np.array([[0, 300], [1000, 0]], np.int32), "I")
    assert counted(count_source("many.png", pixels=True)) == {0: 2, 300: 1, 1000: 1}
    sources.write_image("two.png", np.array([[0, 255], [255, 255]], np.uint8), "1")
    assert counted(count_source("two.png", pixels=True)) == {0: 1, 1: 3}


def test_an_image_of_three_equal_channels(here):
    found = count_source(sources.write_image("mask.png", np.stack([MASKS[1]] * 3, axis=2)), pixels=True)
    assert (counted(found), dict(zip(found.values.tolist(), found.present.tolist()))) == pixels(MASKS[1:2])


def test_an_image_whose_name_ends_in_a_number(here):
    sources.write_image("IMG 12.png", MASKS[0])
    os.rename("IMG 12.png", "IMG 12")
    assert counted(count_source(sources.write_text("list.txt", ["IMG 12 3", "a.png 1"]))) == {3: 1, 1: 1}


@pytest.mark.parametrize("source", ["lmdb", "leveldb", "labels.h5", "list.txt", "labels.npy", "masks", "hdf5.txt"])
@pytest.mark.parametrize("inside", [True, False])
def test_the_data_of_another_user(here, source, inside):
    """Hide the folder that holds the source, or the source itself."""
    for path in [here] + list(here.parents)[:2]:
        os.chmod(str(path), 0o755)
    os.mkdir("theirs")
    os.chdir("theirs")
    sources.write_lmdb("lmdb", datums([1, 2]))
    sources.write_leveldb("leveldb", datums([1, 2]))
    sources.write_hdf5("labels.h5", [1, 2])
    np.save("labels.npy", [1, 2])
    mask_files("masks")
    sources.write_text("list.txt", ["a.png 1", "b.png 0"])
    sources.write_text("hdf5.txt", [os.path.abspath("labels.h5")])
    hidden = "." if inside else "labels.h5" if source == "hdf5.txt" else source
    os.chmod(hidden, 0o600 if not os.path.isdir(hidden) else 0o700)
    os.chdir("..")
    with as_nobody(), pytest.raises(IOError, match="theirs/.*: Permission denied$"):
        count_source(os.path.join("theirs", source), pixels=source == "masks")


# What is wrong is said.

def counts_of(*values):
    values, counts = np.unique(values, return_counts=True)
    return LabelCounts(values, counts, None, "record", ["record %d" % v for v in values], "train_lmdb")


def test_per_class():
    counts, present = per_class(counts_of(0, 2, 2, 255), 4, 255)
    assert counts.tolist() == [1, 0, 2, 0] and present is None
    assert per_class(counts_of(0, 2, 2), None)[0].tolist() == [1, 0, 2]
    assert per_class(counts_of(-1, 1), None, -1)[0].tolist() == [0, 1]
    assert per_class(counts_of(255), 2, 255)[0].tolist() == [0, 0]


@pytest.mark.parametrize("values, arguments, message", [
    ([0, 12, 12, 12], (10, 255), r"train_lmdb: expected labels 0..9 or ignore_label 255, got 12 in 3 records "
     r"\(the first: record 12\)"),
    ([1, 2, 3, 4, 5, 6], (6,), r"labels 0..5, got 6 in 1 record .the first: record 6.; do they start at 1[?] Caffe's start at 0: "),
    ([-1, 5, 6, 7, 8], (5,), r"expected labels 0..4, got -1 in 1 record \(the first: record -1\), 5 in .*, 6 in .*, \.\.\."),
    ([-1, 0], (), "expected labels 0..0, got -1 in 1 record"),
    ([0, 1, 255], (), r"expected the number of classes, or an ignore_label, as only 3 of the labels 0..255 occur "
     r"\(the first 255: record 255\)"),
])
def test_labels_out_of_range(values, arguments, message):
    with pytest.raises(ValueError, match=message):
        per_class(counts_of(*values), *arguments)


@pytest.mark.parametrize("value, name", [(np.nan, "nan"), (1.5, "1.5"), (1e30, "1e[+]30"), (-np.inf, "-inf")])
def test_labels_that_are_no_labels(here, value, name):
    array = np.array([0, 1, 2, value])
    np.save("labels.npy", array)
    sources.write_hdf5("labels.h5", array.astype(np.float32).reshape(4, 1))
    sources.write_text("labels.txt", array)
    sources.write_hdf5("masks.h5", array.reshape(2, 1, 2))
    for source, where in (("labels.npy", "record 3"), ("labels.h5", "record 3")):
        with pytest.raises(ValueError, match="^%s: expected whole numbers as labels, got %s in %s$" % (source, name, where)):
            count_source(source)
    with pytest.raises(ValueError, match="^labels.txt: line 4: expected a label as the last word, got "):
        count_source("labels.txt")
    with pytest.raises(ValueError, match="^masks.h5: expected whole numbers as labels, got %s in record 1$" % name):
        count_source("masks.h5", pixels=True)


def test_negative_labels_are_counted_and_left_to_the_ignore_label(here):
    for source in (sources.write_lmdb("db", datums([-1, 3])), sources.write_text("labels.txt", [-1, 3])):
        assert counted(count_source(source)) == {-1: 1, 3: 1}


def broken(name, content=b""):
    with open(name, "wb") as file:
        file.write(content)
    return name


def folder(name, **files):
    os.mkdir(name)
    for file, content in files.items():
        broken(os.path.join(name, file.replace("_", ".")), content)
    return name


def cut(path, size):
    real_nets.cut(os.path.join(path, "data.mdb") if os.path.isdir(path) else path, size)
    return path


def image(*arguments):
    return sources.write_image("image.png", *arguments)


def png(values):
    stream = io.BytesIO()
    from PIL import Image
    Image.fromarray(values).save(stream, "PNG")
    return stream.getvalue()


def jpeg():
    return sources.write_image("image.jpg", MASKS[0])


GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)
HOSTILE = {
    "missing": (lambda: "missing", {}, "cannot be read: no such file or folder"),
    "empty file": (lambda: broken("labels.txt"), {}, "expected labels, got none"),
    "blank": (lambda: broken("labels.txt", b"\n \n"), {}, "expected labels, got none"),
    "binary": (lambda: broken("labels", b"\0\1\2" * 99), {}, "expected an LMDB, a LevelDB, HDF5, text or .npy, got something else"),
    "no label": (lambda: broken("labels.txt", b"a.png 1\nb.png\n"), {}, "line 2: expected a label as the last word, got 'b.png'"),
    "1_0": (lambda: broken("labels.txt", b"1_0"), {}, "line 1: expected a label as the last word, got '1_0'"),
    "data.mdb itself": (lambda: os.path.join(sources.write_lmdb("db", datums([1])), "data.mdb"), {},
                        "got something else .give the folder it is in."),
    "empty folder": (lambda: folder("db"), {}, "expected an LMDB .data.mdb. or a LevelDB .CURRENT., got neither"),
    "empty data.mdb": (lambda: folder("db", data_mdb=b""), {}, "expected an LMDB, got something else in data.mdb"),
    "text as data.mdb": (lambda: folder("db", data_mdb=b"text" * 9999), {}, "expected an LMDB, got something else in data.mdb"),
    "cut LMDB": (lambda: cut(sources.write_lmdb("db", datums(LABELS)), 100000), {}, "expected an LMDB of at least .* it is cut off"),
    "empty LMDB": (lambda: sources.write_lmdb("db", []), {}, "expected labels, got none"),
    "other records": (lambda: sources.write_lmdb("db", datums([1]) + [b"no Datum"]), {},
                      "expected Datums with a label, got something else in record 1"),
    "no label in a Datum": (lambda: sources.write_leveldb("db", datums([1, 1]) + [sources.datum()]), {},
                            "expected Datums with a label, got something else in record 2"),
    "empty LevelDB": (lambda: sources.write_leveldb("db", []), {}, "expected labels, got none"),
    "no LevelDB": (lambda: folder("db", CURRENT=b"nothing"), {}, "expected a LevelDB: "),
    "no dataset": (lambda: sources.write_hdf5("labels.h5", [1], "data"), {}, "expected a dataset 'label', got data"),
    "no such dataset": (lambda: sources.write_hdf5("labels.h5", [1]), {"dataset": "truth"}, "expected a dataset 'truth', got label"),
    "several labels": (lambda: sources.write_hdf5("labels.h5", np.ones((3, 2))), {}, "expected one label for each record, .* got 3 x 2$"),
    "pixels not asked for": (lambda: sources.write_hdf5("labels.h5", np.ones((3, 1, 2, 2))), {},
                             "got 3 x 1 x 2 x 2 .are these labels of pixels"),
    "a single number": (lambda: sources.write_hdf5("labels.h5", 3), {}, "got a single number"),
    "text in HDF5": (lambda: sources.write_hdf5("labels.h5", np.array([b"a"])), {}, "expected numbers as labels, got .S1"),
    "not HDF5": (lambda: broken("labels.h5", b"1\n2\n"), {}, "labels.h5: "),
    "cut HDF5": (lambda: cut(sources.write_hdf5("labels.h5", LABELS), 3000), {}, "labels.h5: "),
    "HDF5 list of words, as Caffe reads it": (lambda: broken("list.txt", b"a b.h5\n"), {}, "line 1: a: No such file"),
    "HDF5 list": (lambda: broken("list.txt", b"\nmissing.h5\n"), {}, "line 2: missing.h5: No such file"),
    "text npy": (lambda: np.save("labels.npy", np.array(["a"])) or "labels.npy", {}, "expected a .npy file of numbers, got .?[US]1"),
    "object npy": (lambda: np.save("labels.npy", np.array([None])) or "labels.npy", {}, "labels.npy: "),
    "cut npy": (lambda: np.save("labels.npy", LABELS) or cut("labels.npy", 200), {}, "labels.npy: "),
    "not npy": (lambda: broken("labels.npy", b"text"), {}, "labels.npy: "),
    "too many numbers": (lambda: np.save("l.npy", np.arange(10 ** 5 + 1)) or "l.npy", {}, "got more than 100000 different numbers"),
    "RGB": (lambda: image(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)), {"pixels": True},
            "got mode RGB with colours; give each colour its class number, and write it as one channel"),
    "RGBA": (lambda: image(np.zeros((4, 4, 4), np.uint8)), {"pixels": True}, "got mode RGBA; write it as one channel"),
    "RGB in a Datum": (lambda: sources.write_lmdb("db", [sources.datum(0, (3, 4, 4), png(np.zeros((4, 4, 3), np.uint8)), encoded=True)]),
                       {"pixels": True}, "record 0: .* got mode RGB; write it as one channel"),
    "several labels in a line": (lambda: broken("list.txt", b"a.jpg 1\nb.jpg 0 1 0\n"), {},
                                 "line 2: expected one label, as the last word, got several numbers; .* .'b.jpg 0 1'."),
    "several labels of other forms": (lambda: broken("list.txt", b"a.jpg -.5\t1\n"), {}, "line 1: expected one label"),
    "a matrix of labels": (lambda: broken("list.txt", b"0 1 0\n1 0 0\n"), {}, "line 1: expected one label"),
    "a pipe": (lambda: os.mkfifo("pipe") or "pipe", {}, "expected a plain file, got a pipe or a device"),
    "a pipe of HDF5": (lambda: os.mkfifo("pipe.h5") or "pipe.h5", {}, "expected a plain file, got a pipe or a device"),
    "a pipe in a list": (lambda: os.mkfifo("a.png") or broken("list.txt", b"a.png\n"), {"pixels": True},
                         "a.png: expected a plain file, got a pipe or a device"),
    "JPEG": (jpeg, {"pixels": True}, "expected a format that keeps labels as they are .PNG., got JPEG"),
    "no image": (lambda: broken("a.png", b"text"), {"pixels": True}, "a.png: cannot be read as an image: "),
    "cut image": (lambda: cut(image(np.random.RandomState(0).randint(0, 9, (99, 99)).astype(np.uint8)), 2000), {"pixels": True}, "image.png: cannot be read as an image: "),
    "folder without images": (lambda: folder("masks", a_txt=b""), {"pixels": True}, "expected label images .*, got none"),
    "missing image": (lambda: broken("list.txt", b"a.png b.png\n"), {"pixels": True, "root_folder": "masks"},
                      "line 1: expected an image, got masksb.png, which is not there"),
    "3 channels": (lambda: sources.write_lmdb("db", datums([1])), {"pixels": True},
                   "record 0: expected an image of 1 channel whose values are labels, got 3 x 20 x 20 with 1200 values"),
    "no values": (lambda: sources.write_lmdb("db", [sources.datum(1, (1, 2, 2), b"")]), {"pixels": True},
                  "record 0: expected an image of 1 channel whose values are labels, got 1 x 2 x 2 with 0 values"),
    "no mask": (lambda: sources.write_lmdb("db", [b"no Datum"]), {"pixels": True}, "record 0: expected a Datum, got something else"),
    "no image in a Datum": (lambda: sources.write_lmdb("db", [sources.datum(1, encoded=True)]), {"pixels": True},
                            "record 0: cannot be read as an image: "),
    "npy of pixels": (lambda: np.save("l.npy", np.array(MASKS)) or "l.npy", {"pixels": True},
                      "expected an LMDB, a LevelDB, HDF5 or images, for labels of pixels, got a .npy file"),
    "HDF5 of labels": (lambda: sources.write_hdf5("l.h5", LABELS), {"pixels": True}, "expected label images, .*, got 500"),
    "channels": (lambda: sources.write_hdf5("l.h5", np.ones((3, 2, 2, 2))), {"pixels": True}, "got 3 x 2 x 2 x 2"),
}


@pytest.mark.parametrize("case", sorted(HOSTILE))
def test_hostile_sources(here, case):
    make, options, message = HOSTILE[case]
    source = make()
    with pytest.raises((IOError, ValueError)) as raised:
        count_source(source, **options)
    text = str(raised.value)
    assert text.startswith(source + ": ") and re.search(message, text), text
    assert len(text.splitlines()) == 1


def test_a_palette_in_a_datum_is_none_of_labels(here):
    """Caffe's OpenCV makes colours of it, where PIL would give the indices."""
    stream = io.BytesIO()
    from PIL import Image
    picture = Image.fromarray(MASKS[0])
    picture.putpalette(list(range(256)) * 3)
    picture.save(stream, "PNG")
    source = sources.write_lmdb("db", [sources.datum(0, (1, 6, 8), stream.getvalue(), encoded=True)])
    with pytest.raises(ValueError, match="record 0: .* got mode P, of which Caffe makes three channels"):
        count_source(source, pixels=True)


def test_a_decompression_bomb_is_an_error(here, monkeypatch):
    from PIL import Image
    image(GREY)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    with pytest.raises(ValueError, match="image.png: cannot be read as an image: .*256 pixels.*exceeds limit"):
        count_source("image.png", pixels=True)


def test_ctrl_c_stops_it(here):
    sources.write_text("long.txt", ["some/image.png 1"] * 1000000)
    program = ("import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
               "from caffe_prototxt.data import labels\nprint('ready', flush=True) if str is not bytes else None\n"
               "for _ in range(100): labels.count_source('long.txt')").replace(", flush=True", "")
    process = subprocess.Popen([sys.executable, "-u", "-c", program], stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    time.sleep(.2)  # in the middle of a file
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode and b"KeyboardInterrupt" in err


def test_memory_does_not_grow_with_the_source(here):
    tracemalloc = pytest.importorskip("tracemalloc", reason="Python 2 does not say")
    sources.write_text("long.txt", ["some/image.png %d" % (i % 10) for i in range(examples(1000000))])
    np.save("long.npy", np.zeros(10 ** 7, np.uint8))
    sources.write_lmdb("db", [sources.datum(i % 10, (1, 28, 28)) for i in range(examples(30000))])
    for source in ("long.txt", "long.npy", "db"):
        count_source(source)
        tracemalloc.start()
        count_source(source)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 50e6, (source, peak)
