"""Precision, recall, density and coverage of generated images, by balls around nearest neighbours.

*Fidelity* precision and recall: nothing of them is about a classifier's decisions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Manifold:
    """Shares from 0 to 1; density may exceed 1."""

    precision: float
    """Of synthetic images inside the ball of a real one. Outliers among the real inflate it."""
    recall: float
    """Of real images inside the ball of a synthetic one."""
    density: float
    """Mean number of real balls around a synthetic image, over k; 1 in expectation for one
    distribution, more where synthetic images crowd in the middle."""
    coverage: float
    """Of real images with a synthetic one in their ball."""


def manifold(
    real: Floats, synthetic: Floats, *, k_precision: int = 3, k_density: int = 5
) -> Manifold:
    """The four scores of features real [n, D] against synthetic [m, D].

    The ball of an image reaches to its k-th nearest neighbour in its own set, itself not counted,
    and includes its surface. Precision and recall: Kynkaanniemi et al. (2019), arXiv:1904.06991, of
    k = 3. Density and coverage: Naeem et al. (2020), arXiv:2002.09797, of k = 5.

    Raises:
        ValueError: if a set has no more than k images.
    """
    from scipy.spatial.distance import cdist

    smallest, k = min(len(real), len(synthetic)), max(k_precision, k_density)
    if smallest <= k or min(k_precision, k_density) < 1:
        raise ValueError(f"{smallest} images and k = {k}; expected 0 < k < images")
    distance = cdist(real, synthetic)  # [n, m]
    in_real = distance <= radii(real, k_precision)[:, None]
    in_synthetic = distance <= radii(synthetic, k_precision)[None, :]
    in_wide = distance <= radii(real, k_density)[:, None]
    return Manifold(
        precision=float(in_real.any(axis=0).mean()),
        recall=float(in_synthetic.any(axis=1).mean()),
        density=float(in_wide.sum(axis=0).mean() / k_density),
        coverage=float(in_wide.any(axis=1).mean()),
    )


def radii(x: Floats, k: int) -> Floats:
    """Distance of each row of x [n, D] to its k-th nearest other row, float64 [n]."""
    from sklearn.neighbors import NearestNeighbors

    distance, _ = NearestNeighbors(n_neighbors=k).fit(x).kneighbors()
    last: Floats = distance[:, -1]
    return last
