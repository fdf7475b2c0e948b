"""Non-leaky augmentation: images are moved about, and the network is told by how much.

A generator trained on moved or mirrored images would make such images. Here each image comes with
the vector of what was done to it, which the network sees as constant input planes, so that at
vector 0 it makes images as they are in the data (Karras et al. 2022, Appendix F.2,
arXiv:2206.00364).
"""

import math
from collections.abc import Collection
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

AugmentationName = Literal["shift", "scale", "rotate", "flip"]

VECTOR_SIZE = 6
"""Mirrored, shift in x and y, log2 of the scale, cosine - 1 and sine of the rotation."""

SHIFT_STD = 0.08
"""Of the image side, each way."""
SCALE_STD = 0.2
"""Of log2 of the scale, as in Karras et al."""
ROTATE_STD = math.radians(12)


def draw_vectors(
    n: int, names: Collection[str], probability: float, generator: torch.Generator
) -> Tensor:
    """What is to be done to each of n images, float32 [n, VECTOR_SIZE]; nothing is all zeros.

    Every augmentation in `names` happens to an image with `probability`, apart from the others.
    All of them are drawn whether they are named or not, so that the draws of one do not depend on
    the presence of another.
    """

    def happens(name: str) -> Tensor:
        drawn = torch.rand(n, generator=generator) < probability
        return drawn.float() if name in names else torch.zeros(n)

    mirrored = happens("flip")
    shift = torch.randn(2, n, generator=generator) * happens("shift")
    scale = torch.randn(n, generator=generator) * happens("scale")
    angle = torch.randn(n, generator=generator) * happens("rotate") * ROTATE_STD
    # Units in which a usual movement is about 1, like the pixels that share the input with it.
    turned = ((angle.cos() - 1) / ROTATE_STD**2, angle.sin() / ROTATE_STD)
    return torch.stack([mirrored, *shift, scale, *turned], dim=1)


def apply_vectors(x_0: Tensor, vectors: Tensor) -> Tensor:
    """Move the images [B, C, H, W] as their vectors [B, VECTOR_SIZE] say; a zero vector changes
    nothing, bit for bit. Mirrored first, then scaled, rotated and shifted; edges are reflected.
    """
    moved = vectors[:, 1:].abs().sum(1) > 0
    mirrored = vectors[:, 0] > 0.5
    x_0 = torch.where(mirrored.view(-1, 1, 1, 1), x_0.flip(-1), x_0)
    if not bool(moved.any()):
        return x_0
    _, dx, dy, scale, cosine, sine = vectors[moved].unbind(1)
    cosine, sine = 1 + cosine * ROTATE_STD**2, sine * ROTATE_STD
    shrink = 2 ** (-SCALE_STD * scale)
    # The grid is in coordinates of -1..1, so a shift by one side is 2. It maps output to input.
    dx, dy = 2 * SHIFT_STD * dx, 2 * SHIFT_STD * dy
    inverse = torch.stack(
        [
            torch.stack([cosine * shrink, sine * shrink, torch.zeros_like(dx)], dim=1),
            torch.stack([-sine * shrink, cosine * shrink, torch.zeros_like(dx)], dim=1),
        ],
        dim=1,
    )
    inverse[:, :, 2] = -(inverse[:, :, :2] @ torch.stack([dx, dy], dim=1)[..., None])[..., 0]
    grid = F.affine_grid(inverse, list(x_0[moved].shape), align_corners=False)
    warped = F.grid_sample(
        x_0[moved], grid.to(x_0.dtype), padding_mode="reflection", align_corners=False
    )
    return x_0.index_put((moved.nonzero()[:, 0],), warped)
