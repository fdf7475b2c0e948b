"""What all verbs have in common: the options they share, and what becomes of a fault."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from synthaug.cli.terminal import Terminal
from synthaug.errors import ResourceError, SynthaugError

RunOption = Annotated[
    Path | None, typer.Option("--run", help="Run folder; default: the newest under runs/.")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda:0 or mps.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
RecipeOption = Annotated[str, typer.Option(help="A shipped recipe's name, or a YAML file.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a recipe key, as in --set diffusion.batch_size=32."),
]
SeedOption = Annotated[int | None, typer.Option(min=0, help="Seed of the run.")]


@contextmanager
def command(as_json: bool, debug: bool) -> Iterator[Terminal]:
    """Run a command's body; a fault of the user's is one line on stderr and its exit code."""
    terminal = Terminal(as_json=as_json)
    try:
        yield terminal
    except SynthaugError as error:
        _fail(terminal, error, debug)
    except KeyboardInterrupt as error:
        terminal.error("stopped at once; finished files are kept")
        raise typer.Exit(130) from error
    except MemoryError:
        _fail(terminal, ResourceError("out of memory", remedy="use a smaller --image-size"), debug)
    except OSError as error:
        if error.errno == errno.EPIPE:
            # `synthaug ... | head` closed stdout: not a fault, and nothing more can be said there.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from error
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        fault = ResourceError(
            f"cannot write {error.filename or 'the run folder'} ({error.strerror})",
            remedy="free some space or choose another --run",
        )
        _fail(terminal, fault, debug)


def _fail(terminal: Terminal, error: SynthaugError, debug: bool) -> None:
    if debug:
        raise error
    terminal.error(str(error))
    raise typer.Exit(error.exit_code)
