"""`tracking`: who is told of a training beside metrics.jsonl."""

from typing import Literal

from pydantic import Field

from synthaug.recipe.section import Section


class TrackingSection(Section):
    log_with: tuple[Literal["tensorboard"], ...] = Field(
        (), description="trackers that get what metrics.jsonl gets; they need an extra"
    )
