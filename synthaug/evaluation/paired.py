"""The difference of two arms, tested on the same images with the same seeds.

Which seeds were run and which images form the test set are both luck. The difference in a statistic
is split as in a reader study, with seeds as readers and test images as cases (Obuchowski and
Rockette 1995, Communications in Statistics - Simulation and Computation 24):

    seed part    variance of the S differences by seed, over S;
    image part   what the means over seeds of the images add to that, with images drawn anew within
                 each class, since the size of a test class is fixed.

A statistic that is no mean over images (precision, F1) is replaced by its tangent at the confusion
matrix of each seed. `benchmarks/coverage.md` has what this and its alternatives cover.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from synthaug.evaluation.intervals import half_width, p_value
from synthaug.evaluation.metrics import confusion_matrix

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Reading = Literal["better", "worse", "no evidence"]

Statistic = Callable[[Floats], tuple[Floats, Floats]]
"""Confusion matrices [S, K, K] (true class, predicted class) to values [S] and slopes [S, K, K].

A value is NaN where it is undefined. A slope is the derivative by one count, up to a constant for
each true class, which has no effect while the class sizes are fixed.
"""


@dataclass(frozen=True)
class Difference:
    """Ours - theirs: mean over seeds, its 95 % interval, two-sided p, and the value of each seed.

    With one seed `low`, `high` and `p` are None. `p` is below 0.05 exactly where the interval
    excludes 0. `discordant` counts the test images that tell the two arms apart.
    """

    mean: float
    low: float | None
    high: float | None
    p: float | None
    values: tuple[float, ...]
    seed_variance: float
    image_variance: float
    discordant: int

    @property
    def reading(self) -> Reading:
        """Whether the interval excludes zero, and on which side."""
        if self.low is not None and self.low > 0:
            return "better"
        if self.high is not None and self.high < 0:
            return "worse"
        return "no evidence"


def mean_recall(classes: NDArray[np.bool_]) -> Statistic:
    """Mean recall of `classes`, bool [K], over those with test images; undefined without any."""

    def evaluate(confusion: Floats) -> tuple[Floats, Floats]:
        n = confusion.sum(-1)
        tested = classes & (n[0] > 0)
        weight = tested / np.maximum(n, 1) / max(np.count_nonzero(tested), 1)
        correct = np.diagonal(confusion, axis1=-2, axis2=-1)
        value = (weight * correct).sum(-1) if tested.any() else np.full(len(n), np.nan)
        return value, weight[:, :, None] * np.eye(n.shape[-1])

    return evaluate


def precision_of(k: int) -> Statistic:
    """Precision of class k; undefined without test images or in a seed that never predicts it."""

    def evaluate(confusion: Floats) -> tuple[Floats, Floats]:
        predicted, correct = confusion[:, :, k].sum(-1), confusion[:, k, k]
        defined = (predicted > 0) & (confusion[:, k].sum(-1) > 0)
        value = np.where(defined, correct / np.maximum(predicted, 1), np.nan)
        slope = np.zeros_like(confusion)
        slope[:, :, k] = -(value / np.maximum(predicted, 1))[:, None]
        slope[:, k, k] += 1 / np.maximum(predicted, 1)
        return value, slope

    return evaluate


def macro_f1(confusion: Floats) -> tuple[Floats, Floats]:
    """Mean F1 over the classes with test images, 0 for one that is never predicted."""
    n, predicted = confusion.sum(-1), confusion.sum(-2)
    correct = np.diagonal(confusion, axis1=-2, axis2=-1)
    tested = n > 0
    share = tested / np.maximum(np.count_nonzero(tested, axis=-1), 1)[:, None]
    total = np.maximum(n + predicted, 1)
    f1 = 2 * correct / total
    slope = 2 * np.eye(n.shape[-1]) - f1[:, None, :]
    return (share * f1).sum(-1), slope * (share / total)[:, None, :]


def accuracy(confusion: Floats) -> tuple[Floats, Floats]:
    """Share of all test images that are recognised."""
    n = np.maximum(confusion.sum((-2, -1)), 1)
    value = np.trace(confusion, axis1=-2, axis2=-1) / n
    return value, np.eye(confusion.shape[-1]) / n[:, None, None]


def paired_differences(
    y_true: Ints,
    ours: Ints,
    theirs: Ints,
    statistics: Sequence[Statistic],
    *,
    n_classes: int,
    confidence: float = 0.95,
) -> list[Difference | None]:
    """One difference per statistic; None where it is undefined in some seed of either arm.

    Args:
        y_true: int [N], the classes of the test images.
        ours, theirs: predicted classes int [S, N], the same seeds in the same order.
        statistics: what to compare (`mean_recall`, `precision_of`, `macro_f1`).
        n_classes: K; labels and predictions are 0 .. K-1.
        confidence: of the interval.
    """
    assert ours.shape == theirs.shape == (len(ours), len(y_true)), (ours.shape, theirs.shape)
    order = np.argsort(y_true, kind="stable")
    y, ours, theirs = y_true[order], ours[:, order], theirs[:, order]
    tables = [confusion_matrix(y, x, n_classes).astype(np.float64) for x in (ours, theirs)]
    found = [_components(y, (ours, theirs), tables, statistic) for statistic in statistics]
    defined = [c for c in found if c is not None]
    n_seeds = len(ours)
    if n_seeds < 2 or not defined:
        return [None if c is None else _difference(c) for c in found]
    a = np.array([c.seed_variance for c in defined])
    b = np.array([c.image_variance for c in defined])
    p = p_value(np.array([c.values.mean() for c in defined]), a, b, n_seeds)
    half = half_width(a, b, n_seeds, confidence)
    # m images cannot do better than all pointing the same way, which chance does in 2 of 2^m cases.
    p = np.maximum(p, np.exp2(1.0 - np.array([c.discordant for c in defined])))
    told = zip(np.minimum(p, 1).tolist(), half.tolist(), strict=True)
    return [None if c is None else _difference(c, next(told), 1 - confidence) for c in found]


@dataclass(frozen=True)
class _Components:
    values: Floats
    seed_variance: float
    image_variance: float
    discordant: int


def _difference(
    c: _Components, told: tuple[float, float] | None = None, alpha: float = 0.05
) -> Difference:
    """`told` are p and half the length of the interval."""
    mean = float(c.values.mean())
    low = high = p = None
    if told is not None:
        p, half = told
        low, high = max(mean - half, -1.0), min(mean + half, 1.0)
        if p >= alpha:
            low, high = min(low, 0.0), max(high, 0.0)
    values = tuple(float(v) for v in c.values)
    return Difference(mean, low, high, p, values, c.seed_variance, c.image_variance, c.discordant)


def _components(
    y: Ints, predictions: tuple[Ints, Ints], tables: list[Floats], statistic: Statistic
) -> _Components | None:
    """Values by seed and the two variances; `y` is sorted."""
    (value, slope), (other, other_slope) = (statistic(table) for table in tables)
    values = value - other
    if np.isnan(values).any():
        return None
    n_seeds, n_classes = slope.shape[:2]
    n = np.bincount(y, minlength=n_classes)
    involved = np.logical_or(slope.any((0, 2)), other_slope.any((0, 2)))[y]
    y, ours, theirs = y[involved], *(p[:, involved] for p in predictions)
    s = np.arange(n_seeds)[:, None]
    effect = slope[s, y, ours] - other_slope[s, y, theirs]  # [S, images involved]
    mean = effect.mean(0)
    apart = (ours != theirs).any(0) & (mean != 0)
    images = _within_classes(mean, y, n)
    seeds = noise = 0.0
    if n_seeds > 1:
        seeds = float(values.var(ddof=1)) / n_seeds
        noise = _within_classes(effect - mean, y, n) / (n_seeds * (n_seeds - 1))
    unseen = _unseen(mean[apart], y[apart], np.where(n > 0, _one_image(slope), 0))
    # Chance differences between seeds are in both parts; they are taken out of one.
    image_variance = max(images + unseen - noise, 0.0)
    return _Components(values, seeds, image_variance, int(np.count_nonzero(apart)))


def _within_classes(x: Floats, y: Ints, n: Ints) -> float:
    """Sum of squares of x [..., N] around the means of the classes y [N] of n [K] images, unbiased.

    A single image of a class has nothing to be centred on and counts as it is.
    """
    x = np.atleast_2d(x)
    cell = (np.arange(len(x))[:, None] * len(n) + y).ravel()
    sums, squares = (
        np.bincount(cell, w.ravel(), minlength=len(x) * len(n)).reshape(-1, len(n))
        for w in (x, x * x)
    )
    centred = (squares - sums**2 / np.maximum(n, 1)) * n / np.maximum(n - 1, 1)
    return float(np.where(n > 1, centred, squares).sum())


def _unseen(effect: Floats, y: Ints, one_image: Floats) -> float:
    """Variance for what another test set may hold and this one does not.

    Few images that tell the arms apart say little about how many would in another test set, so two
    more are assumed, one each way, as Bonett and Price (2012, Journal of Educational and Behavioral
    Statistics 37) do for paired proportions. They are as large as those of their class, or one
    whole image where the class has none, and of the class where they weigh most.
    """
    squares, fourth = (np.bincount(y, effect**p, minlength=len(one_image)) for p in (2, 4))
    size = np.divide(fourth, squares, out=one_image**2, where=squares > 0)
    return 2 * float(size.max(initial=0.0))


def _one_image(slope: Floats) -> Floats:
    """[K]: what it does to the statistic if one image of a class is recognised that was not."""
    k = slope.shape[-1]
    slope = slope.mean(0)
    elsewhere = (slope.sum(1) - np.diagonal(slope)) / max(k - 1, 1)
    one: Floats = np.abs(np.diagonal(slope) - elsewhere)
    return one
