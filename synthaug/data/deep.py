"""Images of more than 8 bits a channel, read from their files without losing any of them."""

import math
import sys

import numpy as np
from PIL import ImageFile

from synthaug.data.image_file import (
    BITS,
    PHOTOMETRIC,
    SAMPLE_FORMAT,
    OpenedImage,
    reload_image,
    tiff_tag,
)
from synthaug.data.levels import Levels, alpha_to_8_bit
from synthaug.data.read_options import ReadOptions, UnreadableImage

_WHITE_IS_ZERO, _SIGNED, _UNSIGNED = 0, 2, 1
_HALVES = ("RGB;16", "RGBA;16", "RGBX;16")


def stored_levels(opened: OpenedImage, raw: bytes, options: ReadOptions) -> Levels | None:
    """The levels of a deep image as the file holds them, or None for an image of 8 bits or fewer.

    Pillow keeps deep grey levels, but hands out 16-bit colours by their upper 8 bits; those are
    decoded twice, once for each half.

    Raises:
        UnreadableImage: when only 8 of 16 bits can be had and a value range was declared.
    """
    image = opened.image
    if image.mode.startswith("I;16"):
        return _grey_16_bit(image)
    if image.mode in {"I", "F"}:
        return _wide_grey(opened, raw)
    if image.mode == "L" and tiff_tag(image, SAMPLE_FORMAT, _UNSIGNED) == _SIGNED:
        return Levels(np.asarray(image).view(np.int8))
    if opened.raw_mode == "LA;16B":
        quarters = np.asarray(reload_image(raw, options, "RGBA"), np.uint16)
        both = quarters[..., 0::2] * 256 + quarters[..., 1::2]
        return Levels(both[..., 0], alpha=alpha_to_8_bit(both[..., 1]))
    if opened.raw_mode.startswith(_HALVES):
        return _colour_16_bit(opened, raw, options)
    deep_pnm = opened.white is not None and opened.white > 255
    if deep_pnm and image.mode == "RGB" and not _is_plain(raw):
        return _binary_pnm(opened, raw)
    if (deep_pnm or ";16" in opened.raw_mode) and options.value_range is not None:
        raise UnreadableImage(
            f"16-bit {image.mode}, of which only the upper 8 bits can be read, so that no value "
            "range applies; save it as 16-bit RGB PNG"
        )
    return None


def _grey_16_bit(image: ImageFile.ImageFile) -> Levels:
    values = np.asarray(image)
    bits = tiff_tag(image, BITS, 16)
    key = image.info.get("transparency")
    return Levels(
        values,
        white=(1 << bits) - 1,
        inverted=tiff_tag(image, PHOTOMETRIC, 1) == _WHITE_IS_ZERO,
        alpha=None if key is None else _opaque_unless(values != key),
    )


def _wide_grey(opened: OpenedImage, raw: bytes) -> Levels:
    image = opened.image
    values = np.asarray(image)
    if opened.white is not None:
        if not _is_plain(raw):
            return _binary_pnm(opened, raw)
        # Pillow has spread the levels over 16 bits, and no two became one: the way back is exact.
        return Levels(np.rint(values * (opened.white / 65535)).astype(np.uint16), opened.white)
    if image.mode == "I" and tiff_tag(image, SAMPLE_FORMAT, _SIGNED) == _UNSIGNED:
        values = values.view(np.uint32)
    # Only before version 11 did Pillow put 16-bit PNGs into this mode.
    white = 65535 if image.format == "PNG" else None
    inverted = tiff_tag(image, PHOTOMETRIC, 1) == _WHITE_IS_ZERO
    return Levels(values, white=white, inverted=inverted)


def _colour_16_bit(opened: OpenedImage, raw: bytes, options: ReadOptions) -> Levels:
    stem, order = opened.raw_mode[:-1], opened.raw_mode[-1]
    if order == "N":
        order = "L" if sys.byteorder == "little" else "B"
    lower = reload_image(raw, options, stem + ("B" if order == "L" else "L"))
    values = np.asarray(opened.image, np.uint16) * 256 + np.asarray(lower, np.uint16)
    if values.shape[2] == 4:
        return Levels(values[..., :3], alpha=alpha_to_8_bit(values[..., 3]))
    key = opened.image.info.get("transparency")
    if key is None:
        return Levels(values)
    return Levels(values, alpha=_opaque_unless((values != key).any(axis=2)))


def _is_plain(raw: bytes) -> bool:
    """Whether a PNM file holds its levels as decimal text."""
    return raw[1:2] in b"123"


def _binary_pnm(opened: OpenedImage, raw: bytes) -> Levels:
    image = opened.image
    shape = (image.height, image.width, len(image.getbands()))
    values = np.frombuffer(raw, ">u2", math.prod(shape), opened.data_offset).reshape(shape)
    return Levels(values[..., 0] if shape[2] == 1 else values, opened.white)


def _opaque_unless(opaque: np.ndarray) -> np.ndarray:
    return opaque.astype(np.uint8) * np.uint8(255)
