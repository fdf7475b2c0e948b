"""Words for how many train images a class has."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Counts = Sequence[int] | npt.NDArray[np.int64]

MANY_ABOVE = 100
FEW_BELOW = 20


def shot_groups(counts: Counts) -> list[str]:
    """Return "many" (over 100), "medium" (20 to 100) or "few" (under 20) for each of K counts.

    The bounds are those of Liu et al. (2019), arXiv:1904.05160.
    """
    return [
        "many" if count > MANY_ABOVE else "few" if count < FEW_BELOW else "medium"
        for count in counts
    ]


def minority_classes(counts: Counts, below: float = 0.5) -> npt.NDArray[np.bool_]:
    """Return, as bool [K], which classes have fewer than ``below`` times the largest count.

    ``below`` is at most 1, so that equal classes are never minorities.
    """
    assert 0 <= below <= 1
    images = np.asarray(counts, dtype=np.int64)
    minority: npt.NDArray[np.bool_] = images < below * images.max(initial=0)
    return minority


def imbalance_ratio(counts: Counts) -> float:
    """Return the largest over the smallest of K positive counts, 1 when they are equal."""
    images = np.asarray(counts, dtype=np.int64)
    return float(images.max() / images.min())
