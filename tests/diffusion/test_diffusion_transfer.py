"""Transfer from frequent to rare classes: the terms are the papers', and training uses them."""

import math

import numpy as np
import pytest
import torch

from synthaug.diffusion.batches import BatchDraws, TrainingOptions
from synthaug.diffusion.gradients import _losses
from synthaug.diffusion.objective import Objective
from synthaug.diffusion.process import q_sample, x0_from
from synthaug.diffusion.schedule import linear_schedule
from synthaug.diffusion.training import make_ema, train_denoiser
from synthaug.diffusion.transfer import cbdm_regulariser, t2h_swap


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


# CBDM -------------------------------------------------------------------------------------------


def test_cbdm_is_the_published_sum():
    """tau t/T (|h - sg h'|^2 + 1/4 |sg h - h'|^2), by hand for noise prediction."""
    h, other = normal(3, 2, 4, 4, seed=1), normal(3, 2, 4, 4, seed=2)
    t = torch.tensor([0, 500, 999])
    got = cbdm_regulariser(
        h, other, t, T=1000, tau=2.0, prediction="eps", alpha_bar=torch.ones(3, 1, 1, 1)
    )
    square = (h - other).square().mean((1, 2, 3))
    torch.testing.assert_close(got, 2.0 * t / 1000 * (1 + 0.25) * square)
    assert float(got[0]) == 0


def test_cbdm_stops_the_gradients_it_should():
    """d/dh is that of the first half alone, d/dh' that of the second, a quarter of it."""
    h, other = (normal(2, 1, 3, 3, seed=s).requires_grad_() for s in (1, 2))
    t = torch.tensor([250, 750])
    options = {"T": 1000, "tau": 1.0, "prediction": "eps", "alpha_bar": torch.ones(2, 1, 1, 1)}
    cbdm_regulariser(h, other, t, **options).sum().backward()
    weight = (t / 1000).view(2, 1, 1, 1) * 2 * (h - other).detach() / 9
    torch.testing.assert_close(h.grad, weight)
    torch.testing.assert_close(other.grad, -weight / 4)


@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
def test_cbdm_compares_noise_whatever_the_network_predicts(prediction):
    """Two outputs of any parameterisation give the term of the two noises they stand for."""
    schedule, t = linear_schedule(), torch.tensor([3, 400, 900])
    bar = schedule.alpha_bars[t].view(-1, 1, 1, 1)
    x_t = q_sample(normal(3, 1, 4, 4).clamp(-1, 1), t, normal(3, 1, 4, 4, seed=9), schedule)
    h, other = normal(3, 1, 4, 4, seed=1), normal(3, 1, 4, 4, seed=2)
    eps = [
        (x_t - bar.sqrt() * x0_from(prediction, o, x_t, bar)) / (1 - bar).sqrt() for o in (h, other)
    ]
    options = {"T": 1000, "tau": 1.0}
    ours = cbdm_regulariser(h, other, t, prediction=prediction, alpha_bar=bar, **options)
    theirs = cbdm_regulariser(*eps, t, prediction="eps", alpha_bar=bar, **options)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_training_adds_the_cbdm_term_to_labelled_images_only(tiny, dark_and_bright):
    images, labels = dark_and_bright
    denoiser = tiny()
    plain = TrainingOptions(batch_size=16, p_uncond=0.5)
    cbdm = TrainingOptions(batch_size=16, p_uncond=0.5, transfer="cbdm", transfer_tau=3.0)
    batch = BatchDraws(denoiser, images, labels, cbdm, 0).batch(7)
    with torch.no_grad():
        loss, error = _losses(denoiser, Objective("v"), batch, cbdm)
        same = BatchDraws(denoiser, images, labels, plain, 0).batch(7)
        without = _losses(denoiser, Objective("v"), same, plain)
    assert torch.equal(error, without[1])
    extra = loss - without[0]
    assert set(batch.other.tolist()) == {0, 1}
    labelled = batch.y != denoiser.null_class
    assert 0 < int(labelled.sum()) < 16
    bar = denoiser.schedule.alpha_bars[batch.t].float().view(-1, 1, 1, 1)
    with torch.no_grad():
        h = denoiser.predict(batch.x_t, batch.t, batch.y)
        other = denoiser.predict(batch.x_t, batch.t, batch.other)
    by_hand = 3.0 * batch.t / 1000 * 1.25 * (bar * (h - other).square()).mean((1, 2, 3))
    assert float(extra) == pytest.approx(float((by_hand * labelled).mean()), rel=1e-3)


