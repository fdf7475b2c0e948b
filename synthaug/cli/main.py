"""The `synthaug` command: one thin function a verb; faults become one line and an exit code."""

import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from synthaug import __version__
from synthaug.cli.ablate import ablate
from synthaug.cli.demo import demo
from synthaug.cli.evaluate import evaluate
from synthaug.cli.fit import fit
from synthaug.cli.generate import generate
from synthaug.cli.inspect import inspect
from synthaug.cli.push import push
from synthaug.cli.recipes import app as recipes_app
from synthaug.cli.show import show
from synthaug.cli.terminal import Terminal, discard
from synthaug.errors import UsageError

app = typer.Typer(
    name="synthaug",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Synthetic images for the rare classes of your image folder, and a fair answer to whether "
    "they help.\n\n"
    "synthaug inspect --dataset ./imgs   facts and faults of a dataset\n\n"
    "synthaug fit --dataset ./imgs   trains a class-conditional DDPM\n\n"
    "synthaug generate --balance     fills up the rare classes\n\n"
    "synthaug evaluate               compares classifiers with and without the synthetic images",
    epilog="Example: synthaug demo",
)

_CommandLineError: Any = typer.BadParameter.__mro__[1]
"""What an option that does not exist raises; typer itself has no public name for it."""


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"synthaug {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show version.")
    ] = False,
) -> None:
    del version


VERBS: dict[Callable[..., None], str] = {
    inspect: "synthaug inspect --dataset ./imgs",
    fit: "synthaug fit --dataset ./imgs --per-class --time-limit 30m",
    generate: "synthaug generate --balance --sampler ddim --steps 50",
    evaluate: "synthaug evaluate --arms real,synthaug --seeds 5",
    show: "synthaug show progressive --class owl --n 4",
    demo: "synthaug demo --out runs/demo",
    ablate: "synthaug ablate --recipe beta-ablation",
    push: "synthaug push --model OWNER/NAME --data OWNER/OTHER",
}
for verb, example in VERBS.items():
    app.command(epilog=f"Example: {example}")(verb)
app.add_typer(recipes_app)


def main(argv: list[str] | None = None) -> None:
    """Entry point. `--balance` may stand without a value, which click cannot express."""
    # Threads that spin for long while they wait slow each other down severalfold as soon as the
    # machine has anything else to do; a short spin costs nothing on a free one. GNU OpenMP reads
    # this when torch is imported, which no command has done yet.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    # Without colours, rich would still write bold and move the cursor. The wish is for plain text.
    if os.environ.get("NO_COLOR"):
        os.environ["TERM"] = "dumb"
    arguments = give_balance_a_value(list(sys.argv[1:] if argv is None else argv))
    try:
        code = app(args=arguments, prog_name="synthaug", standalone_mode=False)
    except _CommandLineError as error:
        if error.format_message():  # empty when the help was asked for by saying nothing
            fault = UsageError(error.format_message().rstrip("."), remedy="see synthaug --help")
            Terminal(as_json="--json" in arguments).fault(fault)
        code = error.exit_code
    except BrokenPipeError:  # `synthaug --help | head -1`
        discard(sys.stdout)
        code = 0
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def give_balance_a_value(arguments: list[str]) -> list[str]:
    """Put an empty value after a bare `--balance`: `generate --balance --steps 5` then parses."""
    result: list[str] = []
    for i, word in enumerate(arguments):
        result.append(word)
        following = arguments[i + 1 : i + 2]
        if word == "--balance" and (not following or following[0].startswith("-")):
            result.append("")
    return result
