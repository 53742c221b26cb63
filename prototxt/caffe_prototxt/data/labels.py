"""How often each label occurs in what a data layer reads."""
from __future__ import division, print_function

import codecs
import collections
import io
import os
import sys
import time
import warnings

import numpy as np

HDF5_ENDINGS = (".h5", ".hdf5")
HDF5_SIGNATURE, NPY_SIGNATURE = b"\x89HDF\r\n\x1a\n", b"\x93NUMPY"
BLOCK = 2 ** 20  # labels, or bytes of text, that are held at a time
LOWEST, HIGHEST = -2 ** 31, 2 ** 31 - 1  # of a Datum's label
MAX_VALUES = 10 ** 5


class LabelCounts(collections.namedtuple("LabelCounts", "values counts present unit first source complete")):
    """How often each label occurs in a data set, ignored ones too.

    values: int64, the different labels, ascending. counts: int64, how often each occurs.
    present: int64, for labels of pixels: for each value the number of pixels of all images
        that have it anywhere, pixels that a loss ignores among them, as SegNet's published
        class weights were made; else None.
    unit: "record" or "pixel". first: list of str, where each value occurs first.
    source: str. complete: bool, whether all of it was counted.
    """


LabelCounts.__new__.__defaults__ = (True,)


def count_source(source, dataset="label", pixels=False, root_folder="", seconds=None):
    """Count the labels of a data set.

    Neither all labels nor a whole data set are ever held in memory, and of the records of an
    LMDB nothing is read but what stands around their images.

    source: str; one of
        an LMDB or a LevelDB of Datum (the folder a Data layer names),
        an HDF5 file, or the text file with a list of them that HDF5Data names,
        a text file with the label as the last word of each line (ImageData's list, or one
            label a line),
        a .npy file.
    dataset: str, the name of the labels inside HDF5; N or N x 1 x ... of them.
    pixels: bool, whether each record is an image whose values are labels. Then the source is
        an LMDB or a LevelDB of Datums of one channel,
        HDF5, N x H x W or N x 1 x H x W,
        an image (one with a palette by its indices), or a folder of images,
        a text file with an image as the last word of each line (a number after it, as in
            ImageData's list, is left out),
        a .npy file, H x W, N x H x W or N x 1 x H x W.
    root_folder: str, what the names in a text file of images begin with, as ImageData's.
    seconds: float, after which it stops, with what has been counted by then; None: never.
    Returns LabelCounts.
    Raises IOError if there is no such data, ValueError if it holds no labels or they are not
    whole numbers; both name the source.
    """
    tally = _Tally()
    try:
        if not os.path.exists(source):
            raise IOError("cannot be read: no such file or folder")
        started = time.time()
        late = False
        for _ in _counting(source, dataset, pixels, root_folder, tally):
            late = seconds is not None and time.time() - started > seconds
            if late:
                break
    except (IOError, OSError) as error:
        raise IOError("%s: %s" % (source, error))
    except ValueError as error:
        raise ValueError("%s: %s" % (source, error))
    if not tally.counts:
        raise ValueError("%s: expected labels, got none" % source)
    return tally.result("pixel" if pixels else "record", source, not late)


def per_class(found, n_classes=None, ignore_label=None):
    """How often each class occurs.

    found: LabelCounts. n_classes: int, C; None: the highest label + 1, if most classes up to it
    occur. ignore_label: int, a label that does not count; None: there is none.
    Returns (counts, present), each C integers; present is None unless the labels are pixels'.
    Raises ValueError, naming the first label out of range and where it is.
    """
    kept = [i for i, value in enumerate(found.values.tolist()) if value != ignore_label]
    highest = max([int(found.values[i]) for i in kept] or [0])
    if n_classes is None:
        n_classes = highest + 1
        if n_classes > 2 * len(kept) + 2:
            raise ValueError("%s: expected the number of classes, or an ignore_label, as only %d of the labels 0..%d "
                             "occur (the first %d: %s)"
                             % (found.source, len(kept), highest, highest, found.first[kept[-1]]))
    bad = [i for i in kept if not 0 <= found.values[i] < n_classes]
    if bad:
        raise ValueError("%s: expected labels 0..%d%s, got %s" % (
            found.source, n_classes - 1, "" if ignore_label is None else " or ignore_label %d" % ignore_label,
            ", ".join(_described(found, i) for i in bad[:3]) + ", ..." * (len(bad) > 3)))
    arrays = []
    for numbers in (found.counts, found.present):
        arrays.append(None if numbers is None else np.zeros(n_classes, np.int64))
        if numbers is not None:
            arrays[-1][found.values[kept]] = numbers[kept]
    return tuple(arrays)


