"""From scores per seed to intervals over seeds.

These intervals take the test images as given. `paired.py` and `verdict.py` count the luck of which
images were tested as well.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Reading = Literal["better", "worse", "no evidence"]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and its 95 % t-interval; `low` and `high` are None for one seed."""

    mean: float
    low: float | None
    high: float | None
    values: tuple[float, ...]

    @property
    def reading(self) -> Reading:
        """Of a difference: whether the interval excludes zero, and on which side."""
        if self.low is not None and self.low > 0:
            return "better"
        if self.high is not None and self.high < 0:
            return "worse"
        return "no evidence"


def estimate(values: np.ndarray, confidence: float = 0.95) -> Estimate | None:
    """Mean and t-interval of one number per seed, float [S]; None if any is undefined."""
    if not len(values) or np.isnan(values).any():
        return None
    mean = float(values.mean())
    numbers = tuple(float(v) for v in values)
    if len(values) < 2:
        return Estimate(mean, None, None, numbers)
    from scipy.special import stdtrit

    sem = values.std(ddof=1) / np.sqrt(len(values))
    half = stdtrit(len(values) - 1, 0.5 + confidence / 2) * sem
    return Estimate(mean, mean - float(half), mean + float(half), numbers)


def paired_difference(ours: np.ndarray, theirs: np.ndarray) -> Estimate | None:
    """Estimate of ours - theirs, seed by seed; both float [S] in the same order of seeds."""
    return estimate(np.asarray(ours) - np.asarray(theirs))


def gap_closed(arm: float, reference: float, oracle: float) -> float | None:
    """Share of the gap between `reference` and `oracle` that `arm` closes.

    None where real data would not have helped either (no gap of more than 0.001).
    """
    gap = oracle - reference
    return (arm - reference) / gap if gap > 1e-3 else None
