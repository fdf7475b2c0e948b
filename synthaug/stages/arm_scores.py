"""What each arm reached on the test images: the `arms` of results.json."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from synthaug.balance.plan import BalancePlan
from synthaug.evaluation.arms import Arm
from synthaug.evaluation.collapse import NeuralCollapse
from synthaug.evaluation.compare import Estimate, estimate, gap_closed
from synthaug.evaluation.metrics import GROUPS, Scores, calibration_error, rarest_classes, score
from synthaug.evaluation.paired import Difference

HEADLINE = "balanced_accuracy"
METRICS = (
    HEADLINE,
    "rarest_recall",
    "minority_recall",
    "macro_f1",
    *(f"{group}_recall" for group in GROUPS),
    "accuracy",
)
"""What two arms are compared by."""
FURTHER_METRICS = ("g_mean", "worst_recall", "calibration_error")
"""Told of each arm, but not compared: they have no tangent, or are no merit of the labels given."""
CONFUSED_CLASSES = 100
"""With more classes confusion matrices would make results.json larger than anyone reads; they
follow from `predictions/`."""


@dataclass(frozen=True)
class ArmRuns:
    """Test logits float32 [N, K] of one arm, one entry a seed, and means over the seeds.

    `collapse` is None where the classifier does not end in an `nn.Linear`.
    """

    logits: list[np.ndarray]
    train_seconds: float
    train_accuracy: float
    collapse: NeuralCollapse | None = None


@dataclass(frozen=True)
class Scored:
    """Scores of one arm by seed, and ways to lay them out as float [S]."""

    arm: Arm
    by_seed: list[Scores]
    predicted: np.ndarray
    """int64 [S, N]."""
    calibration_errors: np.ndarray
    """Expected calibration error, float64 [S]."""

    def metric(self, name: str) -> np.ndarray:
        if name == "calibration_error":
            return self.calibration_errors
        return np.array([s.metrics[name] for s in self.by_seed])

    def recall(self, k: int) -> np.ndarray:
        return np.array([s.recall[k] for s in self.by_seed])

    def precision(self, k: int) -> np.ndarray:
        return np.array([s.precision[k] for s in self.by_seed])

    def confusion(self) -> np.ndarray:
        """Mean over seeds, float64 [K, K] with true classes as rows."""
        return np.mean([s.confusion for s in self.by_seed], axis=0)


def score_arm(arm: Arm, runs: ArmRuns, y_true: np.ndarray, plan: BalancePlan) -> Scored:
    """Score the predictions of one arm on the test labels int64 [N]."""
    predicted = np.stack([logits.argmax(1) for logits in runs.logits])
    rarest = rarest_classes(np.array(plan.counts))
    minority = np.array(plan.minority)
    by_seed = [
        score(y_true, own, groups=list(plan.group), minority=minority, rarest=rarest)
        for own in predicted
    ]
    errors = np.array([calibration_error(logits, y_true) for logits in runs.logits])
    return Scored(arm, by_seed, predicted, errors)


def arm_entry(
    s: Scored, runs: ArmRuns, class_names: tuple[str, ...], gap: dict[str, float | None] | None
) -> dict[str, Any]:
    """One arm in results.json; `gap` is what `gaps_closed` says of it."""
    n_classes = len(class_names)
    confusion = s.confusion()
    n_test = confusion.sum(1)
    worst = None
    if n_test.any():
        recall = np.divide(
            np.diagonal(confusion), n_test, out=np.full(n_classes, np.inf), where=n_test > 0
        )
        worst = class_names[int(recall.argmin())]
    return {
        "name": s.arm.name,
        **arm_facts(s.arm),
        "metrics": {m: as_json(estimate(s.metric(m))) for m in (*METRICS, *FURTHER_METRICS)},
        "recall": [as_json(estimate(s.recall(k))) for k in range(n_classes)],
        "precision": [as_json(estimate(s.precision(k))) for k in range(n_classes)],
        "worst_class": worst,
        "confusion": confusion.round(2).tolist() if n_classes <= CONFUSED_CLASSES else None,
        "train_seconds": round(runs.train_seconds, 2),
        "train_accuracy": round(runs.train_accuracy, 4),
        "gap_closed": gap,
    }


def gaps_closed(
    s: Scored, opponent: Scored | None, oracle: Scored | None
) -> dict[str, float | None] | None:
    """How far an arm came from the best without synthetic images to the oracle; None without."""
    if oracle is None or opponent is None or s is oracle:
        return None
    closed = {}
    for metric in ("rarest_recall", HEADLINE):
        ours, best, most = (float(x.metric(metric).mean()) for x in (s, opponent, oracle))
        closed[metric] = gap_closed(ours, best, most)
    return closed


def arm_facts(arm: Arm) -> dict[str, Any]:
    """What the words for an arm are made from."""
    return {
        "data": arm.data,
        "loss": arm.loss,
        "synthetic": arm.synthetic,
        "oracle": arm.oracle,
        "control": arm.control,
    }


def as_json(e: Estimate | Difference | None) -> dict[str, Any] | None:
    """An `Estimate` or a `Difference` as results.json has it; a difference has its p as well."""
    if e is None:
        return None
    told: dict[str, Any] = {key: _rounded(getattr(e, key)) for key in ("mean", "low", "high")}
    told["values"] = [round(v, 6) for v in e.values]
    if isinstance(e, Difference):
        told["p"] = _rounded(e.p)
    return told


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