def is_of_pixels(source, dataset):
    """Whether the labels in an HDF5 file, or in the first of a list, are of pixels: more than one for each record.

    Raises as count_source.
    """
    import h5py
    try:
        name = source
        if not _is_hdf5(source):
            with open(source, "rb") as file:
                name = _text(next(iter(file.read(BLOCK).split()), b""))
        with h5py.File(name, "r") as file:
            return isinstance(file.get(dataset), h5py.Dataset) and _per_record(file[dataset]) > 1
    except (IOError, OSError) as error:
        raise IOError("%s: %s" % (source, error))


def _described(found, i):
    n = int(found.counts[i])
    return "%d in %d %s%s (the first: %s)" % (found.values[i], n, found.unit, "s" * (n > 1), found.first[i])


class _Tally(object):
    """How often each label occurred until now."""

    def __init__(self):
        self.counts, self.present, self.first = {}, {}, {}

    def add(self, value, count, where, present=0):
        """where: a function that gives the first place of this value as text."""
        if value not in self.counts:
            if len(self.counts) == MAX_VALUES:
                raise ValueError("expected labels of classes, got more than %d different numbers" % MAX_VALUES)
            self.counts[value] = self.present[value] = 0
            self.first[value] = where()
        self.counts[value] += count
        self.present[value] += present

    def add_labels(self, block, where):
        """An array of labels, one for a record; where: a function of the position in the block."""
        block = _whole(block, where)
        pairs, first = _distinct(block), {}
        if any(value not in self.counts for value, _ in pairs):
            first = dict(zip(*(array.tolist() for array in np.unique(block, return_index=True))))
        for value, count in pairs:
            self.add(value, count, lambda: where(first[value]))

    def add_image(self, image, where):
        """An array of the labels of an image's pixels."""
        counts = collections.Counter()
        flat = image.ravel()
        for start in range(0, flat.size, BLOCK):
            for value, count in _distinct(_whole(flat[start:start + BLOCK], lambda _: where())):
                counts[value] += count
        for value, count in sorted(counts.items()):
            self.add(value, count, where, image.size)

    def result(self, unit, source, complete):
        values = sorted(self.counts)
        counts, present = (np.array([numbers[value] for value in values], np.int64)
                           for numbers in (self.counts, self.present))
        return LabelCounts(np.array(values, np.int64), counts, present if unit == "pixel" else None, unit,
                           [self.first[value] for value in values], source, complete)


def _whole(block, where):
    """An array of labels as integers."""
    if block.dtype.kind not in "fiub":
        raise ValueError("expected numbers as labels, got %s" % block.dtype)
    if block.dtype.kind == "b" or block.dtype.itemsize == 1:
        return block.astype(np.int64)
    with np.errstate(invalid="ignore"):
        whole = (block >= LOWEST) & (block <= HIGHEST)  # NaN is neither
        if block.dtype.kind == "f":
            whole &= block == np.floor(block)
    if not whole.all():
        first = int(np.argmin(whole))
        raise ValueError("expected whole numbers as labels, got %g in %s" % (block[first], where(first)))
    return block.astype(np.int64)


def _distinct(numbers):
    """(number, how often) of an array of integers."""
    if not numbers.size:
        return []
    lowest = numbers.min()
    if numbers.max() - lowest < 2 ** 16:
        counts = np.bincount(numbers - lowest)
        values = np.flatnonzero(counts)
        return list(zip((values + lowest).tolist(), counts[values].tolist()))
    return list(zip(*(array.tolist() for array in np.unique(numbers, return_counts=True))))


# Each reader adds what it finds to the tally; between its steps (yield) nothing is held.

