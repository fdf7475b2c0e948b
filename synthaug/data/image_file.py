"""One image file opened: checked, its first frame decoded, and where Pillow errs put right."""

import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image, ImageFile, UnidentifiedImageError

from synthaug.data.read_options import ReadOptions, UnreadableImage

# Named so that a renamed PostScript file can never start an external interpreter.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

# TIFF tags
BITS, PHOTOMETRIC, ORIENTATION, PLANAR, SAMPLE_FORMAT = 258, 262, 274, 284, 339

# libtiff hands samples over in the order of this machine, whatever that of the file; Pillow knows
# it of unsigned ones only.
_IN_MACHINE_ORDER = {
    "I;16S": "I;16NS",
    "I;16BS": "I;16NS",
    "I;32S": "I;32NS",
    "I;32BS": "I;32NS",
    "F;32F": "F;32NF",
    "F;32BF": "F;32NF",
}


@dataclass(frozen=True, eq=False)
class OpenedImage:
    """A decoded image, as its file stores it.

    Attributes:
        image: the first frame, loaded.
        raw_mode: how the samples lie in the file, in Pillow's words, such as "RGB;16B"; "" where
            the decoder does not say.
        data_offset: where the samples begin in the file.
        white: the level that a PNM file calls full scale, else None.
        notes: what the user should know of it.
    """

    image: ImageFile.ImageFile
    raw_mode: str
    data_offset: int
    white: int | None
    notes: tuple[str, ...]


def open_image(raw: bytes, options: ReadOptions) -> OpenedImage:
    """Check and decode the first frame of an image file.

    Raises:
        UnreadableImage: with what the decoder complained about, or as the options demand.
    """
    with decoder_faults(raw, options):
        image = Image.open(io.BytesIO(raw), formats=FORMATS)
        options.check_size(*image.size)
        # Damage shows in only one of the two: a flipped bit of a PNG fails the checksums that
        # verify() reads but loads, a truncated file fails load() only. verify() uses up the file,
        # and where a format does not define it, it checks nothing.
        if type(image).verify is not ImageFile.ImageFile.verify:
            image.verify()
            image = Image.open(io.BytesIO(raw), formats=FORMATS)
        # Multi-picture JPEGs are one photograph with a preview, not an animation.
        several = bool(getattr(image, "is_animated", False)) and image.format != "MPO"
        if several:
            if options.animations == "refuse":
                raise UnreadableImage("several frames or pages, which are to be refused")
            image.seek(0)
        _refuse_separate_planes(image)
        _mend(image)
        raw_mode, offset, white = _how_stored(image)
        turned = 2 <= tiff_tag(image, ORIENTATION, 1) <= 8
        image.load()
    notes = ["first frame of an animation, or first page"] if several else []
    if turned:
        notes.append("EXIF-rotated")
    return OpenedImage(image, raw_mode, offset, white, tuple(notes))


def reload_image(raw: bytes, options: ReadOptions, raw_mode: str) -> ImageFile.ImageFile:
    """Decode the first frame again, with other words for how its samples lie in the file.

    Raises:
        UnreadableImage: with what the decoder complained about.
    """
    with decoder_faults(raw, options):
        image = Image.open(io.BytesIO(raw), formats=FORMATS)
        if getattr(image, "is_animated", False):
            image.seek(0)
        _set_raw_mode(image, raw_mode)
        image.load()
    return image


def raw_mode_of(image: ImageFile.ImageFile) -> str:
    """How the samples lie in the file, in Pillow's words; "" where it does not say."""
    return _how_stored(image)[0]


def tiff_tag(image: ImageFile.ImageFile, tag: int, default: int) -> int:
    """A number in the header of a TIFF, the first one if it has several; else the default."""
    tags = getattr(image, "tag_v2", None)
    value = default if tags is None else tags.get(tag, default)
    return int(value[0] if isinstance(value, tuple) else value)


@contextmanager
def pillow_rules(max_pixels: int | None) -> Iterator[None]:
    """Silence Pillow, since what matters of what it says is checked here, and set its limit.

    Pillow refuses twice the limit before it reserves memory, also for a tile or frame larger than
    the image. The settings are process-wide, so they are changed once, around all threads.
    """
    before = Image.MAX_IMAGE_PIXELS
    log = logging.getLogger("PIL")
    level = log.level
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
        Image.MAX_IMAGE_PIXELS = max_pixels
        log.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before
            log.setLevel(level)


@contextmanager
def decoder_faults(raw: bytes, options: ReadOptions) -> Iterator[None]:
    """Turn whatever a decoder raises into a reason; that memory gave out is no fault of a file."""
    try:
        yield
    except (MemoryError, UnreadableImage):
        raise
    except UnidentifiedImageError as exc:
        if raw.startswith(_TIFF_STARTS):
            raise UnreadableImage(
                "a damaged TIFF, or one of a kind that is not read, such as 64-bit levels; save "
                "it with 8 or 16 bits or as 32-bit float"
            ) from exc
        raise UnreadableImage("not an image in a known format") from exc
    except Image.DecompressionBombError as exc:
        count = re.search(r"\d+", str(exc))
        raise UnreadableImage(
            f"{count[0] if count else 'too many'} pixels, more than the limit of "
            f"{options.max_pixels}"
        ) from exc
    except Exception as exc:
        text = " ".join(str(exc).split())
        raise UnreadableImage(f"damaged: {text or type(exc).__name__}") from exc


def _refuse_separate_planes(image: ImageFile.ImageFile) -> None:
    """Refuse what Pillow reads as if each plane had 8 bits."""
    if (
        len(image.getbands()) > 1
        and tiff_tag(image, PLANAR, 1) == 2
        and tiff_tag(image, BITS, 8) > 8
    ):
        raise UnreadableImage(
            "colours of more than 8 bits in separate planes; save it with interleaved channels"
        )


def _mend(image: ImageFile.ImageFile) -> None:
    """Put right what Pillow reads wrongly, before it is decoded."""
    raw_mode = _how_stored(image)[0]
    if image.format == "TIFF" and raw_mode in _IN_MACHINE_ORDER and image.tile[0][0] == "libtiff":
        _set_raw_mode(image, _IN_MACHINE_ORDER[raw_mode])
    elif image.format in {"JPEG", "MPO"} and raw_mode == "CMYK;I" and "adobe" not in image.info:
        # Only Adobe stores inverted inks, and it says so.
        _set_raw_mode(image, "CMYK")
    elif image.format == "PNG" and raw_mode in {"L;2", "L;4"} and "transparency" in image.info:
        # The transparent level is stored in 2 or 4 bits like the others, which are spread to 8.
        image.info["transparency"] *= {"L;2": 85, "L;4": 17}[raw_mode]


def _how_stored(image: ImageFile.ImageFile) -> tuple[str, int, int | None]:
    """Raw mode and offset of the first tile, and the declared full scale of a PNM file."""
    if not image.tile:
        return "", 0, None
    _, _, offset, arguments = image.tile[0]
    words = (arguments,) if isinstance(arguments, str) else tuple(arguments or ())
    raw_mode = str(words[0]) if words else ""
    if image.format != "PPM":
        return raw_mode, int(offset), None
    white = int(words[1]) if len(words) == 2 else 65535 if raw_mode == "I;16B" else None
    return raw_mode, int(offset), white


def _set_raw_mode(image: ImageFile.ImageFile, raw_mode: str) -> None:
    tiles = []
    for tile in image.tile:
        words = raw_mode if isinstance(tile.args, str) else (raw_mode, *(tile.args or ())[1:])
        tiles.append(tile._replace(args=words))
    image.tile = tiles
