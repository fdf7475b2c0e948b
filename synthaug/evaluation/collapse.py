"""Neural collapse of a classifier: what its last layer made of the classes, before and after.

NC1 to NC4 are those of Papyan et al. (2020), arXiv:2008.08186. Every class counts once in every
mean, whatever its images: under imbalance the mean over images is that of the majority. Measure
two classifiers on the same real train images, or the images and not the classifiers will differ.
All of it is a limit of training: at a train accuracy below 0.99 the numbers are only geometry.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthaug.errors import DivergedError
from synthaug.evaluation.geometry import (
    FLOOR,
    Floats,
    Geometry,
    Ints,
    centre,
    geometry,
    gram_distance,
    seli,
    simplex,
)


@dataclass(frozen=True)
class NeuralCollapse:
    """What `neural_collapse` measures of K classes; None where it is undefined."""

    train_accuracy: float
    """Of the classifier on the given images, each image counting once."""
    train_recall: Floats
    """[K]; nan for a class without images."""
    nc1: float | None
    """tr(Sigma_W pinv(Sigma_B))/K, mean of `nc1_by_class`; 0 is images equal to their mean.
    Their mean weighted by images is the NC1 whose Sigma_W counts every image once."""
    nc1_by_class: Floats
    """[K] from the covariance of one class each; nan for a class of one image: it has no spread."""
    cdnv: float | None
    """Mean of `cdnv_pairs` over different classes; 0 is collapsed."""
    cdnv_pairs: Floats
    """[K, K], (Var_a + Var_b) / (2 ||mu_a - mu_b||^2): Galanti et al. (2022), arXiv:2112.15121.
    nan on the diagonal and for classes of one image, inf for classes of equal means."""
    means: Geometry | None
    """NC2 of the class means."""
    classifier: Geometry | None
    """NC2 of the classifier vectors, and the collapse of the minority classes."""
    nc3: float | None
    """||W/||W|| - M/||M|||| of the centred classifier vectors and class means, 0 to 2. Under
    imbalance SELI itself is not self-dual: see `logits`."""
    logits: float | None
    """Frobenius distance of W M^T to the simplex encoding of the labels, both of norm 1, 0 to 2: 0
    at SELI whatever the counts."""
    nc4: float | None
    """Share of the given images that the nearest class mean and the classifier put in one class."""
    nc4_test: float | None
    """The same share of the test images."""


def neural_collapse(
    features: NDArray[np.floating],
    labels: Ints,
    weights: NDArray[np.floating],
    bias: NDArray[np.floating] | None = None,
    *,
    counts: Ints | None = None,
    test_features: NDArray[np.floating] | None = None,
) -> NeuralCollapse:
    """Neural collapse from the features before the last layer and that layer's weights.

    Args:
        features: [N, D] of train images, without augmentation.
        labels: [N] in 0..K-1.
        weights: classifier vectors [K, D].
        bias: [K], or None for a layer without.
        counts: images per class [K] that this classifier was trained on, synthetic ones and
            repetitions included: its SELI follows from them. Those of `labels` if omitted.
        test_features: [M, D] for `nc4_test`.

    Returns:
        The numbers. A class without images leaves only those of the classifier vectors defined,
        fewer than 2 classes none but the train accuracy.

    Raises:
        DivergedError: if features or weights are not finite.
        ValueError: if the shapes do not fit, there is no image or a label is outside 0..K-1.
    """
    w = np.asarray(weights, dtype=np.float64)
    k = len(w)
    b = np.zeros(k) if bias is None else np.asarray(bias, dtype=np.float64)
    _check(features, labels, w, b, test_features)
    seen = np.bincount(labels, minlength=k)
    trained_on = seen if counts is None else np.asarray(counts)
    if len(trained_on) != k:
        raise ValueError(f"counts of {len(trained_on)} classes for weights of {k}")

    predicted = _classify(features, w, b)
    right = np.bincount(labels[predicted == labels], minlength=k)
    recall = np.full(k, np.nan)
    np.divide(right, seen, out=recall, where=seen > 0)

    seli_w, seli_m = seli(trained_on) if k > 1 and trained_on.min() > 0 else (None, None)
    nc1_by_class, cdnv_pairs = np.full(k, np.nan), np.full((k, k), np.nan)
    means, nc3, logits, nc4, nc4_test = None, None, None, None, None
    if k > 1 and seen.min() > 0:
        mu = np.stack([_of_class(features, labels, c).mean(axis=0) for c in range(k)])
        nc1_by_class, cdnv_pairs = _variability(features, labels, mu)
        means = geometry(mu, seli_m)
        nc3, logits = _duality(w, mu)
        if means is not None:
            nc4 = _agreement(features, predicted, mu)
            if test_features is not None and len(test_features):
                nc4_test = _agreement(test_features, _classify(test_features, w, b), mu)
    return NeuralCollapse(
        train_accuracy=float(np.mean(predicted == labels)),
        train_recall=recall,
        nc1=_mean(nc1_by_class),
        nc1_by_class=nc1_by_class,
        cdnv=_mean(cdnv_pairs),
        cdnv_pairs=cdnv_pairs,
        means=means,
        classifier=geometry(w, seli_w),
        nc3=nc3,
        logits=logits,
        nc4=nc4,
        nc4_test=nc4_test,
    )


def _check(
    features: NDArray[np.floating],
    labels: Ints,
    w: Floats,
    b: Floats,
    test_features: NDArray[np.floating] | None,
) -> None:
    if features.ndim != 2 or w.ndim != 2 or features.shape[1] != w.shape[1] or not len(features):
        raise ValueError(f"features {features.shape} for weights {w.shape}")
    if labels.shape != (len(features),) or labels.min() < 0 or labels.max() >= len(w):
        raise ValueError(f"labels {labels.shape} of {len(features)} images in {len(w)} classes")
    tested = features[:0] if test_features is None else test_features
    if b.shape != (len(w),) or tested.shape[1:] != features.shape[1:]:
        raise ValueError(f"bias {b.shape} or test features {tested.shape} for weights {w.shape}")
    if not all(np.isfinite(array).all() for array in (features, w, b, tested)):
        raise DivergedError(
            "features or weights of the classifier are not finite",
            expected="numbers",
            remedy="train it again with a lower learning rate",
        )


def _of_class(features: NDArray[np.floating], labels: Ints, c: int) -> Floats:
    return features[labels == c].astype(np.float64)


def _variability(features: NDArray[np.floating], labels: Ints, mu: Floats) -> tuple[Floats, Floats]:
    """NC1 of each class [K] and CDNV of each pair [K, K], from class means [K, D]."""
    k = len(mu)
    nc1, variance = np.full(k, np.nan), np.full(k, np.nan)
    whiten = _whitening(mu)
    for c in range(k):
        x = _of_class(features, labels, c) - mu[c]
        if len(x) > 1:
            variance[c] = (x**2).sum(axis=1).mean()
            if whiten is not None:
                nc1[c] = ((x @ whiten) ** 2).sum(axis=1).mean() / k
    distance = np.stack([((mu - row) ** 2).sum(axis=1) for row in mu])
    distance[distance <= FLOOR**2 * (mu**2).sum(axis=1).max()] = 0.0
    spread = variance[:, None] + variance
    pairs = np.full((k, k), np.inf)
    np.divide(spread / 2, distance, out=pairs, where=distance > 0)
    pairs[np.isnan(spread)] = np.nan
    np.fill_diagonal(pairs, np.nan)
    return nc1, pairs


def _whitening(mu: Floats) -> Floats | None:
    """A matrix A [D, rank] with A A^T = pinv(Sigma_B), from the SVD of the means: D may be large.

    Sigma_B is the mean of the outer products of the centred class means. None if they are all 0.
    """
    centred = centre(mu)
    if centred is None:
        return None
    _, s, vt = np.linalg.svd(centred, full_matrices=False)
    kept = s > FLOOR * np.linalg.norm(mu, axis=1).max()
    whitening: Floats = vt[kept].T / s[kept] * len(mu) ** 0.5
    return whitening


def _duality(w: Floats, mu: Floats) -> tuple[float | None, float | None]:
    """NC3, and the distance of the logits of the class means to the simplex encoding."""
    v, m = centre(w), centre(mu)
    if v is None or m is None:
        return None, None
    logits = v @ m.T
    flat = np.linalg.norm(logits) <= FLOOR * np.linalg.norm(v) * np.linalg.norm(m)
    return gram_distance(v, m), None if flat else gram_distance(logits, simplex(len(w)))


def _classify(features: NDArray[np.floating], w: Floats, b: Floats) -> Ints:
    return np.argmax(features @ w.T + b, axis=1)


def _agreement(features: NDArray[np.floating], predicted: Ints, mu: Floats) -> float:
    """Share of images whose nearest class mean is that of the predicted class."""
    # Around the mean of the means, so that the expansion of ||h - mu||^2 does not cancel.
    origin = mu.mean(axis=0)
    m = mu - origin
    nearest = np.argmax((features - origin) @ m.T - (m**2).sum(axis=1) / 2, axis=1)
    return float(np.mean(nearest == predicted))


def _mean(values: Floats) -> float | None:
    """Mean of what is defined; None if nothing is, or two classes have equal means."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) and np.isfinite(known).all() else None
