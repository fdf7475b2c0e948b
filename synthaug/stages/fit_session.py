"""One fit in one run folder: the base, then a specialist for each class it is to be tried for.

What is finished on disk is not trained again, and what is begun is gone on with, whether the fit
is new or resumed.
"""

import shutil
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch

from synthaug import __version__
from synthaug.data.names import folder_names
from synthaug.diffusion.denoiser import Denoiser
from synthaug.diffusion.durable import rotate
from synthaug.diffusion.specialise import (
    SpecialistVerdict,
    begin_specialist,
    finish_specialist,
    judge_specialist,
)
from synthaug.diffusion.stopping import HeldOutWatch
from synthaug.diffusion.team import Team
from synthaug.diffusion.training_state import TrainingState
from synthaug.errors import DivergedError, ResourceError, SynthaugError
from synthaug.recipe import Recipe
from synthaug.stages.cards import write_cards
from synthaug.stages.checkpoints import find_finished, find_training
from synthaug.stages.dataset import Dataset, learn_and_held_out
from synthaug.stages.device import describe_device
from synthaug.stages.fit_record import FitRecord
from synthaug.stages.learner import Learning, Subject
from synthaug.stages.planning import FitPlan
from synthaug.stages.progress import Progress
from synthaug.stages.record import Keeper, cut_metrics, incidents, keep_grid
from synthaug.stages.run_dir import RunDir, utc_now
from synthaug.stages.signals import StopFlag
from synthaug.stages.sizing import fresh_denoiser, training_options

VERDICT = "verdict.json"
FAILURES = (DivergedError, torch.OutOfMemoryError, MemoryError)
"""What costs a class its specialist and leaves the others."""


