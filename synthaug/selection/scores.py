"""How well a synthetic image fits its class, by what a classifier sees in the real train images.

Nothing here is an absolute measure but the entropy. What a class may look like is told by its own
train images, each left out of the others: see `ClassLimits`. The window of distances to the class
prototype and the veto of a third class follow the cleaning step of DBG (arXiv:2605.01468).
"""

from dataclasses import dataclass

import numpy as np

from synthaug.selection.neighbours import nearest, nearest_directions, within
from synthaug.selection.sets import Bools, Candidates, Floats, ImageSet, Ints

LIMIT_RATE = 0.01
"""Share of real images beyond a limit, before it is moved outwards."""
WIDEN = 2.0
NEIGHBOURS = 5
DUPLICATE_BELOW = 0.25
"""Candidates this much nearer than two real images are the same picture; see `duplicates`."""
NONE: Ints = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class ClassLimits:
    """What real images of K classes look like to a classifier; nan is no limit.

    A limit is a quantile of real images, each left out of the others, and of held-out ones. The
    fewer they are, the less of the class they show: of n images every limit is moved outwards by a
    factor of 1 + `widen` / sqrt(n), with 2 for `widen` 1.2 for a hundred and 1.9 for five.

    Attributes:
        prototypes: float64 [K, D], mean direction of each class, of length 1; 0 without images.
        window: float64 [K, 2], least and largest cosine distance to the prototype.
        density: float64 [K], largest distance of a direction to the k-th nearest of the class; k is
            5, or all the others where they are fewer.
        pixel_density: float64 [K], the same of pixels.
        confusers: bool [K, K], whether class j is one of the K // 3 whose prototypes are nearest to
            that of class i. Images between a class and these are worth having.
        scale, pixel_scale: float64 [K], median distance of a real image to the nearest other.
    """

    prototypes: Floats
    window: Floats
    density: Floats
    pixel_density: Floats
    confusers: Bools
    scale: Floats
    pixel_scale: Floats


@dataclass(frozen=True)
class Scores:
    """Of n candidates, each [n].

    Attributes:
        prototype_distance: cosine distance to the prototype of the class, 0..2.
        neighbour_distance: of directions, to the k-th nearest train image of the class, 0..2.
        pixel_neighbour_distance: of pixels, as `neighbours.nearest` has it, 0..1.
        third_class: the most probable class of all if that is neither the candidate's own nor one
            of its confusers, otherwise -1.
        third_probability: of that class; 0 without one.
        entropy: of the probabilities, over the log of K; 0..1.
    """

    prototype_distance: Floats
    neighbour_distance: Floats
    pixel_neighbour_distance: Floats
    third_class: Ints
    third_probability: Floats
    entropy: Floats


