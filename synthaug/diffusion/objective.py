"""What a denoiser is trained to make small: L_simple, the exact bound, min-SNR, learned variances.

A squared error can be told in eps, v or x_0, and one converts into another exactly:
||eps - eps_hat||^2 = SNR ||x_0 - x_0_hat||^2 and ||v - v_hat||^2 = (SNR + 1) ||x_0 - x_0_hat||^2.
Every weighting is written for the x_0 error once and converted by these.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from synthaug.diffusion.bound import (
    Variance,
    decoder_nats,
    fixed_log_variance,
    learned_log_variance,
    log_variance_range,
    posterior_tables,
    term_nats,
)
from synthaug.diffusion.process import Prediction, at, q_sample, target, x0_from
from synthaug.diffusion.schedule import NoiseSchedule

Weighting = Literal["simple", "bound", "min_snr"]
HYBRID_LAMBDA = 0.001
"""Weight of the bound beside the plain error where variances are learned (N. & D. 2021, Eq. 16)."""


@dataclass(frozen=True)
class Objective:
    """A loss per image for a network of this `prediction` and reverse `variance`.

    - `simple`: the squared error in the network's own terms; Eq. 14 of Ho et al. (2020) for eps.
    - `bound`: the variational bound itself, every term weighted as it is in Eq. 12.
    - `min_snr`: min(SNR, gamma) on the x_0 error (Hang et al. 2023, arXiv:2303.09556).

    With `variance` "learned", `bound` trains means and variances by the bound, and the two others
    add lambda times the bound for the variances alone: L_hybrid of Nichol & Dhariwal (2021).
    """

    prediction: Prediction
    weighting: Weighting = "simple"
    variance: Variance = "beta_tilde"
    min_snr_gamma: float = 5.0

    @property
    def is_plain(self) -> bool:
        """Whether the loss is the plain squared error and nothing else."""
        return self.weighting == "simple" and self.variance != "learned"

    def losses(
        self,
        output: Tensor,
        fraction: Tensor | None,
        x_0: Tensor,
        eps: Tensor,
        t: Tensor,
        schedule: NoiseSchedule,
    ) -> Tensor:
        """The loss of each image, [B], for the network's answer [B, C, H, W] at x_t.

        `fraction` [B, C, H, W] places each variance between beta_tilde (0) and beta (1); None
        unless variances are learned. `simple` and `min_snr` are means over an image's numbers;
        `bound` is in bits per dimension and, t being uniform, estimates L - L_T without bias.
        """
        if self.weighting == "bound" and self.variance != "learned":
            return self._bound(output, x_0, eps, t, schedule)
        alpha_bar = at(schedule.alpha_bars, t, x_0)
        weighted = self.squared_errors(output, x_0, eps, alpha_bar)
        if self.weighting == "min_snr":
            weighted = weighted * self.error_weights(schedule).to(x_0.dtype).to(x_0.device)[t]
        if self.variance != "learned":
            return weighted
        assert fraction is not None
        x_0_hat = x0_from(self.prediction, output, q_sample(x_0, t, eps, schedule), alpha_bar)
        # Eq. 16: the hybrid's bound teaches the variance only; the mean is held still.
        held = x_0_hat if self.weighting == "bound" else x_0_hat.detach()
        log_variance = learned_log_variance(fraction, t, schedule)
        nats = term_nats(x_0, held, t, schedule, log_variance)
        bits = schedule.T * nats / (math.log(2) * x_0[0].numel())
        return bits if self.weighting == "bound" else weighted + HYBRID_LAMBDA * bits

    def squared_errors(self, output: Tensor, x_0: Tensor, eps: Tensor, alpha_bar: Tensor) -> Tensor:
        """Mean squared error of each image in the network's own terms, [B]."""
        error = output - target(self.prediction, x_0, eps, alpha_bar)
        return error.square().flatten(1).mean(1)

    def error_weights(self, schedule: NoiseSchedule) -> Tensor:
        """Weight of the squared error in the network's own terms at each t, float64 [T].

        For `bound` it makes nats of a sum of squares, beta^2 / (2 sigma^2 alpha (1 - alpha_bar))
        for eps; its entry at t = 0 is not used, where the discretised decoder stands.
        """
        snr, alpha_bars = schedule.snr, schedule.alpha_bars
        if self.weighting == "simple":
            return torch.ones_like(snr)
        if self.weighting == "min_snr":
            of_x0 = snr.clamp(max=self.min_snr_gamma)
        else:
            assert self.variance != "learned", "a learned variance is no function of t alone"
            sigma2 = fixed_log_variance(schedule, self.variance).exp()
            of_x0 = posterior_tables(schedule)[0].square() / (2 * sigma2)
        if self.prediction == "x0":
            return of_x0
        # SNR is tiny but never 0 at the end of the cosine schedule, and so is what it divides.
        return of_x0 / snr if self.prediction == "eps" else of_x0 * (1 - alpha_bars)

    def _bound(
        self, output: Tensor, x_0: Tensor, eps: Tensor, t: Tensor, schedule: NoiseSchedule
    ) -> Tensor:
        """T times each image's term, in bits/dim, with a variance that is a function of t."""
        assert self.variance != "learned"
        alpha_bar = at(schedule.alpha_bars, t, x_0)
        log_sigma2 = fixed_log_variance(schedule, self.variance)
        gap = log_variance_range(schedule)[0] - log_sigma2  # log of beta_tilde / sigma^2
        constant = 0.5 * (gap.exp() - gap - 1)  # of two Gaussians with the same mean
        n = x_0[0].numel()
        weights, constants = (
            values.to(x_0.dtype).to(x_0.device)[t]
            for values in (self.error_weights(schedule), constant)
        )
        nats = n * (weights * self.squared_errors(output, x_0, eps, alpha_bar) + constants)
        first = t == 0
        if bool(first.any()):
            x_t = q_sample(x_0, t, eps, schedule)
            mean = x0_from(self.prediction, output, x_t, alpha_bar)[first]
            decoded = decoder_nats(x_0[first], mean, at(log_sigma2, t[first], x_0).expand_as(mean))
            nats = nats.index_put((first,), decoded)
        return schedule.T * nats / (math.log(2) * n)
