"""The plan of a fit: every number a person wants to see before the machine is busy."""

import math
import time
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch

from synthaug.balance.plan import BalancePlan, plan_balance
from synthaug.diffusion.generation import check_sampling
from synthaug.diffusion.partial import partial_timesteps
from synthaug.diffusion.samplers import evaluations, spaced_timesteps
from synthaug.errors import DataError, UsageError
from synthaug.evaluation.arms import DEFAULT_ARMS, Arm, Material
from synthaug.evaluation.training import ClassifierOptions
from synthaug.recipe import DiffusionSection, Recipe, parse_duration
from synthaug.stages.bench import Bench, n_workers
from synthaug.stages.dataset import Dataset
from synthaug.stages.device import describe_device
from synthaug.stages.disk import DiskNeed, evaluate_bytes, fit_bytes, generate_bytes
from synthaug.stages.sizing import DEFAULT_LIMIT, NetworkPlan, plan_network

LARGEST_SIZE = {"cpu": 32, "mps": 64, "cuda": 64}


@dataclass(frozen=True)
class FitPlan:
    """What `fit` will do. Times are seconds, rates images per second, measured just now.

    `base_steps` is 0 when every class is trained from scratch; `specialist_steps` is the number
    for each class in `specialist_classes`.
    """

    balance: BalancePlan
    network: NetworkPlan
    sample_rate: float
    base_steps: int
    specialist_classes: tuple[int, ...]
    specialist_steps: int
    base_seconds: float
    fit_seconds: float
    generate_seconds: float
    evaluate_seconds: float
    batch_size: int
    disk: DiskNeed

    def to_json(self, dataset: Dataset, device: torch.device) -> dict[str, Any]:
        b = self.balance
        splits = dataset.splits
        return {
            "dataset": dataset.name,
            "fingerprint": dataset.fingerprint,
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
                    "mode": b.mode[k],
                    "mode_reason": b.mode_reason[k],
                }
                for k in range(len(b.class_names))
            ],
            "total_new": int(b.total_new),
            "left_out_by_caps": sum(b.left_out),
            "network": {
                "channels": list(self.network.spec.channels),
                "layers": self.network.spec.layers,
                "patch": self.network.spec.patch,
                "parameters": self.network.n_parameters,
                "flops_per_image": self.network.flops_per_image,
            },
            "train_images_per_second": round(self.network.train_rate, 1),
            "sample_images_per_second": round(self.sample_rate, 1),
            "batch_size": self.batch_size,
            "micro_batch": self.network.micro_batch,
            "drawn_with_replacement": [
                name
                for name, count in zip(b.class_names, b.counts, strict=True)
                if count < self.batch_size
            ],
            "base_steps": self.base_steps,
            "specialists": [b.class_names[k] for k in self.specialist_classes],
            "specialist_steps": self.specialist_steps,
            "expected_seconds": {
                "fit": round(self.fit_seconds),
                "generate": round(self.generate_seconds),
                "evaluate": round(self.evaluate_seconds),
            },
            "disk_bytes": asdict(self.disk),
            "notices": [*dataset.notices, *self.balance.notices],
        }


class TimeBudget:
    """Keeps a training near its time limit though the machine's speed changes under way.

    When a few fixed shares of the limit, or of the steps planned, are behind it, the number of
    steps is worked out anew from the speed so far; in between it stands, so that the learning rate
    is not dragged along at every step.
    """

    MARKS = (0.03, 0.1, 0.25, 0.5, 0.75, 0.9)

    def __init__(self, seconds: float, *, spent: float = 0.0, marks_passed: int = 0) -> None:
        """`spent` seconds of the limit are gone already, and `marks_passed` of `MARKS`."""
        self._seconds = seconds
        self._started = time.perf_counter() - spent
        self.marks_passed = marks_passed

    @property
    def spent(self) -> float:
        """Seconds so far, by a clock that nobody sets."""
        return time.perf_counter() - self._started

    def horizon(self, done: int, planned: int) -> int:
        """The number of steps to aim for after `done` of `planned`; never fewer than `done`."""
        elapsed = self.spent
        share = elapsed / self._seconds
        if self._marks(max(share, done / planned)) <= self.marks_passed:
            return planned if share < 1.1 else done
        # By time alone: a plan that was too short has its marks of steps ahead of it once more.
        self.marks_passed = self._marks(share)
        return done + max(int((self._seconds - elapsed) / elapsed * done), 0)

    def _marks(self, share: float) -> int:
        return sum(share >= mark for mark in self.MARKS)


def classifier_options(recipe: Recipe) -> ClassifierOptions:
    """The part of the recipe that `train_classifier` reads."""
    section = recipe.evaluation
    return ClassifierOptions(**{f: getattr(section, f) for f in ClassifierOptions.__annotations__})


