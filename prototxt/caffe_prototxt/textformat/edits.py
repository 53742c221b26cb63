"""Replacements of byte ranges, applied together; bytes outside the ranges are preserved."""
from __future__ import division, print_function

import itertools

from caffe_prototxt.textformat import scanner as T
from caffe_prototxt.textformat.messages import (
    Message, Name, laid_out, on_lines, on_one_line, pairs, read, same, written)

_BLANK = " \t\r\v\f"


class Edits(object):
    """The replacements in one text.

    text: str, one character a byte. replaces: {field: the field that it replaces}: one that is added where the other is
    taken out goes to the same range, and keeps its comments and layout.
    """

    def __init__(self, text, replaces=None):
        self.text = text
        self.replaces = replaces or {}
        self._edits = []

    def apply(self):
        """Return the changed text."""
        parts, at = [], 0
        # An insertion goes before the replacement that starts at the same offset.
        for start, end, new in sorted(self._edits, key=lambda edit: (edit[0], edit[1] > edit[0])):
            if start < at:
                raise T.error(self.text, start, "no change inside another")
            parts += [self.text[at:start], new]
            at = end
        return "".join(parts) + self.text[at:]

    def set(self, message, wanted):
        """Give the fields of a message the values that are wanted.

        wanted: dict from the name of a field to its value (as messages.pairs has it); None takes the field out. A
        message in it names those of its own fields that are to change. A field with its value stays as it is written.
        """
        removed, added = [], []
        for name, value in wanted.items():
            items = message.items(name)
            old = self._replaced(message, name, wanted)
            if value is None:
                if not any(self._replaced(message, new, wanted) == name for new in wanted):
                    removed += [(item.field.start, item.field.stop) for item in items]
            elif isinstance(value, list):
                removed += self._set_list(items, value)
                added += [] if items else [(name, item) for item in value]
            elif old:
                self._replace_field(message.item(old), name, value)
            elif not items:
                added.append((name, value))
            elif isinstance(value, dict):
                self.set(message.message(name), value)
            else:
                self._set_value(message.item(name), value)
        self._remove(removed)
        self._add(message, [pair for pair in added if not isinstance(pair[1], dict) or pairs(pair[1])], removed)

    def add_before(self, layer, new, comment=()):
        """Add a layer before another, above the comment on that.

        new: dict, the fields of the new one. comment: lines to put inside it, at its top.
        """
        block, between = self._block(layer, new)
        if comment:
            indent = _before(self.text, layer.begin)
            inner = _newline(self.text, layer.begin) + ("" if indent.strip(_BLANK) else indent) + _step(layer)
            head, rest = block.split("{", 1)
            lines = "".join(inner + "# " + line for line in comment)
            block = head + "{" + lines + (rest if rest.lstrip(" ")[:1] in "\r\n" else inner + rest.lstrip(" "))
        start, indent = layer.begin, _before(self.text, layer.begin)
        if not indent.strip(_BLANK):
            start -= len(indent)
            while start > 0 and self.text[_line_start(self.text, start - 1):start].lstrip(_BLANK).startswith("#"):
                start = _line_start(self.text, start - 1)
            block = indent + block
        self._edits.append((start, start, block + between))

    def replace_layer(self, layer, new, comment=None):
        """Replace a layer by another. new: dict, its fields; comment: a line to put above it."""
        block, _ = self._block(layer, new)
        indent = _before(self.text, layer.begin)
        if comment and not indent.strip(_BLANK):
            block = "# %s%s%s%s" % (comment, _newline(self.text, layer.begin), indent, block)
        self._edits.append((layer.begin, layer.stop, block))

    def insert_before(self, layer, lines):
        """Insert lines before a layer."""
        newline = _newline(self.text, layer.begin)
        self._edits.append((layer.begin, layer.begin, "".join(line + newline for line in lines)))

    def _block(self, layer, new):
        """Return (a layer as text, laid out as another is, what goes between the two)."""
        _check_single(layer)
        indent, newline = _before(self.text, layer.begin), _newline(self.text, layer.begin)
        alone = not indent.strip(_BLANK)
        if "\n" not in self.text[layer.begin:layer.end]:
            return on_one_line(layer.field_name, new), newline if alone else " "
        return on_lines(layer.field_name, new, indent if alone else "", _step(layer), newline), newline

    def take_out(self, layer):
        """Take a layer out, and the comments in it."""
        _check_single(layer)
        self._remove([(layer.begin, layer.stop)], keep_comments=False)

    def _replaced(self, message, name, wanted):
        """Return the field that `name` replaces in a message, or None."""
        old = self.replaces.get(name)
        comes = wanted[name] is not None and name not in message.names()
        return old if comes and old in message.names() and wanted.get(old, old) is None else None

    def _replace_field(self, old, name, value):
        if isinstance(value, dict):
            self._replace(old.field.start, old.field.start + len(old.field.name), name)
            self.set(Message(self.text, old.start), value)
        else:
            self._replace(old.field.start, old.end, on_one_line(name, value))

    def _set_value(self, item, value):
        if not same(read(self.text, item), value):
            quoted = isinstance(value, str) and not isinstance(value, Name) and self.text[item.start] in T.QUOTES
            new = T.quote(value, self.text[item.start]) if quoted and '"' not in value else written(value)
            self._replace(item.start, item.end, new)

    def _replace(self, start, end, new):
        """Replace a name or a value by `new`; comments in it stay."""
        comments = "".join(" " + comment + _newline(self.text, start) for comment in T.comments(self.text, start, end))
        self._edits.append((start, end, new + comments))

    def _set_list(self, items, values):
        """Set a repeated field that has values; return the ranges of those to be removed."""
        for item, value in zip(items, values):
            if not isinstance(value, dict):
                self._set_value(item, value)
        if items and len(values) > len(items):
            last, more = items[-1], values[len(items):]
            if self.text[last.field.value] == "[":
                self._edits.append((last.end, last.end, "".join(", " + written(value) for value in more)))
            else:
                self._add_after(last.field, [(last.field.name, value) for value in more],
                                own_lines=not _before(self.text, last.field.start).strip(_BLANK))
        removed = []
        for field, group in itertools.groupby(items[len(values):], key=lambda item: item.field):
            stays = [item.end for item in items[:len(values)] if item.field == field]
            removed.append((stays[-1], list(group)[-1].end) if stays else (field.start, field.stop))
        return removed

    def _remove(self, ranges, keep_comments=True):
        for start, end in _joined(self.text, ranges):
            kept = T.comments(self.text, start, end) if keep_comments else []
            before, line_end = _before(self.text, start), _line_end(self.text, end)
            after, newline = self.text[end:line_end], _newline(self.text, start)
            if not (before + after).strip(_BLANK):  # all of its lines
                start, end = start - len(before), min(line_end + 1, len(self.text))
                new = "".join(before + comment + newline for comment in kept)
            elif not before.strip(_BLANK):  # the first on its line
                end += len(after) - len(after.lstrip(_BLANK))
                new = "".join(comment + newline + before for comment in kept)
            else:
                start -= len(before) - len(before.rstrip(_BLANK))
                new = "".join(" " + comment + newline + _indent(before) for comment in kept)
                apart = self.text[start - 1] in " \t\n{<;," or self.text[end:end + 1] in " \t\r\n}>];,#"
                new = new or ("" if apart else " ")
            self._edits.append((start, end, new))

    def _add(self, message, fields, removed):
        """Add fields after the last that stays."""
        staying = [field for field in message.fields if (field.start, field.stop) not in removed]
        if fields and staying:
            self._add_after(staying[-1], fields, message.start < _line_start(self.text, staying[-1].start), removed)
        elif fields:
            at = message.start + 1
            tail = "" if self.text[at] in " \t\r\n" else " "
            self._edits.append((at, at, " " + " ".join(on_one_line(*field) for field in fields) + tail))

    def _add_after(self, field, fields, own_lines, removed=()):
        """Add fields after one: on lines of their own, or on its line."""
        text, after = self.text, field.stop
        for start, end in _joined(text, removed):
            if start >= after and not text[after:start].strip(_BLANK):
                after = end
        line_end = _line_end(text, after)
        rest = text[after:line_end].strip(_BLANK)
        if not own_lines or rest and not rest.startswith("#"):
            self._edits.append((field.stop, field.stop, "".join(" " + on_one_line(*pair) for pair in fields)))
            return
        indent, newline = _indent(_before(text, field.start)), _newline(text, field.start)
        step = "\t" if "\t" in indent else "  "
        new = "".join(indent + laid_out(name, value, indent, step, newline) + newline for name, value in fields)
        self._edits.append((line_end + 1, line_end + 1, new))


