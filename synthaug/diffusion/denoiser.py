"""A network and its conventions behind one call: `denoise(x_t, t, labels) -> x_0_hat`.

Samplers and losses meet the network only here, so they never ask what it predicts.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import UNet2DModel
from torch import Tensor

from synthaug.diffusion.bound import Variance
from synthaug.diffusion.process import Prediction, at, x0_from
from synthaug.diffusion.schedule import NoiseSchedule


@dataclass
class Denoiser:
    """A class-conditional diffusion model over images [B, C, H, W] in [-1, 1].

    `n_classes` labels are 0..n_classes-1; `null_class` = n_classes means "no class" (Ho & Salimans
    2022, arXiv:2207.12598). With `patch` p > 1 the network works on p x p pixels folded into
    channels, [B, C p^2, H/p, W/p]: less arithmetic for the same picture. With `vector_size` V > 0
    it sees V further constant planes, the augmentation vector of each image. `variance` is that
    of the reverse steps; where it is "learned" the network has twice the output channels.
    """

    network: UNet2DModel
    schedule: NoiseSchedule
    prediction: Prediction
    n_classes: int
    image_size: int
    channels: int
    patch: int = 1
    vector_size: int = 0
    variance: Variance = "beta_tilde"

    @property
    def null_class(self) -> int:
        return self.n_classes

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def n_parameters(self) -> int:
        return sum(p.numel() for p in self.network.parameters())

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return (self.channels, self.image_size, self.image_size)

    def predict(
        self, x_t: Tensor, t: Tensor, labels: Tensor, vectors: Tensor | None = None
    ) -> Tensor:
        """The network's prediction for x_t [B, C, H, W], t int64 [B], labels int64 [B].

        `vectors` [B, V] say how the images were augmented; None: not at all, a vector of zeros.
        """
        return self.predict_both(x_t, t, labels, vectors)[0]

    def predict_both(
        self, x_t: Tensor, t: Tensor, labels: Tensor, vectors: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """(prediction, variance fraction), each [B, C, H, W]; no fraction unless it is learned.

        The fraction v lies near [0, 1], from beta_tilde to beta in log space, and is not clipped
        (Nichol & Dhariwal 2021, Section 3.1). The network's own number is 2 v - 1, as diffusers'
        `learned_range` reads it, so that an untrained network stands in the middle.
        """
        folded = F.pixel_unshuffle(x_t, self.patch) if self.patch > 1 else x_t
        if self.vector_size:
            if vectors is None:
                vectors = folded.new_zeros(len(folded), self.vector_size)
            planes = vectors[:, :, None, None].expand(-1, -1, *folded.shape[2:])
            folded = torch.cat([folded, planes], dim=1)
        folded = folded.contiguous(memory_format=torch.channels_last)
        # bf16 halves the time on tensor cores; on the CPUs measured it is slower than fp32.
        with torch.autocast("cuda", torch.bfloat16, enabled=x_t.device.type == "cuda"):
            out = self.network(folded, t, class_labels=labels).sample.float()
        out = F.pixel_shuffle(out, self.patch) if self.patch > 1 else out
        if self.variance != "learned":
            return out, None
        output, raw = out.split(self.channels, dim=1)
        return output, (raw + 1) / 2

    def denoise(self, x_t: Tensor, t: int, labels: Tensor, cfg_scale: float = 1.0) -> Tensor:
        """x_0_hat for one noise level t; cfg_scale w combines uncond + w (cond - uncond).

        w = 1 is off and costs one network evaluation per image; any other w costs two.
        """
        return self.denoise_both(x_t, t, labels, cfg_scale)[0]

    def denoise_both(
        self, x_t: Tensor, t: int, labels: Tensor, cfg_scale: float = 1.0
    ) -> tuple[Tensor, Tensor | None]:
        """(x_0_hat, variance fraction): `denoise`, and the conditional network's variance."""
        t_batch = torch.full((len(x_t),), t, dtype=torch.int64, device=x_t.device)
        if cfg_scale == 1.0:
            output, fraction = self.predict_both(x_t, t_batch, labels)
        else:
            null = torch.full_like(labels, self.null_class)
            both, fractions = self.predict_both(
                x_t.repeat(2, 1, 1, 1), t_batch.repeat(2), torch.cat([labels, null])
            )
            cond, uncond = both.chunk(2)
            fraction = None if fractions is None else fractions.chunk(2)[0]
            output = uncond + cfg_scale * (cond - uncond)
        alpha_bar = at(self.schedule.alpha_bars, t_batch, x_t)
        return x0_from(self.prediction, output, x_t, alpha_bar), fraction


def to_model_range(images: Tensor) -> Tensor:
    """uint8 0..255 to float32 [-1, 1]."""
    return images.float() / 127.5 - 1.0


def to_uint8(x_0: Tensor) -> Tensor:
    """float [-1, 1] to uint8 0..255, rounded; what lies outside is clipped."""
    return ((x_0.clamp(-1, 1) + 1.0) * 127.5).round().to(torch.uint8)
