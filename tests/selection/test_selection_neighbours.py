"""Neighbours up to a shift and in features: a slow search that cannot be wrong, scikit-learn."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from synthaug.selection.neighbours import (
    nearest,
    nearest_directions,
    nearest_shifted,
    shifted_distances,
)


def noise(n: int, seed: int, side: int = 8, channels: int = 1) -> np.ndarray:
    shape = (n, channels, side, side)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def least_distance(x: np.ndarray, y: np.ndarray, max_shift: int, mirror: bool) -> float:
    """Over all moves of x, pixel by pixel over what both show."""
    side, best = x.shape[-1], np.inf
    for turned in (x, x[..., ::-1])[: 1 + mirror]:
        for dy, dx in itertools.product(range(-max_shift, max_shift + 1), repeat=2):
            pairs = [
                (turned[:, i + dy, j + dx], y[:, i, j])
                for i, j in itertools.product(range(side), repeat=2)
                if 0 <= i + dy < side and 0 <= j + dx < side
            ]
            a, b = (np.array(p, float) / 255 for p in zip(*pairs, strict=True))
            best = min(best, float(np.sqrt(((a - b) ** 2).mean())))
    return best


@pytest.mark.parametrize(("max_shift", "mirror"), [(1, True), (2, False), (0, True)])
def test_shifted_equals_a_slow_search(max_shift: int, mirror: bool):
    images, reference = noise(4, 0, channels=3), noise(6, 1, channels=3)
    images[0] = reference[4][..., ::-1]
    slow = np.array([[least_distance(x, y, max_shift, mirror) for y in reference] for x in images])
    index, distance = nearest_shifted(images, reference, 6, max_shift=max_shift, mirror=mirror)
    np.testing.assert_allclose(distance, np.sort(slow, axis=1), rtol=1e-5)
    np.testing.assert_array_equal(index, np.argsort(slow, axis=1))


@pytest.mark.parametrize("max_bytes", [1, 5_000, 64 << 20])
def test_unmoved_it_is_nearest(max_bytes: int):
    images, reference = noise(20, 2), noise(30, 3)
    plain = nearest(images, reference, 4)
    shifted = nearest_shifted(images, reference, 4, max_shift=0, mirror=False, max_bytes=max_bytes)
    np.testing.assert_array_equal(shifted[0], plain[0])
    np.testing.assert_allclose(shifted[1], plain[1], rtol=1e-6)


@pytest.mark.parametrize(("side", "fill"), [(8, 0), (12, 255), (16, 0), (21, 255), (32, 0)])
def test_moved_and_mirrored_images_are_at_zero(side: int, fill: int):
    """Whatever fills the border, and also where blocks of pixels are compared."""
    reference = noise(6, side, side)
    reach = 1 if side < 16 else 2
    for dy, dx in itertools.product((-reach, 0, 1), repeat=2):
        moved = np.full_like(reference, fill)
        here = [slice(max(s, 0), side + min(s, 0)) for s in (dy, dx)]
        there = [slice(max(-s, 0), side + min(-s, 0)) for s in (dy, dx)]
        moved[:, :, here[0], here[1]] = reference[:, :, there[0], there[1]]
        for images in (moved, moved[..., ::-1]):
            index, distance = nearest_shifted(images, reference, 2)
            np.testing.assert_array_equal(index[:, 0], np.arange(6))
            assert (distance[:, 0] == 0).all()
            assert (distance[:, 1] > 0.05).all()


def test_a_larger_shift_is_another_image():
    image = noise(1, 4, 16)
    assert nearest_shifted(np.roll(image, 3, axis=2), image, 1)[1][0, 0] > 0.3


@settings(deadline=None, max_examples=20, derandomize=True)
@given(st.integers(1, 6), st.integers(0, 1000))
def test_shifted_is_symmetric_up_to_the_mirror(n: int, seed: int):
    images = noise(n, seed)
    between = shifted_distances(images)
    np.testing.assert_allclose(between, between.T, rtol=1e-5)
    assert (np.diag(between) == 0).all()
    assert (between <= shifted_distances(images, max_shift=0, mirror=False) + 1e-9).all()


def test_own_is_passed_over_and_minus_one_is_nobody():
    images = noise(5, 5)
    own = np.array([0, 1, -1, 3, 4])
    for search in (nearest, nearest_shifted):
        index, distance = search(images, images, 1, own=own)
        assert distance[2, 0] == 0 and index[2, 0] == 2
        assert (np.delete(distance[:, 0], 2) > 0.1).all()


def test_directions_equal_scikit_learn():
    rng = np.random.default_rng(6)
    x, y = (v / np.linalg.norm(v, axis=1)[:, None] for v in rng.normal(size=(2, 40, 5)))
    index, distance = nearest_directions(x, y, 3)
    theirs, at = NearestNeighbors(n_neighbors=3).fit(y).kneighbors(x)
    np.testing.assert_array_equal(index, at)
    np.testing.assert_allclose(distance, theirs, rtol=1e-9)
    index, distance = nearest_directions(y, y, 3, own=np.arange(40))
    theirs, at = NearestNeighbors(n_neighbors=3).fit(y).kneighbors()
    np.testing.assert_array_equal(index, at)


@pytest.mark.parametrize("side", [8, 20])
def test_a_shift_that_leaves_nothing(side: int):
    images = noise(2, 7, side)
    with pytest.raises(ValueError, match="max_shift"):
        nearest_shifted(images, images, 1, max_shift=side)
    with pytest.raises(ValueError, match="max_shift"):
        nearest_shifted(images, images, 1, max_shift=-1)
