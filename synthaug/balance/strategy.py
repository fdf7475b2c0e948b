"""What the user may write for a balancing strategy, and the final counts it stands for."""

import math
import re
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import TypeGuard

import numpy as np

from synthaug.balance.assignments import class_position, did_you_mean, parse_assignments
from synthaug.errors import DataError, UsageError

WORDS = ("auto", "minority", "not minority", "not majority", "all")
_EXPECTED = (
    f"{', '.join(WORDS)}, a number of images, a share such as 0.5 for two classes, or "
    "class=number,class=number"
)
_MOST_DIGITS = 18  # more are no number of images, and thousands of them are an error of Python's

Strategy = str | int | float | Mapping[str, int]


def parse_strategy(text: str, class_names: Sequence[str]) -> str | int | float | dict[str, int]:
    """Read a strategy as the command line or a recipe gives it.

    Args:
        text: one of `WORDS`, a final count for every class ("200"), a share of the larger of two
            classes ("0.5"), or final counts of some classes ("melanoma=200,nevus=150").
        class_names: the classes that may be named.

    Returns:
        The word, the number, the share, or a dict from class name to final count.

    Raises:
        UsageError: for anything else, an unknown class, a class named twice, a negative number or
            a share that is not above 0 and at most 1.
    """
    stripped = text.strip()
    word = re.sub(r"[\s_-]+", " ", stripped.lower())
    if word in WORDS:
        return word
    if re.fullmatch(r"[+-]?\d+", stripped):
        return _whole(stripped, f"the strategy {stripped!r}")
    if re.fullmatch(r"[+-]?(\d+\.\d*|\.\d+)", stripped):
        return _share(float(stripped))
    if "=" in stripped:
        return parse_assignments(
            stripped, class_names, _final_count, option="the strategy", form="class=number"
        )
    if word == "majority":
        raise UsageError(
            "the strategy 'majority' would only add to the largest class", expected=_EXPECTED
        )
    raise UsageError(
        f"the strategy {text!r} is not known", expected=_EXPECTED, remedy=did_you_mean(word, WORDS)
    )


def check_strategy(
    strategy: Strategy, class_names: Sequence[str], counts: Sequence[int]
) -> str | int | float | dict[str, int]:
    """Check a strategy against K classes with ``counts`` >= 1 train images; return its plain form.

    Raises:
        DataError: when it asks for fewer images than a class has.
        UsageError: when it is not known, names an unknown class, or is a share for other than two
            classes.
    """
    known = parse_strategy(strategy, class_names) if isinstance(strategy, str) else strategy
    if isinstance(known, str):
        return known
    if _is_whole(known):
        return _not_negative(int(known), f"the strategy {known}")
    if isinstance(known, float):
        _check_share(_share(known), class_names, counts)
        return known
    if not isinstance(known, Mapping):
        raise UsageError(f"the strategy is {known!r}", expected=_EXPECTED)
    targets: dict[str, int] = {}
    for name, target in known.items():
        k = class_position(name, class_names, "the strategy")
        if not _is_whole(target):
            raise UsageError(
                f"the strategy gives class {name!r} the target {target!r}",
                expected="a whole number of images",
            )
        targets[name] = _not_negative(int(target), f"the target of class {name!r}")
        check_target(name, counts[k], targets[name])
    return targets


def target_counts(
    strategy: Strategy, class_names: Sequence[str], counts: Sequence[int]
) -> list[int]:
    """Return the final count of each of K classes with ``counts`` >= 1 train images.

    Words mean what they mean to imbalanced-learn: "auto" and "not majority" raise every class to
    the largest, so does "all"; "minority" raises the smallest class only, "not minority" the
    others only. So does a share, which is the smaller of two classes over the larger once that is
    done. A number raises the classes below it to it and leaves the others; a dict gives final
    counts, and classes it does not name stay. A single class has nothing to be raised to by words.

    Raises:
        As `check_strategy`.
    """
    known = check_strategy(strategy, class_names, counts)
    if isinstance(known, int):
        return [max(known, count) for count in counts]
    if isinstance(known, dict):
        return [known.get(name, count) for name, count in zip(class_names, counts, strict=True)]
    if len(counts) == 1:
        return list(counts)
    # To imbalanced-learn, a share that makes no whole image would take images away.
    if isinstance(known, float) and int(max(counts) * known - min(counts)) <= 0:
        return list(counts)
    from imblearn.utils import check_sampling_strategy  # imports all of scikit-learn: seconds

    labels = np.repeat(np.arange(len(counts)), counts)
    added = check_sampling_strategy(known, labels, "over-sampling")
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


def _share(share: float) -> float:
    if not 0 < share <= 1:
        raise UsageError(
            f"the strategy {share:g} is a share of the larger class",
            expected="more than 0 and at most 1",
            remedy="a final count of every class is a whole number, such as 200",
        )
    return share


def _check_share(share: float, class_names: Sequence[str], counts: Sequence[int]) -> None:
    if len(counts) != 2:
        raise UsageError(
            f"the strategy {share:g} is a share of the larger class, and the dataset has "
            f"{len(counts)} class{'es' if len(counts) > 1 else ''}",
            expected="exactly two classes for a share",
            remedy="give a number of images, such as 200, or class=number",
        )
    small, large = np.argsort(counts, kind="stable").tolist()
    present = counts[small] / counts[large]
    if share < present:
        raise DataError(
            f"the strategy asks for a share of {share:g}, but class {class_names[small]!r} has "
            f"{counts[small]} train images and {class_names[large]!r} {counts[large]}, which is "
            f"{present:.4g} already",
            expected="only images added, never removed",
            remedy=f"raise the share to {math.ceil(present * 1000) / 1000:g} or more",
        )


def _final_count(class_name: str, text: str) -> int:
    if not re.fullmatch(r"[+-]?\d+", text):
        raise UsageError(
            f"the part {f'{class_name}={text}'!r} of the strategy is not class=number",
            expected=_EXPECTED,
        )
    return _whole(text, f"the target of class {class_name!r}")


def _whole(text: str, what: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise UsageError(f"{what} has {len(text)} digits", expected="a number of images")
    return _not_negative(int(text), what)


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _not_negative(number: int, what: str) -> int:
    if number < 0:
        raise UsageError(f"{what} is negative", expected="a number of images, 0 or more")
    return number
