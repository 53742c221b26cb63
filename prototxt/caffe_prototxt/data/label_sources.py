"""Read labels, each kind of source by a function of its own.

Each is a generator that adds the labels to a Tally; between its steps nothing is held.
"""
from __future__ import division, print_function

import codecs
import contextlib
import io
import itertools
import os
import re

import numpy as np

from caffe_losses.compat import from_bytes, to_display
from caffe_losses.errors import naming
from caffe_losses.formats.matrix_files import map_npy
from caffe_losses.formats.plain_files import exists, open_plain
from caffe_losses.optional_packages import progress
from caffe_prototxt.data import databases, hdf5, label_images
from caffe_prototxt.data.label_tally import HIGHEST, LOWEST

NPY_SIGNATURE = b"\x93NUMPY"
BLOCK = 2 ** 20  # labels of an array, or bytes of a line, that are held at a time
RECORDS, LINES = 1000, 10000  # of a database, and of a text file, that are counted at a time
# To try float() loses Ctrl-C: Python's "could not convert" replaces a KeyboardInterrupt.
NUMBER = re.compile(br"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")


def reading(source, dataset, pixels, root_folder, tally):
    """Return the generator that reads an existing source. The arguments are those of count_source, and a Tally."""
    if os.path.isdir(source):
        if pixels and not databases.is_database(source):
            return _count_images(label_images.folder_images(source), tally)
        return _count_database(source, pixels, tally)
    with open_plain(source) as file:
        start = file.read(1024)
    ending = os.path.splitext(source)[1].lower()
    if start.startswith(hdf5.SIGNATURE) or ending in hdf5.ENDINGS:
        return _count_hdf5(source, dataset, pixels, tally, "")
    if start.startswith(NPY_SIGNATURE) or ending == ".npy":
        if pixels:
            raise ValueError("expected an LMDB, a LevelDB, HDF5 or images, for labels of pixels, got a .npy file")
        return _count_array(map_npy(source), pixels, tally, "")
    if pixels and ending in label_images.ENDINGS:
        return _count_images([source], tally)
    if b"\0" in start:
        raise ValueError("expected an LMDB, a LevelDB, HDF5, text or .npy, got something else%s"
                         % (" (give the folder it is in)" * (os.path.basename(source) == "data.mdb")))
    with contextlib.closing(_lines(source)) as lines:  # Ctrl-C is lost in a generator that Python itself closes
        _, first = next(lines, (1, b"."))
    if hdf5.is_hdf5(_path(first.split()[-1])):
        return _count_hdf5_list(source, dataset, pixels, tally)
    if pixels:
        return _count_images(_listed_images(source, root_folder), tally)
    return _count_lines(source, root_folder, tally)


def labels_per_record(array):
    """Return the number of labels that an array, or an HDF5 dataset, has for each record: along its first axis."""
    return int(np.prod(array.shape[1:], dtype=np.int64))


def _count_database(source, pixels, tally):
    if not databases.is_database(source):
        raise IOError("expected an LMDB (data.mdb) or a LevelDB (CURRENT), got neither in this folder")
    records, total = databases.open_records(source)
    if pixels:
        return _count_datum_images(progress(records, total, " records"), tally)
    blocks = _blocks(databases.datum_labels(records), RECORDS)
    return _count_datum_labels(progress(blocks, total, " records", len), tally)


def _blocks(items, size):
    """Yield the items of an iterator in lists of `size`, the last one shorter."""
    return iter(lambda: list(itertools.islice(items, size)), [])


def _count_datum_labels(blocks, tally):
    before = 0
    for block in blocks:
        if None in block:
            raise ValueError("expected Datums with a label, got something else in record %d"
                             % (before + block.index(None)))
        tally.add_labels(np.array(block, np.int64), lambda i: "record %d" % (before + i))
        before += len(block)
        yield


def _count_datum_images(records, tally):
    datums = databases.datums(records)
    for number in itertools.count():
        with naming("record %d" % number):
            datum = next(datums, None)
            if datum is None:
                return
            tally.add_image(_datum_image(datum), lambda: "record %d" % number)
        yield


def _datum_image(datum):
    if datum.encoded:
        return label_images.read_image(io.BytesIO(datum.data), palette=False)
    image = np.frombuffer(datum.data, np.uint8) if datum.data else np.array(datum.float_data, np.float32)
    if datum.channels != 1 or image.size != datum.height * datum.width or not image.size:
        raise ValueError("expected an image of 1 channel whose values are labels, got %d x %d x %d with %d values"
                         % (datum.channels, datum.height, datum.width, image.size))
    return image


