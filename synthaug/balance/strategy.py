"""What the user may write for a balancing strategy, and the final counts it stands for."""

import difflib
import re
from collections.abc import Mapping, Sequence

import numpy as np

from synthaug.errors import DataError, UsageError

WORDS = ("auto", "minority", "not majority")
_EXPECTED = "auto, minority, 'not majority', a number, or class=number,class=number"
# A class name may hold commas and equals signs: an entry ends where "=number" does.
_ENTRY = re.compile(r"\s*(?P<name>.+?)\s*=\s*(?P<count>[+-]?\d+)\s*(?:,|$)", re.DOTALL)

Strategy = str | int | Mapping[str, int]


def parse_strategy(text: str, class_names: Sequence[str]) -> str | int | dict[str, int]:
    """Read a strategy as the command line or a recipe gives it.

    Args:
        text: a word ("auto", "minority", "not majority"), a final count for every class ("200"),
            or final counts of some classes ("melanoma=200,nevus=150").
        class_names: the classes that may be named.

    Returns:
        The word, the number, or a dict from class name to final count.

    Raises:
        UsageError: for anything else, an unknown class, a class named twice or a negative number.
    """
    stripped = text.strip()
    word = re.sub(r"[\s_-]+", " ", stripped.lower())
    if word in WORDS:
        return word
    if re.fullmatch(r"[+-]?\d+", stripped):
        return _not_negative(int(stripped), f"the strategy {stripped!r}")
    if "=" in stripped:
        return _parse_targets(stripped, class_names)
    near = difflib.get_close_matches(word, WORDS, n=1)
    raise UsageError(
        f"the strategy {text!r} is not known",
        expected=_EXPECTED,
        remedy=f"did you mean {near[0]!r}?" if near else "",
    )


def target_counts(
    strategy: Strategy, class_names: Sequence[str], counts: Sequence[int]
) -> list[int]:
    """Return the final count of each of K >= 2 classes with ``counts`` >= 1 train images.

    Words mean what they mean to imbalanced-learn: "auto" and "not majority" raise every class to
    the largest, "minority" only the smallest class. A number raises the classes below it to it and
    leaves the others; a dict gives final counts, and classes it does not name stay.

    Raises:
        DataError: when a dict asks for fewer images than a class has.
        UsageError: when the strategy is not known or names an unknown class.
    """
    from imblearn.utils import check_sampling_strategy  # imports all of scikit-learn: seconds

    by_position: str | dict[int, int]
    if isinstance(strategy, str):
        parsed = parse_strategy(strategy, class_names)
        if not isinstance(parsed, str):
            return target_counts(parsed, class_names, counts)
        by_position = parsed
    elif isinstance(strategy, int):
        floor = _not_negative(strategy, f"the strategy {strategy}")
        by_position = {k: max(floor, count) for k, count in enumerate(counts)}
    else:
        by_position = {}
        for name, target in strategy.items():
            k = class_position(name, class_names)
            check_target(name, counts[k], target)
            by_position[k] = target
    labels = np.repeat(np.arange(len(counts)), counts)
    added = check_sampling_strategy(by_position, labels, "over-sampling")
    return [int(count + added.get(k, 0)) for k, count in enumerate(counts)]


def check_target(class_name: str, count: int, target: int) -> None:
    """Refuse a final count below the number of train images, which would remove real images.

    Raises:
        DataError: naming the class and both numbers.
    """
    if target < count:
        raise DataError(
            f"class {class_name!r} has {count} train images, target {target} is lower",
            expected="only images added, never removed",
            remedy=f"raise the target to {count} or more, or leave the class out of the strategy",
        )


def _parse_targets(text: str, class_names: Sequence[str]) -> dict[str, int]:
    targets: dict[str, int] = {}
    position = 0
    while position < len(text):
        entry = _ENTRY.match(text, position)
        if entry is None:
            raise UsageError(
                f"the part {text[position:].strip()!r} of the strategy is not class=number",
                expected=_EXPECTED,
            )
        name = class_names[class_position(entry["name"], class_names)]
        if name in targets:
            raise UsageError(f"the strategy names class {name!r} twice", remedy="keep one of them")
        targets[name] = _not_negative(int(entry["count"]), f"the target of class {name!r}")
        position = entry.end()
    return targets


def class_position(name: str, class_names: Sequence[str], named_by: str = "the strategy") -> int:
    """Where a class that the user named stands in ``class_names``.

    Raises:
        UsageError: when there is no such class, with the nearest name there is.
    """
    if name in class_names:
        return list(class_names).index(name)
    folded = {known.casefold(): known for known in class_names}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    raise UsageError(
        f"{named_by} names class {name!r}, which the dataset does not have",
        expected=f"one of {', '.join(class_names)}",
        remedy=f"did you mean {folded[near[0]]!r}?" if near else "",
    )


def _not_negative(number: int, what: str) -> int:
    if number < 0:
        raise UsageError(f"{what} is negative", expected="a number of images, 0 or more")
    return number
