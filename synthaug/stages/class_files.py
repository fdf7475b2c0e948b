"""What is kept of the images drawn for a class: all of them once done, and a beginning on the way.

    candidates/<class>.npz        every candidate of a finished class and what became of it
    candidates/.<class>.part.npz  the first images of a class that is still being drawn

Images are drawn in an order that depends on nothing but the request, so a beginning that was drawn
for the same request is the beginning of the same images.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synthaug.data.names import folder_names
from synthaug.diffusion.generation import SampleBatch
from synthaug.selection.choose import NOT_FINITE
from synthaug.stages.dataset import Dataset
from synthaug.stages.run_dir import RunDir
from synthaug.stages.selecting import FLAT, SATURATED, Columns

CANDIDATES = "candidates"
COLUMN = "column "


@dataclass(frozen=True)
class ClassSamples:
    """All N candidates of one class, in the order of drawing, and what became of each.

    `images` uint8 [N, C, H, W], `seeds` int64 [N], `reasons` str [N], why an image is not kept, or
    empty; `columns` the scores of each, [N], empty without selection. `nfe` counts network
    evaluations of each image, `seconds` those of drawing.
    """

    images: np.ndarray
    seeds: np.ndarray
    reasons: np.ndarray
    columns: Columns
    nfe: int
    seconds: float

    @property
    def kept(self) -> np.ndarray:
        """Positions of the images that are kept, int64 [n], ascending."""
        return np.flatnonzero(self.reasons == "")

    @property
    def unfiltered(self) -> np.ndarray:
        """Positions of all that are no broken images: those that selection had to choose from."""
        return np.flatnonzero(~np.isin(self.reasons, (NOT_FINITE, FLAT, SATURATED)))


@dataclass(frozen=True)
class Drawn:
    """The first images of a class as the network made them, and the seconds that took."""

    images: np.ndarray
    labels: np.ndarray
    seeds: np.ndarray
    finite: np.ndarray
    nfe: int
    seconds: float

    @classmethod
    def of(cls, batches: Sequence[SampleBatch], seconds: float) -> "Drawn":
        """Batches one after the other; at least one."""
        return cls(
            images=np.concatenate([b.images for b in batches]),
            labels=np.concatenate([b.labels for b in batches]),
            seeds=np.concatenate([b.seeds for b in batches]),
            finite=np.concatenate([b.finite for b in batches]),
            nfe=batches[0].nfe,
            seconds=seconds,
        )

    def __len__(self) -> int:
        return len(self.seeds)

    def part(self, start: int, stop: int) -> SampleBatch:
        """Some of them as one batch."""
        own = slice(start, stop)
        arrays = (self.images[own], self.labels[own], self.seeds[own], self.finite[own])
        return SampleBatch(*arrays, self.nfe)


def read_class(run: RunDir, dataset: Dataset, k: int) -> tuple[str, ClassSamples] | None:
    """What they were drawn for and the candidates of class k; None if there are none to read."""
    kept = run.read_arrays(_file(dataset, k))
    if kept is None or "candidate_reasons" not in kept:  # as versions before selection wrote it
        return None
    columns = {
        name.removeprefix(COLUMN): values
        for name, values in kept.items()
        if name.startswith(COLUMN)
    }
    return str(kept["key"]), ClassSamples(
        kept["images"],
        kept["seeds"],
        kept["candidate_reasons"],
        columns,
        int(kept["nfe"]),
        float(kept["seconds"]),
    )


def write_class(run: RunDir, dataset: Dataset, k: int, key: str, samples: ClassSamples) -> None:
    """Keep all candidates of class k, which were drawn for `key`, and no beginning of them."""
    run.write_arrays(
        _file(dataset, k),
        key=np.array(key),
        images=samples.images,
        seeds=samples.seeds,
        candidate_reasons=samples.reasons,
        nfe=np.array(samples.nfe),
        seconds=np.array(samples.seconds),
        **{f"{COLUMN}{name}": values for name, values in samples.columns.items()},
    )
    (run / _part_file(dataset, k)).unlink(missing_ok=True)


def read_partial(run: RunDir, dataset: Dataset, k: int, key: str) -> Drawn | None:
    """The beginning of class k that was drawn for `key`, if there is one."""
    kept = run.read_arrays(_part_file(dataset, k))
    if kept is None or str(kept.pop("key", "")) != key:
        return None
    nfe, seconds = int(kept.pop("nfe")), float(kept.pop("seconds"))
    return Drawn(**kept, nfe=nfe, seconds=seconds)


def write_partial(run: RunDir, dataset: Dataset, k: int, key: str, drawn: Drawn) -> None:
    """Keep the beginning of class k."""
    arrays = {name: np.asarray(value) for name, value in vars(drawn).items()}
    run.write_arrays(_part_file(dataset, k), key=np.array(key), **arrays)


def remove_partial(run: RunDir) -> None:
    """Remove the beginnings of all classes: of a request that nobody repeated."""
    for path in (run / CANDIDATES).glob(".*.part.npz"):
        path.unlink(missing_ok=True)


def _file(dataset: Dataset, k: int) -> str:
    return f"{CANDIDATES}/{folder_names(dataset.class_names)[dataset.class_names[k]]}.npz"


def _part_file(dataset: Dataset, k: int) -> str:
    return f"{CANDIDATES}/.{folder_names(dataset.class_names)[dataset.class_names[k]]}.part.npz"