def _counting(source, dataset, pixels, root_folder, tally):
    if os.path.isdir(source):
        return _count_folder(source, pixels, tally)
    with open(source, "rb") as file:
        start = file.read(1024)
    ending = os.path.splitext(source)[1].lower()
    if start.startswith(HDF5_SIGNATURE) or ending in HDF5_ENDINGS:
        return _count_hdf5(source, dataset, pixels, tally, "")
    if start.startswith(NPY_SIGNATURE) or ending == ".npy":
        return _count_npy(source, pixels, tally)
    from caffe_prototxt.data import label_images
    if pixels and ending in label_images.ENDINGS:
        return _count_images([source], tally)
    if b"\0" in start:
        raise ValueError("expected an LMDB, a LevelDB, HDF5, text or .npy, got something else%s"
                         % (" (give the folder it is in)" * (os.path.basename(source) == "data.mdb")))
    first = next((line for _, lines in _line_blocks(source) for line in lines if line.strip()), b"").strip()
    if _is_hdf5(first.rsplit(None, 1)[-1] if first else first):
        return _count_hdf5_list(source, dataset, pixels, tally)
    if pixels:
        return _count_images(_listed_images(source, root_folder), tally)
    return _count_lines(source, tally)


def _progress(steps, total, unit, size=lambda step: 1):
    """The steps, while a bar on the terminal shows how many of `unit` have been counted."""
    if not (sys.stderr and sys.stderr.isatty()):
        return iter(steps)
    return _with_bar(steps, total, unit, size)


def _with_bar(steps, total, unit, size):
    import tqdm
    with tqdm.tqdm(total=total, unit=unit, unit_scale=True, leave=False) as bar:
        for step in steps:
            yield step
            bar.update(size(step))


def _count_folder(source, pixels, tally):
    from caffe_losses.formats import lmdb_pages
    from caffe_prototxt.data import datums, label_images, leveldbs
    if lmdb_pages.is_lmdb(source):
        batches, total = lmdb_pages.batches(source), lmdb_pages.count_records(source)
    elif leveldbs.is_leveldb(source):
        batches, total = leveldbs.batches(source), None
    elif pixels:
        return _count_images(label_images.folder_images(source), tally)
    else:
        raise IOError("expected an LMDB (data.mdb) or a LevelDB (CURRENT), got neither in this folder")
    batches = _progress(batches, total, " records", lambda batch: len(batch[1]))
    return _count_datum_images(batches, tally) if pixels else _count_datums(datums.labels(batches), tally)


def _count_datums(labels, tally):
    for value, count, record in labels:
        tally.add(value, count, lambda: "record %d" % record)
        yield


def _count_datum_images(batches, tally):
    from caffe.proto import caffe_pb2
    datum, number = caffe_pb2.Datum(), 0
    for data, starts, sizes in batches:
        for start, size in zip(starts.tolist(), sizes.tolist()):
            where = "record %d" % number
            try:
                image = _datum_image(datum, data[start:start + size].tobytes())
            except (IOError, ValueError) as error:
                raise ValueError("%s: %s" % (where, error))
            tally.add_image(image, lambda: where)
            number += 1
            yield


def _datum_image(datum, record):
    from caffe_prototxt.data import label_images
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # protobuf's, of what is found right here
        try:
            consumed = datum.ParseFromString(record)  # old protobufs do not say how much
        except Exception:  # protobuf's DecodeError moves between its versions
            consumed = -1
    if consumed not in (None, len(record)):
        raise ValueError("expected a Datum, got something else")
    if datum.encoded:
        return label_images.read_image(io.BytesIO(datum.data), palette=False)
    image = np.frombuffer(datum.data, np.uint8) if datum.data else np.array(datum.float_data, np.float32)
    if datum.channels != 1 or image.size != datum.height * datum.width or not image.size:
        raise ValueError("expected an image of 1 channel whose values are labels, got %d x %d x %d with %d values"
                         % (datum.channels, datum.height, datum.width, image.size))
    return image


def _count_images(paths, tally):
    from caffe_prototxt.data import label_images
    total = len(paths) if isinstance(paths, list) else None
    for path in _progress(paths, total, " images"):
        try:
            image = label_images.read_image(path)
        except IOError as error:
            raise IOError("%s: %s" % (path, error))
        except ValueError as error:
            raise ValueError("%s: %s" % (path, error))
        tally.add_image(image, lambda: path)
        yield


def _listed_images(source, root_folder):
    for before, lines in _line_blocks(source):
        for number, line in enumerate(lines, before + 1):
            words = line.split()
            if not words:
                continue
            name = words[-1]
            if len(words) > 1 and name.lstrip(b"-").isdigit():
                name = line.strip()[:-len(name)].strip()
            path = root_folder + _text(name)  # without a slash between them, as Caffe
            if not os.path.isfile(path):
                raise IOError("line %d: expected an image, got %s, which is not there" % (number, path))
            yield path


