"""Stateless randomness: every draw is a function of named integers, never of what ran before.

Training draws depend on (seed, step), an image on its own seed. That makes a stopped run resumable
exactly and any image reproducible alone. Image noise comes from numpy's Philox, a counter-based
generator whose stream is the same on every device.
"""

import numpy as np
import torch
from torch import Tensor

_SOURCES = 1
"""Sets the stream that chooses source images apart from any other that a seed may begin."""


def step_generator(seed: int, step: int) -> torch.Generator:
    """A CPU generator for everything that one optimiser step draws."""
    words = np.random.SeedSequence([seed, step]).generate_state(1, np.uint32)
    return torch.Generator().manual_seed(int(words[0]))


def image_seeds(seed: int, label: int, first: int, n: int) -> np.ndarray:
    """Seeds of images `first .. first + n - 1` of a class, int64 [n] >= 0; one seed, one image."""
    draws = [
        np.random.SeedSequence([seed, label, i]).generate_state(1, np.uint64)[0] >> np.uint64(1)
        for i in range(first, first + n)
    ]
    return np.array(draws, dtype=np.int64)


def source_draws(seeds: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which of `n` >= 1 real images each image starts from: (first, second, lambda), each [N].

    `first` and `second` are int64 in 0..n-1 and differ if n > 1; lambda is float64 in [0, 1).
    Like the noise they depend on the image's own seed only, and on no draw of that noise.
    """
    first, second = np.empty(len(seeds), np.int64), np.empty(len(seeds), np.int64)
    lam = np.empty(len(seeds))
    for i, seed in enumerate(seeds):
        words = np.random.default_rng(np.random.SeedSequence([int(seed), _SOURCES]))
        first[i] = words.integers(n)
        second[i] = (first[i] + words.integers(1, n)) % n if n > 1 else first[i]
        lam[i] = words.random()
    return first, second, lam


class ImageNoise:
    """Standard normal noise in which image i depends on `seeds[i]` only, not on its neighbours.

    Each call returns the next draw, float32 [B, *shape] on `device`.
    """

    def __init__(self, seeds: np.ndarray, shape: tuple[int, ...], device: torch.device) -> None:
        self._streams = [np.random.Generator(np.random.Philox(key=int(s))) for s in seeds]
        self._shape, self._device = shape, device

    def __call__(self) -> Tensor:
        draws = [g.standard_normal(self._shape, dtype=np.float32) for g in self._streams]
        return torch.from_numpy(np.stack(draws)).to(self._device)
