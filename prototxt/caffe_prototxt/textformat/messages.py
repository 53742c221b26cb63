"""Read the messages of a text, and write values as its literals."""
from __future__ import division, print_function

import collections

from caffe_prototxt.textformat import scanner as T

MOST_DEEP = 20  # messages in each other; Caffe's are five at most

# One value of a field: its range in the text, and the scanner.Field that it belongs to.
Item = collections.namedtuple("Item", "start end field")


class Name(str):
    """A word without quotes: an enum's value, true or false."""


class Message(object):
    """A message of a text. start: of its { or <; end: after its } or >."""

    def __init__(self, text, start, fields=None, end=None):
        self.text = text
        self.start = start
        self.fields = list(T.inner(text, start)) if fields is None else fields
        self.end = T.message_end(text, start, self.fields) if end is None else end
        self._named, self._messages = {}, {}
        for field in self.fields:
            self._named.setdefault(field.name, []).append(field)

    def items(self, name):
        """Return the values of a field, in their order, as Items; [a, b] is two."""
        fields = self._named.get(name, ())
        if len(fields) == 1 and self.text[fields[0].value] != "[":  # as most
            return [Item(fields[0].value, fields[0].end, fields[0])]
        return [Item(start, end, field) for field in fields for start, end in T.values(self.text, field)]

    def item(self, name):
        """Return the one value of a field as an Item, or None. Raises ValueError if there are several."""
        items = self.items(name)
        if len(items) > 1:
            raise T.error(self.text, items[1].start, "%s once, as Caffe does" % name, "it twice; take one of them out")
        return items[0] if items else None

    def values(self, name):
        return [read(self.text, item) for item in self.items(name)]

    def value(self, name, default=None):
        item = self.item(name)
        return default if item is None else read(self.text, item)

    def message(self, name):
        """Return the Message in a field, or None."""
        item = self.item(name)
        if item is not None and self.text[item.start] not in "{<":
            raise T.error(self.text, item.start, '"{"')
        if item is not None and name not in self._messages:
            self._messages[name] = Message(self.text, item.start)
        return self._messages.get(name)

    def value_in(self, message, name, default=None):
        """Return the value of a field of the message in another field."""
        inner = self.message(message)
        return default if inner is None else inner.value(name, default)

    def names(self):
        return set(self._named)

    def repeated(self):
        """Return the names of the fields that may have several values."""
        return [name for name, fields in self._named.items() if len(fields) > 1 or self.text[fields[0].value] == "["]


def read(text, item, depth=0):
    """Return a value: a str, Name, int or float, or for a message a dict of lists, in its order.

    Raises ValueError for messages in more messages than any of Caffe's. depth: the number that this one is in.
    """
    char = text[item.start]
    if char in "{<":
        if depth == MOST_DEEP:
            raise T.error(text, item.start, "at most %d messages in each other" % MOST_DEEP)
        message = Message(text, item.start)
        return collections.OrderedDict(
            (field.name, [read(text, inner, depth + 1) for inner in message.items(field.name)])
            for field in message.fields)
    if char in T.QUOTES:
        return T.unquote(text, item.start, item.end)
    if char == "-":
        return -number(text[T.skip(text, item.start + 1):item.end])
    word = text[item.start:item.end]
    return number(word) if char in ".0123456789" else Name(word)


def number(word):
    if word[:2] in ("0x", "0X"):
        return int(word, 16)
    if word[0] == "0" and word.isdigit():
        return int(word, 8)
    return int(word) if word.isdigit() else float(word.rstrip("fF") if word[0] in ".0123456789" else word)


def same(value, wanted):
    """Return whether a value as read is the one that is wanted."""
    if value is wanted:
        return True
    if isinstance(wanted, bool):
        return is_true(value) == wanted
    return isinstance(value, Name) == isinstance(wanted, Name) and value == wanted


def is_true(value):
    """Return a bool as the text format has it."""
    return value in ("true", "True", "t", 1)


def written(value):
    """Return the literal of a value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Name):
        return str(value)
    if isinstance(value, str):
        return T.quote(value)
    return repr(value)


def pairs(message):
    """Return (name, value) of each field of a message given as a dict; a list is a repeated field, None is none."""
    return [(name, item) for name, value in message.items() if value is not None
            for item in (value if isinstance(value, list) else [value])]


def on_one_line(name, value):
    """Return a field in the text format. value: a literal's, or a dict for a message."""
    if not isinstance(value, dict):
        return "%s: %s" % (name, written(value))
    inner = " ".join(on_one_line(*pair) for pair in pairs(value))
    return "%s { %s }" % (name, inner) if inner else "%s { }" % name


def on_lines(name, value, indent, step, newline):
    """Return a field as on_one_line does, but each field of its message on a line; short messages in it stay on one."""
    lines = [indent + step + laid_out(own, item, indent + step, step, newline) + newline for own, item in pairs(value)]
    return "%s {%s%s%s}" % (name, newline, "".join(lines), indent)


def laid_out(name, value, indent, step, newline):
    """Return a field on one line, or, if it is a long message, as on_lines does."""
    line = on_one_line(name, value)
    return on_lines(name, value, indent, step, newline) if isinstance(value, dict) and len(line) > 60 else line
