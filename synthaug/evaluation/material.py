"""What arms are made of: images of several kinds, and how likely each is to be drawn."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from synthaug.evaluation.tuning import Trial

Labelled = tuple[np.ndarray, np.ndarray]
"""Images uint8 [N, C, H, W] and labels int64 [N]."""


@dataclass(frozen=True)
class TrainingSet:
    """`images` uint8 [N, C, H, W], `labels` int64 [N], `weights` float64 [N] summing to 1.

    `weights` is the probability of each image to be the next one drawn.
    """

    images: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    last_weights: np.ndarray | None = None
    """Takes the place of `weights` in the last part of the steps."""
    discounted: np.ndarray | None = None
    """bool [N]: images whose loss counts `ClassifierOptions.synthetic_weight`."""
    transform: str = ""
    """What is done to a batch, a name of `transforms.TRANSFORMS`; empty for nothing."""
    smote_features: np.ndarray | None = None
    """int64 [K]: what SMOTE adds to the features of the images, on which the last layer alone is
    trained in the last part of the steps."""
    tau: float | None = None
    """Takes the place of `ClassifierOptions.tau`."""


@dataclass(frozen=True)
class Material:
    """What arms are made of; only `real` exists everywhere.

    `synthetic` comes from the balanced set, `unfiltered` is all that was drawn for it and `extra`
    are further real images (the oracle's). `synthetic_share` is how far to go from oversampling (0)
    to the balanced set as it is (1). `n_new` int [K] is what the balance plan asks for; without
    one every class is filled up to the largest.
    """

    real: Labelled
    n_classes: int
    synthetic: Labelled | None = None
    extra: Labelled | None = None
    synthetic_share: float = 0.5
    seed: int = 0
    unfiltered: Labelled | None = None
    n_new: np.ndarray | None = None
    tuned: Mapping[str, Trial] | None = None
    """What was chosen for the tuned sides, by their name."""

    def planned(self) -> np.ndarray:
        """Images that the plan adds to each class, int64 [K]."""
        if self.n_new is not None:
            return np.asarray(self.n_new, dtype=np.int64)
        n = np.bincount(self.real[1], minlength=self.n_classes)
        return n.max() - n


def class_balanced(labels: np.ndarray) -> np.ndarray:
    """Weights float64 [N] that draw every class present equally often."""
    counts = np.bincount(labels)
    return 1.0 / counts[labels] / np.count_nonzero(counts)


def mixed(
    real: Labelled,
    added: Labelled,
    share: float,
    *,
    m: np.ndarray | None = None,
    power: float = 1.0,
) -> TrainingSet:
    """Real and added images, classes equally likely; `share` of the balanced set's mix within one.

    A class with n real and m added images draws added ones with probability share * m / (n + m):
    share 0 is oversampling of the real images, share 1 draws all n + m alike, and a class that
    needed few images is little changed by them. `m` int [K] may say other numbers than are there.
    `power` below 1 draws classes in proportion to n^(1 - power) instead: 0 as they are.
    """
    n_classes = int(max(real[1].max(), added[1].max(initial=0))) + 1
    n = np.bincount(real[1], minlength=n_classes)
    there = np.bincount(added[1], minlength=n_classes)
    m = there if m is None else np.where(there > 0, m[:n_classes], 0)
    p_added = share * m / np.maximum(n + m, 1)
    per_class = np.where(n > 0, np.maximum(n, 1.0) ** (1 - power), 0.0)
    per_class /= per_class.sum()
    w_real = (per_class * (1 - p_added) / np.maximum(n, 1))[real[1]]
    w_added = (per_class * p_added / np.maximum(there, 1))[added[1]]
    return TrainingSet(
        np.concatenate([real[0], added[0]]),
        np.concatenate([real[1], added[1]]),
        np.concatenate([w_real, w_added]),
    )
