"""A device is used or refused."""

import pytest
import torch

from synthaug.errors import UsageError
from synthaug.stages.device import describe_device, resolve_device


def test_the_cpu_is_always_there():
    assert resolve_device("cpu") == torch.device("cpu")
    assert describe_device(resolve_device("cpu")).startswith("cpu (")


@pytest.mark.parametrize("index", ["", ":99"])
def test_an_absent_gpu_is_refused_and_not_replaced(index: str):
    if not index and torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(UsageError) as caught:
        resolve_device(f"cuda{index}")
    assert f"'cuda{index}'" in str(caught.value)
    assert "--device cpu" in caught.value.remedy


def test_a_second_gpu_is_not_the_first(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert resolve_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(UsageError, match="1 CUDA devices found"):
        resolve_device("cuda:1")


@pytest.mark.parametrize("name", ["banana", "", "cuda:x", "cpu:-1", "GPU"])
def test_a_device_that_does_not_exist_is_refused(name: str):
    with pytest.raises(UsageError, match="auto, cpu, cuda:0 or mps"):
        resolve_device(name)


@pytest.mark.parametrize("name", ["meta", "xla", "vulkan"])
def test_a_kind_of_device_nobody_has_tested_is_refused(name: str):
    with pytest.raises(UsageError, match="is not there"):
        resolve_device(name)


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda:0"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_takes_the_best_there_is(
    cuda: bool, mps: bool, expected: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: int(cuda))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert resolve_device("auto") == torch.device(expected)
    assert resolve_device() == torch.device(expected)


@pytest.mark.gpu
def test_a_gpu_is_described_by_its_name():
    assert torch.cuda.get_device_name(0) in describe_device(resolve_device("cuda:0"))
