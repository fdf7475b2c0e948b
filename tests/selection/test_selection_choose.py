"""The choice: never a copy, never more than the quota, a reason for every refusal."""

import io
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthaug.selection.choose import (
    COPY,
    DUPLICATE,
    FULL,
    NOT_FINITE,
    OTHER_CLASS,
    OUTSIDE,
    REASONS,
    SPARSE,
    UNDECIDED,
    Selection,
    Thresholds,
    judge,
    select,
    study,
)
from synthaug.selection.scores import diversity
from synthaug.selection.sets import Candidates, ImageSet

K = 3
LENIENT = Thresholds(widen=20.0, entropy_above=1.0, third_above=1.0)


def scene(n_train: tuple[int, ...] = (30, 12, 4), seed: int = 0) -> ImageSet:
    """Random images with features around a direction of each class."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(n_train)), n_train)
    images = rng.integers(0, 256, (len(labels), 1, 8, 8), dtype=np.uint8)
    return ImageSet(images, features_of(images, labels), labels)


def features_of(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    mix = np.random.default_rng(99).normal(0, 0.12, (64, 8))
    return 3 * np.eye(8)[labels] + images.reshape(len(images), 64) / 255.0 @ mix


def proposed(
    train: ImageSet, n: int, seed: int, n_copies: int = 0, n_twice: int = 0, n_broken: int = 0
) -> Candidates:
    """New images, then copies of train images, repetitions and broken ones, shuffled."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, K, n)
    images = rng.integers(0, 256, (n, 1, 8, 8), dtype=np.uint8)
    copied = rng.integers(0, len(train), n_copies)
    twice = rng.integers(0, n, n_twice) if n else np.empty(0, int)
    images = np.concatenate([images, train.images[copied], images[twice]])
    labels = np.concatenate([labels, train.labels[copied], labels[twice]])
    features = features_of(images, labels)
    probabilities = 0.1 / K + 0.9 * np.eye(K)[labels]
    features[: min(n_broken, n)] = np.nan
    order = rng.permutation(len(labels))
    seeds = rng.permutation(10 * len(labels))[: len(labels)]
    return Candidates(images[order], features[order], labels[order], probabilities[order], seeds)


TRAIN = scene()
REAL = study(TRAIN, K, thresholds=LENIENT)
drawn = st.builds(
    proposed,
    st.just(TRAIN),
    st.integers(0, 25),
    st.integers(0, 2**31),
    st.integers(0, 8),
    st.integers(0, 5),
    st.integers(0, 3),
)
quotas = st.lists(st.integers(0, 12), min_size=K, max_size=K).map(np.array)
few_examples = settings(deadline=None, max_examples=30, derandomize=True)


def is_copy(candidates: Candidates) -> np.ndarray:
    equal = candidates.images[:, None] == TRAIN.images[None]
    return equal.all(axis=(2, 3, 4)).any(axis=1)


def counted(selection: Selection) -> np.ndarray:
    return np.sum(list(selection.counts.values()), axis=0)


@few_examples
@given(drawn, quotas)
def test_quota_copies_and_reasons(candidates: Candidates, quota: np.ndarray):
    chosen = select(candidates, REAL, quota, LENIENT)
    per_class = np.bincount(candidates.labels[chosen.kept], minlength=K)
    assert (per_class <= quota).all()
    np.testing.assert_array_equal(chosen.shortfall, quota - per_class)
    assert not (chosen.kept & is_copy(candidates)).any()
    finite = np.isfinite(candidates.features).all(axis=1)
    assert set(chosen.reason[is_copy(candidates) & finite]) <= {COPY}
    np.testing.assert_array_equal(chosen.reason == NOT_FINITE, ~finite)
    # Every refusal has a reason of the list, and only refusals have one.
    np.testing.assert_array_equal(chosen.kept, chosen.reason == "")
    assert set(chosen.reason[~chosen.kept]) <= set(REASONS)
    np.testing.assert_array_equal(
        counted(chosen), np.bincount(candidates.labels, minlength=K) - per_class
    )
    # An image is refused for a full quota only where that is full.
    full = np.unique(candidates.labels[chosen.reason == FULL])
    assert (chosen.shortfall[full] == 0).all()
    for values in chosen.columns.values():
        assert len(values) == len(candidates)


@few_examples
@given(drawn, quotas, st.integers(0, 2**31))
def test_the_order_of_candidates_is_that_of_their_seeds(candidates, quota, seed: int):
    order = np.random.default_rng(seed).permutation(len(candidates))
    chosen = select(candidates, REAL, quota, LENIENT)
    other = select(candidates.take(order), REAL, quota, LENIENT)
    np.testing.assert_array_equal(other.reason, chosen.reason[order])
    np.testing.assert_array_equal(other.shortfall, chosen.shortfall)
    for name, values in chosen.columns.items():
        np.testing.assert_array_equal(other.columns[name], values[order], err_msg=name)


