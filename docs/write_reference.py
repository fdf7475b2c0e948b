"""Write docs/reference/ from the code itself: `make docs`, or `python docs/write_reference.py`.

Nothing is described twice: options come from the command line's own data, keys from the recipe's
models, exit codes from the error classes, files from `synthaug/stages/run_files.py`. A test
compares the pages with what this writes.
"""

import inspect
import json
import textwrap
import types
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer.main
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from synthaug import errors
from synthaug.cli.main import app
from synthaug.recipe import Recipe, load_recipe, shipped_recipes
from synthaug.stages.run_files import RUN_FILES

FOLDER = Path(__file__).parent / "reference"
MADE = "<!-- Made by docs/write_reference.py from the code: change that, then `make docs`. -->"
LONG = ("demo", "ablate")
"""Verbs whose example takes minutes: the tests run them with a smaller recipe elsewhere."""


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table; pipes and line breaks in cells are taken care of."""

    def line(cells: Iterable[str]) -> str:
        told = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
        return f"| {' | '.join(told)} |"

    heads = list(heads)
    return "\n".join([line(heads), "|" + "---|" * len(heads), *map(line, rows)])


def prose(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 120, break_on_hyphens=False)


def page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", MADE, *(part for part in parts if part)]) + "\n"


# Command line -------------------------------------------------------------------------------------


def commands() -> Iterator[tuple[str, Any]]:
    """(words, click command) of every command in the order of `--help`, groups gone into."""

    def below(words: str, command: Any) -> Iterator[tuple[str, Any]]:
        if not hasattr(command, "list_commands"):
            yield words, command
            return
        context = command.context_class(command)
        for name in command.list_commands(context):
            yield from below(f"{words} {name}", command.get_command(context, name))

    yield from below("synthaug", typer.main.get_command(app))


def cli_page() -> str:
    """Every command with its options, values, defaults and example."""
    parts = [
        prose(
            "What `synthaug COMMAND --help` says. With `--json` stdout is one JSON object; talk "
            "goes to stderr. See also [exit codes](exit-codes.md) and the [keys of "
            "`--set`](recipe.md)."
        )
    ]
    for words, command in commands():
        parts += [f"## {words}", clean(command.help or "")]
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
        if arguments:
            told = [(f"`{(a.metavar or a.name).upper()}`", describe(a)) for a in arguments]
            parts.append(table(("argument", "what"), told))
        parts.append(table(("option", "value", "default", "what"), map(option_row, options)))
        example = (command.epilog or "").removeprefix("Example: ")
        if example:
            mark = "<!-- needs: time -->\n" if words.split()[1] in LONG else ""
            parts.append(f"{mark}```bash\n{example}\n```")
    return page("Command line", *parts)


def option_row(option: Any) -> tuple[str, str, str, str]:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    value = "" if option.is_flag else value_of(option)
    given = option.default not in (None, False, "", (), []) and not callable(option.default)
    default = "required" if option.required else (f"`{option.default}`" if given else "")
    more = " May be repeated." if option.multiple else ""
    return names, value, default, describe(option) + more


VALUES = {int: "integer", float: "number", str: "text", Path: "path"}


def value_of(option: Any) -> str:
    """What an option takes, such as `integer ≥ 1`."""
    kind = option.type_descriptor.annotation
    if get_origin(kind) is list:
        (kind,) = get_args(kind)
    if kind not in VALUES:
        return annotated(kind)
    limits = [
        f"{sign} {limit:g}"
        for sign, limit in (("≥", option.min), ("≤", option.max))
        if limit is not None
    ]
    return " ".join([VALUES[kind], ", ".join(limits)]).strip()


def describe(parameter: Any) -> str:
    return clean(parameter.help or "")


def clean(text: str) -> str:
    return inspect.cleandoc(text)


# Recipe -------------------------------------------------------------------------------------------


def recipe_page() -> str:
    """Every key of a recipe with its type, default and description."""
    shipped = [(f"`{name}`", load_recipe(name).description) for name in shipped_recipes()]
    parts = [
        prose(
            "A recipe is a YAML file; every key is optional. `--recipe` names a shipped one or a "
            "file, and `--set section.key=value` changes a key. All faults of a recipe are told at "
            "once. The run folder keeps the resolved recipe as `recipe.yaml`."
        ),
        "## Shipped recipes",
        table(("name", "what"), shipped),
    ]
    plain = {n: f for n, f in Recipe.model_fields.items() if not is_section(f.annotation)}
    parts += ["## Top level", keys_table(plain)]
    for name, field in Recipe.model_fields.items():
        if is_section(field.annotation):
            parts += [f"## {name}", keys_table(field.annotation.model_fields, f"{name}.")]
    return page("Recipe", *parts)


def is_section(annotation: Any) -> bool:
    return inspect.isclass(annotation) and issubclass(annotation, BaseModel)


def keys_table(fields: dict[str, FieldInfo], prefix: str = "") -> str:
    rows = (
        (f"`{prefix}{name}`", type_of(field), as_yaml(field.default), field.description or "")
        for name, field in fields.items()
    )
    return table(("key", "type", "default", "what"), rows)


def as_yaml(value: Any) -> str:
    """A default as one would type it."""
    if value == "":
        return ""
    return f"`{json.dumps(list(value) if isinstance(value, tuple) else value)}`".replace('"', "")


def type_of(field: FieldInfo) -> str:
    """What a key may be, with its limits."""
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = [
        f"{sign} {getattr(limit, name):g}"
        for limit in field.metadata
        for name, sign in signs.items()
        if hasattr(limit, name)
    ]
    return ", ".join([annotated(field.annotation), *limits])


PLAIN = {int: "whole number", float: "number", str: "text", bool: "true, false", Any: "anything"}


def annotated(annotation: Any) -> str:
    """A type in words."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation in PLAIN:
        return PLAIN[annotation]
    if annotation is types.NoneType:
        return "null"
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin is Annotated:
        return annotated(inner[0])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(annotated(part) for part in inner))
    if origin is tuple:
        listed = [annotated(part) for part in inner if part is not Ellipsis]
        return f"list of {listed[0]}" if Ellipsis in inner else f"[{', '.join(listed)}]"
    if origin is dict:
        return f"mapping to {annotated(inner[1])}"
    raise TypeError(f"no words for {annotation}")


