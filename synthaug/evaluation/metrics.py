"""Classification metrics that do not hide rare classes. Undefined values are NaN, never 0."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import precision_recall_fscore_support

GROUPS = ("many", "medium", "few")


@dataclass(frozen=True)
class Scores:
    """`recall`, `precision` float64 [K] and summary `metrics` by name; NaN where undefined."""

    recall: np.ndarray
    precision: np.ndarray
    metrics: dict[str, float]


def score(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    *,
    groups: list[str],
    minority: np.ndarray,
    rarest: np.ndarray,
) -> Scores:
    """Scores of predictions int64 [N] on a test set of K = len(groups) classes.

    `groups` names each class many, medium or few; `minority` and `rarest` are bool [K]. Recall is
    undefined for a class without test images, precision for a class never predicted; every summary
    is the mean over its classes where recall is defined. F1 of a class never predicted is 0.
    """
    k = len(groups)
    precision, recall, _, support = precision_recall_fscore_support(
        y_true, y_pred, labels=np.arange(k), zero_division=np.nan
    )
    _, _, f1, _ = precision_recall_fscore_support(
        y_true, y_pred, labels=np.arange(k), zero_division=0.0
    )
    tested = support > 0
    group = np.array(groups)
    chosen = {
        "balanced_accuracy": np.ones(k, dtype=bool),
        "minority_recall": minority,
        "rarest_recall": rarest,
        **{f"{name}_recall": group == name for name in GROUPS},
    }
    metrics = {name: _mean(recall, mask & tested) for name, mask in chosen.items()}
    metrics["macro_f1"] = _mean(f1, tested)
    metrics["accuracy"] = float(np.mean(y_true == y_pred))
    return Scores(recall, precision, metrics)


def rarest_classes(counts: np.ndarray, n: int = 3) -> np.ndarray:
    """bool [K]: the `n` classes with the fewest train images, never all of them."""
    n = min(n, max(len(counts) - 1, 1))
    chosen = np.zeros(len(counts), dtype=bool)
    chosen[np.argsort(counts, kind="stable")[:n]] = True
    return chosen


def _mean(values: np.ndarray, mask: np.ndarray) -> float:
    return float(values[mask].mean()) if mask.any() else float("nan")
