"""The images of a run as arrays: read from the user's folder once, then from the run folder."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from synthaug.data.folder import load_extra_folder
from synthaug.data.folds import make_folds
from synthaug.data.splits import Splits, cut_held_out, make_splits, refuse_thin_train
from synthaug.errors import DataError
from synthaug.recipe import DataSection, Recipe
from synthaug.stages.progress import Progress
from synthaug.stages.reading import (
    Reading,
    decode,
    read_images,
    reading_notices,
    refuse_synthetic,
)
from synthaug.stages.run_dir import RunDir
from synthaug.stages.signals import NOTHING_WRITTEN, READING_GRACE_SECONDS, stop_flag


@dataclass(frozen=True)
class Dataset:
    """Readable images of a folder, all of one size, and their splits.

    `pixels` uint8 [M, C, H, W], `labels` int64 [M], `paths` M names relative to `root`,
    `content_hashes` M sha256 of what the files decode to.
    """

    root: str
    name: str
    fingerprint: str
    class_names: tuple[str, ...]
    pixels: np.ndarray
    labels: np.ndarray
    paths: tuple[str, ...]
    content_hashes: tuple[str, ...]
    splits: Splits
    notices: tuple[str, ...]
    skipped: dict[str, str] = field(default_factory=dict)
    """Why each image that could not be read was left out, by its path."""
    together: np.ndarray | None = None
    """int64 [M], equal for images that belong on one side; None: no two do."""

    @property
    def image_size(self) -> int:
        return int(self.pixels.shape[-1])

    @property
    def channels(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    def part(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(images, labels) of some positions."""
        return self.pixels[positions], self.labels[positions]

    @property
    def train(self) -> tuple[np.ndarray, np.ndarray]:
        """The only images that anything may learn from."""
        return self.part(self.splits.train)

    @property
    def test(self) -> tuple[np.ndarray, np.ndarray]:
        return self.part(self.splits.test)

    def check(self) -> None:
        """Raise `DataError` unless every image has a class that exists and a place in the splits.

        What the user's folder holds is right by construction; a run folder may have been edited.
        """
        n, k = len(self.pixels), self.n_classes
        for what, found in (
            ("labels", self.labels),
            ("paths", self.paths),
            ("content_hashes", self.content_hashes),
        ):
            if len(found) != n:
                raise DataError(f"there are {n} images and {len(found)} {what}")
        wrong = np.flatnonzero((self.labels < 0) | (self.labels >= k))
        if len(wrong):
            first = wrong[0]
            raise DataError(
                f"{len(wrong)} labels are no class, the first is {self.labels[first]} of "
                f"{self.paths[first]}",
                expected=f"0 to {k - 1}, one of the {k} class names",
            )
        for side in ("train", "val", "test"):
            positions = getattr(self.splits, side)
            if len(positions) and not (positions.min() >= 0 and positions.max() < n):
                raise DataError(f"{side} names an image that is not among the {n}")

    def counts(self, positions: np.ndarray) -> np.ndarray:
        """Images per class among some positions, int64 [K]."""
        return np.bincount(self.labels[positions], minlength=self.n_classes)


def read_dataset(
    dataset: str | Path,
    section: DataSection,
    *,
    largest: int,
    seed: int,
    progress: Progress,
    test: bool = True,
) -> Dataset:
    """Scan, decode and split what the user named; nothing in it is changed.

    `largest` bounds the image size that is chosen when the recipe names none. Without `test`, all
    images are train images. Raises `DataError` when the dataset cannot be used.
    """
    with stop_flag(NOTHING_WRITTEN, grace=READING_GRACE_SECONDS):
        reading = read_images(str(dataset), section, largest=largest, progress=progress)
        refuse_synthetic(reading)
    splits = split_reading(reading, section, seed) if test else _all_train(reading)
    index, decoded = reading.index, reading.decoded
    return Dataset(
        root=index.origin if "://" in index.origin else str(Path(index.origin).resolve()),
        name=reading.name,
        fingerprint=index.fingerprint,
        class_names=index.class_names,
        pixels=decoded.pixels,
        labels=reading.labels,
        paths=reading.paths,
        content_hashes=decoded.content_hashes,
        splits=splits,
        notices=(*reading_notices(reading), *splits.notices),
        skipped={b.path: b.reason for b in decoded.bad},
        together=reading.together,
    )


def split_reading(reading: Reading, section: DataSection, seed: int) -> Splits:
    """The splits of a reading: the declared ones, a cut test split, or one of the folds.

    Raises `DataError` when there is too little to learn from or nothing to test on.
    """
    names, hashes = reading.index.class_names, reading.decoded.content_hashes
    drop_near = section.near_duplicates == "drop"
    try:
        if section.folds:
            folds = make_folds(
                reading.labels, hashes, reading.declared, class_names=names,
                folds=section.folds, together=reading.together, seed=seed,
                drop_near=drop_near, paths=reading.paths,
            )  # fmt: skip
            return folds[section.fold or 0]
        return make_splits(
            reading.labels, hashes, reading.declared, class_names=names,
            test_fraction=section.test_fraction, seed=seed, together=reading.together,
            drop_near=drop_near, paths=reading.paths,
        )  # fmt: skip
    except DataError as error:
        raise DataError(
            f"{reading.index.origin}: {error.found}", expected=error.expected, remedy=error.remedy
        ) from error


