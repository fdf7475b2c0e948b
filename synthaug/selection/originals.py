"""How like images are to the train images that they may be copies of, in eight numbers.

Two numbers are small for a copy. The *ratio* is the distance to the nearest train image over the
mean distance to the next ten (Carlini et al. (2023), arXiv:2301.13188, take fifty), or as many as
the class has: images of other classes are further away without any copying. The *authenticity* is
the distance to the nearest train image over the distance from that one to its own nearest real
image; below 1 an image is inauthentic to Alaa et al. (2022), arXiv:2102.08921. Both are taken in
pixels, up to small shifts and a mirror, and in a classifier's features; against the train images of
the class and of all classes.

Real photographs come in series. Train images of a class that are nearly the same, *twins*, count as
one wherever real images are compared with each other: a copy of an image that has a twin is as near
to the twin, and would otherwise pass for an image between two real ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthaug.selection.neighbours import nearest_directions, nearest_shifted, shifted_distances
from synthaug.selection.sets import Bools, Floats, ImageSet, Ints

STATISTICS = tuple(
    f"{space}_{statistic}_{scope}"
    for space in ("pixel", "feature")
    for scope in ("class", "all")
    for statistic in ("ratio", "authenticity")
)
NEXT = 10
TWIN_BELOW = 0.2
"""Of the median distance between two images of a class: nearer ones are twins."""
MAX_DISTINCT = 1000
"""Of a class. Copies are looked for among all its images all the same."""

Search = Callable[..., tuple[Ints, Floats]]


@dataclass(frozen=True)
class Originals:
    """The N train images of all classes and which of them are twins.

    Attributes:
        train: the images.
        distinct: int64 [R], positions of those that stand for themselves, ascending; of a class at
            most 1000, evenly spaced.
        stands_for: int64 [N], the position of the distinct image nearest to each in its class.
        twin_below: float64 [K], the distance under which two images of a class are twins.
        max_shift, mirror: as in `nearest_shifted`.
    """

    train: ImageSet
    distinct: Ints
    stands_for: Ints
    twin_below: Floats
    max_shift: int | None
    mirror: bool

    def n_distinct(self, labels: Ints) -> Ints:
        """Distinct images of the class of each label, int64 [n]."""
        of = self.train.labels[self.distinct]
        result: Ints = (labels[:, None] == np.unique(of)) @ np.unique(of, return_counts=True)[1]
        return result


@dataclass(frozen=True)
class Likeness:
    """Of n images: `values` float64 [n, 8], the `STATISTICS`, nan where there are too few others.

    `nearest` int64 [n] is the position of the nearest train image of any class by pixels, and
    `distance` float64 [n] the distance to it.
    """

    values: Floats
    nearest: Ints
    distance: Floats


def find_twins(train: ImageSet, *, max_shift: int | None = None, mirror: bool = True) -> Originals:
    """Sort out the twins among train images, at least one; the first of a series stands for it."""
    stands_for = np.arange(len(train))
    twin_below = np.zeros(int(train.labels.max()) + 1)
    for k in np.unique(train.labels):
        own = np.flatnonzero(train.labels == k)
        looked_at = own[evenly(len(own), MAX_DISTINCT)]
        apart = shifted_distances(train.images[looked_at], max_shift=max_shift, mirror=mirror)
        if len(looked_at) > 1:
            twin_below[k] = TWIN_BELOW * np.median(apart[np.triu_indices(len(apart), 1)])
        distinct = looked_at[_first_of_each(apart <= twin_below[k])]
        rest = np.setdiff1d(own, distinct)
        at, _ = nearest_shifted(
            train.images[rest], train.images[distinct], 1, max_shift=max_shift, mirror=mirror
        )
        stands_for[rest] = distinct[at[:, 0]]
    return Originals(train, np.unique(stands_for), stands_for, twin_below, max_shift, mirror)


def likeness(images: ImageSet, originals: Originals, own: Ints | None = None) -> Likeness:
    """Hold n images against the train images of their class and of all classes.

    Args:
        images: their labels name the class.
        originals: from `find_twins`.
        own: [n], if the images are distinct train images: their positions among the train images.
            Each is then left out, and no twins are looked at.
    """
    train = originals.train
    shifted = partial(nearest_shifted, max_shift=originals.max_shift, mirror=originals.mirror)
    values = np.full((len(images), len(STATISTICS)), np.nan)
    near, distance = np.full(len(images), -1), np.full(len(images), np.inf)
    # As many as there are for an image left out of its class, so that the null is like the rest.
    n_next = np.clip(originals.n_distinct(images.labels) - 2, 1, NEXT)
    spaces: list[tuple[Search, NDArray[Any], NDArray[Any]]] = [
        (shifted, images.images, train.images),
        (nearest_directions, images.directions, train.directions),
    ]
    for s, (search, x, y) in enumerate(spaces):
        for k in np.unique(images.labels):
            rows = np.flatnonzero(images.labels == k)
            among = np.flatnonzero(train.labels == k)
            mine = None if own is None else own[rows]
            found = _compare(search, x[rows], y, originals, among, n_next[rows], mine)
            values[rows, 4 * s : 4 * s + 2] = found.values
        found = _compare(search, x, y, originals, np.arange(len(train)), n_next, own)
        values[:, 4 * s + 2 : 4 * s + 4] = found.values
        if s == 0:
            near, distance = found.nearest, found.distance
    return Likeness(values, near, distance)


def evenly(n: int, most: int) -> Ints:
    """Up to `most` of n positions, evenly spaced."""
    return np.arange(n) if n <= most else np.arange(most) * n // most


def _compare(
    search: Search,
    images: NDArray[Any],
    train: NDArray[Any],
    originals: Originals,
    among: Ints,
    n_next: Ints,
    own: Ints | None,
) -> Likeness:
    """Ratio and authenticity, `values` [n, 2], in one space.

    `among` are the positions of the train images to compare with, ascending; `n_next` [n] how many
    images after the nearest to take the mean over.
    """
    standing = originals.stands_for[among] == among
    distinct, others = among[standing], among[~standing]
    left_out = None if own is None else np.searchsorted(distinct, own)
    index, distance = search(images, train[distinct], NEXT + 2, own=left_out)
    near, first = distinct[index[:, 0]], distance[:, 0].copy()
    if not np.isfinite(first).all():  # left out of a class of one, there is nothing to compare with
        return Likeness(np.full((len(images), 2), np.nan), np.full_like(near, -1), first)
    if len(others) and own is None:
        at, apart = search(images, train[others], 1)
        nearer = apart[:, 0] < first
        first[nearer], near[nearer] = apart[nearer, 0], others[at[nearer, 0]]
    # The nearest one and its twins are one image: the next are those after them all.
    source = np.searchsorted(distinct, originals.stands_for[near])
    following = (index >= 0) & (index != source[:, None])
    following &= np.cumsum(following, axis=1) <= n_next[:, None]
    total = np.where(following, distance, 0.0).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        context = total / following.sum(axis=1)
        isolation = _isolation(search, train[distinct], source, left_out)
        values = np.where(first == 0, 0.0, first / np.stack([context, isolation]))
    return Likeness(values.T, near, first)


def _isolation(
    search: Search, distinct: NDArray[Any], source: Ints, left_out: Ints | None
) -> Floats:
    """Distance from each source to the nearest distinct image but itself and the one left out."""
    sources, back = np.unique(source, return_inverse=True)
    index, distance = search(distinct[sources], distinct, 2, own=sources)
    result = distance[back, 0]
    if left_out is not None:
        result = np.where(index[back, 0] == left_out, distance[back, 1], result)
    return np.where(np.isfinite(result), result, np.nan)


def _first_of_each(alike: Bools) -> Ints:
    """Positions [R] of a greedy choice: an image like one that was chosen before is passed over."""
    chosen: list[int] = []
    for i, row in enumerate(alike):
        if not row[chosen].any():
            chosen.append(i)
    return np.array(chosen, dtype=np.int64)
