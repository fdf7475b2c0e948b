"""The over-sampler: imbalanced-learn's own checks, and what it does with real digits."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imblearn.pipeline import make_pipeline
from imblearn.utils.estimator_checks import check_param_validation, estimator_checks_generator
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

import synthaug
from synthaug.errors import DataError
from synthaug.recipe import load_recipe

COUNTS = (24, 12, 6)

pytestmark = pytest.mark.usefixtures("quick_rates")


@pytest.fixture(scope="module")
def digit_rows() -> tuple[np.ndarray, np.ndarray]:
    """Real digits as scikit-learn has them, float [N, 64] from 0 to 16, and labels 0 to 2."""
    digits = load_digits()
    kept = np.concatenate([np.flatnonzero(digits.target == k)[:n] for k, n in enumerate(COUNTS)])
    return digits.data[kept], digits.target[kept]


def smoke_sampler(**options: Any) -> synthaug.SynthAugSampler:
    return synthaug.SynthAugSampler(**{"recipe": "smoke", "random_state": 0, **options})


class OfTables(synthaug.SynthAugSampler):
    """The checks give tables of 2, 3 or 20 columns: images of 1x2, 1x3 and 4x5 pixels here."""

    def _check_X_y(self, X: Any, y: Any, accept_sparse: Any = None) -> Any:
        X, y, binarize = super()._check_X_y(X, y, accept_sparse)
        self.image_shape = (4, 5) if X.shape[1] == 20 else (1, X.shape[1])
        return X, y, binarize


# Of imbalanced-learn's checks these do not apply. Tags leave all but the second out:
# - check_samplers_sparse and check_samplers_pandas_sparse: an image is no sparse matrix.
# - check_samplers_string and check_samplers_nan: pixels are finite numbers.
NOT_MADE = {
    "check_samplers_sparse", "check_samplers_pandas_sparse", "check_samplers_string",
    "check_samplers_nan",
}  # fmt: skip
CHECKS = {check.func.__name__: check for _, check in estimator_checks_generator(OfTables())}
MADE = sorted(set(CHECKS) - NOT_MADE)
LIGHT = {  # the others train on a thousand images each
    "check_target_type", "check_samplers_one_label", "check_samplers_fit",
    "check_sampler_get_feature_names_out",
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in LIGHT else pytest.mark.slow) for n in MADE]
)
def test_imbalanced_learns_checks(name: str):
    CHECKS[name](OfTables(recipe="smoke", random_state=0, sampling_strategy="auto"))


def test_every_check_is_made_that_applies():
    assert "check_samplers_fit_resample" in MADE and len(MADE) >= 12
    assert NOT_MADE & set(CHECKS) == {"check_samplers_pandas_sparse"}
    check_param_validation("SynthAugSampler", synthaug.SynthAugSampler())


@pytest.mark.parametrize(
    "form", [lambda X: X.reshape(-1, 8, 8).astype(np.float32) / 16,
             lambda X: (X * 15).astype(np.uint8),
             lambda X: np.repeat((X * 4000).astype(np.uint16).reshape(-1, 8, 8, 1), 3, axis=3)],
    ids=["float32 [N, H, W]", "uint8 [N, H * W]", "uint16 [N, H, W, 3]"],
)  # fmt: skip
def test_shape_type_and_range_stay(form: Any, digit_rows: tuple[np.ndarray, np.ndarray]):
    X, y = form(digit_rows[0]), digit_rows[1]
    before = X.copy()
    sampler = smoke_sampler()
    resampled, labels = sampler.fit_resample(X, y)
    assert np.bincount(labels).tolist() == [24, 24, 24]
    assert resampled.dtype == X.dtype and resampled.shape == (72, *X.shape[1:])
    np.testing.assert_array_equal(resampled[: len(X)], before)
    np.testing.assert_array_equal(labels[: len(y)], y)
    made = resampled[sampler.synthetic_mask_]
    assert made.min() >= (0 if X.dtype == np.uint8 else X.min())
    assert made.max() <= (255 if X.dtype == np.uint8 else X.max())
    assert len(np.unique(made, axis=0)) == len(made) == 30
    assert sampler.sampling_strategy_ == {1: 12, 2: 18}


def test_provenance_and_the_same_images_again(digit_rows: Any, tmp_path: Path):
    X, y = digit_rows
    names = np.array(["zero", "one", "two"])[y]
    sampler = smoke_sampler(run_dir=tmp_path / "run", sampling_strategy={"two": 10})
    resampled, labels = sampler.fit_resample(X, names)
    assert labels[sampler.synthetic_mask_].tolist() == ["two"] * 4
    told = sampler.sample_provenance_
    assert told[:42] == [{"source": "real", "index": i} for i in range(42)]
    for record in told[42:]:
        assert record["source"] == "synthetic" and record["mode"] == "variation"
        assert {"seed", "checkpoint", "sampler", "steps"} <= set(record)
        assert [names[i] for i in record["indices"]] == ["two"]  # what it is a variation of
    assert len({record["seed"] for record in told[42:]}) == 4

    # The run is an ordinary one, kept where it was asked for; nothing of it was held back.
    assert json.loads((tmp_path / "run" / "splits.json").read_text())["test"] == []
    assert len(list((tmp_path / "run" / "synthetic" / "two").iterdir())) == 4
    with pytest.raises(DataError, match="fitted on all images"):
        synthaug.evaluate(tmp_path / "run")
    assert synthaug.generate(tmp_path / "run", balance={"one": 14}).counts["one"] == 2

    again, _ = smoke_sampler(sampling_strategy={"two": 10}).fit_resample(X, names)
    np.testing.assert_array_equal(again, resampled)
    other, _ = smoke_sampler(sampling_strategy={"two": 10}, random_state=1).fit_resample(X, names)
    assert not np.array_equal(other, resampled)


def test_in_a_pipeline_with_cross_validation(digit_rows: Any):
    X, y = digit_rows
    pipeline = make_pipeline(smoke_sampler(steps=2), LogisticRegression(C=0.01))
    scores = cross_val_score(pipeline, X, y, cv=2, scoring="balanced_accuracy")
    assert scores.shape == (2,) and np.isfinite(scores).all()
    pipeline.fit(X, y)
    assert pipeline[0].synthetic_mask_.sum() == 30
    assert pipeline.predict(X).shape == y.shape


def test_nothing_is_trained_when_nothing_is_wanted(digit_rows: Any, monkeypatch: Any):
    monkeypatch.setattr("synthaug.sampler.fit", None)
    X, y = digit_rows[0][:36], np.repeat([0, 1, 2], 12)
    sampler = smoke_sampler()
    resampled, labels = sampler.fit_resample(X, y)
    np.testing.assert_array_equal(resampled, X)
    np.testing.assert_array_equal(labels, y)
    assert not sampler.synthetic_mask_.any()


def test_the_temporary_run_is_gone(digit_rows: Any, tmp_path: Path, monkeypatch: Any):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    smoke_sampler(steps=1).fit_resample(*digit_rows)
    assert not list(tmp_path.iterdir())


def test_a_shortfall_is_warned_of(digit_rows: Any, tmp_path: Path):
    strict = load_recipe("smoke", values={"selection.entropy_above": 0.0})  # none is that certain
    recipe = tmp_path / "strict.yaml"
    recipe.write_text(strict.to_yaml())
    sampler = smoke_sampler(recipe=recipe, sampling_strategy={2: 10})
    with pytest.warns(UserWarning, match="class '2' got 4 of 4 images fewer than asked"):
        resampled, _ = sampler.fit_resample(*digit_rows)
    assert len(resampled) == sum(COUNTS) and not sampler.synthetic_mask_.any()


@pytest.mark.parametrize(
    ("X", "y", "told"),
    [
        (np.zeros((6, 20)), [0, 0, 0, 0, 1, 1], "no square grey image"),
        (np.zeros((6, 8, 8, 2)), [0, 0, 0, 0, 1, 1], "C of 1 or 3"),
        (np.arange(384.0).reshape(6, 64), [0, 0, 0, 0, 0, 1], "class '1' has too few distinct"),
    ],
)
def test_images_it_cannot_learn_from(X: np.ndarray, y: list[int], told: str):
    with pytest.raises(DataError) as refused:
        smoke_sampler().fit_resample(X, y)
    assert told in str(refused.value)
