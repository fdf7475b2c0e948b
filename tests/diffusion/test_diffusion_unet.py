"""The network's construction: a function of its seed, and sizes that fit."""

import pytest
import torch

from synthaug.diffusion.schedule import cosine_schedule
from synthaug.diffusion.unet import NetworkSpec, build_denoiser, choose_network
from synthaug.errors import UsageError

CPU = torch.device("cpu")


def build(spec, image_size, channels=1, seed=0):
    return build_denoiser(
        spec, image_size=image_size, channels=channels, n_classes=3, schedule=cosine_schedule(),
        prediction="v", seed=seed, device=CPU,
    )  # fmt: skip


def test_weights_are_a_function_of_the_seed(tiny, weights_of, same_weights):
    assert same_weights(weights_of(tiny(3)), weights_of(tiny(3)))
    assert not same_weights(weights_of(tiny(3)), weights_of(tiny(4)))


def test_global_random_numbers_go_on_undisturbed(tiny):
    torch.manual_seed(11)
    expected = torch.rand(5)
    torch.manual_seed(11)
    tiny(3)
    assert torch.equal(torch.rand(5), expected)


@pytest.mark.parametrize("image_size", [8, 16, 28, 32, 64])
def test_presets_run(image_size):
    spec = choose_network(image_size, CPU)
    denoiser = build(spec, image_size, channels=3)
    x = torch.zeros(1, 3, image_size, image_size)
    with torch.no_grad():
        out = denoiser.predict(x, torch.tensor([5]), torch.tensor([denoiser.null_class]))
    assert out.shape == x.shape
    assert bool(torch.isfinite(out).all())


@pytest.mark.parametrize("image_size", [8, 16, 32, 64])
def test_gpu_presets_fit_their_sizes(image_size):
    spec = choose_network(image_size, torch.device("cuda"))
    assert image_size % spec.divisor() == 0
    assert len(spec.attention) == len(spec.channels)
    # Ho et al. (2020), Appendix B: self-attention where the feature map is 16x16.
    attended = [image_size // 2**i for i, has in enumerate(spec.attention) if has]
    assert attended == ([16] if image_size >= 16 else [])


def test_attention_levels_are_built():
    denoiser = build(NetworkSpec((16, 32), 1, 1, (False, True)), 8)
    names = [type(block).__name__ for block in denoiser.network.down_blocks]
    assert names == ["DownBlock2D", "AttnDownBlock2D"]
    assert type(denoiser.network.up_blocks[0]).__name__ == "AttnUpBlock2D"


@pytest.mark.parametrize(
    ("image_size", "usable"), [(20, ("16", "24")), (4, ("8", "16")), (33, ("32", "40"))]
)
def test_size_that_does_not_fit_names_those_that_do(image_size, usable):
    spec = NetworkSpec((16, 16, 16), 1, 2, (False,) * 3)
    with pytest.raises(UsageError) as caught:
        build(spec, image_size)
    assert f"image size {image_size}" in str(caught.value)
    for size in usable:
        assert f"--image-size {size}" in str(caught.value)
        assert build(spec, int(size)).image_size == int(size)
