"""A part of the training data held out: copies of what the data layers read, less every fifth record, and those."""
from __future__ import division, print_function

import collections
import contextlib
import hashlib
import os
import shutil

from caffe_losses.compat import from_bytes, from_display, to_display
from caffe_losses.errors import naming
from caffe_losses.formats import lmdb_files
from caffe_losses.formats.plain_files import open_plain
from caffe_losses.optional_packages import optional, progress
from caffe_prototxt.net import data_layers
from caffe_prototxt.net.nets import Net

EACH = 5  # records of which one is held out
ELSE = "; --validate NET names a net whose TEST phase has validation data"

_Change = collections.namedtuple("_Change", "start end source")


def hold_out(text, folder):
    """Return the text of a net that is trained on four fifths of its training data, and tested on the rest of them.

    Every fifth record is held out, the same ones of every data layer, so that images and labels stay together. A data
    layer of the TEST phase reads what is held out of that of the TRAIN phase with the same tops.

    text: str, one character a byte. folder: str, where the copies go; those that are there already are kept.
    Raises ValueError for data layers that cannot be divided.
    """
    net = Net(text)
    layers = [layer for layer in net.layers if data_layers.data_param(layer) is not None]
    training, testing = [[layer for layer in layers if phase in layer.phases] for phase in ("TRAIN", "TEST")]
    for layer in training:
        if layer in testing or layer.type not in _DIVIDE:
            raise ValueError("%s: expected %s of the TRAIN phase alone, to hold a part of its data out, got %s%s" % (
                layer, ", ".join(sorted(_DIVIDE)), "both phases" if layer in testing else layer.type, ELSE))
    parts = {tuple(layer.tops): _parts(layer, folder) for layer in training}
    changes = [_change(layer, parts[tuple(layer.tops)][0]) for layer in training]
    for layer in testing:
        twins = [other for other in training if (other.type, other.tops) == (layer.type, layer.tops)]
        if not twins:
            raise ValueError("%s: expected a data layer of the TRAIN phase with the same type and tops, to hold a part "
                             "of its data out, got none%s" % (layer, ELSE))
        changes.append(_change(layer, parts[tuple(layer.tops)][1]))
    if not training or not testing:
        raise ValueError("expected data layers of both phases, to hold a part of the data out, got none" + ELSE)
    for change in sorted(changes, reverse=True):
        text = text[:change.start] + '"%s"' % change.source + text[change.end:]
    return text


def _change(layer, path):
    item = data_layers.data_param(layer).item("source")
    return _Change(item.start, item.end, from_display(path))


def _parts(layer, folder):
    """Return the paths of the two parts of a layer's data, made if they are not there yet."""
    source = to_display(data_layers.source(layer) or "")
    with naming(source):
        of_file = os.stat(os.path.join(source, lmdb_files.DATA_FILE) if os.path.isdir(source) else source)
    described = "%s %d %r" % (os.path.realpath(source), of_file.st_size, of_file.st_mtime)
    name = "%s_%s" % (os.path.basename(source.rstrip("/")), hashlib.sha1(described.encode("utf-8")).hexdigest()[:8])
    paths = [os.path.join(folder, "%s_%s" % (name, part)) for part in ("kept", "held_out")]
    if not all(map(os.path.exists, paths)):
        if not os.path.isdir(folder):
            os.makedirs(folder)
        with _unfinished(paths) as unfinished, naming(source):
            _DIVIDE[layer.type](source, unfinished)
    return paths


@contextlib.contextmanager
def _unfinished(paths):
    """Give paths beside others, whose names they get once they are complete."""
    unfinished = [path + ".unfinished" for path in paths]
    for path in unfinished + paths:
        _remove(path)
    try:
        yield unfinished
        for path, complete in zip(unfinished, paths):
            os.rename(path, complete)
    except BaseException:
        for path in unfinished:
            _remove(path)
        raise


def _remove(path):
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.exists(path):
        os.remove(path)


def _divide_database(source, paths):
    if not lmdb_files.is_lmdb(source):
        raise ValueError("expected an LMDB, to hold a part of it out, got something else%s" % ELSE)
    lmdb = optional("lmdb", "LMDB")
    size = 2 * os.path.getsize(os.path.join(source, lmdb_files.DATA_FILE)) + 2 ** 24
    with contextlib.closing(lmdb.open(paths[0], map_size=size)) as kept, contextlib.closing(
            lmdb.open(paths[1], map_size=size)) as held_out:
        with kept.begin(write=True) as of_kept, held_out.begin(write=True) as of_held_out:
            records = lmdb_files.records(source)
            for i, record in enumerate(progress(records, lmdb_files.count_records(source), " records")):
                (of_held_out if _is_held_out(i) else of_kept).put(b"%010d" % i, bytes(record), append=True)


def _divide_list(source, paths):
    """Divide a text file with a sample a line."""
    with open_plain(source) as file, open(paths[0], "wb") as kept, open(paths[1], "wb") as held_out:
        for i, line in enumerate(line for line in file if line.strip()):
            (held_out if _is_held_out(i) else kept).write(line)


def _divide_hdf5(source, paths):
    """Divide the files that a list names: each part is a folder with a list and as many files, its source the list."""
    h5py = optional("h5py", "HDF5")
    with open_plain(source) as file:
        names = [to_display(from_bytes(word)) for word in file.read().split()]
    for path, held_out in zip(paths, (False, True)):
        files = ["%s_%d.h5" % (path.replace(".unfinished", ""), i) for i in range(len(names))]
        for name, part in zip(names, files):
            with h5py.File(name, "r") as whole, h5py.File(part, "w") as divided:
                for key in whole:
                    rows = [i for i in range(len(whole[key])) if _is_held_out(i) == held_out]
                    divided[key] = whole[key][()][rows]  # all of it, as Caffe reads it; h5py is slow at single rows
        with open(path, "w") as file:
            file.write("".join(part + "\n" for part in files))


def _is_held_out(i):
    return i % EACH == EACH - 1


_DIVIDE = {"Data": _divide_database, "AnnotatedData": _divide_database, "ImageData": _divide_list,
           "HDF5Data": _divide_hdf5}
