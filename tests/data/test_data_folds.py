"""Folds: every image is tested once, components whole, classes in their proportions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from synthaug.data.folds import make_folds, suggest_folds
from synthaug.errors import DataError, UsageError

NAMES = ("ant", "bee", "cow", "dog")


def distinct(labels):
    return [f"content {i}" for i in range(len(labels))]


def divide(labels, folds, hashes=None, declared=None, **options):
    labels = np.asarray(labels)
    return make_folds(
        labels, hashes or distinct(labels), declared or [""] * len(labels),
        class_names=NAMES[: labels.max() + 1], folds=folds, **options,
    )  # fmt: skip


def suggest(labels, hashes=None, declared=None, **options):
    labels = np.asarray(labels)
    declared = declared or [""] * len(labels)
    return suggest_folds(labels, hashes or distinct(labels), declared, **options)


def table(labels, splits):
    """Test images by fold and class."""
    labels = np.asarray(labels)
    return np.array([np.bincount(labels[s.test], minlength=labels.max() + 1) for s in splits])


@st.composite
def datasets(draw):
    """Labels, hashes with copies and declared sides; at least four distinct images a class."""
    labels, hashes, declared = [], [], []
    for k in range(draw(st.integers(2, 4))):
        for image in range(draw(st.integers(4, 12))):
            copies = draw(st.integers(1, 3))
            labels += [k] * copies
            hashes += [f"{k}/{image}"] * copies
            declared += [draw(st.sampled_from(["", "train"]))] * copies
    for image in range(draw(st.integers(0, 3))):
        labels.append(0)
        hashes.append(f"new {image}")
        declared.append("val")
    n = len(labels)
    numbers = draw(st.lists(st.integers(0, 2 * n), min_size=n, max_size=n))
    return np.array(labels), hashes, declared, np.array(numbers)


@settings(deadline=None, derandomize=True)
@given(datasets(), st.integers(2, 6), st.integers(0, 99))
def test_row_38_fold_properties(data, folds, seed):
    labels, hashes, declared, together = data
    options = {"together": together, "seed": seed}
    try:
        splits = divide(labels, folds, hashes, declared, **options)
    except DataError as error:
        assert "distinct images in the train split of one of" in str(error)
        return
    pool = [i for i, side in enumerate(declared) if side != "val"]
    assert len(splits) == folds
    assert sorted(i for s in splits for i in s.test.tolist()) == pool
    for s in splits:
        assert sorted([*s.train, *s.test]) == pool
        assert all(p.dtype == np.int64 and (np.diff(p) > 0).all() for p in (s.train, s.val, s.test))
        assert s.val.tolist() == [i for i, side in enumerate(declared) if side == "val"]
        for keys in (hashes, together.tolist()):
            assert not {keys[i] for i in s.train} & {keys[i] for i in s.test}
        for k in np.unique(labels):
            assert len({hashes[i] for i in s.train if labels[i] == k}) >= 2

    turned = np.random.default_rng(seed).permutation(len(labels))
    again = divide(
        labels[turned], folds, [hashes[i] for i in turned], [declared[i] for i in turned],
        together=together[turned], seed=seed,
    )  # fmt: skip
    assert [set(turned[s.test].tolist()) for s in again] == [set(s.test.tolist()) for s in splits]


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(4, 30), min_size=2, max_size=4), st.integers(2, 7))
def test_single_images_are_stratified_as_by_sklearn(counts, folds):
    labels = np.repeat(np.arange(len(counts)), counts)
    ours = table(labels, divide(labels, folds))
    assert (ours.max(axis=0) - ours.min(axis=0) <= 1).all()
    assert ours.sum(axis=1).max() - ours.sum(axis=1).min() <= 1
    if folds <= min(counts):
        cuts = StratifiedKFold(folds).split(labels, labels)
        sklearns = np.array([np.bincount(labels[test]) for _, test in cuts])
        assert (np.sort(ours, axis=0) == np.sort(sklearns, axis=0)).all()


def test_row_38_groups_are_dealt_no_less_evenly_than_by_sklearn():
    rng = np.random.default_rng(0)
    spread = np.zeros(2)
    for seed in range(20):
        sizes = rng.choice([1, 1, 2, 3, 5, 8], 60)
        together = np.repeat(np.arange(60), sizes)
        mixed = rng.choice(3, len(together), p=[0.6, 0.3, 0.1])
        own = np.repeat(rng.choice(3, 60, p=[0.6, 0.3, 0.1]), sizes)
        labels = np.where(rng.random(len(together)) < 0.2, mixed, own)
        ours = table(labels, divide(labels, 4, together=together, seed=seed))
        cuts = StratifiedGroupKFold(4, shuffle=True, random_state=seed).split(
            labels, labels, together
        )
        sklearns = np.array([np.bincount(labels[test], minlength=3) for _, test in cuts])
        spread += [np.ptp(counts, axis=0).mean() for counts in (ours, sklearns)]
    assert spread[0] <= spread[1]


def test_single_images_even_out_what_groups_leave():
    labels = [0] * 20 + [1] * 10
    together = np.arange(30)
    together[:7] = 100
    assert table(labels, divide(labels, 2, together=together)).tolist() == [[10, 5]] * 2


def test_seed_matters():
    labels = [0] * 20 + [1] * 20
    first, second = (divide(labels, 5, seed=seed)[0].test.tolist() for seed in (0, 1))
    assert first != second


def test_row_38_uneven_folds_are_told():
    labels = np.array([0] * 20 + [1] * 12)
    together = np.arange(32)
    together[20:26], together[26:32] = 100, 101
    splits = divide(labels, 4, together=together)
    assert sorted(table(labels, splits)[:, 1].tolist()) == [0, 0, 6, 6]
    assert {s.notices for s in splits} == {
        (
            "0 to 6 test images of bee in a fold: its 12 images belong to 2 groups, and no group "
            "is divided",
        )
    }


def test_row_30_a_class_of_three_needs_three_folds():
    labels = [0] * 10 + [1] * 3
    with pytest.raises(DataError) as caught:
        divide(labels, 2)
    assert str(caught.value) == (
        "class 'bee' keeps 1 of its 3 distinct images in the train split of one of 2 folds; "
        "expected at least 2; use 3 folds"
    )
    assert table(labels, divide(labels, 3))[:, 1].tolist() == [1, 1, 1]


def test_row_38_a_class_of_one_patient_cannot_be_divided():
    together = [*range(10), 10, 10, 10, 10, 10]
    for numbers in (together, [0] * 15):
        with pytest.raises(DataError, match="no number of folds up to 20 will do"):
            divide([0] * 10 + [1] * 5, 3, together=numbers)


def test_row_30_class_too_small_for_any_fold():
    with pytest.raises(DataError, match="'bee' has too few distinct train images: 1"):
        divide([0] * 10 + [1], 2)


def test_row_36_content_under_two_labels_is_in_one_fold():
    hashes = ["same", *"abcdefg", "same", *"hijklmn"]
    splits = divide([0] * 8 + [1] * 8, 4, hashes)
    assert all((0 in s.test) == (8 in s.test) for s in splits)
    assert splits[0].notices == ("1 image occurs under more than one class",)


def test_row_35_37_validation_images_that_occur_or_belong_elsewhere():
    labels = [0] * 5 + [1] * 5 + [0, 1, 0]
    hashes = [*distinct(range(10)), "content 3", "x", "y"]
    declared = ["train"] * 10 + ["val"] * 3
    together = [*range(10), 10, 4, 12]
    told = divide(labels, 5, hashes, declared, together=together)
    assert {tuple(s.val.tolist()) for s in told} == {(11, 12)}
    assert told[0].notices == (
        "1 val image left out: it also occurs in train",
        "1 val image belongs together with train images (of one group, or nearly the same): "
        "image 11 with image 4",
    )
    assert told[0].crossings[0].pairs.tolist() == [[11, 4]]
    dropped = divide(labels, 5, hashes, declared, together=together, drop_near=True)
    assert {tuple(s.val.tolist()) for s in dropped} == {(12,)}


def test_a_declared_test_split_and_too_few_folds_are_refused():
    with pytest.raises(UsageError, match="5 folds of a dataset that declares a test split"):
        divide([0, 0, 1, 1, 0, 1], 5, declared=["train"] * 4 + ["test"] * 2)
    with pytest.raises(UsageError, match="the number of folds is 1; expected at least 2"):
        divide([0, 0, 1, 1], 1)


def test_folds_are_suggested_where_the_cut_tests_too_few():
    assert suggest([0] * 100 + [1] * 25) is None
    assert suggest([0] * 100 + [1] * 22) == 5  # a fifth of 22 is 4
    assert suggest([0] * 100 + [1] * 22, min_test=4) is None
    assert suggest([0] * 100 + [1] * 22, test_fraction=0.1) == 10
    assert suggest([0] * 100 + [1] * 3, test_fraction=0.5) == 3
    assert suggest([0] * 100 + [1] * 2) is None  # no number of folds will do
    assert suggest([0] * 9 + [1] * 9, declared=["train"] * 16 + ["test"] * 2) is None


def test_row_38_folds_are_suggested_where_groups_leave_too_few_to_test():
    labels = [0] * 100 + [1] * 40
    together = [*range(100), *[100] * 25, *[101] * 11, *[102] * 4]
    assert suggest(labels) is None
    assert suggest(labels, together=together, min_test=5) == 5
    assert suggest(labels, declared=[""] * 120 + ["val"] * 20) == 5
