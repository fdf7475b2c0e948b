"""`synthaug generate`."""

from pathlib import Path
from typing import Annotated

import typer

from synthaug.cli.command import DebugOption, DeviceOption, JsonOption, RunOption, command
from synthaug.cli.following import same_run
from synthaug.cli.push import PushToHubOption


def generate(
    balance: Annotated[
        str | None,
        typer.Option(
            "--balance",
            help="auto, minority, 'not minority', 'not majority', all, a final count N, class=N,"
            "... or a share of the larger of two classes, such as 0.5. Without a value, plan.json "
            "in the run folder is followed as it is, edits too. Its caps and modes always stay.",
        ),
    ] = None,
    cap: Annotated[
        str | None,
        typer.Option(
            help="At most so many synthetic images for each real one: 10, class=5,... or none; "
            "kept in plan.json."
        ),
    ] = None,
    sampler: Annotated[str | None, typer.Option(help="ddpm, ddim, dpmpp_2m or heun.")] = None,
    steps: Annotated[int | None, typer.Option(help="Sampling steps.")] = None,
    cfg_scale: Annotated[float | None, typer.Option(min=0, help="Guidance; 1 is off.")] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            help="sample, variation or interpolate; or class=mode,...; default: the plan."
        ),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(help="Noise put on real images to vary or mix them, above 0; 1 is all."),
    ] = None,
    push_to_hub: PushToHubOption = None,
    run: RunOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Draw the images that the rare classes lack and write the balanced folder."""
    with command(as_json, debug) as terminal:
        from synthaug.cli.printing import print_generate, print_push
        from synthaug.stages.generate import GenerateRequest
        from synthaug.stages.generate import generate as run_generate
        from synthaug.stages.push import PushRequest, check_wish
        from synthaug.stages.push import push as run_push
        from synthaug.stages.run_dir import open_run, read_recipe

        check_wish(push_to_hub, lambda: read_recipe(open_run(run)))
        request = GenerateRequest(
            run=run,
            balance=balance or None,
            cap=cap,
            sampler=sampler,
            steps=steps,
            cfg_scale=cfg_scale,
            mode=mode,
            strength=strength,
            device=device,
        )
        result = run_generate(request, terminal)
        print_generate(terminal, result, same_run(run, device))
        if push_to_hub is not None:
            wish = PushRequest(Path(result["run"]), data=push_to_hub)
            result["pushed"] = run_push(wish, terminal)
            print_push(terminal, result["pushed"])
        terminal.json(result)