def _count_images(paths, tally):
    for path in progress(paths, len(paths) if isinstance(paths, list) else None, " images"):
        with naming(path), open_plain(path) as file:
            tally.add_image(label_images.read_image(file), lambda: path)
        yield


def _listed_images(source, root_folder):
    for number, line in _lines(source):
        name = line.split()[-1]
        if name != line and name.lstrip(b"-").isdigit():
            name = line[:-len(name)].strip()
        path = root_folder + _path(name)  # without a slash between them, as Caffe
        if not exists(path):
            raise IOError("line %d: expected an image, got %s, which is not there" % (number, path))
        yield path


def _count_hdf5_list(source, dataset, pixels, tally):
    for number, line in _lines(source):
        for name in map(_path, line.split()):  # words, relative to the working folder, as Caffe takes them
            with naming("line %d: %s" % (number, name)):
                for _ in _count_hdf5(name, dataset, pixels, tally, name + ": "):
                    yield


def _count_hdf5(source, dataset, pixels, tally, prefix):
    with hdf5.open_dataset(source, dataset) as labels:
        for _ in _count_array(labels, pixels, tally, prefix):
            yield


def _count_array(array, pixels, tally, prefix):
    """Count the labels of an array, or an HDF5 dataset, whose first axis is that of the records."""
    size = labels_per_record(array)
    if pixels and (array.ndim < 2 or array.ndim == 4 and array.shape[1] != 1):
        raise ValueError("expected label images, N x H x W or N x 1 x H x W, got %s" % _shape(array))
    if not pixels and (array.ndim < 1 or size != 1):
        raise ValueError("expected one label for each record, N or N x 1 of them, got %s%s"
                         % (_shape(array), " (are these labels of pixels?)" * (array.ndim > 2)))
    step = max(1, BLOCK // max(1, size))
    for start in progress(range(0, array.shape[0], step), None, " blocks"):
        block = np.asarray(array[start:start + step])
        if not pixels:
            tally.add_labels(block.ravel(), lambda i: "%srecord %d" % (prefix, start + i))
        else:
            for number, image in enumerate(block, start):
                tally.add_image(image, lambda: "%srecord %d" % (prefix, number))
        yield


def _shape(array):
    return " x ".join(map(str, array.shape)) or "a single number"


def _count_lines(source, root_folder, tally):
    known = {}
    for lines in _blocks(_lines(source), LINES):
        block = []
        for number, line in lines:
            words = line.rsplit(None, 2)
            if len(words) > 1 and NUMBER.match(words[-2]):
                _check_one_label(line, number, root_folder)
            if words[-1] not in known:
                known[words[-1]] = _label(words[-1], number)
            block.append(known[words[-1]])
        tally.add_labels(np.array(block, np.int64), lambda i: "line %d" % lines[i][0])
        yield


def _check_one_label(line, number, root_folder):
    """Raise ValueError for a line of several labels, but not for one of an image whose name ends in a number."""
    name = line.rsplit(None, 1)[0]
    if not os.path.isfile(root_folder + _path(name)):
        raise ValueError("line %d: expected one label, as the last word, got several numbers; Caffe takes all before "
                         "the last blank for the name of the image ('%s'), and only HDF5 holds several labels for it"
                         % (number, _path(name[-60:])))


def _label(word, line):
    value = float(word) if NUMBER.match(word) else np.nan
    if not LOWEST <= value <= HIGHEST or value != int(value):
        raise ValueError("line %d: expected a label as the last word, got '%s'" % (line, _path(word[:60])))
    return int(value)


def _lines(source):
    """Yield (number, bytes without blanks around them) of each line of a text file that is not blank."""
    with open_plain(source) as file:
        lines = iter(lambda: file.readline(BLOCK + 1), b"")
        for number, line in enumerate(progress(lines, os.path.getsize(source), "B", len), 1):
            if len(line) > BLOCK:
                raise ValueError("line %d: expected text, got more than %d bytes" % (number, BLOCK))
            if number == 1 and line.startswith(codecs.BOM_UTF8):
                line = line[len(codecs.BOM_UTF8):]
            if line.strip():
                yield number, line.strip()


def _path(name):
    """Return the bytes of a text file as str, to open the file it names."""
    return to_display(from_bytes(name))
