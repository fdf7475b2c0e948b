"""From an index to one array of pixels, leaving out and naming what cannot be read."""

import io
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image

from synthaug.data.index import ImageIndex
from synthaug.data.pixels import (
    FORMATS,
    ReadOptions,
    UnreadableImage,
    content_hash,
    extension_of,
    has_grey_modes_only,
    read_pixels,
    square_pixels,
)
from synthaug.data.source import Files
from synthaug.errors import DataError

SIZES = (8, 16, 32, 64)
_CHUNK = 64
# Below this mean file size the interpreter lock makes several threads slower than one.
_THREADS_PAY_FROM = 16_384


@dataclass(frozen=True, eq=False)
class HeaderFacts:
    """What the N file headers say: widths and heights int64 [N] in pixels, and Pillow modes.

    An unreadable header has width 0, height 0 and mode "".
    """

    widths: np.ndarray
    heights: np.ndarray
    modes: tuple[str, ...]


@dataclass(frozen=True)
class BadImage:
    """An image that was left out: its path relative to the root, and why."""

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
    """

    pixels: np.ndarray
    kept: np.ndarray
    content_hashes: tuple[str, ...]
    bad: tuple[BadImage, ...]
    notices: dict[str, int]


@dataclass(frozen=True, eq=False)
class _Decoded:
    """One readable image: uint8 [size, size, C], hash of its content, what was done to it."""

    pixels: np.ndarray
    content: str
    notes: list[str]


def read_headers(index: ImageIndex) -> HeaderFacts:
    """Read size and mode of every image without decoding it."""
    with _quiet_pillow():
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


def decode_images(
    index: ImageIndex,
    *,
    size: int,
    channels: int,
    advance: Callable[[int], None] | None = None,
    options: ReadOptions | None = None,
) -> DecodedImages:
    """Decode every image to [channels, size, size]: centre square, scaled, 8 bits.

    A damaged, vanished or forbidden file is left out and listed with its reason; it never raises.
    The files themselves are only read.

    Args:
        index: the images.
        size: side of the result in pixels.
        channels: 1 for grey, 3 for RGB.
        advance: called in this thread with the number of images done since the last call.
        options: what the user declared; default: nothing.
    """
    options = options or ReadOptions()
    n = len(index.paths)
    chunks = [range(i, min(i + _CHUNK, n)) for i in range(0, n, _CHUNK)]

    def work(chunk: Sequence[int]) -> list[_Decoded | BadImage]:
        return [_decode_one(index, i, size, channels, options) for i in chunk]

    pixels = np.empty((len(index.paths), channels, size, size), dtype=np.uint8)
    kept: list[int] = []
    hashes: list[str] = []
    bad: list[BadImage] = []
    notices: Counter[str] = Counter()
    position = 0
    with _quiet_pillow(), _pool(index) as pool:
        for chunk in pool.map(work, chunks):
            for outcome in chunk:
                if isinstance(outcome, BadImage):
                    bad.append(outcome)
                else:
                    pixels[len(kept)] = outcome.pixels.transpose(2, 0, 1)
                    kept.append(position)
                    hashes.append(outcome.content)
                    notices.update(outcome.notes)
                position += 1
            if advance is not None:
                advance(len(chunk))
    return DecodedImages(
        pixels=pixels[: len(kept)],
        kept=np.array(kept, dtype=np.int64),
        content_hashes=tuple(hashes),
        bad=tuple(bad),
        notices=dict(sorted(notices.items())),
    )


def _decode_one(
    index: ImageIndex, position: int, size: int, channels: int, options: ReadOptions
) -> _Decoded | BadImage:
    path = index.paths[position]
    try:
        raw = index.source.read(position)
        assert isinstance(raw, bytes)
        native, notes = read_pixels(
            raw, extension=extension_of(path), channels=channels, options=options
        )
    except UnreadableImage as exc:
        return BadImage(path, str(exc))
    except FileNotFoundError:
        return BadImage(path, "file vanished")
    except OSError as exc:
        return BadImage(path, f"cannot be read: {exc.strerror or exc}")
    square, more = square_pixels(native, size)
    return _Decoded(square, content_hash(native), notes + more)


def _read_header(index: ImageIndex, position: int) -> tuple[int, int, str]:
    source = index.source
    try:
        content = source.path(position) if isinstance(source, Files) else source.read(position)
        assert not isinstance(content, np.ndarray)
        file = io.BytesIO(content) if isinstance(content, bytes) else content
        with Image.open(file, formats=FORMATS) as image:
            return image.width, image.height, image.mode
    except MemoryError:
        raise
    except Exception:  # decoders raise whatever a broken file leads them to
        return 0, 0, ""


def _readable(facts: HeaderFacts) -> np.ndarray:
    readable = (facts.widths > 0) & (facts.heights > 0)
    if not readable.any():
        raise DataError(
            f"none of the {len(facts.modes)} image files can be read",
            remedy="check that they open in an image viewer",
        )
    return readable


@contextmanager
def _pool(index: ImageIndex) -> Iterator[ThreadPoolExecutor]:
    """A pool that drops its waiting work when the caller is interrupted."""
    mean_bytes = sum(index.sizes) / max(1, len(index.sizes))
    workers = min(8, os.cpu_count() or 1) if mean_bytes >= _THREADS_PAY_FROM else 1
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Silence Pillow's warnings: what matters in them is checked and counted here.

    The filters are changed once, around all threads, because each change is process-wide.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
        yield
