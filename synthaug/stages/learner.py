"""One training of a fit, kept so that it can be stopped after any step and gone on with later.

A checkpoint holds everything the next step depends on; how long metrics.jsonl was is part of it, so
that a resumed training ends with the same file as an undisturbed one.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from diffusers.training_utils import EMAModel

from synthaug.diffusion.batches import TrainingOptions
from synthaug.diffusion.denoiser import Denoiser
from synthaug.diffusion.stopping import HeldOutWatch
from synthaug.diffusion.team import Team
from synthaug.diffusion.training import Horizon, StepStats, make_ema, start_loop, train_denoiser
from synthaug.diffusion.training_state import TrainingState, capture, restore
from synthaug.errors import DivergedError
from synthaug.recipe import parse_duration
from synthaug.stages.planning import TimeBudget
from synthaug.stages.progress import Progress, Task
from synthaug.stages.record import (
    Keeper,
    cut_metrics,
    log_held_out,
    log_rollback,
    log_steps,
    metrics_size,
)
from synthaug.stages.signals import StopFlag

LOG_EVERY = 10
LOWER = 0.5
"""What a training that diverged multiplies its learning rate by."""
FIRST_SECONDS = 20.0


@dataclass(frozen=True)
class Subject:
    """What is trained, on what, and where its checkpoints go.

    `phase` is its name in metrics.jsonl, `description` that of the progress bar. `images` uint8
    [N, C, H, W]. With `usable`, a checkpoint also holds the averaged denoiser so far, and
    `on_checkpoint(denoiser, step)` is called with it in place.
    """

    phase: str
    description: str
    folder: str
    denoiser: Denoiser
    images: np.ndarray
    labels: np.ndarray
    options: TrainingOptions
    seed: int
    steps: int
    seconds: float | None = None
    watch: HeldOutWatch | None = None
    usable: bool = False
    on_checkpoint: Callable[[Denoiser, int], object] = lambda denoiser, step: None


@dataclass
class Learning:
    """A subject while it learns; `go_on_from` a state and then `run`, or just `run`."""

    subject: Subject
    keeper: Keeper
    progress: Progress
    stop: StopFlag
    checkpoint_every: int | str
    on_seconds: Callable[[float], None]
    """Told the seconds of every optimiser step."""
    on_save: Callable[[], None]
    """Called after every checkpoint."""
    newest: Callable[[], TrainingState | None]
    """The newest valid checkpoint of this training, if there is one."""
    team: Team | None = None
    ema: EMAModel = field(init=False)
    _pending: list[StepStats] = field(default_factory=list)
    """Steps that metrics.jsonl has no line for yet."""

    def __post_init__(self) -> None:
        subject = self.subject
        self.ema = make_ema(subject.denoiser, subject.options.ema_decay)
        self.loop = start_loop(subject.denoiser, subject.options)
        self.horizon = Horizon(subject.steps)
        self.budget = None if subject.seconds is None else TimeBudget(subject.seconds)

    def go_on_from(self, state: TrainingState, *, same_length: bool = True) -> None:
        """Put back what `save` kept; without `same_length` the training may end elsewhere now."""
        subject, extra = self.subject, state.extra
        self._put_back(state)
        if same_length:
            self.horizon.steps = extra["horizon"]
        if self.budget is not None and subject.seconds is not None:
            kept = extra["budget"] or {"spent": 0.0, "marks_passed": 0}
            self.budget = TimeBudget(subject.seconds, **kept)

    def _put_back(self, state: TrainingState) -> None:
        subject, extra = self.subject, state.extra
        restore(state, subject.denoiser, self.ema, self.loop, subject.watch)
        self._pending = [
            StepStats(step, math.nan if loss is None else loss, *rest)
            for step, loss, *rest in extra["pending"]
        ]
        cut_metrics(self.keeper.run, subject.phase, extra["metrics_bytes"])

    def run(self) -> int:
        """Train to the end and return the steps that took; the denoiser has its averaged weights.

        Where held-out images are watched, those of the best step. A training that diverges goes
        back to its newest checkpoint once, at half the learning rate. Raises `InterruptedRun` after
        a stop signal, once a checkpoint is written, and `DivergedError` if it diverges again.
        """
        start = self._state()
        while True:
            try:
                return self._run()
            except DivergedError as error:
                self._go_back(error, self.newest() or start)

    def _go_back(self, error: DivergedError, state: TrainingState) -> None:
        """Return to `state` at a lower learning rate; raise the error if that was done before."""
        where, at = f"step {state.step}", self.loop.step
        if self.loop.learning_rate_factor < 1:
            raise DivergedError(
                f"{self.subject.description}: {error.found}, once more after it went back to an "
                f"earlier step; the checkpoint of {where} is intact",
                remedy=error.remedy,
            ) from error
        self._put_back(state)
        self.loop.bad_in_a_row = 0
        self.loop.learning_rate_factor *= LOWER
        log_rollback(self.keeper.run, self.subject.phase, at, state.step, LOWER)
        self.progress.warn(
            f"{self.subject.description}: {error.found}; going back to {where} with {LOWER:g} of "
            "the learning rate, which is done once"
        )

    def _run(self) -> int:
        subject, batch = self.subject, self.subject.options.batch_size
        saved, saved_at = False, time.perf_counter()
        total = self.horizon.steps * batch
        with self.progress.task(subject.description, total, "images") as task:
            if self.loop.step:  # those without a line yet are counted with the others of theirs
                task.skip((self.loop.step - len(self._pending)) * batch)
            for stats in train_denoiser(
                subject.denoiser, self.ema, subject.images, subject.labels, steps=self.horizon,
                seed=subject.seed, options=subject.options, loop=self.loop, team=self.team,
            ):  # fmt: skip
                self._note(stats, task)
                asked = self.stop.requested  # at the last step too: what follows is to end in peace
                if self.loop.step == self.horizon.steps:
                    continue
                if self.team is not None:
                    self.stop.signum = self.stop.signum or self.team.signum
                if asked or self.stop.requested:
                    raise self.stop.error(self._stopped(self.save(picture=False)))
                if self._due(time.perf_counter() - saved_at, first=not saved):
                    with self.stop.saving():
                        self.save()
                    saved, saved_at = True, time.perf_counter()
        self._finish()
        return self.loop.step

    def save(self, *, picture: bool = True) -> Path:
        """Write a checkpoint of the training as it stands, and of the denoiser if it is usable."""
        subject, step, state = self.subject, self.loop.step, self._state()
        if not subject.usable:
            folder = self.keeper.training(subject.folder, state)
        else:
            parameters = subject.denoiser.network.parameters
            self.ema.store(parameters())
            self.ema.copy_to(parameters())
            folder = self.keeper.denoiser(
                subject.folder, subject.denoiser, step, training=state, complete=False
            )
            if picture:
                subject.on_checkpoint(subject.denoiser, step)
            self.ema.restore(parameters())
        subject.denoiser.network.train()
        self.on_save()
        return folder

    def _state(self) -> TrainingState:
        """A copy of all that the next step depends on."""
        subject = self.subject
        extra: dict[str, Any] = {
            "horizon": self.horizon.steps,
            "budget": None,
            "pending": [
                [
                    s.step,
                    s.loss if math.isfinite(s.loss) else None,
                    s.learning_rate,
                    s.n_img,
                    s.skipped,
                ]
                for s in self._pending
            ],
            "metrics_bytes": metrics_size(self.keeper.run),
        }
        if self.budget is not None:
            extra["budget"] = {
                "spent": self.budget.spent,
                "marks_passed": self.budget.marks_passed,
            }
        return capture(subject.denoiser, self.ema, self.loop, subject.watch, extra)

    def _note(self, stats: StepStats, task: Task) -> None:
        """Everything that a step leads to: a new horizon, a held-out loss, a line of the log."""
        subject, done, watch = self.subject, self.loop.step, self.subject.watch
        self.on_seconds(stats.seconds)
        if self.budget is not None:
            self.horizon.steps = self.budget.horizon(done, self.horizon.steps)
        if watch is not None and (watch.due(done) or done == self.horizon.steps):
            loss = watch.check(subject.denoiser, self.ema, done)
            log_held_out(self.keeper.run, done, loss)
            if watch.exhausted:
                self.horizon.steps = done
        self._pending.append(stats)
        if len(self._pending) == LOG_EVERY or done == self.horizon.steps:
            loss = log_steps(self.keeper.run, subject.phase, self._pending)
            batch = subject.options.batch_size
            task.resize(self.horizon.steps * batch)
            task.advance(len(self._pending) * batch, f"loss {loss:.4f}")
            self._pending.clear()

    def _due(self, seconds: float, *, first: bool) -> bool:
        if self.loop.bad_in_a_row:  # what is worth going back to is from before the first of them
            return False
        every = self.checkpoint_every
        if isinstance(every, int):
            return self.loop.step % every == 0
        # The first one soon: its picture shows early whether anything is learned at all.
        return seconds > min(parse_duration(every), FIRST_SECONDS if first else math.inf)

    def _stopped(self, folder: Path) -> str:
        run = self.keeper.run.path
        return (
            f"the network after {self.loop.step} steps is saved in {folder}; "
            f"`synthaug fit --resume --run {run}` goes on from there"
        )

    def _finish(self) -> None:
        denoiser, watch = self.subject.denoiser, self.subject.watch
        self.ema.copy_to(denoiser.network.parameters())
        denoiser.network.eval()
        if watch is not None and watch.losses:
            watch.restore_best(denoiser)
