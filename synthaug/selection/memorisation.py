"""Copies of train images among synthetic ones, told by what real images show without copying.

None of the `STATISTICS` has a meaning by itself: about half of all real images are inauthentic. So
each has a null beside it, which is what it is for real train images left out one by one, and for
held-out ones. A copy is what is more extreme than all but a stated share of those.

The picture of nearest neighbours uses the convention of the literature instead, which needs no null
and is not calibrated either: an image is taken for a copy where its nearest train image is more
than three times nearer than its second nearest, Yoon et al. (2023, ICML workshop on structured
probabilistic inference) and Gu et al. (2023), arXiv:2310.02664.
"""

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from synthaug.selection.neighbours import nearest
from synthaug.selection.originals import STATISTICS, Likeness, Originals, evenly, likeness
from synthaug.selection.sets import Bools, Floats, Images, ImageSet, Ints

__all__ = [
    "COPY_BELOW",
    "STATISTICS",
    "CopyEvidence",
    "Null",
    "conventional_shares",
    "copy_null",
    "copy_ratio",
    "copy_share",
    "copy_thresholds",
    "find_copies",
    "leave_one_out_ratio",
    "nearest",
    "ratio_of",
]

COPY_BELOW = 1 / 3
COPY_RATE = 0.02
NEVER_ABOVE = 1 / 2
IN_FEATURES = 1 / 4
"""Guards of the thresholds of the `STATISTICS`; see `copy_thresholds`."""
FEWEST = 3
"""Distinct images of a class without which leaving one out tells nothing; guards hold then."""
MAX_NULL = 200
"""Train images of a class that are left out one by one."""
SAME_BELOW = 1 / 255
"""An image within one grey level of a train image, on average, is a copy whatever the null."""


@dataclass(frozen=True)
class Null:
    """`values` float64 [M, 8], the `STATISTICS` of real images, and `labels` int64 [M]."""

    values: Floats
    labels: Ints

    def of_class(self, k: int, rate: float) -> Floats:
        """Those that tell a quantile of `rate` for class k, [m, 8].

        The class's own if one of them may be beyond it. Otherwise those of all classes: the
        statistics are quotients of distances, and how small these get depends on the number of
        dimensions that images vary in (Facco et al. (2017), arXiv:1803.06992) and on little else.
        """
        own = self.values[self.labels == k]
        return own if len(own) * rate >= 1 else self.values


@dataclass(frozen=True)
class CopyEvidence(Likeness):
    """Which of n images are copies, `copied` bool [n], and why.

    `thresholds` float64 [n, 8]: an image is a copy if one of its `STATISTICS` is below.
    """

    thresholds: Floats
    copied: Bools


def copy_null(originals: Originals, held_out: ImageSet | None = None) -> Null:
    """What real images that copy none show: up to 200 distinct train images of each class, each
    left out of the others, and held-out images that are no twins of a train image.

    Held-out images are such that neither generator nor classifier has learned from, and never test
    images, which would then take part in choosing what they judge. With a small class they make the
    null its own.
    """
    train = originals.train
    asked = []
    for k in np.unique(train.labels):
        own = originals.distinct[train.labels[originals.distinct] == k]
        if len(own) >= FEWEST:
            asked.append(own[evenly(len(own), MAX_NULL)])
    own = np.concatenate([np.empty(0, dtype=np.int64), *asked])
    values, labels = [likeness(train.take(own), originals, own).values], [train.labels[own]]
    if held_out is not None:
        found = likeness(held_out, originals)
        strange = originals.n_distinct(held_out.labels) >= FEWEST
        strange &= found.distance > originals.twin_below[held_out.labels]
        values.append(found.values[strange])
        labels.append(held_out.labels[strange])
    return Null(np.concatenate(values), np.concatenate(labels))


