"""Class trees, read from text, and the distances they imply.

Indented text: a line without deeper lines below it is a class; any other is a group, and may state its height after a
colon. `#` at the start of a word starts a comment.

    garments: 3
      tops: 1
        T-shirt
        shirt
      bag

Edges: lines `group member` or `group member length`, the length of the branch; or all of them `member group`. Lists:
lines `group: member, member`. Paths: a class a line, before (or all after) its ancestors, `T-shirt,tops,garments`. The
columns of edges and paths are separated by any of _SEPARATORS, with or without a header. A member may be in several
groups; a group that `names` has, or that a path begins with, is a class too.
"""
from __future__ import division, print_function

import collections
import csv
import re

import numpy as np

_SEPARATORS = ("->", "=>", "\t", ";", ",", "|", ">", "<", "=", "/", None)  # None: blanks
# The words of headers: of a column of members, and of any other.
_MEMBER = frozenset("child class fine hyponym label member name species subclass target to".split())
_HEADER = _MEMBER.union("ancestor ancestors category coarse family from genus group height hypernym id length level "
                        "order parent root source superclass weight".split())
_LIST = re.compile(r"([^:]+):(?!\s*[-+0-9.eE]+$)([^:]+)$")


class Node(object):
    """A node of a class tree: a class (no children), or a group of nodes, which may be a class as well.

    children: {Node: length of the branch to it, None: 1}, in the order of the text.
    """

    def __init__(self, name, line, height=None):
        self.name, self.line, self.stated_height = name, line, height
        self.children = collections.OrderedDict()


class Tree(object):
    """A class tree.

    nodes: each after its children. classes: the names of the classes in the order of the text.
    is_whole: whether the names of all classes must be given, if any are; else some may be left out.
    """

    def __init__(self, root, classes=None, is_whole=True):
        self.nodes = _children_first([root])
        self.classes = classes or [node.name for node in self.nodes if not node.children]
        self.is_whole = is_whole


def _children_first(roots):
    """Return the nodes of some trees, each after its children. Raises ValueError if a group is inside itself."""
    ordered, path, stack = collections.OrderedDict(), collections.OrderedDict(), [iter(roots)]
    while stack:
        node = next(stack[-1], None)
        if node is None:
            stack.pop()
            if path:
                ordered[path.popitem()[0]] = None
        elif node in path:
            raise ValueError("line %d: expected a tree, got a group inside itself: %s" % (node.line, node.name))
        elif node not in ordered:
            path[node] = None
            stack.append(iter(node.children))
    return list(ordered)


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
    _check_classes(tree, names)
    label = {name: i for i, name in enumerate(names)}
    heights, labels = {}, {}  # of each node, and in it
    for node in tree.nodes:
        members = [child for child in node.children if labels[child]]  # what holds no class counts for nothing
        heights[node] = _height(node, members, heights)
        labels[node] = set().union([label[node.name]] if node.name in label else [], *map(labels.get, members))
    D = np.zeros((len(names), len(names)))
    for node in sorted(tree.nodes, key=heights.get, reverse=True):  # the lowest common ancestor comes last
        at = list(labels[node])
        D[np.ix_(at, at)] = heights[node]
    np.fill_diagonal(D, 0)
    _check_distances(D)
    return D, names


def _height(node, members, heights):
    if not members:
        return 0.0
    if node.stated_height is None:
        return max(heights[child] + (1 if node.children[child] is None else node.children[child]) for child in members)
    highest = max(heights[child] for child in members)
    if node.stated_height <= highest:
        raise ValueError("line %d: expected a height above %g, that of a group inside it, for %s, got %g"
                         % (node.line, highest, node.name, node.stated_height))
    return node.stated_height


