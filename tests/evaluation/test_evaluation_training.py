"""The downstream classifier: exact repeats, equal effort, paired draws, and it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from synthaug.errors import UsageError
from synthaug.evaluation.classifiers import build_classifier
from synthaug.evaluation.losses import LOSSES
from synthaug.evaluation.material import Material, TrainingSet
from synthaug.evaluation.options import ClassifierOptions
from synthaug.evaluation.sides import DATA_SIDES
from synthaug.evaluation.training import Draws, predict_logits, train_classifier
from synthaug.evaluation.transforms import TRANSFORMS

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
        network, data, loss=loss, counts=np.array([10, 10]), options=options, seed=seed,
        device=CPU, on_step=on_step,
    )  # fmt: skip


def two_layers():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 2))


class Recorder(nn.Module):
    """A linear classifier that keeps every batch it is shown for training, and what it answered."""

    def __init__(self, n_pixels=64):
        super().__init__()
        self.head = nn.Linear(n_pixels, 2)
        self.seen, self.said = [], []

    def forward(self, x):
        logits = self.head(x.flatten(1))
        if self.training:
            self.seen.append(x.detach().clone())
            self.said.append(logits.detach().clone())
        return logits


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


@pytest.mark.parametrize("loss", LOSSES)
def test_learns_what_can_be_learned(loss):
    data = uniform(*left_or_right(200, 0))
    losses = []
    small = loss in ("cb", "la", "focal")
    network = run(
        data, loss=loss, steps=60, batch_size=32, learning_rate=1e-2 if small else 1e-3,
        network=two_layers() if small else build_classifier(1, 2, 8, seed=0),
        on_step=lambda step, value: losses.append(value),
    )  # fmt: skip
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


def sides_of(*names):
    real, synthetic = numbered([30, 10]), numbered([5, 60], first=100)
    material = Material(
        real, 2, synthetic=synthetic, extra=numbered([0, 20], first=200),
        unfiltered=numbered([9, 70], first=100), n_new=np.array([5, 60]),
    )  # fmt: skip
    return [DATA_SIDES[name](material) for name in names]


BALANCED = (
    "real+oversample", "copy-control", "noise-control", "smote", "synthaug",
    "synthaug-unfiltered", "synthaug-weighted", "synthaug-finetune", "oracle",
)  # fmt: skip


@pytest.mark.parametrize(
    "names", [BALANCED, ("real", "classical", "mixup", "cutmix", "smote-features")]
)
def test_sides_of_equal_class_frequencies_draw_the_same_classes(names):
    """With any number of images, the k-th draw of a step is of the same class."""
    drawn = [
        [data.labels[Draws(data.labels, data.weights)(0, step, 64)].tolist() for step in range(20)]
        for data in sides_of(*names)
    ]
    assert all(other == drawn[0] for other in drawn[1:])
    share = 0.5 if names is BALANCED else 0.25
    assert np.mean(drawn[0]) == pytest.approx(share, abs=5 * 0.5 / 1280**0.5)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("real", "classical"), ("real", "mixup"), ("real", "cutmix"), ("real", "smote-features"),
        ("synthaug", "copy-control"), ("synthaug", "noise-control"), ("synthaug", "smote"),
        ("synthaug", "synthaug-finetune"),
    ],
)  # fmt: skip
def test_sides_of_equal_labels_draw_images_of_the_same_number(one, other):
    first, second = (Draws(d.labels, d.weights) for d in sides_of(one, other))
    same = [bool((first(3, step, 64) == second(3, step, 64)).all()) for step in range(20)]
    if other == "smote":  # its images are in another order, so only the real ones agree
        data, n = sides_of(one, other), 40
        for step in range(20):
            pair = [draws(3, step, 64) for draws in (first, second)]
            assert ((pair[0] < n) == (pair[1] < n)).all()
            assert (pair[0] == pair[1])[pair[0] < n].all()
            assert np.array_equal(*(d.labels[p] for d, p in zip(data, pair, strict=True)))
    else:
        assert all(same)


def test_finetune_ends_with_the_images_that_oversampling_draws():
    """16 of 20 steps as synthaug, then 4 as real+oversample, to the image."""
    ours, synthaug, oversampled = sides_of("synthaug-finetune", "synthaug", "real+oversample")
    options = {"steps": 20, "deferred_share": 0.2}
    got = levels_shown(ours, **options).reshape(20, 16)
    np.testing.assert_array_equal(got[:16], levels_shown(synthaug, **options).reshape(20, 16)[:16])
    last = levels_shown(oversampled, **options).reshape(20, 16)[16:]
    np.testing.assert_array_equal(got[16:], last)
    assert (got[:16] >= 100).any() and (got[16:] < 40).all()


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


# Losses of a batch ------------------------------------------------------------------------------


def first_loss(data, network, **options):
    """The loss of the first step, before the network has changed."""
    losses = []
    run(data, network=network, on_step=lambda _, loss: losses.append(loss), max_shift=0, **options)
    return losses[0]


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
@pytest.mark.parametrize("loss", ["ce", "la"])
def test_mixed_images_have_soft_labels(name, loss):
    """The loss is torch's own cross-entropy with probabilities as labels."""
    images, labels = left_or_right(40, 0)
    data = replace(uniform(images, labels), transform=name)
    network, options = Recorder(), ClassifierOptions(tau=2.0)
    told = first_loss(data, network, loss=loss, tau=2.0, seed=5)
    y = torch.from_numpy(labels)[Draws(data.labels, data.weights)(5, 0, 16)]
    mixed = TRANSFORMS[name](torch.zeros(16, 1, 8, 8), options, 5, 0)
    assert 0 < mixed.share < 1
    hard = nn.functional.one_hot(y, 2).float()
    soft = mixed.share * hard + (1 - mixed.share) * hard[mixed.partner]
    logits = network.said[0]
    assert told == pytest.approx(float(nn.functional.cross_entropy(logits, soft)), rel=1e-5)


