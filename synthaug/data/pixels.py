"""One image file to 8-bit pixels: every mode and every defect a folder of images may hold."""

import hashlib
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# Named so that a renamed PostScript file can never start an external interpreter.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
_FORMAT_OF_EXTENSION = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".pgm": "PPM",
    ".ppm": "PPM",
}
_ORIENTATION_SOURCES = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")
_ORIENTATION_TAG = 0x0112


class UnreadableImage(Exception):
    """Raised for an image that must be left out; the message is the reason."""


@dataclass(frozen=True)
class ReadOptions:
    """What the user may declare about the images of a dataset.

    Attributes:
        background: grey level 0..255 that shows through transparent pixels.
        max_pixels: images with more pixels are refused. Pillow itself refuses more than about
            179 million.
        value_range: the levels of 16-bit, 32-bit and float images that become black and white;
            None takes all 16 bits, and 0..1 for floats.
    """

    background: int = 255
    max_pixels: int = 50_000_000
    value_range: tuple[float, float] | None = None


def read_pixels(
    raw: bytes, *, extension: str, channels: int, options: ReadOptions
) -> tuple[np.ndarray, list[str]]:
    """Decode one image file upright, opaque and in 8 bits.

    Args:
        raw: the bytes of the file.
        extension: its extension, to report a mismatch with the content.
        channels: 1 for grey, 3 for RGB.
        options: what the user declared.

    Returns:
        uint8 [H, W, channels], and what was done to the image, in words.

    Raises:
        UnreadableImage: when the file is damaged, too large or has no defined 8-bit meaning.
    """
    if not raw:
        raise UnreadableImage("empty file")
    image, notes = _open(raw, options.max_pixels)
    if _FORMAT_OF_EXTENSION.get(extension.lower()) != image.format and image.format != "MPO":
        notes.append("extension does not match the content")
    if image.info.keys() & set(_ORIENTATION_SOURCES):
        image, rotated = _upright(image)
        notes += rotated
    image, converted = _to_8_bit(image, options.background)
    notes += converted
    wanted = "L" if channels == 1 else "RGB"
    pixels = np.asarray(image if image.mode == wanted else image.convert(wanted))
    if pixels.min() == pixels.max():
        notes.append("blank: a single grey level or colour")
    return pixels.reshape(*pixels.shape[:2], channels), notes


def content_hash(pixels: np.ndarray) -> str:
    """SHA-256 (hex) of the shape and the bytes of a uint8 array [H, W, C]."""
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(pixels.tobytes())
    return digest.hexdigest()


def square_pixels(pixels: np.ndarray, size: int) -> tuple[np.ndarray, list[str]]:
    """Crop the centre square of uint8 [H, W, C] and scale it to [size, size, C].

    An image that is size x size already is returned byte for byte. Shrinking averages over the
    covered area (Lanczos); growing is bicubic.
    """
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    notes = [] if height == width else ["cropped to square"]
    square = pixels[top : top + side, left : left + side]
    if side == size:
        return square, notes
    if side < size:
        notes.append("enlarged")
    image = Image.fromarray(square[..., 0] if square.shape[2] == 1 else square)
    method = Image.Resampling.LANCZOS if side > size else Image.Resampling.BICUBIC
    resized = np.asarray(image.resize((size, size), method))
    return resized.reshape(size, size, pixels.shape[2]), notes


def extension_of(path: str) -> str:
    """The extension of a path, with its dot."""
    return os.path.splitext(path)[1]


def has_grey_modes_only(modes: Iterable[str]) -> bool:
    """Whether every Pillow mode stands for grey levels."""
    return all(mode in {"1", "L", "LA", "La", "I", "F"} or mode.startswith("I;") for mode in modes)


def _open(raw: bytes, max_pixels: int) -> tuple[Image.Image, list[str]]:
    """Check and decode the first frame, turning whatever a decoder raises into a reason."""
    try:
        with Image.open(io.BytesIO(raw), formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise UnreadableImage(
                    f"{image.width} x {image.height} pixels, more than the limit of {max_pixels}"
                )
            # Damage shows in only one of the two: a flipped bit of a PNG fails the checksums that
            # verify() reads but loads, a truncated JPEG fails load() only. verify() uses up a file.
            image.verify()
        with Image.open(io.BytesIO(raw), formats=FORMATS) as image:
            several = bool(getattr(image, "is_animated", False))
            if several:
                image.seek(0)
            image.load()
            # Multi-picture JPEGs are one photograph with a preview, not an animation.
            animated = several and image.format != "MPO"
            return image, ["first frame of an animation"] if animated else []
    except (MemoryError, UnreadableImage):
        raise
    except UnidentifiedImageError as exc:
        raise UnreadableImage("not an image in a known format") from exc
    except Exception as exc:
        raise UnreadableImage(" ".join(str(exc).split()) or type(exc).__name__) from exc


def _upright(image: Image.Image) -> tuple[Image.Image, list[str]]:
    try:
        turned = image.getexif().get(_ORIENTATION_TAG, 1) != 1
        return (ImageOps.exif_transpose(image), ["EXIF-rotated"]) if turned else (image, [])
    except (SyntaxError, ValueError, TypeError, KeyError, OSError):
        return image, ["EXIF data unreadable"]


def _to_8_bit(image: Image.Image, background: int) -> tuple[Image.Image, list[str]]:
    """Return the image in mode L or RGB."""
    mode = image.mode
    if mode.startswith("I;16"):
        return _scaled(np.asarray(image), 65535), ["16-bit scaled"]
    if mode == "I":
        levels = np.asarray(image)
        # A 16-bit PGM is scaled to the full range by its reader; elsewhere the values must tell.
        if image.format == "PPM" or levels.max() > 255:
            return _scaled(levels, 65535), ["16-bit scaled"]
        return _scaled(levels, 255), []
    if mode == "F":
        levels = np.asarray(image)
        if not (np.isfinite(levels).all() and levels.min() >= 0 and levels.max() <= 1):
            raise UnreadableImage("float image without a declared value range")
        return _scaled(levels, 1), ["float scaled from 0..1"]
    if image.has_transparency_data:
        grey = has_grey_modes_only([mode])
        return _composite(image.convert("LA" if grey else "RGBA"), background)
    if mode in {"L", "RGB"}:
        return image, []
    if mode == "1":
        return image.convert("L"), []
    note = ["CMYK converted to RGB"] if mode == "CMYK" else []
    return image.convert("RGB"), note


def _scaled(levels: np.ndarray, full_scale: int) -> Image.Image:
    share = np.clip(levels.astype(np.float64) / full_scale, 0, 1)
    return Image.fromarray(np.rint(share * 255).astype(np.uint8))


def _composite(image: Image.Image, background: int) -> tuple[Image.Image, list[str]]:
    """Lay an image of mode LA or RGBA on an opaque background."""
    alpha = image.getchannel("A")
    opaque = "L" if image.mode == "LA" else "RGB"
    if alpha.getextrema() == (255, 255):
        return image.convert(opaque), []
    base = Image.new(opaque, image.size, (background,) * len(opaque))
    base.paste(image.convert(opaque), mask=alpha)
    colour = {0: "black", 255: "white"}.get(background, f"grey level {background}")
    return base, [f"transparent: composited on {colour}"]
