"""Neural collapse of every arm, from what the classifiers of an evaluation leave behind."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from synthaug.errors import DivergedError
from synthaug.evaluation.arms import TrainingSet
from synthaug.evaluation.collapse import NeuralCollapse, neural_collapse
from synthaug.evaluation.collapse_words import describe_collapse
from synthaug.evaluation.geometry import minority_geometry
from synthaug.evaluation.options import ClassifierOptions
from synthaug.report.words import with_minus_signs
from synthaug.stages.arm_scores import ArmRuns


def class_shares(data: TrainingSet, options: ClassifierOptions, n_classes: int) -> np.ndarray:
    """Expected share of each class in the draws of a training, float64 [K] summing to 1.

    These are the counts that an arm was trained on, repetitions and synthetic images included.
    """

    def share(weights: np.ndarray) -> np.ndarray:
        total = np.bincount(data.labels, weights, n_classes)
        return np.asarray(total / total.sum())

    early = late = share(data.weights)
    if data.last_weights is not None:
        late = share(data.last_weights)
    if data.smote_features is not None:
        late = np.full(n_classes, 1 / n_classes)
    part = options.deferred_from / options.steps
    return np.asarray(part * early + (1 - part) * late)


def measure_collapse(
    kept: Sequence[Mapping[str, np.ndarray]], shares: np.ndarray
) -> NeuralCollapse | None:
    """Mean over the seeds of one arm; None without a last linear layer or finite weights.

    `kept` has what `Bench.train` returned for each seed. The mean, because two seeds of one arm
    differ as much as two arms often do.
    """
    if not all("last_layer" in arrays for arrays in kept):
        return None
    present = shares[shares > 0]
    try:
        measured = [
            neural_collapse(
                arrays["train_features"],
                arrays["train_feature_labels"],
                arrays["last_layer"],
                arrays["last_bias"],
                counts=shares / present.min(),  # only their proportions matter
            )
            for arrays in kept
        ]
    except DivergedError:
        return None
    mean: NeuralCollapse = _mean(measured)
    return mean


def collapse_json(
    runs: Mapping[str, ArmRuns],
    minority: np.ndarray,
    *,
    before: str | None = None,
    after: str | None = None,
) -> dict[str, Any] | None:
    """`collapse` of results.json for arms by name; None if it was measured of none.

    The sentence compares the arms `before` and `after`, None without one of the two.
    """
    measured = {name: r.collapse for name, r in runs.items() if r.collapse is not None}
    if not measured:
        return None
    first, second = measured.get(before or ""), measured.get(after or "")
    sentence = None
    if first is not None and second is not None:
        sentence = with_minus_signs(describe_collapse(first, second, minority))
    return {
        "before": before if first else None,
        "after": after if second else None,
        "sentence": sentence,
        "arms": {name: _arm_json(c, minority) for name, c in measured.items()},
    }


def _arm_json(c: NeuralCollapse, minority: np.ndarray) -> dict[str, float | None]:
    told: dict[str, float | None] = {
        "train_accuracy": c.train_accuracy,
        "nc1": c.nc1,
        "cdnv": c.cdnv,
        "nc3": c.nc3,
        "nc4": c.nc4,
    }
    for which, of in (("means", c.means), ("classifier", c.classifier)):
        for part in ("equinorm", "equiangular", "max_angle", "etf_distance", "seli_distance"):
            told[f"{which}_{part}"] = None if of is None else getattr(of, part)
    few = None if c.classifier is None else minority_geometry(c.classifier, minority)
    told["minority_cosine"] = None if few is None else few.cosine
    told["norm_ratio"] = None if few is None else few.norm_ratio
    return {
        name: None if value is None or not np.isfinite(value) else round(float(value), 4)
        for name, value in told.items()
    }


def _mean(parts: Sequence[Any]) -> Any:
    """Field by field of equal dataclasses, down to arrays and numbers; None if one is None."""
    if any(part is None for part in parts):
        return None
    if is_dataclass(parts[0]):
        make: Any = type(parts[0])
        names = [f.name for f in fields(parts[0])]
        return make(**{n: _mean([getattr(part, n) for part in parts]) for n in names})
    if isinstance(parts[0], np.ndarray):
        return np.mean(parts, axis=0)
    return float(np.mean(parts))