def test_discounted_images_count_their_weight():
    images, labels = left_or_right(40, 0)
    discounted = np.arange(40) >= 15
    data = replace(uniform(images, labels), discounted=discounted)
    network = Recorder()
    told = first_loss(data, network, synthetic_weight=0.25)
    picked = Draws(data.labels, data.weights)(0, 0, 16)
    each = nn.functional.cross_entropy(
        network.said[0], torch.from_numpy(labels)[picked], reduction="none"
    )
    factor = torch.where(torch.from_numpy(discounted)[picked], 0.25, 1.0)
    assert told == pytest.approx(float((factor * each).mean()), rel=1e-5)
    assert 0 < factor.mean() < 1


def test_discounted_to_nothing_is_not_there():
    """Weight 0 on images of the wrong label leaves what the others teach."""
    images, labels = left_or_right(200, 0)
    both = np.concatenate([images, images]), np.concatenate([labels, 1 - labels])
    data = replace(uniform(*both), discounted=np.arange(400) >= 200)
    network = run(data, network=two_layers(), steps=60, learning_rate=1e-2, synthetic_weight=0.0)
    images, labels = left_or_right(300, 1)
    assert np.mean(predict_logits(network, images, device=CPU).argmax(1) == labels) > 0.95


# The last part of the steps ---------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "share", "first"), [(800, 0.2, 640), (6, 0.2, 5), (2, 0.1, 1)])
def test_the_last_part_has_at_least_one_step(steps, share, first):
    assert ClassifierOptions(steps=steps, deferred_share=share).deferred_from == first


