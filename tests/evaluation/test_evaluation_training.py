"""The downstream classifier: exact repeats, equal effort, paired draws, and it learns."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from synthaug.evaluation.arms import DATA_SIDES, Material, TrainingSet
from synthaug.evaluation.classifiers import build_classifier
from synthaug.evaluation.losses import log_prior
from synthaug.evaluation.training import ClassifierOptions, predict_logits, train_classifier

CPU = torch.device("cpu")


def left_or_right(n, seed):
    """Noisy 8x8 images lit on the left (class 0) or on the right (class 1)."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    levels = rng.normal(110, 30, (n, 1, 8, 8))
    levels[labels == 0, :, :, :4] += 40
    levels[labels == 1, :, :, 4:] += 40
    return levels.clip(0, 255).astype(np.uint8), labels


def uniform(images, labels):
    return TrainingSet(images, labels, np.full(len(labels), 1 / len(labels)))


def run(data, *, seed=0, loss="ce", network=None, on_step=lambda step, loss: None, **options):
    network = network or build_classifier(1, 2, 8, seed=seed)
    options = ClassifierOptions(**({"steps": 4, "batch_size": 16} | options))
    return train_classifier(
        network, data, loss=loss, log_prior=log_prior([10, 10]), options=options, seed=seed,
        device=CPU, on_step=on_step,
    )  # fmt: skip


class Recorder(nn.Module):
    """A linear classifier that keeps every batch it is shown."""

    def __init__(self, n_pixels=64):
        super().__init__()
        self.head = nn.Linear(n_pixels, 2)
        self.seen = []

    def forward(self, x):
        self.seen.append(x.detach().clone())
        return self.head(x.flatten(1))


def levels_shown(data, **options):
    """The grey level of the first pixel of every image drawn, in order; nothing is moved."""
    network = Recorder(data.images[0].size)
    run(data, network=network, max_shift=0, **options)
    x = torch.cat(network.seen)[:, 0, 0, 0]
    return ((x + 1) * 127.5).round().long().numpy()


def test_same_seed_same_network():
    data = uniform(*left_or_right(40, 0))
    torch.rand(3)
    first, again = (run(data, seed=3).state_dict() for _ in range(2))
    assert all(torch.equal(first[k], again[k]) for k in first)
    other = run(data, seed=4, network=build_classifier(1, 2, 8, seed=3)).state_dict()
    assert not all(torch.equal(first[k], other[k]) for k in first)


def test_initial_weights_are_a_function_of_the_seed():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = build_classifier(3, 5, 16, seed=2).state_dict()
    assert torch.equal(torch.rand(3), expected)
    again, other = (build_classifier(3, 5, 16, seed=s).state_dict() for s in (2, 3))
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not all(torch.equal(first[k], other[k]) for k in first)


@pytest.mark.parametrize("image_size", [8, 16, 28, 32, 64])
def test_classifier_takes_every_size(image_size):
    network = build_classifier(3, 4, image_size, seed=0).eval()
    with torch.no_grad():
        assert network(torch.zeros(2, 3, image_size, image_size)).shape == (2, 4)


@pytest.mark.parametrize("name", DATA_SIDES)
@pytest.mark.parametrize("loss", ["ce", "la"])
def test_every_arm_gets_the_same_number_of_steps(name, loss):
    material = Material(
        left_or_right(30, 0), 2, synthetic=left_or_right(90, 1), extra=left_or_right(7, 2)
    )
    stepped, reported = [], []
    handle = register_optimizer_step_post_hook(lambda *args: stepped.append(1))
    try:
        run(
            DATA_SIDES[name](material), loss=loss, steps=7, network=Recorder(),
            on_step=lambda step, value: reported.append(step),
        )  # fmt: skip
    finally:
        handle.remove()
    assert len(stepped) == 7
    assert reported == list(range(7))


