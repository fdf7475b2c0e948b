"""What every arm promises, checked on every pair of a data side and a loss."""

import hashlib
from dataclasses import astuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from synthaug.evaluation.arms import DATA_SIDES, LOSS_SIDES, Arm, Material
from synthaug.evaluation.options import ClassifierOptions
from synthaug.evaluation.training import predict_logits, train_classifier
from synthaug.evaluation.transforms import TRANSFORMS

REAL, SYNTHETIC, UNFILTERED, EXTRA = (9, 5, 2, 1), (0, 4, 6, 8), (3, 6, 9, 12), (0, 0, 2, 5)
PLANNED = (0, 4, 7, 8)
NOTHING = (0, 0, 0, 0)
ADDED = {
    "copy-control": SYNTHETIC,
    "noise-control": SYNTHETIC,
    "smote": PLANNED,
    "synthaug": SYNTHETIC,
    "synthaug-weighted": SYNTHETIC,
    "synthaug-finetune": SYNTHETIC,
    "synthaug-unfiltered": UNFILTERED,
    "oracle": EXTRA,
}
"""Images that a side promises to add to the real ones of each class."""
OPTIONS = ClassifierOptions(steps=6, batch_size=12, max_shift=0)
PAIRS = [Arm(data, loss) for data in DATA_SIDES for loss in LOSS_SIDES]


def pool(counts, seed):
    """Noise of three channels with a level of each class's own."""
    labels = np.repeat(np.arange(4), counts).astype(np.int64)
    rng = np.random.default_rng(seed)
    rng.shuffle(labels)
    levels = rng.normal(60 + 40 * labels[:, None, None, None], 20, (len(labels), 3, 8, 8))
    return levels.clip(0, 255).astype(np.uint8), labels


@pytest.fixture(scope="module")
def material():
    return Material(
        pool(REAL, 0), 4, synthetic=pool(SYNTHETIC, 1), unfiltered=pool(UNFILTERED, 2),
        extra=pool(EXTRA, 3), n_new=np.array(PLANNED), seed=7,
    )  # fmt: skip


class Watcher(nn.Module):
    """A network with dropout that keeps the batches it is trained on."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Dropout(0.3))
        self.head = nn.Linear(16, 4)
        self.seen = []

    def forward(self, x):
        if self.training:
            self.seen.append(x.detach().clone())
        return self.head(self.body(x))


def trained(arm, material, *, seed=3, noise=0):
    torch.manual_seed(1)
    network = Watcher()
    torch.manual_seed(noise)
    counts = np.bincount(material.real[1], minlength=4)
    steps = []
    train_classifier(
        network, DATA_SIDES[arm.data](material), loss=arm.loss, counts=counts, options=OPTIONS,
        seed=seed, device=torch.device("cpu"), on_step=lambda *told: steps.append(told),
    )  # fmt: skip
    test = pool((5, 5, 5, 5), 9)[0]
    return network, steps, predict_logits(network, test, device=torch.device("cpu"))


def digest(material):
    digest = hashlib.sha256()
    for part in astuple(material):
        for array in part if isinstance(part, tuple) else (part,):
            digest.update(np.asarray(array).tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("arm", PAIRS, ids=lambda arm: arm.name)
def test_check_arm(arm, material):
    before, stepped = digest(material), []
    handle = register_optimizer_step_post_hook(lambda *args: stepped.append(1))
    try:
        network, steps, logits = trained(arm, material)
    finally:
        handle.remove()
    # The same number of optimiser steps, each reported once, each with a loss.
    assert len(stepped) == OPTIONS.steps
    assert [step for step, _ in steps] == list(range(OPTIONS.steps))
    assert all(np.isfinite(loss) for _, loss in steps)
    # Whole batches of images, but for steps that train the last layer on features.
    of_features = OPTIONS.steps - OPTIONS.deferred_from if arm.data == "smote-features" else 0
    assert [len(x) for x in network.seen] == [12] * (OPTIONS.steps - of_features)
    assert all(x.min() >= -1 and x.max() <= 1 for x in network.seen)
    # The material is as it was, for the next arm.
    assert digest(material) == before
    # The same again, whatever torch's generator was at; something else with another seed.
    np.testing.assert_array_equal(logits, trained(arm, material, noise=5)[2])
    assert not np.array_equal(logits, trained(arm, material, seed=4)[2])


@pytest.mark.parametrize("side", DATA_SIDES)
def test_check_side(side, material):
    data = DATA_SIDES[side](material)
    images, labels = material.real
    n = len(labels)
    # The real images come first, untouched; added ones in the numbers promised.
    np.testing.assert_array_equal(data.images[:n], images)
    np.testing.assert_array_equal(data.labels[:n], labels)
    assert tuple(np.bincount(data.labels[n:], minlength=4)) == ADDED.get(side, NOTHING)
    assert data.images.dtype == np.uint8 and data.labels.dtype == np.int64
    for weights in (data.weights, data.last_weights):
        if weights is not None:
            assert len(weights) == len(data.images) and weights.min() >= 0
            assert weights.sum() == pytest.approx(1)
    # Every real image can be drawn, and of what is added everything the plan has use for.
    assert (data.weights[:n] > 0).all()
    wanted = np.array(SYNTHETIC if side == "synthaug-unfiltered" else ADDED.get(side, NOTHING))
    np.testing.assert_array_equal(data.weights[n:] > 0, wanted[data.labels[n:]] > 0)
    # A side is a function of its material.
    again = DATA_SIDES[side](material)
    np.testing.assert_array_equal(data.images, again.images)
    np.testing.assert_array_equal(data.weights, again.weights)


@pytest.mark.parametrize("side", sorted(set(DATA_SIDES) - set(TRANSFORMS)))
def test_networks_see_images_of_their_side_and_no_others(side, material):
    data = DATA_SIDES[side](material)
    known = {image.tobytes() for image in data.images}
    network, _, _ = trained(Arm(side, "ce"), material)
    for x in network.seen:
        levels = ((x + 1) * 127.5).round().numpy().astype(np.uint8)
        assert {image.tobytes() for image in levels} <= known


@pytest.mark.parametrize("side", TRANSFORMS)
def test_transformed_images_are_of_the_images_that_real_draws(side, material):
    """Back to the levels of their class: what a transform adds is not more than it was given."""
    plain, _, _ = trained(Arm("real", "ce"), material)
    network, _, _ = trained(Arm(side, "ce"), material)
    for x, given in zip(network.seen, plain.seen, strict=True):
        assert not torch.equal(x, given)
        if side == "mixup":
            low, high = given.amin(0), given.amax(0)
            assert ((x >= low - 1e-5) & (x <= high + 1e-5)).all()
        elif side == "cutmix":  # each pixel is some image's of the batch at that place
            assert (x[:, None] == given[None]).all(2).any(1).all()
        else:  # near its own image more often than near the others
            means, own = x.mean((1, 2, 3)), given.mean((1, 2, 3))
            assert np.corrcoef(means, own)[0, 1] > 0.5
