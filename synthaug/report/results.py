"""Reading of results.json: what must be in it, what may be missing, and what a number in it is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synthaug.errors import DataError

SCHEMA_VERSION = 2
_REQUIRED = ("dataset", "synthetic_counts", "protocol", "metrics", "arms", "verdict")
_PER_CLASS = ("train_counts", "test_counts")

Results = Mapping[str, Any]
"""The parsed results.json; `check_results` says what it must contain."""


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


def check_results(results: Results) -> None:
    """Check once, before anything is drawn, that the dict has the shape this package renders.

    Raises:
        DataError: if the schema version is another one, a required part is missing, or a list that
            must have one entry per class has another length.
    """
    version = results.get("schema_version")
    if version != SCHEMA_VERSION:
        raise DataError(
            f"results with schema_version {version!r}",
            expected=f"schema_version {SCHEMA_VERSION}",
            remedy="run `synthaug evaluate` again with this version of synthaug",
        )
    missing = [key for key in _REQUIRED if key not in results]
    if not missing:
        n_classes = len(results["dataset"]["class_names"])
        missing = [
            f"dataset.{key} for {n_classes} classes"
            for key in _PER_CLASS
            if len(results["dataset"].get(key, ())) != n_classes
        ]
        if len(results["synthetic_counts"]) != n_classes:
            missing.append(f"synthetic_counts for {n_classes} classes")
    if missing:
        raise DataError(
            f"results without {', '.join(missing)}", remedy="run `synthaug evaluate` again"
        )


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
