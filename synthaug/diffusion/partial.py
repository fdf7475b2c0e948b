"""Starting from real images at partial noise instead of from pure noise.

A real image is noised up to some t and denoised from there: SDEdit (Meng et al. 2022, Section 3,
arXiv:2108.01073). Two of them, mixed at that t, are the interpolation of Ho et al. (2020), Section
4.3 and Fig. 8, arXiv:2006.11239. The smaller t, the more of the real images is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from synthaug.diffusion.denoiser import to_model_range
from synthaug.diffusion.process import q_sample
from synthaug.diffusion.schedule import NoiseSchedule
from synthaug.errors import UsageError


@dataclass(frozen=True)
class PartialStart:
    """Where N images start: `first` uint8 [N, C, H, W], noised to `strength` in (0, 1].

    With `second`, of the same shape, the two are mixed with weights 1 - lam and lam, float [N].
    """

    first: np.ndarray
    strength: float
    second: np.ndarray | None = None
    lam: np.ndarray | None = None

    def part(self, batch: slice) -> "PartialStart":
        """The starts of some of the images."""
        if self.second is None or self.lam is None:
            return PartialStart(self.first[batch], self.strength)
        return PartialStart(self.first[batch], self.strength, self.second[batch], self.lam[batch])

    def encode(self, t: int, eps: Tensor, schedule: NoiseSchedule) -> Tensor:
        """x_t of every image, float32 [N, C, H, W]; `eps` is standard normal of that shape.

        Both images of a pair get the same noise: a mix of two independent draws would have less
        variance than x_t has, which the network never saw.
        """
        x_t = self._encode(self.first, t, eps, schedule)
        if self.second is None or self.lam is None:
            return x_t
        lam = torch.from_numpy(self.lam).to(x_t.dtype).to(x_t.device).view(-1, 1, 1, 1)
        return torch.lerp(x_t, self._encode(self.second, t, eps, schedule), lam)

    @staticmethod
    def _encode(images: np.ndarray, t: int, eps: Tensor, schedule: NoiseSchedule) -> Tensor:
        x_0 = to_model_range(torch.tensor(images)).to(eps.device)
        return q_sample(x_0, torch.full((len(x_0),), t, device=eps.device), eps, schedule)


def partial_timesteps(timesteps: Sequence[int], strength: float, T: int) -> list[int]:
    """The sampler's descending `timesteps` from the first that is <= strength T - 1.

    All of them at strength 1. Raises `UsageError` unless 0 < strength <= 1 and one is left:
    without any the real image itself would come out.
    """
    if not 0 < strength <= 1:
        raise UsageError(f"strength {strength:g}", expected="more than 0 and at most 1")
    # The slack is for products such as 0.57 * 1000, which are a rounding error off the integer.
    left = [t for t in timesteps if t <= strength * T - 1 + 1e-6]
    if not left:
        steps = len(timesteps)
        raise UsageError(
            f"strength {strength:g} leaves none of {steps} sampling steps",
            expected=f"a strength of {(timesteps[-1] + 1) / T:.2g} or more with so few steps",
            remedy="raise --strength or --steps",
        )
    return left
