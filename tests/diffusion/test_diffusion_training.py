"""Training: draws that are what they say, exact repeats, and a network that learned something."""

import math

import numpy as np
import pytest
import torch

from synthaug.diffusion.augment import VECTOR_SIZE
from synthaug.diffusion.batches import BatchDraws, TrainingOptions, class_weights
from synthaug.diffusion.denoiser import to_model_range
from synthaug.diffusion.generation import generate_images
from synthaug.diffusion.gradients import _gradients
from synthaug.diffusion.objective import Objective
from synthaug.diffusion.training import (
    MAX_BAD_STEPS,
    denoising_losses,
    learning_rate_at,
    make_ema,
    train_denoiser,
)
from synthaug.errors import DivergedError

SHORT = TrainingOptions(batch_size=16, learning_rate=1e-3, warmup_steps=5)


def train(denoiser, data, steps, seed=0, options=SHORT):
    ema = make_ema(denoiser, options.ema_decay)
    stats = list(train_denoiser(denoiser, ema, *data, steps=steps, seed=seed, options=options))
    return stats, ema


@pytest.fixture
def fed(monkeypatch):
    """Record (x_t, t, labels) of every batch that reaches the network."""

    def spy(denoiser):
        seen = []
        forward = denoiser.network.forward

        def recorded(x, t, class_labels):
            seen.append((x.detach().clone(), t.clone(), class_labels.clone()))
            return forward(x, t, class_labels=class_labels)

        monkeypatch.setattr(denoiser.network, "forward", recorded)
        return seen

    return spy


# Draws ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_classes_are_drawn_by_a_power_of_their_size(power):
    """100,000 draws; each share within five standard errors of n^(1 - power) / sum."""
    counts, n = np.array([400, 100, 4]), 100_000
    labels = np.repeat(np.arange(3), counts)
    np.random.default_rng(0).shuffle(labels)
    drawn = torch.multinomial(
        class_weights(labels, power), n, replacement=True,
        generator=torch.Generator().manual_seed(1),
    )  # fmt: skip
    expected = counts ** (1 - power) / (counts ** (1 - power)).sum()
    shares = np.bincount(labels[drawn.numpy()], minlength=3) / n
    assert np.all(np.abs(shares - expected) < 5 * np.sqrt(expected * (1 - expected) / n))


def test_training_draws_with_those_weights(tiny, fed):
    """The same inside the loop: 1,024 draws of a class with 1/17 of the images, power 1."""
    denoiser = tiny()
    labels = np.repeat([0, 1], [64, 4])
    seen = fed(denoiser)
    options = TrainingOptions(batch_size=256, p_uncond=0.0, class_power=1.0)
    train(denoiser, (np.zeros((68, 1, 8, 8), np.uint8), labels), 4, options=options)
    share = float(torch.cat([y for _, _, y in seen]).float().mean())
    assert share == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(1024))


@pytest.mark.parametrize(("p_uncond", "expected"), [(0.0, {0, 1}), (1.0, {2})])
def test_label_drop_at_its_ends(tiny, dark_and_bright, fed, p_uncond, expected):
    denoiser = tiny()
    seen = fed(denoiser)
    options = TrainingOptions(batch_size=32, p_uncond=p_uncond)
    train(denoiser, dark_and_bright, 5, options=options)
    assert {int(label) for _, _, y in seen for label in y} == expected


def test_label_drop_in_between(tiny, dark_and_bright, fed):
    """1,024 labels with p = 0.25, five standard errors."""
    denoiser = tiny()
    seen = fed(denoiser)
    options = TrainingOptions(batch_size=256, p_uncond=0.25)
    train(denoiser, dark_and_bright, 4, options=options)
    dropped = torch.cat([y for _, _, y in seen]) == denoiser.null_class
    assert float(dropped.float().mean()) == pytest.approx(0.25, abs=5 * math.sqrt(0.1875 / 1024))


def test_timesteps_are_stratified_over_the_batch(tiny, dark_and_bright, fed):
    """Each of 16 equal ranges of t is met once a batch, and both ends are reached."""
    denoiser = tiny()
    seen = fed(denoiser)
    train(denoiser, dark_and_bright, 30)
    i = torch.arange(16)
    for _, t, _ in seen:  # a range may begin or end inside of a timestep
        assert bool(((t + 1) * 16 > 1000 * i).all())
        assert bool((t * 16 < 1000 * (i + 1)).all())
    all_t = torch.cat([t for _, t, _ in seen])
    assert int(all_t.min()) < 10
    assert 990 < int(all_t.max()) <= 999


