"""`synthaug fit`."""

from pathlib import Path
from typing import Annotated

import typer

from synthaug.cli.command import (
    DebugOption,
    DeviceOption,
    JsonOption,
    SeedOption,
    SetOption,
    command,
)
from synthaug.cli.data_options import (
    FoldsOption,
    FollowLinksOption,
    GroupsOption,
    MaybeDatasetOption,
    OnBadImageOption,
    ValueRangeOption,
)
from synthaug.cli.following import same_data, same_run, typed
from synthaug.cli.push import PushToHubOption


def fit(
    dataset: MaybeDatasetOption = None,
    per_class: Annotated[
        bool, typer.Option("--per-class", help="Continue the model for each minority class.")
    ] = False,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="With --per-class: train each class alone.")
    ] = False,
    recipe: Annotated[
        str | None, typer.Option(help="A shipped recipe's name, or a YAML file; default: default.")
    ] = None,
    set_: SetOption = None,
    groups: GroupsOption = None,
    value_range: ValueRangeOption = None,
    folds: FoldsOption = None,
    follow_links: FollowLinksOption = False,
    on_bad_image: OnBadImageOption = None,
    image_size: Annotated[int | None, typer.Option(help="Pixels a side.")] = None,
    time_limit: Annotated[
        str | None, typer.Option(help="Training time, such as 90s, 10m or 1.5h.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="New run folder; default: runs/<time>-<name>.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the fit in --run, or with the newest run."),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="With --resume: also with another recipe or version.")
    ] = False,
    checkpoint_every: Annotated[
        str | None,
        typer.Option(help="Time such as 90s or 5m, or a number of steps, between checkpoints."),
    ] = None,
    device: DeviceOption = "auto",
    seed: SeedOption = None,
    push_to_hub: PushToHubOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Train a class-conditional DDPM on a folder of images."""
    with command(as_json, debug) as terminal:
        from synthaug.cli.printing import print_fit, print_plan, print_push
        from synthaug.recipe.options import checkpoint_override, data_overrides, time_override
        from synthaug.stages.fit import FitRequest
        from synthaug.stages.fit import fit as run_fit
        from synthaug.stages.push import PushRequest, check_wish
        from synthaug.stages.push import push as run_push
        from synthaug.stages.resume import asked_recipe

        values = data_overrides(
            image_size=image_size,
            groups=groups,
            value_range=value_range,
            folds=folds,
            follow_links=follow_links,
            on_bad_image=on_bad_image,
            seed=seed,
        )
        values |= time_override(time_limit) | checkpoint_override(checkpoint_every)
        wanted, run = asked_recipe(recipe, set_ or (), values, run=run, resume=resume)
        check_wish(push_to_hub, lambda: wanted)
        request = FitRequest(
            dataset=dataset,
            recipe=wanted,
            run=run,
            per_class=per_class,
            from_scratch=from_scratch,
            device=device,
            dry_run=dry_run,
            resume=resume,
            force=force,
        )
        result = run_fit(request, terminal, lambda plan: print_plan(terminal, plan))
        if dry_run:
            terminal.say("dry run: nothing was trained or written")
            same = same_data(dataset, values, recipe or "default", set_) | {
                "--per-class": per_class, "--from-scratch": from_scratch,
            } | same_run(run, device)  # fmt: skip
            terminal.next(typed("fit", same))
        else:
            print_fit(terminal, result, same_run(run, device))
            if push_to_hub is not None:
                wish = PushRequest(Path(result["run"]), model=push_to_hub)
                result["pushed"] = run_push(wish, terminal)
                print_push(terminal, result["pushed"])
        terminal.json(result)
