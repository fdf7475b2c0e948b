"""From an index to one array of pixels, leaving out and naming what cannot be read."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np

from synthaug.data.headers import SIZES, HeaderFacts, choose_channels, choose_size, read_headers
from synthaug.data.image_file import pillow_rules
from synthaug.data.index import ImageIndex
from synthaug.data.pixels import (
    BLANK,
    NativeImage,
    ReadOptions,
    UnreadableImage,
    content_hash,
    extension_of,
    read_array,
    read_pixels,
    square_pixels,
)
from synthaug.data.source import Blobs, Files, ImageSource
from synthaug.data.workers import map_in_order, n_workers

__all__ = [
    "SIZES",
    "BadImage",
    "DecodedImages",
    "HeaderFacts",
    "OddImage",
    "choose_channels",
    "choose_size",
    "decode_images",
    "read_headers",
]

_CHUNK_IMAGES, _CHUNK_BYTES = 64, 1 << 22
# What one image and one byte of it take, in seconds; measured on JPEGs of 1 to 700 kB.
_SECONDS_AN_IMAGE, _SECONDS_A_BYTE = 1.2e-4, 5e-8
_ODD_ASPECT = 4
_ODD_ENLARGEMENT = 2
_DARK_BELOW = 32768


@dataclass(frozen=True)
class BadImage:
    """An image that was left out: its path relative to the root, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class OddImage:
    """An image that was read but deserves a look: its path relative to the root, and why."""

    path: str
    reason: str


@dataclass(frozen=True, eq=False)
class DecodedImages:
    """The M readable images of an index.

    Attributes:
        pixels: uint8 [M, C, H, W].
        kept: int64 [M], ascending positions in the index.
        content_hashes: M SHA-256 values (hex) of the size and pixels before cropping and scaling.
        bad: the images left out, in index order.
        notices: how many images were treated in which way.
        odd: images of a single colour, of sides that differ by more than 4 to 1, or enlarged more
            than twice, in index order; an image may occur more than once.
        thumbnails: uint8 [M, C, S, S] of another size S, if one was asked for.
        lowest_level, highest_level: the extremes over all images of more than 8 bits as stored,
            before scaling; None where there are none.
    """

    pixels: np.ndarray
    kept: np.ndarray
    content_hashes: tuple[str, ...]
    bad: tuple[BadImage, ...]
    notices: dict[str, int]
    odd: tuple[OddImage, ...] = ()
    thumbnails: np.ndarray | None = None
    lowest_level: float | None = None
    highest_level: float | None = None


@dataclass(frozen=True)
class _Facts:
    """What is known of a readable image: hash of its content, and what there is to tell of it."""

    content: str
    notes: tuple[str, ...]
    odd: tuple[str, ...]
    levels: tuple[float, float] | None
    full_scale: bool


@dataclass(frozen=True, eq=False)
class _Chunk:
    """Some images of an index, on their way to the process that decodes them."""

    source: ImageSource
    paths: tuple[str, ...]


def decode_images(
    index: ImageIndex,
    *,
    size: int,
    channels: int,
    advance: Callable[[int], None] | None = None,
    options: ReadOptions | None = None,
    thumbnail: int | None = None,
    workers: int | None = None,
) -> DecodedImages:
    """Decode every image to [channels, size, size]: centre square, scaled, 8 bits.

    A damaged, vanished or forbidden file is left out and listed with its reason, and stops nothing.
    The files themselves are only read. The result does not depend on the number of workers.

    Args:
        index: the images.
        size: side of the result in pixels.
        channels: 1 for grey, 3 for RGB.
        advance: called in this process with the number of images done since the last call.
        options: what the user declared; default: nothing.
        thumbnail: side in pixels of a second result of the same images, for comparing them in more
            detail than they are trained with.
        workers: processes that decode; default: several where that is faster. Arrays are always
            read in this process, as they would have to be copied.

    Raises:
        ResourceError: when one of those processes dies.
    """
    encoded = isinstance(index.source, Files | Blobs)
    if not encoded:
        workers = 1
    elif workers is None:
        workers = n_workers(
            _SECONDS_AN_IMAGE * len(index.paths) + _SECONDS_A_BYTE * sum(index.sizes)
        )
    sizes = (size,) if thumbnail is None else (size, thumbnail)
    work = partial(_decode_chunk, sizes=sizes, channels=channels, options=options or ReadOptions())
    scaled = [np.empty((len(index.paths), channels, s, s), dtype=np.uint8) for s in sizes]
    kept: list[int] = []
    facts: list[_Facts] = []
    bad: list[BadImage] = []
    position = 0
    # Closed here, since the traceback of a stop would keep the processes alive.
    with closing(map_in_order(work, _chunks(index), workers)) as chunks:
        for chunk in chunks:
            for outcome in chunk:
                if isinstance(outcome, BadImage):
                    bad.append(outcome)
                else:
                    squares, known = outcome
                    for pixels, square in zip(scaled, squares, strict=True):
                        pixels[len(kept)] = square.transpose(2, 0, 1)
                    kept.append(position)
                    facts.append(known)
                position += 1
            if advance is not None:
                advance(len(chunk))
    return DecodedImages(
        pixels=scaled[0][: len(kept)],
        thumbnails=None if thumbnail is None else scaled[1][: len(kept)],
        kept=np.array(kept, dtype=np.int64),
        content_hashes=tuple(known.content for known in facts),
        bad=tuple(bad),
        notices=_notices(facts),
        odd=tuple(
            OddImage(index.paths[i], reason)
            for i, known in zip(kept, facts, strict=True)
            for reason in known.odd
        ),
        lowest_level=min((known.levels[0] for known in facts if known.levels), default=None),
        highest_level=max((known.levels[1] for known in facts if known.levels), default=None),
    )


