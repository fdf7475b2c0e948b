"""`synthaug inspect`."""

import typer

from synthaug.cli.command import (
    DebugOption,
    JsonOption,
    RecipeOption,
    SeedOption,
    SetOption,
    command,
)
from synthaug.cli.data_options import (
    DatasetOption,
    FoldsOption,
    FollowLinksOption,
    GroupsOption,
    OnBadImageOption,
    ValueRangeOption,
)
from synthaug.cli.following import same_data, typed
from synthaug.errors import DataError


def inspect(
    dataset: DatasetOption,
    groups: GroupsOption = None,
    value_range: ValueRangeOption = None,
    folds: FoldsOption = None,
    follow_links: FollowLinksOption = False,
    on_bad_image: OnBadImageOption = None,
    recipe: RecipeOption = "default",
    set_: SetOption = None,
    seed: SeedOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Say what a dataset holds, what is wrong with it and what it could prove. Trains nothing."""
    with command(as_json, debug) as terminal:
        from synthaug.cli.printing import print_inspection
        from synthaug.recipe import load_recipe
        from synthaug.recipe.options import data_overrides
        from synthaug.stages.inspect import InspectRequest
        from synthaug.stages.inspect import inspect as run_inspect

        overrides = data_overrides(
            groups=groups, value_range=value_range, folds=folds,
            follow_links=follow_links, on_bad_image=on_bad_image, seed=seed,
        )  # fmt: skip
        request = InspectRequest(dataset, load_recipe(recipe, set_ or [], overrides))
        inspection = run_inspect(request, terminal)
        following = typed("fit", same_data(dataset, overrides, recipe, set_))
        print_inspection(terminal, inspection, following)
        terminal.json(inspection)
        if inspection["refused"]:
            for reason in inspection["refused"]:
                terminal.error(reason)
            raise typer.Exit(DataError.exit_code)
