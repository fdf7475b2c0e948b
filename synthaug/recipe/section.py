"""What all sections of a recipe have in common."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Self

from pydantic import BaseModel, ConfigDict, model_validator

from synthaug.errors import UsageError


class Contradiction(NamedTuple):
    """Values that are fine each and cannot be meant together; `keys` are those of the section."""

    keys: tuple[str, ...]
    told: str


class Contradictions(ValueError):
    """All that the values of one section say against each other."""

    def __init__(self, found: Iterable[Contradiction]) -> None:
        self.found = tuple(found)
        super().__init__(" | ".join(one.told for one in self.found))


class Section(BaseModel):
    """A part of a recipe: frozen, and unknown keys are faults."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def contradictions(self) -> Iterator[Contradiction]:
        """What would be ignored without a word, or fail hours later; called on valid values."""
        yield from ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        found = tuple(self.contradictions())
        if found:
            raise Contradictions(found)
        return self


def told_as_value_error(parse: Callable[[str], object], text: str) -> None:
    """Let a reader of some notation judge a value: what it refuses is a fault of the key."""
    try:
        parse(text)
    except UsageError as error:
        raise ValueError(str(error)) from error
