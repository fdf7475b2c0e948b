"""Low-rank adapters: a network continued by changing few numbers (Hu et al. 2022).

Each convolution and linear layer W, seen as a matrix [out, in], becomes W + up down with up
[out, rank] and down [rank, in]; everything else stands still (arXiv:2106.09685, Section 4.1).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class LowRank(nn.Module):
    """The parametrisation W -> W + up down; `up` starts at zero, so nothing changes at first."""

    def __init__(self, weight: Tensor, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        n_out, n_in = weight.shape[0], weight[0].numel()
        down = torch.randn(rank, n_in, generator=generator) / math.sqrt(n_in)
        self.up = nn.Parameter(torch.zeros(n_out, rank, device=weight.device))
        self.down = nn.Parameter(down.to(weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        change = (self.up @ self.down).view(weight.shape)
        # Only a contiguous change keeps the memory format that the convolutions are fast in.
        return weight + (change.to(memory_format=_format(weight)))


def add_adapters(network: nn.Module, rank: int, *, seed: int) -> int:
    """Freeze `network`, give its convolutions and linear layers adapters; numbers left to train."""
    generator = torch.Generator().manual_seed(seed)
    network.requires_grad_(False)  # and what follows adds is trained, `original` weights stay so
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d | nn.Linear):
            adapter = LowRank(module.weight, rank, generator)
            parametrize.register_parametrization(module, "weight", adapter)
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def merge_adapters(network: nn.Module) -> None:
    """Write the adapters into the weights: the network is then like any other again."""
    for module in list(network.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    network.requires_grad_(True)


def _format(weight: Tensor) -> torch.memory_format:
    four = weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if four else torch.contiguous_format
