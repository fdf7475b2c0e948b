"""`ablate`: one question, some variants of a recipe, each trained alike and measured alike.

A variant is measured by its schedule (terminal SNR, L_T), by the bound on test images, and by what
its samples teach: the classification accuracy score of Ravuri & Vinyals (2019, arXiv:1905.10887), a
classifier trained on synthetic images alone and tested on real ones.
"""

import math
import shutil
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synthaug import __version__
from synthaug.balance.plan import plan_balance
from synthaug.data.longtail import write_digits_long_tail
from synthaug.data.names import folder_names
from synthaug.diffusion.checkpoint import load_checkpoint
from synthaug.diffusion.likelihood import denoiser_bound
from synthaug.errors import UsageError
from synthaug.evaluation.arms import Arm, Material
from synthaug.evaluation.compare import Estimate, estimate, paired_difference
from synthaug.recipe import Recipe, load_recipe, variant_recipes
from synthaug.report.ablation import ablation_sentence
from synthaug.report.ablation_figure import write_ablation_figure
from synthaug.stages.bench import Bench, train_all
from synthaug.stages.dataset import Dataset, load_dataset
from synthaug.stages.device import describe_device, resolve_device
from synthaug.stages.fit import FitRequest, fit
from synthaug.stages.fit_record import FILE as SESSION
from synthaug.stages.fit_record import recipe_changes
from synthaug.stages.generate import GenerateRequest, generate
from synthaug.stages.likelihood import choose_images
from synthaug.stages.networks import find_denoiser
from synthaug.stages.planning import classifier_options
from synthaug.stages.progress import Progress, Silent
from synthaug.stages.run_dir import RUNS, RunDir, check_new_run, utc_now
from synthaug.stages.signals import StopFlag, stop_flag
from synthaug.stages.synthetic import read_synthetic

DIGITS_PER_CLASS = 100
CURVE_POINTS = 101
MEASURED = "measured.json"
ALONE = Arm("real", "ce")
"""The images given and nothing else, with cross-entropy."""


@dataclass(frozen=True)
class AblateRequest:
    """What the user asked of `ablate`; without `dataset`, balanced 8x8 digits are written."""

    recipe: Recipe
    dataset: Path | None = None
    out: Path | None = None
    device: str = "auto"
    resume: bool = False
    """Go on in `out`: what is trained and measured there is not trained or measured again."""


def ablate(request: AblateRequest, progress: Progress | None = None) -> dict[str, Any]:
    """Train and measure every variant; write ablation.json and ablation.png, return the former.

    Raises `UsageError` for a recipe without variants, a variant that is no valid recipe, or a
    folder that is not empty, before anything is written; with `resume`, for one that holds no
    ablation or another.
    """
    progress = progress or Silent()
    recipes = variant_recipes(request.recipe)
    device = resolve_device(request.device)
    home = RunDir(request.out or RUNS / f"{datetime.now():%Y%m%d-%H%M%S}-{request.recipe.name}")
    if request.resume:
        _check_begun(home, request.recipe)
    else:
        check_new_run(home.path, request.dataset)
        # A default made explicit could contradict what a variant says.
        home.write_text("ablation.yaml", request.recipe.to_yaml(said_only=True))
    dataset = request.dataset
    if dataset is None:
        dataset = home / "digits"
        if not home.has("variants"):  # or a process was killed while it wrote them
            shutil.rmtree(dataset, ignore_errors=True)
            write_digits_long_tail(
                dataset, n_max=DIGITS_PER_CLASS, imbalance_ratio=1, seed=request.recipe.seed
            )
    kept = (
        f"finished variants are kept in {home / 'variants'}; `synthaug ablate --resume "
        f"--out {home.path}` goes on"
    )
    with stop_flag(kept) as stop:
        return _measure_all(request, recipes, home, dataset, device, progress, stop)


def _check_begun(home: RunDir, recipe: Recipe) -> None:
    """Raise `UsageError` unless `home` holds an ablation of this recipe."""
    if not home.has("ablation.yaml"):
        raise UsageError(
            f"nothing to resume in {home.path}: it has no ablation.yaml",
            remedy="name the folder of an ablation with --out, or leave --resume out",
        )
    begun = load_recipe(str(home / "ablation.yaml")).model_dump(mode="json")
    if changes := recipe_changes(begun, recipe):
        told = "; ".join(f"{key}: {values}" for key, values in changes.items())
        raise UsageError(
            f"the ablation began otherwise: {told}", remedy="undo the change, or use a new --out"
        )


