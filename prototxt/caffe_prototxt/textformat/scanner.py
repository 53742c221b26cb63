"""Scan protobuf's text format: its fields, and their byte offsets in the text.

A text is held one character a byte (compat.from_bytes and to_bytes), so that what is not changed keeps every byte,
whatever its encoding. The syntax is that of protobuf's C++ parser, with which Caffe reads a prototxt: # comments,
"..." and '...' with adjacent strings joined, { } and < > messages, [ ] lists, names in [ ], an optional ; or , after a
field. It needs no schema and no recursion: a text of any depth is read in time linear in its length.
"""
from __future__ import division, print_function

import bisect
import collections
import re

from caffe_losses.compat import from_bytes, to_display
from caffe_prototxt.textformat import mistakes

# A field, as offsets in the text: its name from `start` on, its value from `value` to `end`, and `stop` after the ; or
# , that may follow. inner: if it holds a message (and no [ ] of several) and is itself in none but the one that was
# asked for, its Fields.
Field = collections.namedtuple("Field", "name start value end stop inner")

CLOSERS = {"{": "}", "<": ">", "[": "]"}
QUOTES = "\"'"

_SPACE = r"[ \t\r\n\v\f]*"
_NAME = r"[A-Za-z_][A-Za-z0-9_]*(?![A-Za-z0-9_])"
_NUMBER = (r"(?:0[xX][0-9a-fA-F]+|0[0-7]+|(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[fF]?)"
           r"(?![A-Za-z0-9_.])")
_NOT_FINITE = r"(?:[iI][nN][fF](?:[iI][nN][iI][tT][yY])?|[nN][aA][nN])(?![A-Za-z0-9_])"
_STRING = r'''(?:"[^"\\\n\0]*(?:{0}[^"\\\n\0]*)*"|'[^'\\\n\0]*(?:{0}[^'\\\n\0]*)*')'''.format(
    r'''\\[abfnrtv?\\'"0-7xXuU]''')
_COMMENT = r"#[^\n\0]*"

# A pattern that always matches, so that it never goes back to try its comments another way.
_SKIP = re.compile(_SPACE + "(?:" + _COMMENT + _SPACE + ")*")
_FIELD_NAME = re.compile(_NAME)
_BRACKETED = re.compile(r"\[{s}{name}(?:{s}[./]{s}{name})*{s}\]".format(s=_SPACE, name=_NAME))
_PLAIN = re.compile(_NUMBER + "|" + _NAME)
_NEGATED = re.compile(_NUMBER + "|" + _NOT_FINITE)
_QUOTED = re.compile(_STRING)
_QUOTED_OR_COMMENT = re.compile(_STRING + "|(" + _COMMENT + ")")
# What most fields are, in one match: a number, word or string without a comment by it, or a message that begins.
_USUAL = re.compile(r"{s}({name}){s}(?::{s}({value})(?:{s}([;,])|(?={s}[^\s#\"'])|{s}\Z)|(?::{s})?([{{<]))".format(
    s=_SPACE, name=_NAME, value="|".join((_NUMBER, _NAME, _STRING))))
_ESCAPED = re.compile(
    r'''\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([abfnrtv?\\'"])|)''')
_ONE_LETTER = dict(zip("abfnrtv?\\'\"", "\a\b\f\n\r\t\v?\\'\""))


def fields(text):
    """Iterate over the Fields of a whole text. Raises ValueError, with line and column."""
    wrong = mistakes.encoding(text)
    if wrong:
        raise ValueError("line 1, column 1: expected text as Caffe reads it, got %s; %s" % wrong)
    return _fields(text, 0, "")


def inner(text, start):
    """Iterate over the Fields of the message whose { or < is at `start`."""
    return _fields(text, start + 1, CLOSERS[text[start]])


def values(text, field):
    """Return (start, end) of each value of a field: one, or those in its [ ]."""
    if text[field.value] != "[":
        return [(field.value, field.end)]
    ranges = []
    at = skip(text, field.value + 1)
    while text[at] != "]":
        end = message_end(text, at, list(inner(text, at))) if text[at] in "{<" else _value(text, at)
        ranges.append((at, end))
        at = skip(text, end)
        if text[at] == ",":
            at = skip(text, at + 1)
    return ranges


def message_end(text, start, fields):
    """Return the offset after the message whose { or < is at `start`, with its Fields."""
    return skip(text, fields[-1].stop if fields else start + 1) + 1


def skip(text, at):
    """Return the next offset from `at` on that is no space and no comment."""
    return _SKIP.match(text, at).end()


def comments(text, start, end):
    """Return the comments in a range of the text that holds whole fields."""
    return [match.group(1).rstrip("\r") for match in _QUOTED_OR_COMMENT.finditer(text, start, end) if match.group(1)]


def literals(text):
    """Return the literals of all strings in a text of whole fields; what looks like one in a comment is among them."""
    return _QUOTED.findall(text)


class Lines(object):
    """The line numbers of offsets in a text, from 1 on."""

    def __init__(self, text):
        self._ends = [match.start() for match in re.finditer("\n", text)]

    def of(self, at):
        return bisect.bisect_left(self._ends, at) + 1


