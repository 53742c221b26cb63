"""Class trees, read from text, and the distances they imply.

Indented text: a line without deeper lines below it is a class; any other is a group, and may state its height after a
colon. `#` at the start of a word starts a comment.

    garments: 3
      tops: 1
        T-shirt
        shirt
      bag

Edges: a .csv of lines `group,member` or `group,member,length of the branch`, with or without a header.
"""
from __future__ import division, print_function

import csv
import re

import numpy as np


class Node(object):
    """A node of a class tree: a class (no children), or a group of nodes."""

    def __init__(self, name, line, height=None):
        self.name, self.line, self.stated_height = name, line, height
        self.length = None  # of the branch to the group it is in; None: 1
        self.children = []

    def leaves(self):
        """Return the classes below this node, in the order of the text."""
        return [node for node in self.walk() if not node.children]

    def walk(self):
        """Yield this node and all below it, each before its children, in the order of the text."""
        stack = [self]
        while stack:
            node = stack.pop()
            stack.extend(reversed(node.children))
            yield node


def tree_costs(root, names=None):
    """Make D from a class tree: the height of the lowest common ancestor.

        D[i, j] = height of the smallest group that holds both i and j; D[i, i] = 0

    A class has height 0; a group the height stated for it, else the highest of its members' heights plus the length of
    the branch to them (1 where none is stated).

    root: Node, as parse_tree returns it. names: the classes in the order of their labels; None: that of the text.
    Returns (D, names): C x C float64, and the list of C names.
    Raises ValueError if the names are not those of the tree, or if a group is not higher than one inside it.
    """
    names = list(names) if names is not None else [leaf.name for leaf in root.leaves()]
    label = {name: i for i, name in enumerate(names)}
    _check_same_classes(root, names, label)
    D = np.zeros((len(names), len(names)))
    done = {}  # node -> (height, labels below it)
    for node in reversed(list(root.walk())):  # children first
        below = [done.pop(child) for child in node.children]
        height = _height(node, [height for height, _ in below]) if below else 0.0
        labels = [] if below else [label[node.name]]
        for _, more in below:
            D[np.ix_(labels, more)] = D[np.ix_(more, labels)] = height
            labels += more
        done[node] = height, labels
    return D, names


def _height(node, below):
    if node.stated_height is None:
        return max(height + (1 if child.length is None else child.length)
                   for height, child in zip(below, node.children))
    if node.stated_height <= max(below):
        raise ValueError("line %d: expected a height above %g, that of a group inside it, for %s, got %g"
                         % (node.line, max(below), node.name, node.stated_height))
    return node.stated_height


def _check_same_classes(root, names, label):
    if len(label) != len(names):
        raise ValueError("names: expected every class once, got %s twice"
                         % next(n for n in names if names.count(n) > 1))
    inside = {leaf.name for leaf in root.leaves()}
    for problem, classes in (("the tree has no class", set(names) - inside),
                             ("the names lack the tree's class", inside - set(names))):
        if classes:
            raise ValueError("names: expected the classes of the tree, but %s %s"
                             % (problem, ", ".join(sorted(classes))))


def parse_tree(text, edges=False):
    """Parse a class tree and return its root, a Node; several roots are joined under a new one.

    text: str. edges: bool, whether the text is a .csv of edges, not indented text. Raises ValueError, naming the line.
    """
    root = Node("(root)", 0)
    root.children = _parse_edges(text) if edges else _parse_indented(text)
    if not root.children:
        raise ValueError("expected a class tree, got no classes")
    if len(root.children) == 1:
        root = root.children[0]
    _check_nodes(root)
    return root


def _check_nodes(root):
    """Raise ValueError for a class that occurs twice, and for heights and lengths without a meaning."""
    seen = {}
    for leaf in root.leaves():
        if leaf.stated_height is not None:
            raise ValueError("line %d: expected a group, as only a group has a height, got the class %s"
                             % (leaf.line, leaf.name))
        if leaf.name in seen:
            raise ValueError("line %d: expected every class once, got %s again (first on line %d)"
                             % (leaf.line, leaf.name, seen[leaf.name]))
        seen[leaf.name] = leaf.line
    branches = [child for node in root.walk() for child in node.children]
    without = [child for child in branches if child.length is None]
    if 0 < len(without) < len(branches):
        raise ValueError("line %d: expected a length of the branch to %s, as others have one"
                         % (without[0].line, without[0].name))


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
        first = True
        for number, row in enumerate(csv.reader(text.splitlines(), skipinitialspace=True), 1):
            row = [field.strip() for field in row]
            if not any(row) or row[0].startswith("#"):
                continue
            names, first_row, first = [field.lower() for field in row[:2]], first, False
            if first_row and names in (["parent", "child"], ["group", "member"]):
                continue
            if len(row) not in (2, 3) or not all(row):
                raise ValueError("line %d: expected group,member or group,member,length, got %d fields"
                                 % (number, len([field for field in row if field])))
            yield number, row
    except csv.Error as error:
        raise ValueError("expected group,member on each line, got something else: %s" % error)
