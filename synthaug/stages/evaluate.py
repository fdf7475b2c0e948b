"""`evaluate`: every arm, every seed, the same test set; then the table, the verdict, the page."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from synthaug.evaluation.arms import Arm, Material, TrainingSet, parse_arms, training_set
from synthaug.stages.balance import read_plan, refuse_single_class
from synthaug.stages.bench import Bench, Job, train_all
from synthaug.stages.dataset import Dataset, load_dataset, read_extra
from synthaug.stages.device import resolve_device
from synthaug.stages.folds import fold_runs, is_folded, pool, refuse_folds
from synthaug.stages.likelihood import measure_likelihood
from synthaug.stages.page import write_page
from synthaug.stages.planning import classifier_options
from synthaug.stages.progress import Progress, Silent
from synthaug.stages.run_dir import RunDir, open_run, read_recipe
from synthaug.stages.signals import StopFlag, stop_flag
from synthaug.stages.synthetic import read_synthetic
from synthaug.stages.tuning import read_tuning, with_tuned
from synthaug.stages.verdict import ArmRuns, assemble_results


@dataclass(frozen=True)
class EvaluateRequest:
    """What the user asked of `evaluate`; None takes the recipe's value."""

    run: Path | None = None
    arms: str | None = None
    seeds: int | None = None
    oracle: Path | None = None
    likelihood: bool = False
    device: str = "auto"


def evaluate(request: EvaluateRequest, progress: Progress | None = None) -> dict[str, Any]:
    """Train the classifier in every arm, write results.json and report.html, return the results.

    Finished (arm, seed) pairs are kept in `predictions/` and not trained again.
    Raises `UsageError` before `generate`, and `DataError` for a single class or a wrong edit of the
    plan.
    """
    progress = progress or Silent()
    device = resolve_device(request.device)
    run = open_run(request.run)
    with run.locked(), stop_flag() as stop:
        recipe = read_recipe(run)
        folded = is_folded(recipe)
        if request.likelihood:
            refuse_folds(run, recipe, "the likelihood")
        runs = fold_runs(run, recipe) if folded else [run]
        arms = parse_arms(request.arms or recipe.evaluation.arms, oracle=request.oracle is not None)
        seeds = list(range(request.seeds or recipe.evaluation.seeds))
        parts = []
        for fold, own in enumerate(runs):
            if folded:
                progress.say(f"fold {fold + 1} of {len(runs)}")
            parts.append(_measure(own, request, arms, seeds, str(device), progress, stop))
        dataset, judged = pool(parts) if folded else parts[0]
        results = assemble_results(run, recipe, dataset, judged, seeds, device)
        if request.likelihood:
            results["likelihood"] = measure_likelihood(run, dataset, recipe, device, progress, stop)
        results.update(read_tuning(runs, arms))
        run.write_json("results.json", results)
        page = write_page(run, dataset, results, pictures=runs[0])
        return {**results, "run": str(run.path), "report": str(page)}


def _measure(
    run: RunDir,
    request: EvaluateRequest,
    arms: Sequence[Arm],
    seeds: Sequence[int],
    device: str,
    progress: Progress,
    stop: StopFlag,
) -> tuple[Dataset, dict[Arm, ArmRuns]]:
    """The dataset of one run and the predictions of all arms on its test images."""
    recipe = read_recipe(run)
    dataset = load_dataset(run)
    refuse_single_class(dataset)
    read_plan(run, dataset)  # a wrong edit is told now, not after the training
    extra = None
    if request.oracle:
        extra = read_extra(request.oracle, dataset, recipe.data, progress)
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
    bench = Bench(material, dataset.test, classifier_options(recipe), device)
    bench = with_tuned(run, bench, dataset, arms, progress, stop)
    return dataset, _run_arms(run, bench, dataset.fingerprint, arms, seeds, progress, stop)


def _run_arms(
    run: RunDir,
    bench: Bench,
    fingerprint: str,
    arms: Sequence[Arm],
    seeds: Sequence[int],
    progress: Progress,
    stop: StopFlag,
) -> dict[Arm, ArmRuns]:
    """Predictions of every arm and seed: read where they are kept, trained where they are not."""
    digests = {data: _digest(training_set(data, bench.material)) for data in {a.data for a in arms}}
    keys = {
        (arm, seed): json.dumps(
            [arm.name, seed, digests[arm.data], asdict(bench.options), fingerprint, bench.device]
        )
        for arm in arms
        for seed in seeds
    }
    found: dict[Job, dict[str, np.ndarray]] = {}
    for job, key in keys.items():
        kept = run.read_arrays(_file(job))
        if kept is not None and str(kept["key"]) == key:
            found[job] = kept
    missing = [job for job in keys if job not in found]
    with progress.task("training classifiers", len(keys), "classifiers") as task:
        task.advance(len(found))
        for job, arrays in train_all(bench, missing, stop):
            run.write_arrays(_file(job), key=np.array(keys[job]), **arrays)
            found[job] = arrays
            task.advance(1, f"{job[0].name}, seed {job[1]}")
    return {
        arm: ArmRuns(
            [found[arm, seed]["logits"] for seed in seeds],
            float(np.mean([found[arm, seed]["seconds"] for seed in seeds])),
            float(np.mean([found[arm, seed]["train_accuracy"] for seed in seeds])),
        )
        for arm in arms
    }


def _file(job: Job) -> str:
    arm, seed = job
    return f"predictions/{arm.data}-{arm.loss}/seed-{seed}.npz"


def _digest(data: TrainingSet) -> str:
    digest = hashlib.sha256()
    for array in (data.images, data.labels, data.weights):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(repr(data.tau).encode())
    return digest.hexdigest()
