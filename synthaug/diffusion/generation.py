"""Drawing images from a denoiser, batch by batch, one seed an image."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from synthaug.diffusion.denoiser import Denoiser, to_uint8
from synthaug.diffusion.noise import ImageNoise
from synthaug.diffusion.partial import PartialStart, partial_timesteps
from synthaug.diffusion.samplers import (
    SAMPLERS,
    evaluations,
    sample_ddim,
    sample_ddpm,
    sample_ddpm_learned,
    spaced_timesteps,
)
from synthaug.errors import UsageError


@dataclass(frozen=True)
class SampleBatch:
    """`images` uint8 [B, C, H, W], `labels` int64 [B], `seeds` int64 [B], `finite` bool [B].

    `nfe` counts network evaluations per image. An image that was not finite is black and not
    `finite`; whoever asked for it decides what to do.
    """

    images: np.ndarray
    labels: np.ndarray
    seeds: np.ndarray
    finite: np.ndarray
    nfe: int


def check_sampling(sampler: str, steps: int, T: int, eta: float = 0.0) -> None:
    """Raise `UsageError` for a sampler or a number of steps that does not exist.

    And for an `eta` that the sampler would ignore: only `ddim` has one.
    """
    if sampler not in SAMPLERS:
        raise UsageError(f"sampler {sampler!r}", expected="one of " + ", ".join(SAMPLERS))
    if not 1 <= steps <= T:
        raise UsageError(f"{steps} sampling steps", expected=f"1 to {T}")
    if eta and sampler != "ddim":
        raise UsageError(
            f"eta {eta:g} with the sampler {sampler}",
            expected="eta 0 for all samplers but ddim",
            remedy="use ddim or set sampling.eta to 0",
        )


@torch.inference_mode()
def generate_images(
    denoiser: Denoiser,
    labels: np.ndarray,
    seeds: np.ndarray,
    *,
    sampler: str = "ddim",
    steps: int = 20,
    cfg_scale: float = 1.0,
    eta: float = 0.0,
    batch_size: int = 128,
    start: PartialStart | None = None,
) -> Iterator[SampleBatch]:
    """Yield the images of `labels` int64 [N] and `seeds` int64 [N] in order.

    They are drawn from pure noise, or from the N real images of `start` at partial noise. `eta` is
    DDIM's: 0 deterministic, 1 ancestral.

    The same seeds at the same batch size give the same pixels; at another batch size they agree
    to floating-point error. Raises `UsageError` as `check_sampling` and
    `partial_timesteps` do.
    """
    check_sampling(sampler, steps, denoiser.schedule.T, eta)
    device = denoiser.device
    timesteps = spaced_timesteps(denoiser.schedule.T, steps)
    if start is not None:
        timesteps = partial_timesteps(timesteps, start.strength, denoiser.schedule.T)
    denoiser.network.eval()
    for position in range(0, len(labels), batch_size):
        batch = slice(position, position + batch_size)
        y = torch.from_numpy(labels[batch]).to(device)
        noise = ImageNoise(seeds[batch], denoiser.image_shape, device)

        x = noise()
        if start is not None:
            x = start.part(batch).encode(timesteps[0], x, denoiser.schedule)
        draw = bind_sampler(sampler, denoiser, y, cfg_scale, eta)
        x_0 = draw(x, denoiser.schedule, timesteps, noise)
        finite = torch.isfinite(x_0).flatten(1).all(dim=1)
        x_0[~finite] = -1.0
        yield SampleBatch(
            images=to_uint8(x_0).cpu().numpy(),
            labels=labels[batch],
            seeds=seeds[batch],
            finite=finite.cpu().numpy(),
            nfe=evaluations(sampler, len(timesteps), cfg_scale),
        )


def bind_sampler(
    name: str,
    denoiser: Denoiser,
    y: Tensor,
    cfg_scale: float,
    eta: float,
    watch: Callable[[Callable[..., Any]], Callable[..., Any]] = lambda denoise: denoise,
) -> Callable[..., Tensor]:
    """The sampler with its denoiser in place; `ddpm` takes the variance the denoiser has.

    `watch` may wrap the call that answers (x_t, t), to see what is estimated on the way.
    """

    def denoise(x_t: Tensor, t: int) -> Tensor:
        return denoiser.denoise(x_t, t, y, cfg_scale)

    def denoise_both(x_t: Tensor, t: int) -> tuple[Tensor, Tensor]:
        x_0_hat, fraction = denoiser.denoise_both(x_t, t, y, cfg_scale)
        assert fraction is not None
        return x_0_hat, fraction

    if name == "ddim":
        return partial(sample_ddim, watch(denoise), eta=eta)
    if name != "ddpm":
        return partial(SAMPLERS[name], watch(denoise))
    if denoiser.variance == "learned":
        return partial(sample_ddpm_learned, watch(denoise_both))
    return partial(sample_ddpm, watch(denoise), variance=denoiser.variance)
