"""What the user may declare about the images, and the fault of an image that cannot be read."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from synthaug.errors import UsageError

Animations = Literal["first_frame", "refuse"]


class UnreadableImage(Exception):
    """Raised for an image that must be left out; the message is the reason, in one line."""


@dataclass(frozen=True)
class ReadOptions:
    """What the user may declare about the images of a dataset.

    Attributes:
        background: grey level 0..255 that shows through transparent pixels.
        max_pixels: images with more pixels are left out before they are decoded.
        min_side: images whose short side has fewer pixels are left out.
        animations: "first_frame" reads the first frame or page of a file that has several,
            "refuse" leaves such files out.
        value_range: the levels of images of more than 8 bits that become 0 and 255; levels outside
            are clipped. None takes all 16 bits, and demands 0..255 of wider integers and 0..1 of
            floats.

    Raises:
        UsageError: for a value that cannot be used.
    """

    background: int = 255
    max_pixels: int = 50_000_000
    min_side: int = 4
    animations: Animations = "first_frame"
    value_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.background <= 255:
            raise UsageError(
                f"the background is the grey level {self.background}", expected="0 to 255"
            )
        if self.max_pixels < 1:
            raise UsageError(f"the limit of pixels is {self.max_pixels}", expected="1 or more")
        if self.min_side < 1:
            raise UsageError(f"the minimum side is {self.min_side} pixels", expected="1 or more")
        if self.animations not in get_args(Animations):
            raise UsageError(
                f"animations are to be treated as {self.animations!r}",
                expected=" or ".join(get_args(Animations)),
            )
        if self.value_range is not None:
            low, high = self.value_range
            if not (low < high and math.isfinite(high - low)):
                raise UsageError(
                    f"the value range is {low:g}:{high:g}",
                    expected="LOW:HIGH, two finite numbers with LOW below HIGH",
                )

    def check_size(self, width: int, height: int) -> None:
        """Refuse an image by its size in pixels.

        Raises:
            UnreadableImage: when it is too large or its short side too short.
        """
        if width * height > self.max_pixels:
            raise UnreadableImage(
                f"{width} x {height} pixels, more than the limit of {self.max_pixels}"
            )
        if min(width, height) < self.min_side:
            raise UnreadableImage(
                f"{width} x {height} pixels, the short side is under the minimum of {self.min_side}"
            )
