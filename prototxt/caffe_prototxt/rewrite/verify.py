"""Checks that a changed net is, for Caffe, the net before with the planned fields changed and nothing else."""
from __future__ import division, print_function

import collections
import re

from caffe_losses.compat import to_bytes
from caffe_prototxt.textformat import scanner as T
from caffe_prototxt.textformat.messages import on_one_line

# protobuf's Python reads about 1 MB a second: of a larger net only the layers that change are compared as messages.
MAX_BYTES = 1000000

# Fields that older Caffes do not have, and what to do without them.
REMEDIES = {"parameter_param": "it has no Parameter layer: take an .h5 or .lmdb file of H, or --source",
            "python_param": "it has no Python layers: take one of Caffe's own losses",
            "axis": "leave out the axis"}

# A layer that stays: its text before and after, and the names of the fields that the plan changes.
_Pair = collections.namedtuple("_Pair", "before after changed")


class Unreadable(Exception):
    """Caffe's Python cannot read a text, or is not there."""


def check_readable(text):
    """Raise ValueError if there is a Caffe, and its Python cannot read a text that is ours."""
    try:
        _read("")
    except Unreadable:  # there is none
        return
    _read_ours(text)


def verify(net, after, plan):
    """Raise ValueError unless `after` is the text of `net` with the plan carried out, and nothing else.

    net: nets.Net. after: str, one character a byte. plan: plan.Plan for the net.
    Layers that do not change must keep every byte, and Caffe's own parser must read the same in both texts, apart from
    the layers that are added or removed and the fields that the plan names.
    Returns None if Caffe has read all, else a str that says what it has not.
    """
    pairs, added, removed = _aligned(net, after, plan)
    try:
        if len(net.text) > MAX_BYTES:
            raise Unreadable("larger than %d MB" % (MAX_BYTES // 1000000))
        return _compare(net.text, after, pairs, added, removed)
    except Unreadable as error:
        reason = error
    check_readable("\n".join(on_one_line(net.layers[0].field_name, fields) for _, fields in plan.added))
    try:
        changed = [pair for pair in pairs if pair.changed]
        before, now = ["\n".join("%s %s" % (net.layers[0].field_name, text) for text in texts)
                       for texts in ([pair.before for pair in changed], [pair.after for pair in changed])]
        _compare(before, now, changed, [], [])
        return "only the layers that change could be checked with Caffe: %s" % reason
    except Unreadable:
        pass
    try:
        _read(after)
        return "the net before could not be checked with Caffe, which reads the new one: %s" % reason
    except Unreadable:
        return "could not check with Caffe: %s" % reason


def _aligned(net, after, plan):
    """Return the _Pairs of the layers that stay, and the indices of those added (after) and removed (before)."""
    texts = [after[start:end] for field in T.fields(after) if field.name in ("layer", "layers")
             for start, end in T.values(after, field)]
    changed = collections.defaultdict(set)
    for layer, fields in plan.changed:
        changed[layer.index].update(fields)
    n_added = collections.Counter(layer.index for layer, _ in plan.added)
    removed = [layer.index for layer in plan.removed]
    pairs, added, at = [], [], 0
    for layer in net.layers:
        added += range(at, at + n_added[layer.index])
        at += n_added[layer.index]
        if layer.index in removed:
            continue
        pair = _Pair(layer.text[layer.start:layer.end], "".join(texts[at:at + 1]), changed[layer.index])
        if not pair.changed and pair.before != pair.after:
            raise ValueError("%s: expected to keep it, got something else: the net is not written" % layer)
        pairs.append(pair)
        at += 1
    if at != len(texts):
        raise ValueError("expected %d layers after the change, got %d: the net is not written" % (at, len(texts)))
    return pairs, added, removed


def _compare(before, after, pairs, added, removed):
    """Raise ValueError unless the NetParameters of two texts are the same but for what was planned."""
    nets = _read(before), _read_ours(after)
    layers = [[layer for index, layer in enumerate(net.layers or net.layer) if index not in gone]
              for net, gone in zip(nets, (removed, added))]
    for one, other, pair in zip(layers[0], layers[1], pairs):
        for name in pair.changed:
            one.ClearField(name)
            other.ClearField(name)
    same = len(layers[0]) == len(layers[1]) == len(pairs) and layers[0] == layers[1]
    for net in nets:
        net.ClearField("layer")
        net.ClearField("layers")
    if not same or nets[0] != nets[1]:
        raise ValueError("expected the change and nothing else, got another net when Caffe reads it: it is not written")


def _read_ours(text):
    """Return the NetParameter of a text that is ours, which Caffe can read unless it is too old for it."""
    try:
        return _read(text)
    except Unreadable as error:
        missing = re.search('no field named "(\\w+)"', str(error))
        remedy = REMEDIES.get(missing.group(1), "") if missing else ""
        raise ValueError("expected a Caffe that has what the new layers need: %s%s" % (error, remedy and "; " + remedy))


def _read(text):
    """Return the NetParameter of a text. Raises Unreadable."""
    try:
        from caffe.proto import caffe_pb2
        from google.protobuf import text_format
    except Exception as error:  # a Caffe that is not for this Python fails in its own ways
        raise Unreadable(str(error))
    content = to_bytes(text)
    try:
        content = content.decode("utf-8")
    except UnicodeError:  # names in Latin-1 are no UTF-8, and Python's protobuf wants characters
        content = content.decode("latin-1")
    try:
        return text_format.Parse(content, caffe_pb2.NetParameter())  # Merge would take a field twice
    except Exception as error:  # protobuf's ParseError, and what its parser makes of what is no number
        raise Unreadable("it cannot read the net: %s" % error)
