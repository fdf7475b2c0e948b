"""Training a denoiser: Algorithm 1 of Ho et al. (2020) with what few and unequal classes need.

Over the algorithm: classes are drawn with a power of their size, labels are dropped for
classifier-free guidance, weights are averaged, and every draw of a step is a function of
(seed, step) so that the same call always trains the same network. Frequent classes may help rare
ones (transfer.py), and images may be moved about without the network learning to (augment.py).
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from diffusers.training_utils import EMAModel
from torch import Tensor

from synthaug.diffusion.augment import AugmentationName, apply_vectors, draw_vectors
from synthaug.diffusion.denoiser import Denoiser, to_model_range
from synthaug.diffusion.noise import step_generator
from synthaug.diffusion.process import at, q_sample, target
from synthaug.diffusion.transfer import TransferName, cbdm_regulariser, t2h_swap
from synthaug.errors import DivergedError

MAX_BAD_STEPS = 10


@dataclass(frozen=True)
class TrainingOptions:
    """How a denoiser is trained; lengths are in optimiser steps."""

    batch_size: int = 64
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


@dataclass(frozen=True)
class StepStats:
    """One optimiser step: the batch's mean squared error, images seen, wall-clock seconds."""

    step: int
    loss: float
    learning_rate: float
    n_img: int
    skipped: int
    seconds: float = field(default=0.0, compare=False)


@dataclass
class Horizon:
    """How many steps a training will take. Its owner may move it while the training runs.

    The learning rate follows it, so a move is part of what has to be known to repeat a run.
    """

    steps: int


def class_weights(labels: np.ndarray, power: float) -> Tensor:
    """Sampling weight of each image, float64 [N], such that class k is drawn with n_k^(1-power)."""
    counts = np.bincount(labels)
    return torch.from_numpy(counts[labels].astype(np.float64) ** -power)


def learning_rate_at(step: int, total: int, options: TrainingOptions) -> float:
    """Linear warm-up, then half a cosine down to zero at step `total`."""
    warmup = min(options.warmup_steps, max(total // 10, 1))
    if step < warmup:
        return options.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(total - warmup, 1)
    return options.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def make_ema(denoiser: Denoiser, decay: float) -> EMAModel:
    """An average of the weights that starts at them and warms up as (1 + step) / (10 + step)."""
    return EMAModel(denoiser.network.parameters(), decay=decay, foreach=True)


def train_denoiser(
    denoiser: Denoiser,
    ema: EMAModel,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    steps: int | Horizon,
    seed: int,
    options: TrainingOptions,
) -> Iterator[StepStats]:
    """Train in place, yielding after every optimiser step; `ema` holds the averaged weights.

    `images` uint8 [N, C, H, W] and `labels` int64 [N] are the train split and nothing else. The
    loss is ||target - network||^2: L_simple (Ho et al. 2020, Eq. 14) for eps-prediction, its
    SNR+1-weighted form for v-prediction (Salimans & Ho 2022, Section 4).

    Raises `DivergedError` after several non-finite losses in a row; a single one is skipped.
    """
    network = denoiser.network
    optimiser = torch.optim.AdamW(
        [p for p in network.parameters() if p.requires_grad],
        lr=options.learning_rate,
        weight_decay=options.weight_decay,
    )
    draws = _Draws(denoiser, images, labels, options, seed)
    horizon = Horizon(steps) if isinstance(steps, int) else steps
    b = options.batch_size
    step = skipped = bad_in_a_row = 0
    network.train()
    while step < horizon.steps:
        started = time.perf_counter()
        with _repeatable_dropout(denoiser, seed, step):
            loss, extra = _loss(denoiser, draws.batch(step), options)
        value = float(loss.detach())
        learning_rate = learning_rate_at(step, horizon.steps, options)
        if math.isfinite(value):
            bad_in_a_row = 0
            for group in optimiser.param_groups:
                group["lr"] = learning_rate
            optimiser.zero_grad(set_to_none=True)
            (loss + extra).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), options.grad_clip)
            optimiser.step()
            ema.step(network.parameters())
        else:
            skipped, bad_in_a_row = skipped + 1, bad_in_a_row + 1
            if bad_in_a_row >= MAX_BAD_STEPS:
                raise DivergedError(
                    f"the loss was not finite {bad_in_a_row} steps in a row at step {step}",
                    remedy=f"lower diffusion.learning_rate (now {options.learning_rate:g})",
                )
        seconds = time.perf_counter() - started
        yield StepStats(step, value, learning_rate, (step + 1) * b, skipped, seconds)
        step += 1
    network.eval()


