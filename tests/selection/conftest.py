"""Real handwritten digits with a long tail, and what a plain linear model sees in them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from synthaug.data.longtail import long_tail_counts
from synthaug.selection.sets import Candidates, ImageSet

Look = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Digits:
    """100 to 5 train images a digit, the first the most; `unseen` are 70 others of each.

    `look` gives features and probabilities of images.
    """

    train: ImageSet
    unseen: ImageSet
    look: Look

    def candidates(self, images: np.ndarray, labels: np.ndarray, first_seed: int = 0) -> Candidates:
        features, probabilities = self.look(images)
        seeds = first_seed + np.arange(len(images))
        return Candidates(images, features, labels, probabilities, seeds)


def principal_components(images: np.ndarray, labels: np.ndarray, n: int = 32) -> Look:
    """Features: coordinates along `n` components. Probabilities: by distances to class means."""
    flat = images.reshape(len(images), -1) / 255.0
    mean = flat.mean(axis=0)
    axes = np.linalg.svd(flat - mean, full_matrices=False)[2][:n].T
    centres = np.stack([((flat - mean) @ axes)[labels == k].mean(axis=0) for k in range(10)])
    spread = np.mean([((flat[labels == k] - mean) @ axes).var(axis=0).sum() for k in range(10)])

    def look(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        features = (images.reshape(len(images), -1) / 255.0 - mean) @ axes
        squared = ((features[:, None] - centres) ** 2).sum(axis=2)
        weights = np.exp(-3 * (squared - squared.min(axis=1, keepdims=True)) / spread)
        return features, weights / weights.sum(axis=1, keepdims=True)

    return look


@pytest.fixture(scope="session")
def digits_lt() -> Digits:
    from sklearn.datasets import load_digits

    data = load_digits()
    images = np.rint(data.images * (255 / 16)).astype(np.uint8)[:, None]
    train, unseen = [], []
    for k, size in enumerate(long_tail_counts(100, 10, 20)):
        order = np.random.default_rng([0, k]).permutation(np.flatnonzero(data.target == k))
        train.append(order[:size])
        unseen.append(order[size : size + 70])
    at, rest = np.concatenate(train), np.concatenate(unseen)
    look = principal_components(images[at], data.target[at])
    return Digits(
        ImageSet(images[at], look(images[at])[0], data.target[at]),
        ImageSet(images[rest], look(images[rest])[0], data.target[rest]),
        look,
    )


@pytest.fixture(scope="session")
def look_at() -> Callable[[np.ndarray, np.ndarray], Look]:
    return principal_components


def moved(images: np.ndarray, fill: int = 0) -> np.ndarray:
    """Each image one pixel in another of eight directions, `fill` coming in."""
    wide = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=fill)
    height, width = images.shape[2:]
    steps = [(i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    result = np.empty_like(images)
    for n, image in enumerate(wide):
        i, j = steps[n % 8]
        result[n] = image[:, i : i + height, j : j + width]
    return result


@pytest.fixture(scope="session")
def move() -> Callable[..., np.ndarray]:
    return moved
