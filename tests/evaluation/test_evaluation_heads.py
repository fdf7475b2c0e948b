"""The last layer of classifiers of every make."""

import numpy as np
import pytest
import torch
from torch import nn

from synthaug.evaluation.classifiers import build_classifier
from synthaug.evaluation.heads import last_linear, penultimate, use_cosines
from synthaug.evaluation.training import predict_logits

CPU = torch.device("cpu")
IMAGES = np.random.default_rng(0).integers(0, 256, (11, 1, 8, 8), dtype=np.uint8)


class HeadFirst(nn.Module):
    """The last layer is registered first, and there is another behind it that is never used."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(5, 3)
        self.body = nn.Linear(64, 5)
        self.unused = nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.body(x.flatten(1)).relu())


def convolutional():
    return nn.Sequential(nn.Linear(8, 8), nn.Conv2d(1, 3, 8), nn.Flatten())


def squashed():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.Softmax(1))


def over_tokens():
    return nn.Sequential(nn.Flatten(2), nn.Linear(64, 3), nn.Flatten())


def alone():
    return nn.Linear(8, 8)


@pytest.mark.parametrize("make", [HeadFirst, lambda: build_classifier(1, 3, 8, seed=0)])
def test_logits_are_features_times_the_last_layer(make):
    torch.manual_seed(0)
    network = make()
    linear, features = last_linear(network, IMAGES), penultimate(network, IMAGES)
    assert linear is network.head
    assert features.dtype == np.float32 and features.shape == (11, linear.in_features)
    logits = features @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()
    np.testing.assert_allclose(logits, predict_logits(network, IMAGES, device=CPU), atol=1e-5)


def test_the_features_are_those_before_the_head():
    network = HeadFirst()
    with torch.no_grad():
        expected = network.body(torch.from_numpy(IMAGES).float().flatten(1) / 127.5 - 1).relu()
    np.testing.assert_allclose(penultimate(network, IMAGES), expected, atol=1e-5)
    np.testing.assert_allclose(penultimate(network, IMAGES, batch_size=3), expected, atol=1e-5)


@pytest.mark.parametrize("make", [convolutional, squashed, alone])
def test_none_where_no_linear_layer_gives_the_logits(make):
    network = make()
    if make is alone:
        network = nn.Sequential(network, nn.Flatten(), nn.ReLU())
    assert last_linear(network, IMAGES) is None
    assert penultimate(network, IMAGES) is None


def test_the_network_is_left_as_it_was():
    network = build_classifier(1, 3, 8, seed=0).train()
    network.stem.eval()  # a part that its owner froze
    before = {name: value.clone() for name, value in network.state_dict().items()}
    penultimate(network, IMAGES)
    assert network.training and not network.stem.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def test_cosines():
    network = HeadFirst()
    old = network.head.weight.detach().clone()
    use_cosines(network.head, 30.0)
    features, logits = penultimate(network, IMAGES), predict_logits(network, IMAGES, device=CPU)
    with torch.no_grad():
        raw = network.body(torch.from_numpy(IMAGES).float().flatten(1) / 127.5 - 1).relu()
    cosines = nn.functional.cosine_similarity(raw[:, None], old[None], dim=2)
    np.testing.assert_allclose(logits, 30 * cosines, atol=1e-4)
    assert last_linear(network, IMAGES) is network.head
    np.testing.assert_allclose(logits, features @ network.head.weight.detach().numpy().T, atol=1e-4)


def test_cosines_still_learn():
    network = HeadFirst()
    use_cosines(network.head, 30.0)
    network(torch.randn(4, 1, 8, 8)).square().sum().backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    assert "head.parametrizations.weight.original" in gradients
    assert all(bool(g.abs().sum() > 0) for g in gradients.values())
