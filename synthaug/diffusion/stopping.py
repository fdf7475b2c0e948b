"""Early stopping: the weights with the lowest denoising loss on images that nothing learns from."""

from dataclasses import dataclass, field

import numpy as np
from diffusers.training_utils import EMAModel
from torch import Tensor

from synthaug.diffusion.denoiser import Denoiser
from synthaug.diffusion.training import denoising_losses

MAX_PER_CLASS = 20
DRAWS = 16


@dataclass
class HeldOutWatch:
    """Judges the averaged weights every `every` steps; `images` uint8 [N, C, H, W], N >= 1.

    The loss is the mean over classes of their mean denoising loss, so that a class of two images
    counts like one of twenty; at most `MAX_PER_CLASS` images of a class are looked at, `DRAWS`
    timesteps each, always with the same noise.
    """

    images: np.ndarray
    labels: np.ndarray
    every: int
    patience: int
    """Checks in a row without a lower loss before training is to stop."""
    best_loss: float = float("inf")
    best_step: int = 0
    losses: list[tuple[int, float]] = field(default_factory=list)
    best_weights: list[Tensor] = field(default_factory=list)
    """Averaged weights after `best_step` steps, one for each parameter."""

    def __post_init__(self) -> None:
        classes = np.unique(self.labels)
        few = [np.flatnonzero(self.labels == k)[:MAX_PER_CLASS] for k in classes]
        at = np.concatenate(few)
        self.images, self.labels = self.images[at], self.labels[at]

    def due(self, step: int) -> bool:
        return step % self.every == 0

    def check(self, denoiser: Denoiser, ema: EMAModel, step: int) -> float:
        """The held-out loss of the averaged weights after `step` steps; the best are remembered."""
        parameters = list(denoiser.network.parameters())
        training = denoiser.network.training
        ema.store(parameters)
        ema.copy_to(parameters)
        losses = denoising_losses(denoiser, self.images, self.labels, draws=DRAWS)
        loss = float(np.mean([losses[self.labels == k].mean() for k in np.unique(self.labels)]))
        if loss < self.best_loss:
            self.best_loss, self.best_step = loss, step
            self.best_weights = [p.detach().clone() for p in parameters]
        ema.restore(parameters)
        denoiser.network.train(training)
        self.losses.append((step, loss))
        return loss

    @property
    def exhausted(self) -> bool:
        """Whether the last `patience` checks all failed to improve on an earlier one."""
        since = [step for step, _ in self.losses if step > self.best_step]
        return len(since) >= self.patience

    def restore_best(self, denoiser: Denoiser) -> None:
        """Give the denoiser the averaged weights that were best; needs one check before."""
        for parameter, best in zip(denoiser.network.parameters(), self.best_weights, strict=True):
            parameter.data.copy_(best)
