"""`fit`: from a folder of images to a denoiser, and a specialist for each class it helps."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthaug.diffusion.team import Team
from synthaug.errors import ResourceError, UsageError, is_out_of_memory
from synthaug.recipe import Recipe
from synthaug.stages.dataset import read_dataset, save_dataset
from synthaug.stages.device import check_recipe_device, resolve_device
from synthaug.stages.disk import require_room, room_notice
from synthaug.stages.fit_record import (
    FitRecord,
    absolute_origin,
    conditions,
    plan_numbers,
    read_record,
)
from synthaug.stages.fit_session import Session
from synthaug.stages.folds import fit_folds, is_folded
from synthaug.stages.planning import LARGEST_SIZE, plan_fit
from synthaug.stages.progress import Progress, Silent
from synthaug.stages.resume import (
    adopt,
    check_unchanged,
    compare_conditions,
    find_resumable,
    recorded_dataset,
    recorded_plan,
    way_on,
)
from synthaug.stages.run_dir import free_run, new_run
from synthaug.stages.signals import NOTHING_WRITTEN, stop_flag
from synthaug.stages.sizing import training_options
from synthaug.stages.team import started_team
from synthaug.stages.tracking import check_trackers, tracked
from synthaug.words import number_of


@dataclass(frozen=True)
class FitRequest:
    """What the user asked of `fit`.

    With `resume`, `run` is gone on with, or the newest run; `dataset` may be left out then, and
    `force` allows a recipe or version other than it began with.
    """

    dataset: str | Path | None
    recipe: Recipe
    run: Path | None = None
    per_class: bool = False
    from_scratch: bool = False
    device: str = "auto"
    dry_run: bool = False
    test: bool = True
    """Whether images are kept to test on. Without, all are learned from: `evaluate` refuses."""
    resume: bool = False
    force: bool = False


def fit(
    request: FitRequest,
    progress: Progress | None = None,
    on_plan: Callable[[dict[str, Any]], None] = lambda plan: None,
) -> dict[str, Any]:
    """Train on a folder and return what `fit.json` says; with `dry_run`, the plan.

    `on_plan` is called with the plan before anything is written or trained. After a stop signal the
    training is saved and `InterruptedRun` raised: `generate` can use the network so far, and a fit
    with `resume` goes on as if nothing had been. Of several processes that torchrun started, one
    does all this with the help of the others, which end by `SystemExit`.
    """
    progress = progress or Silent()
    if is_folded(request.recipe):
        check_trackers(request.recipe.tracking.log_with)
        check_recipe_device(request.recipe, resolve_device(request.device))
        return fit_folds(request, lambda own, hook: fit(own, progress, hook), on_plan, progress)
    with started_team(request.device) as team:
        check_trackers(request.recipe.tracking.log_with)
        if request.resume:
            return _resume(request, progress, on_plan, team)
        return _begin(request, progress, on_plan, team)


def _begin(
    request: FitRequest,
    progress: Progress,
    on_plan: Callable[[dict[str, Any]], None],
    team: Team | None,
) -> dict[str, Any]:
    if request.dataset is None:
        raise UsageError("no dataset", remedy="name one with --dataset")
    device = resolve_device(request.device, alone=False)
    check_recipe_device(request.recipe, device)
    place = free_run(request.run, request.dataset)
    with stop_flag(NOTHING_WRITTEN) as stop:
        dataset = read_dataset(
            request.dataset,
            request.recipe.data,
            largest=LARGEST_SIZE[device.type],
            seed=request.recipe.seed,
            progress=progress,
            test=request.test,
        )
        plan = plan_fit(
            dataset,
            request.recipe,
            per_class=request.per_class,
            from_scratch=request.from_scratch,
            device=device,
            test=request.test,
        )
        described = plan.to_json(dataset, device)
        on_plan(described)
        require_room(place, plan.disk.fit, "fit")
        if notice := room_notice(place, plan.disk):
            progress.warn(notice)
        stop.check()
        if request.dry_run:
            return {"dry_run": True, "plan": described}
        run = new_run(request.run, request.dataset)
        with run.locked(), stop_flag(way_on(run)):
            record = FitRecord(
                dataset=absolute_origin(request.dataset),
                fingerprint=dataset.fingerprint,
                recipe=request.recipe.model_dump(mode="json"),
                per_class=request.per_class,
                from_scratch=request.from_scratch,
                test=request.test,
                device=request.device,
                conditions=conditions(device),
                plan=plan_numbers(plan),
            )
            # First, since it is what everything after it can be made from again.
            record.write(run)
            run.write_text("recipe.yaml", request.recipe.to_yaml())
            save_dataset(run, dataset)
            run.write_json("plan.json", plan.balance.to_json())
            return _train(
                Session(
                    run, record, request.recipe, dataset, plan, device, progress, stop, team=team
                )
            )  # fmt: skip


def _resume(
    request: FitRequest,
    progress: Progress,
    on_plan: Callable[[dict[str, Any]], None],
    team: Team | None,
) -> dict[str, Any]:
    """Go on with a run, or say that it is finished."""
    if request.dry_run:
        raise UsageError("--dry-run with --resume", remedy="leave one of them out")
    run = find_resumable(request.run)
    with stop_flag(way_on(run)) as stop, run.locked():
        record = read_record(run)
        unchanged = check_unchanged(
            record, request.recipe, dataset=request.dataset, per_class=request.per_class,
            from_scratch=request.from_scratch, force=request.force, progress=progress,
        )  # fmt: skip
        if run.has("fit.json") and not (told := run.read_json("fit.json")).get("failed"):
            progress.say(f"{run.path} is finished: nothing to resume")
            return dict(told)
        wanted = record.device if request.device == "auto" else request.device
        device = resolve_device(wanted, alone=False)
        compare_conditions(record, device, progress)
        if not unchanged:
            adopt(record, request.recipe)
        dataset = recorded_dataset(run, record, request.recipe, device, progress)
        plan = recorded_plan(run, record, request.recipe, dataset)
        on_plan(plan.to_json(dataset, device))
        record.write(run)
        if not unchanged or not run.has("recipe.yaml"):
            run.write_text("recipe.yaml", request.recipe.to_yaml())
        if not run.has("plan.json"):
            run.write_json("plan.json", plan.balance.to_json())
        return _train(
            Session(
                run, record, request.recipe, dataset, plan, device, progress, stop,
                resumed=True, same_length=unchanged, team=team,
            )
        )  # fmt: skip


def _train(session: Session) -> dict[str, Any]:
    """Train, and turn a lack of memory into an error that says what to do."""
    try:
        with tracked(session.run, session.recipe.tracking.log_with, session.progress):
            return session.train()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        section, chosen = session.recipe.diffusion, session.plan.network.micro_batch
        at_once = training_options(section, chosen).micro_batch or section.batch_size
        raise ResourceError(
            f"out of memory on {session.device} with {number_of(at_once, 'image')} of a step in "
            "memory at once; the last checkpoint is intact",
            remedy=f"`synthaug fit --resume --run {session.run.path} --force "
            f"--set diffusion.micro_batch={at_once // 2}` learns the same more slowly"
            if at_once > 1
            else "start a new run with a smaller --image-size, or free memory on the machine",
        ) from error
