"""The network: diffusers' UNet2DModel, sized by resolution and device."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from diffusers import UNet2DModel
from torch.utils.flop_counter import FlopCounterMode

from synthaug.diffusion.bound import Variance
from synthaug.diffusion.denoiser import Denoiser
from synthaug.diffusion.process import Prediction
from synthaug.diffusion.schedule import NoiseSchedule
from synthaug.errors import UsageError


@dataclass(frozen=True)
class NetworkSpec:
    """The shape of a UNet: channels per level, residual blocks per level, folded patch, attention.

    `attention` says for each level whether it has self-attention, in heads of `attention_width`
    channels, or in a single head (None); a level of fewer channels makes heads of them all.
    """

    channels: tuple[int, ...]
    layers: int
    patch: int
    attention: tuple[bool, ...]
    dropout: float = 0.0
    attention_width: int | None = 16

    def divisor(self) -> int:
        """The image side must be a multiple of this."""
        return self.patch * 2 ** (len(self.channels) - 1)


LEAST_IMAGES = 30_000
"""A network is worth its size once it sees this many images (benchmarks/networks.md)."""


def network_ladder(
    image_size: int, device: torch.device, *, dropout: float = 0.0
) -> tuple[NetworkSpec, ...]:
    """Networks for a resolution, the smallest first.

    A size that does not halve often enough, such as 28, gets fewer levels. Attention is at 16x16,
    on a GPU only (Ho et al. 2020, Appendix B).
    """
    gpu = device.type == "cuda"
    steps, layers, patch = _presets(image_size, gpu)
    ladder = []
    for levels in steps:
        while image_size % (patch * 2 ** (len(levels) - 1)) and len(levels) > 1:
            levels = levels[:-1]
        attention = tuple(gpu and image_size // 2**i == 16 for i in range(len(levels)))
        ladder.append(NetworkSpec(levels, layers, patch, attention, dropout))
    return tuple(ladder)


def default_network(ladder: tuple[NetworkSpec, ...], device: torch.device) -> NetworkSpec:
    """What is trained when no time is given: the second on a CPU, the largest on a GPU."""
    return ladder[-1] if device.type == "cuda" else ladder[min(1, len(ladder) - 1)]


def choose_network(
    ladder: tuple[NetworkSpec, ...], images_in_time: Callable[[NetworkSpec], float]
) -> NetworkSpec:
    """The largest network that sees `LEAST_IMAGES` in the time there is, else the smallest."""
    worth = [spec for spec in ladder if images_in_time(spec) >= LEAST_IMAGES]
    return worth[-1] if worth else ladder[0]


def _presets(image_size: int, gpu: bool) -> tuple[list[tuple[int, ...]], int, int]:
    """Channels per level of each step of the ladder, blocks per level, and patch.

    Single pixels up to 32x32: folding 2x2 of them into channels was faster and learned less.
    """
    if gpu:
        if image_size <= 8:
            return [(48, 96), (128, 256)], 2, 1
        if image_size <= 16:
            return [(64, 128, 128), (128, 256, 256)], 2, 1
        return [(64, 128, 128, 128), (128, 256, 256, 256)], 2, 1
    if image_size <= 8:
        return [(32, 64), (48, 96)], 1, 1
    if image_size <= 32:
        return [(24, 48, 48), (32, 64, 64)], 1, 1
    return [(24, 48, 48), (32, 64, 64)], 1, 2


def build_denoiser(
    spec: NetworkSpec,
    *,
    image_size: int,
    channels: int,
    n_classes: int,
    schedule: NoiseSchedule,
    prediction: Prediction,
    seed: int,
    device: torch.device,
    vector_size: int = 0,
    variance: Variance = "beta_tilde",
) -> Denoiser:
    """A freshly initialised `Denoiser`; the weights are a function of `seed`.

    `vector_size` is 0, or `augment.VECTOR_SIZE` for a network that is trained with augmentation.
    Raises `UsageError` when `image_size` does not fit the network.
    """
    divisor = spec.divisor()
    if image_size % divisor:
        below = max(image_size // divisor, 1) * divisor
        raise UsageError(
            f"image size {image_size}",
            expected=f"a multiple of {divisor} for this network",
            remedy=f"use --image-size {below} or --image-size {below + divisor}",
        )
    groups = norm_groups(spec.channels)
    if not groups:
        near = " or ".join(str(list(channels)) for channels in fitting_channels(spec.channels))
        raise UsageError(
            f"diffusion.channels {list(spec.channels)} cannot be normalised in groups",
            expected="multiples of the same 2 to 16 channels",
            remedy=f"use {near}",
        )
    width = spec.attention_width and min(spec.attention_width, *spec.channels)
    blocks = ["Attn" if a else "" for a in spec.attention]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = UNet2DModel(
            sample_size=image_size // spec.patch,
            in_channels=channels * spec.patch**2 + vector_size,
            out_channels=channels * spec.patch**2 * (2 if variance == "learned" else 1),
            block_out_channels=spec.channels,
            layers_per_block=spec.layers,
            down_block_types=tuple(f"{b}DownBlock2D" for b in blocks),
            up_block_types=tuple(f"{b}UpBlock2D" for b in reversed(blocks)),
            num_class_embeds=n_classes + 1,  # the last one is the null class
            norm_num_groups=groups,
            attention_head_dim=width,
            dropout=spec.dropout,
        )
    return Denoiser(
        network=network.to(device=device, memory_format=torch.channels_last),
        schedule=schedule,
        prediction=prediction,
        n_classes=n_classes,
        image_size=image_size,
        channels=channels,
        patch=spec.patch,
        vector_size=vector_size,
        variance=variance,
    )


def norm_groups(channels: tuple[int, ...]) -> int:
    """Groups that GroupNorm divides every level into, 16 if it can; 0 if the levels do not fit."""
    groups = min(16, *(c // 2 for c in channels))
    return groups if groups and not any(c % groups for c in channels) else 0


def fitting_channels(channels: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The two nearest choices of channels that `norm_groups` can divide."""
    choices = set()
    for unit in (1, 2, 4, 8, 16):
        levels = [{max(c // unit, 1) * unit, -(-c // unit) * unit} for c in channels]
        choices |= {choice for choice in product(*levels) if norm_groups(choice)}

    def distance(choice: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        return sum(abs(a - b) for a, b in zip(choice, channels, strict=True)), choice

    return sorted(choices, key=distance)[:2]


@torch.no_grad()
def flops_per_image(denoiser: Denoiser) -> int:
    """Floating-point operations of one network evaluation of one image, multiply and add counted
    apart, in convolutions, linear layers and attention; a training step costs about three times it.
    """
    x = torch.zeros(1, *denoiser.image_shape, device=denoiser.device)
    t = torch.zeros(1, dtype=torch.int64, device=denoiser.device)
    with FlopCounterMode(display=False) as counter:
        denoiser.predict(x, t, t)
    return int(counter.get_total_flops())
