"""Class trees: text that groups the classes, and the distances it implies."""
from __future__ import division, print_function

import re

import numpy as np


class Node(object):
    """A node of a class tree: a class (no children), or a group of nodes."""

    def __init__(self, name, indent, line, height=None):
        self.name = name
        self.indent = indent
        self.line = line
        self.given_height = height
        self.children = []

    def leaves(self):
        """The classes below this node, in the order of the text."""
        found, stack = [], [self]
        while stack:
            node = stack.pop()
            stack.extend(reversed(node.children))
            if not node.children:
                found.append(node)
        return found


def parse_tree(text):
    """The root of the class tree in `text`.

    Indentation makes the tree. A line without deeper lines below it is a class;
    any other is a group, and may give its height after a colon. A group that does
    not is 1 higher than its highest child; a class has height 0. A `#` at the
    start of a word starts a comment, empty lines do not count. One root, or several (then joined under a
    root of their own):

        garments: 3
          tops: 1
            T-shirt
            shirt
          bag

    text: str. Returns a Node.
    Raises ValueError, naming the line.
    """
    root = Node("(root)", -1, 0)
    path = [root]  # from the root to the last node read
    for node in _nodes(text):
        while path[-1].indent >= node.indent:
            path.pop()
        siblings = path[-1].children
        if siblings and siblings[0].indent != node.indent:
            raise ValueError("line %d: expected an indentation of %d, as of line %d, got %d"
                             % (node.line, siblings[0].indent, siblings[0].line, node.indent))
        siblings.append(node)
        path.append(node)
    if not root.children:
        raise ValueError("expected a class tree, got no classes")
    if len(root.children) == 1:
        root = root.children[0]
    _check_names(root)
    return root


def _nodes(text):
    for number, line in enumerate(text.splitlines(), 1):
        line = re.sub(r"(^|\s)#.*", "", line).rstrip()
        if not line:
            continue
        indent = len(line) - len(line.lstrip())
        if "\t" in line[:indent]:
            raise ValueError("line %d: expected spaces before %r, got a tab" % (number, line.strip()))
        name, height = re.match(r"(.*?)(?:\s*:\s*([0-9.eE+-]+))?$", line[indent:]).groups()
        yield Node(name, indent, number, _height(height, number))


def _height(text, line):
    if text is None:
        return None
    try:
        height = float(text)
    except ValueError:
        height = np.nan
    if not 0 < height < np.inf:
        raise ValueError("line %d: expected a height above 0 after the colon, got %s" % (line, text))
    return height


def _check_names(root):
    seen = {}
    for leaf in root.leaves():
        if leaf.given_height is not None:
            raise ValueError("line %d: expected a group, as only a group has a height, got the class %s"
                             % (leaf.line, leaf.name))
        if leaf.name in seen:
            raise ValueError("line %d: expected every class once, got %s again (first on line %d)"
                             % (leaf.line, leaf.name, seen[leaf.name]))
        seen[leaf.name] = leaf.line


def tree_costs(root, names=None):
    """D from a class tree: the height of the lowest common ancestor.

        D[i, j] = height of the smallest group that holds both i and j; D[i, i] = 0

    root: Node, as parse_tree gives it.
    names: the classes in the order of their labels; None: the order of the text.
    Returns (D, names): C x C float64, and the list of C names.
    Raises ValueError if the names are not those of the tree, or if a group is
    not higher than one inside it.
    """
    names = list(names) if names is not None else [leaf.name for leaf in root.leaves()]
    label = {name: i for i, name in enumerate(names)}
    _check_same_classes(root, names, label)
    D = np.zeros((len(names), len(names)))
    _fill(D, root, label)
    return D, names


def _fill(D, root, label):
    """Set the costs between the classes of every group, children first."""
    done = {}  # node -> (height, labels below it)
    order = [root]
    for node in order:
        order.extend(node.children)
    for node in reversed(order):
        if not node.children:
            done[node] = 0.0, [label[node.name]]
            continue
        below = [done.pop(child) for child in node.children]
        highest = max(height for height, _ in below)
        height = highest + 1 if node.given_height is None else node.given_height
        if height <= highest:
            raise ValueError("line %d: expected a height above %g, that of a group inside it, for %s, "
                             "got %g" % (node.line, highest, node.name, height))
        labels = []
        for _, more in below:
            D[np.ix_(labels, more)] = D[np.ix_(more, labels)] = height
            labels += more
        done[node] = height, labels


def _check_same_classes(root, names, label):
    if len(label) != len(names):
        raise ValueError("names: expected every class once, got %s twice"
                         % next(n for n in names if names.count(n) > 1))
    inside = {leaf.name for leaf in root.leaves()}
    for what, extra in (("the tree has no class", set(names) - inside),
                        ("the names lack the tree's class", inside - set(names))):
        if extra:
            raise ValueError("names: expected the classes of the tree, but %s %s"
                             % (what, ", ".join(sorted(extra))))
