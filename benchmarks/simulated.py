"""Simulated classifiers, whose true differences are known: what the tests and coverage.py draw.

Whether arm a, trained with seed s, recognises test image i of class k is a probit model,

    level[a, k] + difficulty[i] + taste[a, i] + seed[s, k] + run[a, s, k] + noise[a, s, i] > 0:

images are hard or easy for all, more or less so for one arm; seeds are lucky for all arms or for
one. An image that is not recognised goes to a rival class of its own, the same for all.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri


@dataclass(frozen=True)
class World:
    """`recall` [A][K] in expectation over images and seeds, `n_test` [K], and the spreads."""

    recall: tuple[tuple[float, ...], ...]
    n_test: tuple[int, ...]
    n_seeds: int = 5
    difficulty: float = 1.5
    taste: float = 0.5
    seed: float = 0.2
    run: float = 0.15

    @property
    def n_classes(self) -> int:
        return len(self.n_test)

    @property
    def y_true(self) -> NDArray[np.int64]:
        return np.repeat(np.arange(self.n_classes), self.n_test)

    def levels(self) -> NDArray[np.float64]:
        """float64 [A, K]."""
        spread = self.difficulty**2 + self.taste**2 + self.seed**2 + self.run**2 + 1
        levels: NDArray[np.float64] = ndtri(np.array(self.recall)) * np.sqrt(spread)
        return levels

    def draw(self, rng: np.random.Generator, repetitions: int) -> NDArray[np.int64]:
        """Predicted classes int64 [R, A, S, N]: new seeds and images in each repetition."""
        y, k = self.y_true, self.n_classes
        r, a, s, n = repetitions, len(self.recall), self.n_seeds, len(y)
        margin = self.levels()[None, :, None, y]
        margin = margin + self.difficulty * rng.standard_normal((r, 1, 1, n))
        margin = margin + self.taste * rng.standard_normal((r, a, 1, n))
        margin = margin + self.seed * rng.standard_normal((r, 1, s, k))[..., y]
        margin = margin + self.run * rng.standard_normal((r, a, s, k))[..., y]
        right = margin + rng.standard_normal((r, a, s, n)) > 0
        rival = (y + rng.integers(1, max(k, 2), (r, 1, 1, n))) % k
        return np.where(right, y, rival)

    def expected(self, rng: np.random.Generator, draws: int = 20_000) -> NDArray[np.float64]:
        """Confusion matrices [A, draws, K, K] of endless test sets of these sizes, a seed each."""
        spread = np.sqrt(self.difficulty**2 + self.taste**2 + 1)
        a, k = len(self.recall), self.n_classes
        luck = self.seed * rng.standard_normal((1, draws, k))
        luck = luck + self.run * rng.standard_normal((a, draws, k))
        recall = ndtr((self.levels()[:, None] + luck) / spread)
        share = np.repeat(((1 - recall) / max(k - 1, 1))[..., None], k, axis=-1)
        share[..., np.arange(k), np.arange(k)] = recall
        confusion: NDArray[np.float64] = share * np.array(self.n_test)[:, None]
        return confusion
