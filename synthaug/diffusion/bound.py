"""The terms of the variational bound, in nats per image (Ho et al. 2020, Eq. 5 and 13).

L = L_T + sum_{t>=1} L_t + L_0, where index t is the paper's L_{t-1} with its t counted from 1, so
`step_nats` at t and `decoder_nats` at 0 are KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)) and
-log p(x_0 | x_1). Images are float [B, C, H, W] in [-1, 1], `t` int64 [B] in 0..T-1, log-variances
broadcast to the images; every function returns [B]. arXiv:2006.11239; for learned variances
Nichol & Dhariwal (2021), arXiv:2102.09672.
"""

from typing import Literal

import torch
from torch import Tensor

from synthaug.diffusion.process import at
from synthaug.diffusion.schedule import NoiseSchedule

Variance = Literal["beta_tilde", "beta", "learned"]
HALF_BIN = 1 / 255
"""Half the distance of two grey levels in [-1, 1]."""


def posterior_tables(schedule: NoiseSchedule) -> tuple[Tensor, Tensor, Tensor]:
    """(c_0, c_t, beta_tilde) of q(x_{t-1} | x_t, x_0) for every t, float64 [T] (Eq. 7).

    At t = 0 the posterior is x_0 itself: (1, 0, 0).
    """
    before = torch.cat([torch.ones(1, dtype=torch.float64), schedule.alpha_bars[:-1]])
    rest, rest_before = 1 - schedule.alpha_bars, 1 - before
    c_0 = before.sqrt() * schedule.betas / rest
    return c_0, schedule.alphas.sqrt() * rest_before / rest, rest_before / rest * schedule.betas


def log_variance_range(schedule: NoiseSchedule) -> tuple[Tensor, Tensor]:
    """(log beta_tilde_t, log beta_t), float64 [T]: the least and the most a step can have.

    beta_tilde_0 is 0, so beta_tilde_1 stands there, as in the code of Ho et al.
    """
    beta_tilde = posterior_tables(schedule)[2]
    beta_tilde[0] = beta_tilde[1] if schedule.T > 1 else schedule.betas[0]
    return beta_tilde.log(), schedule.betas.log()


def fixed_log_variance(schedule: NoiseSchedule, variance: Literal["beta_tilde", "beta"]) -> Tensor:
    """log sigma_t^2 of p(x_{t-1} | x_t), float64 [T]; at t = 0 it is beta_tilde_1 for both.

    There it is the width of the decoder, and the code of Ho et al. takes the smaller one.
    """
    least, most = log_variance_range(schedule)
    return least if variance == "beta_tilde" else torch.cat([least[:1], most[1:]])


def learned_log_variance(fraction: Tensor, t: Tensor, schedule: NoiseSchedule) -> Tensor:
    """log sigma_t^2 = v log beta_t + (1 - v) log beta_tilde_t with v the `fraction` (Eq. 15)."""
    least, most = (at(values, t, fraction) for values in log_variance_range(schedule))
    return fraction * most + (1 - fraction) * least


def prior_nats(x_0: Tensor, schedule: NoiseSchedule) -> Tensor:
    """L_T = KL(q(x_T | x_0) || N(0, I)): what is left of the image where all should be noise."""
    alpha_bar = schedule.alpha_bar(schedule.T - 1)
    rest = torch.tensor(1 - alpha_bar, dtype=torch.float64)
    kl = 0.5 * (alpha_bar * x_0.square() - alpha_bar - float(rest.log()))
    return kl.flatten(1).sum(1)


def step_nats(
    x_0: Tensor, x_0_hat: Tensor, t: Tensor, schedule: NoiseSchedule, log_variance: Tensor
) -> Tensor:
    """L_t for t >= 1: the KL divergence of two Gaussians whose means differ by c_0 (x_0 - x_0_hat).

    At t = 0 the number is finite and means nothing: `decoder_nats` belongs there.
    """
    c_0 = at(posterior_tables(schedule)[0], t, x_0)
    log_true = at(log_variance_range(schedule)[0], t, x_0)
    squares = (c_0 * (x_0 - x_0_hat)).square()
    kl = 0.5 * (
        log_variance - log_true - 1 + (log_true - log_variance).exp()
        + squares * (-log_variance).exp()
    )  # fmt: skip
    return kl.flatten(1).sum(1)


def decoder_nats(x_0: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """L_0 = -log p(x_0 | x_1), a Gaussian integrated over the bin of each grey level (Eq. 13).

    The darkest and the brightest bin reach to infinity. Computed in float64, since the tails of a
    narrow decoder are far out; on the CPU where the device has no float64.
    """
    device = "cpu" if x_0.device.type == "mps" else x_0.device
    x, m, log_v = (v.to(device).double() for v in (x_0, mean, log_variance))
    inverse = (-0.5 * log_v).exp()
    z, h = (x - m) * inverse, HALF_BIN * inverse
    # By symmetry both ends of the bin lie on the left tail, where log_ndtr keeps its digits.
    upper = torch.special.log_ndtr(h - z.abs())
    lower = torch.special.log_ndtr(-h - z.abs())
    inside = upper + torch.log(-torch.expm1((lower - upper).clamp(max=-1e-12)))
    below, above = torch.special.log_ndtr(z + h), torch.special.log_ndtr(h - z)
    log_p = torch.where(x < -1 + HALF_BIN, below, torch.where(x > 1 - HALF_BIN, above, inside))
    return -log_p.flatten(1).sum(1).to(x_0.dtype).to(x_0.device)


def term_nats(
    x_0: Tensor, x_0_hat: Tensor, t: Tensor, schedule: NoiseSchedule, log_variance: Tensor
) -> Tensor:
    """The term of the bound that belongs to each t: the decoder's at 0, a KL divergence above."""
    terms = step_nats(x_0, x_0_hat, t, schedule, log_variance)
    first = t == 0
    if bool(first.any()):
        log_variance = log_variance.expand_as(x_0)
        # At t = 0 the posterior mean is x_0_hat itself: c_0 = 1 and c_t = 0.
        decoded = decoder_nats(x_0[first], x_0_hat[first], log_variance[first])
        terms = terms.index_put((first,), decoded)
    return terms
