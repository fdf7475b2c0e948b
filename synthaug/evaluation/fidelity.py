"""How near synthetic images of a class are to its real ones, beside real ones against real ones.

No number here means anything alone: each depends on the features and on the number of images. So
each is measured twice with the same numbers of images, synthetic against one half of the real ones
and the other half against it. The features are those of a classifier of one's own real train
images; the distances in them are in-domain distances, not comparable to any published one.

What they cannot tell: a copy of the real images scores as well as a perfect generator, so look at
memorisation first; and images can score well here and help no classifier, so look at the
comparison of arms last. Real images on which the features were trained sit closer together than
unseen ones: where there are enough, give held-out real images.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthaug.evaluation.distances import frechet_distance, kernel_distance
from synthaug.evaluation.manifold import manifold

Floats = NDArray[np.float64]

MIN_IMAGES = 30
"""On each side of a comparison, hence 60 real images of a class.

Simulated: a mixture of 4 Gaussians in 128 dimensions of decaying variance, 60 draws, and a score
outside the range of the real halves on the bad side taken for a finding. A generator of 2 of the 4
modes was found by recall, coverage, Frechet and kernel distance in 98, 63, 80 and 47 % of draws
with 20 images a side, in 100, 95, 87 and 55 % with 30 and in 100, 100, 98 and 90 % with 50. Noise
was found by precision in all draws from 12 images a side on. A perfect generator was blamed by one
score or another in up to 13 % of draws with 20 images a side and 7 % with 30.
"""


@dataclass(frozen=True)
class Beside:
    """A score of synthetic images, and the same score of real ones in their place."""

    synthetic: float
    """Mean over splits."""
    real: float
    """Mean over splits: what real images of the class reach with so few of them."""
    real_low: float
    real_high: float
    """Range over splits. Splits share images: this is the noise of the halving, and not an
    interval for other images of the class."""


@dataclass(frozen=True)
class ClassFidelity:
    """What `class_fidelity` measures; every score is None where `reason` says why.

    Higher is better but for the two distances. Read precision with recall: images near the mean of
    their class score above real ones in precision and density, and only recall shows what is lost.
    """

    n_real: int
    n_synthetic: int
    n_reference: int
    """Real images on the one side of each comparison; 0 if refused."""
    n_compared: int
    """Synthetic, or other real, images on its other side; 0 if refused."""
    reason: str | None
    precision: Beside | None = None
    recall: Beside | None = None
    density: Beside | None = None
    coverage: Beside | None = None
    frechet: Beside | None = None
    """In-domain Frechet distance, in squared units of the features."""
    kernel: Beside | None = None
    """In-domain kernel distance; unbiased, so it may be negative."""


def class_fidelity(
    real: NDArray[np.floating],
    synthetic: NDArray[np.floating],
    *,
    seed: int,
    k_precision: int = 3,
    k_density: int = 5,
    n_splits: int = 10,
    max_images: int = 1000,
) -> ClassFidelity:
    """Scores of the synthetic images of one class beside those of real ones.

    In each of `n_splits` random splits a half of the real images is the reference. As many
    synthetic images as the other half has, or as many of the half as there are synthetic ones, are
    compared with it; no side has more than `max_images`, which bounds time and memory.

    Args:
        real: features [n, D] of real images.
        synthetic: features [m, D] of synthetic images, after selection.
        seed: of the splits.
        k_precision: nearest neighbours of precision and recall.
        k_density: nearest neighbours of density and coverage.

    Returns:
        The scores, or the reason why there are none: fewer than 60 real or 30 synthetic images,
        or features that are not finite.

    Raises:
        ValueError: if the shapes do not fit, or k is below 1 or above 29.
    """
    if real.ndim != 2 or synthetic.ndim != 2 or real.shape[1] != synthetic.shape[1]:
        raise ValueError(f"features {real.shape} and {synthetic.shape}; expected [n, D], [m, D]")
    k = (k_precision, k_density)
    if min(k) < 1 or max(k) >= MIN_IMAGES or n_splits < 1 or max_images < MIN_IMAGES:
        raise ValueError(f"k {k}, {n_splits} splits of at most {max_images} images")
    n, m = len(real), len(synthetic)
    reason = _refusal(real, synthetic)
    if reason is not None:
        return ClassFidelity(n, m, 0, 0, reason)

    half = min(n // 2, max_images)
    compared = min(half, m)
    rng = np.random.default_rng(seed)
    of_synthetic, of_real = [], []
    for _ in range(n_splits):
        order = rng.permutation(n)
        reference = _take(real, order[:half])
        others = _take(real, order[half : half + compared])
        drawn = _take(synthetic, rng.permutation(m)[:compared])
        of_synthetic.append(_scores(reference, drawn, *k))
        of_real.append(_scores(reference, others, *k))

    def beside(name: str) -> Beside:
        theirs = [scores[name] for scores in of_real]
        ours = [scores[name] for scores in of_synthetic]
        return Beside(float(np.mean(ours)), float(np.mean(theirs)), min(theirs), max(theirs))

    return ClassFidelity(
        n, m, half, compared, None, **{name: beside(name) for name in of_real[0]}
    )  # fmt: skip


def _scores(
    reference: Floats, compared: Floats, k_precision: int, k_density: int
) -> dict[str, float]:
    shares = manifold(reference, compared, k_precision=k_precision, k_density=k_density)
    return {
        "precision": shares.precision,
        "recall": shares.recall,
        "density": shares.density,
        "coverage": shares.coverage,
        "frechet": frechet_distance(reference, compared),
        "kernel": kernel_distance(reference, compared),
    }


def _refusal(real: NDArray[np.floating], synthetic: NDArray[np.floating]) -> str | None:
    if len(real) < 2 * MIN_IMAGES:
        return f"{len(real)} real images; a comparison needs {2 * MIN_IMAGES}, half on each side"
    if len(synthetic) < MIN_IMAGES:
        return f"{len(synthetic)} synthetic images; a comparison needs {MIN_IMAGES}"
    if not (np.isfinite(real).all() and np.isfinite(synthetic).all()):
        return "features are not finite; train their classifier again with a lower learning rate"
    return None


def _take(features: NDArray[np.floating], rows: NDArray[np.int64]) -> Floats:
    return features[rows].astype(np.float64)
