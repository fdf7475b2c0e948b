"""What a documented command line means to the real command line, without running it."""

from collections.abc import Sequence
from typing import Any

import typer.main

from synthaug.balance.modes import check_mode
from synthaug.cli.main import app, give_balance_a_value
from synthaug.diffusion.generation import check_sampling
from synthaug.evaluation.arms import parse_arms
from synthaug.recipe import load_recipe, shipped_recipes
from synthaug.stages.sheets import SHEETS
from synthaug.stages.sizing import parse_duration

PARTIAL = {"fit": ["--dataset", "imgs"], "inspect": ["--dataset", "imgs"]}
"""What a fragment such as `fit --per-class` leaves out."""

VERBS = {
    "inspect", "fit", "generate", "evaluate", "show", "demo", "ablate", "recipes", "push",
}  # fmt: skip


def find_command(words: Sequence[str]) -> tuple[Any, list[str]]:
    """The click command that the words name, and the words after its name."""
    command, rest = typer.main.get_command(app), list(words)
    while hasattr(command, "get_command"):
        context = command.context_class(command)
        found = command.get_command(context, rest[0]) if rest else None
        assert found is not None, f"no command {' '.join(words[:2])!r}"
        command, rest = found, rest[1:]
    return command, rest


def check(words: Sequence[str]) -> None:
    """Raise unless `synthaug` takes these words: options exist, values are of their kind."""
    if list(words) in (["--help"], ["--version"], []):
        return
    command, rest = find_command(give_balance_a_value(list(words)))
    if "--help" in rest:
        return
    given = command.make_context(command.name, rest).params
    _check_values(given)


def check_fragment(words: Sequence[str]) -> None:
    """The same of a verb and some of its options."""
    more = PARTIAL.get(words[0], [])
    check([*words, *(more if more and more[0] not in words else [])])


def _check_values(given: dict[str, Any]) -> None:
    """What click takes for text and the stages would refuse."""
    if "recipe" in given:
        name = given["recipe"] or "default"
        shipped = name in shipped_recipes()
        assert shipped or name.endswith((".yaml", ".yml")), name
        load_recipe(name if shipped else "default", given.get("set_") or [])
    if "per_class" in given:
        assert given["dataset"] or given["resume"], "fit needs --dataset"
    if given.get("time_limit"):
        parse_duration(given["time_limit"])
    if given.get("arms"):
        parse_arms(given["arms"], oracle=True, unfiltered=True)
    if given.get("sampler") or given.get("steps"):
        check_sampling(given.get("sampler") or "ddim", given.get("steps") or 20, 1000)
    for word in (given.get("mode") or "").split(",") if given.get("mode") else []:
        check_mode(word.rpartition("=")[2])
    if "what" in given:
        assert given["what"] in SHEETS, given["what"]
