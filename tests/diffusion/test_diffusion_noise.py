"""Stateless randomness: seeds that name a draw, and draws that ignore their neighbours."""

import numpy as np
import torch

from synthaug.diffusion.noise import ImageNoise, image_seeds, step_generator

CPU = torch.device("cpu")


def test_an_image_depends_on_its_own_seed_only():
    together, other = (ImageNoise(np.array(s), (3, 4, 4), CPU) for s in ([7, 8, 9], [1, 8]))
    alone = ImageNoise(np.array([8]), (3, 4, 4), CPU)
    for _ in range(3):
        first, second, third = together(), other(), alone()
        assert torch.equal(first[1], third[0])
        assert torch.equal(second[1], third[0])
        assert not torch.equal(first[0], first[1])


def test_noise_is_standard_normal_and_new_at_every_call():
    noise = ImageNoise(np.arange(64), (1, 32, 32), CPU)
    first, second = noise(), noise()
    assert first.shape == (64, 1, 32, 32)
    assert first.dtype == torch.float32
    n = first.numel()
    for x in (first, second):
        assert abs(float(x.mean())) < 5 / n**0.5
        assert abs(float(x.var()) - 1) < 5 * (2 / n) ** 0.5
    assert abs(float((first * second).mean())) < 5 / n**0.5
    # Neighbouring seeds must not give neighbouring images.
    assert abs(float((first[1:] * first[:-1]).mean())) < 5 / n**0.5


def test_seeds_are_unique_over_images_and_classes():
    seeds = np.concatenate([image_seeds(0, label, 0, 500) for label in range(10)])
    assert len(np.unique(seeds)) == 5000
    assert seeds.dtype == np.int64
    assert seeds.min() >= 0


def test_seeds_do_not_depend_on_how_many_are_asked_for():
    np.testing.assert_array_equal(image_seeds(1, 2, 0, 20)[5:], image_seeds(1, 2, 5, 15))
    assert image_seeds(1, 2, 0, 0).shape == (0,)


def test_seeds_change_with_the_run_and_the_class():
    shared = set(image_seeds(0, 1, 0, 100)) & set(image_seeds(1, 0, 0, 100))
    assert not shared


def test_step_generator_is_a_function_of_seed_and_step():
    def draws(seed, step):
        return torch.rand(8, generator=step_generator(seed, step))

    first = draws(3, 4)
    torch.rand(100)  # what ran before does not matter
    assert torch.equal(first, draws(3, 4))
    assert not torch.equal(first, draws(4, 3))
    assert not torch.equal(first, draws(3, 5))
    firsts = {float(draws(0, step)[0]) for step in range(2000)}
    assert len(firsts) > 1990  # float32 draws may meet by chance
