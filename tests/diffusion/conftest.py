"""An exact oracle, a network small enough for a test, and two classes nobody can confuse."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from synthaug.diffusion.batches import TrainingOptions
from synthaug.diffusion.denoiser import Denoiser
from synthaug.diffusion.schedule import NoiseSchedule, cosine_schedule
from synthaug.diffusion.specialise import begin_specialist, finish_specialist
from synthaug.diffusion.training import StepStats, make_ema, train_denoiser
from synthaug.diffusion.unet import NetworkSpec, build_denoiser


@dataclass(frozen=True)
class GaussianOracle:
    """Data N(0, s^2): denoiser, flow and variances are known in closed form."""

    schedule: NoiseSchedule
    s: float = 0.2

    def variance(self, t: int) -> float:
        """Var x_t = alpha_bar s^2 + 1 - alpha_bar."""
        alpha_bar = self.schedule.alpha_bar(t)
        return alpha_bar * self.s**2 + 1 - alpha_bar

    def gain(self, t: int) -> float:
        """E[x_0 | x_t] / x_t."""
        return math.sqrt(self.schedule.alpha_bar(t)) * self.s**2 / self.variance(t)

    def denoise(self, x_t: Tensor, t: int) -> Tensor:
        return self.gain(t) * x_t

    def gains(self, t: Tensor) -> Tensor:
        """`gain` for a tensor of timesteps, float64 [B, 1, 1, 1]."""
        alpha_bar = self.schedule.alpha_bars[t]
        gain = alpha_bar.sqrt() * self.s**2 / (alpha_bar * self.s**2 + 1 - alpha_bar)
        return gain.view(-1, 1, 1, 1)

    def estimate(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, None]:
        """What `variational_bound` asks for: x_0_hat at t int64 [B], and no learned variance."""
        return self.gains(t) * x_t, None

    def flow(self, x_t: Tensor, t: int, s: int) -> Tensor:
        """The probability flow keeps the quantile: x / std is constant along it."""
        return x_t * math.sqrt(self.variance(s) / self.variance(t))


@pytest.fixture(scope="session")
def gaussian_oracle() -> Callable[..., GaussianOracle]:
    return GaussianOracle


@pytest.fixture(scope="session")
def uniform_lambda_schedule() -> NoiseSchedule:
    """1,025 levels at equal distances in lambda = log(alpha/sigma), from 4 (t = 0) to -5."""
    alpha_bars = torch.sigmoid(2 * torch.linspace(4, -5, 1025, dtype=torch.float64))
    before = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bars[:-1]])
    return NoiseSchedule("uniform in lambda", 1 - alpha_bars / before)


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Denoiser]:
    """Build an untrained denoiser of 8x8 grey images and two classes."""

    def build(seed: int = 0, **changed) -> Denoiser:
        patch, dropout = changed.pop("patch", 1), changed.pop("dropout", 0.0)
        spec = NetworkSpec((16, 32), 1, patch, (False, False), dropout)
        settings = {
            "image_size": 8,
            "channels": 1,
            "n_classes": 2,
            "schedule": cosine_schedule(),
            "prediction": "v",
            "device": torch.device("cpu"),
        }
        return build_denoiser(spec, seed=seed, **(settings | changed))

    return build


@pytest.fixture(scope="session")
def dark_and_bright() -> tuple[np.ndarray, np.ndarray]:
    """64 images [1, 8, 8] of each class: grey levels around 40 and around 215."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 64)
    levels = rng.normal(np.where(labels == 0, 40, 215)[:, None, None, None], 8, (128, 1, 8, 8))
    return levels.clip(0, 255).astype(np.uint8), labels


@dataclass(frozen=True)
class Trained:
    denoiser: Denoiser
    steps: list[StepStats]


@pytest.fixture(scope="session")
def trained(tiny, dark_and_bright) -> Trained:
    """The tiny denoiser after 200 steps, averaged weights. Tests must leave it as it is."""
    denoiser = tiny()
    options = TrainingOptions(batch_size=32, learning_rate=3e-3, warmup_steps=10, ema_decay=0.95)
    ema = make_ema(denoiser, options.ema_decay)
    steps = list(
        train_denoiser(denoiser, ema, *dark_and_bright, steps=200, seed=0, options=options)
    )
    ema.copy_to(denoiser.network.parameters())
    return Trained(denoiser, steps)


@pytest.fixture(scope="session")
def weights_of() -> Callable[[Denoiser], dict[str, Tensor]]:
    """A copy of every weight and buffer by name."""
    return lambda denoiser: {k: v.clone() for k, v in denoiser.network.state_dict().items()}


@pytest.fixture(scope="session")
def same_weights() -> Callable[[dict[str, Tensor], dict[str, Tensor]], bool]:
    """Whether two such copies are equal bit for bit."""
    return lambda a, b: a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="session")
def specialised() -> Callable[..., Denoiser]:
    """Continue a copy of `base` on images, all weights or adapters of `rank`, to its average."""

    def continued(
        base: Denoiser,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        steps: int,
        seed: int,
        options: TrainingOptions,
        rank: int | None = None,
    ) -> Denoiser:
        specialist = begin_specialist(base, rank=rank, seed=seed)
        ema = make_ema(specialist, options.ema_decay)
        for _ in train_denoiser(
            specialist, ema, images, labels, steps=steps, seed=seed, options=options
        ):
            pass
        return finish_specialist(specialist, ema)

    return continued
