"""The Gaussian diffusion process: closed forms and the three ways of writing one prediction.

Images are float [B, C, H, W] in [-1, 1]; `t` is int64 [B] in 0..T-1; every function returns the
shape and dtype of its images. `alpha_bar` arguments are broadcastable to the images.
Formulas: Ho et al. (2020), arXiv:2006.11239, unless another source is named.
"""

from typing import Literal

from torch import Tensor

from synthaug.diffusion.schedule import NoiseSchedule

Prediction = Literal["eps", "v", "x0"]


def at(values: Tensor, t: Tensor, like: Tensor) -> Tensor:
    """values[t] as [B, 1, 1, 1] in the dtype and on the device of `like`."""
    return values.to(like.dtype).to(like.device)[t].view(-1, *[1] * (like.ndim - 1))


def q_sample(x_0: Tensor, t: Tensor, eps: Tensor, schedule: NoiseSchedule) -> Tensor:
    """x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps (Eq. 4)."""
    alpha_bar = at(schedule.alpha_bars, t, x_0)
    return alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * eps


def q_step(x_prev: Tensor, t: Tensor, eps: Tensor, schedule: NoiseSchedule) -> Tensor:
    """One forward step q(x_t | x_{t-1}): sqrt(1 - beta_t) x_{t-1} + sqrt(beta_t) eps (Eq. 2)."""
    beta = at(schedule.betas, t, x_prev)
    return (1 - beta).sqrt() * x_prev + beta.sqrt() * eps


def posterior_coefficients(alpha_bar_t: float, alpha_bar_s: float) -> tuple[float, float, float]:
    """(c_0, c_t, variance) of q(x_s | x_t, x_0) = N(c_0 x_0 + c_t x_t, variance I), s before t.

    Eq. 6 and 7, with beta = 1 - alpha_bar_t / alpha_bar_s so that steps may be skipped; for
    s = t - 1 these are the paper's coefficients and the variance is its beta-tilde.
    """
    alpha = alpha_bar_t / alpha_bar_s
    beta = 1.0 - alpha
    rest_t, rest_s = 1.0 - alpha_bar_t, 1.0 - alpha_bar_s
    return alpha_bar_s**0.5 * beta / rest_t, alpha**0.5 * rest_s / rest_t, rest_s / rest_t * beta


def target(prediction: Prediction, x_0: Tensor, eps: Tensor, alpha_bar: Tensor) -> Tensor:
    """What a network of this parameterisation is trained to output."""
    if prediction == "eps":
        return eps
    if prediction == "x0":
        return x_0
    # Salimans & Ho (2022), Section 4, arXiv:2202.00512.
    return alpha_bar.sqrt() * eps - (1 - alpha_bar).sqrt() * x_0


def x0_from(prediction: Prediction, output: Tensor, x_t: Tensor, alpha_bar: Tensor) -> Tensor:
    """The estimate of x_0 that a network output stands for (Eq. 15 for eps)."""
    if prediction == "x0":
        return output
    if prediction == "eps":
        return (x_t - (1 - alpha_bar).sqrt() * output) / alpha_bar.sqrt()
    return alpha_bar.sqrt() * x_t - (1 - alpha_bar).sqrt() * output


def eps_from_x0(x_0_hat: Tensor, x_t: Tensor, alpha_bar: float) -> Tensor:
    """The noise that `x_0_hat` implies in x_t; needs alpha_bar < 1."""
    return (x_t - alpha_bar**0.5 * x_0_hat) / (1 - alpha_bar) ** 0.5
