"""Whether a changed net is, for Caffe, the net before with the change and nothing else."""
from __future__ import division, print_function

import collections

from caffe_losses.compat import to_bytes
from caffe_prototxt.textformat import scanner as T
from caffe_prototxt.textformat.messages import Name, is_true, pairs

# protobuf's Python reads about 1 MB a second: of a larger net only the layers that change are compared.
MAX_BYTES = 1000000


class Unreadable(Exception):
    """Caffe's Python cannot read the text as it was before, or is not there."""


def verify(net, after, planned):
    """Raise ValueError unless `after` is the text of `net` with the plan carried out, and nothing else.

    net: Net. after: text. planned: change.Plan for the net.
    Layers that do not change are compared by their text, the rest as Caffe reads it.
    Returns None if Caffe has read and compared all, else a str that says what it has not.
    """
    made = [after[start:end] for field in T.fields(after) if field.name in ("layer", "layers")
            for start, end in T.values(after, field)]
    kept = _same_layers(net, made, planned)
    reason = "larger than %d MB" % (MAX_BYTES // 1000000)
    if len(net.text) <= MAX_BYTES:
        try:
            _compare(net.text, after, net.layers, planned)
            return None
        except Unreadable as error:
            reason = str(error)
    touched = [layer for layer in net.layers if layer.index not in kept]
    same = set(kept.values())
    try:
        _compare(_texts(net, [layer.text[layer.start:layer.end] for layer in touched]),
                 _texts(net, [text for i, text in enumerate(made) if i not in same]), touched, planned)
        return "only the layers that change could be checked with Caffe: %s" % reason
    except Unreadable:
        return "could not check with Caffe: %s" % reason


def _texts(net, layers):
    return "\n".join("%s %s" % (net.layers[0].field_name, layer) for layer in layers)


def _same_layers(net, made, planned):
    """The layers that keep every byte: a dict from their index before to that after. made: their texts after."""
    changed = set(layer.index for layer, _ in planned.changed)
    removed = set(layer.index for layer in planned.removed)
    added = collections.Counter(layer.index for layer, _ in planned.added)
    at, kept = 0, {}
    for layer in net.layers:
        at += added[layer.index]
        if layer.index in removed:
            continue
        if layer.index not in changed:
            if at >= len(made) or layer.text[layer.start:layer.end] != made[at]:
                raise ValueError("%s: expected to keep it, got something else: the net is not written" % layer)
            kept[layer.index] = at
        at += 1
    if at != len(made):
        raise ValueError("expected %d layers after the change, got %d: the net is not written" % (at, len(made)))
    return kept


def _compare(before, after, layers, planned):
    """Raise ValueError unless `after` is `before` with the plan. layers: those of `before`."""
    codec = _codec(before, after)
    expected = _message(before, codec)
    try:
        found = _message(after, codec)
    except Unreadable as error:
        raise ValueError("expected a net that Caffe reads after the change, got %s: the net is not written" % error)
    name = layers[0].field_name if layers else "layer"
    own = getattr(expected, name)
    old = list(own)
    changes = {layer.index: fields for layer, fields in planned.changed}
    additions = {}
    for layer, fields in planned.added:
        additions.setdefault(layer.index, []).append(fields)
    removed = set(layer.index for layer in planned.removed)
    new = type(expected)()
    for layer, message in zip(layers, old):
        for fields in additions.get(layer.index, ()):
            _set(getattr(new, name).add(), fields, codec)
        if layer.index not in removed:
            copy = getattr(new, name).add()
            copy.CopyFrom(message)
            _set(copy, changes.get(layer.index, {}), codec)
    del own[:]
    own.extend(getattr(new, name))
    if len(old) != len(layers) or expected.SerializePartialToString() != found.SerializePartialToString():
        raise ValueError("expected the change and nothing else, got another net when Caffe reads it: it is not written")


def _codec(*texts):
    """How Python's protobuf is to take texts, of which it wants characters: names in Latin-1 are no UTF-8."""
    try:
        for text in texts:
            to_bytes(text).decode("utf-8")
    except UnicodeError:
        return "latin-1"
    return "utf-8-sig"


def _message(text, codec):
    """The NetParameter of a text."""
    try:
        from caffe.proto import caffe_pb2
        from google.protobuf import text_format
    except Exception as error:  # a Caffe that is not for this Python fails in its own ways
        raise Unreadable(str(error))
    message = caffe_pb2.NetParameter()
    try:
        text_format.Merge(to_bytes(text).decode(codec), message)
    except Exception as error:  # protobuf's ParseError, and what its parser makes of what is no number
        raise Unreadable("it cannot read the net: %s" % error)
    return message


def _set(message, fields, codec):
    """Set fields of a message, as Edits.set does in a text."""
    known = message.DESCRIPTOR.fields_by_name
    for name, value in fields.items():
        if value is None:
            if name in known:
                message.ClearField(name)
        elif name not in known:
            raise ValueError("expected a Caffe whose %s has %s: the net is not written" % (message.DESCRIPTOR.name, name))
        elif isinstance(value, dict):
            if pairs(value) or message.HasField(name):
                _set(getattr(message, name), value, codec)
        elif known[name].label == known[name].LABEL_REPEATED:
            message.ClearField(name)
            for item in value:
                if isinstance(item, dict):
                    _set(getattr(message, name).add(), item, codec)
                else:
                    getattr(message, name).append(_scalar(known[name], item, codec))
        else:
            setattr(message, name, _scalar(known[name], value[-1] if isinstance(value, list) else value, codec))


def _scalar(field, value, codec):
    if field.enum_type is not None:
        return field.enum_type.values_by_name[value].number if isinstance(value, Name) else value
    if field.cpp_type == field.CPPTYPE_BOOL:
        return value if isinstance(value, bool) else is_true(value)
    if isinstance(value, Name):
        return float(value)
    return to_bytes(value).decode(codec) if isinstance(value, str) else value
