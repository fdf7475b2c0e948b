"""Metrics against scikit-learn, and what is undefined stays undefined."""

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.metrics import geometric_mean_score
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    precision_score,
    recall_score,
)

from synthaug.evaluation.metrics import (
    calibration_error,
    confusion_matrix,
    rarest_classes,
    score,
)


def scores(y_true, y_pred, k, groups=None, minority=None, rarest=None):
    return score(
        np.asarray(y_true), np.asarray(y_pred),
        groups=groups or ["many"] * k,
        minority=np.zeros(k, bool) if minority is None else np.asarray(minority),
        rarest=np.zeros(k, bool) if rarest is None else np.asarray(rarest),
    )  # fmt: skip


@st.composite
def predictions(draw):
    """Every one of k classes is tested; predictions are anything."""
    k = draw(st.integers(2, 6))
    y_true = [*range(k), *draw(st.lists(st.integers(0, k - 1), max_size=30))]
    n = len(y_true)
    y_pred = draw(st.lists(st.integers(0, k - 1), min_size=n, max_size=n))
    minority = draw(st.lists(st.booleans(), min_size=k, max_size=k))
    return k, np.array(y_true), np.array(y_pred), np.array(minority)


@settings(deadline=None)
@given(predictions())
def test_equal_to_scikit_learn(case):
    k, y_true, y_pred, minority = case
    s = scores(y_true, y_pred, k, minority=minority)
    m = s.metrics
    assert m["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(y_true, y_pred))
    assert m["accuracy"] == pytest.approx(accuracy_score(y_true, y_pred))
    assert m["macro_f1"] == pytest.approx(
        f1_score(y_true, y_pred, average="macro", labels=range(k), zero_division=0)
    )
    assert m["g_mean"] == pytest.approx(geometric_mean_score(y_true, y_pred), abs=1e-12)
    np.testing.assert_array_equal(
        s.confusion, sklearn.metrics.confusion_matrix(y_true, y_pred, labels=range(k))
    )
    f1 = f1_score(y_true, y_pred, average=None, labels=range(k), zero_division=0)
    np.testing.assert_allclose(s.f1, f1)
    recall = recall_score(y_true, y_pred, average=None, labels=range(k))
    np.testing.assert_allclose(s.recall, recall)
    assert m["worst_recall"] == recall.min() == recall[s.worst_class]
    np.testing.assert_allclose(
        s.precision,
        precision_score(y_true, y_pred, average=None, labels=range(k), zero_division=np.nan),
    )
    expected = recall[minority].mean() if minority.any() else np.nan
    np.testing.assert_allclose(m["minority_recall"], expected)


def test_row_101_class_without_test_images_is_not_a_zero():
    s = scores([0, 0, 1, 1], [0, 1, 1, 2], 3)
    np.testing.assert_array_equal(s.recall, [0.5, 0.5, np.nan])
    np.testing.assert_allclose(s.precision, [1, 1 / 2, np.nan])  # though it was predicted once
    np.testing.assert_allclose(s.f1, [2 / 3, 1 / 2, np.nan])
    assert s.metrics["g_mean"] == pytest.approx(0.5)
    assert s.metrics["worst_recall"] == 0.5
    assert s.worst_class == 0
    assert s.metrics["balanced_accuracy"] == 0.5  # a mean over two classes
    assert s.metrics["macro_f1"] == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_class_never_predicted_has_no_precision():
    s = scores([0, 1, 2], [0, 0, 0], 3)
    np.testing.assert_allclose(s.precision, [1 / 3, np.nan, np.nan])
    np.testing.assert_array_equal(s.recall, [1, 0, 0])
    assert s.metrics["g_mean"] == s.metrics["worst_recall"] == 0
    assert s.metrics["macro_f1"] == pytest.approx(0.5 / 3)


def test_groups_are_means_over_their_classes():
    s = scores(
        [0, 0, 1, 1, 2, 2, 3, 3], [0, 0, 1, 0, 0, 0, 3, 0], 4,
        groups=["many", "few", "few", "medium"],
        rarest=[False, False, True, True],
    )  # fmt: skip
    assert s.metrics["many_recall"] == 1
    assert s.metrics["few_recall"] == 0.25
    assert s.metrics["medium_recall"] == 0.5
    assert s.metrics["rarest_recall"] == 0.25


def test_empty_groups_are_nan_and_so_are_groups_without_test_images():
    s = scores([0, 0], [0, 0], 2, groups=["many", "few"], minority=[False, True])
    for name in ("medium_recall", "few_recall", "minority_recall", "rarest_recall"):
        assert np.isnan(s.metrics[name])
    assert s.metrics["many_recall"] == s.metrics["balanced_accuracy"] == 1


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([50, 3, 20, 4, 9], [False, True, False, True, True]),
        ([5, 5, 5, 5, 5], [True, True, True, False, False]),
        ([9, 1, 5], [False, True, True]),
        ([9, 1], [False, True]),
    ],
)
def test_rarest_classes(counts, expected):
    assert rarest_classes(np.array(counts)).tolist() == expected


