"""Copies of train images: planted ones are all found, real images pass at the stated rate."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from synthaug.selection.memorisation import (
    COPY_BELOW,
    STATISTICS,
    CopyEvidence,
    Null,
    conventional_shares,
    copy_null,
    copy_thresholds,
    find_copies,
    guards,
)
from synthaug.selection.originals import NEXT, find_twins, likeness
from synthaug.selection.sets import ImageSet

MNIST_LT = os.environ.get("SYNTHAUG_MNIST_LT", "")
"""A folder with train/<digit>/ and test/<digit>/, as benchmarks/mnist-lt.md has it."""


def grey(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def smooth(n: int, seed: int, side: int = 8) -> np.ndarray:
    """Random images in which neighbouring pixels are alike, one grey channel."""
    coarse = np.random.default_rng(seed).uniform(0, 256, (n, 1, side // 2, side // 2))
    return grey(coarse.repeat(2, axis=2).repeat(2, axis=3))


def image_set(images: np.ndarray, labels: np.ndarray | int = 0) -> ImageSet:
    features = images.reshape(len(images), -1) @ np.random.default_rng(9).normal(
        size=(images[0].size if len(images) else 64, 12)
    )
    return ImageSet(images, features, np.broadcast_to(labels, len(images)).astype(np.int64))


def evidence(images: ImageSet, train: ImageSet, held_out: ImageSet | None = None) -> CopyEvidence:
    originals = find_twins(train)
    return find_copies(images, originals, copy_null(originals, held_out))


def by_hand(x: np.ndarray, reference: np.ndarray, n_next: int) -> tuple[float, float]:
    """(ratio, authenticity) of one vector, from the sentences that define them."""
    apart = np.linalg.norm(reference - x, axis=1)
    order = np.argsort(apart, kind="stable")
    source = reference[order[0]]
    alone = np.sort(np.linalg.norm(reference - source, axis=1))[1]
    return apart[order[0]] / apart[order[1 : n_next + 1]].mean(), apart[order[0]] / alone


@pytest.mark.parametrize(("n", "n_next"), [(2, 1), (3, 1), (5, 3), (12, 10), (40, NEXT)])
def test_statistics_are_what_they_are_said_to_be(n: int, n_next: int):
    train = image_set(smooth(3 * n, 0), np.arange(3 * n) % 3)
    images = image_set(smooth(9, 1), np.arange(9) % 3)
    originals = find_twins(train, max_shift=0, mirror=False)
    assert len(originals.distinct) == 3 * n
    found = likeness(images, originals)
    assert found.values.shape == (9, 8)
    spaces = [
        (images.images.reshape(9, -1) / 255.0, train.images.reshape(3 * n, -1) / 255.0),
        (images.directions, train.directions),
    ]
    for i, k in enumerate(images.labels):
        expected = []
        for x, y in spaces:
            expected += [*by_hand(x[i], y[train.labels == k], n_next), *by_hand(x[i], y, n_next)]
        np.testing.assert_allclose(found.values[i], expected, rtol=1e-5)


def test_the_null_leaves_each_image_out_of_everything():
    train = image_set(smooth(52, 2), np.arange(52) % 2)
    originals = find_twins(train, max_shift=0, mirror=False)
    null = copy_null(originals)
    order = np.concatenate([np.flatnonzero(train.labels == k) for k in (0, 1)])
    np.testing.assert_array_equal(null.labels, train.labels[order])
    rest = [np.setdiff1d(np.arange(52), [i]) for i in order]
    alone = [
        likeness(
            train.take(np.array([i])), find_twins(train.take(others), max_shift=0, mirror=False)
        ).values[0]
        for i, others in zip(order, rest, strict=True)
    ]
    np.testing.assert_allclose(null.values, alone, rtol=1e-5)


def test_a_series_of_a_scene_counts_as_one_image():
    """Burst photographs make d1/d2 blind: a copy is as near to the twin of its source."""
    rng = np.random.default_rng(3)
    scenes = smooth(20, 3)
    series = np.concatenate([grey(scenes + rng.normal(0, 4, scenes.shape)) for _ in range(5)])
    once, often = (image_set(images) for images in (scenes, np.concatenate([scenes, series])))
    originals = find_twins(often)
    np.testing.assert_array_equal(originals.distinct, np.arange(20))
    np.testing.assert_array_equal(originals.stands_for, np.tile(np.arange(20), 6))
    copies = image_set(grey(series[:20] + rng.normal(0, 6, scenes.shape)))
    new = image_set(smooth(40, 4))
    for train in (once, often):
        assert evidence(copies, train).copied.all()
        assert not evidence(new, train).copied.any()
    np.testing.assert_allclose(
        copy_null(originals).values, copy_null(find_twins(once)).values, rtol=1e-6
    )


def test_classes_of_one_and_of_two_images_have_the_convention_only():
    train = image_set(smooth(33, 5), np.array([0, 1, 1] + [2] * 30))
    images = image_set(np.concatenate([train.images[:3], smooth(3, 6)]), np.array([0, 1, 1] * 2))
    found = evidence(images, train)
    np.testing.assert_array_equal(found.copied, [True] * 3 + [False] * 3)
    np.testing.assert_array_equal(found.thresholds, np.tile(guards()[0], (6, 1)))
    own = [name.endswith("class") for name in STATISTICS]
    assert np.isnan(found.values[3, own]).all()
    assert np.isfinite(found.values[4:]).all()
    np.testing.assert_array_equal(found.nearest[:3], [0, 1, 2])
    assert (found.distance[:3] == 0).all()
    assert set(copy_null(find_twins(train)).labels) == {2}


def test_a_class_apart_from_all_others_is_no_class_of_copies():
    """Its images are near each other and far from the rest, new ones as much as real ones."""
    rng = np.random.default_rng(12)
    dark = grey(rng.uniform(0, 30, (14, 1, 8, 8)))
    bright = grey(rng.uniform(200, 256, (30, 1, 8, 8)))
    for n in (3, 4, 6):
        train = image_set(np.concatenate([dark[:n], bright]), np.repeat([0, 1], [n, 30]))
        assert not evidence(image_set(dark[6:]), train).copied.any()
        assert evidence(image_set(dark[:n]), train).copied.all()


def test_one_train_image_of_all():
    train = image_set(smooth(1, 7))
    images = np.concatenate([train.images, train.images[..., ::-1], smooth(2, 8)])
    assert evidence(image_set(images), train).copied.tolist() == [True, True, False, False]


def test_a_copy_of_another_class_is_a_copy():
    train = image_set(smooth(40, 9), np.arange(40) % 4)
    stolen = image_set(train.images[train.labels == 1], 3)
    assert evidence(stolen, train).copied.all()


def test_images_of_a_grey_level_more_are_copies_whatever_the_null():
    """A dataset of near-identical parts: its own images are as near, yet nothing new is made."""
    base = np.full((1, 1, 8, 8), 100, np.uint8)
    train = image_set(grey(base + np.random.default_rng(10).normal(0, 0.4, (30, 1, 8, 8))))
    assert evidence(image_set(base), train).copied.all()


def test_no_image():
    train = image_set(smooth(10, 11))
    found = evidence(train.take(np.empty(0, int)), train)
    assert found.copied.shape == (0,) and found.values.shape == found.thresholds.shape == (0, 8)


@pytest.mark.parametrize("fill", [0, 255])
def test_row_98_planted_copies_are_all_caught_in_classes_of_5_to_100(digits_lt, move, fill: int):
    """20 exact, 20 moved and 20 mirrored copies a class, among real images that are none."""
    train, rng = digits_lt.train, np.random.default_rng(0)
    sizes = np.bincount(train.labels)
    assert sizes.min() == 5 and sizes.max() == 100
    parts, labels = [digits_lt.unseen.images], [digits_lt.unseen.labels]
    for k in range(10):
        own = train.images[train.labels == k]
        source = own[np.resize(rng.permutation(len(own)), 20)]
        parts += [source, move(source, fill), source[..., ::-1]]
        labels += [np.full(60, k)]
    images, labels_ = np.concatenate(parts), np.concatenate(labels)
    found = evidence(ImageSet(images, digits_lt.look(images)[0], labels_), train)
    real = len(digits_lt.unseen)
    assert found.copied[real:].all()
    passed = ~found.copied[:real]
    by_class = np.array([passed[digits_lt.unseen.labels == k].mean() for k in range(10)])
    assert passed.mean() >= 0.97 and by_class.min() >= 0.9, by_class


def test_held_out_images_belong_to_the_null_unless_they_are_twins(digits_lt, move):
    train, unseen = digits_lt.train, digits_lt.unseen.take(digits_lt.unseen.labels == 9)
    originals = find_twins(train)
    twins = train.take(train.labels == 9)
    twins = ImageSet(move(twins.images), digits_lt.look(move(twins.images))[0], twins.labels)
    both = ImageSet(
        *(
            np.concatenate([getattr(x, name) for x in (unseen, twins)])
            for name in ("images", "features", "labels")
        )
    )
    alone, with_more = copy_null(originals), copy_null(originals, both)
    assert len(alone.of_class(9, 0.2)) == 5
    own = with_more.of_class(9, 0.02)
    np.testing.assert_allclose(own[:5], alone.of_class(9, 0.2), rtol=1e-12)
    np.testing.assert_allclose(own[5:], likeness(unseen, originals).values, rtol=1e-12)


def test_row_98_near_copies_of_digits(digits_lt):
    """What a generator that memorises returns: not the pixels themselves."""
    train, rng = digits_lt.train, np.random.default_rng(1)
    for images in (
        grey(train.images + rng.normal(0, 0.05 * 255, train.images.shape)),
        grey(0.9 * train.images),
    ):
        near = ImageSet(images, digits_lt.look(images)[0], train.labels)
        assert evidence(near, train).copied.mean() >= 0.97


@pytest.mark.skipif(not Path(MNIST_LT).is_dir() or not MNIST_LT, reason="SYNTHAUG_MNIST_LT unset")
def test_row_98_planted_copies_in_mnist_lt(look_at, move):
    def read(part: str, digit: int, n: int) -> np.ndarray:
        files = sorted((Path(MNIST_LT) / part / str(digit)).glob("*.png"))[:n]
        opened = [Image.open(f).convert("L").resize((16, 16), Image.Resampling.BOX) for f in files]
        return np.stack([np.asarray(image) for image in opened])[:, None]

    train = [read("train", k, 100) for k in range(10)]
    unseen = [read("test", k, 60) for k in range(10)]
    labels = np.repeat(np.arange(10), [len(x) for x in train])
    look = look_at(np.concatenate(train), labels)
    real = ImageSet(np.concatenate(train), look(np.concatenate(train))[0], labels)
    originals = find_twins(real)
    null = copy_null(originals)
    for k in range(4, 10):
        source = train[k][np.resize(np.arange(len(train[k])), 20)]
        images = np.concatenate([source, move(source), unseen[k]])
        found = find_copies(ImageSet(images, look(images)[0], np.full(100, k)), originals, null)
        assert found.copied[:40].all()
        assert found.copied[40:].mean() <= 0.05


@settings(deadline=None, max_examples=50, derandomize=True)
@given(st.integers(1, 60), st.integers(0, 2**32 - 1), st.floats(0, 0.3))
def test_thresholds_keep_their_rate(m: int, seed: int, rate: float):
    rng = np.random.default_rng(seed)
    null = rng.uniform(0, 2, (m, 8)).round(1)  # ties
    null[rng.random((m, 8)) < 0.1] = np.nan
    thresholds = copy_thresholds(null, rate)
    low, high = guards()
    assert ((thresholds >= low) & (thresholds <= high)).all()
    # Where no guard raises them, they flag no more of the null than stated.
    unguarded = thresholds > low
    assert (null[:, unguarded] < thresholds[unguarded]).any(axis=1).mean() <= rate
    assert (copy_thresholds(null, 0.3) >= thresholds).all()


def test_thresholds_by_hand():
    null = np.full((100, 8), np.nan)
    null[:, 0] = 0.4 + np.arange(100) / 1000
    null[:, 1] = null[::-1, 0]
    for rate, first in ((0.0, 0.4), (0.02, 0.401), (0.1, 0.405), (1.0, 0.5)):
        thresholds = copy_thresholds(null, rate)
        np.testing.assert_allclose(thresholds[:2], min(first, 0.5) if rate < 1 else 0.499)
        np.testing.assert_allclose(thresholds[2:], guards()[1][2:])
    for never_above in (0.2, 0.5, 0.7):
        low, high = guards(never_above)
        assert high.max() == never_above and low.max() == min(never_above, COPY_BELOW)
        assert copy_thresholds(np.zeros((5, 8)), 0.01, never_above).tolist() == low.tolist()
        assert copy_thresholds(np.empty((0, 8)), 0.01, never_above).tolist() == high.tolist()


def test_a_small_class_borrows_the_null_of_all():
    values = np.arange(800, dtype=float).reshape(100, 8)
    null = Null(values, np.array([0] * 90 + [1] * 10))
    assert len(null.of_class(0, 0.02)) == 90
    assert len(null.of_class(1, 0.02)) == 100
    assert len(null.of_class(1, 0.1)) == 10


def test_conventional_shares_stand_beside_those_of_real_images():
    values = np.full((4, 8), 0.5)
    values[0] = 0.1
    null = Null(np.full((5, 8), 2.0), np.array([0, 0, 0, 1, 1]))
    shares = conventional_shares(values, np.array([0, 0, 0, 1]), null, 0)
    for name in STATISTICS:
        below = 1 / 3 if "ratio" in name else 1.0
        assert shares[name] == [below, 0.0]
    nothing = conventional_shares(values, np.zeros(4, int), replace(null, labels=np.ones(5)), 0)
    assert np.isnan([real for _, real in nothing.values()]).all()
    assert COPY_BELOW == 1 / 3
