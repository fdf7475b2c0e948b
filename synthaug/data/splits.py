"""Train, validation and test positions that share no image content."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synthaug.errors import DataError, UsageError

# Keeps the two cuts from drawing the same order of images under the same seed.
_TEST_CUT, _HELD_OUT_CUT = (), (1,)


@dataclass(frozen=True, eq=False)
class Splits:
    """Positions of the readable images: int64, sorted, disjoint, no content on two sides.

    ``notices`` tell in words what was moved or left out.
    """

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    notices: tuple[str, ...]


def make_splits(
    labels: np.ndarray,
    content_hashes: Sequence[str],
    declared: Sequence[str],
    *,
    class_names: Sequence[str],
    test_fraction: float = 0.2,
    seed: int = 0,
) -> Splits:
    """Take the declared splits, or cut a stratified test split out of the train images.

    Identical images stay on one side. Declared test or validation images that also occur in train
    are left out of every split; so are validation images that occur in test. A cut test split
    gets about ``test_fraction`` of each class and at least one image of a class with two distinct
    ones. The order within a class depends on ``seed`` and on that class alone.

    Args:
        labels: int64 [M], positions in ``class_names``.
        content_hashes: M hashes, equal for identical images.
        declared: M times "train", "val", "test" or "" for none.
        class_names: K names.
        test_fraction: share of each class that goes to test, between 0 and 1.
        seed: of the cut.

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
    side = np.array(declared, dtype="U5")
    side[side == ""] = "train"
    notices = _two_label_notice(labels, content_hashes)
    if not (side == "test").any():
        pool = np.flatnonzero(side == "train")
        pool_hashes = [content_hashes[i] for i in pool.tolist()]
        cut = _cut(labels[pool], pool_hashes, test_fraction, seed, 1, _TEST_CUT)
        side[pool[cut]] = "test"
    notices += _drop_leaks(side, content_hashes)

    train, val, test = (np.flatnonzero(side == name) for name in ("train", "val", "test"))
    _refuse_thin_train(labels, content_hashes, train, class_names)
    if not len(test):
        raise DataError(
            "no test image is left, since all of them also occur in train",
            expected="test images that train does not have",
            remedy="remove the copies from train, or remove the test folder to have one cut",
        )
    tested = set(labels[test].tolist())
    missing = [name for k, name in enumerate(class_names) if k not in tested]
    if missing:
        notices.append(f"no test images of {', '.join(missing)}: no verdict on them is possible")
    return Splits(train, val, test, tuple(notices))


def cut_held_out(
    labels: np.ndarray,
    content_hashes: Sequence[str],
    *,
    fraction: float,
    seed: int,
    min_class: int = 5,
) -> tuple[np.ndarray, np.ndarray]:
    """Hold out about ``fraction`` of each class with at least ``min_class`` images.

    Args:
        labels: int64 [M].
        content_hashes: M hashes; identical images stay on one side.
        fraction: 0 (hold out nothing) up to 1 (exclusive).
        seed: of the cut.
        min_class: smaller classes contribute none, since learning needs all they have.

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
        held_out[_cut(labels, content_hashes, fraction, seed, min_class, _HELD_OUT_CUT)] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _cut(
    labels: np.ndarray,
    content_hashes: Sequence[str],
    fraction: float,
    seed: int,
    min_class: int,
    stream: tuple[int, ...],
) -> np.ndarray:
    """Return the positions that leave, class by class, in whole groups of identical images.

    Content found under several labels stays, so that the cut of a class is its own affair.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for position, content in enumerate(content_hashes):
        groups[content].append(position)
    leaving: list[int] = []
    for label in np.unique(labels):
        positions = np.flatnonzero(labels == label).tolist()
        # Ordered by content, so that renaming files does not change who is tested.
        own = [groups[content] for content in sorted({content_hashes[i] for i in positions})]
        movable = [group for group in own if (labels[group] == label).all()]
        # Two distinct images stay where there are three: one is too few to learn from.
        most = min(len(movable), len(own) - (2 if len(own) > 2 else 1))
        if len(positions) < min_class or most < 1:
            continue
        order = np.random.default_rng([seed, int(label), *stream]).permutation(len(movable))
        shuffled = [movable[i] for i in order]
        quota = max(1, round(fraction * len(positions)))
        taken: list[list[int]] = []
        for group in shuffled:
            if len(taken) < most and sum(map(len, taken)) + len(group) <= quota:
                taken.append(group)
        for group in taken or [min(shuffled, key=len)]:
            leaving += group
    return np.array(sorted(leaving), dtype=np.int64)


def _drop_leaks(side: np.ndarray, content_hashes: Sequence[str]) -> list[str]:
    """Blank, in place, the side of images whose content a more important split has already."""
    notices = []
    for name, others in (("test", ("train",)), ("val", ("train", "test"))):
        for other in others:
            known = {content_hashes[i] for i in np.flatnonzero(side == other).tolist()}
            leaks = [i for i in np.flatnonzero(side == name).tolist() if content_hashes[i] in known]
            if leaks:
                side[leaks] = ""
                notices.append(f"{len(leaks)} {name} images left out: they also occur in {other}")
    return notices


def _two_label_notice(labels: np.ndarray, content_hashes: Sequence[str]) -> list[str]:
    labels_of: dict[str, set[int]] = defaultdict(set)
    for label, content in zip(labels.tolist(), content_hashes, strict=True):
        labels_of[content].add(label)
    torn = sum(len(found) > 1 for found in labels_of.values())
    return [f"{torn} images occur under more than one class"] if torn else []


def _refuse_thin_train(
    labels: np.ndarray,
    content_hashes: Sequence[str],
    train: np.ndarray,
    class_names: Sequence[str],
) -> None:
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
