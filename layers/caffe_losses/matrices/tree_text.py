"""Class trees as text: indented, edges or Newick."""
from __future__ import division, print_function

import csv
import re

import numpy as np

from caffe_losses.matrices.class_trees import Node


def parse_tree(text, edges=False):
    """The root of the class tree in `text`: Newick if it starts with "(" and ends with ";", else indented text.

    text: str. edges: bool, whether the text is a .csv of edges instead.
    Returns a Node. Several roots are joined under a root of their own.
    Raises ValueError, naming the line.
    """
    if edges:
        roots = _parse_edges(text)
    elif re.match(r"\s*\(", text) and re.search(r";\s*$", text):
        roots = _parse_newick(text)
    else:
        roots = _parse_indented(text)
    if not roots:
        raise ValueError("expected a class tree, got no classes")
    root = roots[0]
    if len(roots) > 1:
        root = Node("(root)", 0)
        root.children = roots
    _check_nodes(root)
    return root


def _check_nodes(root):
    """Every class once, and heights and lengths where they mean something."""
    seen = {}
    for leaf in root.leaves():
        if leaf.given_height is not None:
            raise ValueError("line %d: expected a group, as only a group has a height, got the class %s"
                             % (leaf.line, leaf.name))
        if leaf.name in seen:
            raise ValueError("line %d: expected every class once, got %s again (first on line %d)"
                             % (leaf.line, leaf.name, seen[leaf.name]))
        if not leaf.name:
            raise ValueError("line %d: expected a name for every class, got none" % leaf.line)
        seen[leaf.name] = leaf.line
    branches = [child for node in root.walk() for child in node.children]
    if any(child.length is not None for child in branches):
        for child in branches:
            if child.length is None:
                raise ValueError("line %d: expected a length of the branch to %s, as others have one"
                                 % (child.line, child.name or "a group"))


# Indented text. A line without deeper lines below it is a class; any other is a group, and may give its height after a
# colon. `#` at the start of a word starts a comment.
#
#     garments: 3
#       tops: 1
#         T-shirt
#         shirt
#       bag

def _parse_indented(text):
    top = Node("", 0)
    path = [(-1, top)]  # indentation and node, from the root to the last node read
    for indent, node in _indented_nodes(text):
        while path[-1][0] >= indent:
            last, _ = path.pop()
        siblings = path[-1][1].children
        if siblings and last != indent:
            raise ValueError("line %d: expected an indentation of %d, as of line %d, got %d"
                             % (node.line, last, siblings[0].line, indent))
        siblings.append(node)
        path.append((indent, node))
    return top.children


def _indented_nodes(text):
    for number, line in enumerate(text.splitlines(), 1):
        line = re.sub(r"(^|\s)#.*", "", line).rstrip()
        if not line:
            continue
        indent = len(line) - len(line.lstrip())
        if "\t" in line[:indent]:
            raise ValueError("line %d: expected spaces before %r, got a tab" % (number, line.strip()))
        name, height = re.match(r"(.*?)(?:\s*:\s*([0-9.eE+-]+))?$", line[indent:]).groups()
        if height is not None:
            height = _number(height, number, "a height above 0 after the colon", above=True)
        yield indent, Node(name, number, height)


def _number(text, line, expected, above=False):
    try:
        number = float(text)
    except ValueError:
        number = np.nan
    if not (0 < number < np.inf or number == 0 and not above):
        raise ValueError("line %d: expected %s, got %s" % (line, expected, text))
    return number


# Edges: a line `group,member` or `group,member,length of the branch` each, with or without a header.

def _parse_edges(text):
    nodes, parents = {}, {}
    for number, row in _edge_rows(text):
        group, member = [nodes.setdefault(name, Node(name, number)) for name in row[:2]]
        if member in parents:
            raise ValueError("line %d: expected every member in one group, got %s in %s and %s"
                             % (number, row[1], parents[member].name, row[0]))
        if len(row) == 3:
            member.length = _number(row[2], number, "a length of at least 0 in the third column")
        parents[member] = group
        group.children.append(member)
    in_order = sorted(nodes.values(), key=lambda node: node.line)
    roots = [node for node in in_order if node not in parents]
    reached = {node for root in roots for node in root.walk()}
    for node in in_order:
        if node not in reached:
            raise ValueError("line %d: expected a tree, got a group inside itself: %s" % (node.line, node.name))
    return roots


def _edge_rows(text):
    try:
        for number, row in enumerate(csv.reader(text.splitlines(), skipinitialspace=True), 1):
            row = [field.strip() for field in row]
            if not any(row) or row[0].startswith("#"):
                continue
            if number == 1 and [field.lower() for field in row[:2]] in (["parent", "child"], ["group", "member"]):
                continue
            if len(row) not in (2, 3) or not all(row):
                raise ValueError("line %d: expected group,member or group,member,length, got %d fields"
                                 % (number, len([field for field in row if field])))
            yield number, row
    except csv.Error as error:
        raise ValueError("expected group,member on each line, got something else: %s" % error)


# Newick: (A:1,(B:.5,'C d':.5)group:.5); names as they stand (an underscore stays one), [comments] left out.

_NEWICK = re.compile(r"\s+|\[[^\]]*\]|'(?P<quoted>(?:[^']|'')*)'|:\s*(?P<length>[^\s()\[\]',:;]+)"
                     r"|(?P<name>[^\s()\[\]',:;]+)|(?P<mark>[(),;])")


def _parse_newick(text):
    path, node, ended = [Node("", 0)], None, False  # path: the groups that are open; node: the one just complete
    for line, kind, token in _newick_tokens(text):
        inside = len(path) > 1
        if ended:
            raise _newick_error(line, token)
        if kind == "name" and node is None:
            node = Node(token, line)
            path[-1].children.append(node)
        elif kind == "name" and node.children and not node.name and node.length is None:
            node.name = token
        elif kind == "length" and node is not None and node.length is None:
            node.length = _number(token, line, "a length of at least 0 after ':'")
        elif kind == "(" and node is None:
            path.append(Node("", line))
            path[-2].children.append(path[-1])
        elif kind == ")" and node is not None and inside:
            node = path.pop()
        elif kind == "," and node is not None and inside:
            node = None
        elif kind == ";" and node is not None and not inside:
            ended = True
        else:
            raise _newick_error(line, token)
    return path[0].children


def _newick_error(line, token):
    return ValueError("line %d: expected a Newick tree such as (A,(B,C)group); got %r where it cannot be"
                      % (line, token))


def _newick_tokens(text):
    at, line = 0, 1
    while at < len(text):
        match = _NEWICK.match(text, at)
        if match is None:
            raise _newick_error(line, text[at:at + 20])
        kind = match.lastgroup
        if kind == "quoted":
            yield line, "name", match.group(kind).replace("''", "'")
        elif kind is not None:
            yield line, match.group() if kind == "mark" else kind, match.group(kind)
        at, line = match.end(), line + match.group().count("\n")
