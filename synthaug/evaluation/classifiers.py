"""The downstream classifier: a small residual network for images of 8 to 64 pixels."""

import itertools

import torch
from torch import Tensor, nn

from synthaug.evaluation.own_classifier import build_own


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al. 2016, arXiv:1512.03385, Figure 2)."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(c_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or c_in != c_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm1(self.conv1(x)).relu()
        return (self.norm2(self.conv2(h)) + self.shortcut(x)).relu()


class SmallResNet(nn.Module):
    """Images [B, C, H, W] in [-1, 1] to logits [B, K].

    A stem of `width` channels, then residual blocks that each halve the side and double the
    channels: two, or three from 64 pixels on. From 32 pixels on the stem halves as well. All the
    blocks are narrow where pixels are many, so that a CPU trains an arm in seconds to a minute.
    """

    def __init__(self, channels: int, n_classes: int, image_size: int, width: int = 32) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, 1 if image_size < 32 else 2, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        widths = [width * 2**i for i in range(3 if image_size < 64 else 4)]
        self.blocks = nn.Sequential(
            *(ResidualBlock(c_in, c_out, 2) for c_in, c_out in itertools.pairwise(widths))
        )
        self.head = nn.Linear(widths[-1], n_classes)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.blocks(self.stem(x)).mean(dim=(2, 3))
        logits: Tensor = self.head(features)
        return logits


BUILT_IN = "small-resnet"


def build_classifier(
    channels: int, n_classes: int, image_size: int, *, seed: int, name: str = BUILT_IN
) -> nn.Module:
    """The classifier of a name, whose initial weights are a function of `seed`.

    `small-resnet` is a `SmallResNet`; see `build_own` for the others and what they may raise.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name == BUILT_IN:
            return SmallResNet(channels, n_classes, image_size)
        return build_own(name, channels, n_classes, image_size)
