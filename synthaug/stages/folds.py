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

from synthaug.balance.plan import BalancePlan
from synthaug.data.splits import Splits
from synthaug.errors import DataError
from synthaug.recipe import Recipe
from synthaug.stages.dataset import Dataset
from synthaug.stages.run_dir import RunDir
from synthaug.stages.sizing import DEFAULT_LIMIT, parse_duration

FOLDS = "folds"


def is_folded(recipe: Recipe) -> bool:
    """Whether a recipe stands for all folds together."""
    return recipe.data.folds is not None and recipe.data.fold is None


def fold_recipe(recipe: Recipe, fold: int) -> Recipe:
    """The recipe of one fold, which gets its share of the time limit."""
    data = recipe.data.model_copy(update={"fold": fold})
    diffusion = recipe.diffusion
    if diffusion.steps is None:
        seconds = parse_duration(diffusion.time_limit or DEFAULT_LIMIT) / (recipe.data.folds or 1)
        diffusion = diffusion.model_copy(update={"time_limit": f"{seconds:g}s"})
    return recipe.model_copy(update={"data": data, "diffusion": diffusion})


def fold_folder(run: RunDir, fold: int) -> Path:
    return run / FOLDS / str(fold)


def fold_runs(run: RunDir, recipe: Recipe) -> list[RunDir]:
    """The runs of all folds. Raises `DataError` for one that was not fitted to its end."""
    runs = [RunDir(fold_folder(run, fold)) for fold in range(recipe.data.folds or 0)]
    for fold, found in enumerate(runs):
        if not found.has("fit.json"):
            raise DataError(
                f"fold {fold + 1} of {len(runs)} in {run.path} was not fitted to its end",
                remedy="run `synthaug fit --folds` again in a new run folder",
            )
    return runs


def each_fold(runs: Sequence[RunDir], call: Callable[[RunDir], dict[str, Any]], say: Any) -> list:
    """What `call` returns for every fold, one after the other, each announced."""
    outcomes = []
    for fold, run in enumerate(runs):
        say(f"fold {fold + 1} of {len(runs)}")
        outcomes.append(call(run))
    return outcomes


def pool_datasets(datasets: Sequence[Dataset]) -> Dataset:
    """One dataset whose test images are those of all folds, in that order.

    Its train images are those of the first fold: what the counts of a single training are.
    """
    first = datasets[0]
    test = np.concatenate([dataset.splits.test for dataset in datasets])
    assert len(np.unique(test)) == len(test), "an image is tested in two folds"
    splits = Splits(first.splits.train, first.splits.val, test, first.splits.notices)
    return replace(first, splits=splits)


def pool_plans(plans: Sequence[BalancePlan]) -> BalancePlan:
    """The plan of an average fold: counts and targets rounded."""
    counts = np.rint(np.mean([plan.counts for plan in plans], axis=0)).astype(int)
    target = np.rint(np.mean([plan.target for plan in plans], axis=0)).astype(int)
    return replace(
        plans[0],
        counts=tuple(counts.tolist()),
        target=tuple(np.maximum(target, counts).tolist()),
    )