# Exit codes and files -----------------------------------------------------------------------------


def exit_codes_page() -> str:
    """Every exit code: the table of `synthaug/errors.py`, and the two that no class has."""
    listed = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (errors.__doc__ or "").splitlines()
        if line.startswith("|") and line[2:3].isdigit()
    ]
    rows = [
        ["0", "everything that was asked for is done", ""],
        ["1", "a fault of the program itself, with a traceback: worth a report", ""],
        *listed,
    ]
    return page(
        "Exit codes",
        prose(
            "A fault is one line on stderr: what was found, what was expected, what to do. "
            "`--debug` shows the traceback. The classes are in `synthaug/errors.py`."
        ),
        table(("code", "when", "class"), rows),
    )


def run_folder_page() -> str:
    """Every file of a run folder."""
    rows = [(f"`{f.pattern}`", f"`{f.writer}`", f.format, f.what) for f in RUN_FILES]
    return page(
        "Run folder",
        prose(
            "Everything a run reads and writes is in one folder, by default `runs/<time>-<name>`, "
            "and nothing is written outside it. `*` stands for a part of a name, `**` for anything "
            "below. No file is read with pickle."
        ),
        table(("file", "written by", "format", "what"), rows),
        prose(
            "`ablate` writes `ablation.yaml`, `ablation.json`, `ablation.png` and a run in "
            "`variants/<name>/` for each variant; `demo` writes its images to `digits-lt/` and its "
            "run to `run/`."
        ),
    )


PAGES: dict[str, Callable[[], str]] = {
    "cli.md": cli_page,
    "recipe.md": recipe_page,
    "exit-codes.md": exit_codes_page,
    "run-folder.md": run_folder_page,
}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, write in PAGES.items():
        (FOLDER / name).write_text(write(), encoding="utf-8")


if __name__ == "__main__":
    main()
