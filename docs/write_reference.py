"""Write docs/reference/ from the code itself: `make docs`, or `python docs/write_reference.py`.

Nothing is described twice: options come from the command line's own data, keys and fields from the
models of recipe and results, Python names from their source, exit codes from the error classes,
files from `synthaug/stages/run_files.py`. A test compares the pages with what this writes.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import typer.main
from reference_api import api_page
from reference_models import recipe_page, results_page
from reference_words import annotated, clean, page, prose, table

from synthaug import errors
from synthaug.cli.main import app
from synthaug.stages.run_files import RUN_FILES

FOLDER = Path(__file__).parent / "reference"
NEEDS = {"demo": "time", "ablate": "time", "push": "network"}
"""Verbs whose example no test runs as it is: it takes minutes, or asks the Hub."""


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
            needs = NEEDS.get(words.split()[1])
            mark = f"<!-- needs: {needs} -->\n" if needs else ""
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
    "api.md": api_page,
    "results.md": results_page,
    "exit-codes.md": exit_codes_page,
    "run-folder.md": run_folder_page,
}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, write in PAGES.items():
        (FOLDER / name).write_text(write(), encoding="utf-8")


if __name__ == "__main__":
    main()
