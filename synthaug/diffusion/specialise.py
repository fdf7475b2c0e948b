"""Specialists: the joint model continued on one class, kept only where that measurably helps."""

import copy
from dataclasses import dataclass

import numpy as np
from diffusers.training_utils import EMAModel

from synthaug.diffusion.adapters import add_adapters, merge_adapters
from synthaug.diffusion.denoiser import Denoiser
from synthaug.diffusion.training import denoising_losses
from synthaug.words import number_of

JUDGE_EVALUATIONS, LEAST_DRAWS, MOST_DRAWS = 4096, 32, 256
"""Network evaluations for a class, shared out over its held-out images, and how many one gets."""


@dataclass(frozen=True)
class SpecialistVerdict:
    """Held-out denoising loss of the base and of the specialist, and which of them is used.

    Losses are means over `n_held_out` images; None when there was nothing to judge by.
    """

    kept: bool
    reason: str
    n_held_out: int
    base_loss: float | None
    specialist_loss: float | None


def begin_specialist(base: Denoiser, *, rank: int | None, seed: int) -> Denoiser:
    """A copy of `base` to be trained on, with low-rank adapters of `rank` unless that is None."""
    specialist = copy.deepcopy(base)
    if rank is not None:
        add_adapters(specialist.network, rank, seed=seed)
    return specialist


def finish_specialist(specialist: Denoiser, ema: EMAModel) -> Denoiser:
    """Give a trained specialist its running average, and merge adapters if it has any."""
    ema.copy_to(specialist.network.parameters())
    merge_adapters(specialist.network)
    return specialist


def judge_specialist(
    base: Denoiser, specialist: Denoiser, images: np.ndarray, labels: np.ndarray
) -> SpecialistVerdict:
    """Compare both on held-out images of the class, uint8 [N, C, H, W], with the same noise.

    The specialist is kept only if its mean loss is lower; a class without held-out images keeps
    the base, because a gain nobody can measure is more likely a replay of the train images.
    """
    n = len(images)
    if n == 0:
        return SpecialistVerdict(False, "no held-out images to judge by", 0, None, None)
    draws = min(max(JUDGE_EVALUATIONS // n, LEAST_DRAWS), MOST_DRAWS)
    base_loss = float(denoising_losses(base, images, labels, draws=draws).mean())
    own_loss = float(denoising_losses(specialist, images, labels, draws=draws).mean())
    kept = own_loss < base_loss
    change = (own_loss - base_loss) / base_loss
    reason = (
        f"held-out denoising loss {own_loss:.4f} against the base's {base_loss:.4f} "
        f"({change:+.1%}, {number_of(n, 'image')})"
    )
    return SpecialistVerdict(kept, reason, n, base_loss, own_loss)
