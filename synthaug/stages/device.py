"""Which device a run uses. What was asked for is used or refused, never silently replaced."""

import os

import torch

from synthaug.errors import UsageError
from synthaug.recipe import Recipe


def n_processes() -> int:
    """How many processes a launcher such as torchrun started together; 1 without one."""
    told = os.environ.get("WORLD_SIZE", "").strip()
    return max(int(told), 1) if told.isdigit() else 1


def resolve_device(name: str = "auto", *, alone: bool = True) -> torch.device:
    """`auto` takes CUDA, then MPS, then the CPU; anything else must exist.

    Of several processes on one machine each takes a GPU of its own. Raises `UsageError` for a
    device that this machine or this torch build does not have, and, where the work cannot be
    shared (`alone`), if a launcher started several processes that would all do the same.
    """
    if alone and n_processes() > 1:
        raise UsageError(
            f"started as one of {n_processes()} processes (WORLD_SIZE), which would all do the "
            "same in one run folder",
            expected="one process: only `fit` shares its work, without --folds",
            remedy="start synthaug itself, without torchrun or accelerate launch",
        )
    if name == "auto":
        if torch.cuda.is_available():
            return resolve_device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}", alone=alone)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"unknown device {name!r}", expected="auto, cpu, cuda:0 or mps") from error
    there = {
        "cpu": True,
        "mps": torch.backends.mps.is_available(),
        "cuda": (device.index or 0) < torch.cuda.device_count(),
    }
    if not there.get(device.type, False):
        raise UsageError(
            f"device {name!r} is not there ({torch.cuda.device_count()} CUDA devices found, "
            f"torch {torch.__version__})",
            remedy="use --device cpu or --device auto",
        )
    return device


def describe_device(device: torch.device) -> str:
    """A few words for the plan: the GPU's name, or the CPU's threads."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} ({torch.get_num_threads()} threads)" if device.type == "cpu" else str(device)


def check_recipe_device(recipe: Recipe, device: torch.device) -> None:
    """Raise `UsageError` for a recipe made for a GPU on a CPU, before anything is measured."""
    if recipe.needs_gpu and device.type == "cpu":
        raise UsageError(
            f"recipe {recipe.name} needs a GPU, and this is {describe_device(device)}",
            remedy="choose another recipe (synthaug recipes ls), or try all the same with "
            "--set needs_gpu=false",
        )
