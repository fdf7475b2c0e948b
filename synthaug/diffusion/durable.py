"""Folders that are on disk whole or not at all, whenever the power goes.

A folder is filled under the name ``<name>.tmp-<pid>``. Its files are synced, then its manifest with
their sizes and hashes is written and synced, and only then does the folder get its name, which
nothing had before. A folder whose manifest does not verify is not a checkpoint.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from synthaug.errors import DataError, ResourceError

FORMAT = 1
MANIFEST = "manifest.json"
WRITERS = ("synthaug", "torch", "diffusers")


def write_whole(
    folder: Path, fill: Callable[[Path], None], *, config: str = ""
) -> dict[str, dict[str, Any]]:
    """Create `folder` with what `fill` writes into it; size and sha256 of every file.

    `config` is a hash of what the content depends on; it stands in the manifest, beside the
    versions of what wrote it. Raises `FileExistsError` if `folder` exists.
    """
    if folder.exists():
        raise FileExistsError(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    tmp = folder.with_name(f"{folder.name}.tmp-{os.getpid()}")
    shutil.rmtree(tmp, ignore_errors=True)
    try:
        tmp.mkdir()
        fill(tmp)
        files = sorted(p for p in tmp.rglob("*") if p.is_file())
        for path in files:  # safetensors keeps its files from everybody but their owner
            path.chmod(tmp.stat().st_mode & 0o666)
        for path in [*files, *(p for p in tmp.rglob("*") if p.is_dir())]:
            sync(path)
        listed = {
            p.relative_to(tmp).as_posix(): {"bytes": p.stat().st_size, "sha256": file_sha256(p)}
            for p in files
        }
        versions = {name: version(name) for name in WRITERS}
        manifest = {"format": FORMAT, "versions": versions, "config": config, "files": listed}
        write_json(tmp / MANIFEST, manifest)
        for path in (tmp / MANIFEST, tmp):
            sync(path)
        os.replace(tmp, folder)
        sync(folder.parent)
    except BaseException as error:
        shutil.rmtree(tmp, ignore_errors=True)
        if isinstance(error, SafetensorError):  # it has no word of its own for a full disk
            raise ResourceError(
                f"cannot write {folder} ({error})", remedy="free some space, then go on"
            ) from error
        raise
    return listed


def read_manifest(folder: Path, needed: Iterable[str]) -> dict[str, Any]:
    """The manifest of a folder that is to hold the `needed` files, without a look at any of them.

    Raises `DataError` if it is missing, of another format, or lists too little.
    """
    try:
        manifest: Any = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder} is not a complete checkpoint ({type(error).__name__})",
            remedy="run `synthaug fit` again",
        ) from error
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != FORMAT:
        raise DataError(
            f"{folder / MANIFEST} has format {found}",
            expected=f"format {FORMAT}",
            remedy="use the synthaug version that wrote it",
        )
    files = manifest.get("files")
    if not isinstance(files, dict) or not set(needed) <= files.keys():
        raise DataError(
            f"{folder / MANIFEST} does not list the files of a checkpoint",
            remedy="run `synthaug fit` again",
        )
    return {"config": "", "versions": {}, **manifest}


def verify(folder: Path, needed: Iterable[str] = ()) -> dict[str, Any]:
    """The manifest, after every file in it was found to have its size and hash.

    Raises `DataError` naming the first file that is missing or differs.
    """
    manifest = read_manifest(folder, needed)
    for name, expected in manifest["files"].items():
        path = folder / name
        if not _matches(path, expected):
            raise DataError(
                f"checkpoint file {path} is missing or does not match its manifest",
                remedy="restore it from a copy or run `synthaug fit` again",
            )
    return manifest


def numbered(parent: Path) -> list[Path]:
    """All folders ``ckpt-<step>`` under `parent`, valid or not, the highest step first."""
    # A killed save leaves its folder under the temporary name, perhaps with a manifest in it.
    named = [p for p in parent.glob("ckpt-*") if p.name.removeprefix("ckpt-").isdigit()]
    return sorted(named, key=lambda p: int(p.name.removeprefix("ckpt-")), reverse=True)


def rotate(parent: Path, keep: int) -> None:
    """Remove all but the `keep` newest checkpoints under `parent`."""
    for older in numbered(parent)[keep:]:
        shutil.rmtree(older, ignore_errors=True)


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def sync(path: Path) -> None:
    """Have the system put a file or a folder's list of names on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _matches(path: Path, expected: dict[str, Any]) -> bool:
    # The size first: it tells of a truncated file without reading a gigabyte.
    return (
        path.is_file()
        and path.stat().st_size == expected["bytes"]
        and file_sha256(path) == expected["sha256"]
    )
