"""Nearest train images and the copy ratio: known distances, planted copies, scikit-learn."""

import math
import tracemalloc

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from synthaug.selection.memorisation import (
    copy_ratio,
    copy_share,
    leave_one_out_ratio,
    nearest,
)


def noise(n: int, seed: int, shape: tuple[int, ...] = (3, 8, 8)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def flat(level: int, n: int = 1) -> np.ndarray:
    return np.full((n, 1, 4, 4), level, np.uint8)


@pytest.mark.parametrize("max_bytes", [1, 3_000, 64 << 20])
def test_equals_scikit_learn_whatever_the_blocks(max_bytes: int):
    images, reference = noise(37, 0), noise(53, 1)
    index, distance = nearest(images, reference, 5, max_bytes=max_bytes)
    scaled = [x.reshape(len(x), -1) / 255 for x in (images, reference)]
    theirs, at = NearestNeighbors(n_neighbors=5).fit(scaled[1]).kneighbors(scaled[0])
    np.testing.assert_array_equal(index, at)
    np.testing.assert_allclose(distance, theirs / math.sqrt(192), rtol=1e-9)


@pytest.mark.parametrize("max_bytes", [1, 64 << 20])
def test_leave_one_out_equals_scikit_learn(max_bytes: int):
    images = noise(30, 2)
    index, distance = nearest(images, images, 2, own=np.arange(30), max_bytes=max_bytes)
    scaled = images.reshape(30, -1) / 255
    theirs, at = NearestNeighbors(n_neighbors=2).fit(scaled).kneighbors()
    np.testing.assert_array_equal(index, at)
    np.testing.assert_allclose(distance, theirs / math.sqrt(192), rtol=1e-9)


def test_units():
    """0 is equal, 1 is black against white, whatever the number of pixels."""
    _, distance = nearest(flat(0), np.concatenate([flat(0), flat(51), flat(255)]), 3)
    np.testing.assert_allclose(distance, [[0, 0.2, 1]], rtol=1e-15)


@pytest.mark.parametrize("max_bytes", [1, 64 << 20])
def test_of_equally_near_ones_the_first_is_nearer(max_bytes: int):
    reference = np.concatenate([flat(9), flat(5), flat(7), flat(5), flat(5)])
    index, distance = nearest(flat(6), reference, 4, max_bytes=max_bytes)
    assert index.tolist() == [[1, 2, 3, 4]]
    assert len(set(distance[0].tolist())) == 1


def test_fewer_than_k():
    index, distance = nearest(flat(1, 2), flat(0), 3)
    assert index.tolist() == [[0, -1, -1]] * 2
    assert np.isinf(distance[:, 1:]).all()
    index, _ = nearest(flat(1), flat(1), 1, own=np.array([0]))
    assert index.tolist() == [[-1]]
    index, _ = nearest(flat(1), flat(1)[:0], 1)
    assert index.tolist() == [[-1]]


def test_no_image():
    index, distance = nearest(noise(0, 0), noise(4, 0), 2)
    assert index.shape == distance.shape == (0, 2)
    assert copy_ratio(noise(0, 0), noise(4, 0)).shape == (0,)
    assert math.isnan(copy_share(np.empty(0)))


@pytest.mark.parametrize("n_copies", [0, 1, 7])
def test_planted_copies_are_caught_and_nothing_else(n_copies: int):
    reference, images = noise(60, 3), noise(40, 4)
    images[:n_copies] = reference[20 : 20 + n_copies]
    ratio = copy_ratio(images, reference)
    assert (ratio[:n_copies] == 0).all()
    assert (ratio[n_copies:] > 0.8).all()
    assert copy_share(ratio) == n_copies / 40


def test_a_near_copy_is_caught_by_the_third():
    reference = np.concatenate([flat(100), flat(200)])
    images = np.concatenate([flat(100 + n) for n in (1, 24, 26, 50)])
    ratio = copy_ratio(images, reference)
    np.testing.assert_allclose(ratio, [1 / 99, 24 / 76, 26 / 74, 1])
    assert copy_share(ratio) == 0.5


def test_duplicates_in_the_reference_hide_no_copy():
    """0/0: the image equals two train images and is a copy of both."""
    reference = np.concatenate([flat(7), flat(7), flat(90)])
    assert copy_ratio(flat(7), reference).tolist() == [0]
    assert leave_one_out_ratio(reference).tolist() == [0, 0, 1]


def test_one_reference_image_gives_no_ratio_but_an_equal_image_is_a_copy():
    ratio = copy_ratio(np.concatenate([flat(7), flat(8)]), flat(7))
    assert ratio[0] == 0 and math.isnan(ratio[1])
    assert copy_share(ratio) == 1
    assert np.isnan(leave_one_out_ratio(flat(7))).all()


def test_the_null_of_independent_images_has_no_copies():
    assert copy_share(leave_one_out_ratio(noise(50, 5))) == 0
    assert np.isnan(leave_one_out_ratio(noise(0, 5))).all()


def test_memory_is_bounded():
    images = noise(3000, 6, (1, 16, 16))
    bound = 1 << 20
    tracemalloc.start()
    nearest(images, images, 2, max_bytes=bound)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Two blocks and their squares, the distances and what their sum passes through.
    assert peak < 10 * bound < 3000 * 3000 * 8 / 4


@pytest.mark.parametrize(
    ("images", "reference", "k"),
    [
        (flat(0).astype(float), flat(0), 1),
        (flat(0), noise(2, 0), 1),
        (flat(0), flat(0), 0),
    ],
)
def test_wrong_arguments(images, reference, k: int):
    with pytest.raises(ValueError):
        nearest(images, reference, k)
