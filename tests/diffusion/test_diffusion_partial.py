"""Starting from real images: the ends of strength and lambda have known answers."""

import math

import numpy as np
import pytest
import torch

from synthaug.diffusion.denoiser import to_model_range
from synthaug.diffusion.generation import generate_images
from synthaug.diffusion.noise import ImageNoise, image_seeds, source_draws
from synthaug.diffusion.partial import PartialStart, partial_timesteps
from synthaug.diffusion.process import q_sample
from synthaug.diffusion.samplers import SAMPLERS, spaced_timesteps
from synthaug.diffusion.schedule import cosine_schedule, linear_schedule
from synthaug.errors import UsageError

CPU = torch.device("cpu")
SEEDS = image_seeds(0, 0, 0, 7)
LABELS = np.array([0, 1, 1, 0, 1, 0, 0], dtype=np.int64)


@pytest.fixture
def reals(dark_and_bright) -> tuple[np.ndarray, np.ndarray]:
    """Two real images of each label, uint8 [7, 1, 8, 8] each."""
    images, labels = dark_and_bright
    firsts = [np.flatnonzero(labels == k)[i] for i, k in enumerate(LABELS)]
    return images[firsts], images[[i + 9 for i in firsts]]


def pixels(denoiser, start=None, seeds=SEEDS, **options):
    options = {"steps": 10, "labels": LABELS, **options}
    batches = list(generate_images(denoiser, options.pop("labels"), seeds, start=start, **options))
    return np.concatenate([b.images for b in batches]).astype(int)


# Timesteps --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strength", "first", "n"),
    [(1.0, 999, 20), (0.6, 599, 12), (0.57, 549, 11), (0.55, 549, 11), (0.05, 49, 1)],
)
def test_the_first_timestep_at_or_below_the_strength(strength: float, first: int, n: int):
    left = partial_timesteps(spaced_timesteps(1000, 20), strength, 1000)
    assert (left[0], len(left)) == (first, n)
    assert left == spaced_timesteps(1000, 20)[-n:]


def test_products_that_rounding_spoils():
    """0.57 * 1000 is 569.9999999999999: t = 569 still counts as at most 0.57 T - 1."""
    assert partial_timesteps(list(range(999, -1, -1)), 0.57, 1000)[0] == 569


@pytest.mark.parametrize("strength", [0.0, -0.1, 1.01, math.nan])
def test_impossible_strength(strength: float):
    with pytest.raises(UsageError, match="more than 0 and at most 1"):
        partial_timesteps([999, 499], strength, 1000)


def test_a_strength_that_leaves_no_step_would_return_the_real_image_and_is_refused():
    with pytest.raises(UsageError, match=r"leaves none of 3 .*0\.33 or more.*--strength or --st"):
        partial_timesteps(spaced_timesteps(1000, 3), 0.3, 1000)


# Sources ----------------------------------------------------------------------------------------


def test_sources_are_a_function_of_the_seed_alone():
    first, second, lam = source_draws(SEEDS, 5)
    for i, seed in enumerate(SEEDS):
        alone = source_draws(np.array([seed]), 5)
        assert (alone[0][0], alone[1][0], alone[2][0]) == (first[i], second[i], lam[i])


def test_sources_are_spread_and_pairs_differ():
    first, second, lam = source_draws(np.arange(6000), 4)
    assert (first != second).all()
    pairs = np.bincount(first * 4 + second, minlength=16).reshape(4, 4)
    assert not np.diag(pairs).any()
    # 12 ordered pairs, 500 each: 22 is a standard deviation.
    assert np.abs(pairs[~np.eye(4, dtype=bool)] - 500).max() < 110
    assert 0 <= lam.min() < 0.01 and 0.99 < lam.max() < 1
    assert abs(lam.mean() - 0.5) < 5 / math.sqrt(12 * 6000)


def test_one_image_is_its_own_partner():
    first, second, _ = source_draws(SEEDS, 1)
    assert not first.any() and not second.any()


def test_lambda_is_not_a_function_of_the_noise():
    noise = ImageNoise(np.arange(2000), (1, 1, 1), CPU)().flatten().numpy()
    lam = source_draws(np.arange(2000), 2)[2]
    assert abs(np.corrcoef(noise, lam)[0, 1]) < 0.1


# Encoding ---------------------------------------------------------------------------------------


def test_encoding_is_q_sample_and_mixing_is_linear_with_one_noise(reals):
    first, second = reals
    schedule, t = cosine_schedule(), 400
    eps = ImageNoise(SEEDS, (1, 8, 8), CPU)()
    when = torch.full((7,), t)
    a, b = (q_sample(to_model_range(torch.tensor(x)), when, eps, schedule) for x in reals)
    torch.testing.assert_close(PartialStart(first, 0.5).encode(t, eps, schedule), a)
    lam = np.linspace(0, 1, 7)
    mixed = PartialStart(first, 0.5, second, lam).encode(t, eps, schedule)
    w = torch.from_numpy(lam).float().view(-1, 1, 1, 1)
    torch.testing.assert_close(mixed, (1 - w) * a + w * b)
    assert torch.equal(mixed[0], a[0]) and torch.equal(mixed[-1], b[-1])


def test_a_mix_keeps_the_variance_that_the_network_knows():
    """Halfway between equal images the noise has variance 1 - alpha_bar; two noises, half of it."""
    flat = np.full((1, 1, 256, 256), 128, np.uint8)
    schedule = cosine_schedule()
    eps = ImageNoise(np.array([3]), (1, 256, 256), CPU)()
    x_t = PartialStart(flat, 0.5, flat, np.array([0.5])).encode(500, eps, schedule)
    assert float(x_t.var()) == pytest.approx(1 - schedule.alpha_bar(500), rel=0.02)


