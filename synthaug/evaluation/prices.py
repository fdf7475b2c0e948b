"""What a gain in recall was paid with: recall and precision that other classes lost."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from synthaug.evaluation.detectable import MIN_TEST_IMAGES
from synthaug.evaluation.intervals import holm
from synthaug.evaluation.metrics import confusion_matrix
from synthaug.evaluation.paired import (
    Difference,
    Ints,
    mean_recall,
    paired_differences,
    precision_of,
)

SHARE = 0.2
"""Of the images a class lost: what another must have taken for the loss to be called its price."""


@dataclass(frozen=True)
class Price:
    """A loss of class `k` in one metric.

    `moved` [K] is how many more test images of class k than before are called each class, as a mean
    over seeds; that of k itself is negative where recall was lost.
    """

    k: int
    metric: Literal["recall", "precision"]
    difference: Difference
    moved: tuple[float, ...]


def find_prices(
    y_true: Ints, ours: Ints, theirs: Ints, *, n_classes: int, level: float = 0.05
) -> tuple[Price, ...]:
    """All losses beyond chance of predictions [S, N] against others, the largest first.

    Recall of the classes with enough test images and precision of all, corrected for their number
    by Holm's method. A precision that is undefined in some seed is not tested.
    """
    n_test = np.bincount(y_true, minlength=n_classes)
    one = np.eye(n_classes, dtype=bool)
    recalls = [int(k) for k in np.flatnonzero(n_test >= MIN_TEST_IMAGES)]
    found = paired_differences(
        y_true,
        ours,
        theirs,
        [*(mean_recall(one[k]) for k in recalls), *(precision_of(k) for k in range(n_classes))],
        n_classes=n_classes,
    )
    p = holm([np.nan if d is None or d.p is None else d.p for d in found])
    before, after = (confusion_matrix(y_true, x, n_classes).mean(0) for x in (theirs, ours))
    names: list[tuple[int, Literal["recall", "precision"]]] = [
        *((k, "recall") for k in recalls),
        *((k, "precision") for k in range(n_classes)),
    ]
    lost = [
        Price(k, metric, d, tuple((after - before)[k].tolist()))
        for (k, metric), d, adjusted in zip(names, found, p, strict=True)
        if d is not None and d.mean < 0 and adjusted < level
    ]
    return tuple(sorted(lost, key=lambda price: price.difference.mean))


def paid_for(k: int, prices: Sequence[Price]) -> tuple[Price, ...]:
    """The prices of class k's recall: its own precision, and the recall of classes it took from."""

    def paid(price: Price) -> bool:
        if price.k == k:
            return price.metric == "precision"
        return price.metric == "recall" and price.moved[k] > -SHARE * price.moved[price.k]

    return tuple(price for price in prices if paid(price))
