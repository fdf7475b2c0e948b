"""What is called a near duplicate: among real images, and of images that were edited on purpose.

    python benchmarks/duplicates.py MNIST CIFAR10 PICTURES

MNIST and CIFAR10 are image folders; PICTURES is a folder to be made, which gets a sheet of the real
pairs for each row, to look at. Prints a Markdown table.
"""

import io
import os
import platform
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import numpy as np
from PIL import Image, ImageFilter
from sklearn.datasets import load_digits

from synthaug.data import duplicates
from synthaug.data.decode import decode_images
from synthaug.data.duplicates import components, near_duplicates, perceptual_hashes
from synthaug.data.folder import index_folder

PLANTED = 1000
SHOWN = 100
Edit = Callable[[Image.Image], Image.Image]


def recompressed(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=50)
    return Image.open(buffer)


def resized(image: Image.Image) -> Image.Image:
    small = round(0.9 * image.width)
    bicubic = Image.Resampling.BICUBIC
    return image.resize((small, small), bicubic).resize(image.size, bicubic)


def brighter(image: Image.Image) -> Image.Image:
    return image.point(lambda level: min(round(level * 1.05), 255))


def shifted(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image)
    return Image.fromarray(np.concatenate([pixels[:, :1], pixels[:, :-1]], axis=1))


def blurred(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(0.7))


EDITS: dict[str, Edit] = {
    "JPEG quality 50": recompressed, "90 % and back": resized, "5 % brighter": brighter,
    "one pixel right": shifted, "blur, σ = 0.7": blurred,
}  # fmt: skip


def edited(pixels: np.ndarray, edit: Edit) -> np.ndarray:
    """uint8 [M, C, S, S], each image after the edit."""
    changed = [np.asarray(edit(as_image(x))) for x in pixels]
    return np.stack([x[None] if x.ndim == 2 else x.transpose(2, 0, 1) for x in changed])


def as_image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))


def share_found(pixels: np.ndarray, edit: Edit) -> float:
    """Share of edited images that are paired with their original among all others."""
    originals = np.random.default_rng(0).choice(len(pixels), PLANTED, replace=False)
    both = np.concatenate([pixels, edited(pixels[originals], edit)])
    pairs = {(i, j) for i, j in near_duplicates(both).tolist()}
    found = [(i, len(pixels) + k) in pairs for k, i in enumerate(originals.tolist())]
    return float(np.mean(found))


def similar_hashes(pixels: np.ndarray) -> int:
    """Pairs whose hashes alone would make them candidates."""
    hashes = perceptual_hashes(pixels)
    least = 64 - duplicates.SAME_BITS
    return sum(
        int((np.bitwise_count(hashes[i + 1 :] ^ one) <= least).sum())
        for i, one in enumerate(hashes)
    )


def sheet(pixels: np.ndarray, pairs: np.ndarray) -> Image.Image:
    """Pairs side by side, ten in a row, each pixel three wide."""
    side, columns = 3 * pixels.shape[-1], 10
    width, height = 2 * side + 12, side + 8
    rows = max(-(-len(pairs) // columns), 1)
    page = Image.new("RGB", (columns * width, rows * height), "white")
    for n, pair in enumerate(pairs):
        for k, i in enumerate(pair):
            picture = as_image(pixels[i]).convert("RGB").resize((side, side), 0)
            page.paste(picture, (n % columns * width + k * (side + 2), n // columns * height))
    return page


def row(name: str, pixels: np.ndarray, pictures: Path) -> str:
    started = time.perf_counter()
    pairs = near_duplicates(pixels)
    seconds = time.perf_counter() - started
    # With any surroundings accepted, only the correlation decides.
    with patch.object(duplicates, "TIMES_NEARER", 1e-3):
        by_correlation = near_duplicates(pixels)
    largest = int(np.bincount(components(len(pixels), pairs)).max())
    chained = int(np.bincount(components(len(pixels), by_correlation)).max())
    for n, start in enumerate(range(0, len(pairs), SHOWN)):
        page = sheet(pixels, pairs[start : start + SHOWN])
        page.save(pictures / f"{name}-{pixels.shape[-1]}-{n}.png")
    found = [f"{100 * share_found(pixels, edit):.0f} %" for edit in EDITS.values()]
    cells = [
        f"{name}, {pixels.shape[-1]}x{pixels.shape[-1]}", f"{len(pixels):,}",
        f"{similar_hashes(pixels):,}", f"{len(by_correlation):,} ({chained:,})",
        f"{len(pairs):,} ({largest})", *found, f"{seconds:.1f}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main() -> None:
    mnist, cifar, pictures = map(Path, sys.argv[1:])
    pictures.mkdir()
    print("```\npython benchmarks/duplicates.py MNIST CIFAR10 PICTURES\n```\n")
    print(
        f"{mnist.name}, {cifar.name} and scikit-learn's digits; {os.cpu_count()} cores, "
        f"{platform.machine()}, numpy {np.__version__}, {datetime.now(UTC):%Y-%m-%d}\n"
    )
    heads = [
        "images", "number", "similar hashes", "r ≥ 0.9", "near duplicates", *EDITS, "seconds",
    ]  # fmt: skip
    print(f"| {' | '.join(heads)} |\n| --- |{' ---: |' * (len(heads) - 1)}")
    digits = np.rint(load_digits().images * (255 / 16)).astype(np.uint8)[:, None]
    print(row("digits", digits, pictures), flush=True)
    for folder, channels, sizes in ((mnist, 1, (16, 28, 32)), (cifar, 3, (16, 32))):
        index = index_folder(folder)
        for size in sizes:
            pixels = decode_images(index, size=size, channels=channels).pixels
            print(row(folder.name, pixels, pictures), flush=True)


if __name__ == "__main__":
    main()
