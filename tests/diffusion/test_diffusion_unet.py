"""The network's construction: a function of its seed, and sizes that fit."""

import pytest
import torch

from synthaug.diffusion.augment import VECTOR_SIZE
from synthaug.diffusion.schedule import cosine_schedule
from synthaug.diffusion.unet import (
    LEAST_IMAGES,
    NetworkSpec,
    build_denoiser,
    choose_network,
    default_network,
    flops_per_image,
    network_ladder,
)
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
def test_every_step_of_the_ladder_runs_and_costs_more(image_size):
    costs = []
    for spec in network_ladder(image_size, CPU):
        denoiser = build(spec, image_size, channels=3)
        x = torch.zeros(1, 3, image_size, image_size)
        with torch.no_grad():
            out = denoiser.predict(x, torch.tensor([5]), torch.tensor([denoiser.null_class]))
        assert out.shape == x.shape
        assert bool(torch.isfinite(out).all())
        costs.append(flops_per_image(denoiser))
    assert len(costs) >= 2
    assert costs == sorted(set(costs))


def test_the_largest_network_that_sees_enough_images_is_chosen():
    ladder = network_ladder(16, CPU)
    enough = dict.fromkeys(ladder, LEAST_IMAGES)
    assert choose_network(ladder, lambda spec: enough[spec]) == ladder[-1]
    enough[ladder[-1]] -= 1
    assert choose_network(ladder, lambda spec: enough[spec]) == ladder[-2]
    assert choose_network(ladder, lambda spec: 1.0) == ladder[0]


@pytest.mark.parametrize("image_size", [8, 16, 32, 64])
def test_gpu_presets_fit_their_sizes(image_size):
    gpu = torch.device("cuda")
    ladder = network_ladder(image_size, gpu)
    assert default_network(ladder, gpu) == ladder[-1]
    for spec in ladder:
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


@pytest.mark.parametrize("width", [None, 8, 16, 64])
def test_attention_of_a_level_narrower_than_a_head_has_one_head(width):
    spec = NetworkSpec((8, 8), 1, 1, (False, True), attention_width=width)
    denoiser = build(spec, 8)
    layers = [m for m in denoiser.network.modules() if type(m).__name__ == "Attention"]
    assert {layer.heads for layer in layers} == {1}
    assert {layer.to_q.out_features for layer in layers} == {8}
    images = torch.randn(2, denoiser.channels, 8, 8)
    predicted = denoiser.predict(images, torch.tensor([3, 500]), torch.tensor([0, 1]))
    assert predicted.shape == images.shape and bool(predicted.isfinite().all())


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


@pytest.mark.parametrize("patch", [1, 2])
def test_flops_are_those_of_every_layer(patch):
    """2 per multiply-add: outputs x inputs of one output, added up over hooks on all layers."""
    denoiser = build(NetworkSpec((16, 32), 1, patch, (False, False)), 16)
    by_hand = []

    def count(module, inputs, output):
        by_hand.append(2 * output.numel() * module.weight[0].numel())

    for module in denoiser.network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(count)
    assert flops_per_image(denoiser) == sum(by_hand[: len(by_hand)])
    assert len(by_hand) > 10


def test_an_augmentation_vector_costs_input_channels_only():
    plain = build(NetworkSpec((16, 32), 1, 2, (False, False)), 16)
    told = build_denoiser(
        NetworkSpec((16, 32), 1, 2, (False, False)), image_size=16, channels=1, n_classes=3,
        schedule=cosine_schedule(), prediction="v", seed=0, device=CPU, vector_size=VECTOR_SIZE,
    )  # fmt: skip
    assert told.n_parameters - plain.n_parameters == 16 * VECTOR_SIZE * 9
    x = torch.zeros(2, 1, 16, 16)
    with torch.no_grad():
        assert told.denoise(x, 10, torch.tensor([0, 1])).shape == x.shape
