"""Count how often each label occurs in the data that a data layer reads."""
from __future__ import division, print_function

import collections
import time
import warnings

import numpy as np

from caffe_losses.errors import naming
from caffe_losses.formats.plain_files import exists
from caffe_prototxt.data import hdf5
from caffe_prototxt.data.label_sources import labels_per_record, reading
from caffe_prototxt.data.label_tally import Tally


class LabelCounts(collections.namedtuple("LabelCounts", "values counts present unit first source complete")):
    """The number of times that each label occurs in a data set, ignored ones too.

    values: int64, the different labels, ascending. counts: int64, how often each occurs. present: int64, for labels of
        pixels: for each value the number of pixels of all images that have it anywhere, pixels that a loss ignores
        among them, as SegNet's published class weights were made; else None.
    unit: "record" or "pixel". first: list of str, where each value occurs first. source: str.
    complete: bool, if all of it was counted.
    """


LabelCounts.__new__.__defaults__ = (True,)


def count_source(source, dataset="label", pixels=False, root_folder="", seconds=None):
    """Count the labels of a data set.

    Neither all labels nor a whole data set are ever held in memory; of a database's record only the label is copied.

    source: str; one of
        an LMDB or a LevelDB of Datum (the folder a Data layer names),
        an HDF5 file, or the text file with a list of them that HDF5Data names,
        a text file with the label as the last word of each line (ImageData's list, or one label a line),
        a .npy file, N or N x 1.
    dataset: str, the name of the labels inside HDF5; N or N x 1 x ... of them.
    pixels: bool, if each record is an image whose values are labels. Then the source is
        an LMDB or a LevelDB of Datums of one channel,
        HDF5, N x H x W or N x 1 x H x W,
        an image (one with a palette by its indices), or a folder of images,
        a text file with an image as the last word of each line (before a number, as in ImageData's list).
    root_folder: str, what the names in a text file of images begin with, as ImageData's.
    seconds: float, after which it stops, with what has been counted by then; None: never.
    Returns LabelCounts. Raises IOError if there is no such data, ValueError if it holds no labels or they are not whole
    numbers; both name the source.
    """
    tally = Tally()
    with naming(source):
        if not exists(source):
            raise IOError("cannot be read: no such file or folder")
        is_complete = _run(reading(source, dataset, pixels, root_folder, tally), seconds)
        if not tally.counts:
            raise ValueError("expected labels, got none")
    values = sorted(tally.counts)
    ordered = [np.array([numbers[value] for value in values], np.int64) for numbers in (tally.counts, tally.present)]
    return LabelCounts(np.array(values, np.int64), ordered[0], ordered[1] if pixels else None,
                       "pixel" if pixels else "record", [tally.first[value] for value in values], source, is_complete)


def _run(steps, seconds):
    """Go through the steps, for some seconds at most. Returns if all were done."""
    started = time.time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # protobuf's, of what is an error here
        for _ in steps:
            if seconds is not None and time.time() - started > seconds:
                return False
    return True


def per_class(labels, n_classes=None, ignore_label=None):
    """Return how often each class occurs.

    labels: LabelCounts. n_classes: int, C; None: the highest label + 1, if most classes up to it occur.
    ignore_label: int, a label that does not count; None: there is none.
    Returns (counts, present), each C integers; present is None unless the labels are pixels'.
    Raises ValueError, naming the first label out of range and where it is.
    """
    kept = [i for i, value in enumerate(labels.values.tolist()) if value != ignore_label]
    highest = max([int(labels.values[i]) for i in kept] or [0])
    if n_classes is None:
        n_classes = highest + 1
        if n_classes > 2 * len(kept) + 2:
            raise ValueError("%s: expected the number of classes, or an ignore_label, as only %d of the labels 0..%d "
                             "occur (the first %d: %s)"
                             % (labels.source, len(kept), highest, highest, labels.first[kept[-1]]))
    bad = [i for i in kept if not 0 <= labels.values[i] < n_classes]
    if bad:
        start_at_1 = [labels.values[i] for i in kept[:1] + bad] == [1, n_classes]
        raise ValueError("%s: expected labels 0..%d%s, got %s%s" % (
            labels.source, n_classes - 1, "" if ignore_label is None else " or ignore_label %d" % ignore_label,
            ", ".join(_described(labels, i) for i in bad[:3]) + ", ..." * (len(bad) > 3),
            "; do they start at 1? Caffe's start at 0: subtract 1 from each" * start_at_1))
    return tuple(None if numbers is None else
                 np.bincount(labels.values[kept], numbers[kept], n_classes).astype(np.int64)
                 for numbers in (labels.counts, labels.present))


def per_class_of_several(labels, n_classes=None, ignore_label=None, hint=""):
    """Return what per_class does, of labels of two classes at least. Raises ValueError as it does, and for fewer.

    hint: str, that the message for fewer ends with.
    """
    counts, present = per_class(labels, n_classes, ignore_label)
    if np.count_nonzero(counts) < 2:
        raise ValueError("%s: expected labels of several classes, got %s of %d %ss%s" % (
            labels.source, "class %d alone" % counts.argmax() if counts.any() else "none", labels.counts.sum(),
            labels.unit, hint))
    return counts, present


def is_of_pixels(source, dataset):
    """Return if the labels in an HDF5 file, or the first of a list, are of pixels: more than one for each record."""
    with naming(source), hdf5.open_dataset(hdf5.first_file(source), dataset) as labels:
        return labels_per_record(labels) > 1


def _described(labels, i):
    n = int(labels.counts[i])
    return "%d in %d %s%s (the first: %s)" % (labels.values[i], n, labels.unit, "s" * (n > 1), labels.first[i])
