"""The image folders that the pages speak of, made of scikit-learn's digits, and small."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits


def write_classes(root: Path, counts: Mapping[str, int], *, first: int = 0) -> None:
    """A folder a class: the n images of the k-th digit from the `first` on."""
    digits = load_digits()
    for k, (name, n) in enumerate(counts.items()):
        folder = root / name
        folder.mkdir(parents=True)
        for i, levels in enumerate(digits.images[digits.target == k][first : first + n]):
            Image.fromarray(np.uint8(levels * 15)).save(folder / f"{i:03d}.png")


def animals(here: Path) -> None:
    """`imgs`, the example of most pages, and `more`, further images of the same."""
    write_classes(here / "imgs", {"cat": 40, "dog": 30, "owl": 12})
    write_classes(here / "more", {"cat": 8, "dog": 8, "owl": 8}, first=60)


FOLDERS: dict[str, Callable[[Path], None]] = {}
"""What a page needs beside or instead of the animals."""
