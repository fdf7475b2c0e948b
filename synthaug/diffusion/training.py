"""Training a denoiser: Algorithm 1 of Ho et al. (2020) with what few and unequal classes need.

Over the algorithm: batches.py decides what a step sees, gradients.py what it makes small and in
what parts; weights are averaged, and every draw of a step is a function of (seed, step) so that the
same call always trains the same network.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from diffusers.training_utils import EMAModel
from torch import Tensor

from synthaug.diffusion.batches import BatchDraws, TrainingOptions
from synthaug.diffusion.denoiser import Denoiser, to_model_range
from synthaug.diffusion.gradients import objective_of, step_gradients
from synthaug.diffusion.noise import step_generator
from synthaug.diffusion.process import at, q_sample, target
from synthaug.diffusion.team import Team
from synthaug.errors import DivergedError

MAX_BAD_STEPS = 10


@dataclass(frozen=True)
class StepStats:
    """One optimiser step: images seen, wall-clock seconds, and the batch's mean squared error.

    `loss` is that plain error whatever is optimised, so that runs can be compared.
    """

    step: int
    loss: float
    learning_rate: float
    n_img: int
    skipped: int
    seconds: float = field(default=0.0, compare=False)


@dataclass
class Horizon:
    """How many steps a training will take. Its owner may move it while the training runs.

    The learning rate follows it, so a move is part of what has to be known to repeat a run.
    """

    steps: int


@dataclass
class LoopState:
    """Where a training stands beside its weights: what its next step depends on.

    `step` counts steps done, `skipped` those that changed nothing because they were not finite,
    `bad_in_a_row` the last of them; `learning_rate_factor` is on top of the schedule.
    """

    optimiser: torch.optim.Optimizer
    step: int = 0
    skipped: int = 0
    bad_in_a_row: int = 0
    learning_rate_factor: float = 1.0


def start_loop(denoiser: Denoiser, options: TrainingOptions) -> LoopState:
    """A training before its first step, of the weights that are not frozen."""
    optimiser = torch.optim.AdamW(
        [p for p in denoiser.network.parameters() if p.requires_grad],
        lr=options.learning_rate,
        weight_decay=options.weight_decay,
    )
    return LoopState(optimiser)


def learning_rate_at(step: int, total: int, options: TrainingOptions) -> float:
    """Linear warm-up, then half a cosine down to zero at step `total`."""
    warmup = min(options.warmup_steps, max(total // 10, 1))
    if step < warmup:
        return options.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(total - warmup, 1)
    return options.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def make_ema(denoiser: Denoiser, decay: float) -> EMAModel:
    """An average of the weights that starts at them and warms up as (1 + step) / (10 + step)."""
    return EMAModel(denoiser.network.parameters(), decay=decay, foreach=True)


def train_denoiser(
    denoiser: Denoiser,
    ema: EMAModel,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    steps: int | Horizon,
    seed: int,
    options: TrainingOptions,
    loop: LoopState | None = None,
    team: Team | None = None,
) -> Iterator[StepStats]:
    """Train in place, yielding after every optimiser step; `ema` holds the averaged weights.

    `images` uint8 [N, C, H, W] and `labels` int64 [N] are the train split and nothing else. What
    is made small is the `Objective` of `options.loss` and the denoiser's prediction and variance;
    by default ||target - network||^2: L_simple (Ho et al. 2020, Eq. 14) for eps-prediction, its
    SNR+1-weighted form for v-prediction (Salimans & Ho 2022, Section 4).

    `loop` is where the training stands, at its beginning if it is not given; it is moved on before
    a step is yielded. A step whose loss or gradient is not finite is skipped and changes nothing
    else. Raises `DivergedError` after `MAX_BAD_STEPS` of them in a row.

    With a `team` that this process leads, its followers take their shares of every batch: up to
    rounding, and to the masks of dropout, the same steps. Raises `MemoryError` if memory gave out
    in one of them, and `ResourceError` if one is gone.
    """
    network = denoiser.network
    loop = loop or start_loop(denoiser, options)
    draws = BatchDraws(denoiser, images, labels, options, seed)
    horizon = Horizon(steps) if isinstance(steps, int) else steps
    objective = objective_of(denoiser, options)
    network.train()
    if team is not None:
        team.begin(denoiser, images, labels, options, seed)
    while loop.step < horizon.steps:
        started, step = time.perf_counter(), loop.step
        loop.optimiser.zero_grad(set_to_none=True)
        if team is not None:
            team.order_step(step, network)
        loss, error = step_gradients(denoiser, objective, draws, step, options, team)
        learning_rate = learning_rate_at(step, horizon.steps, options) * loop.learning_rate_factor
        if _is_finite(loss, error) and _descend(network, loop.optimiser, learning_rate, options):
            loop.bad_in_a_row = 0
            ema.step(network.parameters())
        else:
            loop.skipped, loop.bad_in_a_row = loop.skipped + 1, loop.bad_in_a_row + 1
            if loop.bad_in_a_row >= MAX_BAD_STEPS:
                rate = options.learning_rate * loop.learning_rate_factor
                raise DivergedError(
                    f"the loss was not finite {loop.bad_in_a_row} steps in a row at step {step}",
                    remedy=f"lower diffusion.learning_rate (now {rate:g})",
                )
        loop.step += 1
        n_img, seconds = loop.step * options.batch_size, time.perf_counter() - started
        yield StepStats(step, error, learning_rate, n_img, loop.skipped, seconds)
    network.eval()


def _is_finite(*values: float | Tensor) -> bool:
    return all(math.isfinite(float(value)) for value in values)


def _descend(
    network: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    learning_rate: float,
    options: TrainingOptions,
) -> bool:
    """One optimiser step down the gradient, unless that is not finite: whether it was."""
    norm = torch.nn.utils.clip_grad_norm_(network.parameters(), options.grad_clip)
    if not _is_finite(norm):
        return False
    for group in optimiser.param_groups:
        group["lr"] = learning_rate
    optimiser.step()
    return True


@torch.inference_mode()
def denoising_losses(
    denoiser: Denoiser, images: np.ndarray, labels: np.ndarray, *, draws: int = 64, seed: int = 0
) -> np.ndarray:
    """Held-out denoising loss of each image, float64 [N]: the training loss averaged over `draws`.

    The timesteps are the midpoints of `draws` equal ranges and the noise depends on
    (seed, image, draw) only, so two denoisers are compared on the same noise.
    """
    network, schedule, device = denoiser.network, denoiser.schedule, denoiser.device
    network.eval()
    t = ((torch.arange(draws) + 0.5) / draws * schedule.T).long().to(device)
    alpha_bar = at(schedule.alpha_bars, t, torch.empty(draws, 1, 1, 1, device=device))
    losses = []
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        eps = torch.randn((draws, *image.shape), generator=step_generator(seed, i)).to(device)
        x_0 = to_model_range(torch.from_numpy(image)).to(device).expand(draws, -1, -1, -1)
        y = torch.full((draws,), int(label), device=device)
        output = denoiser.predict(q_sample(x_0, t, eps, schedule), t, y)
        error = output - target(denoiser.prediction, x_0, eps, alpha_bar)
        losses.append(float(error.square().mean()))
    return np.array(losses, dtype=np.float64)