def test_batches_hold_noised_images_of_their_label(tiny, dark_and_bright, fed):
    """At low noise the brightness of x_t tells the class that was drawn with it."""
    denoiser = tiny()
    seen = fed(denoiser)
    train(denoiser, dark_and_bright, 30, options=TrainingOptions(batch_size=16, p_uncond=0.0))
    x, t, y = (torch.cat(part) for part in zip(*seen, strict=True))
    low = t < 200
    assert int(low.sum()) > 50
    assert torch.equal((x[low].mean(dim=(1, 2, 3)) > 0).long(), y[low])


@pytest.mark.parametrize("flip", [False, True])
def test_flip_mirrors_half_of_the_images(tiny, fed, flip):
    """Images lit on the left; 960 draws, of which those at low noise show their side."""
    images = np.zeros((8, 1, 8, 8), np.uint8)
    images[..., :4] = 255
    denoiser = tiny()
    seen = fed(denoiser)
    options = TrainingOptions(batch_size=32, flip=flip)
    train(denoiser, (images, np.zeros(8, np.int64)), 30, options=options)
    x, t = (torch.cat(part) for part in list(zip(*seen, strict=True))[:2])
    x = x[t < 300]
    lit_right = float((x[..., 4:].mean((1, 2, 3)) > x[..., :4].mean((1, 2, 3))).float().mean())
    assert lit_right == pytest.approx(0.5 if flip else 0.0, abs=0.2 if flip else 0.0)


def test_dropout_is_part_of_what_repeats(tiny, dark_and_bright, weights_of, same_weights):
    """Masks are a function of (seed, step), and nobody else's random numbers are used up."""
    trained = []
    for spoil in (False, True):
        denoiser = tiny(dropout=0.3)
        torch.manual_seed(5)
        if spoil:
            torch.rand(3)
        before = torch.get_rng_state()
        train(denoiser, dark_and_bright, 3)
        assert torch.equal(before, torch.get_rng_state())
        trained.append(weights_of(denoiser))
    assert same_weights(*trained)
    plain = tiny()
    train(plain, dark_and_bright, 3)
    assert not same_weights(trained[0], weights_of(plain))


# Learning rate and average ----------------------------------------------------------------------


def test_learning_rate_warms_up_and_comes_down():
    options = TrainingOptions(learning_rate=2e-3, warmup_steps=50)
    rates = [learning_rate_at(step, 1000, options) for step in range(1001)]
    np.testing.assert_allclose(np.diff(rates[:50]), 2e-3 / 50, rtol=1e-9)
    assert rates[0] == pytest.approx(2e-3 / 50)
    assert max(rates) == rates[49] == rates[50] == 2e-3
    assert np.all(np.diff(rates[50:]) < 0)
    assert rates[525] == pytest.approx(1e-3)
    assert rates[1000] == pytest.approx(0, abs=1e-12)


def test_the_average_warms_up(tiny, dark_and_bright):
    """By hand: step n decays by min(decay, (1 + n)/(10 + n)), the first not at all."""
    denoiser = tiny()
    first = next(denoiser.network.parameters())
    by_hand, ema = first.detach().clone(), make_ema(denoiser, 0.4)
    run = train_denoiser(denoiser, ema, *dark_and_bright, steps=12, seed=0, options=SHORT)
    for n, _ in enumerate(run):
        decay = min(0.4, (1 + n) / (10 + n)) if n else 0.0
        by_hand = decay * by_hand + (1 - decay) * first.detach()
        torch.testing.assert_close(ema.shadow_params[0], by_hand, atol=1e-6, rtol=0)


def test_warm_up_never_takes_more_than_a_tenth():
    options = TrainingOptions(learning_rate=1.0, warmup_steps=100)
    assert learning_rate_at(4, 50, options) == learning_rate_at(5, 50, options) == 1.0
    assert learning_rate_at(0, 1, options) == 1.0  # one step in all still trains


def test_optimiser_runs_at_the_rate_reported(tiny, dark_and_bright):
    """Adam's first step moves every weight by the rate itself, up to its guard against zero."""
    denoiser = tiny()
    before = torch.cat([p.detach().flatten().clone() for p in denoiser.network.parameters()])
    options = TrainingOptions(batch_size=16, learning_rate=1e-3, warmup_steps=10, weight_decay=0)
    run = train_denoiser(
        denoiser, make_ema(denoiser, 0.9), *dark_and_bright, steps=100, seed=0, options=options
    )
    stats = next(run)
    moved = torch.cat([p.detach().flatten() for p in denoiser.network.parameters()]) - before
    assert stats.learning_rate == pytest.approx(1e-4)
    assert float(moved.abs().max()) == pytest.approx(1e-4, rel=0.02)