@dataclass
class Session:
    """A fit: what it was asked, what it works with, and the clocks it keeps."""

    run: RunDir
    record: FitRecord
    recipe: Recipe
    dataset: Dataset
    plan: FitPlan
    device: torch.device
    progress: Progress
    stop: StopFlag
    resumed: bool = False
    same_length: bool = True
    """Whether trainings under way end where they were to end when they were saved."""
    team: Team | None = None
    """The processes that share the work, if there are several."""
    best_step: int | None = None
    """Where the held-out loss was lowest, if it was watched."""
    failed: dict[str, bool] = field(default_factory=dict)
    """Classes whose specialist failed, and whether it diverged; otherwise memory gave out."""
    started: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        section = self.recipe.diffusion
        self.keeper = Keeper(
            self.run, self.dataset.fingerprint, self.record.config, section.keep_checkpoints
        )
        self.learn, self.held_out = learn_and_held_out(
            self.dataset, self.recipe, per_class=self.record.per_class,
            from_scratch=self.record.from_scratch,
        )  # fmt: skip

    def train(self) -> dict[str, Any]:
        """Everything that is not done yet, and what fit.json says of it all."""
        base, steps_done = None, 0
        if not self.record.from_scratch:
            base, steps_done = self._base()
        specialists = []
        for k in self.plan.specialist_classes:
            self.stop.check()
            try:
                outcome, steps = self._specialist(k, base)
            except FAILURES as error:
                outcome, steps = self._failure(k, error), 0
            specialists.append(outcome)
            steps_done += steps
        self._keep_clock()
        n_img = self.recipe.diffusion.batch_size * steps_done
        summary = {
            "synthaug_version": __version__,
            "created": utc_now(),
            "run": str(self.run.path),
            "dataset": self.dataset.name,
            "fingerprint": self.dataset.fingerprint,
            "n_classes": self.dataset.n_classes,
            "device": describe_device(self.device),
            "torch": torch.__version__,
            "seed": self.recipe.seed,
            "parameters": self.plan.network.n_parameters,
            "flops_per_image": self.plan.network.flops_per_image,
            "steps": steps_done,
            "best_step": self.best_step,
            "n_img": n_img,
            "minutes": round(self.record.seconds / 60, 2),
            "images_per_second": round(n_img / max(self.record.step_seconds, 1e-9), 1),
            "per_class": self.record.per_class,
            "from_scratch": self.record.from_scratch,
            "n_held_out": len(self.held_out),
            "specialists": specialists,
            "failed": list(self.failed),
            **incidents(self.run),
            "notices": list(self.dataset.notices),
        }
        self.run.write_json("fit.json", summary)
        rotate(self.run / "base", 1)  # what only a training needs is not kept beyond it
        write_cards(self.run, self.dataset)
        if self.failed:
            raise self._failed_error(len(specialists))
        return summary

    def _failure(self, k: int, error: BaseException) -> dict[str, Any]:
        """Note that a class failed; the others go on."""
        name = self.dataset.class_names[k]
        self.failed[name] = isinstance(error, DivergedError)
        reason = error.found if isinstance(error, DivergedError) else "out of memory"
        self.progress.warn(f"specialist for {name}: failed, {reason}; going on with the others")
        verdict = SpecialistVerdict(False, f"failed: {reason}", 0, None, None)
        return {"class_name": name, **asdict(verdict)}

    def _failed_error(self, n: int) -> SynthaugError:
        diverged = all(self.failed.values())
        kind = DivergedError if diverged else ResourceError
        key = "specialist_learning_rate" if diverged else "micro_batch"
        return kind(
            f"{len(self.failed)} of {n} specialists failed: {', '.join(self.failed)}; everything "
            f"else is saved, and why they failed is in {self.run / 'fit.json'}",
            remedy=f"`synthaug fit --resume --run {self.run.path}` tries them again; with --force "
            f"--set diffusion.{key}=... otherwise than before",
        )

    def _base(self) -> tuple[Denoiser, int]:
        """The joint class-conditional denoiser with averaged weights, and the steps it took."""
        denoiser = self._fresh()
        finished = find_finished(self.run / "base", self.record.configs)
        if finished is not None:
            self.best_step = finished.meta["best_step"]
            return finished.into(denoiser), finished.meta["step"]
        section = self.recipe.diffusion
        watch = self._watch()
        subject = Subject(
            "base", "training the DDPM", "base", denoiser, *self.dataset.part(self.learn),
            training_options(section, self.plan.network.micro_batch), self.recipe.seed,
            self.plan.base_steps,
            seconds=None if section.steps else self.plan.base_seconds,
            watch=watch, usable=True,
            on_checkpoint=self._picture,
        )  # fmt: skip
        done = self._learning(subject, must_exist=True).run()
        if watch is not None and watch.losses:
            self.best_step = watch.best_step
            self.progress.say(
                f"lowest loss on held-out images, {watch.best_loss:.4f}, after {watch.best_step} "
                f"of {done} steps: these weights are kept"
            )
        if not self.stop.requested:
            self.progress.say(f"a picture of what it makes: {keep_grid(self.run, denoiser, done)}")
        with self.stop.saving():
            self.keeper.denoiser("base", denoiser, done, facts={"best_step": self.best_step})
            self._keep_clock()
        return denoiser, done

    def _picture(self, denoiser: Denoiser, step: int) -> None:
        """Draw a row for each class while the base is trained; the first time, say where."""
        first = not (self.run / "grids").exists()
        path = keep_grid(self.run, denoiser, step)
        if first:
            self.progress.say(
                f"what it makes after {step} steps, a row for each class: {path}; more follow there"
            )

    def _watch(self) -> HeldOutWatch | None:
        """What stops the base early, unless the recipe or a lack of images forbids it."""
        section = self.recipe.diffusion
        if section.early_stop is False or not len(self.held_out):
            return None
        images, labels = self.dataset.part(self.held_out)
        return HeldOutWatch(images, labels, section.check_every, section.patience)

    def _specialist(self, k: int, base: Denoiser | None) -> tuple[dict[str, Any], int]:
        """Train, judge and perhaps keep the specialist of class k: what became of it, and steps."""
        name = self.dataset.class_names[k]
        place = f"specialists/{folder_names(self.dataset.class_names)[name]}"
        if self.run.has(f"{place}/{VERDICT}"):
            told = self.run.read_json(f"{place}/{VERDICT}")
            outcome = told["outcome"]
            if not outcome["kept"] or find_finished(self.run / place, self.record.configs):
                return outcome, told["steps"]
        judged = self.dataset.part(self.held_out[self.dataset.labels[self.held_out] == k])
        learned = self.learn[self.dataset.labels[self.learn] == k]
        steps = 0
        if base is not None and not len(judged[0]):
            reason = f"not trained: its {len(learned)} train images are too few to hold any out"
            verdict = SpecialistVerdict(False, reason, 0, None, None)
        else:
            specialist, steps = self._trained_specialist(name, place, base, learned)
            if base is None:
                verdict = SpecialistVerdict(True, "trained from scratch, alone", 0, None, None)
            else:
                verdict = judge_specialist(base, specialist, *judged)
            if verdict.kept:
                self.keeper.denoiser(place, specialist, steps)
        outcome = {"class_name": name, **asdict(verdict)}
        self._keep_clock()
        self.run.write_json(
            f"{place}/{VERDICT}",
            {"outcome": outcome, "steps": steps},
        )
        shutil.rmtree(self.run / place / "unfinished", ignore_errors=True)
        kept = "kept" if verdict.kept else "the base is used"
        self.progress.say(f"specialist for {name}: {kept}; {verdict.reason}")
        return outcome, steps

    def _trained_specialist(
        self, name: str, place: str, base: Denoiser | None, learned: np.ndarray
    ) -> tuple[Denoiser, int]:
        section, seed = self.recipe.diffusion, self.recipe.seed + 1
        options = training_options(section, self.plan.network.micro_batch)
        rank = None
        if base is not None:
            options = replace(options, learning_rate=section.specialist_learning_rate)
            rank = section.specialist_rank if section.specialist == "low_rank" else None
        specialist = begin_specialist(base or self._fresh(), rank=rank, seed=seed)
        subject = Subject(
            f"specialist {name}", f"specialist for {name}", f"{place}/unfinished", specialist,
            *self.dataset.part(learned), options, seed, self.plan.specialist_steps,
        )  # fmt: skip
        learning = self._learning(subject, must_exist=False, adapted=rank is not None)
        steps = learning.run()
        return finish_specialist(specialist, learning.ema), steps

    def _learning(self, subject: Subject, *, must_exist: bool, adapted: bool = False) -> Learning:
        """The training of a subject, where its newest valid checkpoint left it.

        A network with low-rank adapters is not one that followers could build: it is trained alone.
        """
        learning = Learning(
            subject, self.keeper, self.progress, self.stop,
            self.recipe.diffusion.checkpoint_every, self._spend, self._keep_clock,
            lambda: self._newest(subject, must_exist=False), team=None if adapted else self.team,
        )  # fmt: skip
        state = self._newest(subject, must_exist=must_exist)
        if state is not None:
            learning.go_on_from(state, same_length=self.same_length)
            self.progress.say(f"{subject.description}: going on after step {state.step}")
        else:
            cut_metrics(self.run, subject.phase)
            if self.resumed and subject.usable:
                self.progress.say(f"{subject.description}: from its first step, none was saved")
        return learning

    def _newest(self, subject: Subject, *, must_exist: bool) -> TrainingState | None:
        return find_training(
            self.run / subject.folder, self.record.configs, self.progress, must_exist=must_exist
        )

    def _spend(self, seconds: float) -> None:
        self.record.step_seconds += seconds

    def _keep_clock(self) -> None:
        """Add the time since it was last called to what the fit has taken so far, on disk."""
        now = time.perf_counter()
        self.record.seconds += now - self.started
        self.started = now
        self.record.write(self.run)

    def _fresh(self) -> Denoiser:
        return fresh_denoiser(
            self.recipe, self.plan.network.spec, self.dataset, self.device, self.recipe.seed
        )
