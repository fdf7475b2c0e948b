"""Augmentation that the network is told of: exact movements, and samples that do not move."""

import math

import numpy as np
import pytest
import torch

from synthaug.diffusion.augment import (
    ROTATE_STD,
    SCALE_STD,
    SHIFT_STD,
    VECTOR_SIZE,
    apply_vectors,
    draw_vectors,
)
from synthaug.diffusion.batches import BatchDraws, TrainingOptions
from synthaug.diffusion.checkpoint import load_checkpoint, save_checkpoint
from synthaug.diffusion.training import make_ema, train_denoiser

ALL = ("shift", "scale", "rotate", "flip")


def vector(*, flip=0.0, dx=0.0, dy=0.0, scale=0.0, angle=0.0):
    """The vector of a movement: shifts in shares of the side, log2 of the scale, radians."""
    turned = ((math.cos(angle) - 1) / ROTATE_STD**2, math.sin(angle) / ROTATE_STD)
    return torch.tensor([[flip, dx / SHIFT_STD, dy / SHIFT_STD, scale / SCALE_STD, *turned]])


def noise(n=1, size=8, seed=0):
    return torch.randn(n, 2, size, size, generator=torch.Generator().manual_seed(seed))


def test_a_zero_vector_changes_no_bit():
    x = noise(4)
    assert torch.equal(apply_vectors(x, torch.zeros(4, VECTOR_SIZE)), x)
    mixed = torch.cat([torch.zeros(1, VECTOR_SIZE), vector(dx=0.25)])
    assert torch.equal(apply_vectors(x[:2], mixed)[0], x[0])


def test_flip_is_a_mirror():
    x = noise()
    assert torch.equal(apply_vectors(x, vector(flip=1.0)), x.flip(-1))


@pytest.mark.parametrize(("dx", "dy"), [(0.25, 0.0), (0.0, -0.125), (0.125, 0.25)])
def test_shift_moves_by_whole_pixels(dx, dy):
    """Where nothing enters from outside, the picture is the same, moved right and down."""
    x = noise()
    moved = apply_vectors(x, vector(dx=dx, dy=dy))
    rolled = torch.roll(x, (round(8 * dy), round(8 * dx)), dims=(-2, -1))
    inside = (slice(None), slice(None), slice(2, 6), slice(2, 6))
    torch.testing.assert_close(moved[inside], rolled[inside], atol=1e-5, rtol=0)


def test_a_quarter_turn_is_rot90():
    x = noise()
    for turns in (1, -1):
        turned = apply_vectors(x, vector(angle=turns * math.pi / 2))
        torch.testing.assert_close(turned, torch.rot90(x, -turns, dims=(-2, -1)), atol=1e-5, rtol=0)


def test_scale_enlarges():
    """Twice the size: the middle half of the picture fills the whole."""
    x = torch.zeros(1, 1, 16, 16)
    x[..., 6:10, 6:10] = 1
    large = apply_vectors(x, vector(scale=1.0))
    assert float(large.sum()) == pytest.approx(4 * 16, rel=0.05)
    assert float(large[..., 5:11, 5:11].min()) > 0.99
    assert float(large[..., :3, :].abs().max()) == 0


def test_each_is_drawn_with_its_probability_and_only_when_named():
    """10,000 vectors, p = 0.3, five standard errors; unnamed ones are zero throughout."""
    n, p = 10_000, 0.3
    v = draw_vectors(n, ALL, p, torch.Generator().manual_seed(0))
    assert v.shape == (n, VECTOR_SIZE)
    happened = (v != 0).float().mean(0)
    np.testing.assert_allclose(happened.numpy(), p, atol=5 * math.sqrt(p * (1 - p) / n))
    assert set(v[:, 0].unique().tolist()) == {0.0, 1.0}
    only = draw_vectors(n, ("rotate",), p, torch.Generator().manual_seed(0))
    assert not bool(only[:, :4].any())
    assert torch.equal(only[:, 4:], v[:, 4:])
    assert not bool(draw_vectors(n, ALL, 0.0, torch.Generator().manual_seed(0)).any())


