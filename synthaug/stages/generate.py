"""`generate`: from denoisers and a plan to a balanced folder with the provenance of every file."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from synthaug.balance.caps import Caps
from synthaug.balance.modes import Modes
from synthaug.balance.plan import BalancePlan
from synthaug.balance.strategy import Strategy
from synthaug.data.swap import RECEIPT, TABLE
from synthaug.data.writer import Provenance, write_balanced
from synthaug.diffusion.generation import check_sampling
from synthaug.diffusion.partial import partial_timesteps
from synthaug.diffusion.samplers import spaced_timesteps
from synthaug.recipe import SamplingSection
from synthaug.stages.balance import revised_plan
from synthaug.stages.candidates import Candidates, SourceImages
from synthaug.stages.cards import write_cards
from synthaug.stages.class_files import CANDIDATES, ClassSamples, remove_partial
from synthaug.stages.dataset import Dataset, load_dataset
from synthaug.stages.device import describe_device, resolve_device
from synthaug.stages.disk import block_bytes, bytes_below, generate_bytes, require_room
from synthaug.stages.folds import generate_folds, is_folded
from synthaug.stages.networks import Networks
from synthaug.stages.progress import Progress, Silent
from synthaug.stages.run_dir import RunDir, json_text, open_run, read_recipe, utc_now
from synthaug.stages.selecting import (
    Chooser,
    copies_notice,
    manifest_scores,
    rejected,
    selector_notice,
    shortfall_notice,
    table_content,
)
from synthaug.stages.signals import stop_flag

KEPT = "finished classes are kept; run `synthaug generate` again to go on"


@dataclass(frozen=True)
class GenerateRequest:
    """What the user asked of `generate`; None takes the recipe's value."""

    run: Path | None = None
    balance: Strategy | None = None
    cap: Caps | str = None
    sampler: str | None = None
    steps: int | None = None
    cfg_scale: float | None = None
    mode: Modes | None = None
    strength: float | None = None
    device: str = "auto"


def generate(request: GenerateRequest, progress: Progress | None = None) -> dict[str, Any]:
    """Fill each class up to the plan and return what `generate.json` says.

    Classes finished before a stop are kept in the run folder and not drawn again.
    Raises `UsageError` before `fit`, `DivergedError` when a class yields mostly unusable images.
    """
    progress = progress or Silent()
    device = resolve_device(request.device)
    run = open_run(request.run)
    with run.locked(), stop_flag(KEPT) as stop:
        recipe = read_recipe(run)
        if is_folded(recipe):

            def in_fold(own: RunDir) -> dict[str, Any]:
                return generate(replace(request, run=own.path), progress)

            return generate_folds(run, recipe, in_fold, progress)
        dataset = load_dataset(run)
        changes = {f: getattr(request, f) for f in ("sampler", "steps", "cfg_scale", "strength")}
        sampling = recipe.sampling.model_copy(
            update={name: value for name, value in changes.items() if value is not None}
        )
        check_sampling(sampling.sampler, sampling.steps, recipe.diffusion.T, sampling.eta)
        plan = revised_plan(
            run, dataset, balance=request.balance, cap=request.cap, mode=request.mode
        )
        if any(n and m != "sample" for n, m in zip(plan.n_new, plan.mode_in_use, strict=True)):
            steps = spaced_timesteps(recipe.diffusion.T, sampling.steps)
            partial_timesteps(steps, sampling.strength, recipe.diffusion.T)
        need = generate_bytes(plan, dataset.pixels.shape[1:], recipe, block_bytes(run.path))
        require_room(run.path, need - bytes_below(run / CANDIDATES), "generate")
        run.write_json("plan.json", plan.to_json())
        for warning in plan.warnings:
            progress.warn(warning)
        networks = Networks(run, dataset, device, progress)
        chooser = None
        if recipe.selection.enabled:
            chooser = Chooser(run, dataset, recipe, device, progress, stop)
        candidates = Candidates(run, dataset, sampling, recipe.seed, stop, chooser)
        return _Session(run, dataset, plan, sampling, networks, candidates, progress).generate()


