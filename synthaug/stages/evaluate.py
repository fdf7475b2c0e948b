"""`evaluate`: every arm, every seed, the same test set; then the table, the verdict, the page."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from synthaug.evaluation.arms import Arm, Material, TrainingSet, parse_arms, training_set
from synthaug.evaluation.classifiers import build_classifier
from synthaug.evaluation.own_classifier import source_digest
from synthaug.recipe import Recipe
from synthaug.report.schema import validate_results
from synthaug.stages.arm_scores import ArmRuns
from synthaug.stages.balance import read_plan, refuse_single_class, refuse_without_test
from synthaug.stages.bench import Bench, Job, train_all
from synthaug.stages.cards import write_cards
from synthaug.stages.collapse import class_shares, measure_collapse
from synthaug.stages.dataset import Dataset, load_dataset, read_extra
from synthaug.stages.device import resolve_device
from synthaug.stages.disk import bytes_below, evaluate_bytes, require_room
from synthaug.stages.fidelity import FEATURE_JOB, choose_images, measure_fidelity
from synthaug.stages.folds import fold_runs, is_folded, pool, refuse_folds
from synthaug.stages.learning import learning_json
from synthaug.stages.likelihood import measure_likelihood
from synthaug.stages.memorisation import memorisation_json
from synthaug.stages.page import write_page
from synthaug.stages.planning import classifier_options
from synthaug.stages.progress import Progress, Silent
from synthaug.stages.results import assemble_results
from synthaug.stages.run_dir import RunDir, open_run, read_recipe
from synthaug.stages.signals import StopFlag, stop_flag
from synthaug.stages.synthetic import read_synthetic, read_unfiltered, was_selected
from synthaug.stages.tuning import most_trainings, read_tuning, with_tuned
from synthaug.words import number_of

FEATURES = "fidelity/features.npz"
PREDICTIONS = "predictions"
KEPT = "finished classifiers are kept; run `synthaug evaluate` again to go on"


@dataclass(frozen=True)
class EvaluateRequest:
    """What the user asked of `evaluate`; None takes the recipe's value."""

    run: Path | None = None
    arms: str | None = None
    seeds: int | None = None
    classifier: str | None = None
    oracle: Path | None = None
    likelihood: bool = False
    device: str = "auto"


def evaluate(request: EvaluateRequest, progress: Progress | None = None) -> dict[str, Any]:
    """Train the classifier in every arm, write results.json and report.html, return the results.

    Finished (arm, seed) pairs are kept in `predictions/` and not trained again.
    Raises `UsageError` before `generate` and for a classifier that cannot be built, and `DataError`
    for a single class or a wrong edit of the plan.
    """
    progress = progress or Silent()
    device = resolve_device(request.device)
    run = open_run(request.run)
    with run.locked(), stop_flag(KEPT) as stop, ExitStack() as folds:
        recipe = _read_recipe(run, request)
        folded = is_folded(recipe)
        if request.likelihood:
            refuse_folds(run, recipe, "the likelihood")
        runs = fold_runs(run, recipe) if folded else [run]
        arms = parse_arms(
            request.arms or recipe.evaluation.arms,
            oracle=request.oracle is not None,
            unfiltered=was_selected(runs[0]),
        )
        seeds = list(range(request.seeds or recipe.evaluation.seeds))
        progress.say(_extent(arms, seeds, len(runs)))
        parts = []
        beside: dict[str, Any] = {}
        for fold, own in enumerate(runs):
            if folded:
                progress.say(f"fold {fold + 1} of {len(runs)}")
                folds.enter_context(own.locked())
            data, bench = _prepare(own, request, arms, str(device), progress)
            need = evaluate_bytes(len(arms) * len(seeds), len(data.splits.test), data.n_classes)
            require_room(own.path, need - bytes_below(own / PREDICTIONS), "evaluate")
            bench = with_tuned(own, bench, data, arms, progress, stop)
            parts.append((data, _run_arms(own, bench, data, arms, seeds, progress, stop)))
            if fold == 0:  # features of one fold's network mean nothing to another's
                beside["fidelity"] = _fidelity(own, bench, data, progress, stop)
                beside["memorisation"] = memorisation_json(data, bench.material.synthetic)
        dataset, judged = pool(parts) if folded else parts[0]
        options = {
            "arms": request.arms,
            "classifier": request.classifier,
            "oracle": "DIR" if request.oracle else None,
        }
        results = assemble_results(run, recipe, dataset, judged, seeds, device, options)
        results |= beside
        results["learning"] = learning_json(runs[0], recipe.diffusion.batch_size)
        if request.likelihood:
            results["likelihood"] = measure_likelihood(run, dataset, recipe, device, progress, stop)
        results.update(read_tuning(runs, arms))
        validate_results(results)
        run.write_json("results.json", results)
        page = write_page(
            run, dataset, results, pictures=runs[0], device=device, progress=progress, stop=stop
        )
        for own, (data, _) in zip(runs, parts, strict=True):
            write_cards(own, data, results)
        return {**results, "run": str(run.path), "report": str(page)}


