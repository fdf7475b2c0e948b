"""`synthaug ablate`."""

from pathlib import Path
from typing import Annotated

import typer

from synthaug.cli.command import (
    DebugOption,
    DeviceOption,
    JsonOption,
    RecipeOption,
    SetOption,
    command,
)


def ablate(
    recipe: RecipeOption = "beta-ablation",
    dataset: Annotated[
        Path | None, typer.Option(help="Folder as for fit; default: balanced 8x8 digits.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="New folder; default: runs/<time>-<recipe>.")
    ] = None,
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

        request = AblateRequest(load_recipe(recipe, set_ or []), dataset, out, device)
        result = run_ablate(request, terminal)
        print_ablation(terminal, result)
        terminal.json(result)
