"""Labels counted and checked, and how an error names the first bad entry."""
from __future__ import division, print_function

import numpy as np
import pytest

from caffe_losses.validation import check_square, count_labels, label_index, refuse

pytestmark = pytest.mark.filterwarnings("error")


def test_count_labels():
    labels = np.array([[[0, 2], [2, 255]]], np.float32)
    np.testing.assert_array_equal(count_labels(labels, 3, ignore_label=255), [1, 0, 2])
    np.testing.assert_array_equal(count_labels(np.zeros((0,)), 3), [0, 0, 0])
    np.testing.assert_array_equal(count_labels(np.array([1, -1.]), 2, ignore_label=-1), [0, 1])
    np.testing.assert_array_equal(count_labels([1, 0, 1], 2), [1, 2])


@pytest.mark.parametrize("bad", [-1, 3, 255, .5, np.nan, np.inf, -np.inf, 1e10, 1e30])
def test_bad_label_is_named(bad):
    labels = np.array([[0, 1], [bad, -7]], np.float32)
    with pytest.raises(ValueError, match=r"label at \(1, 0\): expected a whole number 0\.\.2, got"):
        count_labels(labels, 3)
    with pytest.raises(ValueError, match="or ignore_label 9, got"):
        count_labels(labels, 3, ignore_label=9)


def test_ignore_label_inside_the_classes():
    np.testing.assert_array_equal(count_labels([0, 1, 1, 2], 3, ignore_label=1), [1, 0, 1])


def test_label_index():
    index, valid = label_index(np.array([[2., 7], [0, 1]]), 3, ignore_label=7)
    assert index.tolist() == [[2, 0], [0, 1]] and valid.tolist() == [[True, False], [True, True]]
    index, valid = label_index(np.array([2., 1]), 3, ignore_label=7)
    assert index.tolist() == [2, 1] and index.dtype == np.intp and valid is None


def test_the_first_bad_entry_is_named():
    array = np.array([[1, 2], [-3, -4.5]])
    refuse(array, array > 9, "array", "a small number")
    with pytest.raises(ValueError, match=r"^array at \(1, 0\): expected a number of at least 0, got -3$"):
        refuse(array, array < 0, "array", "a number of at least 0")
    with pytest.raises(ValueError, match=r"^x at \(outer, class\) = \(1, 1\): expected more, got -4.5$"):
        refuse(array, array < -4, "x", "more", "outer, class")


@pytest.mark.parametrize("matrix, message", [
    (np.zeros((2, 3)), "M: expected a square matrix, got shape 2 x 3"),
    (np.zeros((0, 0)), "M: expected a square matrix, got shape 0 x 0"),
    (3, r"M: expected a square matrix, got shape \(\)"),
    ([["a"]], "M: expected numbers, got .*1"),
    ([[1, np.nan], [np.inf, 0]], r"M at \(0, 1\): expected a finite number, got nan"),
])
def test_what_is_no_square_matrix(matrix, message):
    with pytest.raises(ValueError, match="^%s$" % message):
        check_square(np.array(matrix), "M")


def test_square_matrix():
    assert check_square([[1, 2], [3, 4]], "M").tolist() == [[1, 2], [3, 4]]
