"""What is done to a batch before the network sees it."""

import numpy as np
import pytest
import torch

from synthaug.evaluation.options import ClassifierOptions
from synthaug.evaluation.transforms import TRANSFORMS, as_input, augment, batch_generator

OPTIONS = ClassifierOptions()
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


def test_networks_see_pixels_from_minus_one_to_one():
    x = as_input(torch.tensor([0, 51, 255], dtype=torch.uint8))
    torch.testing.assert_close(x, torch.tensor([-1.0, -0.6, 1.0]))


# Transforms of a batch --------------------------------------------------------------------------


def pictures(channels, n=8, side=16):
    return 2 * torch.rand(n, channels, side, side, generator=batch_generator(5, 0, 0)) - 1


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_transform_is_a_function_of_seed_and_step(name, channels):
    x = pictures(channels)
    before = x.clone()
    torch.manual_seed(1)
    first = TRANSFORMS[name](x, OPTIONS, 3, 7)
    expected = torch.rand(2, generator=torch.Generator().manual_seed(1))
    assert torch.equal(torch.rand(2), expected)  # torch's own generator is as it was
    again = TRANSFORMS[name](x, OPTIONS, 3, 7)
    assert torch.equal(first.x, again.x) and first.share == again.share
    assert torch.equal(x, before)
    assert first.x.shape == x.shape
    assert float(first.x.min()) >= -1 and float(first.x.max()) <= 1
    assert not torch.equal(first.x, TRANSFORMS[name](x, OPTIONS, 3, 8).x)
    assert not torch.equal(first.x, TRANSFORMS[name](x, OPTIONS, 4, 7).x)


def test_mixup_by_its_formula():
    x = pictures(3)
    mixed = TRANSFORMS["mixup"](x, OPTIONS, 0, 1)
    assert sorted(mixed.partner.tolist()) == list(range(8))
    torch.testing.assert_close(mixed.x, mixed.share * x + (1 - mixed.share) * x[mixed.partner])


def shares(name, side, n=800, **options):
    x = pictures(1, n=2, side=side)
    options = ClassifierOptions(**options)
    return np.array([TRANSFORMS[name](x, options, 0, step).share for step in range(n)])


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_mixup_draws_its_shares_from_a_beta_distribution(alpha):
    """Of mean 1/2 and variance 1 / (8 alpha + 4)."""
    drawn = shares("mixup", side=2, mixup_alpha=alpha)
    sd = (1 / (8 * alpha + 4)) ** 0.5
    assert drawn.mean() == pytest.approx(0.5, abs=5 * sd / 800**0.5)
    assert drawn.std() == pytest.approx(sd, rel=0.1)


def test_cutmix_keeps_what_the_edges_save():
    """A side's share c = sqrt(u) loses c^2 / 4 at the edges, so E(c - c^2/4)^2 = 77/240 is cut."""
    drawn = shares("cutmix", side=128)
    assert drawn.mean() == pytest.approx(1 - 77 / 240, abs=5 * drawn.std() / 800**0.5)
    assert 0 <= drawn.min() < 0.1 and drawn.max() > 0.99


def test_cutmix_replaces_one_box_and_counts_its_pixels():
    x = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 1, 16, 12).contiguous()
    sizes = set()
    for step in range(40):
        mixed = TRANSFORMS["cutmix"](x, OPTIONS, 0, step)
        moved = mixed.partner != torch.arange(8)
        taken = (mixed.x != x).any(1)[moved]  # [., H, W]
        assert (taken == taken[:1]).all()  # the same box in every image
        assert float(taken[0].float().mean()) == pytest.approx(1 - mixed.share)
        if taken[0].any():
            rows, columns = torch.nonzero(taken[0]).T
            box = taken[0][rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            assert box.all()
            sizes.add(tuple(box.shape))
        other = torch.where(taken, mixed.x[moved, 0], torch.nan)
        expected = mixed.partner[moved].view(-1, 1, 1).float().expand_as(other)
        torch.testing.assert_close(other[taken], expected[taken])
    assert len(sizes) > 10


def test_classical_changes_every_image_its_own_way_and_not_much():
    """The same bright square in each image stays one bright square, near its place."""
    x = -torch.ones(200, 1, 32, 32)
    x[:, :, 12:20, 12:20] = 1
    got = TRANSFORMS["classical"](x, OPTIONS, 0, 0)
    assert got.partner is None
    assert len({image.numpy().tobytes() for image in got.x}) > 150
    light = (got.x[:, 0] > 0.5).float()
    at = torch.arange(32.0)
    rows = (light.sum(2) * at).sum(1) / light.sum((1, 2)).clamp_min(1)
    seen = light.sum((1, 2)) > 0
    assert seen.float().mean() > 0.95  # a box may be erased
    assert float((rows[seen] - 15.5).abs().max()) < 8
    assert 40 < float(light.sum((1, 2))[seen].mean()) < 90


def test_classical_leaves_grey_images_their_brightness_and_jitters_colours():
    def levels(channels):
        x = torch.full((100, channels, 16, 16), 0.2)
        got = TRANSFORMS["classical"](x, OPTIONS, 0, 0).x
        return got.flatten(1).median(1).values

    assert float((levels(1) - 0.2).abs().max()) < 1e-5
    assert float((levels(3) - 0.2).abs().max()) > 0.05


def test_classical_repeats_the_edges_it_moves_in():
    """Of bright images nothing turns dark but the boxes that are erased, which turn mid-grey."""
    got = TRANSFORMS["classical"](torch.ones(200, 1, 16, 16), OPTIONS, 0, 0).x
    assert float(got.min()) >= -1e-6
    erased = (got < 1 - 1e-6).flatten(1).any(1).float().mean()
    assert float(erased) == pytest.approx(0.25, abs=5 * (0.25 * 0.75 / 200) ** 0.5)


def test_classical_never_mirrors():
    """A dark-to-bright ramp stays one, in every image."""
    x = torch.linspace(-1, 1, 32).expand(200, 1, 32, 32).contiguous()
    got = TRANSFORMS["classical"](x, OPTIONS, 0, 0).x
    assert (got[..., -8:].mean((1, 2, 3)) > got[..., :8].mean((1, 2, 3))).all()
    upright = TRANSFORMS["classical"](x.mT.contiguous(), OPTIONS, 0, 0).x
    assert (upright[..., -8:, :].mean((1, 2, 3)) > upright[..., :8, :].mean((1, 2, 3))).all()