class _Batch(NamedTuple):
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


class _Draws:
    """The batches of a training: the one of step i is a function of (seed, i) alone."""

    def __init__(
        self,
        denoiser: Denoiser,
        images: np.ndarray,
        labels: np.ndarray,
        options: TrainingOptions,
        seed: int,
    ) -> None:
        self._denoiser, self._options, self._seed = denoiser, options, seed
        self._pixels = torch.from_numpy(np.ascontiguousarray(images))
        self._classes = torch.from_numpy(labels)
        self._weights = class_weights(labels, options.class_power)
        self._counts = torch.bincount(self._classes, minlength=denoiser.n_classes)

    def batch(self, step: int) -> _Batch:
        options, schedule, device = self._options, self._denoiser.schedule, self._denoiser.device
        b, draw = options.batch_size, step_generator(self._seed, step)
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
        return _Batch(x_t, t, y, vectors, x_0, eps, other)


def _loss(
    denoiser: Denoiser, batch: _Batch, options: TrainingOptions
) -> tuple[Tensor, Tensor | float]:
    """The denoising loss of a batch, and what the transfer adds to it."""
    x_t, t, y, vectors, x_0, eps, other = batch
    alpha_bar = at(denoiser.schedule.alpha_bars, t, x_0)
    output = denoiser.predict(x_t, t, y, vectors)
    loss = (output - target(denoiser.prediction, x_0, eps, alpha_bar)).square().mean()
    if other is None:
        return loss, 0.0
    term = cbdm_regulariser(
        output, denoiser.predict(x_t, t, other, vectors), t,
        T=denoiser.schedule.T, tau=options.transfer_tau,
        prediction=denoiser.prediction, alpha_bar=alpha_bar,
    )  # fmt: skip
    # An image without a label has no class to compare with another.
    return loss, torch.where(y == denoiser.null_class, 0.0, term).mean()


@contextmanager
def _repeatable_dropout(denoiser: Denoiser, seed: int, step: int) -> Iterator[None]:
    """Dropout masks come from torch's global generator, which is set for one step and put back."""
    network, device = denoiser.network, denoiser.device
    if not any(isinstance(m, torch.nn.Dropout) and m.p > 0 for m in network.modules()):
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(step_generator(seed, step).initial_seed())
        yield


@torch.inference_mode()
def denoising_losses(
    denoiser: Denoiser, images: np.ndarray, labels: np.ndarray, *, draws: int = 64, seed: int = 0
) -> np.ndarray:
    """Held-out denoising loss of each image, float64 [N]: the training loss averaged over `draws`.

    The timesteps are the midpoints of `draws` equal ranges and the noise depends on
    (seed, image, draw) only, so two denoisers are compared on the same noise.
    """
    network, schedule, device = denoiser.network, denoiser.schedule, denoiser.device
    network.eval()
    t = ((torch.arange(draws) + 0.5) / draws * schedule.T).long().to(device)
    alpha_bar = at(schedule.alpha_bars, t, torch.empty(draws, 1, 1, 1, device=device))
    losses = []
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        eps = torch.randn((draws, *image.shape), generator=step_generator(seed, i)).to(device)
        x_0 = to_model_range(torch.from_numpy(image)).to(device).expand(draws, -1, -1, -1)
        y = torch.full((draws,), int(label), device=device)
        output = denoiser.predict(q_sample(x_0, t, eps, schedule), t, y)
        error = output - target(denoiser.prediction, x_0, eps, alpha_bar)
        losses.append(float(error.square().mean()))
    return np.array(losses, dtype=np.float64)
