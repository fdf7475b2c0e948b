"""The network of a fit: how large, how fast, and a fresh one with its first weights."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from synthaug.diffusion.augment import VECTOR_SIZE
from synthaug.diffusion.batches import TrainingOptions
from synthaug.diffusion.denoiser import Denoiser
from synthaug.diffusion.generation import generate_images
from synthaug.diffusion.schedule import make_schedule
from synthaug.diffusion.training import make_ema, train_denoiser
from synthaug.diffusion.unet import (
    NetworkSpec,
    build_denoiser,
    choose_network,
    default_network,
    flops_per_image,
    network_ladder,
)
from synthaug.errors import UsageError
from synthaug.recipe import DiffusionSection, Recipe, parse_duration
from synthaug.stages.dataset import Dataset
from synthaug.stages.memory import choose_micro_batch

DEFAULT_LIMIT = "10m"


@dataclass(frozen=True)
class NetworkPlan:
    """A network's shape and what it costs here: rates are images per second, measured just now.

    `sample_rate` counts single network evaluations; `flops_per_image` is of one of them.
    `micro_batch` is how many images of a training step are in memory at once.
    """

    spec: NetworkSpec
    n_parameters: int
    flops_per_image: int
    train_rate: float
    sample_rate: float
    micro_batch: int


def plan_network(recipe: Recipe, dataset: Dataset, device: torch.device) -> NetworkPlan:
    """The recipe's own network, or the one of the ladder that the time limit and speed allow.

    Where the recipe counts steps instead of time, it is the default of the device.
    """
    section = recipe.diffusion
    if section.channels is not None:
        spec = own_network(section, dataset.image_size)
        return _measured(spec, recipe, dataset, device)
    ladder = network_ladder(dataset.image_size, device, dropout=section.dropout)
    first = _measured(default_network(ladder, device), recipe, dataset, device)
    if section.steps is not None:
        return first
    seconds = parse_duration(section.time_limit or DEFAULT_LIMIT)

    def images_in_time(spec: NetworkSpec) -> float:
        # All networks of a ladder are taken to do the arithmetic at the speed of the measured one.
        flops = flops_per_image(fresh_denoiser(recipe, spec, dataset, device, seed=0))
        return seconds * first.train_rate * first.flops_per_image / flops

    chosen = choose_network(ladder, images_in_time)
    return first if chosen == first.spec else _measured(chosen, recipe, dataset, device)


def own_network(section: DiffusionSection, image_size: int) -> NetworkSpec:
    """The network that a recipe with `channels` spells out.

    Raises `UsageError` where it does not fit the images.
    """
    assert section.channels is not None
    if misfit := section.misfit(image_size):
        near = [f"--image-size {size}" for size in section.near_sizes(image_size)]
        use = " or ".join(near) or "another --image-size"
        raise UsageError(misfit, remedy=f"use {use}, or other diffusion.channels")
    attention = tuple(side in section.attention for side in section.map_sides(image_size))
    return NetworkSpec(
        section.channels, section.layers, section.patch, attention, section.dropout,
        section.attention_width,
    )  # fmt: skip


def _measured(
    spec: NetworkSpec, recipe: Recipe, dataset: Dataset, device: torch.device
) -> NetworkPlan:
    denoiser = fresh_denoiser(recipe, spec, dataset, device, seed=0)
    flops = flops_per_image(denoiser)
    options = training_options(recipe.diffusion)
    micro_batch = options.micro_batch or choose_micro_batch(denoiser, *dataset.train, options)
    rates = _measure_denoiser(denoiser, dataset, recipe, micro_batch)
    return NetworkPlan(
        spec, denoiser.n_parameters, flops, *rates, min(micro_batch, options.batch_size)
    )


def training_options(section: DiffusionSection, chosen: int | None = None) -> TrainingOptions:
    """The part of the recipe that `train_denoiser` reads; where it leaves the micro-batch open, the
    `chosen` one.
    """
    values = {f: getattr(section, f) for f in TrainingOptions.__annotations__}
    if section.micro_batch == "auto":
        values["micro_batch"] = chosen
    return TrainingOptions(**values)


def fresh_denoiser(
    recipe: Recipe, spec: NetworkSpec, dataset: Dataset, device: torch.device, seed: int
) -> Denoiser:
    """An untrained denoiser for the dataset."""
    section = recipe.diffusion
    return build_denoiser(
        spec,
        image_size=dataset.image_size,
        channels=dataset.channels,
        n_classes=dataset.n_classes,
        schedule=make_schedule(
            section.schedule,
            section.T,
            beta_start=section.beta_start,
            beta_end=section.beta_end,
        ),
        prediction=section.prediction,
        variance=section.variance,
        seed=seed,
        device=device,
        vector_size=VECTOR_SIZE if recipe.diffusion.augment else 0,
    )


def _measure_denoiser(
    denoiser: Denoiser, dataset: Dataset, recipe: Recipe, micro_batch: int
) -> tuple[float, float]:
    """(training images/s, single-step sampling images/s) of a denoiser that is thrown away."""
    images, labels = dataset.train
    options = training_options(recipe.diffusion, micro_batch)
    run = train_denoiser(
        denoiser,
        make_ema(denoiser, 0.9),
        images,
        labels,
        steps=10_000,
        seed=0,
        options=options,
    )
    for _ in range(3):  # the first steps also set up what later ones reuse
        next(run)
    train_rate = measure_rate(lambda: next(run), options.batch_size, seconds=2.0)
    n = recipe.sampling.batch_size
    some = np.resize(labels, n)

    def one_step() -> None:
        for _ in generate_images(denoiser, some, np.arange(n), steps=1, batch_size=n):
            pass

    one_step()
    return train_rate, measure_rate(one_step, n, seconds=0.7)


def measure_rate(call: Callable[[], object], n_images: int, *, seconds: float) -> float:
    calls, start = 0, time.perf_counter()
    while True:
        call()
        calls += 1
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return n_images * calls / max(elapsed, math.ulp(1.0))
