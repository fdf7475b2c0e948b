"""The folders a user can train on, and the manifest that says where every file comes from.

A run folder gets ``synthetic/<class>/``, ``balanced/<class>/`` and ``synthaug_manifest.jsonl``.
They are written aside and swapped in together; nothing else in the run folder is touched.
"""

import io
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from synthaug.data.names import folder_names
from synthaug.data.pixels import content_hash
from synthaug.data.swap import (
    BALANCED,
    MANIFEST,
    RECEIPT,
    SYNTHETIC,
    TABLE,
    WRITING,
    commit,
    prepare,
)
from synthaug.errors import ResourceError

__all__ = [
    "BALANCED",
    "MANIFEST",
    "SYNTHETIC",
    "Provenance",
    "folder_names",
    "write_balanced",
    "write_jsonl",
    "write_manifest",
    "write_png",
]


@dataclass(frozen=True)
class Provenance:
    """One line of the manifest: where one written file comes from.

    ``file``, ``class_name`` and ``content`` are filled in by the writer. A real image has
    ``original``; a synthetic one has the fields after it.

    Attributes:
        source: "real" or "synthetic".
        file: POSIX path relative to the run folder.
        class_name: the class as the dataset names it, which its folder may not.
        content: SHA-256 (hex) of size and pixels, equal for identical images.
        original: path of the real image relative to its dataset.
        checkpoint: hash of the checkpoint.
        denoiser: "base" or "specialist".
        seed: seed of this image.
        sampler: name of the sampler.
        steps: sampler steps.
        nfe: network evaluations for this image.
        cfg_scale: guidance scale, 1 when off.
        mode: "sample" from pure noise, "variation" of a train image or "interpolate" between two.
        strength: share of the noise that was put on the train images, in (0, 1].
        sources: paths of those train images relative to their dataset.
        lam: weight of the second of two, "lambda" in the record.
        eta: noise of DDIM; None where there is none.
        scores: what selection found, by name; see the columns of selection.parquet.
    """

    source: str
    file: str = ""
    class_name: str = ""
    content: str = ""
    original: str | None = None
    checkpoint: str | None = None
    denoiser: str | None = None
    seed: int | None = None
    sampler: str | None = None
    steps: int | None = None
    nfe: int | None = None
    cfg_scale: float | None = None
    mode: str | None = None
    strength: float | None = None
    sources: tuple[str, ...] | None = None
    lam: float | None = None
    eta: float | None = None
    scores: Mapping[str, float] | None = None

    def to_record(self) -> dict[str, Any]:
        """The fields that are set, ready for JSON."""
        names = {"lam": "lambda"}  # a word that Python keeps for itself
        record = {names.get(key, key): value for key, value in asdict(self).items()}
        return {key: value for key, value in record.items() if value is not None}


def write_png(path: Path, image: np.ndarray) -> None:
    """Write a uint8 image [C, H, W], C = 1 (grey) or 3 (RGB), whole or not at all.

    Raises:
        ResourceError: when the file cannot be written.
    """
    _write_bytes(path, _png(image))


