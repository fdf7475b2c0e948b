"""The synthetic images of a run, read back from the files a user can see and delete."""

import json
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from synthaug.data.swap import MANIFEST, RECEIPT, finish
from synthaug.errors import DataError, UsageError
from synthaug.stages.class_files import read_class
from synthaug.stages.dataset import Dataset
from synthaug.stages.run_dir import RunDir


def read_manifest(run: RunDir) -> list[dict[str, Any]]:
    """The records of all files that `generate` wrote. Raises `UsageError` before it did."""
    finish(run.path)  # a generate that was killed while swapping folders is completed first
    if not (run.has(MANIFEST) and run.has(RECEIPT)):
        raise UsageError(
            f"run {run.path} has no synthetic images",
            remedy="run `synthaug generate --balance` first",
        )
    return [json.loads(line) for line in (run / MANIFEST).read_text(encoding="utf-8").splitlines()]


def read_synthetic(run: RunDir, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """(images uint8 [N, C, H, W], labels int64 [N]) of `synthetic/`, in the manifest's order.

    Raises `UsageError` before `generate` and `DataError` naming a file that is missing or broken.
    """
    number = {name: k for k, name in enumerate(dataset.class_names)}
    mode = "L" if dataset.channels == 1 else "RGB"
    images, labels = [], []
    for record in read_manifest(run):
        if record["file"].startswith("synthetic/"):
            path = run / record["file"]
            try:
                with Image.open(path) as image:
                    pixels = np.asarray(image.convert(mode))
            except (OSError, UnidentifiedImageError) as error:
                raise DataError(
                    f"{path} cannot be read", remedy="run `synthaug generate --balance` again"
                ) from error
            images.append(pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1))
            labels.append(number[record["class_name"]])
    empty = np.empty((0, *dataset.pixels.shape[1:]), np.uint8)
    return np.stack(images) if images else empty, np.array(labels, dtype=np.int64)


def was_selected(run: RunDir) -> bool:
    """Whether `generate` selected among candidates, so that an unfiltered set differs."""
    return run.has(RECEIPT) and "selector" in run.read_json(RECEIPT)


def read_unfiltered(run: RunDir, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """What `generate` would have written without selection, as `read_synthetic` returns it.

    Of each class the first candidates that are no broken images, as many as its plan asked for.
    Raises `UsageError` before `generate` and `DataError` if its candidates are gone.
    """
    if not run.has(RECEIPT):
        raise UsageError(
            f"run {run.path} has no synthetic images",
            remedy="run `synthaug generate --balance` first",
        )
    made = run.read_json(RECEIPT)
    images = [np.empty((0, *dataset.pixels.shape[1:]), np.uint8)]
    labels = [np.empty(0, np.int64)]
    for k, name in enumerate(dataset.class_names):
        wanted = made["counts"].get(name, 0) + made["shortfall"].get(name, 0)
        if not wanted:
            continue
        kept = read_class(run, dataset, k)
        if kept is None:
            raise DataError(
                f"{run / 'candidates'} lacks the candidates of class {name!r}",
                remedy="run `synthaug generate` again",
            )
        first = kept[1].unfiltered[:wanted]
        images.append(kept[1].images[first])
        labels.append(np.full(len(first), k, dtype=np.int64))
    return np.concatenate(images), np.concatenate(labels)