def _chunks(index: ImageIndex) -> Iterator[_Chunk]:
    """The index cut into pieces of a fraction of a second each."""
    start, n_bytes = 0, 0
    sizes = index.sizes or (0,) * len(index.paths)
    for i, n in enumerate(sizes):
        n_bytes += n
        if i + 1 - start == _CHUNK_IMAGES or n_bytes >= _CHUNK_BYTES or i + 1 == len(sizes):
            yield _Chunk(index.source.take(range(start, i + 1)), index.paths[start : i + 1])
            start, n_bytes = i + 1, 0


def _decode_chunk(
    chunk: _Chunk, *, sizes: tuple[int, ...], channels: int, options: ReadOptions
) -> list[tuple[list[np.ndarray], _Facts] | BadImage]:
    with pillow_rules(options.max_pixels):
        return [_decode_one(chunk, i, sizes, channels, options) for i in range(len(chunk.paths))]


def _decode_one(
    chunk: _Chunk, position: int, sizes: tuple[int, ...], channels: int, options: ReadOptions
) -> tuple[list[np.ndarray], _Facts] | BadImage:
    """Decode one image to uint8 [size, size, C] for each size; the first is what is told of."""
    path = chunk.paths[position]
    try:
        content = chunk.source.read(position)
        if isinstance(content, np.ndarray):
            native = read_array(content, channels=channels, options=options)
        else:
            extension = extension_of(path)
            native = read_pixels(content, extension=extension, channels=channels, options=options)
    except UnreadableImage as exc:
        return BadImage(path, str(exc))
    except FileNotFoundError:
        return BadImage(path, "file vanished")
    except OSError as exc:
        return BadImage(path, f"cannot be read: {exc.strerror or exc}")
    squares = [square_pixels(native.pixels, size) for size in sizes]
    return [square for square, _ in squares], _Facts(
        content=content_hash(native.pixels),
        notes=(*native.notes, *squares[0][1]),
        odd=tuple(_oddities(native, sizes[0])),
        levels=native.levels,
        full_scale=native.full_scale,
    )


def _oddities(native: NativeImage, size: int) -> Iterator[str]:
    height, width = native.pixels.shape[:2]
    short, long = sorted((height, width))
    if BLANK in native.notes:
        yield BLANK
    if long > _ODD_ASPECT * short:
        yield f"{width} x {height} pixels: the sides differ by more than {_ODD_ASPECT} to 1"
    if size > _ODD_ENLARGEMENT * short:
        yield f"{width} x {height} pixels: enlarged {size / short:.1f} times"


def _notices(facts: Sequence[_Facts]) -> dict[str, int]:
    notices = Counter(note for known in facts for note in known.notes)
    tops = [known.levels[1] for known in facts if known.full_scale and known.levels]
    if tops and 0 < max(tops) < _DARK_BELOW:
        top = int(max(tops))
        white = (1 << top.bit_length()) - 1
        notices[f"16-bit levels reach only {top}: declare --value-range 0:{white}"] = len(tops)
    return dict(sorted(notices.items()))
