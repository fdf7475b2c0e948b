"""The forward process, its posterior and the parameterisations, against diffusers and algebra."""

import math

import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from synthaug.diffusion.process import (
    eps_from_x0,
    posterior_coefficients,
    q_sample,
    q_step,
    target,
    x0_from,
)
from synthaug.diffusion.schedule import NoiseSchedule, linear_schedule, make_schedule

T_CHECKED = (1, 2, 10, 500, 998, 999)
PREDICTIONS = ("eps", "v", "x0")
SCHEDULES = ("linear", "cosine", "given")


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def schedule_of(name: str, T: int = 1000) -> NoiseSchedule:
    """A schedule of each kind; the given betas go up and down, as no name would have them."""
    if name != "given":
        return make_schedule(name, T)
    t = torch.arange(T, dtype=torch.float64)
    return make_schedule((1e-4 + 0.01 * torch.sin(9 * t / T) ** 2).tolist())


def diffusers_scheduler(schedule, **config):
    """diffusers' scheduler on our float64 numbers, so that formulas and not tables are compared."""
    scheduler = DDPMScheduler(num_train_timesteps=schedule.T, **config)
    scheduler.betas, scheduler.alphas = schedule.betas, schedule.alphas
    scheduler.alphas_cumprod = schedule.alpha_bars
    scheduler.one = torch.tensor(1.0, dtype=torch.float64)
    return scheduler


@pytest.mark.parametrize("name", SCHEDULES)
def test_q_sample_equals_diffusers(name):
    schedule = schedule_of(name)
    x_0, eps = normal(6, 3, 4, 4, seed=1).clamp(-1, 1), normal(6, 3, 4, 4, seed=2)
    t = torch.tensor([0, 1, 10, 500, 998, 999])
    ours = q_sample(x_0, t, eps, schedule)
    theirs = diffusers_scheduler(schedule).add_noise(x_0, eps, t)
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)
    assert ours.dtype == torch.float64
    assert q_sample(x_0.float(), t, eps.float(), schedule).dtype == torch.float32


@pytest.mark.parametrize("name", SCHEDULES)
def test_single_steps_compose_to_the_closed_form(name):
    """Mean and variance of T steps, each read off `q_step`, are those of one `q_sample`."""
    schedule = schedule_of(name, 100)
    one, zero = torch.ones(1, 1, 1, 1, dtype=torch.float64), torch.zeros(1, 1, 1, 1).double()
    mean, variance = 1.0, 0.0
    for step in range(schedule.T):
        t = torch.tensor([step])
        kept, added = q_step(one, t, zero, schedule), q_step(zero, t, one, schedule)
        mean, variance = mean * float(kept), variance * float(kept) ** 2 + float(added) ** 2
        closed = q_sample(one, t, zero, schedule), q_sample(zero, t, one, schedule)
        assert mean == pytest.approx(float(closed[0]), rel=1e-10)
        assert variance == pytest.approx(float(closed[1]) ** 2, rel=1e-10)


def test_single_steps_compose_in_distribution():
    """40,000 chains of 100 steps; mean and variance within five standard errors."""
    schedule, n = linear_schedule(100, 1e-3, 0.05), 40_000
    x = torch.full((n, 1, 1, 1), 0.8, dtype=torch.float64)
    generator = torch.Generator().manual_seed(3)
    for step in range(schedule.T):
        eps = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        x = q_step(x, torch.full((n,), step), eps, schedule)
    alpha_bar = schedule.alpha_bar(99)
    variance = 1 - alpha_bar
    assert 0.05 < alpha_bar < 0.5  # otherwise the mean would be tested at nothing
    assert float(x.mean()) == pytest.approx(
        0.8 * math.sqrt(alpha_bar), abs=5 * math.sqrt(variance / n)
    )
    assert float(x.var()) == pytest.approx(variance, abs=5 * variance * math.sqrt(2 / n))


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("t", T_CHECKED)
def test_posterior_equals_the_textbook(name, t):
    """Eq. 7 written out, for the neighbouring step."""
    schedule = schedule_of(name)
    bar_t, bar_s = schedule.alpha_bar(t), schedule.alpha_bar(t - 1)
    beta = float(schedule.betas[t])
    expected = (
        math.sqrt(bar_s) * beta / (1 - bar_t),
        math.sqrt(1 - beta) * (1 - bar_s) / (1 - bar_t),
        (1 - bar_s) / (1 - bar_t) * beta,
    )
    assert posterior_coefficients(bar_t, bar_s) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("t", T_CHECKED)
