"""Class trees, and the distances they imply."""
from __future__ import division, print_function

import numpy as np


class Node(object):
    """A node of a class tree: a class (no children), or a group of nodes."""

    def __init__(self, name, line, height=None, length=None):
        self.name = name
        self.line = line
        self.given_height = height
        self.length = length  # of the branch to the group it is in; None: 1
        self.children = []

    def leaves(self):
        """The classes below this node, in the order of the text."""
        return [node for node in self.walk() if not node.children]

    def walk(self):
        """This node and all below it, each before its children, in the order of the text."""
        stack = [self]
        while stack:
            node = stack.pop()
            stack.extend(reversed(node.children))
            yield node


def tree_costs(root, names=None):
    """D from a class tree: the height of the lowest common ancestor.

        D[i, j] = height of the smallest group that holds both i and j; D[i, i] = 0

    A class has height 0; a group the height it was given, else the highest of its
    members' heights plus the length of the branch to them (1 if none is given).

    root: Node, as tree_text.parse_tree gives it.
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
    for node in reversed(list(root.walk())):
        if not node.children:
            done[node] = 0.0, [label[node.name]]
            continue
        below = [done.pop(child) for child in node.children]
        height = _height(node, [height for height, _ in below])
        labels = []
        for _, more in below:
            D[np.ix_(labels, more)] = D[np.ix_(more, labels)] = height
            labels += more
        done[node] = height, labels


def _height(node, below):
    if node.given_height is None:
        return max(height + (1 if child.length is None else child.length)
                   for height, child in zip(below, node.children))
    if node.given_height <= max(below):
        raise ValueError("line %d: expected a height above %g, that of a group inside it, for %s, got %g"
                         % (node.line, max(below), node.name, node.given_height))
    return node.given_height


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
