"""Small datasets in memory and on disk."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthaug.data.splits import Splits
from synthaug.stages.dataset import Dataset


@pytest.fixture
def write_images(tmp_path: Path) -> Callable[..., Path]:
    """Write n different noisy 8x8 PNGs into each given folder below a new root; return it."""

    def write(root: str = "images", **folders: int) -> Path:
        top = tmp_path / root
        rng = np.random.default_rng(len(folders))
        for folder, n in folders.items():
            place = top / folder.replace("__", "/")
            place.mkdir(parents=True)
            for i in range(n):
                levels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
                Image.fromarray(levels).save(place / f"{i:03d}.png")
        return top

    return write


@pytest.fixture
def dataset_of() -> Callable[..., Dataset]:
    """A dataset of noise with these train counts and two test images a class."""

    def build(*counts: int, size: int = 8, n_test: int = 2) -> Dataset:
        k = len(counts)
        labels = np.concatenate([np.repeat(range(k), counts), np.repeat(range(k), n_test)])
        n_train, n = sum(counts), len(labels)
        rng = np.random.default_rng(0)
        splits = Splits(np.arange(n_train), np.arange(0), np.arange(n_train, n), ())
        return Dataset(
            root="somewhere/images",
            name="images",
            fingerprint="f" * 64,
            class_names=tuple(f"class {i}" for i in range(k)),
            pixels=rng.integers(0, 256, (n, 1, size, size), dtype=np.uint8),
            labels=labels.astype(np.int64),
            paths=tuple(f"{i}.png" for i in range(n)),
            content_hashes=tuple(f"{i:064x}" for i in range(n)),
            splits=splits,
            notices=("a notice",),
        )

    return build