def test_average_follows_its_recursion(tiny, dark_and_bright):
    """shadow <- d shadow + (1 - d) weights with d = min(decay, (1 + k) / (10 + k)), first d = 0."""
    denoiser, decay = tiny(), 0.3
    ema = make_ema(denoiser, decay)
    shadow = None
    options = TrainingOptions(batch_size=8)
    run = train_denoiser(denoiser, ema, *dark_and_bright, steps=8, seed=0, options=options)
    for k, _ in enumerate(run):
        now = torch.cat([p.detach().flatten() for p in denoiser.network.parameters()]).double()
        d = min(decay, (1 + k) / (10 + k))
        shadow = now if shadow is None else d * shadow + (1 - d) * now
    kept = torch.cat([p.flatten() for p in ema.shadow_params])
    torch.testing.assert_close(kept.double(), shadow, atol=1e-6, rtol=0)
    assert not torch.allclose(kept.double(), now, atol=1e-6)


# Runs -------------------------------------------------------------------------------------------


def test_the_same_call_trains_the_same_network(tiny, dark_and_bright, weights_of, same_weights):
    runs = []
    for seed in (5, 5, 6):
        denoiser = tiny()
        torch.rand(3)  # the global generator plays no part
        stats, ema = train(denoiser, dark_and_bright, 6, seed=seed)
        runs.append((weights_of(denoiser), [p.clone() for p in ema.shadow_params], stats))
    first, again, other = runs
    assert same_weights(first[0], again[0])
    assert all(torch.equal(a, b) for a, b in zip(first[1], again[1], strict=True))
    assert first[2] == again[2]
    assert not same_weights(first[0], other[0])


def test_global_random_numbers_go_on_undisturbed(tiny, dark_and_bright):
    denoiser = tiny()
    torch.manual_seed(4)
    expected = torch.rand(5)
    torch.manual_seed(4)
    train(denoiser, dark_and_bright, 2)
    assert torch.equal(torch.rand(5), expected)


def test_statistics_count_steps_and_images(tiny, dark_and_bright):
    stats, _ = train(tiny(), dark_and_bright, 4)
    assert [s.step for s in stats] == [0, 1, 2, 3]
    assert [s.n_img for s in stats] == [16, 32, 48, 64]
    assert all(s.skipped == 0 and math.isfinite(s.loss) for s in stats)


def test_loss_goes_down(trained):
    losses = [s.loss for s in trained.steps]
    assert np.mean(losses[-30:]) < 0.6 * np.mean(losses[:10])


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmpp_2m", "heun"])
def test_learned_classes_have_their_brightness(trained, sampler):
    """Means of 16 images a class within 40 of 255 grey levels of the train means, 40 and 215."""
    batch = next(
        generate_images(
            trained.denoiser, np.repeat([0, 1], 16), np.arange(32), sampler=sampler, steps=20
        )
    )
    means = batch.images.reshape(2, -1).mean(axis=1)
    np.testing.assert_allclose(means, [40, 215], atol=40)


# Divergence -------------------------------------------------------------------------------------


def test_network_that_is_not_finite_stops_the_training(tiny, dark_and_bright):
    denoiser = tiny()
    with torch.no_grad():
        denoiser.network.conv_out.weight.fill_(float("nan"))
    ema = make_ema(denoiser, 0.9)
    options = TrainingOptions(batch_size=8, learning_rate=0.125)
    seen = []
    with pytest.raises(DivergedError, match=r"10 steps in a row at step 9.*now 0\.125") as caught:
        for stats in train_denoiser(
            denoiser, ema, *dark_and_bright, steps=50, seed=0, options=options
        ):
            seen.append(stats.skipped)
    assert seen == list(range(1, MAX_BAD_STEPS))
    assert caught.value.exit_code == 5


def poisoned(denoiser, monkeypatch, bad):
    """Make the network's output NaN at the steps in `bad`."""
    forward, count = denoiser.network.forward, iter(range(10**6))

    def sometimes(*args, **kwargs):
        out = forward(*args, **kwargs)
        if next(count) in bad:
            out.sample = out.sample * float("nan")
        return out

    monkeypatch.setattr(denoiser.network, "forward", sometimes)


def test_single_bad_step_is_skipped(tiny, dark_and_bright, monkeypatch, weights_of, same_weights):
    denoiser = tiny()
    poisoned(denoiser, monkeypatch, {2})
    ema = make_ema(denoiser, 0.9)
    weights, skipped = [], []
    options = TrainingOptions(batch_size=8)
    for stats in train_denoiser(denoiser, ema, *dark_and_bright, steps=5, seed=0, options=options):
        weights.append(weights_of(denoiser))
        skipped.append(stats.skipped)
    assert skipped == [0, 0, 1, 1, 1]
    assert same_weights(weights[1], weights[2])
    assert not same_weights(weights[2], weights[3])
    assert all(bool(torch.isfinite(p).all()) for p in denoiser.network.parameters())


