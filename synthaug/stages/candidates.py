"""Drawing the images of one class: where they start, how many, what is kept on disk."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from synthaug.diffusion.checkpoint import Checkpoint
from synthaug.diffusion.generation import SampleBatch, generate_images
from synthaug.diffusion.noise import image_seeds, source_draws
from synthaug.diffusion.partial import PartialStart
from synthaug.errors import DivergedError
from synthaug.recipe import SamplingSection
from synthaug.selection.choose import NOT_FINITE
from synthaug.stages.class_files import (
    ClassSamples,
    Drawn,
    read_class,
    read_partial,
    write_class,
    write_partial,
)
from synthaug.stages.dataset import Dataset
from synthaug.stages.disk import DRAW_AT_MOST
from synthaug.stages.progress import Task
from synthaug.stages.run_dir import RunDir
from synthaug.stages.selecting import FLAT, SATURATED, Chooser, Columns, rejected
from synthaug.stages.signals import StopFlag

UNUSABLE_AT_MOST = 0.5
"""Share of a class's candidates that may be broken: with more, the network is."""
FEW = 16
"""Candidates from which on that share is looked at before all are drawn."""
SAVE_SECONDS = 60.0
FLAT_RANGE = 2


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
    kept_at: float = field(default_factory=time.monotonic)
    """When the beginning of a class was last kept."""

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
        """Draw until n images of class k are kept, or go on where an earlier generate was stopped.

        There may be fewer where too many are refused. Raises `DivergedError` when most images are
        broken.
        """
        name = self.dataset.class_names[k]
        how = mode if mode == "sample" else f"{mode} {self.sampling.strength}"
        key = (
            f"{checkpoint.sha256} {self.sampling.sampler} {self.sampling.steps} "
            f"{self.sampling.cfg_scale} {self.sampling.batch_size} {self.seed} {n} {how} "
            f"{self.sampling.eta} {self.chooser.key if self.chooser else 'all'}"
        )
        kept = read_class(self.run, self.dataset, k)
        if kept is not None and kept[0] == key:
            task.skip(self.first_draw(n), f"{name}: drawn before")
            return kept[1]
        samples = self._draw(k, n, mode, checkpoint, key, task)
        with self.stop.saving():
            write_class(self.run, self.dataset, k, key, samples)
        return samples

    def _draw(
        self, k: int, n: int, mode: str, checkpoint: Checkpoint, key: str, task: Task
    ) -> ClassSamples:
        before = read_partial(self.run, self.dataset, k, key)
        batches: list[SampleBatch] = []
        seconds = before.seconds if before else 0.0
        tried, want = 0, self.first_draw(n)
        while want:
            for batch, took in self._round(k, mode, checkpoint, before, tried, want):
                batches.append(batch)
                seconds += took
                task.advance(len(batch.seeds), self.dataset.class_names[k])
                self._keep_sometimes(k, key, batches, seconds, before)
            tried += want
            drawn = Drawn.of(batches, seconds)
            reasons = broken = self._broken(k, drawn.images, drawn.finite)
            columns: Columns = {}
            if self.chooser and (broken == "").any():
                reasons, columns = self.chooser.choose(k, drawn.images, broken, n)
            accepted = int((reasons == "").sum())
            # As many as it takes if they fare like those before, but no leap.
            expected = math.ceil((n - accepted) * tried / max(accepted, 1))
            short = min(expected, tried) if self.chooser else n - accepted
            want = max(min(short, self.most(n) - tried), 0)
            if tried >= FEW or not want:
                self._refuse_broken_network(k, broken)
            if want:
                self.total += want
                task.resize(self.total)
        return ClassSamples(drawn.images, drawn.seeds, reasons, columns, drawn.nfe, seconds)

    def _round(
        self, k: int, mode: str, checkpoint: Checkpoint, before: Drawn | None, first: int, n: int
    ) -> Iterator[tuple[SampleBatch, float]]:
        """Images `first .. first + n - 1` of class k in batches, each with the seconds it took.

        What was drawn `before` it was stopped ends with a whole batch or a whole round, so the
        batches after it are the ones that would have followed, and so are their pixels.
        """
        known = min(max((len(before) if before else 0) - first, 0), n)
        if before and known:
            yield before.part(first, first + known), 0.0
        started = time.perf_counter()
        for batch in self._batches(k, mode, checkpoint, first + known, n - known):
            now = time.perf_counter()
            yield batch, now - started
            started = time.perf_counter()

    def _keep_sometimes(
        self, k: int, key: str, batches: Sequence[SampleBatch], seconds: float, before: Drawn | None
    ) -> None:
        """Keep what is drawn every minute, and before a stop, for which it raises."""
        stopped = self.stop.requested
        if stopped or time.monotonic() - self.kept_at > SAVE_SECONDS:
            drawn = Drawn.of(batches, seconds)
            if before is None or len(drawn) > len(before):
                with self.stop.saving():
                    write_partial(self.run, self.dataset, k, key, drawn)
            self.kept_at = time.monotonic()
        self.stop.check()

    def _refuse_broken_network(self, k: int, broken: np.ndarray) -> None:
        n_broken = int((broken != "").sum())
        if n_broken > UNUSABLE_AT_MOST * len(broken):
            raise DivergedError(
                f"{n_broken} of {len(broken)} images of class {self.dataset.class_names[k]!r} are "
                f"unusable ({rejected(broken)})",
                expected=f"at most {UNUSABLE_AT_MOST:.0%}",
                remedy="train longer, or lower diffusion.learning_rate and fit again",
            )

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
        """Why each image can be nothing at all, str [N], or empty.

        Real images of the class may be flat or nearly black and white, so they say what is normal.
        """
        own = self.dataset.train[0][self.dataset.train[1] == k]
        flat_is_normal = bool((_range(own) <= FLAT_RANGE).any())
        flat = (_range(images) <= FLAT_RANGE) & (not flat_is_normal)
        # Halfway from the real image with the most of them to one that is nothing else.
        saturated = _at_the_ends(images) > (1 + _at_the_ends(own).max()) / 2
        return np.select([~finite, flat, saturated], [NOT_FINITE, FLAT, SATURATED], "")


def _range(images: np.ndarray) -> np.ndarray:
    """Difference of the lightest and the darkest pixel of each image, [N]."""
    difference: np.ndarray = np.ptp(images.reshape(len(images), -1), axis=1)
    return difference


def _at_the_ends(images: np.ndarray) -> np.ndarray:
    """Share of values of each image that are 0 or 255, [N]."""
    share: np.ndarray = ((images == 0) | (images == 255)).reshape(len(images), -1).mean(axis=1)
    return share
