"""Which of more synthetic images than needed are kept, and why each of the others is not.

Copies, repetitions and images that are not of their class are refused, each for a stated reason.
Of the rest the first in the order of their seeds are kept. That is a random draw from what was
accepted. Keeping the most typical instead would narrow a class to its middle, although images help
a classifier by being near the real ones *and* different from each other; where the middle of a
class is well covered by real images already, it is the rest that is missing.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthaug.selection.memorisation import (
    COPY_RATE,
    NEVER_ABOVE,
    STATISTICS,
    Null,
    copy_null,
    find_copies,
)
from synthaug.selection.originals import Originals, find_twins
from synthaug.selection.scores import (
    DUPLICATE_BELOW,
    LIMIT_RATE,
    WIDEN,
    ClassLimits,
    class_limits,
    diversity,
    duplicates,
    score,
)
from synthaug.selection.sets import Bools, Candidates, Floats, ImageSet, Ints

NOT_FINITE = "not finite"
COPY = "copy of a train image"
DUPLICATE = "duplicate of another candidate"
OUTSIDE = "outside the class window"
OTHER_CLASS = "another class is likelier"
SPARSE = "low density"
UNDECIDED = "high entropy"
FULL = "quota full"
REASONS = (NOT_FINITE, COPY, DUPLICATE, OUTSIDE, OTHER_CLASS, SPARSE, UNDECIDED, FULL)
"""Why an image is not kept; the first that applies, in this order."""
_REASON = f"<U{max(map(len, REASONS))}"


@dataclass(frozen=True)
class Thresholds:
    """What is refused. The defaults are from benchmarks/selection.md.

    Attributes:
        copy_rate: share of real images that may be taken for copies.
        copy_below: the highest ratio of distances at which an image may be called a copy, however
            far real images of the class lie from each other; see `copy_thresholds`.
        limit_rate: share of real images beyond each limit of their class, before it is widened.
        widen: by how much for few images; see `ClassLimits`.
        duplicate_below: of the distance of two real images; see `duplicates`.
        third_above: probability of a third class from which it counts.
        entropy_above: of `Scores.entropy`.
        max_shift, mirror: how a copy may have been moved; see `neighbours.nearest_shifted`.
    """

    copy_rate: float = COPY_RATE
    copy_below: float = NEVER_ABOVE
    limit_rate: float = LIMIT_RATE
    widen: float = WIDEN
    duplicate_below: float = DUPLICATE_BELOW
    third_above: float = 0.5
    entropy_above: float = 0.75
    max_shift: int | None = None
    mirror: bool = True


DEFAULTS = Thresholds()


@dataclass(frozen=True)
class RealImages:
    """What candidates of K classes are held against: see `study`."""

    originals: Originals
    null: Null
    distinct: ImageSet
    limits: ClassLimits

    @property
    def n_classes(self) -> int:
        return len(self.limits.window)


@dataclass(frozen=True)
class Selection:
    """What became of n candidates of K classes.

    Attributes:
        kept: bool [n].
        reason: str [n], one of `REASONS`, or empty where the image is kept.
        shortfall: int64 [K], images missing from the quota; nothing is put in their place.
        counts: of each of `REASONS` the number of images per class, int64 [K].
        diversity: float64 [K, 2], mean cosine distance between the features of two images of a
            class, of its finite candidates and of those kept; nan with fewer than two.
        columns: a table with a row per candidate, each value [n]: label, seed, kept, reason, every
            score and the limits it was held against; nan and -1 where an image is not finite.
    """

    kept: Bools
    reason: NDArray[np.str_]
    shortfall: Ints
    counts: dict[str, Ints]
    diversity: Floats
    columns: dict[str, NDArray[Any]]


def study(
    train: ImageSet,
    n_classes: int,
    held_out: ImageSet | None = None,
    thresholds: Thresholds = DEFAULTS,
) -> RealImages:
    """Learn what copies and what images of a class look like, once for any number of selections.

    Args:
        train: the real train images of all K classes.
        n_classes: K.
        held_out: real images that neither generator nor classifier has learned from, for fairer
            limits; never test images, which would then take part in choosing what they judge.
        thresholds: as for `select`.

    Raises `ValueError` if features are not finite or labels are not among the K classes.
    """
    if not np.isfinite(train.features).all() or not np.isin(train.labels, range(n_classes)).all():
        raise ValueError(f"train features are not finite or labels not among {n_classes} classes")
    originals = find_twins(train, max_shift=thresholds.max_shift, mirror=thresholds.mirror)
    distinct = train.take(originals.distinct)
    limits = class_limits(
        distinct, n_classes, held_out, rate=thresholds.limit_rate, widen=thresholds.widen
    )
    return RealImages(originals, copy_null(originals, held_out), distinct, limits)


def judge(
    candidates: Candidates, real: RealImages, thresholds: Thresholds = DEFAULTS
) -> tuple[dict[str, Bools], dict[str, NDArray[Any]]]:
    """Hold n candidates, all finite, against every rule but the quota.

    Returns:
        (found, columns): of each reason whether it applies to an image, bool [n], whatever others
        do; and what that was told from, each [n]. Of repeated images the earlier one is innocent.
    """
    copies = find_copies(
        candidates,
        real.originals,
        real.null,
        rate=thresholds.copy_rate,
        never_above=thresholds.copy_below,
    )
    repeated = duplicates(candidates, real.limits, below=thresholds.duplicate_below)
    scores = score(candidates, real.distinct, real.limits)
    low, high = real.limits.window[candidates.labels].T
    density = real.limits.density[candidates.labels]
    pixel_density = real.limits.pixel_density[candidates.labels]
    distance = scores.prototype_distance
    sparse = scores.neighbour_distance > density
    found = {
        COPY: copies.copied,
        DUPLICATE: repeated >= 0,
        OUTSIDE: (distance < low) | (distance > high),
        OTHER_CLASS: scores.third_probability > thresholds.third_above,
        SPARSE: sparse | (scores.pixel_neighbour_distance > pixel_density),
        UNDECIDED: scores.entropy > thresholds.entropy_above,
    }
    seed_of = np.full(len(candidates), -1, dtype=np.int64)
    seed_of[repeated >= 0] = candidates.seeds[repeated[repeated >= 0]]
    columns = {
        **{f.name: getattr(scores, f.name) for f in fields(scores)},
        "window_low": low,
        "window_high": high,
        "density_limit": density,
        "pixel_density_limit": pixel_density,
        "duplicate_of": seed_of,
        "nearest_train": copies.nearest,
        "nearest_train_distance": copies.distance,
        **{name: copies.values[:, j] for j, name in enumerate(STATISTICS)},
        **{f"{name}_threshold": copies.thresholds[:, j] for j, name in enumerate(STATISTICS)},
    }
    return found, columns


def select(
    candidates: Candidates, real: RealImages, quota: Ints, thresholds: Thresholds = DEFAULTS
) -> Selection:
    """Keep up to `quota` int [K] images of each class, by the rules told at the top.

    The result is a function of each class's own candidates, whatever their order: they are taken
    in the order of their seeds. A larger quota keeps the same images and more.

    Raises:
        ValueError: if a shape or label does not fit K classes, a quota is negative, a class has
            candidates but no train image, or two candidates of a class have one seed.
    """
    quota = np.asarray(quota)
    _check(candidates, real, quota)
    n, n_classes = len(candidates), real.n_classes
    order = np.lexsort((candidates.seeds, candidates.labels))
    order = order[candidates.finite[order]]
    some = candidates.take(order)
    found, told = judge(some, real, thresholds)
    verdict = np.select(list(found.values()), list(found), "").astype(_REASON)
    spread = np.full((n_classes, 2), np.nan)
    for k in range(n_classes):
        own = np.flatnonzero(some.labels == k)
        verdict[own[verdict[own] == ""][quota[k] :]] = FULL
        directions = some.take(own).directions
        spread[k] = diversity(directions), diversity(directions[verdict[own] == ""])
    reason = np.full(n, NOT_FINITE, dtype=_REASON)
    reason[order] = verdict
    kept = reason == ""
    columns: dict[str, NDArray[Any]] = {
        "label": candidates.labels,
        "seed": candidates.seeds,
        "kept": kept,
        "reason": reason,
    }
    for name, values in told.items():
        columns[name] = np.full(n, -1 if values.dtype.kind == "i" else np.nan, values.dtype)
        columns[name][order] = values
    counts = {name: _count(candidates.labels[reason == name], n_classes) for name in REASONS}
    shortfall = quota - _count(candidates.labels[kept], n_classes)
    return Selection(kept, reason, shortfall, counts, spread, columns)


def _count(labels: Ints, n_classes: int) -> Ints:
    return np.bincount(labels, minlength=n_classes)


def _check(candidates: Candidates, real: RealImages, quota: Ints) -> None:
    n_classes = real.n_classes
    if quota.shape != (n_classes,) or (quota < 0).any():
        raise ValueError(f"quota {quota.tolist()} for {n_classes} classes")
    if candidates.probabilities.shape[1:] != (n_classes,):
        raise ValueError(f"probabilities {candidates.probabilities.shape} of {n_classes} classes")
    strange = np.setdiff1d(candidates.labels, real.distinct.labels)
    if len(strange):
        raise ValueError(f"candidates of classes {strange.tolist()}, which have no train images")
    pairs = np.stack([candidates.labels, candidates.seeds])
    if np.unique(pairs, axis=1).shape[1] < len(candidates):
        raise ValueError("two candidates of a class have the same seed")
