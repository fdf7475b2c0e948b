"""How near the synthetic images are to real ones no network has seen, class by class.

The features are those of a classifier trained on the real train images alone. The real images are
the test images: the generator, the selection and the features have not seen them, and a class that
needs synthetic images seldom has other ones to spare. That is allowed because nothing is chosen by
these numbers: they are written down after everything has been trained.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from synthaug.evaluation.arms import Arm
from synthaug.evaluation.fidelity import MIN_IMAGES, class_fidelity

FEATURE_JOB = (Arm("real", "ce"), 0)
"""The arm and seed whose network gives the features."""
MOST = 300
"""Images on a side of a comparison: more would sharpen what 300 tell already, at a square cost."""


def choose_images(
    test_labels: np.ndarray, labels: np.ndarray, n_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Positions int64 of the test and of the synthetic images that `measure_fidelity` needs.

    Both are empty where no class has enough of them.
    """
    real, synthetic = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for k in range(n_classes):
        theirs, ours = np.flatnonzero(test_labels == k), np.flatnonzero(labels == k)
        if len(theirs) >= 2 * MIN_IMAGES and len(ours) >= MIN_IMAGES:
            real.append(theirs[: 2 * MOST])
            synthetic.append(ours[:MOST])
    return np.concatenate(real), np.concatenate(synthetic)


def measure_fidelity(
    real: tuple[np.ndarray, np.ndarray],
    synthetic: tuple[np.ndarray, np.ndarray],
    n_test: Sequence[int],
    n_synthetic: Sequence[int],
    class_names: Sequence[str],
    *,
    seed: int,
) -> dict[str, Any]:
    """`fidelity` of results.json: every class with synthetic images, its scores or why it has none.

    `real` and `synthetic` are features float32 [N, D] and labels int64 [N] of the chosen images;
    `n_test` and `n_synthetic` [K] say how many there are in all.
    """
    classes = []
    for k, name in enumerate(class_names):
        if not n_synthetic[k]:
            continue
        theirs, ours = (features[labels == k] for features, labels in (real, synthetic))
        if not len(theirs):  # too few to have been chosen: only their numbers are asked for
            theirs, ours = np.zeros((n_test[k], 1)), np.zeros((n_synthetic[k], 1))
        told = asdict(class_fidelity(theirs, ours, seed=seed, max_images=MOST))
        classes.append({"class_name": name, **{key: _rounded(v) for key, v in told.items()}})
    arm, number = FEATURE_JOB
    return {"features": f"{arm.name}, seed {number}", "classes": classes}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: round(v, 4) for key, v in value.items()}
    return value