@few_examples
@given(drawn, quotas)
def test_classes_do_not_see_each_other(candidates: Candidates, quota: np.ndarray):
    chosen = select(candidates, REAL, quota, LENIENT)
    for k in range(K):
        own = candidates.labels == k
        alone = select(candidates.take(own), REAL, quota, LENIENT)
        np.testing.assert_array_equal(alone.reason, chosen.reason[own])


@settings(deadline=None, max_examples=10, derandomize=True)
@given(drawn, quotas, st.permutations(range(K)))
def test_the_numbers_of_classes_mean_nothing(candidates, quota, names):
    names = np.array(names)
    train = replace(TRAIN, labels=names[TRAIN.labels])
    renamed = replace(
        candidates,
        labels=names[candidates.labels],
        probabilities=candidates.probabilities[:, np.argsort(names)],
    )
    other = select(renamed, study(train, K, thresholds=LENIENT), quota[np.argsort(names)], LENIENT)
    np.testing.assert_array_equal(other.reason, select(candidates, REAL, quota, LENIENT).reason)


@few_examples
@given(drawn, quotas, quotas)
def test_a_larger_quota_keeps_the_same_and_more(candidates, quota, more):
    few = select(candidates, REAL, quota, LENIENT)
    many = select(candidates, REAL, quota + more, LENIENT)
    assert (many.kept >= few.kept).all()
    added = many.kept & ~few.kept
    assert set(few.reason[added]) <= {FULL}
    unlimited = select(candidates, REAL, np.full(K, 10_000), LENIENT)
    assert not unlimited.counts[FULL].any()
    assert (unlimited.shortfall > 0).all()


def test_the_first_of_a_repetition_stays_and_is_named():
    candidates = proposed(TRAIN, 12, 5)
    images = candidates.images.copy()
    own = np.flatnonzero(candidates.labels == candidates.labels[0])
    images[own] = images[own[0]]
    same = replace(candidates, images=images, features=features_of(images, candidates.labels))
    chosen = select(same, REAL, np.full(K, 99), LENIENT)
    first = own[candidates.seeds[own].argmin()]
    assert len(own) > 2
    assert chosen.kept[first]
    rest = np.setdiff1d(own, first)
    assert set(chosen.reason[rest]) == {DUPLICATE}
    assert set(chosen.columns["duplicate_of"][rest]) == {candidates.seeds[first]}
    assert chosen.columns["duplicate_of"][first] == -1


def test_what_repeats_a_copy_does_not_take_its_place():
    source = TRAIN.take(np.array([3]))
    images = np.repeat(source.images, 3, axis=0)
    images[1, 0, 0, 0] ^= 8
    images[2, 0, 4, 4] ^= 8
    labels = np.repeat(source.labels, 3)
    copies = Candidates(
        images, features_of(images, labels), labels, np.eye(K)[labels], np.arange(3)
    )
    chosen = select(copies, REAL, np.full(K, 5), LENIENT)
    assert set(chosen.reason) == {COPY}
    assert chosen.shortfall.tolist() == [5, 5, 5]


def test_no_candidate_at_all():
    chosen = select(proposed(TRAIN, 0, 0), REAL, np.array([1, 0, 2]))
    assert chosen.shortfall.tolist() == [1, 0, 2]
    assert np.isnan(chosen.diversity).all()
    assert set(chosen.columns) > {"label", "seed", "kept", "reason"}


def test_each_reason_by_an_image_made_for_it(digits_lt):
    train, unseen = digits_lt.train, digits_lt.unseen
    real = study(train, 10)
    images = unseen.images[unseen.labels == 0][:40]
    zeros = np.zeros(len(images), int)
    good = digits_lt.candidates(images, zeros)
    found = select(good, real, np.full(10, 40))
    clean = good.take(found.kept)
    assert len(clean) >= 34
    n = len(clean)

    def reasons(some: Candidates, quota: int = 40) -> set[str]:
        return set(select(some, real, np.full(10, quota)).reason)

    assert reasons(clean, n) == {""}
    assert reasons(clean, n - 1) == {"", FULL}
    third = np.flatnonzero(~real.limits.confusers[0])[1]
    assert reasons(replace(clean, probabilities=np.eye(10)[np.full(n, third)])) == {OTHER_CLASS}
    assert reasons(replace(clean, probabilities=np.full((n, 10), 0.1))) == {UNDECIDED}
    sure = np.eye(10)[np.zeros(n, int)]
    assert reasons(replace(clean, probabilities=sure, features=-clean.features)) == {OUTSIDE}
    noise = np.random.default_rng(0).integers(0, 2, clean.images.shape, dtype=np.uint8) * 255
    assert reasons(replace(clean, probabilities=sure, images=noise)) == {SPARSE}
    own = train.take(train.labels == 0)
    copies = digits_lt.candidates(own.images, own.labels)
    assert reasons(copies) == {COPY}
    broken = replace(clean, probabilities=np.full((n, 10), np.nan))
    assert reasons(broken) == {NOT_FINITE}


