"""`synthaug demo`."""

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
from synthaug.cli.following import same_run


def demo(
    out: Annotated[Path | None, typer.Option(help="New folder; default: runs/<time>-demo.")] = None,
    recipe: RecipeOption = "digits-demo",
    set_: SetOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """The whole job on scikit-learn's digits, made long-tailed: minutes, nothing downloaded."""
    with command(as_json, debug) as terminal:
        from synthaug.cli.printing import print_plan, print_results
        from synthaug.recipe import load_recipe
        from synthaug.stages.demo import demo as run_demo

        result = run_demo(
            load_recipe(recipe, set_ or []),
            out,
            device=device,
            progress=terminal,
            on_plan=lambda plan: print_plan(terminal, plan),
        )
        print_results(terminal, result, same_run(Path(result["run"])))
        terminal.json(result)
