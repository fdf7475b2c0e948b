"""Train, validation and test positions that share no image content."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synthaug.data.cut import (
    Component,
    component_numbers,
    components_of,
    cut,
    quota,
    total_images,
)
from synthaug.data.leaks import Crossing, cross, drop_copies, refuse_leaks
from synthaug.errors import DataError, UsageError
from synthaug.words import number_of

# Keeps the two cuts from drawing the same order of images under the same seed.
_TEST_CUT, _HELD_OUT_CUT = (), (1,)
SIDES = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Splits:
    """Positions of the readable images: int64, sorted, disjoint, no content on two sides.

    ``notices`` tell in words what was moved, left out or could not be done. ``crossings`` are the
    images that belong together and were declared to lie on two sides, left out or not.
    """

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    notices: tuple[str, ...]
    crossings: tuple[Crossing, ...] = ()

    def check(self, content_hashes: Sequence[str], paths: Sequence[str]) -> None:
        """Refuse splits that share an image or its content, as a user's edit may have left them.

        Args:
            content_hashes: M hashes, equal for identical images.
            paths: M names of the images.

        Raises:
            DataError: naming the first pairs; or a position that there is not.
        """
        refuse_leaks({name: getattr(self, name) for name in SIDES}, content_hashes, paths)


def make_splits(
    labels: np.ndarray,
    content_hashes: Sequence[str],
    declared: Sequence[str],
    *,
    class_names: Sequence[str],
    test_fraction: float = 0.2,
    seed: int = 0,
    together: Sequence[int] | np.ndarray | None = None,
    drop_near: bool = False,
    paths: Sequence[str] = (),
) -> Splits:
    """Take the declared splits, or cut a stratified test split out of the train images.

    Identical images stay on one side, and so do all that ``together`` joins. Declared test or
    validation images that also occur in train are left out of every split; so are validation images
    that occur in test. What ``together`` joins across declared sides stays there and is told, or is
    left out if ``drop_near``.

    A cut test split gets at most ``test_fraction`` of each class, rounded, and at least one image
    where two others remain, unless groups forbid it, which is told. The order within a class
    depends on ``seed`` and on that class alone. Content found under several labels stays in train.

    Args:
        labels: int64 [M], positions in ``class_names``.
        content_hashes: M hashes, equal for identical images.
        declared: M times "train", "val", "test" or "" for none.
        class_names: K names.
        test_fraction: share of each class that goes to test, between 0 and 1.
        seed: of the cut.
        together: int64 [M], equal for images that belong together, such as one patient's or near
            duplicates: `components` of `near_duplicates` and of `links`.
        drop_near: leave declared test and validation images out that belong with train images.
        paths: M names for the notices, which otherwise name positions.

    Raises:
        DataError: when train has fewer than two classes, a class has fewer than two distinct
            train images, or no test image is left.
        UsageError: when ``test_fraction`` is not between 0 and 1.
    """
    labels = np.asarray(labels, dtype=np.int64)
    if not 0 < test_fraction < 1:
        raise UsageError(
            f"the test fraction is {test_fraction}", expected="a number between 0 and 1"
        )
    side = sides_of(declared)
    numbers = component_numbers(content_hashes, together)
    notices = two_label_notice(labels, content_hashes)
    parts: list[Component] = []
    if not (side == "test").any():
        parts = components_of(labels, content_hashes, numbers, np.flatnonzero(side == "train"))
        # A class of two images gives one up, which `refuse_thin_train` then tells.
        leaving = cut(parts, test_fraction, seed=seed, stream=_TEST_CUT, min_distinct=2)
        side[[i for part in leaving for i in part.positions]] = "test"
        if together is not None:
            notices += _share_notices(parts, leaving, test_fraction, class_names)
    notices += drop_copies(side, content_hashes)
    crossings, told = cross(side, numbers, drop=drop_near, paths=paths)
    notices += told

    train, val, test = (np.flatnonzero(side == name) for name in SIDES)
    refuse_thin_train(labels, content_hashes, train, class_names)
    if not len(test):
        raise _no_test(parts, dropped=drop_near and bool(crossings))
    tested = set(labels[test].tolist())
    missing = [name for k, name in enumerate(class_names) if k not in tested]
    if missing:
        notices.append(f"no test images of {', '.join(missing)}: no verdict on them is possible")
    return Splits(train, val, test, tuple(notices), crossings)


def cut_held_out(
    labels: np.ndarray,
    content_hashes: Sequence[str],
    *,
    fraction: float,
    seed: int,
    min_class: int = 5,
    together: Sequence[int] | np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Hold out about ``fraction`` of each class with at least ``min_class`` images.

    Args:
        labels: int64 [M].
        content_hashes: M hashes; identical images stay on one side.
        fraction: 0 (hold out nothing) up to 1 (exclusive).
        seed: of the cut.
        min_class: smaller classes contribute none, since learning needs all they have.
        together: int64 [M], equal for images that stay on one side.

    Returns:
        (learn, held_out): int64 positions in ``labels``, sorted, disjoint, complete.

    Raises:
        UsageError: when ``fraction`` is outside [0, 1).
    """
    labels = np.asarray(labels, dtype=np.int64)
    if not 0 <= fraction < 1:
        raise UsageError(
            f"the held-out fraction is {fraction}", expected="at least 0 and less than 1"
        )
    held_out = np.zeros(len(labels), dtype=bool)
    if fraction > 0:
        numbers = component_numbers(content_hashes, together)
        parts = components_of(labels, content_hashes, numbers, np.arange(len(labels)))
        leaving = cut(parts, fraction, seed=seed, stream=_HELD_OUT_CUT, min_class=min_class)
        held_out[[i for part in leaving for i in part.positions]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def sides_of(declared: Sequence[str]) -> np.ndarray:
    """The declared sides [M], with "train" where there is none."""
    side = np.array(declared, dtype="U5")
    side[side == ""] = "train"
    return side


def two_label_notice(labels: np.ndarray, content_hashes: Sequence[str]) -> list[str]:
    """Tell how many contents occur under several labels, if any."""
    labels_of: dict[str, set[int]] = defaultdict(set)
    for label, content in zip(labels.tolist(), content_hashes, strict=True):
        labels_of[content].add(label)
    torn = sum(len(found) > 1 for found in labels_of.values())
    if not torn:
        return []
    occur = "occurs" if torn == 1 else "occur"
    return [f"{number_of(torn, 'image')} {occur} under more than one class"]


def refuse_thin_train(
    labels: np.ndarray,
    content_hashes: Sequence[str],
    train: np.ndarray,
    class_names: Sequence[str],
) -> None:
    """Refuse train positions that nothing can be learned from.

    Raises:
        DataError: for fewer than two classes, or a class with fewer than two distinct images.
    """
    counts = Counter(labels[train].tolist())
    distinct: dict[int, set[str]] = defaultdict(set)
    for position in train.tolist():
        distinct[int(labels[position])].add(content_hashes[position])
    for k, name in enumerate(class_names):
        if len(distinct[k]) >= 2:
            continue
        readable = int((labels == k).sum())
        raise DataError(
            f"class {name!r} has too few distinct train images: {len(distinct[k])} (train files: "
            f"{counts[k]}, readable files in all splits: {readable})",
            expected="at least 2, which takes 3 images when the test split is cut from them",
            remedy="add images of the class or remove its folder",
        )


def groups_in_words(number: int) -> str:
    """A number of groups, for sentences."""
    return "one group" if number == 1 else f"{number} groups"


def _share_notices(
    parts: Sequence[Component],
    leaving: Sequence[Component],
    fraction: float,
    class_names: Sequence[str],
) -> list[str]:
    """Tell of the classes whose test share is far off, since groups are not divided."""
    images, tested = total_images(parts), total_images(leaving)
    of_class = Counter(k for part in parts for k in part.images)
    notices = []
    for k, n in sorted(images.items()):
        wanted = quota(fraction, n)
        if tested[k] and abs(tested[k] - wanted) <= max(1, wanted / 2):
            continue
        if of_class[k] < n:
            notices.append(
                f"{tested[k]} test images of {class_names[k]} instead of {wanted}: its {n} images "
                f"belong to {groups_in_words(of_class[k])}, and no group is divided"
            )
    return notices


def _no_test(parts: Sequence[Component], *, dropped: bool) -> DataError:
    """Why there is no test image; `parts` are the components that a test split was cut from."""
    if parts:
        n = sum(total_images(parts).values())
        return DataError(
            f"no test split can be cut: the {n} images belong to {groups_in_words(len(parts))}, "
            "and no group is divided",
            expected="in some class at least two groups, of which one can be tested",
            remedy="give finer groups, or a test folder",
        )
    why = (
        "occur in train or belong together with train images" if dropped else "also occur in train"
    )
    return DataError(
        f"no test image is left, since all of them {why}",
        expected="test images that train does not have",
        remedy="remove the copies from train, or remove the test folder to have one cut",
    )
