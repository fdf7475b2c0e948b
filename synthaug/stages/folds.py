"""k-fold: a run folder with a run for each fold, and their test sets judged as one.

Where a class has a handful of images, a test split of a fifth holds one or two of them and proves
nothing. With k folds every image is tested once, by classifiers, generators and selections that
never saw it. Each fold is a complete run in ``folds/<i>/``; the folder around them holds what they
come to together.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from synthaug.data.splits import Splits
from synthaug.data.swap import RECEIPT
from synthaug.errors import (
    DataError,
    DivergedError,
    InterruptedRun,
    ResourceError,
    SynthaugError,
    UsageError,
)
from synthaug.recipe import Recipe, parse_duration
from synthaug.stages.arm_scores import ArmRuns
from synthaug.stages.dataset import Dataset
from synthaug.stages.disk import require_room
from synthaug.stages.fit_record import FILE, FitRecord, absolute_origin, read_record
from synthaug.stages.progress import Progress
from synthaug.stages.resume import adopt, check_unchanged, command, find_resumable, way_on
from synthaug.stages.run_dir import RunDir, free_run
from synthaug.stages.signals import stop_flag
from synthaug.stages.sizing import DEFAULT_LIMIT

FOLDS = "folds"
SUMS = ("counts", "candidates", "shortfall", "rejected")
"""Of what `generate` tells, the numbers that add up over the folds."""
Outcome = dict[str, Any]


def is_folded(recipe: Recipe) -> bool:
    """Whether a recipe stands for all folds together."""
    return recipe.data.folds is not None and recipe.data.fold is None


def refuse_folds(run: RunDir, recipe: Recipe, what: str) -> None:
    """Raise `UsageError` where a single run is needed and the folder holds several."""
    if is_folded(recipe):
        raise UsageError(
            f"{run.path} holds {recipe.data.folds} folds, and {what} is of one run",
            remedy=f"name one of them: --run {run / FOLDS / '0'}",
        )


def fold_recipe(recipe: Recipe, fold: int) -> Recipe:
    """The recipe of one fold, which gets its share of the time limit."""
    data = recipe.data.model_copy(update={"fold": fold})
    diffusion = recipe.diffusion
    if diffusion.steps is None:
        seconds = parse_duration(diffusion.time_limit or DEFAULT_LIMIT) / (recipe.data.folds or 1)
        diffusion = diffusion.model_copy(update={"time_limit": f"{seconds:g}s"})
    return recipe.model_copy(update={"data": data, "diffusion": diffusion})


def fold_runs(run: RunDir, recipe: Recipe) -> list[RunDir]:
    """The runs of all folds. Raises `DataError` for one that was not fitted to its end."""
    runs = [RunDir(run / FOLDS / str(fold)) for fold in range(recipe.data.folds or 0)]
    for fold, found in enumerate(runs):
        if not found.has("fit.json"):
            raise DataError(
                f"fold {fold + 1} of {len(runs)} in {run.path} was not fitted to its end",
                remedy=f"run `synthaug fit --resume --run {run.path}`",
            )
    return runs


def fit_folds(
    request: Any,
    fit: Callable[[Any, Callable[[Outcome], None]], Outcome],
    on_plan: Callable[[Outcome], None],
    progress: Progress,
) -> Outcome:
    """Fit every fold, one after the other; `request` is a `FitRequest` of them all.

    The plan of the first fold stands for all, with their time together. A stop leaves the finished
    folds, and a resumed fit goes on in the one that was under way.
    """
    recipe: Recipe = request.recipe
    n = recipe.data.folds or 0
    if request.dry_run:
        place = free_run(request.run, request.dataset)
        own = replace(request, recipe=fold_recipe(recipe, 0), run=None)
        return {**fit(own, lambda plan: _announce(plan, n, place, on_plan)), "folds": n}
    if request.resume:
        run = find_resumable(request.run)
        record = read_record(run)
        same = check_unchanged(
            record, recipe, dataset=request.dataset, per_class=request.per_class,
            from_scratch=request.from_scratch, force=request.force, progress=progress,
        )  # fmt: skip
        if run.has("fit.json") and not run.read_json("fit.json")["failed"]:
            progress.say(f"{run.path} is finished: nothing to resume")
            return dict(run.read_json("fit.json"))
        request = replace(
            request, dataset=request.dataset or record.dataset, per_class=record.per_class,
            from_scratch=record.from_scratch,
        )  # fmt: skip
        if not same:
            adopt(record, recipe)
            record.write(run)
            run.write_text("recipe.yaml", recipe.to_yaml())
    else:
        run = RunDir(free_run(request.run, request.dataset))

    def announce(plan: Outcome) -> None:
        _announce(plan, n, run.path, on_plan)
        run.path.mkdir(parents=True, exist_ok=True)
        FitRecord(
            absolute_origin(request.dataset), plan["fingerprint"], recipe.model_dump(mode="json"),
            request.per_class, request.from_scratch, request.test, request.device, {}, {},
        ).write(run)  # fmt: skip
        run.write_text("recipe.yaml", recipe.to_yaml())

    def compare(plan: Outcome) -> None:
        if plan["fingerprint"] != read_record(run).fingerprint:
            raise DataError(
                f"{request.dataset} is not what it was when the first fold began",
                remedy="start a new run",
            )

    def one(fold: int) -> Outcome:
        progress.say(f"fold {fold + 1} of {n}")
        place = run / FOLDS / str(fold)
        begun = (place / FILE).is_file()
        own = replace(
            request, recipe=fold_recipe(recipe, fold), run=place, resume=begun,
            dataset=None if begun else request.dataset,
        )  # fmt: skip
        try:
            return fit(own, compare if run.has(FILE) else announce)
        except (DivergedError, ResourceError) as error:
            # The fold is fitted, but for some of its specialists; without that, there is no fold.
            if not (place / "fit.json").is_file():
                raise
            failures.append(error)
            return dict(RunDir(place).read_json("fit.json"))
        except InterruptedRun as stopped:
            raise InterruptedRun(
                stopped.found,
                remedy=f"{command(run)} goes on with fold {fold + 1}",
                signum=stopped.exit_code - 128,
            ) from stopped

    failures: list[SynthaugError] = []
    with stop_flag(way_on(run)):
        fits = [one(fold) for fold in range(n)]
    summary = {
        **fits[0],
        "run": str(run.path),
        "folds": n,
        **{key: sum(fitted[key] for fitted in fits) for key in ("steps", "n_img")},
        "minutes": round(sum(fitted["minutes"] for fitted in fits), 2),
        "images_per_second": round(np.mean([f["images_per_second"] for f in fits]).item(), 1),
        **{key: [entry for f in fits for entry in f[key]] for key in ("specialists", "failed")},
    }
    run.write_json("fit.json", summary)
    if failures:
        raise failures[0]
    return summary


def _announce(plan: Outcome, n: int, place: Path, on_plan: Callable[[Outcome], None]) -> None:
    """Tell the plan of one fold with the times and the disk space of all `n`, if there is room."""
    added = ("expected_seconds", "disk_bytes")
    sums = {key: {verb: value * n for verb, value in plan[key].items()} for key in added}
    on_plan({**plan, "folds": n, **sums})
    require_room(place, sums["disk_bytes"]["fit"], "fit")


def generate_folds(
    run: RunDir, recipe: Recipe, generate: Callable[[RunDir], Outcome], progress: Progress
) -> Outcome:
    """Generate in every fold, and tell what they come to together."""
    runs = fold_runs(run, recipe)
    made = []
    (run / RECEIPT).unlink(missing_ok=True)  # it speaks of all folds, which now change one by one
    for fold, own in enumerate(runs):
        progress.say(f"fold {fold + 1} of {len(runs)}")
        made.append(generate(own))
    n = sum(m["n"] for m in made)
    drawn = [sum(m["candidates"].values()) for m in made]
    seconds = sum(d / m["images_per_second"] for d, m in zip(drawn, made, strict=True) if d)
    summary = {
        **made[0],
        "run": str(run.path),
        "folds": len(runs),
        "n": n,
        **{key: _added(m[key] for m in made) for key in SUMS},
        "rejected_by_class": {
            name: _added(m["rejected_by_class"].get(name, {}) for m in made)
            for name in made[0]["counts"]
            if any(name in m["rejected_by_class"] for m in made)
        },
        "notices": [
            f"fold {fold + 1}: {notice}" for fold, m in enumerate(made) for notice in m["notices"]
        ],
        "balanced": str(run / FOLDS / "*" / "balanced"),
        "synthetic": str(run / FOLDS / "*" / "synthetic"),
        "manifest": str(run / FOLDS / "*" / "synthaug_manifest.jsonl"),
        "seconds": round(seconds, 1),
        "images_per_second": round(sum(drawn) / seconds, 1) if seconds else None,
    }
    run.write_json("plan.json", runs[0].read_json("plan.json"))
    run.write_json(RECEIPT, summary)
    return summary


def pool(parts: Sequence[tuple[Dataset, dict[Any, ArmRuns]]]) -> tuple[Dataset, dict[Any, ArmRuns]]:
    """One test set out of those of all folds, with the predictions on it, in the same order.

    The train images are those of the first fold: what the counts of a single training are.
    """
    first = parts[0][0]
    test = np.concatenate([dataset.splits.test for dataset, _ in parts])
    assert len(np.unique(test)) == len(test), "an image is tested in two folds"
    splits = Splits(first.splits.train, first.splits.val, test, first.splits.notices)
    runs = {arm: pool_runs([runs[arm] for _, runs in parts]) for arm in parts[0][1]}
    return replace(first, splits=splits), runs


def pool_runs(folds: Sequence[ArmRuns]) -> ArmRuns:
    """Predictions of one arm on the images of all folds, seed by seed.

    Neural collapse is that of the first fold, as the train counts are: features of one fold's
    network mean nothing to another's.
    """
    by_seed = zip(*(fold.logits for fold in folds), strict=True)
    return replace(
        folds[0],
        logits=[np.concatenate(of_seed) for of_seed in by_seed],
        train_seconds=sum(fold.train_seconds for fold in folds),
        train_accuracy=float(np.mean([fold.train_accuracy for fold in folds])),
    )


def _added(parts: Any) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for key, n in part.items():
            total[key] = total.get(key, 0) + n
    return total
