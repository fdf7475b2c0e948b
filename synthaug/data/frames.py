"""Arrays of images of any shape and range as square 8-bit images, and back.

The networks learn square images of 256 levels. What an array holds beside that, its shape, type and
range, is kept here, so that new images can be given it too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synthaug.errors import DataError

LEAST_SIDE, LARGEST_SIDE = 8, 256
_LEVELS = 255


@dataclass(frozen=True)
class Frame:
    """How images [N, *shape] of `dtype` become uint8 [N, side, side, C], and back.

    Attributes:
        shape: of one image as it is given: (H, W), (H, W, C), or (features,) for flattened ones.
        height: H.
        width: W.
        channels: C, 1 or 3.
        low: the value of level 0.
        high: the value of level 255.
        dtype: of the array.
    """

    shape: tuple[int, ...]
    height: int
    width: int
    channels: int
    low: float
    high: float
    dtype: np.dtype

    @classmethod
    def of(cls, images: np.ndarray, image_shape: Sequence[int] | None = None) -> "Frame":
        """The frame of images [N, H, W], [N, H, W, C] or, flattened, [N, H * W * C].

        Args:
            images: numbers. Those of uint8 keep their levels; of any other type, the smallest and
                largest value become levels 0 and 255.
            image_shape: (H, W) or (H, W, C) of flattened images; default: grey and square.

        Raises:
            DataError: when the images have no such shape, or another number of channels than 1 or
                3, or are too large.
        """
        shape = images.shape[1:]
        inner = shape if len(shape) > 1 else _unflattened(shape[0], image_shape)
        if image_shape is not None and tuple(image_shape) != inner:
            raise DataError(f"the images are {list(inner)}", expected=f"{list(image_shape)}")
        if len(inner) not in (2, 3) or (len(inner) == 3 and inner[2] not in (1, 3)):
            raise DataError(
                f"the images are {list(inner)}", expected="[H, W], or [H, W, C] with C of 1 or 3"
            )
        height, width, channels = (*inner, 1)[:3]
        if not 0 < max(height, width) <= LARGEST_SIDE:
            raise DataError(
                f"the images are {height}x{width}",
                expected=f"at most {LARGEST_SIDE} pixels a side",
                remedy="shrink them first",
            )
        low, high = 0.0, float(_LEVELS)
        if images.dtype != np.uint8 and images.size:
            low, high = float(images.min()), float(images.max())
        return cls(shape, height, width, channels, low, high, images.dtype)

    @property
    def side(self) -> int:
        """Pixels a side of the square, even, so that a network can halve it."""
        longest = max(self.height, self.width, LEAST_SIDE)
        return longest + longest % 2

    def pack(self, images: np.ndarray) -> np.ndarray:
        """uint8 [N, side, side, C] of images [N, *shape]; edges are continued into the margin."""
        pixels = images.reshape(len(images), self.height, self.width, self.channels)
        if self.dtype != np.uint8:
            scaled = (pixels.astype(np.float64) - self.low) / (self.high - self.low or 1.0)
            pixels = np.rint(scaled * _LEVELS).astype(np.uint8)
        below, right = self.side - self.height, self.side - self.width
        return np.pad(pixels, ((0, 0), (0, below), (0, right), (0, 0)), mode="edge")

    def unpack(self, pixels: np.ndarray) -> np.ndarray:
        """Images [N, *shape] of `dtype` of uint8 [N, C, side, side], without the margin."""
        images = pixels[:, :, : self.height, : self.width].transpose(0, 2, 3, 1)
        if self.dtype != np.uint8:
            values = self.low + images.astype(np.float64) / _LEVELS * (self.high - self.low)
            whole = np.issubdtype(self.dtype, np.integer)
            images = (np.rint(values) if whole else values).astype(self.dtype)
        return np.ascontiguousarray(images).reshape(len(pixels), *self.shape)


def _unflattened(n_features: int, image_shape: Sequence[int] | None) -> tuple[int, ...]:
    """The shape of an image of so many numbers."""
    if image_shape is None:
        side = round(n_features**0.5)
        if side * side != n_features:
            raise DataError(
                f"the rows have {n_features} numbers, which make no square grey image",
                remedy="say what they are with image_shape=(H, W) or (H, W, C)",
            )
        return side, side
    shape = tuple(int(n) for n in image_shape)
    if int(np.prod(shape)) != n_features:
        raise DataError(
            f"the rows have {n_features} numbers", expected=f"{int(np.prod(shape))} for {shape}"
        )
    return shape
