"""Inference on a mean over few seeds and many images.

The mean of a difference over S seeds and the test images has two sources of luck that do not shrink
together: which seeds were run, with variance a known from S values only, and which images form the
test set, with variance b known from many. Its error is distributed like

    sqrt(a) t_{S-1} + sqrt(b) z,    t of Student, z standard normal, independent,

which is Fisher's solution of the Behrens-Fisher problem. It is exact where one source dominates and
conservative in between; Satterthwaite's approximation, the usual choice, is too narrow there when S
is 3 (`benchmarks/coverage.md`).
"""

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_NODES = 80
_MASS_LEFT_OUT = 1e-14
_NEWTON_STEPS = 50
_PRECISION = 1e-10


def p_value(
    mean: ArrayLike, seed_variance: ArrayLike, image_variance: ArrayLike, n_seeds: int
) -> Floats:
    """Two-sided p of a mean that is 0 in truth; arrays that broadcast to [...], float64 [...].

    A mean without any variance has p 1 if it is 0, else 0. Raises `ValueError` for one seed.
    """
    return _two_sided(np.abs(mean), np.asarray(seed_variance), np.asarray(image_variance), n_seeds)


def half_width(
    seed_variance: ArrayLike,
    image_variance: ArrayLike,
    n_seeds: int,
    confidence: float = 0.95,
) -> Floats:
    """Half the length of the interval around such a mean; arrays broadcast to [...].

    It is where `p_value` is 1 - confidence. Raises `ValueError` for one seed.
    """
    from scipy.special import ndtri, stdtrit

    a, b = np.broadcast_arrays(*np.atleast_1d(seed_variance, image_variance))
    alpha = 1 - confidence
    # Not above the root; from there Newton's method climbs to it, as p is convex in the half width.
    h = np.maximum(-stdtrit(n_seeds - 1, alpha / 2) * np.sqrt(a), -ndtri(alpha / 2) * np.sqrt(b))
    for _ in range(_NEWTON_STEPS):
        p, slope = _two_sided(h, a, b, n_seeds), _slope(h, a, b, n_seeds)
        step = np.divide(alpha - p, slope, out=np.zeros_like(h), where=slope < 0)
        h = h + step
        if (np.abs(step) <= _PRECISION * h).all():
            break
    return h.reshape(np.broadcast_shapes(np.shape(seed_variance), np.shape(image_variance)))


def holm(p: ArrayLike) -> Floats:
    """p-values [M] adjusted for being M: Holm (1979), Scandinavian Journal of Statistics 6.

    Rejecting where the adjusted p is below alpha calls one or more true null hypotheses false with
    probability at most alpha, however the tests depend on each other. NaN is no test and stays.
    """
    p = np.asarray(p, dtype=np.float64)
    adjusted = np.full_like(p, np.nan)
    order = np.argsort(p, kind="stable")[: np.count_nonzero(~np.isnan(p))]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
    return adjusted


def _two_sided(distance: Floats, a: Floats, b: Floats, n_seeds: int) -> Floats:
    from scipy.special import ndtr

    inflation, weights = _mixture(n_seeds - 1)
    spread = np.sqrt(np.asarray(a)[..., None] * inflation + np.asarray(b)[..., None])
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(spread > 0, np.asarray(distance)[..., None] / spread, np.inf)
    p = 2 * ndtr(-z) @ weights
    return np.where(np.asarray(distance) > 0, np.minimum(p, 1), 1.0)


def _slope(distance: Floats, a: Floats, b: Floats, n_seeds: int) -> Floats:
    """Derivative of `_two_sided` by the distance."""
    inflation, weights = _mixture(n_seeds - 1)
    spread = np.sqrt(a[..., None] * inflation + b[..., None])
    with np.errstate(divide="ignore", invalid="ignore"):
        density = np.exp(-0.5 * (distance[..., None] / spread) ** 2) / spread
    return -2 / np.sqrt(2 * np.pi) * np.where(spread > 0, density, 0) @ weights


@lru_cache
def _mixture(freedom: int) -> tuple[Floats, Floats]:
    """Student's t as a scale mixture of normals: variances freedom / u [M] and their weights [M].

    u is chi-squared. The trapezoid rule in log u, where the density falls off quickly both ways,
    gives p to 4 digits or more.
    """
    from scipy.special import gammainccinv, gammaincinv

    if freedom < 1:
        raise ValueError("one seed says nothing about other seeds; at least 2 are needed")
    low, high = gammaincinv(freedom / 2, _MASS_LEFT_OUT), gammainccinv(freedom / 2, _MASS_LEFT_OUT)
    x = np.linspace(np.log(2 * low), np.log(2 * high), _NODES)
    u = np.exp(x)
    log_density = freedom / 2 * x - u / 2  # chi-squared times the Jacobian u, unnormalised
    weights = np.exp(log_density - log_density.max())
    return freedom / u, weights / weights.sum()