def write_jsonl(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object a line (UTF-8), whole or not at all.

    Raises:
        ResourceError: when the file cannot be written.
    """
    lines = (json.dumps(record, ensure_ascii=False, allow_nan=False) for record in records)
    _write_bytes(path, "".join(f"{line}\n" for line in lines).encode())


def write_manifest(path: Path, entries: Iterable[Provenance]) -> None:
    """Write the manifest, one entry a line.

    Raises:
        ResourceError: when the file cannot be written.
    """
    write_jsonl(path, (entry.to_record() for entry in entries))


def write_balanced(
    run_dir: Path,
    class_names: Sequence[str],
    real_pixels: np.ndarray,
    real_labels: np.ndarray,
    real_paths: Sequence[str],
    synthetic_pixels: np.ndarray,
    synthetic_labels: np.ndarray,
    provenance: Sequence[Provenance],
    *,
    beside: Mapping[str, bytes] | None = None,
    advance: Callable[[int], None] | None = None,
) -> Path:
    """Write ``synthetic/``, ``balanced/`` and the manifest, replacing earlier ones together.

    Real and synthetic images get the same file format, so that only the content tells them apart.
    File names are ``synthetic/<class>/000000.png``, ``balanced/<class>/real-000000.png`` and
    ``balanced/<class>/synthetic-000000.png``; see `folder_names` for ``<class>``.

    Args:
        run_dir: an existing folder.
        class_names: K names.
        real_pixels: uint8 [N, C, H, W], the real train images as the generator saw them.
        real_labels: int [N], positions in ``class_names``.
        real_paths: N paths of the originals, for the manifest.
        synthetic_pixels: uint8 [S, C, H, W].
        synthetic_labels: int [S].
        provenance: S entries with ``source="synthetic"``, one an image.
        beside: the content of ``generate.json`` and ``selection.parquet``, which are replaced in
            the same step; one that is not given is removed.
        advance: called with the number of files written since the last call.

    Returns:
        The path of ``balanced/``.

    Raises:
        DataError: when an earlier ``synthetic/`` or ``balanced/`` holds files that its manifest
            does not list; nothing is changed then.
        ResourceError: when the disk gives out; the earlier result stays.
    """
    assert len(real_pixels) == len(real_labels) == len(real_paths)
    assert len(synthetic_pixels) == len(synthetic_labels) == len(provenance)
    folders = folder_names(class_names)
    with _disk_errors(run_dir):
        prepare(run_dir)
        staging = run_dir / WRITING
        staging.mkdir()
        try:
            for top in (SYNTHETIC, BALANCED):
                (staging / top).mkdir()
            entries: list[Provenance] = []
            for label, name in enumerate(class_names):
                own = np.flatnonzero(np.asarray(real_labels) == label).tolist()
                made = np.flatnonzero(np.asarray(synthetic_labels) == label).tolist()
                real = [Provenance("real", original=real_paths[i]) for i in own]
                entries += _write_class(
                    staging, name, folders[name], real_pixels[own], real, "real-", [BALANCED],
                    advance,
                )  # fmt: skip
                entries += _write_class(
                    staging,
                    name,
                    folders[name],
                    synthetic_pixels[made],
                    [provenance[i] for i in made],
                    "synthetic-",
                    [SYNTHETIC, BALANCED],
                    advance,
                )
            write_manifest(staging / MANIFEST, entries)
            for file, content in (beside or {}).items():
                assert file in (RECEIPT, TABLE)
                _write_bytes(staging / file, content)
            commit(run_dir)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return run_dir / BALANCED


def _write_class(
    staging: Path,
    class_name: str,
    folder: str,
    pixels: np.ndarray,
    origins: Sequence[Provenance],
    prefix: str,
    tops: Sequence[str],
    advance: Callable[[int], None] | None,
) -> list[Provenance]:
    """Write the images [n, C, H, W] of one class and source below each of ``tops``."""
    entries = []
    if len(pixels):
        for top in tops:
            (staging / top / folder).mkdir(exist_ok=True)
    for number, (image, origin) in enumerate(zip(pixels, origins, strict=True)):
        png, content = _png(image), content_hash(image.transpose(1, 2, 0))
        for top in tops:
            file = f"{top}/{folder}/{prefix if top == BALANCED else ''}{number:06d}.png"
            _write_bytes(staging / file, png)
            entries.append(replace(origin, file=file, class_name=class_name, content=content))
        if advance is not None:
            advance(len(tops))
    return entries


def _png(image: np.ndarray) -> bytes:
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[0] in (1, 3)
    upright = image[0] if image.shape[0] == 1 else image.transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(upright)).save(buffer, format="PNG")
    return buffer.getvalue()


def _write_bytes(path: Path, content: bytes) -> None:
    # The process id alone keeps the name short: class folders may use all of the path's length.
    temporary = path.with_name(f".{os.getpid()}.tmp")
    with _disk_errors(path):
        try:
            temporary.write_bytes(content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise ResourceError(
            f"cannot write {path}: {exc.strerror or exc}",
            remedy="free some space or check the permissions, then run the command again",
        ) from exc
