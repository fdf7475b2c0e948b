"""`evaluate`: every arm, every seed, the same test set; then the table, the verdict, the page."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synthaug.evaluation.arms import DATA_SIDES, Arm, Material, TrainingSet, parse_arms
from synthaug.evaluation.classifiers import build_classifier
from synthaug.evaluation.losses import log_prior
from synthaug.evaluation.training import predict_logits, train_classifier
from synthaug.recipe import Recipe
from synthaug.stages.dataset import Dataset, load_dataset, read_extra
from synthaug.stages.device import resolve_device
from synthaug.stages.planning import classifier_options
from synthaug.stages.progress import Progress, Silent, Task
from synthaug.stages.run_dir import RunDir, open_run, read_recipe
from synthaug.stages.signals import StopFlag, stop_flag
from synthaug.stages.synthetic import read_synthetic
from synthaug.stages.verdict import ArmRuns, assemble_results, write_page

ADVANCE_EVERY = 20


@dataclass(frozen=True)
class EvaluateRequest:
    """What the user asked of `evaluate`; None takes the recipe's value."""

    run: Path | None = None
    arms: str | None = None
    seeds: int | None = None
    oracle: Path | None = None
    device: str = "auto"


def evaluate(request: EvaluateRequest, progress: Progress | None = None) -> dict[str, Any]:
    """Train the classifier in every arm, write results.json and report.html, return the results.

    Finished (arm, seed) pairs are kept in `predictions/` and not trained again.
    Raises `UsageError` before `generate`.
    """
    progress = progress or Silent()
    device = resolve_device(request.device)
    run = open_run(request.run)
    with run.locked(), stop_flag() as stop:
        recipe = read_recipe(run)
        dataset = load_dataset(run)
        arms = parse_arms(request.arms or recipe.evaluation.arms, oracle=request.oracle is not None)
        seeds = list(range(request.seeds or recipe.evaluation.seeds))
        extra = read_extra(request.oracle, dataset, progress) if request.oracle else None
        synthetic = None
        if any(arm.synthetic or arm.control for arm in arms):
            synthetic = read_synthetic(run, dataset)
        material = Material(
            real=dataset.train,
            n_classes=dataset.n_classes,
            synthetic=synthetic,
            extra=extra,
            synthetic_share=recipe.evaluation.synthetic_share,
            seed=recipe.seed,
        )
        session = _Session(run, dataset, recipe, material, device, stop)
        runs: dict[Arm, ArmRuns] = {}
        total = len(arms) * len(seeds) * recipe.evaluation.steps
        with progress.task("training classifiers", total, "steps") as task:
            for arm in arms:
                runs[arm] = session.run_arm(arm, seeds, task)
        results = assemble_results(run, recipe, dataset, runs, seeds, device)
        run.write_json("results.json", results)
        page = write_page(run, dataset, results)
        return {**results, "run": str(run.path), "report": str(page)}


@dataclass
class _Session:
    """One evaluation in one run folder."""

    run: RunDir
    dataset: Dataset
    recipe: Recipe
    material: Material
    device: torch.device
    stop: StopFlag

    def run_arm(self, arm: Arm, seeds: Sequence[int], task: Task) -> ArmRuns:
        """Predictions of one arm on the test set, seed by seed."""
        data = DATA_SIDES[arm.data](self.material)
        digest = _digest(data)
        logits, seconds, accuracies = [], [], []
        for seed in seeds:
            file = f"predictions/{arm.data}-{arm.loss}/seed-{seed}.npz"
            key = self._key(arm, seed, digest)
            kept = self.run.read_arrays(file)
            if kept is not None and str(kept["key"]) == key:
                task.advance(self.recipe.evaluation.steps, f"{arm.name}: trained before")
            else:
                kept = self._train(arm, data, seed, task)
                self.run.write_arrays(file, key=np.array(key), **kept)
            logits.append(kept["logits"])
            seconds.append(float(kept["seconds"]))
            accuracies.append(float(kept["train_accuracy"]))
        return ArmRuns(logits, float(np.mean(seconds)), float(np.mean(accuracies)))

    def _train(self, arm: Arm, data: TrainingSet, seed: int, task: Task) -> dict[str, np.ndarray]:
        dataset, options = self.dataset, classifier_options(self.recipe)
        classifier = build_classifier(
            dataset.channels, dataset.n_classes, dataset.image_size, seed=seed
        )

        def on_step(step: int, loss: float) -> None:
            self.stop.check("finished arms are kept; run `synthaug evaluate` again to go on")
            if (step + 1) % ADVANCE_EVERY == 0:
                task.advance(ADVANCE_EVERY, f"{arm.name} seed {seed} loss {loss:.3f}")
            elif step + 1 == options.steps:
                task.advance(options.steps % ADVANCE_EVERY)

        started = time.perf_counter()
        train_classifier(
            classifier,
            data,
            loss=arm.loss,
            log_prior=log_prior(dataset.counts(dataset.splits.train).tolist()),
            options=options,
            seed=seed,
            device=self.device,
            on_step=on_step,
        )
        seconds = time.perf_counter() - started
        images, labels = dataset.train
        predicted = predict_logits(classifier, images, device=self.device).argmax(1)
        return {
            "logits": predict_logits(classifier, dataset.test[0], device=self.device),
            "y_true": dataset.test[1],
            "seconds": np.array(seconds),
            "train_accuracy": np.array(np.mean(predicted == labels)),
        }

    def _key(self, arm: Arm, seed: int, digest: str) -> str:
        """Everything these predictions depend on; a kept file with another key is not used."""
        options = asdict(classifier_options(self.recipe))
        return json.dumps(
            [arm.name, seed, digest, options, self.dataset.fingerprint, str(self.device)]
        )


def _digest(data: TrainingSet) -> str:
    digest = hashlib.sha256()
    for array in (data.images, data.labels, data.weights):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
