"""Drawing the images of one class: where they start, how many, what is kept on disk."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from synthaug.data.names import folder_names
from synthaug.diffusion.checkpoint import Checkpoint
from synthaug.diffusion.generation import SampleBatch, generate_images
from synthaug.diffusion.noise import image_seeds, source_draws
from synthaug.diffusion.partial import PartialStart
from synthaug.errors import DivergedError
from synthaug.recipe import SamplingSection
from synthaug.selection.choose import NOT_FINITE
from synthaug.stages.dataset import Dataset
from synthaug.stages.disk import DRAW_AT_MOST
from synthaug.stages.progress import Task
from synthaug.stages.run_dir import RunDir
from synthaug.stages.selecting import FLAT, Chooser, Columns, rejected
from synthaug.stages.signals import StopFlag

FLAT_RANGE = 2
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
        return np.flatnonzero(~np.isin(self.reasons, (NOT_FINITE, FLAT)))


@dataclass(frozen=True)
class SourceImages:
    """The real images that images of a class start from, a function of their seeds alone.

    `positions` int64 [N, 1 or 2] in the dataset, always of its train split; `lam` float64 [N] is
    the weight of the second, None if there is one only.
    """

    positions: np.ndarray
    lam: np.ndarray | None

    @classmethod
    def of(cls, dataset: Dataset, k: int, mode: str, seeds: np.ndarray) -> "SourceImages | None":
        """Those of class k for each of `seeds`, in a mode; None where that starts from noise."""
        if mode == "sample":
            return None
        own = dataset.splits.train[dataset.labels[dataset.splits.train] == k]
        first, second, lam = source_draws(seeds, len(own))
        if mode == "variation":
            return cls(own[first][:, None], None)
        return cls(np.stack([own[first], own[second]], axis=1), lam)

    def start(self, dataset: Dataset, strength: float) -> PartialStart:
        """Their pixels, ready for `generate_images`."""
        first, last = self.positions[:, 0], self.positions[:, -1]
        second = None if self.lam is None else dataset.pixels[last]
        return PartialStart(dataset.pixels[first], strength, second, self.lam)

    def origin(self, dataset: Dataset, i: int) -> tuple[tuple[str, ...], float | None]:
        """(relative paths, lambda) of image i, for the manifest."""
        paths = tuple(dataset.paths[p] for p in self.positions[i])
        return paths, None if self.lam is None else float(self.lam[i])


@dataclass
class Candidates:
    """Draws the images of a run class by class and keeps them below `candidates/`.

    Without a `chooser` whatever is no broken image is kept, and only that many are drawn.
    """

    run: RunDir
    dataset: Dataset
    sampling: SamplingSection
    seed: int
    stop: StopFlag
    chooser: Chooser | None = None
    total: int = 0
    """Images to draw in all, as far as is known."""

    def first_draw(self, n: int) -> int:
        """How many images are drawn at first for n that are wanted."""
        over = self.chooser.recipe.selection.over_generate if self.chooser else 1.0
        return math.ceil(n * over)

    def most(self, n: int) -> int:
        """How many images are drawn at most for n that are wanted."""
        at_most = self.chooser.recipe.selection.draw_at_most if self.chooser else DRAW_AT_MOST
        return int(n * at_most)

    def of_class(
        self, k: int, n: int, mode: str, checkpoint: Checkpoint, task: Task
    ) -> ClassSamples:
        """Draw until n images of class k are kept, or take them from an earlier, stopped generate.

        There may be fewer where too many are refused. Raises `DivergedError` when most images are
        broken.
        """
        name = self.dataset.class_names[k]
        file = class_file(self.dataset, k)
        how = mode if mode == "sample" else f"{mode} {self.sampling.strength}"
        key = (
            f"{checkpoint.sha256} {self.sampling.sampler} {self.sampling.steps} "
            f"{self.sampling.cfg_scale} {self.sampling.batch_size} {self.seed} {n} {how} "
            f"{self.sampling.eta} {self.chooser.key if self.chooser else 'all'}"
        )
        kept = read_class(self.run, self.dataset, k)
        if kept is not None and kept[0] == key:
            task.advance(self.first_draw(n), f"{name}: drawn before")
            return kept[1]
        samples = self._draw(k, n, mode, checkpoint, task)
        self.run.write_arrays(
            file,
            key=np.array(key),
            images=samples.images,
            seeds=samples.seeds,
            candidate_reasons=samples.reasons,
            nfe=np.array(samples.nfe),
            seconds=np.array(samples.seconds),
            **{f"{COLUMN}{name}": values for name, values in samples.columns.items()},
        )
        return samples

    def _draw(self, k: int, n: int, mode: str, checkpoint: Checkpoint, task: Task) -> ClassSamples:
        name = self.dataset.class_names[k]
        drawn: list[SampleBatch] = []
        tried, want, seconds = 0, self.first_draw(n), 0.0
        while want:
            started = time.perf_counter()
            for batch in self._batches(k, mode, checkpoint, tried, want):
                drawn.append(batch)
                task.advance(len(batch.seeds), name)
                self.stop.check()
            seconds += time.perf_counter() - started
            tried += want
            images = np.concatenate([batch.images for batch in drawn])
            reasons = broken = self._broken(k, images, np.concatenate([b.finite for b in drawn]))
            columns: Columns = {}
            if self.chooser and (broken == "").any():
                reasons, columns = self.chooser.choose(k, images, broken, n)
            accepted = int((reasons == "").sum())
            # As many as it takes if they fare like those before, but no leap.
            expected = math.ceil((n - accepted) * tried / max(accepted, 1))
            short = min(expected, tried) if self.chooser else n - accepted
            want = max(min(short, self.most(n) - tried), 0)
            if want:
                self.total += want
                task.resize(self.total)
        n_broken = int((broken != "").sum())
        if tried - n_broken < tried / 4:
            raise DivergedError(
                f"{n_broken} of {tried} images of class {name!r} are unusable ({rejected(broken)})",
                remedy="train longer, or lower diffusion.learning_rate",
            )
        seeds = np.concatenate([batch.seeds for batch in drawn])
        return ClassSamples(images, seeds, reasons, columns, drawn[-1].nfe, seconds)

    def _batches(
        self, k: int, mode: str, checkpoint: Checkpoint, first: int, n: int
    ) -> Iterator[SampleBatch]:
        """Images `first .. first + n - 1` of class k."""
        seeds = image_seeds(self.seed, k, first, n)
        sources = SourceImages.of(self.dataset, k, mode, seeds)
        return generate_images(
            checkpoint.denoiser,
            np.full(n, k, dtype=np.int64),
            seeds,
            sampler=self.sampling.sampler,
            steps=self.sampling.steps,
            cfg_scale=self.sampling.cfg_scale,
            eta=self.sampling.eta,
            batch_size=self.sampling.batch_size,
            start=sources.start(self.dataset, self.sampling.strength) if sources else None,
        )

    def _broken(self, k: int, images: np.ndarray, finite: np.ndarray) -> np.ndarray:
        """Why each image can be nothing at all, str [N], or empty."""
        own = self.dataset.train[0][self.dataset.train[1] == k]
        flat_is_normal = bool((_range(own) <= FLAT_RANGE).any())
        flat = (_range(images) <= FLAT_RANGE) & (not flat_is_normal)
        return np.select([~finite, flat], [NOT_FINITE, FLAT], "")


def class_file(dataset: Dataset, k: int) -> str:
    """Where the candidates of class k are kept in a run folder."""
    return f"{CANDIDATES}/{folder_names(dataset.class_names)[dataset.class_names[k]]}.npz"


def read_class(run: RunDir, dataset: Dataset, k: int) -> tuple[str, ClassSamples] | None:
    """What they were drawn for and the candidates of class k; None if there are none to read."""
    kept = run.read_arrays(class_file(dataset, k))
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


def _range(images: np.ndarray) -> np.ndarray:
    """Difference of the lightest and the darkest pixel of each image, [N]."""
    difference: np.ndarray = np.ptp(images.reshape(len(images), -1), axis=1)
    return difference
