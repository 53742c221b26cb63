"""Class trees, read from text, and the distances they imply.

Indented text: a line without deeper lines below it is a class; any other is a group, and may state its height after a
colon. `#` at the start of a word starts a comment.

    garments: 3
      tops: 1
        T-shirt
        shirt
      bag

Edges: lines `group member` or `group member length`, the length of the branch; or all of them `member group`. Paths: a
class a line, before (or all after) its ancestors, `T-shirt,tops,garments`. Both with `->`, tabs, `;`, `,`, `|` or
blanks between the columns, with or without a header. A member may be in several groups; a group that `names` has, or
that a path begins with, is a class too.
"""
from __future__ import division, print_function

import collections
import csv
import re

import numpy as np


_HEADER = frozenset(("parent", "group", "child", "member", "class", "ancestor", "ancestors", "root", "length"))
_SEPARATORS = ("->", "\t", ";", ",", "|", None)  # None: blanks


class Node(object):
    """A node of a class tree: a class (no children), or a group of nodes, which may be a class as well.

    children: {Node: length of the branch to it, None: 1}, in the order of the text.
    """

    def __init__(self, name, line, height=None):
        self.name, self.line, self.stated_height = name, line, height
        self.children = collections.OrderedDict()


class Tree(object):
    """A class tree. root: Node. classes: the names of the classes in the order of the text.

    is_whole: whether the names of all classes must be given, if any are; else some may be left out.
    """

    def __init__(self, root, classes=None, is_whole=True):
        self.nodes = _ordered(root)
        self.classes = classes or [node.name for node in self.nodes if not node.children]
        self.is_whole = is_whole


def _ordered(root):
    """Return the nodes of a tree, each before its children. Raises ValueError if a group is inside itself."""
    n_groups = collections.Counter(child for node in _reached([root]) for child in node.children)
    nodes, stack = [], [root] * (not n_groups[root])
    while stack:
        nodes.append(stack.pop())
        for child in reversed(nodes[-1].children):
            n_groups[child] -= 1
            if not n_groups[child]:
                stack.append(child)
    left = [node for node in n_groups if n_groups[node]]  # in a circle, or below one
    if left:
        above = left[:1]
        while above[-1] not in above[:-1]:
            above.append(next(group for group in left if above[-1] in group.children))
        node = min(above[above.index(above[-1]):], key=lambda node: (node.line, node.name))
        raise ValueError("line %d: expected a tree, got a group inside itself: %s" % (node.line, node.name))
    return nodes


def _reached(nodes):
    """Return the set of the nodes and all below them."""
    reached, stack = set(nodes), list(nodes)
    while stack:
        new = [child for child in stack.pop().children if child not in reached]
        reached.update(new)
        stack += new
    return reached


def tree_costs(tree, names=None):
    """Make D from a class tree: the height of the lowest common ancestor.

        D[i, j] = height of the smallest group that holds both i and j, or is one of them; D[i, i] = 0

    A class without members has height 0; a group the height stated for it, else the highest of its members' heights
    plus the length of the branch to them (1 where none is stated).

    tree: Tree. names: the classes in the order of their labels; None: that of the text.
    Returns (D, names): C x C float64, and the list of C names.
    Raises ValueError if the names are not those of the tree, if a group is not higher than one inside it, or if all
    distances are the same.
    """
    names = list(names if names is not None else tree.classes)
    label = {name: i for i, name in enumerate(names)}
    _check_classes(tree, names, label)
    D = np.full((len(names), len(names)), np.inf)
    np.fill_diagonal(D, 0)
    n_groups = collections.Counter(child for node in tree.nodes for child in node.children)
    is_tree = not n_groups or max(n_groups.values()) == 1
    done = {}  # node -> (height, labels in it)
    for node in reversed(tree.nodes):  # children first
        labels, members = [label[node.name]] if node.name in label else [], []
        for child, length in node.children.items():
            n_groups[child] -= 1
            height, below = done[child] if n_groups[child] else done.pop(child)
            if below:  # what holds no class counts for nothing
                members.append((height, 1 if length is None else length, below))
        height = _height(node, members) if members else 0.0
        for _, _, below in members:
            if labels:
                for at in (np.ix_(labels, below), np.ix_(below, labels)):
                    D[at] = height if is_tree else np.minimum(D[at], height)
            labels += below if is_tree else sorted(set(below) - set(labels))
        done[node] = height, labels
    _check_distances(D)
    return D, names


def _height(node, members):
    if node.stated_height is None:
        return max(height + length for height, length, _ in members)
    highest = max(height for height, _, _ in members)
    if node.stated_height <= highest:
        raise ValueError("line %d: expected a height above %g, that of a group inside it, for %s, got %g"
                         % (node.line, highest, node.name, node.stated_height))
    return node.stated_height


def _check_classes(tree, names, label):
    if len(label) != len(names):
        raise ValueError("names: expected every class once, got %s twice"
                         % next(n for n in names if names.count(n) > 1))
    left_out = set(tree.classes) - set(names) if tree.is_whole else ()
    for problem, classes in (("the tree has no class", set(names) - set(node.name for node in tree.nodes)),
                             ("the names lack the tree's class", left_out)):
        if classes:
            raise ValueError("names: expected the classes of the tree, but %s %s%s"
                             % (problem, ", ".join(sorted(classes)[:10]), ", ..." * (len(classes) > 10)))
    repeated = [name for name, n in collections.Counter(node.name for node in tree.nodes).items()
                if n > 1 and name in label]
    if repeated:
        raise ValueError("names: expected a class that is one node of the tree, got %s" % sorted(repeated)[0])


