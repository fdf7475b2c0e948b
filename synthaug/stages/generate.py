"""`generate`: from denoisers and a plan to a balanced folder with the provenance of every file."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synthaug.balance.plan import BalancePlan, plan_balance
from synthaug.data.names import folder_names
from synthaug.data.writer import Provenance, write_balanced
from synthaug.diffusion.checkpoint import Checkpoint, load_checkpoint
from synthaug.diffusion.generation import check_sampling, generate_images
from synthaug.diffusion.noise import image_seeds
from synthaug.diffusion.samplers import evaluations
from synthaug.errors import DataError, DivergedError, UsageError
from synthaug.recipe import SamplingSection
from synthaug.stages.dataset import Dataset, load_dataset
from synthaug.stages.device import describe_device, resolve_device
from synthaug.stages.progress import Progress, Silent, Task
from synthaug.stages.record import find_denoiser
from synthaug.stages.run_dir import RunDir, open_run, read_recipe, utc_now
from synthaug.stages.signals import StopFlag, stop_flag

REDRAWS = 1.0
"""A class may draw this many times its quota again in place of rejected images."""
FLAT_RANGE = 2


@dataclass(frozen=True)
class GenerateRequest:
    """What the user asked of `generate`; None takes the recipe's value."""

    run: Path | None = None
    balance: str | None = None
    sampler: str | None = None
    steps: int | None = None
    cfg_scale: float | None = None
    device: str = "auto"


@dataclass(frozen=True)
class ClassSamples:
    """Accepted images of one class: uint8 [n, C, H, W], seeds int64 [n], and how many were not."""

    images: np.ndarray
    seeds: np.ndarray
    rejected: dict[str, int]
    seconds: float


def generate(request: GenerateRequest, progress: Progress | None = None) -> dict[str, Any]:
    """Fill each class up to the plan and return what `generate.json` says.

    Classes finished before a stop are kept in the run folder and not drawn again.
    Raises `UsageError` before `fit`, `DivergedError` when a class yields mostly unusable images.
    """
    progress = progress or Silent()
    device = resolve_device(request.device)
    run = open_run(request.run)
    with run.locked(), stop_flag() as stop:
        recipe = read_recipe(run)
        dataset = load_dataset(run)
        changes = {f: getattr(request, f) for f in ("sampler", "steps", "cfg_scale")}
        sampling = recipe.sampling.model_copy(
            update={name: value for name, value in changes.items() if value is not None}
        )
        check_sampling(sampling.sampler, sampling.steps, recipe.diffusion.T, sampling.eta)
        plan = _plan(run, dataset, request)
        session = _Session(run, dataset, plan, sampling, recipe.seed, device, progress, stop)
        return session.generate()