def _check_classes(tree, names):
    n_named, n_nodes = collections.Counter(names), collections.Counter(node.name for node in tree.nodes)
    left_out = set(tree.classes).difference(names) if tree.is_whole else ()
    for problem, classes in (("the names repeat", [name for name in n_named if n_named[name] > 1]),
                             ("the tree has no class", set(names).difference(n_nodes)),
                             ("the names lack the tree's class", left_out),
                             ("the tree has several nodes", [name for name in n_named if n_nodes[name] > 1])):
        if classes:
            raise ValueError("names: expected the classes of the tree, but %s %s%s"
                             % (problem, ", ".join(sorted(classes)[:10]), ", ..." * (len(classes) > 10)))


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
    first = {}
    for leaf in nodes:
        if leaf.children:
            continue
        if leaf.stated_height is not None:
            raise ValueError("line %d: expected a group, as only a group has a height, got the class %s"
                             % (leaf.line, leaf.name))
        if first.setdefault(leaf.name, leaf) is not leaf:
            raise ValueError("line %d: expected every class once, got %s again (first on line %d)"
                             % (leaf.line, leaf.name, first[leaf.name].line))
    branches = [branch for node in nodes if node.line for branch in node.children.items()]
    without = [child for child, length in branches if length is None]
    if 0 < len(without) < len(branches):
        raise ValueError("line %d: expected a length of the branch to %s, as others have one"
                         % (without[0].line, without[0].name))


def _parse_indented(lines):
    top = Node("", 0)
    path = [(-1, top)]  # indentation and node, from the root to the last node read
    for number, line in lines:
        indent = len(line) - len(line.lstrip())
        if "\t" in line[:indent]:
            raise ValueError("line %d: expected spaces before %r, got a tab" % (number, line.strip()))
        name, height = re.match(r"(.*?)(?:\s*:\s*([0-9.eE+-]+))?$", line[indent:]).groups()
        node = Node(name, number, height and _number(height))
        if height and not 0 < node.stated_height < np.inf:
            raise ValueError("line %d: expected a height above 0 after the colon, got %s" % (number, height))
        while path[-1][0] >= indent:
            last, _ = path.pop()
        siblings = path[-1][1].children
        if siblings and last != indent:
            raise ValueError("line %d: expected an indentation of %d, as of line %d, got %d"
                             % (number, last, next(iter(siblings)).line, indent))
        siblings[node] = None
        path.append((indent, node))
    return list(top.children)


def _rows(lines):
    """Return (line number, fields) of each line of edges or paths, none where the lines have no columns."""
    lines = [(number, re.sub("\t+", "\t", line)) for number, line in lines]
    lists = [(number, _LIST.match(line)) for number, line in lines]
    if all(match for _, match in lists):
        rows = [(number, [match.group(1), member]) for number, match in lists for member in match.group(2).split(",")]
    else:
        separators = [separator for separator in _SEPARATORS
                      if all(len(line.split(separator)) > 1 for _, line in lines)]
        rows = [(number, _fields(line, separators[0])) for number, line in lines if separators]
    rows = [(number, [field.strip() for field in fields]) for number, fields in rows]
    for number, fields in rows:
        if not all(fields):
            raise ValueError("line %d: expected a name in each column, got %s" % (number, ",".join(fields)))
    return rows


def _fields(line, separator):
    if separator is None or len(separator) > 1:
        return [field.strip().rstrip(";").strip('"') for field in line.split(separator)]
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True))
    except csv.Error as error:
        raise ValueError("expected group,member on each line, got something else: %s" % error)


def _parse_rows(rows):
    """Return (roots, names of the classes or None) of rows of edges or paths."""
    header = [set(re.findall("[a-z]+", name.lower())) for name in rows[0][1]]
    has_header = len(header) > 1 and all(words and _HEADER.issuperset(words) for words in header)
    rows = rows[has_header:]
    if all(len(row) == 2 or len(row) == 3 and not np.isnan(_number(row[2])) for _, row in rows):
        first_is_member, second_is_member = [bool(words & _MEMBER) for words in header[:2]]
        is_told = has_header and first_is_member != second_is_member
        return _parse_edges(rows, first_is_member if is_told else None), None
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
    nodes, members = collections.OrderedDict(), set()
    for number, row in rows:
        pair = row[1::-1] if member_first else row[:2]
        group, member = [nodes.setdefault(name, Node(name, number)) for name in pair]
        length = _number(row[2]) if len(row) > 2 else None
        if length is not None and not 0 <= length < np.inf:
            raise ValueError("line %d: expected a length of at least 0 in the third column, got %s" % (number, row[2]))
        group.children[member] = length
        members.add(member)
    _children_first(nodes.values())  # also of those that no root holds, as they are in a circle
    return [node for node in nodes.values() if node not in members]


def _number(text):
    """Return text as a number, NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return np.nan
