"""Training the classifiers of an evaluation, side by side on a CPU, one by one on a GPU.

Networks this small gain little from a second thread, so each classifier gets one thread and a
process of its own. Their results then do not depend on how many cores the machine has.
"""

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import loky
import numpy as np
import torch
from loky import ProcessPoolExecutor
from loky.process_executor import TerminatedWorkerError
from torch import nn

from synthaug.data.workers import end_with_parent, hidden_from_signals
from synthaug.errors import ResourceError
from synthaug.evaluation.arms import Arm, Material, training_set
from synthaug.evaluation.classifiers import build_classifier
from synthaug.evaluation.heads import last_linear, penultimate
from synthaug.evaluation.training import ClassifierOptions, predict_logits, train_classifier
from synthaug.stages.signals import StopFlag

MAX_WORKERS = 8
POLL_SECONDS = 0.2
FEATURES_A_CLASS = 100
FEATURES_IN_ALL = 2000
"""At most so many train images keep their features: half a megabyte for ten classes."""

Job = tuple[Arm, int]
"""An arm and a seed."""
AnyJob = TypeVar("AnyJob", bound=tuple[Any, int])


class Trainer(Protocol):
    """Trains the classifier of a job, what it is and its seed; a worker process gets a copy."""

    @property
    def device(self) -> str: ...

    def train(self, what: Any, seed: int, /, stop: StopFlag | None = None) -> dict[str, np.ndarray]:
        """Arrays to keep of one classifier."""


@dataclass(frozen=True)
class Bench:
    """What all classifiers of an evaluation share; `test` is (images, labels), never trained on."""

    material: Material
    test: tuple[np.ndarray, np.ndarray]
    options: ClassifierOptions
    device: str
    described: np.ndarray | None = None
    """Images uint8 [N, C, H, W], never trained on, whose features `train` returns as well."""

    def train(self, arm: Arm, seed: int, stop: StopFlag | None = None) -> dict[str, np.ndarray]:
        """Train one classifier and test it.

        Returns its test `logits` float32 [N, K] and their `y_true`, the `seconds` of training, the
        `train_accuracy` on the real train images and, if its last layer is an `nn.Linear`, what
        neural collapse is measured on: `train_features` float32 [M, D], the input of that layer for
        some real train images, the same ones in every arm and seed, their `train_feature_labels`
        int64 [M], its weight `last_layer` float32 [K, D] and `last_bias` float32 [K] (zero where
        it has none), and the `features` float32 [N, D] of the `described` images if there are any.

        Raises `UsageError` for a classifier that cannot be built or lacks what the arm needs.
        """
        images, labels = self.material.real
        n_classes = self.material.n_classes
        device = torch.device(self.device)
        classifier = build_classifier(
            images.shape[1],
            n_classes,
            images.shape[-1],
            seed=seed,
            name=self.options.classifier,
        )

        def on_step(step: int, loss: float) -> None:
            del step, loss
            if stop is not None:
                stop.check()

        data = training_set(arm.data, self.material)
        options = self.options if data.tau is None else replace(self.options, tau=data.tau)
        started = time.perf_counter()
        train_classifier(
            classifier,
            data,
            loss=arm.loss,
            counts=np.bincount(labels, minlength=n_classes),
            options=options,
            seed=seed,
            device=device,
            on_step=on_step,
        )
        seconds = time.perf_counter() - started
        predicted = predict_logits(classifier, images, device=device).argmax(1)
        return {
            "logits": predict_logits(classifier, self.test[0], device=device),
            "y_true": self.test[1],
            "seconds": np.array(seconds),
            "train_accuracy": np.array(np.mean(predicted == labels)),
            **_last_layer(classifier, images, labels),
            **_features(classifier, self.described),
        }


def _last_layer(
    classifier: nn.Module, images: np.ndarray, labels: np.ndarray
) -> dict[str, np.ndarray]:
    """The arrays of `Bench.train` that tell of the last layer; none if it is no `nn.Linear`."""
    linear = last_linear(classifier, images)
    chosen = sample_of_each_class(labels)
    features = penultimate(classifier, images[chosen])
    if linear is None or features is None:
        return {}
    weight = linear.weight.detach().float().cpu().numpy()
    bias = np.zeros(len(weight), np.float32)
    if linear.bias is not None:
        bias = linear.bias.detach().float().cpu().numpy()
    return {
        "train_features": features,
        "train_feature_labels": labels[chosen],
        "last_layer": weight,
        "last_bias": bias,
    }


def _features(classifier: nn.Module, images: np.ndarray | None) -> dict[str, np.ndarray]:
    features = None if images is None else penultimate(classifier, images)
    return {} if features is None else {"features": features}


def sample_of_each_class(labels: np.ndarray) -> np.ndarray:
    """Positions int64 [M], ascending: some of each class, the same ones whenever asked."""
    classes = np.unique(labels)
    most = min(FEATURES_A_CLASS, max(FEATURES_IN_ALL // len(classes), 2))
    rng = np.random.default_rng(0xFEA7)
    shuffled = rng.permutation(len(labels))
    chosen = [shuffled[labels[shuffled] == k][:most] for k in classes]
    return np.sort(np.concatenate(chosen))


def n_workers(device: torch.device) -> int:
    """Processes that train side by side: one a core on a CPU, one on anything else."""
    return min(loky.cpu_count(), MAX_WORKERS) if device.type == "cpu" else 1


def train_all(
    bench: Trainer, jobs: Sequence[AnyJob], stop: StopFlag
) -> Iterator[tuple[AnyJob, dict[str, np.ndarray]]]:
    """Yield (job, what `bench.train` returns) in the order they finish.

    Raises `InterruptedRun` on a stop signal and `ResourceError` when a worker process dies.
    """
    if torch.device(bench.device).type != "cpu":
        for job in jobs:
            yield job, bench.train(job[0], job[1], stop)
        return
    workers = max(min(n_workers(torch.device("cpu")), len(jobs)), 1)
    pool = ProcessPoolExecutor(
        max_workers=workers,
        initializer=_start_worker,
        initargs=(bench, os.getpid()),
        env={"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    )
    try:
        with hidden_from_signals():
            pending = {pool.submit(_train_in_worker, *job): job for job in jobs}
        while pending:
            done, _ = wait(pending, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                yield pending.pop(future), future.result()
            stop.check()
    except TerminatedWorkerError as error:
        stop.check()
        raise ResourceError(
            "a process that trained a classifier was killed, most likely for lack of memory",
            remedy=stop.kept,
        ) from error
    finally:
        pool.shutdown(kill_workers=True)


_bench: Trainer | None = None


def _start_worker(bench: Trainer, parent: int) -> None:
    """Runs once in each worker."""
    global _bench
    end_with_parent(parent)
    torch.set_num_threads(1)
    # Denormal numbers are slow and mean nothing here; the switch is for this process alone.
    torch.set_flush_denormal(True)
    _bench = bench


def _train_in_worker(what: Any, seed: int) -> dict[str, np.ndarray]:
    assert _bench is not None
    return _bench.train(what, seed)