def _extent(arms: Sequence[Arm], seeds: Sequence[int], folds: int) -> str:
    """What there is to train, in words."""
    told = (
        f"{number_of(len(arms), 'arm')} with {number_of(len(seeds), 'seed')} each: "
        f"{number_of(len(arms) * len(seeds), 'classifier')}"
    )
    if any(arm.tuned for arm in arms):
        told += f", after up to {most_trainings()} of tuning"
    return told + (f", for each of {folds} folds" if folds > 1 else "")


def _read_recipe(run: RunDir, request: EvaluateRequest) -> Recipe:
    """The recipe of a run, with the classifier that was asked for."""
    recipe = read_recipe(run)
    if request.classifier is None:
        return recipe
    section = recipe.evaluation.model_copy(update={"classifier": request.classifier})
    return recipe.model_copy(update={"evaluation": section})


def _prepare(
    run: RunDir, request: EvaluateRequest, arms: Sequence[Arm], device: str, progress: Progress
) -> tuple[Dataset, Bench]:
    """The dataset of one run and all that its arms have in common."""
    recipe = _read_recipe(run, request)
    options = classifier_options(recipe)
    dataset = load_dataset(run)
    refuse_single_class(dataset)
    refuse_without_test(dataset)
    # A wrong edit of the plan and a wrong classifier are told now, not after the training.
    plan = read_plan(run, dataset)
    size = dataset.channels, dataset.n_classes, dataset.image_size
    build_classifier(*size, seed=0, name=options.classifier)
    extra = None
    if request.oracle:
        extra = read_extra(request.oracle, dataset, recipe.data, progress)
    synthetic = None
    if any(arm.synthetic or arm.control for arm in arms):
        synthetic = read_synthetic(run, dataset)
    unfiltered = None
    if any(arm.data == "synthaug-unfiltered" for arm in arms):
        unfiltered = read_unfiltered(run, dataset)
    material = Material(
        real=dataset.train,
        n_classes=dataset.n_classes,
        synthetic=synthetic,
        unfiltered=unfiltered,
        extra=extra,
        synthetic_share=recipe.evaluation.synthetic_share,
        seed=recipe.seed,
        n_new=np.array(plan.n_new),
    )
    return dataset, Bench(material, dataset.test, options, device)


