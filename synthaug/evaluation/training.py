"""Training and testing the downstream classifier, the same way in every arm."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthaug.evaluation.arms import TrainingSet
from synthaug.evaluation.losses import LOSSES


@dataclass(frozen=True)
class ClassifierOptions:
    """Shared by all arms: optimiser `steps` of `batch_size` images, augmentation, loss strength."""

    steps: int = 800
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 5e-2
    max_shift: int = 1
    """Images are moved by up to this many pixels each way."""
    flip: bool = False
    """Mirror half of the images left to right."""
    tau: float = 1.0
    """Strength of logit adjustment."""


def batch_generator(seed: int, step: int, stream: int) -> torch.Generator:
    """A CPU generator for one kind of draw of one step, the same in every arm of a seed."""
    words = np.random.SeedSequence([seed, step, stream]).generate_state(1, np.uint32)
    return torch.Generator().manual_seed(int(words[0]))


def augment(x: Tensor, *, max_shift: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Shift each image of [B, C, H, W] by up to `max_shift` pixels (edges repeated), maybe flip."""
    b, _, h, w = x.shape
    if max_shift:
        offsets = torch.randint(0, 2 * max_shift + 1, (2, b, 1), generator=generator)
        rows = (offsets[0] + torch.arange(h))[:, :, None]  # [B, H, 1]
        columns = (offsets[1] + torch.arange(w))[:, None, :]  # [B, 1, W]
        padded = F.pad(x, [max_shift] * 4, mode="replicate")
        x = padded[torch.arange(b)[:, None, None], :, rows, columns].permute(0, 3, 1, 2)
    if flip:
        mirrored = torch.rand(b, generator=generator) < 0.5
        x = torch.where(mirrored.view(-1, 1, 1, 1), x.flip(-1), x)
    return x


def train_classifier(
    network: nn.Module,
    data: TrainingSet,
    *,
    loss: str,
    log_prior: Tensor,
    options: ClassifierOptions,
    seed: int,
    device: torch.device,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> nn.Module:
    """Train `network` in place for exactly `options.steps` steps and return it.

    AdamW with a warm-up and a cosine to zero. The k-th draw of a step uses the same random number
    in every arm of a seed (inverse-CDF sampling over images sorted by class), so that paired
    differences are not blurred by luck in what was drawn.
    """
    network.to(device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
    )
    order = np.argsort(data.labels, kind="stable")
    cumulative = np.cumsum(data.weights[order])
    cumulative /= cumulative[-1]
    images = torch.from_numpy(data.images)
    labels = torch.from_numpy(data.labels)
    log_prior = log_prior.to(device)
    warmup = max(options.steps // 20, 1)
    for step in range(options.steps):
        u = torch.rand(options.batch_size, generator=batch_generator(seed, step, 0)).numpy()
        picked = torch.from_numpy(order[np.searchsorted(cumulative, u, side="right")])
        x = images[picked].float() / 127.5 - 1.0
        x = augment(
            x,
            max_shift=options.max_shift,
            flip=options.flip,
            generator=batch_generator(seed, step, 1),
        )
        x = x.to(device).contiguous(memory_format=torch.channels_last)
        y = labels[picked].to(device)
        value = LOSSES[loss](network(x), y, log_prior, options.tau)
        progress = max(step - warmup, 0) / max(options.steps - warmup, 1)
        rate = min((step + 1) / warmup, 1.0) * 0.5 * (1 + math.cos(math.pi * progress))
        for group in optimiser.param_groups:
            group["lr"] = options.learning_rate * rate
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        optimiser.step()
        on_step(step, float(value.detach()))
    return network.eval()


@torch.inference_mode()
def predict_logits(
    network: nn.Module, images: np.ndarray, *, device: torch.device, batch_size: int = 512
) -> np.ndarray:
    """Logits float32 [N, K] of uint8 images [N, C, H, W]."""
    network.eval()
    pixels = torch.from_numpy(images)
    outputs = []
    for start in range(0, len(images), batch_size):
        x = (pixels[start : start + batch_size].float() / 127.5 - 1.0).to(device)
        outputs.append(network(x.contiguous(memory_format=torch.channels_last)).float().cpu())
    return torch.cat(outputs).numpy()
