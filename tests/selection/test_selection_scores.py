"""Distances to a class: known answers, scikit-learn, and what few images allow to say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy
from sklearn.metrics.pairwise import cosine_distances
from sklearn.neighbors import NearestNeighbors

from synthaug.selection.scores import (
    DUPLICATE_BELOW,
    class_limits,
    diversity,
    duplicates,
    normalised_entropy,
    score,
)
from synthaug.selection.sets import Candidates, ImageSet


def made(n: int, labels: np.ndarray | int, seed: int, dimensions: int = 6) -> ImageSet:
    """Noise, with features around a direction of each class."""
    rng = np.random.default_rng(seed)
    labels = np.broadcast_to(labels, n).astype(np.int64)
    images = rng.integers(0, 256, (n, 1, 4, 4), dtype=np.uint8)
    features = 3 * np.eye(dimensions)[labels] + rng.normal(0, 0.5, (n, dimensions))
    return ImageSet(images, features, labels)


def candidates(images: ImageSet, probabilities: np.ndarray) -> Candidates:
    n = len(images)
    return Candidates(images.images, images.features, images.labels, probabilities, np.arange(n))


def uniform(n: int, k: int) -> np.ndarray:
    return np.full((n, k), 1 / k)


def test_parts_must_fit():
    good = made(4, 0, 0)
    for images, features, labels in (
        (good.images[:3], good.features, good.labels),
        (good.images.astype(float), good.features, good.labels),
        (good.images[:, 0], good.features, good.labels),
        (good.images, good.features[:, 0], good.labels),
    ):
        with pytest.raises(ValueError):
            ImageSet(images, features, labels)


def test_directions_have_length_one_or_none():
    features = np.array([[3, 4], [0, 0], [0, -2]])
    given = ImageSet(np.zeros((3, 1, 2, 2), np.uint8), features, np.zeros(3, int))
    np.testing.assert_allclose(given.directions, [[0.6, 0.8], [0, 0], [0, -1]])
    assert features[0, 0] == 3


def test_prototype_distance_is_scikit_learns():
    train, some = made(40, np.arange(40) % 3, 1), made(9, np.arange(9) % 3, 2)
    limits = class_limits(train, 3)
    found = score(candidates(some, uniform(9, 3)), train, limits).prototype_distance
    for i, k in enumerate(some.labels):
        own = train.features[train.labels == k]
        prototype = (own / np.linalg.norm(own, axis=1)[:, None]).mean(axis=0)
        expected = cosine_distances(some.features[[i]], prototype[None])[0, 0]
        assert found[i] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n", [2, 5, 100])
def test_the_window_is_that_of_images_left_out_widened(n: int):
    train = made(n, 0, 3)
    left_out = []
    for i in range(n):
        rest = np.delete(train.directions, i, axis=0).mean(axis=0)
        left_out.append(cosine_distances(train.features[[i]], rest[None])[0, 0])
    factor = 1 + 1.5 / np.sqrt(n)
    low, high = np.quantile(left_out, [0.1, 0.9])
    limits = class_limits(train, 1, rate=0.1, widen=1.5)
    np.testing.assert_allclose(limits.window[0], [low / factor, high * factor], rtol=1e-9)


@pytest.mark.parametrize("n", [3, 6, 50])
def test_density_is_the_distance_to_the_fifth_neighbour(n: int):
    train, some = made(n, 0, 4), made(7, 0, 5)
    limits = class_limits(train, 1, rate=0.0, widen=0.0)
    found = score(candidates(some, uniform(7, 1)), train, limits)
    k = min(5, n - 1)
    for values, theirs, limit, scale, unit in (
        (train.directions, some.directions, limits.density, limits.scale, 1),
        (
            train.images.reshape(n, -1) / 255.0,
            some.images.reshape(7, -1) / 255.0,
            limits.pixel_density,
            limits.pixel_scale,
            4,
        ),
    ):
        search = NearestNeighbors(n_neighbors=k).fit(values)
        apart = search.kneighbors()[0] / unit
        assert limit[0] == pytest.approx(apart[:, -1].max())
        assert scale[0] == pytest.approx(np.median(apart[:, 0]))
        expected = search.kneighbors(theirs)[0][:, -1] / unit
        mine = found.neighbour_distance if unit == 1 else found.pixel_neighbour_distance
        np.testing.assert_allclose(mine, expected)


def test_few_images_allow_more():
    many = made(200, 0, 6)
    few = many.take(np.arange(8))
    wide, narrow = (class_limits(x, 1, rate=0.5) for x in (few, many))
    middle = [class_limits(x, 1, rate=0.5, widen=0.0) for x in (few, many)]
    for name in ("density", "pixel_density"):
        stretch = [
            getattr(a, name) / getattr(b, name) for a, b in zip((wide, narrow), middle, strict=True)
        ]
        np.testing.assert_allclose(stretch, [[1 + 2 / np.sqrt(8)], [1 + 2 / np.sqrt(200)]])


def test_a_class_of_one_image_or_none_has_no_limits_and_refuses_nothing():
    train = made(21, np.array([0] + [2] * 20), 7)
    limits = class_limits(train, 3)
    for values in (limits.window, limits.density, limits.pixel_density, limits.scale):
        assert np.isnan(values[:2]).all() and np.isfinite(values[2]).all()
    found = score(candidates(made(2, 0, 8), uniform(2, 3)), train, limits)
    assert np.isfinite(found.prototype_distance).all()
    assert not (found.prototype_distance > limits.window[0, 1]).any()


def test_held_out_images_widen_what_a_classifier_draws_together():
    train = made(20, 0, 9)
    loose = made(20, 0, 10)
    loose = ImageSet(loose.images, loose.features + 2 * np.eye(6)[1], loose.labels)
    alone, both = class_limits(train, 1, widen=0.0), class_limits(train, 1, loose, widen=0.0)
    assert both.window[0, 1] > 2 * alone.window[0, 1]
    assert both.density[0] > alone.density[0]
    other = ImageSet(loose.images, loose.features, np.full(20, 1))
    assert class_limits(train, 1, other, widen=0.0).window.tolist() == alone.window.tolist()


def test_a_third_class_is_neither_the_own_nor_a_usual_confuser():
    angles = np.radians([0, 10, 60, 90, 150, 200])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    train = ImageSet(np.zeros((6, 1, 2, 2), np.uint8), features, np.arange(6))
    limits = class_limits(train, 6)
    assert [np.flatnonzero(row).tolist() for row in limits.confusers[:3]] == [
        [1, 2],
        [0, 2],
        [1, 3],
    ]
    probabilities = np.full((6, 6), 0.08) + 0.52 * np.eye(6)
    some = ImageSet(*(np.repeat(x[:1], 6, axis=0) for x in (train.images, features, train.labels)))
    found = score(candidates(some, probabilities), train, limits)
    assert found.third_class.tolist() == [-1, -1, -1, 3, 4, 5]
    np.testing.assert_allclose(found.third_probability, [0, 0, 0, 0.6, 0.6, 0.6])


def test_with_two_classes_the_other_one_is_no_confuser():
    train = made(10, np.arange(10) % 2, 11)
    assert not class_limits(train, 2).confusers.any()


def test_entropy_is_scipys():
    p = np.random.default_rng(12).dirichlet(np.ones(5), 20)
    p[0], p[1] = np.eye(5)[0], 0.2
    np.testing.assert_allclose(normalised_entropy(p), entropy(p, axis=1) / np.log(5), atol=1e-12)
    assert normalised_entropy(p)[:2].tolist() == [0, 1]
    assert normalised_entropy(np.ones((2, 1))).tolist() == [0, 0]


def test_diversity_is_the_mean_of_pairs():
    x = made(30, 0, 13).directions
    pairs = cosine_distances(x)[np.triu_indices(30, 1)]
    assert diversity(x) == pytest.approx(pairs.mean())
    assert np.isnan(diversity(x[:1]))
    assert diversity(np.repeat(x[:1], 4, axis=0)) == pytest.approx(0, abs=1e-12)


@settings(deadline=None, max_examples=25, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(0, 25), st.sampled_from([0.25, 0.9, 1.5]))
def test_duplicates_are_greedy(seed: int, n: int, below: float):
    """Against the sentence that defines them, in loops."""
    train = made(12, np.arange(12) % 2, 14)
    limits = class_limits(train, 2)
    rng = np.random.default_rng(seed)
    some = made(n, rng.integers(0, 2, n), seed)
    if n > 4:  # repeat pixels, features or both of some earlier images
        images, features = some.images.copy(), some.features.copy()
        images[3], features[4] = images[0], features[1]
        some = ImageSet(images, features, some.labels)
    found = duplicates(some, limits, below=below)
    pixels, directions = some.images.reshape(n, 16) / 255.0 / 4, some.directions
    expected = np.full(n, -1)
    for i in range(n):
        for j in range(i):
            k = some.labels[i]
            near = np.linalg.norm(pixels[i] - pixels[j]) <= max(below * limits.pixel_scale[k], 1e-6)
            near |= np.linalg.norm(directions[i] - directions[j]) <= below * limits.scale[k]
            if some.labels[j] == k and expected[j] < 0 and near:
                expected[i] = j
                break
    np.testing.assert_array_equal(found, expected)


def test_real_images_do_not_repeat_each_other_but_slight_changes_do(digits_lt):
    limits = class_limits(digits_lt.train, 10)
    unseen = digits_lt.unseen
    assert (duplicates(unseen, limits) >= 0).mean() <= 0.01
    noise = np.random.default_rng(15).normal(0, 5, unseen.images.shape)
    again = np.clip(np.rint(unseen.images + noise), 0, 255).astype(np.uint8)
    both = np.concatenate([unseen.images, again])
    twice = ImageSet(both, digits_lt.look(both)[0], np.tile(unseen.labels, 2))
    assert (duplicates(twice, limits)[len(unseen) :] >= 0).mean() >= 0.99
    assert DUPLICATE_BELOW == 0.25


def test_unseen_real_images_pass_and_those_of_other_classes_do_not(digits_lt):
    train, unseen = digits_lt.train, digits_lt.unseen
    limits = class_limits(train, 10)

    def outside(labels: np.ndarray) -> np.ndarray:
        some = digits_lt.candidates(unseen.images, labels)
        distance = score(some, train, limits).prototype_distance
        low, high = limits.window[labels].T
        return (distance < low) | (distance > high)

    large = np.isin(unseen.labels, range(5))  # 26 images and more
    assert outside(unseen.labels)[large].mean() <= 0.03
    assert outside(unseen.labels)[~large].mean() <= 0.12
    assert outside((unseen.labels + 5) % 10).mean() >= 0.5
