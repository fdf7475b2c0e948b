"""The bound on data whose every term is known, and what must hold of any model."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from synthaug.diffusion.batches import TrainingOptions
from synthaug.diffusion.bound import log_variance_range, posterior_tables
from synthaug.diffusion.likelihood import (
    BoundTerms,
    denoiser_bound,
    timestep_strata,
    variational_bound,
)
from synthaug.diffusion.schedule import cosine_schedule, linear_schedule, make_schedule
from synthaug.diffusion.training import make_ema, train_denoiser

S = 0.2
LEVELS = np.arange(256) / 127.5 - 1
EDGES = np.concatenate([[-np.inf], LEVELS[:-1] + 1 / 255, [np.inf]])
P = np.diff(stats.norm.cdf(EDGES, scale=S))
"""Probabilities of the grey levels of N(0, S^2), discretised as the decoder discretises."""
ENTROPY = float(-(P[P > 0] * np.log2(P[P > 0])).sum())


@pytest.fixture(scope="module")
def gaussian_images() -> np.ndarray:
    """12 images of 144 independent pixels from the discretised N(0, S^2)."""
    rng = np.random.default_rng(0)
    return rng.choice(256, size=(12, 1, 12, 12), p=P).astype(np.uint8)


def oracle_bound(oracle, images, **options) -> BoundTerms:
    return variational_bound(lambda i: oracle.estimate, images, oracle.schedule, **options)


def known_terms(oracle, images, variance) -> np.ndarray:
    """E over the noise of every term given the images themselves, bits/dim, float64 [N, T].

    The estimate is g x_t, so x_0 - x_0_hat is Gaussian given x_0 and the divergences have closed
    forms; the decoder's term is integrated over the noise by Gauss-Hermite with 80 nodes.
    """
    schedule, x = oracle.schedule, LEVELS[images].reshape(len(images), -1)
    bars = schedule.alpha_bars.numpy()
    before, betas = np.concatenate([[1.0], bars[:-1]]), schedule.betas.numpy()
    beta_tilde = (1 - before) / (1 - bars) * betas
    gain = oracle.gains(torch.arange(schedule.T)).flatten().numpy()
    terms = np.zeros((len(x), schedule.T))
    for t in range(1, schedule.T):
        sigma2 = beta_tilde[t] if variance == "beta_tilde" else betas[t]
        c_0 = np.sqrt(before[t]) * betas[t] / (1 - bars[t])
        error = (1 - gain[t] * np.sqrt(bars[t])) ** 2 * x**2 + gain[t] ** 2 * (1 - bars[t])
        ratio = beta_tilde[t] / sigma2
        kl = 0.5 * (ratio - 1 - np.log(ratio)) + c_0**2 * error.mean(1) / (2 * sigma2)
        terms[:, t] = kl / math.log(2)
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    sigma = math.sqrt(beta_tilde[1])
    mean = gain[0] * (np.sqrt(bars[0]) * LEVELS[:, None] + np.sqrt(1 - bars[0]) * nodes)
    width = stats.norm.cdf(EDGES[1:, None], mean, sigma) - stats.norm.cdf(
        EDGES[:-1, None], mean, sigma
    )
    by_level = -(np.log2(width.clip(1e-300)) * weights).sum(1) / weights.sum()
    terms[:, 0] = by_level[images.reshape(len(images), -1)].mean(1)
    return terms


@pytest.mark.parametrize("variance", ["beta_tilde", "beta"])
@pytest.mark.parametrize("make", [linear_schedule, cosine_schedule])
def test_every_term_is_the_known_one(make, variance, gaussian_oracle, gaussian_images):
    """1,728 pixels: each mean of squares within five standard errors of sqrt(2 / 1,728) = 3.4 %.

    That is 17 % for a single t. Over the sum of all T the errors average out, to 1 %.
    """
    oracle = gaussian_oracle(make(200), s=S)
    got = oracle_bound(oracle, gaussian_images, variance=variance)
    known = known_terms(oracle, gaussian_images, variance)
    np.testing.assert_allclose(got.per_t, known.mean(0), rtol=0.17, atol=1e-6)
    assert got.decoder.mean() == pytest.approx(known[:, 0].mean(), rel=0.03)
    assert got.steps.mean() == pytest.approx(known[:, 1:].sum(1).mean(), rel=0.01)
    bar = oracle.schedule.alpha_bar(199)
    x = LEVELS[gaussian_images].reshape(12, -1)
    prior = 0.5 * (bar * x**2 + (1 - bar) - 1 - math.log(1 - bar)).mean(1) / math.log(2)
    np.testing.assert_allclose(got.prior, prior, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(got.total, got.prior + got.steps + got.decoder)


def optimal_bound(oracle, images, **options) -> BoundTerms:
    """The bound with the true reverse variance, beta_tilde + c_0^2 Var(x_0 | x_t), at every t."""
    schedule = oracle.schedule
    c_0, _, beta_tilde = posterior_tables(schedule)
    of_x0 = (
        S**2 * (1 - schedule.alpha_bars) / (schedule.alpha_bars * S**2 + 1 - schedule.alpha_bars)
    )
    least, most = log_variance_range(schedule)
    fractions = ((beta_tilde + c_0**2 * of_x0).log() - least) / (most - least)

    def estimate(x_t, t):
        return oracle.gains(t) * x_t, fractions[t].view(-1, 1, 1, 1).expand_as(x_t)

    return variational_bound(lambda i: estimate, images, schedule, variance="learned", **options)


@pytest.mark.parametrize("T", [100, 1000])
def test_the_bound_lies_above_the_entropy_and_near_it(T, gaussian_oracle, gaussian_images):
    """Gaussian data have Gaussian reverse steps: with the true variances the bound is the entropy.

    Within three standard errors over 16 seeds of noise, of about 0.005 bits of 6.7, and 0.02 bits
    for grey levels that the decoder does not know. The images' own surprise stands for the entropy,
    so that the luck of these 1,728 pixels is on both sides.
    """
    oracle = gaussian_oracle(linear_schedule(T, 0.1 / T, 20 / T), s=S)
    totals = [optimal_bound(oracle, gaussian_images, seed=k).total.mean() for k in range(16)]
    error = np.std(totals, ddof=1) / 4
    own = float(-np.log2(P[gaussian_images]).mean())
    assert own == pytest.approx(ENTROPY, abs=5 * 0.72 / math.sqrt(1728))
    assert error < 0.01
    assert own - 3 * error < np.mean(totals) < own + 0.02 + 3 * error


@pytest.mark.parametrize("make", [linear_schedule, cosine_schedule])
def test_fixed_variances_cost_bits_that_the_true_one_does_not(
    make, gaussian_oracle, gaussian_images
):
    oracle = gaussian_oracle(make(200), s=S)
    optimal = optimal_bound(oracle, gaussian_images).total.mean()
    for variance in ("beta_tilde", "beta"):
        assert known_terms(oracle, gaussian_images, variance).sum(1).mean() > optimal + 0.05


@pytest.mark.parametrize("wrong", ["gain", "t"])
def test_a_worse_denoiser_has_a_worse_bound(wrong, gaussian_oracle, gaussian_images):
    oracle = gaussian_oracle(cosine_schedule(100), s=S)

    def bad(x_t, t):
        if wrong == "gain":
            return 0.9 * oracle.gains(t) * x_t, None
        return oracle.gains((t + 3).clamp(max=99)) * x_t, None

    good = oracle_bound(oracle, gaussian_images).total
    worse = variational_bound(lambda i: bad, gaussian_images, oracle.schedule).total
    assert np.all(worse > good)


def test_the_subset_is_unbiased(gaussian_oracle, gaussian_images):
    """40 seeds of 12 of 200 timesteps agree with all of them within four standard errors."""
    oracle = gaussian_oracle(linear_schedule(200), s=S)
    exact = known_terms(oracle, gaussian_images[:4], "beta_tilde")[:, 1:].sum(1).mean()
    drawn = np.array([
        oracle_bound(oracle, gaussian_images[:4], timesteps=12, seed=seed).steps.mean()
        for seed in range(40)
    ])  # fmt: skip
    error = drawn.std(ddof=1) / math.sqrt(40)
    assert abs(drawn.mean() - exact) < 4 * error
    assert error < 0.05 * exact


def test_two_models_meet_the_same_timesteps_and_noise(gaussian_oracle, gaussian_images):
    oracle = gaussian_oracle(linear_schedule(100), s=S)
    seen = []
    for first in (0, 6):

        def spy(x_t, t):
            seen[-1].append((x_t, t))
            return oracle.estimate(x_t, t)

        seen.append([])
        images = np.concatenate([gaussian_images[first : first + 1]] * 2)
        variational_bound(lambda i: spy, images, oracle.schedule, timesteps=9)
    (train, other), (test, _) = seen
    assert torch.equal(train[1], test[1])
    bars = oracle.schedule.alpha_bars[train[1]].view(-1, 1, 1, 1)
    noises = [
        (x - bars.sqrt() * torch.from_numpy(LEVELS[gaussian_images[k]])) / (1 - bars).sqrt()
        for x, k in ((train[0], 0), (test[0], 6))
    ]
    torch.testing.assert_close(*noises, atol=1e-4, rtol=0)
    assert not torch.equal(train[1], other[1])


def test_batches_change_nothing(gaussian_oracle, gaussian_images):
    oracle = gaussian_oracle(linear_schedule(100), s=S)
    whole = oracle_bound(oracle, gaussian_images[:2], batch_size=100)
    parts = oracle_bound(oracle, gaussian_images[:2], batch_size=7)
    np.testing.assert_allclose(whole.total, parts.total, rtol=0.1)
    assert whole.prior.tolist() == parts.prior.tolist()


@pytest.mark.parametrize(("T", "n"), [(1000, 100), (1000, 1000), (10, 2), (50, 49), (50, 50)])
def test_strata_cover_every_timestep_once(T, n):
    edges = timestep_strata(T, n)
    assert (len(edges), edges[0], edges[-1]) == (n, 1, T)
    assert np.diff(edges).min() >= 1
    assert np.diff(edges)[0] <= np.diff(edges)[-1]


@pytest.mark.parametrize("n", [0, 1, 51])
def test_impossible_number_of_timesteps(n):
    with pytest.raises(ValueError, match=rf"2\.\.50, got {n}"):
        timestep_strata(50, n)


def test_all_timesteps_are_the_exact_mode(gaussian_oracle, gaussian_images):
    oracle = gaussian_oracle(make_schedule([0.05] * 40), s=S)
    every = oracle_bound(oracle, gaussian_images[:2])
    counted = oracle_bound(oracle, gaussian_images[:2], timesteps=40)
    np.testing.assert_array_equal(every.total, counted.total)
    assert np.isfinite(every.per_t).all()
    some = oracle_bound(oracle, gaussian_images[:2], timesteps=5).per_t
    assert np.isnan(some).any() and np.isfinite(some[0])


@pytest.mark.parametrize("variance", ["beta_tilde", "learned"])
def test_a_trained_denoiser_beats_a_fresh_one_and_knowing_nothing(
    tiny, trained, dark_and_bright, variance
):
    images, labels = dark_and_bright[0][::32], dark_and_bright[1][::32]
    learned = denoiser_bound(trained.denoiser, images, labels, timesteps=50)
    fresh = denoiser_bound(tiny(variance=variance), images, labels, timesteps=50)
    assert learned.total.shape == (4,)
    assert np.all(learned.total < fresh.total)
    again = denoiser_bound(trained.denoiser, images, labels, timesteps=50)
    np.testing.assert_array_equal(learned.total, again.total)
    wrong = denoiser_bound(trained.denoiser, images, 1 - labels, timesteps=50)
    assert wrong.total.mean() > learned.total.mean()


def test_learning_by_heart_shows_as_a_gap_that_grows(tiny):
    """Eight images of independent grey levels: nothing can be learned but the images themselves."""
    rng = np.random.default_rng(0)
    train, test = rng.integers(0, 256, (2, 8, 1, 8, 8), dtype=np.uint8)
    labels = np.arange(8) % 2
    denoiser, gaps = tiny(), []
    options = TrainingOptions(batch_size=16, learning_rate=3e-3, warmup_steps=10)
    run = train_denoiser(
        denoiser, make_ema(denoiser, 0.9), train, labels, steps=60, seed=0, options=options
    )
    for stats_of_step in run:
        if stats_of_step.step in (5, 59):
            pair = [denoiser_bound(denoiser, x, labels, timesteps=40).total for x in (train, test)]
            gaps.append(float((pair[1] - pair[0]).mean()))
            denoiser.network.train()
    assert gaps[1] > gaps[0] + 0.5
