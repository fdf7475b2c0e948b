"""Image files made byte by byte, for what Pillow cannot write."""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    """The file that Pillow writes of an image."""
    buffer = io.BytesIO()
    # Copies, since an encoder leaves settings behind that confuse the next one.
    if "append_images" in options:
        options["append_images"] = [frame.copy() for frame in options["append_images"]]
    image.copy().save(buffer, format=format, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def png(rows: Sequence[bytes], width: int, bits: int, colour: int, *chunks: bytes) -> bytes:
    """A PNG of packed rows; colour is 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA."""
    header = struct.pack(">IIBBBBB", width, len(rows), bits, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [png_chunk(b"IHDR", header), *chunks, png_chunk(b"IDAT", body), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_16(levels: np.ndarray, *chunks: bytes) -> bytes:
    """A 16-bit PNG of [H, W] or [H, W, C], C = 2 (grey and alpha), 3 or 4."""
    channels = levels.shape[2] if levels.ndim == 3 else 1
    rows = [row.astype(">u2").tobytes() for row in levels]
    return png(rows, levels.shape[1], 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], *chunks)


def tiff(
    levels: np.ndarray,
    *,
    order: str = "<",
    deflate: bool = False,
    photometric: int | None = None,
    bits: int | None = None,
    planes: bool = False,
    orientation: int | None = None,
    opacity: int = 2,
) -> bytes:
    """An uncompressed or deflated TIFF of [H, W] or [H, W, C] of any number type.

    ``order`` is "<" or ">"; ``photometric`` 0 says that zero is white; with ``bits`` the levels are
    bytes already packed; ``planes`` stores one channel after the other; ``opacity`` is 1 where
    colours are multiplied with it, else 2.
    """
    height, width = levels.shape[:2]
    channels = levels.shape[2] if levels.ndim == 3 else 1
    data = levels.astype(levels.dtype.newbyteorder(order))
    parts = [data[..., c].tobytes() for c in range(channels)] if planes else [data.tobytes()]
    if deflate:
        parts = [zlib.compress(part) for part in parts]
    if photometric is None:
        photometric = 2 if channels >= 3 else 1
    depth = bits or levels.dtype.itemsize * 8
    entries: dict[int, tuple[str, list[int]]] = {
        256: ("H", [width * 8 // bits if bits else width]),
        257: ("H", [height]),
        258: ("H", [depth] * channels),
        259: ("H", [8 if deflate else 1]),
        262: ("H", [photometric]),
        273: ("I", [0] * len(parts)),
        277: ("H", [channels]),
        278: ("H", [height]),
        279: ("I", [len(part) for part in parts]),
        284: ("H", [2 if planes else 1]),
        339: ("H", [{"u": 1, "i": 2, "f": 3}[levels.dtype.kind]] * channels),
    }
    if channels in {2, 4} and photometric != 5:
        entries[338] = ("H", [opacity])
    if orientation is not None:
        entries[274] = ("H", [orientation])

    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    directory = 2 + 12 * len(entries) + 4
    position = 8 + directory
    offsets = []
    for part in parts:
        offsets.append(position)
        position += len(part)
    entries[273] = ("I", offsets)
    table, overflow = b"", b""
    for tag, (kind, values) in sorted(entries.items()):
        packed = struct.pack(f"{order}{len(values)}{kind}", *values)
        if len(packed) > 4:
            packed, overflow = struct.pack(f"{order}I", position + len(overflow)), overflow + packed
        table += struct.pack(f"{order}HHI", tag, {"H": 3, "I": 4}[kind], len(values))
        table += packed.ljust(4, b"\0")
    count = struct.pack(f"{order}H", len(entries))
    return header + count + table + bytes(4) + b"".join(parts) + overflow
