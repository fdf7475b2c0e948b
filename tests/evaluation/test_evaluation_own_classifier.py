"""A classifier of the user's own, and one line for each way it can be wrong."""

import hashlib
import sys
import types

import pytest
import torch
from torch import nn

from synthaug.errors import UsageError
from synthaug.evaluation.classifiers import build_classifier
from synthaug.evaluation.own_classifier import source_digest

GOOD = """
from torch import nn

def linear(channels, n_classes, image_size):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * image_size**2, n_classes))
"""
BAD = """
import torch
from torch import nn

number = 3

def too_few(channels, n_classes):
    return nn.Identity()

def keywords(*, channels, n_classes, image_size):
    return nn.Identity()

def no_network(channels, n_classes, image_size):
    return lambda x: x

def raises(channels, n_classes, image_size):
    raise ValueError("width must\\nbe even")

def wrong_classes(channels, n_classes, image_size):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * image_size**2, 7))

def no_tensor(channels, n_classes, image_size):
    class Pair(nn.Module):
        def forward(self, x):
            return x, x
    return Pair()

def wrong_size(channels, n_classes, image_size):
    return nn.Sequential(nn.Flatten(), nn.Linear(5, n_classes))
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Two modules in the current folder, which is not on sys.path; sys.modules is put back."""
    (tmp_path / "good_nets.py").write_text(GOOD)
    (tmp_path / "bad_nets.py").write_text(BAD)
    (tmp_path / "broken_nets.py").write_text("def (:")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])
    before = set(sys.modules)
    yield tmp_path
    for name in {"good_nets", "bad_nets", "broken_nets"} & (set(sys.modules) - before):
        del sys.modules[name]


def build(name, seed=0):
    return build_classifier(3, 4, 8, seed=seed, name=name)


def test_a_function_in_the_current_folder():
    path = list(sys.path)
    network = build("good_nets:linear")
    assert network.training
    assert network(torch.zeros(5, 3, 8, 8)).shape == (5, 4)
    assert sys.path == path


def test_its_weights_follow_the_seed_and_nothing_else():
    torch.manual_seed(1)
    first = build("good_nets:linear")[1].weight
    expected = torch.rand(2, generator=torch.Generator().manual_seed(1))
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(first, build("good_nets:linear")[1].weight)
    assert not torch.equal(first, build("good_nets:linear", seed=1)[1].weight)


def test_a_function_that_is_installed():
    assert isinstance(build("synthaug.evaluation.classifiers:SmallResNet"), nn.Module)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet18", "unknown classifier 'resnet18'"),
        ("good_nets:", "unknown classifier 'good_nets:'"),
        ("absent_nets:linear", "cannot be imported: ModuleNotFoundError"),
        ("broken_nets:linear", "cannot be imported: SyntaxError"),
        ("good_nets:lineer", "has no function 'lineer' (did you mean 'linear'?)"),
        ("bad_nets:number", "bad_nets has no function 'number'"),
        ("bad_nets:too_few", "cannot be called as (channels, n_classes, image_size)"),
        ("bad_nets:keywords", "cannot be called as (channels, n_classes, image_size)"),
        ("bad_nets:no_network", "returned function; expected a torch.nn.Module"),
        ("bad_nets:raises", "failed: ValueError: width must be even"),
        (
            "bad_nets:wrong_classes",
            "gives [2, 7] for 2 images of 4 classes; expected logits [2, 4]",
        ),
        ("bad_nets:no_tensor", "gives tuple for 2 images of 4 classes"),
        ("bad_nets:wrong_size", "cannot take images [2, 3, 8, 8]: RuntimeError"),
    ],
)
def test_each_fault_is_one_line(name, words):
    with pytest.raises(UsageError) as caught:
        build(name)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_digest_is_that_of_the_source(here):
    first = source_digest("good_nets:linear")
    assert first == hashlib.sha256(GOOD.encode()).hexdigest()
    (here / "good_nets.py").write_text(GOOD + "# changed\n")
    assert source_digest("good_nets:linear") != first
    assert source_digest("small-resnet") == ""


# timm -------------------------------------------------------------------------------------------


def fake_timm(asked):
    """What the adapter uses of timm."""
    timm = types.ModuleType("timm")
    timm.__version__ = "9.9"
    timm.list_models = lambda: ["resnet18", "resnet34"]
    timm.is_model = lambda name: name in timm.list_models()

    def create_model(name, *, pretrained, in_chans, num_classes):
        asked.append((name, pretrained, in_chans, num_classes))
        if name == "resnet34":
            raise RuntimeError("no such size")
        return nn.Sequential(nn.Flatten(), nn.Linear(in_chans * 64, num_classes))

    timm.create_model = create_model
    return timm


def test_timm_models_start_without_weights_of_others(monkeypatch):
    asked = []
    monkeypatch.setitem(sys.modules, "timm", fake_timm(asked))
    first = build("timm:resnet18")
    assert asked == [("resnet18", False, 3, 4)]
    assert torch.equal(first[1].weight, build("timm:resnet18")[1].weight)
    assert source_digest("timm:resnet18") == "timm 9.9"


def test_faults_of_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", fake_timm([]))
    with pytest.raises(UsageError, match=r"'resnet-18' \(did you mean 'resnet18'\?\)"):
        build("timm:resnet-18")
    with pytest.raises(UsageError, match="'timm:resnet34' failed: RuntimeError: no such size"):
        build("timm:resnet34")


def test_timm_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match=r"need timm.*pip install 'synthaug\[timm\]'"):
        build("timm:resnet18")
