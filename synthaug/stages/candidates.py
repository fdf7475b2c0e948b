"""Drawing the images of one class: where they start, which are refused, what is kept on disk."""

import time
from dataclasses import dataclass

import numpy as np

from synthaug.data.names import folder_names
from synthaug.diffusion.checkpoint import Checkpoint
from synthaug.diffusion.generation import generate_images
from synthaug.diffusion.noise import image_seeds, source_draws
from synthaug.diffusion.partial import PartialStart
from synthaug.errors import DivergedError
from synthaug.recipe import SamplingSection
from synthaug.stages.dataset import Dataset
from synthaug.stages.progress import Task
from synthaug.stages.run_dir import RunDir
from synthaug.stages.signals import StopFlag

REDRAWS = 1.0
"""A class may draw this many times its quota again in place of rejected images."""
FLAT_RANGE = 2


@dataclass(frozen=True)
class ClassSamples:
    """Accepted images of one class: uint8 [n, C, H, W], seeds int64 [n], and how many were not.

    `nfe` counts network evaluations of each image.
    """

    images: np.ndarray
    seeds: np.ndarray
    nfe: int
    rejected: dict[str, int]
    seconds: float


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
    """Draws the images of a run class by class and keeps them below `candidates/`."""

    run: RunDir
    dataset: Dataset
    sampling: SamplingSection
    seed: int
    stop: StopFlag

    def of_class(
        self, k: int, n: int, mode: str, checkpoint: Checkpoint, task: Task
    ) -> ClassSamples:
        """Draw n acceptable images of class k, or take them from an earlier, stopped generate.

        Raises `DivergedError` when most of them are unusable.
        """
        name = self.dataset.class_names[k]
        file = f"candidates/{folder_names(self.dataset.class_names)[name]}.npz"
        how = mode if mode == "sample" else f"{mode} {self.sampling.strength}"
        key = (
            f"{checkpoint.sha256} {self.sampling.sampler} {self.sampling.steps} "
            f"{self.sampling.cfg_scale} {self.sampling.batch_size} {self.seed} {n} {how} "
            f"{self.sampling.eta}"
        )
        kept = self.run.read_arrays(file)
        if kept is not None and str(kept["key"]) == key:
            task.advance(n, f"{name}: drawn before")
            names, numbers = kept["reasons"].tolist(), kept["rejected"].tolist()
            rejected = dict(zip(names, numbers, strict=True))
            seconds = float(kept["seconds"])
            return ClassSamples(kept["images"], kept["seeds"], int(kept["nfe"]), rejected, seconds)
        samples = self._draw(k, n, mode, checkpoint, task)
        self.run.write_arrays(
            file,
            key=np.array(key),
            images=samples.images,
            seeds=samples.seeds,
            nfe=np.array(samples.nfe),
            reasons=np.array(list(samples.rejected), dtype=np.str_),
            rejected=np.array(list(samples.rejected.values()), dtype=np.int64),
            seconds=np.array(samples.seconds),
        )
        return samples

    def _draw(self, k: int, n: int, mode: str, checkpoint: Checkpoint, task: Task) -> ClassSamples:
        name = self.dataset.class_names[k]
        own = self.dataset.train[0][self.dataset.train[1] == k]
        flat_is_normal = bool((np.ptp(own.reshape(len(own), -1), axis=1) <= FLAT_RANGE).any())
        images: list[np.ndarray] = []
        seeds: list[np.ndarray] = []
        rejected: dict[str, int] = {}
        tried = accepted = nfe = 0
        started = time.perf_counter()
        while accepted < n and tried < n * (1 + REDRAWS):
            want = int(min(n - accepted, n * (1 + REDRAWS) - tried))
            batch_seeds = image_seeds(self.seed, k, tried, want)
            tried += want
            sources = SourceImages.of(self.dataset, k, mode, batch_seeds)
            for batch in generate_images(
                checkpoint.denoiser,
                np.full(want, k, dtype=np.int64),
                batch_seeds,
                sampler=self.sampling.sampler,
                steps=self.sampling.steps,
                cfg_scale=self.sampling.cfg_scale,
                eta=self.sampling.eta,
                batch_size=self.sampling.batch_size,
                start=sources.start(self.dataset, self.sampling.strength) if sources else None,
            ):
                nfe = batch.nfe
                flat = np.ptp(batch.images.reshape(len(batch.seeds), -1), axis=1) <= FLAT_RANGE
                flat &= batch.finite & (not flat_is_normal)
                for reason, bad in (("not finite", ~batch.finite), ("one flat colour", flat)):
                    if bad.any():
                        rejected[reason] = rejected.get(reason, 0) + int(bad.sum())
                good = batch.finite & ~flat
                images.append(batch.images[good])
                seeds.append(batch.seeds[good])
                accepted += int(good.sum())
                task.advance(int(good.sum()), name)
                self.stop.check("finished classes are kept; run `synthaug generate` again to go on")
        if accepted < n / 2:
            raise DivergedError(
                f"{tried - accepted} of {tried} images of class {name!r} are unusable ({rejected})",
                remedy="train longer, or lower diffusion.learning_rate",
            )
        seconds = time.perf_counter() - started
        return ClassSamples(np.concatenate(images), np.concatenate(seeds), nfe, rejected, seconds)