# T2H --------------------------------------------------------------------------------------------

COUNTS = torch.tensor([1000, 10])


def swap(x_0, x_t, labels, bar, seed=0):
    return t2h_swap(
        x_0, x_t, labels, COUNTS, bar.view(-1, 1, 1, 1), torch.Generator().manual_seed(seed)
    )


def test_t2h_draws_in_proportion_to_the_likelihood():
    """20,000 draws for one noisy tail image between three clean ones, five standard errors."""
    values, bar, n = torch.tensor([0.3, -0.2, 0.5]), 0.4, 20_000
    x_t = torch.tensor(0.1)
    density = torch.exp(-((x_t - math.sqrt(bar) * values) ** 2) / (2 * (1 - bar)))
    expected = density / density.sum()
    x_0 = values.view(3, 1, 1, 1).double()
    labels = torch.tensor([1, 0, 0])  # the own image is of the tail: all three may be taken
    noisy = x_t.double().expand(3, 1, 1, 1)
    drawn = torch.stack(
        [swap(x_0, noisy, labels, torch.full((3,), bar), s)[0] for s in range(n // 10)]
    )
    shares = torch.bincount(drawn, minlength=3) / len(drawn)
    error = (expected * (1 - expected) / len(drawn)).sqrt()
    assert bool(((shares - expected).abs() < 5 * error).all())


def test_t2h_never_gives_a_frequent_class_a_rare_target():
    """Under pure noise every image is as likely; heads keep to heads, tails take any."""
    labels = torch.tensor([0, 1] * 8)
    x_0 = normal(16, 1, 2, 2).clamp(-1, 1)
    x_t, bar = normal(16, 1, 2, 2, seed=5), torch.full((16,), 1e-6, dtype=torch.float64)
    moved = set()
    for seed in range(30):
        index = swap(x_0, x_t, labels, bar, seed)
        assert bool((labels[index][labels == 0] == 0).all())
        moved |= set(labels[index][labels == 1].tolist())
        assert bool((index != torch.arange(16)).any())
    assert moved == {0, 1}


def test_t2h_keeps_the_own_image_where_there_is_hardly_noise():
    x_0 = normal(8, 1, 4, 4).clamp(-1, 1)
    bar = torch.full((8,), 0.9999, dtype=torch.float64)
    x_t = math.sqrt(0.9999) * x_0 + 0.01 * normal(8, 1, 4, 4, seed=3)
    assert torch.equal(swap(x_0, x_t, torch.tensor([1] * 8), bar), torch.arange(8))


def test_training_under_t2h_explains_the_same_x_t_by_another_image(tiny, dark_and_bright):
    """x_t and labels are those of plain training; (x_0, eps) is another pair that makes x_t."""
    images, labels = dark_and_bright[0], dark_and_bright[1].copy()
    few = np.concatenate([np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)[:8]])
    images, labels = images[few], labels[few]
    denoiser = tiny()
    plain, t2h = (
        TrainingOptions(batch_size=32, class_power=1.0, transfer=transfer)
        for transfer in ("none", "t2h")
    )
    a = BatchDraws(denoiser, images, labels, plain, 0).batch(3)
    b = BatchDraws(denoiser, images, labels, t2h, 0).batch(3)
    assert torch.equal(a.x_t, b.x_t)
    assert torch.equal(a.y, b.y)
    swapped = (a.x_0 != b.x_0).flatten(1).any(1)
    assert 0 < int(swapped.sum()) < 32
    assert float(a.t[swapped].float().mean()) > float(a.t[~swapped].float().mean())
    torch.testing.assert_close(
        q_sample(b.x_0, b.t, b.eps, denoiser.schedule), b.x_t, atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("transfer", ["cbdm", "t2h"])
def test_training_with_transfer_repeats_exactly(
    tiny, dark_and_bright, weights_of, same_weights, transfer
):
    options = TrainingOptions(batch_size=8, warmup_steps=1, transfer=transfer)
    trained = []
    for _ in range(2):
        denoiser = tiny()
        for _ in train_denoiser(
            denoiser, make_ema(denoiser, 0.9), *dark_and_bright, steps=4, seed=1, options=options
        ):
            pass
        trained.append(weights_of(denoiser))
    assert same_weights(*trained)
    plain = tiny()
    for _ in train_denoiser(
        plain, make_ema(plain, 0.9), *dark_and_bright, steps=4, seed=1,
        options=TrainingOptions(batch_size=8, warmup_steps=1),
    ):  # fmt: skip
        pass
    assert not same_weights(trained[0], weights_of(plain))