def error(text, at, expected, got=None):
    """Return a ValueError with the line and column of an offset, what was expected, and what the text has.

    got: what it has and the remedy; None: what stands there, with the remedy for what is known as a mistake.
    """
    wrong = None if _QUOTED.match(text, at) else mistakes.at(text, at)
    here = to_display(_PLAIN.match(text, at).group()[:40]) if _PLAIN.match(text, at) else text[at:at + 1]
    column = at - (text.rfind("\n", 0, at) + 1) + 1
    return ValueError("line %d, column %d: expected %s, got %s" % (
        Lines(text).of(at), column, expected,
        got or ("%s; %s" % wrong if wrong else repr(here) if here else "the end of the text")))


def unquote(text, start, end):
    """Return the string between two offsets, its parts joined and its escapes undone, one character a byte."""
    if "\\" not in text[start:end] and text.find(text[start], start + 1) == end - 1:
        return text[start + 1:end - 1]
    parts = []
    at = start
    while at < end:
        match = _QUOTED.match(text, at)
        parts.append(_ESCAPED.sub(lambda escape: _unescaped(text, at, escape), match.group()[1:-1]))
        at = skip(text, match.end())
    return "".join(parts)


def quote(string, mark=None):
    """Return `string` as a literal. mark: the quote; None: single where the string has double ones alone."""
    mark = mark or ("'" if '"' in string and "'" not in string else '"')
    string = string.replace("\\", "\\\\").replace(mark, "\\" + mark).replace("\n", "\\n").replace("\0", "\\000")
    return mark + string + mark


def _unescaped(text, at, escape):
    octal, two, four, eight, letter = escape.groups()
    if letter:
        return _ONE_LETTER[letter]
    if octal or two:
        return chr(int(octal, 8) & 255 if octal else int(two, 16))
    code = int(four or eight, 16) if four or eight else 0x110000
    if code > 0x10ffff:
        raise error(text, at, "a string whose escapes Caffe reads")
    return from_bytes(("\\U%08x" % code).encode("ascii").decode("unicode-escape").encode("utf-8", "replace"))


def _fields(text, at, closer):
    """Iterate over the fields from `at` to `closer`, and check all that is in them."""
    inside = []  # the closers of the open messages and lists
    begun = [None, None]  # name, start and value of the field, and of the one in it, that is being read
    inner = []
    while True:
        usual = _USUAL.match(text, at)
        if usual:
            name, value, separator, opener = usual.groups()
            if len(inside) < 2:
                begun[len(inside)] = name, usual.start(1), usual.start(2 if value else 4)
            if opener:
                inside.append(CLOSERS[opener])
                at = usual.end()
                continue
            end = usual.end(2)
            at = usual.end(3) if separator else end
        else:  # a message that ends, and what is not usual, step by step
            at, expected = skip(text, at), inside[-1] if inside else closer
            if text[at:at + 1] == expected:
                if not inside:
                    return
                inside.pop()
                at, complete = _read(text, at + 1, inside, True)
            else:
                start, (name_end, at) = at, _to_value(text, at, expected)
                if len(inside) < 2:
                    begun[len(inside)] = text[start:name_end], start, at
                at, complete = _read(text, at, inside)
            if not complete:
                continue
            end, separator = at, skip(text, at)
            at = separator + 1 if text[separator:separator + 1] in (";", ",") else at
        if not inside:
            yield Field(*begun[0] + (end, at, inner))
            inner = []
        elif len(inside) == 1:
            inner.append(Field(*begun[1] + (end, at, ())))


def _to_value(text, at, closer):
    """Return (end of the name of the field at `at`, start of its value)."""
    match = _FIELD_NAME.match(text, at) or _BRACKETED.match(text, at)
    if not match:
        raise error(text, at, "the name of a field" + (' or "%s"' % closer if closer else ""))
    at = skip(text, match.end())
    if text.startswith(":", at):
        at = skip(text, at + 1)
    elif text[at:at + 1] not in ("{", "<", "["):
        raise error(text, at, '":"')
    return match.end(), at


def _read(text, at, inside, after_message=False):
    """Read the value at `at`, or go on with that in which a message ended there.

    Returns (the offset after the value, True), or (the offset of the first field in a message that it opens, False).
    """
    if not after_message and text.startswith("[", at):
        inside.append("]")
        at = skip(text, at + 1)
        if text.startswith("]", at):
            inside.pop()
            return at + 1, True
    while True:
        if not after_message:
            if text[at:at + 1] in ("{", "<"):
                inside.append(CLOSERS[text[at]])
                return at + 1, False
            at = _value(text, at)
        after_message = False
        if not inside or inside[-1] != "]":
            return at, True
        at = skip(text, at)
        if text.startswith("]", at):
            inside.pop()
            return at + 1, True
        if not text.startswith(",", at):
            raise error(text, at, '"," or "]"')
        at = skip(text, at + 1)


def _value(text, at):
    """Return the end of the number, word or string at `at`."""
    if text.startswith("-", at):
        match = _NEGATED.match(text, skip(text, at + 1))
    else:
        match = _PLAIN.match(text, at) or _QUOTED.match(text, at)
    if not match:
        raise error(text, at, "a value")
    end = match.end()
    while text[match.start()] in QUOTES:
        match = _QUOTED.match(text, skip(text, end))
        if not match:
            break
        end = match.end()
    return end
