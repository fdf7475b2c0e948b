"""Disk space: what each verb will take, told in the plan and checked before any work is done.

All numbers are upper bounds: a verb that starts has room to end, as long as nothing else fills the
disk meanwhile.
"""

import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from synthaug.balance.plan import BalancePlan
from synthaug.errors import ResourceError
from synthaug.recipe import Recipe

DRAW_AT_MOST = 2.0
"""Candidates for each image wanted, where nothing is selected but what is broken is replaced."""
WEIGHT_BYTES = 4
STATE_BYTES = 24
"""Of each weight to go on training, float32: itself, its average (twice, once to draw with), the
best average on held-out images, and the two moments of Adam."""
CHECKPOINTS_AT_ONCE = 3
"""The last two valid ones, and the new one that is durable before the oldest is removed."""
RECORD_BYTES = 1024
"""What JSON and tables say of one image, at most."""
PNG_OVERHEAD = 128
"""Of a PNG that does not compress, over its pixels and a byte a row."""
FEATURE_BYTES = 2**20
"""Of one classifier of `evaluate`: the features that tell of neural collapse."""
SMALL_FILES = 4 * 2**20
"""Logs, pictures and the report."""
UNITS = ("bytes", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class DiskNeed:
    """Bytes that each verb takes in the run folder, at most."""

    fit: int
    generate: int
    evaluate: int


def fit_bytes(pixels: int, n_images: int, n_parameters: int, n_specialists: int) -> int:
    """Bytes of `fit`: `pixels` is the size of all decoded images, of which there are `n_images`."""
    checkpoints = CHECKPOINTS_AT_ONCE * STATE_BYTES + WEIGHT_BYTES * n_specialists
    return pixels + n_images * RECORD_BYTES + n_parameters * checkpoints + SMALL_FILES


def generate_bytes(
    plan: BalancePlan, image_shape: tuple[int, ...], recipe: Recipe, block: int = 4096
) -> int:
    """Bytes of `generate`: candidates, both folders and their records.

    Images are uint8 of `image_shape` [C, H, W]; a file takes whole blocks of the file system.
    """
    at_most = recipe.selection.draw_at_most if recipe.selection.enabled else DRAW_AT_MOST
    candidates = sum(math.ceil(n * at_most) for n in plan.n_new)
    pixels = math.prod(image_shape)
    file = math.ceil((pixels + image_shape[-2] + PNG_OVERHEAD) / block) * block
    n_files = sum(plan.counts) + 2 * plan.total_new
    return (
        candidates * (pixels + RECORD_BYTES) + n_files * (file + RECORD_BYTES) + SMALL_FILES
    )  # fmt: skip


def evaluate_bytes(n_classifiers: int, n_test: int, n_classes: int) -> int:
    """Bytes of `evaluate`: the predictions of every classifier on the test images, and the page."""
    return n_classifiers * (n_test * (n_classes + 2) * WEIGHT_BYTES + FEATURE_BYTES) + SMALL_FILES


def require_room(place: Path, need: int, verb: str) -> None:
    """Raise `ResourceError` with both numbers where fewer than `need` bytes are free."""
    free = free_bytes(place)
    if need > free:
        raise ResourceError(
            f"{verb} may take {in_words(need)} in {place}, where {in_words(free)} are free",
            remedy="free some space, ask for fewer images, or put the run folder on another disk",
        )


def room_notice(place: Path, need: DiskNeed) -> str | None:
    """What to say when `fit` has room but the verbs after it may not."""
    total, free = need.fit + need.generate + need.evaluate, free_bytes(place)
    if total <= free:
        return None
    return (
        f"fit, generate and evaluate together may take {in_words(total)} in {place}, where "
        f"{in_words(free)} are free"
    )


def require_writable(folder: Path) -> None:
    """Raise `ResourceError` unless files can be made in `folder`, or `folder` itself be made.

    Asks the system instead of trying, so nothing is left behind.
    """
    parent = existing(folder)
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        why = "is no folder" if not parent.is_dir() else "is read-only or belongs to somebody else"
        raise ResourceError(
            f"cannot write to {folder}: {parent} {why}",
            remedy="choose another folder with --run or --out, or start in one of your own",
        )


def free_bytes(place: Path) -> int:
    """Bytes that this user may still write on the disk of `place`, which need not exist yet."""
    return shutil.disk_usage(existing(place)).free


def block_bytes(place: Path) -> int:
    """Bytes of the smallest file on the disk of `place`."""
    return os.statvfs(existing(place)).f_frsize


def bytes_below(folder: Path) -> int:
    """Bytes of all files below a folder, 0 if there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def existing(path: Path) -> Path:
    """The path itself or the nearest thing above it that exists."""
    return next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())


def in_words(n: float) -> str:
    """Bytes in the largest unit that leaves a whole number: 512 bytes, 40 MB, 1.5 GB."""
    for unit in UNITS:
        if n < 1000 or unit == UNITS[-1]:
            break
        n /= 1000
    return f"{n:.0f} {unit}" if n >= 10 or unit == "bytes" else f"{n:.1f} {unit}"
