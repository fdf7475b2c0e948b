"""What training one classifier of an evaluation leaves behind."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from synthaug.errors import ResourceError, UsageError
from synthaug.evaluation.arms import Arm, Material
from synthaug.evaluation.training import ClassifierOptions
from synthaug.stages.bench import Bench, sample_of_each_class, train_all
from synthaug.stages.signals import StopFlag, stop_flag

NETS = """
from torch import nn

def with_head(channels, n_classes, image_size):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(channels * image_size**2, 6), nn.ReLU(),
        nn.Linear(6, n_classes, bias=False),
    )

def without_head(channels, n_classes, image_size):
    return nn.Sequential(nn.Conv2d(channels, n_classes, image_size), nn.Flatten())
"""


def images_of(counts, seed=0):
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    levels = np.random.default_rng(seed).integers(0, 256, (len(labels), 1, 8, 8), dtype=np.uint8)
    return levels, labels


@pytest.fixture
def bench(tmp_path, monkeypatch):
    (tmp_path / "bench_nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    options = ClassifierOptions(steps=3, batch_size=8, classifier="bench_nets:with_head")
    real, test = images_of([130, 20, 3]), images_of([4, 4, 4], seed=1)
    return Bench(Material(real, 3), test, options, "cpu")


@pytest.mark.parametrize("loss", ["la", "ldam"])
def test_features_and_last_layer_give_the_logits_of_the_train_images(bench, loss):
    same = replace(bench, test=bench.material.real)
    arrays = same.train(Arm("real", loss), 0)
    chosen = sample_of_each_class(bench.material.real[1])
    expected = arrays["logits"][chosen]
    logits = arrays["train_features"] @ arrays["last_layer"].T + arrays["last_bias"]
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    np.testing.assert_array_equal(arrays["train_feature_labels"], bench.material.real[1][chosen])
    assert arrays["train_features"].dtype == arrays["last_layer"].dtype == np.float32
    assert arrays["last_layer"].shape == (3, 6) and arrays["last_bias"].shape == (3,)


def test_every_arm_keeps_features_of_the_same_real_images(bench):
    material = replace(bench.material, synthetic=images_of([0, 30, 40], seed=2))
    bench = replace(bench, material=material)
    labels = [
        bench.train(Arm(data, "ce"), seed)["train_feature_labels"]
        for data in ("real", "synthaug", "smote-features")
        for seed in (0, 1)
    ]
    assert all(np.array_equal(other, labels[0]) for other in labels)


def test_a_classifier_without_a_last_linear_layer_keeps_none(bench):
    options = replace(bench.options, classifier="bench_nets:without_head")
    arrays = replace(bench, options=options).train(Arm("real", "ce"), 0)
    assert set(arrays) == {"logits", "y_true", "seconds", "train_accuracy"}
    with pytest.raises(UsageError, match=r"nn\.Linear"):
        replace(bench, options=options).train(Arm("real", "ldam"), 0)


def test_a_classifier_that_is_not_there(bench):
    options = replace(bench.options, classifier="bench_nets:another")
    with pytest.raises(UsageError, match="has no function 'another'"):
        replace(bench, options=options).train(Arm("real", "ce"), 0)


def test_same_arm_and_seed_same_arrays(bench):
    torch.manual_seed(1)
    first = bench.train(Arm("mixup", "ldam"), 2)
    torch.manual_seed(2)
    again = bench.train(Arm("mixup", "ldam"), 2)
    assert all(np.array_equal(first[k], again[k]) for k in first if k != "seconds")


@pytest.mark.parametrize(
    ("counts", "kept"),
    [
        ([130, 20, 3], [100, 20, 3]),
        ([60] * 50, [40] * 50),
        ([3] * 1500, [2] * 1500),
    ],
)
def test_features_are_kept_of_some_of_each_class(counts, kept):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    chosen = sample_of_each_class(labels)
    assert np.bincount(labels[chosen]).tolist() == kept
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(chosen, sample_of_each_class(labels))


class Dying:
    """A trainer whose process is killed, as the kernel does for lack of memory."""

    device = "cpu"

    def train(self, what: Arm, seed: int, stop: StopFlag | None = None) -> dict[str, np.ndarray]:
        os._exit(9)


def test_row_65_a_worker_that_dies_is_told_and_nothing_hangs():
    with stop_flag("the rest is kept") as stop, pytest.raises(ResourceError) as caught:
        list(train_all(Dying(), [(Arm("real", "ce"), 0)], stop))
    assert "was killed, most likely for lack of memory; the rest is kept" in str(caught.value)
