"""One image to 8-bit pixels: every mode and every defect a folder of images may hold."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from synthaug.data.deep import stored_levels
from synthaug.data.image_file import FORMATS, ORIENTATION, OpenedImage, decoder_faults, open_image
from synthaug.data.levels import Levels, array_levels, composite, to_8_bit
from synthaug.data.read_options import ReadOptions, UnreadableImage

__all__ = [
    "BLANK",
    "FORMATS",
    "NativeImage",
    "ReadOptions",
    "UnreadableImage",
    "content_hash",
    "extension_of",
    "has_grey_modes_only",
    "read_array",
    "read_pixels",
    "square_pixels",
    "upright",
]

BLANK = "blank: a single grey level or colour"
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
_ORIENTATION_SOURCES = frozenset({"exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"})


@dataclass(frozen=True, eq=False)
class NativeImage:
    """An image in its own size, upright, opaque and in 8 bits.

    Attributes:
        pixels: uint8 [H, W, C], C = 1 (grey) or 3 (RGB).
        notes: what was done to it, in words.
        levels: smallest and largest level as stored, of an image of more than 8 bits, else None.
        full_scale: whether the full range of 16 bits became 0..255.
    """

    pixels: np.ndarray
    notes: tuple[str, ...]
    levels: tuple[float, float] | None = None
    full_scale: bool = False


def read_pixels(raw: bytes, *, extension: str, channels: int, options: ReadOptions) -> NativeImage:
    """Decode one image file.

    Args:
        raw: the bytes of the file.
        extension: its extension, to report a mismatch with the content.
        channels: 1 for grey, 3 for RGB.
        options: what the user declared.

    Raises:
        UnreadableImage: when the file is damaged, too large or too small, or has no defined 8-bit
            meaning.
    """
    if not raw:
        raise UnreadableImage("empty file")
    opened = open_image(raw, options)
    notes = list(opened.notes)
    expected = _FORMAT_OF_EXTENSION.get(extension.lower(), opened.image.format)
    if opened.image.format not in {expected, "MPO"}:
        notes.append("extension does not match the content")
    with decoder_faults(raw, options):
        levels = stored_levels(opened, raw, options)
        if levels is None:
            native = _of_8_bits(opened, channels, options.background)
        else:
            native = _of_levels(levels, channels, options)
    orientation = _orientation(opened.image)
    if orientation is None:
        notes.append("EXIF data unreadable")
    elif orientation != 1:
        notes.append("EXIF-rotated")
        native = replace(native, pixels=upright(native.pixels, orientation))
    return _noted(native, notes)


def read_array(image: np.ndarray, *, channels: int, options: ReadOptions) -> NativeImage:
    """Take an array by the same rules as a file.

    Args:
        image: [H, W] or [H, W, C] of any number type; C is 1 for grey, 3 for RGB, 4 for RGB with
            opacity. It may be returned itself, as a view.
        channels: 1 for grey, 3 for RGB.
        options: what the user declared.

    Raises:
        UnreadableImage: when it is too large or too small, has another shape or no defined 8-bit
            meaning.
    """
    if image.ndim in {2, 3}:
        options.check_size(image.shape[1], image.shape[0])
    return _noted(_of_levels(array_levels(image), channels, options), [])


def content_hash(pixels: np.ndarray) -> str:
    """SHA-256 (hex) of the shape and the bytes of a uint8 array [H, W, C]."""
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn and mirror [H, W, C] as an EXIF orientation, 1 to 8, asks for."""
    mirrored = {2: 1, 4: 3, 5: 6, 7: 8}
    quarter_turns = {1: 0, 8: 1, 3: 2, 6: 3}  # anticlockwise
    turned = np.rot90(pixels, quarter_turns[mirrored.get(orientation, orientation)])
    return np.ascontiguousarray(turned[:, ::-1] if orientation in mirrored else turned)


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
    method = Image.Resampling.LANCZOS if side > size else Image.Resampling.BICUBIC
    resized = np.asarray(_image_of(square).resize((size, size), method))
    return resized.reshape(size, size, pixels.shape[2]), notes


def extension_of(path: str) -> str:
    """The extension of a path, with its dot."""
    return os.path.splitext(path)[1]


def has_grey_modes_only(modes: Iterable[str]) -> bool:
    """Whether every Pillow mode stands for grey levels."""
    return all(mode in {"1", "L", "LA", "La", "I", "F"} or mode.startswith("I;") for mode in modes)


def _of_8_bits(opened: OpenedImage, channels: int, background: int) -> NativeImage:
    image = opened.image
    notes = []
    if ";16" in opened.raw_mode:
        notes.append(f"16-bit {image.mode} read by its upper 8 bits")
    if image.mode == "CMYK":
        notes.append("CMYK converted to RGB")
    if image.has_transparency_data:
        layers = image.convert("LA" if has_grey_modes_only([image.mode]) else "RGBA")
        pixels = np.asarray(layers)
        return _opaque(pixels[..., :-1], pixels[..., -1], channels, background, notes)
    colours: Image.Image = image
    if image.mode not in {"1", "L", "RGB"}:
        colours = image.convert("RGB")  # grey is made of RGB, whatever the colours are stored as
    wanted = "L" if channels == 1 else "RGB"
    pixels = np.asarray(colours if colours.mode == wanted else colours.convert(wanted))
    return NativeImage(pixels if channels == 3 else pixels[..., None], tuple(notes))


def _of_levels(levels: Levels, channels: int, options: ReadOptions) -> NativeImage:
    scaled = to_8_bit(levels, options.value_range)
    native = _opaque(
        scaled.pixels if scaled.pixels.ndim == 3 else scaled.pixels[..., None],
        levels.alpha,
        channels,
        options.background,
        list(scaled.notes),
    )
    return replace(native, levels=scaled.seen, full_scale=scaled.full_scale)


def _opaque(
    pixels: np.ndarray,
    alpha: np.ndarray | None,
    channels: int,
    background: int,
    notes: list[str],
) -> NativeImage:
    """Lay uint8 [H, W, 1 or 3] on the background and give it the channels asked for."""
    if alpha is not None and alpha.min() < 255:
        pixels = composite(pixels, alpha, background)
        colour = {0: "black", 255: "white"}.get(background, f"grey level {background}")
        notes = [*notes, f"transparent: composited on {colour}"]
    if channels < pixels.shape[2]:
        pixels = np.asarray(_image_of(pixels).convert("L"))[..., None]
    elif channels > pixels.shape[2]:
        pixels = np.repeat(pixels, channels, axis=2)
    return NativeImage(pixels, tuple(notes))


def _image_of(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def _noted(native: NativeImage, notes: list[str]) -> NativeImage:
    blank = [BLANK] if _is_constant(native.pixels) else []
    return replace(native, notes=(*notes, *native.notes, *blank))


def _is_constant(pixels: np.ndarray) -> bool:
    """Whether all pixels [H, W, C] are the same."""
    first = pixels[0, 0]
    # Almost every image tells by its first row.
    return bool((pixels[0] == first).all() and (pixels == first).all())


def _orientation(image: Image.Image) -> int | None:
    """How the image is to be turned, 1 to 8, or None if that cannot be read.

    Pillow turns TIFFs itself.
    """
    if not image.info.keys() & _ORIENTATION_SOURCES:
        return 1
    try:
        orientation = int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # whatever broken metadata leads its parser to; the pixels are sound
        return None
    return orientation if 1 <= orientation <= 8 else 1
