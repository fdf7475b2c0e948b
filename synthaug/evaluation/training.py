"""Training and testing the downstream classifier, the same way in every arm."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from synthaug.errors import UsageError
from synthaug.evaluation.heads import last_linear, penultimate, use_cosines
from synthaug.evaluation.losses import LOSSES, class_terms
from synthaug.evaluation.material import TrainingSet, class_balanced
from synthaug.evaluation.options import ClassifierOptions
from synthaug.evaluation.smote import smote
from synthaug.evaluation.transforms import (
    AUGMENT,
    NETWORK,
    PICK,
    TRANSFORMS,
    Mixed,
    as_input,
    augment,
    batch_generator,
    step_seed,
)

__all__ = ["ClassifierOptions", "predict_logits", "train_classifier"]

Criterion = Callable[[Tensor, Tensor, int], Tensor]
"""Logits float [B, K], labels int64 [B] and the step to the loss of each image, float [B]."""


class Draws:
    """Which image is the k-th of a step: inverse-CDF sampling over images sorted by class.

    The k-th draw of a step uses the same random number in every arm of a seed, so that paired
    differences are not blurred by luck in what was drawn: sides with equal labels and weights draw
    images of the same number, sides with equal class frequencies images of the same class.
    """

    def __init__(self, labels: np.ndarray, weights: np.ndarray) -> None:
        self._order = np.argsort(labels, kind="stable")
        cumulative = np.cumsum(weights[self._order])
        self._cumulative = cumulative / cumulative[-1]

    def __call__(self, seed: int, step: int, n: int) -> Tensor:
        """Positions int64 [n]."""
        u = torch.rand(n, generator=batch_generator(seed, step, PICK)).numpy()
        return torch.from_numpy(self._order[np.searchsorted(self._cumulative, u, side="right")])


def train_classifier(
    network: nn.Module,
    data: TrainingSet,
    *,
    loss: str,
    counts: np.ndarray,
    options: ClassifierOptions,
    seed: int,
    device: torch.device,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> nn.Module:
    """Train `network` in place for exactly `options.steps` steps and return it.

    `loss` is a name of `LOSSES`; `counts` int [K] are the REAL train counts, whatever `data` adds.
    AdamW with a warm-up and a cosine to zero. All that is random in a step is a function of
    (seed, step), dropout included; torch's global generator is left as it was.

    Raises `UsageError` if the loss or the data needs a last layer that the network does not have.
    """
    network.to(device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    early = class_terms(counts, options, device)
    late = replace(early, deferred=True)

    def criterion(logits: Tensor, labels: Tensor, step: int) -> Tensor:
        return LOSSES[loss](logits, labels, late if step >= options.deferred_from else early)

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        if loss == "ldam":
            use_cosines(_needed_linear(network, data.images), options.ldam_scale)
        of_images = _image_loss(network, data, criterion, options, seed, device)
        if data.smote_features is None:
            _optimise(network.parameters(), of_images, range(options.steps), options, on_step)
        else:
            linear = _needed_linear(network, data.images)
            first, last = range(options.deferred_from), range(options.deferred_from, options.steps)
            _optimise(network.parameters(), of_images, first, options, on_step)
            features, labels = _features_with_smote(network, data, seed)
            of_features = _feature_loss(linear, features, labels, criterion, options, seed, device)
            _optimise(linear.parameters(), of_features, last, options, on_step)
    return network.eval()


def _image_loss(
    network: nn.Module,
    data: TrainingSet,
    criterion: Criterion,
    options: ClassifierOptions,
    seed: int,
    device: torch.device,
) -> Callable[[int], Tensor]:
    """The mean loss of a step's batch of images as a function of the step."""
    images, labels = torch.from_numpy(data.images), torch.from_numpy(data.labels)
    draws = ending = Draws(data.labels, data.weights)
    if data.last_weights is not None:
        ending = Draws(data.labels, data.last_weights)
    factors = torch.ones(len(labels))
    if data.discounted is not None:
        factors[torch.from_numpy(data.discounted)] = options.synthetic_weight

    def loss_at(step: int) -> Tensor:
        picked = (ending if step >= options.deferred_from else draws)(
            seed, step, options.batch_size
        )
        x = augment(
            as_input(images[picked]),
            max_shift=options.max_shift,
            flip=options.flip,
            generator=batch_generator(seed, step, AUGMENT),
        )
        mixed = TRANSFORMS[data.transform](x, options, seed, step) if data.transform else Mixed(x)
        y = labels[picked].to(device)
        torch.manual_seed(step_seed(seed, step, NETWORK))
        logits = network(mixed.x.to(device).contiguous(memory_format=torch.channels_last))
        each = criterion(logits, y, step)
        if mixed.partner is not None:
            other = criterion(logits, y[mixed.partner.to(device)], step)
            each = mixed.share * each + (1 - mixed.share) * other
        return (each * factors[picked].to(device)).mean()

    return loss_at


