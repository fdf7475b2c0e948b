"""`selection`: which of the drawn images are refused."""

from collections.abc import Iterator

from pydantic import Field

from synthaug.recipe.section import Contradiction, Section


class SelectionSection(Section):
    """Thresholds as in `selection.choose.Thresholds`."""

    enabled: bool = Field(True, description="refuse copies and images that are not of their class")
    over_generate: float = Field(
        1.5, ge=1, le=20, description="candidates drawn at first for each image wanted"
    )
    draw_at_most: float = Field(
        3.0, ge=1, le=100, description="candidates for each image wanted, with all redraws"
    )
    steps: int = Field(400, ge=1, description="of training the classifier that selects")
    copy_rate: float = Field(
        0.02, ge=0, lt=1, description="share of real images that may be taken for copies"
    )
    copy_below: float = Field(
        0.5, gt=0, le=1, description="ratio of distances above which no image is called a copy"
    )
    limit_rate: float = Field(
        0.01, ge=0, lt=0.5, description="share of real images beyond each limit, before widening"
    )
    widen: float = Field(
        2.0, ge=0, description="limits move by a factor 1 + widen / sqrt(images of the class)"
    )
    duplicate_below: float = Field(
        0.25, ge=0, lt=1, description="of the distance of two real images: a repetition"
    )
    third_above: float = Field(
        0.5, ge=0, le=1, description="probability of an unlike class that refuses an image"
    )
    entropy_above: float = Field(
        0.75, ge=0, le=1, description="of the class probabilities, 1 is undecided"
    )
    max_shift: int | None = Field(
        None, ge=0, le=7, description="pixels a copy may have moved; null: 1, from 16 pixels on 2"
    )
    mirror: bool = Field(True, description="a mirrored train image is a copy too")

    def contradictions(self) -> Iterator[Contradiction]:
        if self.draw_at_most < self.over_generate:
            yield Contradiction(
                ("draw_at_most", "over_generate"),
                f"draw_at_most {self.draw_at_most:g} is below over_generate {self.over_generate:g}",
            )