def test_only_bad_steps_in_a_row_count(tiny, dark_and_bright, monkeypatch):
    denoiser = tiny()
    poisoned(denoiser, monkeypatch, set(range(0, 40, 2)))
    stats, _ = train(denoiser, dark_and_bright, 40, options=TrainingOptions(batch_size=2))
    assert stats[-1].skipped == 20 > MAX_BAD_STEPS


# Held-out loss ----------------------------------------------------------------------------------


def test_held_out_loss_repeats_and_falls_with_training(tiny, trained, dark_and_bright):
    images, labels = dark_and_bright[0][::16], dark_and_bright[1][::16]
    learned = denoising_losses(trained.denoiser, images, labels)
    torch.rand(3)
    np.testing.assert_array_equal(learned, denoising_losses(trained.denoiser, images, labels))
    fresh = denoising_losses(tiny(), images, labels)
    assert learned.dtype == np.float64
    assert learned.shape == (8,)
    assert np.all(learned < fresh)


def test_held_out_loss_tells_the_right_class(trained, dark_and_bright):
    images, labels = dark_and_bright[0][::16], dark_and_bright[1][::16]
    right = denoising_losses(trained.denoiser, images, labels)
    wrong = denoising_losses(trained.denoiser, images, 1 - labels)
    assert right.mean() < wrong.mean()


@pytest.mark.parametrize("prediction", ["x0", "eps", "v"])
def test_losses_of_a_network_that_says_nothing(tiny, dark_and_bright, prediction):
    """Output 0 costs mean x_0^2 for x0 (exactly), and the variance of eps, 1, for eps.

    For v it costs alpha_bar + (1 - alpha_bar) x_0^2 on average; 256 draws of 64 pixels keep
    means of squares within 5 sqrt(2 / 16,384) = 5.5 %.
    """
    denoiser = tiny(prediction=prediction)
    with torch.no_grad():
        denoiser.network.conv_out.weight.zero_()
        denoiser.network.conv_out.bias.zero_()
    images, labels = dark_and_bright[0][:3], dark_and_bright[1][:3]
    squares = to_model_range(torch.from_numpy(images)).square().mean(dim=(1, 2, 3)).numpy()
    losses = denoising_losses(denoiser, images, labels, draws=256)
    alpha_bar = float(denoiser.schedule.alpha_bars.mean())
    expected = {
        "x0": squares,
        "eps": np.ones(3),
        "v": alpha_bar + (1 - alpha_bar) * squares,
    }[prediction]
    np.testing.assert_allclose(losses, expected, rtol=1e-5 if prediction == "x0" else 0.055)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"transfer": "cbdm", "loss": "min_snr"},
        {"transfer": "t2h"},
        {"augment": ("shift", "flip")},
    ],
    ids=["plain", "cbdm", "t2h", "augment"],
)
def test_row_58_parts_of_a_batch_teach_what_the_whole_does(tiny, changes: dict):
    """Gradients add up: the same losses and weights, whatever is in memory at once."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 1, 8, 8), dtype=np.uint8)
    labels = np.repeat([0, 1], [9, 3])

    def trained(micro_batch: int | None) -> tuple[list[float], list[torch.Tensor]]:
        denoiser = tiny(vector_size=VECTOR_SIZE if "augment" in changes else 0)
        options = TrainingOptions(batch_size=12, micro_batch=micro_batch, **changes)
        run = train_denoiser(
            denoiser, make_ema(denoiser, 0.9), images, labels, steps=3, seed=1, options=options
        )
        losses = [stats.loss for stats in run]
        return losses, [p.detach().clone() for p in denoiser.network.parameters()]

    losses, weights = trained(None)
    for micro_batch in (1, 5, 12, 100):
        other_losses, other_weights = trained(micro_batch)
        assert other_losses == pytest.approx(losses, rel=1e-5)
        for other, weight in zip(other_weights, weights, strict=True):
            # Adam's first steps have the sign of the gradient alone: rounding shows most there.
            torch.testing.assert_close(other, weight, rtol=1e-3, atol=2e-4)
    assert trained(12)[0] == losses and trained(None)[0] == losses


def test_row_58_the_gradient_itself_is_that_of_the_whole_batch(tiny):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 1, 8, 8), dtype=np.uint8)
    labels = np.repeat([0, 1], [9, 3])
    gradients = []
    for micro_batch in (None, 5):
        denoiser = tiny()
        options = TrainingOptions(batch_size=12, micro_batch=micro_batch)
        batch = BatchDraws(denoiser, images, labels, options, seed=0).batch(0)
        objective = Objective(denoiser.prediction)
        denoiser.network.train()
        _gradients(denoiser, objective, batch, 12, options)
        gradients.append([p.grad.clone() for p in denoiser.network.parameters()])
    for whole, parts in zip(*gradients, strict=True):
        torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6)
