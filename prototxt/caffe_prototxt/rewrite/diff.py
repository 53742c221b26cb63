"""A unified diff of a text and its edits, in time linear in the text.

(difflib takes quadratic time where a text repeats its lines, as a net does.)
"""
from __future__ import division, print_function

import re

CONTEXT = 3


def unified(text, edits, name):
    """The text of a unified diff.

    text: before the edits. edits: (start, end, new text) in the text's order, as
    Edits.ordered has them. name: of the file, for the head.
    """
    lines = _lines(text)
    hunks, moved = [], 0
    for group in _groups(_blocks(text, edits)):
        first, last = max(group[0][0] - CONTEXT, 0), min(group[-1][1] + CONTEXT, len(lines))
        body, at, n_new = [], first, 0
        for start, end, new in group + [(last, last, [])]:
            body += [" " + line for line in lines[at:start]]
            body += ["-" + line for line in lines[start:end]] + ["+" + line for line in new]
            n_new += start - at + len(new)
            at = end
        hunks.append("@@ -%s +%s @@\n" % (_range(first, last - first), _range(first + moved, n_new)))
        hunks += [line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in body]
        moved += n_new - (last - first)
    return "".join(["--- %s\n+++ %s\n" % (name, name)] + hunks) if hunks else ""


def _lines(text):
    return re.findall("[^\n]*\n|[^\n]+", text)


def _range(start, count):
    return "%d,%d" % (start + (count > 0), count)


def _regions(text, edits):
    """(start, end, new text) in whole lines, each of one edit or of several that share a line."""
    regions = []
    for start, end, new in edits:
        line = text.rfind("\n", 0, start) + 1
        if regions and line < regions[-1][1]:
            line, _, before, done = regions.pop()
            new = before + text[done:start] + new
        else:
            new = text[line:start] + new
        line_end = text.find("\n", end)
        regions.append((line, len(text) if line_end < 0 else line_end + 1, new, end))
    return [(start, end, new + text[done:end]) for start, end, new, done in regions]


def _blocks(text, edits):
    """(first line, line after the last, the new lines) of each change."""
    blocks, number, at = [], 0, 0
    for start, end, new in _regions(text, edits):
        number += text.count("\n", at, start)
        at = start
        old, new = _lines(text[start:end]), _lines(new)
        same = 0
        while same < min(len(old), len(new)) and old[same] == new[same]:
            same += 1
        old, new = old[same:], new[same:]
        while old and new and old[-1] == new[-1]:
            old.pop()
            new.pop()
        if old or new:
            blocks.append((number + same, number + same + len(old), new))
    return blocks


def _groups(blocks):
    groups = []
    for block in blocks:
        if groups and block[0] - groups[-1][-1][1] <= 2 * CONTEXT:
            groups[-1].append(block)
        else:
            groups.append([block])
    return groups
