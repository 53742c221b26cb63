"""Name what editors and other languages leave in a text that protobuf's parser stops at, and the remedy."""
from __future__ import division, print_function

import re

BOM = "\xef\xbb\xbf"

_SAVE = "save it as UTF-8 without a byte order mark, or: iconv -f UTF-16 -t UTF-8 FILE > NEW"
_CURLY_UTF8 = "\xe2\x80[\x98-\x9f]"
# (pattern of what stands where the parser stops, what it is, the remedy).
_HERE = [(re.compile(pattern), got, remedy) for pattern, got, remedy in (
    (_CURLY_UTF8 + "|[\x91-\x94]", 'a curly quote', 'write " in its place'),
    (r"//|/\*", "a comment of another language", "begin comments with #"),
    ("\xc2\xa0|\xa0|\xe2\x80[\x80-\x8b]|\xe3\x80\x80|" + BOM, "a blank that is not ASCII's", "write a plain one"),
    ("[\xc0-\xff][\x80-\xbf]+|[\x80-\xff]", "a character that is not ASCII's",
     "write ASCII outside of strings and comments"))]
_OPEN_STRING = re.compile(r"""(["'])(?:[^\\\n]|\\.)*?(?:\1|(?=\n)|$)""")


def encoding(text):
    """Return (what is wrong with the encoding of a whole text, the remedy), or None."""
    if text.startswith(BOM):
        return "a byte order mark, at which Caffe stops", "take it out: sed -i '1s/^\\xef\\xbb\\xbf//' FILE"
    if text.startswith(("\xff\xfe", "\xfe\xff")) or len(text) > 1 and "\0" in (text[0], text[1]):
        return "UTF-16", _SAVE
    if "#" in text and "\r" in text and "\n" not in text:
        return "lines that end in CR alone, where a comment does not end", "write LF: tr '\\r' '\\n' < FILE > NEW"
    return None


def at(text, offset):
    """Return (what stands at an offset where the parser stops, the remedy), or None for nothing known."""
    for pattern, got, remedy in _HERE:
        if pattern.match(text, offset):
            return got, remedy
    line = text[text.rfind("\n", 0, offset) + 1:offset] + text[offset:].partition("\n")[0]
    if re.search(_CURLY_UTF8, line):
        return "something else, after a curly quote", 'write " in place of the curly quotes of this line'
    string = _OPEN_STRING.match(text, offset)
    if string is None:
        return None
    if "\\" in string.group():
        return "a string with a \\ that begins no escape", "write / for each \\ of a path"
    return "a string without an end on its line", "close it with %s" % string.group(1)
