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
    (["T-shirt", "pull over", "sandal", "bag", "bag"], "the names repeat bag"),
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


ANIMALS = [[0, 1, 2], [1, 0, 2], [2, 2, 0]]  # cat, dog, oak
FORMS = {
    "blanks": "animal cat\nanimal dog\nplant oak\nroot animal\nroot   plant",
    "tabs, child first": "cat\tanimal\ndog\tanimal\noak\tplant\nanimal\troot\nplant\troot",
    "semicolons": "animal;cat\nanimal;dog\nplant;oak\nroot;animal\nroot;plant\n",
    "commas": "animal, cat\nanimal, dog\nplant, oak\nroot, animal\nroot, plant\n",
    "bars": "animal|cat\nanimal|dog\nplant|oak\nroot|animal\nroot|plant\n",
    "arrows": "cat -> animal\ndog -> animal\noak -> plant\nanimal -> root\nplant->root",
    "arrows of Graphviz": '"root" -> "animal";\n"root" -> "plant";\n"animal" -> "cat";\n"animal" -> "dog";\n"plant" -> "oak";',
    "a header": "child parent\ncat animal\ndog animal\noak plant\nanimal root\nplant root",
    "lengths": "animal cat 1\nanimal dog 1\nplant oak 1\nroot animal 1\nroot plant 1",
    "paths": "cat,animal,root\ndog,animal,root\noak,plant,root",
    "paths from the root": "root\tanimal\tcat\nroot\tanimal\tdog\nroot\tplant\toak",
    "paths of arrows": "cat -> animal -> root\ndog -> animal -> root  # a comment\noak -> plant -> root",
    "lists": "animal: cat, dog\nplant: oak\nroot: animal, plant",
    "colons": "cat:animal\ndog:animal\noak:plant\nanimal:root\nplant:root",
    "aligned by tabs": "animal\t\tcat\nanimal\t\tdog\nplant\t\toak\nroot\t\tanimal\nroot\t\tplant",
    "slashes": "root/animal/cat\nroot/animal/dog\nroot/plant/oak",
    "greater than": "animal > cat\nanimal > dog\nplant > oak\nroot > animal\nroot > plant",
    "fat arrows": "animal => cat\nanimal => dog\nplant => oak\nroot => animal\nroot => plant",
    "a header of a graph": "source,target\nanimal,cat\nanimal,dog\nplant,oak\nroot,animal\nroot,plant",
    "a header of two levels": "fine_label,coarse_label\ncat,animal\ndog,animal\noak,plant",
    "a header of names": "Name\tSuperclass\ncat\tanimal\ndog\tanimal\noak\tplant\nanimal\troot\nplant\troot",
    "paths with a header": "class;parent;root\ncat;animal;all\ndog;animal;all\noak;plant;all",
}


@pytest.mark.parametrize("form", sorted(FORMS))
def test_edges_and_paths_of_any_form(form):
    D, names = tree_costs(parse_tree(FORMS[form]))
    order = [names.index(name) for name in ("cat", "dog", "oak")]
    np.testing.assert_array_equal(D[np.ix_(order, order)], ANIMALS)
    np.testing.assert_array_equal(tree_costs(parse_tree(FORMS[form]), ["oak", "cat", "dog"])[0],
                                  np.array(ANIMALS)[np.ix_([2, 0, 1], [2, 0, 1])])


def test_a_class_may_be_a_group():
    D, _ = tree_costs(parse_tree(FORMS["blanks"]), ["animal", "cat", "oak"])
    np.testing.assert_array_equal(D, [[0, 1, 2], [1, 0, 2], [2, 2, 0]])
    D, names = tree_costs(parse_tree("cat,animal,root\noak,plant,root\nanimal,root"))  # a class a line
    assert names == ["cat", "oak", "animal"]
    np.testing.assert_array_equal(D, [[0, 2, 1], [2, 0, 2], [1, 2, 0]])
    D, _ = tree_costs(parse_tree(TEXT), ["T-shirt", "pull over", "sandal", "bag", "tops"])
    assert D[:, 4].tolist() == [1, 1, 3, 3, 0]


def test_the_nearest_of_several_common_ancestors_counts():
    text = "animal cat\nanimal cow\npet cat\npet fish\nfood cow\nfood fish\nfood bread\nall animal\nall pet\nall food"
    D, names = tree_costs(parse_tree(text), ["cat", "cow", "fish", "bread"])
    np.testing.assert_array_equal(D, [[0, 1, 1, 2], [1, 0, 1, 1], [1, 1, 0, 1], [2, 1, 1, 0]])


def test_classes_out_of_a_larger_tree():
    """Some words of WordNet are classes; what holds none of them adds to no height."""
    text = FORMS["blanks"] + "\ncat tom\ntom tomcat\nroot stone\nplant tree\ntree oak2"
    D, _ = tree_costs(parse_tree(text), ["cat", "dog", "oak"])
    np.testing.assert_array_equal(D, ANIMALS)


def test_costs_of_a_graph_by_a_search():
    rng = np.random.RandomState(5)
    groups = {i: set(rng.choice(i, min(i, rng.randint(1, 3)), replace=False)) for i in range(1, 60)}
    members = {i: [j for j in groups if i in groups[j]] for i in range(60)}
    text = "\n".join("n%d n%d" % (group, i) for i in groups for group in groups[i])
    height = {}
    for i in reversed(range(60)):
        height[i] = max([height[j] + 1 for j in members[i]] or [0])

    def ancestors(i):
        return {i}.union(*[ancestors(group) for group in groups.get(i, ())])

    D, names = tree_costs(parse_tree(text))
    for a, name_a in enumerate(names):
        for b, name_b in enumerate(names):
            common = ancestors(int(name_a[1:])) & ancestors(int(name_b[1:]))
            assert D[a, b] == (0 if a == b else min(height[i] for i in common))


@pytest.mark.parametrize("text", ["cat\ndog\noak\n", "all\n cat\n dog\n oak", "all cat\nall dog\nall oak", "cat,all,x\ndog,all,x\noak,all,x",
                                  "big cat\nwild dog\nold oak"])
def test_all_classes_at_one_distance(text):
    with pytest.raises(ValueError, match="got one that puts all 3 at one distance; indent the members of a group below"):
        tree_costs(parse_tree(text))
