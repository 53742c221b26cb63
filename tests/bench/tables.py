"""Write results as tables for a terminal and in markdown."""
from __future__ import division, print_function

import collections
import textwrap

WIDTH = 120

Part = collections.namedtuple("Part", "heading introduction tables findings")
Table = collections.namedtuple("Table", "heading rows")


def as_text(parts):
    """Return the Parts of a report as text for a terminal."""
    lines = []
    for part in parts:
        lines += ["", part.heading.upper(), "", textwrap.fill(part.introduction, WIDTH)]
        for table in part.tables:
            lines += ["", table.heading, _columns(table.rows)]
        lines.append("")
        lines += [textwrap.fill("- " + finding, WIDTH, subsequent_indent="  ")
                  for finding in part.findings]
    return "\n".join(lines)


def as_markdown(title, parts):
    """Return the Parts of a report as a markdown document, with the picture beside it."""
    lines = ["# " + title, "", "![The results](results.png)"]
    for part in parts:
        lines += ["", "## " + part.heading, "", part.introduction]
        for table in part.tables:
            lines += ["", "**%s**" % table.heading, "", _markdown_table(table.rows)]
        lines.append("")
        lines += ["- " + finding for finding in part.findings]
    return "\n".join(lines).replace("+-", u"\u00b1") + "\n"


def _columns(rows):
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width
                                               in zip(row[1:], widths[1:])])
        for row in rows)


def _markdown_table(rows):
    rule = ["---"] + ["---:"] * (len(rows[0]) - 1)
    return "\n".join("| %s |" % " | ".join(row) for row in [rows[0], rule] + rows[1:])