def find_copies(
    images: ImageSet,
    originals: Originals,
    null: Null,
    *,
    rate: float = COPY_RATE,
    never_above: float = NEVER_ABOVE,
) -> CopyEvidence:
    """Tell which of n synthetic images, of classes with train images, copy one of any class.

    `rate` is the share of the null that may be taken for copies, all statistics together;
    `never_above` a guard of `copy_thresholds`.
    """
    found = likeness(images, originals)
    thresholds = np.empty_like(found.values)
    for k in np.unique(images.labels):
        known = originals.n_distinct(np.array([k]))[0] >= FEWEST
        of_k = (
            copy_thresholds(null.of_class(k, rate), rate, never_above)
            if known
            else guards(never_above)[0]
        )
        thresholds[images.labels == k] = of_k
    copied = (found.values < thresholds).any(axis=1) | (found.distance < SAME_BELOW)
    return CopyEvidence(found.values, found.nearest, found.distance, thresholds, copied)


def conventional_shares(values: Floats, labels: Ints, null: Null, k: int) -> dict[str, list[float]]:
    """What the literature prints of class k, of images and beside it of its null; nan if unknown.

    Of each of the `STATISTICS` [share of images, share of the null]: of ratios below 1/3, and of
    authenticities below 1, which are the images that are not authentic.
    """
    shares = {}
    for j, name in enumerate(STATISTICS):
        below = 1.0 if "authenticity" in name else COPY_BELOW
        both = [x[of == k, j] for x, of in ((values, labels), (null.values, null.labels))]
        known = [x[~np.isnan(x)] for x in both]
        shares[name] = [float((x < below).mean()) if len(x) else float("nan") for x in known]
    return shares


def guards(never_above: float = NEVER_ABOVE) -> tuple[Floats, Floats]:
    """(lowest, highest) thresholds float64 [8] of the `STATISTICS` that `copy_thresholds` gives."""
    in_pixels = np.array([name.startswith("pixel") for name in STATISTICS])
    low = np.where(in_pixels, min(COPY_BELOW, never_above), 0.0)
    return low, np.where(in_pixels, never_above, min(IN_FEATURES, never_above))


def copy_thresholds(null: Floats, rate: float, never_above: float = NEVER_ABOVE) -> Floats:
    """The thresholds float64 [8] of the `STATISTICS` from a null [M, 8]; a copy is below one.

    They are one quantile of each statistic, the highest at which at most `rate` of the null is
    below any; so the rate is that of all of them together. Of a small null it is the minimum.

    Guards for a null that is small or unlike what it stands for: in pixels a threshold is never
    under 1/3, where the literature sees a copy, and not over `never_above`. In features it is never
    over 1/4: images that a classifier has not learned from were measured to come nearer to those
    that it has than these to each other, several times as often as the rate says.
    """
    ordered = np.sort(np.where(np.isnan(null), np.inf, null), axis=0)

    def flagged(rank: int) -> float:
        return float((null < ordered[rank]).any(axis=1).mean())

    allowed = bisect_right(range(len(ordered)), rate, key=flagged)
    low, high = guards(never_above)
    thresholds = ordered[allowed - 1] if allowed else high
    guarded: Floats = np.clip(thresholds, low, high)
    return guarded


def copy_ratio(images: Images, reference: Images, *, own: Ints | None = None) -> Floats:
    """d(nearest) / d(second nearest) of each of N images among the reference, float64 [N].

    0 for an image that equals one of them, even if it equals two (0/0) or there is no second.
    Otherwise nan without a second.
    """
    return ratio_of(nearest(images, reference, 2, own=own)[1])


def ratio_of(distance: Floats) -> Floats:
    """That ratio from distances [N, k] with k >= 2, as `nearest` returns them."""
    first, second = distance[:, 0], distance[:, 1]
    ratio = np.full(len(distance), np.nan)
    known = np.isfinite(second) & (second > 0)
    ratio[known] = first[known] / second[known]
    ratio[first == 0] = 0.0
    return ratio


def leave_one_out_ratio(reference: Images) -> Floats:
    """The ratio of each reference image among all others: what real images show of it."""
    return copy_ratio(reference, reference, own=np.arange(len(reference)))


def copy_share(ratio: Floats) -> float:
    """Share of copies among the ratios that are known; nan if none is."""
    known = ratio[~np.isnan(ratio)]
    return float((known < COPY_BELOW).mean()) if len(known) else float("nan")
