"""Reading of results.json: finding an arm, a metric or an entry, and what a number in it is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Results = Mapping[str, Any]
"""The parsed results.json, after `schema.validate_results`."""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its interval; `low` and `high` are None when there is one seed."""

    mean: float
    low: float | None
    high: float | None
    values: tuple[float, ...]

    @property
    def half_width(self) -> float | None:
        """Half the length of the interval, or None without one."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


def estimate(raw: Mapping[str, Any] | None) -> Estimate | None:
    """Read one `{"mean", "low", "high", "values"}`; None if undefined (null, or mean NaN)."""
    mean = _finite((raw or {}).get("mean"))
    if raw is None or mean is None:
        return None
    low, high = _finite(raw.get("low")), _finite(raw.get("high"))
    if low is None or high is None:
        low = high = None
    values = tuple(v for v in map(_finite, raw.get("values") or ()) if v is not None)
    return Estimate(mean, low, high, values)


def find_arm(results: Results, name: str | None) -> Mapping[str, Any] | None:
    """The arm of that name, or None."""
    return next((arm for arm in results["arms"] if arm["name"] == name), None)


def comparison(results: Results) -> Mapping[str, Any]:
    """The comparison of the synthaug arm with its opponent; empty when none was made."""
    return results.get("comparison") or {}


def metric_of(arm: Mapping[str, Any] | None, metric: str) -> Estimate | None:
    """One metric of one arm; None when either does not exist."""
    return estimate((arm or {}).get("metrics", {}).get(metric))


def class_entry(holder: Mapping[str, Any] | None, key: str, index: int) -> Estimate | None:
    """Entry `index` of a per-class list such as "recall"; None when the list or entry is absent."""
    entries = (holder or {}).get(key) or ()
    return estimate(entries[index]) if index < len(entries) else None


def n_seeds(results: Results) -> int:
    """Number of paired seeds the arms were trained with."""
    return len(results["protocol"].get("seeds", ()))


def _finite(value: Any) -> float | None:
    if isinstance(value, (int, float)) and math.isfinite(value):
        return float(value)
    return None