def _measure_all(
    request: AblateRequest, recipes: dict[str, Recipe], home: RunDir, dataset: Path,
    device: torch.device, progress: Progress, stop: StopFlag,
) -> dict[str, Any]:  # fmt: skip
    variants: list[dict[str, Any]] = []
    scores: dict[str, np.ndarray] = {}
    n_synthetic = 0
    for (name, recipe), folder in zip(recipes.items(), folder_names(recipes).values(), strict=True):
        progress.say(f"variant {len(variants) + 1} of {len(recipes)}: {name}")
        run = RunDir(home / "variants" / folder)
        started = time.perf_counter()
        if run.has(MEASURED):
            told = run.read_json(MEASURED)
            variants.append(told["variant"])
            scores[name], n_synthetic = np.array(told["scores"]), told["n_synthetic"]
            data = load_dataset(run)
            continue
        begun = run.has(SESSION)
        fit(
            FitRequest(
                None if begun else dataset, recipe, run=run.path, device=request.device,
                resume=begun,
            ),
            progress,
        )  # fmt: skip
        images, labels = _samples(run, request.device, progress)
        n_synthetic = len(labels)
        data = load_dataset(run)
        # By the numbers of the recipe, not of the variant: all are measured alike.
        measured = _bound(run, data, request.recipe, device, progress, stop)
        scores[name] = _accuracies(
            (images, labels), data, request.recipe, device, progress, stop, name
        )
        variants.append(
            {
                "name": name,
                "values": request.recipe.ablation.variants[name],
                "run": str(run.path),
                **measured,
                "accuracy": _json(estimate(scores[name])),
                "seconds": round(time.perf_counter() - started, 1),
            }
        )
        told = {"variant": variants[-1], "scores": scores[name].tolist()}
        run.write_json(MEASURED, {**told, "n_synthetic": n_synthetic})
    real = _accuracies(data.train, data, request.recipe, device, progress, stop, "real images")
    _compare(variants, scores)
    result = {
        "synthaug_version": __version__,
        "created": utc_now(),
        "question": request.recipe.ablation.question,
        "recipe": request.recipe.name,
        "dataset": str(dataset),
        "device": describe_device(device),
        "seeds": request.recipe.evaluation.seeds,
        "n_synthetic": n_synthetic,
        "variants": variants,
        "real_accuracy": _json(estimate(real)),
    }
    result["sentence"] = ablation_sentence(result)
    home.write_json("ablation.json", result)
    write_ablation_figure(home / "ablation.png", result)
    return {**result, "folder": str(home.path), "figure": str(home / "ablation.png")}


def _samples(run: RunDir, device: str, progress: Progress) -> tuple[np.ndarray, np.ndarray]:
    """As many synthetic images of each class as it has real train images, by `generate`."""
    dataset = load_dataset(run)
    counts = dataset.counts(dataset.splits.train).tolist()
    twice = {name: 2 * n for name, n in zip(dataset.class_names, counts, strict=True)}
    run.write_json("plan.json", plan_balance(dataset.class_names, counts, twice).to_json())
    generate(GenerateRequest(run=run.path, mode="sample", device=device), progress)
    return read_synthetic(run, dataset)


def _bound(
    run: RunDir, dataset: Dataset, recipe: Recipe, device: torch.device,
    progress: Progress, stop: StopFlag,
) -> dict[str, Any]:  # fmt: skip
    """Facts of the schedule and the bound on test images, a normal interval over images."""
    found = find_denoiser(run, dataset.class_names, 0)
    assert found is not None
    denoiser = load_checkpoint(found[0], device).denoiser
    positions = np.concatenate(choose_images(run, dataset, recipe, "test"))
    schedule = denoiser.schedule
    with progress.task("measuring the bound", len(positions), "images") as task:

        def on_image(i: int) -> None:
            del i
            task.advance(1)
            stop.check("the network and its samples are kept")

        bound = denoiser_bound(
            denoiser, *dataset.part(positions), seed=recipe.seed, on_image=on_image,
            timesteps=min(recipe.evaluation.likelihood_timesteps, schedule.T),
        )  # fmt: skip
    total = bound.total
    half = 1.96 * float(total.std(ddof=1)) / math.sqrt(len(total)) if len(total) > 1 else 0.0
    mean = float(total.mean())
    at = np.linspace(0, schedule.T - 1, min(CURVE_POINTS, schedule.T)).round().astype(int)
    return {
        "T": schedule.T,
        "terminal_snr": float(schedule.snr[-1]),
        "log10_snr": schedule.snr[torch.from_numpy(at)].log10().numpy().round(4).tolist(),
        "prior": round(float(bound.prior.mean()), 6) + 0.0,  # no minus before a zero
        "decoder": round(float(bound.decoder.mean()), 4),
        "bound": {"mean": mean, "low": mean - half, "high": mean + half, "values": [mean]},
        "n_test_images": len(positions),
    }


def _accuracies(
    train: tuple[np.ndarray, np.ndarray], dataset: Dataset, recipe: Recipe, device: torch.device,
    progress: Progress, stop: StopFlag, note: str,
) -> np.ndarray:  # fmt: skip
    """Balanced accuracy on the real test images of classifiers trained on `train`, float64 [S]."""
    bench = Bench(
        Material(train, dataset.n_classes), dataset.test, classifier_options(recipe), str(device)
    )
    jobs = [(ALONE, seed) for seed in range(recipe.evaluation.seeds)]
    scores = {}
    with progress.task("training classifiers", len(jobs), "classifiers") as task:
        for (_, seed), arrays in train_all(bench, jobs, stop):
            right = arrays["logits"].argmax(1) == arrays["y_true"]
            tested = np.unique(arrays["y_true"])
            scores[seed] = np.mean([right[arrays["y_true"] == k].mean() for k in tested])
            task.advance(1, note)
    return np.array([scores[seed] for _, seed in jobs])


def _compare(variants: list[dict[str, Any]], scores: dict[str, np.ndarray]) -> None:
    """Note at the best variant which others the paired seeds do not tell from it."""
    best = max(scores, key=lambda name: scores[name].mean())
    for variant in variants:
        if variant["name"] == best:
            variant["not_worse"] = [
                name
                for name, values in scores.items()
                if name != best
                and (gain := paired_difference(scores[best], values)) is not None
                and gain.reading != "better"
            ]


def _json(e: Estimate | None) -> dict[str, Any] | None:
    if e is None:
        return None
    return {"mean": e.mean, "low": e.low, "high": e.high, "values": list(e.values)}
