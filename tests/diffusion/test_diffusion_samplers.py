"""Samplers: exact oracle, diffusers' trajectories, and one contract for all of them."""

import math

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from synthaug.diffusion.noise import ImageNoise
from synthaug.diffusion.samplers import (
    SAMPLERS,
    evaluations,
    sample_ddim,
    sample_ddpm,
    sample_dpmpp_2m,
    sample_heun,
    spaced_timesteps,
    threshold,
)
from synthaug.diffusion.schedule import cosine_schedule, linear_schedule


def no_noise():
    raise AssertionError("a deterministic sampler drew noise")


def curved(x, t):
    """A denoiser with no meaning that leaves [-1, 1] often: clipping takes part in the test."""
    return 1.6 * torch.sin(2 * x) + 0.3 * t / 1000


# Oracle -----------------------------------------------------------------------------------------


def solver_error(sampler, oracle, steps):
    """Largest distance to the exact flow, `steps` equal steps in lambda and the jump to clean."""
    x_T = torch.linspace(-3, 3, 31, dtype=torch.float64).view(1, 1, 1, -1)
    timesteps = list(range(1024, -1, -(1024 // steps)))
    assert len(timesteps) == steps + 1
    exact = oracle.denoise(oracle.flow(x_T, 1024, 0), 0)
    got = sampler(oracle.denoise, x_T, oracle.schedule, timesteps, no_noise)
    return float((got - exact).abs().max())


@pytest.mark.parametrize(
    ("sampler", "order"), [(sample_ddim, 1.0), (sample_dpmpp_2m, 2.0), (sample_heun, 2.0)]
)
def test_order_of_convergence(sampler, order, gaussian_oracle, uniform_lambda_schedule):
    """Halving the step divides the error by 2^order; the measured order is within 0.15."""
    oracle = gaussian_oracle(uniform_lambda_schedule)
    errors = [solver_error(sampler, oracle, steps) for steps in (64, 128, 256, 512)]
    observed = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(observed, order, atol=0.15)


def test_second_order_is_worth_having(gaussian_oracle, uniform_lambda_schedule):
    oracle = gaussian_oracle(uniform_lambda_schedule)
    assert solver_error(sample_dpmpp_2m, oracle, 32) < solver_error(sample_ddim, oracle, 32) / 5
    # Heun pays two evaluations a step: half as many steps must still beat DDIM.
    assert solver_error(sample_heun, oracle, 32) < solver_error(sample_ddim, oracle, 64) / 2


@pytest.mark.parametrize("steps", [10, 20, 50])
@pytest.mark.parametrize("make", [linear_schedule, cosine_schedule])
def test_heun_is_stable_and_better_than_ddim_on_the_real_schedules(make, steps, gaussian_oracle):
    """At the same number of evaluations, from pure noise; where sigma would have blown up."""
    oracle = gaussian_oracle(make(), s=0.2)
    x_T = torch.linspace(-3, 3, 31, dtype=torch.float64).view(1, 1, 1, -1)
    errors = []
    for sampler, n in ((sample_heun, steps), (sample_ddim, 2 * steps - 1)):
        timesteps = spaced_timesteps(1000, n)
        exact = oracle.denoise(oracle.flow(x_T, 999, timesteps[-1]), timesteps[-1])
        got = sampler(oracle.denoise, x_T, oracle.schedule, timesteps, no_noise)
        errors.append(float((got - exact).abs().max()))
    assert errors[0] < errors[1]


def test_heun_with_a_planted_fault_loses_its_order(gaussian_oracle, uniform_lambda_schedule):
    """Asked at the old time in the corrector, the order falls to one: the test above can fail."""
    oracle = gaussian_oracle(uniform_lambda_schedule)
    calls = []

    def stale(x, t):
        calls.append(t)
        return oracle.denoise(x, calls[-2] if len(calls) % 2 == 0 else t)

    errors = []
    for steps in (128, 256):
        calls.clear()
        x_T = torch.linspace(-3, 3, 31, dtype=torch.float64).view(1, 1, 1, -1)
        timesteps = list(range(1024, -1, -(1024 // steps)))
        exact = oracle.denoise(oracle.flow(x_T, 1024, 0), 0)
        got = sample_heun(stale, x_T, oracle.schedule, timesteps, no_noise)
        errors.append(float((got - exact).abs().max()))
    assert math.log2(errors[0] / errors[1]) < 1.5


def test_ddim_follows_the_flow_on_the_linear_schedule(gaussian_oracle):
    """The paper's schedule with all its 1,000 steps: 1 % off, by discretisation."""
    oracle = gaussian_oracle(linear_schedule())
    x_T = torch.linspace(-3, 3, 31, dtype=torch.float64).view(1, 1, 1, -1)
    got = sample_ddim(oracle.denoise, x_T, oracle.schedule, spaced_timesteps(1000, 1000), no_noise)
    exact = oracle.denoise(oracle.flow(x_T, 999, 0), 0)
    torch.testing.assert_close(got, exact, atol=0, rtol=0.01)


@pytest.mark.parametrize("variance", ["beta_tilde", "beta"])
def test_ancestral_samples_have_the_data_s_spread(gaussian_oracle, variance):
    """65,536 samples: five standard errors of a standard deviation are 1.4 % of it.

    The chain is linear and Gaussian, so its own final spread is known too; discretisation moves
    it off s by less than 2 %.
    """
    oracle, n = gaussian_oracle(linear_schedule(), s=0.25), 65_536
    schedule = oracle.schedule
    v = 1.0  # the chain starts at a standard normal
    for t in range(999, 0, -1):
        beta = float(schedule.betas[t])
        bar_t, bar_s = schedule.alpha_bar(t), schedule.alpha_bar(t - 1)
        drift = (math.sqrt(bar_s) * beta * oracle.gain(t) + math.sqrt(1 - beta) * (1 - bar_s)) / (
            1 - bar_t
        )
        v = drift**2 * v + (beta if variance == "beta" else beta * (1 - bar_s) / (1 - bar_t))
    own = oracle.gain(0) * math.sqrt(v)
    assert own == pytest.approx(oracle.s, rel=0.02)

    noise = ImageNoise(np.arange(16), (1, 64, 64), torch.device("cpu"))
    x_0 = sample_ddpm(
        oracle.denoise, noise(), schedule, spaced_timesteps(1000, 1000), noise, variance=variance
    )
    standard_error = own / math.sqrt(2 * n)
    assert float(x_0.std()) == pytest.approx(own, abs=5 * standard_error)
    assert float(x_0.mean()) == pytest.approx(0, abs=5 * own / math.sqrt(n))


def test_ddim_with_eta_one_has_the_moments_of_ancestral_sampling(gaussian_oracle):
    """Eta 1 and `ddpm` are the same chain: equal pixels from equal noise on the oracle."""
    oracle = gaussian_oracle(cosine_schedule())
    timesteps = spaced_timesteps(1000, 50)
    pair = []
    for sampler, options in ((sample_ddim, {"eta": 1.0}), (sample_ddpm, {})):
        noise = ImageNoise(np.arange(4), (1, 8, 8), torch.device("cpu"))
        start = noise().double()
        pair.append(sampler(oracle.denoise, start, oracle.schedule, timesteps, noise, **options))
    torch.testing.assert_close(*pair, atol=1e-6, rtol=0)


# Trajectories of diffusers ----------------------------------------------------------------------


def their_trajectory(scheduler, schedule, x, steps, exact=True, **step_options):
    if exact:  # compare formulas, not float32 tables
        scheduler.alphas_cumprod = schedule.alpha_bars
        scheduler.one = scheduler.final_alpha_cumprod = torch.tensor(1.0, dtype=torch.float64)
    scheduler.set_timesteps(steps)
    assert scheduler.timesteps.tolist() == spaced_timesteps(schedule.T, steps)
    for t in scheduler.timesteps:
        x = scheduler.step(curved(x, int(t)), int(t), x, **step_options).prev_sample
    return x


COMMON = {
    "beta_schedule": "linear",
    "prediction_type": "sample",
    "timestep_spacing": "trailing",
}


def start_and_noise(seed):
    """x_T and a source of the very draws that a diffusers scheduler takes from its generator."""
    ours, theirs = (torch.Generator().manual_seed(seed) for _ in range(2))
    x_T = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    return x_T, lambda: torch.randn(x_T.shape, generator=ours, dtype=torch.float64), theirs


@pytest.mark.parametrize(
    ("steps", "variance", "variance_type"),
    [
        (1, "beta_tilde", "fixed_small"),
        (20, "beta_tilde", "fixed_small"),
        (1000, "beta_tilde", "fixed_small"),
        (1000, "beta", "fixed_large"),
    ],
)
def test_ddpm_equals_diffusers(steps, variance, variance_type):
    """Same noise, float64; with all steps only for beta.

    Where the last t is not 0, diffusers adds noise to the sample it returns: 1e-10 for beta-tilde,
    which the tolerance covers, but all of beta for beta. Algorithm 2 adds none.
    """
    schedule = linear_schedule()
    x_T, noise, generator = start_and_noise(steps)
    scheduler = DDPMScheduler(clip_sample=True, variance_type=variance_type, **COMMON)
    ours = sample_ddpm(
        curved, x_T, schedule, spaced_timesteps(1000, steps), noise, variance=variance
    )
    theirs = their_trajectory(scheduler, schedule, x_T, steps, generator=generator)
    torch.testing.assert_close(ours, theirs, atol=1e-8, rtol=0)


@pytest.mark.parametrize("steps", [1, 20, 1000])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_equals_diffusers(steps, eta):
    schedule = linear_schedule()
    x_T, noise, generator = start_and_noise(steps)
    scheduler = DDIMScheduler(clip_sample=True, set_alpha_to_one=True, **COMMON)
    ours = sample_ddim(curved, x_T, schedule, spaced_timesteps(1000, steps), noise, eta=eta)
    theirs = their_trajectory(
        scheduler, schedule, x_T, steps, eta=eta, use_clipped_model_output=True, generator=generator
    )
    torch.testing.assert_close(ours, theirs, atol=1e-8, rtol=0)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("steps", [1, 2, 5, 20, 50])
def test_dpmpp_2m_equals_diffusers(steps):
    """diffusers computes in float32, hence the tolerance of 2e-4 after up to 50 steps."""
    schedule = linear_schedule()
    x_T, _, _ = start_and_noise(steps)
    scheduler = DPMSolverMultistepScheduler(
        algorithm_type="dpmsolver++",
        solver_order=2,
        thresholding=True,
        sample_max_value=1e9,
        lower_order_final=False,  # ours only steps down where lambda is infinite
        **COMMON,
    )
    ours = sample_dpmpp_2m(curved, x_T, schedule, spaced_timesteps(1000, steps), no_noise)
    theirs = their_trajectory(scheduler, schedule, x_T, steps, exact=False)
    torch.testing.assert_close(ours, theirs.double(), atol=2e-4, rtol=0)


# Contract of every sampler ----------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 7, 100])
@pytest.mark.parametrize("make", [linear_schedule, cosine_schedule])
@pytest.mark.parametrize("name", SAMPLERS)
def test_contract_range_under_a_wild_denoiser(name, make, steps):
    """A network that answers 10,000 times noise still ends inside [-1, 1], shape kept."""
    wild = torch.Generator().manual_seed(0)
    schedule = make(100)
    noise = ImageNoise(np.arange(3), (2, 4, 6), torch.device("cpu"))

    def denoise(x, t):
        return 1e4 * torch.randn(x.shape, generator=wild)

    x_0 = SAMPLERS[name](denoise, noise(), schedule, spaced_timesteps(100, steps), noise)
    assert x_0.shape == (3, 2, 4, 6)
    assert bool(torch.isfinite(x_0).all())
    assert float(x_0.abs().max()) <= 1


@pytest.mark.parametrize("name", SAMPLERS)
def test_contract_evaluations_are_counted_and_at_the_given_timesteps(name):
    seen = []

    def denoise(x, t):
        seen.append(t)
        return 0.5 * x.tanh()

    schedule, timesteps = cosine_schedule(100), [99, 60, 31, 2]
    noise = ImageNoise(np.arange(2), (1, 4, 4), torch.device("cpu"))
    SAMPLERS[name](denoise, noise(), schedule, timesteps, noise)
    if name == "heun":  # both ends of every step but the last
        assert seen == [99, 60, 60, 31, 31, 2, 2]
    else:
        assert seen == timesteps
    assert len(seen) == evaluations(name, len(timesteps))
    assert 2 * len(seen) == evaluations(name, len(timesteps), cfg_scale=1.5)


def draw(name, seeds, steps=10):
    schedule = cosine_schedule()
    noise = ImageNoise(np.asarray(seeds), (1, 8, 8), torch.device("cpu"))
    return SAMPLERS[name](curved, noise(), schedule, spaced_timesteps(1000, steps), noise)


@pytest.mark.parametrize("name", SAMPLERS)
def test_contract_determinism(name):
    assert torch.equal(draw(name, [5, 6]), draw(name, [5, 6]))
    assert not torch.equal(draw(name, [5, 6]), draw(name, [5, 7]))


@pytest.mark.parametrize("name", SAMPLERS)
def test_contract_batch_size_does_not_matter(name):
    seeds = [11, 3, 2**62, 0, 17]
    together = draw(name, seeds)
    alone = torch.cat([draw(name, [seed]) for seed in seeds])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", SAMPLERS)
def test_contract_last_estimate_is_the_result(name):
    """A perfect denoiser is believed: whatever the noise, x_0 itself comes out."""
    x_0 = torch.linspace(-1, 1, 64).view(1, 1, 8, 8).repeat(2, 1, 1, 1)
    noise = ImageNoise(np.arange(2), (1, 8, 8), torch.device("cpu"))
    schedule = linear_schedule()
    got = SAMPLERS[name](lambda x, t: x_0, noise(), schedule, spaced_timesteps(1000, 12), noise)
    torch.testing.assert_close(got, x_0, atol=1e-6, rtol=0)


# Timesteps and thresholding ---------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(1, 2000).flatmap(lambda T: st.tuples(st.just(T), st.integers(1, T))))
def test_spaced_timesteps(T_and_steps):
    T, steps = T_and_steps
    timesteps = spaced_timesteps(T, steps)
    assert len(timesteps) == steps
    assert timesteps[0] == T - 1
    strides = -np.diff([*timesteps, -1])
    assert strides.min() >= 1
    assert strides.max() - strides.min() <= 1
    if steps == T:
        assert timesteps == list(range(T - 1, -1, -1))


@pytest.mark.parametrize("steps", [0, -1, 11])
def test_impossible_number_of_steps(steps):
    with pytest.raises(ValueError, match=r"1\.\.10, got"):
        spaced_timesteps(10, steps)


def test_threshold_is_per_image_and_leaves_the_range_alone():
    inside = torch.linspace(-1, 1, 400).view(1, 1, 20, 20)
    outside = 5 * inside
    both = threshold(torch.cat([inside, outside]))
    torch.testing.assert_close(both[0], inside[0], atol=0, rtol=0)
    s = torch.quantile(outside.abs().flatten(), 0.995)
    torch.testing.assert_close(both[1], outside[0].clamp(-s, s) / s)
    assert float(both[1].abs().max()) == 1
