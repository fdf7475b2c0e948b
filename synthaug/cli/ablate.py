"""`synthaug ablate`."""

from pathlib import Path
from typing import Annotated

import typer

from synthaug.cli.command import (
    DebugOption,
    DeviceOption,
    JsonOption,
    SetOption,
    command,
)


def ablate(
    recipe: Annotated[
        str | None,
        typer.Option(help="A shipped recipe's name, or a YAML file; default: beta-ablation."),
    ] = None,
    dataset: Annotated[
        Path | None, typer.Option(help="Folder as for fit; default: balanced 8x8 digits.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="New folder; default: runs/<time>-<recipe>.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the ablation in --out.")
    ] = False,
    set_: SetOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Train variants of a recipe alike and measure them alike: large or small beta?"""
    with command(as_json, debug) as terminal:
        from synthaug.cli.printing import print_ablation
        from synthaug.recipe import load_recipe
        from synthaug.stages.ablate import AblateRequest
        from synthaug.stages.ablate import ablate as run_ablate

        begun = str(out / "ablation.yaml") if resume and out is not None else "beta-ablation"
        wanted = load_recipe(recipe or begun, set_ or [])
        request = AblateRequest(wanted, dataset, out, device, resume)
        result = run_ablate(request, terminal)
        print_ablation(terminal, result)
        terminal.json(result)
