"""`synthaug recipes`: the shipped recipes, and whether one of your own will do."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from synthaug.cli.command import DebugOption, JsonOption, SetOption, command
from synthaug.cli.following import typed
from synthaug.errors import UsageError

app = typer.Typer(
    name="recipes",
    no_args_is_help=True,
    help="The shipped recipes: list, show, validate and copy them.",
    epilog="Example: synthaug recipes ls",
)

NameArgument = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A shipped recipe's name, or a YAML file.")
]


def ls(as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """List the shipped recipes."""
    with command(as_json, debug) as terminal:
        from synthaug.cli.printing import print_recipes
        from synthaug.recipe import load_recipe, recipe_file, shipped_recipes

        known = [
            {
                "name": name,
                "description": recipe.description,
                "needs_gpu": recipe.needs_gpu,
                "file": str(recipe_file(name)),
            }
            for name in shipped_recipes()
            for recipe in [load_recipe(name)]
        ]
        print_recipes(terminal, known)
        terminal.json({"recipes": known})


def show(
    recipe: NameArgument,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Every key, also those the file leaves to defaults.")
    ] = False,
    set_: SetOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Print a recipe as YAML, as it was written or with every key. With --set: every key."""
    with command(as_json, debug) as terminal:
        from synthaug.recipe import load_recipe, recipe_file

        loaded = load_recipe(recipe, set_ or [])
        written = recipe_file(recipe).read_text(encoding="utf-8")
        terminal.verbatim((loaded.to_yaml() if resolved or set_ else written).rstrip())
        if loaded.needs_gpu:
            terminal.say(f"{loaded.name} needs a GPU")
        terminal.next(f"synthaug recipes copy {shlex.quote(recipe)} mine.yaml")
        terminal.json(loaded.model_dump(mode="json"))


def validate(
    recipes: Annotated[
        list[str], typer.Argument(metavar="RECIPE...", help="Names of recipes, or YAML files.")
    ],
    set_: SetOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Tell every fault of recipes at once; exit code 2 if there is one. Trains nothing."""
    with command(as_json, debug) as terminal:
        from synthaug.recipe import check_recipe

        faults = {name: check_recipe(name, set_ or []) for name in recipes}
        for name, told in faults.items():
            for fault in told:
                terminal.error(f"{name}: {fault}")
            if not told:
                terminal.payload(f"{name}: nothing is wrong with it")
        terminal.json({"faults": faults})
        if any(faults.values()):
            raise typer.Exit(UsageError.exit_code)
        if len(recipes) == 1:
            terminal.next(typed("fit", {"--dataset": "DIR", "--recipe": recipes[0]}))


def copy(
    recipe: NameArgument,
    file: Annotated[
        Path | None, typer.Argument(help="New .yaml file; default: RECIPE.yaml here.")
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Copy a recipe, to change the copy. Nothing is overwritten."""
    with command(as_json, debug) as terminal:
        from synthaug.recipe import copy_recipe

        target = file or Path(f"{Path(recipe).stem}.yaml")
        copy_recipe(recipe, target)
        terminal.payload(f"recipe to change: {target}")
        terminal.next(typed("fit", {"--dataset": "DIR", "--recipe": target}))
        terminal.json({"file": str(target)})


COMMANDS: dict[Callable[..., None], str] = {
    ls: "synthaug recipes ls",
    show: "synthaug recipes show mnist-lt-cpu --resolved",
    copy: "synthaug recipes copy user-folder-32 mine.yaml",
    validate: "synthaug recipes validate mine.yaml --set seed=1",
}
for verb, example in COMMANDS.items():
    app.command(epilog=f"Example: {example}")(verb)
