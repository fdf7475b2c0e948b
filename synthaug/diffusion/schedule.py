"""Noise schedules: the variances beta_t of the forward process and what follows from them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from synthaug.errors import UsageError

ScheduleName = Literal["linear", "cosine"]
T_DEFAULT = 1000
BETA_START, BETA_END = 1e-4, 0.02
"""Of the linear schedule (Ho et al. 2020, Section 4)."""
LEAST_ALPHA_BAR = 1e-150
"""Below it, ratios of SNRs leave float64; 1e-16 is noise to any precision already."""


@dataclass(frozen=True)
class NoiseSchedule:
    """The forward process of Ho et al. (2020), Section 2, arXiv:2006.11239.

    `betas` is float64 [T] with 0 < beta_t < 1; the index t runs over 0..T-1, so the paper's
    beta_1 is `betas[0]`. Raises `ValueError` for betas outside (0, 1), and for
    so many large ones that nothing is left to divide by.
    """

    name: str
    betas: Tensor  # [T], float64

    def __post_init__(self) -> None:
        inside = (self.betas > 0) & (self.betas < 1)
        if self.betas.ndim != 1 or not len(self.betas) or not bool(inside.all()):
            raise ValueError("betas must be one row of numbers strictly between 0 and 1")
        if float(self.alpha_bars[-1]) < LEAST_ALPHA_BAR:
            raise ValueError(
                f"betas must leave an alpha_bar of {LEAST_ALPHA_BAR:g} or more at the last step: "
                "smaller ones, or fewer"
            )

    @property
    def T(self) -> int:
        return len(self.betas)

    @property
    def alphas(self) -> Tensor:
        """alpha_t = 1 - beta_t, float64 [T]."""
        return 1.0 - self.betas

    @property
    def alpha_bars(self) -> Tensor:
        """alpha_bar_t = prod_{s<=t} alpha_s, float64 [T]."""
        return torch.cumprod(self.alphas, dim=0)

    @property
    def snr(self) -> Tensor:
        """Signal-to-noise ratio alpha_bar_t / (1 - alpha_bar_t), float64 [T], falling in t."""
        return self.alpha_bars / (1.0 - self.alpha_bars)

    def alpha_bar(self, t: int) -> float:
        """alpha_bar_t as a number; t = -1 is the clean image, where it is exactly 1."""
        return 1.0 if t < 0 else float(self.alpha_bars[t])


def linear_schedule(
    T: int = T_DEFAULT, start: float = BETA_START, end: float = BETA_END
) -> NoiseSchedule:
    """beta_t from `start` to `end` in equal steps (Ho et al. 2020, Section 4)."""
    return NoiseSchedule("linear", torch.linspace(start, end, T, dtype=torch.float64))


def cosine_schedule(T: int = T_DEFAULT, offset: float = 0.008) -> NoiseSchedule:
    """alpha_bar_t = cos^2((t/T + s)/(1 + s) * pi/2), beta_t <= 0.999.

    Nichol & Dhariwal (2021), Eq. 17, arXiv:2102.09672. Small images keep
    their signal for longer under it than under the linear schedule.
    """

    def f(u: float) -> float:
        return math.cos((u + offset) / (1 + offset) * math.pi / 2) ** 2

    betas = [min(1 - f((t + 1) / T) / f(t / T), 0.999) for t in range(T)]
    return NoiseSchedule("cosine", torch.tensor(betas, dtype=torch.float64))


SCHEDULES: dict[str, Callable[[int], NoiseSchedule]] = {
    "linear": linear_schedule,
    "cosine": cosine_schedule,
}
GIVEN = "given"
"""The name of a schedule whose betas the user wrote down."""


def make_schedule(
    schedule: str | Sequence[float],
    T: int | None = None,
    *,
    beta_start: float = BETA_START,
    beta_end: float = BETA_END,
) -> NoiseSchedule:
    """The schedule of that name with `T` steps (default 1000), or the one with just these betas.

    `beta_start` and `beta_end` are the ends of the linear schedule; the others have none. With a
    list of betas T is its length, and naming another is a contradiction.
    Raises `UsageError` for an unknown name, betas that make no `NoiseSchedule`, or such a
    contradiction.
    """
    if not isinstance(schedule, str):
        betas = torch.tensor(list(schedule), dtype=torch.float64)
        if T is not None and T != len(betas):
            raise UsageError(
                f"T = {T} beside a schedule of {len(betas)} betas",
                remedy=f"leave T out: it is the number of betas, {len(betas)}",
            )
    elif schedule not in SCHEDULES:
        raise UsageError(f"noise schedule {schedule!r}", expected=" or ".join(SCHEDULES))
    try:
        if not isinstance(schedule, str):
            return NoiseSchedule(GIVEN, betas)
        if schedule == "linear":
            return linear_schedule(T or T_DEFAULT, beta_start, beta_end)
        return SCHEDULES[schedule](T or T_DEFAULT)
    except ValueError as error:
        told = schedule if isinstance(schedule, str) else "given betas"
        raise UsageError(f"noise schedule of {told}: {error}") from error
