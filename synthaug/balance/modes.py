"""How the images of a class are drawn: from noise, or from real train images at partial noise.

A model that saw five images of a class has not learned the class. Starting from those images keeps
to what is known of it, at the price of less variety.
"""

from collections.abc import Mapping, Sequence

from synthaug.balance.assignments import class_position, did_you_mean, parse_assignments
from synthaug.errors import UsageError

MODES = ("sample", "variation", "interpolate")

# Least number of train images -> mode, the largest first. The one place where this is decided.
MODE_FROM: tuple[tuple[int, str], ...] = (
    (20, "sample"),
    (1, "variation"),
)

_HOW = {
    "sample": "drawn from noise",
    "variation": "varied from real images",
    "interpolate": "mixed from pairs of real images",
}
Modes = str | Mapping[str, str]


def choose_mode(count: int) -> str:
    """The mode of a class with ``count`` >= 1 train images."""
    return next(mode for least, mode in MODE_FROM if count >= least)


def mode_reason(count: int, mode: str) -> str:
    """Why a class with ``count`` train images gets ``mode``, in a few words with its numbers."""
    if mode == "interpolate" and count < 2:
        return f"{_HOW['variation']}, since {count} train image makes no pair"
    own = choose_mode(count)
    if mode != own:
        return f"{_HOW[mode]}, as asked (with {_range(count)} it would be {own})"
    return f"{_HOW[mode]} ({_range(count)})"


def _range(count: int) -> str:
    """Where in the table a count lies: "at least 20 images" at the top, "under 20" below it."""
    above = [least for least, _ in MODE_FROM if least > count]
    return f"under {min(above)} images" if above else f"at least {MODE_FROM[0][0]} images"


def mode_in_use(count: int, mode: str) -> str:
    """What ``mode`` comes to with ``count`` train images: one image cannot be a pair."""
    return "variation" if mode == "interpolate" and count < 2 else mode


def parse_modes(text: Modes, class_names: Sequence[str]) -> str | dict[str, str]:
    """Read ``--mode``: one word for every class ("sample") or words of some ("owl=variation,...").

    From Python, the words of some classes may also come as a dict.

    Raises:
        UsageError: for an unknown mode or class, or a class named twice.
    """
    if not isinstance(text, str):
        for name in text:
            class_position(name, class_names, "the mode")
        return {name: check_mode(word, f" of class {name!r}") for name, word in text.items()}
    if "=" not in text:
        return check_mode(text)
    return parse_assignments(
        text,
        class_names,
        lambda name, word: check_mode(word, f" of class {name!r}"),
        option="--mode",
        form="class=mode",
    )


def check_mode(word: str, where: str = "") -> str:
    """The mode that ``word`` names, whatever its case. Raises `UsageError` if there is none."""
    folded = word.strip().lower()
    if folded in MODES:
        return folded
    raise UsageError(
        f"the mode {word.strip()!r}{where} is not known",
        expected=f"one of {', '.join(MODES)}",
        remedy=did_you_mean(folded, MODES),
    )
