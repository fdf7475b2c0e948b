"""Losses: each weight is the KL divergence it stands for, each gradient goes where it should."""

import math
from dataclasses import replace

import pytest
import torch
from diffusers import DDPMScheduler
from torch.distributions import Normal, kl_divergence

from synthaug.diffusion.batches import TrainingOptions
from synthaug.diffusion.bound import (
    decoder_nats,
    fixed_log_variance,
    learned_log_variance,
    log_variance_range,
    posterior_tables,
    term_nats,
)
from synthaug.diffusion.generation import generate_images
from synthaug.diffusion.objective import HYBRID_LAMBDA, Objective
from synthaug.diffusion.process import at, posterior_coefficients, q_sample, target, x0_from
from synthaug.diffusion.samplers import sample_ddpm, sample_ddpm_learned, spaced_timesteps
from synthaug.diffusion.schedule import cosine_schedule, linear_schedule, make_schedule
from synthaug.diffusion.training import make_ema, train_denoiser

PREDICTIONS = ("eps", "v", "x0")
SCHEDULES = {
    "linear": linear_schedule(),
    "cosine": cosine_schedule(),
    "given": make_schedule([0.02 + 0.015 * math.sin(t) for t in range(200)]),
}


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def images(n, seed=0):
    """Grey levels of 256 as float64 [n, 2, 3, 3] in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 2, 3, 3), generator=generator).double() / 127.5 - 1


def direct_kl(schedule, t, x_0, x_0_hat, x_t, sigma):
    """The KL divergence of both Gaussians with their means written out, summed over an image."""
    c_0, c_t, variance = posterior_coefficients(schedule.alpha_bar(t), schedule.alpha_bar(t - 1))
    true = Normal(c_0 * x_0 + c_t * x_t, math.sqrt(variance))
    return kl_divergence(true, Normal(c_0 * x_0_hat + c_t * x_t, sigma)).flatten(1).sum(1)


def everything_at(schedule, prediction, n_outputs=1, T=None):
    """One image at every t >= 1, what the network says of it, and the x_0 that this implies."""
    t = torch.arange(1, T or schedule.T)
    x_0, eps = images(len(t)), normal(len(t), 2, 3, 3, seed=1)
    alpha_bar = at(schedule.alpha_bars, t, x_0)
    x_t = q_sample(x_0, t, eps, schedule)
    output = target(prediction, x_0, eps, alpha_bar) + 0.1 * normal(len(t), 2, 3, 3, seed=2)
    return t, x_0, eps, x_t, output, x0_from(prediction, output, x_t, alpha_bar)


# The bound --------------------------------------------------------------------------------------


@pytest.mark.parametrize("variance", ["beta_tilde", "beta"])
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_bound_is_the_kl_divergence_at_every_t(name, prediction, variance):
    schedule = SCHEDULES[name]
    t, x_0, eps, x_t, output, x_0_hat = everything_at(schedule, prediction)
    loss = Objective(prediction, "bound", variance).losses(output, None, x_0, eps, t, schedule)
    nats = loss / schedule.T * math.log(2) * 18
    least, most = log_variance_range(schedule)
    sigmas = (0.5 * (least if variance == "beta_tilde" else most)).exp()
    expected = torch.cat([
        direct_kl(schedule, int(i), x_0[k : k + 1], x_0_hat[k : k + 1], x_t[k : k + 1], sigmas[i])
        for k, i in enumerate(t)
    ])  # fmt: skip
    torch.testing.assert_close(nats, expected, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("name", SCHEDULES)
def test_eps_weight_is_that_of_the_paper(name):
    """beta^2 / (2 sigma^2 alpha (1 - alpha_bar)), Eq. 12, for both variances."""
    s = SCHEDULES[name]
    for variance in ("beta_tilde", "beta"):
        sigma2 = fixed_log_variance(s, variance).exp()
        expected = s.betas**2 / (2 * sigma2 * s.alphas * (1 - s.alpha_bars))
        got = Objective("eps", "bound", variance).error_weights(s)
        torch.testing.assert_close(got[1:], expected[1:], atol=0, rtol=1e-9)


@pytest.mark.parametrize("weighting", ["bound", "min_snr"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_weights_of_one_error_agree_in_all_three_words(name, weighting):
    """The same x_0_hat told as eps, v or x_0 costs the same, and so does its gradient."""
    schedule = SCHEDULES[name]
    t, x_0, eps, x_t, _, x_0_hat = everything_at(schedule, "v")
    alpha_bar = at(schedule.alpha_bars, t, x_0)
    values, gradients = [], []
    for prediction in PREDICTIONS:
        guess = x_0_hat.clone().requires_grad_()
        guess_eps = (x_t - alpha_bar.sqrt() * guess) / (1 - alpha_bar).sqrt()
        output = target(prediction, guess, guess_eps, alpha_bar)
        loss = Objective(prediction, weighting).losses(output, None, x_0, eps, t, schedule)
        values.append(loss.detach())
        gradients.append(torch.autograd.grad(loss.sum(), guess)[0])
    for part in (values, gradients):
        torch.testing.assert_close(part[0], part[2], atol=1e-9, rtol=1e-6)
        torch.testing.assert_close(part[1], part[2], atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_gradient_of_the_bound_is_that_of_the_direct_kl(prediction):
    schedule = cosine_schedule(60)
    t, x_0, eps, x_t, output, _ = everything_at(schedule, prediction)
    ours, theirs = output.clone().requires_grad_(), output.clone().requires_grad_()
    loss = Objective(prediction, "bound").losses(ours, None, x_0, eps, t, schedule)
    (loss.sum() / schedule.T * math.log(2) * 18).backward()
    x_0_hat = x0_from(prediction, theirs, x_t, at(schedule.alpha_bars, t, x_0))
    sigmas = (0.5 * log_variance_range(schedule)[0]).exp()
    for k, i in enumerate(t):
        row = slice(k, k + 1)
        direct_kl(schedule, int(i), x_0[row], x_0_hat[row], x_t[row], sigmas[i]).sum().backward(
            retain_graph=True
        )
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_bound_at_zero_is_the_decoder(prediction):
    schedule = linear_schedule()
    t, x_0, eps = torch.zeros(2, dtype=torch.int64), images(2), normal(2, 2, 3, 3, seed=1)
    alpha_bar = at(schedule.alpha_bars, t, x_0)
    output = target(prediction, x_0, eps, alpha_bar) + 0.01
    mean = x0_from(prediction, output, q_sample(x_0, t, eps, schedule), alpha_bar)
    loss = Objective(prediction, "bound").losses(output, None, x_0, eps, t, schedule)
    expected = decoder_nats(x_0, mean, log_variance_range(schedule)[0][0].expand_as(x_0))
    torch.testing.assert_close(loss / 1000 * math.log(2) * 18, expected, atol=1e-9, rtol=1e-9)


def test_a_wrong_posterior_would_be_caught():
    """The planted fault of an off-by-one t moves the weights far beyond the tolerance."""
    weights = Objective("eps", "bound").error_weights(linear_schedule())
    assert float((weights[2:] / weights[1:-1] - 1).abs().max()) > 1e-2


@pytest.mark.parametrize("weighting", ["simple", "bound", "min_snr"])
@pytest.mark.parametrize("variance", ["beta_tilde", "beta", "learned"])
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_loss_and_gradient_is_finite_in_float32(name, prediction, variance, weighting):
    """Down to t = 0, where beta_tilde is 0, and to cosine's last t, where alpha_bar is."""
    schedule = SCHEDULES[name]
    t = torch.tensor([0, 1, schedule.T // 2, schedule.T - 2, schedule.T - 1])
    x_0, eps = images(5).float(), normal(5, 2, 3, 3).float()
    output = torch.zeros_like(x_0).requires_grad_()
    fraction = torch.full_like(x_0, 0.5).requires_grad_()
    loss = Objective(prediction, weighting, variance).losses(
        output, fraction if variance == "learned" else None, x_0, eps, t, schedule
    )
    loss.sum().backward()
    assert loss.dtype == torch.float32 and loss.shape == (5,)
    assert bool(torch.isfinite(loss).all()) and bool(torch.isfinite(output.grad).all())
    if variance == "learned":
        assert bool(torch.isfinite(fraction.grad).all())


# Decoder ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.004, 0.05, 2.0])
@pytest.mark.parametrize("mean", [-1.2, -0.3, 0.999])
def test_decoder_is_a_distribution_over_grey_levels(mean, sigma):
    levels = (torch.arange(256).double() / 127.5 - 1).view(256, 1, 1, 1)
    log_v = torch.full_like(levels, 2 * math.log(sigma))
    p = (-decoder_nats(levels, torch.full_like(levels, mean), log_v)).exp()
    assert float(p.sum()) == pytest.approx(1, abs=1e-9)
    half = torch.tensor(1 / 255, dtype=torch.float64)
    inner = Normal(*torch.tensor([mean, sigma], dtype=torch.float64))
    by_hand = inner.cdf(levels + half) - inner.cdf(levels - half)
    torch.testing.assert_close(p[1:-1], by_hand.flatten()[1:-1], atol=1e-12, rtol=1e-6)


def test_decoder_far_out_is_finite_and_grows():
    """Where both ends of a bin have probability 0 in any format, the log is still a number."""
    x = torch.zeros(3, 1, 1, 1)
    mean = torch.tensor([0.1, 0.5, 0.9]).view(3, 1, 1, 1).requires_grad_()
    nats = decoder_nats(x, mean, torch.full_like(x, math.log(1e-6)))
    nats.sum().backward()
    expected = 0.5 * (mean.detach().flatten() - 1 / 255) ** 2 / 1e-6
    torch.testing.assert_close(nats.detach(), expected, atol=0, rtol=0.01)
    torch.testing.assert_close(
        mean.grad.flatten(), (mean.detach().flatten() - 1 / 255) / 1e-6, atol=0, rtol=0.01
    )


# min-SNR ----------------------------------------------------------------------------------------


def test_min_snr_in_each_prediction():
    """Hang et al. (2023): min(SNR, g) for x_0, that over SNR for eps, over SNR + 1 for v."""
    schedule, gamma = linear_schedule(), 5.0
    snr = schedule.snr
    expected = {
        "x0": snr.clamp(max=gamma),
        "eps": (gamma / snr).clamp(max=1),
        "v": snr.clamp(max=gamma) / (snr + 1),
    }
    for prediction, weights in expected.items():
        got = Objective(prediction, "min_snr", min_snr_gamma=gamma).error_weights(schedule)
        torch.testing.assert_close(got, weights, atol=0, rtol=1e-12)
    assert float(snr.max()) > gamma > float(snr.min())


def test_simple_is_the_plain_mean_square():
    output, eps, x_0 = normal(3, 2, 3, 3, seed=4), normal(3, 2, 3, 3, seed=5), images(3)
    loss = Objective("eps").losses(
        output, None, x_0, eps, torch.tensor([0, 5, 99]), SCHEDULES["linear"]
    )
    torch.testing.assert_close(loss, (output - eps).square().mean(dim=(1, 2, 3)))


# Learned variances ------------------------------------------------------------------------------


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_learned_bound_is_the_kl_divergence(prediction):
    schedule = linear_schedule(120)
    t, x_0, eps, x_t, output, x_0_hat = everything_at(schedule, prediction)
    fraction = torch.rand(x_0.shape, generator=torch.Generator().manual_seed(3)).double()
    loss = Objective(prediction, "bound", "learned").losses(output, fraction, x_0, eps, t, schedule)
    for k in (0, 1, 60, 118):
        i, row = int(t[k]), slice(k, k + 1)
        variance = posterior_tables(schedule)[2][i]
        sigma2 = schedule.betas[i] ** fraction[row] * variance ** (1 - fraction[row])
        expected = direct_kl(schedule, i, x_0[row], x_0_hat[row], x_t[row], sigma2.sqrt())
        got = loss[row] / schedule.T * math.log(2) * 18
        torch.testing.assert_close(got, expected, atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize(("fraction", "variance"), [(0.0, "beta_tilde"), (1.0, "beta")])
def test_the_ends_of_a_learned_variance_are_the_fixed_ones(fraction, variance):
    schedule = cosine_schedule()
    t, x_0, eps, _, output, _ = everything_at(schedule, "v")
    learned = Objective("v", "bound", "learned").losses(
        output, torch.full_like(x_0, fraction), x_0, eps, t, schedule
    )
    fixed = Objective("v", "bound", variance).losses(output, None, x_0, eps, t, schedule)
    torch.testing.assert_close(learned, fixed, atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize("weighting", ["simple", "min_snr"])
def test_hybrid_bound_teaches_the_variance_and_not_the_mean(weighting):
    schedule = linear_schedule(50)
    t, x_0, eps, _, output, x_0_hat = everything_at(schedule, "eps")
    gradients = {}
    for variance in ("beta_tilde", "learned"):
        out = output.clone().requires_grad_()
        fraction = torch.full_like(x_0, 0.3).requires_grad_()
        given = fraction if variance == "learned" else None
        loss = Objective("eps", weighting, variance).losses(out, given, x_0, eps, t, schedule)
        loss.sum().backward()
        gradients[variance] = out.grad
    assert torch.equal(gradients["learned"], gradients["beta_tilde"])
    held = torch.full_like(x_0, 0.3).requires_grad_()
    log_variance = learned_log_variance(held, t, schedule)
    nats = term_nats(x_0, x_0_hat, t, schedule, log_variance)
    (HYBRID_LAMBDA * 50 * nats.sum() / (math.log(2) * 18)).backward()
    torch.testing.assert_close(fraction.grad, held.grad, atol=1e-12, rtol=1e-9)
    assert float(held.grad.abs().max()) > 0


def test_learned_variance_is_best_where_the_error_is_as_large_as_it():
    """Minimising over v finds sigma^2 = beta_tilde + c_0^2 error^2, here with v = 0.6 by design."""
    schedule, t = linear_schedule(100), torch.tensor([40])
    x_0 = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    c_0, _, beta_tilde = (table[40] for table in posterior_tables(schedule))
    beta = schedule.betas[40]
    wanted = beta_tilde**0.4 * beta**0.6
    x_0_hat = ((wanted - beta_tilde) / c_0**2).sqrt().view(1, 1, 1, 1)
    v = torch.linspace(0, 1, 1001).double().view(-1, 1, 1, 1)
    log_variance = learned_log_variance(v, t.expand(1001), schedule)
    nats = term_nats(
        x_0.expand(1001, 1, 1, 1), x_0_hat.expand(1001, 1, 1, 1), t.expand(1001), schedule,
        log_variance,
    )  # fmt: skip
    assert float(v.flatten()[nats.argmin()]) == pytest.approx(0.6, abs=0.0015)


@pytest.mark.parametrize("steps", [10, 1000])
def test_learned_sampling_equals_diffusers(steps):
    """diffusers' learned_range with the same noise; it adds none at t = 0, as Algorithm 2."""
    schedule = linear_schedule()
    scheduler = DDPMScheduler(
        beta_schedule="linear", prediction_type="sample", variance_type="learned_range",
        timestep_spacing="trailing", clip_sample=True,
    )  # fmt: skip
    scheduler.alphas_cumprod = schedule.alpha_bars
    scheduler.one = torch.tensor(1.0, dtype=torch.float64)
    scheduler.set_timesteps(steps)
    timesteps = spaced_timesteps(1000, steps)
    assert scheduler.timesteps.tolist() == timesteps

    def both(x, t):
        return 1.6 * torch.sin(2 * x) + 0.3 * t / 1000, 0.5 + 0.5 * torch.cos(3 * x)

    ours, theirs = (torch.Generator().manual_seed(steps) for _ in range(2))
    x_T = normal(2, 3, 4, 4, seed=9)
    got = sample_ddpm_learned(
        both, x_T, schedule, timesteps,
        lambda: torch.randn(x_T.shape, generator=ours, dtype=torch.float64),
    )  # fmt: skip
    x = x_T
    for t in timesteps:
        x_0_hat, fraction = both(x, t)
        raw = torch.cat([x_0_hat, 2 * fraction - 1], dim=1)
        step = scheduler.step(raw, t, x, generator=theirs)
        x = step.prev_sample if t != timesteps[-1] else step.pred_original_sample
    torch.testing.assert_close(got, x, atol=1e-8, rtol=0)


@pytest.mark.parametrize(("fraction", "variance"), [(0.0, "beta_tilde"), (1.0, "beta")])
def test_learned_sampling_at_its_ends_is_fixed_sampling(fraction, variance):
    schedule, x_T = cosine_schedule(), normal(2, 1, 4, 4)
    pair = []
    for learned in (True, False):
        generator = torch.Generator().manual_seed(1)

        def noise(generator=generator):
            return torch.randn(x_T.shape, generator=generator, dtype=torch.float64)

        timesteps = spaced_timesteps(1000, 20)
        if learned:
            pair.append(
                sample_ddpm_learned(
                    lambda x, t: (0.5 * x.tanh(), torch.full_like(x, fraction)),
                    x_T,
                    schedule,
                    timesteps,
                    noise,
                )
            )
        else:
            pair.append(
                sample_ddpm(
                    lambda x, t: 0.5 * x.tanh(), x_T, schedule, timesteps, noise, variance=variance
                )
            )
    torch.testing.assert_close(*pair, atol=1e-10, rtol=0)


def held_out_bound(denoiser, data, fraction=None):
    """Mean of the bound's trained terms in bits/dim over all t of a short schedule."""
    x_0 = torch.from_numpy(data[0][::8]).float() / 127.5 - 1
    y = torch.from_numpy(data[1][::8])
    objective = Objective(denoiser.prediction, "bound", denoiser.variance)
    total = []
    with torch.no_grad():
        for t in range(denoiser.schedule.T):
            times = torch.full((len(x_0),), t)
            eps = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(t))
            x_t = q_sample(x_0, times, eps, denoiser.schedule)
            output, learned = denoiser.predict_both(x_t, times, y)
            used = learned if fraction is None else torch.full_like(x_0, fraction)
            losses = objective.losses(output, used, x_0, eps, times, denoiser.schedule)
            total.append(float(losses.mean()))
    return sum(total) / denoiser.schedule.T


@pytest.mark.slow
def test_training_a_learned_variance_improves_the_bound(tiny, dark_and_bright):
    """With the same means, the learned variances beat both ends and the untrained middle."""
    denoiser = tiny(schedule=cosine_schedule(20), variance="learned")
    options = TrainingOptions(batch_size=32, learning_rate=3e-3, warmup_steps=10)
    stats = list(
        train_denoiser(
            denoiser, make_ema(denoiser, 0.9), *dark_and_bright, steps=250, seed=0, options=options
        )
    )
    assert stats[-1].loss < stats[0].loss
    learned = held_out_bound(denoiser, dark_and_bright)
    assert (
        learned < min(held_out_bound(denoiser, dark_and_bright, f) for f in (0.0, 0.5, 1.0)) - 0.01
    )
    batch = next(
        generate_images(
            denoiser, dark_and_bright[1][[0, 127]], dark_and_bright[1][[0, 127]] + 5,
            sampler="ddpm", steps=20, cfg_scale=2.0,
        )
    )  # fmt: skip
    assert batch.finite.all()


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["bound", "min_snr"])
def test_training_with_other_losses_learns_and_reports_the_plain_error(tiny, dark_and_bright, loss):
    """The first loss told is the same as with `simple`: nothing has been learned yet."""
    options = TrainingOptions(batch_size=32, learning_rate=2e-3, warmup_steps=10)
    first = {}
    for name, steps in (("simple", 1), (loss, 60)):
        denoiser = tiny(schedule=cosine_schedule(50))
        ema = make_ema(denoiser, 0.9)
        named = replace(options, loss=name)
        stats = list(
            train_denoiser(denoiser, ema, *dark_and_bright, steps=steps, seed=0, options=named)
        )
        first[name] = stats[0].loss
    assert first[loss] == first["simple"]
    assert sum(s.loss for s in stats[-10:]) < 0.8 * sum(s.loss for s in stats[:10])
