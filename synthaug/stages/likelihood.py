"""`evaluate --likelihood`: bits per dimension of train and test images under each class's denoiser.

A network that learned the class finds both equally likely; one that learned its train images by
heart finds those likelier. The gap says which, without looking at a single sample.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from synthaug.data.names import folder_names
from synthaug.diffusion.checkpoint import Checkpoint, load_checkpoint
from synthaug.diffusion.likelihood import denoiser_bound
from synthaug.errors import UsageError
from synthaug.recipe import Recipe
from synthaug.stages.dataset import Dataset, learn_and_held_out
from synthaug.stages.networks import find_denoiser
from synthaug.stages.progress import Progress, Task
from synthaug.stages.run_dir import RunDir
from synthaug.stages.signals import StopFlag

TERMS = ("prior", "steps", "decoder")
SIDES = ("train", "test")


@dataclass(frozen=True)
class _Bench:
    """What every class of one measurement shares."""

    run: RunDir
    dataset: Dataset
    recipe: Recipe
    device: torch.device
    stop: StopFlag


def measure_likelihood(
    run: RunDir,
    dataset: Dataset,
    recipe: Recipe,
    device: torch.device,
    progress: Progress,
    stop: StopFlag,
) -> dict[str, Any]:
    """The content of results.json's `likelihood`: each class, and all of them together.

    Classes measured before with the same network and settings are read from `likelihood/`. Those
    without a network (after --from-scratch) are left out. Raises `UsageError` if none has one.
    """
    section = recipe.evaluation
    found = {k: find_denoiser(run, dataset.class_names, k) for k in range(dataset.n_classes)}
    if not any(found.values()):
        raise UsageError(f"run {run.path} has no network", remedy="run `synthaug fit` first")
    chosen = {side: choose_images(run, dataset, recipe, side) for side in SIDES}
    bench = _Bench(run, dataset, recipe, device, stop)
    loaded: dict[Path, Checkpoint] = {}
    classes: list[dict[str, Any]] = []
    total = sum(len(chosen[side][k]) for side in SIDES for k, path in found.items() if path)
    with progress.task("measuring likelihood", total, "images") as task:
        for k, known in found.items():
            if known is None:
                continue
            path, kind = known
            if path not in loaded:
                loaded[path] = load_checkpoint(path, device)
            positions = {side: chosen[side][k] for side in SIDES}
            terms = _class_terms(bench, k, loaded[path], positions, task)
            summary = _summary({side: t.sum(0) for side, t in terms.items()})
            means = {side: t.mean(1).round(4).tolist() for side, t in terms.items() if t.size}
            classes.append(
                {
                    "class_name": dataset.class_names[k],
                    "denoiser": kind,
                    **summary,
                    "terms": {side: dict(zip(TERMS, m, strict=True)) for side, m in means.items()},
                }
            )
    return {
        "unit": "bits per dimension",
        "images_per_class_and_side": section.likelihood_images,
        "timesteps": section.likelihood_timesteps,
        "classes": classes,
        "overall": _overall(classes),
    }


def choose_images(run: RunDir, dataset: Dataset, recipe: Recipe, side: str) -> list[np.ndarray]:
    """Positions of the train or test images of each class to measure, the same ones every time."""
    splits, section = dataset.splits, recipe.evaluation
    positions = splits.test
    if side == "train":
        fitted = run.read_json("fit.json") if run.has("fit.json") else {}
        # What specialists were judged by was not learned from, and would hide a gap.
        positions, _ = learn_and_held_out(
            dataset, recipe, per_class=fitted.get("per_class", False),
            from_scratch=fitted.get("from_scratch", False),
        )  # fmt: skip
    chosen = []
    for k in range(dataset.n_classes):
        own = positions[dataset.labels[positions] == k]
        order = np.random.default_rng([recipe.seed, k]).permutation(len(own))
        chosen.append(np.sort(own[order[: section.likelihood_images]]))
    return chosen


def _class_terms(
    bench: _Bench, k: int, checkpoint: Checkpoint, positions: dict[str, np.ndarray], task: Task
) -> dict[str, np.ndarray]:
    """(prior, steps, decoder) of each image, float64 [3, n] a side: kept ones, or measured now."""
    name = bench.dataset.class_names[k]
    file = f"likelihood/{folder_names(bench.dataset.class_names)[name]}.npz"
    timesteps = min(bench.recipe.evaluation.likelihood_timesteps, checkpoint.denoiser.schedule.T)
    seed = bench.recipe.seed
    where = {side: p.tolist() for side, p in positions.items()}
    key = f"{checkpoint.sha256} {bench.dataset.fingerprint} {timesteps} {seed} {where}"
    kept = bench.run.read_arrays(file)
    if kept is not None and str(kept["key"]) == key:
        task.skip(sum(map(len, positions.values())), f"{name}: measured before")
        return {side: kept[side] for side in SIDES}

    def on_image(i: int) -> None:
        del i
        task.advance(1, name)
        bench.stop.check("finished classes are kept; run the same command again to go on")

    terms = {}
    for side in SIDES:
        bound = denoiser_bound(
            checkpoint.denoiser, *bench.dataset.part(positions[side]),
            timesteps=timesteps, seed=seed, on_image=on_image,
        )  # fmt: skip
        terms[side] = np.stack([getattr(bound, term) for term in TERMS])
    bench.run.write_arrays(file, key=np.array(key), **terms)
    return terms


def _summary(totals: dict[str, np.ndarray]) -> dict[str, Any]:
    """Means of both sides, and test - train with its 95 % interval (Welch's t, images as units)."""
    n = {side: len(values) for side, values in totals.items()}
    mean = {side: float(v.mean()) if n[side] else None for side, v in totals.items()}
    summary: dict[str, Any] = {f"n_{side}": n[side] for side in SIDES}
    summary |= {side: None if m is None else round(m, 4) for side, m in mean.items()}
    if mean["train"] is None or mean["test"] is None:
        return {**summary, "gap": None}
    low = high = error = None
    gap = mean["test"] - mean["train"]
    if min(n.values()) > 1:
        squares = {side: float(v.var(ddof=1)) / n[side] for side, v in totals.items()}
        error = math.sqrt(sum(squares.values()))
        share = sum(s**2 / (n[side] - 1) for side, s in squares.items())
        freedom = error**4 / share if share else 1.0
        half = float(stats.t.ppf(0.975, freedom)) * error
        low, high = gap - half, gap + half
    return {**summary, "gap": _estimate(gap, low, high), "gap_error": error}


def _overall(classes: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over classes, and the mean gap with a normal interval from the classes' own errors."""
    both = [c for c in classes if c["gap"] is not None]
    summary: dict[str, Any] = {f"n_{side}": sum(c[f"n_{side}"] for c in both) for side in SIDES}
    if not both:
        return {**summary, "train": None, "test": None, "gap": None}
    summary |= {side: round(float(np.mean([c[side] for c in both])), 4) for side in SIDES}
    gap = float(np.mean([c["gap"]["mean"] for c in both]))
    errors = [c["gap_error"] for c in both]
    if any(e is None for e in errors):
        return {**summary, "gap": _estimate(gap, None, None)}
    half = float(stats.norm.ppf(0.975)) * math.sqrt(sum(e**2 for e in errors)) / len(errors)
    return {**summary, "gap": _estimate(gap, gap - half, gap + half)}


def _estimate(mean: float, low: float | None, high: float | None) -> dict[str, Any]:
    numbers = {"mean": mean, "low": low, "high": high}
    return {name: None if v is None else round(v, 4) for name, v in numbers.items()}
