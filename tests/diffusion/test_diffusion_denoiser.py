"""One call around the network: guidance, parameterisation, folded patches, grey levels."""

import pytest
import torch

from synthaug.diffusion.denoiser import to_model_range, to_uint8
from synthaug.diffusion.process import x0_from

LABELS = torch.tensor([0, 1, 0])


@pytest.fixture
def x_t():
    return torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def calls(monkeypatch):
    """Record the class labels of every network evaluation of a denoiser."""

    def spy(denoiser):
        seen = []
        forward = denoiser.network.forward

        def recorded(*args, **kwargs):
            seen.append(kwargs["class_labels"].tolist())
            return forward(*args, **kwargs)

        monkeypatch.setattr(denoiser.network, "forward", recorded)
        return seen

    return spy


@torch.no_grad()
@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
def test_scale_one_is_the_plain_conditional_and_costs_one(tiny, x_t, calls, prediction):
    denoiser = tiny(prediction=prediction)
    output = denoiser.predict(x_t, torch.full((3,), 400), LABELS)
    expected = x0_from(prediction, output, x_t, torch.tensor(denoiser.schedule.alpha_bar(400)))
    seen = calls(denoiser)
    torch.testing.assert_close(
        denoiser.denoise(x_t, 400, LABELS, 1.0), expected, atol=1e-5, rtol=1e-5
    )
    assert seen == [[0, 1, 0]]


@torch.no_grad()
def test_guidance_combines_conditional_and_unconditional(tiny, x_t, calls):
    denoiser, w, t = tiny(prediction="x0"), 3.0, torch.full((3,), 400)
    cond = denoiser.predict(x_t, t, LABELS)
    uncond = denoiser.predict(x_t, t, torch.full((3,), denoiser.null_class))
    assert not torch.allclose(cond, uncond)
    seen = calls(denoiser)
    guided = denoiser.denoise(x_t, 400, LABELS, w)
    torch.testing.assert_close(guided, uncond + w * (cond - uncond), atol=1e-5, rtol=1e-5)
    assert sum(map(len, seen)) == 2 * len(x_t)
    assert sorted(seen[0][3:]) == [denoiser.null_class] * 3


@torch.no_grad()
def test_scale_zero_is_unconditional(tiny, x_t):
    denoiser = tiny()
    first = denoiser.denoise(x_t, 400, LABELS, 0.0)
    second = denoiser.denoise(x_t, 400, 1 - LABELS, 0.0)
    torch.testing.assert_close(first, second, atol=1e-6, rtol=0)


def test_null_class_is_one_more_than_the_classes(tiny):
    denoiser = tiny(n_classes=5)
    assert denoiser.null_class == 5
    assert denoiser.network.class_embedding.num_embeddings == 6


@torch.no_grad()
@pytest.mark.parametrize("channels", [1, 3])
def test_patch_folds_and_unfolds(tiny, channels, monkeypatch):
    """The network sees patches in channels; an identity network gives back the very pixels."""
    denoiser = tiny(patch=2, channels=channels)
    x = torch.randn(2, channels, 8, 8)
    seen = []

    class Output:
        def __init__(self, sample):
            self.sample = sample

    def identity(folded, t, class_labels):
        seen.append(tuple(folded.shape))
        return Output(folded)

    t, y = torch.zeros(2, dtype=torch.int64), torch.zeros(2, dtype=torch.int64)
    assert denoiser.predict(x, t, y).shape == x.shape
    monkeypatch.setattr(denoiser.network, "forward", identity)
    assert torch.equal(denoiser.predict(x, t, y), x)
    assert seen == [(2, channels * 4, 4, 4)]
    assert denoiser.image_shape == (channels, 8, 8)


def test_every_grey_level_survives():
    levels = torch.arange(256, dtype=torch.uint8)
    x = to_model_range(levels)
    assert (float(x[0]), float(x[-1])) == (-1.0, 1.0)
    assert torch.equal(to_uint8(x), levels)
    assert torch.equal(to_uint8(x + 0.49 / 127.5), levels)  # rounded, not cut off


def test_what_lies_outside_is_clipped():
    got = to_uint8(torch.tensor([-1e9, -1.01, 1.01, 1e9, float("inf"), -float("inf")]))
    assert got.tolist() == [0, 0, 255, 255, 255, 0]


def test_n_parameters_counts_the_network(tiny):
    denoiser = tiny()
    assert denoiser.n_parameters == sum(p.numel() for p in denoiser.network.parameters()) > 10_000
