"""How many synthetic images are likely copies of train images, beside the same among real ones."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import fisher_exact

from synthaug.selection.memorisation import COPY_BELOW, copy_ratio, nearest, ratio_of
from synthaug.stages.dataset import Dataset

LOOKED_AT = 500
"""Images of a class, at most, that the share of copies is taken over."""
IN_ALL = 5000
FEWEST = 50
"""With many classes fewer of each are looked at: every one is compared with all train images."""


@dataclass(frozen=True)
class Likeness:
    """Synthetic images of a class beside the train images nearest to them.

    `index` int64 and `distance` float64 [n, k] of the neighbours, `ratio` [n] of the nearest to
    the second nearest distance, and `null` [m], the same of the class's real train images, each
    against all others.
    """

    index: np.ndarray
    distance: np.ndarray
    ratio: np.ndarray
    null: np.ndarray

    @property
    def copies(self) -> int:
        return int((self.ratio < COPY_BELOW).sum())

    @property
    def copies_among_real(self) -> int:
        return int((self.null < COPY_BELOW).sum())


def likeness_of(
    dataset: Dataset, k: int, own: np.ndarray, *, neighbours: int = 2, looked_at: int = LOOKED_AT
) -> Likeness:
    """What uint8 images [n, C, H, W] of class k are like, at most `looked_at` of them."""
    train, labels = dataset.train
    index, distance = nearest(own[:looked_at], train, neighbours)
    mine = np.flatnonzero(labels == k)[:looked_at]
    return Likeness(index, distance, ratio_of(distance), copy_ratio(train[mine], train, own=mine))


def memorisation_json(
    dataset: Dataset, synthetic: tuple[np.ndarray, np.ndarray] | None
) -> dict[str, Any] | None:
    """`memorisation` of results.json for images uint8 [N, C, H, W] and labels; None without any."""
    if synthetic is None or not len(synthetic[1]):
        return None
    images, labels = synthetic
    made = np.unique(labels)
    looked_at = min(LOOKED_AT, max(IN_ALL // len(made), FEWEST))
    classes = []
    for k in made:
        found = likeness_of(dataset, int(k), images[labels == k], looked_at=looked_at)
        n, n_real = len(found.ratio), len(found.null)
        table = [
            [found.copies, n - found.copies],
            [found.copies_among_real, n_real - found.copies_among_real],
        ]
        p = float(fisher_exact(table, alternative="greater").pvalue) if n and n_real else None
        classes.append(
            {
                "class_name": dataset.class_names[int(k)],
                "n_synthetic": n,
                "copies": found.copies,
                "n_real": n_real,
                "copies_among_real": found.copies_among_real,
                "p": None if p is None else round(min(p, 1.0), 6),
            }
        )
    return {"ratio_below": round(COPY_BELOW, 6), "classes": classes}