def _check_distances(D):
    distances = D[~np.eye(len(D), dtype=bool)]
    if len(D) > 2 and distances.min() == distances.max():
        raise ValueError("expected a tree in which some classes are nearer to each other than to others, got one that "
                         "puts all %d at one distance; indent the members of a group below it, or give a group and a "
                         "member on each line" % len(D))


def parse_tree(text, edges=False):
    """Parse a class tree and return it as a Tree; several roots are joined under a new one.

    text: str. edges: bool, whether the text has edges or paths even where lines begin with blanks, as a .csv may have;
    else it is indented text if any line does. Raises ValueError, naming the line.
    """
    lines = [(number, re.sub(r"(^|\s)#.*", "", line).rstrip()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line.strip()]
    is_indented = not edges and any(line[0].isspace() for _, line in lines)
    rows = [] if is_indented else _rows(lines)
    if edges and lines and not rows:
        raise ValueError("line %d: expected group,member or group,member,length, got %s"
                         % next(((number, line) for number, line in lines if "," not in line), lines[0]))
    roots, classes = _parse_rows(rows) if rows else (_parse_indented(lines), None)
    if not roots:
        raise ValueError("expected a class tree, got no classes")
    root = roots[0]
    if len(roots) > 1:
        root = Node("", 0)
        root.children.update((node, None) for node in roots)
    tree = Tree(root, classes, not rows)
    _check_nodes(tree.nodes)
    return tree


def _check_nodes(nodes):
    """Raise ValueError for a class that occurs twice, and for heights and lengths without a meaning."""
    seen = {}
    for leaf in nodes:
        if leaf.children:
            continue
        if leaf.stated_height is not None:
            raise ValueError("line %d: expected a group, as only a group has a height, got the class %s"
                             % (leaf.line, leaf.name))
        if leaf.name in seen:
            raise ValueError("line %d: expected every class once, got %s again (first on line %d)"
                             % (leaf.line, leaf.name, seen[leaf.name]))
        seen[leaf.name] = leaf.line
    branches = [branch for node in nodes if node.line for branch in node.children.items()]
    without = [child for child, length in branches if length is None]
    if 0 < len(without) < len(branches):
        raise ValueError("line %d: expected a length of the branch to %s, as others have one"
                         % (without[0].line, without[0].name))


def _parse_indented(lines):
    top = Node("", 0)
    path = [(-1, top)]  # indentation and node, from the root to the last node read
    for indent, node in _indented_nodes(lines):
        while path[-1][0] >= indent:
            last, _ = path.pop()
        siblings = path[-1][1].children
        if siblings and last != indent:
            raise ValueError("line %d: expected an indentation of %d, as of line %d, got %d"
                             % (node.line, last, next(iter(siblings)).line, indent))
        siblings[node] = None
        path.append((indent, node))
    return list(top.children)


def _indented_nodes(lines):
    for number, line in lines:
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


def _rows(lines):
    """Return (line number, fields) of each line of edges or paths, none where the lines have no columns."""
    separator = next((separator for separator in _SEPARATORS
                      if all(len(line.split(separator)) > 1 for _, line in lines)), "")
    if separator == "" or not lines:
        return []
    rows = []
    for number, line in lines:
        row = _fields(line, separator)
        if not all(row):
            raise ValueError("line %d: expected a name in each column, got %s" % (number, line))
        rows.append((number, row))
    return rows


def _fields(line, separator):
    if separator in (None, "->"):
        return [field.strip().rstrip(";").strip('"') for field in line.split(separator)]
    try:
        return [field.strip() for field in next(csv.reader([line], delimiter=separator, skipinitialspace=True))]
    except csv.Error as error:
        raise ValueError("expected group,member on each line, got something else: %s" % error)


def _parse_rows(rows):
    """Return (roots, names of the classes or None) of rows of edges or paths."""
    header = [name.lower() for name in rows[0][1]]
    has_header = len(header) > 1 and _HEADER.issuperset(header)
    rows = rows[has_header:]
    if all(len(row) == 2 or len(row) == 3 and _is_number(row[2]) for _, row in rows):
        member_first = has_header and header[0] in ("child", "member", "class")
        return _parse_edges(rows, member_first if has_header else None), None
    firsts, lasts = [set(row[i] for _, row in rows) for i in (0, -1)]
    if len(lasts) > len(firsts):  # from the root down
        rows = [(number, row[::-1]) for number, row in rows]
    edges = [(number, list(pair)) for number, row in rows for pair in zip(row, row[1:])]
    return _parse_edges(edges, True), list(collections.OrderedDict((row[0], None) for _, row in rows))


def _parse_edges(rows, member_first):
    """Return the roots. member_first: whether a row is member, group; None: whichever gives the fewer roots."""
    if member_first is None:
        firsts, seconds = [set(row[i] for _, row in rows) for i in (0, 1)]
        member_first = len(firsts - seconds) > len(seconds - firsts)
    nodes, members = {}, set()
    for number, row in rows:
        pair = row[1::-1] if member_first else row[:2]
        group, member = [nodes.setdefault(name, Node(name, number)) for name in pair]
        group.children[member] = None if len(row) == 2 else _number(
            row[2], number, "a length of at least 0 in the third column")
        members.add(member)
    in_order = sorted(nodes.values(), key=lambda node: node.line)
    roots = [node for node in in_order if node not in members]
    reached = _reached(roots)
    for node in in_order:
        if node not in reached:  # in a circle
            roots.append(node)
            reached |= _reached([node])
    return roots


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True