def _feature_loss(
    linear: nn.Linear,
    features: np.ndarray,
    labels: np.ndarray,
    criterion: Criterion,
    options: ClassifierOptions,
    seed: int,
    device: torch.device,
) -> Callable[[int], Tensor]:
    """The mean loss of a step's class-balanced batch of features [N, D], given the last layer."""
    draws = Draws(labels, class_balanced(labels))
    x, y = torch.from_numpy(features).to(device), torch.from_numpy(labels).to(device)

    def loss_at(step: int) -> Tensor:
        picked = draws(seed, step, options.batch_size).to(device)
        return criterion(linear(x[picked]), y[picked], step).mean()

    return loss_at


def _features_with_smote(
    network: nn.Module, data: TrainingSet, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Features float32 [N, D] and labels of the images, and what SMOTE makes between them."""
    assert data.smote_features is not None
    features = penultimate(network, data.images)
    assert features is not None  # the caller has found the layer that they are the input of
    made, made_labels = smote(features, data.labels, data.smote_features, seed=seed)
    return np.concatenate([features, made]), np.concatenate([data.labels, made_labels])


def _needed_linear(network: nn.Module, images: np.ndarray) -> nn.Linear:
    linear = last_linear(network, images)
    if linear is None:
        raise UsageError(
            "the classifier's logits do not come from a torch.nn.Linear",
            expected="one as its last layer for smote-features and for the loss ldam",
            remedy="leave those arms out or end the classifier with nn.Linear",
        )
    return linear


def _optimise(
    parameters: Iterable[nn.Parameter],
    loss_at: Callable[[int], Tensor],
    steps: range,
    options: ClassifierOptions,
    on_step: Callable[[int, float], None],
) -> None:
    """AdamW over `steps`, with a warm-up of a twentieth of them and a cosine to zero."""
    optimiser = torch.optim.AdamW(
        parameters, lr=options.learning_rate, weight_decay=options.weight_decay
    )
    warmup = max(len(steps) // 20, 1)
    for i, step in enumerate(steps):
        value = loss_at(step)
        progress = max(i - warmup, 0) / max(len(steps) - warmup, 1)
        rate = min((i + 1) / warmup, 1.0) * 0.5 * (1 + math.cos(math.pi * progress))
        for group in optimiser.param_groups:
            group["lr"] = options.learning_rate * rate
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        optimiser.step()
        on_step(step, float(value.detach()))


@torch.inference_mode()
def predict_logits(
    network: nn.Module, images: np.ndarray, *, device: torch.device, batch_size: int = 512
) -> np.ndarray:
    """Logits float32 [N, K] of uint8 images [N, C, H, W]."""
    network.eval()
    pixels = torch.from_numpy(images)
    outputs = []
    for start in range(0, len(images), batch_size):
        x = as_input(pixels[start : start + batch_size]).to(device)
        outputs.append(network(x.contiguous(memory_format=torch.channels_last)).float().cpu())
    return torch.cat(outputs).numpy()
