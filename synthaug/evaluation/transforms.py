"""What happens to a batch between the images and the network, as a function of (seed, step)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthaug.evaluation.options import ClassifierOptions

PICK, AUGMENT, MIX, NETWORK = range(4)
"""The kinds of draw of a step, each with random numbers of its own."""


def step_seed(seed: int, step: int, stream: int) -> int:
    """A seed for one kind of draw of one step, the same in every arm of a seed."""
    return int(np.random.SeedSequence([seed, step, stream]).generate_state(1, np.uint32)[0])


def batch_generator(seed: int, step: int, stream: int) -> torch.Generator:
    """A CPU generator for one kind of draw of one step, the same in every arm of a seed."""
    return torch.Generator().manual_seed(step_seed(seed, step, stream))


def as_input(images: Tensor) -> Tensor:
    """Images uint8 [B, C, H, W] as networks take them: float32 in [-1, 1]."""
    return images.float() / 127.5 - 1.0


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


@dataclass(frozen=True)
class Mixed:
    """Images float32 [B, C, H, W] in [-1, 1], and what their labels have become.

    Where `partner` int64 [B] is given, image i counts `share` as its own label and 1 - `share` as
    the label of image `partner[i]`.
    """

    x: Tensor
    partner: Tensor | None = None
    share: float = 1.0


def classical(x: Tensor, options: ClassifierOptions, seed: int, step: int) -> Mixed:
    """Classical augmentation of each image, by kornia (Riba et al. 2020, arXiv:1910.02190).

    Only what keeps a label in every domain: rotations up to 10 degrees, shifts and zooms of 10 %,
    crops of at least 80 % of the area, erased boxes of up to 15 %, and in colour images a jitter.
    Mirrors are not among them; `options.flip` allows those, in every arm.
    """
    del options
    _, c, h, w = x.shape
    # kornia draws from torch's global generator.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(step_seed(seed, step, MIX))
        changed: Tensor = _classical_augmentation(c, h, w)((x + 1) / 2)
    assert changed.shape == x.shape
    return Mixed(changed.clamp(0, 1) * 2 - 1)


@lru_cache
def _classical_augmentation(channels: int, height: int, width: int) -> nn.Module:
    """kornia's modules for images in [0, 1]; they keep nothing from one call to the next."""
    import kornia.augmentation as K

    modules: list[nn.Module] = [
        K.RandomAffine(10.0, (0.1, 0.1), (0.9, 1.1), padding_mode="border", p=0.8),
        K.RandomResizedCrop((height, width), scale=(0.8, 1.0), ratio=(0.9, 1.1), p=0.5),
        K.RandomErasing(scale=(0.02, 0.15), ratio=(0.5, 2.0), value=0.5, p=0.25),
    ]
    if channels == 3:
        modules.insert(2, K.ColorJitter(0.2, 0.2, 0.2, 0.02, p=0.8))
    return nn.Sequential(*modules)


def mixup(x: Tensor, options: ClassifierOptions, seed: int, step: int) -> Mixed:
    """lambda x_i + (1 - lambda) x_j with one lambda ~ Beta(alpha, alpha) a batch.

    Zhang et al. (2018), arXiv:1710.09412.
    """
    rng = np.random.default_rng([seed, step, MIX])
    share = float(rng.beta(options.mixup_alpha, options.mixup_alpha))
    partner = torch.from_numpy(rng.permutation(len(x)))
    return Mixed(share * x + (1 - share) * x[partner], partner, share)


def cutmix(x: Tensor, options: ClassifierOptions, seed: int, step: int) -> Mixed:
    """A box of each image is replaced by another's, the same box throughout the batch.

    Yun et al. (2019), arXiv:1905.04899: the box covers 1 - lambda of an image, with lambda ~
    Beta(alpha, alpha), around a centre drawn anywhere; where the edge cuts it, the label follows
    the pixels that were really replaced.
    """
    rng = np.random.default_rng([seed, step, MIX])
    cut = float(np.sqrt(1 - rng.beta(options.cutmix_alpha, options.cutmix_alpha)))
    partner = torch.from_numpy(rng.permutation(len(x)))
    rows, columns = (_around(int(rng.integers(side)), side, cut) for side in x.shape[2:])
    mixed = x.clone()
    mixed[:, :, rows, columns] = x[partner][:, :, rows, columns]
    replaced = len(range(*rows.indices(x.shape[2]))) * len(range(*columns.indices(x.shape[3])))
    return Mixed(mixed, partner, 1 - replaced / (x.shape[2] * x.shape[3]))


def _around(centre: int, side: int, share: float) -> slice:
    """About `share` of a side, around a centre, as far as the edges allow."""
    half = int(side * share) // 2
    return slice(max(centre - half, 0), min(centre + half, side))


TRANSFORMS: dict[str, Callable[[Tensor, ClassifierOptions, int, int], Mixed]] = {
    "classical": classical,
    "mixup": mixup,
    "cutmix": cutmix,
}