def _count_hdf5_list(source, dataset, pixels, tally):
    for before, lines in _line_blocks(source):
        for number, line in enumerate(lines, before + 1):
            for name in map(_text, line.split()):
                try:
                    # As Caffe does: the names are words, relative to the working folder.
                    for _ in _count_hdf5(name, dataset, pixels, tally, name + ": "):
                        yield
                except (IOError, OSError) as error:
                    raise IOError("line %d: %s: %s" % (number, name, error))
                except ValueError as error:
                    raise ValueError("line %d: %s: %s" % (number, name, error))


def _is_hdf5(path):
    if os.path.splitext(_text(path))[1].lower() in HDF5_ENDINGS:
        return True
    try:
        with open(path, "rb") as file:
            return file.read(len(HDF5_SIGNATURE)) == HDF5_SIGNATURE
    except EnvironmentError:
        return False


def _count_hdf5(source, dataset, pixels, tally, prefix):
    import h5py
    if not os.path.isfile(source):
        raise IOError("cannot be read: no such file")
    with h5py.File(source, "r") as file:
        if not isinstance(file.get(dataset), h5py.Dataset):
            raise ValueError("expected a dataset %r, got %s" % (dataset, ", ".join(sorted(file)) or "none"))
        for _ in _count_array(file[dataset], pixels, tally, prefix):
            yield


def _count_npy(source, pixels, tally):
    # Mapped, because a header that lies about the size then is an error, and not a reservation.
    array = np.load(source, mmap_mode="r", allow_pickle=False)
    return _count_array(array[np.newaxis] if pixels and array.ndim == 2 else array, pixels, tally, "")


def _count_array(array, pixels, tally, prefix):
    """array: an array, or an HDF5 dataset, whose first axis is that of the records."""
    size = _per_record(array)
    if pixels and (array.ndim < 2 or array.ndim == 4 and array.shape[1] != 1):
        raise ValueError("expected label images, N x H x W or N x 1 x H x W, got %s" % _shape(array))
    if not pixels and (array.ndim < 1 or size != 1):
        raise ValueError("expected one label for each record, N or N x 1 of them, got %s%s"
                         % (_shape(array), " (are these labels of pixels?)" * (array.ndim > 2)))
    step = max(1, BLOCK // max(1, size))
    for start in _progress(range(0, array.shape[0], step), None, " blocks"):
        block = np.asarray(array[start:start + step])
        if not pixels:
            tally.add_labels(block.ravel(), lambda i: "%srecord %d" % (prefix, start + i))
        else:
            for number, image in enumerate(block, start):
                tally.add_image(image, lambda: "%srecord %d" % (prefix, number))
        yield


def _per_record(array):
    return int(np.prod(array.shape[1:], dtype=np.int64))


def _shape(array):
    return " x ".join(map(str, array.shape)) or "a single number"


def _count_lines(source, tally):
    known = {}
    for before, lines in _line_blocks(source):
        words = [word for line in lines for word in line.rsplit(None, 1)[-1:]]
        counts = collections.Counter(words)
        new = [word for word in counts if word not in known]
        if new:
            numbers = range(before + 1, before + len(lines) + 1)
            if len(words) < len(lines):
                numbers = [number for number, line in zip(numbers, lines) if line.strip()]
            first = dict(zip(reversed(words), reversed(numbers)))
            for word in sorted(new, key=first.get):
                known[word] = _label(word, first[word])
                tally.add(known[word], 0, lambda: "line %d" % first[word])
        for word, count in counts.items():
            tally.add(known[word], count, None)
        yield


def _label(word, line):
    try:
        value = float(word)
        if b"_" in word or value != int(value) or not LOWEST <= value <= HIGHEST:
            raise ValueError
        return int(value)
    except (ValueError, OverflowError):
        raise ValueError("line %d: expected a label as the last word, got '%s'" % (line, _text(word[:60])))


def _line_blocks(source):
    """(number of lines before, lines as bytes) of a text file, block by block."""
    before, rest = 0, b""
    with open(source, "rb") as file:
        if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            file.seek(0)
        for block in _progress(iter(lambda: file.read(BLOCK), b""), os.path.getsize(source), "B", len):
            lines = (rest + block).split(b"\n")
            rest = lines.pop()
            if len(rest) > BLOCK:
                raise ValueError("line %d: expected text, got more than %d bytes" % (before + len(lines) + 1, BLOCK))
            yield before, lines
            before += len(lines)
    if rest:
        yield before, [rest]


def _text(name):
    """Bytes of a text file as str, for instance to open the file it names."""
    return name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")