@pytest.mark.parametrize("loss", ["ce", "la"])
def test_learns_what_can_be_learned(loss):
    data = uniform(*left_or_right(200, 0))
    losses = []
    network = run(
        data, loss=loss, steps=60, batch_size=32, on_step=lambda step, value: losses.append(value)
    )
    images, labels = left_or_right(300, 1)
    logits = predict_logits(network, images, device=CPU)
    assert logits.shape == (300, 2)
    assert logits.dtype == np.float32
    assert np.mean(logits.argmax(1) == labels) > 0.95
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:5])


def test_chance_labels_cannot_be_predicted():
    """The same pixels with shuffled labels: no more than chance and five standard errors."""
    images, labels = left_or_right(200, 0)
    shuffled = np.random.default_rng(5).permutation(labels)
    network = run(uniform(images, shuffled), steps=60, batch_size=32)
    images, labels = left_or_right(300, 1)
    accuracy = np.mean(predict_logits(network, images, device=CPU).argmax(1) == labels)
    assert accuracy < 0.5 + 5 * 0.5 / 300**0.5


def test_predictions_do_not_depend_on_the_batch():
    network = build_classifier(1, 2, 8, seed=0)
    images, _ = left_or_right(21, 0)
    together = predict_logits(network, images, device=CPU)
    apart = predict_logits(network, images, device=CPU, batch_size=4)
    np.testing.assert_allclose(together, apart, atol=1e-5)


# Draws ------------------------------------------------------------------------------------------


def numbered(counts, first=0, shift=0):
    """Image i of all is grey level first + i; labels by class."""
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    np.random.default_rng(1).shuffle(labels)
    levels = first + shift + np.arange(len(labels))
    images = np.broadcast_to(levels[:, None, None, None], (len(labels), 1, 2, 2))
    return images.astype(np.uint8), labels


def test_arms_that_differ_in_pixels_draw_the_same_images():
    images, labels = numbered([30, 10])
    weights = np.random.default_rng(0).dirichlet(np.ones(40))
    first = levels_shown(TrainingSet(images, labels, weights), steps=20)
    second = levels_shown(TrainingSet(images + np.uint8(100), labels, weights), steps=20)
    np.testing.assert_array_equal(first + 100, second)
    other = levels_shown(TrainingSet(images, labels, weights), steps=20, seed=1)
    assert not np.array_equal(first, other)


def test_class_balanced_arms_draw_the_same_classes():
    """With any number of images, the k-th draw of a step is of the same class."""
    real, synthetic = numbered([30, 10]), numbered([5, 60], first=100)
    material = Material(real, 2, synthetic=synthetic, extra=numbered([0, 20], first=200))
    drawn = {}
    for name in ("real+oversample", "synthaug", "oracle"):
        data = DATA_SIDES[name](material)
        class_of = dict(zip(data.images[:, 0, 0, 0].tolist(), data.labels.tolist(), strict=True))
        drawn[name] = [class_of[int(level)] for level in levels_shown(data, steps=20)]
    assert drawn["real+oversample"] == drawn["synthaug"] == drawn["oracle"]
    assert 0.4 < np.mean(drawn["synthaug"]) < 0.6


def test_images_are_drawn_with_their_weights():
    """6,400 draws of 40 images; counts within five standard errors, weight 0 never."""
    images, labels = numbered([30, 10])
    weights = np.random.default_rng(0).dirichlet(np.ones(40))
    weights[[0, 17, 39]] = 0
    weights /= weights.sum()
    drawn = levels_shown(TrainingSet(images, labels, weights), steps=100, batch_size=64)
    counts = np.bincount(drawn, minlength=40)
    assert not counts[weights == 0].any()
    n = len(drawn)
    assert np.all(np.abs(counts - n * weights) <= 5 * np.sqrt(n * weights * (1 - weights)))


def test_labels_stay_with_their_images():
    """A set whose labels are the opposite of another's teaches the opposite."""
    images, labels = left_or_right(200, 0)
    network = run(uniform(images, 1 - labels), steps=60, batch_size=32)
    images, labels = left_or_right(200, 1)
    assert np.mean(predict_logits(network, images, device=CPU).argmax(1) == labels) < 0.05
