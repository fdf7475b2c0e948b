"""A deterministic walk over image files that follows links without going round in circles."""

import os
import stat
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from synthaug.errors import DataError

EXTENSIONS = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}
)
# Images to a person, but not to this program: counted apart so that nobody misses them unawares.
_UNREAD_FORMATS = frozenset(
    {".avif", ".dcm", ".heic", ".heif", ".jp2", ".jxl", ".nii", ".npy", ".npz", ".svg"}
)

_RealFolder = tuple[int, int]


@dataclass(frozen=True)
class FoundImage:
    """One image file: POSIX path relative to the scanned root, and size in bytes."""

    path: str
    size: int


def subfolders(root: Path, ignored: Counter[str]) -> tuple[list[FoundImage], list[str]]:
    """Return the image files directly in ``root`` and the names of its visible subfolders, sorted.

    Entries passed over are added to ``ignored`` by reason.

    Raises:
        DataError: when ``root`` cannot be listed or a subfolder's name is not valid UTF-8.
    """
    images: list[FoundImage] = []
    folders: list[str] = []
    for entry, status in _entries(root, ignored):
        if stat.S_ISDIR(status.st_mode):
            if not _is_utf8(entry.name):
                raise DataError(
                    f"the folder name {entry.name!a} in {root} is not valid UTF-8",
                    remedy="rename it: it would be the name of a class",
                )
            folders.append(entry.name)
        elif _accept_file(entry.name, status, ignored):
            images.append(FoundImage(entry.name, status.st_size))
    return images, folders


def scan_images(
    root: Path, top: str, all_tops: Collection[str], ignored: Counter[str]
) -> list[FoundImage]:
    """Collect the image files below ``root/top`` at any depth.

    A link to a folder is followed once; a link back to ``root``, to a folder around it or to a
    sibling among ``all_tops`` is passed over, since it would loop or give images a second label.

    Raises:
        DataError: when a folder cannot be listed.
    """
    start = root / top
    seen = {_real(folder) for folder in (root.resolve(), *root.resolve().parents)}
    if _real(start) in seen:
        ignored["link to a folder already read"] += 1
        return []
    seen |= {_real(root / other) for other in all_tops if other != top}
    seen.add(_real(start))

    images: list[FoundImage] = []
    pending = [(start, top)]
    while pending:
        folder, prefix = pending.pop()
        for entry, status in _entries(folder, ignored):
            path = f"{prefix}/{entry.name}"
            if stat.S_ISDIR(status.st_mode):
                real = (status.st_dev, status.st_ino)
                if real in seen:
                    ignored["link to a folder already read"] += 1
                    continue
                seen.add(real)
                pending.append((Path(entry.path), path))
            elif _accept_file(entry.name, status, ignored) and _accept_name(path, ignored):
                images.append(FoundImage(path, status.st_size))
    return images


def _entries(
    folder: Path, ignored: Counter[str]
) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
    """Yield the visible entries of a folder with the status of what they lead to.

    Real entries come before links and names in order, so that what a link adds is deterministic.
    """
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: (entry.is_symlink(), entry.name))
    except OSError as exc:
        raise DataError(
            f"the folder {folder} cannot be listed: {exc.strerror}", remedy="check its permissions"
        ) from exc
    for entry in entries:
        if entry.name.startswith("."):
            ignored["hidden"] += 1
            continue
        try:
            status = entry.stat()
        except OSError:
            # A link to nowhere, a link to itself, or a file deleted during the scan.
            ignored["broken link"] += 1
            continue
        if entry.name.startswith("__") and stat.S_ISDIR(status.st_mode):
            ignored["system folder"] += 1
            continue
        yield entry, status


def _accept_file(name: str, status: os.stat_result, ignored: Counter[str]) -> bool:
    extension = os.path.splitext(name)[1].lower()
    if not stat.S_ISREG(status.st_mode):
        # Opening a named pipe would wait for ever.
        ignored["not a regular file"] += 1
    elif extension in EXTENSIONS:
        return True
    elif extension in _UNREAD_FORMATS:
        ignored[f"unsupported format {extension}"] += 1
    else:
        ignored["not an image"] += 1
    return False


def _accept_name(path: str, ignored: Counter[str]) -> bool:
    if _is_utf8(path):
        return True
    ignored["file name is not valid UTF-8"] += 1
    return False


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _real(folder: Path) -> _RealFolder:
    status = folder.stat()
    return status.st_dev, status.st_ino
