"""On the way: x_t of real images, and the estimates while an image is drawn."""

import numpy as np
import pytest
import torch

from synthaug.diffusion.denoiser import to_model_range, to_uint8
from synthaug.diffusion.generation import generate_images
from synthaug.diffusion.noise import ImageNoise, image_seeds
from synthaug.diffusion.samplers import SAMPLERS
from synthaug.diffusion.schedule import cosine_schedule
from synthaug.diffusion.trajectory import forward_images, progressive_estimates, record
from synthaug.errors import UsageError

SEEDS = image_seeds(0, 0, 0, 4)
LABELS = np.array([0, 1, 1, 0], dtype=np.int64)


def test_forward_images_are_eq_4_with_one_noise(dark_and_bright):
    images, schedule = dark_and_bright[0][:4], cosine_schedule()
    noised = forward_images(images, SEEDS, [0, 300, 999], schedule)
    assert noised.shape == (3, 4, 1, 8, 8) and noised.dtype == np.uint8
    eps = ImageNoise(SEEDS, (1, 8, 8), torch.device("cpu"))()
    x_0 = to_model_range(torch.tensor(images))
    for t, got in zip((0, 300, 999), noised, strict=True):
        a = schedule.alpha_bar(t)
        expected = to_uint8(a**0.5 * x_0 + (1 - a) ** 0.5 * eps).numpy()
        assert np.abs(got.astype(int) - expected).max() <= 1
    assert np.abs(noised[0].astype(int) - images).max() < 10


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("cfg_scale", [1.0, 2.0])
def test_the_samples_are_those_of_generate_images(trained, name, cfg_scale):
    options = {"sampler": name, "steps": 6, "cfg_scale": cfg_scale}
    estimates = progressive_estimates(trained.denoiser, LABELS, SEEDS, **options)
    (batch,) = generate_images(trained.denoiser, LABELS, SEEDS, **options)
    np.testing.assert_array_equal(estimates.samples, batch.images)
    assert estimates.timesteps == [999, 832, 666, 499, 332, 166]
    assert estimates.x_0_hat.shape == (6, 4, 1, 8, 8)


@pytest.mark.parametrize(
    ("variance", "options"),
    [
        ("beta_tilde", {"sampler": "ddim", "eta": 0.7}),
        ("beta", {"sampler": "ddpm"}),
        ("learned", {"sampler": "ddpm"}),
    ],
)
def test_the_samples_take_the_noise_that_generate_images_takes(tiny, variance, options):
    denoiser = tiny(variance=variance)
    estimates = progressive_estimates(denoiser, LABELS, SEEDS, steps=6, **options)
    (batch,) = generate_images(denoiser, LABELS, SEEDS, steps=6, **options)
    np.testing.assert_array_equal(estimates.samples, batch.images)
    (plain,) = generate_images(tiny(), LABELS, SEEDS, steps=6, sampler=options["sampler"])
    assert (plain.images != batch.images).any()


def test_the_first_estimate_is_the_network_s_at_pure_noise_and_the_last_is_the_sample(trained):
    estimates = progressive_estimates(trained.denoiser, LABELS, SEEDS, steps=5)
    x_T = ImageNoise(SEEDS, (1, 8, 8), torch.device("cpu"))()
    with torch.inference_mode():
        first = trained.denoiser.denoise(x_T, 999, torch.from_numpy(LABELS))
    np.testing.assert_array_equal(estimates.x_0_hat[0], to_uint8(first).numpy())
    np.testing.assert_array_equal(estimates.x_0_hat[-1], estimates.samples)


def test_recording_changes_nothing_and_keeps_the_last_answer():
    seen: dict[int, torch.Tensor] = {}
    recorded = record(lambda x, t: 2 * x, seen)
    assert torch.equal(recorded(torch.ones(2), 7), 2 * torch.ones(2))
    recorded(torch.zeros(2), 3)
    recorded(3 * torch.ones(2), 7)  # a corrector asks again
    assert list(seen) == [7, 3]
    assert torch.equal(seen[7], 6 * torch.ones(2))


def test_unknown_sampler(trained):
    with pytest.raises(UsageError, match="'euler'"):
        progressive_estimates(trained.denoiser, LABELS, SEEDS, sampler="euler")
