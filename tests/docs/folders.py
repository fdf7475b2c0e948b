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


def scans(here: Path) -> None:
    """Deep images of 12 bits, two or three of each patient, whose number is in their names."""
    digits = load_digits()
    for k, (name, first, patients) in enumerate((("benign", 1, 20), ("malignant", 21, 8))):
        folder = here / "scans" / name
        folder.mkdir(parents=True)
        images = iter(digits.images[digits.target == k])
        for patient in range(first, first + patients):
            for letter in "abc"[: 2 + patient % 2]:
                levels = np.uint16(next(images) * 255)
                Image.fromarray(levels).save(folder / f"patient{patient:02d}_{letter}.png")


FOLDERS: dict[str, Callable[[Path], None]] = {"docs/how-to/medical-16-bit.md": scans}
"""What a page needs in the place of the animals."""
