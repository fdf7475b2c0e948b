"""The plan of a fit: every number a person wants to see before the machine is busy."""

import math
import re
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from synthaug.balance.plan import BalancePlan, plan_balance
from synthaug.diffusion.denoiser import Denoiser
from synthaug.diffusion.generation import check_sampling, generate_images
from synthaug.diffusion.samplers import evaluations
from synthaug.diffusion.schedule import make_schedule
from synthaug.diffusion.training import TrainingOptions, make_ema, train_denoiser
from synthaug.diffusion.unet import NetworkSpec, build_denoiser, choose_network
from synthaug.errors import DataError, UsageError
from synthaug.evaluation.arms import DEFAULT_ARMS, Arm, Material
from synthaug.evaluation.training import ClassifierOptions
from synthaug.recipe import DiffusionSection, Recipe
from synthaug.stages.bench import Bench, n_workers
from synthaug.stages.dataset import Dataset
from synthaug.stages.device import describe_device

LARGEST_SIZE = {"cpu": 32, "mps": 64, "cuda": 64}
UNITS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class FitPlan:
    """What `fit` will do. Times are seconds, rates images per second, measured just now.

    `base_steps` is 0 when every class is trained from scratch; `specialist_steps` is the number
    for each class in `specialist_classes`.
    """

    balance: BalancePlan
    spec: NetworkSpec
    n_parameters: int
    train_rate: float
    sample_rate: float
    base_steps: int
    specialist_classes: tuple[int, ...]
    specialist_steps: int
    base_seconds: float
    fit_seconds: float
    generate_seconds: float
    evaluate_seconds: float

    def to_json(self, dataset: Dataset, device: torch.device) -> dict[str, Any]:
        b = self.balance
        splits = dataset.splits
        return {
            "dataset": dataset.name,
            "image_size": dataset.image_size,
            "channels": dataset.channels,
            "device": describe_device(device),
            "n_train": len(splits.train),
            "n_val": len(splits.val),
            "n_test": len(splits.test),
            "imbalance_ratio": b.imbalance_ratio,
            "classes": [
                {
                    "name": b.class_names[k],
                    "train": int(b.counts[k]),
                    "test": int(dataset.counts(splits.test)[k]),
                    "group": b.group[k],
                    "minority": bool(b.minority[k]),
                    "n_new": int(b.n_new[k]),
                    "reason": b.reason[k],
                }
                for k in range(len(b.class_names))
            ],
            "total_new": int(b.total_new),
            "network": {
                "channels": list(self.spec.channels),
                "layers": self.spec.layers,
                "patch": self.spec.patch,
                "parameters": self.n_parameters,
            },
            "train_images_per_second": round(self.train_rate, 1),
            "sample_images_per_second": round(self.sample_rate, 1),
            "base_steps": self.base_steps,
            "specialists": [b.class_names[k] for k in self.specialist_classes],
            "specialist_steps": self.specialist_steps,
            "expected_seconds": {
                "fit": round(self.fit_seconds),
                "generate": round(self.generate_seconds),
                "evaluate": round(self.evaluate_seconds),
            },
            "notices": [*dataset.notices, *self.balance.notices],
        }


class TimeBudget:
    """Keeps a training near its time limit though the machine's speed changes under way.

    At a few fixed shares of the limit the number of steps is worked out anew from the speed so
    far; in between it stands, so that the learning rate is not dragged along at every step.
    """

    MARKS = (0.03, 0.1, 0.25, 0.5, 0.75, 0.9)

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._started = time.perf_counter()
        self._marks = list(self.MARKS)

    def horizon(self, done: int, planned: int) -> int:
        """The number of steps to aim for after `done` of `planned`; never fewer than `done`."""
        elapsed = time.perf_counter() - self._started
        if not self._marks or elapsed < self._marks[0] * self._seconds:
            return planned if elapsed < self._seconds * 1.1 else done
        while self._marks and elapsed >= self._marks[0] * self._seconds:
            self._marks.pop(0)
        return done + max(int((self._seconds - elapsed) / elapsed * done), 0)


def parse_duration(text: str) -> float:
    """Seconds of `90`, `90s`, `10m` or `1.5h`. Raises `UsageError` for anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", text)
    if not match or float(match[1]) == 0:
        raise UsageError(f"duration {text!r}", expected="a number such as 90s, 10m or 1.5h")
    return float(match[1]) * UNITS[match[2] or "s"]


def network_spec(section: DiffusionSection, image_size: int, device: torch.device) -> NetworkSpec:
    """The recipe's own network, or the preset for this resolution and device."""
    if section.channels is None:
        return choose_network(image_size, device, dropout=section.dropout)
    attention = (False,) * len(section.channels)
    return NetworkSpec(section.channels, section.layers, section.patch, attention, section.dropout)


