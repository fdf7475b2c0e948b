"""`fit`: from a folder of images to a denoiser, and a specialist for each class it helps."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synthaug import __version__
from synthaug.data.names import folder_names
from synthaug.diffusion.batches import TrainingOptions
from synthaug.diffusion.denoiser import Denoiser
from synthaug.diffusion.specialise import SpecialistVerdict, judge_specialist, specialise
from synthaug.diffusion.stopping import HeldOutWatch
from synthaug.diffusion.training import Horizon, StepStats, make_ema, train_denoiser
from synthaug.errors import ResourceError
from synthaug.recipe import Recipe
from synthaug.stages.dataset import Dataset, learn_and_held_out, read_dataset, save_dataset
from synthaug.stages.device import check_recipe_device, describe_device, resolve_device
from synthaug.stages.disk import require_room, room_notice
from synthaug.stages.folds import fit_folds, is_folded
from synthaug.stages.planning import LARGEST_SIZE, FitPlan, TimeBudget, plan_fit
from synthaug.stages.progress import Progress, Silent
from synthaug.stages.record import keep_checkpoint, keep_grid, log_held_out, log_steps
from synthaug.stages.run_dir import RunDir, free_run, new_run, utc_now
from synthaug.stages.signals import StopFlag, stop_flag
from synthaug.stages.sizing import fresh_denoiser, training_options

CHECKPOINT_SECONDS = 120.0
LOG_EVERY = 10


@dataclass(frozen=True)
class FitRequest:
    """What the user asked of `fit`."""

    dataset: str | Path
    recipe: Recipe
    run: Path | None = None
    per_class: bool = False
    from_scratch: bool = False
    device: str = "auto"
    dry_run: bool = False
    test: bool = True
    """Whether images are kept to test on. Without, all are learned from: `evaluate` refuses."""


def fit(
    request: FitRequest,
    progress: Progress | None = None,
    on_plan: Callable[[dict[str, Any]], None] = lambda plan: None,
) -> dict[str, Any]:
    """Train on a folder and return what `fit.json` says; with `dry_run`, the plan.

    `on_plan` is called with the plan before anything is written or trained. On Ctrl-C the network
    so far is saved and `InterruptedRun` raised; `generate` can use it.
    """
    progress = progress or Silent()
    device = resolve_device(request.device)
    check_recipe_device(request.recipe, device)
    if is_folded(request.recipe):
        return fit_folds(request, lambda own, hook: fit(own, progress, hook), on_plan, progress)
    place = free_run(request.run, request.dataset)
    with stop_flag() as stop:
        dataset = read_dataset(
            request.dataset,
            request.recipe.data,
            largest=LARGEST_SIZE[device.type],
            seed=request.recipe.seed,
            progress=progress,
            test=request.test,
        )
        plan = plan_fit(
            dataset,
            request.recipe,
            per_class=request.per_class,
            from_scratch=request.from_scratch,
            device=device,
            test=request.test,
        )
        described = plan.to_json(dataset, device)
        on_plan(described)
        require_room(place, plan.disk.fit, "fit")
        if notice := room_notice(place, plan.disk):
            progress.warn(notice)
        stop.check("nothing was written")
        if request.dry_run:
            return {"dry_run": True, "plan": described}
        run = new_run(request.run, request.dataset)
        with run.locked():
            session = _Session(run, dataset, plan, request, device, progress, stop)
            try:
                return session.train()
            except torch.OutOfMemoryError as error:
                size = request.recipe.diffusion.batch_size
                raise ResourceError(
                    f"out of memory on {device} at batch size {size}",
                    remedy=f"lower it: --set diffusion.batch_size={max(size // 2, 1)}",
                ) from error


@dataclass
class _Session:
    """One fit in one run folder: the files it writes, in the order it writes them."""

    run: RunDir
    dataset: Dataset
    plan: FitPlan
    request: FitRequest
    device: torch.device
    progress: Progress
    stop: StopFlag
    best_step: int | None = None
    """Where the held-out loss was lowest, if it was watched."""
    step_seconds: float = 0.0
    """Spent in optimiser steps, without checkpoints, pictures and the judging of specialists."""

    def train(self) -> dict[str, Any]:
        recipe = self.request.recipe
        self.run.write_text("recipe.yaml", recipe.to_yaml())
        save_dataset(self.run, self.dataset)
        self.run.write_json("plan.json", self.plan.balance.to_json())
        learn, held_out = self._held_out()
        started = time.perf_counter()
        base, steps_done = None, 0
        if not self.request.from_scratch:
            base, steps_done = self._train_base(learn, held_out)
        specialists = []
        for k in self.plan.specialist_classes:
            outcome, steps = self._specialist(k, base, learn, held_out)
            specialists.append(outcome)
            steps_done += steps
        seconds = time.perf_counter() - started
        n_img = recipe.diffusion.batch_size * steps_done
        summary = {
            "synthaug_version": __version__,
            "created": utc_now(),
            "run": str(self.run.path),
            "dataset": self.dataset.name,
            "fingerprint": self.dataset.fingerprint,
            "n_classes": self.dataset.n_classes,
            "device": describe_device(self.device),
            "torch": torch.__version__,
            "seed": recipe.seed,
            "parameters": self.plan.network.n_parameters,
            "flops_per_image": self.plan.network.flops_per_image,
            "steps": steps_done,
            "best_step": self.best_step,
            "n_img": n_img,
            "minutes": round(seconds / 60, 2),
            "images_per_second": round(n_img / max(self.step_seconds, 1e-9), 1),
            "per_class": self.request.per_class,
            "from_scratch": self.request.from_scratch,
            "n_held_out": len(held_out),
            "specialists": specialists,
            "notices": list(self.dataset.notices),
        }
        self.run.write_json("fit.json", summary)
        return summary

    def _held_out(self) -> tuple[np.ndarray, np.ndarray]:
        return learn_and_held_out(
            self.dataset, self.request.recipe, per_class=self.request.per_class,
            from_scratch=self.request.from_scratch,
        )  # fmt: skip

    def _train_base(self, learn: np.ndarray, held_out: np.ndarray) -> tuple[Denoiser, int]:
        """The joint class-conditional denoiser with averaged weights, and the steps it took."""
        section = self.request.recipe.diffusion
        denoiser = self._fresh()
        parameters = denoiser.network.parameters
        ema = make_ema(denoiser, section.ema_decay)
        horizon = Horizon(self.plan.base_steps)
        budget = None if section.steps else TimeBudget(self.plan.base_seconds)
        watch = self._watch(held_out)
        done, saved_at = 0, time.perf_counter()
        with self._logged("training the DDPM", "base", horizon) as log:
            for stats in train_denoiser(
                denoiser, ema, *self.dataset.part(learn), steps=horizon,
                seed=self.request.recipe.seed, options=training_options(section),
            ):  # fmt: skip
                done = stats.step + 1
                if budget is not None:
                    horizon.steps = budget.horizon(done, horizon.steps)
                if watch is not None and (watch.due(done) or done == horizon.steps):
                    log_held_out(self.run, done, watch.check(denoiser, ema, done))
                    if watch.exhausted:
                        horizon.steps = done
                log(stats)
                if done == horizon.steps:
                    continue
                if self.stop.requested:
                    ema.copy_to(parameters())
                    folder = self._save("base", denoiser, done, complete=False)
                    raise self.stop.error(f"the network after {done} steps is saved in {folder}")
                if time.perf_counter() - saved_at > CHECKPOINT_SECONDS:
                    ema.store(parameters())
                    ema.copy_to(parameters())
                    self._save("base", denoiser, done, complete=False)
                    keep_grid(self.run, denoiser, done)
                    ema.restore(parameters())
                    denoiser.network.train()
                    saved_at = time.perf_counter()
        ema.copy_to(parameters())
        denoiser.network.eval()
        if watch is not None:
            watch.restore_best(denoiser)
            self.best_step = watch.best_step
            self.progress.say(
                f"lowest loss on held-out images, {watch.best_loss:.4f}, after {watch.best_step} "
                f"of {done} steps: these weights are kept"
            )
        self._save("base", denoiser, done, complete=True)
        grid = keep_grid(self.run, denoiser, done)
        self.progress.say(f"a picture of what it makes: {grid}")
        return denoiser, done

    def _watch(self, held_out: np.ndarray) -> HeldOutWatch | None:
        """What stops the base early, unless the recipe or a lack of images forbids it."""
        section = self.request.recipe.diffusion
        if section.early_stop is False or not len(held_out):
            return None
        images, labels = self.dataset.part(held_out)
        return HeldOutWatch(images, labels, section.check_every, section.patience)

    def _specialist(
        self, k: int, base: Denoiser | None, learn: np.ndarray, held_out: np.ndarray
    ) -> tuple[dict[str, Any], int]:
        """Train, judge and perhaps keep the specialist of class k: what became of it, and steps."""
        section, name = self.request.recipe.diffusion, self.dataset.class_names[k]
        images, labels = self.dataset.part(learn[self.dataset.labels[learn] == k])
        judged = self.dataset.part(held_out[self.dataset.labels[held_out] == k])
        options = training_options(section)
        steps = 0
        if base is not None and not len(judged[0]):
            reason = f"not trained: its {len(images)} train images are too few to hold any out"
            verdict = SpecialistVerdict(False, reason, 0, None, None)
        else:
            steps = self.plan.specialist_steps
            if base is not None:
                options = replace(options, learning_rate=section.specialist_learning_rate)
            specialist = self._continue(name, base or self._fresh(), images, labels, options)
            if base is None:
                verdict = SpecialistVerdict(True, "trained from scratch, alone", 0, None, None)
            else:
                verdict = judge_specialist(base, specialist, *judged)
            if verdict.kept:
                folder = folder_names(self.dataset.class_names)[name]
                self._save(f"specialists/{folder}", specialist, steps, complete=True)
        kept = "kept" if verdict.kept else "the base is used"
        self.progress.say(f"specialist for {name}: {kept}; {verdict.reason}")
        return {"class_name": name, **asdict(verdict)}, steps

    def _continue(
        self,
        name: str,
        start: Denoiser,
        images: np.ndarray,
        labels: np.ndarray,
        options: TrainingOptions,
    ) -> Denoiser:
        steps, section = self.plan.specialist_steps, self.request.recipe.diffusion
        adapts = section.specialist == "low_rank" and not self.request.from_scratch
        rank = section.specialist_rank if adapts else None
        horizon = Horizon(steps)
        with self._logged(f"specialist for {name}", f"specialist {name}", horizon) as log:

            def on_step(stats: StepStats) -> None:
                log(stats)
                self.stop.check(f"what was finished before is saved in {self.run.path}")

            return specialise(
                start, images, labels, steps=steps, seed=self.request.recipe.seed + 1,
                options=options, rank=rank, on_step=on_step,
            )  # fmt: skip

    @contextmanager
    def _logged(
        self, description: str, phase: str, horizon: Horizon
    ) -> Iterator[Callable[[StepStats], None]]:
        """A function to call with every step: it feeds metrics.jsonl and the progress bar."""
        batch_size = self.request.recipe.diffusion.batch_size
        pending: list[StepStats] = []
        with self.progress.task(description, horizon.steps * batch_size, "images") as task:

            def log(stats: StepStats) -> None:
                pending.append(stats)
                self.step_seconds += stats.seconds
                if len(pending) == LOG_EVERY or stats.step == horizon.steps - 1:
                    loss = log_steps(self.run, phase, pending)
                    task.resize(horizon.steps * batch_size)
                    task.advance(len(pending) * batch_size, f"loss {loss:.4f}")
                    pending.clear()

            yield log

    def _fresh(self) -> Denoiser:
        recipe = self.request.recipe
        return fresh_denoiser(
            recipe, self.plan.network.spec, self.dataset, self.device, recipe.seed
        )

    def _save(self, where: str, denoiser: Denoiser, step: int, *, complete: bool) -> Path:
        return keep_checkpoint(
            self.run, where, denoiser, step,
            fingerprint=self.dataset.fingerprint, complete=complete,
        )  # fmt: skip
