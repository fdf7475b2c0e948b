"""Classification metrics that do not hide rare classes. Undefined values are NaN, never 0."""

import math
from dataclasses import dataclass

import numpy as np

GROUPS = ("many", "medium", "few")


@dataclass(frozen=True)
class Scores:
    """What one arm and one seed did on the test set; NaN where undefined.

    `recall`, `precision` and `f1` float64 [K]; summary `metrics` by name; `confusion` int64 [K, K]
    with true classes as rows; `worst_class` the one of lowest recall, None without test images.
    """

    recall: np.ndarray
    precision: np.ndarray
    f1: np.ndarray
    metrics: dict[str, float]
    confusion: np.ndarray
    worst_class: int | None


def score(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    *,
    groups: list[str],
    minority: np.ndarray,
    rarest: np.ndarray,
) -> Scores:
    """Scores of predictions int64 [N] on a test set of K = len(groups) classes.

    `groups` names each class many, medium or few; `minority` and `rarest` are bool [K]. All are
    undefined for a class without test images, precision also for a class never predicted, whose F1
    is 0; every summary is over the classes with test images.
    `g_mean` is the geometric mean of the recalls, 0 if one class is never recognised.
    """
    k = len(groups)
    confusion = confusion_matrix(y_true, y_pred, k)
    right, n, predicted = np.diagonal(confusion), confusion.sum(1), confusion.sum(0)
    tested = n > 0
    recall = _ratio(right, n)
    precision, f1 = (
        np.where(tested, values, np.nan)
        for values in (_ratio(right, predicted), _ratio(2 * right, n + predicted))
    )
    group = np.array(groups)
    chosen = {
        "balanced_accuracy": np.ones(k, dtype=bool),
        "minority_recall": minority,
        "rarest_recall": rarest,
        **{f"{name}_recall": group == name for name in GROUPS},
    }
    metrics = {name: _mean(recall[mask & tested]) for name, mask in chosen.items()}
    metrics["macro_f1"] = _mean(f1[tested])
    with np.errstate(divide="ignore"):
        metrics["g_mean"] = float(np.exp(_mean(np.log(recall[tested]))))
    metrics["worst_recall"] = float(recall[tested].min()) if tested.any() else float("nan")
    metrics["accuracy"] = float(right.sum() / n.sum()) if tested.any() else float("nan")
    worst = int(np.nanargmin(recall)) if tested.any() else None
    return Scores(recall, precision, f1, metrics, confusion, worst)


def confusion_matrix(y_true: np.ndarray, y_pred: np.ndarray, n_classes: int) -> np.ndarray:
    """int64 [..., K, K] of labels [N] and predictions [..., N]; true classes are the rows."""
    each = y_pred.reshape(math.prod(y_pred.shape[:-1]), len(y_true))
    cells = (np.arange(len(each))[:, None] * n_classes + y_true) * n_classes + each
    counts = np.bincount(cells.ravel(), minlength=len(each) * n_classes**2)
    return counts.reshape(*y_pred.shape[:-1], n_classes, n_classes)


def calibration_error(logits: np.ndarray, y_true: np.ndarray, n_bins: int = 15) -> float:
    """Expected calibration error of logits [N, K], in [0, 1]; NaN for no images.

    Images are binned by the probability of the predicted class into bins of equal width; the gap
    between mean probability and accuracy is averaged over images. Guo et al. (2017),
    arXiv:1706.04599.
    """
    probability = _softmax(logits)
    right = probability.argmax(1) == y_true
    return _calibration_gap(probability.max(1, initial=0), right, n_bins)


def rarest_classes(counts: np.ndarray, n: int = 3) -> np.ndarray:
    """bool [K]: the `n` classes with the fewest train images, never all of them."""
    n = min(n, max(len(counts) - 1, 1))
    chosen = np.zeros(len(counts), dtype=bool)
    chosen[np.argsort(counts, kind="stable")[:n]] = True
    return chosen


def _calibration_gap(probability: np.ndarray, happened: np.ndarray, n_bins: int) -> float:
    if not len(probability):
        return float("nan")
    inner_edges = np.linspace(0, 1, n_bins + 1)[1:-1]
    bins = np.searchsorted(inner_edges, probability, side="left")
    surplus = np.bincount(bins, weights=probability - happened, minlength=n_bins)
    return float(np.abs(surplus).sum() / len(probability))


def _softmax(logits: np.ndarray) -> np.ndarray:
    z = logits.astype(np.float64)
    z = np.exp(z - z.max(1, keepdims=True))
    return np.asarray(z / z.sum(1, keepdims=True))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
