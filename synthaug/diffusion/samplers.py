"""Samplers: flat functions from noise to image, each named for its algorithm.

All share one signature. `denoise(x_t, t)` returns x_0_hat; `x` is x_T, float [B, C, H, W];
`timesteps` are descending ints in 0..T-1; `noise()` returns a fresh standard normal of x's shape.
They return x_0, whose estimate is clipped (or thresholded) to [-1, 1] at every step: few-step
solvers on a network trained on few images otherwise leave the data range by orders of magnitude.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from synthaug.diffusion.process import eps_from_x0, posterior_coefficients
from synthaug.diffusion.schedule import NoiseSchedule

SamplerName = Literal["ddpm", "ddim", "dpmpp_2m", "heun"]
Denoise = Callable[[Tensor, int], Tensor]
DenoiseBoth = Callable[[Tensor, int], tuple[Tensor, Tensor]]
"""As `Denoise`, and the fraction between beta_tilde (0) and beta (1) of each variance."""
Noise = Callable[[], Tensor]


def spaced_timesteps(T: int, steps: int) -> list[int]:
    """`steps` timesteps from T-1 downwards in equal strides ("trailing", Lin et al. 2023, Table 2).

    arXiv:2305.08891. Starting at T-1 matters: there x_T really is noise. `steps` = T gives all.
    Raises `ValueError` unless 1 <= steps <= T.
    """
    if not 1 <= steps <= T:
        raise ValueError(f"steps must lie in 1..{T}, got {steps}")
    return [int(t) for t in np.round(np.arange(T, 0, -T / steps)[:steps]).astype(int) - 1]


def threshold(x_0_hat: Tensor, quantile: float = 0.995) -> Tensor:
    """Dynamic thresholding (Saharia et al. 2022, Section 2.3, arXiv:2205.11487), per image."""
    flat = x_0_hat.abs().flatten(1)
    s = torch.quantile(flat, quantile, dim=1).clamp(min=1.0).view(-1, *[1] * (x_0_hat.ndim - 1))
    return x_0_hat.clamp(-s, s) / s


def sample_ddpm(
    denoise: Denoise,
    x: Tensor,
    schedule: NoiseSchedule,
    timesteps: Sequence[int],
    noise: Noise,
    *,
    variance: Literal["beta", "beta_tilde"] = "beta_tilde",
) -> Tensor:
    """Ancestral sampling, Ho et al. (2020), Algorithm 2; sigma_t^2 is beta_t or beta-tilde_t."""
    for t, s in zip(timesteps, [*timesteps[1:], -1], strict=True):
        x, beta_tilde, beta = _posterior(denoise(x, t), x, schedule, t, s)
        if s >= 0:  # the last step adds no noise
            x = x + math.sqrt(beta_tilde if variance == "beta_tilde" else beta) * noise()
    return x


def sample_ddpm_learned(
    denoise: DenoiseBoth,
    x: Tensor,
    schedule: NoiseSchedule,
    timesteps: Sequence[int],
    noise: Noise,
) -> Tensor:
    """Ancestral sampling with learned variances, Eq. 15 of Nichol & Dhariwal (2021).

    log sigma_t^2 = v log beta_t + (1 - v) log beta-tilde_t. Where steps are skipped, beta and
    beta-tilde are those of the longer step and v stays what it is (their Section 4).
    arXiv:2102.09672.
    """
    for t, s in zip(timesteps, [*timesteps[1:], -1], strict=True):
        x_0_hat, v = denoise(x, t)
        x, beta_tilde, beta = _posterior(x_0_hat, x, schedule, t, s)
        if s >= 0:
            log_sigma2 = v * math.log(beta) + (1 - v) * math.log(beta_tilde)
            x = x + (0.5 * log_sigma2).exp() * noise()
    return x


def _posterior(
    x_0_hat: Tensor, x_t: Tensor, schedule: NoiseSchedule, t: int, s: int
) -> tuple[Tensor, float, float]:
    """Mean of q(x_s | x_t, x_0_hat) with x_0_hat clipped, beta-tilde and beta of that step."""
    alpha_bar_t, alpha_bar_s = schedule.alpha_bar(t), schedule.alpha_bar(s)
    c_0, c_t, beta_tilde = posterior_coefficients(alpha_bar_t, alpha_bar_s)
    return c_0 * x_0_hat.clamp(-1, 1) + c_t * x_t, beta_tilde, 1 - alpha_bar_t / alpha_bar_s


def sample_ddim(
    denoise: Denoise,
    x: Tensor,
    schedule: NoiseSchedule,
    timesteps: Sequence[int],
    noise: Noise,
    *,
    eta: float = 0.0,
) -> Tensor:
    """DDIM, Eq. 12 and 16 of Song et al. (2021), arXiv:2010.02502; eta = 1 is ancestral sampling.

    The noise estimate is recomputed from the clipped x_0_hat, so both stay consistent with x_t.
    """
    for t, s in zip(timesteps, [*timesteps[1:], -1], strict=True):
        alpha_bar_t, alpha_bar_s = schedule.alpha_bar(t), schedule.alpha_bar(s)
        x_0_hat = denoise(x, t).clamp(-1, 1)
        eps_hat = eps_from_x0(x_0_hat, x, alpha_bar_t)
        _, _, beta_tilde = posterior_coefficients(alpha_bar_t, alpha_bar_s)
        sigma = eta * math.sqrt(beta_tilde)
        direction = math.sqrt(max(1 - alpha_bar_s - sigma**2, 0.0))
        x = math.sqrt(alpha_bar_s) * x_0_hat + direction * eps_hat
        if sigma > 0 and s >= 0:
            x = x + sigma * noise()
    return x


def sample_dpmpp_2m(
    denoise: Denoise,
    x: Tensor,
    schedule: NoiseSchedule,
    timesteps: Sequence[int],
    noise: Noise,
) -> Tensor:
    """DPM-Solver++(2M), Algorithm 2 of Lu et al. (2022), arXiv:2211.01095, with thresholding.

    Second order in the half-log-SNR lambda, first order on the first and the last step (at the
    clean end lambda is infinite). Deterministic: `noise` is not drawn from.
    """
    del noise
    previous: Tensor | None = None
    h_previous = 0.0
    for t, s in zip(timesteps, [*timesteps[1:], -1], strict=True):
        x_0_hat = threshold(denoise(x, t))
        if s < 0:
            return x_0_hat
        alpha_t, sigma_t = _alpha_sigma(schedule, t)
        alpha_s, sigma_s = _alpha_sigma(schedule, s)
        h = math.log(alpha_s / sigma_s) - math.log(alpha_t / sigma_t)
        d = x_0_hat
        if previous is not None:
            r = h_previous / h
            d = (1 + 1 / (2 * r)) * x_0_hat - 1 / (2 * r) * previous
        x = sigma_s / sigma_t * x - alpha_s * math.expm1(-h) * d
        previous, h_previous = x_0_hat, h
    return x


def sample_heun(
    denoise: Denoise,
    x: Tensor,
    schedule: NoiseSchedule,
    timesteps: Sequence[int],
    noise: Noise,
) -> Tensor:
    """Heun's method on the probability-flow ODE, Algorithm 1 of Karras et al. (2022), no churn.

    Written in the angle phi of x = cos(phi) x_0 + sin(phi) eps, where dx/dphi is v (Salimans & Ho
    2022, Appendix D, arXiv:2202.00512): in the sigma of the original (arXiv:2206.00364) the first
    step of a cosine schedule spans four orders of magnitude, and the trapezoid is unstable there.
    Second order; the last step is the clean estimate. 2 N - 1 evaluations. Deterministic: `noise`
    is not drawn from.
    """
    del noise

    def slope(x_t: Tensor, x_0_hat: Tensor, t: int) -> Tensor:
        """v that x_0_hat implies: cos(phi) eps - sin(phi) x_0 = (cos(phi) x_t - x_0) / sin(phi)."""
        cos, sin = _alpha_sigma(schedule, t)
        return (cos * x_t - x_0_hat) / sin

    for t, s in zip(timesteps, [*timesteps[1:], -1], strict=True):
        x_0_hat = denoise(x, t).clamp(-1, 1)
        if s < 0:
            return x_0_hat
        d = math.acos(_alpha_sigma(schedule, s)[0]) - math.acos(_alpha_sigma(schedule, t)[0])
        v = slope(x, x_0_hat, t)
        # Euler's step, then the mean of the slopes at both its ends.
        there = x + d * v
        x = x + d / 2 * (v + slope(there, denoise(there, s).clamp(-1, 1), s))
    return x


def _alpha_sigma(schedule: NoiseSchedule, t: int) -> tuple[float, float]:
    alpha_bar = schedule.alpha_bar(t)
    return math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)


SAMPLERS: dict[str, Callable[..., Tensor]] = {
    "ddpm": sample_ddpm,
    "ddim": sample_ddim,
    "dpmpp_2m": sample_dpmpp_2m,
    "heun": sample_heun,
}


def evaluations(sampler: str, steps: int, cfg_scale: float = 1.0) -> int:
    """Network evaluations per image: one a step, two for all but the last of `heun`.

    Guidance (`cfg_scale` other than 1) doubles them.
    """
    return (2 * steps - 1 if sampler == "heun" else steps) * (1 if cfg_scale == 1.0 else 2)
