"""What the headers of the images say, and the size and channels to train with that follow."""

import io
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image

from synthaug.data.image_file import FORMATS, pillow_rules, raw_mode_of
from synthaug.data.index import ImageIndex
from synthaug.data.pixels import has_grey_modes_only
from synthaug.data.source import Files
from synthaug.errors import DataError

SIZES = (8, 16, 32, 64)
_UNREADABLE = (0, 0, "")
_ARRAY_MODES = {"b": "1", "u1": "L", "u2": "I;16", "u": "I", "i": "I", "f": "F"}


@dataclass(frozen=True, eq=False)
class HeaderFacts:
    """What the N headers say: widths and heights int64 [N] in pixels, and Pillow modes.

    Arrays have the mode of their shape and number type. An unreadable header has width 0, height 0
    and mode "".
    """

    widths: np.ndarray
    heights: np.ndarray
    modes: tuple[str, ...]

    @property
    def short_side(self) -> float:
        """Median short side in pixels of the readable images, 0 if there are none."""
        known = self.widths > 0
        if not known.any():
            return 0.0
        return float(np.median(np.minimum(self.widths, self.heights)[known]))

    def part(self, chosen: np.ndarray) -> "HeaderFacts":
        """Those of some images, chosen by a bool [N]."""
        modes = tuple(mode for mode, taken in zip(self.modes, chosen, strict=True) if taken)
        return HeaderFacts(self.widths[chosen], self.heights[chosen], modes)


def read_headers(index: ImageIndex) -> HeaderFacts:
    """Read size and mode of every image without decoding it."""
    with pillow_rules(None):
        facts = [_read_header(index, i) for i in range(len(index.paths))]
    return HeaderFacts(
        widths=np.array([width for width, _, _ in facts], dtype=np.int64),
        heights=np.array([height for _, height, _ in facts], dtype=np.int64),
        modes=tuple(mode for _, _, mode in facts),
    )


def choose_size(facts: HeaderFacts, *, largest: int) -> int:
    """Return the largest of 8, 16, 32, 64 within ``largest`` and the median short side, at least 8.

    Raises:
        DataError: when no header is readable.
    """
    short_sides = np.minimum(facts.widths, facts.heights)[_readable(facts)]
    limit = min(float(np.median(short_sides)), largest)
    return max((size for size in SIZES if size <= limit), default=SIZES[0])


def choose_channels(facts: HeaderFacts) -> int:
    """Return 1 when every readable image has a grey mode, else 3.

    Raises:
        DataError: when no header is readable.
    """
    modes = [mode for mode, ok in zip(facts.modes, _readable(facts), strict=True) if ok]
    return 1 if has_grey_modes_only(modes) else 3


def _read_header(index: ImageIndex, position: int) -> tuple[int, int, str]:
    source = index.source
    try:
        if isinstance(source, Files):
            with open(source.path(position), "rb") as file:
                return _describe_file(file)
        content = source.read(position)
        if isinstance(content, np.ndarray):
            return _describe_array(content)
        return _describe_file(io.BytesIO(content))
    except MemoryError:
        raise
    except Exception:  # decoders raise whatever a broken file leads them to
        return _UNREADABLE


def _describe_file(file: BinaryIO) -> tuple[int, int, str]:
    image = Image.open(file, formats=FORMATS)
    # Pillow has no deep grey with opacity and calls it colour.
    mode = "LA" if raw_mode_of(image) == "LA;16B" else image.mode
    return image.width, image.height, mode


def _describe_array(image: np.ndarray) -> tuple[int, int, str]:
    kind, itemsize = image.dtype.kind, image.dtype.itemsize
    grey = _ARRAY_MODES.get(f"{kind}{itemsize}", _ARRAY_MODES.get(kind, ""))
    channels = 1 if image.ndim == 2 else image.shape[2] if image.ndim == 3 else 0
    mode = {1: grey, 3: "RGB", 4: "RGBA"}.get(channels, "")
    return (image.shape[1], image.shape[0], mode) if grey and mode else _UNREADABLE


def _readable(facts: HeaderFacts) -> np.ndarray:
    readable = (facts.widths > 0) & (facts.heights > 0)
    if not readable.any():
        raise DataError(
            f"none of the {len(facts.modes)} image files can be read",
            remedy="check that they open in an image viewer",
        )
    return readable
