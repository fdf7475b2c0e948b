"""The variational bound of images in bits per dimension, term by term, each image for itself.

L = L_T + sum_{t>=1} L_t + L_0 with the discretised Gaussian decoder (Ho et al. 2020, Eq. 5 and 13,
arXiv:2006.11239); `bound.py` has the terms. Lower is better, and 8 is what knowing nothing about
256 grey levels costs.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from synthaug.diffusion.bound import (
    Variance,
    fixed_log_variance,
    learned_log_variance,
    prior_nats,
    term_nats,
)
from synthaug.diffusion.denoiser import Denoiser, to_model_range
from synthaug.diffusion.noise import step_generator
from synthaug.diffusion.process import at, q_sample, x0_from
from synthaug.diffusion.schedule import NoiseSchedule

Estimate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor | None]]
"""(x_t [B, C, H, W], t int64 [B]) -> (x_0_hat, variance fraction or None), all float64 on the CPU.

B consecutive entries belong to one image; which one, whoever makes the callable knows.
"""


@dataclass(frozen=True)
class BoundTerms:
    """The bound of N images in bits per dimension; each field float64 [N] but the last.

    `prior` is L_T, `steps` the sum of L_t over t >= 1, `decoder` L_0. `per_t` float64 [T] is the
    mean over images of the term at each t, NaN where a subset of timesteps never met it.
    """

    prior: np.ndarray
    steps: np.ndarray
    decoder: np.ndarray
    per_t: np.ndarray

    @property
    def total(self) -> np.ndarray:
        return self.prior + self.steps + self.decoder


def timestep_strata(T: int, n: int) -> np.ndarray:
    """Edges int64 [n] that cut 1..T-1 into n - 1 strata, fine at small t: e_0 = 1, e_last = T.

    They grow as squares, because nearly all bits are paid at small t; there a stratum holds one
    timestep and costs no variance. Raises `ValueError` unless 2 <= n <= T.
    """
    if not 2 <= n <= T:
        raise ValueError(f"the number of timesteps must lie in 2..{T}, got {n}")
    k = np.arange(n)
    edges = 1 + np.rint((T - 1) * (k / (n - 1)) ** 2).astype(np.int64)
    return np.asarray(np.maximum.accumulate(edges - k) + k, dtype=np.int64)


def variational_bound(
    estimate_for: Callable[[int], Estimate],
    images: np.ndarray,
    schedule: NoiseSchedule,
    *,
    variance: Variance = "beta_tilde",
    timesteps: int | None = None,
    seed: int = 0,
    batch_size: int = 256,
    on_image: Callable[[int], None] = lambda i: None,
) -> BoundTerms:
    """The bound of each of `images`, uint8 [N, C, H, W], under the model `estimate_for(i)`.

    `timesteps` evaluations of the network per image: the decoder's, and one t drawn from each
    stratum, which is unbiased; None, or T, takes every t. Image i draws from (seed, i) only, so two
    models, or two sets of images, meet the same timesteps and the same noise. Raises `ValueError`
    as `timestep_strata` does.
    """
    n_t = schedule.T if timesteps is None else timesteps
    edges = timestep_strata(schedule.T, n_t)
    sizes = np.diff(edges)
    bits = math.log(2) * math.prod(images.shape[1:])
    prior, steps, decoder = (np.zeros(len(images)) for _ in range(3))
    sums, met = np.zeros(schedule.T), np.zeros(schedule.T)
    for i, image in enumerate(images):
        draw = step_generator(seed, i)
        u = torch.rand(n_t - 1, generator=draw, dtype=torch.float64).numpy()
        t = torch.from_numpy(np.concatenate([[0], edges[:-1] + (u * sizes).astype(np.int64)]))
        x_0 = to_model_range(torch.from_numpy(image)).double()[None]
        estimate, nats = estimate_for(i), []
        for part in t.split(batch_size):
            x = x_0.expand(len(part), -1, -1, -1)
            eps = torch.randn(x.shape, generator=draw, dtype=torch.float64)
            x_0_hat, fraction = estimate(q_sample(x, part, eps, schedule), part)
            if variance == "learned":
                assert fraction is not None
                log_variance = learned_log_variance(fraction, part, schedule)
            else:
                log_variance = at(fixed_log_variance(schedule, variance), part, x)
            nats.append(term_nats(x, x_0_hat, part, schedule, log_variance))
        terms = torch.cat(nats).numpy() / bits
        prior[i] = float(prior_nats(x_0, schedule)) / bits
        decoder[i], steps[i] = terms[0], (sizes * terms[1:]).sum()
        sums[t.numpy()] += terms
        met[t.numpy()] += 1
        on_image(i)
    per_t = np.divide(sums, met, out=np.full(schedule.T, np.nan), where=met > 0)
    return BoundTerms(prior, steps, decoder, per_t)


@torch.inference_mode()
def denoiser_bound(
    denoiser: Denoiser,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    variance: Literal["beta_tilde", "beta"] | None = None,
    timesteps: int | None = None,
    seed: int = 0,
    on_image: Callable[[int], None] = lambda i: None,
) -> BoundTerms:
    """`variational_bound` of images with their labels, int64 [N], under a denoiser.

    x_0_hat is clipped to [-1, 1] as in sampling. `variance` None takes the denoiser's own.
    """
    denoiser.network.eval()

    def estimate_for(i: int) -> Estimate:
        def estimate(x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor | None]:
            y = torch.full((len(t),), int(labels[i]), device=denoiser.device)
            on_device = x_t.float().to(denoiser.device)
            output, v = denoiser.predict_both(on_device, t.to(denoiser.device), y)
            alpha_bar = at(denoiser.schedule.alpha_bars, t, x_t)
            x_0_hat = x0_from(denoiser.prediction, output.cpu().double(), x_t, alpha_bar)
            return x_0_hat.clamp(-1, 1), None if v is None else v.cpu().double()

        return estimate

    return variational_bound(
        estimate_for, images, denoiser.schedule, variance=variance or denoiser.variance,
        timesteps=timesteps, seed=seed, on_image=on_image,
    )  # fmt: skip
