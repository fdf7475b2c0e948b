"""`balance`: how many images each class should have."""

import math
from typing import Any

from pydantic import Field, field_validator

from synthaug.balance.strategy import parse_strategy
from synthaug.recipe.section import Section, told_as_value_error


class BalanceSection(Section):
    strategy: str | int | float | dict[str, int] = Field(
        "auto",
        description="auto, minority, 'not minority', 'not majority', all; a final count N; a share "
        "such as 0.5 for two classes; class=N,... or {class: N}",
    )
    cap: float | dict[str, float | None] | None = Field(
        None, description="synthetic images for each real one, of every class or {class: number}"
    )
    minority_below: float = Field(
        0.5, gt=0, le=1, description="a class is minority below this share of the largest"
    )

    # Checked before the unions are, which would list what is wrong with each of their forms.
    @field_validator("strategy", mode="before")
    @classmethod
    def _strategy(cls, value: Any) -> Any:
        by_class = isinstance(value, dict)
        numbers = value.values() if by_class else [value]
        kinds = int if by_class else str | int | float
        if any(isinstance(n, bool) or not isinstance(n, kinds) for n in numbers):
            raise ValueError(f"{value!r} is no word, number, share or {{class: whole number}}")
        # Which classes there are, only the data say.
        if isinstance(value, str) and "=" not in value:
            told_as_value_error(lambda text: parse_strategy(text, ()), value)
        return _text_keys(value)

    @field_validator("cap", mode="before")
    @classmethod
    def _cap(cls, value: Any) -> Any:
        for n in value.values() if isinstance(value, dict) else [value]:
            number = isinstance(n, int | float) and not isinstance(n, bool)
            if n is not None and not (number and 0 <= n < math.inf):
                raise ValueError(f"{value!r} is no number of 0 or more, {{class: number}} or null")
        return _text_keys(value)


def _text_keys(value: Any) -> Any:
    """Class names as text: YAML reads that of a class called 3 as a number."""
    if not isinstance(value, dict):
        return value
    return {str(key) if isinstance(key, int) else key: item for key, item in value.items()}
