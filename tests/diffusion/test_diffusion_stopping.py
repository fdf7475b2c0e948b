"""Early stopping: the best averaged weights are kept, and training ends when they stay the best."""

import numpy as np
import torch

from synthaug.diffusion.stopping import MAX_PER_CLASS, HeldOutWatch
from synthaug.diffusion.training import denoising_losses, make_ema


def ruin(denoiser, by):
    with torch.no_grad():
        for p in denoiser.network.parameters():
            p.add_(by * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))


def test_the_best_weights_come_back(trained, tiny, dark_and_bright, weights_of, same_weights):
    images, labels = dark_and_bright
    denoiser = tiny()
    denoiser.network.load_state_dict(trained.denoiser.network.state_dict())
    best = weights_of(denoiser)
    watch = HeldOutWatch(images[:40], labels[:40], every=10, patience=2)
    assert watch.due(20) and not watch.due(25)
    good = watch.check(denoiser, make_ema(denoiser, 0.9), 10)
    ruin(denoiser, 0.05)
    for step in (20, 30):
        assert not watch.exhausted
        assert watch.check(denoiser, make_ema(denoiser, 0.9), step) > good
    assert watch.exhausted
    assert (watch.best_step, watch.best_loss) == (10, good)
    assert not same_weights(best, weights_of(denoiser))
    watch.restore_best(denoiser)
    assert same_weights(best, weights_of(denoiser))


def test_a_check_judges_the_average_and_leaves_training_as_it_was(
    tiny, dark_and_bright, weights_of, same_weights
):
    images, labels = dark_and_bright
    denoiser = tiny()
    ema = make_ema(denoiser, 0.9)
    ruin(denoiser, 0.05)
    before = weights_of(denoiser)
    denoiser.network.train()
    loss = HeldOutWatch(images, labels, every=1, patience=1).check(denoiser, ema, 1)
    assert denoiser.network.training
    assert same_weights(before, weights_of(denoiser))
    unspoilt = HeldOutWatch(images, labels, every=1, patience=1)
    assert loss == unspoilt.check(tiny(), make_ema(tiny(), 0.9), 1)


def test_a_small_class_counts_as_much_as_a_large_one(trained, dark_and_bright):
    images, labels = dark_and_bright
    some = np.concatenate([np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)[:2]])
    watch = HeldOutWatch(images[some], labels[some], every=1, patience=1)
    assert np.bincount(watch.labels).tolist() == [MAX_PER_CLASS, 2]
    loss = watch.check(trained.denoiser, make_ema(trained.denoiser, 0.9), 1)
    each = denoising_losses(trained.denoiser, watch.images, watch.labels, draws=16)
    expected = (each[watch.labels == 0].mean() + each[watch.labels == 1].mean()) / 2
    assert loss == float(expected)
