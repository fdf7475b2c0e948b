"""What becomes of number types: the levels an image stores, and the 256 they are shown in."""

from dataclasses import dataclass

import numpy as np

from synthaug.data.read_options import UnreadableImage

OPTION = "--value-range LOW:HIGH"
_FULL_16_BITS = (0, 65535)
# Large images are scaled in strips, so that their float copies never exist as a whole.
_BLOCK = 1 << 20


@dataclass(frozen=True, eq=False)
class Levels:
    """One image as it is stored.

    Attributes:
        values: [H, W] or [H, W, 3] of bools, integers or floats.
        white: the level that the format itself calls full scale, such as 4095 in a 12-bit TIFF;
            None where only the number type tells.
        inverted: whether the lowest level is white.
        alpha: opacity, uint8 [H, W], or None.
    """

    values: np.ndarray
    white: int | None = None
    inverted: bool = False
    alpha: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Scaled:
    """The image in 8 bits.

    Attributes:
        pixels: uint8, shaped as the levels.
        notes: what was done, in words.
        seen: smallest and largest level of an image of more than 8 bits, else None.
        full_scale: whether the full range of 16 bits became 0..255, which leaves an image dark
            that uses only part of it.
    """

    pixels: np.ndarray
    notes: tuple[str, ...] = ()
    seen: tuple[float, float] | None = None
    full_scale: bool = False


def to_8_bit(levels: Levels, value_range: tuple[float, float] | None) -> Scaled:
    """Scale levels to 0..255 by one rule for the whole dataset, never by what one image holds.

    Bools become 0 and 255 and 8-bit levels stay. All others follow ``value_range``, whose ends
    become 0 and 255. Where none is declared, unsigned 16-bit levels are scaled by the full range,
    or by what the format declares; other integers must lie in 0..255 and floats in 0..1.

    Raises:
        UnreadableImage: for levels that are not finite, for those that only a declared range could
            give a meaning, and for arrays of anything but numbers.
    """
    values = levels.values
    if values.dtype == np.bool_:
        return Scaled(values.astype(np.uint8) * np.uint8(255))
    if values.dtype == np.uint8:
        return Scaled(values)
    if values.dtype.kind not in "iuf":
        raise UnreadableImage(f"an array of {values.dtype.name}; expected numbers")
    low, high = _extremes(values)
    ends, note = _ends(levels, value_range, low, high)
    notes = [note]
    if value_range is not None and (low < value_range[0] or high > value_range[1]):
        notes.append("levels outside the value range clipped")
    pixels = _scale(values, ends)
    if levels.inverted:
        pixels = np.invert(pixels)
        notes.append("inverted: the file calls its lowest level white")
    return Scaled(pixels, tuple(notes), (low, high), ends == _FULL_16_BITS and value_range is None)


def alpha_to_8_bit(alpha: np.ndarray) -> np.ndarray:
    """Opacity [H, W] of any number type as uint8, by the scale of its type.

    Raises:
        UnreadableImage: as `to_8_bit` without a declared range.
    """
    return to_8_bit(Levels(alpha), None).pixels


def array_levels(image: np.ndarray) -> Levels:
    """The levels of an array [H, W] or [H, W, C]: C is 1 for grey, 3 for RGB, 4 with opacity.

    Raises:
        UnreadableImage: for any other shape.
    """
    if image.ndim == 2:
        return Levels(image)
    if image.ndim == 3 and image.shape[2] == 1:
        return Levels(image[..., 0])
    if image.ndim == 3 and image.shape[2] == 3:
        return Levels(image)
    if image.ndim == 3 and image.shape[2] == 4:
        return Levels(image[..., :3], alpha=alpha_to_8_bit(image[..., 3]))
    raise UnreadableImage(
        f"an array of shape {image.shape}; expected [height, width] or [height, width, 1, 3 or 4]"
    )


def composite(pixels: np.ndarray, alpha: np.ndarray, background: int) -> np.ndarray:
    """Lay uint8 pixels [H, W] or [H, W, 3] of opacity uint8 [H, W] on one grey level."""
    share = alpha.astype(np.uint16)
    if pixels.ndim == 3:
        share = share[..., None]
    mixed = pixels * share + np.uint16(background) * (255 - share)
    return ((mixed + 127) // 255).astype(np.uint8)


def _ends(
    levels: Levels, value_range: tuple[float, float] | None, low: float, high: float
) -> tuple[tuple[float, float], str]:
    """Which levels become 0 and 255, and the words for it."""
    if value_range is not None:
        return value_range, f"levels {value_range[0]:.10g}..{value_range[1]:.10g} scaled to 0..255"
    if levels.white is not None or levels.values.dtype.type is np.uint16:
        ends = _FULL_16_BITS if levels.white is None else (0, levels.white)
        return ends, f"levels {ends[0]}..{ends[1]} scaled to 0..255"
    kind, ends = ("float", (0, 1)) if levels.values.dtype.kind == "f" else ("integer", (0, 255))
    if low < ends[0] or high > ends[1]:
        raise UnreadableImage(
            f"{kind} levels from {low:.10g} to {high:.10g}, expected {ends[0]}..{ends[1]}; say "
            f"with {OPTION} which become black and white"
        )
    return ends, f"{kind} levels taken as {ends[0]}..{ends[1]}"


def _extremes(values: np.ndarray) -> tuple[float, float]:
    with np.errstate(invalid="ignore"):
        low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UnreadableImage("levels that are NaN or infinite")
    return low, high


def _scale(values: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    """Map the levels between ``ends`` linearly to uint8 0..255, rounded half to even; clip others.

    Float64 holds all levels up to 2^53 exactly, and beyond it 255 steps do not depend on the rest.
    """
    low, high = ends
    pixels = np.empty(values.shape, np.uint8)
    rows = max(1, _BLOCK // max(1, values[0].size))
    for start in range(0, len(values), rows):
        block = values[start : start + rows].astype(np.float64)
        np.clip(block, low, high, out=block)
        pixels[start : start + rows] = np.rint((block - low) / (high - low) * 255)
    return pixels
