"""Class trees in both forms of text, and the costs they imply."""
from __future__ import division, print_function

import re

import numpy as np
import pytest

from counts import examples
from caffe_losses.matrices.class_trees import parse_tree, tree_costs

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies

TEXT = """
garments: 3   # the root
  tops: 1
    T-shirt
    pull over

  shoes: 1
    sandal
  bag
"""


def test_heights_by_hand():
    D, names = tree_costs(parse_tree(TEXT))
    assert names == ["T-shirt", "pull over", "sandal", "bag"]
    np.testing.assert_array_equal(D, [[0, 1, 3, 3], [1, 0, 3, 3], [3, 3, 0, 3], [3, 3, 3, 0]])


def test_default_heights():
    D, names = tree_costs(parse_tree("a\n b\n  c\n  d\n e\n"))
    assert names == ["c", "d", "e"]
    np.testing.assert_array_equal(D, [[0, 1, 2], [1, 0, 2], [2, 2, 0]])


def test_order_of_the_labels():
    D, names = tree_costs(parse_tree(TEXT), ["bag", "T-shirt", "sandal", "pull over"])
    assert names == ["bag", "T-shirt", "sandal", "pull over"]
    np.testing.assert_array_equal(D, [[0, 3, 3, 3], [3, 0, 3, 1], [3, 3, 0, 3], [3, 1, 3, 0]])


def test_several_roots_join():
    D, names = tree_costs(parse_tree("cat\ndog\n"))
    assert names == ["cat", "dog"]
    np.testing.assert_array_equal(D, [[0, 1], [1, 0]])


def test_a_number_sign_in_a_name():
    assert tree_costs(parse_tree("lang # uages\n C\n C#\n#F\n"))[1] == ["C", "C#"]


def test_one_class():
    D, names = tree_costs(parse_tree("cat"))
    assert names == ["cat"] and D.tolist() == [[0]]


def test_against_a_walk_to_the_root():
    rng = np.random.RandomState(3)
    lines, parents = ["n0"], {0: None}
    depth = {0: 0}
    for i in range(1, 60):  # a random tree in depth-first order: below the last line or above
        last = i - 1
        for _ in range(rng.randint(0, depth[last] + 1)):
            if parents[last] is not None:
                last = parents[last]
        parents[i], depth[i] = last, depth[last] + 1
        lines.append("  " * depth[i] + "n%d" % i)
    height = [0] * 60
    for i in reversed(range(1, 60)):
        height[parents[i]] = max(height[parents[i]], height[i] + 1)

    def ancestors(i):
        while i is not None:
            yield i
            i = parents[i]

    D, names = tree_costs(parse_tree("\n".join(lines)))
    for a, name_a in enumerate(names):
        for b, name_b in enumerate(names):
            above = set(ancestors(int(name_a[1:])))
            common = next(n for n in ancestors(int(name_b[1:])) if n in above)
            assert D[a, b] == height[common]


def test_deep_tree_needs_no_deep_recursion():
    text = "\n".join(" " * i + "g%d" % i for i in range(3000)) + "\n" + " " * 2999 + "x"
    D, _ = tree_costs(parse_tree(text))
    assert D.shape == (2, 2) and D[0, 1] == 1


@pytest.mark.parametrize("text, message", [
    ("", "got no classes"),
    ("# nothing\n\n", "got no classes"),
    ("a\n  b\n  b\n", "line 3: expected every class once, got b again .first on line 2"),
    ("a\n  b\n c\n", "line 3: expected an indentation of 2, as of line 2, got 1"),
    ("a\n\tb\n", "line 2: expected spaces"),
    ("a: 0\n  b\n", "line 1: expected a height above 0"),
    ("a: 1e999\n  b\n", "line 1: expected a height above 0"),
    ("a: 1.2.3\n  b\n", "line 1: expected a height above 0"),
    ("a\n  b: 3\n", "line 2: expected a group, as only a group has a height, got the class b"),
    ("a: 1\n  b: 1\n    c\n    d\n", "line 1: expected a height above 1, that of a group inside it, for a"),
])
def test_bad_trees(text, message):
    with pytest.raises(ValueError, match=message):
        tree_costs(parse_tree(text))


@pytest.mark.parametrize("names, message", [
    (["T-shirt", "pull over", "sandal"], "the names lack the tree's class bag"),
    (["T-shirt", "pull over", "sandal", "bag", "hat"], "the tree has no class hat"),
    (["T-shirt", "pull over", "sandal", "bag", "bag"], "got bag twice"),
])
def test_names_must_be_the_classes(names, message):
    with pytest.raises(ValueError, match=message):
        tree_costs(parse_tree(TEXT), names)


EDGES = """# distances of clothes

parent,child,length
garments,tops,2
tops,T-shirt,1
# a comment
tops,pull over,1
garments,shoes,2

shoes,sandal,1
garments,"bag",3
"""


def test_edges_give_the_tree_of_the_indented_text():
    expected, names = tree_costs(parse_tree(TEXT))
    D, names_of_edges = tree_costs(parse_tree(EDGES, edges=True))
    assert names_of_edges == names
    np.testing.assert_array_equal(D, expected)


def test_lengths_of_branches_by_hand():
    # heights: (A,B) 2, C 0 with a branch of 5, the root max(2 + 1, 5)
    D, names = tree_costs(parse_tree("r,g,1\ng,A,.5\ng,B,2\nr,C,5", edges=True))
    assert names == ["A", "B", "C"]
    np.testing.assert_array_equal(D, [[0, 2, 5], [2, 0, 5], [5, 5, 0]])
    D, _ = tree_costs(parse_tree("r,g\ng,A\ng,B\nr,C", edges=True))  # without lengths every branch is 1
    np.testing.assert_array_equal(D, [[0, 1, 2], [1, 0, 2], [2, 2, 0]])


def test_several_roots_of_edges_join():
    D, names = tree_costs(parse_tree("tops,shirt\nshoes,boot\ntops,vest", edges=True))
    assert names == ["shirt", "vest", "boot"]
    np.testing.assert_array_equal(D, [[0, 1, 2], [1, 0, 2], [2, 2, 0]])


@pytest.mark.parametrize("text, message", [
    ("", "got no classes"),
    ("a", "line 1: expected group,member or group,member,length, got a"),
    ("a,b\nc", "line 2: expected group,member or group,member,length, got c"),
    ("a,", "line 1: expected a name in each column, got a,"),
    ("r,a\na,b\nb,c\nc,a", "line 1: expected a tree, got a group inside itself: a"),
    ("a,b\nb,a", "line 1: expected a tree, got a group inside itself: a"),
    ("r,x\na,b\nb,c\nc,a", "line 2: expected a tree, got a group inside itself: a"),
    ("a,a", "inside itself"),
    ("a,b,-1", "line 1: expected a length of at least 0 in the third column, got -1"),
    ("a,b,1\na,c", "line 2: expected a length of the branch to c"),
    ('a,"b', None),
    ("a,b\x00", None),
])
def test_bad_edges(text, message):
    try:
        tree_costs(parse_tree(text, edges=True))
    except ValueError as error:
        assert message is None or re.search(message, str(error)), error
    else:
        assert message is None


@hypothesis.settings(max_examples=examples(500))
@hypothesis.given(st.text(alphabet="(),:;'[]ab1.#\n \t\"", max_size=40), st.booleans())
def test_any_text(text, edges):
    try:
        D, names = tree_costs(parse_tree(str(text), edges))
    except ValueError:
        return
    assert D.shape == (len(names), len(names)) and np.isfinite(D).all() and not D.diagonal().any()
