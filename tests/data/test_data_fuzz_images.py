"""Broken and hostile files: whatever the bytes, an image is read or named, never an exception."""

import struct
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest
from handmade_images import encoded, png, png_16, png_chunk, tiff
from PIL import Image

from synthaug.data.decode import decode_images, read_headers
from synthaug.data.index import ImageIndex
from synthaug.data.source import Blobs

NOISE = np.random.default_rng(1).integers(0, 256, (16, 16, 4), dtype=np.uint8)
DEEP = np.random.default_rng(2).integers(0, 65536, (16, 16, 3)).astype(np.uint16)


def sound_files():
    """Small files of every format and of most ways to store one."""
    grey, rgb, rgba = (
        Image.fromarray(NOISE[..., channels]) for channels in (0, slice(3), slice(4))
    )
    palette, exif = grey.convert("P"), Image.Exif()
    exif[0x0112] = 6
    frames = {"save_all": True, "append_images": [rgb.transpose(Image.Transpose.ROTATE_90)]}
    return (
        encoded(rgb, "PNG", exif=exif),
        encoded(palette, "PNG", transparency=3),
        encoded(rgba.convert("LA"), "PNG"),
        encoded(rgb, "PNG", **frames),
        png_16(DEEP),
        png_16(DEEP[..., 0], png_chunk(b"tRNS", b"\0\1")),
        png([bytes(range(8))] * 4, 16, 4, 0, png_chunk(b"tRNS", b"\0\1")),
        encoded(rgb, "JPEG", exif=exif),
        encoded(grey, "JPEG", progressive=True),
        encoded(rgb.convert("CMYK"), "JPEG"),
        encoded(rgb, "MPO", **frames),
        encoded(palette, "GIF"),
        encoded(rgb, "GIF", **frames),
        encoded(rgb, "TIFF", exif=exif),
        encoded(rgb, "TIFF", compression="tiff_lzw", **frames),
        encoded(rgb, "TIFF", compression="jpeg"),
        encoded(grey.convert("1"), "TIFF", compression="group4"),
        encoded(Image.frombytes("LAB", (16, 16), NOISE[..., :3].tobytes()), "TIFF"),
        tiff(DEEP),
        tiff(DEEP, planes=True),
        tiff(DEEP[..., 0].view(np.int16), order=">", deflate=True),
        tiff((DEEP[..., 0] / 65535).astype(np.float32), photometric=0),
        encoded(rgb, "WEBP"),
        encoded(rgba, "WEBP", lossless=True, exif=exif),
        encoded(rgb, "WEBP", **frames),
        encoded(rgb, "BMP"),
        encoded(grey.convert("1"), "BMP"),
        encoded(rgb, "PPM"),
        b"P5 16 16 4095\n" + (DEEP[..., 0] >> 4).astype(">u2").tobytes(),
        b"P6 16 16 1000\n" + (DEEP >> 6).astype(">u2").tobytes(),
        b"P2 4 4 1000\n" + b"1 200 3 400 " * 4,
        encoded(Image.fromarray((DEEP[..., 0] / 65535).astype(np.float32)), "PPM"),
    )


def mutated(file, others, rng):
    """A file with bits flipped, cut, spliced with another, its header edited, or bytes moved."""
    data = bytearray(file)
    at = int(rng.integers(len(data)))
    match rng.integers(7):
        case 0:
            for place in rng.integers(0, len(data), rng.integers(1, 9)):
                data[place] ^= 1 << int(rng.integers(8))
        case 1:
            del data[at:]
        case 2:
            other = others[rng.integers(len(others))]
            data[at:] = other[int(rng.integers(len(other))) :]
        case 3:
            for place in rng.integers(0, min(64, len(data)), rng.integers(1, 4)):
                data[place] = int(rng.integers(256))
        case 4:
            start = int(rng.integers(min(200, len(data))))
            data[start : start + 4] = bytes([rng.choice([0, 255, 127, 128])]) * 4
        case 5:
            data[at:at] = rng.bytes(int(rng.integers(1, 40)))
        case _:
            del data[at : at + int(rng.integers(1, 40))]
    return bytes(data)


def blob_index(files):
    return ImageIndex(
        origin="fuzz",
        paths=tuple(f"{i:06d}" for i in range(len(files))),
        labels=np.zeros(len(files), np.int64),
        class_names=("a",),
        declared_split=("",) * len(files),
        ignored={},
        source=Blobs(tuple(files)),
        sizes=tuple(map(len, files)),
    )