def training_options(section: DiffusionSection) -> TrainingOptions:
    """The part of the recipe that `train_denoiser` reads."""
    return TrainingOptions(**{f: getattr(section, f) for f in TrainingOptions.__annotations__})


def classifier_options(recipe: Recipe) -> ClassifierOptions:
    """The part of the recipe that `train_classifier` reads."""
    section = recipe.evaluation
    return ClassifierOptions(**{f: getattr(section, f) for f in ClassifierOptions.__annotations__})


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
    )


def plan_fit(
    dataset: Dataset,
    recipe: Recipe,
    *,
    per_class: bool,
    from_scratch: bool,
    device: torch.device,
) -> FitPlan:
    """Balance, network and time, from the data and from a few measured steps of each kind.

    Raises `UsageError` for what the recipe asks and the data or network cannot do, and `DataError`
    for a dataset without a test image.
    """
    if from_scratch and not per_class:
        raise UsageError("--from-scratch without --per-class", remedy="add --per-class")
    if not len(dataset.splits.test):
        raise DataError(
            "no image is left for testing", remedy="add images, or give the dataset a test/ folder"
        )
    section = recipe.diffusion
    balance = plan_balance(
        dataset.class_names,
        dataset.counts(dataset.splits.train).tolist(),
        recipe.balance.strategy,
        minority_below=recipe.balance.minority_below,
    )
    check_sampling(recipe.sampling.sampler, recipe.sampling.steps, section.T, recipe.sampling.eta)
    spec = network_spec(section, dataset.image_size, device)
    denoiser = fresh_denoiser(recipe, spec, dataset, device, seed=0)
    train_rate, sample_rate = _measure_denoiser(denoiser, dataset, recipe)

    specialists: tuple[int, ...] = ()
    if per_class:
        wanted = balance.n_new if from_scratch else balance.minority
        specialists = tuple(int(k) for k in np.flatnonzero(wanted))
    if section.steps is not None:
        total = section.steps
    else:
        seconds = parse_duration(section.time_limit or "10m")
        total = max(int(seconds * train_rate / section.batch_size), 1)
    share = 1.0 if from_scratch else section.specialist_share
    each = max(int(total * share / len(specialists)), 1) if specialists else 0
    base_steps = 0 if from_scratch else max(total - each * len(specialists), 1)
    sampling = recipe.sampling
    nfe = evaluations(sampling.sampler, sampling.steps, sampling.cfg_scale)
    n_images = len(DEFAULT_ARMS) * recipe.evaluation.seeds * recipe.evaluation.steps
    return FitPlan(
        balance=balance,
        spec=spec,
        n_parameters=denoiser.n_parameters,
        train_rate=train_rate,
        sample_rate=sample_rate / nfe,
        base_steps=base_steps,
        specialist_classes=specialists,
        specialist_steps=each,
        base_seconds=base_steps * section.batch_size / train_rate,
        fit_seconds=total * section.batch_size / train_rate,
        generate_seconds=balance.total_new * nfe / sample_rate,
        evaluate_seconds=n_images
        * recipe.evaluation.batch_size
        / _measure_classifier(dataset, recipe, device),
    )


def _measure_denoiser(denoiser: Denoiser, dataset: Dataset, recipe: Recipe) -> tuple[float, float]:
    """(training images/s, single-step sampling images/s) of a denoiser that is thrown away."""
    images, labels = dataset.train
    options = training_options(recipe.diffusion)
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
    train_rate = _rate(lambda: next(run), options.batch_size, seconds=2.0)
    n = recipe.sampling.batch_size
    some = np.resize(labels, n)

    def one_step() -> None:
        for _ in generate_images(denoiser, some, np.arange(n), steps=1, batch_size=n):
            pass

    one_step()
    return train_rate, _rate(one_step, n, seconds=0.7)


def _measure_classifier(dataset: Dataset, recipe: Recipe, device: torch.device) -> float:
    """Training images/s of the downstream classifiers, all that run side by side together."""
    few = replace(classifier_options(recipe), steps=4)
    bench = Bench(Material(dataset.train, dataset.n_classes), dataset.train, few, str(device))
    arm = Arm("real", "ce")
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if device.type == "cpu" else threads)
        bench.train(arm, 0)
        seconds = float(bench.train(arm, 0)["seconds"])
    finally:
        torch.set_num_threads(threads)
    return few.steps * few.batch_size / seconds * n_workers(device)


def _rate(call: Any, n_images: int, *, seconds: float) -> float:
    calls, start = 0, time.perf_counter()
    while True:
        call()
        calls += 1
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return n_images * calls / max(elapsed, math.ulp(1.0))
