"""What happens on the way: real images turning into noise, and noise into an image."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from synthaug.diffusion.denoiser import Denoiser, to_model_range, to_uint8
from synthaug.diffusion.generation import bind_sampler, check_sampling
from synthaug.diffusion.noise import ImageNoise
from synthaug.diffusion.process import q_sample
from synthaug.diffusion.samplers import spaced_timesteps
from synthaug.diffusion.schedule import NoiseSchedule


def forward_images(
    images: np.ndarray, seeds: np.ndarray, timesteps: list[int], schedule: NoiseSchedule
) -> np.ndarray:
    """x_t of real images uint8 [N, C, H, W] at each of S timesteps, uint8 [S, N, C, H, W].

    One draw of noise an image serves all its timesteps, so the eye can follow it (Ho et al. 2020,
    Eq. 4, arXiv:2006.11239). What lies outside [-1, 1] is shown as black or white.
    """
    x_0 = to_model_range(torch.tensor(images))
    eps = ImageNoise(seeds, images.shape[1:], torch.device("cpu"))()
    steps = [q_sample(x_0, torch.full((len(x_0),), t), eps, schedule) for t in timesteps]
    return np.stack([to_uint8(x_t).numpy() for x_t in steps])


@dataclass(frozen=True)
class Estimates:
    """`x_0_hat` uint8 [S, N, C, H, W] at each of S `timesteps`, and the `samples` [N, C, H, W]."""

    timesteps: list[int]
    x_0_hat: np.ndarray
    samples: np.ndarray


def record(denoise: Callable[..., Any], into: dict[int, Tensor]) -> Callable[..., Any]:
    """The same denoiser, which also leaves each timestep's last estimate in `into`.

    It may answer with a variance beside the estimate. A solver of higher order asks more than once
    at a timestep; the last time is from where it is.
    """

    def recorded(x_t: Tensor, t: int) -> Any:
        answer = denoise(x_t, t)
        into[t] = answer[0] if isinstance(answer, tuple) else answer
        return answer

    return recorded


@torch.inference_mode()
def progressive_estimates(
    denoiser: Denoiser,
    labels: np.ndarray,
    seeds: np.ndarray,
    *,
    sampler: str = "ddim",
    steps: int = 20,
    cfg_scale: float = 1.0,
    eta: float = 0.0,
) -> Estimates:
    """x_0_hat at every timestep while N images are drawn from noise: Ho et al. (2020), Fig. 6.

    The samples are those that `generate_images` draws from the same seeds in one batch. Raises
    `UsageError` as `check_sampling` does.
    """
    check_sampling(sampler, steps, denoiser.schedule.T, eta)
    denoiser.network.eval()
    y = torch.from_numpy(labels).to(denoiser.device)
    noise = ImageNoise(seeds, denoiser.image_shape, denoiser.device)
    seen: dict[int, Tensor] = {}
    draw = bind_sampler(sampler, denoiser, y, cfg_scale, eta, lambda call: record(call, seen))
    timesteps = spaced_timesteps(denoiser.schedule.T, steps)
    x_0 = draw(noise(), denoiser.schedule, timesteps, noise)
    x_0_hat = [to_uint8(seen[t].nan_to_num(-1.0)).cpu().numpy() for t in timesteps]
    return Estimates(timesteps, np.stack(x_0_hat), to_uint8(x_0.nan_to_num(-1.0)).cpu().numpy())
