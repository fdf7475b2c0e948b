"""Replacing the written folders of a run together, and only those this program wrote.

New files are built in a staging folder. Renaming it to ``.synthaug-ready`` is the one atomic
decision: before it nothing has changed, after it the swap is carried through, by the next call if
this process dies on the way. The receipt ``generate.json`` leaves first and arrives last: where it
is, everything it speaks of is there too.
"""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from synthaug.errors import DataError

SYNTHETIC = "synthetic"
BALANCED = "balanced"
MANIFEST = "synthaug_manifest.jsonl"
RECEIPT = "generate.json"
TABLE = "selection.parquet"
CARD = "README.md"
"""In ``balanced/``, written again by whoever has something new to say; no image and not listed."""
WRITING = ".synthaug-writing"
_READY = ".synthaug-ready"
_ARRIVING = ".synthaug-arriving"
_PREVIOUS = ".synthaug-previous"
_ARRIVALS = (SYNTHETIC, BALANCED, MANIFEST, TABLE, RECEIPT)
# Browsing a folder creates these; they carry nothing of the user's.
_DROPPINGS = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})


def prepare(run_dir: Path) -> None:
    """Finish an interrupted swap, clear an abandoned staging folder and guard foreign files.

    Raises:
        DataError: when ``synthetic/`` or ``balanced/`` holds something the manifest does not list.
    """
    finish(run_dir)
    _refuse_foreign_files(run_dir)
    shutil.rmtree(run_dir / WRITING, ignore_errors=True)


def commit(run_dir: Path) -> None:
    """Put the complete staging folder in the place of the earlier result."""
    os.replace(run_dir / WRITING, run_dir / _READY)
    finish(run_dir)


def finish(run_dir: Path) -> None:
    """Carry a decided swap to its end; do nothing when there is none."""
    ready, arriving, previous = (run_dir / name for name in (_READY, _ARRIVING, _PREVIOUS))
    if ready.exists():
        previous.mkdir(exist_ok=True)
        for name in reversed(_ARRIVALS):
            if (run_dir / name).exists():
                os.replace(run_dir / name, previous / name)
        # Another name, so that what arrives is never taken for what has to leave.
        os.replace(ready, arriving)
    if arriving.exists():
        for name in _ARRIVALS:
            if (arriving / name).exists():
                os.replace(arriving / name, run_dir / name)
        arriving.rmdir()
    shutil.rmtree(previous, ignore_errors=True)


def _refuse_foreign_files(run_dir: Path) -> None:
    listed = _listed_files(run_dir / MANIFEST)
    for top in (SYNTHETIC, BALANCED):
        for found in _files_below(run_dir / top):
            file = found.relative_to(run_dir).as_posix()
            if file not in {*listed, f"{BALANCED}/{CARD}"} and found.name not in _DROPPINGS:
                raise DataError(
                    f"{found} was not written by this run, and writing would replace {top}/",
                    expected=f"only files that {MANIFEST} lists",
                    remedy=f"move {file} out of {run_dir / top}",
                )


def _files_below(top: Path) -> Iterator[Path]:
    """Yield everything at or below ``top`` that is not a real folder."""
    if top.is_symlink() or top.is_file():
        yield top
        return
    for folder, subfolders, files in os.walk(top):
        for name in (*files, *subfolders):
            path = Path(folder, name)
            if name in files or path.is_symlink():
                yield path


def _listed_files(manifest: Path) -> set[str]:
    if not manifest.is_file():
        return set()
    try:
        lines = manifest.read_bytes().decode().split("\n")
        return {str(json.loads(line)["file"]) for line in lines if line.strip()}
    except (ValueError, KeyError, TypeError) as exc:
        raise DataError(
            f"{manifest} cannot be read: {exc}",
            expected="one JSON object with a file a line",
            remedy="restore it, or move it and the folders it describes elsewhere",
        ) from exc