def test_the_choice_is_as_diverse_as_what_was_accepted(digits_lt):
    """Within a tenth in every class, on average over seeds; the most typical fall far below."""
    real = study(digits_lt.train, 10)
    candidates = digits_lt.candidates(digits_lt.unseen.images, digits_lt.unseen.labels)
    everything = select(candidates, real, np.full(10, 1000))
    accepted = candidates.take(everything.kept)
    kept = []
    for seed in range(6):
        seeds = np.random.default_rng(seed).permutation(len(accepted))
        chosen = select(replace(accepted, seeds=seeds), real, np.full(10, 20))
        np.testing.assert_array_equal(chosen.shortfall, 0)
        np.testing.assert_allclose(chosen.diversity[:, 0], everything.diversity[:, 1])
        kept.append(chosen.diversity[:, 1] / everything.diversity[:, 1])
    assert (np.mean(kept, axis=0) >= 0.9).all() and np.mean(kept) >= 0.97
    distance = everything.columns["prototype_distance"][everything.kept]
    typical = []
    for k in range(10):
        own = np.flatnonzero(accepted.labels == k)
        middle = own[distance[own].argsort()[:20]]
        typical.append(diversity(accepted.directions[middle]) / everything.diversity[k, 1])
    assert max(typical) < 0.9 and np.mean(typical) < 0.7


def test_good_images_are_kept_and_bad_ones_are_not(digits_lt):
    """Real images nobody has seen against images of other classes."""
    unseen = digits_lt.unseen
    real = study(digits_lt.train, 10)
    quota = np.full(10, 1000)
    good = select(digits_lt.candidates(unseen.images, unseen.labels), real, quota)
    many = np.isin(unseen.labels, range(5))
    assert good.kept[many].mean() >= 0.9
    assert good.kept[~many].mean() >= 0.75
    wrong = (unseen.labels + 1 + np.arange(len(unseen)) % 9) % 10
    bad = select(digits_lt.candidates(unseen.images, wrong), real, quota)
    assert bad.kept.mean() <= 0.25


def test_the_table_goes_through_parquet():
    chosen = select(proposed(TRAIN, 20, 6, 3, 2, 1), REAL, np.array([2, 2, 2]), LENIENT)
    file = io.BytesIO()
    pq.write_table(pa.table(chosen.columns), file)
    back = pq.read_table(file).to_pandas()
    assert back.reason.tolist() == chosen.reason.tolist()
    assert back.kept.tolist() == chosen.kept.tolist()
    broken = back[back.reason == NOT_FINITE]
    assert len(broken) == 1
    assert broken.nearest_train.tolist() == broken.duplicate_of.tolist() == [-1]
    told = back.drop(columns=["label", "seed", "kept", "reason", "nearest_train"])
    numbers = told.select_dtypes("floating")
    assert numbers[back.reason == NOT_FINITE].isna().all(axis=None)
    assert numbers[back.reason != NOT_FINITE].notna().all(axis=None)
    copies = back[back.reason == COPY]
    assert (copies.pixel_ratio_class < copies.pixel_ratio_class_threshold).all()


def test_judge_tells_all_that_applies():
    candidates = proposed(TRAIN, 15, 7, 4)
    found, columns = judge(candidates, REAL, LENIENT)
    assert list(found) == list(REASONS[1:-1])
    np.testing.assert_array_equal(found[COPY], is_copy(candidates))
    assert all(len(values) == len(candidates) for values in columns.values())


@pytest.mark.parametrize(
    ("change", "quota", "what"),
    [
        ({}, [1, 1], "quota"),
        ({}, [1, -1, 1], "quota"),
        ({"probabilities": np.full((6, 2), 0.5)}, [1, 1, 1], "probabilities"),
        ({"labels": np.full(6, 3)}, [1, 1, 1], "no train images"),
        ({"labels": np.zeros(6, int), "seeds": np.zeros(6, int)}, [1, 1, 1], "same seed"),
    ],
)
def test_wrong_arguments(change, quota, what: str):
    candidates = replace(proposed(TRAIN, 6, 8), **change)
    with pytest.raises(ValueError, match=what):
        select(candidates, REAL, np.array(quota))


@pytest.mark.parametrize(
    "change", [{"labels": np.full(46, 7)}, {"features": np.full((46, 8), np.nan)}]
)
def test_wrong_train_images(change):
    with pytest.raises(ValueError, match="train"):
        study(replace(TRAIN, **change), K)


def test_importing_it_needs_neither_scikit_learn_nor_torch():
    import subprocess
    import sys

    code = (
        "import sys, synthaug.selection.choose; "
        "print([m for m in ('sklearn', 'torch', 'scipy', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
