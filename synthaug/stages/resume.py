"""Going on with a fit that was stopped or killed: what it was, and whether it still is the same."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from synthaug import __version__
from synthaug.balance.plan import plan_balance
from synthaug.errors import DataError, UsageError
from synthaug.recipe import Recipe, build_recipe, load_recipe
from synthaug.stages.dataset import Dataset, load_dataset, read_dataset, save_dataset
from synthaug.stages.fit_record import (
    FILE,
    FitRecord,
    conditions,
    read_record,
    recipe_changes,
    restore_plan,
)
from synthaug.stages.planning import LARGEST_SIZE, FitPlan, share_steps
from synthaug.stages.progress import Progress
from synthaug.stages.reading import index_dataset
from synthaug.stages.run_dir import RunDir, open_run

FIXED = (
    "seed", "data.", "diffusion.prediction", "diffusion.schedule", "diffusion.beta_start",
    "diffusion.beta_end", "diffusion.variance", "diffusion.T", "diffusion.channels",
    "diffusion.layers", "diffusion.patch", "diffusion.dropout", "diffusion.augment",
    "diffusion.attention",
    "diffusion.early_stop",
)  # fmt: skip
"""Keys that shape the network or say who learns from which image: not to be changed under way."""


def find_resumable(run: Path | None) -> RunDir:
    """The run at `run`, or the newest one under runs/, if it is one that a fit began.

    Raises `UsageError` if it is not: there is nothing to go on from.
    """
    found = RunDir(run) if run is not None else open_run(None)
    if not found.has(FILE):
        raise UsageError(
            f"nothing to resume in {found.path}: it has no {FILE}",
            expected="a run folder that `synthaug fit` began",
            remedy="run `synthaug fit --dataset FOLDER` without --resume",
        )
    return found


def way_on(run: RunDir) -> str:
    """What a stop leaves, in words."""
    return f"what is finished is saved in {run.path}; {command(run)} goes on from there"


def command(run: RunDir) -> str:
    """What to type to go on."""
    return f"`synthaug fit --resume --run {run.path}`"


def asked_recipe(
    name: str | None,
    overrides: Iterable[str],
    values: Mapping[str, Any],
    *,
    run: Path | None,
    resume: bool,
) -> tuple[Recipe, Path | None]:
    """The recipe of a fit and its run folder; a resumed one has its own unless another is named."""
    if not resume:
        return load_recipe(name or "default", overrides, values), run
    found = find_resumable(run)
    if name is None and not found.has("recipe.yaml"):
        return build_recipe(read_record(found).recipe, source=str(found / FILE)), found.path
    return load_recipe(name or str(found / "recipe.yaml"), overrides, values), found.path


def check_unchanged(
    record: FitRecord,
    recipe: Recipe,
    *,
    dataset: str | Path | None,
    per_class: bool,
    from_scratch: bool,
    force: bool,
    progress: Progress,
) -> bool:
    """Whether all is as it was; otherwise refuse, or with `force` say what is going to be new.

    Raises `UsageError` with every difference: version, recipe, options, dataset.
    """
    changed = recipe_changes(record.recipe, recipe)
    changes = [f"{key}: {values}" for key, values in changed.items()]
    for flag in ("per_class", "from_scratch"):
        if {"per_class": per_class, "from_scratch": from_scratch}[flag] > getattr(record, flag):
            option = "--" + flag.replace("_", "-")
            raise UsageError(f"{option} was not given when the run began", remedy="start a new run")
    if record.synthaug_version != __version__:
        changes.append(f"synthaug: {record.synthaug_version} -> {__version__}")
    changes += _dataset_changes(record, dataset, progress)
    if not changes:
        return True
    told = "; ".join(changes)
    if not force:
        raise UsageError(
            f"the run began otherwise: {told}",
            remedy="undo the change, add --force to go on with it, or start a new run",
        )
    fixed = [key for key in changed if key.startswith(FIXED)]
    if fixed:
        raise UsageError(
            f"{', '.join(fixed)} cannot change in a run under way, not even with --force",
            remedy="start a new run",
        )
    progress.warn(f"going on although the run began otherwise: {told}")
    return False


def adopt(record: FitRecord, recipe: Recipe) -> None:
    """Make a changed recipe, and this version, those of the run."""
    record.recipe = recipe.model_dump(mode="json")
    record.synthaug_version = __version__
    if record.config not in record.configs:
        record.configs.append(record.config)


def compare_conditions(record: FitRecord, device: torch.device, progress: Progress) -> None:
    """Say that results will not be equal to the last bit, where the machine is another."""
    now = conditions(device)
    other = [f"{key}: {was} -> {now[key]}" for key, was in record.conditions.items()
             if now.get(key, was) != was]  # fmt: skip
    if other:
        progress.warn(f"not bit-exact with the run so far: {'; '.join(other)}")
    record.conditions = now


def recorded_dataset(
    run: RunDir, record: FitRecord, recipe: Recipe, device: torch.device, progress: Progress
) -> Dataset:
    """The images that the run began with, or, where it was killed while it kept them, once more."""
    try:
        dataset = load_dataset(run)
        complete = dataset.fingerprint == record.fingerprint
    except (DataError, KeyError, ValueError):
        complete = False
    if complete:
        return dataset
    progress.say("the run was stopped before it had kept its images: reading them once more")
    dataset = read_dataset(
        record.dataset, recipe.data, largest=LARGEST_SIZE[device.type], seed=recipe.seed,
        progress=progress, test=record.test,
    )  # fmt: skip
    if dataset.fingerprint != record.fingerprint:
        raise DataError(
            f"{record.dataset} is not what it was when the run began", remedy="start a new run"
        )
    save_dataset(run, dataset)
    return dataset


def recorded_plan(run: RunDir, record: FitRecord, recipe: Recipe, dataset: Dataset) -> FitPlan:
    """The plan that the run began with; its steps are those of the recipe, should that be new."""
    balance = plan_balance(
        dataset.class_names,
        dataset.counts(dataset.splits.train).tolist(),
        recipe.balance.strategy,
        minority_below=recipe.balance.minority_below,
        caps=recipe.balance.cap,
    )
    plan = restore_plan(record, balance, run)
    if len(record.configs) == 1:
        return plan
    section, rate = recipe.diffusion, plan.network.train_rate
    steps = share_steps(section, len(plan.specialist_classes), record.from_scratch, rate)
    return replace(
        plan,
        batch_size=section.batch_size,
        base_steps=steps.base,
        specialist_steps=steps.each_specialist,
        base_seconds=steps.base * section.batch_size / rate,
    )


def _dataset_changes(
    record: FitRecord, dataset: str | Path | None, progress: Progress
) -> list[str]:
    """How the dataset differs from the one recorded: nothing, or a sentence.

    A Hub dataset is not asked for again, and one that was moved away is not missed: the run has
    its images.
    """
    place = str(dataset or record.dataset)
    if "://" in place:
        return [] if place == record.dataset else [f"dataset: {record.dataset} -> {place}"]
    if dataset is None and not Path(place).exists():
        progress.say(f"{place} is gone; the run goes on with the images it kept")
        return []
    section = build_recipe(record.recipe, source=FILE).data
    found = index_dataset(place, section)
    if found.fingerprint == record.fingerprint:
        return []
    return [f"dataset {place}: other files than when the run began ({len(found.paths)} now)"]
