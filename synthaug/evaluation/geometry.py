"""The geometry of one vector per class: simplex ETF, SELI, and the collapse of minority classes.

Trained to zero error on balanced classes, the centred class means and the classifier vectors form a
simplex equiangular tight frame (ETF): equal norms, every cosine -1/(K-1) (Papyan et al. 2020,
arXiv:2008.08186). On imbalanced classes they do not: the classifier vectors of minority classes
shrink and turn towards each other (Fang et al. 2021, arXiv:2101.12699). What they tend to is known
for free features, cross-entropy, no bias and vanishing weight decay: the logits of all n train
images become the simplex-encoded labels Z = P Y (Y one-hot [K, n], P = I - 11^T/K), with W^T H = Z
of least ||W||^2 + ||H||^2 ("SELI", Thrampoulidis et al. 2022, arXiv:2208.05512). A network whose
features pass a ReLU need not get there: SELI is a yardstick, not a prediction.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

FLOOR = 1e-6
"""Lengths below this share of the longest uncentred vector are rounding of float32 features."""


@dataclass(frozen=True)
class Geometry:
    """Lengths and angles of K class vectors around their mean, every class counting once.

    Cosines and lengths are of the vectors less their mean: what all the classifier vectors share
    changes no prediction. With two classes the cosine is -1 and the lengths are equal by algebra.
    """

    norms: Floats
    """[K]."""
    cosines: Floats
    """[K, K]; nan in the row and column of a class whose vector is the mean of all."""
    equinorm: float
    """Coefficient of variation of the norms; 0 is equal lengths."""
    equiangular: float | None
    """Standard deviation of the cosines of different classes; 0 is equal angles."""
    max_angle: float | None
    """Mean distance of those cosines to -1/(K-1), the widest that K vectors can share."""
    etf_distance: float
    """Frobenius distance of the Gram matrix to that of the ETF, both of norm 1; 0 to sqrt(2)."""
    seli_distance: float | None
    """The same to the SELI of the class counts; None without counts. Equal counts: the ETF."""


@dataclass(frozen=True)
class MinorityGeometry:
    """Mean cosines within and between the groups, and majority over minority lengths.

    Collapse is a cosine of 1 within the minority and a growing ratio; the ETF has -1/(K-1) and 1.
    None where there are no such pairs, or the vectors of a group have no length.
    """

    cosine: float | None
    majority_cosine: float | None
    cross_cosine: float | None
    norm_ratio: float | None
    """Mean norm of majority over mean norm of minority classes."""
    squared_norm_ratio: float | None
    """Mean squared norm of the one over that of the other."""


def simplex(k: int) -> Floats:
    """P = I - 11^T/K, float64 [K, K]: Gram matrix of the ETF up to scale; its norm is sqrt(K-1)."""
    return np.eye(k) - 1.0 / k


def seli(counts: Ints) -> tuple[Floats, Floats]:
    """Gram matrices [K, K] of the SELI classifier vectors and class means, both exact.

    With Z = V L U^T the vectors of least norm have W^T W = V L V^T and H^T H = U L U^T. Here
    Z Z^T = P N P with N = diag(counts), so W^T W is its square root; the features of a class are
    equal, and from W^T M = P the class means have M^T M = pinv(W^T W). Both are centred over
    classes, each class counting once. Equal counts give the ETF.

    Args:
        counts: train images per class [K], at least 2 classes and 1 image in each.

    Returns:
        (W^T W, M^T M), on a scale that says nothing: compare directions and ratios.

    Raises:
        ValueError: if a class has no image or there are fewer than 2 classes.
    """
    n = np.asarray(counts, dtype=np.float64)
    if len(n) < 2 or n.min() < 1:
        raise ValueError(f"counts {counts}; expected 2 or more classes with images in each")
    p = simplex(len(n))
    eigenvalues, vectors = np.linalg.eigh(p @ np.diag(n) @ p)
    # The smallest belongs to the vector of ones; all the others are at least the smallest count.
    v, s = vectors[:, 1:], np.sqrt(eigenvalues[1:])
    return (v * s) @ v.T, (v / s) @ v.T


def centre(vectors: Floats) -> Floats | None:
    """Vectors [K, D] less their mean; None if nothing but rounding is left."""
    scale = np.linalg.norm(vectors, axis=1).max()
    centred = vectors - vectors.mean(axis=0)
    return centred if np.linalg.norm(centred, axis=1).max() > FLOOR * scale else None


def geometry(vectors: Floats, seli_gram: Floats | None = None) -> Geometry | None:
    """Geometry of class vectors [K, D], and their distance to a SELI Gram matrix [K, K].

    None for fewer than 2 classes, or if all the vectors are equal.
    """
    centred = centre(vectors) if len(vectors) > 1 else None
    if centred is None:
        return None
    scale = float(np.linalg.norm(vectors, axis=1).max())
    return _describe(centred @ centred.T, seli_gram, FLOOR * scale)


def seli_geometry(counts: Ints) -> tuple[Geometry, Geometry]:
    """Geometry of the SELI classifier vectors and of its class means for counts [K]."""
    w, m = seli(counts)
    return _describe(w, w, 0.0), _describe(m, m, 0.0)


def gram_distance(a: Floats, b: Floats) -> float:
    """Frobenius distance of two matrices of one shape, each scaled to norm 1; neither is 0."""
    return float(np.linalg.norm(a / np.linalg.norm(a) - b / np.linalg.norm(b)))


def minority_geometry(of: Geometry, minority: Bools) -> MinorityGeometry:
    """How far the vectors of the classes in `minority`, bool [K], went together and shrank."""
    minority = np.asarray(minority, dtype=bool)
    different = ~np.eye(len(minority), dtype=bool)

    def cosine(rows: Bools, columns: Bools) -> float | None:
        found = of.cosines[np.outer(rows, columns) & different]
        return float(found.mean()) if len(found) and not np.isnan(found).any() else None

    def ratio(lengths: Floats) -> float | None:
        few, many = lengths[minority], lengths[~minority]
        return float(many.mean() / few.mean()) if few.any() and many.any() else None

    return MinorityGeometry(
        cosine(minority, minority),
        cosine(~minority, ~minority),
        cosine(minority, ~minority),
        ratio(of.norms),
        ratio(of.norms**2),
    )


def _describe(gram: Floats, seli_gram: Floats | None, floor: float) -> Geometry:
    k = len(gram)
    norms = np.sqrt(np.maximum(np.diag(gram), 0.0))
    norms[norms <= floor] = 0.0
    lengths = np.where(norms > 0, norms, np.nan)
    cosines = gram / np.outer(lengths, lengths)
    pairs = cosines[np.triu_indices(k, 1)]
    known = not np.isnan(pairs).any()
    return Geometry(
        norms=norms,
        cosines=cosines,
        equinorm=float(norms.std() / norms.mean()),
        equiangular=float(pairs.std()) if known else None,
        max_angle=float(np.abs(pairs + 1.0 / (k - 1)).mean()) if known else None,
        etf_distance=gram_distance(gram, simplex(k)),
        seli_distance=None if seli_gram is None else gram_distance(gram, seli_gram),
    )
