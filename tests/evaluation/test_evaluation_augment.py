"""Shifts and flips of the classifier's train images."""

import numpy as np
import pytest
import torch

from synthaug.evaluation.training import augment, batch_generator

X = torch.arange(2 * 3 * 5 * 7, dtype=torch.float32).view(2, 3, 5, 7)


def shifted(image, down, right):
    """The image moved, its edges repeated: a plain loop over pixels."""
    _, h, w = image.shape
    out = np.empty_like(image)
    for i in range(h):
        for j in range(w):
            out[:, i, j] = image[:, min(max(i + down, 0), h - 1), min(max(j + right, 0), w - 1)]
    return out


def test_nothing_asked_nothing_done():
    generator = batch_generator(0, 0, 1)
    assert torch.equal(augment(X, max_shift=0, flip=False, generator=generator), X)


@pytest.mark.parametrize("max_shift", [1, 2, 3])
def test_shifts_equal_the_reference(max_shift):
    """Each image is moved by its own offsets, the ones its generator says."""
    x = X.repeat(10, 1, 1, 1)
    got = augment(x, max_shift=max_shift, flip=False, generator=batch_generator(1, 2, 1))
    offsets = torch.randint(0, 2 * max_shift + 1, (2, 20, 1), generator=batch_generator(1, 2, 1))
    down, right = (offsets - max_shift).squeeze(-1).tolist()
    for i in range(20):
        np.testing.assert_array_equal(got[i].numpy(), shifted(x[i].numpy(), down[i], right[i]))


@pytest.mark.parametrize("max_shift", [1, 2])
def test_every_shift_in_the_range_occurs_and_no_other(max_shift):
    """A bright pixel in the middle shows where each of 2,000 images went; 25 cells of 80."""
    x = torch.zeros(2000, 1, 9, 9)
    x[:, 0, 4, 4] = 1
    got = augment(x, max_shift=max_shift, flip=False, generator=batch_generator(0, 0, 1))
    hits = got[:, 0].sum(0)
    side = 2 * max_shift + 1
    reached = torch.zeros(9, 9, dtype=torch.bool)
    reached[4 - max_shift : 5 + max_shift, 4 - max_shift : 5 + max_shift] = True
    assert torch.equal(hits > 0, reached)
    expected = 2000 / side**2
    assert float((hits[reached] - expected).abs().max()) < 5 * expected**0.5


def test_flip_mirrors_half_left_to_right():
    x = X.repeat(500, 1, 1, 1)
    got = augment(x, max_shift=0, flip=True, generator=batch_generator(0, 0, 1))
    same = (got == x).flatten(1).all(1)
    mirrored = (got == x.flip(-1)).flatten(1).all(1)
    assert bool((same ^ mirrored).all())
    assert float(mirrored.float().mean()) == pytest.approx(0.5, abs=5 * 0.5 / 1000**0.5)


def test_deterministic_in_its_generator():
    def run(step):
        return augment(X, max_shift=2, flip=True, generator=batch_generator(0, step, 1))

    assert torch.equal(run(3), run(3))
    assert any(not torch.equal(run(3), run(step)) for step in range(4, 8))


def test_streams_of_a_step_are_different():
    draws = [torch.rand(4, generator=batch_generator(*key)) for key in ((0, 1, 0), (0, 1, 1))]
    assert not torch.equal(*draws)
