"""The gradient of one training step: of the whole batch, in micro-batches or shares of a team."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from synthaug.diffusion.batches import Batch, BatchDraws, TrainingOptions
from synthaug.diffusion.denoiser import Denoiser
from synthaug.diffusion.noise import step_generator
from synthaug.diffusion.objective import Objective
from synthaug.diffusion.process import at
from synthaug.diffusion.team import Outcome, Team
from synthaug.diffusion.transfer import cbdm_regulariser
from synthaug.errors import is_out_of_memory


def objective_of(denoiser: Denoiser, options: TrainingOptions) -> Objective:
    """What a training of the denoiser makes small."""
    return Objective(denoiser.prediction, options.loss, denoiser.variance, options.min_snr_gamma)


def step_gradients(
    denoiser: Denoiser,
    objective: Objective,
    draws: BatchDraws,
    step: int,
    options: TrainingOptions,
    team: Team | None = None,
    signum: int = 0,
) -> tuple[float, float]:
    """Give the network the gradient of a step: (what it makes small, the plain squared error).

    Both are means over the batch. In a `team` the leader's network gets the gradient of the whole
    batch; `signum` is the signal that asks this process to stop, which all others are told.
    """
    batch = draws.batch(step)
    n = len(batch.x_t)
    own = batch if team is None else team.share(batch)
    loss = error = torch.zeros((), device=denoiser.device)
    failed = False
    try:
        with _repeatable_dropout(denoiser, draws.seed, step):
            loss, error = _gradients(denoiser, objective, own, n, options)
    except (RuntimeError, MemoryError) as fault:
        if team is None or not is_out_of_memory(fault):
            raise
        failed = True  # told to the others before it is raised, or they would wait for ever
    if team is None:
        return float(loss), float(error)
    return team.gather(denoiser.network, Outcome(float(loss), float(error), failed, signum))


def _gradients(
    denoiser: Denoiser, objective: Objective, batch: Batch, n: int, options: TrainingOptions
) -> tuple[Tensor, Tensor]:
    """Add the gradient of some of the `n` images of a step to the network's, in micro-batches.

    Returns their part of (what the step makes small, the plain squared error), both means over the
    n images. Up to rounding, and to the masks of dropout, the parts come to what the whole would.
    """
    loss = error = torch.zeros((), device=denoiser.device)
    for part in batch.parts(options.micro_batch or n):
        share = len(part.x_t) / n
        own_loss, own_error = _losses(denoiser, objective, part, options)
        (own_loss * share).backward()
        loss, error = loss + own_loss.detach() * share, error + own_error * share
    return loss, error


def probe_gradients(
    denoiser: Denoiser, images: np.ndarray, labels: np.ndarray, options: TrainingOptions, n: int
) -> None:
    """The gradient of `n` images as a training step takes it, to see what it costs; no step."""
    options = replace(options, batch_size=n, micro_batch=None)
    denoiser.network.train()
    draws = BatchDraws(denoiser, images, labels, options, seed=0)
    step_gradients(denoiser, objective_of(denoiser, options), draws, 0, options)


def _losses(
    denoiser: Denoiser, objective: Objective, batch: Batch, options: TrainingOptions
) -> tuple[Tensor, Tensor]:
    """(what the step makes small, the plain squared error), both means over the batch."""
    x_t, t, y, vectors, x_0, eps, other = batch
    schedule = denoiser.schedule
    alpha_bar = at(schedule.alpha_bars, t, x_0)
    output, fraction = denoiser.predict_both(x_t, t, y, vectors)
    loss = objective.losses(output, fraction, x_0, eps, t, schedule).mean()
    error = loss.detach()
    if not objective.is_plain:
        error = objective.squared_errors(output.detach(), x_0, eps, alpha_bar).mean()
    if other is None:
        return loss, error
    term = cbdm_regulariser(
        output, denoiser.predict(x_t, t, other, vectors), t,
        T=schedule.T, tau=options.transfer_tau,
        prediction=denoiser.prediction, alpha_bar=alpha_bar,
    )  # fmt: skip
    # An image without a label has no class to compare with another.
    return loss + torch.where(y == denoiser.null_class, 0.0, term).mean(), error


@contextmanager
def _repeatable_dropout(denoiser: Denoiser, seed: int, step: int) -> Iterator[None]:
    """Dropout masks come from torch's global generator, which is set for one step and put back."""
    network, device = denoiser.network, denoiser.device
    if not any(isinstance(m, torch.nn.Dropout) and m.p > 0 for m in network.modules()):
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(step_generator(seed, step).initial_seed())
        yield
