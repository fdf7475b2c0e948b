"""The last layer of a classifier, whoever wrote it: found, read, made to compare cosines."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from synthaug.evaluation.transforms import as_input


def last_linear(network: nn.Module, images: np.ndarray) -> nn.Linear | None:
    """The `nn.Linear` that gives the logits [B, K] of uint8 images [N, C, H, W].

    Of all that are called, it is the last; None if the network's output is not its output, as
    where the last layer is a convolution. The network is left as it was.
    """
    called: list[tuple[nn.Linear, Tensor]] = []
    hooks = [
        module.register_forward_hook(lambda m, _, output: called.append((m, output)))
        for module in network.modules()
        if isinstance(module, nn.Linear)
    ]
    try:
        logits = forward(network, images[:1])
    finally:
        for hook in hooks:
            hook.remove()
    if not called or called[-1][1].shape != logits.shape:
        return None
    linear, output = called[-1]
    return linear if torch.equal(output, logits) else None


def penultimate(
    network: nn.Module, images: np.ndarray, *, batch_size: int = 512
) -> np.ndarray | None:
    """What the last layer is given, float32 [N, D], for uint8 images [N, C, H, W].

    With `weights = last_linear(network, images).weight` and its bias, logits are features @
    weights.T + bias. None if the logits do not come from an `nn.Linear`.
    """
    linear = last_linear(network, images)
    if linear is None:
        return None
    inputs: list[Tensor] = []

    def keep(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        del module
        inputs.append(args[0].detach().float().cpu())

    hook = linear.register_forward_pre_hook(keep)
    try:
        for start in range(0, len(images), batch_size):
            forward(network, images[start : start + batch_size])
    finally:
        hook.remove()
    return torch.cat(inputs).numpy()


@torch.no_grad()
def forward(network: nn.Module, images: np.ndarray) -> Tensor:
    """Logits [B, K], in evaluation mode, of uint8 images [B, C, H, W]; the mode is put back."""
    modes = {module: module.training for module in network.modules()}
    parameter = next(network.parameters(), None)
    device = parameter.device if parameter is not None else torch.device("cpu")
    network.eval()
    try:
        x = as_input(torch.from_numpy(images)).to(device)
        logits: Tensor = network(x.contiguous(memory_format=torch.channels_last))
    finally:
        for module, mode in modes.items():
            module.training = mode
    return logits


class _ScaledUnitRows(nn.Module):
    """A weight matrix [K, D] whose rows have length `scale`."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, weight: Tensor) -> Tensor:
        return self.scale * F.normalize(weight, dim=1)


def use_cosines(linear: nn.Linear, scale: float) -> None:
    """Make a layer's output `scale` times the cosine of its input and each row of its weight.

    In place. LDAM's margins are margins of cosines: without this a network would make them small
    by making its logits large (Cao et al. 2019, arXiv:1906.07413).
    """
    parametrize.register_parametrization(linear, "weight", _ScaledUnitRows(scale))
    linear.register_parameter("bias", None)
    linear.register_forward_pre_hook(lambda module, args: (F.normalize(args[0], dim=-1),))
