"""Images on two sides that must not be: copies, near duplicates, images of one group."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synthaug.errors import DataError
from synthaug.words import number_of

# The side that keeps an image comes first: test images must be new to what learned from the others.
_PRECEDENCE = (("test", "train"), ("val", "train"), ("val", "test"))
_NAMED = 3


@dataclass(frozen=True, eq=False)
class Crossing:
    """Images of one side that belong together with images of another.

    Attributes:
        side: "test" or "val".
        other: "train" or "test".
        pairs: int64 [P, 2], positions: every image of `side` concerned, ascending, and the first
            image of `other` that it belongs with.
    """

    side: str
    other: str
    pairs: np.ndarray


def drop_copies(side: np.ndarray, content_hashes: Sequence[str]) -> list[str]:
    """Blank, in place, the side of images whose content a more important side has already.

    Args:
        side: [M] of "train", "val", "test" or "".
        content_hashes: M hashes.

    Returns:
        Sentences with the numbers.
    """
    notices = []
    for name, other in _PRECEDENCE:
        known = {content_hashes[i] for i in np.flatnonzero(side == other).tolist()}
        leaks = [i for i in np.flatnonzero(side == name).tolist() if content_hashes[i] in known]
        if leaks:
            side[leaks] = ""
            it = "it also occurs" if len(leaks) == 1 else "they also occur"
            left_out = number_of(len(leaks), f"{name} image")
            notices.append(f"{left_out} left out: {it} in {other}")
    return notices


def cross(
    side: np.ndarray, numbers: np.ndarray, *, drop: bool, paths: Sequence[str] = ()
) -> tuple[tuple[Crossing, ...], list[str]]:
    """Find the images that belong together and lie on two sides.

    Args:
        side: [M] of "train", "val", "test" or ""; changed in place if `drop`.
        numbers: int64 [M], equal for images that belong together.
        drop: leave the images of the less important side out.
        paths: M names for the sentences; without them positions are named.

    Returns:
        What was found, whether left out or not, and a sentence for each with its first example.
    """
    crossings = []
    notices = []
    for name, other in _PRECEDENCE:
        # Backwards, so that the first position of a component is the one that is kept.
        first = {int(numbers[i]): i for i in reversed(np.flatnonzero(side == other).tolist())}
        concerned = np.flatnonzero(side == name).tolist()
        pairs = [(i, first[int(numbers[i])]) for i in concerned if int(numbers[i]) in first]
        if not pairs:
            continue
        found = np.array(pairs, dtype=np.int64)
        crossings.append(Crossing(name, other, found))
        if drop:
            side[found[:, 0]] = ""
        example = " with ".join(_name(i, paths) for i in pairs[0])
        one = len(pairs) == 1
        left_out = f" left out: {'it' if one else 'they'}" if drop else ""
        notices.append(
            f"{number_of(len(pairs), f'{name} image')}{left_out} belong{'s' if one else ''} "
            f"together with {other} images (of one group, or nearly the same): {example}"
        )
    return tuple(crossings), notices


def refuse_leaks(
    sides: dict[str, np.ndarray], content_hashes: Sequence[str], paths: Sequence[str]
) -> None:
    """Refuse sides that share an image or its content, such as an edited `splits.json` may.

    Args:
        sides: positions int64 by the name of the side, most important first.
        content_hashes: M hashes.
        paths: M names of the images.

    Raises:
        DataError: naming the first pairs; or a position that there is not.
    """
    holders: dict[str, list[tuple[str, int]]] = defaultdict(list)
    pairs: list[str] = []
    for name, positions in sides.items():
        for i in positions.tolist():
            if not 0 <= i < len(paths):
                raise DataError(
                    f"{name} has position {i}", expected=f"a number from 0 to {len(paths) - 1}"
                )
            before = holders[content_hashes[i]]
            elsewhere = next((held for held in before if held[0] != name), None)
            if elsewhere is not None:
                other, j = elsewhere
                pairs.append(
                    f"{paths[i]} in {name} and {other}"
                    if i == j
                    else f"{paths[i]} in {name} = {paths[j]} in {other}"
                )
            before.append((name, i))
    if pairs:
        more = f" and {len(pairs) - _NAMED} more" if len(pairs) > _NAMED else ""
        raise DataError(
            f"the same image is on two sides of the split: {', '.join(pairs[:_NAMED])}{more}",
            expected="every image, with all its copies, on one side",
            remedy="keep one side of each pair in splits.json",
        )


def _name(position: int, paths: Sequence[str]) -> str:
    return paths[position] if paths else f"image {position}"
