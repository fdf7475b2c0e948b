"""Splits: disjoint, complete, no content on two sides, every class learnable."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthaug.data.duplicates import components, links, near_duplicates
from synthaug.data.splits import Splits, cut_held_out, make_splits
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
        "1 test image left out: it also occurs in train",
        "1 val image left out: it also occurs in train",
        "1 val image left out: it also occurs in test",
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
    assert splits.notices == ("1 image occurs under more than one class",)


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


def joined(hashes, together):
    """Components by brute force: a set of positions for each image."""
    sets = [{i} for i in range(len(hashes))]
    for i in range(len(hashes)):
        for j in range(i):
            if hashes[i] == hashes[j] or together[i] == together[j]:
                union = sets[i] | sets[j]
                for k in union:
                    sets[k] = union
    return sets


@st.composite
def grouped(draw):
    """A dataset of `datasets` whose images belong to groups, some of them of several classes."""
    labels, hashes = draw(datasets())
    n = len(labels)
    numbers = draw(st.lists(st.integers(0, draw(st.integers(1, 2 * n))), min_size=n, max_size=n))
    return labels, hashes, np.array(numbers)


@settings(deadline=None, derandomize=True)
@given(grouped(), st.floats(0.05, 0.6), st.integers(0, 99))
def test_row_38_grouped_cut_properties(data, fraction, seed):
    labels, hashes, together = data
    sets = joined(hashes, together)

    def distinct_of(positions, k):
        return len({hashes[i] for i in positions if labels[i] == k})

    everything = range(len(labels))
    try:
        splits = split(labels, hashes, together=together, test_fraction=fraction, seed=seed)
    except DataError as error:
        assert "no group is divided" in str(error)
        for part in sets:
            (k, *others) = {labels[i] for i in part}
            assert others or 2 * distinct_of(part, k) > distinct_of(everything, k)
        return
    train, test = set(splits.train.tolist()), set(splits.test.tolist())
    assert not train & test and train | test == set(everything)
    assert all(part <= train or part <= test for part in sets)
    assert splits.crossings == ()
    for k, n in enumerate(np.bincount(labels)):
        assert distinct_of(train, k) >= 2
        got = sum(labels[i] == k for i in test)
        quota = max(1, round(fraction * n))
        assert got <= 2 * quota or 2 * distinct_of(test, k) <= distinct_of(everything, k)
        groups = len({min(sets[i]) for i in everything if labels[i] == k})
        off = not got or abs(got - quota) > max(1, quota / 2)
        told = any(text.startswith(f"{got} test images of {NAMES[k]} ") for text in splits.notices)
        assert told == (off and groups < n)

    turned = np.random.default_rng(seed).permutation(len(labels))
    again = split(
        labels[turned], [hashes[i] for i in turned],
        together=together[turned], test_fraction=fraction, seed=seed,
    )  # fmt: skip
    assert set(turned[again.test].tolist()) == test


@settings(deadline=None, derandomize=True)
@given(grouped(), st.floats(0.05, 0.6))
def test_row_38_grouped_held_out_properties(data, fraction):
    labels, hashes, together = data
    learn, held_out = cut_held_out(
        labels, hashes, fraction=fraction, seed=1, min_class=9, together=together
    )
    assert sorted([*learn, *held_out]) == list(range(len(labels)))
    assert all(part <= set(learn) or part <= set(held_out) for part in joined(hashes, together))
    for k, n in enumerate(np.bincount(labels)):
        assert len({hashes[i] for i in learn if labels[i] == k}) >= 2
        assert n >= 9 or not (labels[held_out] == k).any()


@settings(deadline=None, derandomize=True)
@given(datasets(), st.floats(0.05, 0.6), st.integers(0, 99))
def test_groups_of_one_change_nothing(data, fraction, seed):
    labels, hashes = data
    alone = np.arange(len(labels)) + 7
    plain = split(labels, hashes, test_fraction=fraction, seed=seed)
    grouped_splits = split(labels, hashes, test_fraction=fraction, seed=seed, together=alone)
    assert plain.test.tolist() == grouped_splits.test.tolist()
    learn, _ = cut_held_out(labels, hashes, fraction=fraction, seed=seed)
    again, _ = cut_held_out(labels, hashes, fraction=fraction, seed=seed, together=alone)
    assert learn.tolist() == again.tolist()


def test_cuts_stay_as_they_were():
    """An old run that is repeated must be tested on the same images."""
    labels = np.array([0] * 12 + [1] * 7)
    assert split(labels, seed=3, test_fraction=0.3).test.tolist() == [5, 8, 9, 10, 13, 14]
    _, held_out = cut_held_out(labels, distinct(labels), fraction=0.3, seed=3)
    assert held_out.tolist() == [4, 7, 9, 11, 16, 17]


def test_row_38_no_patient_is_on_two_sides():
    patients = [f"p{i // 5}" for i in range(100)] + ["", "", ""]
    labels = [0] * 60 + [1] * 43
    together = components(len(labels), links(patients))
    splits = split(labels, together=together)
    of = np.array(patients)
    assert len(splits.test) == 10 + 8
    assert not set(of[splits.train]) & set(of[splits.test]) - {""}


def test_row_38_a_patient_with_two_kinds_of_lesion_counts_for_both():
    """The rare class is cut first, and what its patient brings of the common one is counted."""
    labels = np.array([0] * 50 + [1] * 5)
    together = np.arange(55)
    together[[0, 1, 2, 3, 50]] = 0
    together[[4, 5, 6, 7, 51]] = 1
    together[[8, 9, 10, 11, 52, 53, 54]] = 2
    for seed in range(10):
        splits = split(labels, together=together, seed=seed)
        assert np.bincount(labels[splits.test]).tolist() == [10, 1]
        assert splits.notices == ()


def test_row_38_a_group_larger_than_the_share_is_told():
    labels = np.array([0] * 50 + [1] * 20)
    together = np.arange(70)
    together[50:60], together[60:70] = 100, 101
    splits = split(labels, together=together)
    assert np.bincount(labels[splits.test]).tolist() == [10, 10]
    assert splits.notices == (
        "10 test images of bee instead of 4: its 20 images belong to 2 groups, and no group is "
        "divided",
    )


def test_row_38_a_group_larger_than_half_the_class_stays_in_train():
    labels = np.array([0] * 50 + [1] * 10)
    together = np.arange(60)
    together[50:60] = 100
    splits = split(labels, together=together)
    assert np.bincount(labels[splits.test]).tolist() == [10]
    assert splits.notices == (
        "0 test images of bee instead of 2: its 10 images belong to one group, and no group is "
        "divided",
        "no test images of bee: no verdict on them is possible",
    )
    together[50] = 101
    assert np.bincount(labels[split(labels, together=together).test]).tolist() == [10, 1]


def test_row_38_a_group_that_would_take_most_of_another_class_stays():
    """Bees can be tested only with all the ants of their patient, which is more than can go."""
    labels = np.array([0] * 20 + [1] * 6)
    together = np.arange(26)
    together[:12], together[12:20] = 100, 101
    together[20:23], together[23:26] = 100, 101
    splits = split(labels, together=together)
    assert np.bincount(labels[splits.test], minlength=2).tolist() == [8, 3]
    together[:20], together[20:26] = 100, [100, 100, 100, 101, 101, 101]
    splits = split(labels, together=together)
    assert np.bincount(labels[splits.test], minlength=2).tolist() == [0, 3]


@pytest.mark.parametrize("number", range(3))
def test_row_38_a_class_of_three(number):
    labels = np.array([0] * 10 + [1] * 3)
    together = np.arange(13)
    together[[10, 11]] = 100
    splits = split(labels, together=together, seed=number)
    assert splits.test[-1] == 12
    together[12] = 100
    splits = split(labels, together=together, seed=number)
    assert {10, 11, 12} <= set(splits.train.tolist())
    assert splits.notices[0].startswith("0 test images of bee instead of 1: its 3 images")


def test_row_38_everything_in_one_group():
    with pytest.raises(DataError) as caught:
        split([0] * 10 + [1] * 10, together=[5] * 20)
    assert str(caught.value) == (
        "no test split can be cut: the 20 images belong to one group, and no group is divided; "
        "expected in some class at least two groups, of which one can be tested; "
        "give finer groups, or a test folder"
    )


def test_row_36_a_group_with_content_under_two_labels_stays_in_train():
    hashes = ["same", "a", "b", "c", "d", "same", "e", "f", "g", "h"]
    together = [0, 0, 0, 1, 2, 3, 3, 4, 5, 6]
    for seed in range(10):
        train = split([0] * 5 + [1] * 5, hashes, together=together, seed=seed).train
        assert {0, 1, 2, 5, 6} <= set(train.tolist())


def test_row_37_near_duplicates_stay_on_one_side_of_a_cut():
    rng = np.random.default_rng(0)
    pictures = np.kron(rng.integers(0, 230, (60, 1, 8, 8)), np.ones((4, 4))).astype(np.uint8)
    brighter = np.rint(pictures[:30] * 1.05).astype(np.uint8)
    pixels = np.concatenate([pictures, brighter])
    labels = np.arange(90) % 2
    pairs = near_duplicates(pixels)
    assert pairs.tolist() == [[i, 60 + i] for i in range(30)]
    test = set(split(labels, together=components(90, pairs)).test.tolist())
    assert len(test) >= 16
    assert all((i in test) == (60 + i in test) for i in range(30))
    test = set(split(labels).test.tolist())
    assert any((i in test) != (60 + i in test) for i in range(30))


DECLARED = ["train"] * 6 + ["val"] * 3 + ["test"] * 4
LABELS = [0, 0, 0, 1, 1, 1, 0, 1, 0, 0, 1, 0, 1]
TOGETHER = [0, 1, 2, 3, 4, 3, 1, 7, 8, 9, 3, 8, 12]


def test_row_37_38_groups_on_two_declared_sides_are_told():
    paths = [f"{side}/{i}.png" for i, side in enumerate(DECLARED)]
    splits = split(LABELS, declared=DECLARED, together=TOGETHER, paths=paths)
    assert splits.test.tolist() == [9, 10, 11, 12] and splits.val.tolist() == [6, 7, 8]
    assert splits.notices == (
        "1 test image belongs together with train images (of one group, or nearly the same): "
        "test/10.png with train/3.png",
        "1 val image belongs together with train images (of one group, or nearly the same): "
        "val/6.png with train/1.png",
        "1 val image belongs together with test images (of one group, or nearly the same): "
        "val/8.png with test/11.png",
    )
    found = [(c.side, c.other, c.pairs.tolist()) for c in splits.crossings]
    assert found == [
        ("test", "train", [[10, 3]]),
        ("val", "train", [[6, 1]]),
        ("val", "test", [[8, 11]]),
    ]
    unnamed = split(LABELS, declared=DECLARED, together=TOGETHER)
    assert unnamed.notices[0].endswith("image 10 with image 3")


def test_row_37_38_groups_on_two_declared_sides_are_left_out_on_demand():
    splits = split(LABELS, declared=DECLARED, together=TOGETHER, drop_near=True)
    assert splits.train.tolist() == [0, 1, 2, 3, 4, 5]
    assert splits.test.tolist() == [9, 11, 12] and splits.val.tolist() == [7]
    assert splits.notices[0].startswith(
        "1 test image left out: it belongs together with train images"
    )
    assert [c.pairs.tolist() for c in splits.crossings] == [[[10, 3]], [[6, 1]], [[8, 11]]]
    with pytest.raises(DataError, match="all of them occur in train or belong together with"):
        split([0, 0, 1, 1, 0], declared=["train"] * 4 + ["test"], together=[0, 1, 2, 3, 0],
              drop_near=True)  # fmt: skip


def test_row_35_copies_of_declared_sides_are_not_told_twice():
    hashes = ["a", "b", "c", "d", "a", "e"]
    declared = ["train"] * 4 + ["test"] * 2
    splits = split([0, 0, 1, 1, 0, 1], hashes, declared, together=[0, 1, 2, 3, 0, 5])
    assert splits.crossings == () and splits.test.tolist() == [5]


def test_what_a_validation_image_joins_is_cut_together():
    """Two train images that are nearly a third, which was declared for validation."""
    labels = [0] * 9 + [1] * 9 + [0]
    hashes = [*distinct(range(18)), "content 0"]
    together = [*range(18), 1]
    for seed in range(10):
        test = split(labels, hashes, ["train"] * 18 + ["val"], together=together, seed=seed).test
        assert (0 in test) == (1 in test)


def positions(*numbers):
    return np.array(numbers, dtype=np.int64)


def test_row_35_edited_splits_with_leaks_are_refused():
    hashes = [*"abcdefabgh"]
    paths = [f"{i}.png" for i in range(10)]
    fine = Splits(positions(0, 1, 6, 7), positions(2, 3), positions(4, 5), ())
    fine.check(hashes, paths)
    with pytest.raises(DataError) as caught:
        Splits(positions(0, 1, 2), positions(2, 3), positions(4, 6, 7), ()).check(hashes, paths)
    assert str(caught.value) == (
        "the same image is on two sides of the split: 2.png in val and train, "
        "6.png in test = 0.png in train, 7.png in test = 1.png in train; "
        "expected every image, with all its copies, on one side; "
        "keep one side of each pair in splits.json"
    )
    with pytest.raises(DataError, match=r"4\.png in val and train and 7 more"):
        everything = positions(*range(2, 10))
        Splits(everything, everything, positions(0, 1), ()).check(hashes, paths)
    with pytest.raises(DataError, match="test has position 10; expected a number from 0 to 9"):
        Splits(positions(0), positions(), positions(10), ()).check(hashes, paths)