def test_ldam_weighs_classes_from_the_last_part_on():
    """With one weight for all classes nothing changes then; until then nothing does anyway."""
    data = uniform(*left_or_right(40, 0))

    def losses(**options):
        seen = []
        train_classifier(
            build_classifier(1, 2, 8, seed=0), data, loss="ldam", counts=np.array([90, 10]),
            options=ClassifierOptions(steps=10, batch_size=16, **options), seed=0, device=CPU,
            on_step=lambda step, loss: seen.append(loss),
        )  # fmt: skip
        return seen

    weighted, plain = losses(), losses(cb_beta=0.0)
    assert weighted[:8] == plain[:8]
    assert weighted[8] != plain[8]


def test_ldam_compares_cosines():
    network = run(uniform(*left_or_right(40, 0)), loss="ldam", ldam_scale=7.0)
    logits = predict_logits(network, left_or_right(50, 1)[0], device=CPU)
    assert np.abs(logits).max() <= 7 + 1e-4


def test_smote_features_train_the_last_layer_alone_in_the_last_part():
    """The body is that of a training that stops where the last part begins; the head moves on."""
    data = replace(uniform(*left_or_right(40, 0)), smote_features=np.array([0, 30]))
    stages = []

    class Stop(Exception):
        pass

    def stop(step, loss):
        if step == 7:
            stages.append({k: v.clone() for k, v in network.state_dict().items()})
            raise Stop

    network = build_classifier(1, 2, 8, seed=0)
    with pytest.raises(Stop):
        run(data, network=network, steps=10, on_step=stop)
    whole = run(data, steps=10).state_dict()
    changed = {name for name, value in whole.items() if not torch.equal(value, stages[0][name])}
    assert changed == {"head.weight", "head.bias"}
    without = run(replace(data, smote_features=np.array([0, 0])), steps=10).state_dict()
    assert not torch.equal(without["head.weight"], whole["head.weight"])


@pytest.mark.parametrize("n_new", [180, 20, 0])
def test_smote_features_see_classes_alike(n_new):
    """Of one grey level each, classes overlap: a network of natural draws names the common one."""
    rng = np.random.default_rng(0)

    def grey(labels):
        levels = rng.normal(100 + 30 * labels, 25).clip(0, 255).astype(np.uint8)
        return np.broadcast_to(levels[:, None, None, None], (len(labels), 1, 8, 8)).copy()

    labels = np.repeat([0, 1], [190, 10])
    data = uniform(grey(labels), labels)
    options = {"steps": 100, "deferred_share": 0.6, "learning_rate": 1e-2}
    plain = run(data, network=two_layers(), **options)
    data = replace(data, smote_features=np.array([0, n_new]))
    decoupled = run(data, network=two_layers(), **options)
    unseen = grey(np.repeat([0, 1], 200))
    rates = [np.mean(predict_logits(n, unseen, device=CPU).argmax(1)) for n in (plain, decoupled)]
    assert rates[0] < 0.05 and 0.2 < rates[1] < 0.6


@pytest.mark.parametrize(("loss", "smote"), [("ldam", False), ("ce", True), ("ldam", True)])
def test_a_classifier_without_a_last_linear_layer_is_refused_where_one_is_needed(loss, smote):
    network = nn.Sequential(nn.Conv2d(1, 2, 8), nn.Flatten())
    data = uniform(*left_or_right(20, 0))
    if smote:
        data = replace(data, smote_features=np.array([0, 3]))
    with pytest.raises(UsageError, match=r"torch\.nn\.Linear"):
        run(data, loss=loss, network=network)
    run(uniform(*left_or_right(20, 0)), network=network)


def test_dropout_is_a_function_of_seed_and_step():
    """Whatever torch's generator was at, which is as it was afterwards."""
    data = uniform(*left_or_right(40, 0))

    def trained(noise):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Dropout(), nn.Linear(16, 2))
        torch.manual_seed(noise)
        run(data, network=network)
        expected = torch.rand(2, generator=torch.Generator().manual_seed(noise))
        assert torch.equal(torch.rand(2), expected)
        return network[1].weight

    assert torch.equal(trained(1), trained(2))
