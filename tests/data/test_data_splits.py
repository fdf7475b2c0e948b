"""Splits: disjoint, complete, no content on two sides, every class learnable."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthaug.data.splits import cut_held_out, make_splits
from synthaug.errors import DataError, UsageError

NAMES = ("ant", "bee", "cow", "dog")


def distinct(labels):
    return [f"content {i}" for i in range(len(labels))]


def split(labels, hashes=None, declared=None, **options):
    labels = np.asarray(labels)
    names = NAMES[: labels.max() + 1]
    declared = declared if declared is not None else [""] * len(labels)
    return make_splits(labels, hashes or distinct(labels), declared, class_names=names, **options)


@st.composite
def datasets(draw):
    """Labels and content hashes with copies inside a class; at least 3 distinct images a class."""
    labels, hashes = [], []
    for k in range(draw(st.integers(2, 4))):
        for image in range(draw(st.integers(3, 12))):
            copies = draw(st.integers(1, 4))
            labels += [k] * copies
            hashes += [f"{k}/{image}"] * copies
    # Content that two classes share.
    for shared in range(draw(st.integers(0, 3))):
        labels += [0, 1]
        hashes += [f"shared {shared}"] * 2
    order = draw(st.permutations(range(len(labels))))
    return np.array(labels)[order], [hashes[i] for i in order]


@settings(deadline=None)
@given(datasets(), st.floats(0.05, 0.6), st.integers(0, 2**32))
def test_cut_properties(data, fraction, seed):
    labels, hashes = data
    splits = split(labels, hashes, test_fraction=fraction, seed=seed)
    train, val, test = splits.train, splits.val, splits.test
    assert sorted([*train, *test]) == list(range(len(labels))) and len(val) == 0
    assert all(part.dtype == np.int64 and (np.diff(part) > 0).all() for part in (train, test))
    assert not {hashes[i] for i in train} & {hashes[i] for i in test}
    for k in np.unique(labels):
        assert len({hashes[i] for i in train if labels[i] == k}) >= 2
        assert (labels[test] == k).any()
    again = split(labels, hashes, test_fraction=fraction, seed=seed)
    assert (again.train == train).all() and (again.test == test).all()


@settings(deadline=None)
@given(datasets(), st.floats(0, 0.6), st.integers(0, 99))
def test_held_out_properties(data, fraction, seed):
    labels, hashes = data
    learn, held_out = cut_held_out(labels, hashes, fraction=fraction, seed=seed, min_class=7)
    assert sorted([*learn, *held_out]) == list(range(len(labels)))
    assert not {hashes[i] for i in learn} & {hashes[i] for i in held_out}
    for k, count in enumerate(np.bincount(labels)):
        assert (labels[learn] == k).any()
        assert (labels[held_out] == k).any() == (fraction > 0 and count >= 7)


def test_share_of_every_class():
    splits = split([0] * 100 + [1] * 10 + [2] * 3, test_fraction=0.2)
    labels = np.array([0] * 100 + [1] * 10 + [2] * 3)
    assert np.bincount(labels[splits.test]).tolist() == [20, 2, 1]
    assert np.bincount(labels[splits.train]).tolist() == [80, 8, 2]


def test_a_class_does_not_depend_on_the_others_nor_on_the_order_of_files():
    few = split([0] * 10 + [1] * 10)
    many = split([0] * 10 + [1] * 10 + [2] * 50)
    assert [i for i in many.test if i < 20] == few.test.tolist()
    labels = np.array([0] * 10 + [1] * 10)
    hashes = distinct(labels)
    turned = split(labels[::-1], hashes[::-1])
    assert {hashes[::-1][i] for i in turned.test} == {hashes[i] for i in few.test}


def test_seed_matters_and_the_held_out_cut_is_another_draw():
    labels = np.array([0] * 50 + [1] * 50)
    hashes = distinct(labels)
    assert split(labels, seed=0).test.tolist() != split(labels, seed=1).test.tolist()
    _, held_out = cut_held_out(labels, hashes, fraction=0.2, seed=0)
    assert held_out.tolist() != split(labels, seed=0, test_fraction=0.2).test.tolist()


def test_declared_splits_are_kept():
    declared = ["train"] * 4 + ["val", "test", "test", "val"]
    splits = split([0, 0, 1, 1, 0, 0, 1, 1], declared=declared)
    assert splits.train.tolist() == [0, 1, 2, 3]
    assert splits.val.tolist() == [4, 7] and splits.test.tolist() == [5, 6]
    assert splits.notices == ()


def test_row_35_leaks_leave_test_and_val_with_a_count():
    labels = [0, 0, 1, 1, 0, 1, 1, 0, 1, 0]
    declared = ["train"] * 4 + ["test"] * 3 + ["val"] * 3
    hashes = [*"abcd", *"aef", *"beg"]
    splits = split(labels, hashes, declared)
    assert splits.test.tolist() == [5, 6] and splits.val.tolist() == [9]
    assert splits.notices == (
        "1 test images left out: they also occur in train",
        "1 val images left out: they also occur in train",
        "1 val images left out: they also occur in test",
        "no test images of ant: no verdict on them is possible",
    )


def test_row_35_a_test_folder_of_copies_only():
    hashes = ["a", "b", "c", "d", "a"]
    with pytest.raises(DataError, match="no test image is left"):
        split([0, 0, 1, 1, 0], hashes, ["train"] * 4 + ["test"])


def test_row_36_one_image_under_two_labels_stays_in_train():
    hashes = ["same", "a", "b", "c", "same", "d", "e", "f"]
    splits = split([0] * 4 + [1] * 4, hashes)
    assert {0, 4} <= set(splits.train.tolist())
    assert splits.notices == ("1 images occur under more than one class",)


def test_train_and_val_without_test_gets_a_test_cut():
    labels = [0] * 10 + [1] * 10 + [0, 1]
    hashes = [*distinct([0] * 20), "content 3", "new"]
    splits = split(labels, hashes, ["train"] * 20 + ["val"] * 2)
    assert len(splits.test) == 4 and max(splits.test) < 20
    assert splits.val.tolist() == [21]


@pytest.mark.parametrize(("count", "left"), [(1, 1), (2, 1)])
def test_row_30_class_too_small(count, left):
    with pytest.raises(DataError) as caught:
        split([0] * 10 + [1] * count)
    message = str(caught.value)
    assert f"class 'bee' has too few distinct train images: {left}" in message
    assert "at least 2" in message and caught.value.remedy


def test_row_30_copies_are_not_distinct_images():
    with pytest.raises(DataError, match="train files: 5"):
        split([0] * 10 + [1] * 5, [*distinct([0] * 10), *["same"] * 5])


def test_row_31_class_without_readable_images():
    labels = np.array([0] * 5 + [2] * 5)
    with pytest.raises(DataError, match=r"'bee'.*images: 0"):
        make_splits(labels, distinct(labels), [""] * 10, class_names=NAMES[:3])


def test_row_29_a_single_class_may_be_split():
    splits = split([0] * 10)
    assert (len(splits.train), len(splits.test)) == (8, 2)


def test_row_29_a_class_of_which_nothing_is_left_is_named():
    with pytest.raises(DataError, match="class 'bee' has too few distinct train images: 0"):
        make_splits(np.zeros(5, int), distinct(range(5)), [""] * 5, class_names=NAMES[:2])
    with pytest.raises(DataError, match="class 'ant' has too few distinct train images: 0"):
        make_splits(np.zeros(0, int), [], [], class_names=NAMES[:2])


def test_row_101_untested_class_is_told():
    splits = split([0, 0, 1, 1, 0], declared=["train"] * 4 + ["test"])
    assert splits.notices == ("no test images of bee: no verdict on them is possible",)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_fractions_out_of_range(fraction):
    with pytest.raises(UsageError, match="between 0 and 1"):
        split([0] * 5 + [1] * 5, test_fraction=fraction)
    if fraction:
        with pytest.raises(UsageError, match="held-out"):
            cut_held_out(np.zeros(9, int), distinct(range(9)), fraction=fraction, seed=0)