def _run_arms(
    run: RunDir,
    bench: Bench,
    dataset: Dataset,
    arms: Sequence[Arm],
    seeds: Sequence[int],
    progress: Progress,
    stop: StopFlag,
) -> dict[Arm, ArmRuns]:
    """Predictions of every arm and seed: read where they are kept, trained where they are not."""
    digests, shares = {}, {}
    for side in {arm.data for arm in arms}:
        data = training_set(side, bench.material)
        digests[side] = _digest(data)
        shares[side] = class_shares(data, bench.options, bench.material.n_classes)
    jobs = [(arm, seed) for arm in arms for seed in seeds]
    keys = {job: _key(bench, job, digests[job[0].data], dataset) for job in jobs}
    found: dict[Job, dict[str, np.ndarray]] = {}
    for job, key in keys.items():
        kept = run.read_arrays(_file(job))
        if kept is not None and str(kept["key"]) == key:
            found[job] = kept
    missing = [job for job in keys if job not in found]
    with progress.task("training classifiers", len(keys), "classifiers") as task:
        task.skip(len(found))
        for job, arrays in train_all(bench, missing, stop):
            run.write_arrays(_file(job), key=np.array(keys[job]), **arrays)
            found[job] = arrays
            task.advance(1, f"{job[0].name}, seed {job[1]}")
    return {arm: _runs([found[arm, seed] for seed in seeds], shares[arm.data]) for arm in arms}


def _runs(kept: Sequence[dict[str, np.ndarray]], shares: np.ndarray) -> ArmRuns:
    """What the seeds of one arm come to; `shares` [K] of the classes in its draws."""
    return ArmRuns(
        [arrays["logits"] for arrays in kept],
        float(np.mean([arrays["seconds"] for arrays in kept])),
        float(np.mean([arrays["train_accuracy"] for arrays in kept])),
        measure_collapse(kept, shares),
    )


def _fidelity(
    run: RunDir, bench: Bench, dataset: Dataset, progress: Progress, stop: StopFlag
) -> dict[str, Any] | None:
    """`fidelity` of results.json; None without synthetic images or a last linear layer.

    Its network is trained once more, with the images to describe: kept features are then as small
    as predictions are, where a kept network may be any size.
    """
    if bench.material.synthetic is None:
        return None
    images, labels = bench.material.synthetic
    test_images, test_labels = bench.test
    k = dataset.n_classes
    theirs, ours = choose_images(test_labels, labels, k)
    features = np.empty((0, 1), np.float32)
    if len(ours):
        described = np.concatenate([test_images[theirs], images[ours]])
        bench = replace(bench, described=described)
        arm, _ = FEATURE_JOB
        key = _key(bench, FEATURE_JOB, _digest(training_set(arm.data, bench.material)), dataset)
        arrays = run.read_arrays(FEATURES)
        if arrays is None or str(arrays["key"]) != key:
            progress.say("training a classifier once more, for the features of images")
            ((_, arrays),) = train_all(bench, [FEATURE_JOB], stop)
            arrays = {name: arrays[name] for name in ("features",) if name in arrays}
            run.write_arrays(FEATURES, key=np.array(key), **arrays)
        if "features" not in arrays:
            return None
        features = arrays["features"]
    return measure_fidelity(
        (features[: len(theirs)], test_labels[theirs]),
        (features[len(theirs) :], labels[ours]),
        np.bincount(test_labels, minlength=k).tolist(),
        np.bincount(labels, minlength=k).tolist(),
        dataset.class_names,
        seed=bench.material.seed,
    )


def _key(bench: Bench, job: Job, digest: str, dataset: Dataset) -> str:
    """What a kept result depends on; a result of another key is made again."""
    arm, seed = job
    options = bench.options
    told = [arm.name, seed, digest, asdict(options), source_digest(options.classifier)]
    if bench.described is not None:
        told.append(hashlib.sha256(np.ascontiguousarray(bench.described).data).hexdigest())
    return json.dumps([*told, dataset.fingerprint, bench.device])


def _file(job: Job) -> str:
    arm, seed = job
    return f"{PREDICTIONS}/{arm.data}-{arm.loss}/seed-{seed}.npz"


def _digest(data: TrainingSet) -> str:
    """SHA-256 of all that a training reads of its data, each field by name, type and shape."""
    digest = hashlib.sha256()
    for field in fields(data):
        value = getattr(data, field.name)
        if isinstance(value, np.ndarray):
            digest.update(f"{field.name} {value.dtype} {value.shape}\n".encode())
            digest.update(np.ascontiguousarray(value).reshape(-1).data)
        else:
            digest.update(f"{field.name} {value!r}\n".encode())
    return digest.hexdigest()
