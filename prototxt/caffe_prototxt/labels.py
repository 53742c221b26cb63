"""The labels in what a data layer reads."""
from __future__ import division, print_function

import io
import os
import warnings

import numpy as np

HDF5_ENDINGS = (".h5", ".hdf5")


def read_labels(source, dataset="label"):
    """All labels in a data set, as an array of integers or floats.

    source: str; one of
        an LMDB of Datum (the folder a Data layer names),
        an HDF5 file, or the text file with a list of them that HDF5Data names,
        a text file with the label as the last word of each line (ImageData's list,
            or one label a line),
        a .npy file.
    dataset: str, the name of the labels inside HDF5.
    Returns a one-dimensional array.
    Raises IOError if there is no such data, ValueError if it holds no labels; both
    name the source.
    """
    try:
        if not os.path.exists(source):
            raise IOError("cannot be read: no such file or folder")
        labels = _reader(source)(source, dataset)
    except (IOError, OSError) as error:
        raise IOError("%s: %s" % (source, error))
    except ValueError as error:
        raise ValueError("%s: %s" % (source, error))
    if not labels.size:
        raise ValueError("%s: expected labels, got none" % source)
    if labels.dtype.kind not in "fiub":
        raise ValueError("%s: expected numbers as labels, got %s" % (source, labels.dtype))
    if not np.isfinite(labels).all():
        first = int(np.argmin(np.isfinite(labels)))
        raise ValueError("%s: label %d: expected a finite number, got %g" % (source, first, labels[first]))
    return labels


def _reader(source):
    if os.path.isdir(source):
        return _from_lmdb
    ending = os.path.splitext(source)[1].lower()
    if ending in HDF5_ENDINGS:
        return _from_hdf5
    return _from_npy if ending == ".npy" else _from_text


def _from_lmdb(source, _):
    import lmdb
    from caffe.proto import caffe_pb2
    try:
        environment = lmdb.open(source, readonly=True, lock=False)
    except lmdb.Error as error:
        raise IOError("expected an LMDB: %s" % error)
    datum = caffe_pb2.Datum()
    labels = []
    with environment.begin() as transaction, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # protobuf's, of what is found right here
        for _, value in _progress(transaction.cursor(), transaction.stat()["entries"]):
            if not _parses(datum, value):
                raise ValueError("expected Datums with a label, got something else in record %d" % len(labels))
            labels.append(datum.label)
    environment.close()
    return np.array(labels)


def _parses(datum, value):
    try:
        consumed = datum.ParseFromString(value)  # old protobufs do not say how much
        return consumed in (None, len(value)) and datum.HasField("label")
    except Exception:  # protobuf's DecodeError moves between its versions
        return False


def _progress(records, total):
    import tqdm
    return tqdm.tqdm(records, total=total, unit=" records", disable=None, leave=False)


def _from_hdf5(source, dataset):
    import h5py
    with h5py.File(source, "r") as file:
        if not isinstance(file.get(dataset), h5py.Dataset):
            raise ValueError("expected a dataset %r, got %s" % (dataset, ", ".join(sorted(file)) or "none"))
        return file[dataset][...].ravel()


def _from_npy(source, _):
    # Mapped, because a header that lies about the size then is an error, and not a reservation.
    return np.array(np.load(source, mmap_mode="r", allow_pickle=False)).ravel()


def _from_text(source, dataset):
    with io.open(source, encoding="utf-8-sig") as file:
        lines = [line.strip() for line in file if line.strip()]
    if lines and os.path.splitext(lines[0])[1].lower() in HDF5_ENDINGS:
        # As Caffe does: the names in the list are relative to the working folder.
        return np.concatenate([_from_hdf5(line, dataset) for line in lines])
    labels = []
    for number, line in enumerate(lines, 1):
        try:
            labels.append(int(line.split()[-1]))
        except ValueError:
            raise ValueError("line %d: expected a label as the last word, got %r" % (number, line[:60]))
    return np.array(labels, np.int64)
