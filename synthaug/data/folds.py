"""Cross-validation: every image is a test image once, where one cut would test too few."""

from collections.abc import Iterator, Sequence

import numpy as np

from synthaug.data.cut import (
    Component,
    component_numbers,
    components_of,
    cut,
    deal,
    quota,
    total_distinct,
    total_images,
)
from synthaug.data.leaks import cross, drop_copies
from synthaug.data.splits import (
    Splits,
    groups_in_words,
    refuse_thin_train,
    sides_of,
    two_label_notice,
)
from synthaug.errors import DataError, UsageError

MAX_FOLDS = 20
"""More are not suggested: each is a training of its own."""


def make_folds(
    labels: np.ndarray,
    content_hashes: Sequence[str],
    declared: Sequence[str],
    *,
    class_names: Sequence[str],
    folds: int,
    together: Sequence[int] | np.ndarray | None = None,
    seed: int = 0,
    drop_near: bool = False,
    paths: Sequence[str] = (),
) -> list[Splits]:
    """Divide the images that are not declared "val" into folds, each the test split once.

    Identical images and all that ``together`` joins are in one fold, also where they are of several
    classes. The folds of a class of single images differ by at most one image; larger components
    are placed before, so that the single ones even out what they can. A declared validation split
    is the same in every fold; what it shares with the others is left out or told as by
    `make_splits`.

    Args:
        labels: int64 [M], positions in ``class_names``.
        content_hashes: M hashes, equal for identical images.
        declared: M times "train", "val" or "" for none.
        class_names: K names.
        folds: at least 2.
        together: int64 [M], equal for images that belong together.
        seed: of the order.
        drop_near: leave validation images out that belong with others.
        paths: M names for the notices, which otherwise name positions.

    Returns:
        One `Splits` for each fold. Their test positions are disjoint and cover all that is not
        validation; their notices are the same, being about the dataset.

    Raises:
        DataError: when there are fewer than two classes, or a class would keep fewer than two
            distinct train images in some fold.
        UsageError: for fewer than two folds or a declared test split.
    """
    if folds < 2:
        raise UsageError(f"the number of folds is {folds}", expected="at least 2")
    labels = np.asarray(labels, dtype=np.int64)
    side = sides_of(declared)
    if (side == "test").any():
        raise UsageError(
            f"{folds} folds of a dataset that declares a test split",
            expected="train images alone, since every image is tested once",
            remedy="leave the folds out, or move the test images to train",
        )
    numbers = component_numbers(content_hashes, together)
    notices = two_label_notice(labels, content_hashes) + drop_copies(side, content_hashes)
    crossings, told = cross(side, numbers, drop=drop_near, paths=paths)
    pool, val = (np.flatnonzero(side == name) for name in ("train", "val"))
    refuse_thin_train(labels, content_hashes, pool, class_names)

    parts = components_of(labels, content_hashes, numbers, pool)
    dealt = deal(parts, folds, seed=seed)
    distinct, least = total_distinct(parts), _least_left(parts, dealt)
    for k, name in enumerate(class_names):
        if least[k] < 2:
            raise DataError(
                f"class {name!r} keeps {least[k]} of its {distinct[k]} distinct images in the "
                f"train split of one of {folds} folds",
                expected="at least 2",
                remedy=_remedy(parts, seed, name),
            )
    notices += told + _uneven_notices(parts, dealt, class_names)
    splits = []
    for fold in dealt:
        test = np.array(sorted(i for part in fold for i in part.positions), dtype=np.int64)
        train = np.setdiff1d(pool, test, assume_unique=True)
        splits.append(Splits(train, val, test, tuple(notices), crossings))
    return splits


def suggest_folds(
    labels: np.ndarray,
    content_hashes: Sequence[str],
    declared: Sequence[str],
    *,
    together: Sequence[int] | np.ndarray | None = None,
    test_fraction: float = 0.2,
    min_test: int = 5,
    seed: int = 0,
) -> int | None:
    """How many folds to use where the cut of `make_splits` tests a class on too few images.

    Over all folds every image is tested, however many folds there are. So this is the number that
    trains on the share that the cut trains on, 1 / ``test_fraction``, or the next one in which
    every class keeps two distinct train images. A class of fewer than ``min_test`` images is then
    at least tested on all of them.

    Returns:
        None where the cut tests every class on ``min_test`` images, a test split is declared, or no
        number up to 20 will do.
    """
    labels = np.asarray(labels, dtype=np.int64)
    side = sides_of(declared)
    if (side == "test").any():
        return None
    drop_copies(side, content_hashes)
    numbers = component_numbers(content_hashes, together)
    parts = components_of(labels, content_hashes, numbers, np.flatnonzero(side == "train"))
    tested = total_images(cut(parts, test_fraction, seed=seed))
    if all(tested[k] >= min_test for k in total_images(parts)):
        return None
    return next(_numbers_that_work(parts, seed, start=max(2, round(1 / test_fraction))), None)


def _least_left(parts: Sequence[Component], dealt: Sequence[Sequence[Component]]) -> dict[int, int]:
    """By class, the distinct images that are left where a fold takes most of them."""
    distinct = total_distinct(parts)
    tested = [total_distinct(fold) for fold in dealt]
    return {k: d - max(t[k] for t in tested) for k, d in distinct.items()}


def _numbers_that_work(parts: Sequence[Component], seed: int, start: int) -> Iterator[int]:
    return (
        folds
        for folds in range(start, MAX_FOLDS + 1)
        if min(_least_left(parts, deal(parts, folds, seed=seed)).values(), default=0) >= 2
    )


def _remedy(parts: Sequence[Component], seed: int, name: str) -> str:
    works = next(_numbers_that_work(parts, seed, start=2), None)
    if works is not None:
        return f"use {works} folds"
    return f"no number of folds up to {MAX_FOLDS} will do: add images of {name!r} or remove it"


def _uneven_notices(
    parts: Sequence[Component], dealt: Sequence[Sequence[Component]], class_names: Sequence[str]
) -> list[str]:
    """Tell of the classes whose folds differ by more than an image, since groups stay whole."""
    tested = [total_images(fold) for fold in dealt]
    notices = []
    for k, n in sorted(total_images(parts).items()):
        counts = [t[k] for t in tested]
        if max(counts) - min(counts) > max(1, quota(1 / len(dealt), n) / 2):
            groups = groups_in_words(sum(k in part.images for part in parts))
            notices.append(
                f"{min(counts)} to {max(counts)} test images of {class_names[k]} in a fold: its "
                f"{n} images belong to {groups}, and no group is divided"
            )
    return notices