def test_posterior_equals_diffusers(name, t):
    schedule = schedule_of(name)
    theirs = diffusers_scheduler(schedule, prediction_type="sample", clip_sample=False)
    x_0, x_t = normal(2, 1, 3, 3, seed=1), normal(2, 1, 3, 3, seed=2)
    c_0, c_t, variance = posterior_coefficients(schedule.alpha_bar(t), schedule.alpha_bar(t - 1))
    assert variance == pytest.approx(float(theirs._get_variance(t)), rel=1e-9)
    stepped = theirs.step(x_0, t, x_t, generator=torch.Generator().manual_seed(7)).prev_sample
    noise = normal(2, 1, 3, 3, seed=7)
    torch.testing.assert_close(
        c_0 * x_0 + c_t * x_t + math.sqrt(variance) * noise, stepped, atol=1e-10, rtol=0
    )


@settings(deadline=None)
@given(st.floats(1e-3, 0.5), st.floats(0.51, 0.99))
def test_skipping_posterior_is_bayes(bar_t, bar_s):
    """x_0 and x_s from the joint Gaussian: q(x_s) must come out of q(x_t) and the posterior."""
    c_0, c_t, variance = posterior_coefficients(bar_t, bar_s)
    assert c_0 + c_t * math.sqrt(bar_t) == pytest.approx(math.sqrt(bar_s), rel=1e-9)
    assert variance + c_t**2 * (1 - bar_t) == pytest.approx(1 - bar_s, rel=1e-9)


def test_last_step_is_the_estimate_itself():
    assert posterior_coefficients(0.9, 1.0) == (pytest.approx(1.0), 0.0, 0.0)


@settings(deadline=None)
@given(st.sampled_from(PREDICTIONS), st.floats(1e-4, 1 - 1e-4), st.integers(0, 10_000))
def test_every_parameterisation_gives_back_x0_and_eps(prediction, alpha_bar, seed):
    x_0, eps = normal(2, 3, seed=seed).clamp(-1, 1), normal(2, 3, seed=seed + 1)
    bar = torch.tensor(alpha_bar, dtype=torch.float64)
    x_t = bar.sqrt() * x_0 + (1 - bar).sqrt() * eps
    output = target(prediction, x_0, eps, bar)
    x_0_hat = x0_from(prediction, output, x_t, bar)
    torch.testing.assert_close(x_0_hat, x_0, atol=1e-9, rtol=0)
    torch.testing.assert_close(eps_from_x0(x_0_hat, x_t, alpha_bar), eps, atol=1e-8, rtol=0)


@pytest.mark.parametrize("name", SCHEDULES)
def test_v_equals_diffusers_velocity(name):
    schedule = schedule_of(name)
    x_0, eps = normal(4, 1, 2, 2, seed=1), normal(4, 1, 2, 2, seed=2)
    t = torch.tensor([0, 10, 500, 999])
    bar = schedule.alpha_bars[t].view(-1, 1, 1, 1)
    theirs = diffusers_scheduler(schedule).get_velocity(x_0, eps, t)
    torch.testing.assert_close(target("v", x_0, eps, bar), theirs, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("prediction", "diffusers_name"),
    [("eps", "epsilon"), ("v", "v_prediction"), ("x0", "sample")],
)
@pytest.mark.parametrize("name", SCHEDULES)
def test_x0_estimate_equals_diffusers(name, prediction, diffusers_name):
    schedule = schedule_of(name)
    scheduler = diffusers_scheduler(schedule, prediction_type=diffusers_name, clip_sample=False)
    output, x_t = normal(2, 1, 3, 3, seed=1), normal(2, 1, 3, 3, seed=2)
    ours = x0_from(prediction, output, x_t, schedule.alpha_bars[300])
    theirs = scheduler.step(output, 300, x_t).pred_original_sample
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)