def class_limits(
    train: ImageSet,
    n_classes: int,
    held_out: ImageSet | None = None,
    *,
    rate: float = LIMIT_RATE,
    widen: float = WIDEN,
) -> ClassLimits:
    """Learn the limits of K classes from train images, best without near twins among them.

    `held_out` are real images that the classifier has not learned from, never test images. The
    train images of a rare class are drawn closer to their prototype than unseen ones are; with
    these a limit is fairer.
    """
    directions = train.directions
    sums = np.zeros((n_classes, directions.shape[1]))
    np.add.at(sums, train.labels, directions)
    prototypes = _unit(sums)
    window = np.full((n_classes, 2), np.nan)
    density, pixel_density, scale, pixel_scale = np.full((4, n_classes), np.nan)
    for k in np.unique(train.labels):
        own = train.labels == k
        images, mine, n = train.images[own], directions[own], int(own.sum())
        more = held_out.take(held_out.labels == k) if held_out is not None else train.take(NONE)
        if n > 1:
            left_out = 1.0 - (mine * _unit(sums[k] - mine)).sum(axis=1)
            distances = np.concatenate([left_out, 1.0 - more.directions @ prototypes[k]])
            window[k] = _limit(distances, rate, widen, down=True), _limit(distances, rate, widen)
            itself, some = np.arange(n), min(NEIGHBOURS, n - 1)
            _, apart = nearest_directions(mine, mine, some, own=itself)
            _, pixels = nearest(images, images, some, own=itself)
            scale[k], pixel_scale[k] = np.median(apart[:, 0]), np.median(pixels[:, 0])
            _, others = nearest_directions(more.directions, mine, some)
            density[k] = _limit(np.concatenate([apart[:, -1], others[:, -1]]), rate, widen)
            _, others = nearest(more.images, images, some)
            pixel_density[k] = _limit(np.concatenate([pixels[:, -1], others[:, -1]]), rate, widen)
    likeness = prototypes @ prototypes.T
    np.fill_diagonal(likeness, -np.inf)
    confusers = np.zeros((n_classes, n_classes), dtype=bool)
    order = np.argsort(-likeness, axis=1, kind="stable")[:, : n_classes // 3]
    np.put_along_axis(confusers, order, True, axis=1)
    return ClassLimits(prototypes, window, density, pixel_density, confusers, scale, pixel_scale)


def score(candidates: Candidates, train: ImageSet, limits: ClassLimits) -> Scores:
    """Scores of n candidates beside the train images that the limits were learned from.

    Features and probabilities must be finite, and the class of every candidate have train images.
    """
    n = len(candidates)
    prototype_distance, neighbour_distance, pixel_distance = np.full((3, n), np.nan)
    directions, reference = candidates.directions, train.directions
    for k in np.unique(candidates.labels):
        rows, own = candidates.labels == k, train.labels == k
        some = max(min(NEIGHBOURS, int(own.sum()) - 1), 1)
        prototype_distance[rows] = 1.0 - directions[rows] @ limits.prototypes[k]
        _, apart = nearest_directions(directions[rows], reference[own], some)
        _, pixels = nearest(candidates.images[rows], train.images[own], some)
        neighbour_distance[rows], pixel_distance[rows] = apart[:, -1], pixels[:, -1]
    top = candidates.probabilities.argmax(axis=1)
    third = ~limits.confusers[candidates.labels, top] & (top != candidates.labels)
    return Scores(
        prototype_distance,
        neighbour_distance,
        pixel_distance,
        np.where(third, top, -1),
        np.where(third, candidates.probabilities.max(axis=1, initial=0.0), 0.0),
        normalised_entropy(candidates.probabilities),
    )


def normalised_entropy(probabilities: Floats) -> Floats:
    """Entropy of each row of [n, K] over that of the uniform distribution, float64 [n], 0..1."""
    p = probabilities.astype(np.float64)
    terms = p * np.log(p, out=np.zeros_like(p), where=p > 0)
    most = np.log(max(p.shape[1], 2))
    entropy: Floats = np.clip(-terms.sum(axis=1) / most, 0.0, 1.0)
    return entropy


def duplicates(images: ImageSet, limits: ClassLimits, *, below: float = DUPLICATE_BELOW) -> Ints:
    """Of each of n images the position of an earlier one that it repeats, int64 [n]; -1 if none.

    The images of a class are gone through in order: one that repeats none stays, and later ones are
    compared with it. One repeats another if their pixels, or their directions, are nearer than
    `below` times the median distance of a real image of the class to the nearest other. In m
    dimensions n images are about n^(-1/m) apart, so in six it takes four thousand times as many
    different images to come down to a quarter. Equal pixels always repeat.
    """
    first = np.full(len(images), -1, dtype=np.int64)
    size = int(np.prod(images.images.shape[1:]))
    pixels = images.images.reshape(len(images), size).astype(np.float64)  # whole: exact at 0
    spaces = (
        (pixels, limits.pixel_scale * 255.0 * np.sqrt(size)),
        (images.directions, limits.scale),
    )
    for k in np.unique(images.labels):
        rows = np.flatnonzero(images.labels == k)
        near = np.zeros((len(rows), len(rows)), dtype=bool)
        for values, scale in spaces:
            near |= within(values[rows], max(float(np.nan_to_num(below * scale[k])), 0.0))
        for i in range(len(rows)):
            repeated = near[i, :i] & (first[rows[:i]] < 0)
            if repeated.any():
                first[rows[i]] = rows[repeated.argmax()]
    return first


def diversity(directions: Floats) -> float:
    """Mean cosine distance between two of n directions [n, D]; nan if there are fewer than two."""
    n = len(directions)
    if n < 2:
        return float("nan")
    total = directions.sum(axis=0)
    return float(1.0 - (total @ total - (directions**2).sum()) / (n * (n - 1)))


def _unit(vectors: Floats) -> Floats:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    units = np.zeros_like(vectors)
    np.divide(vectors, length, out=units, where=length > 0)
    return units


def _limit(values: Floats, rate: float, widen: float, *, down: bool = False) -> float:
    """A quantile of n values moved outwards, as `ClassLimits` says."""
    factor = 1.0 + widen / np.sqrt(len(values))
    quantile = np.quantile(values, rate if down else 1.0 - rate)
    return float(quantile / factor if down else quantile * factor)
