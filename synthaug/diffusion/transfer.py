"""Two published ways in which frequent classes help rare ones while a denoiser is trained.

Both act on one batch of Algorithm 1 and leave sampling as it is. Shapes: images [B, C, H, W],
labels and t int64 [B], `alpha_bar` broadcastable to the images.
"""

from typing import Literal

import torch
from torch import Tensor

from synthaug.diffusion.process import Prediction

TransferName = Literal["none", "cbdm", "t2h"]

CBDM_GAMMA = 0.25
"""Weight of the half of the regulariser that moves the other class's prediction."""


def cbdm_regulariser(
    output: Tensor,
    other: Tensor,
    t: Tensor,
    *,
    T: int,
    tau: float,
    prediction: Prediction,
    alpha_bar: Tensor,
) -> Tensor:
    """The class-balancing term of each image [B] (CBDM, Qin et al. 2023, arXiv:2305.00562).

    tau t/T (|h - sg(h')|^2 + 1/4 |sg(h) - h'|^2), meaned over pixels: h is the noise predicted
    under the image's own label (`output`), h' under another label drawn from the classes
    (`other`), sg stops the gradient. Two outputs of another parameterisation for the same x_t are
    brought to the scale of the noise first.
    """
    difference = _eps_scale(prediction, alpha_bar) * (output - other.detach())
    reverse = _eps_scale(prediction, alpha_bar) * (output.detach() - other)
    both = difference.square() + CBDM_GAMMA * reverse.square()
    return tau * t / T * both.flatten(1).mean(1)


def t2h_swap(
    x_0: Tensor,
    x_t: Tensor,
    labels: Tensor,
    counts: Tensor,
    alpha_bar: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """For each noisy image the position in the batch of the image it is denoised to, int64 [B].

    Oriented calibration from tail to head (Zhang et al. 2024, openreview NW2s5XXwXU): image z of
    the batch is drawn with probability proportional to q(x_t | z) = N(sqrt(alpha_bar) z,
    (1 - alpha_bar) I), and taken if its class has at least as many train images (`counts` [K]) as
    the own one; otherwise the own image stays the target.
    """
    own = torch.arange(len(x_0), device=x_0.device)
    bar = alpha_bar.flatten(1)  # [B, 1]
    scaled = bar.sqrt()[:, None] * x_0.flatten(1)[None]  # [B noisy, B clean, D]
    distance = (x_t.flatten(1)[:, None] - scaled).square().sum(-1)  # [B, B]
    likelihood = torch.softmax(-distance / (2 * (1 - bar)), dim=1)
    drawn = torch.multinomial(likelihood.cpu(), 1, generator=generator)[:, 0].to(x_0.device)
    allowed = counts[labels[drawn]] >= counts[labels]
    return torch.where(allowed, drawn, own)


def _eps_scale(prediction: Prediction, alpha_bar: Tensor) -> Tensor | float:
    """Difference of two noise estimates over the difference of the outputs they come from."""
    if prediction == "eps":
        return 1.0
    if prediction == "v":
        return alpha_bar.sqrt()
    return (alpha_bar / (1 - alpha_bar)).sqrt()
