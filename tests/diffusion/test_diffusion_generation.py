"""Drawing images: one seed, one image; bad numbers are reported, bad requests refused."""

import math

import numpy as np
import pytest
import torch

from synthaug.diffusion.generation import check_sampling, generate_images
from synthaug.diffusion.noise import image_seeds
from synthaug.diffusion.samplers import SAMPLERS
from synthaug.errors import UsageError

LABELS = np.array([0, 1, 1, 0, 1, 0, 0], dtype=np.int64)
SEEDS = image_seeds(0, 0, 0, 7)


def pixels(denoiser, labels=LABELS, seeds=SEEDS, **options):
    batches = list(generate_images(denoiser, labels, seeds, **{"steps": 6, **options}))
    return np.concatenate([b.images for b in batches])


@pytest.mark.parametrize("name", SAMPLERS)
def test_same_seeds_same_pixels(trained, name):
    first = pixels(trained.denoiser, sampler=name)
    torch.rand(3)
    np.testing.assert_array_equal(first, pixels(trained.denoiser, sampler=name))
    assert first.dtype == np.uint8
    assert first.shape == (7, 1, 8, 8)
    assert len(np.unique(first.reshape(7, -1), axis=0)) == 7


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_row_97_batch_size_changes_no_more_than_one_grey_level(trained, name, batch_size):
    together = pixels(trained.denoiser, sampler=name).astype(int)
    apart = pixels(trained.denoiser, sampler=name, batch_size=batch_size)
    assert np.abs(together - apart).max() <= 1


def test_an_image_is_a_function_of_its_seed_not_of_its_place(trained):
    backwards = pixels(trained.denoiser, LABELS[::-1].copy(), SEEDS[::-1].copy())[::-1]
    assert np.abs(pixels(trained.denoiser).astype(int) - backwards).max() <= 1


def test_batches_come_in_order_and_whole(trained):
    batches = list(generate_images(trained.denoiser, LABELS, SEEDS, steps=2, batch_size=3))
    assert [len(b.images) for b in batches] == [3, 3, 1]
    np.testing.assert_array_equal(np.concatenate([b.labels for b in batches]), LABELS)
    np.testing.assert_array_equal(np.concatenate([b.seeds for b in batches]), SEEDS)
    assert all(b.finite.all() and b.finite.dtype == bool for b in batches)
    assert not list(generate_images(trained.denoiser, LABELS[:0], SEEDS[:0]))


@pytest.mark.parametrize(("cfg_scale", "nfe"), [(1.0, 4), (2.0, 8), (0.0, 8)])
def test_nfe_counts_network_evaluations(trained, monkeypatch, cfg_scale, nfe):
    network, evaluated = trained.denoiser.network, []
    forward = network.forward

    def counted(x, *args, **kwargs):
        evaluated.append(len(x))
        return forward(x, *args, **kwargs)

    monkeypatch.setattr(network, "forward", counted)
    batch = next(generate_images(trained.denoiser, LABELS, SEEDS, steps=4, cfg_scale=cfg_scale))
    assert batch.nfe == nfe == sum(evaluated) / len(LABELS)


def test_heun_counts_two_evaluations_for_all_steps_but_the_last(trained, monkeypatch):
    network, evaluated = trained.denoiser.network, []
    forward = network.forward

    def counted(x, *args, **kwargs):
        evaluated.append(len(x))
        return forward(x, *args, **kwargs)

    monkeypatch.setattr(network, "forward", counted)
    for cfg_scale in (1.0, 2.0):
        evaluated.clear()
        options = {"sampler": "heun", "steps": 4, "cfg_scale": cfg_scale}
        batch = next(generate_images(trained.denoiser, LABELS, SEEDS, **options))
        assert batch.nfe == 7 * cfg_scale == sum(evaluated) / len(LABELS)


def test_eta_adds_noise_to_ddim_and_is_refused_elsewhere(trained):
    still, noisy = pixels(trained.denoiser), pixels(trained.denoiser, eta=1.0)
    assert not np.array_equal(still, noisy)
    np.testing.assert_array_equal(noisy, pixels(trained.denoiser, eta=1.0))
    ancestral = pixels(trained.denoiser, sampler="ddpm").astype(int)
    assert np.abs(noisy - ancestral).max() <= 1  # the same chain (Song et al. 2021, Eq. 16)
    with pytest.raises(UsageError, match=r"eta 0\.5 with the sampler heun"):
        pixels(trained.denoiser, sampler="heun", eta=0.5)


@pytest.mark.parametrize("name", SAMPLERS)
def test_network_that_is_not_finite_is_reported_not_raised(tiny, name):
    denoiser = tiny()
    with torch.no_grad():
        denoiser.network.conv_out.weight.fill_(math.nan)
    batch = next(generate_images(denoiser, LABELS, SEEDS, sampler=name, steps=3))
    assert not batch.finite.any()
    assert not batch.images.any()


def test_one_bad_image_does_not_spoil_the_batch_and_is_black(trained, monkeypatch):
    """One pixel of image 2 is NaN: that image is black and flagged, the others as ever."""
    network = trained.denoiser.network
    expected = pixels(trained.denoiser, steps=1)
    forward = network.forward

    def one_bad_pixel(*args, **kwargs):
        out = forward(*args, **kwargs)
        out.sample[2, 0, 3, 3] = math.nan
        return out

    monkeypatch.setattr(network, "forward", one_bad_pixel)
    batch = next(generate_images(trained.denoiser, LABELS, SEEDS, steps=1))
    assert batch.finite.tolist() == [True, True, False, True, True, True, True]
    np.testing.assert_array_equal(batch.images[batch.finite], expected[batch.finite])
    assert not batch.images[2].any()


def test_dropout_is_off_while_sampling(tiny):
    denoiser = tiny()
    denoiser.network.train()
    next(generate_images(denoiser, LABELS[:1], SEEDS[:1], steps=1))
    assert not denoiser.network.training


@pytest.mark.parametrize(("sampler", "steps"), [("ddim", 1), ("ddpm", 1000)])
def test_ends_of_the_range_of_steps_are_allowed(sampler, steps):
    check_sampling(sampler, steps, 1000)


def test_unknown_sampler(trained):
    with pytest.raises(UsageError, match=r"'euler'.*ddpm, ddim, dpmpp_2m, heun"):
        list(generate_images(trained.denoiser, LABELS, SEEDS, sampler="euler"))


@pytest.mark.parametrize("steps", [0, -3, 1001])
def test_impossible_number_of_steps(trained, steps):
    with pytest.raises(UsageError, match=f"{steps} sampling steps.*1 to 1000"):
        list(generate_images(trained.denoiser, LABELS, SEEDS, steps=steps))