def plan_fit(
    dataset: Dataset,
    recipe: Recipe,
    *,
    per_class: bool,
    from_scratch: bool,
    device: torch.device,
    test: bool = True,
) -> FitPlan:
    """Balance, network and time, from the data and from a few measured steps of each kind.

    Raises `UsageError` for what the recipe asks and the data or network cannot do, and `DataError`
    for a dataset without a test image where there is to be a `test`.
    """
    if from_scratch and not per_class:
        raise UsageError("--from-scratch without --per-class", remedy="add --per-class")
    dataset.check()
    if test and not len(dataset.splits.test):
        raise DataError(
            "no image is left for testing", remedy="add images, or give the dataset a test/ folder"
        )
    section = recipe.diffusion
    balance = plan_balance(
        dataset.class_names,
        dataset.counts(dataset.splits.train).tolist(),
        recipe.balance.strategy,
        minority_below=recipe.balance.minority_below,
        caps=recipe.balance.cap,
    )
    check_sampling(recipe.sampling.sampler, recipe.sampling.steps, section.T, recipe.sampling.eta)
    network = plan_network(recipe, dataset, device)

    specialists: tuple[int, ...] = ()
    if per_class:
        wanted = balance.n_new if from_scratch else balance.minority
        specialists = tuple(int(k) for k in np.flatnonzero(wanted))
    if from_scratch and not specialists:
        raise UsageError(
            "--from-scratch trains the classes that get new images alone, and the plan gives none",
            remedy="leave it out, or ask for images: --set balance.strategy=200",
        )
    steps = share_steps(section, len(specialists), from_scratch, network.train_rate)
    sampling = recipe.sampling
    nfe = evaluations(sampling.sampler, sampling.steps, sampling.cfg_scale)
    return FitPlan(
        balance=balance,
        network=network,
        sample_rate=network.sample_rate / nfe,
        base_steps=steps.base,
        specialist_classes=specialists,
        specialist_steps=steps.each_specialist,
        base_seconds=steps.base * section.batch_size / network.train_rate,
        fit_seconds=steps.total * section.batch_size / network.train_rate,
        generate_seconds=_expected_evaluations(balance, recipe) / network.sample_rate,
        evaluate_seconds=_expected_evaluation(dataset, recipe, device),
        batch_size=section.batch_size,
        disk=DiskNeed(
            fit_bytes(
                dataset.pixels.nbytes, len(dataset.labels), network.n_parameters, len(specialists)
            ),
            generate_bytes(balance, dataset.pixels.shape[1:], recipe),
            evaluate_bytes(
                len(DEFAULT_ARMS) * recipe.evaluation.seeds,
                len(dataset.splits.test),
                dataset.n_classes,
            ),
        ),
    )


class Steps(NamedTuple):
    """Optimiser steps of a fit: all together, of the base, and of each specialist."""

    total: int
    base: int
    each_specialist: int


def share_steps(
    section: DiffusionSection, n_specialists: int, from_scratch: bool, train_rate: float
) -> Steps:
    """The steps of a recipe, or as many as its time limit has room for at `train_rate` images/s."""
    if section.steps is not None:
        total = section.steps
    else:
        seconds = parse_duration(section.time_limit or DEFAULT_LIMIT)
        total = max(int(seconds * train_rate / section.batch_size), 1)
    share = 1.0 if from_scratch else section.specialist_share
    each = max(int(total * share / n_specialists), 1) if n_specialists else 0
    return Steps(total, 0 if from_scratch else max(total - each * n_specialists, 1), each)


def _expected_evaluation(dataset: Dataset, recipe: Recipe, device: torch.device) -> float:
    """Seconds of `evaluate`; none for a single class or without a test, which it refuses."""
    if dataset.n_classes < 2 or not len(dataset.splits.test):
        return 0.0
    section = recipe.evaluation
    n_images = len(DEFAULT_ARMS) * section.seeds * section.steps * section.batch_size
    return n_images / _measure_classifier(dataset, recipe, device)


def _expected_evaluations(balance: BalancePlan, recipe: Recipe) -> int:
    """Network evaluations of `generate` without redraws.

    The partial modes need fewer of them for an image, and selection draws more than are kept.

    Raises `UsageError` for a strength that leaves such a class no sampling step.
    """
    sampling, T = recipe.sampling, recipe.diffusion.T
    over_generate = recipe.selection.over_generate if recipe.selection.enabled else 1.0
    timesteps = spaced_timesteps(T, sampling.steps)
    total = 0
    for n_new, mode in zip(balance.n_new, balance.mode_in_use, strict=True):
        if n_new:
            left = timesteps
            if mode != "sample":
                left = partial_timesteps(timesteps, sampling.strength, T)
            drawn = math.ceil(n_new * over_generate)
            total += drawn * evaluations(sampling.sampler, len(left), sampling.cfg_scale)
    return total


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