def test_the_network_is_told_what_was_done(tiny, dark_and_bright):
    images, labels = dark_and_bright
    denoiser = tiny(vector_size=VECTOR_SIZE)
    options = TrainingOptions(batch_size=32, augment=ALL, augment_probability=0.5)
    batch = BatchDraws(denoiser, images, labels, options, 0).batch(0)
    told = denoiser.predict(batch.x_t, batch.t, batch.y, batch.vectors)
    untold = denoiser.predict(batch.x_t, batch.t, batch.y)
    moved = batch.vectors.abs().sum(1) > 0
    assert 0 < int(moved.sum()) < 32
    differs = (told - untold).abs().flatten(1).amax(1) > 1e-6
    assert torch.equal(differs, moved)


def test_a_checkpoint_remembers_the_vector(tiny, tmp_path):
    denoiser = tiny(vector_size=VECTOR_SIZE)
    save_checkpoint(tmp_path / "ckpt", denoiser, {})
    back = load_checkpoint(tmp_path / "ckpt", torch.device("cpu")).denoiser
    assert back.vector_size == VECTOR_SIZE
    x, t, y = noise()[:, :1], torch.tensor([5]), torch.tensor([1])
    torch.testing.assert_close(back.predict(x, t, y), denoiser.predict(x, t, y))


@pytest.mark.slow
def test_a_model_trained_with_flips_makes_no_flipped_digits():
    """Digits 2, 3, 5 and 7 of scikit-learn, half of them mirrored in training.

    A nearest-neighbour judge over real digits and their mirror images says for each sample whether
    it is mirrored. Real held-out digits are its null; the leaky `flip` is the planted fault.
    """
    from sklearn.datasets import load_digits
    from sklearn.neighbors import KNeighborsClassifier

    from synthaug.diffusion.generation import generate_images
    from synthaug.diffusion.noise import image_seeds
    from synthaug.diffusion.schedule import cosine_schedule
    from synthaug.diffusion.unet import NetworkSpec, build_denoiser

    bunch = load_digits()
    chosen = np.isin(bunch.target, [2, 3, 5, 7])
    images = (bunch.images[chosen] / 16 * 255).round().astype(np.uint8)[:, None]
    labels = np.unique(bunch.target[chosen], return_inverse=True)[1].astype(np.int64)
    held_out = np.arange(len(images)) % 4 == 0
    learn, null = images[~held_out], images[held_out]
    both = np.concatenate([learn, learn[..., ::-1]]).reshape(2 * len(learn), -1)
    judge = KNeighborsClassifier(3).fit(both, np.repeat([0, 1], len(learn)))

    def mirrored(pictures):
        return float(judge.predict(pictures.reshape(len(pictures), -1)).mean())

    def share(**options):
        vector_size = VECTOR_SIZE if "augment" in options else 0
        denoiser = build_denoiser(
            NetworkSpec((32, 64), 1, 1, (False, False)), image_size=8, channels=1, n_classes=4,
            schedule=cosine_schedule(), prediction="v", seed=0, device=torch.device("cpu"),
            vector_size=vector_size,
        )  # fmt: skip
        ema = make_ema(denoiser, 0.99)
        for _ in train_denoiser(
            denoiser, ema, learn, labels[~held_out], steps=700, seed=0,
            options=TrainingOptions(learning_rate=2e-3, **options),
        ):  # fmt: skip
            pass
        ema.copy_to(denoiser.network.parameters())
        y = np.repeat(np.arange(4), 50)
        batches = generate_images(denoiser, y, image_seeds(0, 0, 0, 200), steps=20)
        return mirrored(np.concatenate([b.images for b in batches]))

    real = mirrored(null)
    told = share(augment=("flip",), augment_probability=0.5)
    leaky = share(flip=True)
    print(f"mirrored: {real:.3f} of held-out digits, {told:.3f} told, {leaky:.3f} not told")
    assert real < 0.03
    assert told < real + 0.05
    assert leaky > 0.3