@dataclass
class _Session:
    """One generation in one run folder."""

    run: RunDir
    dataset: Dataset
    plan: BalancePlan
    sampling: SamplingSection
    networks: Networks
    candidates: Candidates
    progress: Progress

    def generate(self) -> dict[str, Any]:
        names, n_new, modes = self.plan.class_names, self.plan.n_new, self.plan.mode_in_use
        checkpoints = {k: self.networks.of_class(names[k]) for k, n in enumerate(n_new) if n}
        for k in checkpoints:
            if modes[k] != self.plan.mode[k]:
                self.progress.warn(f"class {names[k]!r} is {self.plan.mode_reason[k]}")
        drawn: dict[int, ClassSamples] = {}
        self.candidates.total = sum(self.candidates.first_draw(n_new[k]) for k in checkpoints)
        chooser = self.candidates.chooser
        if chooser and checkpoints:
            _ = chooser.selector  # it has a progress bar of its own
        with self.progress.task("sampling", self.candidates.total, "images") as task:
            for k, (checkpoint, _) in checkpoints.items():
                drawn[k] = self.candidates.of_class(k, n_new[k], modes[k], checkpoint, task)
        synthetic_labels = np.repeat(list(drawn), [len(s.kept) for s in drawn.values()])
        provenance = []
        for k, samples in drawn.items():
            checkpoint, denoiser = checkpoints[k]
            common = Provenance(
                "synthetic",
                checkpoint=checkpoint.sha256,
                denoiser=denoiser,
                sampler=self.sampling.sampler,
                steps=self.sampling.steps,
                nfe=samples.nfe,
                cfg_scale=self.sampling.cfg_scale,
                mode=modes[k],
                eta=self._eta,
            )
            provenance += self._origins(k, samples, common)
        real_images, real_labels = self.dataset.train
        shape = (0, *real_images.shape[1:])
        kept = [samples.images[samples.kept] for samples in drawn.values()]
        images = np.concatenate([np.empty(shape, np.uint8), *kept])
        counts = np.bincount(synthetic_labels.astype(np.int64), minlength=len(names))
        seconds = sum(s.seconds for s in drawn.values())
        n_drawn = sum(len(s.seeds) for s in drawn.values())
        by_class = {names[k]: rejected(s.reasons) for k, s in drawn.items()}
        summary = {
            "created": utc_now(),
            "run": str(self.run.path),
            "balanced": str(self.run / "balanced"),
            "synthetic": str(self.run / "synthetic"),
            "manifest": str(self.run / "synthaug_manifest.jsonl"),
            "device": describe_device(self.networks.device),
            "strategy": self.plan.as_strategy,
            "n_classes": len(names),
            "n": int(counts.sum()),
            "counts": {name: int(n) for name, n in zip(names, counts, strict=True)},
            "shortfall": {
                names[k]: int(n_new[k] - counts[k]) for k in drawn if counts[k] < n_new[k]
            },
            "candidates": {names[k]: len(s.seeds) for k, s in drawn.items()},
            "rejected": _summed(by_class.values()),
            "rejected_by_class": by_class,
            "notices": self._notices(drawn),
            **({"selector": chooser.selector.facts} if chooser and drawn else {}),
            "denoisers": {names[k]: kind for k, (_, kind) in checkpoints.items()},
            "checkpoints": {names[k]: c.sha256 for k, (c, _) in checkpoints.items()},
            "sampler": self.sampling.sampler,
            "steps": self.sampling.steps,
            "nfe": _mean_nfe(drawn.values()),
            "cfg_scale": self.sampling.cfg_scale,
            "strength": self.sampling.strength,
            "modes": {
                names[k]: {
                    "mode": modes[k],
                    "nfe": samples.nfe,
                    "reason": self.plan.mode_reason[k],
                }
                for k, samples in drawn.items()
            },
            **({} if self._eta is None else {"eta": self._eta}),
            "seconds": round(seconds, 1),
            "images_per_second": round(n_drawn / seconds, 1) if seconds else None,
        }
        beside = {RECEIPT: json_text(summary).encode()}
        if chooser and drawn:
            table = {k: (s.seeds, s.reasons, s.columns) for k, s in drawn.items()}
            beside[TABLE] = table_content(self.dataset, table)
        paths = [self.dataset.paths[i] for i in self.dataset.splits.train]
        n_files = len(paths) + 2 * len(images)
        with self.progress.task("writing", n_files, "files") as task:
            write_balanced(
                self.run.path, names, real_images, real_labels, paths,
                images, synthetic_labels.astype(np.int64), provenance,
                beside=beside, advance=self.candidates.stop.after(task.advance),
            )  # fmt: skip
        remove_partial(self.run)
        write_cards(self.run, self.dataset)
        return summary

    def _origins(self, k: int, samples: ClassSamples, common: Provenance) -> list[Provenance]:
        """The provenance of every image of class k: what they have in common, seed and sources."""
        kept = samples.kept
        seeds = samples.seeds[kept]
        sources = SourceImages.of(self.dataset, k, self.plan.mode_in_use[k], seeds)
        origins = []
        for i, seed in enumerate(seeds):
            scores = manifest_scores(samples.columns, kept[i])
            origin = replace(common, seed=int(seed), scores=scores)
            if sources is not None:
                paths, lam = sources.origin(self.dataset, i)
                origin = replace(origin, strength=self.sampling.strength, sources=paths, lam=lam)
            origins.append(origin)
        return origins

    def _notices(self, drawn: dict[int, ClassSamples]) -> list[str]:
        """What the user should know of classes that got too few images, or many copies."""
        chooser = self.candidates.chooser
        notices = [selector_notice(chooser.selector.facts)] if chooser and drawn else []
        for k, samples in drawn.items():
            name, n_kept, n = self.plan.class_names[k], len(samples.kept), len(samples.seeds)
            counts = rejected(samples.reasons)
            if n_kept < self.plan.n_new[k]:
                notices.append(shortfall_notice(name, n_kept, self.plan.n_new[k], counts, n))
            mode = self.plan.mode_in_use[k]
            notices.append(copies_notice(name, mode, self.sampling.strength, counts, n))
        return [notice for notice in notices if notice]

    @property
    def _eta(self) -> float | None:
        """Told only where there is one, so that manifests without it stay as they were."""
        return self.sampling.eta or None


def _mean_nfe(drawn: Iterable[ClassSamples]) -> float | None:
    """Network evaluations of an image, averaged over those kept; a whole number where it is."""
    evaluations = [(s.nfe * len(s.kept), len(s.kept)) for s in drawn]
    total, n = (sum(column) for column in zip(*evaluations, strict=True)) if evaluations else (0, 0)
    if not n:
        return None
    return total // n if total % n == 0 else round(total / n, 2)


def _summed(parts: Any) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for reason, n in part.items():
            total[reason] = total.get(reason, 0) + n
    return total