@dataclass
class _Session:
    """One generation in one run folder."""

    run: RunDir
    dataset: Dataset
    plan: BalancePlan
    sampling: SamplingSection
    seed: int
    device: torch.device
    progress: Progress
    stop: StopFlag
    loaded: dict[Path, Checkpoint] = field(default_factory=dict)

    def generate(self) -> dict[str, Any]:
        names, n_new = self.plan.class_names, self.plan.n_new
        checkpoints = {k: self._checkpoint(k) for k, n in enumerate(n_new) if n}
        drawn: dict[int, ClassSamples] = {}
        with self.progress.task("sampling", self.plan.total_new, "images") as task:
            for k, (checkpoint, _) in checkpoints.items():
                drawn[k] = self._class_samples(k, n_new[k], checkpoint, task)
        synthetic_labels = np.repeat(list(drawn), [len(s.seeds) for s in drawn.values()])
        provenance = [
            Provenance(
                "synthetic",
                checkpoint=checkpoints[k][0].sha256,
                denoiser=checkpoints[k][1],
                seed=int(seed),
                sampler=self.sampling.sampler,
                steps=self.sampling.steps,
                nfe=self._nfe,
                cfg_scale=self.sampling.cfg_scale,
                eta=self._eta,
            )
            for k, samples in drawn.items()
            for seed in samples.seeds
        ]
        real_images, real_labels = self.dataset.train
        shape = (0, *real_images.shape[1:])
        images = np.concatenate([np.empty(shape, np.uint8), *(s.images for s in drawn.values())])
        paths = [self.dataset.paths[i] for i in self.dataset.splits.train]
        n_files = len(paths) + 2 * len(images)
        with self.progress.task("writing", n_files, "files") as task:
            write_balanced(
                self.run.path, names, real_images, real_labels, paths,
                images, synthetic_labels.astype(np.int64), provenance, advance=task.advance,
            )  # fmt: skip
        counts = np.bincount(synthetic_labels.astype(np.int64), minlength=len(names))
        seconds = sum(s.seconds for s in drawn.values())
        rejected = _summed(s.rejected for s in drawn.values())
        summary = {
            "created": utc_now(),
            "run": str(self.run.path),
            "balanced": str(self.run / "balanced"),
            "synthetic": str(self.run / "synthetic"),
            "manifest": str(self.run / "synthaug_manifest.jsonl"),
            "device": describe_device(self.device),
            "strategy": self.plan.strategy,
            "n": int(counts.sum()),
            "counts": {name: int(n) for name, n in zip(names, counts, strict=True)},
            "shortfall": {
                names[k]: int(n_new[k] - counts[k]) for k in drawn if counts[k] < n_new[k]
            },
            "rejected": rejected,
            "denoisers": {names[k]: kind for k, (_, kind) in checkpoints.items()},
            "checkpoints": {names[k]: c.sha256 for k, (c, _) in checkpoints.items()},
            "sampler": self.sampling.sampler,
            "steps": self.sampling.steps,
            "nfe": self._nfe,
            "cfg_scale": self.sampling.cfg_scale,
            **({} if self._eta is None else {"eta": self._eta}),
            "seconds": round(seconds, 1),
            "images_per_second": round(counts.sum() / seconds, 1) if seconds else None,
        }
        self.run.write_json("generate.json", summary)
        return summary

    @property
    def _nfe(self) -> int:
        return evaluations(self.sampling.sampler, self.sampling.steps, self.sampling.cfg_scale)

    @property
    def _eta(self) -> float | None:
        """Told only where there is one, so that manifests without it stay as they were."""
        return self.sampling.eta or None

    def _checkpoint(self, k: int) -> tuple[Checkpoint, str]:
        """The specialist of class k if `fit` kept one, else the base."""
        name = self.plan.class_names[k]
        known = find_denoiser(self.run, self.dataset.class_names, k)
        if known is None:
            raise UsageError(
                f"run {self.run.path} has no network for class {name!r}",
                remedy="run `synthaug fit` first; after --from-scratch, ask for images "
                "of the classes it trained only",
            )
        found, kind = known
        checkpoint = self.loaded.get(found)
        if checkpoint is None:
            checkpoint = self.loaded[found] = load_checkpoint(found, self.device)
            if not checkpoint.meta["complete"]:
                self.progress.warn(
                    f"{found} comes from a fit that was stopped: its images may be poor"
                )
        return checkpoint, kind

    def _class_samples(self, k: int, n: int, checkpoint: Checkpoint, task: Task) -> ClassSamples:
        """Draw n acceptable images of class k, or take them from an earlier, stopped generate."""
        folder = folder_names(self.dataset.class_names)[self.plan.class_names[k]]
        file = f"candidates/{folder}.npz"
        key = (
            f"{checkpoint.sha256} {self.sampling.sampler} {self.sampling.steps} "
            f"{self.sampling.cfg_scale} {self.sampling.batch_size} {self.seed} {n}"
            + ("" if self._eta is None else f" eta {self._eta}")
        )
        kept = self.run.read_arrays(file)
        if kept is not None and str(kept["key"]) == key:
            task.advance(n, f"{self.plan.class_names[k]}: drawn before")
            names, numbers = kept["reasons"].tolist(), kept["rejected"].tolist()
            rejected = dict(zip(names, numbers, strict=True))
            return ClassSamples(kept["images"], kept["seeds"], rejected, float(kept["seconds"]))
        samples = self._draw(k, n, checkpoint, task)
        self.run.write_arrays(
            file,
            key=np.array(key),
            images=samples.images,
            seeds=samples.seeds,
            reasons=np.array(list(samples.rejected), dtype=np.str_),
            rejected=np.array(list(samples.rejected.values()), dtype=np.int64),
            seconds=np.array(samples.seconds),
        )
        return samples

    def _draw(self, k: int, n: int, checkpoint: Checkpoint, task: Task) -> ClassSamples:
        name = self.plan.class_names[k]
        own = self.dataset.train[0][self.dataset.train[1] == k]
        flat_is_normal = bool((np.ptp(own.reshape(len(own), -1), axis=1) <= FLAT_RANGE).any())
        images: list[np.ndarray] = []
        seeds: list[np.ndarray] = []
        rejected: dict[str, int] = {}
        tried = accepted = 0
        started = time.perf_counter()
        while accepted < n and tried < n * (1 + REDRAWS):
            want = int(min(n - accepted, n * (1 + REDRAWS) - tried))
            batch_seeds = image_seeds(self.seed, k, tried, want)
            tried += want
            for batch in generate_images(
                checkpoint.denoiser,
                np.full(want, k, dtype=np.int64),
                batch_seeds,
                sampler=self.sampling.sampler,
                steps=self.sampling.steps,
                cfg_scale=self.sampling.cfg_scale,
                eta=self.sampling.eta,
                batch_size=self.sampling.batch_size,
            ):
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
        return ClassSamples(np.concatenate(images), np.concatenate(seeds), rejected, seconds)


def _plan(run: RunDir, dataset: Dataset, request: GenerateRequest) -> BalancePlan:
    """The plan in the run folder, or a new one for `--balance`, which then replaces it."""
    try:
        plan = BalancePlan.from_json(run.read_json("plan.json"))
    except DataError as error:
        raise DataError(
            f"{run / 'plan.json'}: {error.found}", expected=error.expected, remedy=error.remedy
        ) from error
    counts = dataset.counts(dataset.splits.train).tolist()
    known = dict(zip(dataset.class_names, counts, strict=True))
    planned = dict(zip(plan.class_names, plan.counts, strict=True))
    if planned != known:
        raise DataError(
            f"{run / 'plan.json'} has train images {planned}",
            expected=f"the dataset's: {known}",
            remedy="undo the edit; only `target` may be changed",
        )
    if request.balance is not None:
        plan = plan_balance(
            plan.class_names, counts, request.balance, minority_below=plan.minority_below
        )
        run.write_json("plan.json", plan.to_json())
    return plan


def _summed(parts: Any) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for reason, n in part.items():
            total[reason] = total.get(reason, 0) + n
    return total
