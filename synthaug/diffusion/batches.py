"""What one optimiser step learns from: images, noise levels, noise and labels, and how drawn.

Classes are drawn with a power of their size, labels are dropped for classifier-free guidance,
images may be moved about without the network learning to (augment.py), and targets may be swapped
from rare to frequent classes (transfer.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from synthaug.diffusion.augment import AugmentationName, apply_vectors, draw_vectors
from synthaug.diffusion.denoiser import Denoiser, to_model_range
from synthaug.diffusion.noise import step_generator
from synthaug.diffusion.objective import Weighting
from synthaug.diffusion.process import at, q_sample
from synthaug.diffusion.transfer import TransferName, t2h_swap


@dataclass(frozen=True)
class TrainingOptions:
    """How a denoiser is trained; lengths are in optimiser steps."""

    batch_size: int = 64
    micro_batch: int | None = None
    """Images of a step that are in memory at once, their gradients added up; None: all of them."""
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    ema_decay: float = 0.999
    p_uncond: float = 0.1
    class_power: float = 0.5
    """Class k is drawn in proportion to n_k^(1 - power): 0 natural, 0.5 square root, 1 balanced."""
    grad_clip: float = 1.0
    weight_decay: float = 0.0
    flip: bool = False
    """Mirror half of the images left to right; only where a mirrored image keeps its class."""
    augment: tuple[AugmentationName, ...] = ()
    """Non-leaky augmentations; the denoiser must have been built to be told of them."""
    augment_probability: float = 0.15
    transfer: TransferName = "none"
    """From frequent to rare classes: the CBDM regulariser or the T2H target swap."""
    transfer_tau: float = 1.0
    """Weight of the CBDM regulariser, which costs a second network evaluation an image."""
    loss: Weighting = "simple"
    min_snr_gamma: float = 5.0
    """With the loss `min_snr`: the SNR above which no noise level weighs more."""


def class_weights(labels: np.ndarray, power: float) -> Tensor:
    """Sampling weight of each image, float64 [N], such that class k is drawn with n_k^(1-power)."""
    counts = np.bincount(labels)
    return torch.from_numpy(counts[labels].astype(np.float64) ** -power)


class Batch(NamedTuple):
    """What one optimiser step learns from; all on the denoiser's device.

    `y` are the labels the network is given, `other` those that CBDM compares with. The network
    sees `x_t` and is to find `x_0` and `eps` in it.
    """

    x_t: Tensor  # [B, C, H, W]
    t: Tensor  # [B]
    y: Tensor  # [B], null_class where dropped
    vectors: Tensor | None  # [B, VECTOR_SIZE]
    x_0: Tensor
    eps: Tensor
    other: Tensor | None  # [B]

    def part(self, images: slice) -> "Batch":
        """Some of its images."""
        return Batch._make(None if values is None else values[images] for values in self)

    def parts(self, size: int) -> Iterator["Batch"]:
        """The batch in its order, in parts of `size` images; the last may be smaller."""
        for start in range(0, len(self.x_t), size):
            yield self.part(slice(start, start + size))


class BatchDraws:
    """The batches of a training: the one of step i is a function of (seed, i) alone."""

    def __init__(
        self,
        denoiser: Denoiser,
        images: np.ndarray,
        labels: np.ndarray,
        options: TrainingOptions,
        seed: int,
    ) -> None:
        self._denoiser, self._options, self.seed = denoiser, options, seed
        self._pixels = torch.from_numpy(np.ascontiguousarray(images))
        self._classes = torch.from_numpy(labels)
        self._weights = class_weights(labels, options.class_power)
        self._counts = torch.bincount(self._classes, minlength=denoiser.n_classes)

    def batch(self, step: int) -> Batch:
        options, schedule, device = self._options, self._denoiser.schedule, self._denoiser.device
        b, draw = options.batch_size, step_generator(self.seed, step)
        picked = torch.multinomial(self._weights, b, replacement=True, generator=draw)
        x_0, labels = to_model_range(self._pixels[picked]), self._classes[picked]
        if options.flip:
            mirrored = torch.rand(b, generator=draw) < 0.5
            x_0 = torch.where(mirrored.view(-1, 1, 1, 1), x_0.flip(-1), x_0)
        # Stratified over the batch: each of b equal ranges of t is met once, a calmer loss.
        u = (torch.arange(b) + torch.rand(b, generator=draw)) / b
        t = (u * schedule.T).long()
        eps = torch.randn(x_0.shape, generator=draw)
        dropped = torch.rand(b, generator=draw) < options.p_uncond
        y = torch.where(dropped, self._denoiser.null_class, labels)
        vectors = other = None
        if options.augment:
            vectors = draw_vectors(b, options.augment, options.augment_probability, draw)
            x_0 = apply_vectors(x_0, vectors)
            vectors = vectors.to(device)
        x_0, t, eps, y = (v.to(device) for v in (x_0, t, eps, y))
        x_t = q_sample(x_0, t, eps, schedule)
        if options.transfer == "t2h":
            alpha_bar = at(schedule.alpha_bars, t, x_0)
            counts, labels = self._counts.to(device), labels.to(device)
            x_0 = x_0[t2h_swap(x_0, x_t, labels, counts, alpha_bar, draw)]
            eps = (x_t - alpha_bar.sqrt() * x_0) / (1 - alpha_bar).sqrt()
        elif options.transfer == "cbdm":
            others = torch.multinomial(self._weights, b, replacement=True, generator=draw)
            other = self._classes[others].to(device)
        return Batch(x_t, t, y, vectors, x_0, eps, other)
