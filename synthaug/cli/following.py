"""The command to type next, ready for the shell."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def typed(verb: str, options: Mapping[str, Any] | None = None) -> str:
    """`synthaug VERB --option value ...`; options that are None, False or empty are left out, True
    is a flag, and a list is an option said several times."""
    words = ["synthaug", *verb.split()]
    for name, value in (options or {}).items():
        if value is True:
            words.append(name)
        elif isinstance(value, list | tuple):
            words += [word for one in value for word in (name, shlex.quote(str(one)))]
        elif value is not None and value is not False and value != "":
            words += [name, shlex.quote(str(value))]
    return " ".join(words)


def same_run(run: Path | None, device: str = "auto") -> dict[str, Any]:
    """What the next verb has to be told: a run that was named, a device that was chosen."""
    return {"--run": run, "--device": None if device == "auto" else device}


def same_data(
    dataset: object, values: Mapping[str, Any], recipe: str, changes: list[str] | None
) -> dict[str, Any]:
    """Options about a dataset and a recipe again; `values` are the recipe keys they stand for."""
    options: dict[str, Any] = {"--dataset": dataset}
    for key, value in values.items():
        levels = isinstance(value, list)
        name = "--" + key.rpartition(".")[2].replace("_", "-")
        options[name] = ":".join(f"{level:g}" for level in value) if levels else value
    return {**options, "--recipe": None if recipe == "default" else recipe, "--set": changes}
