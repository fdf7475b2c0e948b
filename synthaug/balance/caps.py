"""Caps: at most so many synthetic images of a class for each of its real train images.

What a generator knows of a class is what its real images showed; a cap keeps what it makes of them
in proportion.
"""

import math
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TypeGuard

from synthaug.balance.assignments import class_position, parse_assignments
from synthaug.errors import UsageError

Cap = float | None
"""Synthetic images for each real one, 0 or more; None is no cap."""

Caps = Cap | Mapping[str, Cap]

CAP_EXPECTED = "a number of 0 or more, such as 10 synthetic images for each real one"
_EXPECTED = f"{CAP_EXPECTED}; none; or class=number,class=number"


def is_cap(value: object) -> TypeGuard[Cap]:
    """Whether a value, perhaps from a file, is a cap or None."""
    if value is None:
        return True
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def parse_caps(text: str, class_names: Sequence[str]) -> Caps:
    """Read ``--cap``: one for every class ("10", "none") or those of some ("owl=5,cat=none").

    Raises:
        UsageError: for anything else, an unknown class or a class named twice.
    """
    if "=" not in text:
        return _read_cap(text, "")
    return parse_assignments(
        text,
        class_names,
        lambda name, value: _read_cap(value, f" of class {name!r}"),
        option="--cap",
        form="class=number",
    )


def class_caps(
    caps: Caps, class_names: Sequence[str], *, others: Sequence[Cap] = ()
) -> tuple[Cap, ...]:
    """The cap of each of K classes: one for all, or by name and ``others`` (or none) elsewhere.

    Raises:
        UsageError: for an unknown class, or what is no cap.
    """
    if not isinstance(caps, Mapping):
        return (_checked(caps, "the cap"),) * len(class_names)
    found: list[Cap] = list(others) if others else [None] * len(class_names)
    for name, cap in caps.items():
        k = class_position(name, class_names, "the cap")
        found[k] = _checked(cap, f"the cap of class {name!r}")
    return tuple(found)


def most_images(cap: Cap, count: int) -> float:
    """The most images, real and synthetic, of a class with ``count`` real ones; inf without a cap.

    That is count + floor(cap * count), where the cap is the decimal number that was written: the
    binary one nearest to 0.29 would leave 28 new images for 100.
    """
    return math.inf if cap is None else count + math.floor(Fraction(str(cap)) * count)


def _checked(cap: object, what: str) -> Cap:
    if not is_cap(cap):
        raise UsageError(f"{what} is {cap!r}", expected=CAP_EXPECTED)
    # 10 rather than 10.0, for people who read it.
    return cap if cap is None or cap != int(cap) else int(cap)


def _read_cap(text: str, where: str) -> Cap:
    stripped = text.strip().lower()
    if stripped == "none":
        return None
    if not re.fullmatch(r"\d+|\d+\.\d*|\.\d+", stripped):
        raise UsageError(f"the cap {text.strip()!r}{where} is not known", expected=_EXPECTED)
    return _checked(float(stripped), f"the cap{where}")