def _all_train(reading: Reading) -> Splits:
    """Every image in train. Raises `DataError` when there is too little to learn from."""
    everything, none = np.arange(len(reading.labels)), np.empty(0, np.int64)
    hashes, names = reading.decoded.content_hashes, reading.index.class_names
    refuse_thin_train(reading.labels, hashes, everything, names)
    return Splits(everything, none, none, ())


def read_extra(
    root: Path, dataset: Dataset, section: DataSection, progress: Progress
) -> tuple[np.ndarray, np.ndarray]:
    """(images, labels) of a folder of further real images, sized as the dataset's are.

    Raises `DataError` if any of them is also a test image: the oracle would be cheating.
    """
    index = load_extra_folder(root, dataset.class_names)
    size, channels = dataset.image_size, dataset.channels
    decoded = decode(index, section, size, channels, "reading extra images", progress)
    test = {dataset.content_hashes[i] for i in dataset.splits.test}
    leaked = [
        index.paths[i]
        for i, h in zip(decoded.kept, decoded.content_hashes, strict=True)
        if h in test
    ]
    if leaked:
        raise DataError(
            f"{len(leaked)} images under {root} are also test images, the first is {leaked[0]}",
            remedy="remove them from the extra folder",
        )
    return decoded.pixels, index.labels[decoded.kept]


def save_dataset(run: RunDir, dataset: Dataset) -> None:
    """Keep the decoded images and splits in the run folder, so later verbs decode nothing."""
    run.write_array("pixels.npy", dataset.pixels)
    splits = {side: getattr(dataset.splits, side).tolist() for side in ("train", "val", "test")}
    run.write_json("splits.json", splits)
    described = {
        "root": dataset.root,
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "class_names": dataset.class_names,
        "image_size": dataset.image_size,
        "channels": dataset.channels,
        "notices": dataset.notices,
        "skipped": dataset.skipped,
        "labels": dataset.labels.tolist(),
        "paths": dataset.paths,
        "content_hashes": dataset.content_hashes,
        "together": None if dataset.together is None else dataset.together.tolist(),
    }
    run.write_json("dataset.json", described)


def load_dataset(run: RunDir) -> Dataset:
    """The dataset as `fit` read it. Raises `DataError` if the run folder lacks or broke it."""
    described: dict[str, Any] = run.read_json("dataset.json")
    splits = {side: np.array(v, dtype=np.int64) for side, v in run.read_json("splits.json").items()}
    try:
        pixels = np.load(run / "pixels.npy", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{run / 'pixels.npy'} cannot be read", remedy="run `synthaug fit` again"
        ) from error
    together = described.get("together")
    dataset = Dataset(
        root=described["root"],
        name=described["name"],
        fingerprint=described["fingerprint"],
        class_names=tuple(described["class_names"]),
        pixels=pixels,
        labels=np.array(described["labels"], dtype=np.int64),
        paths=tuple(described["paths"]),
        content_hashes=tuple(described["content_hashes"]),
        splits=Splits(**splits, notices=(), crossings=()),
        notices=tuple(described["notices"]),
        skipped=described.get("skipped", {}),
        together=None if together is None else np.array(together, dtype=np.int64),
    )
    try:
        dataset.check()
    except DataError as error:
        raise DataError(
            f"{run / 'dataset.json'}: {error.found}",
            expected=error.expected,
            remedy="undo the edit, or run `synthaug fit` again",
        ) from error
    try:
        dataset.splits.check(dataset.content_hashes, dataset.paths)
    except DataError as error:
        raise DataError(
            f"{run / 'splits.json'}: {error.found}", expected=error.expected, remedy=error.remedy
        ) from error
    return dataset


def learn_and_held_out(
    dataset: Dataset, recipe: Recipe, *, per_class: bool, from_scratch: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Positions to learn from and to judge by; a val/ folder serves for judging.

    Where there is none, images are cut from train if specialists or early stopping need them.
    """
    train, val = dataset.splits.train, dataset.splits.val
    wanted = per_class or recipe.diffusion.early_stop
    if not wanted or from_scratch or len(val):
        return train, val
    learn, held_out = cut_held_out(
        dataset.labels[train],
        tuple(dataset.content_hashes[i] for i in train),
        fraction=recipe.data.held_out_fraction,
        seed=recipe.seed,
        together=None if dataset.together is None else dataset.together[train],
    )
    return train[learn], train[held_out]
