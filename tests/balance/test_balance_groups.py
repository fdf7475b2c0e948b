"""Shot groups, minorities and the imbalance ratio at their bounds."""

import numpy as np
import pytest

from synthaug.balance.groups import imbalance_ratio, minority_classes, shot_groups


def test_shot_groups_at_the_bounds():
    words = ["few", "few", "medium", "medium", "many"]
    assert shot_groups([1, 19, 20, 100, 101]) == words
    assert shot_groups(np.array([1, 19, 20, 100, 101])) == words


def test_minorities_are_strictly_below_the_share():
    minority = minority_classes([100, 50, 49, 1])
    assert minority.dtype == bool and minority.tolist() == [False, False, True, True]
    assert minority_classes([100, 50, 49, 1], below=1).tolist() == [False, True, True, True]


@pytest.mark.parametrize("below", [0, 0.5, 1])
def test_equal_classes_have_no_minority(below):
    assert not minority_classes([7, 7, 7], below).any()


def test_imbalance_ratio():
    assert imbalance_ratio([100, 5]) == 20
    assert imbalance_ratio([3, 3]) == 1
