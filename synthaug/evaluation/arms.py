"""Arms: the training regimes under comparison, each a data side and a loss side.

A data side says which images are drawn how often and what is done to a batch of them. Everything
else (network, steps, seeds, augmentation, test set) is the same for every arm, so a difference
between two arms is a difference between their data sides or losses and nothing else.
"""

import difflib
from dataclasses import dataclass

from synthaug.errors import UsageError
from synthaug.evaluation.sides import DATA_SIDES, Material, TrainingSet

__all__ = [
    "DATA_SIDES",
    "DEFAULT_ARMS",
    "LOSS_SIDES",
    "USUAL_LOSSES",
    "Arm",
    "Material",
    "TrainingSet",
    "parse_arms",
]


@dataclass(frozen=True)
class Arm:
    """One training regime: `name` is `data/loss`."""

    data: str
    loss: str

    @property
    def name(self) -> str:
        return f"{self.data}/{self.loss}"

    @property
    def synthetic(self) -> bool:
        return self.data.startswith("synthaug")

    @property
    def oracle(self) -> bool:
        return self.data == "oracle"

    @property
    def control(self) -> bool:
        return self.data in ("copy-control", "noise-control")


LOSS_SIDES = ("ce", "cb", "la", "ldam", "focal")
USUAL_LOSSES = ("ce", "la")
"""What a data side named alone is trained with."""
DEFAULT_ARMS = tuple(
    Arm(data, loss)
    for data in ("real", "real+oversample", "copy-control", "synthaug")
    for loss in USUAL_LOSSES
)
ALL_LOSSES_FOR = ("real", "synthaug")
"""In `all`, the data sides that get every loss: synthetic images on top of each, and without."""
EXTRA = {
    "oracle": ("extra real images", "name their folder: --oracle DIR"),
    "synthaug-unfiltered": (
        "the images before selection",
        "leave it out: only a run that selected from more candidates has them",
    ),
}
"""Data sides that not every run has the images for: what is missing, and the way to it."""


def parse_arms(text: str, *, oracle: bool, unfiltered: bool = False) -> tuple[Arm, ...]:
    """Arms from `default`, `all`, or a comma-separated list of `data` and `data/loss` names.

    `data` alone means its usual losses; any data side may be named with any loss. `all` is every
    data side with its usual losses, and every loss on real images alone and on synthaug's.
    `oracle` adds the oracle arm, and allows it to be named; `unfiltered` allows the arm of the
    images before selection. Raises `UsageError` for an unknown arm, naming the nearest known one,
    and for one whose images are not there.
    """
    there = {"oracle": oracle, "synthaug-unfiltered": unfiltered}
    available = [data for data in DATA_SIDES if there.get(data, True)]
    chosen: list[Arm] = []
    for word in (w.strip() for w in text.split(",")):
        data, slash, loss = word.partition("/")
        if word == "default":
            chosen += DEFAULT_ARMS
        elif word == "all":
            chosen += [
                Arm(side, loss)
                for side in available
                for loss in (LOSS_SIDES if side in ALL_LOSSES_FOR else USUAL_LOSSES)
            ]
        elif data not in DATA_SIDES or (slash and loss not in LOSS_SIDES):
            raise _unknown(word, available)
        elif data not in available:
            missing, remedy = EXTRA[data]
            raise UsageError(f"arm {word!r} without {missing}", remedy=remedy)
        else:
            chosen += [Arm(data, name) for name in ((loss,) if slash else USUAL_LOSSES)]
    if oracle and not any(arm.oracle for arm in chosen):
        chosen.append(Arm("oracle", "ce"))
    return tuple(dict.fromkeys(chosen))


def _unknown(word: str, available: list[str]) -> UsageError:
    known = ["default", "all", *available, *(f"{d}/{s}" for d in available for s in LOSS_SIDES)]
    close = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.5)
    return UsageError(
        f"unknown arm {word!r}" + (f" (did you mean {close[0]!r}?)" if close else ""),
        expected=f"default, all, or DATA or DATA/LOSS with DATA one of {', '.join(available)} and "
        f"LOSS one of {', '.join(LOSS_SIDES)}",
    )
