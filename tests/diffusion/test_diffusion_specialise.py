"""Specialists: a copy that learns, a base that stays, a judge that asks held-out images."""

import copy

import numpy as np
import pytest
import torch

from synthaug.diffusion.batches import TrainingOptions
from synthaug.diffusion.specialise import judge_specialist
from synthaug.diffusion.training import denoising_losses, make_ema, train_denoiser

OPTIONS = TrainingOptions(batch_size=16, learning_rate=1e-3, warmup_steps=2, ema_decay=0.8)


@pytest.fixture
def bright(dark_and_bright):
    images, labels = dark_and_bright
    return images[labels == 1], labels[labels == 1]


def test_base_is_left_alone(tiny, bright, specialised, weights_of, same_weights):
    base = tiny()
    before = weights_of(base)
    specialist = specialised(base, *bright, steps=5, seed=0, options=OPTIONS)
    assert same_weights(before, weights_of(base))
    assert not same_weights(before, weights_of(specialist))
    assert specialist.network is not base.network


def test_weights_are_the_running_average(tiny, bright, specialised):
    base = tiny()
    specialist = specialised(base, *bright, steps=5, seed=3, options=OPTIONS)
    by_hand = copy.deepcopy(base)
    ema = make_ema(by_hand, OPTIONS.ema_decay)
    for _ in train_denoiser(by_hand, ema, *bright, steps=5, seed=3, options=OPTIONS):
        pass
    for got, average, last in zip(
        specialist.network.parameters(), ema.shadow_params, by_hand.network.parameters(),
        strict=True,
    ):  # fmt: skip
        assert torch.equal(got, average)
        assert not torch.equal(got, last)


def test_better_specialist_is_kept(tiny, trained, bright):
    held_out = bright[0][:4], bright[1][:4]
    verdict = judge_specialist(tiny(), trained.denoiser, *held_out)
    assert verdict.kept
    assert verdict.n_held_out == 4
    assert verdict.specialist_loss < verdict.base_loss
    assert f"{verdict.base_loss:.4f}" in verdict.reason
    assert "4 images" in verdict.reason
    own = denoising_losses(trained.denoiser, *held_out, draws=256).mean()
    assert verdict.specialist_loss == pytest.approx(own)


def test_worse_or_equal_specialist_is_not_kept(tiny, trained, bright):
    held_out = bright[0][:1], bright[1][:1]
    worse = judge_specialist(trained.denoiser, tiny(), *held_out)
    assert not worse.kept
    assert worse.specialist_loss > worse.base_loss
    assert "1 image)" in worse.reason
    equal = judge_specialist(trained.denoiser, copy.deepcopy(trained.denoiser), *held_out)
    assert not equal.kept
    assert equal.specialist_loss == equal.base_loss


def test_nothing_to_judge_by_keeps_the_base(tiny, trained):
    nothing = np.zeros((0, 1, 8, 8), np.uint8), np.zeros(0, np.int64)
    verdict = judge_specialist(tiny(), trained.denoiser, *nothing)
    assert (verdict.kept, verdict.n_held_out) == (False, 0)
    assert verdict.base_loss is verdict.specialist_loss is None
    assert "no held-out images" in verdict.reason
