"""Long-tailed versions of balanced data, for demonstrations and benchmarks."""

import os
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from synthaug.errors import DataError, UsageError

_MIN_TEST_IMAGES = 60
_DIGITS_LEVELS = 16


def long_tail_counts(n_max: int, n_classes: int, imbalance_ratio: float) -> list[int]:
    """Return the exponential profile n_k = n_max * IR^(-k / (K - 1)), rounded, at least 1.

    Cao et al. (2019), section 4, arXiv:1906.07413.

    Raises:
        UsageError: when ``n_max`` or ``n_classes`` is below 1 or ``imbalance_ratio`` below 1.
    """
    if n_max < 1 or n_classes < 1 or not imbalance_ratio >= 1:
        raise UsageError(
            f"a long tail of {n_classes} classes from {n_max} images at ratio {imbalance_ratio}",
            expected="at least 1 class, 1 image and a ratio of 1",
        )
    last = max(1, n_classes - 1)
    return [max(1, round(n_max * imbalance_ratio ** (-k / last))) for k in range(n_classes)]


def write_digits_long_tail(
    root: Path, *, n_max: int = 100, imbalance_ratio: float = 20.0, seed: int = 0
) -> Path:
    """Write scikit-learn's handwritten digits with a long-tailed train split.

    ``root/train/<digit>/`` gets `long_tail_counts` images, most of them zeros and fewest nines;
    ``root/test/<digit>/`` gets all the other images of the digit. Images are 8x8 grey PNG files.

    Args:
        root: a folder that does not exist yet, or is empty.
        n_max: train images of the digit 0.
        imbalance_ratio: largest over smallest train count.
        seed: of the draw.

    Returns:
        ``root``.

    Raises:
        DataError: when ``root`` holds something already.
        UsageError: when ``n_max`` leaves a digit fewer than 60 test images.
    """
    from sklearn.datasets import load_digits  # takes a second to import

    root = Path(root)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DataError(
            f"{root} exists and is not an empty folder", remedy="name a folder that does not exist"
        )
    digits = load_digits()
    images = np.rint(digits.images * (255 / _DIGITS_LEVELS)).astype(np.uint8)
    available = np.bincount(digits.target)
    counts = long_tail_counts(n_max, len(available), imbalance_ratio)
    for digit, (count, total) in enumerate(zip(counts, available, strict=True)):
        if count > total - _MIN_TEST_IMAGES:
            raise UsageError(
                f"{count} train images of the digit {digit} leave {total - count} of {total} to "
                "test on",
                expected=f"at least {_MIN_TEST_IMAGES} test images",
                remedy=f"lower n_max to {min(available) - _MIN_TEST_IMAGES}",
            )

    staging = root.with_name(f".{root.name}.tmp-{os.getpid()}")
    try:
        for digit, count in enumerate(counts):
            of_digit = np.flatnonzero(digits.target == digit)
            order = np.random.default_rng([seed, digit]).permutation(of_digit)
            for split, positions in (("train", order[:count]), ("test", order[count:])):
                folder = staging / split / str(digit)
                folder.mkdir(parents=True)
                for position in sorted(positions):
                    Image.fromarray(images[position]).save(folder / f"{position:04d}.png")
        if root.exists():
            root.rmdir()
        os.replace(staging, root)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return root
