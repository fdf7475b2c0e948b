"""Arms: the training regimes under comparison, each a data side and a loss side.

A data side says which images are drawn how often and what is done to a batch of them. Everything
else (network, steps, seeds, augmentation, test set) is the same for every arm, so a difference
between two arms is a difference between their data sides or losses and nothing else.
"""

import difflib
from dataclasses import dataclass

from synthaug.errors import UsageError
from synthaug.evaluation.material import Material, TrainingSet
from synthaug.evaluation.sides import DATA_SIDES, TUNED_SIDES, training_set

__all__ = [
    "DATA_SIDES",
    "DEFAULT_ARMS",
    "LOSS_SIDES",
    "TUNED_ARMS",
    "USUAL_LOSSES",
    "Arm",
    "Material",
    "TrainingSet",
    "parse_arms",
    "training_set",
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
    def tuned(self) -> bool:
        return self.data in TUNED_SIDES

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
TUNED_ARMS = tuple(Arm(data, "la") for data in TUNED_SIDES)
"""Never one without the other: a tuned arm against untuned ones would not be fair. Their strength
of logit adjustment is tuned too, with 0 for cross-entropy."""
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
    data side with its usual losses, every loss on real images alone and on synthaug's, and the
    tuned arms. These come both if one is named, and only with the loss that they tune.
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
            chosen += TUNED_ARMS
        elif data in TUNED_SIDES and loss in ("", "la") and word in (data, f"{data}/la"):
            chosen += TUNED_ARMS
        elif data in TUNED_SIDES and loss in LOSS_SIDES:
            raise UsageError(
                f"arm {word!r}: the loss of a tuned arm is tuned as well",
                remedy=f"name it alone: {data}",
            )
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
    known += TUNED_SIDES
    close = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.5)
    return UsageError(
        f"unknown arm {word!r}" + (f" (did you mean {close[0]!r}?)" if close else ""),
        expected=f"default, all, {', '.join(TUNED_SIDES)}, or DATA or DATA/LOSS with DATA one of "
        f"{', '.join(available)} and LOSS one of {', '.join(LOSS_SIDES)}",
    )