# Samplers from the middle -----------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("strength", [0.1, 0.5, 1.0])
def test_every_sampler_has_the_data_s_spread_from_any_timestep(
    name: str, strength: float, gaussian_oracle
):
    """Data N(0, s^2) noised to t and denoised by the perfect denoiser are N(0, s^2) again.

    16,384 values: five standard errors of a standard deviation are 2.8 % of it; 100 steps of
    discretisation move it by less than 4 %. A correlation is known to 5/128 = 0.04.
    """
    oracle = gaussian_oracle(cosine_schedule(), s=0.2)
    timesteps = partial_timesteps(spaced_timesteps(1000, 100), strength, 1000)
    noise = ImageNoise(np.arange(16), (1, 32, 32), CPU)
    x_0 = oracle.s * torch.randn(16, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    x_t = q_sample(x_0, torch.full((16,), timesteps[0]), noise(), oracle.schedule)
    got = SAMPLERS[name](oracle.denoise, x_t, oracle.schedule, timesteps, noise)
    # The last step returns the mean of x_0 given x_t, whose spread is smaller by the gain.
    last = math.sqrt(oracle.gain(timesteps[-1]) * math.sqrt(oracle.schedule.alpha_bar(9)))
    assert float(got.std()) == pytest.approx(oracle.s * last, rel=0.07)
    # How x_t correlates with the x_0 it came from. A flow keeps that; the ancestral chain draws
    # anew down to its last timestep, and what it draws correlates with x_t by `redrawn`.
    t, last_t = timesteps[0], timesteps[-1]
    share = oracle.schedule.alpha_bar(t) / oracle.variance(t)
    rho = math.sqrt(share) * oracle.s
    redrawn = math.sqrt(share * oracle.variance(last_t) / oracle.schedule.alpha_bar(last_t))
    kept = float(np.corrcoef(got.flatten(), x_0.flatten())[0, 1])
    assert kept == pytest.approx(rho * redrawn if name == "ddpm" else rho, abs=0.04)


@pytest.mark.parametrize("name", SAMPLERS)
def test_at_full_strength_a_variation_is_the_sample_of_its_seed(trained, reals, name):
    """Cosine's x_T keeps 5e-5 of the image: the pixels are those from pure noise."""
    sampled = pixels(trained.denoiser, sampler=name)
    varied = pixels(trained.denoiser, PartialStart(reals[0], 1.0), sampler=name)
    assert np.abs(sampled - varied).max() <= 1


@pytest.mark.parametrize("name", SAMPLERS)
def test_at_a_tiny_strength_the_real_image_comes_back(trained, reals, name):
    def distance(strength):
        start = PartialStart(reals[0], strength)
        return np.abs(pixels(trained.denoiser, start, steps=100, sampler=name) - reals[0]).mean()

    near, far = distance(0.01), distance(0.8)
    assert near < 3
    assert far > 2 * near


@pytest.mark.parametrize(("end", "which"), [(0.0, 0), (1.0, 1)])
def test_the_ends_of_lambda_are_variations_of_either_image(trained, reals, end, which):
    mixed = PartialStart(reals[0], 0.4, reals[1], np.full(7, end))
    alone = PartialStart(reals[which], 0.4)
    np.testing.assert_array_equal(pixels(trained.denoiser, mixed), pixels(trained.denoiser, alone))
    other = PartialStart(reals[1 - which], 0.4)
    assert np.abs(pixels(trained.denoiser, mixed) - pixels(trained.denoiser, other)).max() > 1


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("paired", [False, True])
def test_deterministic_and_independent_of_the_batch_size(trained, reals, name, paired):
    lam = np.linspace(0.1, 0.9, 7)
    start = PartialStart(reals[0], 0.5, *((reals[1], lam) if paired else ()))
    together = pixels(trained.denoiser, start, sampler=name)
    np.testing.assert_array_equal(together, pixels(trained.denoiser, start, sampler=name))
    for batch_size in (1, 3):
        apart = pixels(trained.denoiser, start, sampler=name, batch_size=batch_size)
        assert np.abs(together - apart).max() <= 1


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize(("cfg_scale", "factor"), [(1.0, 1), (2.0, 2)])
def test_nfe_is_what_the_network_was_asked(trained, reals, monkeypatch, name, cfg_scale, factor):
    network, evaluated = trained.denoiser.network, []
    forward = network.forward

    def counted(x, *args, **kwargs):
        evaluated.append(len(x))
        return forward(x, *args, **kwargs)

    monkeypatch.setattr(network, "forward", counted)
    start = PartialStart(reals[0], 0.5)
    (batch,) = generate_images(
        trained.denoiser, LABELS, SEEDS, sampler=name, steps=10, cfg_scale=cfg_scale, start=start
    )
    assert batch.nfe == sum(evaluated) / len(LABELS)
    full = next(generate_images(trained.denoiser, LABELS, SEEDS, sampler=name, steps=10)).nfe
    assert batch.nfe < full * factor


def test_the_linear_schedule_runs_too(gaussian_oracle):
    oracle = gaussian_oracle(linear_schedule(), s=0.2)
    noise = ImageNoise(SEEDS, (1, 8, 8), CPU)
    start = PartialStart(np.full((7, 1, 8, 8), 128, np.uint8), 0.3)
    timesteps = partial_timesteps(spaced_timesteps(1000, 50), 0.3, 1000)
    x = start.encode(timesteps[0], noise(), oracle.schedule)
    got = SAMPLERS["ddim"](oracle.denoise, x, oracle.schedule, timesteps, noise)
    assert bool(torch.isfinite(got).all()) and float(got.std()) < oracle.s