def _check_single(layer):
    if layer.listed:
        raise T.error(layer.text, layer.begin, "a field for each layer, not one list of several")


def _joined(text, ranges):
    """Join ranges with only blanks between them."""
    joined = []
    for start, end in sorted(ranges):
        if joined and not text[joined[-1][1]:start].strip(_BLANK):
            start = joined.pop()[0]
        joined.append((start, end))
    return joined


def _step(layer):
    """Return the indentation of the fields of a layer, relative to the layer."""
    outer = _before(layer.text, layer.begin)
    inner = [_before(layer.text, field.start) for field in layer.fields]
    return next((line[len(outer):] for line in inner
                 if not line.strip(_BLANK) and line != outer and line.startswith(outer)), "  ")


def _before(text, at):
    """Return what a line has before an offset."""
    return text[_line_start(text, at):at]


def _indent(line):
    return line[:len(line) - len(line.lstrip(_BLANK))]


def _line_start(text, at):
    return text.rfind("\n", 0, at) + 1


def _line_end(text, at):
    """Return the offset of the next line feed, or the end of the text."""
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _newline(text, at):
    """Return the line ending at an offset; in the last line that of the line before."""
    end = text.find("\n", at)
    end = text.rfind("\n", 0, at) if end < 0 else end
    return "\r\n" if end > 0 and text[end - 1] == "\r" else "\n"
