"""Noise schedules against diffusers and against their own definitions."""

import math

import pytest
import torch
from diffusers import DDPMScheduler

from synthaug.diffusion.schedule import SCHEDULES, NoiseSchedule, make_schedule
from synthaug.errors import UsageError

DIFFUSERS_NAMES = {"linear": "linear", "cosine": "squaredcos_cap_v2"}


@pytest.mark.parametrize("T", [50, 1000])
@pytest.mark.parametrize("name", SCHEDULES)
def test_equals_diffusers(name, T):
    ours = make_schedule(name, T)
    theirs = DDPMScheduler(num_train_timesteps=T, beta_schedule=DIFFUSERS_NAMES[name])
    assert (ours.name, ours.T, ours.betas.dtype) == (name, T, torch.float64)
    torch.testing.assert_close(ours.betas.float(), theirs.betas, atol=1e-6, rtol=0)
    torch.testing.assert_close(ours.alpha_bars.float(), theirs.alphas_cumprod, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", SCHEDULES)
def test_alpha_bar_is_the_running_product(name):
    schedule = make_schedule(name)
    assert schedule.alpha_bar(-1) == 1.0
    assert schedule.alpha_bar(0) == pytest.approx(1 - float(schedule.betas[0]), abs=1e-15)
    product = math.prod(1 - float(beta) for beta in schedule.betas[:501])
    assert schedule.alpha_bar(500) == pytest.approx(product, rel=1e-12)
    assert bool((schedule.alpha_bars.diff() < 0).all())


@pytest.mark.parametrize("name", SCHEDULES)
def test_noise_is_almost_all_that_is_left_at_the_end(name):
    assert make_schedule(name).alpha_bar(999) < 1e-4


def test_linear_ends_are_those_of_the_paper():
    betas = make_schedule("linear").betas
    assert (float(betas[0]), float(betas[-1])) == pytest.approx((1e-4, 0.02), abs=1e-12)


@pytest.mark.parametrize(
    "betas", [[0.0, 0.1], [0.1, 1.0], [-0.1, 0.5], [0.1, float("nan")], [[0.1, 0.2]]]
)
def test_impossible_betas(betas):
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        NoiseSchedule("own", torch.tensor(betas, dtype=torch.float64))


def test_given_betas_are_the_schedule_and_their_number_is_T():
    betas = [0.5, 0.1, 0.3]
    for schedule in (make_schedule(betas), make_schedule(tuple(betas), 3)):
        assert (schedule.name, schedule.T, schedule.betas.tolist()) == ("given", 3, betas)
        assert schedule.alpha_bar(2) == pytest.approx(0.5 * 0.9 * 0.7)


def test_given_betas_equal_diffusers():
    betas = [0.02 + 0.01 * math.sin(t) for t in range(40)]
    theirs = DDPMScheduler(num_train_timesteps=40, trained_betas=betas)
    torch.testing.assert_close(
        make_schedule(betas).alpha_bars.float(), theirs.alphas_cumprod, atol=1e-6, rtol=0
    )


def test_a_T_that_contradicts_the_given_betas_is_told_with_both_numbers():
    with pytest.raises(UsageError, match=r"T = 1000 beside a schedule of 2 betas; leave T out"):
        make_schedule([0.1, 0.2], 1000)


@pytest.mark.parametrize("betas", [[], [0.1, 1.0], [0.0]])
def test_given_betas_that_are_impossible_are_a_user_fault(betas):
    with pytest.raises(UsageError, match="strictly between 0 and 1"):
        make_schedule(betas)


def test_betas_that_leave_nothing_are_a_user_fault():
    for schedule, ends in (([0.9] * 400, {}), ("linear", {"beta_end": 0.9})):
        with pytest.raises(UsageError, match="smaller ones, or fewer"):
            make_schedule(schedule, **ends)


def test_ends_of_the_linear_schedule_can_be_chosen():
    schedule = make_schedule("linear", 11, beta_start=0.1, beta_end=0.2)
    assert schedule.betas.tolist() == pytest.approx([0.1 + 0.01 * i for i in range(11)])
    constant = make_schedule("linear", 5, beta_start=0.25, beta_end=0.25)
    assert constant.betas.tolist() == [0.25] * 5


@pytest.mark.parametrize("name", SCHEDULES)
def test_snr_is_signal_over_noise_and_falls(name):
    schedule = make_schedule(name)
    for t in (0, 10, 999):
        bar = schedule.alpha_bar(t)
        assert float(schedule.snr[t]) == pytest.approx(bar / (1 - bar), rel=1e-12)
    assert bool((schedule.snr.diff() < 0).all())


def test_unknown_name():
    with pytest.raises(UsageError, match=r"'sigmoid'.*linear or cosine"):
        make_schedule("sigmoid")