@given(st.lists(st.integers(1, 500), min_size=2, max_size=12), st.integers(1, 5))
def test_rarest_classes_are_rarest_and_never_all(counts, n):
    chosen = rarest_classes(np.array(counts), n)
    assert chosen.sum() == min(n, len(counts) - 1)
    counts = np.array(counts)
    assert counts[chosen].max() <= counts[~chosen].min()


def test_row_101_no_test_images_at_all():
    none = np.zeros(0, dtype=int)
    s = scores(none, none, 2)
    assert np.isnan(list(s.metrics.values())).all()
    assert s.worst_class is None
    assert np.isnan(calibration_error(np.zeros((0, 2)), none))


def test_confusion_matrices_of_several_seeds_at_once():
    rng = np.random.default_rng(0)
    y, predicted = rng.integers(0, 4, 50), rng.integers(0, 4, (2, 3, 50))
    found = confusion_matrix(y, predicted, 5)
    assert found.shape == (2, 3, 5, 5)
    assert found.dtype == np.int64
    for i, j in np.ndindex(2, 3):
        expected = sklearn.metrics.confusion_matrix(y, predicted[i, j], labels=range(5))
        np.testing.assert_array_equal(found[i, j], expected)


# Calibration ------------------------------------------------------------------------------------


def binned(probability, happened, n_bins):
    """The definition, bin by bin: right-closed bins of equal width."""
    total = 0.0
    for b in range(n_bins):
        inside = (probability > b / n_bins) & (probability <= (b + 1) / n_bins)
        if inside.any():
            gap = abs(probability[inside].mean() - happened[inside].mean())
            total += gap * inside.sum() / len(probability)
    return total


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.integers(0, 10**6), st.integers(1, 80), st.integers(2, 6), st.sampled_from([1, 10, 15]))
def test_calibration_error_by_its_definition(seed, n, k, n_bins):
    rng = np.random.default_rng(seed)
    logits, y = rng.normal(0, 3, (n, k)), rng.integers(0, k, n)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = binned(p.max(1), p.argmax(1) == y, n_bins)
    assert calibration_error(logits, y, n_bins) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_calibration_error_of_extremes(dtype):
    sure = 1e4 * np.eye(3, dtype=dtype)  # exp overflows
    assert calibration_error(sure, np.arange(3)) == 0
    assert calibration_error(sure, (np.arange(3) + 1) % 3) == 1
    unsure = np.zeros((30, 3), dtype=dtype)
    assert calibration_error(unsure, np.repeat(np.arange(3), 10)) == pytest.approx(0)
    assert calibration_error(unsure, np.zeros(30, dtype=int)) == pytest.approx(2 / 3)


def test_calibrated_probabilities_have_a_small_error_and_sharpened_ones_a_large_one():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 4))
    gumbel = rng.gumbel(size=logits.shape)  # argmax of logits + Gumbel noise is a draw from softmax
    y = (logits + gumbel).argmax(1)
    assert calibration_error(logits, y) < 0.015
    assert calibration_error(3 * logits, y) > 0.1
