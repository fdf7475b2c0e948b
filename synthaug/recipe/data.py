"""`data`: how images are read and split."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from synthaug.recipe.section import Contradiction, Section

SMALLEST_IMAGE = 8
"""Pixels a side."""


class DataSection(Section):
    image_size: int | None = Field(
        None, ge=SMALLEST_IMAGE, le=256, description="pixels; null: from the images"
    )
    channels: Literal[1, 3] | None = Field(None, description="1 grey, 3 colour; null: from images")
    test_fraction: float = Field(
        0.2, gt=0, lt=0.9, description="cut per class if there is no test/"
    )
    held_out_fraction: float = Field(
        0.15, gt=0, lt=0.5, description="of a class's train images, to judge specialists by"
    )
    exclude: tuple[str, ...] = Field((), description="classes to leave out")
    groups: str | None = Field(
        None,
        description="what stays on one side of a split, such as a patient: a column of a table, or "
        "a pattern searched in the paths of a folder",
    )
    near_duplicates: Literal["group", "drop", "ignore"] = Field(
        "group", description="keep them on one side, leave out test images like train, or nothing"
    )
    folds: int | None = Field(None, ge=2, le=20, description="k-fold instead of one test split")
    fold: int | None = Field(None, ge=0, description="the one of the folds to test on")
    on_bad_image: Literal["skip", "error"] = Field(
        "skip", description="leave a broken image out and name it, or stop at the first"
    )
    animations: Literal["first_frame", "refuse"] = Field(
        "first_frame", description="take the first frame, or leave the file out"
    )
    background: int = Field(255, ge=0, le=255, description="grey level behind transparency")
    value_range: tuple[float, float] | None = Field(
        None, description="levels of deep images that become black and white; null: all 16 bits"
    )
    max_pixels: int = Field(50_000_000, ge=1, description="larger images are left out")
    min_side: int = Field(4, ge=1, description="smaller images are left out")
    follow_links: bool = Field(False, description="also links that lead out of the folder")
    images_root: str | None = Field(None, description="of a table's paths; null: its own folder")
    image_column: str | None = Field(None, description="of a table; null: found by its name")
    label_column: str | None = Field(None, description="of a table; null: found by its name")

    def contradictions(self) -> Iterator[Contradiction]:
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            yield Contradiction(
                ("value_range",), f"value_range {self.value_range} is empty: LOW must be under HIGH"
            )
        if self.fold is not None and self.fold >= (self.folds or 0):
            yield Contradiction(
                ("fold", "folds"), f"fold {self.fold} of {self.folds} folds: they count from 0"
            )
