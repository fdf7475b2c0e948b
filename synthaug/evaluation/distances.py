"""Frechet and kernel distance between two sets of features.

The Frechet distance is biased upwards, the more the fewer images: only values at the same numbers
of images compare. The kernel distance is unbiased: near 0, and as often negative as not, for two
sets of one distribution. Both depend on the scale of the features, so they say nothing across
feature spaces: in features of one's own classifier neither is a published FID or KID.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def frechet_distance(x: Floats, y: Floats) -> float:
    """Squared Frechet (2-Wasserstein) distance of the Gaussians fitted to x [n, D] and y [m, D].

    ||mu_x - mu_y||^2 + tr(S_x) + tr(S_y) - 2 tr((S_x S_y)^(1/2)), Dowson and Landau (1982), with
    sample covariances. With S = A^T A for the centred rows A, the last trace is the sum of the
    singular values of A_x A_y^T. So no root of a singular matrix is taken, and n and m may be below
    D without any regularisation. Needs 2 rows in each.
    """
    a, b = _root(x), _root(y)
    shift = float(((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum())
    overlap = float(np.linalg.norm(a @ b.T, "nuc"))
    return max(shift + float((a**2).sum() + (b**2).sum()) - 2 * overlap, 0.0)


def kernel_distance(x: Floats, y: Floats) -> float:
    """Unbiased squared maximum mean discrepancy of x [n, D] and y [m, D], 2 rows in each or more.

    Kernel (x.y / D + 1)^3 of Binkowski et al. (2018), arXiv:1801.01401; estimator of Gretton et al.
    (2012, JMLR 13), over all rows at once.
    """
    n, m, d = len(x), len(y), x.shape[1]
    within_x = _off_diagonal_sum((x @ x.T / d + 1) ** 3) / (n * (n - 1))
    within_y = _off_diagonal_sum((y @ y.T / d + 1) ** 3) / (m * (m - 1))
    return within_x + within_y - 2 * float(((x @ y.T / d + 1) ** 3).mean())


def _root(x: Floats) -> Floats:
    """A [min(n, D), D] with A^T A the sample covariance of x [n, D]."""
    centred = (x - x.mean(axis=0)) / (len(x) - 1) ** 0.5
    return centred if len(x) <= x.shape[1] else np.linalg.qr(centred).R


def _off_diagonal_sum(kernel: Floats) -> float:
    return float(kernel.sum() - np.trace(kernel))
