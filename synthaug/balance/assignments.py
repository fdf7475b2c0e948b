"""`class=value,class=value` as options give it, and the classes that may be named there."""

import difflib
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from synthaug.errors import UsageError

Value = TypeVar("Value")


def parse_assignments(
    text: str,
    class_names: Sequence[str],
    read: Callable[[str, str], Value],
    *,
    option: str,
    form: str,
) -> dict[str, Value]:
    """Read values of some classes, such as ``owl=5,cat=3``.

    A class name may hold commas and equals signs: the names there are, the longest first, are
    looked for before anything else. A value ends at the next comma.

    Args:
        text: what the user gave.
        class_names: the classes that may be named.
        read: from a class name and the text of its value to the value; raises `UsageError`.
        option: what the text belongs to, for messages.
        form: how an entry should look, such as "class=number", for messages.

    Raises:
        UsageError: for a part that is no entry, an unknown class or a class named twice.
    """
    known = "|".join(re.escape(name) for name in sorted(class_names, key=len, reverse=True))
    entry_form = re.compile(rf"(?P<name>{known}|[^=]*?)\s*=\s*(?P<value>[^,]*),?\s*", re.DOTALL)
    values: dict[str, Value] = {}
    rest = text.strip()
    while rest:
        entry = entry_form.match(rest)
        if entry is None:
            raise UsageError(
                f"the part {rest!r} of {option} is not {form}", expected=f"{form},{form}"
            )
        name = class_names[class_position(entry["name"], class_names, option)]
        if name in values:
            raise UsageError(f"{option} names class {name!r} twice", remedy="keep one of them")
        values[name] = read(name, entry["value"].strip())
        rest = rest[entry.end() :]
    return values


def class_position(name: str, class_names: Sequence[str], named_by: str) -> int:
    """Where a class that the user named stands in ``class_names``.

    Raises:
        UsageError: when there is no such class, with the nearest name there is.
    """
    if name in class_names:
        return list(class_names).index(name)
    raise UsageError(
        f"{named_by} names class {name!r}, which the dataset does not have",
        expected=f"one of {', '.join(class_names)}",
        remedy=did_you_mean(name, class_names),
    )


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """The question after the nearest known word, or nothing when none is near."""
    folded = {candidate.casefold(): candidate for candidate in known}
    near = difflib.get_close_matches(word.casefold(), folded, n=1)
    return f"did you mean {folded[near[0]]!r}?" if near else ""
