"""The downstream classifier: a small residual network for images of 8 to 64 pixels.

And beside it the one that selects synthetic images, which is kept as unlike it as is easily done.
"""

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


class PlainConvNet(nn.Module):
    """Images [B, C, H, W] in [-1, 1] to logits [B, K], without shortcuts.

    Pairs of a 3x3 convolution and a maximum over 2x2 pixels, down to a side of four, then a hidden
    layer of 64 units after ReLU, which are the features that images are compared by. They are seen
    with their place, in quarters of the image, where `SmallResNet` averages over all of it.
    """

    def __init__(self, channels: int, n_classes: int, image_size: int, width: int = 24) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        c_in, c_out, side = channels, width, image_size
        while side > 4 or not layers:
            # From 32 pixels on the first one strides: most of the time would go there.
            stride = 2 if side >= 32 and not layers else 1
            layers += [nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out)]
            layers += [nn.ReLU(), nn.MaxPool2d(2)]
            side = -(-side // stride) // 2
            c_in, c_out = c_out, min(2 * c_out, 96)
        layers += [nn.Conv2d(c_in, c_out, 3, 1, 1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.hidden = nn.Linear(4 * c_out, 64)
        self.head = nn.Linear(64, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.hidden(self.layers(x)).relu())
        return logits


def build_selector(channels: int, n_classes: int, image_size: int, *, seed: int) -> PlainConvNet:
    """The network that selects, whose initial weights are a function of `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PlainConvNet(channels, n_classes, image_size)


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
