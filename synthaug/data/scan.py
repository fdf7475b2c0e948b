"""A deterministic walk over image files that neither loops nor leaves the folder by itself."""

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

LINK_OUT = "link that leads out of the folder"

_RealFolder = tuple[int, int]


@dataclass(frozen=True)
class FoundImage:
    """One image file: POSIX path relative to the scanned root, and size in bytes."""

    path: str
    size: int


def subfolders(
    root: Path, ignored: Counter[str], *, follow_links: bool = False
) -> tuple[list[FoundImage], list[str]]:
    """Return the image files directly in ``root`` and the names of its visible subfolders, sorted.

    Entries passed over are added to ``ignored`` by reason; unless ``follow_links``, so are links
    that lead out of ``root``.

    Raises:
        DataError: when ``root`` cannot be listed or a subfolder's name is not valid UTF-8.
    """
    images: list[FoundImage] = []
    folders: list[str] = []
    for entry, status in _entries(root, ignored, _fence(root, follow_links)):
        if stat.S_ISDIR(status.st_mode):
            refuse_undecodable_folder(str(root), entry.name)
            folders.append(entry.name)
        elif _accept_file(entry.name, status, ignored):
            images.append(FoundImage(entry.name, status.st_size))
    return images, folders


def scan_images(
    root: Path,
    top: str,
    all_tops: Collection[str],
    ignored: Counter[str],
    *,
    follow_links: bool = False,
) -> list[FoundImage]:
    """Collect the image files below ``root/top`` at any depth.

    A link to a folder is followed once; a link back to ``root``, to a folder around it or to a
    sibling among ``all_tops`` is passed over, since it would loop or give images a second label.
    So is a link out of ``root`` unless ``follow_links``: it may read what the user never meant to
    hand over.

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

    fence = _fence(root, follow_links)
    images: list[FoundImage] = []
    pending = [(start, top)]
    while pending:
        folder, prefix = pending.pop()
        for entry, status in _entries(folder, ignored, fence):
            path = f"{prefix}/{entry.name}"
            if stat.S_ISDIR(status.st_mode):
                real = (status.st_dev, status.st_ino)
                if real in seen:
                    ignored["link to a folder already read"] += 1
                    continue
                seen.add(real)
                pending.append((Path(entry.path), path))
            elif _accept_file(entry.name, status, ignored) and accept_utf8(path, ignored):
                images.append(FoundImage(path, status.st_size))
    return images


def passed_over_name(name: str, *, is_folder: bool) -> str:
    """Why an entry with this name is never looked at, or "" when it is."""
    if name.startswith("."):
        return "hidden"
    return "system folder" if is_folder and name.startswith("__") else ""


def accept_extension(name: str, ignored: Counter[str]) -> bool:
    """Whether a file name is that of an image; if not, count why."""
    extension = os.path.splitext(name)[1].lower()
    if extension in EXTENSIONS:
        return True
    known = extension in _UNREAD_FORMATS
    ignored[f"unsupported format {extension}" if known else "not an image"] += 1
    return False


def accept_utf8(path: str, ignored: Counter[str]) -> bool:
    """Whether a path can be written down; if not, count it."""
    if is_utf8(path):
        return True
    ignored["file name is not valid UTF-8"] += 1
    return False


def refuse_undecodable_folder(origin: str, name: str) -> None:
    """Refuse a class folder whose name cannot be written down.

    Raises:
        DataError: naming it.
    """
    if not is_utf8(name):
        raise DataError(
            f"the folder name {name!a} in {origin} is not valid UTF-8",
            remedy="rename it: it would be the name of a class",
        )


def is_utf8(text: str) -> bool:
    """Whether a text, such as a name from a file system, has an encoding in UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def leads_out(path: str, fence: str) -> bool:
    """Whether a path, its links followed, lies outside the real folder ``fence``."""
    return not Path(os.path.realpath(path)).is_relative_to(fence)


def _entries(
    folder: Path, ignored: Counter[str], fence: str | None
) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
    """Yield the visible entries of a folder with the status of what they lead to.

    Real entries come before links and names in order, so that what a link adds is deterministic.
    Links must lead to something inside ``fence``, where there is one.
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
        if fence is not None and entry.is_symlink() and leads_out(entry.path, fence):
            ignored[LINK_OUT] += 1
            continue
        reason = passed_over_name(entry.name, is_folder=stat.S_ISDIR(status.st_mode))
        if reason:
            ignored[reason] += 1
            continue
        yield entry, status


def _accept_file(name: str, status: os.stat_result, ignored: Counter[str]) -> bool:
    if not stat.S_ISREG(status.st_mode):
        # Opening a named pipe would wait for ever.
        ignored["not a regular file"] += 1
        return False
    return accept_extension(name, ignored)


def _fence(root: Path, follow_links: bool) -> str | None:
    return None if follow_links else os.path.realpath(root)


def _real(folder: Path) -> _RealFolder:
    status = folder.stat()
    return status.st_dev, status.st_ino