def decode_all(files, channels):
    """Decode files, and check that each one was read or named."""
    index = blob_index(files)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        facts = read_headers(index)
        result = decode_images(index, size=16, channels=channels, workers=1)
    assert seen == []
    assert result.pixels.shape == (len(result.kept), channels, 16, 16)
    assert result.pixels.dtype == np.uint8
    bad = {int(image.path) for image in result.bad}
    assert bad.isdisjoint(result.kept.tolist()) and len(bad) + len(result.kept) == len(files)
    assert all(image.reason and image.reason.isprintable() for image in result.bad)
    assert (facts.widths[result.kept] > 0).all()
    return result


def test_the_files_before_they_are_broken_are_read():
    result = decode_all(sound_files(), 3)
    reasons = [image.reason[:30] for image in result.bad]
    assert reasons == ["colours of more than 8 bits in", "integer levels from -32505 to "]


@pytest.mark.parametrize("seed", [0, 1])
def test_mutated_files(seed):
    hurt(seed, 5000)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 12))
def test_many_more_mutated_files(seed):
    hurt(seed, 20_000)


def hurt(seed, n):
    """Decode n mutants and some files of random bytes."""
    rng = np.random.default_rng(seed)
    sound = sound_files()
    files = [mutated(sound[i % len(sound)], sound, rng) for i in range(n)]
    files += [rng.bytes(int(rng.integers(0, 300))) for _ in range(n // 20)]
    result = decode_all(files, 1 + 2 * (seed % 2))
    # A change may hit what nobody reads; most must be seen for the test to mean anything.
    assert n // 2 < len(result.bad) < n


def huge_headers(side):
    """Files that claim side x side pixels, in every format."""
    grey = Image.fromarray(NOISE[..., 0])
    size = struct.pack
    rgb = bytearray(png([bytes(48)] * 16, 16, 8, 2))
    rgb[16:24] = size(">II", side, side)
    rgb[29:33] = png_chunk(b"IHDR", bytes(rgb[16:29]))[-4:]
    jpeg = bytearray(encoded(grey, "JPEG"))
    frame = jpeg.index(b"\xff\xc0") + 5
    jpeg[frame : frame + 4] = size(">HH", side, side)
    gif = bytearray(encoded(grey, "GIF"))
    gif[6:10] = size("<HH", side, side)
    bmp = bytearray(encoded(grey, "BMP"))
    bmp[18:26] = size("<ii", side, side)
    tiffs = []
    for deflate in (False, True):
        data = bytearray(tiff(NOISE[..., 0], deflate=deflate))
        for tag in (256, 257, 278):
            at = data.index(size("<HHI", tag, 3, 1)) + 8
            data[at : at + 2] = size("<H", side)
        tiffs.append(bytes(data))
    extended = bytearray(encoded(grey, "WEBP", lossless=True, exif=b"Exif\0\0II*\0"))
    canvas = extended.index(b"VP8X") + 12
    extended[canvas : canvas + 6] = size("<I", side - 1)[:3] * 2
    plain = bytearray(encoded(grey, "WEBP", lossless=True))
    at = plain.index(b"VP8L") + 9
    (bits,) = struct.unpack("<I", plain[at : at + 4])
    largest = 16383
    plain[at : at + 4] = size("<I", bits & ~0xFFF_FFFF | largest << 14 | largest)
    pnm = [f"{kind} {side} {side} 255\n".encode() + bytes(99) for kind in ("P5", "P6", "P2")]
    deep = [f"{kind} {side} {side} 65535\n".encode() + bytes(99) for kind in ("P5", "P6")]
    files = [rgb, jpeg, gif, bmp, *tiffs, extended, plain, *pnm, *deep]
    return [bytes(file) for file in files]


def test_huge_claims_are_refused_without_reserving_memory():
    """In a process that may not hold half of what one of the files claims."""
    program = textwrap.dedent("""
        import resource, sys
        sys.path[:0] = sys.argv[1:]
        import test_data_fuzz_images as here
        files = here.huge_headers(50_000)
        here.decode_images(here.blob_index(here.sound_files()), size=16, channels=3, workers=1)
        limit = 1 << 30
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        result = here.decode_images(here.blob_index(files), size=16, channels=3, workers=1)
        print(len(files), *(image.reason for image in result.bad), sep="\\n")
    """)
    done = subprocess.run(
        [sys.executable, "-c", program, *sys.path], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    n, *reasons = done.stdout.splitlines()
    assert len(reasons) == int(n) and done.stderr == ""
    assert all("pixels, more than the limit of 50000000" in reason for reason in reasons)
