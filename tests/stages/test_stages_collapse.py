"""Neural collapse of an arm: what it was trained on, and the mean over its seeds."""

import numpy as np
import pytest

from synthaug.evaluation.arms import DATA_SIDES, Material
from synthaug.evaluation.collapse import neural_collapse
from synthaug.evaluation.geometry import seli_geometry
from synthaug.evaluation.options import ClassifierOptions
from synthaug.stages.arm_scores import ArmRuns
from synthaug.stages.collapse import class_shares, collapse_json, measure_collapse

OPTIONS = ClassifierOptions(steps=10, deferred_share=0.2)


def images_of(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.zeros((len(labels), 1, 8, 8), np.uint8), labels


@pytest.mark.parametrize(
    ("side", "shares"),
    [
        ("real", [0.6, 0.3, 0.1]),
        ("real+oversample", [1 / 3, 1 / 3, 1 / 3]),
        ("synthaug", [1 / 3, 1 / 3, 1 / 3]),
        # Four fifths of the steps as they come, then the last layer on classes drawn alike.
        ("smote-features", [0.8 * s + 0.2 / 3 for s in (0.6, 0.3, 0.1)]),
    ],
)
def test_shares_of_the_classes_in_the_draws(side, shares):
    material = Material(images_of([60, 30, 10]), 3, synthetic=images_of([0, 30, 50]))
    found = class_shares(DATA_SIDES[side](material), OPTIONS, 3)
    np.testing.assert_allclose(found, shares)


def kept(seed, counts=(20, 20, 20, 5)):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    centres = rng.normal(size=(len(counts), 6))
    return {
        "train_features": (centres[labels] + 0.1 * rng.normal(size=(len(labels), 6))).astype("f4"),
        "train_feature_labels": labels,
        "last_layer": centres.astype("f4"),
        "last_bias": np.zeros(len(counts), "f4"),
    }


def test_the_mean_over_seeds_of_each_number():
    shares = np.array([0.4, 0.3, 0.2, 0.1])
    seeds = [kept(0), kept(1)]
    mean = measure_collapse(seeds, shares)
    each = [
        neural_collapse(
            s["train_features"], s["train_feature_labels"], s["last_layer"],
            counts=np.array([4, 3, 2, 1]),
        )
        for s in seeds
    ]  # fmt: skip
    assert mean.nc1 == pytest.approx(np.mean([c.nc1 for c in each]))
    assert mean.classifier.seli_distance == pytest.approx(
        np.mean([c.classifier.seli_distance for c in each])
    )
    np.testing.assert_allclose(
        mean.classifier.cosines, np.mean([c.classifier.cosines for c in each], axis=0)
    )
    assert seli_geometry(np.array([4, 3, 2, 1]))[0].etf_distance > 0.05  # counts matter here


def test_no_last_layer_and_no_finite_weights_are_no_measurement():
    shares = np.full(4, 0.25)
    assert measure_collapse([kept(0), {"logits": np.zeros(1)}], shares) is None
    broken = kept(0)
    broken["last_layer"][0, 0] = np.nan
    assert measure_collapse([broken], shares) is None


def test_json_has_what_was_measured_and_compares_two_arms():
    minority = np.array([False, False, True, True])
    shares = np.full(4, 0.25)

    def runs(*seeds):
        return ArmRuns([], 0.0, 0.0, measure_collapse([kept(s) for s in seeds], shares))

    nothing = ArmRuns([], 0.0, 0.0)
    assert collapse_json({"real/ce": nothing}, minority) is None
    arms = {"real/ce": runs(0), "none": nothing, "synthaug/la": runs(1)}
    told = collapse_json(arms, minority, before="real/ce", after="synthaug/la")
    assert set(told["arms"]) == {"real/ce", "synthaug/la"}
    assert "minority" in told["sentence"] and "ETF" in told["sentence"]
    few = told["arms"]["real/ce"]["minority_cosine"]
    centred = kept(0)["last_layer"] - kept(0)["last_layer"].mean(0)
    a, b = centred[2:]
    assert few == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-4)
    assert collapse_json(arms, minority, before="none", after="synthaug/la")["sentence"] is None
